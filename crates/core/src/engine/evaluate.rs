//! Whether a task instance may run now, never, or not yet.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{
    Engine,
    run::{Past, Run},
    upstream,
};
use crate::{
    End, MapIndex, RunKey, RunState, TaskIx, TaskKind, TiEvent, TiKey, TiState, Wait, WaitRule, input::Want,
    record::TiRow,
};

/// What was found out about a task instance that has not begun.
pub(super) enum Decision {
    Wait,
    /// Only the run before stands in the way.
    WaitForPast,
    /// The run before has to be looked up.
    AskForPast,
    Become(End, Arc<str>),
    /// A mapped task whose number of copies is known now.
    Expand(u32),
    Ready,
}

impl Engine {
    /// Decides about all instances of these tasks that have not begun.
    ///
    /// What becomes of one of them is seen by the others in the next round only. So it does not matter who is
    /// looked at first, and who is nearer to what has happened decides first (as in Airflow, whose scheduler
    /// goes by rounds too).
    pub(super) fn evaluate(&mut self, now: Timestamp, round: BTreeSet<(RunKey, TaskIx)>) {
        for (run, task) in &round {
            if self.goes_on(*run).is_some() {
                self.revise(now, *run, *task);
            }
        }
        let mut decided = Vec::new();
        for (run, task) in round {
            let Some(run) = self.goes_on(run) else { continue };
            let waiting = run.tasks[task.usize()].instances.iter().filter(|ti| ti.state == TiState::None);
            decided.extend(waiting.map(|ti| (ti.key, self.decide(run, ti.key))));
        }
        for (key, decision) in decided {
            if self.ti(key).is_some_and(|ti| ti.state == TiState::None) {
                self.follow(now, key, decision);
            }
        }
    }

    /// A run in which something may begin.
    fn goes_on(&self, run: RunKey) -> Option<&Run> {
        let run = self.runs.get(&run).filter(|run| run.row.state == RunState::Running)?;
        (!self.is_paused(&run.row.dag)).then_some(run)
    }

    fn follow(&mut self, now: Timestamp, key: TiKey, decision: Decision) {
        let left_out = self.runs.get(&key.run).is_some_and(|run| run.is_left_out(key));
        match decision {
            Decision::Wait | Decision::WaitForPast => {}
            // By what another became in this round; the next one skips it.
            Decision::Expand(_) | Decision::Ready if left_out => {}
            Decision::AskForPast => self.ask_for_past(key.run),
            Decision::Become(end, reason) => {
                self.end(now, key, end, reason);
            }
            Decision::Expand(0) => {
                self.end(now, key, End::Skipped, "it is mapped over nothing: the list is empty");
            }
            Decision::Expand(copies) => self.expand(key, copies),
            Decision::Ready => self.make_ready(now, key),
        }
    }

    /// Whether nothing but the run before keeps a task instance that has not begun from beginning.
    pub(super) fn waits_for_past(&self, run: &Run, key: TiKey) -> bool {
        matches!(self.decide(run, key), Decision::WaitForPast | Decision::AskForPast)
    }

    fn decide(&self, run: &Run, key: TiKey) -> Decision {
        if let Some(decision) = upstream::decides(run, key) {
            return decision;
        }
        match self.past(run, key) {
            Ok(true) => {}
            Ok(false) => return Decision::WaitForPast,
            Err(()) => return Decision::AskForPast,
        }
        if key.map_index == MapIndex::NONE && run.dag.mapping(key.task).is_some() {
            return upstream::copies(run, key.task);
        }
        Decision::Ready
    }

    /// Whether the run before lets this one begin (Airflow's `depends_on_past` and `wait_for_downstream`).
    fn past(&self, run: &Run, key: TiKey) -> Result<bool, ()> {
        let spec = run.dag.task(key.task);
        if !spec.looks_at_past() {
            return Ok(true);
        }
        let before = match run.past {
            Past::Unknown => return Err(()),
            Past::Asked => return Ok(false),
            Past::None => return Ok(true),
            Past::Is(before) => match self.runs.get(&before) {
                Some(before) => before,
                None => return Ok(true),
            },
        };
        let good = |ti: &TiRow| matches!(ti.state, TiState::Success | TiState::Skipped);
        let Some(task) = before.dag.find(&spec.task_id) else {
            return Ok(spec.ignore_first_depends_on_past);
        };
        let instances = &before.tasks[task.usize()].instances;
        if instances.is_empty() {
            return Ok(spec.ignore_first_depends_on_past);
        }
        let after_too = !spec.wait_for_downstream
            || before.dag.downstream(task).iter().all(|d| before.tasks[d.usize()].instances.iter().all(good));
        Ok(instances.iter().all(good) && after_too)
    }

    fn ask_for_past(&mut self, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.past == Past::Unknown) else { return };
        run.past = Past::Asked;
        let want = Want {
            before: key,
            dag: run.row.dag.clone(),
            logical_date: run.date(),
            only_scheduled: run.dag.spec().catchup,
        };
        self.out.wants.push(want);
    }

    /// Puts the copies of a mapped task in the place of the one that stood for all.
    fn expand(&mut self, key: TiKey, copies: u32) {
        let Some(run) = self.runs.get_mut(&key.run) else { return };
        let Some(stood_for_all) = run.take(key) else { return };
        for index in 0..copies {
            let mut copy = stood_for_all.clone();
            copy.key.map_index = MapIndex(index as i32);
            self.changed.tis.insert(copy.key);
            run.insert(copy);
        }
        self.changed.tis.remove(&key);
        self.out.batch.deleted_tis.insert(key);
        self.look_at_neighbours(key);
        self.todo.insert((key.run, key.task));
    }

    /// Adds or removes copies of a mapped task that begins anew, where what it is mapped over has changed.
    fn revise(&mut self, now: Timestamp, run_key: RunKey, task: TaskIx) {
        let Some(run) = self.runs.get(&run_key) else { return };
        let instances = &run.tasks[task.usize()].instances;
        let mapped = run.dag.mapping(task).is_some();
        let is_copy = |ti: &TiRow| ti.key.map_index != MapIndex::NONE;
        if !mapped || instances.is_empty() || !instances.iter().all(is_copy) {
            return;
        }
        let begins = instances.iter().any(|ti| ti.state == TiState::None);
        let Some(length) = begins.then(|| upstream::length(run, task)).flatten() else { return };
        let last = instances.last().map_or(-1, |ti| ti.key.map_index.0);
        let too_many: Vec<TiKey> = instances
            .iter()
            .filter(|ti| ti.key.map_index.0 >= length as i32 && !ti.state.is_finished())
            .map(|ti| ti.key)
            .collect();
        for key in too_many {
            self.end(now, key, End::Removed, "what it is mapped over became shorter");
        }
        if let Some(run) = self.runs.get_mut(&run_key) {
            for index in last + 1..length as i32 {
                let fresh = run.fresh(task, MapIndex(index));
                self.changed.tis.insert(fresh.key);
                run.insert(fresh);
            }
        }
    }

    /// Marks for evaluation what comes after a task whose number of instances has changed.
    fn look_at_neighbours(&mut self, key: TiKey) {
        let Some(run) = self.runs.get(&key.run) else { return };
        let dag = run.dag.clone();
        for task in dag.downstream(key.task) {
            self.todo.insert((key.run, *task));
        }
    }

    fn make_ready(&mut self, now: Timestamp, key: TiKey) {
        let Some((_, spec)) = self.spec(key) else { return };
        match &spec.kind {
            TaskKind::Empty => {
                self.begin_try(now, key);
                if self.transition(now, key, TiEvent::Ready, None) {
                    self.succeed_at_once(now, key);
                }
            }
            TaskKind::Run | TaskKind::Watch | TaskKind::Wait(_) => {
                self.transition(now, key, TiEvent::Ready, None);
            }
        }
    }

    /// Begins to wait for a time, now that the limits allow it.
    pub(super) fn begin_wait(&mut self, now: Timestamp, key: TiKey) {
        let Some((run, spec)) = self.spec(key) else { return };
        let TaskKind::Wait(rule) = &spec.kind else { return };
        let until = wait_until(rule, run, now);
        self.begin_try(now, key);
        if until <= now {
            self.succeed_at_once(now, key);
        } else {
            self.transition(now, key, TiEvent::Deferred(Wait::Until(until)), None);
        }
    }

    /// Begins a try that no worker is needed for.
    fn begin_try(&mut self, now: Timestamp, key: TiKey) {
        if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
            ti.try_number += 1;
            ti.started_at = Some(now);
        }
    }
}

fn wait_until(rule: &WaitRule, run: &Run, now: Timestamp) -> Timestamp {
    let after = |from: Timestamp, delta| from.saturating_add(delta).unwrap_or(Timestamp::MAX);
    match rule {
        WaitRule::AfterInterval(delta) => {
            after(run.row.data_interval.map_or(run.row.run_after, |(_, end)| end), *delta)
        }
        WaitRule::AfterReady(delta) => after(now, *delta),
        WaitRule::At(at) => *at,
        WaitRule::TimeOfDay { time, zone } => {
            // A zone that is not known was refused when the DAG was read.
            let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
            let today = Zoned::new(now, zone.clone()).date();
            today.to_datetime(*time).to_zoned(zone).map_or(now, |at| at.timestamp())
        }
    }
}
