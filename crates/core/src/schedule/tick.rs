//! What a schedule is asked and what it answers.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

use super::Holidays;

/// The span of data that a run is about, from `start` to `end`; the two are equal where a run is about a
/// moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataInterval {
    /// Where it begins.
    pub start: Timestamp,
    /// Where it ends; the next one may begin there.
    pub end: Timestamp,
}

impl DataInterval {
    /// The interval of a run that is about a moment.
    pub fn exact(at: Timestamp) -> Self {
        Self { start: at, end: at }
    }
}

/// One run that a schedule asks for: Airflow's `DagRunInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tick {
    /// The earliest time at which the run may begin.
    pub run_after: Timestamp,
    /// The data it is about.
    pub data_interval: DataInterval,
}

impl Tick {
    /// A run about the moment at which it begins.
    pub(super) fn exact(at: Timestamp) -> Self {
        Self { run_after: at, data_interval: DataInterval::exact(at) }
    }

    /// A run that begins when its data are complete.
    pub(super) fn interval(start: Timestamp, end: Timestamp) -> Self {
        Self { run_after: end, data_interval: DataInterval { start, end } }
    }

    /// Airflow's logical date of the run: the start of its data interval.
    pub fn logical_date(&self) -> Timestamp {
        self.data_interval.start
    }

    /// The id of the scheduled run, as Airflow 3.3 makes it: `scheduled__2026-01-31T00:00:00+00:00`.
    pub fn scheduled_run_id(&self) -> String {
        Self::named("scheduled", self.run_after)
    }

    /// A run's id as Airflow makes it of a type and a time.
    pub fn named(run_type: &str, at: Timestamp) -> String {
        // Python writes six digits of a second or none at all.
        let micros = at.subsec_microsecond() != 0;
        let precision = if micros { 6 } else { 0 };
        let printer = DateTimePrinter::new().precision(Some(precision));
        let offset = jiff::tz::Offset::UTC;
        format!("{run_type}__{}", printer.timestamp_with_offset_to_string(&at, offset))
    }
}

/// When a DAG may be scheduled: Airflow's `TimeRestriction`. Both ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeRestriction {
    /// The DAG's `start_date`.
    pub earliest: Option<Timestamp>,
    /// The DAG's `end_date`.
    pub latest: Option<Timestamp>,
    /// Whether ticks that have passed are made up for, one by one. Where not, all but the latest of them
    /// are left out.
    pub catchup: bool,
}

/// One question put to a schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// The data interval of the last scheduled or backfilled run.
    pub last: Option<DataInterval>,
    pub restriction: &'a TimeRestriction,
    pub now: Timestamp,
    pub holidays: Option<&'a Holidays>,
}

impl Question<'_> {
    /// Whether a time lies after the `end_date`.
    pub fn is_over_at(&self, time: Timestamp) -> bool {
        self.restriction.latest.is_some_and(|latest| time > latest)
    }

    /// Whether no run begins on the day of a time.
    pub fn is_holiday(&self, time: Timestamp) -> bool {
        self.holidays.is_some_and(|holidays| holidays.contains(time))
    }
}
