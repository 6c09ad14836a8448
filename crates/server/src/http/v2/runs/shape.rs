//! A run as Airflow shows it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use updraft_core::{RunState, record::RunType};
use updraft_store::RunListing;
use utoipa::ToSchema;

use super::super::super::{
    Error,
    call::Call,
    time::{Time, between},
};
use super::super::{dags::display_name, versions::DagVersionResponse};

/// A run.
#[derive(Serialize, ToSchema)]
#[schema(as = DAGRunResponse)]
pub(in super::super::super) struct RunResponse {
    dag_run_id: String,
    dag_id: String,
    logical_date: Option<Time>,
    queued_at: Option<Time>,
    start_date: Option<Time>,
    end_date: Option<Time>,
    /// Seconds from beginning to end.
    duration: Option<f64>,
    data_interval_start: Option<Time>,
    data_interval_end: Option<Time>,
    run_after: Time,
    last_scheduling_decision: Option<Time>,
    #[schema(value_type = String)]
    run_type: RunType,
    #[schema(value_type = String)]
    state: RunState,
    triggered_by: Option<String>,
    triggering_user_name: Option<String>,
    #[schema(value_type = Object)]
    conf: Arc<Value>,
    note: Option<String>,
    dag_versions: Vec<DagVersionResponse>,
    /// The commit that it stays on.
    bundle_version: Option<String>,
    dag_display_name: String,
    partition_key: Option<String>,
    partition_date: Option<Time>,
}

impl RunResponse {
    pub async fn of(call: &Call, listing: &RunListing) -> Result<Self, Error> {
        let row = &listing.row;
        let version = call.version(&row.dag, row.version).await?;
        Ok(Self {
            dag_run_id: row.run_id.to_string(),
            dag_id: row.dag.dag_id.to_string(),
            logical_date: row.logical_date.map(Time),
            queued_at: Some(Time(row.queued_at)),
            start_date: row.started_at.map(Time),
            end_date: row.ended_at.map(Time),
            duration: between(row.started_at, row.ended_at),
            data_interval_start: row.data_interval.map(|(start, _)| Time(start)),
            data_interval_end: row.data_interval.map(|(_, end)| Time(end)),
            run_after: Time(row.run_after),
            last_scheduling_decision: None,
            run_type: row.run_type,
            state: row.state,
            triggered_by: Some(row.triggered_by.clone()),
            triggering_user_name: row.triggering_user.clone(),
            conf: row.conf.clone(),
            note: listing.note.as_ref().map(|note| note.text.clone()),
            dag_versions: vec![DagVersionResponse::of(&version)],
            bundle_version: version.dag.spec().bundle.as_ref().map(|bundle| bundle.version.clone()),
            dag_display_name: display_name(version.dag.spec()),
            partition_key: None,
            partition_date: None,
        })
    }

    /// Each of a list.
    pub async fn of_all(call: &Call, listings: &[RunListing]) -> Result<Vec<Self>, Error> {
        let mut shown = Vec::with_capacity(listings.len());
        for listing in listings {
            shown.push(Self::of(call, listing).await?);
        }
        Ok(shown)
    }
}
