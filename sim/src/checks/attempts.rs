//! What becomes of attempts: each ends once, by its own report and no other; retries and losses are counted;
//! what waits for a time waits for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use updraft_core::{
    AttemptId, RetryPolicy, TaskKind, TiKey, TiState, TiStateName as S,
    input::{AttemptEnd, Report},
    record::{TiRow, TransitionRow},
};

use super::{
    Check,
    order::{Replay, with_worker},
    shapes::Shapes,
};
use crate::{Micros, worker::Worker};

/// What the checks remember of attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// What workers have reported, or will.
    pub reported: BTreeMap<AttemptId, Vec<Report>>,
    /// Those of whose reports one has counted.
    accepted: BTreeSet<AttemptId>,
    /// Failures since the task instance last began anew, and losses in a row.
    failures: BTreeMap<TiKey, u32>,
    losses: BTreeMap<TiKey, u32>,
    /// Those of whose losses some may not count.
    unsure: BTreeSet<TiKey>,
    /// Those whose attempt has ended with a wait for a time.
    deferred: BTreeSet<TiKey>,
}

/// Why a task instance may end that nobody has reported about.
const WITHOUT_REPORT: [&str; 9] = [
    "marked by hand",
    "stopped by",
    "the run was marked as",
    "the run was deleted",
    "another task failed, and the DAG has fail_fast",
    "the run's time was up",
    "condition `",
    "lost ",
    "what it is mapped over became shorter",
];

impl Attempts {
    /// A change of state, before it is applied to the replay.
    pub fn on_change(
        &mut self,
        replay: &Replay<'_>,
        shapes: &Shapes,
        change: &TransitionRow,
        workers: &[Worker],
        now: Micros,
    ) -> Check {
        let key = change.ti;
        let stored = replay.disk.tis.get(&key).filter(|ti| ti.state.name() == change.from);
        if let Some(stored) = stored {
            waited(stored, change)?;
        }
        let held = replay.attempt(key);
        let lost_again = change.to == S::UpForRetry && is_lost(change);
        let given_up =
            with_worker(change.from) && (lost_again || matches!(change.to, S::Scheduled | S::None));
        let lost_for_good = change.reason.as_deref().is_some_and(|why| why.starts_with("lost "));
        if given_up || lost_for_good {
            let runs = |worker: &&Worker| held.is_some_and(|attempt| worker.runs(attempt, now));
            if let Some(worker) = workers.iter().find(runs) {
                return Err(format!("{key:?} is given up ({:?}), and runs on {}", change.reason, worker.id));
            }
        }
        match change.to {
            S::Scheduled if with_worker(change.from) => self.on_loss(replay, shapes, change)?,
            S::UpForRetry if lost_again => self.on_loss(replay, shapes, change)?,
            S::UpForRetry if lost_for_good => {
                self.on_end(replay, shapes, change, held)?;
                self.on_retry(replay, shapes, change)?;
            }
            S::None => {
                self.failures.remove(&key);
                self.has_ended(key);
            }
            S::UpForRetry => {
                self.accept(held, change, &failed)?;
                self.on_retry(replay, shapes, change)?;
            }
            S::UpForReschedule => {
                self.has_ended(key);
                let rescheduled = |report: &Report| matches!(report, Report::Ended(o) if matches!(o.end, AttemptEnd::Rescheduled(_)));
                self.accept(held, change, &rescheduled)?;
            }
            S::Success | S::Failed | S::Skipped => self.on_end(replay, shapes, change, held)?,
            S::Deferred if change.from != S::Scheduled => {
                self.has_ended(key);
                self.accept(held, change, &|report| matches!(report, Report::Deferred { .. }))?;
                self.deferred.insert(key);
                return Ok(());
            }
            S::Scheduled
            | S::Queued
            | S::Running
            | S::Paused
            | S::Deferred
            | S::Restarting
            | S::UpstreamFailed
            | S::Removed => {}
        }
        self.deferred.remove(&key);
        Ok(())
    }

    /// An attempt has ended by itself, or all begins anew: how many were lost in a row before.
    fn has_ended(&mut self, key: TiKey) -> u32 {
        self.unsure.remove(&key);
        self.losses.remove(&key).unwrap_or_default()
    }

    /// An attempt was lost, and another follows: after the pause that is due after so many in a row.
    fn on_loss(&mut self, replay: &Replay<'_>, shapes: &Shapes, change: &TransitionRow) -> Check {
        let key = change.ti;
        let lost = self.losses.entry(key).or_default();
        *lost += 1;
        let most = task_of(replay, shapes, key, |task| task.max_lost).unwrap_or(u32::MAX);
        if *lost > most {
            return Err(format!("{key:?} was lost {lost} times in a row and goes on: {most} are allowed"));
        }
        // Where somebody stopped the worker in order, it is not counted. Nobody here knows that.
        if change.reason.as_deref().is_some_and(|why| why.contains(": its worker ended it")) {
            self.unsure.insert(key);
        }
        if self.unsure.contains(&key) {
            return Ok(());
        }
        let due = [0, 0, 1, 5, 30][usize::try_from(*lost).unwrap_or(usize::MAX).min(4)];
        let waits = match next_of(replay, change) {
            _ if change.to == S::Scheduled => 0,
            Next::At(at) | Next::Waits(at) => at.duration_since(change.at).as_secs(),
            Next::Other => return Ok(()),
        };
        match waits == due {
            true => Ok(()),
            false => Err(format!(
                "{key:?} was lost {lost} times in a row and is begun again after {waits} s: {due} are due"
            )),
        }
    }

    fn on_retry(&mut self, replay: &Replay<'_>, shapes: &Shapes, change: &TransitionRow) -> Check {
        let key = change.ti;
        self.has_ended(key);
        let failures = self.failures.entry(key).or_default();
        *failures += 1;
        let Some(policy) = policy(replay, shapes, key) else { return Ok(()) };
        if *failures > policy.retries {
            return Err(format!(
                "{key:?} is tried again after {failures} failures, and has {} retries",
                policy.retries
            ));
        }
        let (at, done) = match next_of(replay, change) {
            Next::At(at) => (at, true),
            Next::Waits(at) => (at, false),
            Next::Other => return Ok(()),
        };
        let least = policy.delay.as_secs_f64()
            * if policy.backoff > 1.0 { policy.backoff.powi(*failures as i32 - 1) } else { 1.0 };
        let most = if policy.backoff > 1.0 { least * 2.0 } else { least };
        let cap =
            policy.max_delay.filter(|_| policy.backoff > 1.0).map_or(f64::MAX, |delay| delay.as_secs_f64());
        let delay = at.duration_since(change.at).as_secs_f64();
        let late = !done && delay > most.min(cap) + 1.0;
        if delay + 1e-6 < least.min(cap) || late {
            return Err(format!(
                "{key:?} failed for the {failures}. time and is tried again after {delay} s: between {} and {} were due",
                least.min(cap),
                most.min(cap)
            ));
        }
        Ok(())
    }

    fn on_end(
        &mut self,
        replay: &Replay<'_>,
        shapes: &Shapes,
        change: &TransitionRow,
        held: Option<AttemptId>,
    ) -> Check {
        let key = change.ti;
        let reason = change.reason.as_deref().unwrap_or_default();
        let lost = self.has_ended(key);
        let failures = self.failures.get(&key).copied().unwrap_or_default();
        if reason.starts_with("lost ") {
            let most = task_of(replay, shapes, key, |task| task.max_lost).unwrap_or_default();
            if lost < most {
                return Err(format!(
                    "{key:?} fails as lost too often, after {lost} times: {most} are allowed"
                ));
            }
            let policy = policy(replay, shapes, key);
            let has_retries = policy.is_some_and(|policy| failures < policy.retries && covers(&policy, None));
            return match (change.to, most) {
                (S::Failed, 1..) if has_retries => {
                    Err(format!("{key:?} was lost too often, and fails after {failures} retries"))
                }
                (S::UpForRetry, 0) => Err(format!("{key:?} is tried again, and may have done its work")),
                _ => Ok(()),
            };
        }
        let ways_out = [" chose another way", " let nothing after it run", " did not hold"];
        let left_out = ways_out.iter().any(|way_out| reason.ends_with(way_out));
        if left_out && matches!(change.from, S::Running | S::Paused) {
            return self.accept(held, change, &failed);
        }
        if left_out || WITHOUT_REPORT.iter().any(|known| reason.starts_with(known)) {
            return Ok(());
        }
        let by_engine =
            task_of(replay, shapes, key, |task| matches!(task.kind, TaskKind::Empty | TaskKind::Wait(_)));
        if change.to == S::Success && by_engine == Some(true) {
            return Ok(());
        }
        if !with_worker(change.from) {
            // By a rule: `rules` and `order` know those.
            return match change.to {
                S::Skipped => Ok(()),
                _ => Err(format!("{key:?} goes from {} to {} ({reason})", change.from, change.to)),
            };
        }
        if change.from == S::Deferred && change.to == S::Success && self.deferred.contains(&key) {
            return Ok(());
        }
        let policy = policy(replay, shapes, key);
        match (change.to, reason) {
            (S::Failed, "it failed") => {
                let may_retry = |report: &Report| match report {
                    Report::Ended(o) => policy.as_ref().is_some_and(|policy| {
                        failures < policy.retries
                            && covers(policy, o.exit_code)
                            && o.end == AttemptEnd::Failed
                    }),
                    Report::Named(_) | Report::Started | Report::Deferred { .. } => false,
                };
                if held.and_then(|held| self.reported.get(&held)).is_some_and(|all| all.iter().any(may_retry))
                {
                    return Err(format!(
                        "{key:?} failed for good after {failures} retries, and has {policy:?}"
                    ));
                }
                self.accept(held, change, &|report| ended_as(report, &AttemptEnd::Failed))
            }
            (S::Failed, why) if why.starts_with("it failed, and asked") => {
                self.accept(held, change, &|report| ended_as(report, &AttemptEnd::FailedForGood))
            }
            // It succeeded, but what it left is of no use.
            (S::Success | S::Failed, _) => {
                self.accept(held, change, &|report| ended_as(report, &AttemptEnd::Success))
            }
            (S::Skipped, _) => self.accept(held, change, &|report| ended_as(report, &AttemptEnd::Skipped)),
            (other, _) => Err(format!("{key:?} ends as {other}")),
        }
    }

    /// A report has counted: it was made, of this attempt, and none of this attempt counted before.
    fn accept(
        &mut self,
        attempt: Option<AttemptId>,
        change: &TransitionRow,
        fits: &dyn Fn(&Report) -> bool,
    ) -> Check {
        let to = change.to;
        let Some(attempt) = attempt else {
            return Err(format!("{:?} becomes {to}, and no attempt of it was with a worker", change.ti));
        };
        if !self.reported.get(&attempt).is_some_and(|all| all.iter().any(fits)) {
            return Err(format!("attempt {attempt} counts as {to}, and nobody reported that"));
        }
        match self.accepted.insert(attempt) {
            true => Ok(()),
            false => Err(format!("two ends of attempt {attempt} count")),
        }
    }
}

/// What follows on a wait for the next try.
enum Next {
    /// It came at this time.
    At(Timestamp),
    /// It is to come at this one.
    Waits(Timestamp),
    /// Something else came.
    Other,
}

/// The row says when it is tried again, where it has not been yet.
fn next_of(replay: &Replay<'_>, change: &TransitionRow) -> Next {
    let key = change.ti;
    let changes = replay.batch.transitions.iter();
    let next = changes.skip_while(|other| !std::ptr::eq(*other, change)).skip(1).find(|c| c.ti == key);
    match (next, replay.batch.tis.get(&key).map(|ti| &ti.state)) {
        (Some(next), _) if next.to == S::Scheduled => Next::At(next.at),
        (None, Some(TiState::UpForRetry(at))) => Next::Waits(*at),
        _ => Next::Other,
    }
}

/// Whether an attempt was lost, and did not end by itself.
pub(super) fn is_lost(change: &TransitionRow) -> bool {
    let why = change.reason.as_deref().and_then(|why| why.strip_prefix("attempt "));
    why.is_some_and(|why| why.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(" was lost: "))
}

/// What waits for a time moves on by itself only then.
fn waited(stored: &TiRow, change: &TransitionRow) -> Check {
    let due: Option<Timestamp> = match (&stored.state, change.to) {
        (TiState::UpForRetry(at) | TiState::UpForReschedule(at), S::Scheduled) => Some(*at),
        (TiState::Deferred(updraft_core::Wait::Until(at)), S::Success) if change.reason.is_none() => {
            Some(*at)
        }
        _ => None,
    };
    match due {
        Some(due) if change.at < due => {
            Err(format!("{:?} waits until {due} and goes on at {} already", change.ti, change.at))
        }
        Some(_) | None => Ok(()),
    }
}

/// It failed, or it succeeded and what it left is of no use.
fn failed(report: &Report) -> bool {
    ended_as(report, &AttemptEnd::Failed) || ended_as(report, &AttemptEnd::Success)
}

fn ended_as(report: &Report, end: &AttemptEnd) -> bool {
    matches!(report, Report::Ended(outcome) if outcome.end == *end)
}

fn covers(policy: &RetryPolicy, exit_code: Option<i32>) -> bool {
    policy.on_exit_codes.is_empty() || policy.on_exit_codes.iter().any(|code| Some(*code) == exit_code)
}

fn task_of<T>(
    replay: &Replay<'_>,
    shapes: &Shapes,
    key: TiKey,
    of: impl Fn(&updraft_core::TaskSpec) -> T,
) -> Option<T> {
    let shape = shapes.of(replay.disk, replay.batch, replay.run(key.run)?)?;
    Some(of(&shape.spec.tasks[key.task.usize()]))
}

fn policy(replay: &Replay<'_>, shapes: &Shapes, key: TiKey) -> Option<RetryPolicy> {
    task_of(replay, shapes, key, |task| task.retry.clone())
}
