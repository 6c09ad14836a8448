//! A server for a test, and asking it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, sync::watch};
use updraft_core::record::AuditRow;
use updraft_server::{
    accounts::Accounts,
    authoring,
    blobs::Blobs,
    deliveries::Caller,
    deployments::Deployments,
    http::{Config, State, router},
    leader::{Handle, Inbox, Leader, Surroundings, channel},
    leadership::Lead,
    logs::LogFolder,
    secrets::{Environment, Keys, Secrets},
    workers::Workers,
};
use updraft_store::{MemoryStore, NewAccount, Store, TokenKind};

use super::shapes;

/// What workers of the test show.
pub const WORKER_TOKEN: &str = "worker-token-of-the-test";

/// A server at a free port.
pub struct Server {
    pub address: SocketAddr,
    pub store: Arc<dyn Store>,
    /// While it is there, the server is not asked to stop.
    pub leader: Handle,
    pub home: TempDir,
    accounts: Arc<Accounts>,
    secrets: Arc<Secrets>,
    client: reqwest::Client,
    /// By role: viewer, user, op, admin.
    tokens: [String; 4],
    /// Keeps the leader certain of its lease.
    _certain: watch::Sender<Instant>,
    /// Kept where nobody leads, so that what is sent waits for ever.
    _inbox: Option<Inbox>,
}

/// An answer, taken in.
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    what: String,
}

impl Server {
    /// A server that leads.
    pub async fn start() -> Self {
        Self::with(true, Config::default()).await
    }

    /// A server with settings of its own; one that does not lead, where that is asked for.
    pub async fn with(leads: bool, config: Config) -> Self {
        // Another test of this process may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let keys = Keys::of_home(home.path()).unwrap();
        let accounts = Arc::new(Accounts::new(store.clone(), &keys));
        let workers = Arc::new(Workers::default());
        let (leader, inbox) = channel();
        let (certain, certain_until) = watch::channel(Instant::now() + Duration::from_secs(3600));
        let environment =
            [("AIRFLOW_CONN_FROM_ENV", "http://env:secret@example.com"), ("AIRFLOW_VAR_FROM_ENV", "env")];
        let environment = Environment::new(environment.map(|(name, value)| (name.into(), value.into())));
        let inbox = match leads {
            true => {
                let logs = Arc::new(LogFolder::new(home.path().join("logs")));
                lead(store.clone(), workers.clone(), inbox, certain_until, logs).await;
                None
            }
            false => Some(inbox),
        };
        let secrets = Arc::new(Secrets::new(store.clone(), keys, environment));
        let blobs = Arc::new(Blobs::in_folder(&home.path().join("blobs")).unwrap());
        let check: Arc<authoring::Check> = Arc::new(authoring::native);
        let folder = home.path().join("deployed");
        let deployments =
            Arc::new(Deployments::new(folder, store.clone(), blobs.clone(), leader.clone(), check.clone()));
        if leads {
            let folder = authoring::Folder {
                root: None,
                // Nobody reads files for the others.
                namespace: "of-files".into(),
                check: check.clone(),
                variable: Arc::new(|_| None),
                owners: BTreeMap::new(),
                look_every: Duration::from_secs(60),
                git: None,
                above: Vec::new(),
                deployed: None,
            };
            tokio::spawn(deployments.clone().run(folder, false));
        }
        let state = State {
            store: store.clone(),
            leader: leader.clone(),
            lead: if leads { Lead::always_here() } else { watch::channel(Lead::Nobody).1 },
            workers,
            secrets: secrets.clone(),
            accounts: accounts.clone(),
            logs: Arc::new(LogFolder::new(home.path().join("logs"))),
            blobs,
            deployments,
            check,
            git: None,
            metrics: Arc::default(),
            config: Config { worker_tokens: vec![WORKER_TOKEN.into()], ..config },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(state).unwrap().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut tokens = [const { String::new() }; 4];
        for (token, role) in tokens.iter_mut().zip(["viewer", "user", "op", "admin"]) {
            *token = account(&store, &accounts, role, role, None).await;
        }
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            address,
            store,
            leader,
            home,
            accounts,
            secrets,
            client,
            tokens,
            _certain: certain,
            _inbox: inbox,
        }
    }

    /// A server with some DAGs put into it.
    pub async fn with_dags(document: &str) -> Self {
        let server = Self::start().await;
        server.put_dags(document).await;
        server
    }

    /// Puts DAGs by the API.
    pub async fn put_dags(&self, document: &str) {
        let request = self.request(Method::POST, "/api/v1/dags", "admin");
        let request = request.header("content-type", "application/yaml").body(document.to_owned());
        send(request, "POST /api/v1/dags".into()).await.ok();
    }

    /// Makes an account bound to a namespace; its token.
    pub async fn account(&self, name: &str, role: &str, namespace: Option<&str>) -> String {
        account(&self.store, &self.accounts, name, role, namespace).await
    }

    /// A request with the token of a role, of nobody (`""`), or a token itself.
    pub fn request(&self, method: Method, path: &str, who: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        let role = ["viewer", "user", "op", "admin"].iter().position(|role| *role == who);
        match (role, who) {
            (Some(role), _) => request.bearer_auth(&self.tokens[role]),
            (None, "") => request,
            (None, token) => request.bearer_auth(token),
        }
    }

    /// Asks as somebody.
    pub async fn ask(&self, method: &str, path: &str, who: &str, body: Option<Value>) -> Answer {
        let request = self.request(method.parse().unwrap(), path, who);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        send(request, format!("{method} {path}")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "admin", None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, "admin", Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask("PATCH", path, "admin", Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, "admin", None).await
    }

    /// A variable as tasks get it.
    pub async fn real_variable(&self, key: &str) -> String {
        self.secrets.variable(&"default".into(), key).await.unwrap().unwrap()
    }

    /// A connection as tasks get it.
    pub async fn real_connection(&self, conn_id: &str) -> updraft_core::protocol::Connection {
        self.secrets.connection(&"default".into(), conn_id).await.unwrap().unwrap()
    }

    /// Triggers a run of this name.
    pub async fn trigger(&self, dag: &str, run: &str) -> Value {
        let body = json!({"dag_run_id": run, "logical_date": null});
        self.post(&format!("/api/v2/dags/{dag}/dagRuns"), body).await.shape("DAGRunResponse")
    }

    /// Waits until what this path answers meets a condition.
    pub async fn until(&self, path: &str, meets: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.store.subscribe();
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let value = self.get(path).await.ok();
            if meets(&value) {
                return value;
            }
            assert!(Instant::now() < limit, "{path} never got so far: {value:#}");
            // Whatever is written may be what is waited for.
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await;
        }
    }
}

pub async fn send(request: RequestBuilder, what: String) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap(), what }
}

async fn lead(
    store: Arc<dyn Store>,
    workers: Arc<Workers>,
    inbox: Inbox,
    certain_until: watch::Receiver<Instant>,
    logs: Arc<LogFolder>,
) {
    let fence = store.acquire_leadership("test", "", Duration::from_secs(3600)).await.unwrap().unwrap();
    let (deliveries, _) = mpsc::unbounded_channel();
    let (base_url, workers_of_it) = ("https://updraft.example.org".to_owned(), workers.clone());
    let caller = Caller { store: store.clone(), workers: workers_of_it, base_url: base_url.clone() };
    let around = Surroundings { store, fence, certain_until, workers, deliveries, logs, base_url, git: None };
    let leader = Leader::take_over(updraft_core::Config::default(), inbox, around).await;
    let leader = leader.map_err(|(error, _)| error).unwrap();
    tokio::spawn(caller.run());
    tokio::spawn(leader.run());
}

async fn account(
    store: &Arc<dyn Store>,
    accounts: &Accounts,
    name: &str,
    role: &str,
    namespace: Option<&str>,
) -> String {
    let account = NewAccount {
        username: name.into(),
        // No password has this hash.
        password_hash: "none".into(),
        role: role.into(),
        namespace: namespace.map(Into::into),
        disabled: false,
    };
    let audit = AuditRow {
        at: jiff::Timestamp::now(),
        user: "test".into(),
        action: "create_account".into(),
        namespace: None,
        dag: None,
        run: None,
        detail: Value::Null,
    };
    let id = store.create_account(&account, &audit).await.unwrap().unwrap();
    let made = accounts.create_token("test", TokenKind::Api(id), "test".into(), None).await;
    made.unwrap().unwrap().1
}

impl Answer {
    /// The JSON of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{}: {} {}", self.what, self.status, self.text);
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// The JSON of a success that has the shape of one of Airflow's.
    #[track_caller]
    pub fn shape(&self, shape: &str) -> Value {
        let value = self.ok();
        shapes::check(shape, &value);
        value
    }

    /// The sentence of a refusal with this status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text);
        let value: Value = serde_json::from_str(&self.text).unwrap();
        let shape = if value["detail"].is_array() { "HTTPValidationError" } else { "HTTPExceptionResponse" };
        shapes::check(shape, &value);
        value["detail"].as_str().map_or_else(|| value["detail"].to_string(), str::to_owned)
    }
}
