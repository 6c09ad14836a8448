//! The handle on a process that has been started.

use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};

use super::ended::Ended;
use super::guard::GuardStatus;
use super::supervise::Command;

/// A started process. It is watched to its end whether or not this is kept.
#[derive(Debug)]
pub struct Running {
    pub(super) control: Control,
    pub(super) guard: GuardStatus,
    pub(super) ended: oneshot::Receiver<Ended>,
}

/// Steers a process; clones steer the same one. Once it has ended, nothing here does anything.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) pid: Pid,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

/// The runtime that watched the process has been shut down; its end is not known.
#[derive(Debug, thiserror::Error)]
#[error("the process was no longer watched when it ended: its runtime has been shut down")]
pub struct Unwatched;

/// A process that cannot be paused or resumed, since it has ended or is being ended.
#[derive(Debug, thiserror::Error)]
#[error("the process has ended or is being ended")]
pub struct NotRunning;

impl Running {
    /// The first process's id, which is that of its group and session, too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.control.pid()
    }

    /// How far it is guarded.
    #[must_use]
    pub fn guard(&self) -> &GuardStatus {
        &self.guard
    }

    /// A handle to steer it with while somebody waits.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until the process and all it started have ended and its log is complete.
    pub async fn wait(self) -> Result<Ended, Unwatched> {
        self.ended.await.map_err(|_| Unwatched)
    }
}

impl Control {
    /// The first process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// SIGTERM to all its processes, SIGKILL to all that are left after `grace`. Again with a shorter grace: sooner.
    pub fn kill(&self, grace: Duration) {
        // No receiver: it has ended.
        let _ = self.commands.send(Command::Kill { grace });
    }

    /// Stops all its processes (SIGSTOP) and its timeout. Returns once the signals are sent.
    pub async fn pause(&self) -> Result<(), NotRunning> {
        self.ask(|done| Command::Pause { done }).await
    }

    /// Lets them go on (SIGCONT). Returns once the signals are sent.
    pub async fn resume(&self) -> Result<(), NotRunning> {
        self.ask(|done| Command::Resume { done }).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) -> Result<(), NotRunning> {
        let (done, answered) = oneshot::channel();
        self.commands.send(command(done)).map_err(|_| NotRunning)?;
        answered.await.map_err(|_| NotRunning)
    }
}
