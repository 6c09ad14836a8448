//! A value of a table, whatever database it comes from.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil};
use serde_json::{Number, Value};

use super::number::Numeric;

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A decimal number with all its digits.
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    Json(Value),
    Date(civil::Date),
    Time(civil::Time),
    /// A time without a zone.
    DateTime(civil::DateTime),
    Instant(Timestamp),
    List(Vec<Cell>),
}

/// A column of rows.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    /// What its values are, where the database says it.
    pub kind: Option<Kind>,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    /// A whole number of 64 bits that is not negative.
    Unsigned,
    Float,
    /// Also what has no other kind: decimals, with all their digits, and JSON.
    Text,
    Bytes,
    Date,
    Time,
    DateTime,
    Instant,
}

impl Kind {
    /// What values are that are stored as they were given, as in SQLite.
    pub(super) fn of_values<'a, I: Iterator<Item = &'a Cell>>(cells: impl Fn() -> I) -> Self {
        let all = |is: fn(&Cell) -> bool| {
            let mut there = cells().filter(|cell| **cell != Cell::Null).peekable();
            there.peek().is_some() && there.all(is)
        };
        if all(|cell| matches!(cell, Cell::Int(_))) {
            Self::Int
        } else if all(|cell| matches!(cell, Cell::Int(_) | Cell::Float(_))) {
            Self::Float
        } else if all(|cell| matches!(cell, Cell::Bytes(_))) {
            Self::Bytes
        } else {
            Self::Text
        }
    }

    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int => "whole number",
            Self::Unsigned => "whole number from 0 on",
            Self::Float => "number",
            Self::Text => "text",
            Self::Bytes => "binary value",
            Self::Date => "date",
            Self::Time => "time of day",
            Self::DateTime | Self::Instant => "time",
        }
    }
}

impl Cell {
    /// As a result has it. A decimal is a number, as Airflow's XCom makes one of it
    /// (`airflow.serialization.serializers.bignum`): whole, or else a float, which keeps some 15 digits; cast it to
    /// text to keep all. Times are ISO 8601, bytes base64, and what is no number in JSON (`NaN`) is text.
    pub(super) fn into_json(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Float(value) => {
                Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
            }
            Self::Decimal(text) => decimal(&text).map_or(Value::String(text), Value::Number),
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Self::Json(value) => value,
            Self::Date(date) => date.to_string().into(),
            Self::Time(time) => time.to_string().into(),
            Self::DateTime(time) => time.to_string().into(),
            Self::Instant(time) => crate::template::isoformat(time).into(),
            Self::List(cells) => cells.into_iter().map(Self::into_json).collect(),
        }
    }

    /// As text, as another database or a CSV file reads it; `None` for null.
    pub(super) fn into_text(self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Decimal(text) | Self::Text(text) => text,
            Self::Bytes(bytes) => STANDARD.encode(bytes),
            Self::Date(date) => date.to_string(),
            Self::Time(time) => time.to_string(),
            Self::DateTime(time) => time.strftime("%F %T%.f").to_string(),
            Self::Instant(time) => crate::template::isoformat(time).replace('T', " "),
            cell @ (Self::Json(_) | Self::List(_)) => cell.into_json().to_string(),
        })
    }

    /// Whether it counts as true, as in Python.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Decimal(text) => text.parse::<f64>().is_ok_and(|value| value != 0.0),
            Self::Text(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::Json(value) => match value {
                Value::Null => false,
                Value::Bool(value) => *value,
                Value::Number(number) => number.as_f64() != Some(0.0),
                Value::String(text) => !text.is_empty(),
                Value::Array(items) => !items.is_empty(),
                Value::Object(map) => !map.is_empty(),
            },
            Self::Date(_) | Self::Time(_) | Self::DateTime(_) | Self::Instant(_) => true,
            Self::List(cells) => !cells.is_empty(),
        }
    }

    /// As a number, where Python's `float` makes one of it; all of its digits count.
    pub(super) fn number(&self) -> Option<Numeric> {
        match self {
            Self::Bool(value) => Numeric::new(&u8::from(*value).to_string()),
            Self::Int(value) => Numeric::new(&value.to_string()),
            Self::Float(value) => Numeric::new(&value.to_string()),
            Self::Decimal(text) | Self::Text(text) => Numeric::new(text),
            Self::Null
            | Self::Bytes(_)
            | Self::Json(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::DateTime(_)
            | Self::Instant(_)
            | Self::List(_) => None,
        }
    }

    /// As Python's `str` shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Null => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            other => other.clone().into_text().unwrap_or_default(),
        }
    }

    /// How much room it takes, about, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 5,
            Self::Int(_) | Self::Float(_) | Self::Date(_) | Self::Time(_) => 12,
            Self::DateTime(_) | Self::Instant(_) => 34,
            Self::Decimal(text) | Self::Text(text) => text.len() + 3,
            Self::Bytes(bytes) => bytes.len() * 4 / 3 + 5,
            Self::Json(value) => value.to_string().len(),
            Self::List(cells) => 2 + cells.iter().map(Self::size).sum::<usize>(),
        }
    }
}

/// The number of a decimal: whole where it has no fraction, or else the nearest float.
fn decimal(text: &str) -> Option<Number> {
    if !text.contains('.')
        && let Ok(whole) =
            text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from))
    {
        return Some(whole);
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_json_as_airflow_s_xcom_makes_of_them() {
        let decimal = |text: &str| Cell::Decimal(text.into()).into_json();
        assert_eq!(decimal("12.50"), json!(12.5));
        assert_eq!(decimal("12"), json!(12));
        assert_eq!(decimal("18446744073709551615"), json!(18_446_744_073_709_551_615u64));
        assert_eq!(decimal("NaN"), json!("NaN"));
        assert_eq!(Cell::Float(f64::INFINITY).into_json(), json!("inf"));
        assert_eq!(Cell::Bytes(b"\x00\xff".to_vec()).into_json(), json!("AP8="));
        let time: Timestamp = "2026-01-31T06:00:00.25Z".parse().unwrap();
        assert_eq!(Cell::Instant(time).into_json(), json!("2026-01-31T06:00:00.250000+00:00"));
        let civil: civil::DateTime = "2026-01-31T06:00:00".parse().unwrap();
        assert_eq!(Cell::DateTime(civil).into_json(), json!("2026-01-31T06:00:00"));
        assert_eq!(Cell::DateTime(civil).into_text().as_deref(), Some("2026-01-31 06:00:00"));
        assert_eq!((Cell::Bool(true).shown(), Cell::Null.shown()), ("True".into(), "None".into()));
        assert_eq!(Cell::List(vec![Cell::Int(1), Cell::Null]).into_text().as_deref(), Some("[1,null]"));
    }
}
