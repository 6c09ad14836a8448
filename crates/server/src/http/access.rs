//! Which role each route needs: all of them, in one place. A route that is not here is refused to everybody.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use subtle::ConstantTimeEq as _;
use updraft_core::Namespace;
use updraft_store::TiListing;

use super::{Error, Shared, error};
use crate::accounts::{
    JoinToken,
    Role::{self, Admin, Op, User, Viewer},
};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Anybody.
    Open,
    /// An account with this role, or one that may more.
    From(Role),
    /// A worker, by the token it joins with.
    Worker,
}

use Access::{From, Open, Worker};

/// By which token a worker is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// The installation's own, which the keeper has.
    Own,
    /// One that was made for it.
    Other(JoinToken),
}

impl Joining {
    /// The only namespace that it is for.
    pub(crate) fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Own => None,
            Self::Other(token) => token.namespace.as_ref(),
        }
    }

    /// The token that was made for it.
    pub(crate) fn token(&self) -> Option<&JoinToken> {
        match self {
            Self::Own => None,
            Self::Other(token) => Some(token),
        }
    }

    /// Refuses what concerns a task instance of another namespace.
    pub(crate) fn check(&self, ti: Option<&TiListing>) -> Result<(), Error> {
        match (self.namespace(), ti) {
            (Some(own), Some(ti)) if ti.dag.namespace != *own => {
                Err(Error::forbidden(format!("this worker's token is for the namespace `{own}` alone")))
            }
            _ => Ok(()),
        }
    }
}

const DAG: &str = "/api/v2/dags/{dag_id}";

/// As Airflow's simple auth manager has it: viewers read DAGs, runs and pools; users change runs; ops change
/// pools, connections and variables and are the only ones who see these.
const TABLE: &[(&str, &str, Access)] = &[
    ("POST", "/auth/token", Open),
    ("POST", "/auth/token/cli", Open),
    ("GET", "/", Open),
    ("GET", "/docs", Open),
    ("GET", "/dags/{*of}", Open),
    ("GET", "/api/v1/openapi.json", Open),
    ("GET", "/api/v2/openapi.json", Open),
    ("GET", "/schema/dag.json", Open),
    ("GET", "/metrics", From(Viewer)),
    ("GET", "/api/v2/monitor/health", Open),
    ("GET", "/api/v2/version", Open),
    ("GET", "/api/v2/dags", From(Viewer)),
    ("PATCH", "/api/v2/dags", From(User)),
    ("GET", DAG, From(Viewer)),
    ("PATCH", DAG, From(User)),
    ("DELETE", DAG, From(User)),
    ("GET", "/api/v2/dags/{dag_id}/details", From(Viewer)),
    ("GET", "/api/v2/assets", From(Viewer)),
    ("GET", "/api/v2/assets/{asset_id}", From(Viewer)),
    ("GET", "/api/v2/assets/events", From(Viewer)),
    ("POST", "/api/v2/assets/events", From(User)),
    ("POST", "/api/v1/assets/events", From(User)),
    ("POST", "/api/v2/assets/{asset_id}/materialize", From(User)),
    ("GET", "/api/v2/assets/{asset_id}/queuedEvents", From(Viewer)),
    ("DELETE", "/api/v2/assets/{asset_id}/queuedEvents", From(User)),
    ("GET", "/api/v2/dags/{dag_id}/assets/queuedEvents", From(Viewer)),
    ("DELETE", "/api/v2/dags/{dag_id}/assets/queuedEvents", From(User)),
    ("GET", "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", From(Viewer)),
    ("DELETE", "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", From(User)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", From(Viewer)),
    ("GET", "/api/v2/dagStats", From(Viewer)),
    ("GET", "/api/v2/dagTags", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagVersions", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagVersions/{version_number}", From(Viewer)),
    ("GET", "/api/v2/dagSources/{dag_id}", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/tasks", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/tasks/{task_id}", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns", From(Viewer)),
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns", From(User)),
    ("POST", "/api/v2/dags/{dag_id}/clearDagRuns", From(User)),
    ("POST", "/api/v2/dags/{dag_id}/dagRuns", From(User)),
    ("POST", "/api/v2/dags/{dag_id}/dagRuns/list", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", From(Viewer)),
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", From(User)),
    ("DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", From(User)),
    ("POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear", From(User)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", From(Viewer)),
    ("POST", "/api/v2/dags/{dag_id}/clearTaskInstances", From(User)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", From(Viewer)),
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", From(User)),
    ("POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", From(Viewer)),
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", From(User)),
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run", From(User)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies", From(Viewer)),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries", From(Viewer)),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}",
        From(Viewer),
    ),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}", From(Viewer)),
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}", From(User)),
    (
        "PATCH",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
        From(User),
    ),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies",
        From(Viewer),
    ),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries",
        From(Viewer),
    ),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}",
        From(Viewer),
    ),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}",
        From(Viewer),
    ),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", From(Viewer)),
    ("POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", From(User)),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{*xcom_key}",
        From(Viewer),
    ),
    (
        "PATCH",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{*xcom_key}",
        From(User),
    ),
    (
        "DELETE",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{*xcom_key}",
        From(User),
    ),
    ("GET", "/api/v2/importErrors", From(Viewer)),
    ("GET", "/api/v2/importErrors/{import_error_id}", From(Viewer)),
    ("GET", "/api/v2/pools", From(Viewer)),
    ("POST", "/api/v2/pools", From(Op)),
    ("PATCH", "/api/v2/pools", From(Op)),
    ("GET", "/api/v2/pools/{*pool_name}", From(Viewer)),
    ("PATCH", "/api/v2/pools/{*pool_name}", From(Op)),
    ("DELETE", "/api/v2/pools/{*pool_name}", From(Op)),
    ("GET", "/api/v2/variables", From(Op)),
    ("POST", "/api/v2/variables", From(Op)),
    ("PATCH", "/api/v2/variables", From(Op)),
    ("GET", "/api/v2/variables/{*variable_key}", From(Op)),
    ("PATCH", "/api/v2/variables/{*variable_key}", From(Op)),
    ("DELETE", "/api/v2/variables/{*variable_key}", From(Op)),
    ("GET", "/api/v2/connections", From(Op)),
    ("POST", "/api/v2/connections", From(Op)),
    ("PATCH", "/api/v2/connections", From(Op)),
    ("POST", "/api/v2/connections/test", From(Op)),
    ("GET", "/api/v2/connections/{connection_id}", From(Op)),
    ("PATCH", "/api/v2/connections/{connection_id}", From(Op)),
    ("DELETE", "/api/v2/connections/{connection_id}", From(Op)),
    ("GET", "/api/v2/backfills", From(Viewer)),
    ("POST", "/api/v2/backfills", From(User)),
    ("POST", "/api/v2/backfills/dry_run", From(User)),
    ("GET", "/api/v2/backfills/{backfill_id}", From(Viewer)),
    ("PUT", "/api/v2/backfills/{backfill_id}/pause", From(User)),
    ("PUT", "/api/v2/backfills/{backfill_id}/unpause", From(User)),
    ("PUT", "/api/v2/backfills/{backfill_id}/cancel", From(User)),
    ("GET", "/api/v2/eventLogs", From(Viewer)),
    ("GET", "/api/v2/eventLogs/{event_log_id}", From(Viewer)),
    ("GET", "/api/v2/jobs", From(Viewer)),
    ("GET", "/api/v1/whoami", From(Viewer)),
    ("PUT", "/api/v1/whoami/password", From(Viewer)),
    ("GET", "/api/v1/users", From(Admin)),
    ("POST", "/api/v1/users", From(Admin)),
    ("GET", "/api/v1/users/{username}", From(Admin)),
    ("PATCH", "/api/v1/users/{username}", From(Admin)),
    ("DELETE", "/api/v1/users/{username}", From(Admin)),
    ("GET", "/api/v1/tokens", From(Viewer)),
    ("POST", "/api/v1/tokens", From(Viewer)),
    ("DELETE", "/api/v1/tokens/{id}", From(Viewer)),
    // A DAG is code that runs: who puts one can do whatever a task can.
    ("POST", "/api/v1/dags", From(Admin)),
    // Whoever calls it has no account: it looks for the secret itself.
    ("POST", "/api/v1/dags/git/webhook", Open),
    ("POST", "/api/v1/dags/{dag_id}/dagRuns", From(User)),
    ("GET", "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/why", From(Viewer)),
    ("POST", "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/pause", From(User)),
    ("POST", "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/continue", From(User)),
    ("POST", "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/stop", From(User)),
    ("GET", "/api/v1/dags/{dag_id}/dagRuns/{run_id}/transitions", From(Viewer)),
    ("GET", "/api/v1/dags/{dag_id}/dagRuns/{run_id}/progress", From(Viewer)),
    ("GET", "/api/v1/dags/{dag_id}/ticks", From(Viewer)),
    ("GET", "/api/v1/servers", From(Viewer)),
    ("GET", "/api/v1/workers", From(Viewer)),
    ("DELETE", "/api/v1/workers/{worker}", From(Admin)),
    ("POST", "/api/v1/workers/{worker}/drain", From(Admin)),
    ("POST", "/api/v1/workers/{worker}/resume", From(Admin)),
    ("GET", "/api/v1/backfills", From(Viewer)),
    ("POST", "/api/v1/backfills/preview", From(User)),
    ("GET", "/api/v1/backfills/{id}", From(Viewer)),
    ("GET", "/api/v1/backfills/{id}/runs", From(Viewer)),
    ("GET", "/api/v1/deliveries", From(Viewer)),
    ("GET", "/api/v1/deliveries/{id}", From(Viewer)),
    ("GET", "/api/v1/deliveries/{id}/logs", From(Viewer)),
    ("POST", "/api/v1/deliveries/{id}/drop", From(Op)),
    ("POST", "/api/v1/deliveries/{id}/resend", From(Op)),
    ("POST", "/api/v1/dags/{dag_id}/alerts/test", From(User)),
    ("GET", "/api/v1/pause", From(Viewer)),
    ("PUT", "/api/v1/pause", From(Op)),
    ("GET", "/api/v1/events", From(Viewer)),
    ("GET", "/api/v1/deployments", From(Viewer)),
    ("POST", "/api/v1/deployments", From(Admin)),
    ("GET", "/api/v1/deployments/{number}", From(Viewer)),
    ("POST", "/api/v1/deployments/rollback", From(Admin)),
    ("GET", CONNECT, Worker),
    ("POST", "/worker/v1/xcom", Worker),
    ("GET", "/worker/v1/connections/{conn_id}", Worker),
    ("GET", "/worker/v1/variables/{*key}", Worker),
    ("PUT", "/worker/v1/blobs/{attempt}/{name}", Worker),
    ("PUT", "/worker/v1/logs/{attempt}", Worker),
    ("GET", "/worker/v1/previous-success", Worker),
    ("GET", "/worker/v1/runs/{dag_id}/{run_id}", Worker),
    ("GET", "/worker/v1/smtp", Worker),
    ("POST", "/worker/v1/runs", Worker),
    ("POST", "/worker/v1/states", Worker),
    ("GET", "/worker/v1/next-interval", Worker),
    ("GET", "/worker/v1/bundles/{hash}", Worker),
];

/// Where bundles are uploaded.
pub(super) const DEPLOY: &str = "/api/v1/deployments";

/// The socket that workers hold.
pub(super) const CONNECT: &str = "/worker/v1/connect";

/// Routes that ask the engine, or follow what the leader writes, though they change nothing.
const ASK_LEADER: &[&str] = &[
    "/api/v1/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/why",
    "/api/v1/dags/{dag_id}/dagRuns/{run_id}/progress",
    "/api/v1/events",
    "/api/v1/workers",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies",
    CONNECT,
];

/// Routes that any server answers, though by their method they could change something: they look, or what they take has
/// its place where all servers find it.
const ASK_ANYBODY: &[&str] = &[
    "/auth/token",
    "/auth/token/cli",
    "/api/v2/dags/{dag_id}/dagRuns/list",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list",
    "/worker/v1/xcom",
    "/worker/v1/blobs/{attempt}/{name}",
    "/worker/v1/logs/{attempt}",
];

/// Whether this is the leader's to answer. Whatever changes something is, so that who may change what is asked in one
/// place.
pub(super) fn is_of_leader(method: &Method, route: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => ASK_LEADER.contains(&route),
        _ => !ASK_ANYBODY.contains(&route),
    }
}

/// Routes that follow something, or take up what is long.
const ANY_TIME: &[&str] = &[
    DEPLOY,
    "/api/v1/deployments/rollback",
    "/api/v1/events",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait",
    CONNECT,
    "/worker/v1/blobs/{attempt}/{name}",
    "/worker/v1/bundles/{hash}",
];

/// What concerns the installation and not one namespace: nothing for accounts that are bound to one.
const OF_INSTALLATION: &[&str] = &[
    "/metrics",
    "/api/v1/pause",
    "/api/v1/servers",
    "/api/v1/users",
    "/api/v1/users/{username}",
    "/api/v1/workers",
    "/api/v1/workers/{worker}",
    "/api/v1/workers/{worker}/drain",
    "/api/v1/workers/{worker}/resume",
    "/api/v2/jobs",
];

pub(super) fn may_take_any_time(route: &str) -> bool {
    ANY_TIME.contains(&route)
}

fn access_to(method: &Method, route: &str) -> Option<Access> {
    // What answers GET answers HEAD.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    TABLE.iter().find(|(m, r, _)| *m == method && *r == route).map(|(_, _, access)| *access)
}

/// Lets a request through if whoever makes it may, and notes who that is.
pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    route: MatchedPath,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let access = access_to(request.method(), route.as_str());
    match access.ok_or_else(|| no_access(route.as_str()))? {
        Open => {}
        Worker => {
            let token = bearer(request.headers()).ok_or_else(not_authenticated)?;
            let ours = shared.config.worker_tokens.iter().map(|ours| ours.as_bytes().ct_eq(token.as_bytes()));
            let configured = ours.fold(subtle::Choice::from(0), |any, this| any | this);
            let joining = match bool::from(configured) {
                true => Some(Joining::Own),
                false => shared.accounts.may_join(token).await?.map(Joining::Other),
            };
            let none = "this is no worker's token: make one with `updraft tokens create NAME --join`";
            request.extensions_mut().insert(joining.ok_or_else(|| Error::forbidden(none))?);
        }
        From(role) => {
            let token = bearer(request.headers()).ok_or_else(not_authenticated)?;
            let who = shared.accounts.identify(token).await?;
            let namespace = request.extensions().get::<Namespace>().cloned().unwrap_or_default();
            if who.role < role {
                let (name, has) = (&who.name, who.role);
                return Err(forbidden(format!(
                    "the account `{name}` has the role {has}, and this needs {role}"
                )));
            }
            let of_installation = OF_INSTALLATION.contains(&route.as_str());
            if let Some(own) = who.namespace.as_ref().filter(|own| **own != namespace || of_installation) {
                let name = &who.name;
                return Err(forbidden(format!("the account `{name}` is bound to the namespace `{own}`")));
            }
            request.extensions_mut().insert(who);
        }
    }
    Ok(next.run(request).await)
}

/// A route that is known takes other methods only; any other is nobody's.
fn no_access(route: &str) -> Error {
    match TABLE.iter().any(|(_, known, _)| *known == route) {
        true => error::method_not_allowed(),
        false => Error::forbidden("Forbidden"),
    }
}

/// Airflow's word, and why: whoever has a token may know whose it is.
fn forbidden(why: String) -> Error {
    Error::forbidden(format!("Forbidden: {why}"))
}

fn not_authenticated() -> Error {
    Error::Status(axum::http::StatusCode::UNAUTHORIZED, "Not authenticated".into())
}

/// The token in the header. Never one in a cookie or in the path: a page of another site can have a browser
/// send those.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_has_an_entry_and_every_entry_a_route() {
        let document = super::super::routes().into_openapi();
        let document = serde_json::to_value(document).unwrap();
        let mut routes = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                routes.insert((method.to_uppercase(), path.clone()));
            }
        }
        let entries: BTreeSet<_> =
            TABLE.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
        let missing: Vec<_> = routes.difference(&entries).collect();
        let left_over: Vec<_> = entries.difference(&routes).collect();
        assert!(
            missing.is_empty() && left_over.is_empty(),
            "without entry {missing:?}, without route {left_over:?}"
        );
        assert_eq!(entries.len(), TABLE.len(), "an entry is there twice");
    }

    #[test]
    fn each_list_names_routes_that_there_are() {
        let lists = [ANY_TIME, OF_INSTALLATION, ASK_LEADER, ASK_ANYBODY];
        let known = |route: &&str| TABLE.iter().any(|(_, known, _)| known == route);
        assert_eq!(lists.concat().into_iter().find(|route| !known(route)), None);
        assert!(is_of_leader(&Method::DELETE, DAG) && !is_of_leader(&Method::GET, DAG));
    }

    #[test]
    fn what_is_not_in_the_table_is_nobodys() {
        assert_eq!(access_to(&Method::DELETE, "/api/v2/jobs"), None);
        assert_eq!(access_to(&Method::HEAD, "/api/v2/jobs"), Some(From(Viewer)));
    }

    #[test]
    fn only_a_bearer_token_in_the_header_counts() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "bearer  t ".parse().unwrap());
        assert_eq!(bearer(&headers), Some("t"));
        headers.insert(AUTHORIZATION, "Basic dDp0".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }
}
