//! What asks a run in a terminal to end.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM, as `timeout`, CI and service managers send it, and SIGHUP, as of a terminal that is closed.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `nohup` has it ignored, so that the run outlives its terminal.
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on: none of them ends this process by itself any more, so that it ends its tasks first.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("can't listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if is_hangup_ignored() { None } else { Some(listen(SignalKind::hangup())?) },
        })
    }

    /// Until one has come.
    pub async fn come(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether whoever started this has SIGHUP ignored.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is the first.
    ignored.is_some_and(|mask| mask & 1 == 1)
}
