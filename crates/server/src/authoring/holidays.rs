//! `holidays`: the days on which a DAG's schedule makes no runs, one by one or from calendar files.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};
use updraft_core::schedule::{Days, Holidays, Schedule, Span, Zone};

use super::{
    calendar,
    field::{Got, Noted, wrong},
    node::{Entry, Node, Value, shortened},
    problem::Problems,
};

/// Files that lie beside a document, by the document's place in [`super::problem::Documents`] and the
/// file's name there. What is told of one that can't be had follows its name.
pub(super) trait Files {
    /// The text of one.
    fn text(&self, document: u16, name: &str) -> Result<String, String>;

    /// What one is as a calendar.
    fn calendar(&self, document: u16, name: &str) -> Result<calendar::Shared, String>;

    /// Whether the DAG file's folder lacks one; where it is none, nothing is known to be missing.
    fn is_missing(&self, name: &Path) -> bool;
}

/// Those beside the document that is read.
pub(super) type Beside<'a> = dyn Files + 'a;

/// Those of a document that lies in no folder.
pub(super) struct NoFiles;

impl NoFiles {
    const WHY: &str = "can't be had: a document that lies in no folder has no files beside it";
}

impl Files for NoFiles {
    fn text(&self, _: u16, _: &str) -> Result<String, String> {
        Err(Self::WHY.into())
    }

    fn calendar(&self, _: u16, _: &str) -> Result<calendar::Shared, String> {
        Err(Self::WHY.into())
    }

    fn is_missing(&self, _: &Path) -> bool {
        false
    }
}

const EXPECTED: &str =
    "a day (`2026-12-25`, `2026-12-24/2026-12-26`), a calendar file (`holidays.ics`) or a list of such";
/// What a DAG keeps is copied into each of its versions.
const MOST_SPANS: usize = 20_000;

/// A schedule without the ticks on the DAG's holidays. `clock` is the DAG's zone, which counts where the schedule has
/// none of its own.
pub(super) fn without(
    schedule: Schedule,
    entry: &Entry,
    clock: &TimeZone,
    now: Timestamp,
    beside: &Beside<'_>,
    problems: &mut Problems,
) -> Schedule {
    let node = &entry.node;
    let Ok(Some(days)) = read(node, beside, problems) else { return schedule };
    let zone = match &schedule {
        Schedule::CronTrigger { zone, .. } | Schedule::CronDataInterval { zone, .. } => zone.clone(),
        Schedule::DeltaTrigger { .. } | Schedule::DeltaDataInterval { .. } | Schedule::ListOfTimes { .. } => {
            clock.iana_name().and_then(|name| Zone::new(name).ok()).unwrap_or(Zone::UTC)
        }
        _ => {
            problems.warn(entry.key_place, "holidays have no effect on a schedule that names no times");
            return schedule;
        }
    };
    match days.spans().last() {
        None => return schedule,
        Some(last) if last.last() < clock.to_datetime(now).date() => {
            let message =
                format!("the last of these holidays, {}, has passed: add those to come", last.last());
            problems.warn(node.place, message);
        }
        Some(_) => {}
    }
    if days.spans().len() > MOST_SPANS {
        let message = format!("holidays are {MOST_SPANS} at most: write what comes every week into the cron");
        problems.error(node.place, message);
        return schedule;
    }
    Schedule::WithHolidays { schedule: Box::new(schedule), holidays: Holidays::new(zone, days) }
}

fn read(node: &Node, beside: &Beside<'_>, problems: &mut Problems) -> Got<Days> {
    let one = std::slice::from_ref(node);
    let items = match &node.value {
        Value::Null => return Ok(None),
        Value::List(list) => &list.items[..],
        _ => one,
    };
    let mut spans: Vec<Span> = Vec::new();
    let mut is_wrong = false;
    for item in items {
        match entry(item, beside, problems) {
            Ok(days) => spans.extend(days.into_iter().flat_map(|days| days.spans().to_vec())),
            Err(Noted) => is_wrong = true,
        }
    }
    if is_wrong { Err(Noted) } else { Ok(Some(spans.into())) }
}

fn entry(node: &Node, beside: &Beside<'_>, problems: &mut Problems) -> Got<Days> {
    match &node.value {
        Value::Date(date) => Ok(Some(Days::from(vec![Span::from(*date)]))),
        Value::Text(text) if text.to_ascii_lowercase().ends_with(".ics") => {
            file(text, node, beside, problems).map(Some)
        }
        Value::Text(text) => match text.parse::<Span>() {
            Ok(span) => Ok(Some(Days::from(vec![span]))),
            Err(_) => wrong(node, EXPECTED, problems),
        },
        _ => wrong(node, EXPECTED, problems),
    }
}

fn file(name: &str, node: &Node, beside: &Beside<'_>, problems: &mut Problems) -> Result<Days, Noted> {
    let shown = shortened(name);
    let calendar = beside.calendar(node.place.document, name).map_err(|reason| {
        problems.error(node.place, format!("the calendar file `{shown}` {reason}"));
        Noted
    })?;
    let calendar = calendar.as_ref().as_ref().map_err(|error| {
        problems.error(node.place, format!("the calendar file `{shown}`, {error}"));
        Noted
    })?;
    let timed = calendar.timed;
    let message = match (calendar.days.spans().is_empty(), timed) {
        (false, 0) => None,
        (false, _) => Some(format!(
            "{timed} events of `{shown}` have a time of day, and are passed over: holidays are whole days"
        )),
        (true, _) => {
            let but = if timed == 0 { String::new() } else { format!(" but {timed} with a time of day") };
            Some(format!(
                "`{shown}` has no all-day events from 1970 on{but}, and takes no day out of the schedule: write \
                 holidays as `DTSTART;VALUE=DATE:20261225`"
            ))
        }
    };
    if let Some(message) = message {
        problems.warn(node.place, message);
    }
    Ok(calendar.days.clone())
}
