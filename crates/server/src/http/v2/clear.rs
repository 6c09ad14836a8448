//! Having task instances begin anew: `/dags/{dag_id}/clearTaskInstances`.

use std::sync::Arc;

use axum::Json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use updraft_core::{
    MapIndex, TaskId, TiKey, TiStateName,
    input::{Clear, Command, Reply},
    record::RunRow,
};
use updraft_store::{Bounds, RunListing, RunQuery, TextFilter, TiQuery, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{Body, Error, Path, Shared, Writes, call::Call, error::Invalid, time::Time},
    runs::{check_note, yes},
    tis::{TiCollectionResponse, TiResponse, put_note},
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(post_clear_task_instances))
}

/// The task instances that would begin anew.
#[derive(Serialize, ToSchema)]
#[schema(as = ClearTaskInstanceCollectionResponse)]
pub(super) struct ClearedResponse {
    task_instances: Vec<TiResponse>,
    total_entries: u64,
}

impl ClearedResponse {
    pub fn of(task_instances: Vec<TiResponse>) -> Self {
        Self { total_entries: task_instances.len() as u64, task_instances }
    }
}

/// A task, or one copy of it.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(untagged)]
enum Marker {
    /// A task with all its copies.
    Task(String),
    /// One copy.
    Copy(String, i32),
}

/// Which task instances begin anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ClearTaskInstancesBody)]
struct ClearBody {
    /// Only say which; the default.
    #[serde(default = "yes")]
    dry_run: bool,
    /// In runs with this logical date or a later one.
    #[serde(default)]
    start_date: Option<Time>,
    /// In runs with this logical date or an earlier one.
    #[serde(default)]
    end_date: Option<Time>,
    /// Only what failed; the default.
    #[serde(default = "yes")]
    only_failed: bool,
    /// Only what runs.
    #[serde(default)]
    only_running: bool,
    /// Runs that are over begin anew too; the default.
    #[serde(default = "yes")]
    reset_dag_runs: bool,
    /// These tasks (`"task"`) and copies (`["task", 0]`); all where none are named.
    #[serde(default)]
    task_ids: Option<Vec<Marker>>,
    /// Of this run.
    #[serde(default)]
    dag_run_id: Option<String>,
    /// Also all tasks before them.
    #[serde(default)]
    include_upstream: bool,
    /// Also all tasks after them.
    #[serde(default)]
    include_downstream: bool,
    /// Also in later runs.
    #[serde(default)]
    include_future: bool,
    /// Also in earlier runs.
    #[serde(default)]
    include_past: bool,
    /// Runs go on with the DAG as it is now, where its tasks are those that they began with.
    #[serde(default)]
    run_on_latest_version: Option<bool>,
    /// Refuse where one of them runs.
    #[serde(default)]
    prevent_running_task: bool,
    #[serde(default)]
    note: Option<String>,
}

impl ClearBody {
    fn check(&self) -> Result<(), Error> {
        let fault = if self.only_failed && self.only_running {
            "only_failed and only_running both are set to True"
        } else if self.start_date.zip(self.end_date).is_some_and(|(start, end)| start.0 > end.0) {
            "end_date is sooner than start_date"
        } else if self.dag_run_id.is_some() && (self.start_date.is_some() || self.end_date.is_some()) {
            "Exactly one of dag_run_id or (start_date and end_date) must be provided"
        } else if self.task_ids.as_ref().is_some_and(Vec::is_empty) {
            "task_ids list should have at least 1 element."
        } else {
            return Ok(());
        };
        let msg = format!("Value error, {fault}");
        Err(Invalid { r#type: "value_error", loc: vec!["body".into()], msg, input: Box::default() }.into())
    }
}

/// Has task instances begin anew, or says which it would be.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/clearTaskInstances", tag = "Task Instance",
    request_body = ClearBody, responses((status = 200, body = TiCollectionResponse), Writes),
)]
async fn post_clear_task_instances(
    call: Call,
    Path(dag_id): Path<String>,
    Body(body): Body<ClearBody>,
) -> Result<Json<TiCollectionResponse>, Error> {
    body.check()?;
    let dag = call.dag(&dag_id).await?;
    let note = check_note(body.note.clone())?;
    let runs = match &body.dag_run_id {
        Some(run_id) => {
            let missing = || Error::not_found(format!("Dag Run id {run_id} not found in dag {dag_id}"));
            let run = call.run(&dag_id, run_id).await.map_err(|_| missing())?;
            runs_around(&call, &run, body.include_past, body.include_future).await?
        }
        None => {
            let bounds = Bounds {
                gte: body.start_date.filter(|_| !body.include_past).map(|time| time.0),
                lte: body.end_date.filter(|_| !body.include_future).map(|time| time.0),
                ..Bounds::default()
            };
            runs_between(&call, &dag.row.key.dag_id, bounds).await?
        }
    };
    if body.prevent_running_task && !body.dry_run {
        refuse_running(&call, &dag_id, &runs).await?;
    }
    if runs.len() > 1 && !body.dry_run {
        // Where one of them can't begin anew, none does.
        clear(&call, &body, &runs, true).await?;
    }
    let keys = clear(&call, &body, &runs, body.dry_run).await?;
    if let (Some(note), false) = (note, body.dry_run) {
        for key in &keys {
            if let Some(listing) = call.store().ti(*key).await? {
                put_note(&call, &listing, Some(note.clone())).await?;
            }
        }
    }
    Ok(Json(TiCollectionResponse::all(TiResponse::of_keys(&call, &keys).await?)))
}

async fn clear(call: &Call, body: &ClearBody, runs: &[RunRow], dry_run: bool) -> Result<Vec<TiKey>, Error> {
    let mut keys: Vec<TiKey> = Vec::new();
    for run in runs {
        match call.command(Command::Clear(Clear { dry_run, ..clear_of(body, run) })).await {
            Ok(Reply::Tis(found)) => keys.extend(found),
            Ok(_) => return Err(Error::Internal("clearing was answered without task instances".into())),
            // A task that this run's version does not have.
            Err(Error::Status(axum::http::StatusCode::NOT_FOUND, _)) if runs.len() > 1 => {}
            Err(error) if runs.len() > 1 => return Err(error.of(&run.run_id)),
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

fn clear_of(body: &ClearBody, run: &RunRow) -> Clear {
    let marker = |marker: &Marker| -> (TaskId, Option<MapIndex>) {
        match marker {
            Marker::Task(task) => (task.as_str().into(), None),
            Marker::Copy(task, index) => (task.as_str().into(), Some(MapIndex(*index))),
        }
    };
    Clear {
        run: run.key,
        tasks: body.task_ids.iter().flatten().map(marker).collect(),
        upstream: body.include_upstream,
        downstream: body.include_downstream,
        only_failed: body.only_failed,
        only_running: body.only_running,
        reset_run: body.reset_dag_runs,
        latest: body.run_on_latest_version == Some(true),
        dry_run: body.dry_run,
    }
}

async fn refuse_running(call: &Call, dag_id: &str, runs: &[RunRow]) -> Result<(), Error> {
    let query = TiQuery {
        namespace: call.namespace.clone(),
        runs: runs.iter().map(|run| run.key).collect(),
        states: vec![TiStateName::Running, TiStateName::Paused],
        window: Window { limit: 1, count_to: 1, ..Window::default() },
        ..TiQuery::default()
    };
    if runs.is_empty() || call.store().tis(&query).await?.total == 0 {
        return Ok(());
    }
    Err(Error::conflict(format!("task instances of `{dag_id}` are running; stop them, or let them end")))
}

/// A run, and with it those of the same DAG with an earlier or a later logical date.
pub(super) async fn runs_around(
    call: &Call,
    run: &RunListing,
    past: bool,
    future: bool,
) -> Result<Vec<RunRow>, Error> {
    if !past && !future {
        return Ok(vec![run.row.clone()]);
    }
    let Some(date) = run.row.logical_date else {
        return Err(Error::bad_request(
            "Cannot use include_past or include_future with no logical_date(e.g. manually or asset-triggered).",
        ));
    };
    let bounds = Bounds { gte: (!past).then_some(date), lte: (!future).then_some(date), ..Bounds::default() };
    runs_between(call, &run.row.dag.dag_id, bounds).await
}

async fn runs_between(
    call: &Call,
    dag_id: &str,
    logical_date: Bounds<Timestamp>,
) -> Result<Vec<RunRow>, Error> {
    let query = RunQuery {
        namespace: call.namespace.clone(),
        dag_id: TextFilter::exactly(dag_id),
        logical_date,
        window: Window::ALL,
        ..RunQuery::default()
    };
    Ok(call.store().runs(&query).await?.rows.into_iter().map(|listing| listing.row).collect())
}
