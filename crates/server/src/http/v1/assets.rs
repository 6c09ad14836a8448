//! What happens to assets, told by their URIs: `/api/v1/assets/events`.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use updraft_core::input::WhichAsset;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Shared, Writes,
    call::Call,
    v2::{AssetEventResponse, tell_asset_event},
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(put_asset_event))
}

/// Something that happened to an asset.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AssetEventBody {
    /// The asset's URI, as a DAG has it.
    uri: String,
    /// What there is to say about it: at most 64 KiB.
    #[serde(default)]
    extra: Map<String, Value>,
    /// Told again under this key, it is the same event and makes no other run.
    #[serde(default)]
    key: Option<String>,
}

/// An event, and whether it was told the first time.
#[derive(Serialize, ToSchema)]
struct ToldResponse {
    #[serde(flatten)]
    event: AssetEventResponse,
    is_new: bool,
}

/// Tells that something happened to an asset: the DAGs that wait for it may run.
#[utoipa::path(
    post, path = "/api/v1/assets/events", tag = "Assets", request_body = AssetEventBody,
    responses((status = 200, body = ToldResponse), Writes),
)]
async fn put_asset_event(call: Call, Body(body): Body<AssetEventBody>) -> Result<Json<ToldResponse>, Error> {
    let which = WhichAsset::Uri(body.uri.trim().into());
    let (listing, is_new) = tell_asset_event(&call, which, body.extra, body.key).await?;
    Ok(Json(ToldResponse { event: AssetEventResponse::of(&call, listing).await?, is_new }))
}
