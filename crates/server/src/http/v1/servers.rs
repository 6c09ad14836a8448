//! Servers: `/api/v1/servers`.

use std::{sync::Arc, time::Duration};

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Reads, Shared, call::Call, time::Time};

/// A server says every five seconds that it is there. One that has said nothing for so long is away.
const AWAY_AFTER: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list_servers))
}

/// A server.
#[derive(Serialize, ToSchema)]
struct ServerResponse {
    /// Its name, which it made itself.
    server: String,
    /// `leading`, `standby`, or `away`: it has not said for a while that it is there.
    state: &'static str,
    /// Where other servers and workers reach it.
    address: String,
    /// When it last said that it is there.
    last_heard_at: Time,
    /// When it was started.
    started_at: Time,
    /// The program's version.
    version: String,
    hostname: String,
    pid: u32,
}

/// Servers.
#[derive(Serialize, ToSchema)]
struct ServersResponse {
    servers: Vec<ServerResponse>,
    total_entries: usize,
}

/// The servers of this database: those that are there, and those that were within a day and did not say that they go.
#[utoipa::path(
    get, path = "/api/v1/servers", tag = "Servers", responses((status = 200, body = ServersResponse), Reads),
)]
async fn list_servers(call: Call) -> Result<Json<ServersResponse>, Error> {
    let leader = call.store().leader().await?.filter(|leader| !leader.expired);
    let leads = |name: &str| leader.as_ref().is_some_and(|leader| leader.holder == name);
    let shown = call.store().servers().await?.into_iter().map(|seen| ServerResponse {
        state: match seen.silent_for < AWAY_AFTER {
            _ if leads(&seen.server.name) => "leading",
            true => "standby",
            false => "away",
        },
        server: seen.server.name,
        address: seen.server.address,
        last_heard_at: Time(seen.seen_at),
        started_at: Time(seen.server.started_at),
        version: seen.server.version,
        hostname: seen.server.hostname,
        pid: seen.server.pid,
    });
    let servers: Vec<_> = shown.collect();
    Ok(Json(ServersResponse { total_entries: servers.len(), servers }))
}
