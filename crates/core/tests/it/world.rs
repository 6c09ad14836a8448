//! A world around an engine: a clock, a worker that does as it is told, and the checks after each step.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use updraft_core::{
    AssetEvent, AssetEventId, AssetId, AttemptId, Config, DagKey, DagSpec, EdgeSpec, Engine, Incarnation,
    MapIndex, RunKey, RunState, TaskKind, TaskSpec, TiKey, TiStateName, XcomValue,
    engine::{Need, RefusedVersion},
    input::{
        AttemptEnd, Clear, Command, CommandError, Effect, Input, Offer, Outcome, Reply, Report, ToWorker,
        Trigger, Want, WorkerEvent,
    },
    record::{Batch, DagVersionRow, QueuedEvent, RunRow, RunSnapshot, RunType, Snapshot},
};

pub struct World {
    pub engine: Engine,
    pub now: Timestamp,
    pub told: Vec<ToWorker>,
    pub batches: Vec<Batch>,
    /// Whether the worker says that it is there as time passes.
    pub beats: bool,
    /// Versions that could be run no more.
    pub refused: Vec<RefusedVersion>,
    replies: Vec<Result<Reply, CommandError>>,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl World {
    /// One worker, `w`, with so many slots.
    pub fn new(slots: u32) -> Self {
        let mut world = Self {
            engine: Engine::new(Config::default()),
            now: at("2026-01-01T00:00:00Z"),
            told: Vec::new(),
            batches: Vec::new(),
            beats: true,
            refused: Vec::new(),
            replies: Vec::new(),
        };
        world.join(1, slots, Vec::new());
        world
    }

    pub fn join(&mut self, incarnation: i64, slots: u32, held: Vec<AttemptId>) {
        let (queues, namespace) = (vec!["default".into()], None);
        self.worker(
            incarnation,
            WorkerEvent::Joined {
                join: 1,
                offer: Offer { slots, queues, ..Offer::default() },
                namespace,
                held,
            },
        );
    }

    pub fn worker(&mut self, incarnation: i64, event: WorkerEvent) {
        let incarnation = Incarnation(incarnation);
        self.step(Input::Worker { worker: "w".into(), incarnation, event });
    }

    pub fn step(&mut self, input: Input) {
        self.engine.step(self.now, input);
        self.take_output();
    }

    fn take_output(&mut self) {
        let out = self.engine.take_output();
        assert!(out.faults.is_empty(), "{:?}", out.faults);
        self.refused.extend(out.refused);
        self.engine.check().unwrap();
        self.batches.push(out.batch);
        for effect in out.effects {
            match effect {
                Effect::Send { message, .. } => self.told.push(message),
                Effect::Reply { reply, .. } => self.replies.push(reply),
                Effect::Deliver(_) => {}
            }
        }
        for want in out.wants {
            let found = self.last_before(&want).map(|run| Box::new(self.stored(run)));
            self.step(Input::Past { of: want.before, found });
        }
    }

    /// Of the runs in the world's store, the last one before another.
    fn last_before(&self, want: &Want) -> Option<RunKey> {
        let mut runs = BTreeMap::new();
        for batch in &self.batches {
            runs.extend(batch.runs.iter());
            runs.retain(|key, _| !batch.deleted_runs.contains(key));
        }
        let date = |run: &RunRow| run.logical_date.unwrap_or(run.run_after);
        runs.into_values()
            .filter(|run| run.dag == want.dag && date(run) < want.logical_date)
            .filter(|run| !want.only_scheduled || run.run_type == RunType::Scheduled)
            .max_by_key(|run| (date(run), run.key))
            .map(|run| run.key)
    }

    pub fn pass(&mut self, time: SignedDuration) {
        let until = self.now + time;
        while let Some(next) = self.engine.next_wakeup().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = until;
        self.tick();
    }

    fn tick(&mut self) {
        match self.beats {
            true => self.worker(1, WorkerEvent::Heartbeat),
            false => self.step(Input::Clock),
        }
    }

    /// What the world's store has of a run: everything that was ever written.
    pub fn stored(&self, run: RunKey) -> (DagVersionRow, RunSnapshot) {
        let row = self.batches.iter().rev().find_map(|batch| batch.runs.get(&run)).unwrap().clone();
        let versions = self.batches.iter().flat_map(|batch| &batch.versions);
        let version = versions.rev().find(|v| v.key == row.dag && v.version == row.version).unwrap().clone();
        let mut tis = BTreeMap::new();
        for batch in &self.batches {
            batch.deleted_tis.iter().for_each(|key| drop(tis.remove(key)));
            tis.extend(
                batch.tis.iter().filter(|(key, _)| key.run == run).map(|(key, ti)| (*key, ti.clone())),
            );
        }
        let queued = self.queued_events();
        let of_run =
            |id: AssetEventId| queued.iter().any(|((_, event), of)| *event == id && *of == Some(run));
        let asset_events = self.asset_events().filter(|event| of_run(event.id)).cloned().collect();
        (version, RunSnapshot { run: row, tis: tis.into_values().collect(), asset_events })
    }

    /// Events of assets that are queued, or of which a run was made.
    fn queued_events(&self) -> BTreeMap<(DagKey, AssetEventId), Option<RunKey>> {
        let mut queued = BTreeMap::new();
        for batch in &self.batches {
            queued.retain(|(dag, _), _| !batch.deleted_dags.contains(dag));
            queued.retain(|event, _| !batch.dropped_events.contains(event));
            queued.extend(batch.queued_events.clone());
        }
        queued
    }

    pub fn asset_events(&self) -> impl Iterator<Item = &Arc<AssetEvent>> {
        self.batches.iter().flat_map(|batch| &batch.asset_events)
    }

    fn store_assets(&self, stored: &mut Snapshot) {
        let assets: BTreeMap<AssetId, _> =
            self.batches.iter().flat_map(|batch| batch.assets.clone()).collect();
        stored.assets = assets.into_values().collect();
        stored.last_asset_event = self.asset_events().map(|event| event.id.0).max().unwrap_or_default();
        let waits = |event: &AssetEventId| self.asset_events().find(|known| known.id == *event).cloned();
        let queued = self.queued_events().into_iter().filter(|(_, run)| run.is_none());
        stored.queued_events =
            queued.filter_map(|((dag, event), _)| Some(QueuedEvent { dag, event: waits(&event)? })).collect();
    }

    fn run_called(&self, dag: &DagKey, run_id: &str) -> Option<RunKey> {
        let mut runs = self.batches.iter().flat_map(|batch| batch.runs.values());
        runs.find(|run| run.dag == *dag && *run.run_id == *run_id).map(|run| run.key)
    }

    /// The server is gone, and another goes on with what was written.
    pub fn restart(&mut self) {
        self.restart_from(|_| {});
    }

    /// The same, where what was written is found otherwise.
    pub fn restart_from(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut stored = Snapshot::default();
        let (mut dags, mut pools, mut runs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for batch in &self.batches {
            dags.extend(batch.dags.clone());
            pools.extend(batch.pools.clone());
            runs.extend(batch.runs.clone());
            stored.versions.extend(batch.versions.clone());
            stored.paused = batch.paused.unwrap_or(stored.paused);
        }
        self.store_assets(&mut stored);
        stored.last_run = runs.keys().map(|key: &RunKey| key.0).max().unwrap_or_default();
        runs.retain(|_, run| !run.state.is_finished());
        stored.runs = runs.keys().map(|run| self.stored(*run).1).collect();
        (stored.dags, stored.pools) = (dags.into_values().collect(), pools.into_values().collect());
        change(&mut stored);
        self.engine = Engine::restore(Config::default(), stored, self.now);
        self.take_output();
    }

    pub fn command(&mut self, command: Command) -> Result<Reply, CommandError> {
        for need in self.engine.needs(&command) {
            let run = match need {
                Need::Run(run) => Some(run),
                Need::RunId(dag, run_id) => self.run_called(&dag, &run_id),
                Need::AssetEvent(asset, key) => {
                    let told = |event: &&Arc<AssetEvent>| {
                        event.asset == asset && event.key.as_deref() == Some(&*key)
                    };
                    let known = self.asset_events().find(told).map(|event| event.id);
                    if let Some(event) = known {
                        self.engine.step(self.now, Input::AssetEventKnown { asset, key, event });
                    }
                    None
                }
            };
            if let Some(run) = run {
                let (version, run) = self.stored(run);
                self.engine.step(self.now, Input::Loaded { version, run: Box::new(run) });
            }
        }
        self.step(Input::Command { id: 1, by: "luffy".into(), command });
        self.replies.pop().unwrap()
    }

    pub fn put(&mut self, spec: DagSpec) {
        let hash = serde_json::to_string(&spec).unwrap();
        let command = Command::PutDag { spec: Arc::new(spec), hash, source: "test".into(), paused: false };
        self.command(command).unwrap();
    }

    pub fn trigger(&mut self, dag: &str) -> RunKey {
        self.trigger_tasks(dag, &[])
    }

    pub fn trigger_tasks(&mut self, dag: &str, tasks: &[&str]) -> RunKey {
        self.trigger_of(DagKey::new("default", dag), tasks)
    }

    pub fn trigger_of(&mut self, dag: DagKey, tasks: &[&str]) -> RunKey {
        let reply = self.command(Command::Trigger(Trigger {
            dag,
            run_id: None,
            logical_date: Some(self.now),
            data_interval: None,
            run_after: None,
            conf: Arc::new(json!({})),
            tasks: tasks.iter().map(|task| (*task).into()).collect(),
            run_type: RunType::Manual,
            triggered_by: "cli",
        }));
        match reply.unwrap() {
            Reply::Run(key, _) => key,
            other => panic!("{other:?}"),
        }
    }

    /// The attempts that the worker was told to run, in their order, since this was last asked.
    pub fn assigned(&mut self) -> Vec<AttemptId> {
        let told = std::mem::take(&mut self.told);
        told.into_iter()
            .filter_map(|message| match message {
                ToWorker::Assign(attempt) => Some(attempt),
                _ => None,
            })
            .collect()
    }

    pub fn report(&mut self, attempt: AttemptId, report: Report) {
        self.worker(1, WorkerEvent::Report { attempt, at: self.now, report });
    }

    pub fn end(&mut self, attempt: AttemptId, end: AttemptEnd) {
        self.report(attempt, Report::Ended(Box::new(Outcome::new(end))));
    }

    pub fn end_with(&mut self, attempt: AttemptId, result: Value) {
        let mut outcome = Outcome::new(AttemptEnd::Success);
        outcome.result_length = match &result {
            Value::Array(values) => Some(values.len() as u32),
            Value::Object(values) => Some(values.len() as u32),
            _ => None,
        };
        outcome.xcoms = vec![("return_value".into(), XcomValue::Inline(Arc::new(result)))];
        self.report(attempt, Report::Ended(Box::new(outcome)));
    }

    /// The task instances of a run with their task's name and state.
    pub fn instances(&self, run: RunKey) -> BTreeMap<TiKey, (String, TiStateName)> {
        let mut states = BTreeMap::new();
        for batch in &self.batches {
            for key in &batch.deleted_tis {
                states.remove(key);
            }
            for (key, ti) in batch.tis.iter().filter(|(key, _)| key.run == run) {
                states.insert(*key, (ti.task_id.to_string(), ti.state.name()));
            }
        }
        states
    }

    pub fn states(&self, run: RunKey) -> BTreeMap<String, TiStateName> {
        let name = |key: TiKey, task: String| match key.map_index {
            MapIndex::NONE => task,
            MapIndex(index) => format!("{task}[{index}]"),
        };
        self.instances(run).into_iter().map(|(key, (task, state))| (name(key, task), state)).collect()
    }

    pub fn state(&self, run: RunKey, task: &str) -> TiStateName {
        self.states(run)[task]
    }

    /// Why a task instance is in the state that it is in.
    pub fn reason(&self, run: RunKey, task: &str) -> String {
        let (_, stored) = self.stored(run);
        let named = |key: TiKey, id: &str| match key.map_index {
            MapIndex::NONE => id == task,
            MapIndex(index) => format!("{id}[{index}]") == task,
        };
        let ti = stored.tis.iter().find(|ti| named(ti.key, &ti.task_id)).unwrap();
        ti.reason.as_deref().unwrap_or_default().to_owned()
    }

    pub fn run_state(&self, run: RunKey) -> RunState {
        self.batches.iter().rev().find_map(|batch| batch.runs.get(&run)).unwrap().state
    }

    /// Runs whatever is assigned, each to success, until nothing more is.
    pub fn succeed_all(&mut self) {
        loop {
            let assigned = self.assigned();
            if assigned.is_empty() {
                break;
            }
            for attempt in assigned {
                self.report(attempt, Report::Started);
                self.end(attempt, AttemptEnd::Success);
            }
        }
    }
}

/// A DAG of tasks that a worker runs, `a -> b` for each pair.
pub fn dag(id: &str, tasks: &[&str], edges: &[(&str, &str)]) -> DagSpec {
    let mut spec = DagSpec::new(id);
    spec.tasks = tasks.iter().map(|id| TaskSpec::new(*id, "BashOperator", TaskKind::Run)).collect();
    spec.edges = edges.iter().map(|(from, to)| EdgeSpec::new(*from, *to)).collect();
    spec
}

/// What clears these tasks of a run, and nothing else.
pub fn clear(run: RunKey, tasks: &[&str]) -> Clear {
    Clear {
        run,
        tasks: tasks.iter().map(|task| ((*task).into(), None)).collect(),
        upstream: false,
        downstream: false,
        only_failed: false,
        only_running: false,
        reset_run: true,
        latest: false,
        dry_run: false,
    }
}
