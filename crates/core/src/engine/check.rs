//! Every invariant in one place, for tests and simulation.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Engine, Timer,
    deliveries::next_deadline,
    run::{Run, is_active, takes_pool_slots, takes_slots},
};
use crate::{MapIndex, Owner, RunState, TaskIx, TaskKind, TiState, Wait, trigger_rule::Counts};

/// An invariant that does not hold: a bug of the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

impl Engine {
    /// Computes every sum afresh and compares; and looks whether a limit is exceeded.
    pub fn check(&self) -> Result<(), Broken> {
        for run in self.runs.values() {
            check_run(run)?;
        }
        self.check_pools()?;
        self.check_dags()?;
        self.check_workers()?;
        self.check_queues()?;
        self.check_timers()
    }

    /// Whatever waits for a time has a timer.
    fn check_timers(&self) -> Result<(), Broken> {
        let has = |at: Timestamp, timer: Timer| match self.timers.contains(&(at, timer.clone())) {
            true => Ok(()),
            false => Err(Broken(format!("nothing will wake {timer:?} at {at}"))),
        };
        for run in self.runs.values() {
            for ti in run.all() {
                ti.state.wakes_at().map_or(Ok(()), |at| has(at, Timer::Wake(ti.key)))?;
            }
            let began = run.row.started_at.filter(|_| run.row.state == RunState::Running);
            let due =
                began.zip(run.dag.spec().dagrun_timeout).map(|(at, timeout)| at.saturating_add(timeout));
            if let Some(Ok(at)) = due {
                has(at, Timer::RunTimeout(run.row.key))?;
            }
            if let Some(at) = next_deadline(run).filter(|_| !run.row.state.is_finished()) {
                has(at, Timer::Deadline(run.row.key))?;
            }
        }
        for (key, dag) in &self.dags {
            if let Some(tick) = dag.row.next_tick.filter(|_| dag.held.is_none()) {
                has(tick.run_after, Timer::Tick(key.clone()))?;
            }
            let room = dag.running.len() < dag.dag.spec().max_active_runs as usize && !self.is_paused(key);
            if let Some((at, run)) = dag.queued.first().filter(|_| room) {
                has(*at, Timer::RunDue(*run))?;
            }
        }
        for (id, worker) in &self.workers {
            let mut timers = self.timers.iter().filter(|(_, timer)| *timer == Timer::Lease(id.clone()));
            if !timers.any(|(at, _)| *at <= worker.lease_until()) {
                return Err(Broken(format!("nobody will notice that worker {id} is silent")));
            }
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), Broken> {
        for ((namespace, name), pool) in &self.pools {
            let mut used = 0;
            for run in self.runs.values().filter(|run| run.row.dag.namespace == *namespace) {
                for ti in run.all() {
                    let spec = run.dag.task(ti.key.task);
                    let takes = spec.pool == *name && takes_pool_slots(&pool.row, spec, &ti.state);
                    used += if takes { spec.pool_slots } else { 0 };
                }
            }
            same(used, pool.used, || format!("used slots of pool {name}"))?;
        }
        Ok(())
    }

    fn check_dags(&self) -> Result<(), Broken> {
        for (key, dag) in &self.dags {
            if self.forgets_events(key) {
                return Err(Broken(format!("nothing will make the run of what happened to assets of {key}")));
            }
            for (task, counted) in &dag.active {
                let runs = self.runs.values().filter(|run| run.row.dag == *key);
                let active = runs
                    .flat_map(|run| run.dag.find(task).map(|ix| run.tasks[ix.usize()].active))
                    .sum::<u32>();
                same(active, *counted, || format!("active instances of task {task} of {key}"))?;
            }
        }
        Ok(())
    }

    fn check_workers(&self) -> Result<(), Broken> {
        let mut by_owner: BTreeMap<Owner, u32> = BTreeMap::new();
        for (id, worker) in &self.workers {
            let used: u32 = worker.held().map(|(_, slots, _)| slots).sum();
            same(used, worker.used(), || format!("used slots of worker {id}"))?;
            for (_, slots, owner) in worker.held() {
                *by_owner.entry(owner.clone()).or_default() += slots;
            }
        }
        by_owner.retain(|_, held| *held > 0);
        same(by_owner, self.held_by_owner.clone(), || "slots held by owner".into())?;
        for ti in self.runs.values().flat_map(Run::all) {
            let Some(assignment) = ti.state.assignment() else { continue };
            let held = self.workers.get(&assignment.worker).is_some_and(|worker| {
                worker.held().any(|(attempt, _, _)| attempt.ti == ti.key && attempt.lease == assignment.lease)
            });
            if !held {
                return Err(Broken(format!("{:?} is {} and no worker has it", ti.key, ti.state.name())));
            }
        }
        Ok(())
    }

    fn check_queues(&self) -> Result<(), Broken> {
        let ready = self.ready.values().flat_map(|owners| owners.values().flatten());
        let parked = self.parked.values().flat_map(|groups| groups.values().flatten());
        let mut waiting: Vec<_> = ready.chain(parked).map(|ready| ready.ti).collect();
        waiting.sort_unstable();
        let mut scheduled: Vec<_> = self
            .runs
            .values()
            .flat_map(Run::all)
            .filter(|ti| ti.state == TiState::Scheduled)
            .map(|ti| ti.key)
            .collect();
        scheduled.sort_unstable();
        same(scheduled, waiting, || "task instances that wait for a slot".into())?;
        match self.undispatched() {
            Some(ti) => Err(Broken(format!("{ti:?} could begin, and waits"))),
            None => Ok(()),
        }
    }
}

fn check_run(run: &Run) -> Result<(), Broken> {
    let name = || format!("run {}", run.row.run_id);
    let count = |f: &dyn Fn(&TiState) -> bool| run.all().filter(|ti| f(&ti.state)).count() as u32;
    same(count(&|state| !state.is_finished()), run.unfinished, || format!("unfinished of {}", name()))?;
    let moving = |state: &TiState| !state.is_finished() && *state != TiState::None;
    same(count(&moving), run.moving, || format!("moving of {}", name()))?;
    let takes = |ti: &&crate::record::TiRow| takes_slots(run.dag.task(ti.key.task), &ti.state);
    let holding = run.all().filter(takes).count() as u32;
    same(holding, run.holding, || format!("holding of {}", name()))?;
    let starts = |ti: &&crate::record::TiRow| matches!(ti.state, TiState::Queued(_));
    if run.all().any(|ti| starts(&ti)) && run.holding > run.dag.spec().max_active_tasks {
        return Err(Broken(format!("{} exceeds max_active_tasks: {}", name(), run.holding)));
    }
    for task in run.dag.tasks() {
        let state = &run.tasks[task.usize()];
        let active = state.instances.iter().filter(|ti| is_active(&ti.state)).count() as u32;
        same(active, state.active, || format!("active of task {task} of {}", name()))?;
        let mut up = Counts::default();
        for before in run.dag.upstream(task) {
            let setup = run.dag.task(*before).role == crate::Role::Setup;
            run.tasks[before.usize()].instances.iter().for_each(|ti| up.add(&ti.state, setup));
        }
        same(up, state.up, || format!("counts before task {task} of {}", name()))?;
        same(skip_votes(run, task), state.skip_votes.clone(), || {
            format!("skip votes of task {task} of {}", name())
        })?;
        for ti in &state.instances {
            let watches = matches!(ti.state, TiState::Deferred(Wait::Worker(_)));
            if watches && run.dag.task(task).kind == TaskKind::Empty {
                return Err(Broken(format!("empty task {task} of {} is with a worker", name())));
            }
        }
    }
    Ok(())
}

fn skip_votes(run: &Run, task: TaskIx) -> BTreeMap<MapIndex, u32> {
    let mut votes = BTreeMap::new();
    for by in run.all().filter(|ti| ti.skips.contains(&task)) {
        let of = if run.dag.mapping(task).is_some() { by.key.map_index } else { MapIndex::NONE };
        *votes.entry(of).or_default() += 1;
    }
    votes
}

fn same<T: PartialEq + std::fmt::Debug>(
    counted: T,
    kept: T,
    what: impl FnOnce() -> String,
) -> Result<(), Broken> {
    match counted == kept {
        true => Ok(()),
        false => Err(Broken(format!("{}: counted {counted:?}, kept {kept:?}", what()))),
    }
}
