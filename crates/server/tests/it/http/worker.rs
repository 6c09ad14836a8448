//! A worker that the test plays.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use updraft_core::{
    AttemptId, Incarnation,
    input::{AttemptEnd, Offer, Outcome, Report, WorkerEvent},
    protocol::{FromServer, FromWorker, Order, VERSION},
};

use super::server::{Server, WORKER_TOKEN};

pub struct Worker(WebSocketStream<TcpStream>);

impl Worker {
    /// Connects and joins.
    pub async fn join(server: &Server) -> Self {
        Self::join_as(server, WORKER_TOKEN, "worker").await
    }

    /// The same with this token, under this name.
    pub async fn join_as(server: &Server, token: &str, name: &str) -> Self {
        let mut worker = Self::connect(server, token).await.unwrap();
        worker
            .say(FromWorker::Hello {
                protocol: VERSION,
                worker: name.into(),
                incarnation: Incarnation(1),
                version: "test".into(),
                hostname: "host".into(),
                pid: 7,
                calls: true,
                drains: true,
                pieces: true,
            })
            .await;
        let joined = WorkerEvent::Joined {
            join: 1,
            offer: Offer { slots: 8, queues: vec!["default".into()], ..Offer::default() },
            namespace: None,
            held: Vec::new(),
        };
        worker.say(FromWorker::Events(vec![joined])).await;
        worker
    }

    /// Only the connection; the server's refusal, where it is refused.
    pub async fn connect(
        server: &Server,
        token: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let url = format!("ws://{}/worker/v1/connect", server.address);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let socket = TcpSocket::new_v4().unwrap();
        // What is not read is not taken in either.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        Ok(Self(client_async(request, stream).await?.0))
    }

    pub async fn say(&mut self, message: FromWorker) {
        let text = serde_json::to_string(&message).unwrap();
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    /// The next message that meets a condition.
    pub async fn hear<T>(&mut self, mut meets: impl FnMut(FromServer) -> Option<T>) -> T {
        let hear = async {
            loop {
                let Message::Text(text) = self.0.next().await.unwrap().unwrap() else { continue };
                if let Some(found) = meets(serde_json::from_str(&text).unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), hear).await.unwrap()
    }

    /// Takes the next order and begins it.
    pub async fn begin(&mut self) -> Arc<Order> {
        let order = self
            .hear(|message| match message {
                FromServer::Assign(mut orders) => {
                    assert_eq!(orders.len(), 1, "this test expects one at a time");
                    orders.pop()
                }
                _ => None,
            })
            .await;
        self.report(order.attempt, Report::Started).await;
        order
    }

    pub async fn report(&mut self, attempt: AttemptId, report: Report) {
        let at = Timestamp::now();
        self.say(FromWorker::Events(vec![WorkerEvent::Report { attempt, at, report }])).await;
    }

    /// Ends an attempt.
    pub async fn end(&mut self, attempt: AttemptId, outcome: Outcome) {
        self.report(attempt, Report::Ended(Box::new(outcome))).await;
    }

    /// Takes the next order, begins it and ends it.
    pub async fn run_one(&mut self, end: AttemptEnd) -> Arc<Order> {
        let order = self.begin().await;
        self.end(order.attempt, Outcome::new(end)).await;
        order
    }
}
