//! Assets and their events as Airflow shows them.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use updraft_core::{MapIndex, RunKey, RunState, record::RunRow};
use updraft_store::{AssetEventListing, AssetListing, AssetUsage, AssetUse};
use utoipa::ToSchema;

use super::super::super::{Error, call::Call, time::Time};
use crate::secrets::mask;

/// Airflow's `Asset.group` where none was given.
pub(in super::super) const GROUP: &str = "asset";

/// An asset.
#[derive(Serialize, ToSchema)]
pub(super) struct AssetResponse {
    id: i64,
    name: String,
    uri: String,
    group: String,
    /// What has a telling name in it is masked.
    #[schema(value_type = Object)]
    extra: Value,
    created_at: Time,
    updated_at: Time,
    /// The DAGs that wait for it.
    scheduled_dags: Vec<DagScheduleAssetReference>,
    /// The tasks that make it.
    producing_tasks: Vec<TaskAssetReference>,
    /// The tasks that read it.
    consuming_tasks: Vec<TaskAssetReference>,
    /// There are none.
    aliases: Vec<String>,
    /// There are none.
    watchers: Vec<String>,
    last_asset_event: Option<LastAssetEventResponse>,
}

/// A DAG that waits for an asset.
#[derive(Serialize, ToSchema)]
struct DagScheduleAssetReference {
    dag_id: String,
    created_at: Time,
    updated_at: Time,
}

/// A task that makes or reads an asset.
#[derive(Serialize, ToSchema)]
struct TaskAssetReference {
    dag_id: String,
    task_id: String,
    created_at: Time,
    updated_at: Time,
}

/// What happened last.
#[derive(Serialize, ToSchema)]
struct LastAssetEventResponse {
    id: i64,
    timestamp: Time,
}

impl From<AssetListing> for AssetResponse {
    fn from(AssetListing { row, uses, last_event }: AssetListing) -> Self {
        let at = Time(row.created_at);
        let task = |used: &AssetUse, task: &str| TaskAssetReference {
            dag_id: used.dag_id.to_string(),
            task_id: task.to_owned(),
            created_at: at,
            updated_at: at,
        };
        let mut shown = Self {
            id: row.id.0,
            name: row.asset.name.unwrap_or_else(|| row.asset.uri.to_string()),
            uri: row.asset.uri.to_string(),
            group: row.asset.group.unwrap_or_else(|| GROUP.to_owned()),
            extra: mask(&Value::Object(row.asset.extra)),
            created_at: at,
            updated_at: at,
            scheduled_dags: Vec::new(),
            producing_tasks: Vec::new(),
            consuming_tasks: Vec::new(),
            aliases: Vec::new(),
            watchers: Vec::new(),
            last_asset_event: last_event
                .map(|(id, at)| LastAssetEventResponse { id: id.0, timestamp: Time(at) }),
        };
        for used in &uses {
            match &used.usage {
                AssetUsage::Schedule => shown.scheduled_dags.push(DagScheduleAssetReference {
                    dag_id: used.dag_id.to_string(),
                    created_at: at,
                    updated_at: at,
                }),
                AssetUsage::Outlet(name) => shown.producing_tasks.push(task(used, name)),
                AssetUsage::Inlet(name) => shown.consuming_tasks.push(task(used, name)),
            }
        }
        shown
    }
}

/// Something that happened to an asset.
#[derive(Serialize, ToSchema)]
pub(in super::super::super) struct AssetEventResponse {
    id: i64,
    asset_id: i64,
    uri: String,
    name: String,
    group: String,
    /// What has a telling name in it is masked.
    #[schema(value_type = Object)]
    extra: Value,
    /// Told again under this key, it is the same event; Airflow knows no such thing.
    key: Option<String>,
    source_dag_id: Option<String>,
    source_task_id: Option<String>,
    source_run_id: Option<String>,
    source_map_index: i32,
    /// The runs that were made of it.
    created_dagruns: Vec<DagRunAssetReference>,
    timestamp: Time,
    partition_key: Option<String>,
}

/// A run that was made of an event.
#[derive(Serialize, ToSchema)]
struct DagRunAssetReference {
    run_id: String,
    dag_id: String,
    logical_date: Option<Time>,
    /// When it was made, where it has not begun yet.
    start_date: Time,
    end_date: Option<Time>,
    #[schema(value_type = String)]
    state: RunState,
    data_interval_start: Option<Time>,
    data_interval_end: Option<Time>,
    partition_key: Option<String>,
    /// Whether it is the last of the events of which the run was made.
    triggering: bool,
}

impl AssetEventResponse {
    pub async fn of(call: &Call, listing: AssetEventListing) -> Result<Self, Error> {
        let runs = runs_of(call, std::slice::from_ref(&listing)).await?;
        Ok(Self::with_runs(listing, &runs))
    }

    pub async fn all(call: &Call, listings: Vec<AssetEventListing>) -> Result<Vec<Self>, Error> {
        let runs = runs_of(call, &listings).await?;
        Ok(listings.into_iter().map(|listing| Self::with_runs(listing, &runs)).collect())
    }

    fn with_runs(listing: AssetEventListing, known: &HashMap<RunKey, RunRow>) -> Self {
        let AssetEventListing { event, name, group, runs } = listing;
        let of_run = |(run, triggering)| Some(DagRunAssetReference::of(known.get(&run)?, triggering));
        let created_dagruns = runs.into_iter().filter_map(of_run).collect();
        let source = event.source.as_ref();
        Self {
            id: event.id.0,
            asset_id: event.asset.0,
            uri: event.uri.to_string(),
            name: name.unwrap_or_else(|| event.uri.to_string()),
            group: group.unwrap_or_else(|| GROUP.to_owned()),
            extra: mask(&event.extra),
            key: event.key.clone(),
            source_dag_id: source.map(|source| source.dag_id.to_string()),
            source_task_id: source.map(|source| source.task_id.to_string()),
            source_run_id: source.map(|source| source.run_id.to_string()),
            source_map_index: source.map_or(MapIndex::NONE, |source| source.map_index).0,
            created_dagruns,
            timestamp: Time(event.at),
            partition_key: None,
        }
    }
}

/// The runs that were made of events. Many events may have made one.
async fn runs_of(call: &Call, listings: &[AssetEventListing]) -> Result<HashMap<RunKey, RunRow>, Error> {
    let mut known = HashMap::new();
    for (run, _) in listings.iter().flat_map(|listing| &listing.runs) {
        if !known.contains_key(run)
            && let Some(found) = call.store().run(*run).await?
        {
            known.insert(*run, found.row);
        }
    }
    Ok(known)
}

impl DagRunAssetReference {
    fn of(run: &RunRow, triggering: bool) -> Self {
        Self {
            run_id: run.run_id.to_string(),
            dag_id: run.dag.dag_id.to_string(),
            logical_date: run.logical_date.map(Time),
            start_date: Time(run.started_at.unwrap_or(run.queued_at)),
            end_date: run.ended_at.map(Time),
            state: run.state,
            data_interval_start: None,
            data_interval_end: None,
            partition_key: None,
            triggering,
        }
    }
}
