//! Calendar files: the all-day events of an iCalendar file (RFC 5545, `.ics`), as days.
//!
//! What is read is what calendars of holidays have: `VEVENT`s whose `DTSTART` is a date, for as long as
//! `DTEND` or `DURATION` say, repeated by `RRULE` and `RDATE`, without what `EXDATE` takes out, with single
//! ones moved by `RECURRENCE-ID`, and without those whose `STATUS` is `CANCELLED`. An event from midnight to
//! midnight on the clock of its zone (as Outlook writes all-day events) counts as well; what it says in UTC, as
//! `UNTIL`, lies on the day that this clock shows. One with a time of day is passed over, which is told. What
//! would change the days and can't be read is an error.
//!
//! It is our own: the crates that follow such rules (`rrule`, `calcard`, `icalendar`) all do it with chrono-tz,
//! a second database of time zones in the program. The days are compared with those of Python's
//! `recurring-ical-events` (`tests/oracle/calendar`).

mod clock;
mod components;
mod event;
mod lines;
mod recurrence;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::civil::{Date, date};
use updraft_core::schedule::{Days, Span};

use self::{
    clock::Clocks,
    components::Components,
    event::{Event, Moment, Status},
    recurrence::Budget,
};

/// Days before this are left out: no schedule looks back so far.
const FIRST: Date = date(1970, 1, 1);
/// Rules without an end are followed to this day.
const LAST: Date = date(2099, 12, 31);
/// A file has so many bytes at most: calendars of a country's holidays for decades have some 100,000.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// What a file came to.
#[derive(Debug)]
pub(super) struct Calendar {
    pub days: Days,
    /// How many events have a time of day.
    pub timed: usize,
}

/// A calendar that several DAGs may have, or what is wrong with its file.
pub(super) type Shared = Arc<Result<Calendar, BadCalendar>>;

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
    let Components { events, zones } = Components::read(text)?;
    let mut clocks = Clocks::new(zones);
    let events = events.iter().map(|lines| Event::read(lines, &mut clocks));
    let events = events.collect::<Result<Vec<Event>, _>>()?;
    let moved = moved(&events, &mut clocks)?;
    let mut budget = Budget::default();
    let mut spans: Vec<Span> = Vec::new();
    let none = BTreeSet::new();
    for event in &events {
        let Some(all_day) = event.all_day.as_ref().filter(|all_day| all_day.status != Status::Cancelled)
        else {
            continue;
        };
        let moved = if event.replaces.is_some() { None } else { moved.get(&*event.uid) };
        let starts = all_day.starts(moved.unwrap_or(&none), &mut budget)?;
        spans.extend(starts.into_iter().filter_map(|start| {
            let last = start.checked_add(jiff::Span::new().days(all_day.length - 1)).ok()?;
            (last >= FIRST).then(|| Span::new(start.max(FIRST), last))?
        }));
    }
    let timed = events.iter().filter(|event| event.all_day.is_none()).count();
    Ok(Calendar { days: spans.into_iter().collect(), timed })
}

/// The days of events on which another takes the place of an occurrence, which may be one with a time of day: it is
/// not where the event's rule puts it.
fn moved<'a>(
    events: &'a [Event],
    clocks: &mut Clocks,
) -> Result<BTreeMap<&'a str, BTreeSet<Date>>, BadCalendar> {
    let is_first = |event: &&Event| event.all_day.is_some() && event.replaces.is_none();
    let zones = events.iter().filter(is_first).map(|event| (&*event.uid, event.zone.as_deref()));
    let zones: BTreeMap<&str, Option<&str>> = zones.collect();
    let mut moved: BTreeMap<&str, BTreeSet<Date>> = BTreeMap::new();
    for event in events {
        let Some(line) = &event.replaces else { continue };
        let zone = zones.get(&*event.uid);
        // That of an event with a time of day does not matter here.
        if event.all_day.is_none() && zone.is_none() {
            continue;
        }
        if line.parameter("RANGE").is_some() {
            let mend = "RANGE can't be read: end the first event's rule, and write another event";
            return Err(line.wrong(mend));
        }
        let zone = zone.copied().flatten().or(event.zone.as_deref());
        let day = clocks.day(line, Moment::read(line, &line.value)?, zone)?;
        moved.entry(&event.uid).or_default().insert(day);
    }
    Ok(moved)
}

#[cfg(test)]
mod tests;
