//! What workers ask for by HTTP, as [`updraft_core::protocol`] names it. Each asks with the token it joined
//! with, and on behalf of an attempt: only one that it holds now, and only within that attempt's namespace.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::{Body as AxumBody, Bytes},
    extract::{State, ws::WebSocketUpgrade},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use updraft_core::{
    AlertChannel, AttemptId, DagKey, DeliveryId, MapIndex, RunState, XcomValue,
    protocol::{LONGEST_MESSAGE_BYTES, XcomFound, XcomQuery, call_log_path, log_path},
    record::TiRow,
};
use updraft_store::{Bounds, DeliveryQuery, DeliveryState, Order, RunField, RunQuery, TiListing, Window};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::serve;
use crate::{
    http::{
        Body, Error, Joining, Path, Reads, Shared, Writes,
        query::{FromText, Needed, query},
        v2::value_of,
    },
    logs::{LogName, Part},
    secrets::is_sensitive,
};

/// The routes of workers.
pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(connect))
        .routes(routes!(find_xcom))
        .routes(routes!(find_connection))
        .routes(routes!(find_variable))
        .routes(routes!(put_blob))
        .routes(routes!(put_log))
        .routes(routes!(find_previous_success))
        .routes(routes!(find_smtp))
        .routes(routes!(get_bundle))
        .merge(super::runs::routes())
}

query! {
    /// On whose behalf.
    AttemptQuery {
        /// The attempt that asks.
        attempt: Needed<AttemptId>,
    }
}

impl FromText for AttemptId {
    fn from_text(name: &str, text: &str) -> Result<Self, crate::http::Invalid> {
        text.parse()
            .map_err(|error| crate::http::Invalid::query(name, "value_error", format!("{error}"), text))
    }

    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <String as utoipa::PartialSchema>::schema()
    }
}

/// The task instance of an attempt that a worker holds now, or about whose run it calls a function.
pub(super) async fn held(shared: &Shared, joining: &Joining, attempt: AttemptId) -> Result<TiListing, Error> {
    let found = shared.store.ti(attempt.ti).await?;
    joining.check(found.as_ref())?;
    if attempt.is_of_call() {
        let found =
            found.ok_or_else(|| Error::forbidden("the run is gone that a function is called about"))?;
        return match is_called_about(shared, &found).await? {
            true => Ok(found),
            false => Err(Error::forbidden("no function is called about this run any more")),
        };
    }
    let holds = |listing: &TiListing| {
        let lease = listing.row.state.assignment().map(|assignment| assignment.lease);
        lease == Some(attempt.lease) && listing.row.try_number == attempt.try_number
    };
    found.filter(holds).ok_or_else(|| {
        Error::forbidden(format!("attempt {attempt} is over, or was given to another worker since"))
    })
}

/// Whether the outbox has a function to be called about a task instance's run: a server that has just come may know of
/// none that is being called.
async fn is_called_about(shared: &Shared, ti: &TiListing) -> Result<bool, Error> {
    let query = DeliveryQuery {
        namespace: ti.dag.namespace.clone(),
        run: Some(ti.row.key.run),
        states: vec![DeliveryState::Pending, DeliveryState::Sending],
        window: Window::ALL,
        ..DeliveryQuery::default()
    };
    let open = shared.store.deliveries(&query).await?.rows;
    Ok(open.iter().any(|listing| matches!(listing.row.channel, AlertChannel::Callback(_))))
}

/// The WebSocket that a worker holds.
#[utoipa::path(
    get, path = "/worker/v1/connect", tag = "Worker",
    responses((status = 101, description = "The WebSocket's beginning"), Reads),
)]
async fn connect(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.max_message_size(LONGEST_MESSAGE_BYTES).max_frame_size(LONGEST_MESSAGE_BYTES);
    upgrade.on_upgrade(move |socket| serve(socket, shared, joining))
}

/// Values that were found.
#[derive(Serialize)]
struct Values {
    values: Vec<XcomFound>,
}

/// Values that task instances left.
#[utoipa::path(
    post, path = "/worker/v1/xcom", tag = "Worker", request_body = Object,
    responses((status = 200, body = Object), Reads),
)]
async fn find_xcom(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Body(asked): Body<XcomQuery>,
) -> Result<Json<Values>, Error> {
    let asker = held(&shared, &joining, asked.attempt).await?;
    let own_run = asked.dag_id.is_none() && asked.run_id.is_none();
    let run = match own_run {
        true => Some(asked.attempt.ti.run),
        false => {
            let dag_id = asked.dag_id.unwrap_or(asker.dag.dag_id);
            let run_id = asked.run_id.unwrap_or(asker.run_id);
            shared.store.find_run(&DagKey { namespace: asker.dag.namespace, dag_id }, &run_id).await?
        }
    };
    let rows = match run {
        Some(run) => shared.store.xcoms_of(run, &asked.task_id, &asked.key).await?,
        None => Vec::new(),
    };
    let mut values = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        if let Some(at) = asked.item {
            let value = match &row.value {
                value if row.ti.map_index != MapIndex::NONE => match place == at {
                    true => Some(value_of(&shared, value).await?),
                    false => None,
                },
                XcomValue::Inline(value) => item_of(value, at),
                XcomValue::Blob { path, .. } => shared.blobs.item(path, at).await?,
            };
            let found = |value| XcomFound { map_index: row.ti.map_index, value, is_item: true };
            values.extend(value.map(found));
        } else if asked.map_index.is_none_or(|index| index == row.ti.map_index) {
            let value = value_of(&shared, &row.value).await?;
            values.push(XcomFound { map_index: row.ti.map_index, value, is_item: false });
        }
    }
    Ok(Json(Values { values }))
}

/// What is at a place of a list, or among an object's pairs of key and value.
fn item_of(value: &Value, at: usize) -> Option<Value> {
    match value {
        Value::Array(items) => items.get(at).cloned(),
        Value::Object(pairs) => {
            pairs.iter().nth(at).map(|(key, value)| vec![key.as_str().into(), value.clone()].into())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A connection, with its password.
#[utoipa::path(
    get, path = "/worker/v1/connections/{conn_id}", tag = "Worker", params(AttemptQuery),
    responses((status = 200, body = Object), Reads),
)]
async fn find_connection(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Path(conn_id): Path<String>,
    query: AttemptQuery,
) -> Result<Json<updraft_core::protocol::Connection>, Error> {
    let namespace = held(&shared, &joining, query.attempt.0).await?.dag.namespace;
    let found = shared.secrets.connection(&namespace, &conn_id).await?;
    found.map(Json).ok_or_else(|| Error::not_found(format!("there is no connection `{conn_id}`")))
}

/// A variable.
#[derive(Serialize)]
struct Variable {
    key: String,
    value: String,
    /// Its text is masked wherever it would show.
    secret: bool,
}

/// A variable, as it is.
#[utoipa::path(
    get, path = "/worker/v1/variables/{*key}", tag = "Worker", params(AttemptQuery),
    responses((status = 200, body = Object), Reads),
)]
async fn find_variable(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Path(key): Path<String>,
    query: AttemptQuery,
) -> Result<Json<Variable>, Error> {
    let namespace = held(&shared, &joining, query.attempt.0).await?.dag.namespace;
    let found = shared.secrets.variable(&namespace, &key).await?;
    let value = found.ok_or_else(|| Error::not_found(format!("there is no variable `{key}`")))?;
    Ok(Json(Variable { secret: is_sensitive(&key), key, value }))
}

/// Where a value was put.
#[derive(Serialize)]
struct Blob {
    path: String,
    bytes: u64,
}

/// Takes up a value that is too large to be reported. It is on the disk when this is answered.
#[utoipa::path(
    put, path = "/worker/v1/blobs/{attempt}/{name}", tag = "Worker",
    request_body(content_type = "application/octet-stream", content = String),
    responses((status = 201, body = Object), Writes),
)]
async fn put_blob(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Path((attempt, name)): Path<(String, String)>,
    body: AxumBody,
) -> Result<(StatusCode, Json<Blob>), Error> {
    let attempt = attempt.parse().map_err(|error| Error::bad_request(format!("{error}")))?;
    held(&shared, &joining, attempt).await?;
    let most = shared.config.most_blob_bytes;
    let (path, bytes) = shared.blobs.put(attempt, &name, body.into_data_stream(), most).await?;
    Ok((StatusCode::CREATED, Json(Blob { path, bytes })))
}

query! {
    /// Where it belongs.
    LogQuery {
        /// Behind so many bytes of the log.
        offset: Needed<u64>,
        /// It is the log of this call about the run.
        call: Option<i64>,
    }
}

/// How much of a log there is.
#[derive(Serialize)]
struct LogStored {
    bytes: u64,
}

/// Takes up more of the log of an attempt, which may be over, or of a call about its run. What is there already is not
/// added again, and nothing where something between is missing: the answer says how much there is.
#[utoipa::path(
    put, path = "/worker/v1/logs/{attempt}", tag = "Worker", params(LogQuery),
    request_body(content_type = "text/plain", content = String),
    responses((status = 200, body = Object), Writes),
)]
async fn put_log(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Path(attempt): Path<String>,
    query: LogQuery,
    bytes: Bytes,
) -> Result<Json<LogStored>, Error> {
    let attempt: AttemptId = attempt.parse().map_err(|error| Error::bad_request(format!("{error}")))?;
    let log = match query.call {
        Some(call) => {
            let ti = held(&shared, &joining, attempt).await?;
            let path = call_log_path(&ti.dag.namespace, &ti.dag.dag_id, &ti.run_id, DeliveryId(call));
            LogName { run: attempt.ti.run, path }
        }
        None => log_of(&shared, &joining, attempt).await?,
    };
    let part = Part { log: log.clone(), offset: Some(query.offset.0), bytes: bytes.into() };
    let bytes = shared.logs.append(vec![part]).await.swap_remove(0).map_err(|error| {
        let why = format!("the log {} can't be written: {error}", log.path);
        Error::Later(StatusCode::SERVICE_UNAVAILABLE, why, 5)
    })?;
    Ok(Json(LogStored { bytes }))
}

/// The log of an attempt that a worker holds or has held: also of one that was tried again since, whose log came late.
pub(super) async fn log_of(shared: &Shared, joining: &Joining, attempt: AttemptId) -> Result<LogName, Error> {
    let found = shared.store.ti(attempt.ti).await?;
    joining.check(found.as_ref())?;
    let is_its = |row: &TiRow| row.lease == attempt.lease && row.try_number == attempt.try_number;
    let is_known = match &found {
        Some(ti) => is_its(&ti.row) || shared.store.tries(attempt.ti).await?.iter().any(is_its),
        None => false,
    };
    let ti = found.filter(|_| is_known).ok_or_else(|| {
        Error::forbidden(format!("attempt {attempt} was given to another worker since, or its run is gone"))
    })?;
    let names = (&ti.dag.namespace, &ti.dag.dag_id, &ti.run_id);
    let path = log_path(names, &ti.row.task_id, attempt.ti.map_index, attempt.try_number);
    Ok(LogName { run: attempt.ti.run, path })
}

/// A run that succeeded.
#[derive(Serialize)]
struct PreviousSuccess {
    data_interval: Option<(Timestamp, Timestamp)>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
}

/// The last run of the asker's DAG before its own that succeeded; 404 where there is none. Before is by
/// logical date, where its run has one, else by when they were made.
#[utoipa::path(
    get, path = "/worker/v1/previous-success", tag = "Worker", params(AttemptQuery),
    responses((status = 200, body = Object), Reads),
)]
async fn find_previous_success(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    query: AttemptQuery,
) -> Result<Json<PreviousSuccess>, Error> {
    let asker = held(&shared, &joining, query.attempt.0).await?;
    let asked = RunQuery {
        namespace: asker.dag.namespace,
        dags: vec![asker.dag.dag_id],
        states: vec![RunState::Success],
        logical_date: Bounds { lt: asker.logical_date, ..Bounds::default() },
        order: vec![Order {
            by: if asker.logical_date.is_some() { RunField::LogicalDate } else { RunField::Key },
            descending: true,
        }],
        // Where there is no date, the newest may be later than the asker's own.
        window: Window { limit: 100, count_to: 1, ..Window::default() },
        ..RunQuery::default()
    };
    let runs = shared.store.runs(&asked).await?.rows;
    let dated = asker.logical_date.is_some();
    let before = runs.into_iter().map(|run| run.row).find(|run| dated || run.key < asker.row.key.run);
    let run = before.ok_or_else(|| Error::not_found("no run before has succeeded"))?;
    Ok(Json(PreviousSuccess {
        data_interval: run.data_interval,
        start_date: run.started_at,
        end_date: run.ended_at,
    }))
}

/// The configuration's mail server.
#[derive(Serialize)]
struct Smtp {
    url: String,
    from: Option<String>,
}

/// Where mail goes when no connection says so; 404 where the configuration does not say.
#[utoipa::path(
    get, path = "/worker/v1/smtp", tag = "Worker", params(AttemptQuery),
    responses((status = 200, body = Object), Reads),
)]
async fn find_smtp(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    query: AttemptQuery,
) -> Result<Json<Smtp>, Error> {
    held(&shared, &joining, query.attempt.0).await?;
    let smtp = shared.config.smtp.clone();
    let (url, from) = smtp.ok_or_else(|| Error::not_found("the configuration names no mail server"))?;
    Ok(Json(Smtp { url, from }))
}

/// The archive of the bundle that an attempt's DAG was deployed with; no other.
#[utoipa::path(
    get, path = "/worker/v1/bundles/{hash}", tag = "Worker", params(AttemptQuery),
    responses((status = 200, content_type = "application/gzip", body = String), Reads),
)]
async fn get_bundle(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Path(hash): Path<String>,
    query: AttemptQuery,
) -> Result<Response, Error> {
    let ti = held(&shared, &joining, query.attempt.0).await?;
    let run = shared.store.run(ti.row.key.run).await?;
    let version = match run {
        Some(run) => shared.version(&ti.dag, run.row.version).await?,
        None => None,
    };
    let bundle = version.and_then(|version| version.dag.spec().bundle.clone());
    if bundle.is_none_or(|bundle| bundle.version != hash) {
        return Err(Error::forbidden(format!("attempt {} runs from another bundle", query.attempt.0)));
    }
    let archive = shared.deployments.archive(&hash).await?;
    Ok(([(CONTENT_TYPE, "application/gzip")], AxumBody::from_stream(archive)).into_response())
}
