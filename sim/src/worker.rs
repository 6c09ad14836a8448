//! Simulated workers: they do what `updraft_core::protocol` asks of a worker, on a clock that is never set.

use std::collections::BTreeMap;

use updraft_core::{
    AttemptId, Incarnation, Labels, Namespace, WorkerId,
    input::{Offer, Outcome, Report, WorkerEvent},
};

use crate::{Micros, net::ConnId, world::SERVERS};

/// A worker process, with what it has.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub id: WorkerId,
    /// Counts its lives, from 1. What was planned for an earlier life does not happen.
    pub life: u64,
    pub incarnation: Incarnation,
    pub alive: bool,
    /// Until then it does nothing, and neither do its children.
    pub frozen_until: Micros,
    /// Until then it does not reach this server.
    pub cut_off_until: [Micros; SERVERS],
    /// How much its wall clock is ahead.
    pub skew: Micros,
    /// Its next life began elsewhere, and it has not noticed: it takes nothing any more.
    pub outlived: bool,
    pub conn: Option<ConnId>,
    pub offer: Offer,
    /// The only namespace that its token is for.
    pub namespace: Option<Namespace>,
    pub held: BTreeMap<AttemptId, Held>,
    pub lease_until: Micros,
    /// When the last heartbeats were sent: an answer extends the lease from there.
    pub beats: BTreeMap<u64, Micros>,
    pub draining: bool,
    /// How often it has said that it is there, and which time of these it knows to be heard.
    pub joins: u64,
    pub joined: u64,
    /// Only the last heartbeat that was planned is sent.
    pub beat_plan: u64,
}

/// An attempt that a worker has: running, or over and not yet acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// How many slots it takes.
    pub slots: u32,
    /// What its worker must be known by.
    pub labels: Labels,
    pub phase: Phase,
    /// Raised when what was planned for it no longer holds.
    pub plan: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Told to run it, and not begun.
    Given,
    /// Its process runs, and ends at this time in this way.
    Running { since: Micros, until: Micros, end: Report },
    /// Its process is stopped; so much of its time is left.
    Paused { since: Micros, left: Micros, end: Report },
    /// Its process was told to end.
    Ending { since: Option<Micros> },
    /// It is over; this was or is to be reported.
    Over { since: Option<Micros>, at: Micros, report: Report },
}

impl Held {
    /// Whether there is a process.
    pub fn is_running(&self) -> bool {
        match &self.phase {
            Phase::Given | Phase::Over { .. } | Phase::Ending { since: None } => false,
            Phase::Running { .. } | Phase::Paused { .. } | Phase::Ending { since: Some(_) } => true,
        }
    }

    /// When its process began, if it has.
    pub fn since(&self) -> Option<Micros> {
        match &self.phase {
            Phase::Given => None,
            Phase::Running { since, .. } | Phase::Paused { since, .. } => Some(*since),
            Phase::Ending { since } | Phase::Over { since, .. } => *since,
        }
    }
}

impl Worker {
    pub fn new(id: String, offer: Offer, namespace: Option<Namespace>) -> Self {
        Self {
            id: id.into(),
            life: 1,
            incarnation: Incarnation(1),
            alive: true,
            frozen_until: 0,
            cut_off_until: [0; SERVERS],
            skew: 0,
            outlived: false,
            conn: None,
            offer,
            namespace,
            held: BTreeMap::new(),
            lease_until: Micros::MAX,
            beats: BTreeMap::new(),
            draining: false,
            joins: 0,
            joined: 0,
            beat_plan: 0,
        }
    }

    /// Whether it does anything at this time.
    pub fn acts(&self, now: Micros) -> bool {
        self.alive && self.frozen_until <= now
    }

    /// Whether the process of an attempt runs here, under a lease that holds.
    pub fn runs(&self, attempt: AttemptId, now: Micros) -> bool {
        let runs = self.held.get(&attempt).is_some_and(Held::is_running);
        self.acts(now) && runs && now < self.lease_until
    }

    /// What it says when it joins, in this order: what it has, and then what became of it.
    pub fn announcement(&self, at: impl Fn(Micros) -> jiff::Timestamp) -> Vec<WorkerEvent> {
        let joined = WorkerEvent::Joined {
            join: self.joins,
            offer: Offer { draining: self.draining, ..self.offer.clone() },
            namespace: self.namespace.clone(),
            held: self.held.keys().copied().collect(),
        };
        let draining = self.draining.then_some(WorkerEvent::Draining);
        let reports = self.held.iter().flat_map(|(attempt, held)| {
            let started = held.since().map(|since| (since, Report::Started));
            let over = match &held.phase {
                Phase::Over { at, report, .. } => Some((*at, report.clone())),
                Phase::Given | Phase::Running { .. } | Phase::Paused { .. } | Phase::Ending { .. } => None,
            };
            started.into_iter().chain(over).map(|(when, report)| (*attempt, when, report))
        });
        let reports =
            reports.map(|(attempt, when, report)| WorkerEvent::Report { attempt, at: at(when), report });
        std::iter::once(joined).chain(draining).chain(reports).collect()
    }
}

/// The report of an attempt's end.
pub(crate) fn ended(outcome: Outcome) -> Report {
    Report::Ended(Box::new(outcome))
}
