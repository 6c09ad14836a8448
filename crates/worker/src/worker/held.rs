//! The attempts that a worker has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use updraft_core::{AttemptId, input::Report};

use super::attempt::Running;

/// The attempts that a worker has: each from the order until its end is acknowledged.
#[derive(Default)]
pub(super) struct Held(BTreeMap<AttemptId, Phase>);

/// Where an attempt stands.
pub(super) enum Phase {
    /// It runs, since then if it has begun.
    Running(Running, Option<Timestamp>),
    /// It is over, in this way; the server has not said that it knows.
    Over(Timestamp, Report),
}

impl Held {
    pub fn get(&self, attempt: AttemptId) -> Option<&Phase> {
        self.0.get(&attempt)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them is not over.
    pub fn any_runs(&self) -> bool {
        self.0.values().any(|phase| matches!(phase, Phase::Running(..)))
    }

    pub fn ids(&self) -> Vec<AttemptId> {
        self.0.keys().copied().collect()
    }

    /// What the server may not know yet.
    pub fn reports(&self) -> impl Iterator<Item = (AttemptId, Timestamp, Report)> {
        self.0.iter().filter_map(|(attempt, phase)| match phase {
            Phase::Running(_, began) => began.map(|at| (*attempt, at, Report::Started)),
            Phase::Over(at, report) => Some((*attempt, *at, report.clone())),
        })
    }

    pub fn begin(&mut self, attempt: AttemptId, running: Running) {
        self.0.insert(attempt, Phase::Running(running, None));
    }

    pub fn started(&mut self, attempt: AttemptId, at: Timestamp) {
        if let Some(Phase::Running(_, began)) = self.0.get_mut(&attempt) {
            *began = Some(at);
        }
    }

    pub fn end(&mut self, attempt: AttemptId, at: Timestamp, report: Report) {
        self.0.insert(attempt, Phase::Over(at, report));
    }

    /// The server knows the end of this attempt. One that still runs is not forgotten: it is the server
    /// that is mistaken, and it will be told.
    pub fn forget(&mut self, attempt: AttemptId) {
        if matches!(self.0.get(&attempt), Some(Phase::Over(..))) {
            self.0.remove(&attempt);
        }
    }
}
