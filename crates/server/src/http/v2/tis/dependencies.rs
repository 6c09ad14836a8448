//! What keeps a task instance from running.

use axum::Json;
use serde::Serialize;
use updraft_core::{MapIndex, TiState};
use utoipa::ToSchema;

use super::super::super::{Error, Path, Reads, call::Call, query::query};

/// What keeps a task instance from running.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskDependencyCollectionResponse)]
pub(super) struct DependenciesResponse {
    dependencies: Vec<DependencyResponse>,
}

/// One thing that does.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskDependencyResponse)]
pub(super) struct DependencyResponse {
    name: &'static str,
    reason: String,
}

query! {
    /// Which copy.
    CopyQuery {
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
    }
}

/// What keeps a task instance from running; nothing where it has begun.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies",
    tag = "Task Instance", params(CopyQuery),
    responses((status = 200, body = DependenciesResponse), Reads),
)]
pub(super) async fn get_task_instance_dependencies(
    call: Call,
    Path((dag_id, dag_run_id, task_id)): Path<(String, String, String)>,
    copy: CopyQuery,
) -> Result<Json<DependenciesResponse>, Error> {
    dependencies(&call, (&dag_id, &dag_run_id, &task_id), copy.map_index.unwrap_or(-1)).await
}

/// What keeps a copy of a mapped task from running; nothing where it has begun.
#[utoipa::path(
    get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies",
    tag = "Task Instance", responses((status = 200, body = DependenciesResponse), Reads),
)]
pub(super) async fn get_task_instance_dependencies_by_map_index(
    call: Call,
    Path((dag_id, dag_run_id, task_id, map_index)): Path<(String, String, String, i32)>,
) -> Result<Json<DependenciesResponse>, Error> {
    dependencies(&call, (&dag_id, &dag_run_id, &task_id), map_index).await
}

async fn dependencies(
    call: &Call,
    name: (&str, &str, &str),
    map_index: i32,
) -> Result<Json<DependenciesResponse>, Error> {
    let listing = call.ti(name, MapIndex(map_index)).await?;
    let key = listing.row.key;
    let waits = matches!(listing.row.state, TiState::None | TiState::Scheduled);
    let why = match waits {
        true => call.shared.leader.ask(move |engine| engine.explain(key)).await?,
        false => None,
    };
    let reasons = why.map(|why| why.reasons).unwrap_or_default();
    let dependencies = reasons.into_iter().map(|reason| DependencyResponse { name: "Updraft", reason });
    Ok(Json(DependenciesResponse { dependencies: dependencies.collect() }))
}
