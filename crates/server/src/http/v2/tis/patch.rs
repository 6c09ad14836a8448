//! Marking task instances, and their notes.

use std::collections::BTreeSet;

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_core::{
    End, MapIndex, TaskIx, TiKey,
    input::{Command, Reply},
};
use updraft_store::{Note, RunListing, TextFilter, TiField, TiListing, TiQuery, Window};
use utoipa::ToSchema;

use super::super::super::{Body, Error, Path, Writes, body::given, call::Call, error::Invalid, query::query};
use super::{
    super::{runs::check_note, runs_around},
    TiResponse,
    list::TiCollectionResponse,
};
use crate::leader::now;

/// What of task instances can be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PatchTaskInstanceBody)]
pub(super) struct TiPatchBody {
    /// `success`, `failed` or `skipped`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    new_state: Option<Option<String>>,
    /// Up to 1000 letters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    note: Option<Option<String>>,
    /// Also all tasks before it.
    #[serde(default)]
    include_upstream: bool,
    /// Also all tasks after it.
    #[serde(default)]
    include_downstream: bool,
    /// Also in later runs.
    #[serde(default)]
    include_future: bool,
    /// Also in earlier runs.
    #[serde(default)]
    include_past: bool,
}

query! {
    /// Which copy, and which fields of a body count.
    PatchQuery {
        /// The copy of a mapped task; all of them where none is named.
        map_index: Option<i32>,
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

query! {
    /// Which fields of a body count.
    Mask {
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

/// What a patch asks for, checked.
pub(super) struct Patch {
    state: Option<End>,
    note: Option<Option<String>>,
    body: TiPatchBody,
}

impl Patch {
    pub fn of(mut body: TiPatchBody, mask: &[String]) -> Result<Self, Error> {
        let counts = |field: &str| mask.is_empty() || mask.iter().any(|it| it == field);
        let state = match body.new_state.take() {
            None => None,
            Some(None) => {
                return Err(
                    Invalid::value("new_state", "'new_state' should not be empty", Value::Null).into()
                );
            }
            Some(Some(name)) => Some(match name.to_lowercase().as_str() {
                "success" => End::Success,
                "failed" => End::Failed,
                "skipped" => End::Skipped,
                other => {
                    let msg = format!("'{other}' is not one of ['success', 'failed', 'skipped']");
                    return Err(Invalid::value("new_state", msg, name.as_str()).into());
                }
            }),
        };
        let note = body.note.take().filter(|_| counts("note"));
        let note = note.map(check_note).transpose()?;
        Ok(Self { state: state.filter(|_| counts("new_state")), note, body })
    }
}

/// Marks a task instance, or all copies of a mapped task, and writes notes.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    tag = "Task Instance", params(PatchQuery), request_body = TiPatchBody,
    responses((status = 200, body = TiCollectionResponse), Writes),
)]
pub(super) async fn patch_task_instance(
    call: Call,
    Path(name): Path<(String, String, String)>,
    query: PatchQuery,
    Body(body): Body<TiPatchBody>,
) -> Result<Json<TiCollectionResponse>, Error> {
    let patch = Patch::of(body, &query.update_mask)?;
    apply(&call, &name, query.map_index, patch, false).await
}

/// Marks a copy of a mapped task, and writes its note.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    tag = "Task Instance", params(Mask), request_body = TiPatchBody,
    responses((status = 200, body = TiCollectionResponse), Writes),
)]
pub(super) async fn patch_task_instance_by_map_index(
    call: Call,
    Path((dag_id, dag_run_id, task_id, map_index)): Path<(String, String, String, i32)>,
    mask: Mask,
    Body(body): Body<TiPatchBody>,
) -> Result<Json<TiCollectionResponse>, Error> {
    let patch = Patch::of(body, &mask.update_mask)?;
    apply(&call, &(dag_id, dag_run_id, task_id), Some(map_index), patch, false).await
}

/// Which task instances it would be.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
    tag = "Task Instance", params(PatchQuery), request_body = TiPatchBody,
    responses((status = 200, body = TiCollectionResponse), Writes),
)]
pub(super) async fn patch_task_instance_dry_run(
    call: Call,
    Path(name): Path<(String, String, String)>,
    query: PatchQuery,
    Body(body): Body<TiPatchBody>,
) -> Result<Json<TiCollectionResponse>, Error> {
    let patch = Patch::of(body, &query.update_mask)?;
    apply(&call, &name, query.map_index, patch, true).await
}

/// Which task instances it would be.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
    tag = "Task Instance", params(Mask), request_body = TiPatchBody,
    responses((status = 200, body = TiCollectionResponse), Writes),
)]
pub(super) async fn patch_task_instance_dry_run_by_map_index(
    call: Call,
    Path((dag_id, dag_run_id, task_id, map_index)): Path<(String, String, String, i32)>,
    mask: Mask,
    Body(body): Body<TiPatchBody>,
) -> Result<Json<TiCollectionResponse>, Error> {
    let patch = Patch::of(body, &mask.update_mask)?;
    apply(&call, &(dag_id, dag_run_id, task_id), Some(map_index), patch, true).await
}

pub(super) async fn apply(
    call: &Call,
    name: &(String, String, String),
    map_index: Option<i32>,
    patch: Patch,
    dry_run: bool,
) -> Result<Json<TiCollectionResponse>, Error> {
    let (_, _, task_id) = name;
    let (run, named) = named(call, name, map_index).await?;
    let mut shown: Vec<TiKey> = named.iter().map(|listing| listing.row.key).collect();
    if let (Some(note), false) = (&patch.note, dry_run) {
        for listing in &named {
            put_note(call, listing, note.clone()).await?;
        }
    }
    if let Some(state) = patch.state {
        let mut marked = Vec::new();
        for run in runs_around(call, &run, patch.body.include_past, patch.body.include_future).await? {
            let version = call.version(&run.dag, run.version).await?;
            let mut relatives: BTreeSet<TaskIx> = BTreeSet::new();
            // In another version the task may have another place, or none.
            let Some(here) = version.dag.find(task_id) else { continue };
            for (wanted, upstream) in
                [(patch.body.include_upstream, true), (patch.body.include_downstream, false)]
            {
                if wanted {
                    let all = version.dag.relatives(&[here], upstream).into_iter();
                    // A teardown has its own work to do, whatever becomes of what it tears down (as in Airflow).
                    relatives.extend(all.filter(|ix| upstream || !version.dag.is_teardown(*ix)));
                }
            }
            relatives.remove(&here);
            let mut tis = instances(call, run.key, std::slice::from_ref(task_id), map_index).await?;
            let names: Vec<String> =
                relatives.iter().map(|ix| version.dag.task(*ix).task_id.to_string()).collect();
            if !names.is_empty() {
                tis.extend(instances(call, run.key, &names, None).await?);
            }
            let keys: Vec<TiKey> = tis.iter().map(|listing| listing.row.key).collect();
            marked.extend(mark(call, &tis, keys, state, dry_run).await?);
        }
        if marked.is_empty() && !dry_run {
            let state = json!(state);
            let state = state.as_str().unwrap_or_default();
            return Err(Error::conflict(format!("Task id {task_id} is already in {state} state")));
        }
        shown = marked;
    }
    Ok(Json(TiCollectionResponse::all(TiResponse::of_keys(call, &shown).await?)))
}

/// The run, and of it the instances of a task, or the copy that is meant.
pub(super) async fn named(
    call: &Call,
    (dag_id, run_id, task_id): &(String, String, String),
    map_index: Option<i32>,
) -> Result<(RunListing, Vec<TiListing>), Error> {
    let run = call.run(dag_id, run_id).await?;
    let version = call.version(&run.row.dag, run.row.version).await?;
    if version.dag.find(task_id).is_none() {
        return Err(Error::not_found(format!("Task '{task_id}' not found in Dag '{dag_id}'")));
    }
    let named = instances(call, run.row.key, std::slice::from_ref(task_id), map_index).await?;
    if named.is_empty() {
        let copy = map_index.map_or("None".to_owned(), |index| index.to_string());
        return Err(Error::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and \
             map_index: `{copy}` was not found"
        )));
    }
    Ok((run, named))
}

/// Marks task instances of one run; returns those that were in another state before.
async fn mark(
    call: &Call,
    tis: &[TiListing],
    keys: Vec<TiKey>,
    state: End,
    dry_run: bool,
) -> Result<Vec<TiKey>, Error> {
    if dry_run {
        let changes = tis.iter().filter(|listing| listing.row.state != state.into());
        return Ok(changes.map(|listing| listing.row.key).collect());
    }
    match call.command(Command::Mark { tis: keys, state }).await? {
        Reply::Tis(marked) => Ok(marked),
        _ => Err(Error::Internal("a mark was answered without task instances".into())),
    }
}

/// The instances of these tasks in a run, or one copy of them.
async fn instances(
    call: &Call,
    run: updraft_core::RunKey,
    tasks: &[String],
    map_index: Option<i32>,
) -> Result<Vec<TiListing>, Error> {
    let query = TiQuery {
        namespace: call.namespace.clone(),
        runs: vec![run],
        task_id: TextFilter { exactly: tasks.to_vec(), ..TextFilter::default() },
        map_indexes: map_index.into_iter().map(MapIndex).collect(),
        order: vec![updraft_store::Order { by: TiField::MapIndex, descending: false }],
        window: Window::ALL,
        ..TiQuery::default()
    };
    Ok(call.store().tis(&query).await?.rows)
}

/// Writes, or takes away, the note of a task instance.
pub(in super::super) async fn put_note(
    call: &Call,
    listing: &TiListing,
    text: Option<String>,
) -> Result<(), Error> {
    let note = text.map(|text| Note { text, user: call.who.name.to_string(), at: now() });
    let detail = json!({
        "task_id": &listing.row.task_id,
        "map_index": listing.row.key.map_index,
        "note": note.as_ref().map(|note| &note.text),
    });
    let mut audit = call.audit("note", detail);
    (audit.dag, audit.run) = (Some(listing.dag.dag_id.clone()), Some(listing.row.key.run));
    call.store().put_ti_note(listing.row.key, note.as_ref(), &audit).await?;
    Ok(())
}
