//! No limit is exceeded by what a batch begins.

use std::collections::{BTreeMap, BTreeSet};

use updraft_core::{
    DagKey, PoolName, RunState, TaskId, TaskKind, TaskSpec, TiKey, TiState, TiStateName as S,
    record::{Batch, PoolRow, TiRow},
};

use super::{Check, shapes::Shapes};
use crate::disk::Disk;

/// What a worker only watches for takes none, also while it has to end before it begins anew.
fn takes_slots(task: &TaskSpec, state: &TiState) -> bool {
    task.kind == TaskKind::Run && matches!(state.name(), S::Queued | S::Running | S::Paused | S::Restarting)
}

fn is_active(state: &TiState) -> bool {
    matches!(state.name(), S::Queued | S::Running | S::Paused | S::Restarting | S::Deferred)
}

/// Looks at the limits that a batch may have gone beyond, in the store as it is after it.
pub(super) fn hold(disk: &Disk, shapes: &Shapes, batch: &Batch, before: &Before) -> Check {
    runs(disk, batch, before)?;
    let began: BTreeSet<TiKey> = batch
        .transitions
        .iter()
        .filter(|change| matches!(change.to, S::Queued | S::Deferred))
        .filter(|change| !matches!(change.from, S::Queued | S::Running | S::Paused))
        .map(|change| change.ti)
        .collect();
    let mut pools: BTreeSet<PoolName> = BTreeSet::new();
    let mut per_dag: BTreeMap<(DagKey, TaskId), u32> = BTreeMap::new();
    for key in began {
        let Some(run) = disk.runs.get(&key.run) else { continue };
        let Some(shape) = shapes.of(disk, batch, run) else { continue };
        let task = &shape.spec.tasks[key.task.usize()];
        let holding = disk
            .tis_of(key.run)
            .filter(|ti| takes_slots(&shape.spec.tasks[ti.key.task.usize()], &ti.state))
            .count();
        if holding > shape.spec.max_active_tasks as usize {
            return Err(format!(
                "{holding} task instances of run {} run: max_active_tasks is {}",
                key.run, shape.spec.max_active_tasks
            ));
        }
        let active = disk.instances(key.run, key.task).filter(|ti| is_active(&ti.state)).count() as u32;
        if task.max_active_tis_per_dagrun.is_some_and(|most| active > most) {
            return Err(format!(
                "{active} instances of {} of run {} are active: {:?}",
                task.task_id, key.run, task.max_active_tis_per_dagrun
            ));
        }
        // Runs of several versions may begin instances at once, each under the limit of its own.
        let most = task.max_active_tis_per_dag.unwrap_or(u32::MAX);
        let at = per_dag.entry((run.dag.clone(), task.task_id.clone())).or_default();
        *at = most.max(*at);
        let takes = disk.tis.get(&key).is_some_and(|ti| takes_slots(task, &ti.state));
        let at = (updraft_core::Namespace::default(), task.pool.clone());
        let counts_deferred = disk.pools.get(&at).is_none_or(|pool| pool.include_deferred);
        if takes || counts_deferred {
            pools.insert(task.pool.clone());
        }
    }
    for ((dag, task), most) in per_dag {
        let of_dag =
            |ti: &&TiRow| ti.task_id == task && disk.runs.get(&ti.key.run).is_some_and(|run| run.dag == dag);
        let active = disk.tis.values().filter(of_dag).filter(|ti| is_active(&ti.state)).count() as u32;
        if active > most {
            return Err(format!(
                "{active} instances of {task} of {dag} are active: max_active_tis_per_dag is {most}"
            ));
        }
    }
    for name in pools {
        let at = (updraft_core::Namespace::default(), name);
        if batch.audit.iter().any(|row| matches!(&*row.action, "put_pool" | "delete_pool")) {
            continue;
        }
        let Some(pool) = disk.pools.get(&at) else {
            return Err(format!("something began in pool {}, which is not there", at.1));
        };
        pool_holds(disk, shapes, batch, pool)?;
    }
    Ok(())
}

fn pool_holds(disk: &Disk, shapes: &Shapes, batch: &Batch, pool: &PoolRow) -> Check {
    let Some(slots) = pool.slots else { return Ok(()) };
    let mut taken = 0;
    for ti in disk.tis.values() {
        let shape = disk.runs.get(&ti.key.run).and_then(|run| shapes.of(disk, batch, run));
        let Some(shape) = shape else { continue };
        let task = &shape.spec.tasks[ti.key.task.usize()];
        let takes = takes_slots(task, &ti.state) || (pool.include_deferred && is_active(&ti.state));
        if task.pool == pool.name && takes {
            taken += task.pool_slots;
        }
    }
    match taken > slots {
        true => Err(format!("{taken} slots of pool {} are taken, and it has {slots}", pool.name)),
        false => Ok(()),
    }
}

/// What has to be known of the store before a batch.
#[derive(Debug, Default)]
pub(super) struct Before {
    max_active_runs: BTreeMap<DagKey, u32>,
    running: BTreeSet<updraft_core::RunKey>,
}

impl Before {
    pub fn of(disk: &Disk, batch: &Batch) -> Self {
        let mut before = Self::default();
        for (key, run) in batch.runs.iter().filter(|(_, run)| run.state == RunState::Running) {
            if disk.runs.get(key).is_some_and(|run| run.state == RunState::Running) {
                before.running.insert(*key);
            }
            // Several versions may have followed one another within the batch.
            let put = batch.versions.iter().filter(|version| version.key == run.dag);
            let most = put.map(|version| version.spec.max_active_runs).max();
            if let Some(most) = most.max(max_active_runs(disk, &run.dag)) {
                before.max_active_runs.insert(run.dag.clone(), most);
            }
        }
        before
    }
}

fn max_active_runs(disk: &Disk, dag: &DagKey) -> Option<u32> {
    let row = disk.dags.get(dag)?;
    Some(disk.versions.get(&(dag.clone(), row.version))?.spec.max_active_runs)
}

fn runs(disk: &Disk, batch: &Batch, before: &Before) -> Check {
    for (key, run) in &batch.runs {
        if run.state != RunState::Running || before.running.contains(key) {
            continue;
        }
        let of_dag =
            |other: &&updraft_core::record::RunRow| other.dag == run.dag && other.state == RunState::Running;
        let running = disk.runs.values().filter(of_dag).count() as u32;
        let most = max_active_runs(disk, &run.dag).max(before.max_active_runs.get(&run.dag).copied());
        if most.is_some_and(|most| running > most) {
            return Err(format!("{running} runs of {} run, and max_active_runs is {most:?}", run.dag));
        }
    }
    Ok(())
}
