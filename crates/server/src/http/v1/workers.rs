//! The workers that are connected: `/api/v1/workers`.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Reads, Shared, call::Call};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list_workers))
}

/// A worker.
#[derive(Serialize, ToSchema)]
struct WorkerResponse {
    /// The name under which it joined.
    worker: String,
    /// The program's version.
    version: String,
    hostname: String,
    pid: u32,
}

/// Workers.
#[derive(Serialize, ToSchema)]
struct WorkersResponse {
    workers: Vec<WorkerResponse>,
    total_entries: usize,
}

/// The workers that are connected to this server. They hold their connection to the leader: another server
/// has none.
#[utoipa::path(
    get, path = "/api/v1/workers", tag = "Workers", responses((status = 200, body = WorkersResponse), Reads),
)]
async fn list_workers(call: Call) -> Result<Json<WorkersResponse>, Error> {
    let mut connected = call.shared.workers.connected();
    connected.sort_by(|(a, _), (b, _)| a.cmp(b));
    let shown = connected.into_iter().map(|(worker, about)| WorkerResponse {
        worker: worker.to_string(),
        version: about.version,
        hostname: about.hostname,
        pid: about.pid,
    });
    let workers: Vec<_> = shown.collect();
    Ok(Json(WorkersResponse { total_entries: workers.len(), workers }))
}
