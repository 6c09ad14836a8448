//! The loop: take in what happened, let the engine decide, commit, then act.
//!
//! One task owns the engine. Everything reaches it through one inbox; it drains all that has come, steps the
//! engine through it, writes the rows of all of it in one commit, and then performs the effects. So the
//! more there is to do, the more of it shares one commit.

mod clock;
mod handle;
mod held_back;
mod order;
mod times;

use std::{
    collections::HashMap,
    convert::Infallible,
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};
use updraft_core::{
    Config, DeliveryId, Engine, Incarnation, Output, RunKey, WorkerId,
    engine::{Need, RefusedVersion},
    input::{Command, Effect, Input, Reply, ToWorker, Want},
    protocol::FromServer,
    record::{Batch, RunType},
};
use updraft_store::{Bounds, CommitError, Fence, Order, RunField, RunQuery, Store, Window};

pub use self::handle::{Handle, Refusal};
use self::{
    clock::Clock,
    handle::Message,
    held_back::HeldBack,
    order::Orders,
    times::{Refused, Times, observe},
};
pub(crate) use self::{
    order::{order_run, order_task},
    times::histogram,
};
use crate::{
    git,
    logs::{Logged, Logs},
    workers::Workers,
};

/// So many messages at most share one commit.
const MOST_PER_COMMIT: usize = 8192;

/// When workers have much to tell, one commit follows another no sooner than this, so that more shares one:
/// each costs a sync of the disk and a dozen ways to the database and back, however little it writes.
const PACE: Duration = Duration::from_millis(3);

/// The pace is as much slower for each slot that is taken. Where hundreds of tasks run, what one of them has to
/// say waits no longer than it took to get a slot; and of 1,000 short tasks on 500 slots the server's share of
/// the processors falls by a third.
const PACE_PER_SLOT: Duration = Duration::from_micros(25);

/// So many commits may come sooner before the pace is kept: where there is little to do, nobody waits.
const UNPACED: u32 = 16;

/// Between two tries to write what the store could not take.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// A commit that has not ended by then is on its way to a database that is gone: whatever becomes of it, another may lead.
const COMMITS_WITHIN: Duration = Duration::from_secs(30);

/// After a commit that took longer than the lease, a leader is certain again within this, or leads no more.
const CERTAIN_WITHIN: Duration = Duration::from_secs(3);

/// The loop looks at the clock at least so often.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It was asked to.
    #[error("asked to stop")]
    Stopped,
    /// Another server leads now, or may.
    #[error("another server leads")]
    Fenced,
}

/// Who leads, with everything it needs.
pub struct Leader {
    engine: Engine,
    config: Config,
    store: Arc<dyn Store>,
    fence: Fence,
    inbox: Inbox,
    workers: Arc<Workers>,
    deliveries: mpsc::UnboundedSender<DeliveryId>,
    logs: Arc<dyn Logs>,
    /// Logs of what was deleted, or was there before what is new under its name: to go after the next commit.
    outdated: Vec<Logged>,
    /// The number of the last run that is known.
    last_run: RunKey,
    /// Until when leadership is certain.
    certain_until: watch::Receiver<Instant>,
    waiting: HashMap<u64, oneshot::Sender<Result<Reply, Refusal>>>,
    next_command: u64,
    wants: Vec<Want>,
    orders: Orders,
    held_back: HeldBack,
    clock: Clock,
    /// When the commits so far would all have been made at their pace, one after the other.
    paced_until: Instant,
}

/// What a [`Leader`] works with.
pub struct Surroundings {
    /// Where the state is.
    pub store: Arc<dyn Store>,
    /// The right to write it.
    pub fence: Fence,
    /// Until when that right is certain, kept up by whoever renews it.
    pub certain_until: watch::Receiver<Instant>,
    /// The workers' connections.
    pub workers: Arc<Workers>,
    /// Rows of the outbox that wait.
    pub deliveries: mpsc::UnboundedSender<DeliveryId>,
    /// The logs of attempts.
    pub logs: Arc<dyn Logs>,
    /// Where people see this server: `http://127.0.0.1:8080`. Empty where nobody can.
    pub base_url: String,
    /// The files of the repository's commits, where DAGs come from one.
    pub git: Option<git::Present>,
}

/// The inbox of a leader to be.
pub struct Inbox {
    messages: mpsc::Receiver<Message>,
    times: Times,
}

impl Inbox {
    /// Refuses what comes while another server leads, until this one is asked to stop.
    pub async fn refuse(&mut self) {
        // Whoever waits for an answer learns that there will be none.
        while let Some(message) = self.messages.recv().await {
            if matches!(message, Message::Stop) {
                return;
            }
        }
    }
}

/// A handle, and the inbox that it fills.
pub fn channel() -> (Handle, Inbox) {
    let (sender, receiver) = mpsc::channel(65_536);
    let times = Times::default();
    (Handle::new(sender, times.clone()), Inbox { messages: receiver, times })
}

impl Leader {
    /// Rebuilds the engine from the store.
    pub async fn take_over(
        config: Config,
        inbox: Inbox,
        around: Surroundings,
    ) -> Result<Self, (updraft_store::Error, Inbox)> {
        let began = Instant::now();
        let snapshot = match around.store.load().await {
            Ok(snapshot) => snapshot,
            Err(error) => return Err((error, inbox)),
        };
        let last_run = RunKey(snapshot.last_run);
        let engine = Engine::restore(config.clone(), snapshot, now());
        info!(
            unfinished = engine.unfinished(),
            millis = began.elapsed().as_millis() as u64,
            "rebuilt the engine from the store"
        );
        Ok(Self {
            engine,
            config,
            store: around.store,
            fence: around.fence,
            inbox,
            workers: around.workers,
            deliveries: around.deliveries,
            logs: around.logs,
            outdated: Vec::new(),
            last_run,
            certain_until: around.certain_until,
            waiting: HashMap::new(),
            next_command: 0,
            wants: Vec::new(),
            orders: Orders::new(around.base_url),
            held_back: HeldBack::new(around.git),
            clock: Clock::new(now(), Instant::now()),
            paced_until: Instant::now(),
        })
    }

    /// Runs until it is asked to stop or leadership is lost. Gives the inbox back, for the next to lead here.
    pub async fn run(mut self) -> (Ended, Inbox) {
        let ended = match self.reign().await {
            Err(ended) => ended,
            Ok(never) => match never {},
        };
        (ended, self.inbox)
    }

    async fn reign(&mut self) -> Result<Infallible, Ended> {
        // What the engine decided when it was rebuilt, and who is there.
        self.workers.rejoin_all();
        self.conclude().await?;
        loop {
            match self.gather().await {
                Gathered::Stop => return Err(Ended::Stopped),
                Gathered::Messages(messages) => {
                    let began = Instant::now();
                    self.turn(messages).await?;
                    observe(&self.inbox.times.turns, began);
                }
            }
        }
    }

    /// The time. Where the clock has been set, the engine is told first.
    fn now(&mut self) -> Timestamp {
        let now = now();
        if let Some(by) = self.clock.passed(now, Instant::now()) {
            warn!(by = %by, "the clock was set");
            self.engine.step(now, Input::ClockSet { by });
        }
        now
    }

    /// Waits until there is something to do, and takes all of it.
    async fn gather(&mut self) -> Gathered {
        let mut messages = Vec::new();
        if self.wants.is_empty() {
            // A clock that is set while this waits moves what is due at a time of day.
            let wait = self.engine.next_wakeup().map_or(LONGEST_WAIT, |at| until(at).min(LONGEST_WAIT));
            match tokio::time::timeout(wait, self.inbox.messages.recv()).await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return Gathered::Stop,
                // Something may be due.
                Err(_) => {}
            }
        }
        if matches!(messages.first(), Some(Message::Worker { .. })) {
            self.keep_pace().await;
        }
        while messages.len() < MOST_PER_COMMIT {
            match self.inbox.messages.try_recv() {
                Ok(message) => messages.push(message),
                Err(_) => break,
            }
        }
        match messages.iter().position(|message| matches!(message, Message::Stop)) {
            Some(_) => Gathered::Stop,
            None => Gathered::Messages(messages),
        }
    }

    /// Waits where commits have come faster than their pace for a while.
    async fn keep_pace(&mut self) {
        let now = Instant::now();
        // Idle time is not saved up.
        self.paced_until = self.paced_until.max(now);
        let early = (self.paced_until - now).saturating_sub(PACE * UNPACED);
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
    }

    async fn turn(&mut self, messages: Vec<Message>) -> Result<(), Ended> {
        for want in std::mem::take(&mut self.wants) {
            let past = self.look_up(&want).await?;
            let now = self.now();
            self.engine.step(now, past);
        }
        for message in messages {
            self.take(message).await?;
        }
        let now = self.now();
        self.engine.step(now, Input::Clock);
        self.conclude().await
    }

    async fn take(&mut self, message: Message) -> Result<(), Ended> {
        match message {
            Message::Command { by, command, reply } => {
                for need in self.engine.needs(&command) {
                    self.load(need).await?;
                }
                self.outdated.extend(self.leaves_logs(&command));
                self.next_command += 1;
                let id = self.next_command;
                self.waiting.insert(id, reply);
                let now = self.now();
                self.engine.step(now, Input::Command { id, by, command });
            }
            Message::Worker { worker, incarnation, events } => {
                for event in events {
                    let worker = worker.clone();
                    let now = self.now();
                    self.engine.step(now, Input::Worker { worker, incarnation, event });
                }
            }
            Message::Ask(question) => question(&self.engine),
            Message::Clean { before, what, limit, reply } => {
                // What was decided so far is written first: a run that was cleared is not over any more.
                self.conclude().await?;
                let _ = reply.send(self.store.clean(before, what, limit).await);
            }
            // Seen before.
            Message::Stop => {}
        }
        Ok(())
    }

    /// Writes what the engine came to, and then does it.
    async fn conclude(&mut self) -> Result<(), Ended> {
        let Output { batch, effects, wants, faults, refused } = self.engine.take_output();
        for RefusedVersion { dag, version, reason } in refused {
            warn!(
                %dag, version, reason,
                "this program can't run a version of a DAG: its runs fail, and the DAG waits for a new version"
            );
        }
        for fault in faults {
            error!(%fault, "the engine met an event that can't have happened; please report this");
        }
        if !batch.is_empty() {
            self.paced_until += PACE + PACE_PER_SLOT * self.engine.slots_taken();
        }
        for (key, run) in batch.runs.range((Bound::Excluded(self.last_run), Bound::Unbounded)) {
            self.last_run = *key;
            self.outdated.push(Logged { dag: run.dag.clone(), run_id: Some(run.run_id.clone()), run: None });
        }
        if !batch.is_empty() && !self.commit(batch).await? {
            return self.start_over().await;
        }
        self.be_certain().await?;
        self.remove_logs().await;
        self.perform(effects);
        self.wants.extend(wants);
        Ok(())
    }

    /// Waits until it is certain that nobody else leads. While a commit is under way the lease can't be renewed: after a long
    /// one it takes a moment.
    async fn be_certain(&mut self) -> Result<(), Ended> {
        let certain = self.certain_until.wait_for(|until| *until > Instant::now());
        match tokio::time::timeout(CERTAIN_WITHIN, certain).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Fenced),
        }
    }

    /// Writes a batch, for as long as this server leads. `false` where it can't be written at all.
    async fn commit(&mut self, batch: Batch) -> Result<bool, Ended> {
        let mut refused: Option<Refused> = None;
        loop {
            let began = Instant::now();
            let written = tokio::time::timeout(COMMITS_WITHIN, self.store.commit(&batch, self.fence));
            let Ok(written) = written.await else { return Err(Ended::Fenced) };
            match written {
                Ok(()) => {
                    observe(&self.inbox.times.commits, began);
                    if refused.is_some() {
                        info!("the store takes writes again");
                    }
                    return Ok(true);
                }
                Err(CommitError::Fenced(_)) => return Err(Ended::Fenced),
                Err(error) if error.is_retryable() => {
                    if refused.is_none() {
                        warn!(%error, "the store can't be written; nothing is lost, trying again until it can");
                        refused = Some(Refused::by(&self.inbox.times));
                    }
                    tokio::time::sleep(RETRY_EVERY).await;
                    if *self.certain_until.borrow() <= Instant::now() {
                        return Err(Ended::Fenced);
                    }
                }
                Err(error) => {
                    error!(%error, "the store refused a batch; please report this");
                    return Ok(false);
                }
            }
        }
    }

    /// What a command deletes that may have logs.
    fn leaves_logs(&self, command: &Command) -> Option<Logged> {
        match command {
            Command::DeleteRun(key) => {
                let (run, _) = self.engine.run(*key)?;
                Some(Logged { dag: run.dag.clone(), run_id: Some(run.run_id.clone()), run: Some(*key) })
            }
            Command::DeleteDag(dag) => {
                let run = Some(self.last_run);
                self.engine.dag(dag).map(|_| Logged { dag: dag.clone(), run_id: None, run })
            }
            _ => None,
        }
    }

    /// Removes the logs of what was deleted. Those of a run of the same name that was there before go when the
    /// new one is in the store and before it begins: they are there where a server died after it deleted a run.
    async fn remove_logs(&mut self) {
        let outdated = std::mem::take(&mut self.outdated);
        if outdated.is_empty() {
            return;
        }
        match self.logs.remove(&outdated).await {
            Ok(false) => {}
            Ok(true) => {
                let logs = self.logs.clone();
                // Where this comes to nothing, it is done with the next.
                tokio::spawn(async move { logs.purge().await });
            }
            Err(error) => warn!(%error, "could not remove the logs of what was deleted"),
        }
    }

    /// Forgets what could not be written: the engine is made anew from what the store has, and whoever
    /// waits for an answer is told to ask again.
    async fn start_over(&mut self) -> Result<(), Ended> {
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Err(Refusal::TryAgain));
        }
        let store = self.store.clone();
        let snapshot = self.patiently(|| store.load()).await?;
        self.last_run = RunKey(snapshot.last_run);
        self.engine = Engine::restore(self.config.clone(), snapshot, now());
        self.orders.clear();
        self.held_back.clear();
        self.outdated.clear();
        self.workers.rejoin_all();
        Ok(())
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut messages: HashMap<(WorkerId, Incarnation), Vec<ToWorker>> = HashMap::new();
        for effect in effects {
            match effect {
                Effect::Reply { id, reply } => {
                    if let Some(waiting) = self.waiting.remove(&id) {
                        let _ = waiting.send(reply.map_err(Refusal::Command));
                    }
                }
                Effect::Send { worker, incarnation, message: ToWorker::Assign(attempt) }
                    if self.held_back.keeps(
                        &self.engine,
                        &(worker.clone(), incarnation, attempt),
                        Instant::now(),
                    ) => {}
                Effect::Send { worker, incarnation, message } => {
                    messages.entry((worker, incarnation)).or_default().push(message);
                }
                Effect::Deliver(id) => {
                    let _ = self.deliveries.send(id);
                }
            }
        }
        for (worker, incarnation, attempt) in self.held_back.released(&self.engine, Instant::now()) {
            messages.entry((worker, incarnation)).or_default().push(ToWorker::Assign(attempt));
        }
        for ((worker, incarnation), messages) in messages {
            for message in self.compose(messages) {
                self.workers.send(&worker, incarnation, message);
            }
        }
    }

    /// What a worker is told, neighbours of one kind in one message, their order kept.
    fn compose(&mut self, messages: Vec<ToWorker>) -> Vec<FromServer> {
        let mut composed: Vec<FromServer> = Vec::new();
        for message in messages {
            match (message, composed.last_mut()) {
                (ToWorker::Assign(attempt), last) => {
                    let Some(order) = self.orders.order(&self.engine, attempt) else { continue };
                    match last {
                        Some(FromServer::Assign(orders)) => orders.push(order),
                        _ => composed.push(FromServer::Assign(vec![order])),
                    }
                }
                (ToWorker::Cancel(attempt), Some(FromServer::Cancel(all))) => all.push(attempt),
                (ToWorker::Cancel(attempt), _) => composed.push(FromServer::Cancel(vec![attempt])),
                (ToWorker::Pause(attempt), Some(FromServer::Pause(all))) => all.push(attempt),
                (ToWorker::Pause(attempt), _) => composed.push(FromServer::Pause(vec![attempt])),
                (ToWorker::Continue(attempt), Some(FromServer::Continue(all))) => all.push(attempt),
                (ToWorker::Continue(attempt), _) => composed.push(FromServer::Continue(vec![attempt])),
                (ToWorker::Acknowledge(attempt), Some(FromServer::Acknowledge(all))) => all.push(attempt),
                (ToWorker::Acknowledge(attempt), _) => composed.push(FromServer::Acknowledge(vec![attempt])),
                (ToWorker::Rejoin, _) => composed.push(FromServer::Rejoin),
                (ToWorker::Joined(join), _) => composed.push(FromServer::Joined(join)),
                (ToWorker::Outlived, _) => {
                    let why = "a later life of this worker has joined: another of its name is at work";
                    composed.push(FromServer::Refused(why.into()));
                }
            }
        }
        composed
    }

    /// Tells the engine of a run that a command is about.
    async fn load(&mut self, need: Need) -> Result<(), Ended> {
        let store = self.store.clone();
        let key = match need {
            Need::AssetEvent(asset, key) => {
                if let Some(event) = self.patiently(|| store.asset_event_of(asset, &key)).await? {
                    let now = self.now();
                    self.engine.step(now, Input::AssetEventKnown { asset, key, event });
                }
                None
            }
            Need::Run(key) => Some(key),
            Need::RunId(dag, run_id) => self.patiently(|| store.find_run(&dag, &run_id)).await?,
        };
        let Some(key) = key else { return Ok(()) };
        if let Some((version, run)) = self.patiently(|| store.load_run(key)).await? {
            let now = self.now();
            self.engine.step(now, Input::Loaded { version, run: Box::new(run) });
        }
        Ok(())
    }

    async fn look_up(&self, want: &Want) -> Result<Input, Ended> {
        let store = self.store.clone();
        let query = RunQuery {
            namespace: want.dag.namespace.clone(),
            dags: vec![want.dag.dag_id.clone()],
            run_types: if want.only_scheduled { vec![RunType::Scheduled] } else { Vec::new() },
            logical_date: Bounds { lt: Some(want.logical_date), ..Bounds::default() },
            order: vec![Order { by: RunField::LogicalDate, descending: true }],
            window: Window { limit: 1, count_to: 1, ..Window::default() },
            ..RunQuery::default()
        };
        let before = self.patiently(|| store.runs(&query)).await?.rows.pop();
        let found = match before {
            Some(before) => self.patiently(|| store.load_run(before.row.key)).await?,
            None => None,
        };
        Ok(Input::Past { of: want.before, found: found.map(Box::new) })
    }

    /// Reads from the store, for as long as it takes.
    async fn patiently<T, F, R>(&self, read: F) -> Result<T, Ended>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, updraft_store::Error>>,
    {
        loop {
            match read().await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    warn!(%error, "the store can't be read; trying again");
                    tokio::time::sleep(RETRY_EVERY).await;
                    if *self.certain_until.borrow() <= Instant::now() {
                        return Err(Ended::Fenced);
                    }
                }
            }
        }
    }
}

enum Gathered {
    Messages(Vec<Message>),
    Stop,
}

/// The time, as finely as the store keeps it.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}
