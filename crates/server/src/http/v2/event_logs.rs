//! The audit log: `/eventLogs`.

use std::{collections::HashMap, sync::Arc};

use axum::Json;
use jiff::Timestamp;
use serde::Serialize;
use updraft_core::{RunId, RunKey};
use updraft_store::{AuditListing, AuditQuery, Bounds, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Error, Path, Reads, Shared,
    call::Call,
    query::{Named, order, query},
    time::Time,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_event_logs)).routes(routes!(get_event_log))
}

/// An entry of the audit log.
#[derive(Serialize, ToSchema)]
struct EventLogResponse {
    event_log_id: i64,
    when: Time,
    dag_id: Option<String>,
    task_id: Option<String>,
    run_id: Option<String>,
    map_index: Option<i32>,
    try_number: Option<u32>,
    event: String,
    logical_date: Option<Time>,
    /// The account.
    owner: Option<String>,
    /// The rest, as JSON.
    extra: Option<String>,
    dag_display_name: Option<String>,
    task_display_name: Option<String>,
}

/// Entries of the audit log.
#[derive(Serialize, ToSchema)]
struct EventLogCollectionResponse {
    event_logs: Vec<EventLogResponse>,
    total_entries: u64,
}

/// Shows entries, and looks each run up once.
struct Shower<'a> {
    call: &'a Call,
    runs: HashMap<RunKey, Option<(RunId, Option<Timestamp>)>>,
}

impl Shower<'_> {
    async fn show(&mut self, listing: AuditListing) -> Result<EventLogResponse, Error> {
        let row = listing.row;
        let run = match row.run {
            Some(key) => self.run(key).await?,
            None => None,
        };
        let detail = &row.detail;
        let named = |name: &str| detail.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let map_index = detail.get("map_index").and_then(|value| value.as_i64());
        let task_id = named("task_id");
        Ok(EventLogResponse {
            event_log_id: listing.id,
            when: Time(row.at),
            dag_id: row.dag.as_ref().map(ToString::to_string),
            run_id: run.as_ref().map(|(run_id, _)| run_id.to_string()),
            map_index: map_index.and_then(|index| i32::try_from(index).ok()),
            try_number: None,
            event: row.action,
            logical_date: run.and_then(|(_, date)| date).map(Time),
            owner: Some(row.user),
            extra: (!detail.is_null()).then(|| detail.to_string()),
            dag_display_name: row.dag.map(|dag| dag.to_string()),
            task_display_name: task_id.clone(),
            task_id,
        })
    }

    async fn run(&mut self, key: RunKey) -> Result<Option<(RunId, Option<Timestamp>)>, Error> {
        if let Some(known) = self.runs.get(&key) {
            return Ok(known.clone());
        }
        let found = self.call.store().run(key).await?.map(|run| (run.row.run_id, run.row.logical_date));
        self.runs.insert(key, found.clone());
        Ok(found)
    }
}

query! {
    /// Which entries.
    EventLogsQuery {
        window: Window,
        /// By the DAG.
        dag_id: Named,
        /// Of this run; with `dag_id`.
        run_id: Option<String>,
        /// By the account.
        owner: Named,
        /// By what was done.
        event: Named,
        /// Not these.
        excluded_events: Vec<String>,
        /// Only these.
        included_events: Vec<String>,
        /// Before this.
        before: Option<Timestamp>,
        /// After this.
        after: Option<Timestamp>,
        /// `id` or `when`, a dash before it for the latest first.
        order_by: Vec<String>,
    }
}

/// Who did what.
#[utoipa::path(
    get, path = "/api/v2/eventLogs", tag = "Event Log", params(EventLogsQuery),
    responses((status = 200, body = EventLogCollectionResponse), Reads),
)]
async fn get_event_logs(
    call: Call,
    query: EventLogsQuery,
) -> Result<Json<EventLogCollectionResponse>, Error> {
    let order = order(&query.order_by, &[("id", ()), ("event_log_id", ()), ("when", ()), ("dttm", ())])?;
    let run = match (&query.run_id, query.dag_id.0.exactly.as_slice()) {
        (None, _) => None,
        (Some(run_id), [dag_id]) => {
            let key = call.store().find_run(&call.dag_key(dag_id), &RunId::from(run_id.as_str())).await?;
            match key {
                Some(key) => Some(key),
                None => {
                    return Ok(Json(EventLogCollectionResponse { event_logs: Vec::new(), total_entries: 0 }));
                }
            }
        }
        (Some(_), _) => return Err(Error::bad_request("run_id needs dag_id beside it")),
    };
    let mut action = query.event.0;
    action.exactly.extend(query.included_events);
    let asked = AuditQuery {
        namespace: call.namespace.clone(),
        id: None,
        dag_id: query.dag_id.0,
        run,
        user: query.owner.0,
        action,
        excluded: query.excluded_events,
        at: Bounds { gt: query.after, lt: query.before, ..Bounds::default() },
        latest_first: order.first().is_some_and(|order| order.descending),
        window: query.window,
    };
    let page = call.store().audit(&asked).await?;
    let mut shower = Shower { call: &call, runs: HashMap::new() };
    let mut event_logs = Vec::with_capacity(page.rows.len());
    for listing in page.rows {
        event_logs.push(shower.show(listing).await?);
    }
    Ok(Json(EventLogCollectionResponse { event_logs, total_entries: page.total }))
}

/// One entry.
#[utoipa::path(
    get, path = "/api/v2/eventLogs/{event_log_id}", tag = "Event Log",
    responses((status = 200, body = EventLogResponse), Reads),
)]
async fn get_event_log(call: Call, Path(id): Path<i64>) -> Result<Json<EventLogResponse>, Error> {
    let asked = AuditQuery { namespace: call.namespace.clone(), id: Some(id), ..AuditQuery::default() };
    let found = call.store().audit(&asked).await?.rows.pop();
    let missing = || Error::not_found(format!("The Event Log with id: `{id}` not found"));
    let listing = found.ok_or_else(missing)?;
    Ok(Json(Shower { call: &call, runs: HashMap::new() }.show(listing).await?))
}
