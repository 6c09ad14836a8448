//! Task instances: `/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances`.

mod bulk;
mod dependencies;
mod list;
mod patch;
mod shape;
mod tries;

use std::sync::Arc;

use axum::Json;
use updraft_core::{MapIndex, TaskId};
use updraft_store::{TiQuery, Window};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::shape::of_airflow;
pub(in super::super) use self::shape::{TiResponse, rendered_map_index};
pub(super) use self::{list::TiCollectionResponse, patch::put_note};
use super::super::{Error, Path, Reads, Shared, call::Call};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list::get_task_instances, bulk::bulk_task_instances))
        .routes(routes!(list::get_task_instances_batch))
        .routes(routes!(list::get_mapped_task_instances))
        .routes(routes!(get_task_instance, patch::patch_task_instance))
        .routes(routes!(get_mapped_task_instance, patch::patch_task_instance_by_map_index))
        .routes(routes!(patch::patch_task_instance_dry_run))
        .routes(routes!(patch::patch_task_instance_dry_run_by_map_index))
        .routes(routes!(dependencies::get_task_instance_dependencies))
        .routes(routes!(dependencies::get_task_instance_dependencies_by_map_index))
        .routes(routes!(tries::get_task_instance_tries))
        .routes(routes!(tries::get_mapped_task_instance_tries))
        .routes(routes!(tries::get_task_instance_try_details))
        .routes(routes!(tries::get_mapped_task_instance_try_details))
}

/// One task instance of a task that is not mapped.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", tag = "Task Instance",
    responses((status = 200, body = TiResponse), Reads),
)]
async fn get_task_instance(
    call: Call,
    Path((dag_id, dag_run_id, task_id)): Path<(String, String, String)>,
) -> Result<Json<TiResponse>, Error> {
    match call.ti((&dag_id, &dag_run_id, &task_id), MapIndex::NONE).await {
        Ok(listing) => Ok(Json(TiResponse::of(&call, &listing).await?.with_rendered(&call).await?)),
        Err(error) => {
            let run = call.run(&dag_id, &dag_run_id).await.map_err(|_| error)?;
            let copies = TiQuery {
                namespace: call.namespace.clone(),
                runs: vec![run.row.key],
                task_id: (&TaskId::from(task_id.as_str())).into(),
                window: Window { limit: 1, count_to: 1, ..Window::default() },
                ..TiQuery::default()
            };
            Err(match call.store().tis(&copies).await?.total {
                0 => Error::not_found(format!(
                    "The Task Instance with dag_id: `{dag_id}`, run_id: `{dag_run_id}` and task_id: \
                     `{task_id}` was not found"
                )),
                _ => Error::not_found("Task instance is mapped, add the map_index value to the URL"),
            })
        }
    }
}

/// One copy of a mapped task.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    tag = "Task Instance", responses((status = 200, body = TiResponse), Reads),
)]
async fn get_mapped_task_instance(
    call: Call,
    Path((dag_id, dag_run_id, task_id, map_index)): Path<(String, String, String, i32)>,
) -> Result<Json<TiResponse>, Error> {
    let listing = call.ti((&dag_id, &dag_run_id, &task_id), MapIndex(map_index)).await?;
    Ok(Json(TiResponse::of(&call, &listing).await?.with_rendered(&call).await?))
}
