//! Numbers as checks compare them: with all their digits, however many they are.

use std::{cmp::Ordering, fmt};

/// A number.
#[derive(Clone, Debug)]
pub(super) struct Numeric {
    text: String,
    /// `None` for what has no digits: `inf`, `nan`.
    exact: Option<Exact>,
    /// The nearest float.
    pub float: f64,
}

impl Numeric {
    /// Reads what Python's `float` reads.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        Some(Self { text: text.to_owned(), exact: Exact::new(text), float: text.parse().ok()? })
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other).is_some_and(Ordering::is_eq)
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (&self.exact, &other.exact) {
            (Some(one), Some(other)) => Some(one.cmp(other)),
            _ => self.float.partial_cmp(&other.float),
        }
    }
}

/// `0.DIGITS` times ten to the power of `point`, negative or not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exact {
    is_negative: bool,
    point: i64,
    /// Without zeros at either end; empty for zero.
    digits: String,
}

impl Exact {
    fn new(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (text, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        let zeros = all.len() - digits.len();
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, point: 0, digits: String::new() });
        }
        let exponent = i64::from(exponent.parse::<i32>().ok()?);
        let place = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?;
        Some(Self { is_negative, point: place + exponent, digits: digits.to_owned() })
    }

    /// Below zero, zero or above.
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = || (self.point, &self.digits).cmp(&(other.point, &other.digits));
        self.sign().cmp(&other.sign()).then_with(|| if self.is_negative { size().reverse() } else { size() })
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_by_all_their_digits() {
        let order = [
            "-1e400",
            "-9007199254740993",
            "-9007199254740992",
            "-1.25",
            "-1.2",
            "-0.05",
            "0",
            "0.0000001",
            "0.05",
            "0.1",
            "0.10000000000000000001",
            "9",
            "10",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.5",
            "123456789012345678901234567890",
            "1e400",
        ];
        let number = |text: &str| Numeric::new(text).unwrap();
        for (at, one) in order.iter().enumerate() {
            for (other_at, other) in order.iter().enumerate() {
                let found = number(one).partial_cmp(&number(other));
                assert_eq!(found, Some(at.cmp(&other_at)), "{one} and {other}");
            }
        }
    }

    #[test]
    fn the_same_number_may_be_written_in_several_ways() {
        for (one, other) in [
            ("12", "12.00"),
            ("0012", " 12 "),
            ("+1.2e1", "12"),
            ("1200E-2", "12"),
            (".5", "0.50"),
            ("5.", "5"),
            ("-0", "0.000"),
            ("0e99", "0"),
            ("inf", "Infinity"),
        ] {
            assert_eq!(Numeric::new(one), Numeric::new(other), "{one} and {other}");
        }
        assert!(Numeric::new("inf") > Numeric::new("1e308"));
        assert_eq!(Numeric::new("nan").unwrap().partial_cmp(&Numeric::new("1").unwrap()), None);
        for text in ["", " ", "x", "1x", "1.2.3", "1e", "é", "--1"] {
            assert!(Numeric::new(text).is_none(), "{text}");
        }
    }
}
