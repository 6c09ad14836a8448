//! Jinja expressions over what an operator got: they stand where Airflow has Python callables.

use serde_json::{Map, Value};
use updraft_core::jinja;

/// How much an expression may do beside going through what it sees: one that does not end would hold up all other sensors.
const FUEL: u64 = 1_000_000;

/// Reads the expression of an argument; what is none is refused, and so is what looks at other things than `names`:
/// `package.module.function` is an expression, and means nothing here. `mend` says what to write.
pub(super) fn read(expression: &str, names: &[&str], mend: &str) -> Result<(), String> {
    match jinja::read_expression(expression, names) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(format!("looks at `{name}`, which there is not: {mend}")),
        Err(reason) => Err(format!("is no expression: {reason}; {mend}")),
    }
}

/// Whether the expression of the argument `name` holds for what it sees.
pub(super) fn holds(name: &str, expression: &str, sees: &Map<String, Value>) -> Result<bool, String> {
    jinja::holds(expression, sees, FUEL).map_err(|error| format!("{name} `{expression}`: {error}"))
}

/// What the expression of the argument `name` makes of what it sees.
pub(super) fn value(name: &str, expression: &str, sees: &Map<String, Value>) -> Result<Value, String> {
    let value = jinja::evaluate(expression, sees, FUEL)
        .and_then(|value| value.to_json().map_err(|fault| fault.reason));
    value.map_err(|error| format!("{name} `{expression}`: {error}"))
}

/// What an expression sees.
pub(super) fn sees<const N: usize>(names: [(&str, Value); N]) -> Map<String, Value> {
    names.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
