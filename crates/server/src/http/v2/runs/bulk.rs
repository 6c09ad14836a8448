//! Many runs changed, deleted or cleared by one request.

use std::fmt;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::Value;
use updraft_core::{RunState, TiKey};
use utoipa::ToSchema;

use super::{
    super::{
        super::{Body, Error, Path, Writes, body::given, call::Call},
        bulk::{self, BulkBody, BulkResponse, InBulk, Unnamed, not_supported, text, text_if_given},
        clear::ClearedResponse,
        tis::TiResponse,
    },
    RunResponse,
    change::{self, RunClearBody, RunPatchBody, yes},
    list::RunCollectionResponse,
};

/// The DAG that stands for any: each run names its own.
const ANY: &str = "~";

const NO_DAG: &str = "with `~` in the path, each run names its DAG in dag_id";

/// A run by the names of its DAG and of itself.
#[derive(Clone, PartialEq, Eq)]
struct RunName {
    dag_id: String,
    run_id: String,
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.dag_id, self.run_id)
    }
}

/// A run in a body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkDAGRunBody)]
struct RunBody {
    dag_run_id: String,
    /// The one of the path where none is given.
    #[serde(default)]
    dag_id: Option<String>,
    /// `queued`, `success` or `failed`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    state: Option<RunState>,
    /// Up to 1000 letters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    note: Option<Option<String>>,
}

/// The DAG of a run: its own, or that of the path.
fn dag_of(of_path: &str, own: Option<&str>) -> Option<String> {
    own.or(Some(of_path)).filter(|dag_id| *dag_id != ANY).map(Into::into)
}

/// Runs of the DAG in the path, or of any.
struct Runs(String);

impl InBulk for Runs {
    const MANY: &'static str = "runs";
    type Name = RunName;
    type New = RunBody;
    type Change = RunBody;

    fn name(&self, entity: &Value) -> Result<RunName, Unnamed> {
        let run_id = entity.as_str().map_or_else(|| text(entity, "dag_run_id"), Ok)?.to_owned();
        let dag_id = dag_of(&self.0, text_if_given(entity, "dag_id")?);
        Ok(RunName { dag_id: dag_id.ok_or(Unnamed("dag_id", "missing", NO_DAG))?, run_id })
    }

    async fn is_there(&self, call: &Call, name: &RunName) -> Result<bool, Error> {
        let key = call.store().find_run(&call.dag_key(&name.dag_id), &name.run_id.as_str().into()).await?;
        Ok(key.is_some())
    }

    async fn create(&self, _: &Call, _: RunBody) -> Result<(), Error> {
        Err(not_supported("runs are not made in bulk: POST to dagRuns for each"))
    }

    async fn change(&self, call: &Call, name: &RunName, body: RunBody, mask: &[String]) -> Result<(), Error> {
        let body = RunPatchBody { state: body.state, note: body.note };
        change::change(call, (&name.dag_id, &name.run_id), body, mask).await
    }

    async fn delete(&self, call: &Call, name: &RunName) -> Result<(), Error> {
        change::delete(call, &name.dag_id, &name.run_id).await
    }
}

/// Marks runs, writes their notes, and deletes runs. `~` for the DAG where each run names its own.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns", tag = "DagRun", request_body = BulkBody,
    responses((status = 200, body = BulkResponse), Writes),
)]
pub(super) async fn bulk_dag_runs(
    call: Call,
    Path(dag_id): Path<String>,
    Body(body): Body<BulkBody>,
) -> Result<Json<BulkResponse>, Error> {
    Ok(Json(bulk::obey(&Runs(dag_id), &call, body).await?))
}

/// Which runs are to begin anew, and how.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkDAGRunClearBody)]
pub(super) struct RunsClearBody {
    dag_runs: Vec<RunBody>,
    /// Only say which task instances it would be; the default.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Only what failed.
    #[serde(default)]
    only_failed: bool,
    /// Only `false` is taken: what is new in a run that goes on with a later version begins with the rest.
    #[serde(default)]
    only_new: bool,
    /// They go on with the DAG as it is now, where its tasks are those that they began with.
    #[serde(default)]
    run_on_latest_version: Option<bool>,
    #[serde(default)]
    note: Option<String>,
}

/// Has runs begin anew. `~` for the DAG where each run names its own. Nothing is done where one of them is
/// not there, or can't begin anew.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/clearDagRuns", tag = "DagRun", request_body = RunsClearBody,
    responses(
        (status = 200, description = "The task instances it would be, or the runs", body = RunCollectionResponse),
        Writes
    ),
)]
pub(super) async fn clear_dag_runs(
    call: Call,
    Path(dag_id): Path<String>,
    Body(body): Body<RunsClearBody>,
) -> Result<Response, Error> {
    let how = RunClearBody {
        dry_run: body.dry_run,
        only_failed: body.only_failed,
        only_new: body.only_new,
        run_on_latest_version: body.run_on_latest_version,
        note: body.note,
    };
    let mut names: Vec<RunName> = Vec::new();
    for run in body.dag_runs {
        let of_run = dag_of(&dag_id, run.dag_id.as_deref()).ok_or_else(|| Error::bad_request(NO_DAG))?;
        if dag_id != ANY && of_run != dag_id {
            return Err(Error::bad_request(format!(
                "Entry dag_id '{of_run}' does not match the URL dag_id '{dag_id}'."
            )));
        }
        let name = RunName { dag_id: of_run, run_id: run.dag_run_id };
        if !names.contains(&name) {
            call.run(&name.dag_id, &name.run_id).await?;
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Error::bad_request("name at least one run in dag_runs; Updraft has no partitions"));
    }
    if !how.dry_run {
        // Where one of them can't begin anew, none does.
        clear(&call, &names, &RunClearBody { dry_run: true, ..how.clone() }).await?;
    }
    let keys = clear(&call, &names, &how).await?;
    if how.dry_run {
        return Ok(Json(ClearedResponse::of(TiResponse::of_keys(&call, &keys).await?)).into_response());
    }
    let mut runs = Vec::with_capacity(names.len());
    for name in &names {
        runs.push(RunResponse::of(&call, &call.run(&name.dag_id, &name.run_id).await?).await?);
    }
    Ok(Json(RunCollectionResponse::all(runs)).into_response())
}

async fn clear(call: &Call, names: &[RunName], how: &RunClearBody) -> Result<Vec<TiKey>, Error> {
    let mut keys = Vec::new();
    for name in names {
        let cleared = change::clear(call, (&name.dag_id, &name.run_id), how).await;
        keys.extend(cleared.map_err(|error| error.of(name))?);
    }
    Ok(keys)
}
