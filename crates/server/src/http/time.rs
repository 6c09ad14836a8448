//! Times and lengths of time as Airflow writes them.

use jiff::{SignedDuration, Timestamp, civil};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

/// A time: RFC 3339 in UTC, with six decimals or none, as Pydantic writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub Timestamp);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanosecond() {
            0 => serializer.collect_str(&format_args!("{:.0}", self.0)),
            _ => serializer.collect_str(&format_args!("{:.6}", self.0)),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "`{text}` is no time: write it like 2026-01-31T12:00:00+00:00"
            ))
        })
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
    }
}

impl ToSchema for Time {}

/// Reads a time: with an offset, or without one in UTC, as Airflow's default zone is; or a day.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let utc = |at: civil::DateTime| at.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp());
    // In a query, an unescaped `+` before an offset has become a space.
    let repaired = text.rsplit_once(' ').filter(|(_, offset)| offset.len() <= 5 || offset.starts_with("0"));
    let repaired = || repaired.and_then(|(at, offset)| format!("{at}+{offset}").parse().ok());
    let at: Timestamp =
        text.parse().ok().or_else(repaired).or_else(|| utc(text.parse::<civil::DateTime>().ok()?))?;
    Timestamp::from_microsecond(at.as_microsecond()).ok()
}

/// Seconds with their decimals.
pub(super) fn seconds(length: SignedDuration) -> f64 {
    length.as_secs_f64()
}

/// From beginning to end, in seconds, where both are known.
pub(super) fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    Some(seconds(to?.duration_since(from?)))
}

/// Python's `timedelta`, as Airflow's API shows those of tasks.
#[derive(Serialize, ToSchema)]
pub(super) struct TimeDelta {
    /// Always `TimeDelta`.
    #[serde(rename = "__type")]
    kind: &'static str,
    days: i64,
    seconds: i64,
    microseconds: i64,
}

impl From<SignedDuration> for TimeDelta {
    fn from(length: SignedDuration) -> Self {
        const DAY: i64 = 24 * 60 * 60;
        // Days may be negative; the rest never is.
        let (micros, all) = (length.subsec_micros(), length.as_secs());
        let (all, micros) = if micros < 0 { (all - 1, micros + 1_000_000) } else { (all, micros) };
        Self {
            kind: "TimeDelta",
            days: all.div_euclid(DAY),
            seconds: all.rem_euclid(DAY),
            microseconds: micros.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_written_with_six_decimals_or_none() {
        let whole: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(json!(Time(whole)), "2026-01-31T12:00:00Z");
        assert_eq!(json!(Time(whole + SignedDuration::from_millis(100))), "2026-01-31T12:00:00.100000Z");
    }

    #[test]
    fn times_are_read_with_an_offset_without_one_and_as_days() {
        let noon: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for text in [
            "2026-01-31T13:00:00+01:00",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00",
            "2026-01-31T12:00:00 00:00",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        assert_eq!(parse("2026-01-31"), Some(noon - SignedDuration::from_hours(12)));
        assert_eq!(parse("tomorrow"), None);
    }

    #[test]
    fn a_length_of_time_has_only_its_days_negative() {
        let delta = TimeDelta::from(SignedDuration::from_millis(-500));
        assert_eq!((delta.days, delta.seconds, delta.microseconds), (-1, 86_399, 500_000));
        let delta = TimeDelta::from(SignedDuration::from_secs(90_000));
        assert_eq!((delta.days, delta.seconds, delta.microseconds), (1, 3_600, 0));
    }
}
