//! Ticks of schedules: each becomes a run, or it is written down why not.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{DagState, Engine, Timer};
use crate::{
    DagKey, RunKey, RunState,
    record::{RunRow, RunType, TickOutcome, TickRow},
    schedule::{DataInterval, Schedule, Tick, TimeRestriction},
};

/// Continuous runs begin at least so long after one another.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// No more ticks than this are counted when many were passed over at once.
const COUNTED: u64 = 100_000;

impl Engine {
    /// Finds out when a DAG's next tick is, and sets its timer.
    pub(super) fn plan_tick(&mut self, now: Timestamp, key: &DagKey) {
        let Some(dag) = self.dags.get_mut(key) else { return };
        let next = if dag.row.is_stale { None } else { next_tick(dag, now) };
        // With catch-up off the schedule names the latest tick that has passed; what came before it is
        // looked at when that is made.
        // It also stays where no other follows, so that the ledger tells what became of it.
        let kept = dag.row.next_tick.filter(|kept| {
            !dag.row.is_stale
                && next.is_none_or(|next| kept.run_after <= next.run_after)
                && is_tick_of(dag, kept)
        });
        let planned = kept.or(next);
        if dag.row.next_tick != planned {
            dag.row.next_tick = planned;
            self.changed.dags.insert(key.clone());
        }
        self.await_tick(key);
    }

    /// Sets the timer of the tick that is planned.
    pub(super) fn await_tick(&mut self, key: &DagKey) {
        if let Some(tick) = self.dags.get(key).and_then(|dag| dag.row.next_tick) {
            self.timers.insert((tick.run_after, Timer::Tick(key.clone())));
        }
    }

    /// Makes the runs of all ticks that are due and may be made; also those that had to wait for another run
    /// to end. One that is not due yet, on a clock that has been set back, gets its timer again.
    pub(super) fn on_tick_due(&mut self, now: Timestamp, key: &DagKey) {
        while let Some(due) = self.due_tick(now, key) {
            self.make_tick(now, key, due);
        }
    }

    /// The next tick whose run may be made now. Those that are passed over for it are written down.
    fn due_tick(&mut self, now: Timestamp, key: &DagKey) -> Option<Tick> {
        let dag = self.dags.get(key)?;
        let first = dag.row.next_tick?;
        if first.run_after > now {
            self.timers.insert((first.run_after, Timer::Tick(key.clone())));
            return None;
        }
        let full = dag.running.len() + dag.queued.len() >= dag.dag.spec().max_active_runs as usize;
        if self.is_paused(key) || dag.row.is_stale || full {
            let why = if full { Passed::Full } else { Passed::Paused };
            if let Some(dag) = self.dags.get_mut(key) {
                dag.held = Some(why);
            }
            return None;
        }
        let due = match dag.dag.spec().schedule {
            // When the run before ends is not known before: what was planned is no tick that could be missed.
            Schedule::Continuous => next_tick(dag, now),
            // Once is once, whenever that is.
            Schedule::Once => Some(first),
            _ if dag.dag.spec().catchup => Some(first),
            _ => {
                let (passed, latest) = up_to(dag, first, now);
                if let Some(passed) = passed {
                    self.pass_over(key, passed, now);
                }
                Some(latest)
            }
        };
        let dag = self.dags.get_mut(key)?;
        dag.held = None;
        match due {
            Some(tick) if tick.run_after <= now => Some(tick),
            later => {
                dag.row.next_tick = later;
                self.changed.dags.insert(key.clone());
                self.await_tick(key);
                None
            }
        }
    }

    fn make_tick(&mut self, now: Timestamp, key: &DagKey, tick: Tick) {
        self.last_run += 1;
        let run = RunKey(self.last_run);
        let Some(dag) = self.dags.get_mut(key) else { return };
        dag.row.last_tick = Some(tick);
        dag.row.next_tick = next_tick(dag, now);
        self.changed.dags.insert(key.clone());
        let late_by = now.duration_since(tick.run_after);
        let late = late_by > self.config.late_after;
        let outcome = if late { TickOutcome::Late } else { TickOutcome::OnTime };
        let reason = match (late, dag.dag.spec().catchup) {
            (false, _) => "",
            (true, true) => "it was made up for",
            (true, false) => "nothing could make its run when it was due",
        };
        let row = RunRow {
            key: run,
            dag: key.clone(),
            run_id: tick.scheduled_run_id().into(),
            version: dag.row.version,
            state: RunState::Queued,
            run_type: RunType::Scheduled,
            triggered_by: "timetable".into(),
            triggering_user: None,
            owner: dag.dag.spec().owner.clone(),
            logical_date: Some(tick.logical_date()),
            data_interval: Some((tick.data_interval.start, tick.data_interval.end)),
            run_after: tick.run_after,
            conf: Arc::new(Value::Object(serde_json::Map::new())),
            selection: None,
            queued_at: now,
            started_at: None,
            ended_at: None,
            clear_number: 0,
            deadlines_told: None,
            reason: None,
            marked: None,
        };
        let compiled = dag.dag.clone();
        self.record_ticks(key, (tick.run_after, tick.run_after, 1), outcome, reason, Some(run));
        self.create_run(now, row, compiled, Arc::default());
    }

    /// Writes down that ticks that are due have no run.
    fn pass_over(&mut self, key: &DagKey, PassedOver { first, last, count }: PassedOver, now: Timestamp) {
        let Some(dag) = self.dags.get(key) else { return };
        let (outcome, reason) = match dag.held {
            Some(Passed::Paused) => (TickOutcome::Skipped, "the DAG was paused, or all were"),
            Some(Passed::Full) => (TickOutcome::Skipped, "max_active_runs was reached, and catchup is off"),
            None => (TickOutcome::Missed, "nothing was there to make its run when it was due"),
        };
        let told = dag.held != Some(Passed::Paused);
        let range = (first.run_after, last.run_after, count);
        self.record_ticks(key, range, outcome, reason, None);
        if told {
            self.alert_of_ticks(now, key, range, reason);
        }
        // They are decided, also for a server whose clock is behind.
        if let Some(dag) = self.dags.get_mut(key) {
            dag.row.last_tick = Some(last);
            self.changed.dags.insert(key.clone());
        }
    }

    fn record_ticks(
        &mut self,
        key: &DagKey,
        (first, last, count): (Timestamp, Timestamp, u64),
        outcome: TickOutcome,
        reason: &str,
        run: Option<RunKey>,
    ) {
        let Some(dag) = self.dags.get_mut(key) else { return };
        let range = match dag.last_range.take() {
            Some(range) if range.outcome == outcome && range.reason == reason && range.last < first => {
                TickRow { last, count: range.count + count, run, ..range }
            }
            Some(_) | None => {
                TickRow { dag: key.clone(), first, last, count, outcome, reason: reason.into(), run }
            }
        };
        dag.last_range = Some(range.clone());
        self.out.batch.ticks.insert((key.clone(), range.first), range);
    }
}

/// Ticks of which no run is made.
struct PassedOver {
    first: Tick,
    last: Tick,
    count: u64,
}

/// The latest tick that is due, from the first one on, and those before it. The schedule is not asked what it has to say at
/// this time: many a schedule begins anew then, be it a moment after the tick.
fn up_to(dag: &DagState, first: Tick, now: Timestamp) -> (Option<PassedOver>, Tick) {
    let restriction = TimeRestriction { catchup: true, ..restriction(dag) };
    let after = |tick: Tick| {
        let next = dag.dag.spec().schedule.next_tick(Some(tick.data_interval), &restriction, now);
        next.filter(|next| tick.run_after < next.run_after && next.run_after <= now)
    };
    let (mut passed, mut latest) = (None, first);
    for count in 1.. {
        let Some(next) = after(latest) else { break };
        passed = Some(PassedOver { first, last: latest, count });
        latest = next;
        if count >= COUNTED {
            latest = next_tick(dag, now).filter(|tick| tick.run_after <= now).unwrap_or(latest);
            break;
        }
    }
    (passed, latest)
}

/// Why ticks that are due wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// The DAG is paused.
    Paused,
    /// `max_active_runs` is reached.
    Full,
}

fn restriction(dag: &DagState) -> TimeRestriction {
    let spec = dag.dag.spec();
    TimeRestriction { earliest: spec.start_date, latest: spec.end_date, catchup: spec.catchup }
}

fn next_tick(dag: &DagState, now: Timestamp) -> Option<Tick> {
    let last = dag.row.last_tick.map(|tick| tick.data_interval);
    let schedule = &dag.dag.spec().schedule;
    let tick = schedule.next_tick(last, &restriction(dag), now)?;
    if *schedule != Schedule::Continuous {
        return Some(tick);
    }
    // Runs that have nothing to do would follow one another within the same moment.
    let earliest = last.map_or(tick.run_after, |last| last.end.saturating_add(SHORTEST).unwrap_or(last.end));
    let run_after = tick.run_after.max(earliest);
    Some(Tick { run_after, data_interval: DataInterval { end: run_after, ..tick.data_interval } })
}

/// Whether the schedule still has this tick: it may have changed since the tick was planned.
fn is_tick_of(dag: &DagState, tick: &Tick) -> bool {
    if dag.dag.spec().schedule == Schedule::Continuous {
        return next_tick(dag, tick.run_after) == Some(*tick);
    }
    let last = dag.row.last_tick.map(|tick| tick.data_interval);
    let restriction = TimeRestriction { catchup: true, ..restriction(dag) };
    match last {
        Some(_) => dag.dag.spec().schedule.next_tick(last, &restriction, tick.run_after) == Some(*tick),
        // Before the first tick the schedule may say anything that is not over.
        None => {
            dag.dag.spec().schedule.next_tick(None, &self::restriction(dag), tick.run_after) == Some(*tick)
        }
    }
}
