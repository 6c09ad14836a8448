//! One event: on which days it begins, and how long it lasts.

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};

use super::{
    BadCalendar, LAST,
    lines::Line,
    recurrence::{Budget, Rule},
};

/// Whether it takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Confirmed,
    Cancelled,
}

/// An all-day event.
#[derive(Debug)]
pub(super) struct Event {
    pub uid: String,
    /// The first day.
    start: Date,
    /// Of each occurrence, in days; 1 or more.
    pub length: i64,
    pub status: Status,
    /// The day of the occurrence of the same event that it stands for.
    pub recurrence_id: Option<Date>,
    rules: Vec<(u32, Rule)>,
    more: Vec<Date>,
    without: BTreeSet<Date>,
}

/// A date, or a date and time; the time where it has one, and whether that is one of UTC.
type Moment = (Date, Option<(Time, bool)>);

impl Event {
    /// Reads an event; `None` where it has a time of day. The last of the lines is its end.
    pub fn read(lines: &[Line]) -> Result<Option<Self>, BadCalendar> {
        let find = |name: &str| lines.iter().find(|line| line.name == name);
        let all = |name: &'static str| lines.iter().filter(move |line| line.name == name);
        let Some(start_line) = find("DTSTART") else {
            let at = lines.last().map_or(1, |end| end.number);
            return Err(BadCalendar::new(at, "this event has no DTSTART: add the day on which it begins"));
        };
        let start = moment(start_line, &start_line.value)?;
        let end = find("DTEND").map(|line| Ok((line, moment(line, &line.value)?))).transpose()?;
        if !is_day(start) || end.is_some_and(|(_, end)| !is_day(end)) {
            return Ok(None);
        }
        let (start, _) = start;
        let length = match (end, find("DURATION")) {
            (Some((line, (end, _))), _) => {
                let length = i64::from((end - start).get_days());
                // RFC 5545 wants a later day; that of the start is written by some for one day.
                if length < 0 {
                    return Err(line.wrong(format!("{end} is before the DTSTART, {start}")));
                }
                length.max(1)
            }
            (None, Some(line)) => days(line)?,
            (None, None) => 1,
        };
        if let Some(line) = find("EXRULE") {
            return Err(line.wrong("such rules are no part of RFC 5545 any more: write EXDATE"));
        }
        let recurrence_id = find("RECURRENCE-ID").map(|line| match line.parameter("RANGE") {
            Some(_) => {
                Err(line.wrong("RANGE can't be read: end the first event's rule, and write another event"))
            }
            None => Ok(moment(line, &line.value)?.0),
        });
        let dates = |name| {
            let each = |line: &Line| -> Vec<Result<Date, BadCalendar>> {
                line.value.split(',').map(|value| Ok(moment(line, value)?.0)).collect()
            };
            all(name).flat_map(each).collect::<Result<Vec<Date>, _>>()
        };
        let rules = all("RRULE").map(|line| Ok((line.number, Rule::read(line, start)?)));
        let is_cancelled = find("STATUS").is_some_and(|line| line.value.eq_ignore_ascii_case("CANCELLED"));
        Ok(Some(Self {
            uid: find("UID").map(|line| line.value.clone()).unwrap_or_default(),
            start,
            length,
            status: if is_cancelled { Status::Cancelled } else { Status::Confirmed },
            recurrence_id: recurrence_id.transpose()?,
            rules: rules.collect::<Result<_, _>>()?,
            more: dates("RDATE")?,
            without: dates("EXDATE")?.into_iter().collect(),
        }))
    }

    /// The days on which it begins, without those that are moved.
    pub fn starts(&self, moved: &BTreeSet<Date>, budget: &mut Budget) -> Result<BTreeSet<Date>, BadCalendar> {
        let mut starts = BTreeSet::from([self.start]);
        starts.extend(&self.more);
        if self.recurrence_id.is_none() {
            for (line, rule) in &self.rules {
                let too_many =
                    "RRULE: to follow this file's rules takes more than two million days: end them by UNTIL";
                let days = rule.days(self.start, LAST, budget);
                starts.extend(days.ok_or_else(|| BadCalendar::new(*line, too_many))?);
            }
        }
        starts.retain(|start| !self.without.contains(start) && !moved.contains(start));
        Ok(starts)
    }
}

/// Whether it is a day or the midnight between two, with no zone that would make another of it elsewhere.
fn is_day((_, time): Moment) -> bool {
    time.is_none_or(|(time, is_utc)| time == Time::midnight() && !is_utc)
}

/// `20261224`, `20261224T180000` or `20261224T180000Z`.
pub(super) fn moment(line: &Line, value: &str) -> Result<Moment, BadCalendar> {
    let wrong = || line.wrong(format!("`{}` is no date: write it as 20261224", shorten(value)));
    let value = value.trim();
    // A period begins with its start.
    let value = value.split_once('/').map_or(value, |(start, _)| start);
    let (day, time) = value.split_once(['T', 't']).map_or((value, None), |(day, time)| (day, Some(time)));
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(day, 8) {
        return Err(wrong());
    }
    let number = |text: &str| text.parse::<i16>().map_err(|_| wrong());
    let small = |text: &str| text.parse::<i8>().map_err(|_| wrong());
    let date = Date::new(number(&day[..4])?, small(&day[4..6])?, small(&day[6..])?).map_err(|_| wrong())?;
    let Some(time) = time else { return Ok((date, None)) };
    let (clock, is_utc) = time.strip_suffix(['Z', 'z']).map_or((time, false), |clock| (clock, true));
    if !digits(clock, 6) {
        return Err(wrong());
    }
    // A leap second is written as 60.
    let second = small(&clock[4..])?.min(59);
    let time = Time::new(small(&clock[..2])?, small(&clock[2..4])?, second, 0).map_err(|_| wrong())?;
    Ok((date, Some((time, is_utc))))
}

/// `P2D` or `P1W`: what a duration of whole days can be.
fn days(line: &Line) -> Result<i64, BadCalendar> {
    let value = line.value.trim_start_matches('+');
    let length = value.strip_prefix('P').and_then(|rest| {
        let (number, per) = match rest.strip_suffix('D') {
            Some(days) => (days, 1),
            None => (rest.strip_suffix('W')?, 7),
        };
        Some(i64::from(number.parse::<u16>().ok()?) * per)
    });
    let length = length.filter(|length| *length > 0);
    length
        .ok_or_else(|| line.wrong(format!("`{}` are no whole days: write P2D, or P1W", shorten(&line.value))))
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
