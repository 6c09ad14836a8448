//! Why a task instance is where it is.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use updraft_core::{MapIndex, TiStateName, engine::Why};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Path, Reads, Shared, call::Call, query::query, time::Time};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(explain_task_instance))
}

/// Why a task instance is where it is.
#[derive(Serialize, ToSchema)]
struct WhyResponse {
    #[schema(value_type = String)]
    state: TiStateName,
    /// In sentences; the first one matters most.
    reasons: Vec<String>,
    /// When it moves on by itself, where that is known.
    until: Option<Time>,
}

query! {
    /// Which copy.
    CopyQuery {
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
    }
}

/// Why a task instance is where it is.
#[utoipa::path(
    get, path = "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/why", tag = "Explain",
    params(CopyQuery), responses((status = 200, body = WhyResponse), Reads),
)]
async fn explain_task_instance(
    call: Call,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    copy: CopyQuery,
) -> Result<Json<WhyResponse>, Error> {
    let copy = MapIndex(copy.map_index.unwrap_or(-1));
    let row = call.ti((&dag_id, &run_id, &task_id), copy).await?.row;
    let key = row.key;
    // What is over, the engine may have forgotten; its row says why.
    let over = row.state.is_finished();
    let why = match call.shared.leader.ask(move |engine| engine.explain(key)).await {
        Ok(Some(why)) => why,
        Ok(None) => stored(row),
        Err(_) if over => stored(row),
        Err(refusal) => return Err(refusal.into()),
    };
    Ok(Json(WhyResponse { state: why.state, reasons: why.reasons, until: why.until.map(Time) }))
}

fn stored(row: updraft_core::record::TiRow) -> Why {
    Why {
        state: row.state.name(),
        reasons: row.reason.iter().map(|reason| reason.to_string()).collect(),
        until: row.state.wakes_at(),
    }
}
