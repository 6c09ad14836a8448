//! DAGs put by the API, and runs of some of a DAG's tasks.

use std::sync::Arc;

use axum::{
    Json,
    extract::Request,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, USER_AGENT},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use updraft_core::{
    DagKey,
    input::{Command, Reply, Trigger},
    record::RunType,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Shared, Writes, body, call::Call, error::Invalid, time::Time, v2::RunResponse,
};
use crate::{
    authoring::{Format, Options, Read, Reading, read_document},
    dags::API,
    leader::now,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(put_dags)).routes(routes!(trigger_run))
}

/// A DAG that was put.
#[derive(Serialize, ToSchema)]
struct PutResponse {
    dag_id: String,
    /// The version it is at now.
    version: u32,
    /// Whether that is a new one.
    changed: bool,
    /// What was accepted and may not mean what its author expects.
    warnings: Vec<String>,
}

/// DAGs that were put.
#[derive(Serialize, ToSchema)]
struct PutsResponse {
    dags: Vec<PutResponse>,
}

/// Puts the DAGs of a document: YAML in the dialect of dag-factory, or JSON of the same shape (by
/// `Content-Type`). They are there when this is answered. Where one is wrong, none is put.
#[utoipa::path(
    post, path = "/api/v1/dags", tag = "DAGs",
    request_body(content((String = "application/yaml"), (Object = "application/json"))),
    responses((status = 200, body = PutsResponse), Writes),
)]
async fn put_dags(call: Call, request: Request) -> Result<Json<PutsResponse>, Error> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let format = match content_type.map(|value| value.split(';').next().unwrap_or_default().trim()) {
        Some("application/json") => Format::Json,
        Some("application/yaml" | "application/x-yaml" | "text/yaml" | "text/plain") => Format::Yaml,
        other => {
            let detail = format!(
                "Content-Type is {}: send application/yaml or application/json",
                other.unwrap_or("missing")
            );
            return Err(Error::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let bytes = body::bytes(request, &()).await?;
    let read = read(&call, bytes, format).await?;
    for dag in &read {
        let key = DagKey::new(call.namespace.clone(), dag.spec.dag_id.clone());
        let known = call.store().dag(&key).await?.map(|dag| dag.row).filter(|row| !row.is_stale);
        if let Some(row) = known.filter(|row| row.source != API) {
            let detail = format!("the DAG `{key}` comes from {}: change it there", row.source);
            return Err(Error::conflict(detail));
        }
    }
    let mut dags = Vec::with_capacity(read.len());
    for Read { spec, hash, warnings, .. } in read {
        let dag_id = spec.dag_id.to_string();
        let paused = call.shared.config.paused_at_creation;
        let command = Command::PutDag { spec, hash, source: API.into(), paused };
        let Reply::Version(version, changed) = call.command(command).await? else {
            return Err(Error::Internal("a DAG that was put has no version".into()));
        };
        dags.push(PutResponse {
            dag_id,
            version,
            changed,
            warnings: warnings.iter().map(ToString::to_string).collect(),
        });
    }
    Ok(Json(PutsResponse { dags }))
}

/// The DAGs of a document; all that is wrong, where anything is. Its text sees no variable of the server's
/// environment.
async fn read(call: &Call, bytes: bytes::Bytes, format: Format) -> Result<Vec<Read>, Error> {
    let (namespace, check) = (call.namespace.clone(), call.shared.check.clone());
    // A large document takes its time.
    let reading = tokio::task::spawn_blocking(move || {
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Error::bad_request("the document is not UTF-8"))?;
        let options = Options { namespace, check: &*check, variable: &|_| None, now: now() };
        Ok::<_, Error>(read_document(API, text, format, &options))
    });
    let Reading { dags, errors, .. } =
        reading.await.map_err(|error| Error::Internal(error.to_string()))??;
    if errors.is_empty() {
        return Ok(dags);
    }
    let fault = |error: &crate::authoring::ImportError| Invalid {
        r#type: "value_error",
        loc: vec!["body".into()],
        msg: error.to_string(),
        input: Box::default(),
    };
    Err(Error::Invalid(errors.iter().map(fault).collect()))
}

/// A run that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct TriggerBody {
    /// Its name; made of its type and time where none is given.
    run_id: Option<String>,
    logical_date: Option<Time>,
    /// It does not begin before this; now, where nothing is given.
    run_after: Option<Time>,
    /// Its parameters.
    #[schema(value_type = Object)]
    conf: Map<String, Value>,
    /// Only these tasks; all, where none are named.
    tasks: Vec<String>,
}

/// Whether it is `updraft` itself that asks.
fn is_command_line(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("updraft-cli/"))
}

/// Makes a run, of all of a DAG's tasks or of some.
#[utoipa::path(
    post, path = "/api/v1/dags/{dag_id}/dagRuns", tag = "DAGs", request_body = TriggerBody,
    responses((status = 201, body = RunResponse), Writes),
)]
async fn trigger_run(
    call: Call,
    Path(dag_id): Path<String>,
    headers: HeaderMap,
    Body(body): Body<TriggerBody>,
) -> Result<(StatusCode, Json<RunResponse>), Error> {
    let dag = call.dag(&dag_id).await?;
    let at = |time: Option<Time>| -> Option<Timestamp> { time.map(|time| time.0) };
    let logical_date = at(body.logical_date);
    call.refuse_taken_date(&dag.row.key, logical_date).await?;
    call.refuse_bad_params(&dag.row, &body.conf).await?;
    let trigger = Trigger {
        dag: dag.row.key,
        run_id: body.run_id.filter(|id| !id.is_empty()).map(Into::into),
        logical_date,
        data_interval: None,
        run_after: at(body.run_after),
        conf: Arc::new(Value::Object(body.conf)),
        tasks: body.tasks.into_iter().map(Into::into).collect(),
        run_type: RunType::Manual,
        triggered_by: if is_command_line(&headers) { "cli" } else { "rest_api" },
    };
    let Reply::Run(key, _) = call.command(Command::Trigger(trigger)).await? else {
        return Err(Error::Internal("a trigger was answered without a run".into()));
    };
    let gone = || Error::not_found("the run was deleted as soon as it was made");
    let run = call.store().run(key).await?.ok_or_else(gone)?;
    Ok((StatusCode::CREATED, Json(RunResponse::of(&call, &run).await?)))
}
