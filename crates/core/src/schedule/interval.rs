//! Schedules of data intervals, each run at the end of its own: Airflow's `CronDataIntervalTimetable` and
//! `DeltaDataIntervalTimetable`. An interval that would end on a holiday goes on until the first end that
//! does not, so that no data are left out.

use jiff::Timestamp;

use super::pace::{Pace, Steps};
use super::tick::Question;
use super::{DataInterval, Tick};

pub(super) fn next_tick(pace: Pace<'_>, question: &Question<'_>) -> Option<Tick> {
    let restriction = question.restriction;
    // Holidays are days without runs: an interval may begin on one, and ends on none.
    let starts = Pace { holidays: None, ..pace };
    let earliest = match restriction.earliest {
        earliest if !restriction.catchup => Some(skip_to_latest(pace, earliest, question.now)?),
        Some(earliest) => Some(starts.align_to_next(earliest)?),
        None => None,
    };
    let start = match question.last {
        None => earliest?,
        Some(last) => {
            // A changed schedule need not have a step where the last run ended.
            let aligned = starts.align_to_previous(last.end).or_else(|| starts.align_to_next(last.end))?;
            let mut start = earliest.map_or(aligned, |earliest| earliest.max(aligned));
            // Nor may it come back to an interval that has run.
            if start <= last.start {
                start = starts.next(start)?;
            }
            if start <= last.start {
                start = starts.next(last.start)?;
            }
            start
        }
    };
    if question.is_over_at(start) {
        return None;
    }
    Some(Tick::interval(start, pace.next(start)?))
}

/// The data interval of a run that is started by hand: the last one that was complete.
pub(super) fn manual_interval(pace: Pace<'_>, run_after: Timestamp) -> DataInterval {
    let complete = || {
        let end = match pace.steps {
            Steps::Cron(..) => pace.align_to_previous(run_after)?,
            Steps::Every(_) => run_after,
        };
        Some(DataInterval { start: pace.previous(end)?, end })
    };
    complete().unwrap_or(DataInterval::exact(run_after))
}

/// Where the first interval begins that is still to run when passed ones are left out.
fn skip_to_latest(pace: Pace<'_>, earliest: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let starts = Pace { holidays: None, ..pace };
    let (latest, earliest) = match pace.steps {
        Steps::Cron(..) => {
            let earliest = match earliest {
                Some(earliest) => Some(starts.align_to_next(earliest)?),
                None => None,
            };
            (latest_complete(pace, now)?, earliest)
        }
        Steps::Every(delta) => {
            let floor = delta.floor(now, earliest.unwrap_or(now))?;
            (pace.previous(pace.back_to_work(floor, now)?)?, earliest)
        }
    };
    Some(earliest.map_or(latest, |earliest| earliest.max(latest)))
}

/// The start of the last interval that is complete at `now`. Where `now` is a step, the interval that ends
/// there is.
fn latest_complete(pace: Pace<'_>, now: Timestamp) -> Option<Timestamp> {
    // No step lies before now: the first interval is the one that begins with the coming step.
    let Some(mut start) = pace.previous(now) else { return pace.align_to_next(now) };
    let mut end = pace.next(start)?;
    // Where a clock is set back by half an hour, the step after the previous one may still be before now.
    while end < now {
        (start, end) = (end, pace.next(end)?);
    }
    if end == now { Some(start) } else { Some(pace.previous(start).unwrap_or(start)) }
}
