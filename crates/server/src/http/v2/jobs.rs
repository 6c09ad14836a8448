//! What Airflow calls jobs: `/jobs`. Here there is one, the leader.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use updraft_store::Window;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Reads, Shared, call::Call, query::query, time::Time};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_jobs))
}

/// A job.
#[derive(Serialize, ToSchema)]
struct JobResponse {
    /// How often leadership was taken up to now.
    id: u64,
    dag_id: Option<String>,
    /// `running`, or `failed` where the lease has run out.
    state: Option<&'static str>,
    job_type: Option<&'static str>,
    start_date: Option<Time>,
    end_date: Option<Time>,
    latest_heartbeat: Option<Time>,
    executor_class: Option<String>,
    /// The server's name.
    hostname: Option<String>,
    unixname: Option<String>,
    dag_display_name: Option<String>,
}

/// Jobs.
#[derive(Serialize, ToSchema)]
struct JobCollectionResponse {
    jobs: Vec<JobResponse>,
    total_entries: u64,
}

query! {
    /// Which jobs.
    JobsQuery {
        window: Window,
        /// Only those that live, or only those that don't.
        is_alive: Option<bool>,
        /// In this state.
        job_state: Option<String>,
        /// Of this type: there are only `SchedulerJob`s.
        job_type: Option<String>,
        /// On this server.
        hostname: Option<String>,
    }
}

/// The leader: the one job there is. Workers are at `/api/v1/workers`.
#[utoipa::path(
    get, path = "/api/v2/jobs", tag = "Job", params(JobsQuery),
    responses((status = 200, body = JobCollectionResponse), Reads),
)]
async fn get_jobs(call: Call, query: JobsQuery) -> Result<Json<JobCollectionResponse>, Error> {
    let leader = call.store().leader().await?;
    let job = leader.map(|leader| JobResponse {
        id: leader.fence.0,
        dag_id: None,
        state: Some(if leader.expired { "failed" } else { "running" }),
        job_type: Some("SchedulerJob"),
        start_date: None,
        end_date: leader.expired.then_some(Time(leader.until)),
        latest_heartbeat: None,
        executor_class: None,
        hostname: Some(leader.holder),
        unixname: None,
        dag_display_name: None,
    });
    let is = |asked: &Option<String>, value: Option<&str>| {
        asked.as_deref().is_none_or(|asked| Some(asked) == value)
    };
    let jobs: Vec<JobResponse> = job
        .into_iter()
        .filter(|job| {
            query.is_alive.is_none_or(|alive| alive == (job.state == Some("running")))
                && is(&query.job_state, job.state)
                && is(&query.job_type, job.job_type)
                && is(&query.hostname, job.hostname.as_deref())
        })
        .collect();
    let total_entries = jobs.len() as u64;
    let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
    let jobs = jobs.into_iter().skip(offset).take(limit).collect();
    Ok(Json(JobCollectionResponse { jobs, total_entries }))
}
