//! Workers: `/api/v1/workers`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, http::StatusCode};
use serde::Serialize;
use serde_json::json;
use updraft_core::{Labels, WorkerId, protocol::FromServer};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Path, Reads, Shared, Writes, call::Call, time::Time};
use crate::{
    accounts,
    workers::{Unasked, Workers},
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list_workers))
        .routes(routes!(drain_worker))
        .routes(routes!(resume_worker))
        .routes(routes!(remove_worker))
}

/// A worker.
#[derive(Serialize, ToSchema)]
struct WorkerResponse {
    /// The name under which it joined.
    worker: String,
    /// `active`, `draining` (it takes nothing more), or `away`: not connected, and its lease has not passed.
    state: &'static str,
    /// How many attempts it runs at once, unless a task takes several (`worker_slots`).
    slots: u32,
    /// How many slots are taken.
    used_slots: u32,
    /// What it has, also what only waits and takes no slot.
    attempts: usize,
    /// The queues that it serves.
    queues: Vec<String>,
    /// What else it is known by, for tasks that name it (`worker_labels`).
    labels: Labels,
    /// The only namespace that it works for; `null` for all.
    namespace: Option<String>,
    /// When it was last heard of.
    last_heard_at: Time,
    /// The program's version; of one that is away nobody knows.
    version: Option<String>,
    hostname: Option<String>,
    pid: Option<u32>,
}

/// Workers.
#[derive(Serialize, ToSchema)]
struct WorkersResponse {
    workers: Vec<WorkerResponse>,
    total_entries: usize,
}

/// The workers that are connected to this server, or were and may come back. They hold their connection to the leader:
/// another server has none.
#[utoipa::path(
    get, path = "/api/v1/workers", tag = "Workers", responses((status = 200, body = WorkersResponse), Reads),
)]
async fn list_workers(call: Call) -> Result<Json<WorkersResponse>, Error> {
    let mut about: BTreeMap<_, _> = call.shared.workers.connected().into_iter().collect();
    let seen = call.shared.leader.ask(|engine| engine.workers()).await?;
    let lease = call.shared.config.lease;
    let shown = seen.into_iter().map(|seen| {
        let about = about.remove(&seen.worker);
        WorkerResponse {
            worker: seen.worker.to_string(),
            state: seen.state.name(),
            slots: seen.offer.slots,
            used_slots: seen.used,
            attempts: seen.attempts,
            queues: seen.offer.queues.iter().map(ToString::to_string).collect(),
            labels: seen.offer.labels,
            namespace: seen.namespace.map(|namespace| namespace.to_string()),
            last_heard_at: Time(seen.lease_until.checked_sub(lease).unwrap_or(seen.lease_until)),
            version: about.as_ref().map(|about| about.version.clone()),
            hostname: about.as_ref().map(|about| about.hostname.clone()),
            pid: about.map(|about| about.pid),
        }
    });
    let workers: Vec<_> = shown.collect();
    Ok(Json(WorkersResponse { total_entries: workers.len(), workers }))
}

/// Has a worker take nothing more, and stay. What it has goes on. It is so until it is to take work again, or is started
/// anew.
#[utoipa::path(
    post, path = "/api/v1/workers/{worker}/drain", tag = "Workers",
    responses((status = 202, description = "It was told"), Writes),
)]
async fn drain_worker(call: Call, Path(worker): Path<String>) -> Result<StatusCode, Error> {
    tell(&call, worker, "drain_worker", FromServer::Drain).await
}

/// Has a worker that drains take work again.
#[utoipa::path(
    post, path = "/api/v1/workers/{worker}/resume", tag = "Workers",
    responses((status = 202, description = "It was told"), Writes),
)]
async fn resume_worker(call: Call, Path(worker): Path<String>) -> Result<StatusCode, Error> {
    tell(&call, worker, "resume_worker", FromServer::Resume).await
}

/// Has a worker take nothing more, and go when what it has is over. Its token stays good.
#[utoipa::path(
    delete, path = "/api/v1/workers/{worker}", tag = "Workers",
    responses((status = 202, description = "It was told"), Writes),
)]
async fn remove_worker(call: Call, Path(worker): Path<String>) -> Result<StatusCode, Error> {
    tell(&call, worker, "remove_worker", FromServer::Finish).await
}

async fn tell(call: &Call, worker: String, action: &str, what: FromServer) -> Result<StatusCode, Error> {
    let id = WorkerId::from(worker.as_str());
    if Workers::is_keeper(&id) {
        return Err(Error::conflict(
            "this is the server's own worker, and ends with it: `updraft pause` lets nothing new begin anywhere",
        ));
    }
    match call.shared.workers.ask(&id, what) {
        Ok(()) => {}
        Err(Unasked::NotThere) => {
            return Err(Error::not_found(format!("no worker `{worker}` is connected to this server")));
        }
        Err(Unasked::TooOld) => {
            return Err(Error::conflict(format!(
                "the program of worker `{worker}` is too old for that: install this server's version there"
            )));
        }
    }
    let audit = accounts::audit(&call.who.name, action, json!({ "worker": worker }));
    call.store().put_audit(&audit).await?;
    Ok(StatusCode::ACCEPTED)
}
