//! The rows, and how a batch changes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use updraft_core::{
    AssetEvent, AssetEventId, AssetId, DagKey, DeliveryId, Namespace, PoolName, RunId, RunKey, TaskId, TiKey,
    record::{
        AssetRow, AuditRow, Batch, DagRow, DagVersionRow, PoolRow, QueuedEvent, RunRow, RunSnapshot,
        Snapshot, TaskStatsRow, TiRow, TickRow, TransitionRow, XcomRow,
    },
};

use super::backfills::Backfill;
use crate::{
    AccountId, AccountRow, AuditListing, BackfillId, ConnectionRow, DeliveryListing, DeliveryState,
    DeploymentRow, Error, Fence, ImportErrorRow, Note, Server, TokenId, TokenRow, VariableRow,
};

/// Everything that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub engine: Engine,
    pub dags: BTreeMap<DagKey, DagRow>,
    pub versions: BTreeMap<(DagKey, u32), DagVersionRow>,
    pub runs: BTreeMap<RunKey, Arc<Run>>,
    pub run_ids: BTreeMap<(DagKey, RunId), RunKey>,
    pub ticks: BTreeMap<(DagKey, Timestamp), TickRow>,
    pub pools: BTreeMap<(Namespace, PoolName), PoolRow>,
    pub deliveries: BTreeMap<DeliveryId, DeliveryListing>,
    pub audit: BTreeMap<i64, AuditListing>,
    pub stats: BTreeMap<(DagKey, TaskId), TaskStatsRow>,
    pub assets: BTreeMap<AssetId, AssetRow>,
    pub asset_events: BTreeMap<AssetEventId, Arc<AssetEvent>>,
    pub queued_events: BTreeMap<(DagKey, AssetEventId), Option<RunKey>>,
    pub connections: BTreeMap<(Namespace, String), ConnectionRow>,
    pub variables: BTreeMap<(Namespace, String), VariableRow>,
    pub accounts: BTreeMap<AccountId, AccountRow>,
    pub tokens: BTreeMap<TokenId, TokenRow>,
    pub import_errors: BTreeMap<(Namespace, String), ImportErrorRow>,
    pub backfills: BTreeMap<BackfillId, Backfill>,
    pub deployments: BTreeMap<Namespace, BTreeMap<u32, DeploymentRow>>,
    pub config: BTreeMap<String, String>,
    /// The servers, and when each was last heard of.
    pub servers: BTreeMap<String, (Server, Timestamp)>,
    /// The highest number any transition or record ever had.
    pub last_id: i64,
}

/// Who leads, and the counters that outlive what they count.
#[derive(Clone, Debug, Default)]
pub(super) struct Engine {
    pub fence: u64,
    pub holder: String,
    pub address: String,
    pub held_until: Timestamp,
    pub last_run: i64,
    pub last_delivery: i64,
    pub last_asset_event: i64,
    pub paused: bool,
}

/// A run with all that is its own.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub row: RunRow,
    pub tis: BTreeMap<TiKey, TiRow>,
    pub history: BTreeMap<(TiKey, u32), TiRow>,
    /// With their numbers.
    pub transitions: Vec<(i64, TransitionRow)>,
    pub xcoms: BTreeMap<(TiKey, String), XcomRow>,
    pub rendered: BTreeMap<TiKey, Value>,
    pub note: Option<Note>,
    pub ti_notes: BTreeMap<TiKey, Note>,
}

impl Run {
    fn new(row: RunRow) -> Self {
        Self {
            row,
            tis: BTreeMap::new(),
            history: BTreeMap::new(),
            transitions: Vec::new(),
            xcoms: BTreeMap::new(),
            rendered: BTreeMap::new(),
            note: None,
            ti_notes: BTreeMap::new(),
        }
    }

    fn delete_ti(&mut self, ti: TiKey) {
        self.tis.remove(&ti);
        self.history.retain(|(key, _), _| *key != ti);
        self.transitions.retain(|(_, row)| row.ti != ti);
        self.xcoms.retain(|(key, _), _| *key != ti);
        self.rendered.remove(&ti);
        self.ti_notes.remove(&ti);
    }
}

impl Tables {
    pub fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    pub fn put_audit(&mut self, row: &AuditRow) {
        let id = self.next_id();
        self.audit.insert(id, AuditListing { id, row: row.clone() });
    }

    /// Writes a batch, or, where it refers to what is not there, nothing.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        self.check(batch)?;
        self.delete(batch);
        self.dags.extend(batch.dags.clone());
        for row in &batch.versions {
            self.versions.entry((row.key.clone(), row.version)).or_insert_with(|| row.clone());
        }
        self.write_runs(batch);
        self.ticks.extend(batch.ticks.clone());
        self.pools.extend(batch.pools.clone());
        self.stats.extend(batch.stats.clone());
        for row in &batch.deliveries {
            self.engine.last_delivery = self.engine.last_delivery.max(row.id.0);
            self.deliveries.entry(row.id).or_insert_with(|| DeliveryListing {
                row: row.clone(),
                state: DeliveryState::Pending,
                attempts: 0,
                next_at: row.at,
                last_error: None,
                changed_at: row.at,
                digest: None,
                taken_by: Vec::new(),
            });
        }
        self.assets.extend(batch.assets.clone());
        for event in &batch.asset_events {
            self.engine.last_asset_event = self.engine.last_asset_event.max(event.id.0);
            self.asset_events.insert(event.id, event.clone());
        }
        self.queued_events.retain(|event, _| !batch.dropped_events.contains(event));
        self.queued_events.extend(batch.queued_events.clone());
        self.engine.paused = batch.paused.unwrap_or(self.engine.paused);
        for row in &batch.audit {
            self.put_audit(row);
        }
        Ok(())
    }

    /// What the databases' foreign and unique keys would refuse, and a little more: nothing may belong to a
    /// run that is not there.
    fn check(&self, batch: &Batch) -> Result<(), Error> {
        let dag_there = |dag: &DagKey| {
            batch.dags.contains_key(dag) || (self.dags.contains_key(dag) && !batch.deleted_dags.contains(dag))
        };
        let goes = |run: &Run| {
            batch.deleted_runs.contains(&run.row.key) || batch.deleted_dags.contains(&run.row.dag)
        };
        let run_there = |run: RunKey| {
            batch.runs.contains_key(&run) || self.runs.get(&run).is_some_and(|found| !goes(found))
        };
        let refuse = |message: String| Err(Error::Broken { doing: "committing", message });
        for dag in batch.versions.iter().map(|row| &row.key).chain(batch.runs.values().map(|row| &row.dag)) {
            if !dag_there(dag) {
                return refuse(format!("there is no DAG {dag}"));
            }
        }
        let mut names = BTreeMap::new();
        for row in batch.runs.values() {
            let name = (row.dag.clone(), row.run_id.clone());
            let other =
                self.run_ids.get(&name).filter(|key| self.runs.get(key).is_some_and(|run| !goes(run)));
            let other = names.insert(name, row.key).or(other.copied());
            if other.is_some_and(|other| other != row.key) {
                return refuse(format!("DAG {} has a run {} already", row.dag, row.run_id));
            }
        }
        let keys = batch.tis.keys().copied();
        let keys = keys.chain(batch.history.iter().map(|row| row.key));
        let keys = keys.chain(batch.transitions.iter().map(|row| row.ti));
        let keys = keys.chain(batch.xcoms.iter().map(|row| row.ti)).chain(batch.rendered.keys().copied());
        match keys.map(|key| key.run).find(|run| !run_there(*run)) {
            Some(run) => refuse(format!("there is no run {run}")),
            None => self.check_assets(batch),
        }
    }

    fn check_assets(&self, batch: &Batch) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::Broken { doing: "committing", message });
        let mut told = BTreeSet::new();
        for event in &batch.asset_events {
            if !batch.assets.contains_key(&event.asset) && !self.assets.contains_key(&event.asset) {
                return refuse(format!("there is no asset {}", event.asset));
            }
            let Some(key) = &event.key else { continue };
            let same = |known: &AssetEvent| known.asset == event.asset && known.key.as_ref() == Some(key);
            if !told.insert((event.asset, key)) || self.asset_events.values().any(|known| same(known)) {
                return refuse(format!("asset {} has an event told under `{key}` already", event.asset));
            }
        }
        let events: BTreeSet<AssetEventId> = batch.asset_events.iter().map(|event| event.id).collect();
        let there = |event: &AssetEventId| events.contains(event) || self.asset_events.contains_key(event);
        match batch.queued_events.keys().find(|(_, event)| !there(event)) {
            Some((_, event)) => refuse(format!("there is no event {event} of an asset")),
            None => Ok(()),
        }
    }

    fn delete(&mut self, batch: &Batch) {
        for dag in &batch.deleted_dags {
            let runs: BTreeSet<RunKey> = self.runs_of(dag).map(|run| run.row.key).collect();
            self.delete_runs(&runs);
            self.dags.remove(dag);
            self.versions.retain(|(key, _), _| key != dag);
            self.ticks.retain(|(key, _), _| key != dag);
            self.stats.retain(|(key, _), _| key != dag);
            self.queued_events.retain(|(key, _), _| key != dag);
        }
        self.delete_runs(&batch.deleted_runs);
        for ti in &batch.deleted_tis {
            if let Some(run) = self.runs.get_mut(&ti.run) {
                Arc::make_mut(run).delete_ti(*ti);
            }
        }
        for (ti, key) in &batch.deleted_xcoms {
            if let Some(run) = self.runs.get_mut(&ti.run) {
                Arc::make_mut(run).xcoms.remove(&(*ti, key.clone()));
            }
        }
        for ti in &batch.cleared_xcoms {
            if let Some(run) = self.runs.get_mut(&ti.run) {
                Arc::make_mut(run).xcoms.retain(|(key, _), _| key != ti);
            }
        }
        for pool in &batch.deleted_pools {
            self.pools.remove(pool);
        }
    }

    pub fn delete_runs(&mut self, runs: &BTreeSet<RunKey>) {
        self.queued_events.retain(|_, run| run.is_none_or(|run| !runs.contains(&run)));
        for key in runs {
            if let Some(run) = self.runs.remove(key) {
                self.run_ids.remove(&(run.row.dag.clone(), run.row.run_id.clone()));
            }
        }
    }

    fn write_runs(&mut self, batch: &Batch) {
        for row in batch.runs.values() {
            self.engine.last_run = self.engine.last_run.max(row.key.0);
            if let Some(old) = self.runs.get(&row.key) {
                self.run_ids.remove(&(old.row.dag.clone(), old.row.run_id.clone()));
            }
        }
        for row in batch.runs.values() {
            self.run_ids.insert((row.dag.clone(), row.run_id.clone()), row.key);
            let run = self.runs.entry(row.key).or_insert_with(|| Arc::new(Run::new(row.clone())));
            Arc::make_mut(run).row = row.clone();
        }
        for row in batch.tis.values() {
            self.change(row.key, |run| {
                run.tis.insert(row.key, row.clone());
            });
        }
        for row in &batch.history {
            self.change(row.key, |run| {
                run.history.insert((row.key, row.try_number), row.clone());
            });
        }
        for row in &batch.transitions {
            let id = self.next_id();
            self.change(row.ti, |run| run.transitions.push((id, row.clone())));
        }
        for row in &batch.xcoms {
            self.change(row.ti, |run| {
                run.xcoms.insert((row.ti, row.key.clone()), row.clone());
            });
        }
        for (ti, fields) in &batch.rendered {
            self.change(*ti, |run| {
                run.rendered.insert(*ti, fields.clone());
            });
        }
    }

    fn change(&mut self, ti: TiKey, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.get_mut(&ti.run) {
            change(Arc::make_mut(run));
        }
    }

    pub fn runs_of<'a>(&'a self, dag: &'a DagKey) -> impl DoubleEndedIterator<Item = &'a Arc<Run>> {
        self.runs.values().filter(move |run| run.row.dag == *dag)
    }

    pub fn elect(&mut self, holder: &str, address: &str, ttl: Duration, now: Timestamp) -> Option<Fence> {
        let engine = &mut self.engine;
        if engine.held_until > now && engine.holder != holder {
            return None;
        }
        engine.fence += 1;
        engine.holder = holder.into();
        engine.address = address.into();
        engine.held_until = later(now, ttl);
        Some(Fence(engine.fence))
    }

    pub fn renew(&mut self, fence: Fence, ttl: Duration, now: Timestamp) -> bool {
        let current = self.engine.fence == fence.0;
        if current {
            self.engine.held_until = later(now, ttl);
        }
        current
    }

    pub fn load_run(&self, run: RunKey) -> Option<(DagVersionRow, RunSnapshot)> {
        let run = self.runs.get(&run)?;
        let version = self.versions.get(&(run.row.dag.clone(), run.row.version))?;
        Some((version.clone(), self.snapshot_of(run)))
    }

    pub fn snapshot(&self) -> Snapshot {
        let runs: Vec<&Arc<Run>> = self.runs.values().filter(|run| !run.row.state.is_finished()).collect();
        let mut versions: BTreeSet<(&DagKey, u32)> =
            self.dags.values().map(|row| (&row.key, row.version)).collect();
        versions.extend(runs.iter().map(|run| (&run.row.dag, run.row.version)));
        let mut ticks: BTreeMap<&DagKey, &TickRow> = BTreeMap::new();
        for row in self.ticks.values() {
            ticks.insert(&row.dag, row);
        }
        Snapshot {
            dags: self.dags.values().cloned().collect(),
            versions: versions
                .into_iter()
                .filter_map(|(dag, version)| self.versions.get(&(dag.clone(), version)).cloned())
                .collect(),
            runs: runs.into_iter().map(|run| self.snapshot_of(run)).collect(),
            pools: self.pools.values().cloned().collect(),
            ticks: ticks.into_values().cloned().collect(),
            stats: self.stats.values().cloned().collect(),
            assets: self.assets.values().cloned().collect(),
            queued_events: self.waiting_events(),
            last_asset_event: self.engine.last_asset_event,
            last_run: self.engine.last_run,
            last_delivery: self.engine.last_delivery,
            paused: self.engine.paused,
        }
    }

    fn waiting_events(&self) -> Vec<QueuedEvent> {
        let waiting = self.queued_events.iter().filter(|(_, run)| run.is_none());
        let event = |(dag, event): &(DagKey, AssetEventId)| {
            Some(QueuedEvent { dag: dag.clone(), event: self.asset_events.get(event)?.clone() })
        };
        waiting.filter_map(|(key, _)| event(key)).collect()
    }

    fn snapshot_of(&self, run: &Run) -> RunSnapshot {
        let of_run = self.queued_events.iter().filter(|(_, of)| **of == Some(run.row.key));
        let events = of_run.filter_map(|((_, event), _)| self.asset_events.get(event).cloned());
        RunSnapshot {
            run: run.row.clone(),
            tis: run.tis.values().cloned().collect(),
            asset_events: events.collect(),
        }
    }
}

fn later(now: Timestamp, ttl: Duration) -> Timestamp {
    let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    now.checked_add(ttl).unwrap_or(Timestamp::MAX)
}
