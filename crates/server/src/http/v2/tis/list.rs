//! Lists of task instances.

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use updraft_core::{MapIndex, RunKey, TiStateName};
use updraft_store::{Bounds, TextFilter, TiField, TiQuery, Window};
use utoipa::ToSchema;

use super::super::super::{
    Body, Error, Path, Reads,
    call::Call,
    query::{Cursor, Pattern, order, query},
    time::Time,
};
use super::super::runs::{batch_window, lengths, times};
use super::{TiResponse, of_airflow};

/// Task instances.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskInstanceCollectionResponse)]
pub(in super::super) struct TiCollectionResponse {
    pub task_instances: Vec<TiResponse>,
    pub total_entries: u64,
    /// The total is exact, also with a cursor.
    pub total_entries_limit: Option<u64>,
    pub next_cursor: Option<String>,
    pub previous_cursor: Option<String>,
}

impl TiCollectionResponse {
    /// All there are.
    pub fn all(task_instances: Vec<TiResponse>) -> Self {
        Self {
            total_entries: task_instances.len() as u64,
            task_instances,
            total_entries_limit: None,
            next_cursor: None,
            previous_cursor: None,
        }
    }
}

query! {
    /// What a list of task instances is asked with.
    TisQuery {
        window: Window,
        cursor: Cursor,
        /// Of this task.
        task_id: Option<String>,
        /// When the run was due.
        run_after: Bounds<Timestamp>,
        /// The run's logical date.
        logical_date: Bounds<Timestamp>,
        /// When the attempt began.
        start_date: Bounds<Timestamp>,
        /// When the attempt ended.
        end_date: Bounds<Timestamp>,
        /// Seconds from beginning to end.
        duration: Bounds<SignedDuration>,
        /// By the name shown.
        task_display_name: Pattern,
        /// Of tasks in this group.
        task_group_id: Option<String>,
        /// By the DAG's name.
        dag_id: Pattern,
        /// By the run's name.
        run_id: Pattern,
        /// In one of these states; `none` for nothing yet.
        state: Vec<String>,
        /// In one of these pools.
        pool: Vec<String>,
        /// By the pool.
        pool_name: Pattern,
        /// In one of these queues.
        queue: Vec<String>,
        /// By the queue.
        queue_name: Pattern,
        /// On one of these versions.
        version_number: Vec<u32>,
        /// In one of these tries.
        try_number: Vec<u32>,
        /// With one of these operators.
        operator: Vec<String>,
        /// By the operator.
        operator_name: Pattern,
        /// One of these copies.
        map_index: Vec<i32>,
        /// By what they are ordered; a dash before it for the largest first.
        order_by: Vec<String>,
    }
}

const FIELDS: &[(&str, TiField)] = &[
    ("id", TiField::Run),
    ("state", TiField::State),
    ("duration", TiField::Duration),
    ("start_date", TiField::StartedAt),
    ("end_date", TiField::EndedAt),
    ("map_index", TiField::MapIndex),
    ("try_number", TiField::TryNumber),
    ("logical_date", TiField::LogicalDate),
    ("run_after", TiField::RunAfter),
    ("data_interval_start", TiField::LogicalDate),
    ("rendered_map_index", TiField::MapIndex),
    ("operator", TiField::Operator),
    ("queued_when", TiField::QueuedAt),
    ("pool", TiField::Pool),
    ("queue", TiField::Queue),
    ("task_id", TiField::TaskId),
    ("dag_id", TiField::DagId),
    ("run_id", TiField::RunId),
];

fn states<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<Option<Vec<TiStateName>>, Error> {
    let mut asked = false;
    let mut states = Vec::new();
    for name in names {
        asked = true;
        states.extend(of_airflow(name)?);
    }
    Ok(asked.then_some(states))
}

impl TisQuery {
    /// `None` where nothing can meet it.
    fn into_query(self, call: &Call, run: Option<RunKey>) -> Result<Option<TiQuery>, Error> {
        let states = states(&self.state)?;
        if states.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        // Updraft's tasks are shown by their names.
        let mut task_id = self.task_display_name.0;
        task_id.exactly = self.task_id.into_iter().collect();
        Ok(Some(TiQuery {
            namespace: call.namespace.clone(),
            dags: Vec::new(),
            dag_id: self.dag_id.0,
            runs: run.into_iter().collect(),
            run_id: self.run_id.0,
            task_id,
            states: states.unwrap_or_default(),
            pool: self.pool_name.exactly(self.pool),
            queue: self.queue_name.exactly(self.queue),
            operator: self.operator_name.exactly(self.operator),
            map_indexes: self.map_index.into_iter().map(MapIndex).collect(),
            try_numbers: self.try_number,
            versions: self.version_number,
            logical_date: self.logical_date,
            run_after: self.run_after,
            started_at: self.start_date,
            ended_at: self.end_date,
            duration: self.duration,
            order: order(&self.order_by, FIELDS)?,
            window: self.cursor.window(self.window),
        }))
    }
}

/// Task instances of a run; of all runs where that is `~`, of all DAGs where that is `~` too.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", tag = "Task Instance",
    params(TisQuery), responses((status = 200, body = TiCollectionResponse), Reads),
)]
pub(super) async fn get_task_instances(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
    query: TisQuery,
) -> Result<Json<TiCollectionResponse>, Error> {
    let run = match (dag_id.as_str(), dag_run_id.as_str()) {
        (_, "~") => None,
        ("~", _) => return Err(Error::bad_request("dag_id is required when dag_run_id is specified")),
        _ => Some(call.run(&dag_id, &dag_run_id).await?),
    };
    let dag = match dag_id.as_str() {
        "~" => None,
        _ => Some(call.dag(&dag_id).await?.row),
    };
    let of_group = match (&query.task_group_id, &dag) {
        (Some(group), Some(dag)) => {
            let version = run.as_ref().map_or(dag.version, |run| run.row.version);
            Some(tasks_of_group(&call, &dag.key, version, group).await?)
        }
        (Some(_), None) | (None, _) => None,
    };
    let cursor = query.cursor.clone();
    let Some(mut asked) = query.into_query(&call, run.map(|run| run.row.key))? else {
        return Ok(Json(TiCollectionResponse::all(Vec::new())));
    };
    asked.dags = dag.into_iter().map(|dag| dag.key.dag_id).collect();
    if let Some(tasks) = of_group {
        asked.task_id.exactly = match asked.task_id.exactly.as_slice() {
            [] => tasks,
            exact => tasks.into_iter().filter(|task| exact.contains(task)).collect(),
        };
        if asked.task_id.exactly.is_empty() {
            return Ok(Json(TiCollectionResponse::all(Vec::new())));
        }
    }
    list(&call, &asked, &cursor).await
}

/// The tasks of a group and of the groups in it.
async fn tasks_of_group(
    call: &Call,
    dag: &updraft_core::DagKey,
    version: u32,
    group: &str,
) -> Result<Vec<String>, Error> {
    let version = call.version(dag, version).await?;
    let spec = version.dag.spec();
    if !spec.groups.iter().any(|known| &*known.group_id == group) {
        let detail = format!("TaskGroup '{group}' was not found in Dag '{}'", dag.dag_id);
        return Err(Error::not_found(detail));
    }
    // Outer groups come before inner ones.
    let mut inside = vec![group];
    for candidate in &spec.groups {
        if candidate.parent.as_ref().is_some_and(|parent| inside.contains(&&**parent)) {
            inside.push(&candidate.group_id);
        }
    }
    let is_inside =
        |task: &&updraft_core::TaskSpec| task.group.as_ref().is_some_and(|group| inside.contains(&&**group));
    Ok(spec.tasks.iter().filter(is_inside).map(|task| task.task_id.to_string()).collect())
}

async fn list(call: &Call, asked: &TiQuery, cursor: &Cursor) -> Result<Json<TiCollectionResponse>, Error> {
    let page = call.store().tis(asked).await?;
    let (next_cursor, previous_cursor) = cursor.around(asked.window, page.rows.len(), page.total);
    Ok(Json(TiCollectionResponse {
        task_instances: TiResponse::of_all(call, &page.rows).await?,
        total_entries: page.total,
        total_entries_limit: None,
        next_cursor,
        previous_cursor,
    }))
}

/// The copies of a mapped task.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
    tag = "Task Instance", params(TisQuery),
    responses((status = 200, body = TiCollectionResponse), Reads),
)]
pub(super) async fn get_mapped_task_instances(
    call: Call,
    Path((dag_id, dag_run_id, task_id)): Path<(String, String, String)>,
    query: TisQuery,
) -> Result<Json<TiCollectionResponse>, Error> {
    let run = call.run(&dag_id, &dag_run_id).await?;
    let version = call.version(&run.row.dag, run.row.version).await?;
    let ix = version.dag.find(&task_id);
    let ix = ix.ok_or_else(|| Error::not_found(format!("Task id {task_id} not found")))?;
    if version.dag.mapping(ix).is_none() {
        return Err(Error::not_found(format!("Task id {task_id} is not mapped")));
    }
    let Some(mut asked) = query.into_query(&call, Some(run.row.key))? else {
        return Ok(Json(TiCollectionResponse::all(Vec::new())));
    };
    asked.task_id = TextFilter::exactly(task_id);
    if asked.map_indexes.is_empty() {
        // Before a task is mapped, one instance stands for all its copies: that is none of them.
        let one = call.store().find_ti(run.row.key, &version.dag.task(ix).task_id, MapIndex::NONE).await?;
        if one.is_some() {
            return Ok(Json(TiCollectionResponse::all(Vec::new())));
        }
    }
    list(&call, &asked, &Cursor::default()).await
}

/// What task instances are asked for in one go.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = TaskInstancesBatchBody)]
pub(super) struct TisBatchBody {
    dag_ids: Option<Vec<String>>,
    dag_run_ids: Option<Vec<String>>,
    task_ids: Option<Vec<String>>,
    state: Option<Vec<Option<String>>>,
    run_after_gte: Option<Time>,
    run_after_gt: Option<Time>,
    run_after_lte: Option<Time>,
    run_after_lt: Option<Time>,
    logical_date_gte: Option<Time>,
    logical_date_gt: Option<Time>,
    logical_date_lte: Option<Time>,
    logical_date_lt: Option<Time>,
    start_date_gte: Option<Time>,
    start_date_gt: Option<Time>,
    start_date_lte: Option<Time>,
    start_date_lt: Option<Time>,
    end_date_gte: Option<Time>,
    end_date_gt: Option<Time>,
    end_date_lte: Option<Time>,
    end_date_lt: Option<Time>,
    duration_gte: Option<f64>,
    duration_gt: Option<f64>,
    duration_lte: Option<f64>,
    duration_lt: Option<f64>,
    pool: Option<Vec<String>>,
    queue: Option<Vec<String>>,
    /// There are no executors: whoever names one gets nothing.
    executor: Option<Vec<String>>,
    page_offset: u64,
    page_limit: Option<u64>,
    order_by: Option<String>,
}

/// Task instances of several DAGs and runs. Both in the path are `~`.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", tag = "Task Instance",
    request_body = TisBatchBody, responses((status = 200, body = TiCollectionResponse), Reads),
)]
pub(super) async fn get_task_instances_batch(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
    Body(b): Body<TisBatchBody>,
) -> Result<Json<TiCollectionResponse>, Error> {
    if dag_id != "~" || dag_run_id != "~" {
        return Err(Error::unprocessable("Input should be '~'"));
    }
    let names: Option<Vec<String>> = b
        .state
        .map(|states| states.into_iter().map(|state| state.unwrap_or_else(|| "none".into())).collect());
    let states = states(names.iter().flatten())?;
    let nothing = states.as_ref().is_some_and(Vec::is_empty);
    if nothing || b.executor.is_some_and(|executors| !executors.is_empty()) {
        return Ok(Json(TiCollectionResponse::all(Vec::new())));
    }
    let exactly = |names: Option<Vec<String>>| Pattern::default().exactly(names.unwrap_or_default());
    let asked = TiQuery {
        namespace: call.namespace.clone(),
        dag_id: exactly(b.dag_ids),
        run_id: exactly(b.dag_run_ids),
        task_id: exactly(b.task_ids),
        states: states.unwrap_or_default(),
        pool: exactly(b.pool),
        queue: exactly(b.queue),
        logical_date: times([b.logical_date_gte, b.logical_date_gt, b.logical_date_lte, b.logical_date_lt]),
        run_after: times([b.run_after_gte, b.run_after_gt, b.run_after_lte, b.run_after_lt]),
        started_at: times([b.start_date_gte, b.start_date_gt, b.start_date_lte, b.start_date_lt]),
        ended_at: times([b.end_date_gte, b.end_date_gt, b.end_date_lte, b.end_date_lt]),
        duration: lengths([b.duration_gte, b.duration_gt, b.duration_lte, b.duration_lt])?,
        order: order(b.order_by.as_slice(), FIELDS)?,
        window: batch_window(b.page_offset, b.page_limit),
        ..TiQuery::default()
    };
    list(&call, &asked, &Cursor::default()).await
}
