//! A length of time to step by: Airflow's `timedelta` and `relativedelta`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// A length of time greater than zero: calendar months, and an exact duration beside them.
///
/// As text it is an ISO 8601 duration (`PT10M`, `P1M`, `P1DT12H`); jiff's friendly form (`1h 30m`,
/// `2 months`) is read too. A year is twelve months, a day 24 hours: Airflow steps such schedules in UTC,
/// whatever the zone of the DAG, where each day has 24 hours. A month is added to the calendar date, whose
/// day is cut to the length of the month (31 January and a month make 28 or 29 February).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delta {
    months: i32,
    exact: SignedDuration,
}

/// A text or a length that a schedule cannot step by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the duration {text:?} {}", .fault.explain())]
pub struct BadDelta {
    /// The duration as it was given, cut short where it is long.
    pub text: String,
    /// What is wrong with it.
    pub fault: DeltaFault,
}

/// What is wrong with a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaFault {
    /// It is no duration.
    Unreadable,
    /// It is zero or negative.
    NotPositive,
    /// It is longer than ten thousand years.
    TooLong,
}

impl DeltaFault {
    fn explain(self) -> &'static str {
        match self {
            Self::Unreadable => {
                "cannot be read; give an ISO 8601 duration such as \"PT10M\", \"P1D\" or \"P1M\", or words \
                 such as \"10 minutes\""
            }
            Self::NotPositive => "is not more than zero; a schedule has to step forward",
            Self::TooLong => "is longer than ten thousand years; a schedule with one run has the kind `once`",
        }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

impl Delta {
    /// A length of so many calendar months and an exact duration; neither may be negative, nor both zero.
    pub fn new(months: i32, exact: SignedDuration) -> Result<Self, BadDelta> {
        let fault = if months < 0 || exact.is_negative() || (months == 0 && exact.is_zero()) {
            DeltaFault::NotPositive
        } else if months >= 120_000 || exact.as_secs() / SECONDS_PER_DAY >= 3_652_425 {
            DeltaFault::TooLong
        } else {
            return Ok(Self { months, exact });
        };
        let text = match months {
            0 => format!("{exact:#}"),
            months => format!("{months} months and {exact:#}"),
        };
        Err(BadDelta { text, fault })
    }

    /// The instant this long after the given one; `None` beyond the end of the calendar.
    pub(super) fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.shift_months(instant, self.months)?.checked_add(self.exact).ok()
    }

    /// The instant this long before the given one.
    pub(super) fn before(&self, instant: Timestamp) -> Option<Timestamp> {
        self.shift_months(instant, -self.months)?.checked_sub(self.exact).ok()
    }

    fn shift_months(&self, instant: Timestamp, months: i32) -> Option<Timestamp> {
        if months == 0 {
            return Some(instant);
        }
        let utc: DateTime = TimeZone::UTC.to_datetime(instant);
        TimeZone::UTC.to_timestamp(utc.checked_add(months.months()).ok()?).ok()
    }

    /// The first step at or after `target`, of those that are counted from `from`, which lies before it.
    pub(super) fn first_from(&self, from: Timestamp, target: Timestamp) -> Option<Timestamp> {
        self.reach(from, target, |step| self.after(step))
    }

    /// The last step before `target`, of those that are counted back from `from`, which lies after it.
    pub(super) fn last_before(&self, from: Timestamp, target: Timestamp) -> Option<Timestamp> {
        self.reach(from, target.checked_sub(SignedDuration::from_nanos(1)).ok()?, |step| self.before(step))
    }

    /// Steps from `from` until `target` is reached: at once where all steps are alike.
    fn reach(
        &self,
        from: Timestamp,
        target: Timestamp,
        step: impl Fn(Timestamp) -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        let (from_nanos, distance) = (from.as_nanosecond(), target.as_nanosecond() - from.as_nanosecond());
        if self.months == 0 {
            let exact = self.exact.as_nanos();
            let steps = (distance.abs() + exact - 1) / exact;
            return Timestamp::from_nanosecond(from_nanos + steps * exact * distance.signum()).ok();
        }
        let is_short = |at: Timestamp| if distance > 0 { at < target } else { at > target };
        let mut at = from;
        while is_short(at) {
            at = step(at)?;
        }
        Some(at)
    }

    /// The last step at or before an instant. Exact lengths count from the epoch; months have no fixed
    /// length, so they are stepped from `anchor`, one after the other, since the cut to a month's length
    /// carries on (31 January, 28 February, 28 March).
    pub(super) fn floor(&self, instant: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        self.last_from(if self.months == 0 { Timestamp::UNIX_EPOCH } else { anchor }, instant)
    }

    /// The last step at or before an instant, of those that are counted from `anchor`, which does not lie after it.
    pub(super) fn last_from(&self, anchor: Timestamp, instant: Timestamp) -> Option<Timestamp> {
        if self.months == 0 {
            let nanos = instant.as_nanosecond();
            let passed = (nanos - anchor.as_nanosecond()).rem_euclid(self.exact.as_nanos());
            return Timestamp::from_nanosecond(nanos - passed).ok();
        }
        let mut step = anchor;
        loop {
            match self.after(step) {
                Some(next) if next <= instant => step = next,
                _ => return Some(step),
            }
        }
    }
}

impl FromStr for Delta {
    type Err = BadDelta;

    fn from_str(text: &str) -> Result<Self, BadDelta> {
        let bad = |fault| BadDelta { text: text.chars().take(80).collect(), fault };
        let span: Span = text.parse().map_err(|_| bad(DeltaFault::Unreadable))?;
        let months = i32::from(span.get_years()) * 12 + span.get_months();
        let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
        let time = Span::new()
            .hours(span.get_hours())
            .minutes(span.get_minutes())
            .seconds(span.get_seconds())
            .milliseconds(span.get_milliseconds())
            .microseconds(span.get_microseconds())
            .nanoseconds(span.get_nanoseconds());
        let exact = SignedDuration::try_from(time)
            .ok()
            .and_then(|time| time.checked_add(SignedDuration::from_secs(days * SECONDS_PER_DAY)))
            .ok_or_else(|| bad(DeltaFault::TooLong))?;
        Self::new(months, exact).map_err(|error| bad(error.fault))
    }
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.exact.as_secs();
        let span = Span::new()
            .years(self.months / 12)
            .months(self.months % 12)
            .days(seconds / SECONDS_PER_DAY)
            .hours(seconds % SECONDS_PER_DAY / 3600)
            .minutes(seconds % 3600 / 60)
            .seconds(seconds % 60)
            .nanoseconds(i64::from(self.exact.subsec_nanos()));
        span.fmt(f)
    }
}

impl TryFrom<String> for Delta {
    type Error = BadDelta;

    fn try_from(text: String) -> Result<Self, BadDelta> {
        text.parse()
    }
}

impl From<Delta> for String {
    fn from(delta: Delta) -> Self {
        delta.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, back) in [
            ("PT10M", "PT10M"),
            ("P1M", "P1M"),
            ("P1Y1M", "P1Y1M"),
            ("P13M", "P1Y1M"),
            ("P1W", "P7D"),
            ("PT36H", "P1DT12H"),
            ("90 minutes", "PT1H30M"),
            ("2 months 1 day", "P2M1D"),
            ("PT0.5S", "PT0.5S"),
            ("P119999M", "P9999Y11M"),
            ("P3652424DT23H", "P3652424DT23H"),
        ] {
            let delta: Delta = text.parse().unwrap();
            assert_eq!(delta.to_string(), back);
            assert_eq!(delta.to_string().parse::<Delta>().unwrap(), delta);
        }
    }

    #[test]
    fn a_duration_that_cannot_step_is_refused() {
        for (text, fault) in [
            ("PT0S", DeltaFault::NotPositive),
            ("-PT5M", DeltaFault::NotPositive),
            ("soon", DeltaFault::Unreadable),
            ("", DeltaFault::Unreadable),
            ("P19998Y", DeltaFault::TooLong),
            ("P19998Y239976M", DeltaFault::TooLong),
            ("PT631107417600S", DeltaFault::TooLong),
        ] {
            let error = text.parse::<Delta>().unwrap_err();
            assert_eq!((error.text.as_str(), error.fault), (text, fault));
        }
        assert_eq!(Delta::new(-1, SignedDuration::from_hours(1)).unwrap_err().fault, DeltaFault::NotPositive);
    }

    #[test]
    fn months_step_by_the_calendar_of_utc_and_cut_the_day() {
        let month: Delta = "P1M".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(month.after(at("2024-01-31T12:00:00Z")), Some(at("2024-02-29T12:00:00Z")));
        assert_eq!(month.before(at("2024-03-31T12:00:00Z")), Some(at("2024-02-29T12:00:00Z")));
        // The cut carries on, so the floor is on the 28th and not on the 31st.
        assert_eq!(
            month.floor(at("2023-04-01T00:00:00Z"), at("2023-01-31T00:00:00Z")),
            Some(at("2023-03-28T00:00:00Z"))
        );
    }

    #[test]
    fn an_exact_length_is_floored_from_the_epoch_also_before_it() {
        let hour: Delta = "PT1H".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let floor = |text| hour.floor(at(text), Timestamp::MIN).unwrap();
        assert_eq!(floor("2024-01-01T10:59:59.9Z"), at("2024-01-01T10:00:00Z"));
        assert_eq!(floor("1969-12-31T23:30:00Z"), at("1969-12-31T23:00:00Z"));
    }

    #[test]
    fn beyond_the_end_of_the_calendar_there_is_no_step() {
        let year: Delta = "P1Y".parse().unwrap();
        assert_eq!(year.after(Timestamp::MAX), None);
        assert_eq!(year.before(Timestamp::MIN), None);
    }
}
