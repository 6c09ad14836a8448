//! What an argument may be: its documentation, and how it is read.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Time, tz::TimeZone};
use serde_json::{Map, Value};

use crate::template;

/// An argument of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it may be, for people: `a string`, `a duration`.
    pub expects: &'static str,
    /// The types of JSON that it may be, as a JSON Schema names them; any, where none is named.
    pub types: &'static [&'static str],
    /// Whether it must be given.
    pub required: bool,
    /// Whether templates in it are rendered (Airflow's `template_fields`).
    pub templated: bool,
    /// Whether objects may be described in it: see [`OBJECT`](super::OBJECT).
    pub objects: bool,
    /// What it means.
    pub doc: &'static str,
    pub(crate) check: fn(&Value) -> Result<(), String>,
}

impl Argument {
    /// In place of a name: any that is no other's.
    pub(crate) const ANY: &'static str = "*";
}

/// A type that an argument can have.
pub(crate) trait FromArgument: Sized {
    /// What it may be, for people.
    const EXPECTS: &'static str;
    /// The types of JSON that it may be, as a JSON Schema names them; any, where none is named.
    const TYPES: &'static [&'static str] = &[];
    /// What it is where nothing is given, for what need not be given.
    const MISSING: Option<fn() -> Self> = None;
    /// Reads it; the error says what is wrong with the value, in words that go on after the argument's name.
    fn from_argument(value: &Value) -> Result<Self, String>;
}

/// What reading an argument came to: its name, and what is wrong.
pub(crate) type BadArgument = (Option<&'static str>, String);

/// A struct of arguments, its documentation, and its reader. A field is `templated` or `plain`; one without
/// a default is required unless its type says what it is when missing; one with `objects` is templated, and may have
/// objects described in it. What is `accepted` is checked and documented, and makes no difference.
macro_rules! arguments {
    ($(#[doc = $about:literal])* $vis:vis struct $name:ident {
        $($(#[doc = $doc:literal])* $how:ident $field:ident: $type:ty $(= $default:expr)?,)*
    } $(accepted {
        $($(#[doc = $also_doc:literal])* $also:ident: $also_type:ty,)*
    })?) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        $vis struct $name { $(pub(crate) $field: $type,)* }

        impl $name {
            /// Their documentation.
            pub(crate) const LIST: &'static [$crate::catalog::Argument] = &[$(
                $crate::catalog::Argument {
                    name: stringify!($field),
                    expects: <$type as $crate::catalog::argument::FromArgument>::EXPECTS,
                    types: <$type as $crate::catalog::argument::FromArgument>::TYPES,
                    required: arguments!(@required $type $(, $default)?),
                    templated: arguments!(@$how),
                    objects: arguments!(@objects_in $how),
                    doc: concat!($($doc, "\n",)*).trim_ascii(),
                    check: |value| {
                        <$type as $crate::catalog::argument::FromArgument>::from_argument(value).map(drop)
                    },
                },
            )* $($(
                $crate::catalog::Argument {
                    name: stringify!($also),
                    expects: <$also_type as $crate::catalog::argument::FromArgument>::EXPECTS,
                    types: <$also_type as $crate::catalog::argument::FromArgument>::TYPES,
                    required: false,
                    templated: false,
                    objects: false,
                    doc: concat!($($also_doc, "\n",)*).trim_ascii(),
                    check: |value| {
                        <$also_type as $crate::catalog::argument::FromArgument>::from_argument(value).map(drop)
                    },
                },
            )*)?];

            /// Reads them from an operator's arguments, rendered; null is like not given.
            pub(crate) fn read(
                args: &serde_json::Map<String, serde_json::Value>,
            ) -> Result<Self, $crate::catalog::argument::BadArgument> {
                Ok(Self { $(
                    $field: match args.get(stringify!($field)).filter(|value| !value.is_null()) {
                        Some(value) => <$type as $crate::catalog::argument::FromArgument>::from_argument(value)
                            .map_err(|wrong| (Some(stringify!($field)), wrong))?,
                        None => arguments!(@missing $field $type $(, $default)?),
                    },
                )* })
            }
        }
    };
    (@templated) => { true };
    (@objects) => { true };
    (@plain) => { false };
    (@objects_in objects) => { true };
    (@objects_in $how:ident) => { false };
    (@required $type:ty) => { <$type as $crate::catalog::argument::FromArgument>::MISSING.is_none() };
    (@required $type:ty, $default:expr) => { false };
    (@missing $field:ident $type:ty, $default:expr) => { $default };
    (@missing $field:ident $type:ty) => {
        match <$type as $crate::catalog::argument::FromArgument>::MISSING {
            Some(missing) => missing(),
            None => return Err((Some(stringify!($field)), "is required".to_owned())),
        }
    };
}
pub(crate) use arguments;

/// `found 3`, `found "x"`, `found a list`.
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::Null => "found nothing (null)".into(),
        Value::Bool(value) => format!("found {value}"),
        Value::Number(number) => format!("found the number {number}"),
        Value::String(text) if text.chars().count() > 60 => {
            format!("found the text {:?}…", text.chars().take(60).collect::<String>())
        }
        Value::String(text) => format!("found the text {text:?}"),
        Value::Array(_) => "found a list".into(),
        Value::Object(_) => "found a map".into(),
    }
}

fn wrong<T: FromArgument>(value: &Value) -> String {
    format!("must be {}; {}", T::EXPECTS, found(value))
}

impl FromArgument for Value {
    const EXPECTS: &'static str = "any value";
    fn from_argument(value: &Value) -> Result<Self, String> {
        Ok(value.clone())
    }
}

impl FromArgument for String {
    const EXPECTS: &'static str = "a string";
    const TYPES: &'static [&'static str] = &["string"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(wrong::<Self>(value)),
            Value::Bool(_) | Value::Number(_) => Err(format!("{}: put it in quotes", wrong::<Self>(value))),
        }
    }
}

/// A Jinja expression that sees what templates see. It is read here, and told when the task is prepared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expression(pub(crate) String);

impl FromArgument for Expression {
    const EXPECTS: &'static str = "a Jinja expression";
    fn from_argument(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| wrong::<Self>(value))?;
        template::read_expression(text).map(|()| Self(text.to_owned()))
    }
}

impl FromArgument for bool {
    const EXPECTS: &'static str = "true or false";
    const TYPES: &'static [&'static str] = &["boolean"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| wrong::<Self>(value))
    }
}

impl FromArgument for Map<String, Value> {
    const EXPECTS: &'static str = "a map";
    const TYPES: &'static [&'static str] = &["object"];
    const MISSING: Option<fn() -> Self> = Some(Map::new);
    fn from_argument(value: &Value) -> Result<Self, String> {
        value.as_object().cloned().ok_or_else(|| wrong::<Self>(value))
    }
}

/// A map, which may come as JSON: so it does from a template that makes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MapOrJson(pub(crate) Map<String, Value>);

impl FromArgument for MapOrJson {
    const EXPECTS: &'static str = "a map, or JSON of one";
    const TYPES: &'static [&'static str] = &["object", "string"];
    const MISSING: Option<fn() -> Self> = Some(|| Self(Map::new()));
    fn from_argument(value: &Value) -> Result<Self, String> {
        let read = value.as_str().map(serde_json::from_str::<Value>);
        let map = match &read {
            Some(read) => read.as_ref().ok().and_then(Value::as_object),
            None => value.as_object(),
        };
        map.cloned().map(Self).ok_or_else(|| wrong::<Self>(value))
    }
}

impl FromArgument for Vec<Value> {
    const EXPECTS: &'static str = "a list";
    const TYPES: &'static [&'static str] = &["array"];
    const MISSING: Option<fn() -> Self> = Some(Vec::new);
    fn from_argument(value: &Value) -> Result<Self, String> {
        value.as_array().cloned().ok_or_else(|| wrong::<Self>(value))
    }
}

/// A map of strings, in the order of their names.
pub(crate) type Strings = BTreeMap<String, String>;

impl FromArgument for Strings {
    const EXPECTS: &'static str = "a map of strings";
    const TYPES: &'static [&'static str] = &["object"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or_else(|| wrong::<Self>(value))?;
        map.iter()
            .map(|(name, value)| {
                String::from_argument(value)
                    .map(|text| (name.clone(), text))
                    .map_err(|wrong| format!("has the entry `{name}`, which {wrong}"))
            })
            .collect()
    }
}

/// One string, or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OneOrMore(pub(crate) Vec<String>);

impl FromArgument for OneOrMore {
    const EXPECTS: &'static str = "a string or a list of strings";
    const TYPES: &'static [&'static str] = &["string", "array"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let one = |value: &Value| value.as_str().map(str::to_owned);
        match value {
            Value::Array(values) => values.iter().map(one).collect::<Option<Vec<_>>>().map(Self),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                one(value).map(|text| Self(vec![text]))
            }
        }
        .ok_or_else(|| wrong::<Self>(value))
    }
}

impl<T: FromArgument> FromArgument for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;
    const TYPES: &'static [&'static str] = T::TYPES;
    const MISSING: Option<fn() -> Self> = Some(|| None);
    fn from_argument(value: &Value) -> Result<Self, String> {
        if value.is_null() { Ok(None) } else { T::from_argument(value).map(Some) }
    }
}

/// Exit codes: one, or several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExitCodes(pub(crate) Vec<i32>);

impl FromArgument for ExitCodes {
    const EXPECTS: &'static str = "an exit code or a list of exit codes (0 to 255)";
    const TYPES: &'static [&'static str] = &["integer", "array"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let one = |value: &Value| value.as_u64().and_then(|code| u8::try_from(code).ok()).map(i32::from);
        match value {
            Value::Array(values) => values.iter().map(one).collect::<Option<Vec<_>>>().map(Self),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                one(value).map(|code| Self(vec![code]))
            }
        }
        .ok_or_else(|| wrong::<Self>(value))
    }
}

/// A duration; a bare number counts seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Duration(pub(crate) SignedDuration);

/// How long between two looks: some time, since nothing would be no pause at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval(pub(crate) SignedDuration);

/// A duration; a bare number counts minutes, as Airflow's time sensors have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Minutes(pub(crate) SignedDuration);

/// A duration by which something is earlier; later, where it is negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shift(pub(crate) SignedDuration);

/// A number, words, or a timedelta.
const DURATION: &[&str] = &["number", "string", "object"];

impl FromArgument for Duration {
    const EXPECTS: &'static str =
        "a duration (seconds, \"HH:MM:SS\", \"5 minutes\", \"PT5M\", or a datetime.timedelta)";
    const TYPES: &'static [&'static str] = DURATION;
    fn from_argument(value: &Value) -> Result<Self, String> {
        duration(value, 1.0).map(Self).ok_or_else(|| wrong::<Self>(value))
    }
}

impl FromArgument for Interval {
    const EXPECTS: &'static str = Duration::EXPECTS;
    const TYPES: &'static [&'static str] = DURATION;
    fn from_argument(value: &Value) -> Result<Self, String> {
        match Duration::from_argument(value)? {
            Duration(SignedDuration::ZERO) => Err(format!(
                "must be longer than 0: it would look without a pause; write `1 second` or more; {}",
                found(value)
            )),
            Duration(length) => Ok(Self(length)),
        }
    }
}

impl FromArgument for Minutes {
    const EXPECTS: &'static str =
        "a duration (a number of minutes, \"HH:MM:SS\", \"5 minutes\", \"PT5M\", or a datetime.timedelta)";
    const TYPES: &'static [&'static str] = DURATION;
    fn from_argument(value: &Value) -> Result<Self, String> {
        duration(value, 60.0).map(Self).ok_or_else(|| wrong::<Self>(value))
    }
}

impl FromArgument for Shift {
    const EXPECTS: &'static str =
        "a duration, which may be negative (seconds, \"5 minutes\", \"-PT5M\", or a datetime.timedelta)";
    const TYPES: &'static [&'static str] = DURATION;
    fn from_argument(value: &Value) -> Result<Self, String> {
        shift(value, 1.0).map(Self).ok_or_else(|| wrong::<Self>(value))
    }
}

/// Reads a duration that is not negative; `unit` is what a bare number counts, in seconds.
fn duration(value: &Value, unit: f64) -> Option<SignedDuration> {
    shift(value, unit).filter(|duration| !duration.is_negative())
}

fn shift(value: &Value, unit: f64) -> Option<SignedDuration> {
    Some(match value {
        Value::Number(number) => SignedDuration::try_from_secs_f64(number.as_f64()? * unit).ok()?,
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => SignedDuration::try_from_secs_f64(number * unit).ok()?,
            Err(_) => clock(text.trim()).or_else(|| span(text.trim()))?,
        },
        Value::Object(map) => timedelta(map)?,
        Value::Null | Value::Bool(_) | Value::Array(_) => return None,
    })
}

/// `HH:MM:SS` and `MM:SS`'s longer brother with days left out: hours may pass 24.
fn clock(text: &str) -> Option<SignedDuration> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
    let seconds = seconds.parse::<f64>().ok().filter(|s| (0.0..60.0).contains(s))?;
    (minutes < 60)
        .then(|| SignedDuration::from_secs(i64::from(hours) * 3600 + i64::from(minutes) * 60))?
        .checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?)
}

/// Words or ISO 8601; a day is 24 hours, and months and years, which have no one length, are none.
fn span(text: &str) -> Option<SignedDuration> {
    // Digits and colons alone are a clock's, which was read before.
    if !text.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    // dag-factory reads up to what it does not know, such as the comma of `1 days,`.
    let text = text.trim_end_matches(',');
    text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

/// `{"__type__": "datetime.timedelta", "hours": 1}`, as the dag-factory dialect writes it.
fn timedelta(map: &Map<String, Value>) -> Option<SignedDuration> {
    let mut seconds = 0.0;
    for (key, value) in map {
        let unit = match key.as_str() {
            "__type__" if matches!(value.as_str(), Some("datetime.timedelta")) => continue,
            "weeks" => 604_800.0,
            "days" => 86_400.0,
            "hours" => 3600.0,
            "minutes" => 60.0,
            "seconds" => 1.0,
            "milliseconds" => 1e-3,
            "microseconds" => 1e-6,
            _ => return None,
        };
        seconds += value.as_f64()? * unit;
    }
    SignedDuration::try_from_secs_f64(seconds).ok()
}

/// A time of the day.
impl FromArgument for Time {
    const EXPECTS: &'static str = "a time of the day such as \"18:30\" or \"18:30:15\"";
    fn from_argument(value: &Value) -> Result<Self, String> {
        let read = |text: &str| text.trim().parse::<Time>().ok();
        match value {
            Value::String(text) => read(text),
            // YAML 1.1 reads 18:30 as a number to the base of 60.
            Value::Number(number) => number
                .as_u64()
                .filter(|minutes| *minutes < 24 * 60)
                .and_then(|minutes| Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).ok()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
        .ok_or_else(|| wrong::<Self>(value))
    }
}

/// A time; one without an offset is in UTC.
impl FromArgument for Timestamp {
    const EXPECTS: &'static str = "a time such as \"2026-01-31T18:30:00+00:00\"";
    fn from_argument(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(timestamp).ok_or_else(|| wrong::<Self>(value))
    }
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let civil = || {
        text.parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    };
    text.parse::<Timestamp>().ok().or_else(civil)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seconds(value: Value) -> Option<f64> {
        duration(&value, 1.0).map(|d| d.as_secs_f64())
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(seconds(json!(90)), Some(90.0));
        assert_eq!(seconds(json!(0.5)), Some(0.5));
        assert_eq!(seconds(json!("90")), Some(90.0));
        assert_eq!(seconds(json!("01:30:00")), Some(5400.0));
        assert_eq!(seconds(json!("100:00:00.5")), Some(360_000.5));
        assert_eq!(seconds(json!("PT5M")), Some(300.0));
        assert_eq!(seconds(json!("1 days,")), Some(86_400.0));
        assert_eq!(seconds(json!("P1DT1H")), Some(90_000.0));
        let map = json!({"__type__": "datetime.timedelta", "hours": 1, "minutes": 1});
        assert_eq!(seconds(map), Some(3660.0));
        assert_eq!(duration(&json!(2), 60.0).unwrap().as_secs(), 120);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for value in [
            json!(-1),
            json!("soon"),
            json!("P1M"),
            json!("12:99:00"),
            json!("1:2"),
            json!(true),
            json!({"years": 1}),
            json!({"__type__": "datetime.datetime", "hours": 1}),
            json!(1e300),
            json!("nan"),
        ] {
            assert_eq!(seconds(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_shown_with_the_mend() {
        let wrong = Strings::from_argument(&json!({"PORT": 8080})).unwrap_err();
        assert_eq!(
            wrong,
            "has the entry `PORT`, which must be a string; found the number 8080: put it in quotes"
        );
    }

    #[test]
    fn times_are_read_with_and_without_an_offset() {
        let six = "2026-01-31T18:00:00Z".parse::<Timestamp>().unwrap();
        for text in ["2026-01-31T18:00:00+00:00", "2026-01-31 18:00:00", "2026-01-31T20:00:00+02:00"] {
            assert_eq!(Timestamp::from_argument(&json!(text)), Ok(six), "{text}");
        }
        assert_eq!(Time::from_argument(&json!("18:30")), Ok(jiff::civil::time(18, 30, 0, 0)));
        assert_eq!(Time::from_argument(&json!(1110)), Ok(jiff::civil::time(18, 30, 0, 0)));
        assert!(Time::from_argument(&json!("25:00")).is_err());
    }
}
