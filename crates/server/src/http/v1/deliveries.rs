//! What is told to people: `/api/v1/deliveries`.

use std::sync::Arc;

use axum::{Json, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_core::{
    AlertChannel, AlertOn, AlertWords, DeliveryId, OnDoubt, WebhookTarget,
    input::{Command, Reply},
    protocol::call_log_path,
};
use updraft_store::{DeliveryListing, DeliveryQuery, DeliveryState, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Reads, Shared, Writes, call::Call, error::Invalid, query::query, time::Time, v2::plain,
};
use crate::{leader::now, logs::LogName, secrets::is_sensitive};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list_deliveries))
        .routes(routes!(get_delivery))
        .routes(routes!(get_log))
        .routes(routes!(resend_delivery))
        .routes(routes!(drop_delivery))
        .routes(routes!(test_alerts))
}

/// Something that is told to somebody.
#[derive(Serialize, ToSchema)]
struct DeliveryResponse {
    id: i64,
    dag_id: String,
    #[schema(value_type = String)]
    on: AlertOn,
    #[schema(value_type = Object)]
    channel: AlertChannel,
    /// Its own words, where it has some: templates.
    #[schema(value_type = Object)]
    words: AlertWords,
    /// What becomes of it where nobody knows whether it went out: `resend` or `hold`.
    #[schema(value_type = String)]
    on_doubt: OnDoubt,
    at: Time,
    /// What it is about: `run_id`, `task_id`, `state`, `reason`, …
    #[schema(value_type = Object)]
    context: Value,
    state: String,
    attempts: u32,
    next_at: Time,
    last_error: Option<String>,
    changed_at: Time,
    /// The delivery that tells of this one as well, which may be itself: what becomes of that becomes of this.
    digest: Option<i64>,
    /// Who has it already, of those that it is to, where others have it not yet, or had it not at first.
    taken_by: Vec<String>,
}

impl From<DeliveryListing> for DeliveryResponse {
    fn from(listing: DeliveryListing) -> Self {
        let row = listing.row;
        Self {
            id: row.id.0,
            dag_id: row.dag.dag_id.to_string(),
            on: row.on,
            channel: shown(row.channel),
            words: row.words,
            on_doubt: row.on_doubt,
            at: Time(row.at),
            context: row.context,
            state: listing.state.to_string(),
            attempts: listing.attempts,
            next_at: Time(listing.next_at),
            last_error: listing.last_error,
            changed_at: Time(listing.changed_at),
            digest: listing.digest.map(|lead| lead.0),
            taken_by: listing.taken_by,
        }
    }
}

/// A webhook's address is often its password: who lists deliveries sees whose it is. What a function is given may be
/// secret by its name.
fn shown(channel: AlertChannel) -> AlertChannel {
    match channel {
        AlertChannel::Webhook(WebhookTarget::Url(url)) => {
            let (scheme, rest) = url.split_once("://").unwrap_or(("https", &url));
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            AlertChannel::Webhook(WebhookTarget::Url(format!("{scheme}://{host}/***")))
        }
        AlertChannel::Callback(mut callback) => {
            for (name, value) in &mut callback.kwargs {
                if is_sensitive(name) {
                    *value = "***".into();
                }
            }
            AlertChannel::Callback(callback)
        }
        other => other,
    }
}

/// Deliveries.
#[derive(Serialize, ToSchema)]
struct DeliveriesResponse {
    deliveries: Vec<DeliveryResponse>,
    total_entries: u64,
}

query! {
    /// Which deliveries.
    DeliveriesQuery {
        window: Window,
        /// About this DAG.
        dag_id: Option<String>,
        /// About this run of it.
        run_id: Option<String>,
        /// In one of these states.
        state: Vec<String>,
    }
}

/// What is told to people, the latest first.
#[utoipa::path(
    get, path = "/api/v1/deliveries", tag = "Deliveries", params(DeliveriesQuery),
    responses((status = 200, body = DeliveriesResponse), Reads),
)]
async fn list_deliveries(call: Call, query: DeliveriesQuery) -> Result<Json<DeliveriesResponse>, Error> {
    let state = |name: &String| -> Result<DeliveryState, Error> {
        name.parse().map_err(|error| Invalid::query("state", "enum", format!("{error}"), name).into())
    };
    let run = match (&query.dag_id, &query.run_id) {
        (Some(dag_id), Some(run_id)) => Some(call.run(dag_id, run_id).await?.row.key),
        (None, Some(_)) => return Err(Error::bad_request("run_id needs dag_id beside it")),
        (Some(dag_id), None) => {
            call.dag(dag_id).await?;
            None
        }
        (None, None) => None,
    };
    let asked = DeliveryQuery {
        namespace: call.namespace.clone(),
        dag: query.dag_id.as_deref().map(|dag_id| call.dag_key(dag_id)),
        run,
        states: query.state.iter().map(state).collect::<Result<_, _>>()?,
        window: query.window,
        ..DeliveryQuery::default()
    };
    let page = call.store().deliveries(&asked).await?;
    let deliveries = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(DeliveriesResponse { deliveries, total_entries: page.total }))
}

/// One of them.
#[utoipa::path(
    get, path = "/api/v1/deliveries/{id}", tag = "Deliveries",
    responses((status = 200, body = DeliveryResponse), Reads),
)]
async fn get_delivery(call: Call, Path(id): Path<i64>) -> Result<Json<DeliveryResponse>, Error> {
    Ok(Json(find(&call, id).await?.into()))
}

/// What a function printed that a DAG had called about a run.
#[utoipa::path(
    get, path = "/api/v1/deliveries/{id}/logs", tag = "Deliveries",
    responses((status = 200, content_type = "text/plain", body = String), Reads),
)]
async fn get_log(call: Call, Path(id): Path<i64>) -> Result<Response, Error> {
    let row = find(&call, id).await?.row;
    let AlertChannel::Callback(_) = row.channel else {
        return Err(Error::not_found(format!("delivery {id} is told, and nothing is called: it has no log")));
    };
    let run = match row.run {
        Some(run) => call.store().run(run).await?,
        None => None,
    };
    let run =
        run.ok_or_else(|| Error::not_found(format!("the run that delivery {id} is about is gone")))?.row;
    let path = call_log_path(&run.dag.namespace, &run.dag.dag_id, &run.run_id, row.id);
    Ok(plain(call.shared.clone(), LogName { run: run.key, path }))
}

async fn find(call: &Call, id: i64) -> Result<DeliveryListing, Error> {
    let asked = DeliveryQuery {
        namespace: call.namespace.clone(),
        id: Some(DeliveryId(id)),
        ..DeliveryQuery::default()
    };
    let found = call.store().deliveries(&asked).await?.rows.pop();
    found.ok_or_else(|| Error::not_found(format!("there is no delivery number {id}")))
}

/// Sends anew what failed, could not be delivered, or is held because nobody knows whether it went out; and what some were
/// refused, to those alone.
#[utoipa::path(
    post, path = "/api/v1/deliveries/{id}/resend", tag = "Deliveries", responses((status = 204), Writes),
)]
async fn resend_delivery(call: Call, Path(id): Path<i64>) -> Result<StatusCode, Error> {
    let listing = find(&call, id).await?;
    let mut audit = call.audit("resend_delivery", json!({ "delivery": id }));
    (audit.dag, audit.run) = (Some(listing.row.dag.dag_id), listing.row.run);
    match call.store().resend_delivery(DeliveryId(id), now(), &audit).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::conflict(format!(
            "delivery {id} is {}: only what failed, was undeliverable, is held, or did not go to all can be sent anew",
            listing.state
        ))),
    }
}

/// Sends what waits or is held no more.
#[utoipa::path(
    post, path = "/api/v1/deliveries/{id}/drop", tag = "Deliveries", responses((status = 204), Writes),
)]
async fn drop_delivery(call: Call, Path(id): Path<i64>) -> Result<StatusCode, Error> {
    let listing = find(&call, id).await?;
    let mut audit = call.audit("drop_delivery", json!({ "delivery": id }));
    (audit.dag, audit.run) = (Some(listing.row.dag.dag_id), listing.row.run);
    let why = format!("dropped by {}", audit.user);
    match call.store().drop_delivery(DeliveryId(id), &why, now(), &audit).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::conflict(format!(
            "delivery {id} is {}: only what waits or is held can be dropped",
            listing.state
        ))),
    }
}

/// Which alerts are to be tested.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TestBody {
    /// Those of this task; those of the DAG and of all its tasks, where none is named.
    task_id: Option<String>,
}

/// What was put into the outbox for a test.
#[derive(Serialize, ToSchema)]
struct TestResponse {
    /// The numbers of the deliveries, by which one sees what becomes of them.
    deliveries: Vec<i64>,
}

/// Sends a test by each way by which alerts of a DAG go.
#[utoipa::path(
    post, path = "/api/v1/dags/{dag_id}/alerts/test", tag = "Deliveries", request_body = TestBody,
    responses((status = 200, body = TestResponse), Writes),
)]
async fn test_alerts(
    call: Call,
    Path(dag_id): Path<String>,
    Body(body): Body<TestBody>,
) -> Result<Json<TestResponse>, Error> {
    let task = body.task_id.map(Into::into);
    let command = Command::TestAlerts { dag: call.dag_key(&dag_id), task };
    let deliveries = match call.command(command).await? {
        Reply::Deliveries(ids) => ids.into_iter().map(|id| id.0).collect(),
        _ => Vec::new(),
    };
    Ok(Json(TestResponse { deliveries }))
}
