//! The components of an iCalendar file: what stands between a `BEGIN` and its `END` (RFC 5545, 3.6).

use std::collections::BTreeMap;

use super::{
    BadCalendar,
    lines::{self, Line},
};

/// What a file has for us.
#[derive(Debug, Default)]
pub(super) struct Components {
    /// The lines of each event. The last of them is its end.
    pub events: Vec<Vec<Line>>,
    /// By the name that events call it, the lines of each of a zone's observances.
    pub zones: BTreeMap<String, Vec<Vec<Line>>>,
}

/// One that has begun.
struct Open {
    name: String,
    /// The line on which it begins.
    at: u32,
    lines: Vec<Line>,
}

/// What is read of events and zones. The other lines, of which a file may have millions, are not kept.
const READ: [&str; 14] = [
    "UID",
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "EXRULE",
    "RDATE",
    "EXDATE",
    "RECURRENCE-ID",
    "STATUS",
    "END",
    "TZID",
    "TZOFFSETFROM",
    "TZOFFSETTO",
];

impl Components {
    /// The components of a text.
    pub fn read(text: &str) -> Result<Self, BadCalendar> {
        let mut found = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let mut observances = Vec::new();
        let mut was_calendar = false;
        for line in lines::read(text) {
            let line = line?;
            match &*line.name {
                "BEGIN" => {
                    let name = line.value.to_ascii_uppercase();
                    open.push(Open { name, at: line.number, lines: Vec::new() });
                }
                "END" => found.close(ended(line, open.pop())?, &mut observances),
                _ if open.is_empty() => return Err(no_calendar(line.number)),
                // What is within an event, as its alarms are, says nothing about its days.
                name => {
                    if let Some(inner) = open.last_mut().filter(|_| READ.contains(&name)) {
                        inner.lines.push(line);
                    }
                }
            }
            was_calendar |= open.first().is_some_and(|outer| outer.name == "VCALENDAR");
        }
        match open.pop() {
            Some(Open { name, at, .. }) => Err(BadCalendar::new(
                at,
                format!("BEGIN:{name} without an END:{name}: was the file cut short?"),
            )),
            None if was_calendar => Ok(found),
            None => Err(no_calendar(1)),
        }
    }

    fn close(&mut self, ended: Open, observances: &mut Vec<Vec<Line>>) {
        match &*ended.name {
            "VEVENT" => self.events.push(ended.lines),
            "STANDARD" | "DAYLIGHT" => observances.push(ended.lines),
            "VTIMEZONE" => {
                let observances = std::mem::take(observances);
                if let Some(name) = ended.lines.into_iter().find(|line| line.name == "TZID") {
                    self.zones.insert(name.value, observances);
                }
            }
            _ => {}
        }
    }
}

/// The component that a line ends, which is its last.
fn ended(line: Line, open: Option<Open>) -> Result<Open, BadCalendar> {
    let name = line.value.to_ascii_uppercase();
    match open {
        Some(mut open) if open.name == name => {
            open.lines.push(line);
            Ok(open)
        }
        Some(Open { name: opened, at, .. }) => {
            let message = format!("END:{name} where END:{opened} has to stand, for line {at}");
            Err(BadCalendar::new(line.number, message))
        }
        None => Err(BadCalendar::new(line.number, format!("END:{name} without a BEGIN:{name} before it"))),
    }
}

fn no_calendar(line: u32) -> BadCalendar {
    BadCalendar::new(line, "this is no iCalendar file: it has to begin with BEGIN:VCALENDAR")
}
