//! How often something may be done.

use std::{fmt, str::FromStr};

use jiff::SignedDuration;

/// At most so many in so long, evenly spaced: `14/minute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
    Day,
}

impl Per {
    const ALL: [(&'static str, Self); 4] =
        [("second", Self::Second), ("minute", Self::Minute), ("hour", Self::Hour), ("day", Self::Day)];

    fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is a number from 1 up, a slash, and second, minute, hour or day, such as 14/minute; at most 1000/second"
)]
pub struct BadRate;

impl Rate {
    /// How long after one the next may follow: so long that no time of the rate's length has more than its count.
    pub fn every(self) -> SignedDuration {
        let micros = (self.per.seconds() * 1_000_000 + i64::from(self.count) - 1) / i64::from(self.count);
        SignedDuration::from_micros(micros)
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let (count, per) = text.split_once('/').ok_or(BadRate)?;
        let count: u32 = count.trim().parse().map_err(|_| BadRate)?;
        let per = Per::ALL.into_iter().find(|(name, _)| *name == per.trim()).ok_or(BadRate)?.1;
        match i64::from(count) {
            1.. if i64::from(count) <= per.seconds() * 1000 => Ok(Self { count, per }),
            _ => Err(BadRate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Per::ALL.iter().find(|(_, per)| *per == self.per).map_or("", |(name, _)| name);
        write!(f, "{}/{name}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_in_so_long() {
        for (text, micros) in [
            ("14/minute", 4_285_715),
            ("1/day", 86_400_000_000),
            ("1000/second", 1000),
            ("7/second", 142_858),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(
                (rate.to_string().as_str(), rate.every()),
                (text, SignedDuration::from_micros(micros))
            );
        }
        assert_eq!(" 5 / hour ".parse::<Rate>().unwrap().to_string(), "5/hour");
        for bad in ["", "14", "14/min", "0/minute", "-1/minute", "1001/second", "1.5/second", "14/minute/2"] {
            assert_eq!(bad.parse::<Rate>(), Err(BadRate), "{bad}");
        }
    }
}
