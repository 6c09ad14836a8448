//! What a worker ends of its own accord: what others are given, and what nobody knows any more.

use tracing::warn;

use super::{
    SURVIVOR_GRACE, Worker,
    lease::Passed,
    wanted::{ABANDON_GRACE, Running},
};

impl Worker {
    /// Ends what tasks have left behind unseen.
    pub(super) async fn end_orphans(&self) {
        match self.tools.spawner.end_orphans(SURVIVOR_GRACE).await {
            Ok(left) if left.ended == 0 && left.surviving.is_empty() => {}
            Ok(left) => warn!(?left, "ended what tasks had left behind"),
            Err(error) => warn!(%error, "can't end what tasks have left behind"),
        }
    }

    /// Ends what runs, of which nobody is told any more: others are given what a worker had that is refused. Also what
    /// would outlive its lease, as this worker goes.
    pub(super) async fn abandon_all(&mut self) {
        self.each_running(&self.held.ids(), Running::end_soon);
        self.calls.end_all(ABANDON_GRACE);
        let over = async {
            while self.held.any_runs() || self.calls.any_runs() {
                tokio::select! {
                    Some(happened) = self.happened.recv() => self.note(happened),
                    Some(called) = self.called.recv() => self.calls.end(&called),
                    else => return,
                }
            }
        };
        if tokio::time::timeout(SURVIVOR_GRACE, over).await.is_err() {
            warn!("what runs has not ended");
        }
    }

    /// Ends what others are given, or are about to be.
    pub(super) fn mind_lease(&mut self) {
        let passed = self.lease.look();
        if !self.held.any_runs() {
            return;
        }
        match passed {
            None => {}
            Some(Passed::Asleep(asleep)) => {
                warn!(?asleep, "ending what runs: this process did not act for longer than its lease");
                self.each_running(&self.held.ids(), Running::abandon);
            }
            Some(Passed::Unheard(unheard)) => {
                warn!(?unheard, "ending what runs: no server has answered, and the lease is about to pass");
                self.each_running(&self.held.ids(), Running::abandon);
            }
        }
    }
}
