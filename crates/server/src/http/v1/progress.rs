//! How far a run is, and how long it will take: from the mean durations of its tasks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use updraft_core::{Dag, RunState, TaskIx, TiKey, TiStateName, record::TiRow};
use updraft_store::{TextFilter, TiField, TiQuery, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Path, Reads, Shared, call::Call, time::Time, v2::rendered_map_index};
use crate::leader::now;

/// What is still going on is never shown as complete.
const MOST_PERCENT: f64 = 99.0;

/// What takes no time at all counts as so many seconds, so that a run of such tasks gets on, too.
const LEAST_WEIGHT: f64 = 0.001;

/// So many at most of those that wait are looked up: the engine does nothing else meanwhile.
const MOST_EXPLAINED: usize = 1000;

/// A leader that is here answers within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_progress))
}

/// How far a run is.
#[derive(Serialize, ToSchema)]
struct ProgressResponse {
    #[schema(value_type = String)]
    state: RunState,
    /// Why it is as it is, where its tasks alone don't say: it was marked, nothing could run any more, its time was up.
    reason: Option<String>,
    /// `null` while nothing is known about how long any of its tasks takes.
    percent: Option<f64>,
    /// Seconds, along the longest way through what is left; tasks that nothing is known about count as
    /// nothing. `null` where nothing is known about any.
    seconds_left: Option<f64>,
    tasks: Vec<TaskProgress>,
}

/// How far a task instance is.
#[derive(Serialize, ToSchema)]
struct TaskProgress {
    task_id: String,
    map_index: i32,
    /// What this copy of a mapped task is called.
    rendered_map_index: Option<String>,
    /// As it is here: `paused` among them.
    #[schema(value_type = String)]
    state: TiStateName,
    try_number: u32,
    /// Below 100 while it goes on. `null` where nothing is known about how long it takes.
    percent: Option<f64>,
    /// Seconds. 0 where it is late.
    seconds_left: Option<f64>,
    /// Seconds it took on average, or its author expects.
    mean: Option<f64>,
    start_date: Option<Time>,
    end_date: Option<Time>,
    exit_code: Option<i32>,
    worker: Option<String>,
    /// Why it is where it is, where that is stored.
    reason: Option<String>,
}

/// How far a run and each of its task instances are, with their states as they are here.
#[utoipa::path(
    get, path = "/api/v1/dags/{dag_id}/dagRuns/{run_id}/progress", tag = "Progress",
    responses((status = 200, body = ProgressResponse), Reads),
)]
async fn get_progress(
    call: Call,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> Result<Json<ProgressResponse>, Error> {
    let run = call.run(&dag_id, &run_id).await?;
    let version = call.version(&run.row.dag, run.row.version).await?;
    let stats = call.store().task_stats(&run.row.dag).await?;
    let known: HashMap<_, _> = stats.iter().map(|row| (&row.task_id, row.mean_ms / 1000.0)).collect();
    let mean = |ix: TaskIx| {
        let task = version.dag.task(ix);
        known
            .get(&task.task_id)
            .copied()
            .or_else(|| task.expected_duration.map(|length| length.as_secs_f64()))
    };
    let query = TiQuery {
        namespace: call.namespace.clone(),
        runs: vec![run.row.key],
        task_id: TextFilter::default(),
        order: vec![updraft_store::Order { by: TiField::Run, descending: false }],
        window: Window::ALL,
        ..TiQuery::default()
    };
    let mut rows: Vec<TiRow> = call.store().tis(&query).await?.rows.into_iter().map(|row| row.row).collect();
    // A row's task is in its run's version; a damaged database makes no panic.
    rows.retain(|row| row.key.task.usize() < version.dag.len());
    tell_why(&call, &mut rows).await;
    let now = now();
    let tasks: Vec<TaskProgress> =
        rows.iter().map(|row| TaskProgress::of(row, mean(row.key.task), now)).collect();
    let over = run.row.state.is_finished();
    let (percent, seconds_left) = match over {
        true => (Some(100.0), Some(0.0)),
        false => (percent_of(&tasks), longest_way(&version.dag, &rows, &tasks)),
    };
    Ok(Json(ProgressResponse { state: run.row.state, reason: run.row.reason, percent, seconds_left, tasks }))
}

/// Says of those that wait for a worker why they do: their rows don't know, but the leader does. Where nobody
/// leads, the rest is shown without.
async fn tell_why(call: &Call, rows: &mut [TiRow]) {
    let waits = |row: &&mut TiRow| row.state.name() == TiStateName::Scheduled && row.reason.is_none();
    let keys: Vec<TiKey> = rows.iter_mut().filter(waits).map(|row| row.key).take(MOST_EXPLAINED).collect();
    if keys.is_empty() {
        return;
    }
    let reasons = call.shared.leader.ask(move |engine| {
        let why = |key: TiKey| {
            let why = engine.explain(key).filter(|why| why.state == TiStateName::Scheduled)?;
            Some((key, why.reasons.into_iter().next()?))
        };
        keys.into_iter().filter_map(why).collect::<HashMap<_, _>>()
    });
    let Ok(Ok(mut reasons)) = tokio::time::timeout(ANSWERS_WITHIN, reasons).await else { return };
    for row in rows.iter_mut().filter(waits) {
        row.reason = reasons.remove(&row.key).map(Into::into);
    }
}

/// How long an attempt has been at work, without the time it was paused.
fn elapsed(row: &TiRow, now: Timestamp) -> SignedDuration {
    let Some(began) = row.started_at else { return SignedDuration::ZERO };
    let until = row.ended_at.or(row.paused_at).unwrap_or(now);
    (until.duration_since(began) - row.paused_for).max(SignedDuration::ZERO)
}

impl TaskProgress {
    fn of(row: &TiRow, mean: Option<f64>, now: Timestamp) -> Self {
        let state = row.state.name();
        let at_work = matches!(state, TiStateName::Running | TiStateName::Paused);
        let spent = if at_work { elapsed(row, now).as_secs_f64() } else { 0.0 };
        let (percent, seconds_left) = match (state.is_finished(), mean) {
            (true, _) => (Some(100.0), Some(0.0)),
            (false, None) => (None, None),
            (false, Some(mean)) => {
                let percent = if mean > 0.0 { 100.0 * spent / mean } else { 0.0 };
                (Some(percent.min(MOST_PERCENT)), Some((mean - spent).max(0.0)))
            }
        };
        Self {
            task_id: row.task_id.to_string(),
            map_index: row.key.map_index.0,
            rendered_map_index: rendered_map_index(row),
            state,
            try_number: row.try_number,
            percent,
            seconds_left,
            mean,
            start_date: row.started_at.map(Time),
            end_date: row.ended_at.map(Time),
            exit_code: row.exit_code,
            worker: row.worker.as_ref().map(|worker| worker.to_string()),
            reason: row.reason.as_ref().map(|reason| reason.to_string()),
        }
    }
}

/// The mean of the task instances' progress, each by how long it takes.
fn percent_of(tasks: &[TaskProgress]) -> Option<f64> {
    let (mut done, mut all) = (0.0, 0.0);
    for (mean, percent) in tasks.iter().filter_map(|task| Some((task.mean?, task.percent?))) {
        let weight = mean.max(LEAST_WEIGHT);
        done += weight * percent / 100.0;
        all += weight;
    }
    (all > 0.0).then(|| (100.0 * done / all).min(MOST_PERCENT))
}

/// The longest way through what is left. Copies of a mapped task run beside each other.
fn longest_way(dag: &Dag, rows: &[TiRow], tasks: &[TaskProgress]) -> Option<f64> {
    if tasks.iter().all(|task| task.seconds_left.is_none()) {
        return None;
    }
    let mut left = vec![0.0_f64; dag.len()];
    for (row, task) in rows.iter().zip(tasks) {
        let place = &mut left[row.key.task.usize()];
        *place = place.max(task.seconds_left.unwrap_or(0.0));
    }
    let mut ends = vec![0.0_f64; dag.len()];
    for ix in dag.topological() {
        let begins = dag.upstream(*ix).iter().map(|before| ends[before.usize()]).fold(0.0, f64::max);
        ends[ix.usize()] = begins + left[ix.usize()];
    }
    ends.into_iter().reduce(f64::max)
}
