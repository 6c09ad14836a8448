//! The engine: what is known, and the one function by which it changes.
//!
//! [`Engine::step`] takes something that happened and the time of it. What follows is collected: rows to
//! write and things to do. [`Engine::take_output`] hands both over, and whoever calls writes the rows
//! first. An engine whose rows could not be written is ahead of the truth: it is thrown away, and a new one
//! is made of what the store has ([`Engine::restore`]).

mod assets;
mod attempts;
mod branch;
mod check;
mod commands;
mod deliveries;
mod dispatch;
mod evaluate;
mod explain;
mod pools;
mod queued_events;
mod restore;
mod run;
mod runs;
mod ticks;
mod transition;
mod upstream;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

pub use self::{
    check::Broken,
    commands::Need,
    deliveries::ALERT_NAMES,
    explain::Why,
    workers::{WorkerSeen, WorkerState},
};
use self::{
    dispatch::{Group, Lane, Limit, Ready},
    pools::{Pool, PoolKey},
    queued_events::QueuedEvents,
    run::Run,
    workers::Worker,
};
use crate::{
    AssetEvent, AssetEventId, AssetId, AssetUri, Bundle, Dag, DagKey, Namespace, Owner, RunId, RunKey,
    TaskId, TaskIx, TiKey, WorkerId,
    input::{Effect, Input, Want},
    record::{AssetRow, Batch, DagRow, TaskStatsRow, TickRow},
    state::IllegalTransition,
};

/// What can be set about the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// A worker that is silent for so long is given up.
    pub lease: SignedDuration,
    /// A list or object with more values is not mapped over (Airflow's `max_map_length`).
    pub max_map_length: u32,
    /// A tick whose run is made later than this after it was due counts as late.
    pub late_after: SignedDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: SignedDuration::from_secs(30),
            max_map_length: 1024,
            late_after: SignedDuration::from_secs(10),
        }
    }
}

/// Everything that is decided from, in memory.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    dags: BTreeMap<DagKey, DagState>,
    runs: BTreeMap<RunKey, Run>,
    run_ids: BTreeMap<(DagKey, RunId), RunKey>,
    pools: BTreeMap<PoolKey, Pool>,
    workers: BTreeMap<WorkerId, Worker>,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// Task instances that wait for a worker, by lane and owner, the most urgent first.
    ready: BTreeMap<Lane, BTreeMap<Owner, BTreeSet<Ready>>>,
    /// Those that wait for a limit.
    parked: BTreeMap<Limit, BTreeMap<Group, BTreeSet<Ready>>>,
    /// Limits that were changed in this step: who waits for one is told, once it is known who still does.
    changed_limits: BTreeSet<Limit>,
    /// Worker slots that each owner's task instances hold.
    held_by_owner: BTreeMap<Owner, u32>,
    /// Tasks whose instances may have become decidable.
    todo: BTreeSet<(RunKey, TaskIx)>,
    /// Runs that may have begun to be over.
    touched: BTreeSet<RunKey>,
    /// Runs that are over, and need not be kept in mind unless a later one depends on them.
    over: BTreeSet<RunKey>,
    assets: BTreeMap<(Namespace, AssetUri), AssetRow>,
    /// The keys of events that are not in the store yet, or that a command to come is about.
    event_keys: BTreeMap<(AssetId, String), AssetEventId>,
    last_run: i64,
    last_delivery: i64,
    last_asset_event: i64,
    /// Nothing new begins anywhere.
    paused: bool,
    changed: Changed,
    out: Output,
}

/// A DAG and its present version.
#[derive(Debug)]
struct DagState {
    row: DagRow,
    dag: Arc<Dag>,
    hash: String,
    /// Runs that have begun and are not over.
    running: BTreeSet<RunKey>,
    /// Runs that have not begun, by the time they may.
    queued: BTreeSet<(Timestamp, RunKey)>,
    /// Active instances of each task over all runs, whichever version they are on.
    active: BTreeMap<TaskId, u32>,
    /// Why a tick that is due has no run yet.
    held: Option<ticks::Passed>,
    /// What happened to assets, and there was no run for yet.
    events: QueuedEvents,
    /// The range of ticks that the next one may continue.
    last_range: Option<TickRow>,
    stats: BTreeMap<TaskId, TaskStatsRow>,
}

/// What a timer is for. One that comes when its matter is settled does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Tick(DagKey),
    RunDue(RunKey),
    RunTimeout(RunKey),
    Deadline(RunKey),
    Events(DagKey),
    Wake(TiKey),
    Lease(WorkerId),
    Pool(PoolKey),
}

/// Keys of rows that have to be written.
#[derive(Debug, Default)]
struct Changed {
    dags: BTreeSet<DagKey>,
    runs: BTreeSet<RunKey>,
    tis: BTreeSet<TiKey>,
}

/// What came of one or several steps.
#[derive(Debug, Default)]
pub struct Output {
    /// To be written, all at once and before anything else.
    pub batch: Batch,
    /// To be done then, in this order.
    pub effects: Vec<Effect>,
    /// To be looked up then, and told with [`Input::Past`].
    pub wants: Vec<Want>,
    /// Events that can't have happened. Each is a bug of the engine; the state was left as it was.
    pub faults: Vec<IllegalTransition>,
    /// Versions in the store that this program can't run: from [`Engine::restore`].
    pub refused: Vec<RefusedVersion>,
}

/// A version in the store that this program can't run, though the one that wrote it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedVersion {
    /// The DAG.
    pub dag: DagKey,
    /// Which version of it.
    pub version: u32,
    /// What is wrong with it.
    pub reason: String,
}

impl Engine {
    /// An engine that knows nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            dags: BTreeMap::new(),
            runs: BTreeMap::new(),
            run_ids: BTreeMap::new(),
            pools: BTreeMap::new(),
            workers: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: BTreeMap::new(),
            parked: BTreeMap::new(),
            changed_limits: BTreeSet::new(),
            held_by_owner: BTreeMap::new(),
            todo: BTreeSet::new(),
            touched: BTreeSet::new(),
            over: BTreeSet::new(),
            assets: BTreeMap::new(),
            event_keys: BTreeMap::new(),
            last_run: 0,
            last_delivery: 0,
            last_asset_event: 0,
            paused: false,
            changed: Changed::default(),
            out: Output::default(),
        }
    }

    /// Takes in something that happened at `now`, with all that follows from it.
    pub fn step(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Clock => {}
            Input::ClockSet { by } => {
                self.move_leases(by);
                self.move_pools(by);
                self.runs_of_events(now);
            }
            Input::Command { id, by, command } => self.on_command(now, id, &by, command),
            Input::Worker { worker, incarnation, event } => {
                self.on_worker_event(now, worker, incarnation, event);
            }
            Input::Loaded { version, run } => self.on_loaded(&version, *run),
            Input::AssetEventKnown { asset, key, event } => {
                self.event_keys.insert((asset, key), event);
            }
            Input::Past { of, found } => self.on_past(of, found),
        }
        self.fire_timers(now);
        self.settle(now);
        // What follows may be late at once: the deadline of a run that waited long for its turn.
        while self.next_wakeup().is_some_and(|at| at <= now) {
            self.fire_timers(now);
            self.settle(now);
        }
    }

    /// Follows up everything until nothing more follows.
    fn settle(&mut self, now: Timestamp) {
        loop {
            while !self.todo.is_empty() {
                let round = std::mem::take(&mut self.todo);
                self.evaluate(now, round);
            }
            self.dispatch(now);
            if !self.todo.is_empty() {
                continue;
            }
            match self.touched.pop_first() {
                Some(run) => self.conclude(now, run),
                None => break,
            }
        }
        for limit in std::mem::take(&mut self.changed_limits) {
            self.tell_parked(&limit);
        }
    }

    /// Hands over what the steps since the last call came to.
    pub fn take_output(&mut self) -> Output {
        let mut out = std::mem::take(&mut self.out);
        let changed = std::mem::take(&mut self.changed);
        for key in changed.dags {
            if let Some(dag) = self.dags.get(&key) {
                out.batch.dags.insert(key, dag.row.clone());
            }
        }
        for key in changed.runs {
            if let Some(run) = self.runs.get(&key) {
                out.batch.runs.insert(key, run.row.clone());
            }
        }
        for key in changed.tis {
            if let Some(ti) = self.runs.get(&key.run).and_then(|run| run.ti(key)) {
                out.batch.tis.insert(key, ti.clone());
            }
        }
        self.event_keys.clear();
        self.forget_finished();
        out
    }

    /// When something is due that nobody will tell. [`Input::Clock`] is wanted then.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The DAG of this key, in its present version.
    pub fn dag(&self, key: &DagKey) -> Option<(&DagRow, &Arc<Dag>)> {
        self.dags.get(key).map(|dag| (&dag.row, &dag.dag))
    }

    /// The DAGs there are.
    pub fn dags(&self) -> impl Iterator<Item = (&DagRow, &Arc<Dag>)> {
        self.dags.values().map(|dag| (&dag.row, &dag.dag))
    }

    /// The states of sources that something may run from: of the DAGs that may have new runs, and of all runs in
    /// mind.
    pub fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        let of_dags = self.dags.values().filter(|dag| !dag.row.is_stale).map(|dag| &dag.dag);
        of_dags.chain(self.runs.values().map(|run| &run.dag)).filter_map(|dag| dag.spec().bundle.as_ref())
    }

    /// A run that the engine has in mind, with the version it is on.
    pub fn run(&self, key: RunKey) -> Option<(&crate::record::RunRow, &Arc<Dag>)> {
        self.runs.get(&key).map(|run| (&run.row, &run.dag))
    }

    /// A task instance of a run that the engine has in mind.
    pub fn ti(&self, key: TiKey) -> Option<&crate::record::TiRow> {
        self.runs.get(&key.run)?.ti(key)
    }

    /// How many values there are to map over in the result of a task of a run in mind; `None` while that is open.
    pub fn result_length(&self, key: RunKey, task: TaskIx) -> Option<usize> {
        self.runs.get(&key)?.result_length(task)
    }

    /// What happened to assets, that a run in mind was made for.
    pub fn asset_events(&self, key: RunKey) -> &[Arc<AssetEvent>] {
        self.runs.get(&key).map_or(&[], |run| &run.asset_events)
    }

    /// How many task instances of runs in mind are not over.
    pub fn unfinished(&self) -> u64 {
        self.runs.values().map(|run| u64::from(run.unfinished)).sum()
    }

    /// How many slots of workers are taken.
    pub fn slots_taken(&self) -> u32 {
        self.workers.values().map(Worker::used).fold(0, u32::saturating_add)
    }

    fn fire_timers(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first() {
            if *at > now {
                break;
            }
            let Some((at, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Tick(dag) => self.on_tick_due(now, &dag),
                Timer::RunDue(run) => self.begin_runs_of(now, run),
                Timer::RunTimeout(run) => self.on_run_timeout(now, run, at),
                Timer::Deadline(run) => self.on_deadline(now, run),
                Timer::Events(dag) => self.run_of_events(now, &dag),
                Timer::Wake(ti) => self.on_wake(now, ti),
                Timer::Lease(worker) => self.on_lease_end(now, &worker),
                Timer::Pool(pool) => self.on_pool_due(now, pool),
            }
        }
    }

    /// The run and the task of a task instance. A worker may name one that is not there: it was given it by the leader
    /// after this one, who gave the run's number to another run.
    fn spec(&self, key: TiKey) -> Option<(&Run, &crate::TaskSpec)> {
        let run = self.runs.get(&key.run)?;
        Some((run, run.dag.spec().tasks.get(key.task.usize())?))
    }
}
