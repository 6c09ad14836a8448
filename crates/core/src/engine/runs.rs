//! The life of a run: made, begun, over, forgotten.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Engine, Timer,
    run::{Past, Run},
};
use crate::{
    AlertOn, AssetEvent, Dag, DagKey, End, RunKey, RunState, TiKey, TiState,
    dag::{NOTHING_CAN_RUN, TIME_IS_UP},
    input::ToWorker,
    record::{DagVersionRow, RunRow, RunSnapshot, RunType, TiRow},
};

/// What goes on in a run that is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spared {
    Nothing,
    Teardowns,
}

impl Engine {
    /// Makes a run, which begins as soon as it may.
    pub(super) fn create_run(
        &mut self,
        now: Timestamp,
        row: RunRow,
        dag: Arc<Dag>,
        asset_events: Arc<[Arc<AssetEvent>]>,
    ) {
        let key = row.key;
        self.run_ids.insert((row.dag.clone(), row.run_id.clone()), key);
        let dag_key = row.dag.clone();
        let mut run = Run::new(row, dag, asset_events);
        run.populate();
        self.changed.tis.extend(run.all().map(|ti| ti.key));
        self.changed.runs.insert(key);
        self.queue_run(&run);
        self.come_between(&run);
        self.runs.insert(key, run);
        self.await_deadline(key);
        self.begin_runs(now, &dag_key);
    }

    /// A new run may be the one before runs that have looked already.
    fn come_between(&mut self, new: &Run) {
        let Some(dag) = self.dags.get(&new.row.dag) else { return };
        for key in dag.running.iter().chain(dag.queued.iter().map(|(_, key)| key)) {
            let Some(run) = self.runs.get_mut(key) else { continue };
            if matches!(run.past, Past::Is(_) | Past::None)
                && run.dag.looks_at_past()
                && new.date() < run.date()
            {
                run.past = Past::Unknown;
                self.todo.extend(run.dag.tasks().map(|task| (*key, task)));
            }
        }
    }

    fn queue_run(&mut self, run: &Run) {
        if let Some(dag) = self.dags.get_mut(&run.row.dag) {
            dag.queued.insert((run.row.run_after, run.row.key));
        }
    }

    pub(super) fn begin_runs_of(&mut self, now: Timestamp, key: RunKey) {
        if let Some(dag) = self.runs.get(&key).map(|run| run.row.dag.clone()) {
            self.begin_runs(now, &dag);
        }
    }

    /// Begins the runs of a DAG that wait, as many as `max_active_runs` allows. Where they waited for their turn,
    /// that of what happened to assets meanwhile is made.
    pub(super) fn begin_runs(&mut self, now: Timestamp, key: &DagKey) {
        self.begin_queued(now, key);
        self.run_of_events(now, key);
    }

    fn begin_queued(&mut self, now: Timestamp, key: &DagKey) {
        loop {
            let paused = self.is_paused(key);
            let Some(dag) = self.dags.get_mut(key) else { return };
            let room = dag.running.len() < dag.dag.spec().max_active_runs as usize;
            if paused || !room {
                return;
            }
            let Some((run_after, next)) = dag.queued.first().copied() else { return };
            if run_after > now {
                // Its timer may have come before, on a clock that has been set back since.
                self.timers.insert((run_after, Timer::RunDue(next)));
                return;
            }
            dag.queued.pop_first();
            dag.running.insert(next);
            self.begin(now, next);
        }
    }

    fn begin(&mut self, now: Timestamp, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.row.state = RunState::Running;
        run.row.started_at = Some(now);
        let timeout = run.dag.spec().dagrun_timeout;
        let tasks: Vec<_> = run.dag.tasks().collect();
        self.changed.runs.insert(key);
        self.touched.insert(key);
        if let Some(at) = timeout.and_then(|timeout| now.saturating_add(timeout).ok()) {
            self.timers.insert((at, Timer::RunTimeout(key)));
        }
        self.todo.extend(tasks.into_iter().map(|task| (key, task)));
        self.await_deadline(key);
    }

    /// Ends a run where its task instances have decided it.
    pub(super) fn conclude(&mut self, now: Timestamp, key: RunKey) {
        let Some(run) = self.runs.get(&key) else { return };
        if run.row.state != RunState::Running {
            return;
        }
        if run.unfinished == 0 {
            let failed = |ti: &TiState| matches!(ti, TiState::Failed | TiState::UpstreamFailed);
            if let Some(marked) = run.row.marked {
                return self.finish_run(now, key, marked, Some(format!("it was marked as {marked}")));
            }
            let leaves = run.all().filter(|ti| run.dag.node(ti.key.task).leaf || is_last(run, ti.key));
            let state = match leaves.map(|ti| &ti.state).any(failed) {
                true => RunState::Failed,
                false => RunState::Success,
            };
            return self.finish_run(now, key, state, None);
        }
        let paused = self.is_paused(&run.row.dag);
        if run.moving == 0 && !paused {
            let stuck: Vec<&TiRow> = run.all().filter(|ti| ti.state == TiState::None).collect();
            // A teardown of one that was marked does not wait for another run, which may never come to what it waits for.
            if run.row.marked.is_some() || stuck.iter().all(|ti| !self.waits_for_past(run, ti.key)) {
                let first = stuck.first().map(|ti| ti.task_id.clone());
                let mut reason = format!(
                    "{NOTHING_CAN_RUN}: {} task instances wait for what will not happen, the first is `{}`",
                    stuck.len(),
                    first.as_deref().unwrap_or_default()
                );
                let state = run.row.marked.unwrap_or(RunState::Failed);
                if run.row.marked.is_some() {
                    reason = format!("it was marked as {state}; {reason}");
                }
                self.finish_run(now, key, state, Some(reason));
            }
        }
    }

    /// A run is over.
    pub(super) fn finish_run(
        &mut self,
        now: Timestamp,
        key: RunKey,
        state: RunState,
        reason: Option<String>,
    ) {
        self.alert_of_deadlines(now, key);
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.row.state = state;
        run.row.ended_at = Some(now);
        run.row.reason = reason;
        let (dag_key, run_after) = (run.row.dag.clone(), run.row.run_after);
        self.changed.runs.insert(key);
        self.over.insert(key);
        if let Some(dag) = self.dags.get_mut(&dag_key) {
            dag.running.remove(&key);
            dag.queued.remove(&(run_after, key));
            let failures = if state == RunState::Failed { dag.row.consecutive_failures + 1 } else { 0 };
            if failures != dag.row.consecutive_failures {
                dag.row.consecutive_failures = failures;
                self.changed.dags.insert(dag_key.clone());
            }
            let most = dag.dag.spec().max_consecutive_failed_dag_runs;
            if most > 0 && failures >= most {
                dag.row.is_paused = true;
            }
        }
        self.alert_of_run(
            now,
            key,
            if state == RunState::Failed { AlertOn::Failure } else { AlertOn::Success },
        );
        self.begin_runs(now, &dag_key);
        self.on_tick_due(now, &dag_key);
    }

    pub(super) fn on_run_timeout(&mut self, now: Timestamp, key: RunKey, at: Timestamp) {
        let Some(run) = self.runs.get(&key) else { return };
        let Some(timeout) = run.dag.spec().dagrun_timeout else { return };
        // A run that was cleared has begun anew since this timer was set.
        let due = run.row.started_at.and_then(|began| began.saturating_add(timeout).ok());
        if run.row.state != RunState::Running || due != Some(at) {
            return;
        }
        // What runs as well, as Airflow does: it is the run that took too long.
        self.stop_run(now, key, End::Skipped, Spared::Nothing, "the run's time was up (dagrun_timeout)");
        self.finish_run(now, key, RunState::Failed, Some(TIME_IS_UP.into()));
    }

    /// Ends everything of a run that is not over, but for what is spared. What runs, waits or looks is ended by its worker,
    /// and becomes `running`; the rest is skipped.
    pub(super) fn stop_run(
        &mut self,
        now: Timestamp,
        key: RunKey,
        running: End,
        spared: Spared,
        reason: &str,
    ) {
        let Some(run) = self.runs.get(&key) else { return };
        let is_spared = |ti: &TiRow| spared == Spared::Teardowns && run.dag.is_teardown(ti.key.task);
        let open: Vec<(TiKey, bool)> = run
            .all()
            .filter(|ti| !ti.state.is_finished() && !is_spared(ti))
            .map(|ti| (ti.key, is_at_work(&ti.state)))
            .collect();
        for (ti, runs) in open {
            self.tell_holder(ti, ToWorker::Cancel);
            self.end(now, ti, if runs { running } else { End::Skipped }, reason);
        }
    }

    /// Lets go of runs that are over, unless one that is not depends on them.
    pub(super) fn forget_finished(&mut self) {
        while let Some(key) = self.over.pop_first() {
            let Some(run) = self.runs.get(&key) else { continue };
            if !run.row.state.is_finished() {
                continue;
            }
            // What this one depended on is no more needed by it.
            if let Past::Is(before) = run.past {
                self.over.insert(before);
            }
            let open = |next: &RunKey| self.runs.get(next).is_some_and(|run| !run.row.state.is_finished());
            if !run.successors.iter().any(open)
                && let Some(run) = self.runs.remove(&key)
            {
                self.leave_no_past(&run);
            }
        }
    }

    /// A run is out of mind: its name is free, and who took it for its past has to look again.
    pub(super) fn leave_no_past(&mut self, gone: &Run) {
        self.run_ids.remove(&(gone.row.dag.clone(), gone.row.run_id.clone()));
        for next in &gone.successors {
            let Some(run) = self.runs.get_mut(next).filter(|run| run.past == Past::Is(gone.row.key)) else {
                continue;
            };
            run.past = Past::Unknown;
            self.todo.extend(run.dag.tasks().map(|task| (*next, task)));
        }
    }

    /// Takes in a run from the store, since a command is about it.
    pub(super) fn on_loaded(&mut self, version: &DagVersionRow, loaded: RunSnapshot) {
        let key = loaded.run.key;
        // What is deleted is still in the store until this is written.
        let batch = &self.out.batch;
        let deleted = batch.deleted_runs.contains(&key) || batch.deleted_dags.contains(&loaded.run.dag);
        // Whoever leads has in mind what is not over: another does, and nothing that this engine says counts.
        let led_by_another = !loaded.run.state.is_finished();
        if deleted || led_by_another || self.runs.contains_key(&key) {
            return;
        }
        let Some(dag) = self.compiled(version) else { return };
        self.take_in(dag, loaded);
        self.over.insert(key);
    }

    /// Takes in the answer to what run is before another, as far as the store can know it.
    pub(super) fn on_past(&mut self, of: RunKey, found: Option<Box<(DagVersionRow, RunSnapshot)>>) {
        let found = found.map(|found| {
            let key = found.1.run.key;
            self.on_loaded(&found.0, found.1);
            key
        });
        let Some(run) = self.runs.get(&of) else { return };
        let tasks: Vec<_> = run.dag.tasks().collect();
        let past = match found {
            // It has been deleted since: the one before that is looked for when this is written.
            Some(gone) if !self.runs.contains_key(&gone) => Past::Unknown,
            Some(_) | None => self.latest_before(run).map_or(Past::None, Past::Is),
        };
        if let Past::Is(before) = past
            && let Some(before) = self.runs.get_mut(&before)
        {
            before.successors.push(of);
        }
        if let Some(run) = self.runs.get_mut(&of) {
            run.past = past;
        }
        self.todo.extend(tasks.into_iter().map(|task| (of, task)));
        self.touched.insert(of);
    }

    /// Of the runs in mind, the last one of the same DAG before this one.
    fn latest_before(&self, run: &Run) -> Option<RunKey> {
        let only_scheduled = run.dag.spec().catchup;
        self.runs
            .values()
            .filter(|other| other.row.dag == run.row.dag && other.date() < run.date())
            .filter(|other| !only_scheduled || other.row.run_type == RunType::Scheduled)
            .max_by_key(|other| (other.date(), other.row.key))
            .map(|other| other.row.key)
    }
}

/// Where a run leaves out tasks, those after which nothing of it comes decide as well.
fn is_last(run: &Run, key: TiKey) -> bool {
    run.row.selection.as_ref().is_some_and(|chosen| chosen.len() < run.tasks.len())
        && run.dag.downstream(key.task).iter().all(|down| run.tasks[down.usize()].instances.is_empty())
}

/// Whether it has begun and is not over, be it that it waits or looks (Airflow's `running`, `deferred`,
/// `up_for_reschedule`), or is about to begin.
fn is_at_work(state: &TiState) -> bool {
    state.assignment().is_some() || matches!(state, TiState::Deferred(_) | TiState::UpForReschedule(_))
}
