//! DAGs: `/dags`, and counts of their runs and their tags.

mod shape;

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use updraft_core::{DagId, RunState, TiStateName, input::Command};
use updraft_store::{DagField, DagQuery, Order, TiQuery, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::shape::{DagDetailsResponse, DagResponse};
use super::super::{
    Body, Error, Path, Reads, Shared, Writes,
    call::Call,
    error::Invalid,
    query::{Pattern, order, query},
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(get_dags, patch_dags))
        .routes(routes!(get_dag, patch_dag, delete_dag))
        .routes(routes!(get_dag_details))
        .routes(routes!(get_dag_stats))
        .routes(routes!(get_dag_tags))
}

/// DAGs.
#[derive(Serialize, ToSchema)]
struct DagCollectionResponse {
    dags: Vec<DagResponse>,
    total_entries: u64,
}

query! {
    /// What a list of DAGs is asked with.
    DagsQuery {
        window: Window,
        /// With one of these tags.
        tags: Vec<String>,
        /// `any` or `all` of the tags.
        tags_match_mode: Option<String>,
        /// Of one of these owners.
        owners: Vec<String>,
        /// By name.
        dag_id: Pattern,
        /// By the name shown.
        dag_display_name: Pattern,
        /// Only those whose source is there; the default.
        exclude_stale: Option<bool>,
        /// Paused, or not.
        paused: Option<bool>,
        /// Whose source has an import error now.
        has_import_errors: Option<bool>,
        /// Whose latest run is in this state.
        last_dag_run_state: Option<String>,
        /// By what they are ordered; a dash before it for the largest first.
        order_by: Vec<String>,
    }
}

const FIELDS: &[(&str, DagField)] = &[
    ("dag_id", DagField::DagId),
    ("dag_display_name", DagField::DisplayName),
    ("next_dagrun", DagField::NextRunAfter),
    ("state", DagField::LastRunState),
    ("last_run_state", DagField::LastRunState),
    ("start_date", DagField::LastRunStartedAt),
    ("last_run_start_date", DagField::LastRunStartedAt),
];

impl DagsQuery {
    fn into_query(self, call: &Call) -> Result<DagQuery, Error> {
        let all_tags = match self.tags_match_mode.as_deref() {
            None | Some("any") => false,
            Some("all") => true,
            Some(other) => {
                let msg = "Input should be 'any' or 'all'";
                return Err(Invalid::query("tags_match_mode", "literal_error", msg, other).into());
            }
        };
        let state = self.last_dag_run_state.as_deref().map(run_state).transpose()?;
        Ok(DagQuery {
            namespace: call.namespace.clone(),
            dag_id: self.dag_id.0,
            display_name: self.dag_display_name.0,
            tags: self.tags,
            all_tags,
            owners: self.owners.iter().map(|owner| owner.as_str().into()).collect(),
            paused: self.paused,
            stale: self.exclude_stale.unwrap_or(true).then_some(false),
            has_import_error: self.has_import_errors,
            last_run_state: state.into_iter().collect(),
            order: order(&self.order_by, FIELDS)?,
            window: self.window,
        })
    }
}

/// A run's state as Airflow names it in a query.
pub(super) fn run_state(name: &str) -> Result<RunState, Error> {
    name.parse().map_err(|_| {
        Error::unprocessable("Invalid value for state. Valid values are queued, running, success, failed")
    })
}

/// DAGs.
#[utoipa::path(
    get, path = "/api/v2/dags", tag = "DAG", params(DagsQuery),
    responses((status = 200, body = DagCollectionResponse), Reads),
)]
async fn get_dags(call: Call, query: DagsQuery) -> Result<Json<DagCollectionResponse>, Error> {
    let page = call.store().dags(&query.into_query(&call)?).await?;
    let dags = page.rows.iter().map(DagResponse::of).collect();
    Ok(Json(DagCollectionResponse { dags, total_entries: page.total }))
}

/// One DAG.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}", tag = "DAG",
    responses((status = 200, body = DagResponse), Reads),
)]
async fn get_dag(call: Call, Path(dag_id): Path<String>) -> Result<Json<DagResponse>, Error> {
    let listing = call.dag(&dag_id).await?;
    let version = call.version(&listing.row.key, listing.row.version).await?;
    Ok(Json(DagResponse::of(&listing).with_tasks(&version.dag)))
}

/// One DAG, with more about it.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/details", tag = "DAG",
    responses((status = 200, body = DagDetailsResponse), Reads),
)]
async fn get_dag_details(call: Call, Path(dag_id): Path<String>) -> Result<Json<DagDetailsResponse>, Error> {
    let listing = call.dag(&dag_id).await?;
    let version = call.version(&listing.row.key, listing.row.version).await?;
    let id = listing.row.key.dag_id.clone();
    let counts = call.store().run_counts(&call.namespace, std::slice::from_ref(&id)).await?;
    let running = counts.get(&id).and_then(|counts| counts.get(&RunState::Running)).copied();
    Ok(Json(DagDetailsResponse::of(&listing, &version, running.unwrap_or(0))))
}

/// What of a DAG can be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DagPatchBody {
    /// No new runs and no new attempts while this is set.
    is_paused: bool,
}

query! {
    /// Which fields of a body count.
    Mask {
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

fn check_mask(mask: &[String]) -> Result<(), Error> {
    match mask {
        [] => Ok(()),
        [one] if one == "is_paused" => Ok(()),
        _ => Err(Error::bad_request("Only `is_paused` field can be updated through the REST API")),
    }
}

/// Pauses a DAG, or lets it go on.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}", tag = "DAG", params(Mask), request_body = DagPatchBody,
    responses((status = 200, body = DagResponse), Writes),
)]
async fn patch_dag(
    call: Call,
    Path(dag_id): Path<String>,
    mask: Mask,
    Body(body): Body<DagPatchBody>,
) -> Result<Json<DagResponse>, Error> {
    let listing = call.dag(&dag_id).await?;
    check_mask(&mask.update_mask)?;
    call.command(Command::PauseDag { dag: listing.row.key, paused: body.is_paused }).await?;
    get_dag(call, Path(dag_id)).await
}

query! {
    /// Which DAGs are to be changed.
    PatchQuery {
        window: Window,
        /// With one of these tags.
        tags: Vec<String>,
        /// `any` or `all` of the tags.
        tags_match_mode: Option<String>,
        /// Of one of these owners.
        owners: Vec<String>,
        /// Only those whose source is there; the default.
        exclude_stale: Option<bool>,
        /// Paused, or not.
        paused: Option<bool>,
        /// By name. Without one no DAG is meant; `~` means all.
        dag_id_pattern: Option<String>,
        /// By the beginning of the name.
        dag_id_prefix_pattern: Option<String>,
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

/// Pauses several DAGs, or lets them go on: all that the parameters name, also those beyond the page that is
/// answered.
#[utoipa::path(
    patch, path = "/api/v2/dags", tag = "DAG", params(PatchQuery), request_body = DagPatchBody,
    responses((status = 200, body = DagCollectionResponse), Writes),
)]
async fn patch_dags(
    call: Call,
    query: PatchQuery,
    Body(body): Body<DagPatchBody>,
) -> Result<Json<DagCollectionResponse>, Error> {
    check_mask(&query.update_mask)?;
    if query.dag_id_pattern.is_none() && query.dag_id_prefix_pattern.is_none() {
        return Ok(Json(DagCollectionResponse { dags: Vec::new(), total_entries: 0 }));
    }
    let mut dag_id = Pattern::default();
    let terms = |text: Option<String>| -> Vec<String> {
        let text = text.unwrap_or_default();
        text.split('|')
            .map(str::trim)
            .filter(|term| !term.is_empty() && *term != "~")
            .map(Into::into)
            .collect()
    };
    dag_id.0.contains = terms(query.dag_id_pattern);
    dag_id.0.begins = terms(query.dag_id_prefix_pattern);
    let asked = DagsQuery {
        window: Window::ALL,
        tags: query.tags,
        tags_match_mode: query.tags_match_mode,
        owners: query.owners,
        dag_id,
        dag_display_name: Pattern::default(),
        exclude_stale: query.exclude_stale,
        paused: query.paused,
        has_import_errors: None,
        last_dag_run_state: None,
        order_by: Vec::new(),
    };
    let mut page = call.store().dags(&asked.into_query(&call)?).await?;
    for listing in &mut page.rows {
        call.command(Command::PauseDag { dag: listing.row.key.clone(), paused: body.is_paused }).await?;
        listing.row.is_paused = body.is_paused;
    }
    let window = query.window;
    let (offset, limit) = (usize::try_from(window.offset), usize::try_from(window.limit));
    let shown = page.rows.iter().skip(offset.unwrap_or(usize::MAX)).take(limit.unwrap_or(usize::MAX));
    Ok(Json(DagCollectionResponse { dags: shown.map(DagResponse::of).collect(), total_entries: page.total }))
}

/// Deletes a DAG with all its history. One whose source is still there comes back when that is read again.
#[utoipa::path(delete, path = "/api/v2/dags/{dag_id}", tag = "DAG", responses((status = 204), Writes))]
async fn delete_dag(call: Call, Path(dag_id): Path<String>) -> Result<StatusCode, Error> {
    let listing = call.dag(&dag_id).await?;
    let query = TiQuery {
        namespace: call.namespace.clone(),
        dags: vec![listing.row.key.dag_id.clone()],
        states: vec![TiStateName::Running, TiStateName::Paused, TiStateName::Restarting],
        window: Window { limit: 1, count_to: 1, ..Window::default() },
        ..TiQuery::default()
    };
    if call.store().tis(&query).await?.total > 0 {
        let detail = format!("Task instances of dag with id: '{dag_id}' are still running");
        return Err(Error::conflict(detail));
    }
    call.command(Command::DeleteDag(listing.row.key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

query! {
    /// Of which DAGs.
    StatsQuery {
        /// Of these; of all where none is named.
        dag_ids: Vec<String>,
    }
}

/// How many runs DAGs have.
#[derive(Serialize, ToSchema)]
struct DagStatsCollectionResponse {
    dags: Vec<DagStatsResponse>,
    total_entries: u64,
}

/// How many runs a DAG has.
#[derive(Serialize, ToSchema)]
struct DagStatsResponse {
    dag_id: String,
    dag_display_name: String,
    stats: Vec<DagStatsStateResponse>,
}

/// How many of them are in a state.
#[derive(Serialize, ToSchema)]
struct DagStatsStateResponse {
    #[schema(value_type = String)]
    state: RunState,
    count: u64,
}

/// How many runs in each state DAGs have.
#[utoipa::path(
    get, path = "/api/v2/dagStats", tag = "DagStats", params(StatsQuery),
    responses((status = 200, body = DagStatsCollectionResponse), Reads),
)]
async fn get_dag_stats(call: Call, query: StatsQuery) -> Result<Json<DagStatsCollectionResponse>, Error> {
    let asked = DagQuery {
        namespace: call.namespace.clone(),
        dag_id: Pattern::default().exactly(query.dag_ids),
        order: vec![Order { by: DagField::DagId, descending: false }],
        window: Window::ALL,
        ..DagQuery::default()
    };
    let listings = call.store().dags(&asked).await?.rows;
    let ids: Vec<DagId> = listings.iter().map(|listing| listing.row.key.dag_id.clone()).collect();
    let counts = match ids.is_empty() {
        true => Default::default(),
        false => call.store().run_counts(&call.namespace, &ids).await?,
    };
    let dags: Vec<DagStatsResponse> = listings
        .iter()
        .map(|listing| {
            let count = |state: &RunState| {
                counts.get(&listing.row.key.dag_id).and_then(|counts| counts.get(state)).copied().unwrap_or(0)
            };
            DagStatsResponse {
                dag_id: listing.row.key.dag_id.to_string(),
                dag_display_name: display_name(&listing.header),
                stats: RunState::ALL
                    .iter()
                    .map(|state| DagStatsStateResponse { state: *state, count: count(state) })
                    .collect(),
            }
        })
        .collect();
    let total_entries = dags.len() as u64;
    Ok(Json(DagStatsCollectionResponse { dags, total_entries }))
}

query! {
    /// Which tags.
    TagsQuery {
        window: Window,
        /// By name.
        tag_name: Pattern,
        /// `name`, or `-name`.
        order_by: Vec<String>,
    }
}

/// Tags.
#[derive(Serialize, ToSchema)]
struct DagTagCollectionResponse {
    tags: Vec<String>,
    total_entries: u64,
}

/// The tags that DAGs have.
#[utoipa::path(
    get, path = "/api/v2/dagTags", tag = "DAG", params(TagsQuery),
    responses((status = 200, body = DagTagCollectionResponse), Reads),
)]
async fn get_dag_tags(call: Call, query: TagsQuery) -> Result<Json<DagTagCollectionResponse>, Error> {
    let order = order(&query.order_by, &[("name", ())])?;
    let page = match order.first().is_some_and(|order| order.descending) {
        false => call.store().tags(&call.namespace, &query.tag_name.0, query.window).await?,
        true => {
            // Tags are few: they are turned round here.
            let mut page = call.store().tags(&call.namespace, &query.tag_name.0, Window::ALL).await?;
            page.rows.reverse();
            let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
            page.rows = page.rows.into_iter().skip(offset).take(limit).collect();
            page
        }
    };
    Ok(Json(DagTagCollectionResponse { tags: page.rows, total_entries: page.total }))
}

pub(super) use self::shape::{ParamResponse, display_name, params};
