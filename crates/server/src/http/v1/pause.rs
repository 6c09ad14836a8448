//! The switch that lets nothing new begin: `/api/v1/pause`.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use updraft_core::input::Command;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Body, Error, Reads, Shared, Writes, call::Call};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_pause, set_pause))
}

/// Whether nothing new begins anywhere.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Pause {
    /// No runs by schedules and no attempts begin; what runs goes on to its end.
    is_paused: bool,
}

/// Whether nothing new begins anywhere.
#[utoipa::path(get, path = "/api/v1/pause", tag = "Control", responses((status = 200, body = Pause), Reads))]
async fn get_pause(call: Call) -> Result<Json<Pause>, Error> {
    Ok(Json(Pause { is_paused: call.store().is_paused().await? }))
}

/// Lets nothing new begin anywhere, or everything again. DAGs that are paused by themselves stay so.
#[utoipa::path(
    put, path = "/api/v1/pause", tag = "Control", request_body = Pause,
    responses((status = 200, body = Pause), Writes),
)]
async fn set_pause(call: Call, Body(body): Body<Pause>) -> Result<Json<Pause>, Error> {
    call.command(Command::PauseAll { paused: body.is_paused }).await?;
    Ok(Json(body))
}
