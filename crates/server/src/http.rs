//! The HTTP API: Airflow's REST API v2 at `/api/v2`, what is ours at `/api/v1`, tokens at `/auth`, the workers'
//! side at `/worker/v1`, metrics, and the OpenAPI documents of all this.
//!
//! `/ns/{name}/api/…` is the same for another namespace.
//!
//! # Architecture Invariant
//!
//! A route that `access` does not name is refused to everybody. Nothing here writes what the engine decides:
//! it hands the leader a command, and answers when what it led to is in the store.

mod access;
mod auth;
mod body;
mod call;
mod docs;
mod edge;
mod error;
mod metrics;
mod pass_on;
mod path;
pub(crate) mod query;
mod time;
mod uuid;
mod v1;
pub(crate) mod v2;
mod versions;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::sync::watch;
use updraft_store::Store;

pub use self::metrics::Metrics;
pub(crate) use self::{
    access::Joining,
    body::Body,
    error::{Error, Invalid, Reads, Writes},
    path::Path,
};
use self::{pass_on::PassOn, versions::Versions};
use crate::{
    accounts::Accounts,
    authoring::Check,
    blobs::Blobs,
    deployments::Deployments,
    git::Mirror,
    leader::Handle,
    leadership::Lead,
    logs::Logs,
    secrets::Secrets,
    workers::{self, Workers},
};

/// What can be set about the API.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names by which this server is asked beside `localhost` and addresses of this machine; `*` for any.
    pub hosts: Vec<String>,
    /// A request that takes longer is answered with 503. Following logs and events may take any time.
    pub timeout: Duration,
    /// A request's body may have so many bytes. Uploads of workers have a limit of their own.
    pub most_body_bytes: usize,
    /// A value that a worker uploads may have so many bytes.
    pub most_blob_bytes: u64,
    /// How long a token from `/auth/token` is good (Airflow's `jwt_expiration_time`).
    pub token_lifetime: Duration,
    /// How long one from `/auth/token/cli` is good (Airflow's `jwt_cli_expiration_time`).
    pub cli_token_lifetime: Duration,
    /// Tokens with which workers may connect, beside those in the store.
    pub worker_tokens: Vec<String>,
    /// A worker that is silent for so long is given up.
    pub lease: Duration,
    /// Whether a DAG that does not say begins paused (Airflow's `dags_are_paused_at_creation`).
    pub paused_at_creation: bool,
    /// Where mail goes when no connection says so, and the address it comes from.
    pub smtp: Option<(String, Option<String>)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            timeout: Duration::from_secs(30),
            most_body_bytes: 16 * 1024 * 1024,
            most_blob_bytes: 1024 * 1024 * 1024,
            token_lifetime: Duration::from_secs(24 * 60 * 60),
            cli_token_lifetime: Duration::from_secs(60 * 60),
            worker_tokens: Vec::new(),
            lease: Duration::from_secs(30),
            paused_at_creation: true,
            smtp: None,
        }
    }
}

/// What the API works with.
pub struct State {
    /// Where the state is.
    pub store: Arc<dyn Store>,
    /// The way to the leader, where that is this server.
    pub leader: Handle,
    /// Who leads.
    pub lead: watch::Receiver<Lead>,
    /// The workers' connections.
    pub workers: Arc<Workers>,
    /// Connections and variables.
    pub secrets: Arc<Secrets>,
    /// Who may do what.
    pub accounts: Arc<Accounts>,
    /// The logs of attempts.
    pub logs: Arc<dyn Logs>,
    /// Values that are too large for the store.
    pub blobs: Arc<Blobs>,
    /// What is deployed.
    pub deployments: Arc<Deployments>,
    /// The operators that DAGs which are put may name.
    pub check: Arc<Check>,
    /// What follows the repository of DAG files, where there is one.
    pub git: Option<Arc<Mirror>>,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// The settings.
    pub config: Config,
}

/// [`State`], and what the routes keep between requests.
pub(crate) struct Shared {
    pub state: State,
    pub versions: Versions,
    pass_on: PassOn,
}

impl std::ops::Deref for Shared {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// All routes. An error where no other server could be asked: without TLS.
pub fn router(state: State) -> Result<Router, reqwest::Error> {
    let pass_on = PassOn::new(state.lead.clone())?;
    let shared = Arc::new(Shared { state, versions: Versions::default(), pass_on });
    let limit = DefaultBodyLimit::max(shared.config.most_body_bytes);
    let (routes, _) = routes().split_for_parts();
    let routes = routes
        .fallback(error::no_route)
        .route_layer(middleware::from_fn_with_state(shared.clone(), pass_on::pass_on))
        .route_layer(middleware::from_fn_with_state(shared.clone(), edge::time_out))
        .route_layer(middleware::from_fn_with_state(shared.clone(), access::authorize))
        .route_layer(middleware::from_fn_with_state(shared.clone(), metrics::measure))
        .layer(limit)
        .with_state(shared.clone());
    // The namespace is taken out of the path before a route is looked for.
    let by_namespace = tower::util::MapRequest::new(routes, edge::take_namespace);
    let routes = Router::new()
        .fallback_service(by_namespace)
        .layer(middleware::from_fn_with_state(shared.clone(), edge::check_host))
        .layer(middleware::from_fn(edge::mark));
    Ok(routes)
}

/// Every route there is, each with its description.
fn routes() -> utoipa_axum::router::OpenApiRouter<Arc<Shared>> {
    utoipa_axum::router::OpenApiRouter::new()
        .merge(auth::routes())
        .merge(v2::routes())
        .merge(v1::routes())
        .merge(workers::api::routes())
        .merge(docs::routes())
        .merge(metrics::routes())
}
