//! What Airflow's routes do not say of backfills: `/api/v1/backfills`.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use updraft_store::{BackfillCounts, BackfillQuery, BackfillRow, BackfillRunListing, Progress, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Reads, Shared, Writes,
    call::Call,
    query::query,
    time::Time,
    v2::backfills::{BackfillBody, BackfillResponse, find, planned},
};
use crate::backfills::{Action, Planned};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list_backfill_progress))
        .routes(routes!(preview_backfill))
        .routes(routes!(get_backfill_progress))
        .routes(routes!(list_backfill_runs))
}

/// A backfill, with how many of its dates are where.
#[derive(Serialize, ToSchema)]
struct BackfillProgress {
    #[serde(flatten)]
    backfill: BackfillResponse,
    /// Only these tasks; all, where none are named.
    task_ids: Vec<String>,
    run_backwards: bool,
    /// Dates without a run yet.
    waiting: u64,
    /// Dates whose run is not over.
    active: u64,
    success: u64,
    failed: u64,
    /// Dates that got no run, for a reason.
    passed_over: u64,
    /// Dates whose run was deleted.
    deleted: u64,
}

/// Backfills.
#[derive(Serialize, ToSchema)]
struct BackfillsResponse {
    backfills: Vec<BackfillProgress>,
    total_entries: u64,
}

query! {
    /// Which backfills.
    BackfillsQuery {
        window: Window,
        /// Of this DAG.
        dag_id: Option<String>,
        /// Only those that are over, or only those that are not.
        is_completed: Option<bool>,
    }
}

/// Backfills with how far they are, the latest first.
#[utoipa::path(
    get, path = "/api/v1/backfills", tag = "Backfills", params(BackfillsQuery),
    responses((status = 200, body = BackfillsResponse), Reads),
)]
async fn list_backfill_progress(call: Call, query: BackfillsQuery) -> Result<Json<BackfillsResponse>, Error> {
    if let Some(dag_id) = &query.dag_id {
        call.dag(dag_id).await?;
    }
    let asked = BackfillQuery {
        namespace: call.namespace.clone(),
        dag_id: query.dag_id.map(Into::into),
        is_completed: query.is_completed,
        window: query.window,
    };
    let page = call.store().backfills(&asked).await?;
    let mut backfills = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        backfills.push(BackfillProgress::of(&call, row).await?);
    }
    Ok(Json(BackfillsResponse { backfills, total_entries: page.total }))
}

/// A backfill with how far it is.
#[utoipa::path(
    get, path = "/api/v1/backfills/{id}", tag = "Backfills",
    responses((status = 200, body = BackfillProgress), Reads),
)]
async fn get_backfill_progress(call: Call, Path(id): Path<i64>) -> Result<Json<BackfillProgress>, Error> {
    let row = find(&call, id).await?;
    Ok(Json(BackfillProgress::of(&call, row).await?))
}

impl BackfillProgress {
    async fn of(call: &Call, row: BackfillRow) -> Result<Self, Error> {
        let counts = call.store().backfill_counts(row.id).await?;
        let BackfillCounts { waiting, active, success, failed, passed_over, deleted } = counts;
        Ok(Self {
            task_ids: row.backfill.tasks.iter().map(ToString::to_string).collect(),
            run_backwards: row.backfill.run_backwards,
            backfill: row.into(),
            waiting,
            active,
            success,
            failed,
            passed_over,
            deleted,
        })
    }
}

/// A date, and what would become of it.
#[derive(Serialize, ToSchema)]
struct PlannedResponse {
    logical_date: Time,
    data_interval_start: Time,
    data_interval_end: Time,
    /// The run of this date that is there.
    run_id: Option<String>,
    /// `make` a run, `clear` the one that is there, or `pass_over`.
    action: &'static str,
    /// Why it is passed over.
    reason: Option<String>,
}

impl From<Planned> for PlannedResponse {
    fn from(planned: Planned) -> Self {
        let (action, reason) = match planned.action {
            Action::Make => ("make", None),
            Action::Clear => ("clear", None),
            Action::PassOver(reason) => ("pass_over", Some(reason)),
        };
        Self {
            logical_date: Time(planned.tick.logical_date()),
            data_interval_start: Time(planned.tick.data_interval.start),
            data_interval_end: Time(planned.tick.data_interval.end),
            run_id: planned.run.map(|run_id| run_id.to_string()),
            action,
            reason,
        }
    }
}

/// What a backfill would do, date by date, in the order in which it would.
#[derive(Serialize, ToSchema)]
struct PreviewResponse {
    dates: Vec<PlannedResponse>,
    total_entries: u64,
}

/// Says what a backfill would do, and does nothing.
#[utoipa::path(
    post, path = "/api/v1/backfills/preview", tag = "Backfills", request_body = BackfillBody,
    responses((status = 200, body = PreviewResponse), Writes),
)]
async fn preview_backfill(
    call: Call,
    Body(body): Body<BackfillBody>,
) -> Result<Json<PreviewResponse>, Error> {
    let (_, planned) = planned(&call, body).await?;
    let dates: Vec<PlannedResponse> = planned.into_iter().map(Into::into).collect();
    Ok(Json(PreviewResponse { total_entries: dates.len() as u64, dates }))
}

/// A date of a backfill.
#[derive(Serialize, ToSchema)]
struct DateResponse {
    logical_date: Time,
    run_id: Option<String>,
    /// `waiting`, `passed_over`, `deleted`, or the state of its run.
    state: &'static str,
    reason: Option<String>,
}

impl From<BackfillRunListing> for DateResponse {
    fn from(listing: BackfillRunListing) -> Self {
        let state = match (listing.row.progress, &listing.run) {
            (Progress::PassedOver, _) => "passed_over",
            (Progress::Waiting | Progress::Starting { .. }, _) => "waiting",
            (Progress::Started, Some((_, state))) => state.as_str(),
            (Progress::Started, None) => "deleted",
        };
        Self {
            logical_date: Time(listing.row.logical_date),
            run_id: listing.run.map(|(run_id, _)| run_id.to_string()),
            state,
            reason: listing.row.reason,
        }
    }
}

/// The dates of a backfill.
#[derive(Serialize, ToSchema)]
struct DatesResponse {
    dates: Vec<DateResponse>,
    total_entries: u64,
}

query! {
    /// Which part.
    DatesQuery {
        window: Window,
    }
}

/// The dates of a backfill, in its order.
#[utoipa::path(
    get, path = "/api/v1/backfills/{id}/runs", tag = "Backfills", params(DatesQuery),
    responses((status = 200, body = DatesResponse), Reads),
)]
async fn list_backfill_runs(
    call: Call,
    Path(id): Path<i64>,
    query: DatesQuery,
) -> Result<Json<DatesResponse>, Error> {
    let row = find(&call, id).await?;
    let page = call.store().backfill_runs(row.id, query.window).await?;
    let dates = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(DatesResponse { dates, total_entries: page.total }))
}
