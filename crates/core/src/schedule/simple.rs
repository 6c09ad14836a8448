//! Schedules without a pace: Airflow's `OnceTimetable`, `ContinuousTimetable` and `EventsTimetable`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tick::Question;
use super::{DataInterval, Holidays, Tick};

/// Once, at the start date or else now, whether or not passed ticks are made up for.
pub(super) fn once(question: &Question<'_>) -> Option<Tick> {
    let at = question.restriction.earliest.unwrap_or(question.now);
    (question.last.is_none() && !question.is_over_at(at)).then(|| Tick::exact(at))
}

/// Each run as soon as the one before it has ended; its data interval reaches from there to now.
pub(super) fn continuous(question: &Question<'_>) -> Option<Tick> {
    let now = question.now;
    let start_date = question.restriction.earliest.unwrap_or(now);
    let (start, end) = match question.last {
        None => (start_date, start_date.max(now)),
        // The last run is ahead of the clock, as it is where the start date lies in the future.
        Some(last) if last.end > now => {
            (start_date, start_date.checked_add(last.end.duration_since(last.start)).ok()?)
        }
        Some(last) => (last.end, now),
    };
    (!question.is_over_at(end)).then(|| Tick::interval(start, end))
}

/// Times in ascending order, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Timestamp>")]
pub struct Times(Vec<Timestamp>);

impl Times {
    /// The times.
    pub fn as_slice(&self) -> &[Timestamp] {
        &self.0
    }

    pub(super) fn next_tick(&self, question: &Question<'_>) -> Option<Tick> {
        let restriction = question.restriction;
        let earliest = if restriction.catchup {
            restriction.earliest
        } else {
            Some(restriction.earliest.map_or(question.now, |earliest| earliest.max(question.now)))
        };
        let from_start = earliest.map_or(0, |earliest| self.0.partition_point(|time| *time < earliest));
        let after_last = question.last.map_or(0, |last| self.0.partition_point(|time| *time <= last.end));
        let coming = self.0.get(from_start.max(after_last)..)?;
        let time = *coming.iter().find(|time| !question.is_holiday(**time))?;
        (!question.is_over_at(time)).then(|| Tick::exact(time))
    }

    /// The data interval of a run that is started by hand: the moment itself, or, where runs are restricted
    /// to the times, the last of them that has passed. Where none has, the first.
    pub(super) fn manual_interval(
        &self,
        restricted: bool,
        run_after: Timestamp,
        holidays: Option<&Holidays>,
    ) -> DataInterval {
        let is_holiday = |time: &Timestamp| holidays.is_some_and(|holidays| holidays.contains(*time));
        let mut times = self.0.iter().filter(|time| restricted && !is_holiday(time)).peekable();
        let first = times.peek().copied();
        let passed = times.take_while(|time| **time <= run_after).last();
        DataInterval::exact(passed.or(first).copied().unwrap_or(run_after))
    }
}

impl From<Vec<Timestamp>> for Times {
    fn from(mut times: Vec<Timestamp>) -> Self {
        times.sort_unstable();
        times.dedup();
        Self(times)
    }
}
