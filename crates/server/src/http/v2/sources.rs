//! What a DAG is made of: `/dagSources/{dag_id}`.

use std::sync::Arc;

use axum::{
    Json,
    http::{
        HeaderMap,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{Error, Path, Reads, Shared, call::Call, query::query},
    dags::display_name,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_dag_source))
}

/// What a DAG is made of.
#[derive(Serialize, ToSchema)]
struct DagSourceResponse {
    /// The DAG as Updraft understands it, in JSON: whatever it was written in, it came to this.
    content: String,
    dag_id: String,
    version_number: u32,
    dag_display_name: String,
}

query! {
    /// Of which version.
    SourceQuery {
        /// The version; the current one where none is named.
        version_number: Option<u32>,
    }
}

/// What a version of a DAG is made of, in JSON, or as text where `Accept: text/plain` says so.
#[utoipa::path(
    get, path = "/api/v2/dagSources/{dag_id}", tag = "DagSource", params(SourceQuery),
    responses(
        (status = 200, content((DagSourceResponse = "application/json"), (String = "text/plain"))), Reads
    ),
)]
async fn get_dag_source(
    call: Call,
    Path(dag_id): Path<String>,
    query: SourceQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let dag = call.dag(&dag_id).await?;
    let number = query.version_number.unwrap_or(dag.row.version);
    let found = call.shared.version(&dag.row.key, number).await?;
    let missing = || {
        Error::not_found(format!(
            "The source code of the Dag {dag_id}, version_number {number} was not found"
        ))
    };
    let version = found.ok_or_else(missing)?;
    let content = serde_json::to_string_pretty(version.dag.spec());
    let content = content.map_err(|error| Error::Internal(error.to_string()))?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if accept.starts_with("text/plain") {
        return Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], content).into_response());
    }
    let dag_display_name = display_name(version.dag.spec());
    Ok(Json(DagSourceResponse { content, dag_id, version_number: number, dag_display_name }).into_response())
}
