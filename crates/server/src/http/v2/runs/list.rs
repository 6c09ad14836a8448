//! Lists of runs.

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use updraft_core::{RunState, record::RunType};
use updraft_store::{Bounds, RunField, RunQuery, Window};
use utoipa::ToSchema;

use super::super::super::{
    Body, Error, Path, Reads,
    call::Call,
    query::{Cursor, Pattern, order, query},
    time::Time,
};
use super::{super::dags::run_state, RunResponse};

/// Runs.
#[derive(Serialize, ToSchema)]
#[schema(as = DAGRunCollectionResponse)]
pub(super) struct RunCollectionResponse {
    pub dag_runs: Vec<RunResponse>,
    pub total_entries: u64,
    /// The total is exact, also with a cursor.
    pub total_entries_limit: Option<u64>,
    pub next_cursor: Option<String>,
    pub previous_cursor: Option<String>,
}

impl RunCollectionResponse {
    /// All there are.
    pub fn all(dag_runs: Vec<RunResponse>) -> Self {
        let total_entries = dag_runs.len() as u64;
        Self { dag_runs, total_entries, total_entries_limit: None, next_cursor: None, previous_cursor: None }
    }
}

query! {
    /// What a list of runs is asked with.
    RunsQuery {
        window: Window,
        cursor: Cursor,
        /// When it was due.
        run_after: Bounds<Timestamp>,
        /// Logical date.
        logical_date: Bounds<Timestamp>,
        /// When it began.
        start_date: Bounds<Timestamp>,
        /// When it ended.
        end_date: Bounds<Timestamp>,
        /// Seconds from beginning to end.
        duration: Bounds<SignedDuration>,
        /// Whose conf, as JSON, contains this text.
        conf_contains: Option<String>,
        /// Made by one of these.
        run_type: Vec<String>,
        /// In one of these states.
        state: Vec<String>,
        /// On one of these versions.
        dag_version: Vec<u32>,
        /// By what they are ordered; a dash before it for the largest first.
        order_by: Vec<String>,
        /// By name.
        run_id: Pattern,
        /// By the account that asked for it.
        triggering_user_name: Pattern,
        /// By the DAG's name.
        dag_id: Pattern,
    }
}

const FIELDS: &[(&str, RunField)] = &[
    ("id", RunField::Key),
    ("state", RunField::State),
    ("dag_id", RunField::DagId),
    ("run_id", RunField::RunId),
    ("dag_run_id", RunField::RunId),
    ("logical_date", RunField::LogicalDate),
    ("run_after", RunField::RunAfter),
    ("queued_at", RunField::QueuedAt),
    ("start_date", RunField::StartedAt),
    ("end_date", RunField::EndedAt),
    ("duration", RunField::Duration),
    ("conf", RunField::Conf),
    ("run_type", RunField::RunType),
    ("triggering_user_name", RunField::TriggeringUser),
    ("data_interval_start", RunField::DataIntervalStart),
    ("data_interval_end", RunField::DataIntervalEnd),
];

fn run_type(name: &String) -> Result<RunType, Error> {
    let all = [RunType::Scheduled, RunType::Manual, RunType::Backfill, RunType::AssetTriggered];
    all.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
        Error::unprocessable(
            "Invalid value for run type. Valid values are backfill, scheduled, manual, asset_triggered",
        )
    })
}

/// Runs of a DAG, or of all where the DAG is `~`.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns", tag = "DagRun", params(RunsQuery),
    responses((status = 200, body = RunCollectionResponse), Reads),
)]
pub(super) async fn get_dag_runs(
    call: Call,
    Path(dag_id): Path<String>,
    query: RunsQuery,
) -> Result<Json<RunCollectionResponse>, Error> {
    let dags = match dag_id.as_str() {
        "~" => Vec::new(),
        _ => vec![call.dag(&dag_id).await?.row.key.dag_id],
    };
    let asked = RunQuery {
        namespace: call.namespace.clone(),
        dags,
        dag_id: query.dag_id.0,
        run_id: query.run_id.0,
        states: query.state.iter().map(|state| run_state(state)).collect::<Result<_, _>>()?,
        run_types: query.run_type.iter().map(run_type).collect::<Result<_, _>>()?,
        triggering_user: query.triggering_user_name.0,
        versions: query.dag_version,
        conf_contains: query.conf_contains.filter(|text| !text.is_empty()),
        logical_date: query.logical_date,
        run_after: query.run_after,
        started_at: query.start_date,
        ended_at: query.end_date,
        duration: query.duration,
        order: order(&query.order_by, FIELDS)?,
        window: query.cursor.window(query.window),
    };
    let page = call.store().runs(&asked).await?;
    let (next_cursor, previous_cursor) = query.cursor.around(asked.window, page.rows.len(), page.total);
    Ok(Json(RunCollectionResponse {
        dag_runs: RunResponse::of_all(&call, &page.rows).await?,
        total_entries: page.total,
        total_entries_limit: None,
        next_cursor,
        previous_cursor,
    }))
}

/// What runs are asked for in one go.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = DAGRunsBatchBody)]
pub(super) struct RunsBatchBody {
    order_by: Option<String>,
    page_offset: u64,
    page_limit: Option<u64>,
    dag_ids: Option<Vec<String>>,
    #[schema(value_type = Option<Vec<String>>)]
    states: Option<Vec<Option<RunState>>>,
    run_after_gte: Option<Time>,
    run_after_gt: Option<Time>,
    run_after_lte: Option<Time>,
    run_after_lt: Option<Time>,
    logical_date_gte: Option<Time>,
    logical_date_gt: Option<Time>,
    logical_date_lte: Option<Time>,
    logical_date_lt: Option<Time>,
    start_date_gte: Option<Time>,
    start_date_gt: Option<Time>,
    start_date_lte: Option<Time>,
    start_date_lt: Option<Time>,
    end_date_gte: Option<Time>,
    end_date_gt: Option<Time>,
    end_date_lte: Option<Time>,
    end_date_lt: Option<Time>,
    duration_gte: Option<f64>,
    duration_gt: Option<f64>,
    duration_lte: Option<f64>,
    duration_lt: Option<f64>,
    conf_contains: Option<String>,
}

/// Bounds from the fields of a body.
pub(in super::super) fn times([gte, gt, lte, lt]: [Option<Time>; 4]) -> Bounds<Timestamp> {
    let at = |time: Option<Time>| time.map(|time| time.0);
    Bounds { gte: at(gte), gt: at(gt), lte: at(lte), lt: at(lt) }
}

/// Bounds in seconds from the fields of a body.
pub(in super::super) fn lengths(bounds: [Option<f64>; 4]) -> Result<Bounds<SignedDuration>, Error> {
    let length = |seconds: Option<f64>| {
        let length = seconds.map(SignedDuration::try_from_secs_f64).transpose();
        length.map_err(|error| Error::unprocessable(format!("duration: {error}")))
    };
    let [gte, gt, lte, lt] = bounds;
    Ok(Bounds { gte: length(gte)?, gt: length(gt)?, lte: length(lte)?, lt: length(lt)? })
}

/// The window of a batch: 100 where nothing is said, and at most.
pub(in super::super) fn batch_window(offset: u64, limit: Option<u64>) -> Window {
    Window {
        offset: offset.min(i64::MAX.unsigned_abs()),
        limit: limit.unwrap_or(100).min(100),
        ..Window::default()
    }
}

/// Runs of several DAGs. The DAG in the path is `~`.
#[utoipa::path(
    post, path = "/api/v2/dags/{dag_id}/dagRuns/list", tag = "DagRun", request_body = RunsBatchBody,
    responses((status = 200, body = RunCollectionResponse), Reads),
)]
pub(super) async fn get_list_dag_runs_batch(
    call: Call,
    Path(dag_id): Path<String>,
    Body(body): Body<RunsBatchBody>,
) -> Result<Json<RunCollectionResponse>, Error> {
    if dag_id != "~" {
        return Err(Error::unprocessable("Input should be '~'"));
    }
    let b = body;
    let asked = RunQuery {
        namespace: call.namespace.clone(),
        dag_id: Pattern::default().exactly(b.dag_ids.unwrap_or_default()),
        // A run always has a state: none of them meets `null`.
        states: b.states.unwrap_or_default().into_iter().flatten().collect(),
        conf_contains: b.conf_contains.filter(|text| !text.is_empty()),
        logical_date: times([b.logical_date_gte, b.logical_date_gt, b.logical_date_lte, b.logical_date_lt]),
        run_after: times([b.run_after_gte, b.run_after_gt, b.run_after_lte, b.run_after_lt]),
        started_at: times([b.start_date_gte, b.start_date_gt, b.start_date_lte, b.start_date_lt]),
        ended_at: times([b.end_date_gte, b.end_date_gt, b.end_date_lte, b.end_date_lt]),
        duration: lengths([b.duration_gte, b.duration_gt, b.duration_lte, b.duration_lt])?,
        order: order(b.order_by.as_slice(), FIELDS)?,
        window: batch_window(b.page_offset, b.page_limit),
        ..RunQuery::default()
    };
    let page = call.store().runs(&asked).await?;
    Ok(Json(RunCollectionResponse {
        dag_runs: RunResponse::of_all(&call, &page.rows).await?,
        total_entries: page.total,
        total_entries_limit: None,
        next_cursor: None,
        previous_cursor: None,
    }))
}
