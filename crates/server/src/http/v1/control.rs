//! Task instances stopped for now, let go on, and ended.

use std::sync::Arc;

use axum::http::StatusCode;
use updraft_core::{MapIndex, TiKey, input::Command};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Path, Shared, Writes, call::Call, query::query};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(pause_task)).routes(routes!(continue_task)).routes(routes!(stop_task))
}

query! {
    /// Which copy.
    CopyQuery {
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
    }
}

async fn send(
    call: &Call,
    (dag_id, run_id, task_id): (String, String, String),
    copy: CopyQuery,
    command: fn(TiKey) -> Command,
) -> Result<StatusCode, Error> {
    let copy = MapIndex(copy.map_index.unwrap_or(-1));
    let listing = call.ti((&dag_id, &run_id, &task_id), copy).await?;
    call.command(command(listing.row.key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops a running task instance for now: its processes get SIGSTOP. Its timeout does not go on meanwhile.
#[utoipa::path(
    post, path = "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/pause", tag = "Control",
    params(CopyQuery), responses((status = 204), Writes),
)]
async fn pause_task(
    call: Call,
    Path(name): Path<(String, String, String)>,
    copy: CopyQuery,
) -> Result<StatusCode, Error> {
    send(&call, name, copy, Command::Pause).await
}

/// Lets a paused task instance go on.
#[utoipa::path(
    post, path = "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/continue", tag = "Control",
    params(CopyQuery), responses((status = 204), Writes),
)]
async fn continue_task(
    call: Call,
    Path(name): Path<(String, String, String)>,
    copy: CopyQuery,
) -> Result<StatusCode, Error> {
    send(&call, name, copy, Command::Continue).await
}

/// Ends a task instance: it has failed and is not tried again.
#[utoipa::path(
    post, path = "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/stop", tag = "Control",
    params(CopyQuery), responses((status = 204), Writes),
)]
async fn stop_task(
    call: Call,
    Path(name): Path<(String, String, String)>,
    copy: CopyQuery,
) -> Result<StatusCode, Error> {
    send(&call, name, copy, Command::Stop).await
}
