//! What is wanted of an attempt while it runs.

use std::{convert::Infallible, time::Duration};

use tokio::sync::watch;

use crate::process::{Control, DEFAULT_KILL_GRACE};

/// What a worker's lease is about to pass for may go on for so long after SIGTERM.
pub(super) const ABANDON_GRACE: Duration = Duration::from_secs(2);

/// An attempt at work.
pub(super) struct Running {
    wanted: watch::Sender<Wanted>,
    /// It goes on where the lease passes.
    outlives_lease: bool,
}

/// What is wanted of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    Pause,
    /// So long after SIGTERM a process is killed.
    End(Duration),
}

impl Running {
    /// One that is to run, and what is wanted of it from now on.
    pub fn new(outlives_lease: bool) -> (Self, watch::Receiver<Wanted>) {
        let (sender, wanted) = watch::channel(Wanted::Run);
        (Self { wanted: sender, outlives_lease }, wanted)
    }

    /// Ends it.
    pub fn cancel(&self) {
        self.wanted.send_replace(Wanted::End(DEFAULT_KILL_GRACE));
    }

    /// Ends it soon, since others are given it, unless it is to go on all the same.
    pub fn abandon(&self) {
        if !self.outlives_lease {
            self.end_soon();
        }
    }

    /// Ends it soon, whatever it is.
    pub fn end_soon(&self) {
        self.wanted.send_replace(Wanted::End(ABANDON_GRACE));
    }

    /// Stops it for now, or lets it go on.
    pub fn pause(&self, paused: bool) {
        let to = if paused { Wanted::Pause } else { Wanted::Run };
        self.wanted.send_if_modified(|wanted| {
            let change = *wanted != to && !matches!(wanted, Wanted::End(_));
            if change {
                *wanted = to;
            }
            change
        });
    }
}

/// Does with a process what is wanted of its attempt.
pub(super) async fn steer(control: Control, mut wanted: watch::Receiver<Wanted>) -> Infallible {
    while wanted.changed().await.is_ok() {
        let now = *wanted.borrow_and_update();
        // A process that has ended needs no steering.
        let _ = match now {
            Wanted::Run => control.resume().await,
            Wanted::Pause => control.pause().await,
            Wanted::End(grace) => {
                control.kill(grace);
                Ok(())
            }
        };
    }
    std::future::pending().await
}
