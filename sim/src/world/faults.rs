//! What goes wrong, from time to time.

use std::ops::Range;

use super::{Event, SERVERS, World};
use crate::{Micros, SECOND};

/// Something that goes wrong by itself; what can go wrong with a commit is drawn at each commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    LeaderStalls,
    LeaderDies,
    StoreDown,
    ClockSteps,
    WorkerDies,
    WorkerFreezes,
    WorkerCutOff,
    ConnectionLost,
    /// What is sent over a connection is lost from now on, and neither side is told.
    ConnectionSilent,
    /// The leader alone does not reach the store.
    LeaderWithoutStore,
    /// A worker does not reach one of the servers, which reach each other's store.
    WorkerSplit,
    /// A worker's machine stands still and is taken for lost, a next life of it begins elsewhere, and then it goes on.
    WorkerDoubled,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::LeaderStalls,
        Self::LeaderDies,
        Self::StoreDown,
        Self::ClockSteps,
        Self::WorkerDies,
        Self::WorkerFreezes,
        Self::WorkerCutOff,
        Self::ConnectionLost,
        Self::ConnectionSilent,
        Self::LeaderWithoutStore,
        Self::WorkerSplit,
        Self::WorkerDoubled,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::LeaderStalls => "leader stalls",
            Self::LeaderDies => "leader dies",
            Self::StoreDown => "store down",
            Self::ClockSteps => "clock steps",
            Self::WorkerDies => "worker dies",
            Self::WorkerFreezes => "worker freezes",
            Self::WorkerCutOff => "worker cut off",
            Self::ConnectionLost => "connection lost",
            Self::ConnectionSilent => "connection silent",
            Self::LeaderWithoutStore => "leader without store",
            Self::WorkerSplit => "worker split from a server",
            Self::WorkerDoubled => "worker doubled",
        }
    }
}

impl World {
    fn mean_of(&self, fault: Fault) -> Option<Micros> {
        let faults = &self.plan.faults;
        match fault {
            Fault::LeaderStalls => faults.leader_stalls,
            Fault::LeaderDies => faults.leader_dies,
            Fault::StoreDown => faults.store_down,
            Fault::ClockSteps => faults.clock_steps,
            Fault::WorkerDies => faults.worker_dies,
            Fault::WorkerFreezes => faults.worker_freezes,
            Fault::WorkerCutOff => faults.worker_cut_off,
            Fault::ConnectionLost => faults.connection_lost,
            Fault::ConnectionSilent => faults.connection_silent,
            Fault::LeaderWithoutStore => faults.leader_without_store,
            Fault::WorkerSplit => faults.worker_split,
            Fault::WorkerDoubled => faults.worker_doubled,
        }
    }

    pub(super) fn plan_faults(&mut self) {
        for fault in Fault::ALL {
            self.plan_fault(fault);
        }
    }

    fn plan_fault(&mut self, fault: Fault) {
        if let Some(mean) = self.mean_of(fault) {
            let next = self.rng.between(0, 2 * mean);
            self.after(next, Event::Fault(fault));
        }
    }

    pub(super) fn on_fault(&mut self, fault: Fault) {
        if self.calm {
            return;
        }
        self.plan_fault(fault);
        self.note_fault(fault.name());
        say!(self, "fault: {}", fault.name());
        let w = self.rng.below(self.workers.len() as u64) as usize;
        let leads = |s: &usize| self.servers[*s].engine.is_some();
        let leader = (0..self.servers.len()).find(leads);
        let long = self.rng.log_between(SECOND, 4 * self.plan.lease);
        match fault {
            Fault::LeaderStalls => {
                if let Some(s) = leader {
                    // Another may be at it already: it ends with the longer of the two.
                    let until = &mut self.servers[s].stalled_until;
                    *until = (*until).max(self.now + long);
                }
            }
            Fault::LeaderDies => {
                if let Some(s) = leader {
                    self.crash(s, "somebody killed it");
                }
            }
            Fault::StoreDown => self.store_down_until = self.now + long / 2,
            Fault::ClockSteps => self.step_clock(),
            Fault::WorkerDies => {
                if self.rng.chance(0.3) {
                    self.drain(w);
                } else {
                    self.kill_worker(w);
                }
            }
            Fault::WorkerFreezes => {
                let until = &mut self.workers[w].frozen_until;
                *until = (*until).max(self.now + long);
            }
            Fault::WorkerCutOff => self.cut_off(w, 0..SERVERS, long),
            Fault::ConnectionLost => self.lose_connection(w),
            Fault::ConnectionSilent => self.silence(w),
            Fault::LeaderWithoutStore => {
                if let Some(s) = leader {
                    self.servers[s].without_store_until = self.now + long;
                }
            }
            Fault::WorkerSplit => {
                let s = self.rng.below(SERVERS as u64) as usize;
                self.cut_off(w, s..s + 1, long);
            }
            Fault::WorkerDoubled => self.double_worker(w, long),
        }
    }

    pub(super) fn note_fault(&mut self, fault: &'static str) {
        self.checks.note_fault(self.now, fault);
        self.coverage.count(fault);
    }

    /// A worker reaches these servers no more. Its connection breaks, or nobody is told.
    fn cut_off(&mut self, w: usize, from: Range<usize>, long: Micros) {
        for s in from.clone() {
            self.workers[w].cut_off_until[s] = self.now + long;
        }
        if self.workers[w].conn.is_some_and(|conn| from.contains(&self.conns[conn].server)) {
            if self.rng.chance(0.5) { self.silence(w) } else { self.lose_connection(w) }
        }
    }

    fn silence(&mut self, w: usize) {
        if let Some(conn) = self.workers[w].conn {
            self.conns[conn].silent = true;
        }
    }

    fn lose_connection(&mut self, w: usize) {
        if let Some(conn) = self.workers[w].conn {
            self.break_connection(conn, true);
        }
    }

    fn drain(&mut self, w: usize) {
        if self.workers[w].acts(self.now) && !self.workers[w].draining {
            self.workers[w].draining = true;
            self.send_up(w, vec![updraft_core::input::WorkerEvent::Draining], false);
            self.leave_if_drained(w);
        }
    }

    fn step_clock(&mut self) {
        let size = self.rng.log_between(SECOND / 100, 7200 * SECOND);
        let by = if self.rng.chance(0.5) { size } else { -size };
        let set = |skew: Micros| (skew + by).clamp(-7200 * SECOND, 7200 * SECOND);
        if self.rng.chance(0.5) {
            let w = self.rng.below(self.workers.len() as u64) as usize;
            self.workers[w].skew = set(self.workers[w].skew);
            say!(self, "the clock of w{w} is now {} s ahead", self.workers[w].skew / SECOND);
            return;
        }
        let s = self.rng.below(self.servers.len() as u64) as usize;
        self.servers[s].skew = set(self.servers[s].skew);
        say!(self, "the clock of server {s} is now {} s ahead", self.servers[s].skew / SECOND);
        self.plan_wake(s);
    }
}
