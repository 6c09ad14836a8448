//! Days on which a schedule does not come.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Zone;

/// The days on which a schedule makes no runs, on the clock of a zone.
///
/// As JSON: `{"zone": "Europe/Berlin", "days": ["2026-04-03", "2026-12-24/2026-12-26"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holidays {
    zone: Zone,
    days: Days,
}

impl Holidays {
    /// These days on the clock of that zone.
    pub fn new(zone: Zone, days: Days) -> Self {
        Self { zone, days }
    }

    /// The zone on whose clock a day begins and ends.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The days.
    pub fn days(&self) -> &Days {
        &self.days
    }

    /// Whether an instant lies on one of the days.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.days.stretch(self.zone.local(at).date()).is_some()
    }

    /// The days without a break in which an instant lies; `None` where it lies on none of them.
    pub(super) fn around(&self, at: Timestamp) -> Option<Stretch> {
        let Span { first, last } = self.days.stretch(self.zone.local(at).date())?;
        Some(Stretch {
            start: self.zone.start_of(first).unwrap_or(Timestamp::MIN),
            end: last.tomorrow().ok().and_then(|day| self.zone.start_of(day)),
        })
    }
}

/// Holidays without a break between them, as instants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Their first instant.
    pub start: Timestamp,
    /// The first instant after them; `None` where they last for ever.
    pub end: Option<Timestamp>,
}

/// Days of the calendar, each once. In JSON they are dates in order, and `FIRST/LAST` for those that follow
/// one another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Span>")]
pub struct Days(Vec<Span>);

/// From a first day to a last, which may be the same; both count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    first: Date,
    last: Date,
}

/// A text that is no span of days.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no day: write `2026-12-24`, or `2026-12-24/2026-12-26` for the first and the last of several"
)]
pub struct BadSpan {
    /// The text as it was given, cut short where it is long.
    pub text: String,
}

impl Span {
    /// From one day to another that is not before it.
    pub fn new(first: Date, last: Date) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first day.
    pub fn first(&self) -> Date {
        self.first
    }

    /// The last day.
    pub fn last(&self) -> Date {
        self.last
    }
}

impl From<Date> for Span {
    fn from(day: Date) -> Self {
        Self { first: day, last: day }
    }
}

impl Days {
    /// The days in order, those that follow one another as one.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let length = |span: &Span| u64::try_from((span.last - span.first).get_days()).unwrap_or(0) + 1;
        self.0.iter().map(length).sum()
    }

    /// The days without a break around a day.
    fn stretch(&self, day: Date) -> Option<Span> {
        let at = self.0.partition_point(|span| span.last < day);
        self.0.get(at).copied().filter(|span| span.first <= day)
    }
}

impl From<Vec<Span>> for Days {
    fn from(mut spans: Vec<Span>) -> Self {
        spans.sort_unstable_by_key(|span| (span.first, span.last));
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                // The day after the last of all days is none, so that all there are have been merged.
                Some(before) if before.last.tomorrow().map_or(true, |next| span.first <= next) => {
                    before.last = before.last.max(span.last);
                }
                _ => merged.push(span),
            }
        }
        Self(merged)
    }
}

impl FromIterator<Span> for Days {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        spans.into_iter().collect::<Vec<_>>().into()
    }
}

impl FromStr for Span {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let (first, last) = text.split_once('/').unwrap_or((text, text));
        // Of a time of day, whose date the parser takes, not the whole day is meant.
        let day = |text: &str| text.parse::<Date>().ok().filter(|day| day.to_string() == text);
        let span = day(first).zip(day(last)).and_then(|(first, last)| Self::new(first, last));
        span.ok_or_else(|| BadSpan { text: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for Span {
    type Error = BadSpan;

    fn try_from(text: String) -> Result<Self, BadSpan> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.last > self.first { write!(f, "/{}", self.last) } else { Ok(()) }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(spans: &[&str]) -> Days {
        spans.iter().map(|span| span.parse::<Span>().unwrap()).collect()
    }

    #[test]
    fn days_are_in_order_and_those_that_touch_are_one_span() {
        let days = days(&[
            "2026-12-26",
            "2026-04-03",
            "2026-12-24/2026-12-25",
            "2026-12-25",
            "2028-02-28/2028-03-01",
        ]);
        let json = r#"["2026-04-03","2026-12-24/2026-12-26","2028-02-28/2028-03-01"]"#;
        assert_eq!(serde_json::to_string(&days).unwrap(), json);
        assert_eq!(serde_json::from_str::<Days>(json).unwrap(), days);
        assert_eq!(days.count(), 7);
    }

    #[test]
    fn a_text_that_is_no_day_is_refused() {
        for text in [
            "",
            "2026-02-30",
            "2026-12-26/2026-12-24",
            "2026-12-24/",
            "24.12.2026",
            "2026-12-24/x/y",
            "2026-12-24T14:00:00",
            "2026-12-24T14:00/2026-12-26T12:00",
            "2026-12-24[Europe/Berlin]",
        ] {
            assert_eq!(text.parse::<Span>().unwrap_err().text, text);
        }
    }

    #[test]
    fn all_days_that_there_are_make_one_span_without_an_end() {
        let all = days(&["-009999-01-01/9999-12-31", "9999-12-31", "2026-01-01"]);
        assert_eq!(all.spans().len(), 1);
        let holidays = Holidays::new(Zone::UTC, all);
        assert_eq!(holidays.around(Timestamp::UNIX_EPOCH).unwrap().end, None);
        assert!(holidays.contains(Timestamp::MAX) && holidays.contains(Timestamp::MIN));
    }

    #[test]
    fn a_day_begins_and_ends_by_the_clock_of_its_zone() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (zone, day, start, end) in [
            ("Europe/Berlin", "2026-12-25", "2026-12-24T23:00:00Z", "2026-12-25T23:00:00Z"),
            // The clocks are set forward on this day, and back on that.
            ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // Midnight is skipped: the day began at one o'clock.
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
            // The day itself was skipped.
            ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        ] {
            let holidays = Holidays::new(zone.parse().unwrap(), days(&[day]));
            let (start, end) = (at(start), at(end));
            let before = |instant: Timestamp| instant - jiff::SignedDuration::from_nanos(1);
            let found = [before(start), start, before(end), end].map(|at| holidays.contains(at));
            assert_eq!(found, [false, true, true, false], "{zone} {day}");
            let stretch = holidays.around(start).unwrap();
            assert_eq!((stretch.start, stretch.end), (start, Some(end)), "{zone} {day}");
        }
    }
}
