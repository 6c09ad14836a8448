//! Dates of a DAG, as dag-factory reads them: the clock's time as written, in the zone beside it.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, ISOWeekDate, Time, Weekday},
    tz::TimeZone,
};

use super::{
    field::{Got, Noted, text},
    node::{Node, Value},
    problem::Problems,
};

/// The zone of that name.
pub(super) fn zone(node: &Node, problems: &mut Problems) -> Got<TimeZone> {
    let Some(name) = text(node, problems)? else { return Ok(None) };
    match TimeZone::get(&name) {
        Ok(zone) => Ok(Some(zone)),
        Err(_) => {
            let message = format!("there is no time zone `{name}`: write an IANA name, like `Europe/Berlin`");
            problems.error(node.place, message);
            Err(Noted)
        }
    }
}

/// A date, a date and time, or so long before today (`2 days`).
pub(super) fn instant(
    node: &Node,
    zone: &TimeZone,
    now: Timestamp,
    problems: &mut Problems,
) -> Got<Timestamp> {
    let (time, had_offset) = match &node.value {
        Value::Null => return Ok(None),
        Value::Date(date) => (Some(date.at(0, 0, 0, 0)), false),
        Value::DateTime(time, offset) => {
            let own = offset.and_then(|offset| offset.to_timestamp(*time).ok());
            let read = time.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).ok();
            (Some(*time), own.is_some() && own != read)
        }
        Value::Text(text) => match written(text) {
            Some((time, had_offset)) => (Some(time), had_offset),
            None => (of_month(text).or_else(|| before_today(text, zone, now)), false),
        },
        _ => (None, false),
    };
    let Some(time) = time else {
        let message = format!(
            "expected a date (`2026-01-31`, `2026-01-31T06:00:00`, or `2 days` for so long before today), \
             found {}",
            node.kind()
        );
        problems.error(node.place, message);
        return Err(Noted);
    };
    if had_offset {
        let message =
            "the offset here has no effect, as in dag-factory: the time is read in `timezone` (or UTC)";
        problems.warn(node.place, message);
    }
    match time.to_zoned(zone.clone()) {
        Ok(zoned) => Ok(Some(zoned.timestamp())),
        Err(_) => {
            problems.error(node.place, format!("the date {time} is out of range"));
            Err(Noted)
        }
    }
}

/// Whether this reads as a date by itself; what counts from today does not.
pub(super) fn is_written(node: &Node) -> bool {
    match &node.value {
        Value::Date(_) | Value::DateTime(..) => true,
        Value::Text(text) => written(text).is_some(),
        _ => false,
    }
}

/// A date as text, and whether it had an offset.
fn written(text: &str) -> Option<(DateTime, bool)> {
    if !text.is_ascii() || text.len() < 7 {
        return None;
    }
    let separator = text.as_bytes()[4];
    let text = if separator == b'/' { text.replace('/', "-") } else { text.to_owned() };
    let (date, clock) = text.split_at(text.find(['T', ' ']).unwrap_or(text.len()));
    let text = match of_week(date).or_else(|| of_year(date)) {
        Some(date) => format!("{date}{clock}"),
        None => text,
    };
    let without_z = text.strip_suffix('Z').unwrap_or(&text);
    let time: DateTime = without_z.parse().ok()?;
    let clock = text.get(10..).unwrap_or_default();
    Some((time, text.ends_with('Z') || clock.contains(['+', '-'])))
}

/// The beginning of a month, `2024-01`, or of a year, which pendulum reads for dag-factory.
fn of_month(text: &str) -> Option<DateTime> {
    let (year, month) = text.split_once('-').unwrap_or((text, "01"));
    let is_number =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(year, 4) || !is_number(month, 2) {
        return None;
    }
    Some(Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?.at(0, 0, 0, 0))
}

/// A day of a week of ISO 8601, likewise: `2024-W05-1`, or `2024-W05` for its Monday.
fn of_week(text: &str) -> Option<Date> {
    let (year, week) = text.split_once("-W").or_else(|| text.split_once('W'))?;
    let (week, day) = week.split_at_checked(2)?;
    let day = day.strip_prefix('-').unwrap_or(day);
    let day = if day.is_empty() { 1 } else { day.parse().ok()? };
    let day = Weekday::from_monday_one_offset(day).ok()?;
    Some(ISOWeekDate::new(year.parse().ok()?, week.parse().ok()?, day).ok()?.date())
}

/// A day of a year, likewise: `2024-032`.
fn of_year(text: &str) -> Option<Date> {
    let (year, day) = text.split_once('-').filter(|(year, day)| year.len() == 4 && day.len() == 3)?;
    let first = Date::new(year.parse().ok()?, 1, 1).ok()?;
    first.with().day_of_year(day.parse().ok()?).build().ok()
}

/// dag-factory's relative dates: hours, minutes, seconds or days, back from the beginning of today. What
/// follows the unit is not looked at.
fn before_today(text: &str, zone: &TimeZone, now: Timestamp) -> Option<DateTime> {
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, rest) = text.split_at(end);
    let number: i64 = number.parse().ok()?;
    let unit = rest.trim_start();
    if unit.len() == rest.len() {
        return None;
    }
    let unit = unit.to_ascii_lowercase();
    let today = zone.to_datetime(now).with().time(Time::midnight()).build().ok()?;
    if unit.starts_with("day") {
        return today.checked_sub(jiff::Span::new().try_days(number).ok()?).ok();
    }
    let seconds = if unit.starts_with("hour") {
        number.checked_mul(3600)?
    } else if unit.starts_with("minute") {
        number.checked_mul(60)?
    } else if unit.starts_with("second") {
        number
    } else {
        return None;
    };
    today.checked_sub(SignedDuration::from_secs(seconds)).ok()
}
