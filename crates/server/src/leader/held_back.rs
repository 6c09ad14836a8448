//! Orders that wait for the files they are of.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tracing::warn;
use updraft_core::{AttemptId, Engine, Incarnation, WorkerId};

use crate::git;

/// Files that are not there by then are not in the repository any more, perhaps: the task may say so itself.
const WITHIN: Duration = Duration::from_secs(120);

/// An order for a worker, in one of its lives.
pub(super) type Addressed = (WorkerId, Incarnation, AttemptId);

/// Keeps orders of runs on a commit whose files are not on this machine: a run that is cleared when it was over for long
/// stays on its commit, whose files are brought back then.
pub(super) struct HeldBack {
    files: Option<git::Present>,
    orders: Vec<(Instant, Addressed)>,
}

impl HeldBack {
    pub fn new(files: Option<git::Present>) -> Self {
        Self { files, orders: Vec::new() }
    }

    /// Whether an order is kept until its files are there.
    pub fn keeps(&mut self, engine: &Engine, order: &Addressed) -> bool {
        let kept = self.misses(engine, order.2);
        if kept {
            self.orders.push((Instant::now(), order.clone()));
        }
        kept
    }

    /// The orders whose files are there now, and those that have waited for too long. What is wanted no more goes.
    pub fn released(&mut self, engine: &Engine) -> Vec<Addressed> {
        let mut released = Vec::new();
        for (since, order) in std::mem::take(&mut self.orders) {
            let (worker, _, attempt) = &order;
            let is_wanted = engine.ti(attempt.ti).is_some_and(|ti| {
                let given = ti.state.assignment();
                ti.try_number == attempt.try_number
                    && given.is_some_and(|given| given.worker == *worker && given.lease == attempt.lease)
            });
            if !is_wanted {
                continue;
            }
            let waits = self.misses(engine, *attempt);
            if waits && since.elapsed() < WITHIN {
                self.orders.push((since, order));
                continue;
            }
            if waits {
                warn!(%attempt, "the files of a run's commit can't be had; its task begins without them");
            }
            released.push(order);
        }
        released
    }

    /// Nothing waits: the engine is made anew, and gives its orders again.
    pub fn clear(&mut self) {
        self.orders.clear();
    }

    fn misses(&self, engine: &Engine, attempt: AttemptId) -> bool {
        let Some(files) = &self.files else { return false };
        let Some((_, dag)) = engine.run(attempt.ti.run) else { return false };
        let bundle = dag.spec().bundle.as_ref().filter(|bundle| bundle.name == git::BUNDLE);
        bundle.is_some_and(|bundle| files.misses(Path::new(&bundle.file)))
    }
}
