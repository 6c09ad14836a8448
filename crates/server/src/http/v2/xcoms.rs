//! Values that task instances left: `…/taskInstances/{task_id}/xcomEntries`.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_core::{MapIndex, TaskId, TiStateName, XcomValue, input::Command, record::XcomRow};
use updraft_store::{Bounds, RunListing, TextFilter, TiListing, Window, XcomListing, XcomQuery};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Body, Error, Path, Reads, Shared, Writes,
        call::Call,
        query::{Named, Pattern, query},
        time::Time,
    },
    dags::display_name,
};

/// A value that is longer goes to the blob store.
const MOST_INLINE_BYTES: usize = 64 * 1024;

/// What a task returned.
const RESULT: &str = "return_value";

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_xcom_entries, create_xcom_entry)).routes(routes!(
        get_xcom_entry,
        update_xcom_entry,
        delete_xcom_entry
    ))
}

/// An XCom without its value.
#[derive(Serialize, ToSchema)]
struct XComResponse {
    key: String,
    timestamp: Time,
    logical_date: Option<Time>,
    map_index: i32,
    task_id: String,
    dag_id: String,
    run_id: String,
    dag_display_name: String,
    task_display_name: String,
    run_after: Time,
}

/// An XCom with its value.
#[derive(Serialize, ToSchema)]
struct XComResponseNative {
    #[serde(flatten)]
    xcom: XComResponse,
    /// The value; as text where `stringify` was asked for.
    value: Value,
}

/// XComs.
#[derive(Serialize, ToSchema)]
struct XComCollectionResponse {
    xcom_entries: Vec<XComResponse>,
    total_entries: u64,
}

impl XComResponse {
    async fn of(call: &Call, listing: &XcomListing) -> Result<Self, Error> {
        // The current version names the DAG; its run's would cost a look-up more.
        let header = call.store().dag(&listing.dag).await?.map(|dag| display_name(&dag.header));
        Ok(Self {
            key: listing.key.clone(),
            timestamp: Time(listing.at),
            logical_date: listing.logical_date.map(Time),
            map_index: listing.ti.map_index.0,
            task_id: listing.task_id.to_string(),
            dag_id: listing.dag.dag_id.to_string(),
            run_id: listing.run_id.to_string(),
            dag_display_name: header.unwrap_or_else(|| listing.dag.dag_id.to_string()),
            task_display_name: listing.task_id.to_string(),
            run_after: Time(listing.run_after),
        })
    }
}

/// The JSON of a value, wherever it is.
pub(crate) async fn value_of(shared: &Shared, value: &XcomValue) -> Result<Value, Error> {
    match value {
        XcomValue::Inline(value) => Ok((**value).clone()),
        XcomValue::Blob { path, .. } => {
            let bytes = shared.blobs.get(path).await?;
            let damaged = |error| Error::Internal(format!("the blob {path} is no JSON: {error}"));
            serde_json::from_slice(&bytes).map_err(damaged)
        }
    }
}

query! {
    /// What a list of XComs is asked with.
    XcomsQuery {
        window: Window,
        /// By the key.
        xcom_key: Named,
        /// Of this copy.
        map_index: Option<i32>,
        /// By the run's name.
        run_id: Pattern,
        /// By the task's name.
        task_id: Pattern,
        /// Of this copy.
        map_index_filter: Option<i32>,
        /// The run's logical date.
        logical_date: Bounds<Timestamp>,
        /// When the run was due.
        run_after: Bounds<Timestamp>,
    }
}

/// Values of a task instance; of all tasks, runs and DAGs where these are `~`.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
    tag = "XCom", params(XcomsQuery), responses((status = 200, body = XComCollectionResponse), Reads),
)]
async fn get_xcom_entries(
    call: Call,
    Path((dag_id, dag_run_id, task_id)): Path<(String, String, String)>,
    query: XcomsQuery,
) -> Result<Json<XComCollectionResponse>, Error> {
    // What a pattern leaves and what the path names both have to be met.
    let within = |mut filter: TextFilter, name: &str| {
        if name != "~" {
            filter.exactly.push(name.to_owned());
        }
        filter
    };
    let copies = [query.map_index, query.map_index_filter];
    let asked = XcomQuery {
        namespace: call.namespace.clone(),
        dag_id: within(TextFilter::default(), &dag_id),
        run_id: within(query.run_id.0, &dag_run_id),
        task_id: within(query.task_id.0, &task_id),
        map_indexes: copies.into_iter().flatten().map(MapIndex).collect(),
        key: query.xcom_key.0,
        logical_date: query.logical_date,
        run_after: query.run_after,
        window: query.window,
        ..XcomQuery::default()
    };
    let page = call.store().xcoms(&asked).await?;
    let mut xcom_entries = Vec::with_capacity(page.rows.len());
    for listing in &page.rows {
        xcom_entries.push(XComResponse::of(&call, listing).await?);
    }
    Ok(Json(XComCollectionResponse { xcom_entries, total_entries: page.total }))
}

query! {
    /// Which copy's value, and how.
    XcomQueryOne {
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
        /// As text.
        stringify: Option<bool>,
    }
}

/// One value.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{*xcom_key}",
    tag = "XCom", params(XcomQueryOne), responses((status = 200, body = XComResponseNative), Reads),
)]
async fn get_xcom_entry(
    call: Call,
    Path((dag_id, dag_run_id, task_id, key)): Path<(String, String, String, String)>,
    query: XcomQueryOne,
) -> Result<Json<XComResponseNative>, Error> {
    let copy = MapIndex(query.map_index.unwrap_or(-1));
    let listing = call.ti((&dag_id, &dag_run_id, &task_id), copy).await?;
    let stringify = query.stringify.unwrap_or(false);
    Ok(Json(one(&call, &listing, &key, stringify).await?))
}

/// That a task instance has not left a value, and what could be why.
fn no_xcom(ti: &TiListing, key: &str) -> Error {
    let state = ti.row.state.name();
    let why = match state {
        TiStateName::Success if key == RESULT => {
            "it succeeded and returned nothing, or its `do_xcom_push` is false".to_owned()
        }
        TiStateName::Success => "it succeeded and left other values, or none".to_owned(),
        state if state.is_finished() => format!("it is {state}"),
        state if key == RESULT => format!("it is {state}, and leaves it when it succeeds"),
        state => format!("it is {state}, and may leave it yet"),
    };
    Error::not_found(format!("the task `{}` has left no XCom `{key}`: {why}", ti.row.task_id))
}

async fn one(call: &Call, ti: &TiListing, key: &str, stringify: bool) -> Result<XComResponseNative, Error> {
    let row = call.store().xcom(ti.row.key, key).await?;
    let row = row.ok_or_else(|| no_xcom(ti, key))?;
    let value = value_of(&call.shared, &row.value).await?;
    let value = match (stringify, value) {
        (true, Value::String(text)) => Value::String(text),
        (true, other) => Value::String(other.to_string()),
        (false, value) => value,
    };
    let XcomRow { ti: key_of_ti, key, at, .. } = row;
    let listing = XcomListing {
        ti: key_of_ti,
        key,
        at,
        value: None,
        dag: ti.dag.clone(),
        run_id: ti.run_id.clone(),
        task_id: ti.row.task_id.clone(),
        logical_date: ti.logical_date,
        run_after: ti.run_after,
    };
    Ok(XComResponseNative { xcom: XComResponse::of(call, &listing).await?, value })
}

/// A value to be left in a task instance's name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct XComCreateBody {
    key: String,
    value: Value,
    /// The copy of a mapped task.
    #[serde(default = "no_copy")]
    map_index: i32,
}

fn no_copy() -> i32 {
    -1
}

/// Leaves a value in a task instance's name.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
    tag = "XCom", request_body = XComCreateBody,
    responses((status = 201, body = XComResponseNative), Writes),
)]
async fn create_xcom_entry(
    call: Call,
    Path((dag_id, dag_run_id, task_id)): Path<(String, String, String)>,
    Body(body): Body<XComCreateBody>,
) -> Result<(StatusCode, Json<XComResponseNative>), Error> {
    let run = call.run(&dag_id, &dag_run_id).await.map_err(|_| {
        Error::not_found(format!("Dag Run with ID: `{dag_run_id}` not found for dag: `{dag_id}`"))
    })?;
    let listing = ti_of(&call, &run, &task_id, body.map_index).await?;
    if call.store().xcom(listing.row.key, &body.key).await?.is_some() {
        return Err(Error::conflict(format!(
            "The XCom with key: `{}` with mentioned task instance already exists.",
            body.key
        )));
    }
    put(&call, &listing, body.key.clone(), body.value).await?;
    Ok((StatusCode::CREATED, Json(one(&call, &listing, &body.key, false).await?)))
}

async fn ti_of(call: &Call, run: &RunListing, task_id: &str, map_index: i32) -> Result<TiListing, Error> {
    let found = call.store().find_ti(run.row.key, &TaskId::from(task_id), MapIndex(map_index)).await?;
    let dag_id = &run.row.dag.dag_id;
    let missing = || {
        Error::not_found(match map_index {
            -1 => format!("Task with ID: `{task_id}` not found in dag: `{dag_id}`"),
            copy => format!("Task with ID: `{task_id}` has no copy {copy} in dag: `{dag_id}`"),
        })
    };
    found.ok_or_else(missing)
}

async fn put(call: &Call, ti: &TiListing, key: String, value: Value) -> Result<(), Error> {
    if value.to_string().len() > MOST_INLINE_BYTES {
        let detail = "a value that is put by the API may have up to 64 KiB of JSON";
        return Err(Error::Status(StatusCode::PAYLOAD_TOO_LARGE, detail.into()));
    }
    let value = XcomValue::Inline(Arc::new(value));
    call.command(Command::PutXcom { ti: ti.row.key, key, value }).await?;
    Ok(())
}

/// A value in the place of another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct XComUpdateBody {
    value: Value,
    /// The copy of a mapped task.
    #[serde(default = "no_copy")]
    map_index: i32,
}

/// Changes a value that a task instance left.
#[utoipa::path(
    patch,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{*xcom_key}",
    tag = "XCom", request_body = XComUpdateBody,
    responses((status = 200, body = XComResponseNative), Writes),
)]
async fn update_xcom_entry(
    call: Call,
    Path((dag_id, dag_run_id, task_id, key)): Path<(String, String, String, String)>,
    Body(body): Body<XComUpdateBody>,
) -> Result<Json<XComResponseNative>, Error> {
    let listing = existing(&call, (&dag_id, &dag_run_id, &task_id), &key, body.map_index).await?;
    put(&call, &listing, key.clone(), body.value).await?;
    Ok(Json(one(&call, &listing, &key, false).await?))
}

/// The task instance that left a value under this key.
async fn existing(
    call: &Call,
    name: (&str, &str, &str),
    key: &str,
    map_index: i32,
) -> Result<TiListing, Error> {
    let missing = || {
        Error::not_found(format!("The XCom with key: `{key}` with mentioned task instance doesn't exist."))
    };
    let listing = call.ti(name, MapIndex(map_index)).await.map_err(|_| missing())?;
    match call.store().xcom(listing.row.key, key).await? {
        Some(_) => Ok(listing),
        None => Err(missing()),
    }
}

query! {
    /// Which copy.
    CopyQuery {
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
    }
}

/// Deletes a value that a task instance left.
#[utoipa::path(
    delete,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{*xcom_key}",
    tag = "XCom", params(CopyQuery), responses((status = 204), Writes),
)]
async fn delete_xcom_entry(
    call: Call,
    Path((dag_id, dag_run_id, task_id, key)): Path<(String, String, String, String)>,
    copy: CopyQuery,
) -> Result<StatusCode, Error> {
    let name = (&*dag_id, &*dag_run_id, &*task_id);
    let listing = existing(&call, name, &key, copy.map_index.unwrap_or(-1)).await?;
    call.command(Command::DeleteXcom { ti: listing.row.key, key }).await?;
    Ok(StatusCode::NO_CONTENT)
}
