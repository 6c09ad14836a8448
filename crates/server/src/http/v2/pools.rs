//! Pools: `/pools`.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_core::{BadRate, PoolName, Rate, TiStateName, input::Command, record::PoolRow};
use updraft_store::{PoolListing, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Body, Error, Path, Reads, Shared, Writes,
        body::given,
        call::Call,
        error::Invalid,
        query::{Pattern, order, query},
    },
    bulk::{self, BulkBody, BulkResponse, InBulk, Unnamed, name_or_text},
};

const LONGEST_NAME: usize = 256;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_pools, post_pool, bulk_pools)).routes(routes!(
        get_pool,
        patch_pool,
        delete_pool
    ))
}

/// The slots of a pool by what has them.
pub(in super::super) struct PoolSlots {
    pub running: i64,
    pub queued: i64,
    pub scheduled: i64,
    pub deferred: i64,
    pub occupied: i64,
    /// -1 where the pool has no limit.
    pub open: i64,
}

impl PoolSlots {
    pub fn of(listing: &PoolListing) -> Self {
        let of = |states: &[TiStateName]| -> i64 {
            let slots: u64 = states.iter().filter_map(|state| listing.slots.get(state)).sum();
            i64::try_from(slots).unwrap_or(i64::MAX)
        };
        let (queued, deferred) = (of(&[TiStateName::Queued]), of(&[TiStateName::Deferred]));
        let running = of(&[TiStateName::Running, TiStateName::Paused, TiStateName::Restarting]);
        let occupied = running + queued + if listing.row.include_deferred { deferred } else { 0 };
        let open = listing.row.slots.map_or(-1, |slots| i64::from(slots) - occupied);
        Self { running, queued, scheduled: of(&[TiStateName::Scheduled]), deferred, occupied, open }
    }
}

/// A pool.
#[derive(Serialize, ToSchema)]
struct PoolResponse {
    name: String,
    /// -1 for no limit.
    slots: i64,
    /// How many may begin in so long, such as `14/minute`, where that is limited; Airflow knows no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    description: Option<String>,
    include_deferred: bool,
    occupied_slots: i64,
    running_slots: i64,
    queued_slots: i64,
    scheduled_slots: i64,
    /// -1 for no limit; below that where the pool was made smaller than what is in it.
    open_slots: i64,
    deferred_slots: i64,
    team_name: Option<String>,
}

impl From<PoolListing> for PoolResponse {
    fn from(listing: PoolListing) -> Self {
        let slots = PoolSlots::of(&listing);
        let row = listing.row;
        Self {
            name: row.name.to_string(),
            slots: row.slots.map_or(-1, i64::from),
            rate: row.rate.map(|rate| rate.to_string()),
            description: Some(row.description).filter(|text| !text.is_empty()),
            include_deferred: row.include_deferred,
            occupied_slots: slots.occupied,
            running_slots: slots.running,
            queued_slots: slots.queued,
            scheduled_slots: slots.scheduled,
            open_slots: slots.open,
            deferred_slots: slots.deferred,
            team_name: None,
        }
    }
}

/// Pools.
#[derive(Serialize, ToSchema)]
struct PoolCollectionResponse {
    pools: Vec<PoolResponse>,
    total_entries: u64,
}

query! {
    /// Which pools.
    PoolsQuery {
        window: Window,
        /// By name.
        pool_name: Pattern,
        /// `name`, or `-name`.
        order_by: Vec<String>,
    }
}

/// Pools, by name.
#[utoipa::path(
    get, path = "/api/v2/pools", tag = "Pool", params(PoolsQuery),
    responses((status = 200, body = PoolCollectionResponse), Reads),
)]
async fn get_pools(call: Call, query: PoolsQuery) -> Result<Json<PoolCollectionResponse>, Error> {
    let order = order(&query.order_by, &[("id", ()), ("name", ()), ("pool", ())])?;
    // Pools are few: they are turned round here.
    let page = call.store().pools(&call.namespace, &query.pool_name.0, Window::ALL).await?;
    let mut rows = page.rows;
    if order.first().is_some_and(|order| order.descending) {
        rows.reverse();
    }
    let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
    let pools = rows.into_iter().skip(offset).take(limit).map(Into::into).collect();
    Ok(Json(PoolCollectionResponse { pools, total_entries: page.total }))
}

async fn find(call: &Call, name: &str) -> Result<PoolListing, Error> {
    let found = call.store().pool(&call.namespace, &PoolName::from(name)).await?;
    found.ok_or_else(|| Error::not_found(format!("The Pool with name: `{name}` was not found")))
}

/// One pool.
#[utoipa::path(
    get, path = "/api/v2/pools/{*pool_name}", tag = "Pool",
    responses((status = 200, body = PoolResponse), Reads),
)]
async fn get_pool(call: Call, Path(name): Path<String>) -> Result<Json<PoolResponse>, Error> {
    Ok(Json(find(&call, &name).await?.into()))
}

/// A pool that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PoolBody {
    /// Up to 256 letters.
    name: String,
    /// -1 for no limit.
    slots: i64,
    /// How many may begin in so long, evenly spaced, such as `14/minute`; as many as want to where nothing is said.
    #[serde(default)]
    rate: Option<String>,
    #[serde(default)]
    description: Option<String>,
    /// Whether what is deferred takes slots too.
    #[serde(default)]
    include_deferred: bool,
    /// Updraft has namespaces in place of teams: only `null` is taken.
    #[serde(default)]
    team_name: Option<String>,
}

fn slots(slots: i64) -> Result<Option<u32>, Error> {
    match slots {
        -1 => Ok(None),
        slots => u32::try_from(slots).map(Some).map_err(|_| {
            let msg = "Input should be greater than or equal to -1, and at most 4294967295";
            Invalid::body("slots", "greater_than_equal", msg, slots.into()).into()
        }),
    }
}

fn rate(rate: Option<String>) -> Result<Option<Rate>, Error> {
    let Some(text) = rate else { return Ok(None) };
    let rate = text.parse().map_err(|bad: BadRate| Invalid::value("rate", bad, text))?;
    Ok(Some(rate))
}

/// Updraft has no teams.
pub(super) fn refuse_team(team: Option<String>) -> Result<(), Error> {
    match team {
        None => Ok(()),
        Some(team) => {
            let msg = "team_name cannot be set when multi_team mode is disabled: use a namespace instead";
            Err(Invalid::value("team_name", msg, team).into())
        }
    }
}

/// Makes a pool.
#[utoipa::path(
    post, path = "/api/v2/pools", tag = "Pool", request_body = PoolBody,
    responses((status = 201, body = PoolResponse), Writes),
)]
async fn post_pool(
    call: Call,
    Body(body): Body<PoolBody>,
) -> Result<(StatusCode, Json<PoolResponse>), Error> {
    let name = body.name.clone();
    create(&call, body).await?;
    Ok((StatusCode::CREATED, Json(find(&call, &name).await?.into())))
}

async fn create(call: &Call, body: PoolBody) -> Result<(), Error> {
    refuse_team(body.team_name)?;
    if body.name.is_empty() || body.name.chars().count() > LONGEST_NAME {
        let msg = format!("String should have at least 1 and at most {LONGEST_NAME} characters");
        return Err(Invalid::body("name", "string_too_long", msg, body.name.into()).into());
    }
    let name = PoolName::from(body.name.as_str());
    if call.store().pool(&call.namespace, &name).await?.is_some() {
        return Err(Error::conflict(format!("The Pool with name: `{name}` already exists")));
    }
    let row = PoolRow {
        namespace: call.namespace.clone(),
        name,
        slots: slots(body.slots)?,
        rate: rate(body.rate)?,
        next_at: None,
        description: body.description.unwrap_or_default(),
        include_deferred: body.include_deferred,
    };
    call.command(Command::PutPool(row)).await?;
    Ok(())
}

/// What of a pool can be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PoolPatchBody {
    /// Its name, which stays.
    #[serde(default, alias = "name")]
    pool: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    slots: Option<Option<i64>>,
    /// `null` for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    rate: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    include_deferred: Option<Option<bool>>,
    #[serde(default)]
    team_name: Option<String>,
}

query! {
    /// Which fields of a body count.
    Mask {
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

/// Changes a pool.
#[utoipa::path(
    patch, path = "/api/v2/pools/{*pool_name}", tag = "Pool", params(Mask), request_body = PoolPatchBody,
    responses((status = 200, body = PoolResponse), Writes),
)]
async fn patch_pool(
    call: Call,
    Path(name): Path<String>,
    mask: Mask,
    Body(body): Body<PoolPatchBody>,
) -> Result<Json<PoolResponse>, Error> {
    if body.pool.as_ref().is_some_and(|other| *other != name) {
        return Err(Error::bad_request(
            "Invalid body, pool name from request body doesn't match uri parameter",
        ));
    }
    change(&call, &name, body, &mask.update_mask).await?;
    Ok(Json(find(&call, &name).await?.into()))
}

async fn change(call: &Call, name: &str, body: PoolPatchBody, mask: &[String]) -> Result<(), Error> {
    refuse_team(body.team_name)?;
    let mut row = find(call, name).await?.row;
    let counts = |field: &str| mask.is_empty() || mask.iter().any(|it| it == field);
    if let Some(given) = body.slots.filter(|_| counts("slots")) {
        let given = given.ok_or_else(|| {
            Invalid::body("slots", "int_type", "Input should be a valid integer", Value::Null)
        })?;
        row.slots = slots(given)?;
    }
    if let Some(given) = body.rate.filter(|_| counts("rate")) {
        row.rate = rate(given)?;
    }
    if let Some(given) = body.description.filter(|_| counts("description")) {
        row.description = given.unwrap_or_default();
    }
    if let Some(given) = body.include_deferred.filter(|_| counts("include_deferred")) {
        row.include_deferred = given.unwrap_or(false);
    }
    call.command(Command::PutPool(row)).await?;
    Ok(())
}

/// Deletes a pool. What waits in it goes on waiting until there is one of this name again.
#[utoipa::path(delete, path = "/api/v2/pools/{*pool_name}", tag = "Pool", responses((status = 204), Writes))]
async fn delete_pool(call: Call, Path(name): Path<String>) -> Result<StatusCode, Error> {
    delete(&call, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(call: &Call, name: &str) -> Result<(), Error> {
    if name == "default_pool" {
        return Err(Error::bad_request("Default Pool can't be deleted"));
    }
    find(call, name).await?;
    call.command(Command::DeletePool(call.namespace.clone(), name.into())).await?;
    Ok(())
}

struct Pools;

impl InBulk for Pools {
    const MANY: &'static str = "pools";
    type Name = String;
    type New = PoolBody;
    type Change = PoolPatchBody;

    fn name(&self, entity: &Value) -> Result<String, Unnamed> {
        name_or_text(entity, "name")
    }

    async fn is_there(&self, call: &Call, name: &String) -> Result<bool, Error> {
        Ok(call.store().pool(&call.namespace, &PoolName::from(name.as_str())).await?.is_some())
    }

    async fn create(&self, call: &Call, new: PoolBody) -> Result<(), Error> {
        create(call, new).await
    }

    async fn change(
        &self,
        call: &Call,
        name: &String,
        body: PoolPatchBody,
        mask: &[String],
    ) -> Result<(), Error> {
        change(call, name, body, mask).await
    }

    async fn delete(&self, call: &Call, name: &String) -> Result<(), Error> {
        delete(call, name).await
    }
}

/// Makes, changes and deletes pools.
#[utoipa::path(
    patch, path = "/api/v2/pools", tag = "Pool", request_body = BulkBody,
    responses((status = 200, body = BulkResponse), Writes),
)]
async fn bulk_pools(call: Call, Body(body): Body<BulkBody>) -> Result<Json<BulkResponse>, Error> {
    Ok(Json(bulk::obey(&Pools, &call, body).await?))
}
