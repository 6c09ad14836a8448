//! When a DAG runs: what a schedule means, as Airflow 3.3.2 means it.
//!
//! A [`Schedule`] is data. The engine asks it one thing, [`Schedule::next_tick`]: after this last run, with
//! this start date, end date and catch-up, at this time, which run comes next? All times are instants;
//! only a cron looks at a clock on a wall, that of its [`Zone`]. The other kinds have no zone because
//! Airflow gives them none: it steps a `timedelta` or `relativedelta` in UTC whatever the DAG's zone.
//!
//! # Clocks that are set forward and back
//!
//! A cron is searched on the wall clock of its zone. A time that the clock skips is put as long after the
//! jump as it lies after the jump's beginning (02:30 becomes 03:30); a time that it shows twice is the
//! second of the two. Where the hour is a bare `*` the cron instead comes after as much time as the wall
//! clock says is left, so that an hour shown twice has its ticks twice. The same rule moves the first tick
//! of a month by an hour where the clock has been set since the last one, and where clocks are set by
//! half an hour (Australia/Lord_Howe) it gives ticks that match nothing. Both are Airflow's, and kept.
//!
//! # Holidays
//!
//! Around a schedule, [`Schedule::WithHolidays`] takes out the ticks whose run would begin (`run_after`) on one of
//! its days, on the clock of the holidays' zone. What is left is as if the cron itself did not name these
//! days: so the latest tick that has passed is the latest of those that are left, a tick on a holiday is in
//! no ledger, and a data interval that would end on a holiday reaches, like Airflow's across the weekend
//! with `0 0 * * 1-5`, until the next run. Airflow has no such thing but by a class of one's own; its
//! example of one, `AfterWorkdayTimetable`, looks at the day that the data are about.
//!
//! # Where Airflow fails and this does not
//!
//! Everything else is compared with Airflow case by case (`tests/oracle/schedule`). These are the cases in
//! which there is nothing to compare with, each known to that test by its name:
//!
//! | name | Airflow 3.3.2 | here |
//! |---|---|---|
//! | `never` | asking past the last time of a cron (`0 0 30 2 *` has none, a year may have passed) raises `CroniterBadDateError`, and a run that came before is lost with it | no tick after the last; what comes before stands, and other crons of a list go on |
//! | `first` | asking before the first time of a cron (`0 0 1 1 * 0 2030`) raises the same, so that it never runs | the missing earlier tick is left out of the reckoning |
//! | `behind` | data intervals of a cron whose hour is `*`, without catch-up: where the clock has been set since the last tick, the tick after it may have passed too, which raises `AssertionError` | the ticks are followed up to now |
//! | `stuck` | the same crons: the tick found after the last interval may lie before its start, which raises `ValueError` | the tick after that start |
//! | `random` | `R` is drawn anew at each question | refused |
//!
//! Lengths of less than a second are exact here and floating point there.

mod cron;
mod delta;
mod holidays;
mod interval;
mod pace;
mod simple;
mod tick;
mod trigger;
mod zone;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use cron::{BadField, Cron, CronError, Crons, Fault, Field, UnknownPreset, WrongFieldCount};
pub use delta::{BadDelta, Delta, DeltaFault};
pub use holidays::{BadSpan, Days, Holidays, Span};
pub use simple::Times;
pub use tick::{DataInterval, Tick, TimeRestriction};
pub use trigger::RunImmediately;
pub use zone::{UnknownZone, Zone};

use pace::{Pace, Steps};
use tick::Question;
use trigger::Trigger;

/// When a DAG runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Never by itself: Airflow's `schedule=None`.
    Manual,
    /// One run after each start of the machine, as cron's `@reboot`. It has no ticks: whoever sees that the machine
    /// has started asks for the run.
    AtBoot,
    /// One run, at the start date or as soon as it is known: `@once`.
    Once,
    /// One run after the other, without a pause: `@continuous`.
    Continuous,
    /// At the times of one or more crons, each run about that moment or about the `interval` before it:
    /// `CronTriggerTimetable` and `MultipleCronTriggerTimetable`. This is what a cron string means.
    CronTrigger {
        /// The expressions; a moment that several of them name is one tick.
        crons: Crons,
        /// Whose clock they are read on.
        zone: Zone,
        /// How long before its tick the data interval of a run begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<Delta>,
        /// Which run is the first where there is no start date.
        #[serde(default)]
        run_immediately: RunImmediately,
    },
    /// At the end of each interval between two times of a cron: `CronDataIntervalTimetable`.
    CronDataInterval {
        /// The expression.
        cron: Cron,
        /// Whose clock it is read on.
        zone: Zone,
    },
    /// Each time that `every` has passed: `DeltaTriggerTimetable`.
    DeltaTrigger {
        /// From one tick to the next.
        every: Delta,
        /// How long before its tick the data interval of a run begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<Delta>,
    },
    /// At the end of each interval of the length `every`: `DeltaDataIntervalTimetable`.
    DeltaDataInterval {
        /// The length of each interval.
        every: Delta,
    },
    /// At the times of a list: `EventsTimetable`.
    ListOfTimes {
        /// The times.
        times: Times,
        /// Whether a run that is started by hand is about the last of the times rather than about the
        /// moment at which it is started.
        #[serde(default)]
        restrict_to_events: bool,
    },
    /// The ticks of another schedule but for those whose runs would begin on a holiday. `Manual`, `AtBoot`,
    /// `Once` and `Continuous` have no days to pass over: around them it changes nothing.
    WithHolidays {
        /// The other schedule.
        schedule: Box<Schedule>,
        /// The days.
        holidays: Holidays,
    },
}

impl Schedule {
    /// What a DAG's `schedule` string means: `@once`, `@continuous`, or a cron that triggers at its times.
    pub fn from_text(text: &str, zone: Zone) -> Result<Self, CronError> {
        match text {
            "@once" => Ok(Self::Once),
            "@continuous" => Ok(Self::Continuous),
            cron => Ok(Self::CronTrigger {
                crons: Cron::new(cron)?.into(),
                zone,
                interval: None,
                run_immediately: RunImmediately::default(),
            }),
        }
    }

    /// The next run, after the one whose data interval is `last`, under the DAG's restriction, asked at
    /// `now`: Airflow's `next_dagrun_info`.
    ///
    /// `last` is the last scheduled or backfilled run; runs started by hand do not count. `None` means
    /// that nothing is to be scheduled: the end date has passed, the list is at its end, the cron never
    /// comes again. The tick may lie in the future, or, with catch-up, far in the past.
    pub fn next_tick(
        &self,
        last: Option<DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Option<Tick> {
        self.answer(&Question { last, restriction, now, holidays: None })
    }

    fn answer(&self, question: &Question<'_>) -> Option<Tick> {
        let holidays = question.holidays;
        match self {
            Self::Manual | Self::AtBoot => None,
            Self::Once => simple::once(question),
            Self::Continuous => simple::continuous(question),
            Self::CronTrigger { crons, zone, interval, run_immediately } => {
                let trigger = |cron| Trigger {
                    pace: Pace { steps: Steps::Cron(cron, zone), holidays },
                    interval: interval.as_ref(),
                    run_immediately: *run_immediately,
                };
                trigger::first_of(crons.as_slice().iter().map(trigger), question)
            }
            Self::DeltaTrigger { every, interval } => {
                let run_immediately = RunImmediately::default();
                let pace = Pace { steps: Steps::Every(every), holidays };
                Trigger { pace, interval: interval.as_ref(), run_immediately }.next_tick(question)
            }
            Self::CronDataInterval { cron, zone } => {
                interval::next_tick(Pace { steps: Steps::Cron(cron, zone), holidays }, question)
            }
            Self::DeltaDataInterval { every } => {
                interval::next_tick(Pace { steps: Steps::Every(every), holidays }, question)
            }
            Self::ListOfTimes { times, .. } => times.next_tick(question),
            Self::WithHolidays { schedule, holidays } => {
                schedule.answer(&Question { holidays: Some(holidays), ..*question })
            }
        }
    }

    /// What a backfill of a DAG with that start date runs: its [ticks between](Self::ticks_between) two times. Of
    /// data intervals they are the ones that the schedule itself has, so that none overlaps with these: only the
    /// DAG's first begins on a holiday.
    pub fn backfilled(
        &self,
        start_date: Option<Timestamp>,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = Tick> {
        // Before the start date there are none of its own.
        let began = start_date.is_none_or(|start| start <= from);
        let first = match self.interval_pace().filter(|_| began) {
            None => Some(from),
            Some(pace) => {
                let every = Pace { holidays: None, ..pace };
                let first = start_date.and_then(|start| every.align_to_next(start));
                first.filter(|first| *first >= from).or_else(|| pace.align_to_next(from))
            }
        };
        first.into_iter().flat_map(move |first| self.ticks_between(first, to))
    }

    /// The pace of the ends of data intervals that follow one another, where it has such.
    fn interval_pace(&self) -> Option<Pace<'_>> {
        let steps = match self.without_holidays() {
            Self::CronDataInterval { cron, zone } => Steps::Cron(cron, zone),
            Self::DeltaDataInterval { every } => Steps::Every(every),
            Self::Manual
            | Self::AtBoot
            | Self::Once
            | Self::Continuous
            | Self::CronTrigger { .. }
            | Self::DeltaTrigger { .. }
            | Self::ListOfTimes { .. }
            | Self::WithHolidays { .. } => return None,
        };
        Some(Pace { steps, holidays: self.holidays() })
    }

    /// All ticks of a DAG with the start date `from`, the end date `to` and catch-up, in order: what a
    /// ledger expects. Both ends are included. Kinds with data intervals are
    /// measured by where the interval begins, as Airflow does, the others by when the run begins.
    ///
    /// As `from` is the start date, `Once` has its tick there, and the steps of a [`Delta`] count from
    /// there. `Manual`, `AtBoot` and `Continuous` have no ticks: the first is never due, and when machines start
    /// and runs end is not known before.
    pub fn ticks_between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Tick> {
        let restriction = TimeRestriction { earliest: Some(from), latest: Some(to), catchup: true };
        let next = move |last: Option<&Tick>| {
            if matches!(self, Self::Continuous) {
                return None;
            }
            self.next_tick(last.map(|tick| tick.data_interval), &restriction, from)
        };
        std::iter::successors(next(None), move |last| {
            next(Some(last)).filter(|tick| tick.run_after > last.run_after)
        })
    }

    /// The ticks that come from a time on, in order, where all before it are done with: the steps of a [`Delta`]
    /// have been counted from the start date until then. Those of [`Schedule::Continuous`] depend on how long
    /// runs take: it has none here.
    pub fn ticks_from(&self, from: Timestamp, restriction: &TimeRestriction) -> impl Iterator<Item = Tick> {
        let counted = self.delta().zip(restriction.earliest.filter(|start| *start < from));
        let before = counted.and_then(|(every, start)| {
            let pace = Pace { steps: Steps::Every(every), holidays: self.holidays() };
            let end = pace.last_counted(start, from)?;
            Some(DataInterval { start: every.before(end)?, end })
        });
        let restriction = TimeRestriction { catchup: counted.is_some(), ..*restriction };
        let next = move |last: Option<&Tick>| {
            let now = last.map_or(from, |last| last.run_after.max(from));
            let last_interval = last.map(|tick| tick.data_interval).or(before);
            let tick = self.next_tick(last_interval, &restriction, now)?;
            let is_new = last.is_none_or(|last| tick.run_after > last.run_after);
            (is_new && !matches!(self, Self::Continuous)).then_some(tick)
        };
        std::iter::successors(next(None), move |last| next(Some(last)))
            .skip_while(move |tick| tick.run_after < from)
    }

    /// The data interval of a run that is started by hand at `run_after`: Airflow's
    /// `infer_manual_data_interval`.
    pub fn manual_data_interval(&self, run_after: Timestamp) -> DataInterval {
        let holidays = self.holidays();
        match self.without_holidays() {
            Self::Manual | Self::AtBoot | Self::Once | Self::Continuous | Self::WithHolidays { .. } => {
                DataInterval::exact(run_after)
            }
            Self::CronTrigger { interval, .. } | Self::DeltaTrigger { interval, .. } => {
                trigger::manual_interval(interval.as_ref(), run_after)
            }
            Self::CronDataInterval { cron, zone } => {
                interval::manual_interval(Pace { steps: Steps::Cron(cron, zone), holidays }, run_after)
            }
            Self::DeltaDataInterval { every } => {
                interval::manual_interval(Pace { steps: Steps::Every(every), holidays }, run_after)
            }
            Self::ListOfTimes { times, restrict_to_events } => {
                times.manual_interval(*restrict_to_events, run_after, holidays)
            }
        }
    }

    /// The length of time that it steps by, where it does.
    fn delta(&self) -> Option<&Delta> {
        match self.without_holidays() {
            Self::DeltaTrigger { every, .. } | Self::DeltaDataInterval { every } => Some(every),
            Self::Manual
            | Self::AtBoot
            | Self::Once
            | Self::Continuous
            | Self::CronTrigger { .. }
            | Self::CronDataInterval { .. }
            | Self::ListOfTimes { .. }
            | Self::WithHolidays { .. } => None,
        }
    }

    /// The days on which it makes no runs.
    pub fn holidays(&self) -> Option<&Holidays> {
        if let Self::WithHolidays { holidays, .. } = self { Some(holidays) } else { None }
    }

    /// The schedule as it is on other days.
    pub fn without_holidays(&self) -> &Self {
        if let Self::WithHolidays { schedule, .. } = self { schedule } else { self }
    }
}
