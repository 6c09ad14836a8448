//! Dates and times with the methods that Python's `datetime` and pendulum's `DateTime` have.

mod absent;
mod human;
mod parse;
mod pattern;
mod relative;

use std::{cmp::Ordering, rc::Rc};

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

pub(super) use self::pattern::format_spec;
pub use self::{
    parse::parse,
    pattern::{strftime, strptime},
    relative::Relative,
};
use super::{
    fault::{Result, fault},
    macros::{Args, int, needed, text},
    value::Value,
};

/// A date with a time: pendulum's, as in Airflow's context, or plain Python's.
#[derive(Clone)]
pub struct DateTime {
    /// What it says.
    pub at: At,
    /// Whether it is pendulum's.
    pub pendulum: bool,
}

/// With or without a zone.
#[derive(Clone)]
pub enum At {
    /// Without.
    Naive(civil::DateTime),
    /// With.
    Aware(Zoned),
}

/// A duration, to the microsecond.
#[derive(Clone, Copy)]
pub struct Delta {
    /// How long.
    pub micros: i128,
    /// pendulum's `Interval`, the difference of two of its times.
    pub interval: bool,
}

const SECOND: i128 = 1_000_000;
const DAY: i128 = 86_400 * SECOND;

fn out_of_range<T>(_: jiff::Error) -> Result<T> {
    fault("date value out of range")
}

impl From<DateTime> for Value {
    fn from(time: DateTime) -> Self {
        Self::DateTime(Rc::new(time))
    }
}

impl DateTime {
    /// A time of Airflow's context: pendulum's, in UTC.
    pub fn utc(time: Timestamp) -> Self {
        Self { at: At::Aware(time.to_zoned(TimeZone::UTC)), pendulum: true }
    }

    pub(super) fn civil(&self) -> civil::DateTime {
        match &self.at {
            At::Naive(time) => *time,
            At::Aware(time) => time.datetime(),
        }
    }

    /// The same kind of time with this on its clock.
    fn with(&self, time: civil::DateTime) -> Result<Self> {
        let at = match &self.at {
            At::Naive(_) => At::Naive(time),
            At::Aware(own) => At::Aware(time.to_zoned(own.time_zone().clone()).or_else(out_of_range)?),
        };
        Ok(Self { at, pendulum: self.pendulum })
    }

    /// Which is earlier; none where one has a zone and the other has not.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (&self.at, &other.at) {
            (At::Naive(a), At::Naive(b)) => Some(a.cmp(b)),
            (At::Aware(a), At::Aware(b)) => Some(a.timestamp().cmp(&b.timestamp())),
            _ => None,
        }
    }

    pub(super) fn since(&self, other: &Self) -> Result<Delta> {
        let nanos = match (&self.at, &other.at) {
            (At::Naive(a), At::Naive(b)) => a.duration_since(*b).as_nanos(),
            (At::Aware(a), At::Aware(b)) => a.timestamp().duration_since(b.timestamp()).as_nanos(),
            _ => return fault("can't subtract offset-naive and offset-aware datetimes"),
        };
        Ok(Delta { micros: nanos / 1000, interval: self.pendulum || other.pendulum })
    }

    /// So much later.
    ///
    /// # Errors
    ///
    /// Where no year has it.
    pub fn plus(&self, delta: Delta) -> Result<Self> {
        if delta.interval {
            return fault("a difference of two times can't be added: give macros.timedelta(...)");
        }
        let Ok(micros) = i64::try_from(delta.micros) else { return fault("date value out of range") };
        let span = Span::new().microseconds(micros);
        let at = match &self.at {
            At::Naive(time) => At::Naive(time.checked_add(span).or_else(out_of_range)?),
            At::Aware(time) => At::Aware(time.checked_add(span).or_else(out_of_range)?),
        };
        Ok(Self { at, pendulum: self.pendulum })
    }

    fn offset(&self) -> Option<i32> {
        match &self.at {
            At::Naive(_) => None,
            At::Aware(time) => Some(time.offset().seconds()),
        }
    }

    /// `isoformat(separator)`.
    pub fn isoformat(&self, separator: char) -> String {
        let civil = self.civil();
        let offset = self.offset().map(|seconds| {
            let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
            let rest = if seconds % 60 == 0 { String::new() } else { format!(":{:02}", seconds % 60) };
            format!("{sign}{:02}:{:02}{rest}", seconds / 3600, seconds / 60 % 60)
        });
        format!("{}{separator}{}{}", civil.date(), clock(civil.time()), offset.unwrap_or_default())
    }

    fn zone_name(&self) -> Option<String> {
        match &self.at {
            At::Naive(_) => None,
            At::Aware(time) => {
                Some(time.time_zone().iana_name().map_or_else(|| time.offset().to_string(), str::to_owned))
            }
        }
    }
}

/// `HH:MM:SS`, with microseconds where there are any.
pub(super) fn clock(time: civil::Time) -> String {
    let micros = time.subsec_nanosecond() / 1000;
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{:02}:{:02}:{:02}{fraction}", time.hour(), time.minute(), time.second())
}

impl Delta {
    pub(super) fn between_dates(later: civil::Date, earlier: civil::Date) -> Self {
        Self { micros: later.duration_since(earlier).as_nanos() / 1000, interval: true }
    }

    pub(super) fn negated(self) -> Self {
        Self { micros: -self.micros, ..self }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_add(other.micros), interval: self.interval || other.interval }
    }

    pub(super) fn times(self, by: i128) -> Self {
        Self { micros: self.micros.saturating_mul(by), ..self }
    }

    /// Rounded to the nearest microsecond, halves to even.
    pub(super) fn divided(self, by: i128) -> Self {
        let (down, rest) = (self.micros.div_euclid(by), self.micros.rem_euclid(by) * 2);
        let up = rest > by.abs() || (rest == by.abs() && down % 2 != 0);
        Self { micros: down + i128::from(up), ..self }
    }

    /// `str` of a `timedelta`.
    pub(super) fn show(self) -> Result<String> {
        if self.interval {
            return fault("a difference of two times can't be shown: take its total_seconds() or in_days()");
        }
        let (days, rest) = (self.micros.div_euclid(DAY), self.micros.rem_euclid(DAY));
        let (seconds, micros) = (rest / SECOND, rest % SECOND);
        let days = match days {
            0 => String::new(),
            1 | -1 => format!("{days} day, "),
            _ => format!("{days} days, "),
        };
        let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
        Ok(format!("{days}{}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60))
    }

    /// `timedelta(days=…, …)`.
    pub fn new(args: Args) -> Result<Self> {
        const UNITS: [i128; 7] = [DAY, SECOND, 1, 1000, 60 * SECOND, 3600 * SECOND, 7 * DAY];
        let names = ["days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks"];
        let mut micros = 0i128;
        for (value, unit) in args.take("timedelta", names)?.into_iter().zip(UNITS) {
            let Some(value) = value else { continue };
            micros = micros.saturating_add(match (&value, value.as_int()) {
                (_, Some(number)) => number.saturating_mul(unit),
                (Value::Float(number), None) if number.is_finite() => {
                    (number * unit as f64).round_ties_even() as i128
                }
                _ => return fault(format!("timedelta() needs numbers, not {}", value.type_name())),
            });
        }
        if micros.abs() >= 1_000_000_000 * DAY {
            return fault("timedelta is too large");
        }
        Ok(Self { micros, interval: false })
    }
}

/// `date + timedelta`: its whole days.
pub(super) fn date_plus(date: civil::Date, delta: Delta) -> Result<Value> {
    let Ok(days) = i64::try_from(delta.micros.div_euclid(DAY)) else {
        return fault("date value out of range");
    };
    let span = Span::new().try_days(days).or_else(out_of_range)?;
    Ok(Value::Date(date.checked_add(span).or_else(out_of_range)?))
}

/// `macros.datetime(year, month, day, …)`.
pub fn new_datetime(args: Args) -> Result<Value> {
    let names = ["year", "month", "day", "hour", "minute", "second", "microsecond"];
    let parts = args.take("datetime", names)?;
    let zero = civil::DateTime::constant(1, 1, 1, 0, 0, 0, 0);
    if parts[..3].iter().any(Option::is_none) {
        return fault("datetime() needs a year, a month and a day");
    }
    Ok(DateTime { at: At::Naive(replace(zero, parts)?), pendulum: false }.into())
}

fn replace(time: civil::DateTime, parts: [Option<Value>; 7]) -> Result<civil::DateTime> {
    let mut numbers = [
        i128::from(time.year()),
        i128::from(time.month()),
        i128::from(time.day()),
        i128::from(time.hour()),
        i128::from(time.minute()),
        i128::from(time.second()),
        i128::from(time.subsec_nanosecond() / 1000),
    ];
    for (number, part) in numbers.iter_mut().zip(parts) {
        if let Some(part) = part {
            *number = int("a part of a date", &part)?;
        }
    }
    let [year, month, day, hour, minute, second, micros] = numbers;
    let small = |number: i128| i8::try_from(number).unwrap_or(-1);
    let nanos = i32::try_from(micros.saturating_mul(1000)).unwrap_or(-1);
    let year = i16::try_from(year).ok().filter(|year| (1..=9999).contains(year)).unwrap_or(i16::MIN);
    civil::DateTime::new(year, small(month), small(day), small(hour), small(minute), small(second), nanos)
        .or_else(|_| fault("a part of the date is out of range"))
}

/// An attribute; `None` where there is none.
pub fn attr(of: &Value, name: &str) -> Result<Option<Value>> {
    let number = |number: i128| Ok(Some(Value::Int(number)));
    let (date, time) = match of {
        Value::DateTime(time) => (Some(time.civil().date()), Some(time.civil().time())),
        Value::Date(date) => (Some(*date), None),
        Value::Time(time) => (None, Some(*time)),
        Value::Delta(delta) => return delta_attr(*delta, name),
        _ => (None, None),
    };
    if let Some(date) = date {
        match name {
            "year" => return number(date.year().into()),
            "month" => return number(date.month().into()),
            "day" => return number(date.day().into()),
            "day_of_week" => return number((date.weekday().to_monday_zero_offset()).into()),
            "day_of_year" => return number(date.day_of_year().into()),
            "week_of_year" => return number(date.iso_week_date().week().into()),
            "days_in_month" => return number(date.days_in_month().into()),
            "quarter" => return number(i128::from((date.month() + 2) / 3)),
            _ => {}
        }
    }
    if let Some(time) = time {
        match name {
            "hour" => return number(time.hour().into()),
            "minute" => return number(time.minute().into()),
            "second" => return number(time.second().into()),
            "microsecond" => return number((time.subsec_nanosecond() / 1000).into()),
            _ => {}
        }
    }
    match (of, name) {
        (Value::DateTime(time), "timezone_name") if time.pendulum => {
            Ok(Some(Value::optional(time.zone_name())))
        }
        (Value::DateTime(time), "offset") if time.pendulum => {
            Ok(time.offset().map(|seconds| Value::Int(seconds.into())))
        }
        (Value::DateTime(time), "int_timestamp") if time.pendulum => match &time.at {
            At::Aware(time) => number(time.timestamp().as_second().into()),
            At::Naive(_) => Ok(None),
        },
        (Value::DateTime(time), "float_timestamp") if time.pendulum => timestamp(time).map(Some),
        (Value::DateTime(_), "tzinfo" | "tz" | "timezone" | "fold" | "age" | "min" | "max") => {
            fault(format!("the attribute '{name}' of a datetime is not supported"))
        }
        (Value::DateTime(time), _) if time.pendulum => absent::refuse(name),
        _ => Ok(None),
    }
}

fn delta_attr(delta: Delta, name: &str) -> Result<Option<Value>> {
    let rest = delta.micros.rem_euclid(DAY);
    Ok(Some(Value::Int(match name {
        "days" if delta.interval && delta.micros < 0 => {
            return fault("days of a negative difference are not supported; take total_seconds()");
        }
        "days" => delta.micros.div_euclid(DAY),
        "seconds" | "microseconds" if delta.interval => {
            return fault(format!(
                "'{name}' of a difference of times is not supported; take total_seconds()"
            ));
        }
        "seconds" => rest / SECOND,
        "microseconds" => rest % SECOND,
        _ => return Ok(None),
    })))
}

fn timestamp(time: &DateTime) -> Result<Value> {
    match &time.at {
        At::Aware(time) => Ok(Value::Float(time.timestamp().as_microsecond() as f64 / 1e6)),
        At::Naive(_) => fault("a time without a zone has no timestamp here"),
    }
}

const DATE_METHODS: &[&str] = &["strftime", "isoformat", "weekday", "isoweekday", "replace"];
const PENDULUM_DATE_METHODS: &[&str] = &["add", "subtract", "format", "to_date_string", "start_of", "end_of"];
const DATETIME_METHODS: &[&str] = &["date", "time", "timestamp", "utcoffset", "tzname"];
const PENDULUM_METHODS: &[&str] = &[
    "in_timezone",
    "in_tz",
    "naive",
    "set",
    "at",
    "on",
    "diff",
    "to_time_string",
    "to_datetime_string",
    "to_iso8601_string",
];
const TIME_METHODS: &[&str] = &["strftime", "isoformat"];
const DELTA_METHODS: &[&str] =
    &["total_seconds", "in_weeks", "in_days", "in_hours", "in_minutes", "in_seconds"];

/// Whether `value.name` is a method that is supplied.
pub fn is_method(of: &Value, name: &str) -> bool {
    match of {
        Value::DateTime(time) => {
            DATE_METHODS.contains(&name)
                || DATETIME_METHODS.contains(&name)
                || (time.pendulum
                    && (PENDULUM_DATE_METHODS.contains(&name) || PENDULUM_METHODS.contains(&name)))
        }
        Value::Date(_) => DATE_METHODS.contains(&name) || PENDULUM_DATE_METHODS.contains(&name),
        Value::Time(_) => TIME_METHODS.contains(&name),
        Value::Delta(delta) => name == "total_seconds" || (delta.interval && DELTA_METHODS.contains(&name)),
        _ => false,
    }
}

/// Calls a method; `None` where there is none of this name.
pub(super) fn method(of: &Value, name: &str, args: Args) -> Result<Option<Value>> {
    match of {
        Value::DateTime(time) => datetime_method(time, name, args),
        Value::Date(date) => date_method(*date, name, args),
        Value::Time(time) if name == "isoformat" => args.none(name).map(|()| Some(Value::str(clock(*time)))),
        Value::Delta(delta) => {
            args.none(name)?;
            let unit = match name {
                "total_seconds" => return Ok(Some(Value::Float(delta.micros as f64 / 1e6))),
                "in_weeks" => 7 * DAY,
                "in_days" => DAY,
                "in_hours" => 3600 * SECOND,
                "in_minutes" => 60 * SECOND,
                _ => SECOND,
            };
            Ok(Some(Value::Int(delta.micros / unit)))
        }
        _ => match name {
            "strftime" => {
                let [format] = args.take(name, ["format"])?;
                Ok(Some(Value::str(strftime(of, &text("the format", &needed("the format", format)?)?)?)))
            }
            _ => Ok(None),
        },
    }
}

#[expect(clippy::too_many_lines, reason = "a table: one arm a method")]
fn datetime_method(time: &DateTime, name: &str, args: Args) -> Result<Option<Value>> {
    let civil = time.civil();
    let whole = Value::from(time.clone());
    Ok(Some(match name {
        "strftime" => {
            let [format] = args.take(name, ["format"])?;
            Value::str(strftime(&whole, &text("the format", &needed("the format", format)?)?)?)
        }
        "format" => {
            let [format] = args.take(name, ["fmt"])?;
            Value::str(pattern::pendulum(time, &text("the format", &needed("the format", format)?)?)?)
        }
        "isoformat" => {
            let [separator] = args.take(name, ["sep"])?;
            let separator = separator.map(|separator| text("sep", &separator)).transpose()?;
            let mut chars = separator.as_deref().unwrap_or("T").chars();
            match (chars.next(), chars.next()) {
                (Some(separator), None) => Value::str(time.isoformat(separator)),
                _ => return fault("isoformat() argument 1 must be a unicode character"),
            }
        }
        "weekday" => args.none(name).map(|()| Value::Int(civil.weekday().to_monday_zero_offset().into()))?,
        "isoweekday" => {
            args.none(name).map(|()| Value::Int(civil.weekday().to_monday_one_offset().into()))?
        }
        "date" => args.none(name).map(|()| Value::Date(civil.date()))?,
        "time" => args.none(name).map(|()| Value::Time(civil.time()))?,
        "timestamp" => {
            args.none(name)?;
            timestamp(time)?
        }
        "utcoffset" => {
            args.none(name)?;
            match time.offset() {
                Some(seconds) => {
                    Value::Delta(Delta { micros: i128::from(seconds) * SECOND, interval: false })
                }
                None => Value::None,
            }
        }
        "tzname" => {
            args.none(name)?;
            match &time.at {
                At::Aware(_) => Value::str(strftime(&whole, "%Z")?),
                At::Naive(_) => Value::None,
            }
        }
        "replace" | "set" => {
            let names = ["year", "month", "day", "hour", "minute", "second", "microsecond"];
            time.with(replace(civil, args.take(name, names)?)?)?.into()
        }
        "at" => {
            let [hour, minute, second, micro] =
                args.take(name, ["hour", "minute", "second", "microsecond"])?;
            let zero = || Some(Value::Int(0));
            let parts =
                [None, None, None, hour, minute.or_else(zero), second.or_else(zero), micro.or_else(zero)];
            time.with(replace(civil, parts)?)?.into()
        }
        "on" => {
            let [year, month, day] = args.take(name, ["year", "month", "day"])?;
            time.with(replace(civil, [year, month, day, None, None, None, None])?)?.into()
        }
        "add" | "subtract" => shifted(time, name, args)?.into(),
        "start_of" | "end_of" => {
            let [unit] = args.take(name, ["unit"])?;
            let unit = text("the unit", &needed("the unit", unit)?)?;
            time.with(edge(civil, &unit, name == "end_of")?)?.into()
        }
        "in_timezone" | "in_tz" => {
            let [zone] = args.take(name, ["tz"])?;
            let zone = text("the time zone", &needed("the time zone", zone)?)?;
            let Ok(zone) = TimeZone::get(&zone) else {
                return fault(format!("there is no time zone '{zone}'"));
            };
            let at = match &time.at {
                At::Aware(own) => At::Aware(own.with_time_zone(zone)),
                At::Naive(own) => At::Aware(own.to_zoned(zone).or_else(out_of_range)?),
            };
            DateTime { at, pendulum: true }.into()
        }
        "naive" => args.none(name).map(|()| DateTime { at: At::Naive(civil), pendulum: true }.into())?,
        "diff" => {
            let [other, abs] = args.take(name, ["dt", "abs"])?;
            let Value::DateTime(other) = needed("the other time", other)? else {
                return fault("diff() needs a datetime");
            };
            let delta = other.since(time)?;
            let abs = abs.map(|abs| abs.truth()).transpose()?.unwrap_or(true);
            Value::Delta(if abs && delta.micros < 0 { delta.negated() } else { delta })
        }
        "to_date_string" => args.none(name).map(|()| Value::str(civil.date().to_string()))?,
        "to_time_string" | "to_datetime_string" => {
            args.none(name)?;
            let format = if name == "to_time_string" { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
            Value::str(strftime(&whole, format)?)
        }
        "to_iso8601_string" => {
            args.none(name)?;
            let text = time.isoformat('T');
            let utc = time.zone_name().as_deref() == Some("UTC");
            Value::str(if utc { text.replace("+00:00", "Z") } else { text })
        }
        _ => return Ok(None),
    }))
}

fn date_method(date: civil::Date, name: &str, args: Args) -> Result<Option<Value>> {
    let midnight = DateTime { at: At::Naive(date.to_datetime(civil::Time::midnight())), pendulum: true };
    Ok(Some(match name {
        "isoformat" | "to_date_string" => args.none(name).map(|()| Value::str(date.to_string()))?,
        "add" | "subtract" | "start_of" | "end_of" | "replace" => {
            match datetime_method(&midnight, name, args)? {
                Some(Value::DateTime(time)) => Value::Date(time.civil().date()),
                _ => return Ok(None),
            }
        }
        "strftime" | "weekday" | "isoweekday" | "format" => return datetime_method(&midnight, name, args),
        _ => return Ok(None),
    }))
}

/// pendulum's `add` and `subtract`: years to days move the clock's face, less alone moves along the time line.
fn shifted(time: &DateTime, name: &str, args: Args) -> Result<DateTime> {
    let names = ["years", "months", "weeks", "days", "hours", "minutes", "seconds", "microseconds"];
    let sign = if name == "subtract" { -1 } else { 1 };
    let mut numbers = [0i64; 8];
    for (number, value) in numbers.iter_mut().zip(args.take(name, names)?) {
        if let Some(value) = value {
            let value = int("the number to add", &value)?;
            *number = i64::try_from(value * sign).or_else(|_| fault("date value out of range"))?;
        }
    }
    let [years, months, weeks, days, hours, minutes, seconds, micros] = numbers;
    let span = || {
        let face = Span::new().try_years(years)?.try_months(months)?.try_weeks(weeks)?.try_days(days)?;
        face.try_hours(hours)?.try_minutes(minutes)?.try_seconds(seconds)?.try_microseconds(micros)
    };
    let span: Span = span().or_else(out_of_range)?;
    let moves_face = [years, months, weeks, days].iter().any(|number| *number != 0);
    match &time.at {
        At::Aware(own) if !moves_face => Ok(DateTime {
            at: At::Aware(own.checked_add(span).or_else(out_of_range)?),
            pendulum: time.pendulum,
        }),
        _ => time.with(time.civil().checked_add(span).or_else(out_of_range)?),
    }
}

/// The first or the last moment of the year, month, week, day, hour, minute or second around a time.
fn edge(time: civil::DateTime, unit: &str, end: bool) -> Result<civil::DateTime> {
    let date = time.date();
    let days = |days: i8| date.checked_add(Span::new().days(days)).or_else(out_of_range);
    let monday = date.weekday().to_monday_zero_offset();
    let (date, from_clock) = match unit {
        "year" if end => (date.last_of_year(), 0),
        "year" => (date.first_of_year(), 0),
        "month" if end => (date.last_of_month(), 0),
        "month" => (date.first_of_month(), 0),
        "week" if end => (days(6 - monday)?, 0),
        "week" => (days(-monday)?, 0),
        "day" => (date, 0),
        "hour" => (date, 1),
        "minute" => (date, 2),
        "second" => (date, 3),
        other => return fault(format!("the unit '{other}' is not supported")),
    };
    let part = |place, own, last| {
        if from_clock > place {
            own
        } else if end {
            last
        } else {
            0
        }
    };
    let (hour, minute) = (part(0, time.hour(), 23), part(1, time.minute(), 59));
    let nanos = if end { 999_999_000 } else { 0 };
    Ok(date.at(hour, minute, part(2, time.second(), 59), nanos))
}
