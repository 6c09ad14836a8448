//! A run that is over is over for a reason, and its state is that of its leaves.

use updraft_core::{
    MapIndex, RunState, TiStateName as S,
    record::{Batch, RunRow},
};

use super::{
    Check,
    order::{self, Replay},
    rules,
    shapes::Shapes,
};
use crate::disk::Disk;

/// Looks at the runs that a batch ends, in the store as it is after it.
pub(super) fn fit(disk: &Disk, shapes: &Shapes, batch: &Batch) -> Check {
    for run in batch.runs.values().filter(|run| run.state.is_finished()) {
        match run.reason.as_deref() {
            None => by_leaves(disk, shapes, batch, run)?,
            Some(why) if why.starts_with("nothing can run any more") => stuck(disk, shapes, batch, run)?,
            Some(why) if why.starts_with("it was marked as") => {}
            Some(why) if why.starts_with("its time was up") => time_was_up(disk, run)?,
            Some(why) => {
                return Err(format!("run {} is over for a reason that nobody knows: {why}", run.key));
            }
        }
    }
    Ok(())
}

fn by_leaves(disk: &Disk, shapes: &Shapes, batch: &Batch, run: &RunRow) -> Check {
    let Some(shape) = shapes.of(disk, batch, run) else { return Ok(()) };
    let chosen =
        |task: usize| run.selection.as_ref().is_none_or(|chosen| chosen.iter().any(|ix| ix.usize() == task));
    // What is cleared without its run stays open in a run that is over, and what is marked is as it is marked.
    let cleared = |key| {
        let mut of_it = batch.transitions.iter().filter(|change| change.ti == key);
        of_it.any(|change| change.to == S::None || change.from.is_finished())
    };
    let mut failed = false;
    for ti in disk.tis_of(run.key) {
        let state = ti.state.name();
        if cleared(ti.key) {
            return Ok(());
        }
        if !state.is_finished() {
            return Err(format!("run {} is over, and {} of it is {state}", run.key, ti.task_id));
        }
        let leaf = shape.is_leaf(ti.key.task.usize(), &chosen);
        failed |= leaf && matches!(state, S::Failed | S::UpstreamFailed);
    }
    let due = if failed { RunState::Failed } else { RunState::Success };
    match run.state == due {
        true => Ok(()),
        false => Err(format!("run {} is {}, and by its leaves it should be {due}", run.key, run.state)),
    }
}

fn stuck(disk: &Disk, shapes: &Shapes, batch: &Batch, run: &RunRow) -> Check {
    let Some(shape) = shapes.of(disk, batch, run) else { return Ok(()) };
    let nothing = Batch::default();
    let replay = Replay::new(disk, &nothing);
    for ti in disk.tis_of(run.key) {
        let state = ti.state.name();
        if state.is_finished() {
            continue;
        }
        if state != S::None {
            return Err(format!("nothing can run in run {}, and {} is {state}", run.key, ti.task_id));
        }
        let task = ti.key.task.usize();
        let before = order::before(&replay, &shape, ti.key);
        let unmapped = ti.key.map_index == MapIndex::NONE && shape.mapping(task).is_some();
        let mut needed = shape.setups[task].iter().chain(&shape.scope[task]);
        let open = |task: &usize| {
            order::beside(&replay, &shape, ti.key, *task).iter().any(|state| !state.is_finished())
        };
        let waits = needed.any(open);
        if !unmapped && !waits && rules::may_begin(shape.spec.tasks[task].trigger_rule, &before) {
            return Err(format!("nothing can run in run {}, and {} could: {before:?}", run.key, ti.task_id));
        }
    }
    Ok(())
}

fn time_was_up(disk: &Disk, run: &RunRow) -> Check {
    let timeout = disk.version_of(run).and_then(|version| version.spec.dagrun_timeout);
    let took = run.started_at.zip(run.ended_at).map(|(from, to)| to.duration_since(from));
    match took.zip(timeout) {
        Some((took, timeout)) if took >= timeout => Ok(()),
        _ => Err(format!("run {} timed out after {took:?}, and may take {timeout:?}", run.key)),
    }
}
