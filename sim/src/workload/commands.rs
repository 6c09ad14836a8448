//! What people want.

use std::sync::Arc;

use serde_json::json;
use updraft_core::{
    AssetId, DagKey, DagSpec, End, MapIndex, RunKey, RunState, TaskId, TiKey, TiStateName,
    input::{Clear, Command, PutAssetEvent, Trigger, WhichAsset},
    record::{PoolRow, RunType},
};

use super::dags;
use crate::{Micros, SECOND, disk::Disk, rng::Rng, world::wall};

/// A command that puts a DAG.
pub(crate) fn put(spec: DagSpec, version: u64) -> Command {
    let hash = format!("{}-{version}", spec.dag_id);
    Command::PutDag { spec: Arc::new(spec), hash, source: format!("files/{version}"), paused: false }
}

/// A command that makes or changes a pool.
pub(crate) fn pool(name: &str, slots: Option<u32>, rate: Option<&str>, include_deferred: bool) -> Command {
    Command::PutPool(PoolRow {
        namespace: Default::default(),
        name: name.into(),
        slots,
        rate: rate.and_then(|rate| rate.parse().ok()),
        next_at: None,
        description: String::new(),
        include_deferred,
    })
}

/// Whatever somebody may want at this moment, going by what the store shows.
pub(crate) fn draw(rng: &mut Rng, disk: &Disk, number: u64, now: Micros, active: Micros) -> Option<Command> {
    let dags: Vec<&DagKey> = disk.dags.keys().collect();
    let dag = (*rng.pick(&dags)?).clone();
    Some(match rng.below(100) {
        0..=34 => trigger(rng, disk, dag, now),
        35..=37 => put(dags::draw(rng, &dag.dag_id, active), number),
        38 => match disk.dags.get(&dag).and_then(|row| disk.versions.get(&(dag.clone(), row.version))) {
            // The same file, read again.
            Some(known) => Command::PutDag {
                spec: known.spec.clone(),
                hash: known.hash.clone(),
                source: "elsewhere".into(),
                paused: false,
            },
            None => return None,
        },
        39 => Command::RetireDag(dag),
        40 => Command::DeleteDag(dag),
        41 => Command::PauseAll { paused: rng.chance(0.4) },
        42..=48 => Command::PauseDag { dag, paused: rng.chance(0.4) },
        49..=51 => Command::DeleteRun(run(rng, disk)?),
        52..=56 => Command::MarkRun {
            run: run(rng, disk)?,
            state: *rng.pick(&[RunState::Success, RunState::Failed, RunState::Failed, RunState::Queued])?,
        },
        57..=71 => clear(rng, disk)?,
        72..=78 => mark(rng, disk)?,
        79..=82 => Command::Pause(ti(rng, disk, Some(TiStateName::Running))?),
        83..=86 => Command::Continue(ti(rng, disk, Some(TiStateName::Paused))?),
        87..=90 => Command::Stop(ti(rng, disk, None)?),
        91..=93 => Command::PutAssetEvent(PutAssetEvent {
            namespace: Default::default(),
            asset: match rng.chance(0.2) {
                true => WhichAsset::Id(AssetId(rng.between(1, 5))),
                false => WhichAsset::Uri(dags::asset(rng).uri),
            },
            extra: Arc::new(json!({})),
            key: rng.chance(0.5).then(|| format!("k{}", rng.below(12))),
        }),
        94 => Command::DropQueuedEvents {
            namespace: Default::default(),
            dag: rng.chance(0.7).then_some(dag.dag_id),
            asset: rng.chance(0.3).then(|| AssetId(rng.between(1, 4))),
            before: None,
        },
        95..=97 => {
            let name = *rng.pick(&["small", "small", "wide", "default_pool"])?;
            let slots = if rng.chance(0.8) { Some(rng.below(6) as u32) } else { None };
            let rates = ["1/second", "14/minute", "30/hour"];
            let rate = if rng.chance(0.3) { rng.pick(&rates).copied() } else { None };
            pool(name, slots, rate, rng.chance(0.3))
        }
        _ => Command::DeletePool(Default::default(), (*rng.pick(&["small", "wide", "default_pool"])?).into()),
    })
}

fn trigger(rng: &mut Rng, disk: &Disk, dag: DagKey, now: Micros) -> Command {
    let spec = disk.dags.get(&dag).and_then(|row| disk.versions.get(&(dag.clone(), row.version)));
    let names: Vec<TaskId> =
        spec.iter().flat_map(|version| version.spec.tasks.iter().map(|task| task.task_id.clone())).collect();
    let tasks =
        if rng.chance(0.15) { names.into_iter().filter(|_| rng.chance(0.4)).collect() } else { Vec::new() };
    let at = wall(now / SECOND * SECOND + rng.between(-600, 600) * SECOND);
    let run_id = match rng.below(10) {
        0 => Some(format!("mine_{}", rng.below(6)).into()),
        1 => Some(format!("scheduled__{}", at.strftime("%Y-%m-%dT%H:%M:%S+00:00")).into()),
        _ => None,
    };
    Command::Trigger(Trigger {
        dag,
        run_id,
        logical_date: rng.chance(0.5).then_some(at),
        data_interval: None,
        run_after: rng
            .chance(0.2)
            .then(|| wall(now / (60 * SECOND) * 60 * SECOND + rng.between(-60, 240) * SECOND)),
        conf: Arc::new(json!({})),
        tasks,
        run_type: *rng
            .pick(&[RunType::Manual, RunType::Manual, RunType::Backfill])
            .unwrap_or(&RunType::Manual),
        triggered_by: "cli",
    })
}

/// A run, a recent one rather than an old one.
fn run(rng: &mut Rng, disk: &Disk) -> Option<RunKey> {
    let recent: Vec<RunKey> = disk.runs.keys().rev().take(12).copied().collect();
    if rng.chance(0.02) { Some(RunKey(rng.between(0, 1000))) } else { rng.pick(&recent).copied() }
}

/// A task instance, where it can be one in this state.
fn ti(rng: &mut Rng, disk: &Disk, state: Option<TiStateName>) -> Option<TiKey> {
    let run = run(rng, disk)?;
    let all: Vec<TiKey> = match state {
        Some(state) => disk.tis.values().filter(|ti| ti.state.name() == state).map(|ti| ti.key).collect(),
        None => disk.tis_of(run).map(|ti| ti.key).collect(),
    };
    match rng.pick(&all) {
        Some(ti) => Some(*ti),
        None => disk.tis_of(run).next().map(|ti| ti.key),
    }
}

fn clear(rng: &mut Rng, disk: &Disk) -> Option<Command> {
    let run = run(rng, disk)?;
    let some = rng.unit();
    let mut tasks: Vec<(TaskId, Option<MapIndex>)> = Vec::new();
    if rng.chance(0.8) {
        for ti in disk.tis_of(run) {
            if rng.chance(some) {
                let copy = Some(ti.key.map_index).filter(|_| rng.chance(0.3));
                tasks.push((ti.task_id.clone(), copy));
            }
        }
    }
    Some(Command::Clear(Clear {
        run,
        tasks,
        upstream: rng.chance(0.2),
        downstream: rng.chance(0.6),
        only_failed: rng.chance(0.2),
        only_running: rng.chance(0.1),
        reset_run: rng.chance(0.9),
        latest: false,
        dry_run: rng.chance(0.05),
    }))
}

fn mark(rng: &mut Rng, disk: &Disk) -> Option<Command> {
    let first = ti(rng, disk, None)?;
    let mut tis: Vec<TiKey> = disk.tis_of(first.run).map(|ti| ti.key).filter(|_| rng.chance(0.1)).collect();
    tis.push(first);
    let state = *rng.pick(&[End::Success, End::Failed, End::Skipped, End::Removed])?;
    Some(Command::Mark { tis, state })
}
