//! Runs: `/dags/{dag_id}/dagRuns`.

mod bulk;
mod change;
mod list;
mod shape;
mod wait;

use std::sync::Arc;

use axum::Json;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(in super::super) use self::shape::RunResponse;
pub(super) use self::{
    change::{check_note, made_run, yes},
    list::{batch_window, lengths, times},
};
use super::super::{Error, Path, Reads, Shared, call::Call};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list::get_dag_runs, change::trigger_dag_run, bulk::bulk_dag_runs))
        .routes(routes!(list::get_list_dag_runs_batch))
        .routes(routes!(get_dag_run, change::patch_dag_run, change::delete_dag_run))
        .routes(routes!(change::clear_dag_run))
        .routes(routes!(bulk::clear_dag_runs))
        .routes(routes!(wait::wait_dag_run_until_finished))
}

/// One run.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", tag = "DagRun",
    responses((status = 200, body = RunResponse), Reads),
)]
async fn get_dag_run(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
) -> Result<Json<RunResponse>, Error> {
    let run = call.run(&dag_id, &dag_run_id).await?;
    Ok(Json(RunResponse::of(&call, &run).await?))
}
