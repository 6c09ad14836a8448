//! Commands about runs.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::{Engine, run::Past, runs::Spared};
use crate::{
    Dag, DagKey, End, RunId, RunKey, RunState, TaskIx,
    input::{CommandError, Reply, Trigger},
    record::{RunRow, RunType},
    schedule::Tick,
};

/// As Airflow's database has it.
const LONGEST_RUN_ID: usize = 250;

impl Engine {
    pub(super) fn trigger(&mut self, now: Timestamp, by: &str, t: Trigger) -> Result<Reply, CommandError> {
        let dag = self.dags.get(&t.dag).ok_or_else(|| Self::no_dag(&t.dag))?;
        if dag.row.is_stale {
            let message = format!("the DAG `{}` is gone from its source, {}", t.dag, dag.row.source);
            return Err(CommandError::Conflict(message));
        }
        let run_after = t.run_after.unwrap_or(now);
        let run_id = match t.run_id {
            Some(run_id) => run_id,
            None => self.free_run_id(t.run_type, &t.dag, run_after),
        };
        let is_part_of_paths = run_id.contains(['/', '\\']) || matches!(&*run_id, "." | "..");
        if run_id.trim().is_empty() || is_part_of_paths || run_id.contains(char::is_control) {
            return Err(CommandError::Invalid(format!(
                "{run_id:?} can't name a run: it is empty, `.` or `..`, or has slashes or control characters"
            )));
        }
        if run_id.chars().count() > LONGEST_RUN_ID {
            return Err(CommandError::Invalid(format!(
                "a run's name has at most {LONGEST_RUN_ID} letters, and this one {}",
                run_id.chars().count()
            )));
        }
        // Airflow refuses it too: a tick would find its name taken.
        let reserved = format!("{}__", RunType::Scheduled.as_str());
        if t.run_type != RunType::Scheduled && run_id.starts_with(&reserved) {
            return Err(CommandError::Invalid(format!(
                "`{run_id}` can't name this run: `{reserved}` begins the names of scheduled runs"
            )));
        }
        if self.run_ids.contains_key(&(t.dag.clone(), run_id.clone())) {
            let message = format!("the DAG `{}` has a run `{run_id}` already; choose another run_id", t.dag);
            return Err(CommandError::Conflict(message));
        }
        let selection = match t.tasks.as_slice() {
            [] => None,
            chosen => {
                let find = |task: &crate::TaskId| {
                    let missing = || format!("the DAG `{}` has no task `{task}`", t.dag);
                    dag.dag.find(task).ok_or_else(|| CommandError::NotFound(missing()))
                };
                let mut chosen: Vec<TaskIx> = chosen.iter().map(find).collect::<Result<_, _>>()?;
                chosen.sort_unstable();
                chosen.dedup();
                Some(chosen.into())
            }
        };
        let interval = dag.dag.spec().schedule.manual_data_interval(t.logical_date.unwrap_or(run_after));
        let data_interval = match (t.data_interval, t.logical_date) {
            (Some(given), _) => Some(given),
            (None, Some(_)) => Some((interval.start, interval.end)),
            // Airflow: a run without a logical date has no data interval either.
            (None, None) => None,
        };
        let row = RunRow {
            key: RunKey(self.last_run + 1),
            dag: t.dag,
            run_id: run_id.clone(),
            version: dag.row.version,
            state: RunState::Queued,
            run_type: t.run_type,
            triggered_by: t.triggered_by.into(),
            triggering_user: Some(by.into()),
            owner: dag.dag.spec().owner.clone(),
            logical_date: t.logical_date,
            data_interval,
            run_after,
            conf: t.conf,
            selection,
            queued_at: now,
            started_at: None,
            ended_at: None,
            clear_number: 0,
            // Who runs the past knows that it is late.
            deadlines_told: Some(now),
            reason: None,
            marked: None,
        };
        let (key, compiled) = (row.key, dag.dag.clone());
        self.last_run += 1;
        self.create_run(now, row, compiled, Arc::default());
        Ok(Reply::Run(key, run_id))
    }

    /// The name of a run that was given none. Two of one microsecond are told apart by the run's number.
    fn free_run_id(&self, run_type: RunType, dag: &DagKey, run_after: Timestamp) -> RunId {
        let plain = plain_run_id(run_type, run_after);
        match self.run_ids.contains_key(&(dag.clone(), plain.clone())) {
            true => format!("{plain}_{}", self.last_run + 1).into(),
            false => plain,
        }
    }

    pub(super) fn delete_run(&mut self, now: Timestamp, key: RunKey) -> Result<Reply, CommandError> {
        if !self.runs.contains_key(&key) {
            return Err(Self::no_run(key));
        }
        self.erase_run(now, key);
        Ok(Reply::Done)
    }

    pub(super) fn mark_run(
        &mut self,
        now: Timestamp,
        key: RunKey,
        state: RunState,
    ) -> Result<Reply, CommandError> {
        let run = self.runs.get(&key).ok_or_else(|| Self::no_run(key))?;
        match state {
            RunState::Running => Err(CommandError::Invalid(
                "a run can be marked as success or failed, or put back to queued; it runs by itself".into(),
            )),
            RunState::Queued => {
                if run.row.state.is_finished() {
                    self.requeue_run(now, key);
                }
                Ok(Reply::Done)
            }
            RunState::Failed | RunState::Success => {
                self.decide_run(now, key, state);
                Ok(Reply::Done)
            }
        }
    }

    /// As Airflow has it: what runs becomes what the run becomes, the rest is skipped, and what is over stays as it is.
    /// Teardowns do their work before the run is over, however often it is marked.
    fn decide_run(&mut self, now: Timestamp, key: RunKey, state: RunState) {
        let Some(run) = self.runs.get(&key) else { return };
        let begun = run.row.state == RunState::Running;
        let spared = if begun { Spared::Teardowns } else { Spared::Nothing };
        let running = if state == RunState::Failed { End::Failed } else { End::Success };
        self.stop_run(now, key, running, spared, &format!("the run was marked as {state}"));
        let Some(run) = self.runs.get_mut(&key) else { return };
        // With `fail_fast` the first that fails may have decided it.
        if run.unfinished > 0 {
            run.row.marked = Some(state);
            self.touched.insert(key);
            run.row.reason = Some(format!("it was marked as {state}; its teardowns are still to run"));
            self.changed.runs.insert(key);
        } else if run.row.state != state {
            self.finish_run(now, key, state, Some(format!("it was marked as {state}")));
        }
    }

    /// A run that was marked, and tears down, is to do more: what it becomes is decided anew.
    pub(super) fn undecide_run(&mut self, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.row.marked.is_some()) else { return };
        run.row.marked = None;
        run.row.reason = None;
        self.changed.runs.insert(key);
    }

    /// The version of its DAG that a run is to go on with, where that is a later one.
    pub(super) fn latest_for(&self, key: RunKey) -> Result<Option<(u32, Arc<Dag>)>, CommandError> {
        let run = self.runs.get(&key).ok_or_else(|| Self::no_run(key))?;
        let dag = self.dags.get(&run.row.dag).ok_or_else(|| Self::no_dag(&run.row.dag))?;
        let (from, to) = (run.row.version, dag.row.version);
        if from == to {
            return Ok(None);
        }
        if !run.row.state.is_finished() {
            let message =
                format!("the run goes on with version {from} of its DAG until it is over: end it, or wait");
            return Err(CommandError::Conflict(message));
        }
        match run.dag.continued_by(&dag.dag) {
            Ok(()) => Ok(Some((to, dag.dag.clone()))),
            Err(why) => Err(CommandError::Conflict(format!(
                "the run can't go on with version {to} of its DAG, since it began with version {from}, and {why}: \
                 trigger a new one"
            ))),
        }
    }

    /// A run that is over begins anew with what is not finished.
    pub(super) fn requeue_run(&mut self, now: Timestamp, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.row.state = RunState::Queued;
        run.row.queued_at = now;
        run.row.started_at = None;
        run.row.ended_at = None;
        run.row.reason = None;
        run.row.marked = None;
        run.row.clear_number += 1;
        // Another may have come between since it looked.
        run.past = if run.dag.looks_at_past() { Past::Unknown } else { Past::None };
        let (dag, run_after) = (run.row.dag.clone(), run.row.run_after);
        self.changed.runs.insert(key);
        if let Some(state) = self.dags.get_mut(&dag) {
            state.queued.insert((run_after, key));
        }
        self.await_deadline(key);
        self.begin_runs(now, &dag);
    }
}

/// Airflow's name for a run that was given none: its type and time.
pub(super) fn plain_run_id(run_type: RunType, run_after: Timestamp) -> RunId {
    Tick::named(run_type.as_str(), run_after).into()
}
