//! Runs made, changed, cleared and deleted.

use std::sync::Arc;

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header::REFERER},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use updraft_core::{
    RunState, TiKey,
    input::{Clear, Command, Reply, Trigger},
    record::RunType,
};
use updraft_store::{Note, RunListing};
use utoipa::ToSchema;

use super::super::super::{
    Body, Error, Path, Writes, body::given, call::Call, error::Invalid, query::query, time::Time,
};
use super::{
    super::{clear::ClearedResponse, tis::TiResponse},
    RunResponse,
};
use crate::leader::now;

/// A note may have so many letters.
const LONGEST_NOTE: usize = 1000;

/// A run that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerDAGRunPostBody)]
pub(super) struct TriggerBody {
    /// Its name; made of its type and time where none is given.
    #[serde(default)]
    dag_run_id: Option<String>,
    #[serde(default)]
    data_interval_start: Option<Time>,
    #[serde(default)]
    data_interval_end: Option<Time>,
    /// Has to be given, and may be `null`.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    logical_date: Option<Time>,
    /// It does not begin before this; now, where nothing is given.
    #[serde(default)]
    run_after: Option<Time>,
    /// Its parameters.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    conf: Option<Map<String, Value>>,
    #[serde(default)]
    note: Option<String>,
    /// Updraft has no partitions: only `null` is taken.
    #[serde(default)]
    partition_key: Option<String>,
}

/// Makes a run.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/dagRuns", tag = "DagRun", request_body = TriggerBody,
    responses((status = 200, body = RunResponse), Writes),
)]
pub(super) async fn trigger_dag_run(
    call: Call,
    Path(dag_id): Path<String>,
    headers: HeaderMap,
    Body(body): Body<TriggerBody>,
) -> Result<Json<RunResponse>, Error> {
    let dag = call.store().dag(&call.dag_key(&dag_id)).await?.filter(|dag| !dag.row.is_stale);
    let dag = dag.ok_or_else(|| Error::no_dag(&dag_id))?;
    if dag.has_import_error {
        let detail = format!("Dag with dag_id: '{dag_id}' has import errors and cannot be triggered");
        return Err(Error::bad_request(detail));
    }
    if body.partition_key.is_some() {
        let detail = format!("Dag with dag_id: '{dag_id}' is not partitioned: leave partition_key out");
        return Err(Error::bad_request(detail));
    }
    let interval = match (body.data_interval_start, body.data_interval_end) {
        (Some(start), Some(end)) if start.0 > end.0 => {
            return Err(Error::bad_request("data_interval_start is after data_interval_end"));
        }
        (Some(start), Some(end)) => Some((start.0, end.0)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let msg = "Either both data_interval_start and data_interval_end must be provided or both must \
                       be None";
            return Err(Invalid::value("data_interval_start", msg, Value::Null).into());
        }
    };
    let note = check_note(body.note)?;
    let logical_date = body.logical_date.map(|time| time.0);
    call.refuse_taken_date(&dag.row.key, logical_date).await?;
    let conf = body.conf.unwrap_or_default();
    call.refuse_bad_params(&dag.row, &conf).await?;
    let trigger = Trigger {
        dag: dag.row.key,
        run_id: body.dag_run_id.filter(|id| !id.is_empty()).map(Into::into),
        logical_date,
        // As Airflow: an interval counts only beside a logical date.
        data_interval: interval.filter(|_| logical_date.is_some()),
        run_after: body.run_after.map(|time| time.0),
        conf: Arc::new(Value::Object(conf)),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: if headers.contains_key(REFERER) { "ui" } else { "rest_api" },
    };
    let run = made_run(&call, trigger).await?;
    let run = match note {
        Some(note) => put_note(&call, run, Some(note)).await?,
        None => run,
    };
    Ok(Json(RunResponse::of(&call, &run).await?))
}

/// Has the leader make a run, and reads it.
pub(in super::super) async fn made_run(call: &Call, trigger: Trigger) -> Result<RunListing, Error> {
    let Reply::Run(key, _) = call.command(Command::Trigger(trigger)).await? else {
        return Err(Error::Internal("a trigger was answered without a run".into()));
    };
    let gone = || Error::not_found("the run was deleted as soon as it was made");
    call.store().run(key).await?.ok_or_else(gone)
}

/// A note that is not too long; an empty one is none.
pub(in super::super) fn check_note(note: Option<String>) -> Result<Option<String>, Error> {
    match note {
        Some(note) if note.chars().count() > LONGEST_NOTE => {
            let msg = format!("String should have at most {LONGEST_NOTE} characters");
            Err(Invalid::body("note", "string_too_long", msg, note.into()).into())
        }
        note => Ok(note.filter(|note| !note.is_empty())),
    }
}

/// Writes a run's note and reads the run again.
async fn put_note(call: &Call, run: RunListing, text: Option<String>) -> Result<RunListing, Error> {
    let note = text.map(|text| Note { text, user: call.who.name.to_string(), at: now() });
    let mut audit = call.audit("note", json!({ "note": note.as_ref().map(|note| &note.text) }));
    (audit.dag, audit.run) = (Some(run.row.dag.dag_id.clone()), Some(run.row.key));
    call.store().put_run_note(run.row.key, note.as_ref(), &audit).await?;
    Ok(RunListing { note, ..run })
}

/// What of a run can be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DAGRunPatchBody)]
pub(super) struct RunPatchBody {
    /// `queued`, `success` or `failed`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub state: Option<RunState>,
    /// Up to 1000 letters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub note: Option<Option<String>>,
}

query! {
    /// Which fields of a body count.
    Mask {
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

/// Marks a run, or writes its note.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", tag = "DagRun", params(Mask),
    request_body = RunPatchBody, responses((status = 200, body = RunResponse), Writes),
)]
pub(super) async fn patch_dag_run(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
    mask: Mask,
    Body(body): Body<RunPatchBody>,
) -> Result<Json<RunResponse>, Error> {
    change(&call, (&dag_id, &dag_run_id), body, &mask.update_mask).await?;
    let run = call.run(&dag_id, &dag_run_id).await?;
    Ok(Json(RunResponse::of(&call, &run).await?))
}

pub(super) async fn change(
    call: &Call,
    (dag_id, run_id): (&str, &str),
    body: RunPatchBody,
    mask: &[String],
) -> Result<(), Error> {
    let run = call.run(dag_id, run_id).await?;
    let key = run.row.key;
    let counts = |field: &str| mask.is_empty() || mask.iter().any(|it| it == field);
    if body.state == Some(RunState::Running) {
        let msg = "Input should be 'queued', 'success' or 'failed'";
        return Err(Invalid::body("state", "enum", msg, "running".into()).into());
    }
    // The note first, so that whoever hears of the state finds it.
    if let Some(note) = body.note.filter(|_| counts("note")) {
        put_note(call, run, check_note(note)?).await?;
    }
    if let Some(state) = body.state.filter(|_| counts("state")) {
        call.command(Command::MarkRun { run: key, state }).await?;
    }
    Ok(())
}

/// Deletes a run with all that is its. One that is running has to be marked first.
#[utoipa::path(
    delete, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", tag = "DagRun",
    responses((status = 204), Writes),
)]
pub(super) async fn delete_dag_run(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    delete(&call, &dag_id, &dag_run_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(call: &Call, dag_id: &str, run_id: &str) -> Result<(), Error> {
    let run = call.run(dag_id, run_id).await?;
    if run.row.state == RunState::Running {
        return Err(Error::conflict(format!(
            "The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` cannot be deleted in running state"
        )));
    }
    call.command(Command::DeleteRun(run.row.key)).await?;
    Ok(())
}

/// How a run is to begin anew.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DAGRunClearBody)]
pub(super) struct RunClearBody {
    /// Only say which task instances it would be; the default.
    #[serde(default = "yes")]
    pub dry_run: bool,
    /// Only what failed.
    #[serde(default)]
    pub only_failed: bool,
    /// Only `false` is taken: what is new in a run that goes on with a later version begins with the rest.
    #[serde(default)]
    pub only_new: bool,
    /// It goes on with the DAG as it is now, where its tasks are those that it began with.
    #[serde(default)]
    pub run_on_latest_version: Option<bool>,
    #[serde(default)]
    pub note: Option<String>,
}

pub(in super::super) fn yes() -> bool {
    true
}

/// Has a run begin anew.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear", tag = "DagRun",
    request_body = RunClearBody,
    responses(
        (status = 200, description = "The task instances it would be, or the run", body = RunResponse), Writes
    ),
)]
pub(super) async fn clear_dag_run(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
    Body(body): Body<RunClearBody>,
) -> Result<Response, Error> {
    let keys = clear(&call, (&dag_id, &dag_run_id), &body).await?;
    if body.dry_run {
        let task_instances = TiResponse::of_keys(&call, &keys).await?;
        return Ok(Json(ClearedResponse::of(task_instances)).into_response());
    }
    let run = call.run(&dag_id, &dag_run_id).await?;
    Ok(Json(RunResponse::of(&call, &run).await?).into_response())
}

/// Has a run begin anew, or says which task instances it would be; returns these.
pub(super) async fn clear(
    call: &Call,
    (dag_id, run_id): (&str, &str),
    body: &RunClearBody,
) -> Result<Vec<TiKey>, Error> {
    let run = call.run(dag_id, run_id).await?;
    if body.only_new {
        return Err(Error::bad_request(
            "what is new in a run begins with the rest of it: leave only_new out, and see run_on_latest_version",
        ));
    }
    let note = check_note(body.note.clone())?;
    let clear = Clear {
        run: run.row.key,
        tasks: Vec::new(),
        upstream: false,
        downstream: false,
        only_failed: body.only_failed,
        only_running: false,
        reset_run: true,
        latest: body.run_on_latest_version == Some(true),
        dry_run: body.dry_run,
    };
    let Reply::Tis(keys) = call.command(Command::Clear(clear)).await? else {
        return Err(Error::Internal("clearing was answered without task instances".into()));
    };
    if note.is_some() && !body.dry_run {
        put_note(call, run, note).await?;
    }
    Ok(keys)
}
