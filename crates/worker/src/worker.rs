//! The worker: holds attempts until their ends are acknowledged, and keeps a connection to the server.
//!
//! Everything that an attempt came to is kept here until the server says that it is in the store. So a
//! server may be gone for any time: what ends meanwhile is told when it is back.

mod api;
mod attempt;
mod bundles;
mod callbacks;
mod calls;
mod config;
mod connection;
mod ending;
mod held;
mod host;
mod lease;
mod logs;
mod macros;
mod remarks;
mod runs;
mod shortage;
mod templates;
mod wanted;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{info, warn};
use updraft_core::{
    AttemptId, Incarnation,
    input::{AttemptEnd, Offer, Outcome, Report, WorkerEvent},
    protocol::{FromServer, FromWorker, LogEnd, VERSION},
};
use updraft_operators::{Files, work::Shared};

use self::{
    api::TaskApi,
    attempt::Tools,
    bundles::Bundles,
    calls::{Called, Calls},
    config::guarded,
    connection::{Connection, NoConnection, Told},
    held::{Held, Phase},
    host::Client,
    lease::Lease,
    runs::Runs,
    wanted::Running,
};
pub use self::{
    config::{Config, Error, Guarding},
    host::Endpoint,
};
use crate::process::{DEFAULT_KILL_GRACE, Guard, GuardPolicy, Spawner, survivors};

/// How often a worker says that it is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Between two tries to reach the server.
const RECONNECT_EVERY: Duration = Duration::from_millis(100);

/// A worker that is to stop, and whose ended attempts no server hears of, goes after so long. The next server
/// finds that they are lost, and has them run again.
const UNHEARD_FOR: Duration = Duration::from_secs(5);

/// What survived an earlier life has so long to end after SIGTERM.
const SURVIVOR_GRACE: Duration = Duration::from_secs(5);

/// That an attempt has begun is told so much later, unless something else is to be told before: nobody waits
/// for it, and that of many a short script goes with its end, in one message and one commit.
const START_TOLD_AFTER: Duration = Duration::from_millis(5);

/// So many events at most go into one message.
const MOST_PER_MESSAGE: usize = 1024;

/// What a worker is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// To work.
    #[default]
    ToWork,
    /// To take nothing more, until it is asked to work again.
    ToDrain,
    /// To take nothing more, and to go when what it has is over.
    ToFinish,
    /// To end what it has, and to go.
    ToStop,
}

/// Something that an attempt came to.
#[derive(Clone)]
struct Happened {
    attempt: AttemptId,
    at: jiff::Timestamp,
    report: Report,
    /// The end of its log, where that goes with its end.
    log: Option<LogEnd>,
}

/// Runs a worker until it is told to stop, has nothing to do and nobody to do it for, or is refused.
pub async fn run(config: Config, mut asked: watch::Receiver<Asked>) -> Result<(), Error> {
    let io = |doing| move |source| Error::Io { doing, source };
    let of_others = config.scratch_of_others.clone();
    let spawner = Spawner::new(&config.scratch, of_others).map_err(io("start processes"))?;
    let client = Client::new(&config.endpoint, &config.token).map_err(Error::Client)?;
    let api = TaskApi::new(client.clone());
    api.listen(&spawner.api_socket()).map_err(io("listen for what tasks ask"))?;
    std::fs::create_dir_all(&config.files).map_err(io("make the folder for tasks' files"))?;
    let own = config.files.canonicalize().map_err(io("use the folder for tasks' files"))?;
    // Whoever may write in a folder may write in all that is below it.
    if let Some(kept) = config.denied.iter().find(|kept| kept.starts_with(&own) || config.files == **kept) {
        return Err(Error::Files { files: own, kept: kept.clone() });
    }
    let of_others = config.scratch_of_others.iter();
    let guard = Guard::new(GuardPolicy {
        denied: config.denied.iter().chain(of_others.clone()).cloned().collect(),
        readable: config.readable.iter().chain([&config.bundles]).cloned().collect(),
        writable: of_others
            .map(|folder| Spawner::api_socket_in(folder))
            .chain([spawner.api_socket(), own.clone()])
            .collect(),
    })?;
    // What the worker reads for a task is kept from it as what the task reads itself.
    let policy = guard.policy();
    let files = Files::new(policy.denied.clone(), policy.readable.clone()).with_own(own);
    let files = files.with_versions(Bundles::folder_in(&config.bundles));
    let guard = guarded(guard, config.guarding)?;
    let bundles = Bundles::new(&config.bundles, guard.as_deref())?;
    let remote = matches!(config.endpoint, Endpoint::Network(_));
    let (sender, happened) = mpsc::unbounded_channel();
    let (calls, called) = Calls::new();
    let tools = Arc::new(Tools {
        spawner,
        guard,
        bundles,
        client,
        api,
        shared: Arc::new(Shared::default()),
        preparing: Semaphore::new(attempt::PREPARED_AT_ONCE),
        files: Arc::new(files),
        logs: config.logs.clone(),
        remote,
        installation: config.installation.clone(),
        callback_timeout: config.callback_timeout,
        log_limit_bytes: config.log_limit_bytes,
        happened: sender,
    });
    let mut worker = Worker {
        incarnation: Incarnation(jiff::Timestamp::now().as_microsecond()),
        held: Held::default(),
        runs: Runs::default(),
        config,
        tools,
        happened,
        calls,
        called,
        heard: Asked::ToWork,
        joins: 0,
        joined: 0,
        lease: Lease::new(remote),
    };
    worker.take_over_survivors().await?;
    let served = worker.serve(&mut asked).await;
    if let Err(error) = &served {
        if worker.held.any_runs() {
            warn!(%error, "ending what runs, and going");
        }
        worker.abandon_all().await;
    }
    worker.end_orphans().await;
    worker.tools.spawner.leave();
    served
}

/// Whether an event says no more than that an attempt has begun, and what it is called.
fn is_start(told: &Told) -> bool {
    matches!(told.event, WorkerEvent::Report { report: Report::Started | Report::Named(_), .. })
}

/// Waits until the worker is asked for more than it has heard; also where nobody is left to ask.
async fn asked_more(asked: &mut watch::Receiver<Asked>, heard: Asked) -> Asked {
    if heard == Asked::ToStop {
        std::future::pending::<()>().await;
    }
    match asked.wait_for(|asked| *asked > heard).await {
        Ok(more) => *more,
        // Whoever could have asked for an end is gone.
        Err(_) => Asked::ToStop,
    }
}

struct Worker {
    config: Config,
    incarnation: Incarnation,
    held: Held,
    runs: Runs,
    tools: Arc<Tools>,
    happened: mpsc::UnboundedReceiver<Happened>,
    calls: Calls,
    called: mpsc::UnboundedReceiver<Called>,
    /// What it has been asked, as far as it has done something about it.
    heard: Asked,
    /// How often it has said that it is there, and which time of these the server has heard last.
    joins: u64,
    joined: u64,
    lease: Lease,
}

/// How a connection's time ended.
enum Over {
    Disconnected,
    /// The server may be there, and does nothing.
    Silent,
    Refused(String),
    Stopped,
}

impl Worker {
    /// Ends what an earlier life of this worker began and left, so that it can be told what became of it.
    async fn take_over_survivors(&mut self) -> Result<(), Error> {
        let prefix = format!("{}/", self.config.installation);
        let found = survivors(&prefix)
            .map_err(|source| Error::Io { doing: "look for processes that were left behind", source })?;
        let ends = found.iter().map(|survivor| survivor.end(SURVIVOR_GRACE));
        for (survivor, ended) in found.iter().zip(join_all(ends).await) {
            let pids = survivor.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let attempt = survivor.attempt.as_deref().unwrap_or("unknown: they have wiped its name");
            warn!(attempt, pids, "ended what an earlier worker left behind");
            if let Err(error) = ended {
                warn!(%error, attempt, "could not end it");
            }
            let Ok(attempt) = attempt.trim_start_matches(&prefix).parse::<AttemptId>() else {
                continue;
            };
            let message = format!("its worker was killed; its processes ({pids}) were ended");
            let outcome = Outcome { message: Some(message), ..Outcome::new(AttemptEnd::Lost) };
            let (at, report) = (jiff::Timestamp::now(), Report::Ended(Box::new(outcome)));
            self.held.end(Happened { attempt, at, report, log: None });
        }
        if self.tools.remote
            && let Err(error) = logs::clear_former(&self.tools.logs)
        {
            warn!(%error, "can't remove the logs that an earlier worker did not send");
        }
        match self.tools.spawner.clear_former() {
            Ok(0) => {}
            Ok(removed) => info!(removed, "removed what an earlier worker left in its folder"),
            Err(error) => warn!(%error, "can't remove what an earlier worker left in its folder"),
        }
        Ok(())
    }

    async fn serve(&mut self, asked: &mut watch::Receiver<Asked>) -> Result<(), Error> {
        let mut alone_since = std::time::Instant::now();
        let mut stopping_since = None;
        let mut told = None;
        loop {
            let client = self.tools.client.clone();
            let opened = Connection::open(&client);
            tokio::pin!(opened);
            let opened = loop {
                tokio::select! {
                    opened = &mut opened => break opened,
                    // It may take long to learn that nobody is there.
                    () = tokio::time::sleep(RECONNECT_EVERY) => self.mind_lease(),
                    more = asked_more(asked, self.heard) => self.hear(more),
                    Some(happened) = self.happened.recv() => self.note(happened),
                }
            };
            match opened {
                Ok(connection) => {
                    told = None;
                    match self.converse(connection, asked).await {
                        Over::Stopped => return Ok(()),
                        Over::Refused(why) => return Err(Error::Refused(why)),
                        Over::Disconnected => alone_since = std::time::Instant::now(),
                        Over::Silent => {
                            alone_since = std::time::Instant::now();
                            client.go_on();
                        }
                    }
                }
                // The keeper's token is its server's own: where that is refused, the next server may take it.
                Err(NoConnection::Refused(why)) if self.tools.remote => return Err(Error::Refused(why)),
                Err(NoConnection::Elsewhere) => {}
                Err(error) => {
                    client.go_on();
                    let why = error.to_string();
                    if self.tools.remote && told.as_ref() != Some(&why) {
                        warn!(why, "no connection to the server; trying again");
                        told = Some(why);
                    }
                }
            }
            self.mind_lease();
            let lonely = self.config.alone_for.is_some_and(|limit| alone_since.elapsed() > limit);
            if lonely && self.is_idle() && !self.calls.any_untold() {
                info!("no server for a while, and nothing to do: going");
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_EVERY) => {}
                Some(happened) = self.happened.recv() => self.note(happened),
                Some(called) = self.called.recv() => self.calls.end(&called),
                more = asked_more(asked, self.heard) => self.hear(more),
            }
            if self.heard >= Asked::ToFinish {
                let at_work = self.held.any_runs() || self.calls.any_runs();
                let since: &mut std::time::Instant =
                    stopping_since.get_or_insert_with(std::time::Instant::now);
                if at_work {
                    *since = std::time::Instant::now();
                }
                if self.is_idle() || since.elapsed() > UNHEARD_FOR {
                    return Ok(());
                }
            }
        }
    }

    /// Who this is.
    fn hello(&self) -> FromWorker {
        FromWorker::Hello {
            protocol: VERSION,
            worker: self.config.id.clone(),
            incarnation: self.incarnation,
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: nix::unistd::gethostname()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default(),
            pid: std::process::id(),
            calls: true,
            drains: true,
            pieces: true,
        }
    }

    /// Talks with the server for as long as the connection lasts.
    async fn converse(&mut self, mut connection: Connection, asked: &mut watch::Receiver<Asked>) -> Over {
        if !connection.send(&self.hello()).await {
            return Over::Disconnected;
        }
        let mut said_at = std::time::Instant::now();
        let mut abandoned = false;
        self.lease.connected();
        let mut beat = tokio::time::interval(HEARTBEAT_EVERY);
        let mut joined = false;
        // Attempts that have begun, of which nothing has been told.
        let mut begun: Vec<Told> = Vec::new();
        let mut told_at = tokio::time::Instant::now();
        loop {
            let ends = self.lease.ends().filter(|_| self.held.any_runs() && !abandoned);
            let mut events = tokio::select! {
                said = connection.receive() => match said {
                    None => return Over::Disconnected,
                    Some(FromServer::Refused(why)) => return Over::Refused(why),
                    Some(FromServer::Welcome { lease_ms, offer, .. }) => {
                        self.lease.granted(Duration::from_millis(lease_ms));
                        self.config.offer = offer.unwrap_or_else(|| self.config.offer.clone());
                        info!(slots = self.config.offer.slots, "the server has taken this worker");
                        joined = true;
                        self.joining()
                    }
                    Some(FromServer::Rejoin) => {
                        joined = true;
                        begun.clear();
                        self.joining()
                    }
                    Some(message) => {
                        said_at = std::time::Instant::now();
                        self.obey(message)
                    }
                },
                Some(first) = self.happened.recv() => {
                    // What others have come to at the same moment goes with it.
                    tokio::task::yield_now().await;
                    let mut events = vec![self.told(first)];
                    while events.len() < MOST_PER_MESSAGE && let Ok(next) = self.happened.try_recv() {
                        events.push(self.told(next));
                    }
                    if begun.is_empty() {
                        told_at = tokio::time::Instant::now() + START_TOLD_AFTER;
                    }
                    if begun.len() < MOST_PER_MESSAGE && events.iter().all(is_start) {
                        begun.append(&mut events);
                    }
                    events
                }
                Some(called) = self.called.recv() => {
                    self.calls.end(&called);
                    let (id, outcome) = called;
                    if joined && !connection.send(&FromWorker::Called { id, outcome }).await {
                        return Over::Disconnected;
                    }
                    Vec::new()
                }
                () = tokio::time::sleep_until(told_at), if !begun.is_empty() => std::mem::take(&mut begun),
                () = tokio::time::sleep_until((said_at + self.lease.silence()).into()), if self.tools.remote => {
                    warn!("the server has been silent for too long; connecting anew");
                    return Over::Silent;
                }
                _ = beat.tick() => {
                    self.mind_lease();
                    if joined {
                        self.lease.beats();
                        vec![WorkerEvent::Heartbeat.into()]
                    } else {
                        Vec::new()
                    }
                }
                () = lease::over(ends) => {
                    abandoned = true;
                    self.mind_lease();
                    Vec::new()
                }
                more = asked_more(asked, self.heard) => {
                    self.hear(more);
                    vec![WorkerEvent::Draining.into()]
                }
            };
            if !events.is_empty() && !begun.is_empty() {
                begun.append(&mut events);
                events = std::mem::take(&mut begun);
            }
            // What happens before the server knows this worker is told when it joins.
            if joined && !events.is_empty() && !connection.tell(events).await {
                return Over::Disconnected;
            }
            if self.heard >= Asked::ToFinish && self.is_idle() {
                connection.tell(vec![WorkerEvent::Left.into()]).await;
                connection.close().await;
                return Over::Stopped;
            }
        }
    }

    /// What a server is told that does not know this worker, or no longer.
    fn joining(&mut self) -> Vec<Told> {
        self.mind_lease();
        self.joins += 1;
        self.lease.joins();
        let finishes = self.heard > Asked::ToWork;
        let joined = WorkerEvent::Joined {
            join: self.joins,
            offer: Offer { draining: finishes, ..self.config.offer.clone() },
            namespace: None,
            held: self.held.ids(),
        };
        let mut events = vec![joined.into()];
        events.extend(self.held.happened().map(Told::from));
        if finishes {
            // For a server that does not know offers of those that take nothing.
            events.push(WorkerEvent::Draining.into());
        }
        events
    }

    fn note(&mut self, happened: Happened) {
        match happened.report {
            Report::Named(name) => self.held.named(happened.attempt, name),
            Report::Started => self.held.started(happened.attempt, happened.at),
            Report::Deferred { .. } | Report::Ended(_) => self.held.end(happened),
        }
    }

    /// Notes what happened, and is to be told.
    fn told(&mut self, happened: Happened) -> Told {
        self.note(happened.clone());
        happened.into()
    }

    /// Does what the server wants. What it is to be told of that.
    fn obey(&mut self, message: FromServer) -> Vec<Told> {
        self.mind_lease();
        match message {
            // What was sent before the server heard what is here is sent again where it still holds.
            FromServer::Assign(_) if self.joined != self.joins => {}
            FromServer::Assign(orders) => {
                for order in orders {
                    // Told again, it is the same attempt and not another.
                    if self.held.get(order.attempt).is_none() {
                        let order = self.runs.share(order);
                        let running = attempt::begin(order.clone(), self.tools.clone());
                        self.held.begin(order.attempt, running);
                    }
                }
            }
            FromServer::Cancel(attempts) => {
                for attempt in attempts {
                    match self.held.get(attempt) {
                        Some(Phase::Running(running, _)) => running.cancel(),
                        Some(Phase::Over(_)) => {}
                        None => self.not_here(attempt),
                    }
                }
            }
            FromServer::Pause(attempts) => self.each_running(&attempts, |running| running.pause(true)),
            FromServer::Continue(attempts) => self.each_running(&attempts, |running| running.pause(false)),
            FromServer::Acknowledge(attempts) => {
                for attempt in attempts {
                    self.held.forget(attempt);
                }
            }
            FromServer::Call(call) => self.calls.begin(*call, &self.tools, self.heard >= Asked::ToFinish),
            FromServer::Forget(id) => self.calls.forget(id),
            FromServer::Joined(join) => {
                self.joined = join;
                if join == self.joins {
                    self.lease.joined();
                }
            }
            FromServer::Heartbeat => {
                self.lease.answered();
            }
            FromServer::Drain if self.heard < Asked::ToDrain => {
                info!("asked to drain: taking nothing more");
                self.hear(Asked::ToDrain);
                return vec![WorkerEvent::Draining.into()];
            }
            FromServer::Finish if self.heard < Asked::ToFinish => {
                info!("asked to go when what runs is over");
                self.hear(Asked::ToFinish);
                return vec![WorkerEvent::Draining.into()];
            }
            FromServer::Resume if self.heard == Asked::ToDrain => {
                info!("asked to take work again");
                self.hear(Asked::ToWork);
                return self.joining();
            }
            // It does so already, or is to go.
            FromServer::Drain | FromServer::Finish | FromServer::Resume => {}
            // Put together before.
            FromServer::Piece(_) => {}
            FromServer::Welcome { .. } | FromServer::Refused(_) | FromServer::Rejoin => {}
        }
        Vec::new()
    }

    /// The server wants something ended that this worker does not have: so it has ended.
    fn not_here(&mut self, attempt: AttemptId) {
        let message = Some("its worker does not have it".into());
        let outcome = Outcome { message, ..Outcome::new(AttemptEnd::Cancelled) };
        let report = Report::Ended(Box::new(outcome));
        let _ = self.tools.happened.send(Happened { attempt, at: jiff::Timestamp::now(), report, log: None });
    }

    fn each_running(&self, attempts: &[AttemptId], act: impl Fn(&Running)) {
        for attempt in attempts {
            if let Some(Phase::Running(running, _)) = self.held.get(*attempt) {
                act(running);
            }
        }
    }

    fn end_all(&self) {
        self.each_running(&self.held.ids(), Running::cancel);
    }

    /// Does what is asked.
    fn hear(&mut self, asked: Asked) {
        self.heard = asked;
        if asked == Asked::ToStop {
            self.end_all();
            self.calls.end_all(DEFAULT_KILL_GRACE);
        }
    }

    /// Whether nothing is at work, and nothing is left to be told.
    fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.calls.any_runs()
    }
}
