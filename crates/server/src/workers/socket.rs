//! One worker's WebSocket.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use tracing::{info, warn};
use updraft_core::{
    input::WorkerEvent,
    protocol::{FromServer, FromWorker, MESSAGE_BYTES, VERSION},
};

use super::{About, NotAdded, Workers};
use crate::{http::Joining, leader::Handle};

/// A worker that connects has to say who it is within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Serves a worker's connection until it breaks.
pub(crate) async fn serve(
    mut socket: WebSocket,
    workers: Arc<Workers>,
    leader: Handle,
    lease: Duration,
    joining: Joining,
) {
    let hello = match tokio::time::timeout(HELLO_WITHIN, receive(&mut socket)).await {
        Ok(Some(hello)) => hello,
        Ok(None) | Err(_) => return,
    };
    let FromWorker::Hello { protocol, worker, incarnation, version, hostname, pid, calls, drains } = hello
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
    if &*worker == Workers::KEEPER && joining != Joining::Own {
        let message =
            format!("the name `{worker}` is that of the server's own worker: join under another (--name)");
        return refuse(&mut socket, message).await;
    }
    let about = About { version, hostname, pid, calls, drains };
    let (number, mut outbox) = match workers.add(worker.clone(), incarnation, about) {
        Ok(added) => added,
        // It looks for the leader again.
        Err(NotAdded::Closed) => return,
        Err(NotAdded::Outlived) => {
            return refuse(&mut socket, format!("a later life of worker `{worker}` is connected")).await;
        }
    };
    info!(%worker, pid, "a worker connected");
    let welcome = FromServer::Welcome { lease_ms: lease.as_millis() as u64, offer: workers.offer(&worker) };
    let mut connected = send(&mut socket, &welcome).await;
    while connected {
        connected = tokio::select! {
            message = outbox.recv() => match message {
                Some(message) => send(&mut socket, &message).await,
                None => false,
            },
            said = receive(&mut socket) => match said {
                Some(FromWorker::Events(events)) => {
                    let beats = events.iter().any(|event| matches!(event, WorkerEvent::Heartbeat));
                    let beats = beats && workers.is_certain();
                    let passed_on = leader.worker(worker.clone(), incarnation, events).await.is_ok();
                    passed_on && (!beats || send(&mut socket, &FromServer::Heartbeat).await)
                }
                Some(FromWorker::Called { id, outcome }) => {
                    workers.called(&worker, number, id, outcome);
                    true
                }
                Some(FromWorker::Hello { .. }) => {
                    warn!(%worker, "a worker said hello twice; closing its connection");
                    false
                }
                None => false,
            },
        };
    }
    if workers.remove(&worker, number) {
        // Where nobody leads, there is nobody who would give it anything.
        let _ = leader.worker(worker.clone(), incarnation, vec![WorkerEvent::Away]).await;
    }
    info!(%worker, pid, "a worker's connection ended");
}

async fn refuse(socket: &mut WebSocket, why: String) {
    warn!(why, "refused a worker");
    send(socket, &FromServer::Refused(why)).await;
}

/// Sends a message; orders that are long together one after the other. `false` where the connection is over.
async fn send(socket: &mut WebSocket, message: &FromServer) -> bool {
    let text = match serde_json::to_string(message) {
        Ok(text) => text,
        Err(error) => {
            warn!(%error, "a message for a worker can't be written as JSON");
            return true;
        }
    };
    match message {
        FromServer::Assign(orders) if text.len() > MESSAGE_BYTES && orders.len() > 1 => {
            let (some, others) = orders.split_at(orders.len() / 2);
            for orders in [some, others] {
                if !Box::pin(send(socket, &FromServer::Assign(orders.to_vec()))).await {
                    return false;
                }
            }
            true
        }
        _ => socket.send(Message::Text(text.into())).await.is_ok(),
    }
}

/// The next message; `None` where the connection is over or what came is no message.
async fn receive(socket: &mut WebSocket) -> Option<FromWorker> {
    loop {
        return match socket.recv().await?.ok()? {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => Some(message),
                Err(error) => {
                    warn!(%error, "a worker sent what is no message; closing its connection");
                    None
                }
            },
            Message::Close(_) => None,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Binary(_) => None,
        };
    }
}
