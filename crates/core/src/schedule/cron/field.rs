//! One field of a cron expression: which tokens it takes and the values they stand for.

use std::collections::BTreeSet;
use std::fmt;

use super::error::Fault;

/// A place in a cron expression, in the order in which they are written: the second comes sixth, the
/// year seventh, as in croniter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31, `L` for the last day, `15W` for the working day nearest to the 15th.
    DayOfMonth,
    /// 1 to 12 or `jan` to `dec`.
    Month,
    /// 0 to 7 or `sun` to `sat`; both 0 and 7 are Sunday. `1#2` is the second Monday, `L5` the last Friday.
    DayOfWeek,
    /// 0 to 59.
    Second,
    /// 1970 to 2099.
    Year,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Field {
    pub(super) const ALL: [Self; 7] =
        [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek, Self::Second, Self::Year];

    /// The least and the greatest value, both included.
    pub(super) fn range(self) -> (u16, u16) {
        match self {
            Self::Minute | Self::Second => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
            Self::Year => (1970, 2099),
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            Self::Minute | Self::Hour | Self::DayOfMonth | Self::Second | Self::Year => &[],
        }
    }

    /// A number or a name as a value; whether it is in range is for the caller to see.
    fn value(self, text: &str) -> Result<u16, Fault> {
        if let Some(number) = digits(text) {
            // Sunday is written 0 and 7.
            return Ok(if self == Self::DayOfWeek && number == 7 { 0 } else { number });
        }
        let place = self.names().iter().position(|name| *name == text).ok_or(Fault::NotAValue)?;
        Ok(self.range().0 + place as u16)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
            Self::Second => "second",
            Self::Year => "year",
        })
    }
}

/// The bit of [`FieldSet::nth`] that stands for the last such weekday of the month; bits 1 to 5 stand for
/// the first to the fifth.
pub(super) const LAST_OF_MONTH: u8 = 1;

/// What the tokens of one field stand for together.
#[derive(Debug, Default)]
pub(super) struct FieldSet {
    /// The values that were named, by themselves or within a range.
    pub values: BTreeSet<u16>,
    /// A bare `*` or `?` is among the tokens.
    pub star: bool,
    /// `L` is among the days of the month.
    pub last_day: bool,
    /// The `W` day of the month.
    pub nearest_weekday: Option<u8>,
    /// For each weekday from Sunday on, which of its occurrences in the month (`#` and `L`).
    pub nth: [u8; 7],
}

impl FieldSet {
    /// Reads a field. On failure the token that caused it comes back beside the fault.
    pub(super) fn parse(field: Field, text: &str) -> Result<Self, (String, Fault)> {
        let mut set = Self::default();
        let fail = |token: &str, fault| (token.to_owned(), fault);
        if let Some(fault) = hash_form(text) {
            return Err(fail(text, fault));
        }
        if text.contains('?') {
            if text != "?" || !matches!(field, Field::DayOfMonth | Field::DayOfWeek) {
                return Err(fail(text, Fault::MisplacedQuestionMark));
            }
            set.star = true;
            return Ok(set);
        }
        let alone = !text.contains(',');
        for token in text.split(',') {
            set.add(field, token, alone).map_err(|fault| fail(token, fault))?;
        }
        // A weekday by itself and an occurrence of another one are refused side by side, except where the
        // tokens make up the whole week: then only the occurrences count.
        let plain = set.values.iter().any(|day| field == Field::DayOfWeek && set.nth[usize::from(*day)] == 0);
        if set.has_nth() && plain && set.len() != 7 {
            return Err(fail(text, Fault::MixedOccurrences));
        }
        Ok(set)
    }

    pub(super) fn has_nth(&self) -> bool {
        self.nth.iter().any(|bits| *bits != 0)
    }

    /// How many different things are named; the size of the field's range means "every".
    pub(super) fn len(&self) -> usize {
        self.values.len() + usize::from(self.star) + usize::from(self.last_day)
    }

    /// Whether every value is named, one by one or by ranges, rather than by a `*`.
    pub(super) fn is_full(&self, field: Field) -> bool {
        let (low, high) = field.range();
        self.len() == usize::from(high - low) + 1
    }

    fn add(&mut self, field: Field, token: &str, alone: bool) -> Result<(), Fault> {
        if token == "*" {
            self.star = true;
            return Ok(());
        }
        if field == Field::DayOfMonth {
            if token == "l" {
                self.last_day = true;
                return Ok(());
            }
            if let Some(day) = token.strip_suffix('w').or_else(|| token.strip_prefix('w')).and_then(digits) {
                if !(1..=31).contains(&day) {
                    return Err(Fault::OutOfRange);
                }
                if !alone {
                    return Err(Fault::NearestWeekdayInList);
                }
                self.nearest_weekday = Some(day as u8);
                self.values.insert(day);
                return Ok(());
            }
        }
        if field == Field::DayOfWeek
            && let Some((days, occurrence)) = occurrence(token)?
        {
            for day in days {
                self.values.insert(day);
                self.nth[usize::from(day)] |= occurrence;
            }
            return Ok(());
        }
        self.values.extend(expand(field, token)?);
        Ok(())
    }
}

/// `H` and `R`, alone or with a range and a divisor: `H`, `H(0-29)`, `H/15`, `H(0-29)/10`.
fn hash_form(text: &str) -> Option<Fault> {
    let (fault, rest) = match text.split_at_checked(1)? {
        ("h", rest) => (Fault::Hashed, rest),
        ("r", rest) => (Fault::Random, rest),
        _ => return None,
    };
    let (range, divisor) = rest.split_once('/').map_or((rest, "1"), |(range, divisor)| (range, divisor));
    let in_form = range.is_empty()
        || range
            .strip_prefix('(')
            .and_then(|r| r.strip_suffix(')')?.split_once('-'))
            .is_some_and(|(low, high)| digits(low).is_some() && digits(high).is_some());
    (in_form && digits(divisor).is_some()).then_some(fault)
}

/// `1#2`, `mon#2`, `mon-fri#2` and `L5`: the weekdays and the bits of their occurrences. Anything else is
/// `None` and read as a plain token.
fn occurrence(token: &str) -> Result<Option<(Vec<u16>, u8)>, Fault> {
    let field = Field::DayOfWeek;
    if let Some(day) = token.strip_prefix('l').filter(|day| digits(day).is_some()) {
        return Ok(Some((expand(field, day)?, LAST_OF_MONTH)));
    }
    let Some((days, nth)) = token.split_once('#') else { return Ok(None) };
    let nth = digits(nth).filter(|nth| (1..=5).contains(nth)).ok_or(Fault::OccurrenceOutOfRange)?;
    let named = |day: &str| WEEKDAYS.contains(&day);
    // croniter takes a range of names here, not one of numbers, and no step.
    let plain = days.split_once('-').map_or(!days.contains('/'), |(low, high)| named(low) && named(high));
    if !plain {
        return Err(Fault::NotAValue);
    }
    Ok(Some((expand(field, days)?, 1 << nth)))
}

/// A value, a range, a start with a step: the values it stands for, all of them in the field's range.
fn expand(field: Field, token: &str) -> Result<Vec<u16>, Fault> {
    let (min, max) = field.range();
    let (body, step) = match token.rsplit_once('/') {
        Some((body, step)) => (body, Some(digits(step).ok_or(Fault::NotAValue)?)),
        None => (token, None),
    };
    if step == Some(0) {
        return Err(Fault::ZeroStep);
    }
    let stride = usize::from(step.unwrap_or(1));
    let values: Vec<u16> = if let Some((low, high)) = body.split_once('-') {
        let high = if field == Field::DayOfMonth && high == "l" { max } else { field.value(high)? };
        let low = field.value(low)?;
        if low.max(high) > max {
            return Err(Fault::OutOfRange);
        }
        match low.cmp(&high) {
            std::cmp::Ordering::Less => (low..=high).step_by(stride).collect(),
            // `mon-mon` goes once round the whole cycle.
            std::cmp::Ordering::Equal => (min..=max).step_by(stride).collect(),
            std::cmp::Ordering::Greater => wrap(low, high, stride, (min, max)),
        }
    } else if step.is_some() {
        let start = if body == "*" { min } else { field.value(body)? };
        (start..=max.max(start)).step_by(stride).collect()
    } else {
        vec![field.value(body)?]
    };
    if values.iter().any(|value| !(min..=max).contains(value)) {
        return Err(Fault::OutOfRange);
    }
    Ok(values)
}

/// A range over the end of the cycle, `sat-mon` or `nov-feb/2`. Where the step overshoots the end by more
/// than one, croniter goes on one value later than counting on would; that is kept.
fn wrap(low: u16, high: u16, stride: usize, (min, max): (u16, u16)) -> Vec<u16> {
    let mut values: Vec<u16> = (low..=max).step_by(stride).collect();
    let left_over = values.last().map_or(0, |last| usize::from(max - last));
    let skip = if left_over + 1 < stride { stride - left_over } else { 0 };
    values.extend((min..=high).skip(skip).step_by(stride));
    values
}

/// A number of ASCII digits; one too large to hold is as large as can be, which no field takes.
fn digits(text: &str) -> Option<u16> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u16::MAX))
}
