//! Of a pool with a rate, one begins when its time has come, and says when the next may.

use std::collections::BTreeMap;

use updraft_core::{
    Namespace, PoolName, TaskKind, TiStateName as S,
    record::{Batch, PoolRow},
};

use super::{Check, shapes::Shapes};
use crate::disk::Disk;

/// Looks at a batch before it is written. Not for worlds where clocks are set: there a time of the pool's row is
/// moved with the clock, also where that is set between two engines.
pub(super) fn keeps(disk: &Disk, shapes: &Shapes, batch: &Batch) -> Check {
    let mut next = BTreeMap::new();
    for change in
        batch.transitions.iter().filter(|change| change.to == S::Queued && change.from == S::Scheduled)
    {
        let run = batch.runs.get(&change.ti.run).or_else(|| disk.runs.get(&change.ti.run));
        let Some(shape) = run.and_then(|run| shapes.of(disk, batch, run)) else { continue };
        let task = &shape.spec.tasks[change.ti.task.usize()];
        let Some((pool, rate)) = paced(disk, batch, &task.pool).filter(|_| task.kind == TaskKind::Run) else {
            continue;
        };
        let may = next.entry(task.pool.clone()).or_insert(pool.next_at);
        if may.is_some_and(|may| change.at < may) {
            return Err(format!(
                "{:?} begins at {}, and pool {} waits until {may:?}",
                change.ti, change.at, task.pool
            ));
        }
        *may = change.at.checked_add(rate.every()).ok();
    }
    for (name, next) in next {
        let written = batch.pools.get(&(Namespace::default(), name.clone())).and_then(|pool| pool.next_at);
        if written != next {
            return Err(format!(
                "the next of pool {name} may begin at {next:?}, and its row says {written:?}"
            ));
        }
    }
    Ok(())
}

/// The pool before the batch, where it has a rate and nobody sets it.
fn paced<'a>(disk: &'a Disk, batch: &Batch, name: &PoolName) -> Option<(&'a PoolRow, updraft_core::Rate)> {
    if batch.audit.iter().any(|row| matches!(&*row.action, "put_pool" | "delete_pool")) {
        return None;
    }
    let pool = disk.pools.get(&(Namespace::default(), name.clone()))?;
    Some((pool, pool.rate?))
}
