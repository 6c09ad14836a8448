//! A DAG's own macros (`user_defined_macros`): functions of Python, each call of which is a process, and values.
//!
//! What goes there and back keeps its type: lists, dicts and what JSON has, times and durations. What a function is
//! given of Airflow's context it gets from the context that Python functions have.

use std::rc::Rc;

use jiff::{Zoned, civil, fmt::temporal::Pieces, tz::TimeZone};
use serde_json::{Value as Json, json};
use updraft_core::jinja::{
    Args, Machine, Result, Value, Within, fault,
    time::{At, DateTime, Delta},
};

use super::{
    airflow::World,
    object::{Airflow, Object},
};
use crate::operators::python::macro_call;

/// What stands under a name of `user_defined_macros`, as dag-factory reads it: a text is the dotted path to a
/// function, a mapping has names within it, and anything else is a value.
pub(super) fn named(of: &Json) -> Value {
    match of {
        Json::String(path) => Value::from(Object::Own(Rc::from(&**path))),
        Json::Object(map) => {
            Value::dict(map.iter().map(|(name, of)| (Value::str(&**name), named(of))).collect())
        }
        other => Value::from(other),
    }
}

impl World<'_> {
    /// Calls the function at this dotted path.
    pub(super) fn call_own(&self, machine: &Machine<'_>, path: &str, args: Args) -> Result<Value> {
        // A process takes tens of milliseconds.
        machine.charge(10_000)?;
        let within = &mut Within::default();
        let list = args.list.iter().map(|value| sent(value, within)).collect::<Result<Vec<_>>>()?;
        let named = args.named.iter().map(|(name, value)| Ok((name.to_string(), sent(value, within)?)));
        let named = named.collect::<Result<serde_json::Map<_, _>>>()?;
        let plan = macro_call(self.order, self.host.files()?, path, list, named);
        let answer = self.host.call(&plan)?;
        machine.charge(answer.to_string().len())?;
        match got(&answer) {
            Some(value) => Ok(value),
            None => fault(format!("what {path}() returned is not understood: {answer}")),
        }
    }
}

/// A value as it goes to Python. An object says by its one key what it is.
fn sent(value: &Value, within: &mut Within) -> Result<Json> {
    within.enter(|within| {
        Ok(match value {
            Value::List(items) => {
                items.borrow().iter().map(|item| sent(item, within)).collect::<Result<_>>()?
            }
            Value::Tuple(items) | Value::View(_, items) => {
                items.iter().map(|item| sent(item, within)).collect::<Result<_>>()?
            }
            Value::Dict(dict) => {
                let pairs = dict.borrow();
                let pair =
                    |(key, value): &(Value, Value)| Ok(json!([sent(key, within)?, sent(value, within)?]));
                json!({"dict": pairs.0.iter().map(pair).collect::<Result<Vec<_>>>()?})
            }
            Value::DateTime(time) if time.pendulum => json!({"moment": time.isoformat('T')}),
            Value::DateTime(time) => json!({"datetime": time.isoformat('T')}),
            Value::Date(date) => json!({"date": date.to_string()}),
            Value::Delta(delta) => match i64::try_from(delta.micros) {
                Ok(micros) => json!({"microseconds": micros}),
                Err(_) => return fault("a duration of so many years can't be passed"),
            },
            other => match Object::of(other) {
                Some(Object::Airflow(of)) => match in_context(*of) {
                    Some(way) => json!({"context": way}),
                    None => return fault(format!("a {} can't be passed", value.type_name())),
                },
                _ => other.to_json_within(within)?,
            },
        })
    })
}

/// The way to something in the context that Python functions have.
fn in_context(of: Airflow) -> Option<&'static [&'static str]> {
    Some(match of {
        Airflow::TaskInstance => &["ti"],
        Airflow::Task => &["task"],
        Airflow::Dag => &["dag"],
        Airflow::DagRun => &["dag_run"],
        Airflow::Macros => &["macros"],
        Airflow::Variables { json: true } => &["var", "json"],
        Airflow::Variables { json: false } => &["var", "value"],
        Airflow::Connections => &["conn"],
        Airflow::DateTime | Airflow::Json => return None,
    })
}

/// A value as it comes from Python.
fn got(answer: &Json) -> Option<Value> {
    let map = match answer {
        Json::Array(items) => return items.iter().map(got).collect::<Option<_>>().map(Value::list),
        Json::Object(map) => map,
        plain => return Some(Value::from(plain)),
    };
    let (kind, of) = map.iter().next()?;
    Some(match (&**kind, of) {
        ("dict", Json::Array(pairs)) => {
            let pair = |pair: &Json| Some((got(&pair[0])?, got(&pair[1])?));
            Value::dict(pairs.iter().map(pair).collect::<Option<_>>()?)
        }
        ("moment", Json::String(text)) => time(text, true)?.into(),
        ("datetime", Json::String(text)) => time(text, false)?.into(),
        ("date", Json::String(text)) => Value::Date(text.parse().ok()?),
        ("microseconds", of) => Value::Delta(Delta { micros: of.as_i64()?.into(), interval: false }),
        _ => return None,
    })
}

/// A time as Python's `isoformat` writes it.
fn time(text: &str, pendulum: bool) -> Option<DateTime> {
    let pieces = Pieces::parse(text).ok()?;
    let at = civil::DateTime::from_parts(pieces.date(), pieces.time().unwrap_or(civil::Time::midnight()));
    let at = match pieces.to_numeric_offset() {
        None => At::Naive(at),
        Some(offset) if offset.is_zero() => At::Aware(at.to_zoned(TimeZone::UTC).ok()?),
        Some(offset) => At::Aware(Zoned::new(offset.to_timestamp(at).ok()?, TimeZone::fixed(offset))),
    };
    Some(DateTime { at, pendulum })
}
