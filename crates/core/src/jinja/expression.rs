//! Expressions by themselves, over values that somebody has: conditions, and what operators ask of an answer.

use serde_json::{Map, Value as Json};

use super::{
    eval::Machine,
    fault::{Fault, Result},
    object::{GLOBALS, World, global},
    syntax,
    value::Value,
};

/// How much may be done with each byte of what an expression sees, besides.
const FUEL_OF_NAMES: u64 = 16;

/// What an expression sees beside the values: Jinja's functions.
struct Functions;

impl World for Functions {
    fn variable(&self, name: &str) -> Result<Option<Value>> {
        Ok(global(name))
    }

    fn names(&self) -> Vec<&str> {
        GLOBALS.to_vec()
    }

    fn mend(&self) -> &str {
        "; where it may be missing, say what holds then: `… | default(0)`"
    }
}

/// Reads an expression that is to see these names. Gives the first other name that it looks at, and that Jinja has no
/// function for.
///
/// # Errors
///
/// Where it is no expression.
pub fn read_expression(text: &str, names: &[&str]) -> std::result::Result<Option<String>, String> {
    let seen = syntax::names_of_expression(text).map_err(|fault| without_line(*fault))?;
    let unknown = seen.iter().filter(|name| !names.contains(&&***name) && global(name).is_none()).min();
    Ok(unknown.map(|name| name.to_string()))
}

/// What an expression comes to that sees these values, with so much fuel: what can only be gone through is a list.
///
/// # Errors
///
/// Where it is none, looks at what is not there, or takes too long.
pub fn evaluate(text: &str, names: &Map<String, Json>, fuel: u64) -> std::result::Result<Value, String> {
    let bytes: u64 = names.values().map(bytes_of).sum();
    let machine = Machine::new(&Functions, fuel.saturating_add(FUEL_OF_NAMES * bytes));
    machine.value(text, names).map_err(|fault| without_line(*fault))
}

/// Whether an expression holds that sees these values: see [`evaluate`].
///
/// # Errors
///
/// Where that is not known.
pub fn holds(text: &str, names: &Map<String, Json>, fuel: u64) -> std::result::Result<bool, String> {
    evaluate(text, names, fuel)?.truth().map_err(|fault| without_line(*fault))
}

/// What is wrong. An expression is mostly one line, and stands in no block.
fn without_line(fault: Fault) -> String {
    fault.reason.replace("end of variable block", "end of the expression")
}

/// About how many bytes a value is.
pub fn bytes_of(value: &Json) -> u64 {
    match value {
        Json::String(text) => text.len() as u64 + 1,
        Json::Array(items) => items.iter().map(|item| 1 + bytes_of(item)).sum(),
        Json::Object(map) => map.iter().map(|(key, item)| key.len() as u64 + bytes_of(item)).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 1,
    }
}
