//! Look-ups that an attempt makes with the server, over HTTP.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use reqwest::{RequestBuilder, Response, StatusCode, Url, header::CONTENT_TYPE, redirect::Policy};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, runtime::Handle, sync::watch};
use updraft_core::{
    AttemptId, DagId, DeliveryId, RunId,
    protocol::{
        Connection, NextInterval, Order, RunFound, RunGiven, RunWanted, States, StatesWanted, XcomFound,
        XcomQuery,
    },
};
use updraft_operators::{
    Asked, Files, Host, HostError, PreviousSuccess, Server, Smtp, Variable, secrets, work::ProcessPlan,
};

use super::{attempt::Tools, macros::call_macro};
use crate::process::{Masks, Secret};

/// A server that is there answers within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// Between two questions to a server that is not there: at first, and at most.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What breaks off on its way is fetched so often.
const MOST_BROKEN: u32 = 10;

/// A connection to a server of another machine is made within this.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// What the paths of all these routes begin with.
const ROUTES: &str = "/worker/v1";

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// On this machine, at this socket.
    Unix(PathBuf),
    /// Anywhere, at one of these addresses, of which there is at least one: `http://host:8080`,
    /// `https://updraft.example.com`. Any of them says who leads.
    Network(Vec<Url>),
}

/// A client of the server's routes for workers.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    is_remote: bool,
    /// What all these routes begin with, at each server that is known by its address.
    bases: Arc<[Url]>,
    /// Which of them was taken last, when one was to be looked for.
    tried: Arc<AtomicUsize>,
    /// The same at the server that is asked now.
    base: watch::Sender<Url>,
    token: String,
}

impl Client {
    pub fn new(endpoint: &Endpoint, token: &str) -> Result<Self, String> {
        let builder = reqwest::Client::builder();
        // Where it is sent to, it goes by itself: it shows its token there, and not to everybody.
        let builder = builder.redirect(Policy::none());
        let (builder, servers) = match endpoint {
            Endpoint::Unix(path) => (builder.unix_socket(path.clone()).no_proxy(), vec!["http://localhost"]),
            Endpoint::Network(urls) => {
                (builder.connect_timeout(CONNECTS_WITHIN), urls.iter().map(Url::as_str).collect())
            }
        };
        let base = |server: &str| {
            let base = format!("{}{ROUTES}", server.trim_end_matches('/'));
            Url::parse(&base).map_err(|error| format!("{server} is no address of a server: {error}"))
        };
        let bases: Arc<[Url]> = servers.into_iter().map(base).collect::<Result<_, _>>()?;
        let first = bases.first().ok_or("there is no address of a server")?.clone();
        let http = builder.build().map_err(|error| error.to_string())?;
        let (tried, base) = (Arc::default(), watch::Sender::new(first));
        let is_remote = matches!(endpoint, Endpoint::Network(_));
        Ok(Self { http, is_remote, bases, tried, base, token: token.into() })
    }

    /// Asks from now on the server that this location of a route is at, since it leads. The error says why not. Who serves a
    /// server's own socket waits until that one leads.
    pub fn go_to(&self, location: &str, route: &str) -> Result<(), String> {
        if !self.is_remote {
            return Ok(());
        }
        let base = self.base.borrow().clone();
        let wrong = |why: &str| format!("the server names {location} as the leader's address, {why}");
        let there = location.strip_suffix(route).and_then(|there| there.strip_suffix('/'));
        let there =
            there.and_then(|there| Url::parse(there).ok()).filter(|there| there.path().ends_with(ROUTES));
        let there = there.ok_or_else(|| wrong("which is none: set `server.address` there"))?;
        if base.scheme() == "https" && there.scheme() != "https" {
            return Err(wrong("which has no TLS: set `server.address` there to one that has"));
        }
        self.base.send_if_modified(|base| {
            let is_other = *base != there;
            *base = there;
            is_other
        });
        Ok(())
    }

    /// Asks from now on the next of the servers that are known by their addresses.
    pub fn go_on(&self) {
        let next = (self.tried.load(Ordering::Relaxed) + 1) % self.bases.len();
        self.tried.store(next, Ordering::Relaxed);
        let there = &self.bases[next];
        self.base.send_if_modified(|base| {
            let is_other = base != there;
            base.clone_from(there);
            is_other
        });
    }

    fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.borrow().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }

    /// Asks for something once, for as long as it may take.
    pub fn request(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url([path])).bearer_auth(&self.token)
    }

    /// Asks until there is an answer: a server may be gone for any time, and what runs goes on meanwhile. Each time the
    /// request is made anew, for whoever leads then.
    async fn answer<T: DeserializeOwned>(
        &self,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Option<T>, HostError> {
        let mut pause = ASK_AGAIN.0;
        let mut base = self.base.subscribe();
        loop {
            base.mark_unchanged();
            let answer = tokio::select! {
                answer = answer_of(request(&self.http).bearer_auth(&self.token).timeout(ANSWERS_WITHIN)) => answer,
                // Whoever was asked leads no more, and may not answer for long.
                Ok(()) = base.changed() => continue,
            };
            match answer {
                Err(Unanswered::Away) => {}
                Err(Unanswered::Refused(why)) => return Err(HostError(why)),
                Ok(answer) => return Ok(answer),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_AGAIN.1);
        }
    }

    /// Looks something up on behalf of an attempt, at this path below `/worker/v1`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        attempt: AttemptId,
        segments: &[&str],
    ) -> Result<Option<T>, HostError> {
        let attempt = [("attempt", attempt.to_string())];
        self.answer(|http| http.get(self.url(segments.iter().copied())).query(&attempt)).await
    }

    /// Values that task instances left.
    pub async fn xcom(&self, query: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        #[derive(serde::Deserialize)]
        struct Found {
            values: Vec<XcomFound>,
        }
        let found: Option<Found> = self.answer(|http| http.post(self.url(["xcom"])).json(query)).await?;
        Ok(found.map(|found| found.values).unwrap_or_default())
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, asked: impl Serialize) -> Result<T, HostError> {
        let answer = self.answer(|http| http.post(self.url([path])).json(&asked)).await?;
        answer
            .ok_or_else(|| HostError(format!("the server does not know `{path}`: is it of another version?")))
    }

    /// Puts a large value, as JSON, into the blob store.
    pub async fn put_blob(
        &self,
        attempt: AttemptId,
        name: &str,
        json: Vec<u8>,
    ) -> Result<(String, u64), HostError> {
        #[derive(serde::Deserialize)]
        struct Stored {
            path: String,
            bytes: u64,
        }
        let (attempt, json) = (attempt.to_string(), Bytes::from(json));
        let request = |http: &reqwest::Client| {
            let url = self.url(["blobs", &attempt, name]);
            http.put(url).header(CONTENT_TYPE, "application/json").body(json.clone())
        };
        let stored: Option<Stored> = self.answer(request).await?;
        let stored = stored.ok_or_else(|| HostError("the server does not store blobs".into()))?;
        Ok((stored.path, stored.bytes))
    }

    /// Writes the archive of the bundle that an attempt runs from to a file. Where the way to the server breaks, it is
    /// fetched anew.
    pub async fn fetch_bundle(&self, attempt: AttemptId, hash: &str, into: &Path) -> Result<(), HostError> {
        let failed = |error: std::io::Error| HostError(format!("can't write {}: {error}", into.display()));
        let attempt = [("attempt", attempt.to_string())];
        let (mut pause, mut broken) = (ASK_AGAIN.0, 0);
        while broken < MOST_BROKEN {
            let request = self.http.get(self.url(["bundles", hash])).query(&attempt).bearer_auth(&self.token);
            let answer = tokio::time::timeout(ANSWERS_WITHIN, given(request)).await;
            match answer.unwrap_or(Err(Unanswered::Away)) {
                Err(Unanswered::Away) => {}
                Err(Unanswered::Refused(why)) => return Err(HostError(why)),
                Ok(None) => return Err(HostError("the server has no such bundle".into())),
                Ok(Some(mut response)) => {
                    let mut file = tokio::fs::File::create(into).await.map_err(failed)?;
                    loop {
                        match tokio::time::timeout(ANSWERS_WITHIN, response.chunk()).await {
                            Ok(Ok(Some(bytes))) => file.write_all(&bytes).await.map_err(failed)?,
                            Ok(Ok(None)) => return file.flush().await.map_err(failed),
                            Ok(Err(_)) | Err(_) => break,
                        }
                    }
                    broken += 1;
                    tracing::warn!(
                        hash,
                        broken,
                        "the way to the server broke while a bundle came; fetching it anew"
                    );
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_AGAIN.1);
        }
        Err(HostError(format!("it broke off {broken} times on its way")))
    }

    /// Adds to the log of an attempt, or of a call about its run, what stands from `offset` on. How much of it the
    /// server has now, which may be more or less than what was to be added.
    pub async fn put_log(&self, log: LogOf, offset: u64, bytes: Vec<u8>) -> Result<u64, HostError> {
        #[derive(serde::Deserialize)]
        struct Stored {
            bytes: u64,
        }
        let (attempt, bytes) = (log.attempt.to_string(), Bytes::from(bytes));
        let mut query = vec![("offset", offset.to_string())];
        query.extend(log.call.map(|call| ("call", call.to_string())));
        let request = |http: &reqwest::Client| {
            let url = self.url(["logs", &attempt]);
            http.put(url).query(&query).header(CONTENT_TYPE, "text/plain").body(bytes.clone())
        };
        let stored: Option<Stored> = self.answer(request).await?;
        stored.map(|stored| stored.bytes).ok_or_else(|| HostError("the server takes no logs".into()))
    }
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogOf {
    /// Of this attempt,
    pub attempt: AttemptId,
    /// or of this call about its run.
    pub call: Option<DeliveryId>,
}

/// What a fault comes from.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Why a server says no: in its own words, or else by the status.
pub(super) async fn told_by(response: Response) -> String {
    let status = response.status();
    said_by(response).await.unwrap_or_else(|| status.to_string())
}

/// Why a server says no, in its own words; `None` where it is no server of Updraft's that does.
pub(super) async fn said_by(response: Response) -> Option<String> {
    let answer: Value = response.json().await.unwrap_or_default();
    answer["detail"].as_str().map(str::to_owned)
}

impl Server for Client {
    fn give_run(&self, wanted: RunWanted) -> Asked<'_, RunGiven> {
        Box::pin(self.post("runs", wanted))
    }

    fn states(&self, wanted: StatesWanted) -> Asked<'_, States> {
        Box::pin(self.post("states", wanted))
    }
}

/// Why there is no answer.
enum Unanswered {
    /// The server is not there, or not ready.
    Away,
    Refused(String),
}

async fn answer_of<T: DeserializeOwned>(request: RequestBuilder) -> Result<Option<T>, Unanswered> {
    let Some(response) = given(request).await? else { return Ok(None) };
    let bytes = response.bytes().await.map_err(|_| Unanswered::Away)?;
    let strange = |error| Unanswered::Refused(format!("the server's answer is not understood: {error}"));
    serde_json::from_slice(&bytes).map(Some).map_err(strange)
}

/// What the server answers, of which nothing is read yet; `None` where it has nothing of that name.
async fn given(request: RequestBuilder) -> Result<Option<Response>, Unanswered> {
    // What goes wrong on the way is the server's absence: the request is well-formed.
    let response = request.send().await.map_err(|_| Unanswered::Away)?;
    match response.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            return Err(Unanswered::Away);
        }
        _ => {}
    }
    if response.error_for_status_ref().is_err() {
        return Err(Unanswered::Refused(format!("the server refused it: {}", told_by(response).await)));
    }
    Ok(Some(response))
}

/// What one attempt looks things up through while it is prepared.
pub(super) struct AttemptHost {
    order: Arc<Order>,
    tools: Arc<Tools>,
    runtime: Handle,
    /// The attempt's: what macros look up is in them as well.
    masks: Masks,
    /// Whoever prepares the attempt holds the other end.
    wanted: watch::Receiver<()>,
    secrets: Mutex<Vec<String>>,
    called: AtomicBool,
}

impl AttemptHost {
    /// For as long as the other end of `wanted` is there.
    pub fn new(order: Arc<Order>, tools: Arc<Tools>, masks: Masks, wanted: watch::Receiver<()>) -> Self {
        Self {
            order,
            tools,
            runtime: Handle::current(),
            masks,
            wanted,
            secrets: Mutex::default(),
            called: AtomicBool::new(false),
        }
    }

    /// The secrets among what was looked up.
    pub fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a macro was called, which may have looked up secrets of its own.
    pub fn called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    fn note(&self, found: Vec<String>) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// The answer, unless nobody waits for it any more.
    fn ask<T>(&self, answer: impl Future<Output = Result<T, HostError>>) -> Result<T, HostError> {
        let mut wanted = self.wanted.clone();
        self.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer,
                _ = wanted.changed() => Err(HostError("the attempt was ended meanwhile".into())),
            }
        })
    }

    fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<Option<T>, HostError> {
        self.ask(self.tools.client.get(self.order.attempt, segments))
    }
}

impl Host for AttemptHost {
    fn xcom(&self, query: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        self.ask(self.tools.client.xcom(query))
    }

    fn variable(&self, key: &str) -> Result<Option<Variable>, HostError> {
        let found: Option<Variable> = self.get(&["variables", key])?;
        found.iter().for_each(|variable| self.note(secrets::of_variable(variable)));
        Ok(found)
    }

    fn connection(&self, conn_id: &str) -> Result<Option<Connection>, HostError> {
        let found: Option<Connection> = self.get(&["connections", conn_id])?;
        found.iter().for_each(|connection| self.note(secrets::of_connection(connection)));
        Ok(found)
    }

    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError> {
        self.get(&["previous-success"])
    }

    fn run(&self, dag_id: &DagId, run_id: &RunId) -> Result<Option<RunFound>, HostError> {
        self.get(&["runs", dag_id, run_id])
    }

    fn next_interval(&self) -> Result<Option<NextInterval>, HostError> {
        self.get(&["next-interval"])
    }

    fn smtp(&self) -> Result<Option<Smtp>, HostError> {
        let found: Option<Smtp> = self.get(&["smtp"])?;
        let url = found.as_ref().and_then(|smtp| Url::parse(&smtp.url).ok());
        self.note(url.iter().filter_map(|url| url.password().map(str::to_owned)).collect());
        Ok(found)
    }

    fn files(&self) -> Result<&Files, HostError> {
        Ok(&self.tools.files)
    }

    fn call(&self, plan: &ProcessPlan) -> Result<Value, HostError> {
        self.called.store(true, Ordering::Relaxed);
        let known = self.secrets().into_iter().map(Secret::new);
        self.masks.add(known).map_err(|error| HostError(error.to_string()))?;
        let (masks, wanted) = (self.masks.clone(), self.wanted.clone());
        self.runtime.block_on(call_macro(&self.order, &self.tools, plan, masks, wanted))
    }
}

/// Looks nothing up, and notes that it should have.
#[derive(Default)]
pub(super) struct NoLookUps(AtomicBool);

impl NoLookUps {
    pub fn was_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn refuse<T>(&self) -> Result<T, HostError> {
        self.0.store(true, Ordering::Relaxed);
        Err(HostError("nothing is looked up here".into()))
    }
}

impl Host for NoLookUps {
    fn xcom(&self, _: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        self.refuse()
    }

    fn variable(&self, _: &str) -> Result<Option<Variable>, HostError> {
        self.refuse()
    }

    fn connection(&self, _: &str) -> Result<Option<Connection>, HostError> {
        self.refuse()
    }

    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError> {
        self.refuse()
    }

    fn run(&self, _: &DagId, _: &RunId) -> Result<Option<RunFound>, HostError> {
        self.refuse()
    }

    fn next_interval(&self) -> Result<Option<NextInterval>, HostError> {
        self.refuse()
    }

    fn smtp(&self) -> Result<Option<Smtp>, HostError> {
        self.refuse()
    }

    fn files(&self) -> Result<&Files, HostError> {
        self.refuse()
    }

    fn call(&self, _: &ProcessPlan) -> Result<Value, HostError> {
        self.refuse()
    }
}
