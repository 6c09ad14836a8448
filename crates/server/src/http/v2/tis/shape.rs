//! A task instance as Airflow shows it.

use serde::Serialize;
use serde_json::{Map, Value};
use updraft_core::{TiKey, TiState, TiStateName, record::TiRow};
use updraft_store::TiListing;
use utoipa::ToSchema;

use super::super::super::{
    Error,
    call::Call,
    time::{Time, between},
    uuid::Uuid,
    versions::Version,
};
use super::super::{dags::display_name, versions::DagVersionResponse};
use crate::leader::now;

/// A task instance.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskInstanceResponse)]
pub(in super::super::super) struct TiResponse {
    id: Uuid,
    task_id: String,
    dag_id: String,
    dag_run_id: String,
    map_index: i32,
    logical_date: Option<Time>,
    run_after: Time,
    start_date: Option<Time>,
    end_date: Option<Time>,
    /// Seconds from beginning to end, or to now.
    duration: Option<f64>,
    /// `null` before anything has happened; `running` also where it is paused.
    #[schema(value_type = Option<String>)]
    state: Option<&'static str>,
    try_number: u32,
    max_tries: u32,
    task_display_name: String,
    dag_display_name: String,
    /// The worker that had it last.
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: u32,
    queue: Option<String>,
    priority_weight: Option<i64>,
    operator: Option<String>,
    operator_name: Option<String>,
    queued_when: Option<Time>,
    scheduled_when: Option<Time>,
    pid: Option<u32>,
    executor: Option<String>,
    executor_config: &'static str,
    note: Option<String>,
    rendered_map_index: Option<String>,
    /// The arguments as rendered; only where one task instance is asked for.
    #[schema(value_type = Object)]
    rendered_fields: Map<String, Value>,
    trigger: Option<String>,
    triggerer_job: Option<String>,
    dag_version: Option<DagVersionResponse>,
    #[serde(skip)]
    key: TiKey,
}

/// A state as Airflow names it: `None` for nothing yet, and `running` for what is paused.
pub(in super::super) fn airflow_state(state: &TiState) -> Option<&'static str> {
    match state.name() {
        TiStateName::None => None,
        TiStateName::Paused => Some(TiStateName::Running.as_str()),
        other => Some(other.as_str()),
    }
}

/// The states that Airflow means by a name.
pub(in super::super) fn of_airflow(name: &str) -> Result<Vec<TiStateName>, Error> {
    match name {
        "none" | "no_status" => Ok(vec![TiStateName::None]),
        "running" => Ok(vec![TiStateName::Running, TiStateName::Paused]),
        // Nothing ever waits for a person's input here.
        "awaiting_input" => Ok(Vec::new()),
        "paused" => Err(unknown_state()),
        other => other.parse().map(|state| vec![state]).map_err(|_| unknown_state()),
    }
}

fn unknown_state() -> Error {
    Error::unprocessable(
        "Invalid value for state. Valid values are removed, scheduled, queued, running, success, restarting, \
         failed, up_for_retry, up_for_reschedule, upstream_failed, skipped, deferred, awaiting_input",
    )
}

/// From beginning to end in seconds, or to now where it goes on.
pub(super) fn duration(row: &TiRow) -> Option<f64> {
    let runs = matches!(row.state.name(), TiStateName::Running | TiStateName::Paused);
    between(row.started_at, row.ended_at.or_else(|| runs.then(now)))
}

/// What a copy of a mapped task is called: where it has no name, its number.
pub(in super::super::super) fn rendered_map_index(row: &TiRow) -> Option<String> {
    let is_copy = row.key.map_index.0 >= 0;
    is_copy.then(|| row.name.as_ref().map_or_else(|| row.key.map_index.to_string(), ToString::to_string))
}

/// What is the same for all tries of a task instance.
pub(super) struct Common {
    pub dag_display_name: String,
    pub priority_weight: Option<i64>,
    pub version: DagVersionResponse,
}

impl Common {
    pub fn of(version: &Version, row: &TiRow) -> Self {
        let known = row.key.task.usize() < version.dag.len();
        Self {
            dag_display_name: display_name(version.dag.spec()),
            priority_weight: known.then(|| version.dag.priority(row.key.task)),
            version: DagVersionResponse::of(version),
        }
    }
}

impl TiResponse {
    pub async fn of(call: &Call, listing: &TiListing) -> Result<Self, Error> {
        let TiListing { row, .. } = listing;
        let common = Common::of(&*call.version(&listing.dag, listing.version).await?, row);
        Ok(Self {
            id: Uuid::of_ti(row.key),
            task_id: row.task_id.to_string(),
            dag_id: listing.dag.dag_id.to_string(),
            dag_run_id: listing.run_id.to_string(),
            map_index: row.key.map_index.0,
            logical_date: listing.logical_date.map(Time),
            run_after: Time(listing.run_after),
            start_date: row.started_at.map(Time),
            end_date: row.ended_at.map(Time),
            duration: duration(row),
            state: airflow_state(&row.state),
            try_number: row.try_number,
            max_tries: row.max_tries,
            task_display_name: row.task_id.to_string(),
            dag_display_name: common.dag_display_name,
            hostname: row.worker.as_ref().map(|worker| worker.to_string()),
            unixname: None,
            pool: listing.pool.to_string(),
            pool_slots: listing.pool_slots,
            queue: Some(listing.queue.to_string()),
            priority_weight: common.priority_weight,
            operator: Some(listing.operator.clone()),
            operator_name: Some(listing.operator.clone()),
            queued_when: row.queued_at.map(Time),
            scheduled_when: row.scheduled_at.map(Time),
            pid: None,
            executor: None,
            executor_config: "{}",
            note: listing.note.as_ref().map(|note| note.text.clone()),
            rendered_map_index: rendered_map_index(row),
            rendered_fields: Map::new(),
            trigger: None,
            triggerer_job: None,
            dag_version: Some(common.version),
            key: row.key,
        })
    }

    /// Each of a list.
    pub async fn of_all(call: &Call, listings: &[TiListing]) -> Result<Vec<Self>, Error> {
        let mut shown = Vec::with_capacity(listings.len());
        for listing in listings {
            shown.push(Self::of(call, listing).await?);
        }
        Ok(shown)
    }

    /// Those with these keys that are (still) there.
    pub async fn of_keys(call: &Call, keys: &[TiKey]) -> Result<Vec<Self>, Error> {
        let mut shown = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(listing) = call.store().ti(*key).await? {
                shown.push(Self::of(call, &listing).await?);
            }
        }
        Ok(shown)
    }

    /// With the arguments as they were rendered for the latest attempt.
    pub async fn with_rendered(mut self, call: &Call) -> Result<Self, Error> {
        if let Some(Value::Object(fields)) = call.store().rendered(self.key).await? {
            self.rendered_fields = fields;
        }
        Ok(self)
    }
}
