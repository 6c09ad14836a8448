//! One worker's WebSocket.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use tokio::sync::mpsc;
use tracing::{info, warn};
use updraft_core::{
    AttemptId, Incarnation, WorkerId,
    input::WorkerEvent,
    protocol::{FromServer, FromWorker, LogEnd, MESSAGE_BYTES, Piece, Pieces, VERSION, log_path},
};

use super::{About, NotAdded, Workers, api::log_of, ends};
use crate::{
    http::{Joining, Shared},
    logs::{LogName, Part},
};

/// A worker that connects has to say who it is within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Serves a worker's connection until it breaks.
pub(crate) async fn serve(mut socket: WebSocket, shared: Arc<Shared>, joining: Joining) {
    let workers = &shared.workers;
    let mut come = Pieces::default();
    let hello = match tokio::time::timeout(HELLO_WITHIN, receive(&mut socket, &mut come)).await {
        Ok(Some(hello)) => hello,
        Ok(None) | Err(_) => return,
    };
    let FromWorker::Hello { protocol, worker, incarnation, version, hostname, pid, calls, drains, pieces } =
        hello
    else {
        return refuse(&mut socket, "the first message has to be `hello`".into()).await;
    };
    if protocol != VERSION {
        let message = format!(
            "this worker (updraft {version}) speaks protocol {protocol}, this server {VERSION}: \
             install the same version of updraft on both"
        );
        return refuse(&mut socket, message).await;
    }
    if Workers::is_keeper(&worker) && joining != Joining::Own {
        let message =
            format!("the name `{worker}` is that of the server's own worker: join under another (--name)");
        return refuse(&mut socket, message).await;
    }
    // One of a namespace has a name of that: it takes the place of none of another, nor what that has.
    let worker = match joining.namespace() {
        Some(namespace) => format!("{worker}@{namespace}").into(),
        None => worker,
    };
    let about = About { version, hostname, pid, calls, drains };
    let (number, outbox) = match workers.add(worker.clone(), incarnation, about, joining.token().cloned()) {
        Ok(added) => added,
        // It looks for the leader again.
        Err(NotAdded::Closed) => return,
        Err(NotAdded::Outlived) => {
            let why =
                format!("a later life of worker `{worker}` is connected: another of its name is at work");
            return refuse(&mut socket, why).await;
        }
    };
    info!(%worker, pid, "a worker connected");
    // From here on it hears of it when its token is revoked.
    if let Some(token) = joining.token()
        && matches!(shared.accounts.is_revoked(token).await, Ok(true))
    {
        workers.turn_out(&token.hash);
    }
    let lease_ms = shared.config.lease.as_millis() as u64;
    let welcome = FromServer::Welcome { lease_ms, offer: workers.offer(&worker), pieces: true };
    if send(&mut socket, &welcome).await {
        let logs = (joining != Joining::Own).then(HashMap::new);
        let joining = &joining;
        let worker = worker.clone();
        let mut conversation = Conversation {
            socket,
            shared: &shared,
            worker,
            incarnation,
            joining,
            number,
            logs,
            come,
            in_pieces: pieces,
            left: VecDeque::new(),
            behind: FuturesOrdered::new(),
        };
        conversation.last(outbox).await;
    }
    if workers.remove(&worker, number) {
        // Where nobody leads, there is nobody who would give it anything.
        let _ = shared.leader.worker(worker.clone(), incarnation, vec![WorkerEvent::Away]).await;
    }
    info!(%worker, pid, "a worker's connection ended");
}

/// What is said over a connection once the worker is known.
struct Conversation<'a> {
    socket: WebSocket,
    shared: &'a Arc<Shared>,
    worker: WorkerId,
    incarnation: Incarnation,
    joining: &'a Joining,
    number: u64,
    /// Where the logs of the attempts are that this worker was ordered to make and whose ends are not in the store; `None`
    /// where it writes them itself.
    logs: Option<HashMap<AttemptId, LogName>>,
    /// What has come of a message that comes in pieces.
    come: Pieces,
    /// Whether it takes long messages in pieces.
    in_pieces: bool,
    /// What is to be sent before the next message.
    left: VecDeque<String>,
    /// What is passed on when the ends of logs before it are written.
    behind: FuturesOrdered<BoxFuture<'a, Vec<WorkerEvent>>>,
}

impl Conversation<'_> {
    /// Until the connection breaks.
    async fn last(&mut self, mut outbox: mpsc::UnboundedReceiver<FromServer>) {
        let mut connected = true;
        while connected {
            connected = tokio::select! {
                message = outbox.recv(), if self.left.is_empty() => match message {
                    // It is turned out.
                    Some(FromServer::Refused(why)) => {
                        refuse(&mut self.socket, why).await;
                        false
                    }
                    Some(message) => {
                        self.note(&message);
                        self.left = cut(&message, self.in_pieces);
                        self.send_next().await
                    }
                    None => false,
                },
                // Between two pieces there is time for what the worker says.
                () = std::future::ready(()), if !self.left.is_empty() => self.send_next().await,
                Some(events) = self.behind.next(), if !self.behind.is_empty() => self.pass_on(events).await,
                said = receive(&mut self.socket, &mut self.come) => match said {
                    Some(FromWorker::Events(events)) if self.behind.is_empty() => self.pass_on(events).await,
                    Some(FromWorker::Events(events)) => self.pass_on_behind(Vec::new(), events).await,
                    Some(FromWorker::Ended { logs, events }) => self.pass_on_behind(logs, events).await,
                    Some(FromWorker::Called { id, outcome }) => {
                        self.shared.workers.called(&self.worker, self.number, id, outcome);
                        true
                    }
                    Some(FromWorker::Hello { .. }) => {
                        warn!(worker = %self.worker, "a worker said hello twice; closing its connection");
                        false
                    }
                    Some(FromWorker::Piece(_)) | None => false,
                },
            };
        }
    }

    async fn send_next(&mut self) -> bool {
        match self.left.pop_front() {
            Some(text) => self.socket.send(Message::Text(text.into())).await.is_ok(),
            None => true,
        }
    }

    /// Notes whose logs may come.
    fn note(&mut self, message: &FromServer) {
        let Some(logs) = &mut self.logs else { return };
        match message {
            FromServer::Assign(orders) => logs.extend(orders.iter().map(|order| {
                let names = (&order.run.namespace, &order.run.dag_id, &order.run.run_id);
                let (ti, number) = (order.attempt.ti, order.attempt.try_number);
                let path = log_path(names, &order.task.task_id, ti.map_index, number);
                (order.attempt, LogName { run: ti.run, path })
            })),
            FromServer::Acknowledge(attempts) => {
                attempts.iter().for_each(|attempt| drop(logs.remove(attempt)))
            }
            _ => {}
        }
    }

    async fn pass_on(&mut self, mut events: Vec<WorkerEvent>) -> bool {
        for event in &mut events {
            if let WorkerEvent::Joined { namespace, .. } = event {
                *namespace = self.joining.namespace().cloned();
            }
        }
        let beats = events.contains(&WorkerEvent::Heartbeat) && self.shared.workers.is_certain();
        // While the leader waits for the database, nobody listens here: that is no silence of the worker's.
        self.shared.workers.heard(&self.worker, self.number, None);
        let passed_on =
            self.shared.leader.worker(self.worker.clone(), self.incarnation, events).await.is_ok();
        self.shared.workers.heard(&self.worker, self.number, Some(Instant::now()));
        passed_on && (!beats || send(&mut self.socket, &FromServer::Heartbeat).await)
    }

    /// Passes events on when the ends of logs are written, and what came before is passed on; a heartbeat at once.
    async fn pass_on_behind(&mut self, ends: Vec<LogEnd>, mut events: Vec<WorkerEvent>) -> bool {
        let count = events.len();
        events.retain(|event| *event != WorkerEvent::Heartbeat);
        let beats = events.len() < count;
        if !(events.is_empty() && ends.is_empty()) {
            let known = self.logs.as_ref();
            let name_of = |end: &LogEnd| known.and_then(|logs| logs.get(&end.attempt)).cloned();
            let ends: Vec<_> = ends.into_iter().map(|end| (name_of(&end), end)).collect();
            let (shared, joining) = (self.shared, self.joining);
            self.behind.push_back(Box::pin(async move {
                if !ends.is_empty() {
                    ends::add(shared, parts(shared, joining, ends).await).await;
                }
                events
            }));
        }
        !beats || self.pass_on(vec![WorkerEvent::Heartbeat]).await
    }
}

/// What is to be added to logs. What can't be is told here: the attempts have ended all the same.
async fn parts(shared: &Shared, joining: &Joining, ends: Vec<(Option<LogName>, LogEnd)>) -> Vec<Part> {
    let mut parts = Vec::with_capacity(ends.len());
    for (log, LogEnd { attempt, offset, text }) in ends {
        let log = match log {
            Some(log) => log,
            // It was ordered by who led before.
            None => match log_of(shared, joining, attempt).await {
                Ok(log) => log,
                Err(error) => {
                    warn!(%attempt, ?error, "the end of a log is not taken");
                    continue;
                }
            },
        };
        parts.push(Part { log, offset, bytes: text.into() });
    }
    parts
}

async fn refuse(socket: &mut WebSocket, why: String) {
    warn!(why, "refused a worker");
    send(socket, &FromServer::Refused(why)).await;
}

/// Sends a message that is short. `false` where the connection is over.
async fn send(socket: &mut WebSocket, message: &FromServer) -> bool {
    for text in cut(message, false) {
        if socket.send(Message::Text(text.into())).await.is_err() {
            return false;
        }
    }
    true
}

/// A message as it is sent: orders that are long together one after the other, and what is long by itself in pieces where
/// the worker takes these.
fn cut(message: &FromServer, in_pieces: bool) -> VecDeque<String> {
    let text = match serde_json::to_string(message) {
        Ok(text) => text,
        Err(error) => {
            warn!(%error, "a message for a worker can't be written as JSON");
            return VecDeque::new();
        }
    };
    if text.len() <= MESSAGE_BYTES {
        return [text].into();
    }
    match message {
        FromServer::Assign(orders) if orders.len() > 1 => {
            let (some, others) = orders.split_at(orders.len() / 2);
            let halves = [some, others].into_iter();
            halves.flat_map(|orders| cut(&FromServer::Assign(orders.to_vec()), in_pieces)).collect()
        }
        _ if in_pieces => Piece::cut(&text).flat_map(|piece| cut(&FromServer::Piece(piece), false)).collect(),
        _ => [text].into(),
    }
}

/// The next message; `None` where the connection is over or what came is no message.
async fn receive(socket: &mut WebSocket, come: &mut Pieces) -> Option<FromWorker> {
    loop {
        match socket.recv().await?.ok()? {
            Message::Text(text) => match take(&text, come) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(error) => {
                    warn!(error, "a worker sent what is no message; closing its connection");
                    return None;
                }
            },
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) | Message::Binary(_) => return None,
        }
    }
}

/// A message, where this is one or the last piece of one.
fn take(text: &str, come: &mut Pieces) -> Result<Option<FromWorker>, String> {
    let read = |text: &str| serde_json::from_str(text).map_err(|error| error.to_string());
    match read(text)? {
        FromWorker::Piece(piece) => {
            let whole = come.take(piece).map_err(|error| error.to_string())?;
            whole.map(|text| read(&text)).transpose()
        }
        message => Ok(Some(message)),
    }
}
