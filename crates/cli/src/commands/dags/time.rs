//! Times as people write them.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// A time or a date; in UTC, where no zone is named.
pub fn time(text: &str) -> Result<Timestamp, String> {
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).map(|time| time.timestamp()).ok();
    let read = text.parse().ok();
    let read = read.or_else(|| text.parse::<DateTime>().ok().and_then(utc));
    let read = read.or_else(|| text.parse::<Date>().ok().and_then(|date| utc(date.into())));
    read.ok_or_else(|| {
        "write a time like 2026-01-31 or 2026-01-31T12:00:00+01:00; UTC, where no zone is named".into()
    })
}
