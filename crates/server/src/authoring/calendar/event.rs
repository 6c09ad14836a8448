//! One event: on which days it begins, and how long it lasts.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time};

use super::{
    BadCalendar, LAST,
    clock::Clocks,
    lines::Line,
    recurrence::{Budget, Rule},
};

/// Whether it takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Confirmed,
    Cancelled,
}

/// An event.
#[derive(Debug)]
pub(super) struct Event {
    pub uid: String,
    /// The zone on whose clock it begins, where it has one, as the file names it.
    pub zone: Option<String>,
    /// Which occurrence of the same event it stands for (`RECURRENCE-ID`).
    pub replaces: Option<Line>,
    /// `None` where it has a time of day.
    pub all_day: Option<AllDay>,
}

/// The days of an event.
#[derive(Debug)]
pub(super) struct AllDay {
    /// The first day.
    start: Date,
    /// Of each occurrence, in days; 1 or more.
    pub length: i64,
    pub status: Status,
    /// None where it stands for another's occurrence: then it comes once.
    rules: Vec<(u32, Rule)>,
    more: Vec<Date>,
    without: BTreeSet<Date>,
}

impl Event {
    /// Reads an event. The last of the lines is its end.
    pub fn read(lines: &[Line], clocks: &mut Clocks) -> Result<Self, BadCalendar> {
        let Some(start_line) = find(lines, "DTSTART") else {
            let at = lines.last().map_or(1, |end| end.number);
            return Err(BadCalendar::new(at, "this event has no DTSTART: add the day on which it begins"));
        };
        let start = Moment::read(start_line, &start_line.value)?;
        let zone = start_line.parameter("TZID");
        let all_day = if start.is_day() { AllDay::read(lines, start, zone, clocks)? } else { None };
        Ok(Self {
            uid: find(lines, "UID").map(|line| line.value.clone()).unwrap_or_default(),
            zone: zone.map(str::to_owned),
            replaces: find(lines, "RECURRENCE-ID").cloned(),
            all_day,
        })
    }
}

impl AllDay {
    /// Reads the days of an event that begins with one; `None` where it has a time of day all the same.
    fn read(
        lines: &[Line],
        start: Moment,
        zone: Option<&str>,
        clocks: &mut Clocks,
    ) -> Result<Option<Self>, BadCalendar> {
        let Some(length) = length(lines, start, zone, clocks)? else { return Ok(None) };
        if let Some(line) = find(lines, "EXRULE") {
            return Err(line.wrong("such rules are no part of RFC 5545 any more: write EXDATE"));
        }
        let start = start.date();
        let mut rules = Vec::new();
        let comes_once = find(lines, "RECURRENCE-ID").is_some();
        for line in all(lines, "RRULE").filter(|_| !comes_once) {
            let rule = Rule::read(line, start, |until| clocks.day(line, until, zone))?;
            rules.push((line.number, rule));
        }
        let mut dates = |name| {
            let mut dates = Vec::new();
            for line in all(lines, name) {
                for value in line.value.split(',') {
                    dates.push(clocks.day(line, Moment::read(line, value)?, zone)?);
                }
            }
            Ok(dates)
        };
        let is_cancelled =
            find(lines, "STATUS").is_some_and(|line| line.value.eq_ignore_ascii_case("CANCELLED"));
        Ok(Some(Self {
            start,
            length,
            status: if is_cancelled { Status::Cancelled } else { Status::Confirmed },
            rules,
            more: dates("RDATE")?,
            without: dates("EXDATE")?.into_iter().collect(),
        }))
    }

    /// The days on which it begins, without those that are moved.
    pub fn starts(&self, moved: &BTreeSet<Date>, budget: &mut Budget) -> Result<BTreeSet<Date>, BadCalendar> {
        let mut starts = BTreeSet::from([self.start]);
        starts.extend(&self.more);
        for (line, rule) in &self.rules {
            let days = rule.days(self.start, LAST, budget);
            starts.extend(days.ok_or_else(|| Budget::spent(*line))?);
        }
        starts.retain(|start| !self.without.contains(start) && !moved.contains(start));
        Ok(starts)
    }
}

/// How many days an event lasts; `None` where it does not end with one.
fn length(
    lines: &[Line],
    start: Moment,
    zone: Option<&str>,
    clocks: &mut Clocks,
) -> Result<Option<i64>, BadCalendar> {
    if let Some(line) = find(lines, "DTEND") {
        let end = clocks.local(line, Moment::read(line, &line.value)?, zone)?;
        if !end.is_day() {
            return Ok(None);
        }
        let (start, end) = (start.date(), end.date());
        let length = i64::from((end - start).get_days());
        // RFC 5545 wants a later day; that of the start is written by some for one day.
        if length < 0 {
            return Err(line.wrong(format!("{end} is before the DTSTART, {start}")));
        }
        return Ok(Some(length.max(1)));
    }
    let Some(line) = find(lines, "DURATION") else { return Ok(Some(1)) };
    let (whole, rest) = days(line)?;
    match start {
        _ if whole > 0 && rest == 0 => Ok(Some(whole)),
        // An appointment at midnight.
        Moment::Local(_) | Moment::Utc(_) => Ok(None),
        Moment::Day(_) => {
            let shown = shorten(&line.value);
            Err(line.wrong(format!("`{shown}` are no whole days: write P2D, or P1W")))
        }
    }
}

fn find<'a>(lines: &'a [Line], name: &str) -> Option<&'a Line> {
    lines.iter().find(|line| line.name == name)
}

fn all<'a>(lines: &'a [Line], name: &'a str) -> impl Iterator<Item = &'a Line> {
    lines.iter().filter(move |line| line.name == name)
}

/// A date, or a date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Day(Date),
    /// On the clock of a zone, or on that of whoever reads it.
    Local(DateTime),
    Utc(DateTime),
}

impl Moment {
    /// `20261224`, `20261224T180000` or `20261224T180000Z`.
    pub fn read(line: &Line, value: &str) -> Result<Self, BadCalendar> {
        let wrong = || line.wrong(format!("`{}` is no date: write it as 20261224", shorten(value)));
        let value = value.trim();
        // A period begins with its start.
        let value = value.split_once('/').map_or(value, |(start, _)| start);
        let (day, time) = value.split_once(['T', 't']).map_or((value, None), |(day, time)| (day, Some(time)));
        let digits =
            |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(day, 8) {
            return Err(wrong());
        }
        let number = |text: &str| text.parse::<i16>().map_err(|_| wrong());
        let small = |text: &str| text.parse::<i8>().map_err(|_| wrong());
        let date =
            Date::new(number(&day[..4])?, small(&day[4..6])?, small(&day[6..])?).map_err(|_| wrong())?;
        let Some(time) = time else { return Ok(Self::Day(date)) };
        let (clock, is_utc) = time.strip_suffix(['Z', 'z']).map_or((time, false), |clock| (clock, true));
        if !digits(clock, 6) {
            return Err(wrong());
        }
        // A leap second is written as 60.
        let second = small(&clock[4..])?.min(59);
        let time = Time::new(small(&clock[..2])?, small(&clock[2..4])?, second, 0).map_err(|_| wrong())?;
        let time = date.to_datetime(time);
        Ok(if is_utc { Self::Utc(time) } else { Self::Local(time) })
    }

    pub fn date(self) -> Date {
        match self {
            Self::Day(date) => date,
            Self::Local(time) | Self::Utc(time) => time.date(),
        }
    }

    /// Whether it is a day or the midnight between two, where it is said on whose clock.
    fn is_day(self) -> bool {
        match self {
            Self::Day(_) => true,
            Self::Local(time) => time.time() == Time::midnight(),
            Self::Utc(_) => false,
        }
    }
}

/// How many days a duration has, and how many seconds beside: `P2D`, `P1W`, `PT36H` (RFC 5545, 3.3.6).
fn days(line: &Line) -> Result<(i64, i64), BadCalendar> {
    let wrong = || {
        let shown = shorten(&line.value);
        line.wrong(format!("`{shown}` is no duration: write P2D, or P1W"))
    };
    let span = line.value.trim_start_matches('+').strip_prefix(['P', 'p']).map(|rest| format!("P{rest}"));
    let span: jiff::Span = span.and_then(|span| span.parse().ok()).ok_or_else(wrong)?;
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let seconds = (i64::from(span.get_hours()) * 60 + span.get_minutes()) * 60 + span.get_seconds();
    // Nothing has months, and no holiday lasts for a century.
    if span.get_years() != 0 || span.get_months() != 0 || days + seconds / 86_400 > 36_525 {
        return Err(wrong());
    }
    Ok((days + seconds / 86_400, seconds % 86_400))
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
