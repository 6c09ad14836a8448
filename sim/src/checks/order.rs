//! Nothing begins before what it depends on allows it: the changes of a batch, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use updraft_core::{
    AttemptId, MapIndex, RunKey, RunState, TaskIx, TaskSpec, TiKey, TiStateName as S, TriggerRule,
    record::{Batch, RunRow, TransitionRow},
};

use super::{Check, rules, shape::Shape, shapes::Shapes};
use crate::disk::Disk;

/// The task instances as they are amid a batch.
pub(super) struct Replay<'a> {
    pub disk: &'a Disk,
    pub batch: &'a Batch,
    /// Where this batch has taken a task instance; nowhere, where it is gone.
    now: BTreeMap<TiKey, Option<S>>,
    /// How many changes each task instance has yet to go through.
    to_come: BTreeMap<TiKey, u32>,
    /// Those that have left the worker that had them before the batch.
    left: BTreeSet<TiKey>,
}

impl<'a> Replay<'a> {
    pub fn new(disk: &'a Disk, batch: &'a Batch) -> Self {
        let mut to_come: BTreeMap<TiKey, u32> = BTreeMap::new();
        let mut first: BTreeMap<TiKey, S> = BTreeMap::new();
        for change in &batch.transitions {
            *to_come.entry(change.ti).or_default() += 1;
            first.entry(change.ti).or_insert(change.from);
        }
        let mut now = BTreeMap::new();
        for (key, row) in batch.tis.iter().filter(|(key, _)| !disk.tis.contains_key(key)) {
            now.insert(*key, Some(first.get(key).copied().unwrap_or(row.state.name())));
        }
        for key in &batch.deleted_tis {
            let known = disk.tis.contains_key(key);
            if !batch.tis.contains_key(key) && (!to_come.contains_key(key) || !known) {
                // Made and gone within the batch, or gone before anything else.
                now.insert(*key, first.get(key).copied());
            }
        }
        Self { disk, batch, now, to_come, left: BTreeSet::new() }
    }

    pub fn state(&self, key: TiKey) -> Option<S> {
        match self.now.get(&key) {
            Some(state) => *state,
            None => self.disk.tis.get(&key).map(|ti| ti.state.name()),
        }
    }

    /// Takes a task instance through a change.
    pub fn apply(&mut self, change: &TransitionRow) -> Check {
        let before = self.state(change.ti);
        if before != Some(change.from) {
            return Err(format!(
                "{:?} was {before:?}, and goes from {} to {}",
                change.ti, change.from, change.to
            ));
        }
        let left = self.to_come.entry(change.ti).or_insert(1);
        *left -= 1;
        if !with_worker(change.to) || (change.from, change.to) == (S::Scheduled, S::Deferred) {
            self.left.insert(change.ti);
        }
        let gone = *left == 0
            && self.batch.deleted_tis.contains(&change.ti)
            && !self.batch.tis.contains_key(&change.ti);
        self.now.insert(change.ti, (!gone).then_some(change.to));
        Ok(())
    }

    /// Every row says what the changes lead to.
    pub fn ends_as_written(&self) -> Check {
        for (key, row) in &self.batch.tis {
            if self.state(*key) != Some(row.state.name()) {
                return Err(format!(
                    "{key:?} is {:?} by its changes, and written as {:?}",
                    self.state(*key),
                    row.state
                ));
            }
        }
        for (key, state) in &self.now {
            let written = self.batch.tis.contains_key(key) || state.is_none();
            if !written && !self.batch.deleted_tis.contains(key) {
                return Err(format!("{key:?} became {state:?}, and that is not written"));
            }
        }
        Ok(())
    }

    /// The instances of a task.
    pub fn instances(&self, run: RunKey, task: usize) -> Vec<(MapIndex, S)> {
        let task = TaskIx(task as u32);
        let key = |map_index| TiKey { run, task, map_index: MapIndex(map_index) };
        let new = self.now.range(key(i32::MIN)..=key(i32::MAX)).map(|(key, _)| *key);
        let keys: BTreeSet<TiKey> = self.disk.instances(run, task).map(|ti| ti.key).chain(new).collect();
        keys.into_iter().filter_map(|key| Some((key.map_index, self.state(key)?))).collect()
    }

    pub fn run(&self, run: RunKey) -> Option<&'a RunRow> {
        self.batch.runs.get(&run).or_else(|| self.disk.runs.get(&run))
    }

    /// The attempt that a worker has had since before the batch, where it still has it.
    pub fn attempt(&self, key: TiKey) -> Option<AttemptId> {
        let ti = self.disk.tis.get(&key).filter(|_| !self.left.contains(&key))?;
        let assignment = ti.state.assignment()?;
        Some(AttemptId { ti: key, try_number: ti.try_number, lease: assignment.lease })
    }

    /// The task instances that tell this one to be skipped, as far as that is sure amid the batch. What is
    /// mapped is skipped copy by copy.
    fn skipped_by(&self, shape: &Shape, of: TiKey) -> Option<TiKey> {
        let settled = |key: &TiKey| self.to_come.get(key).is_none_or(|left| *left == 0);
        let new = self.batch.tis.range(crate::disk::keys_of(of.run)).map(|(_, ti)| ti);
        let rows = self.disk.tis_of(of.run).filter(|ti| !self.batch.tis.contains_key(&ti.key)).chain(new);
        let same_copy = |by: MapIndex| by == MapIndex::NONE || by == of.map_index;
        let is_mapped = shape.mapping(of.task.usize()).is_some();
        rows.filter(|ti| ti.skips.contains(&of.task) && (!is_mapped || same_copy(ti.key.map_index)))
            .find(|ti| settled(&ti.key) && self.state(ti.key).is_some())
            .map(|ti| ti.key)
    }
}

/// Whether a worker may have what is in this state.
pub(super) fn with_worker(state: S) -> bool {
    matches!(state, S::Queued | S::Running | S::Paused | S::Deferred | S::Restarting)
}

/// A task instance is about to begin: everything before it allows that.
pub(super) fn may_begin(replay: &Replay<'_>, shapes: &Shapes, key: TiKey) -> Check {
    let Some(run) = replay.run(key.run) else { return Err(format!("{key:?} begins and has no run")) };
    let Some(shape) = shapes.of(replay.disk, replay.batch, run) else { return Ok(()) };
    let task = key.task.usize();
    let spec = &shape.spec.tasks[task];
    let name = format!("{}[{}] of run {} ({})", spec.task_id, key.map_index, run.run_id, key.run);
    let was_running = replay.disk.runs.get(&key.run).is_some_and(|run| run.state == RunState::Running);
    // Where it was cleared after this, the run may wait again by the end of the batch.
    let cleared = replay.batch.tis.get(&key).is_some_and(|ti| ti.state.name() == S::None);
    if !was_running && run.started_at.is_none() && !cleared {
        return Err(format!("{name} begins, and its run has not"));
    }
    let dag = replay.disk.dags.get(&run.dag).filter(|_| !replay.batch.dags.contains_key(&run.dag));
    if dag.is_some_and(|dag| dag.is_paused) {
        return Err(format!("{name} begins, and its DAG is paused"));
    }
    if replay.disk.paused && replay.batch.paused.is_none() {
        return Err(format!("{name} begins, and everything is paused"));
    }
    if key.map_index == MapIndex::NONE && shape.mapping(task).is_some() {
        return Err(format!("{name} begins, and should have become copies"));
    }
    let before = before(replay, &shape, key);
    if !rules::may_begin(spec.trigger_rule, &before) {
        return Err(format!("{name} begins by {}, and before it there are {before:?}", spec.trigger_rule));
    }
    if let Some(by) = replay.skipped_by(&shape, key) {
        return Err(format!("{name} begins, and {by:?} chose another way"));
    }
    if spec.trigger_rule == TriggerRule::Always {
        return Ok(());
    }
    for setup in shape.setups[task].difference(&shape.up[task]) {
        let good = |state: &S| matches!(state, S::Success | S::Removed);
        if !beside(replay, &shape, key, *setup).iter().all(good) {
            return Err(format!("{name} begins, and its setup t{setup} has not succeeded"));
        }
    }
    for between in &shape.scope[task] {
        if !beside(replay, &shape, key, *between).iter().all(|state| state.is_finished()) {
            return Err(format!("teardown {name} begins, and t{between} is not over"));
        }
    }
    after_the_run_before(replay, shapes, run, spec).map_err(|why| format!("{name} begins, and {why}"))
}

/// `depends_on_past` and `wait_for_downstream`: what has to be good in the run before is.
fn after_the_run_before(replay: &Replay<'_>, shapes: &Shapes, run: &RunRow, task: &TaskSpec) -> Check {
    let batch = replay.batch;
    let new_run =
        |(key, other): (&RunKey, &RunRow)| other.dag == run.dag && !replay.disk.runs.contains_key(key);
    // Which run was before may have changed amid the batch.
    let unsure = !batch.deleted_runs.is_empty() || batch.runs.iter().any(new_run);
    if unsure || !(task.depends_on_past || task.wait_for_downstream) {
        return Ok(());
    }
    let only_scheduled = replay.disk.version_of(run).is_some_and(|version| version.spec.catchup);
    let date = run.logical_date.unwrap_or(run.run_after);
    let before = replay.disk.run_before(&run.dag, date, only_scheduled);
    let Some(before) = before.and_then(|before| replay.run(before)) else { return Ok(()) };
    let Some(shape) = shapes.of(replay.disk, batch, before) else { return Ok(()) };
    let place = shape.spec.tasks.iter().position(|other| other.task_id == task.task_id);
    let Some(place) = place.filter(|place| !replay.instances(before.key, *place).is_empty()) else {
        return match task.ignore_first_depends_on_past {
            true => Ok(()),
            false => Err(format!("run {} before it has no such task", before.key)),
        };
    };
    let good = |place: &usize| {
        let all = replay.instances(before.key, *place);
        all.iter().all(|(_, state)| matches!(state, S::Success | S::Skipped))
    };
    match good(&place) && (!task.wait_for_downstream || shape.down[place].iter().all(good)) {
        true => Ok(()),
        false => Err(format!("it has not succeeded in run {} before", before.key)),
    }
}

/// The states of all that is directly before a task instance, setups marked.
pub(super) fn before(replay: &Replay<'_>, shape: &Shape, key: TiKey) -> Vec<(S, bool)> {
    let mut found = Vec::new();
    for up in &shape.up[key.task.usize()] {
        let setup = shape.spec.tasks[*up].role == updraft_core::Role::Setup;
        found.extend(beside(replay, shape, key, *up).into_iter().map(|state| (state, setup)));
    }
    found
}

/// The states of those instances of a task on which this one depends.
pub(super) fn beside(replay: &Replay<'_>, shape: &Shape, key: TiKey, up: usize) -> Vec<S> {
    let group = &shape.group[key.task.usize()];
    let beside = group.is_some() && *group == shape.group[up] && key.map_index != MapIndex::NONE;
    // In a mapped group each copy depends on those of its own index.
    let counts = |index: MapIndex| !beside || index == key.map_index || index == MapIndex::NONE;
    let instances = replay.instances(key.run, up).into_iter();
    instances.filter(|(index, _)| counts(*index)).map(|(_, state)| state).collect()
}
