//! The WebSocket to the server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{
    StatusCode, Upgraded,
    header::{CONNECTION, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use tracing::warn;
use updraft_core::{
    input::WorkerEvent,
    protocol::{FromServer, FromWorker, LONGEST_MESSAGE_BYTES, LogEnd, MESSAGE_BYTES},
};

use super::{
    Happened,
    host::{Client, innermost, told_by},
};

/// A server that is there answers within this; one that stands by waits up to ten seconds for a leader.
const ANSWERS_WITHIN: Duration = Duration::from_secs(11);

/// The route of the WebSocket.
const CONNECT: &str = "connect";

/// What a server is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub event: WorkerEvent,
    /// The end of the log of the attempt that has ended.
    pub log: Option<LogEnd>,
}

impl From<WorkerEvent> for Told {
    fn from(event: WorkerEvent) -> Self {
        Self { event, log: None }
    }
}

impl From<Happened> for Told {
    fn from(Happened { attempt, at, report, log }: Happened) -> Self {
        Self { event: WorkerEvent::Report { attempt, at, report }, log }
    }
}

/// A connection to the server.
pub(super) struct Connection {
    socket: WebSocketStream<Upgraded>,
    /// What has come of a message that comes in pieces.
    pieces: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnection {
    #[error("it can't be reached: {}", innermost(.0))]
    Away(#[from] reqwest::Error),
    #[error("it does not answer")]
    Silent,
    #[error("it is not ready: {0}")]
    NotReady(String),
    #[error("it does not take this worker: {0}")]
    Refused(String),
    #[error("another server leads")]
    Elsewhere,
    #[error("{0}")]
    Misled(String),
    #[error("it answers with {0}, and is no server of Updraft's")]
    Stranger(StatusCode),
}

impl Connection {
    /// Asks for a WebSocket as RFC 6455 has it (section 4.1), by the client that asks for all else: so both reach the
    /// server by the same way, through a socket of this machine or by TLS.
    pub async fn open(client: &Client) -> Result<Self, NoConnection> {
        let key = generate_key();
        let request = client
            .request(CONNECT)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let answer = tokio::time::timeout(ANSWERS_WITHIN, request.send()).await;
        let response = answer.map_err(|_| NoConnection::Silent)??;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(NoConnection::Refused(told_by(response).await));
            }
            StatusCode::TEMPORARY_REDIRECT => {
                let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
                client.go_to(location.unwrap_or_default(), CONNECT).map_err(NoConnection::Misled)?;
                return Err(NoConnection::Elsewhere);
            }
            StatusCode::SERVICE_UNAVAILABLE => return Err(NoConnection::NotReady(told_by(response).await)),
            other => return Err(NoConnection::Stranger(other)),
        }
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accepted| accepted.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(NoConnection::Stranger(response.status()));
        }
        let limits = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_MESSAGE_BYTES))
            .max_frame_size(Some(LONGEST_MESSAGE_BYTES));
        let stream = response.upgrade().await?;
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await;
        Ok(Self { socket, pieces: String::new() })
    }

    /// Says something. `false` where the connection is broken.
    pub async fn send(&mut self, message: &FromWorker) -> bool {
        match serde_json::to_string(message) {
            Ok(text) => self.socket.send(Message::Text(text.into())).await.is_ok(),
            Err(error) => {
                warn!(%error, "a message can't be written as JSON");
                true
            }
        }
    }

    /// Says what happened, in their order. `false` where the connection is broken.
    pub async fn tell(&mut self, told: Vec<Told>) -> bool {
        let mut left = vec![told];
        while let Some(mut told) = left.pop() {
            let text = match serde_json::to_string(&message(&told)) {
                Ok(text) => text,
                Err(error) => {
                    warn!(%error, "a message can't be written as JSON");
                    continue;
                }
            };
            if text.len() > MESSAGE_BYTES && told.len() > 1 {
                left.push(told.split_off(told.len() / 2));
                left.push(told);
            } else if self.socket.send(Message::Text(text.into())).await.is_err() {
                return false;
            }
        }
        true
    }

    /// What the server says next; `None` where the connection is over.
    pub async fn receive(&mut self) -> Option<FromServer> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => match self.take(&text) {
                    Ok(Some(message)) => return Some(message),
                    Ok(None) => {}
                    Err(error) => {
                        warn!(%error, "the server sent what is no message");
                        return None;
                    }
                },
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }

    /// A message, where this is one or the last piece of one.
    fn take(&mut self, text: &str) -> Result<Option<FromServer>, serde_json::Error> {
        let (text, is_last) = match serde_json::from_str(text)? {
            FromServer::Piece { text, is_last } => (text, is_last),
            message => return Ok(Some(message)),
        };
        if self.pieces.len() + text.len() > LONGEST_MESSAGE_BYTES {
            return Err(serde::de::Error::custom("its pieces are longer than any message may be"));
        }
        self.pieces.push_str(&text);
        match is_last {
            true => serde_json::from_str(&std::mem::take(&mut self.pieces)).map(Some),
            false => Ok(None),
        }
    }

    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

fn message(told: &[Told]) -> FromWorker {
    let events = told.iter().map(|told| told.event.clone()).collect();
    let logs: Vec<LogEnd> = told.iter().filter_map(|told| told.log.clone()).collect();
    if logs.is_empty() { FromWorker::Events(events) } else { FromWorker::Ended { logs, events } }
}
