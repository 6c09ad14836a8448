//! The way to the leader.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use updraft_core::{
    Engine, Incarnation, WorkerId,
    input::{Command, CommandError, Reply, WorkerEvent},
};
use updraft_store::{Cleaned, Error, Expired};

use super::times::Times;

/// What reaches the leader.
pub(super) enum Message {
    Command { by: Arc<str>, command: Command, reply: oneshot::Sender<Result<Reply, Refusal>> },
    Worker { worker: WorkerId, incarnation: Incarnation, events: Vec<WorkerEvent> },
    Ask(Box<dyn FnOnce(&Engine) + Send>),
    Clean { before: Timestamp, what: Expired, limit: u32, reply: oneshot::Sender<Result<Cleaned, Error>> },
    Stop,
}

/// Why a command was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The engine refused it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It may or may not have been obeyed: look, and ask again.
    #[error("the server started over before this was certain; look whether it was done, and try again")]
    TryAgain,
    /// Nobody leads here at the moment.
    #[error("no server leads at the moment; try again in a few seconds")]
    NoLeader,
}

/// The way to the leader; as many as are wanted.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Message>,
    times: Times,
}

impl Handle {
    pub(super) fn new(inbox: mpsc::Sender<Message>, times: Times) -> Self {
        Self { inbox, times }
    }

    /// How long the loop takes; nothing is in it where another server leads.
    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    /// Has a command obeyed. When this returns, what it led to is in the store.
    pub async fn command(&self, by: impl Into<Arc<str>>, command: Command) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Command { by: by.into(), command, reply };
        self.inbox.send(message).await.map_err(|_| Refusal::NoLeader)?;
        answer.await.map_err(|_| Refusal::TryAgain)?
    }

    /// Passes on what a worker said.
    pub async fn worker(
        &self,
        worker: WorkerId,
        incarnation: Incarnation,
        events: Vec<WorkerEvent>,
    ) -> Result<(), Refusal> {
        let message = Message::Worker { worker, incarnation, events };
        self.inbox.send(message).await.map_err(|_| Refusal::NoLeader)
    }

    /// Looks into the engine as it is between two commits. For what the store does not have: explanations,
    /// what is in memory.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let ask = move |engine: &Engine| {
            let _ = reply.send(question(engine));
        };
        self.inbox.send(Message::Ask(Box::new(ask))).await.map_err(|_| Refusal::NoLeader)?;
        answer.await.map_err(|_| Refusal::NoLeader)
    }

    /// Has [`updraft_store::Upkeep::clean`] make a step between two commits: so no run goes that has just been
    /// made to begin anew.
    pub async fn clean(
        &self,
        before: Timestamp,
        what: Expired,
        limit: u32,
    ) -> Result<Result<Cleaned, Error>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Clean { before, what, limit, reply };
        self.inbox.send(message).await.map_err(|_| Refusal::NoLeader)?;
        answer.await.map_err(|_| Refusal::NoLeader)
    }

    /// Ends the loop after what it is at.
    pub async fn stop(&self) {
        let _ = self.inbox.send(Message::Stop).await;
    }
}
