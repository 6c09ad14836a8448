//! Reading values as what they have to be. Each reader notes what is wrong and where, so that one look at
//! a file shows all of it.

use jiff::{SignedDuration, civil::Date, tz::Offset};
use serde_json::{Map, Value as Json, json};
use updraft_core::Labels;
use updraft_operators::catalog::{OBJECT, OBJECT_ARGS, TIMEDELTA, takes_objects};

use super::{
    node::{Entry, Mapping, Node, Value},
    object,
    problem::Problems,
};

/// The value can't be had; why, has been noted.
#[derive(Debug)]
pub(super) struct Noted;

/// What was read; `None` for nothing (`null`), which everywhere means the default.
pub(super) type Got<T> = Result<Option<T>, Noted>;

/// Puts what was read in its place. What can't be had leaves it as it was: the DAG will not come to be.
pub(super) fn set<T>(slot: &mut T, got: Got<T>, default: T) {
    match got {
        Ok(Some(value)) => *slot = value,
        Ok(None) => *slot = default,
        Err(Noted) => {}
    }
}

/// The same for what may be absent.
pub(super) fn set_option<T>(slot: &mut Option<T>, got: Got<T>) {
    if let Ok(value) = got {
        *slot = value;
    }
}

pub(super) fn wrong<T>(node: &Node, expected: &str, problems: &mut Problems) -> Got<T> {
    let quote = match &node.value {
        Value::Bool(_) | Value::Number(_) | Value::Date(_) | Value::DateTime(..) if expected == "text" => {
            ": put it in quotes"
        }
        _ => "",
    };
    problems.error(node.place, format!("expected {expected}, found {}{quote}", node.kind()));
    Err(Noted)
}

pub(super) fn text(node: &Node, problems: &mut Problems) -> Got<String> {
    match &node.value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text.to_string())),
        _ => wrong(node, "text", problems),
    }
}

pub(super) fn boolean(node: &Node, problems: &mut Problems) -> Got<bool> {
    match &node.value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(*value)),
        _ => wrong(node, "true or false", problems),
    }
}

/// A whole number in the range of its type.
pub(super) fn whole<T: TryFrom<i64>>(node: &Node, expected: &str, problems: &mut Problems) -> Got<T> {
    let number = match &node.value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => wrong(node, expected, problems),
    }
}

/// A whole number, zero or more.
pub(super) fn count(node: &Node, problems: &mut Problems) -> Got<u32> {
    let is_more = matches!(&node.value, Value::Number(number) if number.as_f64() > Some(f64::from(u32::MAX)));
    let expected = if is_more { "a whole number, 4294967295 at most" } else { "a whole number, 0 or more" };
    whole(node, expected, problems)
}

/// The same, also as text, which Airflow takes for `retries`.
pub(super) fn count_as_text(node: &Node, problems: &mut Problems) -> Got<u32> {
    match node.text().and_then(|text| text.trim().parse().ok()) {
        Some(count) => Ok(Some(count)),
        None => count(node, problems),
    }
}

/// A whole number, one or more.
pub(super) fn at_least_one(node: &Node, problems: &mut Problems) -> Got<u32> {
    match &node.value {
        Value::Number(number) if number.as_i64() == Some(0) => {
            wrong(node, "a whole number, 1 or more", problems)
        }
        _ => count(node, problems),
    }
}

/// Labels: texts by their names. Numbers and truth values are taken as they are written in JSON.
pub(super) fn labels(node: &Node, problems: &mut Problems) -> Got<Labels> {
    let Value::Map(map) = &node.value else {
        return match node.value {
            Value::Null => Ok(None),
            _ => wrong(node, "labels by their names, as in `gpu: a100`", problems),
        };
    };
    let mut labels = Labels::new();
    for entry in &map.entries {
        let value = match &entry.node.value {
            Value::Text(text) => text.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return wrong(&entry.node, "a label's value, a text", problems),
        };
        labels.insert(entry.key.to_string(), value);
    }
    Ok(Some(labels))
}

/// A length of time, zero or more: a number of seconds, a `timedelta`, or words (`5 minutes`, `PT5M`).
pub(super) fn duration(node: &Node, problems: &mut Problems) -> Got<SignedDuration> {
    let found = match &node.value {
        Value::Null => return Ok(None),
        Value::Duration(duration) => Some(*duration),
        Value::Number(number) => object::times(SignedDuration::from_secs(1), number),
        Value::Text(text) => words(text),
        _ => None,
    };
    match found.filter(|duration| !duration.is_negative()) {
        Some(duration) => Ok(Some(duration)),
        None => {
            let expected = "a length of time (seconds as a number, `5 minutes`, or a timedelta)";
            wrong(node, expected, problems)
        }
    }
}

/// A length of time in words. A day has 24 hours: nothing here is counted along a calendar.
fn words(text: &str) -> Option<SignedDuration> {
    let span: jiff::Span = text.trim().parse().ok()?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return None;
    }
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// One text or several.
pub(super) fn texts(node: &Node, problems: &mut Problems) -> Got<Vec<String>> {
    match &node.value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(vec![text.to_string()])),
        Value::List(list) => {
            let mut all = Vec::with_capacity(list.items.len());
            for item in &list.items {
                match text(item, problems)? {
                    Some(text) => all.push(text),
                    None => return wrong(item, "text", problems),
                }
            }
            Ok(Some(all))
        }
        _ => wrong(node, "text or a list of texts", problems),
    }
}

/// Mail addresses: one, several parted by commas or semicolons, or a list of such.
pub(super) fn addresses(node: &Node, problems: &mut Problems) -> Got<Vec<String>> {
    let Some(texts) = texts(node, problems)? else { return Ok(None) };
    let all: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split([',', ';']))
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect();
    let looks_right = |address: &&String| address.contains('@') || address.contains("{{");
    if let Some(wrong) = all.iter().find(|address| !looks_right(address)) {
        problems.error(node.place, format!("`{wrong}` is no mail address: it has no `@`"));
        return Err(Noted);
    }
    Ok(Some(all))
}

/// Whole numbers: one or several.
pub(super) fn exit_codes(node: &Node, problems: &mut Problems) -> Got<Vec<i32>> {
    let expected = "an exit code (a whole number)";
    let Some(items) = node.list() else {
        return Ok(whole(node, expected, problems)?.map(|code| vec![code]));
    };
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        match whole(item, expected, problems)? {
            Some(code) => all.push(code),
            None => return wrong(item, expected, problems),
        }
    }
    Ok(Some(all))
}

/// One of a set of words, as serde knows them.
pub(super) fn word<T: serde::de::DeserializeOwned>(
    node: &Node,
    known: &[&str],
    problems: &mut Problems,
) -> Got<T> {
    let Some(text) = text(node, problems)? else { return Ok(None) };
    if let Ok(value) = serde_json::from_value(Json::String(text.clone())) {
        return Ok(Some(value));
    }
    let hint = did_you_mean(&text, known.iter().copied());
    problems.error(node.place, format!("`{text}` is none of {}{hint}", known.join(", ")));
    Err(Noted)
}

/// `; did you mean …?` for a name that is nearly one of these.
pub(super) fn did_you_mean<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = |known: &str| strsim::damerau_levenshtein(written, known);
    known
        .map(|known| (near(known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}

/// What becomes of what JSON has no form for.
#[derive(Clone, Copy)]
enum Form {
    /// Dates become ISO 8601 text, a timedelta an ISO 8601 duration, and an object is an error.
    Plain,
    /// Objects are described, so that whoever reads the argument can say what it takes.
    Described,
    /// Dates and timedeltas too are objects: Python gets them.
    Python,
}

/// A value as JSON. Dates become ISO 8601 text, a timedelta an ISO 8601 duration.
pub(super) fn json(node: &Node, problems: &mut Problems) -> Result<Json, Noted> {
    as_json(node, Form::Plain, problems)
}

/// A value of this argument of an operator.
pub(super) fn argument(
    name: &str,
    node: &Node,
    operator: &str,
    problems: &mut Problems,
) -> Result<Json, Noted> {
    let form = if takes_objects(operator, name) { Form::Python } else { Form::Described };
    as_json(node, form, problems)
}

/// An argument of a function of Python, as [`OBJECT`] describes what is an object.
pub(super) fn python(node: &Node, problems: &mut Problems) -> Result<Json, Noted> {
    as_json(node, Form::Python, problems)
}

fn as_json(node: &Node, form: Form, problems: &mut Problems) -> Result<Json, Noted> {
    if let (Form::Python, Some(described)) = (form, described(&node.value)) {
        return Ok(described);
    }
    if let (Form::Plain | Form::Described, Value::Object(object)) = (form, &node.value)
        && let Some(time) = object::time_of_day(object)
    {
        return time.map(|time| Json::String(time.to_string())).map_err(|reason| {
            problems.error(node.place, format!("this is {reason}"));
            Noted
        });
    }
    let mut list = |items: &[Node]| -> Result<Vec<Json>, Noted> {
        items.iter().map(|item| as_json(item, form, problems)).collect()
    };
    Ok(match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Json::Number(number.clone()),
        Value::Date(date) => Json::String(date.to_string()),
        Value::DateTime(time, None) => Json::String(time.to_string()),
        Value::DateTime(time, Some(offset)) => Json::String(format!("{time}{offset}")),
        Value::Text(text) => Json::String(text.to_string()),
        Value::Duration(duration) => Json::String(duration.to_string()),
        Value::List(all) => Json::Array(list(&all.items)?),
        Value::Map(map) => Json::Object(pairs(map, form, problems)?),
        Value::Object(object) if !matches!(form, Form::Plain) => {
            let arguments = list(&object.arguments)?;
            let mut described = pairs(&object.keywords, form, problems)?;
            described.insert(OBJECT.into(), Json::String(object.class.to_string()));
            if !arguments.is_empty() {
                described.insert(OBJECT_ARGS.into(), Json::Array(arguments));
            }
            Json::Object(described)
        }
        Value::Object(_) => {
            problems.error(node.place, format!("{} can't be made here: write plain values", node.kind()));
            return Err(Noted);
        }
        Value::Bad(reason) => {
            problems.error(node.place, format!("this is {reason}"));
            return Err(Noted);
        }
    })
}

fn pairs(map: &Mapping, form: Form, problems: &mut Problems) -> Result<Map<String, Json>, Noted> {
    let pair = |entry: &Entry| Ok((entry.key.to_string(), as_json(&entry.node, form, problems)?));
    map.entries.iter().map(pair).collect()
}

/// A date, a time or a duration as an object of Python's `datetime`.
fn described(value: &Value) -> Option<Json> {
    let days = |date: Date| [date.year().into(), date.month().into(), i32::from(date.day())];
    Some(match value {
        Value::Duration(duration) => {
            let micros = duration.subsec_micros();
            let mut described = json!({OBJECT: TIMEDELTA, "seconds": duration.as_secs()});
            if micros != 0 {
                described["microseconds"] = micros.into();
            }
            described
        }
        Value::Date(date) => json!({OBJECT: "datetime.date", OBJECT_ARGS: days(*date)}),
        Value::DateTime(time, offset) => {
            let micros = time.subsec_nanosecond() / 1000;
            let clock = [time.hour().into(), time.minute().into(), time.second().into(), micros];
            let all = [days(time.date()).as_slice(), &clock].concat();
            let mut described = json!({OBJECT: "datetime.datetime", OBJECT_ARGS: all});
            if let Some(offset) = offset {
                described["tzinfo"] = zone(*offset);
            }
            described
        }
        _ => return None,
    })
}

fn zone(offset: Offset) -> Json {
    let delta = json!({OBJECT: TIMEDELTA, "seconds": offset.seconds()});
    json!({OBJECT: "datetime.timezone", OBJECT_ARGS: [delta]})
}
