//! Time zones by their IANA names or as fixed offsets, from the database inside the program.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// The database that is part of the program. Never the machine's own: a schedule means the same everywhere.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone: an IANA name (`Europe/Berlin`, `UTC`) or a fixed offset (`+05:30`).
///
/// As text it is that name or offset, and so it is in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// A name that is no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no time zone; {}", self.mend())]
pub struct UnknownZone {
    /// The name as it was given, cut short where it is long.
    pub name: String,
    /// The zone whose name comes nearest.
    pub suggestion: Option<String>,
}

impl UnknownZone {
    fn mend(&self) -> String {
        match &self.suggestion {
            Some(near) => format!("did you mean {near:?}?"),
            None => "give an IANA name such as \"Europe/Berlin\", or an offset such as \"+05:30\"".to_owned(),
        }
    }
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Finds a zone by its IANA name, in any case, or by an offset from UTC (`+05:30`, `-03`).
    pub fn new(name: &str) -> Result<Self, UnknownZone> {
        let found = if name.starts_with(['+', '-']) {
            DateTimeParser::new().parse_time_zone_with(&ZONES, name)
        } else {
            ZONES.get(name)
        };
        match found {
            Ok(zone) if !zone.is_unknown() => Ok(Self(zone)),
            _ => Err(unknown(name)),
        }
    }

    /// A fixed offset, in seconds east of UTC, which is how Airflow writes a zone without a name. `None`
    /// where it is more than a day.
    pub fn fixed(seconds: i32) -> Option<Self> {
        Offset::from_seconds(seconds).ok().map(|offset| Self(offset.to_time_zone()))
    }

    /// What the clocks show at an instant.
    pub(super) fn local(&self, instant: Timestamp) -> DateTime {
        self.0.to_datetime(instant)
    }

    /// The first instant of a day. Where its midnight is skipped, that is when the clock is set forward.
    pub(super) fn start_of(&self, day: Date) -> Option<Timestamp> {
        let midnight = self.0.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
        match midnight.offset() {
            AmbiguousOffset::Gap { .. } => {
                let before = midnight.earlier().ok()?;
                self.0.following(before).next().map(|jump| jump.timestamp())
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => midnight.earlier().ok(),
        }
    }

    /// The instant at which the clocks show a local time: the second one where they show it twice. Where
    /// they are set forward over it, as long after the jump as the time lies after its beginning.
    ///
    /// This is how Airflow localises a cron's time (`make_aware`, which sets `fold=1`).
    pub(super) fn instant(&self, local: DateTime) -> Option<Timestamp> {
        self.0.to_ambiguous_timestamp(local).later().ok()
    }
}

fn unknown(name: &str) -> UnknownZone {
    let name: String = name.chars().take(80).collect();
    let lower = name.to_lowercase();
    // People leave out the continent as often as they misspell the city.
    let distance = |zone: &str| {
        let zone = zone.to_lowercase();
        let city = zone.rsplit('/').next().unwrap_or(&zone);
        strsim::osa_distance(&zone, &lower).min(strsim::osa_distance(city, &lower))
    };
    let suggestion = ZONES
        .available()
        .map(|zone| (distance(zone.as_str()), zone.to_string()))
        .min()
        .filter(|(distance, _)| *distance <= lower.chars().count() / 3)
        .map(|(_, zone)| zone);
    UnknownZone { name, suggestion }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iana_name() {
            Some(name) => f.write_str(name),
            None => self.0.to_offset(Timestamp::UNIX_EPOCH).fmt(f),
        }
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        Self::new(name)
    }
}

impl TryFrom<String> for Zone {
    type Error = UnknownZone;

    fn try_from(name: String) -> Result<Self, UnknownZone> {
        Self::new(&name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets_are_read_and_written_back() {
        for (text, back) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("UTC", "UTC"),
            ("utc", "UTC"),
            ("+05:30", "+05:30"),
            ("-03", "-03"),
        ] {
            let zone = Zone::new(text).unwrap();
            assert_eq!(zone.to_string(), back);
            assert_eq!(Zone::new(&zone.to_string()).unwrap(), zone);
        }
        assert_eq!(Zone::fixed(-12_600).unwrap().to_string(), "-03:30");
        assert_eq!(Zone::fixed(1_000_000), None);
    }

    #[test]
    fn an_unknown_zone_is_named_with_the_nearest_one() {
        for (name, near) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Katmandu", "Asia/Katmandu"),
            ("New_Yrok", "America/New_York"),
            ("Etc/Unknown", ""),
            ("", ""),
            ("+99:99", ""),
            ("EST5EDT4,M3", ""),
        ] {
            let error = Zone::new(name).unwrap_err();
            assert_eq!(error.name, name);
            if !near.is_empty() {
                assert_eq!(error.suggestion.as_deref(), Some(near));
                assert_eq!(error.to_string(), format!("{name:?} is no time zone; did you mean {near:?}?"));
            }
        }
        assert!(Zone::new("Nowhere/Xyzzyville").unwrap_err().to_string().contains("IANA name"));
    }

    #[test]
    fn a_name_of_a_megabyte_is_refused_in_a_few_words() {
        assert!(Zone::new(&"x/".repeat(500_000)).unwrap_err().to_string().len() < 300);
    }
}
