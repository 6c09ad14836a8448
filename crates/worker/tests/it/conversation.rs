//! What a worker says to a server, and how it obeys: a real worker, and a test that plays the server.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};
use updraft_core::{
    AttemptId, DeliveryId, XcomValue,
    input::{AttemptEnd, Offer, Report, WorkerEvent},
    protocol::{CallOutcome, FromServer, FromWorker, MESSAGE_BYTES, Order, Piece, Pieces},
};
use updraft_worker::worker::{Asked, Config, Endpoint, Error, Guarding, run};

/// A worker has so long to say what is waited for.
const WITHIN: Duration = Duration::from_secs(20);

/// A worker, and the server's side of its connection.
pub struct Conversation {
    pub home: TempDir,
    listener: UnixListener,
    socket: WebSocketStream<UnixStream>,
    ask: watch::Sender<Asked>,
    worker: JoinHandle<Result<(), Error>>,
}

impl Conversation {
    /// Until the worker has said that it is there for the first time.
    pub async fn begin() -> Self {
        Self::begin_with(|_| ()).await
    }

    /// The same, with a worker that is set up otherwise.
    pub async fn begin_with(change: impl FnOnce(&mut Config)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (ask, asked) = watch::channel(Asked::ToWork);
        let mut config = config(&home, path);
        change(&mut config);
        let worker = tokio::spawn(run(config, asked));
        let socket = Self::accept(&listener).await;
        let mut conversation = Self { home, listener, socket, ask, worker };
        conversation.welcome().await;
        conversation
    }

    async fn accept(listener: &UnixListener) -> WebSocketStream<UnixStream> {
        let next = tokio::time::timeout(WITHIN, listener.accept());
        accept_async(next.await.expect("the worker comes").unwrap().0).await.unwrap()
    }

    async fn welcome(&mut self) {
        assert!(matches!(self.hear().await, FromWorker::Hello { .. }));
        self.say(&FromServer::Welcome { lease_ms: 30_000, offer: None, pieces: true }).await;
    }

    /// The connection breaks, and the worker is back.
    pub async fn reconnect(&mut self) {
        let _ = self.socket.close(None).await;
        self.socket = Self::accept(&self.listener).await;
        self.welcome().await;
    }

    pub async fn say(&mut self, message: &FromServer) {
        let text = serde_json::to_string(message).unwrap();
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    async fn hear(&mut self) -> FromWorker {
        let next = tokio::time::timeout(WITHIN, self.socket.next());
        match next.await.unwrap().unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next events that are no heartbeats.
    async fn events(&mut self) -> Vec<WorkerEvent> {
        loop {
            let FromWorker::Events(mut events) = self.hear().await else { panic!("something else is told") };
            events.retain(|event| !matches!(event, WorkerEvent::Heartbeat));
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// What the worker says of itself as it joins: which time this is, and what it has.
    pub async fn joins(&mut self) -> (u64, Vec<AttemptId>) {
        match self.events().await.swap_remove(0) {
            WorkerEvent::Joined { join, held, .. } => (join, held),
            other => panic!("{other:?}"),
        }
    }

    /// The next attempt that ends, and how.
    pub async fn ends(&mut self) -> (AttemptId, AttemptEnd) {
        loop {
            for event in self.events().await {
                if let WorkerEvent::Report { attempt, report: Report::Ended(outcome), .. } = event {
                    return (attempt, outcome.end);
                }
            }
        }
    }

    /// The next call that is over, and how.
    pub async fn called(&mut self) -> (DeliveryId, CallOutcome) {
        loop {
            if let FromWorker::Called { id, outcome } = self.hear().await {
                return (id, outcome);
            }
        }
    }

    async fn assign(&mut self, attempt: AttemptId) {
        let order = self.order(attempt);
        self.say(&FromServer::Assign(vec![Arc::new(order)])).await;
    }

    /// An order for a command that succeeds.
    pub fn order(&self, attempt: AttemptId) -> Order {
        order(&self.home, attempt)
    }

    /// Tells the worker to stop.
    pub fn stop(&self) {
        self.ask.send_replace(Asked::ToStop);
    }

    pub async fn finish(mut self) {
        self.stop();
        while self.events().await != [WorkerEvent::Left] {}
        self.worker.await.unwrap().unwrap();
    }
}

/// How the worker is set up, with everything in this folder.
pub fn config(home: &TempDir, server: PathBuf) -> Config {
    // As the program does before all else.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Config {
        id: "w".into(),
        offer: Offer { slots: 1, queues: vec!["default".into()], ..Offer::default() },
        endpoint: Endpoint::Unix(server),
        token: "secret".into(),
        logs: home.path().join("logs"),
        scratch: home.path().join("scratch"),
        scratch_of_others: None,
        installation: home.path().file_name().unwrap().to_str().unwrap().to_owned(),
        guarding: Guarding::On,
        denied: Vec::new(),
        readable: Vec::new(),
        bundles: home.path().join("bundles"),
        files: home.path().join("files"),
        callback_timeout: Duration::from_secs(60),
        log_limit_bytes: 1 << 30,
        alone_for: None,
    }
}

/// An order for a command that succeeds.
pub fn order(home: &TempDir, attempt: AttemptId) -> Order {
    let order = json!({
        "attempt": attempt,
        "watch": false,
        "operator": "BashOperator",
        "args": { "bash_command": "true" },
        "task": { "task_id": "t", "max_tries": 0, "do_xcom_push": false, "owner": "airflow" },
        "run": {
            "namespace": "default", "dag_id": "d", "run_id": "r", "run_type": "manual",
            "logical_date": null, "data_interval": null, "run_after": "2026-01-01T00:00:00Z",
            "started_at": null, "conf": {}, "params": {}, "version": 1, "timezone": "UTC",
            "source": home.path().join("d.yaml"),
        },
    });
    serde_json::from_value(order).unwrap()
}

pub fn attempt(number: u32) -> AttemptId {
    format!("1.{number}.-1.1.1").parse().unwrap()
}

#[tokio::test]
async fn an_order_from_before_a_join_was_heard_is_not_begun() {
    let mut server = Conversation::begin().await;
    assert_eq!(server.joins().await, (1, vec![]));
    server.assign(attempt(1)).await;
    server.say(&FromServer::Rejoin).await;
    assert_eq!(server.joins().await, (2, vec![]));
    server.say(&FromServer::Joined(1)).await;
    server.assign(attempt(2)).await;
    server.reconnect().await;
    assert_eq!(server.joins().await, (3, vec![]));
    server.say(&FromServer::Joined(2)).await;
    server.assign(attempt(3)).await;
    server.say(&FromServer::Joined(3)).await;
    server.assign(attempt(4)).await;
    assert_eq!(server.ends().await, (attempt(4), AttemptEnd::Success));
    server.say(&FromServer::Acknowledge(vec![attempt(4)])).await;
    server.finish().await;
}

#[tokio::test]
async fn an_order_that_comes_in_pieces_is_put_together_whatever_is_said_between() {
    let mut server = Conversation::begin().await;
    server.joins().await;
    server.say(&FromServer::Joined(1)).await;
    let order = Arc::new(server.order(attempt(1)));
    let text = serde_json::to_string(&FromServer::Assign(vec![order])).unwrap();
    let (begin, end) = text.split_at(text.len() / 2);
    // The connection breaks amid it: what has come of it counts no more.
    server.say(&FromServer::Piece(Piece { text: end.into(), is_last: false })).await;
    server.reconnect().await;
    assert_eq!(server.joins().await, (2, vec![]));
    server.say(&FromServer::Joined(2)).await;
    server.say(&FromServer::Piece(Piece { text: begin.into(), is_last: false })).await;
    server.say(&FromServer::Heartbeat).await;
    server.say(&FromServer::Piece(Piece { text: end.into(), is_last: true })).await;
    assert_eq!(server.ends().await, (attempt(1), AttemptEnd::Success));
    server.say(&FromServer::Acknowledge(vec![attempt(1)])).await;
    server.finish().await;
}

#[tokio::test]
async fn what_is_long_is_told_in_pieces_where_the_server_takes_them() {
    let mut server = Conversation::begin().await;
    server.joins().await;
    server.say(&FromServer::Joined(1)).await;
    let mut order = server.order(attempt(1));
    order.task.do_xcom_push = true;
    // With all that is told beside it, it is more than goes in one.
    let result = "x".repeat(65_500);
    order.args["bash_command"] = "printf 'x%.0s' $(seq 65500)".into();
    server.say(&FromServer::Assign(vec![Arc::new(order)])).await;
    let mut pieces = Pieces::default();
    let whole = loop {
        if let FromWorker::Piece(piece) = server.hear().await
            && let Some(whole) = pieces.take(piece).unwrap()
        {
            break whole;
        }
    };
    assert!(whole.len() > MESSAGE_BYTES, "{}", whole.len());
    let (FromWorker::Events(events) | FromWorker::Ended { events, .. }) =
        serde_json::from_str(&whole).unwrap()
    else {
        panic!("{whole}")
    };
    let ended = events.iter().find_map(|event| match event {
        WorkerEvent::Report { report: Report::Ended(outcome), .. } => Some(outcome),
        _ => None,
    });
    assert_eq!(ended.unwrap().xcoms, [("return_value".into(), XcomValue::Inline(Arc::new(result.into())))]);
    server.say(&FromServer::Acknowledge(vec![attempt(1)])).await;
    server.finish().await;
}

#[tokio::test]
async fn the_end_of_an_attempt_is_told_until_it_is_acknowledged() {
    let mut server = Conversation::begin().await;
    server.joins().await;
    server.say(&FromServer::Joined(1)).await;
    server.assign(attempt(1)).await;
    assert_eq!(server.ends().await, (attempt(1), AttemptEnd::Success));
    server.reconnect().await;
    assert_eq!(server.ends().await, (attempt(1), AttemptEnd::Success));
    server.say(&FromServer::Acknowledge(vec![attempt(1)])).await;
    server.reconnect().await;
    assert_eq!(server.joins().await, (3, vec![]));
    server.finish().await;
}

#[tokio::test]
async fn what_a_copy_is_called_is_told_with_its_end_until_that_is_acknowledged() {
    let mut server = Conversation::begin().await;
    server.joins().await;
    server.say(&FromServer::Joined(1)).await;
    let mut order = server.order(attempt(1));
    order.task.map_index_template = Some("the one of {{ run_id }}".into());
    server.say(&FromServer::Assign(vec![Arc::new(order)])).await;
    assert_eq!(server.ends().await, (attempt(1), AttemptEnd::Success));
    server.reconnect().await;
    let events = server.events().await;
    let [WorkerEvent::Joined { .. }, reports @ ..] = &events[..] else { panic!("{events:?}") };
    let reports: Vec<_> = reports
        .iter()
        .filter_map(|event| match event {
            WorkerEvent::Report { report: Report::Named(name), .. } => Some(&**name),
            WorkerEvent::Report { report: Report::Ended(_), .. } => Some("over"),
            _ => None,
        })
        .collect();
    assert_eq!(reports, ["the one of r", "over"]);
    server.say(&FromServer::Acknowledge(vec![attempt(1)])).await;
    server.finish().await;
}

#[tokio::test]
async fn what_is_to_be_cancelled_and_is_not_here_has_ended() {
    let mut server = Conversation::begin().await;
    server.joins().await;
    server.say(&FromServer::Cancel(vec![attempt(1)])).await;
    assert_eq!(server.ends().await, (attempt(1), AttemptEnd::Cancelled));
    server.say(&FromServer::Acknowledge(vec![attempt(1)])).await;
    server.finish().await;
}

#[tokio::test]
async fn a_folder_for_files_that_has_in_it_what_is_kept_from_tasks_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let kept = home.path().join("srv/home");
    std::fs::create_dir_all(&kept).unwrap();
    for files in [kept.clone(), home.path().join("srv")] {
        let config = Config {
            denied: vec![kept.clone()],
            files: files.clone(),
            ..config(&home, home.path().join("server.sock"))
        };
        let error = run(config, watch::channel(Asked::ToWork).1).await.unwrap_err().to_string();
        assert!(error.contains("UPDRAFT__WORKER__FILES"), "{}: {error}", files.display());
    }
}
