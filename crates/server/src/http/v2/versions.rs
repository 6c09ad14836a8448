//! Versions of DAGs: `/dags/{dag_id}/dagVersions`.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use updraft_core::{Bundle, DagKey};
use updraft_store::Window;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Error, Path, Reads, Shared,
        call::Call,
        query::{order, query},
        time::Time,
        uuid::Uuid,
        versions::Version,
    },
    dags::display_name,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_dag_versions)).routes(routes!(get_dag_version))
}

/// A version of a DAG.
#[derive(Serialize, ToSchema)]
pub(super) struct DagVersionResponse {
    id: Uuid,
    version_number: u32,
    dag_id: String,
    /// `git` where it came from a repository.
    bundle_name: Option<String>,
    /// The commit it was read from.
    bundle_version: Option<String>,
    /// When it was first seen.
    created_at: Time,
    dag_display_name: String,
    bundle_url: Option<String>,
}

impl DagVersionResponse {
    pub fn of(version: &Version) -> Self {
        let row = &version.row;
        let (created_at, bundle) = (Time(row.created_at), row.spec.bundle.as_ref());
        Self::new(&row.key, row.version, created_at, bundle, display_name(version.dag.spec()))
    }

    fn new(
        dag: &DagKey,
        version: u32,
        created_at: Time,
        bundle: Option<&Bundle>,
        dag_display_name: String,
    ) -> Self {
        Self {
            id: Uuid::of_version(dag, version),
            version_number: version,
            dag_id: dag.dag_id.to_string(),
            bundle_name: bundle.map(|bundle| bundle.name.clone()),
            bundle_version: bundle.map(|bundle| bundle.version.clone()),
            created_at,
            dag_display_name,
            bundle_url: None,
        }
    }
}

/// Versions of a DAG.
#[derive(Serialize, ToSchema)]
struct DagVersionCollectionResponse {
    dag_versions: Vec<DagVersionResponse>,
    total_entries: u64,
}

query! {
    /// Which versions.
    VersionsQuery {
        window: Window,
        /// The one with this number.
        version_number: Option<u32>,
        /// `version_number` or `id`, a dash before it for the latest first.
        order_by: Vec<String>,
    }
}

/// A DAG's versions.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagVersions", tag = "DagVersion", params(VersionsQuery),
    responses((status = 200, body = DagVersionCollectionResponse), Reads),
)]
async fn get_dag_versions(
    call: Call,
    Path(dag_id): Path<String>,
    query: VersionsQuery,
) -> Result<Json<DagVersionCollectionResponse>, Error> {
    let dag = call.dag(&dag_id).await?;
    let order = order(&query.order_by, &[("id", ()), ("version_number", ()), ("created_at", ())])?;
    // Versions are few, and the store has the latest first.
    let mut all = call.store().dag_versions(&dag.row.key, Window::ALL).await?.rows;
    all.retain(|row| query.version_number.is_none_or(|number| number == row.version));
    if !order.first().is_some_and(|order| order.descending) {
        all.reverse();
    }
    let name = display_name(&dag.header);
    let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
    let shown = all.iter().skip(offset).take(limit);
    let shown = shown.map(|row| {
        let (created_at, bundle) = (Time(row.created_at), row.bundle.as_ref());
        DagVersionResponse::new(&dag.row.key, row.version, created_at, bundle, name.clone())
    });
    Ok(Json(DagVersionCollectionResponse { dag_versions: shown.collect(), total_entries: all.len() as u64 }))
}

/// One version of a DAG.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagVersions/{version_number}", tag = "DagVersion",
    responses((status = 200, body = DagVersionResponse), Reads),
)]
async fn get_dag_version(
    call: Call,
    Path((dag_id, version_number)): Path<(String, u32)>,
) -> Result<Json<DagVersionResponse>, Error> {
    let found = call.shared.version(&call.dag_key(&dag_id), version_number).await?;
    let missing = || {
        Error::not_found(format!(
            "The DagVersion with dag_id: `{dag_id}` and version_number: `{version_number}` was not found"
        ))
    };
    Ok(Json(DagVersionResponse::of(&*found.ok_or_else(missing)?)))
}
