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
    protocol::{FromServer, FromWorker, LONGEST_MESSAGE_BYTES, LogEnd, MESSAGE_BYTES, Piece, Pieces},
};

use super::{
    Happened,
    host::{Client, innermost, said_by, told_by},
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
    pieces: Pieces,
    /// Whether the server takes long messages in pieces.
    in_pieces: bool,
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
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                // A proxy between may refuse for reasons of its own, and for a moment.
                let why = said_by(response).await.map(NoConnection::Refused);
                return Err(why.unwrap_or(NoConnection::Stranger(status)));
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
        Ok(Self { socket, pieces: Pieces::default(), in_pieces: false })
    }

    /// Says something. `false` where the connection is broken.
    pub async fn send(&mut self, message: &FromWorker) -> bool {
        match written(message) {
            Some(text) => self.send_text(text).await,
            None => true,
        }
    }

    /// Says what happened, in their order. `false` where the connection is broken.
    pub async fn tell(&mut self, told: Vec<Told>) -> bool {
        let mut left = vec![told];
        while let Some(mut told) = left.pop() {
            let Some(text) = written(&message(&told)) else { continue };
            if text.len() > MESSAGE_BYTES && told.len() > 1 {
                left.push(told.split_off(told.len() / 2));
                left.push(told);
            } else if !self.send_text(text).await {
                return false;
            }
        }
        true
    }

    async fn send_text(&mut self, text: String) -> bool {
        if text.len() <= MESSAGE_BYTES || !self.in_pieces {
            return self.socket.send(Message::Text(text.into())).await.is_ok();
        }
        for piece in Piece::cut(&text).filter_map(|piece| written(&FromWorker::Piece(piece))) {
            if self.socket.send(Message::Text(piece.into())).await.is_err() {
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
    fn take(&mut self, text: &str) -> Result<Option<FromServer>, String> {
        let read = |text: &str| serde_json::from_str(text).map_err(|error| error.to_string());
        match read(text)? {
            FromServer::Piece(piece) => {
                let whole = self.pieces.take(piece).map_err(|error| error.to_string())?;
                whole.map(|text| read(&text)).transpose()
            }
            FromServer::Welcome { pieces, lease_ms, offer } => {
                self.in_pieces = pieces;
                Ok(Some(FromServer::Welcome { pieces, lease_ms, offer }))
            }
            message => Ok(Some(message)),
        }
    }

    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

/// A message as it goes; `None` where it can't be written.
fn written(message: &FromWorker) -> Option<String> {
    serde_json::to_string(message)
        .inspect_err(|error| warn!(%error, "a message can't be written as JSON"))
        .ok()
}

fn message(told: &[Told]) -> FromWorker {
    let events = told.iter().map(|told| told.event.clone()).collect();
    let logs: Vec<LogEnd> = told.iter().filter_map(|told| told.log.clone()).collect();
    if logs.is_empty() { FromWorker::Events(events) } else { FromWorker::Ended { logs, events } }
}
