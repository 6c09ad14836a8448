//! Events that DAGs have had no run for yet: `queuedEvents`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, http::StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use updraft_core::{
    AssetId, DagId,
    input::{Command, Reply},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::super::{Error, Path, Reads, Shared, Writes, call::Call, query::query, time::Time};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(get_asset_queued_events, delete_asset_queued_events))
        .routes(routes!(get_dag_asset_queued_events, delete_dag_asset_queued_events))
        .routes(routes!(get_dag_asset_queued_event, delete_dag_asset_queued_event))
}

/// That something happened to an asset, and a DAG has had no run for it yet.
#[derive(Serialize, ToSchema)]
struct QueuedEventResponse {
    dag_id: String,
    asset_id: i64,
    /// When it first did.
    created_at: Time,
    dag_display_name: String,
}

/// What happened to assets, and DAGs have had no runs for yet.
#[derive(Serialize, ToSchema)]
struct QueuedEventCollectionResponse {
    queued_events: Vec<QueuedEventResponse>,
    total_entries: u64,
}

query! {
    /// Which of them.
    BeforeQuery {
        /// Only what happened before this.
        before: Option<Timestamp>,
    }
}

/// Of which DAG and which asset.
#[derive(Clone, Debug)]
struct Of {
    dag: Option<DagId>,
    asset: Option<AssetId>,
}

impl Of {
    fn missing(&self) -> Error {
        let named = match (&self.dag, self.asset) {
            (Some(dag), Some(asset)) => format!("dag_id: `{dag}` and asset_id: `{asset}`"),
            (Some(dag), None) => format!("dag_id: `{dag}`"),
            (None, Some(asset)) => format!("asset_id: `{asset}`"),
            (None, None) => "nothing".to_owned(),
        };
        Error::not_found(format!("Queue event with {named} was not found"))
    }
}

/// As in Airflow one for each DAG and asset, however often something happened to it.
async fn list(call: &Call, of: &Of, query: &BeforeQuery) -> Result<Vec<QueuedEventResponse>, Error> {
    let queued = call.store().queued_events(&call.namespace, of.dag.as_ref(), of.asset).await?;
    let mut first: BTreeMap<(DagId, AssetId), Timestamp> = BTreeMap::new();
    for (dag, event) in
        queued.into_iter().filter(|(_, event)| query.before.is_none_or(|before| event.at < before))
    {
        let at = first.entry((dag.dag_id, event.asset)).or_insert(event.at);
        *at = event.at.min(*at);
    }
    let rows = first.into_iter().map(|((dag, asset), at)| QueuedEventResponse {
        dag_id: dag.to_string(),
        asset_id: asset.0,
        created_at: Time(at),
        dag_display_name: dag.to_string(),
    });
    match rows.collect::<Vec<_>>() {
        rows if rows.is_empty() => Err(of.missing()),
        rows => Ok(rows),
    }
}

async fn collection(
    call: &Call,
    of: &Of,
    query: &BeforeQuery,
) -> Result<Json<QueuedEventCollectionResponse>, Error> {
    let queued_events = list(call, of, query).await?;
    let total_entries = queued_events.len() as u64;
    Ok(Json(QueuedEventCollectionResponse { queued_events, total_entries }))
}

async fn delete(call: &Call, of: Of, query: &BeforeQuery) -> Result<StatusCode, Error> {
    let Of { dag, asset } = of.clone();
    let namespace = call.namespace.clone();
    let command = Command::DropQueuedEvents { namespace, dag, asset, before: query.before };
    match call.command(command).await? {
        Reply::Count(0) => Err(of.missing()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// The DAGs that wait with an event of an asset.
#[utoipa::path(
    get, path = "/api/v2/assets/{asset_id}/queuedEvents", tag = "Asset", params(BeforeQuery),
    responses((status = 200, body = QueuedEventCollectionResponse), Reads),
)]
async fn get_asset_queued_events(
    call: Call,
    Path(asset): Path<i64>,
    query: BeforeQuery,
) -> Result<Json<QueuedEventCollectionResponse>, Error> {
    collection(&call, &Of { dag: None, asset: Some(AssetId(asset)) }, &query).await
}

/// Forgets what happened to an asset, for all DAGs that wait with it.
#[utoipa::path(
    delete, path = "/api/v2/assets/{asset_id}/queuedEvents", tag = "Asset", params(BeforeQuery),
    responses((status = 204), Writes),
)]
async fn delete_asset_queued_events(
    call: Call,
    Path(asset): Path<i64>,
    query: BeforeQuery,
) -> Result<StatusCode, Error> {
    delete(&call, Of { dag: None, asset: Some(AssetId(asset)) }, &query).await
}

/// What a DAG waits with.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/assets/queuedEvents", tag = "Asset", params(BeforeQuery),
    responses((status = 200, body = QueuedEventCollectionResponse), Reads),
)]
async fn get_dag_asset_queued_events(
    call: Call,
    Path(dag): Path<String>,
    query: BeforeQuery,
) -> Result<Json<QueuedEventCollectionResponse>, Error> {
    collection(&call, &Of { dag: Some(dag.into()), asset: None }, &query).await
}

/// Forgets what a DAG waits with.
#[utoipa::path(
    delete, path = "/api/v2/dags/{dag_id}/assets/queuedEvents", tag = "Asset", params(BeforeQuery),
    responses((status = 204), Writes),
)]
async fn delete_dag_asset_queued_events(
    call: Call,
    Path(dag): Path<String>,
    query: BeforeQuery,
) -> Result<StatusCode, Error> {
    delete(&call, Of { dag: Some(dag.into()), asset: None }, &query).await
}

/// Whether a DAG waits with an event of an asset.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", tag = "Asset", params(BeforeQuery),
    responses((status = 200, body = QueuedEventResponse), Reads),
)]
async fn get_dag_asset_queued_event(
    call: Call,
    Path((dag, asset)): Path<(String, i64)>,
    query: BeforeQuery,
) -> Result<Json<QueuedEventResponse>, Error> {
    let of = Of { dag: Some(dag.into()), asset: Some(AssetId(asset)) };
    list(&call, &of, &query).await?.pop().map(Json).ok_or_else(|| of.missing())
}

/// Forgets what happened to an asset, for a DAG that waits with it.
#[utoipa::path(
    delete, path = "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", tag = "Asset", params(BeforeQuery),
    responses((status = 204), Writes),
)]
async fn delete_dag_asset_queued_event(
    call: Call,
    Path((dag, asset)): Path<(String, i64)>,
    query: BeforeQuery,
) -> Result<StatusCode, Error> {
    delete(&call, Of { dag: Some(dag.into()), asset: Some(AssetId(asset)) }, &query).await
}
