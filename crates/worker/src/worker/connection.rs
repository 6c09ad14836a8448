//! The WebSocket to the server.

use std::path::PathBuf;

use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};
use tracing::warn;
use updraft_core::protocol::{FromServer, FromWorker};

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
        let (socket, _) = client_async(request, stream).await?;
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
