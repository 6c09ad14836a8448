//! Which tasks after one go on: what branches, short circuits and conditions on edges leave out.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{Engine, attempts::has_begun, run::Run};
use crate::{
    AlertOn, End, MapIndex, TaskIx, TiKey, TiState, TiStateName, XcomValue,
    input::{Branch, Outcome, ToWorker},
    record::TiRow,
};

impl Engine {
    /// Skips what a branching task leaves out, unless it has begun: also what was decided otherwise before.
    /// Of what comes directly after it, it is noted, so that it is skipped again when it is cleared.
    pub(super) fn follow_branch(
        &mut self,
        now: Timestamp,
        key: TiKey,
        branch: &Branch,
    ) -> Result<(), String> {
        let Some(run) = self.runs.get_mut(&key.run) else { return Ok(()) };
        let left_out = left_out_by_branch(run, key, branch)?;
        let direct = run.dag.downstream(key.task).iter().filter(|task| left_out.binary_search(task).is_ok());
        let direct: Arc<[TaskIx]> = direct.copied().collect();
        run.set_skips(key, direct);
        self.look_at_skipped(key);
        if key.map_index == MapIndex::NONE {
            self.skip(now, key, &left_out);
        }
        Ok(())
    }

    fn skip(&mut self, now: Timestamp, by: TiKey, tasks: &[TaskIx]) {
        let Some(run) = self.runs.get(&by.run) else { return };
        let reason =
            run.ti(by).map_or_else(|| "a task before it chose another way".into(), |by| chose(run, by));
        let open = |ti: &&TiRow| match ti.key.map_index {
            MapIndex::NONE => may_be_skipped(&ti.state),
            _ => ti.state == TiState::None,
        };
        let instances = tasks.iter().flat_map(|task| &run.tasks[task.usize()].instances);
        let skipped: Vec<TiKey> = instances.filter(open).map(|ti| ti.key).collect();
        for key in skipped {
            self.tell_holder(key, ToWorker::Cancel);
            self.end(now, key, End::Skipped, reason.clone());
        }
    }

    /// Notes which tasks the conditions on edges leave out.
    pub(super) fn follow_conditions(
        &mut self,
        now: Timestamp,
        key: TiKey,
        outcome: &Outcome,
        state: TiStateName,
    ) {
        let Some(run) = self.runs.get(&key.run) else { return };
        let dag = run.dag.clone();
        let conditions = &dag.node(key.task).conditions;
        if conditions.is_empty() {
            return;
        }
        let result = outcome.xcoms.iter().find(|(name, _)| name == "return_value").map(|(_, value)| value);
        let result = match result {
            Some(XcomValue::Inline(value)) => Some(&**value),
            // A condition on a result that large is not told; it sees none, which is an error below.
            Some(XcomValue::Blob { .. }) | None => None,
        };
        let mut skips: Vec<TaskIx> = run.ti(key).map(|ti| ti.skips.to_vec()).unwrap_or_default();
        let mut wrong = Vec::new();
        for (to, condition) in conditions {
            match condition.holds(result, state, outcome.exit_code) {
                Ok(true) => {}
                Ok(false) => skips.push(*to),
                Err(error) => wrong.push((*to, error.to_string())),
            }
        }
        let unsure: Vec<(TiKey, String)> = wrong
            .into_iter()
            .flat_map(|(to, error)| run.tasks[to.usize()].instances.iter().map(move |ti| (ti, error.clone())))
            .filter(|(ti, _)| ti.state == TiState::None)
            .map(|(ti, error)| (ti.key, error))
            .collect();
        for (to, error) in unsure {
            self.end(now, to, End::Failed, error);
            self.alert(now, to, AlertOn::Failure);
        }
        skips.sort_unstable();
        skips.dedup();
        if let Some(run) = self.runs.get_mut(&key.run) {
            run.set_skips(key, skips.into());
        }
        self.look_at_skipped(key);
    }

    fn look_at_skipped(&mut self, key: TiKey) {
        let skips = self.ti(key).map(|ti| ti.skips.clone());
        for task in skips.iter().flat_map(|skips| skips.iter()) {
            self.todo.insert((key.run, *task));
        }
        self.changed.tis.insert(key);
    }
}

/// Why a task instance is skipped that another leaves out.
pub(super) fn left_out_by(run: &Run, by: &TiRow, task: TaskIx) -> Arc<str> {
    let conditions = &run.dag.node(by.key.task).conditions;
    match conditions.iter().find(|(to, _)| *to == task) {
        Some((_, when)) => {
            format!("the condition `{}` after `{}` did not hold", when.as_str(), by.task_id).into()
        }
        None => chose(run, by),
    }
}

/// What a task has chosen that leaves out others: another way, or none.
fn chose(run: &Run, by: &TiRow) -> Arc<str> {
    let is_copy = by.key.map_index != MapIndex::NONE;
    let may_be_left_out =
        |task: &&TaskIx| !run.dag.is_teardown(**task) && (!is_copy || run.dag.mapping(**task).is_some());
    let mut after = run.dag.downstream(by.key.task).iter().filter(may_be_left_out);
    match after.all(|task| by.skips.contains(task)) {
        true => format!("`{}` let nothing after it run", by.task_id).into(),
        false => format!("`{}` chose another way", by.task_id).into(),
    }
}

/// Whether no attempt is under way and none has succeeded or failed.
fn may_be_skipped(state: &TiState) -> bool {
    !has_begun(state) && (!state.is_finished() || *state == TiState::UpstreamFailed)
}

/// The tasks that a branching task leaves out, in their order. What one copy of a mapped task chooses says nothing of tasks
/// that are there once for all copies, nor of those that do not come directly after it (as in Airflow).
fn left_out_by_branch(run: &Run, key: TiKey, branch: &Branch) -> Result<Vec<TaskIx>, String> {
    let dag = &run.dag;
    let is_copy = key.map_index != MapIndex::NONE;
    let not_teardown = |ix: &TaskIx| !dag.is_teardown(*ix);
    let mut skipped: Vec<TaskIx> = match branch {
        Branch::SkipAllDownstream if !is_copy => {
            dag.relatives(&[key.task], false).into_iter().filter(not_teardown).collect()
        }
        Branch::SkipAllDownstream | Branch::SkipDownstream => {
            dag.downstream(key.task).iter().copied().filter(not_teardown).collect()
        }
        Branch::Follow(chosen) => {
            let mut followed = BTreeSet::new();
            for name in chosen {
                let found = dag.find_tasks(name);
                if found.is_empty() {
                    return Err(format!("it branches to `{name}`, and there is no such task or task group"));
                }
                followed.extend(found);
            }
            // What comes after a branch that is followed is reached that way.
            let first: Vec<TaskIx> = followed.iter().copied().collect();
            followed.extend(dag.relatives(&first, false));
            let left_out = |ix: &TaskIx| !followed.contains(ix);
            dag.downstream(key.task).iter().copied().filter(left_out).collect()
        }
    };
    skipped.retain(|ix| !is_copy || dag.mapping(*ix).is_some());
    Ok(skipped)
}
