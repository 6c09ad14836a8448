//! The attempts that a worker has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use updraft_core::{AttemptId, input::Report};

use super::wanted::Running;

/// The attempts that a worker has: each from the order until its end is acknowledged.
#[derive(Default)]
pub(super) struct Held(BTreeMap<AttemptId, Phase>);

/// Where an attempt stands.
pub(super) enum Phase {
    /// It runs, and this was told of it.
    Running(Running, Told),
    /// It is over, in this way, and is called so; the server has not said that it knows.
    Over(Timestamp, Report, Option<String>),
}

/// What was told of an attempt that runs.
#[derive(Default)]
pub(super) struct Told {
    /// When it began.
    began: Option<Timestamp>,
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
    pub fn reports(&self) -> impl Iterator<Item = (AttemptId, Timestamp, Report)> {
        self.0.iter().flat_map(|(attempt, phase)| {
            let (name, then) = match phase {
                Phase::Running(_, Told { began, name }) => (name, began.map(|at| (at, Report::Started))),
                Phase::Over(at, report, name) => (name, Some((*at, report.clone()))),
            };
            let at = then.as_ref().map_or(Timestamp::UNIX_EPOCH, |(at, _)| *at);
            let named = name.clone().map(|name| (at, Report::Named(name)));
            named.into_iter().chain(then).map(|(at, report)| (*attempt, at, report))
        })
    }

    pub fn begin(&mut self, attempt: AttemptId, running: Running) {
        self.0.insert(attempt, Phase::Running(running, Told::default()));
    }

    pub fn started(&mut self, attempt: AttemptId, at: Timestamp) {
        if let Some(Phase::Running(_, told)) = self.0.get_mut(&attempt) {
            told.began = Some(at);
        }
    }

    pub fn named(&mut self, attempt: AttemptId, name: String) {
        if let Some(Phase::Running(_, told)) = self.0.get_mut(&attempt) {
            told.name = Some(name);
        }
    }

    pub fn end(&mut self, attempt: AttemptId, at: Timestamp, report: Report) {
        let name = match self.0.remove(&attempt) {
            Some(Phase::Running(_, Told { name, .. }) | Phase::Over(_, _, name)) => name,
            None => None,
        };
        self.0.insert(attempt, Phase::Over(at, report, name));
    }

    /// The server knows the end of this attempt. One that still runs is not forgotten: it is the server
    /// that is mistaken, and it will be told.
    pub fn forget(&mut self, attempt: AttemptId) {
        if matches!(self.0.get(&attempt), Some(Phase::Over(..))) {
            self.0.remove(&attempt);
        }
    }
}
