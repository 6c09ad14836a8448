//! Assets: what happened to them, and the runs that are made of it.
//!
//! An event is queued for each DAG that waits for its asset, until what the DAG waits for has happened: then one
//! run is made of all that is queued. While such a run waits for its turn no other is made, and what happens is
//! gathered for the next one: a thousand events are not a thousand runs.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Engine, Timer};
use crate::{
    Asset, AssetEvent, AssetEventId, AssetEventSource, AssetId, AssetUri, Dag, DagId, DagKey, Namespace,
    RunKey, RunState, TiKey,
    input::{CommandError, PutAssetEvent, Reply, WhichAsset},
    record::{AssetRow, RunRow, RunType},
    schedule::Tick,
};

/// Runs of a DAG for what happened to assets are made so long after one another at least, also where two DAGs
/// wait for what the other makes.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// An event's `extra` has at most so much JSON: as much as a value that a task leaves for others in the database.
const MOST_EXTRA: usize = 64 * 1024;

impl Engine {
    /// Notes the assets that a DAG's version names, and forgets what was queued for it of others.
    pub(super) fn note_assets(&mut self, now: Timestamp, key: &DagKey, dag: &Dag) {
        let spec = dag.spec();
        let of_tasks = spec.tasks.iter().flat_map(|task| task.inlets.iter().chain(&task.outlets));
        for asset in spec.assets.iter().flat_map(|condition| condition.assets()).chain(of_tasks) {
            self.note_asset(now, &key.namespace, asset);
        }
        let Some(state) = self.dags.get_mut(key) else { return };
        let waits_for = |uri: &AssetUri| spec.assets.as_ref().is_some_and(|assets| assets.names(uri));
        for event in state.events.remove_if(|event| !waits_for(&event.uri)) {
            self.drop_queued_event(key, event);
        }
    }

    /// Leaves an event out of the run to come.
    pub(super) fn drop_queued_event(&mut self, dag: &DagKey, event: AssetEventId) {
        self.out.batch.queued_events.remove(&(dag.clone(), event));
        self.out.batch.dropped_events.insert((dag.clone(), event));
    }

    fn note_asset(&mut self, now: Timestamp, namespace: &Namespace, asset: &Asset) {
        let next = AssetId(self.assets.len() as i64 + 1);
        let at = (namespace.clone(), asset.uri.clone());
        let known = self.assets.entry(at).or_insert_with(|| AssetRow {
            id: next,
            namespace: namespace.clone(),
            asset: Asset::new(asset.uri.clone()),
            created_at: now,
        });
        let before = known.clone();
        let says = &mut known.asset;
        says.name = asset.name.clone().or(says.name.take());
        says.group = asset.group.clone().or(says.group.take());
        if !asset.extra.is_empty() {
            says.extra.clone_from(&asset.extra);
        }
        if known.id == next || *known != before {
            self.out.batch.assets.insert(known.id, known.clone());
        }
    }

    /// A task instance has succeeded: that is an event of each of its outlets.
    pub(super) fn tell_outlets(&mut self, now: Timestamp, key: TiKey) {
        let Some((run, spec)) = self.spec(key) else { return };
        if spec.outlets.is_empty() {
            return;
        }
        let namespace = run.row.dag.namespace.clone();
        let source = AssetEventSource {
            dag_id: run.row.dag.dag_id.clone(),
            run_id: run.row.run_id.clone(),
            task_id: spec.task_id.clone(),
            map_index: key.map_index,
        };
        let outlets: BTreeSet<AssetUri> = spec.outlets.iter().map(|asset| asset.uri.clone()).collect();
        // Who waits for any of several has one run of all of them.
        let mut waiting = BTreeSet::new();
        for uri in outlets {
            // Of a version that this engine has not put itself, and that is no DAG's present one.
            self.note_asset(now, &namespace, &Asset::new(uri.clone()));
            let Some(asset) = self.assets.get(&(namespace.clone(), uri.clone())).map(|row| row.id) else {
                continue;
            };
            let (_, waits) = self.happen(AssetEvent {
                id: AssetEventId(0),
                namespace: namespace.clone(),
                asset,
                uri,
                at: now,
                extra: Arc::new(Value::Object(Map::new())),
                key: None,
                source: Some(source.clone()),
                told_by: None,
            });
            waiting.extend(waits);
        }
        waiting.iter().for_each(|dag| self.run_of_events(now, dag));
    }

    /// The asset that somebody names.
    pub(super) fn find_asset(&self, namespace: &Namespace, which: &WhichAsset) -> Option<&AssetRow> {
        match which {
            WhichAsset::Uri(uri) => self.assets.get(&(namespace.clone(), uri.clone())),
            WhichAsset::Id(id) => {
                self.assets.values().find(|row| row.id == *id && row.namespace == *namespace)
            }
        }
    }

    pub(super) fn put_asset_event(
        &mut self,
        now: Timestamp,
        by: &str,
        told: PutAssetEvent,
    ) -> Result<Reply, CommandError> {
        let PutAssetEvent { namespace, asset, extra, key } = told;
        let row = self.find_asset(&namespace, &asset).ok_or_else(|| {
            let which = match &asset {
                WhichAsset::Id(id) => format!("the number {id}"),
                WhichAsset::Uri(uri) => format!("the URI `{uri}`"),
            };
            CommandError::NotFound(format!("no DAG names an asset of {which}"))
        })?;
        let (asset, uri) = (row.id, row.asset.uri.clone());
        if !extra.is_object() || extra.to_string().len() > MOST_EXTRA {
            return Err(CommandError::Invalid(
                "`extra` must be a JSON object of at most 64 KiB: leave the data themselves where they are"
                    .into(),
            ));
        }
        if let Some(key) = &key {
            // A database keeps a NUL as another letter, under which two keys would be one.
            if key.is_empty() || key.len() > 250 || key.chars().any(char::is_control) {
                let message = "`key` must have 1 to 250 bytes, and no control characters";
                return Err(CommandError::Invalid(message.into()));
            }
            if let Some(event) = self.event_keys.get(&(asset, key.clone())) {
                return Ok(Reply::AssetEvent(*event, false));
            }
        }
        let told_by = Some(by.to_owned());
        let id = AssetEventId(0);
        let event = AssetEvent { id, namespace, asset, uri, at: now, extra, key, source: None, told_by };
        let (id, waiting) = self.happen(event);
        waiting.iter().for_each(|dag| self.run_of_events(now, dag));
        Ok(Reply::AssetEvent(id, true))
    }

    /// Writes an event down under the next number, and queues it for each DAG that waits for its asset; these are to be
    /// looked at. As Airflow has it, not for those that are paused.
    fn happen(&mut self, event: AssetEvent) -> (AssetEventId, Vec<DagKey>) {
        self.last_asset_event += 1;
        let id = AssetEventId(self.last_asset_event);
        let event = Arc::new(AssetEvent { id, ..event });
        if let Some(key) = &event.key {
            self.event_keys.insert((event.asset, key.clone()), id);
        }
        self.out.batch.asset_events.push(event.clone());
        let mut waiting = Vec::new();
        for (key, dag) in &mut self.dags {
            let waits = dag.dag.spec().assets.as_ref().is_some_and(|assets| assets.names(&event.uri));
            if waits && key.namespace == event.namespace && !dag.row.is_paused && !dag.row.is_stale {
                waiting.push((key.clone(), dag.events.insert(event.clone())));
            }
        }
        for (dag, gone) in &waiting {
            self.out.batch.queued_events.insert((dag.clone(), id), None);
            if let Some(gone) = gone {
                self.drop_queued_event(dag, *gone);
            }
        }
        (id, waiting.into_iter().map(|(dag, _)| dag).collect())
    }

    /// Makes a run of what is queued for a DAG, where what it waits for has happened.
    pub(super) fn run_of_events(&mut self, now: Timestamp, key: &DagKey) {
        if self.is_paused(key) {
            return;
        }
        let Some(dag) = self.dags.get(key).filter(|dag| !dag.row.is_stale) else { return };
        let Some(condition) = &dag.dag.spec().assets else { return };
        if !dag.events.fulfil(condition) {
            return;
        }
        let of_events =
            |run: &RunKey| self.runs.get(run).is_some_and(|run| run.row.run_type == RunType::AssetTriggered);
        if dag.queued.iter().any(|(_, run)| of_events(run)) {
            return;
        }
        // On a clock that has been set back, the last one may be in the future.
        if let Some(last) = dag.row.events_run_at.filter(|last| *last <= now) {
            let earliest = last.saturating_add(SHORTEST).unwrap_or(last);
            if now < earliest {
                self.timers.insert((earliest, Timer::Events(key.clone())));
                return;
            }
        }
        let Some(last) = dag.events.last() else { return };
        let run_type = RunType::AssetTriggered;
        let row = RunRow {
            key: RunKey(self.last_run + 1),
            dag: key.clone(),
            // With the number of its last event, since two may be made within a moment.
            run_id: format!("{}_{last}", Tick::named(run_type.as_str(), now)).into(),
            version: dag.row.version,
            state: RunState::Queued,
            run_type,
            triggered_by: "asset".into(),
            triggering_user: None,
            owner: dag.dag.spec().owner.clone(),
            logical_date: None,
            data_interval: None,
            run_after: now,
            conf: Arc::new(Value::Object(Map::new())),
            selection: None,
            queued_at: now,
            started_at: None,
            ended_at: None,
            clear_number: 0,
            deadlines_told: None,
            reason: None,
            marked: None,
        };
        let compiled = dag.dag.clone();
        self.last_run += 1;
        let Some(dag) = self.dags.get_mut(key) else { return };
        dag.row.events_run_at = Some(now);
        self.changed.dags.insert(key.clone());
        let events = dag.events.take();
        for event in &events {
            self.out.batch.queued_events.insert((key.clone(), event.id), Some(row.key));
        }
        self.create_run(now, row, compiled, events.into());
    }

    /// Looks at all DAGs, since the clock was set.
    pub(super) fn runs_of_events(&mut self, now: Timestamp) {
        let waiting = self.dags.iter().filter(|(_, dag)| !dag.events.is_empty());
        let waiting: Vec<DagKey> = waiting.map(|(key, _)| key.clone()).collect();
        for key in waiting {
            self.run_of_events(now, &key);
        }
    }

    /// Whether a DAG waits for its next run of events, though nothing will make it.
    pub(super) fn forgets_events(&self, key: &DagKey) -> bool {
        let Some(dag) = self.dags.get(key) else { return false };
        let due = dag.dag.spec().assets.as_ref().is_some_and(|condition| dag.events.fulfil(condition));
        let queued = dag.queued.iter().filter_map(|(_, run)| self.runs.get(run));
        due && !self.is_paused(key)
            && !dag.row.is_stale
            && queued.into_iter().all(|run| run.row.run_type != RunType::AssetTriggered)
            && !self.timers.iter().any(|(_, timer)| *timer == Timer::Events(key.clone()))
    }

    pub(super) fn drop_queued_events(
        &mut self,
        namespace: &Namespace,
        dag: Option<&DagId>,
        asset: Option<AssetId>,
        before: Option<Timestamp>,
    ) -> Reply {
        let mut dropped = Vec::new();
        for (key, state) in &mut self.dags {
            if key.namespace != *namespace || dag.is_some_and(|dag| *dag != key.dag_id) {
                continue;
            }
            let gone = state.events.remove_if(|event| {
                asset.is_none_or(|asset| asset == event.asset)
                    && before.is_none_or(|before| event.at < before)
            });
            dropped.extend(gone.into_iter().map(|event| (key.clone(), event)));
        }
        for (dag, event) in &dropped {
            self.drop_queued_event(dag, *event);
        }
        Reply::Count(dropped.len() as u64)
    }
}
