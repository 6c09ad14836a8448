//! Schedules that trigger at a step: Airflow's `CronTriggerTimetable`, `MultipleCronTriggerTimetable` and
//! `DeltaTriggerTimetable`.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::tick::Question;
use super::{DataInterval, Delta, Tick};

/// Which run comes first where a cron has no start date and has never run. With a start date it has no
/// effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunImmediately {
    /// The tick that has passed where that was not long ago: a tenth of the time between ticks, five
    /// minutes at least. Else the coming one. This is also what Airflow's default, `False`, comes to.
    #[default]
    IfRecent,
    /// The tick that has passed, in any case.
    Always,
    /// The tick that has passed where that was so long ago at most. Else the coming one.
    Within(SignedDuration),
}

/// A pace and what is told about each of its steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trigger<'a> {
    pub pace: Pace<'a>,
    /// How much data before its step a run is about.
    pub interval: Option<&'a Delta>,
    pub run_immediately: RunImmediately,
}

impl Trigger<'_> {
    pub fn next_tick(&self, question: &Question<'_>) -> Option<Tick> {
        let Question { last, restriction, now, .. } = *question;
        let after_last = || self.pace.next(last?.end);
        let from_start = || self.pace.align_to_next(restriction.earliest?);
        let run_after = if restriction.catchup {
            match (last, restriction.earliest) {
                (Some(_), _) => after_last(),
                (None, Some(_)) => from_start(),
                (None, None) => self.first_run(now),
            }?
        } else {
            let due = match (last, restriction.earliest) {
                (Some(_), None) => after_last()?,
                (Some(_), Some(_)) => after_last()?.max(from_start()?),
                (None, Some(_)) => from_start()?,
                (None, None) => self.first_run(now)?,
            };
            self.pace.latest(due, now)
        };
        if question.is_over_at(run_after) {
            return None;
        }
        Some(Tick { run_after, data_interval: interval_before(self.interval, run_after)? })
    }

    fn first_run(&self, now: Timestamp) -> Option<Timestamp> {
        let coming = self.pace.align_to_next(now)?;
        let Some(passed) = self.pace.align_to_previous(now) else { return Some(coming) };
        let recent = match self.run_immediately {
            RunImmediately::Always => return Some(passed),
            RunImmediately::Within(limit) => limit,
            RunImmediately::IfRecent => {
                (coming.duration_since(passed) / 10).max(SignedDuration::from_mins(5))
            }
        };
        Some(if now.duration_since(passed) <= recent { passed } else { coming })
    }
}

/// The data interval of a run that is started by hand.
pub(super) fn manual_interval(interval: Option<&Delta>, run_after: Timestamp) -> DataInterval {
    interval_before(interval, run_after).unwrap_or(DataInterval::exact(run_after))
}

fn interval_before(interval: Option<&Delta>, end: Timestamp) -> Option<DataInterval> {
    let start = interval.map_or(Some(end), |interval| interval.before(end))?;
    Some(DataInterval { start, end })
}

/// The next tick of several crons: with catch-up the first by logical date. Without, the latest that is not
/// in the future; where all are, the first.
pub(super) fn first_of<'a>(
    triggers: impl Iterator<Item = Trigger<'a>>,
    question: &Question<'_>,
) -> Option<Tick> {
    triggers.filter_map(|trigger| trigger.next_tick(question)).min_by_key(|tick| {
        let at = tick.logical_date().as_nanosecond();
        let passed = !question.restriction.catchup && tick.logical_date() <= question.now;
        if passed { -at } else { at }
    })
}
