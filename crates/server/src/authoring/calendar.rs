//! Calendar files: the all-day events of an iCalendar file (RFC 5545, `.ics`), as days.
//!
//! What is read is what calendars of holidays have: `VEVENT`s whose `DTSTART` is a date, for as long as
//! `DTEND` or `DURATION` say, repeated by `RRULE` and `RDATE`, without what `EXDATE` takes out, with single
//! ones moved by `RECURRENCE-ID`, and without those whose `STATUS` is `CANCELLED`. An event from midnight to
//! midnight without a zone that could move it (as Outlook writes all-day events) counts as well. One with a
//! time of day is passed over, which is told. What would change the days and can't be read is an error.
//!
//! It is our own, since days need neither clocks nor zones: the crates that follow such rules (`rrule`,
//! `calcard`, `icalendar`) all do it with chrono-tz, a second database of time zones in the program. The
//! days are compared with those of Python's `recurring-ical-events` (`tests/oracle/calendar`).

mod event;
mod lines;
mod recurrence;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use updraft_core::schedule::{Days, Span};

use self::{
    event::{Event, Status},
    lines::Line,
    recurrence::Budget,
};

/// Days before this are left out: no schedule looks back so far.
const FIRST: Date = date(1970, 1, 1);
/// Rules without an end are followed to this day.
const LAST: Date = date(2099, 12, 31);

/// What a file came to.
#[derive(Debug)]
pub(super) struct Calendar {
    pub days: Days,
    /// How many events have a time of day.
    pub timed: usize,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(super) struct BadCalendar {
    /// From 1.
    pub line: u32,
    /// What, and the mend.
    pub message: String,
}

impl BadCalendar {
    fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Calendar, BadCalendar> {
    let mut timed = 0;
    let mut events = Vec::new();
    for lines in components(text)? {
        match Event::read(&lines)? {
            Some(event) => events.push(event),
            None => timed += 1,
        }
    }
    // What another event moves or cancels is not where its rule puts it.
    let mut moved: BTreeMap<&str, BTreeSet<Date>> = BTreeMap::new();
    for event in &events {
        if let Some(instead_of) = event.recurrence_id {
            moved.entry(&event.uid).or_default().insert(instead_of);
        }
    }
    let mut budget = Budget::default();
    let mut spans: Vec<Span> = Vec::new();
    let none = BTreeSet::new();
    for event in events.iter().filter(|event| event.status != Status::Cancelled) {
        let moved = if event.recurrence_id.is_some() { None } else { moved.get(&*event.uid) };
        let starts = event.starts(moved.unwrap_or(&none), &mut budget)?;
        spans.extend(starts.into_iter().filter_map(|start| {
            let last = start.checked_add(jiff::Span::new().days(event.length - 1)).ok()?;
            (last >= FIRST).then(|| Span::new(start.max(FIRST), last))?
        }));
    }
    Ok(Calendar { days: spans.into_iter().collect(), timed })
}

/// The lines of each event.
fn components(text: &str) -> Result<Vec<Vec<Line>>, BadCalendar> {
    let mut events = Vec::new();
    let mut open: Vec<(String, u32)> = Vec::new();
    let mut event = Vec::new();
    let mut was_calendar = false;
    for line in lines::read(text) {
        let line = line?;
        let is_event = open.last().is_some_and(|(name, _)| name == "VEVENT");
        match &*line.name {
            "BEGIN" => open.push((line.value.to_ascii_uppercase(), line.number)),
            "END" => {
                let name = line.value.to_ascii_uppercase();
                match open.pop() {
                    Some((opened, _)) if opened == name => {}
                    Some((opened, at)) => {
                        let message = format!("END:{name} where END:{opened} has to stand, for line {at}");
                        return Err(BadCalendar::new(line.number, message));
                    }
                    None => {
                        let message = format!("END:{name} without a BEGIN:{name} before it");
                        return Err(BadCalendar::new(line.number, message));
                    }
                }
                if is_event {
                    event.push(line);
                    events.push(std::mem::take(&mut event));
                }
            }
            _ if open.is_empty() => {
                let message = "this is no iCalendar file: it has to begin with BEGIN:VCALENDAR";
                return Err(BadCalendar::new(line.number, message));
            }
            // What is within an event, as its alarms are, says nothing about its days.
            _ if is_event => event.push(line),
            _ => {}
        }
        was_calendar |= open.first().is_some_and(|(name, _)| name == "VCALENDAR");
    }
    match open.pop() {
        Some((name, at)) => {
            Err(BadCalendar::new(at, format!("BEGIN:{name} without an END:{name}: was the file cut short?")))
        }
        None if was_calendar => Ok(events),
        None => Err(BadCalendar::new(1, "this is no iCalendar file: it has to begin with BEGIN:VCALENDAR")),
    }
}

#[cfg(test)]
mod tests;
