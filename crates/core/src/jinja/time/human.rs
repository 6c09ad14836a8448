//! The distance of two times for people: pendulum's `diff_for_humans` (`macros.datetime_diff_for_humans`).

use std::cmp::Ordering;

use jiff::{Timestamp, civil, tz::TimeZone};

use super::{At, DateTime};
use crate::jinja::fault::{Result, fault};

impl DateTime {
    /// `2 days before`, or with nothing to compare with but now, `2 days ago`.
    pub fn human(&self, since: Option<&DateTime>, now: Timestamp) -> Result<String> {
        let now = Self::utc(now);
        let other = since.unwrap_or(&now);
        let face = |time: &DateTime| match (&time.at, self.zone_name() == other.zone_name()) {
            (At::Aware(time), false) => time.with_time_zone(TimeZone::UTC).datetime(),
            (_, _) => time.civil(),
        };
        let later = match self.order(other) {
            Some(order) => order.is_gt(),
            // pendulum takes a time without a zone as one of UTC.
            None => match (&self.at, &other.at) {
                (At::Naive(own), At::Aware(other)) => *own > other.with_time_zone(TimeZone::UTC).datetime(),
                (At::Aware(own), At::Naive(other)) => own.with_time_zone(TimeZone::UTC).datetime() > *other,
                _ => return fault("these times can't be compared"),
            },
        };
        let (early, late) = if later { (face(other), face(self)) } else { (face(self), face(other)) };
        let length = words(early, late);
        Ok(match (since.is_some(), later) {
            (true, true) => format!("{length} after"),
            (true, false) => format!("{length} before"),
            (false, true) => format!("in {length}"),
            (false, false) => format!("{length} ago"),
        })
    }
}

/// The largest unit that there is something of, rounded up where almost all of the next is there.
fn words(early: civil::DateTime, late: civil::DateTime) -> String {
    let number = |time: civil::DateTime| {
        let clock = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        (clock, time.subsec_nanosecond() / 1000)
    };
    let ((from, from_micros), (to, to_micros)) = (number(early), number(late));
    let mut seconds = to - from - i64::from(to_micros < from_micros);
    let mut days = i64::from(late.day()) - i64::from(early.day());
    let months = |time: civil::DateTime| i64::from(time.year()) * 12 + i64::from(time.month());
    let mut months = months(late) - months(early);
    if seconds < 0 {
        seconds += 86_400;
        days -= 1;
    }
    if days < 0 {
        let before = late.date().first_of_month().yesterday().map_or(31, |day| i64::from(day.day()));
        let own = i64::from(late.date().days_in_month());
        match days.cmp(&(own - before)) {
            // A month that has no such day is as long as its last ones.
            Ordering::Less => days += before.max(early.day().into()),
            // From its last day to this one's last day it is a month.
            Ordering::Equal => (days, months) = (0, months + 1),
            Ordering::Greater => days += before,
        }
        months -= 1;
    }
    let (years, months) = (months / 12, months % 12);
    let (weeks, rest, hours, minutes) = (days / 7, days % 7, seconds / 3600, seconds / 60 % 60);
    let (unit, count) = match () {
        () if years > 0 => ("year", years + i64::from(months > 6)),
        () if months == 11 && days > 15 => ("year", 1),
        () if months > 0 => ("month", months + i64::from(days >= 27)),
        () if weeks > 0 => ("week", weeks + i64::from(rest > 3)),
        () if rest > 0 => ("day", rest + i64::from(hours >= 22)),
        () if hours > 0 => ("hour", hours),
        () if minutes > 0 => ("minute", minutes),
        () if seconds > 10 => ("second", seconds),
        () => return "a few seconds".into(),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
