//! `/monitor/health` and `/version`.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Shared, time::Time};
use crate::{git::Status, leader::now, workers::Keepers};

/// A part that does not answer within this time is unhealthy.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_health)).routes(routes!(get_version))
}

/// How the parts are.
#[derive(Serialize, ToSchema)]
struct HealthInfoResponse {
    metadatabase: BaseInfoResponse,
    scheduler: SchedulerInfoResponse,
    triggerer: TriggererInfoResponse,
    dag_processor: DagProcessorInfoResponse,
    /// Where this server has a keeper: how that is. Airflow knows of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    keeper: Option<KeeperInfoResponse>,
}

/// How the keeper is, which holds this machine's tasks.
#[derive(Serialize, ToSchema)]
struct KeeperInfoResponse {
    /// `unhealthy` when its process is there and does nothing, or when none takes tasks.
    status: Option<&'static str>,
    /// Which do nothing; one that ends what it has can be there beside the one that takes tasks. It is killed and replaced,
    /// if that lasts.
    hung: Vec<String>,
    /// So many end what they have that no other is started before one of them has gone.
    full: bool,
}

/// How the database is.
#[derive(Serialize, ToSchema)]
struct BaseInfoResponse {
    /// `healthy` or `unhealthy`: it does not answer, or refuses what is written, as a full disk does.
    status: Option<&'static str>,
}

/// How the leader is.
#[derive(Serialize, ToSchema)]
struct SchedulerInfoResponse {
    /// `healthy` or `unhealthy`.
    status: Option<&'static str>,
    /// When its loop last gave a sign of life; unknown where another server leads.
    latest_scheduler_heartbeat: Option<Time>,
}

/// Waits are the leader's timers and the workers' watches: there is no triggerer.
#[derive(Serialize, ToSchema)]
struct TriggererInfoResponse {
    status: Option<&'static str>,
    latest_triggerer_heartbeat: Option<Time>,
}

/// Files are read by the servers: there is no processor beside them. Where DAGs come from a repository, this is
/// how that is.
#[derive(Serialize, ToSchema)]
struct DagProcessorInfoResponse {
    /// `unhealthy` when the repository can't be had: the last good commit is at work, and the import errors say why.
    status: Option<&'static str>,
    /// When the repository last answered well.
    latest_dag_processor_heartbeat: Option<Time>,
}

impl DagProcessorInfoResponse {
    fn of(git: &Status) -> Self {
        let status = match (&git.error, git.last_good) {
            (Some(_), _) => Some("unhealthy"),
            (None, Some(_)) => Some("healthy"),
            // Its first answer is awaited.
            (None, None) => None,
        };
        Self { status, latest_dag_processor_heartbeat: git.last_good.map(Time) }
    }
}

/// How the database and the leader are. Answered with 200 whatever it says.
#[utoipa::path(
    get, path = "/api/v2/monitor/health", tag = "Monitor",
    responses((status = 200, body = HealthInfoResponse)), security(()),
)]
async fn get_health(State(shared): State<Arc<Shared>>) -> Json<HealthInfoResponse> {
    let word = |healthy| Some(if healthy { "healthy" } else { "unhealthy" });
    let database = tokio::time::timeout(ANSWERS_WITHIN, shared.store.ping());
    let loop_of_leader = tokio::time::timeout(ANSWERS_WITHIN, shared.leader.ask(|_| now()));
    let (database, beat) = tokio::join!(database, loop_of_leader);
    let beat = beat.ok().and_then(Result::ok);
    let is_written = shared.leader.times().refused.get() == 0;
    let led = match beat {
        Some(_) => true,
        // Another server may lead: its lease says.
        None => match tokio::time::timeout(ANSWERS_WITHIN, shared.store.leader()).await {
            Ok(Ok(Some(leader))) => !leader.expired,
            Ok(Ok(None) | Err(_)) | Err(_) => false,
        },
    };
    Json(HealthInfoResponse {
        metadatabase: BaseInfoResponse { status: word(matches!(database, Ok(Ok(()))) && is_written) },
        scheduler: SchedulerInfoResponse { status: word(led), latest_scheduler_heartbeat: beat.map(Time) },
        triggerer: TriggererInfoResponse { status: None, latest_triggerer_heartbeat: None },
        dag_processor: match &shared.git {
            Some(git) => DagProcessorInfoResponse::of(&git.status()),
            None => DagProcessorInfoResponse { status: None, latest_dag_processor_heartbeat: None },
        },
        keeper: shared.workers.keepers().map(|Keepers { hung, full }| KeeperInfoResponse {
            status: word(hung.is_empty() && !full),
            hung,
            full,
        }),
    })
}

/// This program's version.
#[derive(Serialize, ToSchema)]
struct VersionInfo {
    /// Its number.
    version: &'static str,
    /// The commit it was built from, where that is known.
    git_version: Option<&'static str>,
}

/// This program's version, not that of Airflow.
#[utoipa::path(
    get, path = "/api/v2/version", tag = "Version", responses((status = 200, body = VersionInfo)),
    security(()),
)]
async fn get_version() -> Json<VersionInfo> {
    Json(VersionInfo { version: env!("CARGO_PKG_VERSION"), git_version: None })
}
