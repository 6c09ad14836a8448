//! The attempts that a worker has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use updraft_core::{AttemptId, input::Report};

use super::{Happened, wanted::Running};

/// The attempts that a worker has: each from the order until its end is acknowledged.
#[derive(Default)]
pub(super) struct Held(BTreeMap<AttemptId, Phase>);

/// Where an attempt stands.
pub(super) enum Phase {
    /// It runs, and this was told of it.
    Running(Running, Began),
    /// It is over; the server has not said that it knows.
    Over(Over),
}

/// An attempt that is over.
pub(super) struct Over {
    /// When it ended, how, and the end of its log.
    happened: Happened,
    /// What it is called.
    name: Option<String>,
}

/// What was told of an attempt that runs.
#[derive(Default)]
pub(super) struct Began {
    /// When it began.
    at: Option<Timestamp>,
    /// What it is called.
    name: Option<String>,
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
    pub fn happened(&self) -> impl Iterator<Item = Happened> {
        self.0.iter().flat_map(|(attempt, phase)| {
            let of = |at, report| Happened { attempt: *attempt, at, report, log: None };
            let (name, then) = match phase {
                Phase::Running(_, Began { at, name }) => (name, at.map(|at| of(at, Report::Started))),
                Phase::Over(Over { happened, name }) => (name, Some(happened.clone())),
            };
            let at = then.as_ref().map_or(Timestamp::UNIX_EPOCH, |then| then.at);
            let named = name.clone().map(|name| of(at, Report::Named(name)));
            named.into_iter().chain(then)
        })
    }

    pub fn begin(&mut self, attempt: AttemptId, running: Running) {
        self.0.insert(attempt, Phase::Running(running, Began::default()));
    }

    pub fn started(&mut self, attempt: AttemptId, at: Timestamp) {
        if let Some(Phase::Running(_, began)) = self.0.get_mut(&attempt) {
            began.at = Some(at);
        }
    }

    pub fn named(&mut self, attempt: AttemptId, name: String) {
        if let Some(Phase::Running(_, began)) = self.0.get_mut(&attempt) {
            began.name = Some(name);
        }
    }

    pub fn end(&mut self, happened: Happened) {
        let name = match self.0.remove(&happened.attempt) {
            Some(Phase::Running(_, Began { name, .. }) | Phase::Over(Over { name, .. })) => name,
            None => None,
        };
        self.0.insert(happened.attempt, Phase::Over(Over { happened, name }));
    }

    /// The server knows the end of this attempt. One that still runs is not forgotten: it is the server
    /// that is mistaken, and it will be told.
    pub fn forget(&mut self, attempt: AttemptId) {
        if matches!(self.0.get(&attempt), Some(Phase::Over(_))) {
            self.0.remove(&attempt);
        }
    }
}
