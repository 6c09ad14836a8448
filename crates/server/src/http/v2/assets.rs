//! Assets and what happens to them: `/assets`.

mod queued;
mod shape;

use std::sync::Arc;

use axum::Json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use updraft_core::{
    AssetEventId, AssetId, MapIndex,
    input::{Command, PutAssetEvent, Reply, Trigger, WhichAsset},
    record::RunType,
};
use updraft_store::{
    AssetEventListing, AssetEventQuery, AssetListing, AssetQuery, AssetUsage, Bounds, Window,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(in super::super) use self::shape::AssetEventResponse;
use self::shape::AssetResponse;
pub(super) use self::shape::GROUP;
use super::{
    super::{
        Body, Error, Path, Reads, Shared, Writes,
        call::Call,
        query::{Pattern, order, query},
        time::Time,
    },
    RunResponse,
    runs::made_run,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(get_assets))
        .routes(routes!(get_asset))
        .routes(routes!(get_asset_events, create_asset_event))
        .routes(routes!(materialize_asset))
        .routes(routes!(get_upstream_asset_events))
        .merge(queued::routes())
}

/// Assets.
#[derive(Serialize, ToSchema)]
struct AssetCollectionResponse {
    assets: Vec<AssetResponse>,
    total_entries: u64,
}

query! {
    /// Which assets.
    AssetsQuery {
        window: Window,
        /// By name; that of an asset without one is its URI.
        name: Pattern,
        /// By URI.
        uri: Pattern,
        /// Only those that these DAGs name.
        dag_ids: Vec<String>,
        /// Only those that a DAG names in its present version. Yes, by default.
        only_active: Option<bool>,
        /// `id`, or `-id`.
        order_by: Vec<String>,
    }
}

/// Assets, in the order in which DAGs first named them.
#[utoipa::path(
    get, path = "/api/v2/assets", tag = "Asset", params(AssetsQuery),
    responses((status = 200, body = AssetCollectionResponse), Reads),
)]
async fn get_assets(call: Call, query: AssetsQuery) -> Result<Json<AssetCollectionResponse>, Error> {
    let order = order(&query.order_by, &[("id", ())])?;
    let asked = AssetQuery {
        namespace: call.namespace.clone(),
        id: None,
        uri: query.uri.0,
        name: query.name.0,
        dags: query.dag_ids.iter().map(|dag| dag.as_str().into()).collect(),
        only_named: query.only_active.unwrap_or(true),
        latest_first: order.first().is_some_and(|order| order.descending),
        window: query.window,
    };
    let page = call.store().assets(&asked).await?;
    let assets = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(AssetCollectionResponse { assets, total_entries: page.total }))
}

async fn find(call: &Call, id: i64) -> Result<AssetListing, Error> {
    let namespace = call.namespace.clone();
    let asked = AssetQuery { namespace, id: Some(AssetId(id)), ..AssetQuery::default() };
    let found = call.store().assets(&asked).await?.rows.pop();
    found.ok_or_else(|| Error::not_found(format!("The Asset with ID: `{id}` was not found")))
}

/// One asset.
#[utoipa::path(
    get, path = "/api/v2/assets/{asset_id}", tag = "Asset", responses((status = 200, body = AssetResponse), Reads),
)]
async fn get_asset(call: Call, Path(id): Path<i64>) -> Result<Json<AssetResponse>, Error> {
    Ok(Json(find(&call, id).await?.into()))
}

/// Events of assets.
#[derive(Serialize, ToSchema)]
struct AssetEventCollectionResponse {
    asset_events: Vec<AssetEventResponse>,
    total_entries: u64,
}

query! {
    /// Which events.
    AssetEventsQuery {
        window: Window,
        /// Of this asset.
        asset_id: Option<i64>,
        /// Made by this DAG.
        source_dag_id: Option<String>,
        /// Made by this task.
        source_task_id: Option<String>,
        /// Made by this run.
        source_run_id: Option<String>,
        /// Made by this copy of the task.
        source_map_index: Option<i32>,
        /// When.
        timestamp: Bounds<Timestamp>,
        /// `timestamp` or `id`, a dash before it for the latest first.
        order_by: Vec<String>,
    }
}

/// What happened to assets, in the order in which it did.
#[utoipa::path(
    get, path = "/api/v2/assets/events", tag = "Asset", params(AssetEventsQuery),
    responses((status = 200, body = AssetEventCollectionResponse), Reads),
)]
async fn get_asset_events(
    call: Call,
    query: AssetEventsQuery,
) -> Result<Json<AssetEventCollectionResponse>, Error> {
    let order = order(&query.order_by, &[("timestamp", ()), ("id", ())])?;
    let asked = AssetEventQuery {
        namespace: call.namespace.clone(),
        asset: query.asset_id.map(AssetId),
        source_dag: query.source_dag_id.map(Into::into),
        source_task: query.source_task_id.map(Into::into),
        source_run: query.source_run_id.map(Into::into),
        source_map_index: query.source_map_index.map(MapIndex),
        at: query.timestamp,
        latest_first: order.first().is_some_and(|order| order.descending),
        window: query.window,
        ..AssetEventQuery::default()
    };
    list_events(&call, &asked).await
}

/// What happened to assets, that a run was made for.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", tag = "DagRun",
    responses((status = 200, body = AssetEventCollectionResponse), Reads),
)]
async fn get_upstream_asset_events(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
) -> Result<Json<AssetEventCollectionResponse>, Error> {
    let run = call.run(&dag_id, &dag_run_id).await?;
    let namespace = call.namespace.clone();
    let asked = AssetEventQuery {
        namespace,
        made: Some(run.row.key),
        window: Window::ALL,
        ..AssetEventQuery::default()
    };
    list_events(&call, &asked).await
}

async fn list_events(
    call: &Call,
    asked: &AssetEventQuery,
) -> Result<Json<AssetEventCollectionResponse>, Error> {
    let page = call.store().asset_events(asked).await?;
    let asset_events = AssetEventResponse::all(call, page.rows).await?;
    Ok(Json(AssetEventCollectionResponse { asset_events, total_entries: page.total }))
}

/// Something that happened to an asset.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateAssetEventsBody {
    /// Its number.
    asset_id: i64,
    /// What there is to say about it: at most 64 KiB.
    #[serde(default)]
    extra: Map<String, Value>,
    /// Told again under this key, it is the same event; Airflow knows no such thing.
    #[serde(default)]
    key: Option<String>,
}

/// Tells that something happened to an asset: the DAGs that wait for it may run.
#[utoipa::path(
    post, path = "/api/v2/assets/events", tag = "Asset", request_body = CreateAssetEventsBody,
    responses((status = 200, body = AssetEventResponse), Writes),
)]
async fn create_asset_event(
    call: Call,
    Body(mut body): Body<CreateAssetEventsBody>,
) -> Result<Json<AssetEventResponse>, Error> {
    find(&call, body.asset_id).await?;
    // As Airflow has it, so that whoever reads the event knows that no task made it.
    body.extra.insert("from_rest_api".into(), true.into());
    let which = WhichAsset::Id(AssetId(body.asset_id));
    let (listing, _) = tell(&call, which, body.extra, body.key).await?;
    Ok(Json(AssetEventResponse::of(&call, listing).await?))
}

/// Has the leader write an event down, and reads it again; whether it is new.
pub(in super::super) async fn tell(
    call: &Call,
    asset: WhichAsset,
    extra: Map<String, Value>,
    key: Option<String>,
) -> Result<(AssetEventListing, bool), Error> {
    let extra = Arc::new(Value::Object(extra));
    let told = PutAssetEvent { namespace: call.namespace.clone(), asset, extra, key };
    let Reply::AssetEvent(id, new) = call.command(Command::PutAssetEvent(told)).await? else {
        return Err(Error::Internal("an event was answered without its number".into()));
    };
    Ok((event(call, id).await?, new))
}

async fn event(call: &Call, id: AssetEventId) -> Result<AssetEventListing, Error> {
    let asked =
        AssetEventQuery { namespace: call.namespace.clone(), id: Some(id), ..AssetEventQuery::default() };
    let found = call.store().asset_events(&asked).await?.rows.pop();
    found.ok_or_else(|| Error::not_found(format!("the event {id} was deleted as soon as it was told")))
}

/// How the run is to be that makes an asset anew.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct MaterializeAssetBody {
    dag_run_id: Option<String>,
    logical_date: Option<Time>,
    run_after: Option<Time>,
    conf: Option<Map<String, Value>>,
}

/// Makes an asset anew: a run of the one DAG that does.
#[utoipa::path(
    post, path = "/api/v2/assets/{asset_id}/materialize", tag = "Asset", request_body = Option<MaterializeAssetBody>,
    responses((status = 200, body = RunResponse), Writes),
)]
async fn materialize_asset(
    call: Call,
    Path(id): Path<i64>,
    body: Option<Body<MaterializeAssetBody>>,
) -> Result<Json<RunResponse>, Error> {
    let asset = find(&call, id).await?;
    let makers = asset.uses.iter().filter(|used| matches!(used.usage, AssetUsage::Outlet(_)));
    let mut makers: Vec<_> = makers.map(|used| &used.dag_id).collect();
    makers.dedup();
    let dag_id = match makers.as_slice() {
        [] => return Err(Error::not_found(format!("No DAG materializes asset with ID: {id}"))),
        [dag_id] => dag_id,
        _ => {
            let detail = format!("More than one DAG materializes asset with ID: {id}");
            return Err(Error::conflict(detail));
        }
    };
    let dag = call.dag(dag_id).await?;
    let body = body.map(|Body(body)| body).unwrap_or_default();
    let (logical_date, conf) = (body.logical_date.map(|time| time.0), body.conf.unwrap_or_default());
    call.refuse_taken_date(&dag.row.key, logical_date).await?;
    call.refuse_bad_params(&dag.row, &conf).await?;
    let trigger = Trigger {
        dag: dag.row.key,
        run_id: body.dag_run_id.filter(|id| !id.is_empty()).map(Into::into),
        logical_date,
        data_interval: None,
        run_after: body.run_after.map(|time| time.0),
        conf: Arc::new(Value::Object(conf)),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: "rest_api",
    };
    let run = made_run(&call, trigger).await?;
    Ok(Json(RunResponse::of(&call, &run).await?))
}
