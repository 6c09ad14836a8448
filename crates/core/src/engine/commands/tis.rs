//! Commands about task instances.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::{Engine, run::Run};
use crate::{
    Dag, End, MapIndex, RunKey, RunState, TaskIx, TiEvent, TiKey, TiState, TiStateName, XcomValue,
    input::{Clear, CommandError, Reply, ToWorker},
    record::XcomRow,
};

impl Engine {
    pub(super) fn clear(&mut self, now: Timestamp, clear: &Clear) -> Result<Reply, CommandError> {
        let run = self.runs.get(&clear.run).ok_or_else(|| Self::no_run(clear.run))?;
        let latest = if clear.latest { self.latest_for(clear.run)? } else { None };
        // What follows what is as in the version that it goes on with.
        let moved = latest.map(|(version, dag)| run.moved_to(version, dag));
        let keys = to_clear(moved.as_ref().map_or(run, |(moved, _)| moved), clear)?;
        if clear.dry_run {
            return Ok(Reply::Tis(keys));
        }
        let over = run.row.state.is_finished();
        if let Some((moved, new)) = moved.filter(|_| !keys.is_empty()) {
            self.runs.insert(clear.run, moved);
            self.changed.tis.extend(new);
            self.changed.runs.insert(clear.run);
        }
        self.begin_anew(now, &keys);
        if over && clear.reset_run && !keys.is_empty() {
            self.requeue_run(now, clear.run);
        } else if !over && !keys.is_empty() {
            self.undecide_run(clear.run);
        }
        Ok(Reply::Tis(keys))
    }

    fn begin_anew(&mut self, now: Timestamp, tis: &[TiKey]) {
        for key in tis {
            self.clear_one(now, *key);
        }
    }

    fn clear_one(&mut self, now: Timestamp, key: TiKey) {
        let Some(state) = self.ti(key).map(|ti| ti.state.clone()) else { return };
        let runs = state.assignment().is_some();
        if runs {
            // Its row is made new when the attempt has ended.
            self.tell_holder(key, ToWorker::Cancel);
        } else if state != TiState::None {
            self.renew(now, key);
        }
        if state != TiState::None {
            self.transition(now, key, TiEvent::Cleared, None);
        }
    }

    pub(super) fn mark(&mut self, now: Timestamp, tis: &[TiKey], state: End) -> Result<Reply, CommandError> {
        if matches!(state, End::UpstreamFailed | End::Removed) {
            return Err(CommandError::Invalid("mark as success, failed or skipped".into()));
        }
        if let Some(missing) = tis.iter().find(|key| self.ti(**key).is_none()) {
            return Err(Self::no_ti(*missing));
        }
        let mut marked = Vec::new();
        for key in tis {
            if self.ti(*key).is_some_and(|ti| ti.state == TiState::from(state)) {
                continue;
            }
            self.tell_holder(*key, ToWorker::Cancel);
            self.end(now, *key, state, "marked by hand");
            marked.push(*key);
        }
        if let Some(first) = marked.first() {
            self.resume_after(now, first.run, &marked);
        }
        Ok(Reply::Tis(marked))
    }

    /// What failed after task instances that were marked begins anew, as Airflow has it.
    fn resume_after(&mut self, now: Timestamp, key: RunKey, marked: &[TiKey]) {
        // One that is marked itself takes on nothing new.
        let Some(run) = self.runs.get(&key).filter(|run| run.row.marked.is_none()) else { return };
        let tasks: Vec<TaskIx> = marked.iter().map(|ti| ti.task).collect();
        let after: Vec<TiKey> = run
            .dag
            .relatives(&tasks, false)
            .into_iter()
            .filter(|task| !tasks.contains(task))
            .flat_map(|task| &run.tasks[task.usize()].instances)
            .filter(|ti| matches!(ti.state, TiState::Failed | TiState::UpstreamFailed))
            .map(|ti| ti.key)
            .collect();
        let over = run.row.state.is_finished();
        self.begin_anew(now, &after);
        if over && !after.is_empty() {
            self.requeue_run(now, key);
        }
    }

    pub(super) fn pause(&mut self, now: Timestamp, key: TiKey) -> Result<Reply, CommandError> {
        self.expect(key, TiStateName::Running, "paused")?;
        self.tell_holder(key, ToWorker::Pause);
        self.transition(now, key, TiEvent::Paused, Some("paused by hand".into()));
        Ok(Reply::Done)
    }

    pub(super) fn go_on(&mut self, now: Timestamp, key: TiKey) -> Result<Reply, CommandError> {
        self.expect(key, TiStateName::Paused, "continued")?;
        self.tell_holder(key, ToWorker::Continue);
        self.transition(now, key, TiEvent::Continued, None);
        Ok(Reply::Done)
    }

    pub(super) fn stop(&mut self, now: Timestamp, key: TiKey, by: &str) -> Result<Reply, CommandError> {
        let ti = self.ti(key).ok_or_else(|| Self::no_ti(key))?;
        if ti.state.is_finished() {
            return Err(CommandError::Conflict(format!("it is {} already", ti.state.name())));
        }
        if self.runs.get(&key.run).is_some_and(|run| run.row.state == RunState::Queued) {
            return Err(CommandError::Conflict("its run has not begun; delete the run instead".into()));
        }
        self.tell_holder(key, ToWorker::Cancel);
        self.fail_for_good(now, key, None, format!("stopped by {by}").into());
        Ok(Reply::Done)
    }

    pub(super) fn put_xcom(
        &mut self,
        now: Timestamp,
        ti: TiKey,
        key: String,
        value: XcomValue,
    ) -> Result<Reply, CommandError> {
        self.ti(ti).ok_or_else(|| Self::no_ti(ti))?;
        if key.is_empty() {
            return Err(CommandError::Invalid("a value needs a key".into()));
        }
        // How many copies a mapped task gets was settled by what the task itself left.
        self.out.batch.xcoms.push(XcomRow { ti, key, value, at: now });
        Ok(Reply::Done)
    }

    pub(super) fn delete_xcom(&mut self, ti: TiKey, key: String) -> Result<Reply, CommandError> {
        self.ti(ti).ok_or_else(|| Self::no_ti(ti))?;
        let batch = &mut self.out.batch;
        batch.xcoms.retain(|xcom| (xcom.ti, &xcom.key) != (ti, &key));
        batch.deleted_xcoms.insert((ti, key));
        Ok(Reply::Done)
    }

    fn expect(&self, key: TiKey, state: TiStateName, what: &str) -> Result<(), CommandError> {
        let ti = self.ti(key).ok_or_else(|| Self::no_ti(key))?;
        if ti.state.name() == state {
            return Ok(());
        }
        let message = format!("only what is {state} can be {what}; this is {}", ti.state.name());
        Err(CommandError::Conflict(message))
    }
}

/// The task instances of a run that a clear is about.
fn to_clear(run: &Run, clear: &Clear) -> Result<Vec<TiKey>, CommandError> {
    let mut chosen: BTreeSet<(TaskIx, Option<MapIndex>)> = BTreeSet::new();
    for (task, map_index) in &clear.tasks {
        let ix = run.dag.find(task).ok_or_else(|| {
            CommandError::NotFound(format!("the DAG `{}` has no task `{task}`", run.row.dag))
        })?;
        chosen.insert((ix, *map_index));
    }
    if clear.tasks.is_empty() {
        chosen.extend(run.dag.tasks().map(|ix| (ix, None)));
    }
    let whole: Vec<TaskIx> = chosen.iter().filter(|(_, copy)| copy.is_none()).map(|(ix, _)| *ix).collect();
    let copies: Vec<_> = chosen.iter().copied().filter(|(_, copy)| copy.is_some()).collect();
    let directions = [(clear.upstream, true), (clear.downstream, false)];
    for (_, upstream) in directions.into_iter().filter(|(wanted, _)| *wanted) {
        chosen.extend(run.dag.relatives(&whole, upstream).into_iter().map(|to| (to, None)));
        for (ix, copy) in &copies {
            let relatives = run.dag.relatives(&[*ix], upstream).into_iter();
            chosen.extend(relatives.map(|to| (to, copy_beside(&run.dag, *ix, *copy, to))));
        }
    }
    if run.dag.has_setups() {
        for (ix, copy) in chosen.clone() {
            let around = run.dag.setups_around(ix);
            chosen.extend(around.into_iter().map(|to| (to, copy_beside(&run.dag, ix, copy, to))));
        }
    }
    let wanted = |ti: &&crate::record::TiRow| {
        let failed = matches!(ti.state, TiState::Failed | TiState::UpstreamFailed);
        let runs = matches!(ti.state.name(), TiStateName::Running | TiStateName::Paused);
        match (clear.only_failed, clear.only_running) {
            (true, true) => failed || runs,
            (true, false) => failed,
            (false, true) => runs,
            (false, false) => true,
        }
    };
    let mut keys: BTreeSet<TiKey> = BTreeSet::new();
    for (ix, map_index) in chosen {
        let instances = run.tasks[ix.usize()].instances.iter().filter(wanted);
        keys.extend(instances.map(|ti| ti.key).filter(|key| map_index.is_none_or(|m| m == key.map_index)));
    }
    Ok(keys.into_iter().collect())
}

/// Which copy of another task goes with a copy of this one: that of its index in a mapped group, else all.
fn copy_beside(dag: &Dag, from: TaskIx, copy: Option<MapIndex>, to: TaskIx) -> Option<MapIndex> {
    let group = dag.node(from).mapped_group;
    copy.filter(|_| group.is_some() && dag.node(to).mapped_group == group)
}
