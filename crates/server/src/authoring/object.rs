//! dag-factory's ways of saying in YAML what Python says by calls: `__type__`, `__join__` and their like.
//!
//! They are resolved before anything is merged: a `timedelta` is one value and not a mapping whose keys
//! could be mixed with another's.

use std::sync::Arc;

use jiff::{
    SignedDuration,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::node::{Entry, List, Mapping, Node, Object, Value};

/// The value with all such mappings in it resolved; `None` where there are none.
fn resolve(node: &Node) -> Option<Node> {
    let value = match &node.value {
        Value::List(list) => Value::List(Arc::new(List::new(changed(&list.items, resolve)?))),
        Value::Map(map) => {
            let entry = |entry: &Entry| Some(Entry { node: resolve(&entry.node)?, ..entry.clone() });
            let changed = changed(&map.entries, entry);
            let special = special_key(map);
            if changed.is_none() && special.is_none() {
                return None;
            }
            let map = changed.map_or_else(|| map.clone(), |entries| Arc::new(Mapping::new(entries)));
            special.map_or_else(|| Value::Map(map.clone()), |key| python(key, &map))
        }
        _ => return None,
    };
    Some(Node { place: node.place, value })
}

/// The value with all such mappings in it resolved.
pub(super) fn resolved(node: &Node) -> Node {
    resolve(node).unwrap_or_else(|| node.clone())
}

/// The items with `change` made, `None` where it changes none. Each is looked at once: what is nested deep
/// must not cost twice as much with each level.
fn changed<T: Clone>(items: &[T], change: impl Fn(&T) -> Option<T>) -> Option<Vec<T>> {
    let mut all: Option<Vec<T>> = None;
    for (at, item) in items.iter().enumerate() {
        match (change(item), &mut all) {
            (None, None) => {}
            (None, Some(all)) => all.push(item.clone()),
            (Some(new), Some(all)) => all.push(new),
            (Some(new), None) => all = Some([&items[..at], &[new]].concat()),
        }
    }
    all
}

fn special_key(map: &Mapping) -> Option<&'static str> {
    ["__type__", "__and__", "__or__", "__join__"].into_iter().find(|key| map.get(key).is_some())
}

fn python(key: &'static str, map: &Mapping) -> Value {
    match key {
        "__join__" => join(map),
        "__type__" => typed(map),
        // Conditions on assets.
        _ => match map.get(key).and_then(Node::list) {
            Some(items) => Value::Object(Arc::new(Object {
                class: key.into(),
                arguments: items.to_vec(),
                keywords: Mapping::new(Vec::new()),
            })),
            None => bad(format!("a `{key}` without a list")),
        },
    }
}

fn bad(reason: impl Into<String>) -> Value {
    Value::Bad(Arc::from(reason.into()))
}

fn join(map: &Mapping) -> Value {
    let mut joined = String::new();
    let Some(items) = map.get("__join__").and_then(Node::list) else {
        return bad("a `__join__` without a list");
    };
    for item in items {
        match &item.value {
            Value::Text(text) => joined.push_str(text),
            Value::Number(number) => joined.push_str(&number.to_string()),
            Value::Bool(value) => joined.push_str(if *value { "True" } else { "False" }),
            Value::Date(date) => joined.push_str(&date.to_string()),
            _ => return bad(format!("a `__join__` with {} in it", item.kind())),
        }
    }
    Value::Text(joined.into())
}

fn typed(map: &Mapping) -> Value {
    let Some(class) = map.get("__type__").and_then(Node::text) else {
        return bad("a `__type__` that is no text");
    };
    let arguments = match map.get("__args__") {
        None => &[],
        Some(node) if node.is_null() => &[],
        Some(node) => match node.list() {
            Some(items) => items,
            None => return bad("`__args__` that are no list"),
        },
    };
    let keywords = || map.entries.iter().filter(|entry| !matches!(&*entry.key, "__type__" | "__args__"));
    match &**class {
        "builtins.list" => match map.get("items").and_then(Node::list) {
            Some(items) => Value::List(Arc::new(List::new(items.to_vec()))),
            None => bad("a `builtins.list` without `items`"),
        },
        "datetime.timedelta" | "pendulum.duration" | "pendulum.Duration" => timedelta(arguments, keywords()),
        "datetime.datetime" | "pendulum.DateTime" => datetime(arguments, keywords(), None),
        "pendulum.datetime" => datetime(arguments, keywords(), Some("UTC")),
        "dateutil.relativedelta.relativedelta" => relativedelta(arguments, keywords()),
        "datetime.date" | "pendulum.date" | "pendulum.Date" => match datetime(arguments, keywords(), None) {
            Value::DateTime(time, _) => Value::Date(time.date()),
            other => other,
        },
        class if MEMBERS.contains(&class) => match arguments {
            // A member of an enumeration is made of its value, which is what is written elsewhere.
            [value] if keywords().next().is_none() => member(class, value),
            _ => bad(format!("a `{class}` that is not made of one value: `__args__: [value]`")),
        },
        _ => {
            let keywords = Mapping::new(keywords().cloned().collect());
            Value::Object(Arc::new(Object { class: class.clone(), arguments: arguments.to_vec(), keywords }))
        }
    }
}

/// The arguments of a call, each with its name.
fn named<'a>(
    names: &'static [&'static str],
    arguments: &'a [Node],
    keywords: impl Iterator<Item = &'a Entry>,
) -> Result<Vec<(&'static str, &'a Node)>, String> {
    if arguments.len() > names.len() {
        return Err(format!("with {} arguments; it takes {}", arguments.len(), names.len()));
    }
    let mut all: Vec<(&'static str, &Node)> = names.iter().copied().zip(arguments).collect();
    for entry in keywords {
        match names.iter().find(|name| **name == &*entry.key) {
            Some(name) => all.push((name, &entry.node)),
            None => return Err(format!("with `{}`; it takes {}", entry.key, names.join(", "))),
        }
    }
    Ok(all)
}

/// Enumerations of Airflow whose members stand for a word or a number.
const MEMBERS: [&str; 7] = [
    "airflow.providers.standard.utils.weekday.WeekDay",
    "airflow.utils.weekday.WeekDay",
    "airflow.sdk.WeightRule",
    "airflow.task.weight_rule.WeightRule",
    "airflow.utils.weight_rule.WeightRule",
    "airflow.task.trigger_rule.TriggerRule",
    "airflow.utils.trigger_rule.TriggerRule",
];

/// What a member is written as elsewhere: a day of the week by its name, Monday being 1.
fn member(class: &str, value: &Node) -> Value {
    const DAYS: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    if !class.ends_with(".WeekDay") {
        return value.value.clone();
    }
    let number = if let Value::Number(number) = &value.value { number.as_u64() } else { None };
    let day =
        number.and_then(|number| usize::try_from(number).ok()?.checked_sub(1)).and_then(|at| DAYS.get(at));
    day.map_or_else(
        || bad(format!("a WeekDay of {}: days are 1 (Monday) to 7", value.kind())),
        |day| Value::Text((*day).into()),
    )
}

/// A length that has no months in it; those are as long as the month that they are counted from.
fn relativedelta<'a>(arguments: &[Node], keywords: impl Iterator<Item = &'a Entry>) -> Value {
    let mend =
        "write weeks, days, hours, minutes or seconds; for every month a cron, as in `schedule: '0 0 1 * *'`";
    let keywords: Vec<&Entry> = keywords.collect();
    let length = ["weeks", "days", "hours", "minutes", "seconds", "microseconds"];
    if let Some(other) = keywords.iter().find(|entry| !length.contains(&&*entry.key)) {
        return bad(format!("a relativedelta with `{}`: {mend}", other.key));
    }
    match arguments {
        [] => timedelta(&[], keywords.into_iter()),
        [_, ..] => bad(format!("a relativedelta of two times: {mend}")),
    }
}

fn timedelta<'a>(arguments: &[Node], keywords: impl Iterator<Item = &'a Entry>) -> Value {
    const NAMES: [&str; 7] = ["days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks"];
    let keywords: Vec<&Entry> = keywords.collect();
    let given = match named(&NAMES, arguments, keywords.into_iter()) {
        Ok(given) => given,
        Err(reason) => return bad(format!("a timedelta {reason}")),
    };
    let mut all = SignedDuration::ZERO;
    for (name, node) in given {
        let Value::Number(number) = &node.value else {
            return bad(format!("a timedelta whose {name} are {}", node.kind()));
        };
        let unit = match name {
            "weeks" => SignedDuration::from_hours(7 * 24),
            "days" => SignedDuration::from_hours(24),
            "hours" => SignedDuration::from_hours(1),
            "minutes" => SignedDuration::from_mins(1),
            "milliseconds" => SignedDuration::from_millis(1),
            "microseconds" => SignedDuration::from_micros(1),
            _ => SignedDuration::from_secs(1),
        };
        let Some(sum) = times(unit, number).and_then(|part| all.checked_add(part)) else {
            return bad(format!("a timedelta of {number} {name}, which is too long"));
        };
        all = sum;
    }
    Value::Duration(all)
}

/// A length of time so many times.
pub(super) fn times(unit: SignedDuration, number: &serde_json::Number) -> Option<SignedDuration> {
    if let Some(whole) = number.as_i64() {
        let nanos = unit.as_nanos().checked_mul(i128::from(whole))?;
        let seconds = i64::try_from(nanos / 1_000_000_000).ok()?;
        // The rest of a division by a billion is less than a billion.
        return Some(SignedDuration::new(seconds, (nanos % 1_000_000_000) as i32));
    }
    SignedDuration::try_from_secs_f64(unit.as_secs_f64() * number.as_f64()?).ok()
}

/// The time of day that an object of Python is, where it is one.
pub(super) fn time_of_day(object: &Object) -> Option<Result<jiff::civil::Time, String>> {
    let is_one = matches!(&*object.class, "datetime.time" | "pendulum.time" | "pendulum.Time");
    is_one.then(|| clock(&object.arguments, &object.keywords.entries))
}

fn clock(arguments: &[Node], keywords: &[Entry]) -> Result<jiff::civil::Time, String> {
    const NAMES: [&str; 4] = ["hour", "minute", "second", "microsecond"];
    if keywords.iter().any(|entry| matches!(&*entry.key, "tz" | "tzinfo")) {
        return Err(
            "a time of day with a zone of its own: leave it out, and write `timezone` in the DAG".into()
        );
    }
    let mut parts = [0i64; 4];
    for (name, node) in
        named(&NAMES, arguments, keywords.iter()).map_err(|reason| format!("a time {reason}"))?
    {
        let number = if let Value::Number(number) = &node.value { number.as_i64() } else { None };
        match (number, NAMES.iter().position(|known| *known == name)) {
            (Some(number), Some(at)) => parts[at] = number,
            _ => return Err(format!("a time whose {name} is {}", node.kind())),
        }
    }
    let [hour, minute, second, micros] = parts;
    let time = || {
        let nanos = i32::try_from(micros.checked_mul(1000)?).ok()?;
        let (hour, minute, second) =
            (hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?);
        jiff::civil::Time::new(hour, minute, second, nanos).ok()
    };
    time().ok_or_else(|| "a time that no day has".into())
}

/// The zone that an argument names: a text, or a zone of pendulum's or Python's.
fn zone_of(node: &Node) -> Result<TimeZone, String> {
    let name = match &node.value {
        Value::Text(name) => Some(name),
        Value::Object(object) => {
            match (&*object.class, &object.arguments[..], &object.keywords.entries[..]) {
                ("pendulum.timezone" | "pendulum.Timezone" | "zoneinfo.ZoneInfo", [name], []) => name.text(),
                ("pendulum.timezone" | "pendulum.Timezone" | "zoneinfo.ZoneInfo", [], [name]) => {
                    name.node.text()
                }
                _ => None,
            }
        }
        _ => None,
    };
    let mend = "write the name of a zone, such as `Europe/Berlin`";
    match name {
        Some(name) => TimeZone::get(name)
            .map_err(|_| format!("a time in the zone `{name}`, which there is not: {mend}")),
        None => Err(format!("a time whose zone is {}: {mend}", node.kind())),
    }
}

/// A date and time, in this zone where it names none.
fn datetime<'a>(
    arguments: &[Node],
    keywords: impl Iterator<Item = &'a Entry>,
    default_zone: Option<&str>,
) -> Value {
    const NAMES: [&str; 7] = ["year", "month", "day", "hour", "minute", "second", "microsecond"];
    let (zones, keywords): (Vec<&Entry>, Vec<&Entry>) =
        keywords.partition(|entry| matches!(&*entry.key, "tz" | "tzinfo"));
    let (arguments, last) = arguments.split_at(arguments.len().min(NAMES.len()));
    let zone = match zones.first().map(|entry| &entry.node).or(last.first()) {
        Some(node) if node.is_null() => None,
        Some(node) => match zone_of(node) {
            Ok(zone) => Some(zone),
            Err(reason) => return bad(reason),
        },
        None => default_zone.and_then(|name| TimeZone::get(name).ok()),
    };
    let given = match named(&NAMES, arguments, keywords.into_iter()) {
        Ok(given) => given,
        Err(reason) => return bad(format!("a time {reason}")),
    };
    let mut parts = [0i64, 1, 1, 0, 0, 0, 0];
    for (name, node) in given {
        let number = if let Value::Number(number) = &node.value { number.as_i64() } else { None };
        match (number, NAMES.iter().position(|known| *known == name)) {
            (Some(number), Some(at)) => parts[at] = number,
            _ => return bad(format!("a time whose {name} is {}", node.kind())),
        }
    }
    let time = || {
        let [year, month, day, hour, minute, second, micros] = parts;
        let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        let (hour, minute, second) =
            (hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?);
        let nanos = i32::try_from(micros.checked_mul(1000)?).ok()?;
        let time = jiff::civil::Time::new(hour, minute, second, nanos).ok()?;
        Some(DateTime::from_parts(date, time))
    };
    let Some(time) = time() else { return bad("a time that is not in the calendar") };
    let offset = zone.map(|zone| time.to_zoned(zone).map(|zoned| zoned.offset()));
    match offset.transpose() {
        Ok(offset) => Value::DateTime(time, offset),
        Err(_) => bad("a time that is not in the calendar"),
    }
}
