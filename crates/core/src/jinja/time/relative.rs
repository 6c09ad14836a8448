//! `dateutil.relativedelta.relativedelta`: a length in months and days, or what a date is to have in their place, as
//! dateutil documents it.

use jiff::civil;

use super::{At, DateTime, Delta, out_of_range, replace};
use crate::jinja::{
    fault::{Result, fault},
    macros::{Args, int},
    value::Value,
};

/// The units that are added, the largest first.
const UNITS: [&str; 7] = ["years", "months", "days", "hours", "minutes", "seconds", "microseconds"];

/// The parts that are put in the place of a date's own.
const PARTS: [&str; 7] = ["year", "month", "day", "hour", "minute", "second", "microsecond"];

/// How much of each unit below makes one of the next larger; days make no months.
const EACH: [(usize, i128); 5] = [(6, 1_000_000), (5, 60), (4, 60), (3, 24), (1, 12)];

/// A `relativedelta`.
#[derive(Clone, PartialEq)]
pub struct Relative {
    units: [i128; 7],
    parts: [Option<i128>; 7],
}

impl Relative {
    /// `relativedelta(months=1, day=31, …)`.
    pub fn new(mut args: Args) -> Result<Self> {
        let weeks = args.named.iter().position(|(name, _)| &**name == "weeks");
        let weeks = weeks.map(|at| int("weeks", &args.named.swap_remove(at).1)).transpose()?.unwrap_or(0);
        if !args.list.is_empty() {
            return fault(
                "relativedelta() of two times is not supported: subtract one from the other, and take in_days() of it",
            );
        }
        let names: [&str; 14] = std::array::from_fn(|at| if at < 7 { UNITS[at] } else { PARTS[at - 7] });
        let (mut units, mut parts) = ([0; 7], [None; 7]);
        for (at, value) in args.take("relativedelta", names)?.into_iter().enumerate() {
            match value {
                None | Some(Value::None) => {}
                Some(value) if at < 7 => units[at] = int(names[at], &value)?,
                Some(value) => parts[at - 7] = Some(int(names[at], &value)?),
            }
        }
        units[2] += weeks.saturating_mul(7);
        if units.iter().any(|unit| unit.abs() > 1 << 64) {
            return fault("relativedelta() of so much leads to no date");
        }
        for (small, each) in EACH {
            let carried = units[small] / each;
            units[small] -= carried * each;
            units[small - 1] += carried;
        }
        Ok(Self { units, parts })
    }

    /// Whether it changes anything.
    pub(in crate::jinja) fn is_something(&self) -> bool {
        self.units.iter().any(|unit| *unit != 0) || self.parts.iter().any(Option::is_some)
    }

    /// The same back. What is put in a part's place stays.
    pub(in crate::jinja) fn negated(&self) -> Self {
        Self { units: self.units.map(|unit| -unit), ..self.clone() }
    }

    pub(in crate::jinja) fn attr(&self, name: &str) -> Option<Value> {
        if let Some(at) = UNITS.iter().position(|unit| *unit == name) {
            return Some(Value::Int(self.units[at]));
        }
        if name == "weeks" {
            return Some(Value::Int(self.units[2] / 7));
        }
        let at = PARTS.iter().position(|part| *part == name)?;
        Some(self.parts[at].map_or(Value::None, Value::Int))
    }

    /// A time so much later: first its parts, then months, of which the last day is taken where there is none, then the rest.
    pub(in crate::jinja) fn after(&self, time: &DateTime) -> Result<Value> {
        let civil = time.civil();
        let [year, month, day, ..] = self.parts;
        let months = (year.unwrap_or(civil.year().into()) + self.units[0]) * 12
            + (month.unwrap_or(civil.month().into()) - 1)
            + self.units[1];
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let number = |number: i128| i16::try_from(number).ok().filter(|year| (1..=9999).contains(year));
        let Some(of_year) = number(year) else { return fault(format!("year {year} is out of range")) };
        let first = civil::Date::new(of_year, month as i8, 1).or_else(out_of_range)?;
        let day = day.unwrap_or(civil.day().into()).min(first.days_in_month().into());
        let mut parts = self.parts.map(|part| part.map(Value::Int));
        for (part, number) in parts.iter_mut().zip([year, month, day]) {
            *part = Some(Value::Int(number));
        }
        // The day of the month before may be none of this one.
        let face = replace(first.to_datetime(civil.time()), parts)?;
        let [.., days, hours, minutes, seconds, micros] = self.units;
        let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
        let rest = Delta { micros: seconds * 1_000_000 + micros, interval: false };
        Ok(time.with(face)?.plus(rest)?.into())
    }

    /// The same for a date, which has a time behind it only where that is asked for.
    pub(in crate::jinja) fn after_date(&self, date: civil::Date) -> Result<Value> {
        let midnight = DateTime { at: At::Naive(date.to_datetime(civil::Time::midnight())), pendulum: false };
        let has_time =
            self.units[3..].iter().any(|unit| *unit != 0) || self.parts[3..].iter().any(Option::is_some);
        match self.after(&midnight)? {
            Value::DateTime(time) if !has_time => Ok(Value::Date(time.civil().date())),
            time => Ok(time),
        }
    }
}
