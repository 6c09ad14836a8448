//! What goes wrong, from time to time.

use super::{Event, World};
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
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::LeaderStalls,
        Self::LeaderDies,
        Self::StoreDown,
        Self::ClockSteps,
        Self::WorkerDies,
        Self::WorkerFreezes,
        Self::WorkerCutOff,
        Self::ConnectionLost,
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
            Fault::WorkerCutOff => {
                self.workers[w].cut_off_until = self.now + long;
                self.lose_connection(w);
            }
            Fault::ConnectionLost => self.lose_connection(w),
        }
    }

    pub(super) fn note_fault(&mut self, fault: &'static str) {
        self.checks.note_fault(self.now, fault);
        self.coverage.count(fault);
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
        let s = self.rng.below(self.servers.len() as u64) as usize;
        let size = self.rng.log_between(SECOND / 100, 7200 * SECOND);
        let by = if self.rng.chance(0.5) { size } else { -size };
        self.servers[s].skew = (self.servers[s].skew + by).clamp(-7200 * SECOND, 7200 * SECOND);
        say!(self, "the clock of server {s} is now {} s ahead", self.servers[s].skew / SECOND);
        self.plan_wake(s);
    }
}
