//! The WebSocket to the server.

use std::path::PathBuf;

use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};
use tracing::warn;
use updraft_core::{
    input::WorkerEvent,
    protocol::{FromServer, FromWorker, LONGEST_MESSAGE_BYTES, MESSAGE_BYTES},
};

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// On this machine, at this socket.
    Unix(PathBuf),
}

/// A connection to the server.
pub(super) struct Connection(WebSocketStream<UnixStream>);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnection {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Handshake(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("the token can't stand in a header")]
    Token,
}

impl Connection {
    pub async fn open(endpoint: &Endpoint, token: &str) -> Result<Self, NoConnection> {
        let Endpoint::Unix(path) = endpoint;
        let stream = UnixStream::connect(path).await?;
        let mut request = "ws://localhost/worker/v1/connect".into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| NoConnection::Token)?;
        request.headers_mut().insert("authorization", bearer);
        let limits = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_MESSAGE_BYTES))
            .max_frame_size(Some(LONGEST_MESSAGE_BYTES));
        let (socket, _) = client_async_with_config(request, stream, Some(limits)).await?;
        Ok(Self(socket))
    }

    /// Says something. `false` where the connection is broken.
    pub async fn send(&mut self, message: &FromWorker) -> bool {
        match serde_json::to_string(message) {
            Ok(text) => self.0.send(Message::Text(text.into())).await.is_ok(),
            Err(error) => {
                warn!(%error, "a message can't be written as JSON");
                true
            }
        }
    }

    /// Says what happened, in their order. `false` where the connection is broken.
    pub async fn tell(&mut self, events: Vec<WorkerEvent>) -> bool {
        let mut left = vec![events];
        while let Some(events) = left.pop() {
            let message = FromWorker::Events(events);
            let text = match serde_json::to_string(&message) {
                Ok(text) => text,
                Err(error) => {
                    warn!(%error, "a message can't be written as JSON");
                    continue;
                }
            };
            match message {
                FromWorker::Events(mut events) if text.len() > MESSAGE_BYTES && events.len() > 1 => {
                    left.push(events.split_off(events.len() / 2));
                    left.push(events);
                }
                _ if self.0.send(Message::Text(text.into())).await.is_err() => return false,
                _ => {}
            }
        }
        true
    }

    /// What the server says next; `None` where the connection is over.
    pub async fn receive(&mut self) -> Option<FromServer> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(message) => return Some(message),
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

    pub async fn close(mut self) {
        let _ = self.0.close(None).await;
    }
}
