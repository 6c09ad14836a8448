//! What is told to people: `/api/v1/deliveries`.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use updraft_core::{AlertChannel, AlertOn, AlertWords, DeliveryId, OnDoubt};
use updraft_store::{DeliveryListing, DeliveryQuery, DeliveryState, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Error, Path, Reads, Shared, Writes, call::Call, error::Invalid, query::query, time::Time,
};
use crate::leader::now;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list_deliveries)).routes(routes!(resend_delivery))
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
}

impl From<DeliveryListing> for DeliveryResponse {
    fn from(listing: DeliveryListing) -> Self {
        let row = listing.row;
        Self {
            id: row.id.0,
            dag_id: row.dag.dag_id.to_string(),
            on: row.on,
            channel: row.channel,
            words: row.words,
            on_doubt: row.on_doubt,
            at: Time(row.at),
            context: row.context,
            state: listing.state.to_string(),
            attempts: listing.attempts,
            next_at: Time(listing.next_at),
            last_error: listing.last_error,
            changed_at: Time(listing.changed_at),
        }
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
        ti: None,
        states: query.state.iter().map(state).collect::<Result<_, _>>()?,
        window: query.window,
    };
    let page = call.store().deliveries(&asked).await?;
    let deliveries = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(DeliveriesResponse { deliveries, total_entries: page.total }))
}

/// Sends anew what failed, could not be delivered, or is held because nobody knows whether it went out.
#[utoipa::path(
    post, path = "/api/v1/deliveries/{id}/resend", tag = "Deliveries", responses((status = 204), Writes),
)]
async fn resend_delivery(call: Call, Path(id): Path<i64>) -> Result<StatusCode, Error> {
    let asked =
        DeliveryQuery { namespace: call.namespace.clone(), window: Window::ALL, ..DeliveryQuery::default() };
    let all = call.store().deliveries(&asked).await?.rows;
    let found = all.into_iter().find(|listing| listing.row.id == DeliveryId(id));
    let listing = found.ok_or_else(|| Error::not_found(format!("there is no delivery number {id}")))?;
    let mut audit = call.audit("resend_delivery", json!({ "delivery": id }));
    (audit.dag, audit.run) = (Some(listing.row.dag), listing.row.run);
    match call.store().resend_delivery(DeliveryId(id), now(), &audit).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::conflict(format!(
            "delivery {id} is {}: only what failed, was undeliverable or is held can be sent anew",
            listing.state
        ))),
    }
}
