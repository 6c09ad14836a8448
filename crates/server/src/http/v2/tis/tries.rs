//! The tries of a task instance.

use axum::Json;
use serde::Serialize;
use updraft_core::{MapIndex, record::TiRow};
use updraft_store::TiListing;
use utoipa::ToSchema;

use super::super::super::{Error, Path, Reads, call::Call, query::query, time::Time};
use super::{
    super::versions::DagVersionResponse,
    shape::{Common, airflow_state, duration},
};

/// One try.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskInstanceHistoryResponse)]
pub(super) struct TryResponse {
    task_id: String,
    dag_id: String,
    dag_run_id: String,
    map_index: i32,
    start_date: Option<Time>,
    end_date: Option<Time>,
    duration: Option<f64>,
    #[schema(value_type = Option<String>)]
    state: Option<&'static str>,
    try_number: u32,
    max_tries: u32,
    task_display_name: String,
    dag_display_name: String,
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: u32,
    queue: Option<String>,
    priority_weight: Option<i64>,
    operator: Option<String>,
    operator_name: Option<String>,
    queued_when: Option<Time>,
    scheduled_when: Option<Time>,
    pid: Option<u32>,
    executor: Option<String>,
    executor_config: &'static str,
    dag_version: Option<DagVersionResponse>,
}

impl TryResponse {
    async fn of(call: &Call, listing: &TiListing, row: &TiRow) -> Result<Self, Error> {
        let common = Common::of(&*call.version(&listing.dag, listing.version).await?, row);
        Ok(Self {
            task_id: row.task_id.to_string(),
            dag_id: listing.dag.dag_id.to_string(),
            dag_run_id: listing.run_id.to_string(),
            map_index: row.key.map_index.0,
            start_date: row.started_at.map(Time),
            end_date: row.ended_at.map(Time),
            duration: duration(row),
            state: airflow_state(&row.state),
            try_number: row.try_number,
            max_tries: row.max_tries,
            task_display_name: row.task_id.to_string(),
            dag_display_name: common.dag_display_name,
            hostname: row.worker.as_ref().map(|worker| worker.to_string()),
            unixname: None,
            pool: listing.pool.to_string(),
            pool_slots: listing.pool_slots,
            queue: Some(listing.queue.to_string()),
            priority_weight: common.priority_weight,
            operator: Some(listing.operator.clone()),
            operator_name: Some(listing.operator.clone()),
            queued_when: row.queued_at.map(Time),
            scheduled_when: row.scheduled_at.map(Time),
            pid: None,
            executor: None,
            executor_config: "{}",
            dag_version: Some(common.version),
        })
    }
}

/// Tries.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskInstanceHistoryCollectionResponse)]
pub(super) struct TriesResponse {
    task_instances: Vec<TryResponse>,
    total_entries: u64,
}

query! {
    /// Which copy.
    CopyQuery {
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
    }
}

/// The tries of a task instance, the latest last.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries",
    tag = "Task Instance", params(CopyQuery), responses((status = 200, body = TriesResponse), Reads),
)]
pub(super) async fn get_task_instance_tries(
    call: Call,
    Path((dag_id, dag_run_id, task_id)): Path<(String, String, String)>,
    copy: CopyQuery,
) -> Result<Json<TriesResponse>, Error> {
    tries(&call, (&dag_id, &dag_run_id, &task_id), copy.map_index.unwrap_or(-1)).await
}

/// The tries of a copy of a mapped task, the latest last.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries",
    tag = "Task Instance", responses((status = 200, body = TriesResponse), Reads),
)]
pub(super) async fn get_mapped_task_instance_tries(
    call: Call,
    Path((dag_id, dag_run_id, task_id, map_index)): Path<(String, String, String, i32)>,
) -> Result<Json<TriesResponse>, Error> {
    tries(&call, (&dag_id, &dag_run_id, &task_id), map_index).await
}

/// One try of a task instance.
#[utoipa::path(
    get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}",
    tag = "Task Instance", params(CopyQuery), responses((status = 200, body = TryResponse), Reads),
)]
pub(super) async fn get_task_instance_try_details(
    call: Call,
    Path((dag_id, dag_run_id, task_id, try_number)): Path<(String, String, String, u32)>,
    copy: CopyQuery,
) -> Result<Json<TryResponse>, Error> {
    one(&call, (&dag_id, &dag_run_id, &task_id), copy.map_index.unwrap_or(-1), try_number).await
}

/// One try of a copy of a mapped task.
#[utoipa::path(
    get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/\
            {task_try_number}",
    tag = "Task Instance", responses((status = 200, body = TryResponse), Reads),
)]
pub(super) async fn get_mapped_task_instance_try_details(
    call: Call,
    Path((dag_id, dag_run_id, task_id, map_index, try_number)): Path<(String, String, String, i32, u32)>,
) -> Result<Json<TryResponse>, Error> {
    one(&call, (&dag_id, &dag_run_id, &task_id), map_index, try_number).await
}

async fn tries(call: &Call, name: (&str, &str, &str), map_index: i32) -> Result<Json<TriesResponse>, Error> {
    let listing = call.ti(name, MapIndex(map_index)).await?;
    let mut task_instances = Vec::new();
    for row in call.store().tries(listing.row.key).await? {
        task_instances.push(TryResponse::of(call, &listing, &row).await?);
    }
    let total_entries = task_instances.len() as u64;
    Ok(Json(TriesResponse { task_instances, total_entries }))
}

async fn one(
    call: &Call,
    name: (&str, &str, &str),
    map_index: i32,
    try_number: u32,
) -> Result<Json<TryResponse>, Error> {
    let listing = call.ti(name, MapIndex(map_index)).await?;
    let tries = call.store().tries(listing.row.key).await?;
    let row = tries.into_iter().rev().find(|row| row.try_number == try_number).ok_or_else(|| {
        Error::not_found(format!(
            "The Task Instance with dag_id: `{}`, run_id: `{}`, task_id: `{}`, try_number: `{try_number}` and \
             map_index: `{map_index}` was not found",
            name.0, name.1, name.2
        ))
    })?;
    Ok(Json(TryResponse::of(call, &listing, &row).await?))
}
