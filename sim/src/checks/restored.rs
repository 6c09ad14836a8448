//! An engine that is made of what the store has decides as the one that goes on.

use jiff::Timestamp;
use updraft_core::{Config, Engine};

use super::Check;
use crate::disk::Disk;

/// Right after a commit everything is decided: an engine that is made anew has nothing to add.
pub(super) fn decides_nothing(config: Config, disk: &Disk, now: Timestamp) -> Check {
    let mut restored = Engine::restore(config, disk.snapshot(), now);
    restored.check().map_err(|broken| format!("an invariant of a restored engine is broken: {broken}"))?;
    let out = restored.take_output();
    if let Some(dag) = out.batch.dags.values().next() {
        return Err(format!(
            "a restored engine changes a DAG: {dag:?}, and the store has {:?}",
            disk.dags.get(&dag.key)
        ));
    }
    if let Some(tick) = out.batch.ticks.values().next() {
        return Err(format!("a restored engine decides a tick: {tick:?}"));
    }
    if let Some(change) = out.batch.transitions.first() {
        return Err(format!("a restored engine decides what the other did not: {change:?}"));
    }
    if let Some(run) = out.batch.runs.values().next() {
        return Err(format!("a restored engine changes a run: {run:?}"));
    }
    if let Some(effect) = out.effects.first() {
        return Err(format!("a restored engine does what the other did not: {effect:?}"));
    }
    for (key, ti) in &out.batch.tis {
        let mut stored = disk.tis.get(key).cloned();
        // Why it waits may be said anew.
        if let Some(stored) = &mut stored {
            stored.reason.clone_from(&ti.reason);
        }
        if stored.as_ref() != Some(ti) {
            return Err(format!("a restored engine changes a task instance: {ti:?}"));
        }
    }
    Ok(())
}
