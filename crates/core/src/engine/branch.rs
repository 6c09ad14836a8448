//! Which tasks after one go on: what branches, short circuits and conditions on edges leave out.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Engine, attempts::has_begun, run::Run, upstream::left_out_by};
use crate::{
    AlertOn, End, MapIndex, Role, TaskIx, TiKey, TiState, TiStateName, XcomValue,
    input::{Branch, Outcome, ToWorker},
};

impl Engine {
    /// Notes which tasks a branching task leaves out, and skips them unless they have begun: also what was
    /// decided otherwise before.
    pub(super) fn follow_branch(
        &mut self,
        now: Timestamp,
        key: TiKey,
        branch: &Branch,
    ) -> Result<(), String> {
        let Some(run) = self.runs.get_mut(&key.run) else { return Ok(()) };
        let skips: Arc<[TaskIx]> = skipped_by_branch(run, key, branch)?.into();
        run.set_skips(key, skips.clone());
        self.look_at_skipped(key);
        for task in skips.iter().filter(|_| key.map_index == MapIndex::NONE) {
            let left_out = TiKey { task: *task, ..key };
            let Some(run) = self.runs.get(&key.run) else { break };
            let Some(state) = run.ti(left_out).map(|ti| &ti.state) else { continue };
            if has_begun(state) || (state.is_finished() && *state != TiState::UpstreamFailed) {
                continue;
            }
            let reason = left_out_by(run, left_out);
            self.tell_holder(left_out, ToWorker::Cancel);
            self.end(now, left_out, End::Skipped, reason);
        }
        Ok(())
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

/// The tasks that a branching task leaves out. What one copy of a mapped task chooses says nothing of tasks
/// that are there once for all copies, nor of those that do not come directly after it (as in Airflow).
fn skipped_by_branch(run: &Run, key: TiKey, branch: &Branch) -> Result<Vec<TaskIx>, String> {
    let dag = &run.dag;
    let is_copy = key.map_index != MapIndex::NONE;
    let not_teardown = |ix: &TaskIx| !matches!(dag.task(*ix).role, Role::Teardown { .. });
    let mut skipped: Vec<TaskIx> = match branch {
        Branch::SkipAllDownstream if !is_copy => {
            dag.relatives(&[key.task], false).into_iter().filter(not_teardown).collect()
        }
        Branch::SkipAllDownstream | Branch::SkipDownstream => {
            dag.downstream(key.task).iter().copied().filter(not_teardown).collect()
        }
        Branch::Follow(chosen) => {
            let mut followed = Vec::new();
            for name in chosen {
                let found = dag.find_tasks(name);
                if found.is_empty() {
                    return Err(format!("it branches to `{name}`, and there is no such task or task group"));
                }
                followed.extend(found);
            }
            // What comes after a branch that is followed is reached that way.
            let reached = dag.relatives(&followed, false);
            let left_out = |ix: &TaskIx| !followed.contains(ix) && !reached.contains(ix);
            dag.downstream(key.task).iter().copied().filter(left_out).collect()
        }
    };
    skipped.retain(|ix| !is_copy || dag.mapping(*ix).is_some());
    Ok(skipped)
}
