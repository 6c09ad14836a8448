//! What kind of world a seed makes: how much happens in it, and how much goes wrong.

use crate::{Micros, SECOND, rng::Rng};

/// The numbers of one world, all drawn from the seed.
///
/// Each kind of fault is left out of about half of all worlds, so that each also meets the others alone
/// (swarm testing: a world in which everything goes wrong at once never gets far).
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long there are commands and faults. After that all must end.
    pub active: Micros,
    /// A worker that is silent for so long is given up.
    pub lease: Micros,
    /// How long leadership lasts without being renewed.
    pub reign: Micros,
    pub dags: u64,
    pub workers: u64,
    /// Between two commands, on average.
    pub command_every: Micros,
    /// How many inputs the server takes at once, at most.
    pub batch: usize,
    /// How long a message takes, at most.
    pub delay: Micros,
    /// How long a server takes from an input's arrival to its turn, at most.
    pub turn: Micros,
    pub outcomes: Outcomes,
    pub faults: Faults,
}

/// How attempts end: probabilities.
#[derive(Clone, Debug)]
pub(crate) struct Outcomes {
    pub failed: f64,
    pub failed_for_good: f64,
    pub skipped: f64,
    pub rescheduled: f64,
    pub deferred: f64,
    /// How long an attempt runs, at most.
    pub length: Micros,
}

/// How often what goes wrong: probabilities for each commit, or the mean time between two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub commit_refused: f64,
    pub commit_in_doubt: f64,
    pub crash_before_commit: f64,
    pub crash_after_commit: f64,
    pub crash_amid_effects: f64,
    pub leader_stalls: Option<Micros>,
    pub leader_dies: Option<Micros>,
    pub store_down: Option<Micros>,
    pub clock_steps: Option<Micros>,
    pub worker_dies: Option<Micros>,
    pub worker_freezes: Option<Micros>,
    pub worker_cut_off: Option<Micros>,
    pub connection_lost: Option<Micros>,
    pub connection_silent: Option<Micros>,
    pub leader_without_store: Option<Micros>,
    pub worker_split: Option<Micros>,
    pub worker_doubled: Option<Micros>,
    /// What was on its way over a lost connection still arrives, late.
    pub late: f64,
}

impl Plan {
    pub fn draw(rng: &mut Rng) -> Self {
        let active = rng.log_between(120 * SECOND, 4 * 3600 * SECOND);
        let lease = rng.between(5, 60) * SECOND;
        let workers = rng.between(1, 4);
        let batch = rng.log_between(1, 64);
        // A server that can't take in even the heartbeats loses every worker, and nothing ends.
        let fast_enough = (batch + 1) / 2 * lease / (6 * workers);
        Self {
            active,
            lease,
            reign: rng.between(5, 30) * SECOND,
            dags: rng.between(1, 4) as u64,
            workers: workers as u64,
            command_every: rng.log_between(active / 300 + 1, active / 8 + 1),
            batch: batch as usize,
            delay: rng.log_between(SECOND / 1000, 2 * SECOND),
            turn: rng.log_between(SECOND / 1000, SECOND).min(fast_enough),
            outcomes: Outcomes {
                failed: rng.unit() * rng.unit() * 0.6,
                failed_for_good: rng.unit() * 0.05,
                skipped: rng.unit() * 0.1,
                rescheduled: rng.unit() * 0.6,
                deferred: rng.unit() * 0.6,
                length: rng.log_between(SECOND, 300 * SECOND),
            },
            faults: Faults::draw(rng, active),
        }
    }
}

impl Faults {
    fn draw(rng: &mut Rng, active: Micros) -> Self {
        if rng.chance(0.1) {
            return Self::default();
        }
        let mut per_commit = |most: f64| if rng.chance(0.5) { most * rng.unit() * rng.unit() } else { 0.0 };
        let (commit_refused, commit_in_doubt) = (per_commit(0.1), per_commit(0.1));
        let (crash_before_commit, crash_after_commit) = (per_commit(0.1), per_commit(0.1));
        let crash_amid_effects = per_commit(0.1);
        let mut every = || rng.chance(0.5).then(|| rng.log_between(active / 60 + 1, active));
        Self {
            commit_refused,
            commit_in_doubt,
            crash_before_commit,
            crash_after_commit,
            crash_amid_effects,
            leader_stalls: every(),
            leader_dies: every(),
            store_down: every(),
            clock_steps: every(),
            worker_dies: every(),
            worker_freezes: every(),
            worker_cut_off: every(),
            connection_lost: every(),
            connection_silent: every(),
            leader_without_store: every(),
            worker_split: every(),
            worker_doubled: every(),
            late: rng.unit(),
        }
    }
}
