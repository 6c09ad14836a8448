//! Backfills: `/backfills`.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use updraft_core::{
    RunState, TaskId,
    input::{Command, CommandError},
};
use updraft_store::{
    BackfillId, BackfillQuery, BackfillRow, BackfillRunRow, NewBackfill, Progress, Reprocess, Window,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Reads, Shared, Writes,
    call::Call,
    error::Invalid,
    query::{order, query},
    time::Time,
};
use crate::{
    backfills::{Action, Planned, Unplanned, Wanted, plan},
    leader::{Refusal, now},
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list_backfills, create_backfill))
        .routes(routes!(create_backfill_dry_run))
        .routes(routes!(get_backfill))
        .routes(routes!(pause_backfill))
        .routes(routes!(unpause_backfill))
        .routes(routes!(cancel_backfill))
}

/// A backfill that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackfillPostBody)]
pub(in super::super) struct BackfillBody {
    pub dag_id: String,
    /// No logical date before this.
    from_date: Time,
    /// No logical date after this.
    to_date: Time,
    /// The latest first.
    #[serde(default)]
    run_backwards: bool,
    /// The runs' parameters.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    dag_run_conf: Option<Map<String, Value>>,
    /// What becomes of runs that are there: `none` leaves them alone, `failed` has those begin anew that
    /// failed, `completed` all that are over.
    #[serde(default = "none")]
    reprocess_behavior: String,
    /// So many of its runs at most are not over at a time. The DAG's own limit counts besides.
    #[serde(default = "ten")]
    max_active_runs: u32,
    /// New runs are on the latest version, and runs that begin anew stay on theirs.
    #[serde(default)]
    run_on_latest_version: Option<bool>,
    /// Updraft's own: only these tasks.
    #[serde(default)]
    task_ids: Vec<String>,
}

fn none() -> String {
    Reprocess::None.as_str().into()
}

fn ten() -> u32 {
    10
}

/// A backfill.
#[derive(Serialize, ToSchema)]
#[schema(as = BackfillResponse)]
pub(in super::super) struct BackfillResponse {
    id: i64,
    dag_id: String,
    from_date: Time,
    to_date: Time,
    #[schema(value_type = Option<Object>)]
    dag_run_conf: Value,
    is_paused: bool,
    reprocess_behavior: &'static str,
    max_active_runs: u32,
    created_at: Time,
    completed_at: Option<Time>,
    updated_at: Time,
    dag_display_name: String,
}

impl From<BackfillRow> for BackfillResponse {
    fn from(row: BackfillRow) -> Self {
        let BackfillRow { id, backfill, created_at, updated_at, completed_at } = row;
        Self {
            id: id.0,
            dag_id: backfill.dag.dag_id.to_string(),
            from_date: Time(backfill.from_date),
            to_date: Time(backfill.to_date),
            dag_run_conf: (*backfill.conf).clone(),
            is_paused: backfill.is_paused,
            reprocess_behavior: backfill.reprocess.as_str(),
            max_active_runs: backfill.max_active_runs,
            created_at: Time(created_at),
            completed_at: completed_at.map(Time),
            updated_at: Time(updated_at),
            dag_display_name: backfill.dag.dag_id.to_string(),
        }
    }
}

/// Backfills.
#[derive(Serialize, ToSchema)]
struct BackfillCollectionResponse {
    backfills: Vec<BackfillResponse>,
    total_entries: u64,
}

query! {
    /// Which backfills.
    BackfillsQuery {
        window: Window,
        /// Of this DAG.
        dag_id: Option<String>,
        /// `id`, a dash before it for the latest first.
        order_by: Vec<String>,
    }
}

/// A DAG's backfills.
#[utoipa::path(
    get, path = "/api/v2/backfills", tag = "Backfill", params(BackfillsQuery),
    responses((status = 200, body = BackfillCollectionResponse), Reads),
)]
async fn list_backfills(
    call: Call,
    query: BackfillsQuery,
) -> Result<Json<BackfillCollectionResponse>, Error> {
    let Some(dag_id) = &query.dag_id else {
        return Err(Invalid::query("dag_id", "missing", "Field required", "").into());
    };
    let order = order(&query.order_by, &[("id", ())])?;
    let asked = BackfillQuery {
        namespace: call.namespace.clone(),
        dag_id: Some(dag_id.as_str().into()),
        is_completed: None,
        window: Window::ALL,
    };
    // A DAG has few, and they are ordered here.
    let mut page = call.store().backfills(&asked).await?;
    if !order.first().is_some_and(|order| order.descending) {
        page.rows.reverse();
    }
    let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
    let backfills = page.rows.into_iter().skip(offset).take(limit).map(Into::into).collect();
    Ok(Json(BackfillCollectionResponse { backfills, total_entries: page.total }))
}

/// One backfill.
#[utoipa::path(
    get, path = "/api/v2/backfills/{backfill_id}", tag = "Backfill",
    responses((status = 200, body = BackfillResponse), Reads),
)]
async fn get_backfill(call: Call, Path(id): Path<i64>) -> Result<Json<BackfillResponse>, Error> {
    Ok(Json(find(&call, id).await?.into()))
}

/// A backfill, by its number.
pub(in super::super) async fn find(call: &Call, id: i64) -> Result<BackfillRow, Error> {
    let found = call.store().backfill(&call.namespace, BackfillId(id)).await?;
    found.ok_or_else(|| Error::not_found("Backfill not found"))
}

/// What is wanted, as it can be kept, with what becomes of each date.
pub(in super::super) async fn planned(
    call: &Call,
    body: BackfillBody,
) -> Result<(NewBackfill, Vec<Planned>), Error> {
    let BackfillBody { dag_id, from_date, to_date, run_backwards, dag_run_conf, max_active_runs, .. } = body;
    let dag = call.store().dag(&call.dag_key(&dag_id)).await?.filter(|dag| !dag.row.is_stale);
    let dag = dag.ok_or_else(|| Error::not_found(format!("Could not find dag {dag_id}")))?.row;
    let found = Reprocess::ALL.into_iter().find(|known| known.as_str() == body.reprocess_behavior);
    let reprocess = found.ok_or_else(|| {
        let msg = "Input should be 'failed', 'completed' or 'none'";
        Invalid::body("reprocess_behavior", "enum", msg, body.reprocess_behavior.into())
    })?;
    if max_active_runs == 0 {
        let msg = "Input should be greater than 0: with none at a time it would never end";
        return Err(Invalid::body("max_active_runs", "greater_than", msg, 0.into()).into());
    }
    if body.run_on_latest_version == Some(true) && reprocess != Reprocess::None {
        return Err(Error::bad_request(
            "a run that begins anew stays on the version it began with: leave run_on_latest_version out",
        ));
    }
    let tasks: Vec<TaskId> = body.task_ids.into_iter().map(Into::into).collect();
    let conf = dag_run_conf.unwrap_or_default();
    let wanted = Wanted {
        from_date: from_date.0,
        to_date: to_date.0,
        run_backwards,
        reprocess,
        conf: &conf,
        tasks: &tasks,
    };
    let version = call.version(&dag.key, dag.version).await?;
    let planned =
        plan(call.store(), &version.dag, &dag.key, &wanted, now()).await.map_err(|error| match error {
            Unplanned::Invalid(why) => Error::unprocessable(why),
            Unplanned::Store(error) => error.into(),
        })?;
    let backfill = NewBackfill {
        dag: dag.key,
        from_date: from_date.0,
        to_date: to_date.0,
        reprocess,
        run_backwards,
        max_active_runs,
        conf: Arc::new(Value::Object(conf)),
        tasks,
        account: call.who.name.to_string(),
        is_paused: false,
    };
    Ok((backfill, planned))
}

/// Makes a backfill. Its runs are made a few at a time, for as long as that takes.
#[utoipa::path(
    post, path = "/api/v2/backfills", tag = "Backfill", request_body = BackfillBody,
    responses((status = 200, body = BackfillResponse), Writes),
)]
async fn create_backfill(
    call: Call,
    Body(body): Body<BackfillBody>,
) -> Result<Json<BackfillResponse>, Error> {
    let (backfill, planned) = planned(&call, body).await?;
    if planned.is_empty() {
        return Err(Error::unprocessable(format!(
            "No runs to create for Dag {} in the range [{}, {}]",
            backfill.dag.dag_id, backfill.from_date, backfill.to_date
        )));
    }
    // What each is to become is decided when its time comes: it may have a run by then.
    let dates = (0..).zip(planned).map(|(ix, planned)| BackfillRunRow {
        ix,
        logical_date: planned.tick.logical_date(),
        data_interval: (planned.tick.data_interval.start, planned.tick.data_interval.end),
        progress: Progress::Waiting,
        run: None,
        reason: None,
    });
    let mut audit =
        call.audit("create_backfill", json!({ "from": backfill.from_date, "to": backfill.to_date }));
    audit.dag = Some(backfill.dag.dag_id.clone());
    let dates: Vec<_> = dates.collect();
    let made = call.store().create_backfill(&backfill, &dates, &audit).await?;
    let dag_id = &backfill.dag.dag_id;
    let taken = || Error::conflict(format!("There is already a running backfill for dag {dag_id}"));
    Ok(Json(find(&call, made.ok_or_else(taken)?.0).await?.into()))
}

/// A date that would get a run.
#[derive(Serialize, ToSchema)]
struct DryRunBackfillResponse {
    logical_date: Option<Time>,
    partition_key: Option<String>,
    partition_date: Option<Time>,
}

/// Dates that would get a run.
#[derive(Serialize, ToSchema)]
struct DryRunBackfillCollectionResponse {
    backfills: Vec<DryRunBackfillResponse>,
    total_entries: u64,
}

/// Says which dates would get a run. `/api/v1/backfills/preview` says more.
#[utoipa::path(
    post, path = "/api/v2/backfills/dry_run", tag = "Backfill", request_body = BackfillBody,
    responses((status = 200, body = DryRunBackfillCollectionResponse), Writes),
)]
async fn create_backfill_dry_run(
    call: Call,
    Body(body): Body<BackfillBody>,
) -> Result<Json<DryRunBackfillCollectionResponse>, Error> {
    let (_, planned) = planned(&call, body).await?;
    let gets_one = |planned: &Planned| !matches!(planned.action, Action::PassOver(_));
    let date = |planned: Planned| DryRunBackfillResponse {
        logical_date: Some(Time(planned.tick.logical_date())),
        partition_key: None,
        partition_date: None,
    };
    let backfills: Vec<_> = planned.into_iter().filter(gets_one).map(date).collect();
    Ok(Json(DryRunBackfillCollectionResponse { total_entries: backfills.len() as u64, backfills }))
}

/// Pauses a backfill: it makes no more runs for now.
#[utoipa::path(
    put, path = "/api/v2/backfills/{backfill_id}/pause", tag = "Backfill",
    responses((status = 200, body = BackfillResponse), Writes),
)]
async fn pause_backfill(call: Call, Path(id): Path<i64>) -> Result<Json<BackfillResponse>, Error> {
    set_paused(&call, id, true).await
}

/// Lets a backfill go on.
#[utoipa::path(
    put, path = "/api/v2/backfills/{backfill_id}/unpause", tag = "Backfill",
    responses((status = 200, body = BackfillResponse), Writes),
)]
async fn unpause_backfill(call: Call, Path(id): Path<i64>) -> Result<Json<BackfillResponse>, Error> {
    set_paused(&call, id, false).await
}

async fn set_paused(call: &Call, id: i64, paused: bool) -> Result<Json<BackfillResponse>, Error> {
    let row = find_open(call, id).await?;
    let mut audit = call.audit("pause_backfill", json!({ "backfill": id, "paused": paused }));
    audit.dag = Some(row.backfill.dag.dag_id);
    call.store().pause_backfill(row.id, paused, &audit).await?;
    Ok(Json(find(call, id).await?.into()))
}

/// A backfill that is not over.
async fn find_open(call: &Call, id: i64) -> Result<BackfillRow, Error> {
    let row = find(call, id).await?;
    match row.completed_at {
        None => Ok(row),
        Some(_) => Err(Error::conflict("Backfill is already completed.")),
    }
}

/// Ends a backfill: it makes no more runs, and those of its runs that wait to begin are marked failed. What
/// runs goes on.
#[utoipa::path(
    put, path = "/api/v2/backfills/{backfill_id}/cancel", tag = "Backfill",
    responses((status = 200, body = BackfillResponse), Writes),
)]
async fn cancel_backfill(call: Call, Path(id): Path<i64>) -> Result<Json<BackfillResponse>, Error> {
    let row = find_open(&call, id).await?;
    let mut audit = call.audit("cancel_backfill", json!({ "backfill": id }));
    audit.dag = Some(row.backfill.dag.dag_id.clone());
    // Paused first, so that no more runs are made; over last, so that who asks again after a failure here is heard.
    call.store().pause_backfill(row.id, true, &audit).await?;
    for date in call.store().backfill_runs(row.id, Window::ALL).await?.rows {
        let (Some(run), Some((_, RunState::Queued))) = (date.row.run, date.run) else { continue };
        let mark = Command::MarkRun { run, state: RunState::Failed };
        match call.shared.leader.command(call.who.name.clone(), mark).await {
            // It was deleted, or is over, in this instant.
            Ok(_) | Err(Refusal::Command(CommandError::NotFound(_) | CommandError::Conflict(_))) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    call.store().cancel_backfill(row.id, "the backfill was cancelled", &audit).await?;
    Ok(Json(find(&call, id).await?.into()))
}
