//! The one place where a task instance changes its state.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Engine, Timer,
    dispatch::Limit,
    run::{is_active, takes_pool_slots, takes_slots},
    upstream::left_out_by,
};
use crate::{End, TaskIx, TiEvent, TiKey, TiState, TiStateName, record::TransitionRow};

impl Engine {
    /// Lets `event` happen to a task instance: its state, its times, every sum, the row and the change to
    /// be written, and who has to be looked at next. Says whether it could.
    pub(super) fn transition(
        &mut self,
        now: Timestamp,
        key: TiKey,
        event: TiEvent,
        reason: Option<Arc<str>>,
    ) -> bool {
        let Some(run) = self.runs.get_mut(&key.run) else { return false };
        let Some(old) = run.ti(key).map(|ti| ti.state.clone()) else { return false };
        let new = match old.clone().next(event) {
            Ok(new) => new,
            Err(fault) => {
                self.out.faults.push(fault);
                return false;
            }
        };
        let (from, to) = (old.name(), new.name());
        run.set_state(key, new.clone());
        if let Some(ti) = run.ti_mut(key) {
            stamp(ti, now, to);
            ti.reason.clone_from(&reason);
            let try_number = ti.try_number;
            self.out.batch.transitions.push(TransitionRow { ti: key, try_number, from, to, at: now, reason });
        }
        self.changed.tis.insert(key);
        self.account(key, &old, &new);
        if let Some(at) = new.wakes_at() {
            self.timers.insert((at, Timer::Wake(key)));
        }
        if old.name() == TiStateName::Scheduled {
            self.withdraw(key);
            if !is_active(&new) {
                self.pass_on(key);
            }
        }
        if new == TiState::Scheduled {
            self.enqueue(key);
        }
        if new.is_finished() || old.is_finished() {
            self.look_after(key);
        }
        if new == TiState::None {
            self.todo.insert((key.run, key.task));
        }
        if new == TiState::Scheduled
            && let Some(run) = self.runs.get(&key.run).filter(|run| run.is_left_out(key))
        {
            // While it ran, or between two tries.
            let reason = left_out_by(run, key);
            self.end(now, key, End::Skipped, reason);
        }
        if new.is_finished() || new == TiState::None {
            self.touched.insert(key.run);
        }
        true
    }

    /// Ends a task instance by a rule or a person's word rather than by its own report.
    pub(super) fn end(&mut self, now: Timestamp, key: TiKey, end: End, reason: impl Into<Arc<str>>) -> bool {
        self.transition(now, key, TiEvent::Ended(end), Some(reason.into()))
    }

    /// Keeps the sums that go beyond a run, and gives what became free to those that wait for it.
    fn account(&mut self, key: TiKey, old: &TiState, new: &TiState) {
        let Some((run, spec)) = self.spec(key) else { return };
        let (dag, namespace) = (run.row.dag.clone(), run.row.dag.namespace.clone());
        let (pool, slots, task) = (spec.pool.clone(), spec.pool_slots, spec.task_id.clone());
        let pool_key = (namespace, pool);
        let takes =
            |state| self.pools.get(&pool_key).is_some_and(|pool| takes_pool_slots(&pool.row, spec, state));
        let (took, takes) = (takes(old), takes(new));
        let leaves_run = takes_slots(spec, old) && !takes_slots(spec, new);
        if let Some(pool) = self.pools.get_mut(&pool_key) {
            match (took, takes) {
                (false, true) => pool.used = pool.used.saturating_add(slots),
                (true, false) => {
                    pool.used = pool.used.saturating_sub(slots);
                    self.unpark(&Limit::Pool(pool_key.0, pool_key.1));
                }
                (true, true) | (false, false) => {}
            }
        }
        if leaves_run {
            self.unpark(&Limit::RunTasks(key.run));
        }
        match (is_active(old), is_active(new)) {
            (false, true) => {
                if let Some(dag) = self.dags.get_mut(&dag) {
                    *dag.active.entry(task).or_default() += 1;
                }
            }
            (true, false) => {
                if let Some(dag) = self.dags.get_mut(&dag) {
                    let active = dag.active.entry(task.clone()).or_default();
                    *active = active.saturating_sub(1);
                }
                self.unpark(&Limit::TaskInDag(dag, task));
                self.unpark(&Limit::TaskInRun(key.run, key.task));
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Marks for evaluation whoever depends on this task instance.
    fn look_after(&mut self, key: TiKey) {
        let Some(run) = self.runs.get(&key.run) else { return };
        let dag = run.dag.clone();
        let node = dag.node(key.task);
        for task in node.downstream.iter().chain(&node.watched_by).chain(&node.mapped_by) {
            self.todo.insert((key.run, *task));
        }
        // The run after may be on another version, where the same task has another place.
        for next in run.successors.clone() {
            let Some(after) = self.runs.get(&next).map(|run| run.dag.clone()) else { continue };
            let same = |task: &TaskIx| after.find(&dag.task(*task).task_id);
            let tasks = std::iter::once(&key.task).chain(&node.upstream).filter_map(same);
            self.todo.extend(tasks.map(|task| (next, task)));
        }
    }
}

/// Sets the times that belong to a state.
fn stamp(ti: &mut crate::record::TiRow, now: Timestamp, to: TiStateName) {
    match to {
        TiStateName::Scheduled => ti.scheduled_at = Some(now),
        TiStateName::Queued => ti.queued_at = Some(now),
        TiStateName::Paused => ti.paused_at = Some(now),
        TiStateName::Success
        | TiStateName::Failed
        | TiStateName::Skipped
        | TiStateName::UpstreamFailed
        | TiStateName::Removed
        | TiStateName::UpForRetry => ti.ended_at = Some(now),
        TiStateName::Deferred => {
            if ti.started_at.is_none() {
                ti.started_at = Some(now);
            }
        }
        TiStateName::None | TiStateName::Running | TiStateName::UpForReschedule | TiStateName::Restarting => {
        }
    }
    if to != TiStateName::Paused
        && let Some(since) = ti.paused_at.take()
    {
        ti.paused_for = ti.paused_for.saturating_add(now.duration_since(since));
    }
}
