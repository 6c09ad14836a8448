//! What the store has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use updraft_core::{
    AssetEvent, AssetEventId, AssetId, DagKey, DeliveryId, MapIndex, Namespace, PoolName, RunId, RunKey,
    RunState, TaskId, TaskIx, TiKey,
    record::{
        AssetRow, Batch, DagRow, DagVersionRow, DeliveryRow, PoolRow, QueuedEvent, RunRow, RunSnapshot,
        RunType, Snapshot, TaskStatsRow, TiRow, TickRow, XcomRow,
    },
};

/// A store in memory that takes what a database would take, and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub dags: BTreeMap<DagKey, DagRow>,
    pub versions: BTreeMap<(DagKey, u32), DagVersionRow>,
    pub runs: BTreeMap<RunKey, RunRow>,
    pub run_ids: BTreeMap<(DagKey, RunId), RunKey>,
    pub tis: BTreeMap<TiKey, TiRow>,
    pub history: BTreeMap<(TiKey, u32), TiRow>,
    pub xcoms: BTreeMap<(TiKey, String), XcomRow>,
    pub pools: BTreeMap<(Namespace, PoolName), PoolRow>,
    pub ticks: BTreeMap<(DagKey, Timestamp), TickRow>,
    pub stats: BTreeMap<(DagKey, TaskId), TaskStatsRow>,
    pub deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    pub assets: BTreeMap<AssetId, AssetRow>,
    pub asset_events: BTreeMap<AssetEventId, Arc<AssetEvent>>,
    /// Events that make runs of DAGs, with the run where there is one.
    pub queued_events: BTreeMap<(DagKey, AssetEventId), Option<RunKey>>,
    last_run: i64,
    last_delivery: i64,
    pub paused: bool,
}

/// All keys of a run's task instances.
pub(crate) fn keys_of(run: RunKey) -> std::ops::RangeInclusive<TiKey> {
    let key = |task, map_index| TiKey { run, task: TaskIx(task), map_index: MapIndex(map_index) };
    key(0, i32::MIN)..=key(u32::MAX, i32::MAX)
}

impl Disk {
    /// Writes a batch; says what a database would refuse about it.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), String> {
        self.delete(batch);
        self.dags.extend(batch.dags.clone());
        for version in &batch.versions {
            let at = (version.key.clone(), version.version);
            if self.versions.insert(at, version.clone()).is_some() {
                return Err(format!("version {} of {} is written twice", version.version, version.key));
            }
        }
        for (key, run) in &batch.runs {
            if !self.dags.contains_key(&run.dag) {
                return Err(format!("run {key} is of {}, which is not there", run.dag));
            }
            let name = (run.dag.clone(), run.run_id.clone());
            if self.run_ids.insert(name, *key).is_some_and(|other| other != *key) {
                return Err(format!("two runs of {} are called {}", run.dag, run.run_id));
            }
            self.runs.insert(*key, run.clone());
            self.last_run = self.last_run.max(key.0);
        }
        for (key, ti) in &batch.tis {
            if !self.runs.contains_key(&key.run) {
                return Err(format!("{key:?} is of a run that is not there"));
            }
            self.tis.insert(*key, ti.clone());
        }
        self.add_to_tis(batch)?;
        self.add_asset_events(batch)?;
        self.paused = batch.paused.unwrap_or(self.paused);
        self.pools.extend(batch.pools.clone());
        self.ticks.extend(batch.ticks.clone());
        self.stats.extend(batch.stats.clone());
        for delivery in &batch.deliveries {
            if delivery.run.is_some_and(|run| !self.runs.contains_key(&run)) {
                return Err(format!("delivery {} is about a run that is not there", delivery.id));
            }
            if self.deliveries.insert(delivery.id, delivery.clone()).is_some() {
                return Err(format!("two deliveries have the number {}", delivery.id));
            }
            self.last_delivery = self.last_delivery.max(delivery.id.0);
        }
        Ok(())
    }

    fn add_to_tis(&mut self, batch: &Batch) -> Result<(), String> {
        for ti in &batch.history {
            if !self.tis.contains_key(&ti.key) {
                return Err(format!("the history of {:?} has no task instance", ti.key));
            }
            if self.history.insert((ti.key, ti.try_number), ti.clone()).is_some() {
                return Err(format!("try {} of {:?} is twice in the history", ti.try_number, ti.key));
            }
        }
        for transition in &batch.transitions {
            if !self.runs.contains_key(&transition.ti.run) {
                return Err(format!("a transition of {:?} has no run", transition.ti));
            }
        }
        for xcom in &batch.xcoms {
            if !self.tis.contains_key(&xcom.ti) {
                return Err(format!("XCom {} of {:?} has no task instance", xcom.key, xcom.ti));
            }
            self.xcoms.insert((xcom.ti, xcom.key.clone()), xcom.clone());
        }
        for key in batch.rendered.keys() {
            if !self.tis.contains_key(key) {
                return Err(format!("what {key:?} rendered has no task instance"));
            }
        }
        Ok(())
    }

    fn add_asset_events(&mut self, batch: &Batch) -> Result<(), String> {
        self.assets.extend(batch.assets.clone());
        for event in &batch.asset_events {
            if !self.assets.contains_key(&event.asset) {
                return Err(format!("event {} is of an asset that is not there", event.id));
            }
            let twice = |known: &Arc<AssetEvent>| known.asset == event.asset && known.key == event.key;
            if event.key.is_some() && self.asset_events.values().any(twice) {
                return Err(format!("two events of {} were told under {:?}", event.uri, event.key));
            }
            if self.asset_events.insert(event.id, event.clone()).is_some() {
                return Err(format!("two events have the number {}", event.id));
            }
        }
        for (at, run) in &batch.queued_events {
            let (dag, event) = at;
            if !self.asset_events.contains_key(event) || !self.dags.contains_key(dag) {
                return Err(format!("event {event} is queued for {dag}, and one of them is not there"));
            }
            if run.is_some_and(|run| !self.runs.contains_key(&run)) {
                return Err(format!("the run of event {event} for {dag} is not there"));
            }
            if let Some(Some(before)) = self.queued_events.insert(at.clone(), *run) {
                return Err(format!("event {event} made run {before} of {dag} already"));
            }
        }
        Ok(())
    }

    fn delete(&mut self, batch: &Batch) {
        self.queued_events.retain(|event, run| {
            !batch.deleted_dags.contains(&event.0)
                && !batch.dropped_events.contains(event)
                && run.is_none_or(|run| !batch.deleted_runs.contains(&run))
        });
        let mut runs: BTreeSet<RunKey> = batch.deleted_runs.clone();
        for dag in &batch.deleted_dags {
            self.dags.remove(dag);
            self.versions.retain(|(key, _), _| key != dag);
            self.ticks.retain(|(key, _), _| key != dag);
            self.stats.retain(|(key, _), _| key != dag);
            runs.extend(self.runs.values().filter(|run| run.dag == *dag).map(|run| run.key));
        }
        for run in runs {
            // Its number is never given again, even where it was made and deleted in one batch.
            self.last_run = self.last_run.max(run.0);
            if let Some(row) = self.runs.remove(&run) {
                self.run_ids.remove(&(row.dag, row.run_id));
            }
            self.deliveries.retain(|_, delivery| delivery.run != Some(run));
            let tis: Vec<TiKey> = self.tis.range(keys_of(run)).map(|(key, _)| *key).collect();
            tis.into_iter().for_each(|ti| self.delete_ti(ti));
        }
        batch.deleted_tis.iter().for_each(|ti| self.delete_ti(*ti));
        for ti in &batch.cleared_xcoms {
            self.xcoms.retain(|(key, _), _| key != ti);
        }
        for pool in &batch.deleted_pools {
            self.pools.remove(pool);
        }
    }

    fn delete_ti(&mut self, ti: TiKey) {
        self.tis.remove(&ti);
        let tries: Vec<_> = self.history.range((ti, 0)..=(ti, u32::MAX)).map(|(key, _)| *key).collect();
        tries.iter().for_each(|key| drop(self.history.remove(key)));
        self.xcoms.retain(|(key, _), _| *key != ti);
    }

    /// Everything a new leader has to know.
    pub fn snapshot(&self) -> Snapshot {
        let mut ticks: BTreeMap<&DagKey, &TickRow> = BTreeMap::new();
        for ((dag, _), row) in &self.ticks {
            ticks.insert(dag, row);
        }
        let runs: Vec<RunSnapshot> =
            self.unfinished().filter_map(|run| self.run(run.key)).map(|(_, run)| run).collect();
        let needed = |row: &&DagVersionRow| {
            let current = self.dags.get(&row.key).is_some_and(|dag| dag.version == row.version);
            current || runs.iter().any(|run| run.run.dag == row.key && run.run.version == row.version)
        };
        Snapshot {
            dags: self.dags.values().cloned().collect(),
            versions: self.versions.values().filter(needed).cloned().collect(),
            pools: self.pools.values().cloned().collect(),
            ticks: ticks.into_values().cloned().collect(),
            stats: self.stats.values().cloned().collect(),
            assets: self.assets.values().cloned().collect(),
            queued_events: self.waiting_events().collect(),
            last_asset_event: self.asset_events.keys().next_back().map_or(0, |id| id.0),
            last_run: self.last_run,
            last_delivery: self.last_delivery,
            paused: self.paused,
            runs,
        }
    }

    /// Events that DAGs have had no run for yet.
    fn waiting_events(&self) -> impl Iterator<Item = QueuedEvent> {
        let waiting = self.queued_events.iter().filter(|(_, run)| run.is_none());
        waiting.filter_map(|((dag, event), _)| {
            Some(QueuedEvent { dag: dag.clone(), event: self.asset_events.get(event)?.clone() })
        })
    }

    /// What a run was made for.
    pub fn events_of(&self, run: RunKey) -> Vec<Arc<AssetEvent>> {
        let of_run = self.queued_events.iter().filter(|(_, of)| **of == Some(run));
        of_run.filter_map(|((_, event), _)| self.asset_events.get(event).cloned()).collect()
    }

    /// The task instances of a run.
    pub fn tis_of(&self, run: RunKey) -> impl Iterator<Item = &TiRow> {
        self.tis.range(keys_of(run)).map(|(_, ti)| ti)
    }

    /// The instances of a task of a run.
    pub fn instances(&self, run: RunKey, task: TaskIx) -> impl Iterator<Item = &TiRow> {
        let key = |map_index| TiKey { run, task, map_index: MapIndex(map_index) };
        self.tis.range(key(i32::MIN)..=key(i32::MAX)).map(|(_, ti)| ti)
    }

    /// The version a run is on.
    pub fn version_of(&self, run: &RunRow) -> Option<&DagVersionRow> {
        self.versions.get(&(run.dag.clone(), run.version))
    }

    /// A run with its task instances and the version it is on.
    pub fn run(&self, key: RunKey) -> Option<(DagVersionRow, RunSnapshot)> {
        let run = self.runs.get(&key)?.clone();
        let version = self.version_of(&run)?.clone();
        let (tis, asset_events) = (self.tis_of(key).cloned().collect(), self.events_of(key));
        Some((version, RunSnapshot { tis, asset_events, run }))
    }

    /// The last run of a DAG before a date.
    pub fn run_before(&self, dag: &DagKey, date: Timestamp, only_scheduled: bool) -> Option<RunKey> {
        let date_of = |run: &RunRow| run.logical_date.unwrap_or(run.run_after);
        self.runs
            .values()
            .filter(|run| run.dag == *dag && date_of(run) < date)
            .filter(|run| !only_scheduled || run.run_type == RunType::Scheduled)
            .max_by_key(|run| (date_of(run), run.key))
            .map(|run| run.key)
    }

    /// The runs that are not over.
    pub fn unfinished(&self) -> impl Iterator<Item = &RunRow> {
        self.runs.values().filter(|run| matches!(run.state, RunState::Queued | RunState::Running))
    }
}
