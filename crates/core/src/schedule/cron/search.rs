//! The search for the next and the previous local time that match.
//!
//! The values of a field are the bits of a number, and so are the days of a month once the day rules have
//! been applied to it. A search goes through the months that are named, at most fifty years of them.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, ToSpan};

use super::days::{DayPlan, Month};
use super::field::{Field, FieldSet};

/// As far as croniter looks, in years.
const REACH: i16 = 50;

/// What an expression says, ready to be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: DayPlan,
    months: u64,
    /// `None` is every year, also those outside the range that can be written.
    years: Option<BTreeSet<i16>>,
    /// Whether times are counted in seconds (six or seven fields) or minutes (five).
    by_second: bool,
    pub every_hour: bool,
}

impl Rules {
    /// Puts the fields together; `texts` are the same fields as written, in lower case.
    pub fn new(texts: &[&str], sets: Vec<FieldSet>) -> Self {
        let [minute, hour, month_day, month, weekday, rest @ ..] = sets.as_slice() else {
            unreachable!("an expression has five fields at least")
        };
        let written = |field: Field| texts[field as usize];
        let every = |field: Field, set: &FieldSet| {
            // All days one by one count as `*` only beside a `*` in the other field for days: otherwise a
            // list of all days would turn "either is enough" into "both".
            let collapses = match field {
                Field::DayOfMonth => written(Field::DayOfWeek).contains('*'),
                Field::DayOfWeek => written(Field::DayOfMonth).contains('*'),
                Field::Minute | Field::Hour | Field::Month | Field::Second | Field::Year => true,
            };
            set.star || (collapses && set.is_full(field))
        };
        let bits = |field: Field, set: &FieldSet| {
            let (low, high) = field.range();
            let values = |v: &u16| every(field, set) || set.values.contains(v);
            (low..=high).filter(values).fold(0, |bits, v| bits | 1 << v)
        };
        Self {
            seconds: rest.first().map_or(1, |second| bits(Field::Second, second)),
            minutes: bits(Field::Minute, minute),
            hours: bits(Field::Hour, hour),
            days: DayPlan::new(
                month_day,
                weekday,
                every(Field::DayOfMonth, month_day),
                every(Field::DayOfWeek, weekday),
            ),
            months: bits(Field::Month, month),
            years: rest
                .get(1)
                .filter(|year| !every(Field::Year, year))
                .map(|year| year.values.iter().map(|y| *y as i16).collect()),
            by_second: !rest.is_empty(),
            every_hour: hour.is_full(Field::Hour) || (hour.star && hour.len() == 1),
        }
    }

    /// The first matching time after the given one.
    pub fn next_after(&self, local: DateTime) -> Option<DateTime> {
        let start = self.floor(local)?.checked_add(self.unit()).ok()?;
        match &self.days {
            DayPlan::Both(rule) => self.forward(start, |month| rule.both(month)),
            DayPlan::Either(rule) => self.forward(start, |month| rule.either(month)),
            DayPlan::Twice(one, other) => {
                let one = self.forward(start, |month| one.both(month))?;
                Some(one.min(self.forward(start, |month| other.both(month))?))
            }
        }
    }

    /// The last matching time before the given one.
    pub fn previous_before(&self, local: DateTime) -> Option<DateTime> {
        let start = self.floor(local.checked_sub(1.nanosecond()).ok()?)?;
        match &self.days {
            DayPlan::Both(rule) => self.backward(start, |month| rule.both(month)),
            DayPlan::Either(rule) => self.backward(start, |month| rule.either(month)),
            DayPlan::Twice(one, other) => {
                let one = self.backward(start, |month| one.both(month))?;
                Some(one.max(self.backward(start, |month| other.both(month))?))
            }
        }
    }

    fn unit(&self) -> SignedDuration {
        SignedDuration::from_secs(if self.by_second { 1 } else { 60 })
    }

    fn floor(&self, local: DateTime) -> Option<DateTime> {
        let second = if self.by_second { local.second() } else { 0 };
        local.with().second(second).subsec_nanosecond(0).build().ok()
    }

    fn forward(&self, start: DateTime, days: impl Fn(Month) -> u64) -> Option<DateTime> {
        for year in start.year()..=start.year().saturating_add(REACH).min(Date::MAX.year()) {
            if !self.has_year(year) {
                continue;
            }
            let in_start = year == start.year();
            let mut month = if in_start { start.month() } else { 1 };
            while let Some(m) = least(self.months, month) {
                let in_start = in_start && m == start.month();
                let days = days(Month::new(year, m)?);
                let mut day = if in_start { start.day() } else { 1 };
                while let Some(d) = least(days, day) {
                    let time = if in_start && d == start.day() {
                        self.time_from(start.time())
                    } else {
                        self.time_from(Time::midnight())
                    };
                    if let Some(time) = time {
                        return Some(Date::new(year, m, d).ok()?.to_datetime(time));
                    }
                    day = d + 1;
                }
                month = m + 1;
            }
        }
        None
    }

    fn backward(&self, start: DateTime, days: impl Fn(Month) -> u64) -> Option<DateTime> {
        let end_of_day = Time::constant(23, 59, 59, 0);
        for year in (start.year().saturating_sub(REACH).max(Date::MIN.year())..=start.year()).rev() {
            if !self.has_year(year) {
                continue;
            }
            let in_start = year == start.year();
            let mut month = if in_start { start.month() } else { 12 };
            while let Some(m) = greatest(self.months, month) {
                let in_start = in_start && m == start.month();
                let days = days(Month::new(year, m)?);
                let mut day = if in_start { start.day() } else { 31 };
                while let Some(d) = greatest(days, day) {
                    let time = if in_start && d == start.day() {
                        self.time_until(start.time())
                    } else {
                        self.time_until(end_of_day)
                    };
                    if let Some(time) = time {
                        return Some(Date::new(year, m, d).ok()?.to_datetime(time));
                    }
                    day = d - 1;
                }
                month = m - 1;
            }
        }
        None
    }

    fn has_year(&self, year: i16) -> bool {
        self.years.as_ref().is_none_or(|years| years.contains(&year))
    }

    /// The first matching time of a day, from the given one on.
    fn time_from(&self, time: Time) -> Option<Time> {
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let same_hour = || {
            let same_minute = || least(self.seconds, second).filter(|_| has(self.minutes, minute));
            let later_minute = || Some((least(self.minutes, minute + 1)?, least(self.seconds, 0)?));
            same_minute().map(|s| (minute, s)).or_else(later_minute)
        };
        let later_hour =
            || Some((least(self.hours, hour + 1)?, least(self.minutes, 0)?, least(self.seconds, 0)?));
        let found = same_hour().filter(|_| has(self.hours, hour)).map(|(m, s)| (hour, m, s));
        let (hour, minute, second) = found.or_else(later_hour)?;
        Time::new(hour, minute, second, 0).ok()
    }

    /// The last matching time of a day, up to the given one.
    fn time_until(&self, time: Time) -> Option<Time> {
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let same_hour = || {
            let same_minute = || greatest(self.seconds, second).filter(|_| has(self.minutes, minute));
            let earlier_minute = || Some((greatest(self.minutes, minute - 1)?, greatest(self.seconds, 59)?));
            same_minute().map(|s| (minute, s)).or_else(earlier_minute)
        };
        let earlier_hour = || {
            Some((greatest(self.hours, hour - 1)?, greatest(self.minutes, 59)?, greatest(self.seconds, 59)?))
        };
        let found = same_hour().filter(|_| has(self.hours, hour)).map(|(m, s)| (hour, m, s));
        let (hour, minute, second) = found.or_else(earlier_hour)?;
        Time::new(hour, minute, second, 0).ok()
    }
}

fn has(bits: u64, place: i8) -> bool {
    bits >> place & 1 == 1
}

/// The least place from `from` on whose bit is set.
fn least(bits: u64, from: i8) -> Option<i8> {
    let rest = bits & u64::MAX.checked_shl(u32::try_from(from).ok()?)?;
    (rest != 0).then(|| rest.trailing_zeros() as i8)
}

/// The greatest place up to `until` whose bit is set.
fn greatest(bits: u64, until: i8) -> Option<i8> {
    let rest = bits & (u64::MAX >> (63 - u32::try_from(until).ok()?));
    (rest != 0).then(|| 63 - rest.leading_zeros() as i8)
}
