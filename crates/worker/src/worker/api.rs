//! What a running task may ask of its worker: variables, connections and values of other tasks, at the moment
//! it needs them, so that no secret lies about before, and what templates come to.
//!
//! It asks by HTTP at a Unix socket (`$UPDRAFT_TASK_API`), with a token that is its attempt's alone and that it
//! reads from the descriptor `$UPDRAFT_TASK_TOKEN_FD`. A socket with a path can be reached by every process of
//! the machine; only the token opens it, and only until the attempt is over. What it gets is masked in its log
//! from then on.

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::net::UnixListener;
use updraft_core::protocol::{Connection, Order, RunFound, XcomQuery};
use updraft_operators::{HostError, Variable, secrets};

use super::{
    attempt::Tools,
    host::Client,
    templates::{Template, rendered},
};
use crate::process::{Masks, Secret};

/// The name under which the token's descriptor is in a task's environment, `_FD` behind it.
pub(super) const TOKEN: &str = "UPDRAFT_TASK_TOKEN";
/// The name under which the socket is in a task's environment.
pub(super) const SOCKET: &str = "UPDRAFT_TASK_API";

/// The tasks' way to ask.
pub(super) struct TaskApi {
    client: Client,
    sockets: Mutex<Vec<PathBuf>>,
    grants: Mutex<HashMap<String, Grant>>,
}

/// What a token stands for.
#[derive(Clone)]
struct Grant {
    order: Arc<Order>,
    tools: Arc<Tools>,
    masks: Masks,
}

/// The right of one attempt to ask, for as long as this lives.
pub(super) struct Granted {
    api: Arc<TaskApi>,
    socket: PathBuf,
    token: String,
}

impl Granted {
    /// What the task shows.
    pub fn token(&self) -> Secret {
        Secret::new(self.token.clone())
    }

    /// Where the task asks.
    pub fn socket(&self) -> String {
        self.socket.to_string_lossy().into_owned()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.api.lock().remove(&self.token);
    }
}

impl TaskApi {
    /// Nobody can ask before it listens.
    pub fn new(client: Client) -> Arc<Self> {
        Arc::new(Self { client, sockets: Mutex::default(), grants: Mutex::default() })
    }

    /// Listens at this socket from now on, if it does not yet.
    pub fn listen(self: &Arc<Self>, socket: &std::path::Path) -> std::io::Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.iter().any(|known| known == socket) {
            return Ok(());
        }
        // What an earlier worker left.
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(socket)?;
        // Tasks may run as other users; what opens it is the token.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
        let routes = Router::new()
            .route("/worker/v1/variables/{*key}", get(variable))
            .route("/worker/v1/connections/{conn_id}", get(connection))
            .route("/worker/v1/xcom", post(xcom))
            .route("/worker/v1/previous-success", get(previous_success))
            .route("/worker/v1/runs/{dag_id}/{run_id}", get(run))
            .route("/worker/v1/render", post(render))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        sockets.push(socket.to_owned());
        Ok(())
    }

    /// Lets an attempt ask, at a socket that is listened at. What it gets is added to its masks.
    pub fn grant(
        self: &Arc<Self>,
        socket: PathBuf,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        masks: &Masks,
    ) -> Result<Granted, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let grant = Grant { order: order.clone(), tools: tools.clone(), masks: masks.clone() };
        self.lock().insert(token.clone(), grant);
        Ok(Granted { api: self.clone(), socket, token })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Grant>> {
        // A map is whole whatever panicked while it was held.
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose request this is.
    fn admit(&self, headers: &HeaderMap) -> Result<Grant, Refused> {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        token.and_then(|token| self.lock().get(token).cloned()).ok_or(Refused::Stranger)
    }
}

/// Why a request is not answered.
enum Refused {
    Stranger,
    Nothing(String),
    Away(HostError),
    Unmaskable,
    Template(String),
}

impl From<HostError> for Refused {
    fn from(error: HostError) -> Self {
        Self::Away(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Stranger => (StatusCode::UNAUTHORIZED, "this token is no running attempt's".to_owned()),
            Self::Nothing(what) => (StatusCode::NOT_FOUND, format!("there is no {what}")),
            Self::Away(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
            Self::Template(why) => (StatusCode::BAD_REQUEST, why),
            Self::Unmaskable => (StatusCode::INTERNAL_SERVER_ERROR, "it can't be masked in the log".into()),
        };
        (status, Json(json!({"detail": why}))).into_response()
    }
}

/// Hides what is about to be told.
fn hide(grant: &Grant, found: Vec<String>) -> Result<(), Refused> {
    grant.masks.add(found.into_iter().map(Secret::new)).map_err(|_| Refused::Unmaskable)
}

async fn variable(
    State(api): State<Arc<TaskApi>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Variable>, Refused> {
    let grant = api.admit(&headers)?;
    let found: Option<Variable> = api.client.get(grant.order.attempt, &["variables", &key]).await?;
    let found = found.ok_or_else(|| Refused::Nothing(format!("variable `{key}`")))?;
    hide(&grant, secrets::of_variable(&found))?;
    Ok(Json(found))
}

async fn connection(
    State(api): State<Arc<TaskApi>>,
    Path(conn_id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Connection>, Refused> {
    let grant = api.admit(&headers)?;
    let found: Option<Connection> = api.client.get(grant.order.attempt, &["connections", &conn_id]).await?;
    let found = found.ok_or_else(|| Refused::Nothing(format!("connection `{conn_id}`")))?;
    hide(&grant, secrets::of_connection(&found))?;
    Ok(Json(found))
}

/// The last run before the attempt's own that succeeded.
async fn previous_success(
    State(api): State<Arc<TaskApi>>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Refused> {
    let grant = api.admit(&headers)?;
    let found: Option<serde_json::Value> = api.client.get(grant.order.attempt, &["previous-success"]).await?;
    found.map(Json).ok_or_else(|| Refused::Nothing("run before that succeeded".into()))
}

/// A run of the attempt's namespace, as it is now.
async fn run(
    State(api): State<Arc<TaskApi>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<RunFound>, Refused> {
    let grant = api.admit(&headers)?;
    let found = api.client.get(grant.order.attempt, &["runs", &dag_id, &run_id]).await?;
    found.map(Json).ok_or_else(|| Refused::Nothing(format!("run `{run_id}` of `{dag_id}`")))
}

/// Values of other tasks; asked on behalf of the attempt whose token it is, whatever the request says.
async fn xcom(
    State(api): State<Arc<TaskApi>>,
    headers: HeaderMap,
    Json(asked): Json<XcomQuery>,
) -> Result<Response, Refused> {
    let grant = api.admit(&headers)?;
    let values = api.client.xcom(&XcomQuery { attempt: grant.order.attempt, ..asked }).await?;
    Ok(Json(json!({"values": values})).into_response())
}

/// What a template comes to that only the object of a Python class has.
async fn render(
    State(api): State<Arc<TaskApi>>,
    headers: HeaderMap,
    Json(template): Json<Template>,
) -> Result<Response, Refused> {
    let Grant { order, tools, masks } = api.admit(&headers)?;
    let value = rendered(&order, &tools, &masks, template).await.map_err(Refused::Template)?;
    Ok(Json(json!({"value": value})).into_response())
}
