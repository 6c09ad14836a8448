//! What happened: the changes of state of a run, and what became of a DAG's ticks.

use std::{collections::HashMap, sync::Arc};

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use updraft_core::{MapIndex, RunKey, TiStateName, record::TickOutcome};
use updraft_store::Window;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Path, Reads, Shared, call::Call, query::query, time::Time};
use crate::leader::now;

/// The ledger is shown from so long ago where nothing is said.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list_transitions)).routes(routes!(list_ticks))
}

/// A change of state.
#[derive(Serialize, ToSchema)]
struct TransitionResponse {
    task_id: String,
    map_index: i32,
    try_number: u32,
    #[schema(value_type = String)]
    from: TiStateName,
    #[schema(value_type = String)]
    to: TiStateName,
    at: Time,
    /// Why, where it needs saying.
    reason: Option<String>,
}

/// Changes of state.
#[derive(Serialize, ToSchema)]
struct TransitionsResponse {
    transitions: Vec<TransitionResponse>,
    total_entries: u64,
}

query! {
    /// Which changes.
    TransitionsQuery {
        window: Window,
        /// Of this task.
        task_id: Option<String>,
        /// Of this copy of it; -1 for a task that is not mapped.
        map_index: Option<i32>,
    }
}

/// The changes of state of a run's task instances, or of one of them, in the order in which they happened.
#[utoipa::path(
    get, path = "/api/v1/dags/{dag_id}/dagRuns/{run_id}/transitions", tag = "History",
    params(TransitionsQuery), responses((status = 200, body = TransitionsResponse), Reads),
)]
async fn list_transitions(
    call: Call,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: TransitionsQuery,
) -> Result<Json<TransitionsResponse>, Error> {
    let run = call.run(&dag_id, &run_id).await?;
    let ti = match &query.task_id {
        Some(task_id) => {
            let copy = MapIndex(query.map_index.unwrap_or(-1));
            Some(call.ti((&dag_id, &run_id, task_id), copy).await?.row.key)
        }
        None => None,
    };
    let version = call.version(&run.row.dag, run.row.version).await?;
    let page = call.store().transitions(run.row.key, ti, query.window).await?;
    let known = |task: updraft_core::TaskIx| task.usize() < version.dag.len();
    let shown = page.rows.into_iter().filter(|row| known(row.ti.task)).map(|row| TransitionResponse {
        task_id: version.dag.task(row.ti.task).task_id.to_string(),
        map_index: row.ti.map_index.0,
        try_number: row.try_number,
        from: row.from,
        to: row.to,
        at: Time(row.at),
        reason: row.reason.map(|reason| reason.to_string()),
    });
    Ok(Json(TransitionsResponse { transitions: shown.collect(), total_entries: page.total }))
}

/// What became of a tick, or of several equal ones in a row.
#[derive(Serialize, ToSchema)]
struct TickResponse {
    /// The first one's time.
    first: Time,
    /// The last one's time.
    last: Time,
    /// How many.
    count: u64,
    #[schema(value_type = String)]
    outcome: TickOutcome,
    reason: String,
    /// The run of the last one.
    run_id: Option<String>,
}

/// What became of ticks.
#[derive(Serialize, ToSchema)]
struct TicksResponse {
    ticks: Vec<TickResponse>,
    total_entries: u64,
    /// The one to come.
    next: Option<Time>,
}

query! {
    /// Which ticks.
    TicksQuery {
        window: Window,
        /// From this time; a week ago where nothing is said.
        from: Option<Timestamp>,
        /// Up to this time; now where nothing is said.
        to: Option<Timestamp>,
    }
}

/// What became of each time at which a DAG's schedule asked for a run.
#[utoipa::path(
    get, path = "/api/v1/dags/{dag_id}/ticks", tag = "History", params(TicksQuery),
    responses((status = 200, body = TicksResponse), Reads),
)]
async fn list_ticks(
    call: Call,
    Path(dag_id): Path<String>,
    query: TicksQuery,
) -> Result<Json<TicksResponse>, Error> {
    let dag = call.dag(&dag_id).await?;
    let to = query.to.unwrap_or_else(now);
    let from = query.from.or_else(|| to.checked_sub(LOOK_BACK).ok()).unwrap_or(Timestamp::MIN);
    let page = call.store().ticks(&dag.row.key, from, to, query.window).await?;
    let mut names: HashMap<RunKey, Option<String>> = HashMap::new();
    for key in page.rows.iter().filter_map(|row| row.run) {
        let run = call.store().run(key).await?;
        names.insert(key, run.map(|run| run.row.run_id.to_string()));
    }
    let shown = page.rows.into_iter().map(|row| TickResponse {
        first: Time(row.first),
        last: Time(row.last),
        count: row.count,
        outcome: row.outcome,
        reason: row.reason,
        run_id: row.run.and_then(|run| names.get(&run).cloned().flatten()),
    });
    let next = dag.row.next_tick.map(|tick| Time(tick.run_after));
    Ok(Json(TicksResponse { ticks: shown.collect(), total_entries: page.total, next }))
}
