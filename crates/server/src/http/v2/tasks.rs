//! Tasks, as their DAG's current version has them: `/dags/{dag_id}/tasks`.

use std::{collections::BTreeMap, sync::Arc};

use axum::Json;
use serde::Serialize;
use updraft_core::{Dag, TaskIx, TriggerRule, WeightRule};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Error, Path, Reads, Shared,
        call::Call,
        query::query,
        time::{Time, TimeDelta},
    },
    dags::{ParamResponse, params},
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_tasks)).routes(routes!(get_task))
}

/// A task.
#[derive(Serialize, ToSchema)]
struct TaskResponse {
    task_id: String,
    task_display_name: String,
    owner: String,
    start_date: Option<Time>,
    end_date: Option<Time>,
    #[schema(value_type = String)]
    trigger_rule: TriggerRule,
    depends_on_past: bool,
    wait_for_downstream: bool,
    retries: f64,
    queue: String,
    pool: String,
    pool_slots: f64,
    execution_timeout: Option<TimeDelta>,
    retry_delay: Option<TimeDelta>,
    retry_exponential_backoff: f64,
    /// Its own, as it was written.
    priority_weight: f64,
    #[schema(value_type = String)]
    weight_rule: WeightRule,
    ui_color: Option<String>,
    ui_fgcolor: Option<String>,
    /// Known to the operator alone.
    template_fields: Option<Vec<String>>,
    downstream_task_ids: Vec<String>,
    doc_md: Option<String>,
    operator_name: String,
    #[schema(value_type = Object)]
    params: BTreeMap<String, ParamResponse>,
    class_ref: ClassRef,
    is_mapped: bool,
    extra_links: Vec<String>,
}

/// The operator.
#[derive(Serialize, ToSchema)]
struct ClassRef {
    module_path: Option<String>,
    class_name: String,
}

impl TaskResponse {
    fn of(dag: &Dag, ix: TaskIx) -> Self {
        let (spec, task) = (dag.spec(), dag.task(ix));
        let mut downstream: Vec<String> =
            dag.downstream(ix).iter().map(|after| dag.task(*after).task_id.to_string()).collect();
        downstream.sort_unstable();
        let backoff = task.retry.backoff;
        Self {
            task_id: task.task_id.to_string(),
            task_display_name: task.task_id.to_string(),
            owner: task.owner.clone().unwrap_or_else(|| spec.owner.to_string()),
            start_date: spec.start_date.map(Time),
            end_date: spec.end_date.map(Time),
            trigger_rule: task.trigger_rule,
            depends_on_past: task.depends_on_past,
            wait_for_downstream: task.wait_for_downstream,
            retries: task.retry.retries.into(),
            queue: task.queue.to_string(),
            pool: task.pool.to_string(),
            pool_slots: task.pool_slots.into(),
            execution_timeout: task.execution_timeout.map(TimeDelta::from),
            retry_delay: Some(task.retry.delay.into()),
            retry_exponential_backoff: backoff,
            priority_weight: task.priority_weight as f64,
            weight_rule: task.weight_rule,
            ui_color: None,
            ui_fgcolor: None,
            template_fields: None,
            downstream_task_ids: downstream,
            doc_md: task.doc_md.clone(),
            operator_name: task.operator.clone(),
            params: params(&spec.params),
            class_ref: ClassRef { module_path: None, class_name: task.operator.clone() },
            is_mapped: dag.mapping(ix).is_some(),
            extra_links: Vec::new(),
        }
    }
}

/// Tasks of a DAG.
#[derive(Serialize, ToSchema)]
struct TaskCollectionResponse {
    tasks: Vec<TaskResponse>,
    total_entries: u64,
}

query! {
    /// In which order.
    TasksQuery {
        /// A field of a task, a dash before it for the largest first.
        order_by: Option<String>,
    }
}

/// A DAG's tasks.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/tasks", tag = "Task", params(TasksQuery),
    responses((status = 200, body = TaskCollectionResponse), Reads),
)]
async fn get_tasks(
    call: Call,
    Path(dag_id): Path<String>,
    query: TasksQuery,
) -> Result<Json<TaskCollectionResponse>, Error> {
    let listing = call.dag(&dag_id).await?;
    let version = call.version(&listing.row.key, listing.row.version).await?;
    let mut tasks: Vec<_> = version.dag.tasks().map(|ix| TaskResponse::of(&version.dag, ix)).collect();
    let order_by = query.order_by.as_deref().unwrap_or("task_id");
    let numbers = |value: fn(&TaskResponse) -> f64| {
        move |a: &TaskResponse, b: &TaskResponse| value(a).total_cmp(&value(b))
    };
    match order_by.trim_start_matches('-') {
        "task_id" | "task_display_name" => tasks.sort_by(|a, b| a.task_id.cmp(&b.task_id)),
        "operator_name" => tasks.sort_by(|a, b| a.operator_name.cmp(&b.operator_name)),
        "owner" => tasks.sort_by(|a, b| a.owner.cmp(&b.owner)),
        "pool" => tasks.sort_by(|a, b| a.pool.cmp(&b.pool)),
        "queue" => tasks.sort_by(|a, b| a.queue.cmp(&b.queue)),
        "retries" => tasks.sort_by(numbers(|task| task.retries)),
        "pool_slots" => tasks.sort_by(numbers(|task| task.pool_slots)),
        "priority_weight" => tasks.sort_by(numbers(|task| task.priority_weight)),
        // All tasks of a DAG have its dates.
        "start_date" | "end_date" => {}
        other => {
            return Err(Error::bad_request(format!("'TaskResponse' has no attribute '{other}' to order by")));
        }
    }
    if order_by.starts_with('-') {
        tasks.reverse();
    }
    let total_entries = tasks.len() as u64;
    Ok(Json(TaskCollectionResponse { tasks, total_entries }))
}

/// One task.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/tasks/{task_id}", tag = "Task",
    responses((status = 200, body = TaskResponse), Reads),
)]
async fn get_task(
    call: Call,
    Path((dag_id, task_id)): Path<(String, String)>,
) -> Result<Json<TaskResponse>, Error> {
    let listing = call.dag(&dag_id).await?;
    let version = call.version(&listing.row.key, listing.row.version).await?;
    let ix = version.dag.find(&task_id);
    let ix = ix.ok_or_else(|| Error::not_found(format!("Task with id {task_id} was not found")))?;
    Ok(Json(TaskResponse::of(&version.dag, ix)))
}
