//! For how long a worker is believed to be there, and when it has to end what it runs: others are given what a worker
//! had that has been silent for longer than its lease.
//!
//! All times are those of a clock that nobody sets.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What is ended since the lease is about to pass is over within this.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// A heartbeat that was not answered, and a second: no sooner is a server taken for gone.
const LEAST_SILENCE: Duration = Duration::from_secs(6);

/// No later, however long the lease.
const MOST_SILENCE: Duration = Duration::from_secs(12);

/// See the module.
pub(super) struct Lease {
    length: Duration,
    /// Whether the server is on another machine.
    remote: bool,
    /// When this process has last done anything.
    awake: Instant,
    /// When the worker said last that it is there, of the times that a server has heard.
    believed_since: Instant,
    /// When it has last said that it joins.
    joined_at: Instant,
    /// When it has said since that it is there, without an answer yet.
    unanswered: VecDeque<Instant>,
}

/// Why what runs is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// This process has not acted for so long, which is longer than the lease: a server that was there meanwhile has
    /// given it to others.
    Asleep(Duration),
    /// No server has answered for so long, and others are about to be given it.
    Unheard(Duration),
}

impl Lease {
    /// One that ends nothing before a server has granted it. On the server's own machine to reach no server ends
    /// nothing: while none is there nobody gives anything to others, and the next one grants a full lease first. From
    /// another machine nobody can tell whether the server is gone or the way to it.
    pub fn new(remote: bool) -> Self {
        let now = Instant::now();
        let unanswered = VecDeque::new();
        Self { length: Duration::MAX, remote, awake: now, believed_since: now, joined_at: now, unanswered }
    }

    /// A server believes for so long that a worker is there which says nothing.
    pub fn granted(&mut self, length: Duration) {
        self.length = length;
    }

    /// There is a new connection: what was said over another is not answered any more.
    pub fn connected(&mut self) {
        self.unanswered.clear();
    }

    /// The worker says that it joins.
    pub fn joins(&mut self) {
        self.joined_at = Instant::now();
    }

    /// The server has heard that.
    pub fn joined(&mut self) {
        self.believed_since = self.joined_at;
    }

    /// The worker says that it is there.
    pub fn beats(&mut self) {
        self.unanswered.push_back(Instant::now());
    }

    /// The server has heard the earliest of those.
    pub fn answered(&mut self) {
        if let Some(said) = self.unanswered.pop_front() {
            self.believed_since = said;
        }
    }

    /// Looks at the clock.
    pub fn look(&mut self) -> Option<Passed> {
        let now = Instant::now();
        let asleep = now - self.awake;
        self.awake = now;
        if asleep > self.length {
            return Some(Passed::Asleep(asleep));
        }
        self.ends().filter(|ends| *ends <= now).map(|_| Passed::Unheard(now - self.believed_since))
    }

    /// A server that answers is heard of at every heartbeat: one that was silent for so long is not there any more, whatever
    /// the network believes. There is time left to find the one that stands in for it.
    pub fn silence(&self) -> Duration {
        (self.length / 3).clamp(LEAST_SILENCE, MOST_SILENCE)
    }

    /// When what runs has to be ended, so that it is over when others are given it.
    pub fn ends(&self) -> Option<Instant> {
        let runs_on = self.length.saturating_sub(ENDS_WITHIN);
        self.remote.then(|| self.believed_since.checked_add(runs_on)).flatten()
    }
}

/// Waits until that.
pub(super) async fn over(ends: Option<Instant>) {
    match ends {
        Some(ends) => tokio::time::sleep_until(ends.into()).await,
        None => std::future::pending().await,
    }
}
