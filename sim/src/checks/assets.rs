//! What happens to assets, and the runs that are made of it.

use std::collections::BTreeSet;

use updraft_core::{
    AssetCondition, AssetEvent, AssetUri, TiStateName as S,
    record::{Batch, RunType, TransitionRow},
};

use super::{Check, order::Replay, shapes::Shapes};
use crate::disk::Disk;

/// Who succeeds by itself makes each of its outlets anew, once.
pub(super) fn outlets(replay: &Replay<'_>, shapes: &Shapes, batch: &Batch) -> Check {
    for change in batch.transitions.iter().filter(|change| succeeded(change)) {
        let Some(run) = replay.run(change.ti.run) else { continue };
        let Some(shape) = shapes.of(replay.disk, replay.batch, run) else { continue };
        let task = &shape.spec.tasks[change.ti.task.usize()];
        let outlets: BTreeSet<&AssetUri> = task.outlets.iter().map(|asset| &asset.uri).collect();
        let of_it = |event: &AssetEvent| {
            event.source.as_ref().is_some_and(|source| {
                source.run_id == run.run_id
                    && source.dag_id == run.dag.dag_id
                    && source.task_id == task.task_id
                    && source.map_index == change.ti.map_index
            })
        };
        let times =
            batch.transitions.iter().filter(|other| other.ti == change.ti && succeeded(other)).count();
        let told = batch.asset_events.iter().filter(|event| of_it(event)).count();
        if told != outlets.len() * times {
            return Err(format!(
                "{:?} succeeded and has {} outlets: {told} events",
                change.ti,
                outlets.len()
            ));
        }
    }
    Ok(())
}

fn succeeded(change: &TransitionRow) -> bool {
    change.to == S::Success && !change.reason.as_deref().is_some_and(|reason| reason.contains("marked"))
}

/// Told here once more, so that the engine's own rule is looked at too.
fn fulfilled(condition: &AssetCondition, happened: &BTreeSet<&AssetUri>) -> bool {
    let count = |parts: &[AssetCondition]| parts.iter().filter(|part| fulfilled(part, happened)).count();
    match condition {
        AssetCondition::Asset(asset) => happened.iter().any(|uri| **uri == asset.uri),
        AssetCondition::All(parts) => count(parts) == parts.len().max(1),
        AssetCondition::Any(parts) => count(parts) > 0,
    }
}

/// A run of events is of what its DAG waits for, and of nothing else.
pub(super) fn runs(disk: &Disk, batch: &Batch) -> Check {
    for run in batch.runs.values().filter(|run| run.run_type == RunType::AssetTriggered) {
        let Some(version) = disk.version_of(run) else { continue };
        let events = disk.events_of(run.key);
        let happened: BTreeSet<&AssetUri> = events.iter().map(|event| &event.uri).collect();
        let Some(condition) = &version.spec.assets else {
            return Err(format!("run {} is of events, and its DAG waits for none", run.key));
        };
        if !fulfilled(condition, &happened) || happened.iter().any(|uri| !condition.names(uri)) {
            return Err(format!("run {} was made of events of {happened:?}", run.key));
        }
    }
    Ok(())
}
