//! Cron expressions as Airflow 3.3.2 reads them, which is as croniter 7.0.0 does.
//!
//! [`Cron`] answers on the wall clock, knowing nothing of zones: the next and the previous local time that
//! match. How these become instants is the affair of [`super::pace`].

mod days;
mod error;
mod field;
mod search;

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

pub use error::{BadField, CronError, Fault, UnknownPreset, WrongFieldCount};
pub use field::Field;

use field::FieldSet;
use search::Rules;

/// Airflow's presets. They are told apart from other expressions by their exact spelling and replaced
/// before anyone sees them.
const PRESETS: [(&str, &str); 6] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
];

/// croniter's own aliases, which Airflow lets through and croniter reads in any case.
const ALIASES: [(&str, &str); 7] = [
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const PRESET_NAMES: [&str; 8] =
    ["@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@midnight", "@annually"];

/// What parts the fields: white space of ASCII and no other, as for croniter.
const SPACE: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// A cron expression that has been read and found good.
///
/// Five fields (minute, hour, day of month, month, day of week), six with a second last, seven with a year
/// after that. Where both the day of month and the day of week are given, either is enough.
///
/// Airflow asks no more of an expression than that it can be read, so one that never comes (`0 0 30 2 *`)
/// is accepted and has no next time. The search ends 50 years away, as croniter's does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    expression: String,
    rules: Rules,
}

impl Cron {
    /// Reads an expression or a preset.
    pub fn new(expression: &str) -> Result<Self, CronError> {
        let named = |table: &[(&str, &'static str)], name: &str| {
            table.iter().find(|(preset, _)| *preset == name).map(|(_, cron)| *cron)
        };
        let expression = named(&PRESETS, expression).unwrap_or(expression);
        let lower = expression.to_lowercase();
        let fields: Vec<&str> =
            named(&ALIASES, &lower).unwrap_or(&lower).split(SPACE).filter(|f| !f.is_empty()).collect();
        if !(5..=7).contains(&fields.len()) {
            return Err(miscounted(expression, &lower, fields.len()));
        }
        let mut sets = Vec::with_capacity(fields.len());
        for (field, text) in Field::ALL.into_iter().zip(&fields) {
            sets.push(FieldSet::parse(field, text).map_err(|(token, fault)| BadField {
                expression: shorten(expression),
                field,
                token: shorten(&token),
                fault,
            })?);
        }
        Ok(Self { expression: expression.to_owned(), rules: Rules::new(&fields, sets) })
    }

    /// The expression as it was written, a preset as the fields it stands for: Airflow's `summary`.
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// The first time after `local` that matches, on a clock that is never set.
    pub(super) fn next_after(&self, local: DateTime) -> Option<DateTime> {
        self.rules.next_after(local)
    }

    /// The last time before `local` that matches, on a clock that is never set.
    pub(super) fn previous_before(&self, local: DateTime) -> Option<DateTime> {
        self.rules.previous_before(local)
    }

    /// Whether the hour is a bare `*`, or all hours one by one: what Airflow asks to decide how the
    /// expression meets a clock that is set back or forward.
    pub(super) fn covers_every_hour(&self) -> bool {
        self.rules.every_hour
    }
}

fn miscounted(expression: &str, lower: &str, found: usize) -> CronError {
    let expression = shorten(expression);
    if found == 1 && lower.starts_with('@') {
        let suggestion = PRESET_NAMES
            .into_iter()
            .map(|name| (strsim::osa_distance(name, &shorten(lower)), name))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map(|(_, name)| name);
        return UnknownPreset { expression, suggestion }.into();
    }
    WrongFieldCount { expression, found }.into()
}

/// What is quoted in an error: enough to find the place, whatever was handed in.
fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(expression: &str) -> Result<Self, CronError> {
        Self::new(expression)
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;

    fn try_from(expression: String) -> Result<Self, CronError> {
        Self::new(&expression)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.expression
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

/// One or more cron expressions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Cron>", into = "Vec<Cron>")]
pub struct Crons(Vec<Cron>);

impl Crons {
    /// In the order in which they were given.
    pub fn as_slice(&self) -> &[Cron] {
        &self.0
    }
}

impl From<Cron> for Crons {
    fn from(cron: Cron) -> Self {
        Self(vec![cron])
    }
}

impl TryFrom<Vec<Cron>> for Crons {
    type Error = CronError;

    fn try_from(crons: Vec<Cron>) -> Result<Self, CronError> {
        if crons.is_empty() { Err(CronError::NoExpression) } else { Ok(Self(crons)) }
    }
}

impl From<Crons> for Vec<Cron> {
    fn from(crons: Crons) -> Self {
        crons.0
    }
}

#[cfg(test)]
mod tests;
