//! Airflow's Jinja: the variables, macros and filters of Airflow 3, and nothing that reads like Jinja2 and
//! means something else.
//!
//! They are read and carried out by `updraft_core::jinja`; what they see is here. What is not supplied is refused with
//! an error that names it. `tests/it/oracle` compares both.

mod airflow;
mod object;
mod own;
mod world;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};
pub(crate) use updraft_core::jinja::is_template;
use updraft_core::{
    jinja::{
        self, Fault, Machine, Named, Result as Rendered, Value, certain, concat, fault, time::DateTime,
        without_last_line_end,
    },
    nearest::did_you_mean,
    protocol::Order,
};

/// The names of Airflow's context whose attributes are known whatever the run, and these.
pub use self::airflow::ATTRIBUTES;
use self::airflow::World;
pub(crate) use self::airflow::log_url;
use crate::{Host, HostError};

/// How much one argument's templates may do: each expression counts one, and so does each byte or item made.
const FUEL: u64 = 5_000_000;

/// A template that can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template of `{field}`{}: {reason}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
pub struct BadTemplate {
    /// The argument it stands in, with the way to it: `env.HOME`, `op_args[2]`.
    pub field: String,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// What is wrong, and the mend.
    pub reason: String,
    /// Set where it is not the template's fault: a look-up failed.
    pub host: Option<HostError>,
}

impl BadTemplate {
    fn at(field: &str, fault: Fault) -> Self {
        let host = fault.cause.and_then(|cause| cause.downcast().ok()).map(|host| *host);
        Self { field: field.into(), line: fault.line, reason: fault.reason, host }
    }
}

impl From<HostError> for Box<Fault> {
    fn from(error: HostError) -> Self {
        Self::new(Fault { line: None, reason: error.to_string(), cause: Some(Box::new(error)) })
    }
}

/// Renders the templates of one order's arguments.
pub struct Renderer<'a> {
    world: World<'a>,
    /// What is seen beside Airflow's context.
    names: Map<String, Json>,
}

impl<'a> Renderer<'a> {
    /// A renderer for the templates of this order.
    ///
    /// # Errors
    ///
    /// Where the DAG's options for templates are not supported.
    pub fn new(order: &'a Order, host: &'a dyn Host) -> Result<Self, BadTemplate> {
        let world = World::new(order, host).map_err(|fault| BadTemplate::at("template", *fault))?;
        Ok(Self { world, names: Map::new() })
    }

    /// The same for templates that are not the DAG's own: these names are seen too, before Airflow's, and what
    /// is rendered is text, whatever the DAG's options say.
    #[must_use]
    pub(crate) fn with_names(mut self, names: Map<String, Json>) -> Self {
        self.names = names;
        self.world.give_text();
        self
    }

    /// Renders all strings in a value, however deep. One that ends in one of `files` names a file with the
    /// template; one without `{{`, `{%` and `{#` costs nothing.
    ///
    /// # Errors
    ///
    /// Where a template can't be read or rendered, takes too long, or makes too much.
    pub fn render(&self, field: &str, value: &Json, files: &[&str]) -> Result<Json, BadTemplate> {
        // Airflow leaves what is empty as it is.
        if value.as_str() == Some("") {
            return Ok(value.clone());
        }
        self.render_any(&mut field.to_owned(), value, files)
    }

    fn render_any(&self, field: &mut String, value: &Json, files: &[&str]) -> Result<Json, BadTemplate> {
        let length = field.len();
        Ok(match value {
            Json::String(text) => {
                self.render_text(text, files).map_err(|fault| BadTemplate::at(field, *fault))?
            }
            Json::Array(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for (place, item) in items.iter().enumerate() {
                    field.push_str(&format!("[{place}]"));
                    rendered.push(self.render_any(field, item, files)?);
                    field.truncate(length);
                }
                Json::Array(rendered)
            }
            Json::Object(map) => {
                let mut rendered = Map::with_capacity(map.len());
                for (key, item) in map {
                    field.push('.');
                    field.push_str(key);
                    rendered.insert(key.clone(), self.render_any(field, item, files)?);
                    field.truncate(length);
                }
                Json::Object(rendered)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        })
    }

    fn render_text(&self, text: &str, files: &[&str]) -> Rendered<Json> {
        let file;
        let source = if files.iter().any(|end| text.ends_with(end)) {
            file = self.world.file(text)?.map_or_else(
                || {
                    fault(format!(
                        "there is no file {text} in the DAG's folder; to run it as it is, put a space behind it"
                    ))
                },
                Ok,
            )?;
            &file
        } else {
            text
        };
        if !is_template(source) {
            let plain = without_last_line_end(source);
            return if self.world.is_native() {
                concat(nonempty(plain))?.to_json()
            } else {
                Ok(plain.into())
            };
        }
        Machine::new(&self.world, FUEL).render(source, &self.names)?.to_json()
    }

    /// The value of an expression, as it stands within `{{ }}`.
    ///
    /// # Errors
    ///
    /// Where it can't be read or told, takes too long, or is nothing that JSON knows.
    pub(crate) fn evaluate(&self, field: &str, expression: &str) -> Result<Json, BadTemplate> {
        let value = || Machine::new(&self.world, FUEL).value(expression, &self.names)?.to_json();
        value().map_err(|fault| BadTemplate::at(field, *fault))
    }

    /// What was looked up so far of secret variables and of connections.
    pub fn into_secrets(self) -> Vec<String> {
        self.world.secrets.into_inner()
    }
}

fn nonempty(text: String) -> Vec<Value> {
    if text.is_empty() { Vec::new() } else { vec![Value::str(text)] }
}

/// Checks that the templates in a value can be read: their syntax, their filters and tests, and attributes of Airflow's
/// objects, where it is certain that these are asked for. Other names may be there or not:
/// `catalog::unknown_names` knows of which it is certain that they are not.
///
/// # Errors
///
/// The first that can't, with the way to it.
pub fn check(field: &str, value: &Json) -> Result<(), BadTemplate> {
    match value {
        Json::String(text) if is_template(text) => certain(text)
            .and_then(|certain| airflow::check(&certain))
            .map_err(|fault| BadTemplate::at(field, *fault)),
        Json::Array(items) => {
            items.iter().enumerate().try_for_each(|(place, item)| check(&format!("{field}[{place}]"), item))
        }
        Json::Object(map) => map.iter().try_for_each(|(key, item)| check(&format!("{field}.{key}"), item)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

/// Which names templates see besides Airflow's.
pub(crate) struct Names<'a> {
    /// These.
    pub(crate) own: &'a [&'a str],
    /// Why one of Airflow's is not there after all.
    pub(crate) closed: fn(&str) -> Option<String>,
    /// What to do instead of using a name that is not there, and whether it is called as a function is.
    pub(crate) mend: fn(bool) -> String,
}

/// The names in the templates of a value that are certain not to be there when it is rendered, where that is certain to
/// fail: they are none of Airflow's, the template gives them no value, and it does not ask first whether they are there.
/// A template that can't be read has none: see [`check`].
pub(crate) fn unknown_names(field: &str, value: &Json, names: &Names<'_>) -> Vec<BadTemplate> {
    let Names { own, closed, mend } = *names;
    let mut all = Vec::new();
    each(field, value, &mut |field, text| {
        let mut told = Vec::new();
        for Named { line, name, called } in certain(text).map(|certain| certain.named).unwrap_or_default() {
            let known = || airflow::names().chain(own.iter().copied());
            let refused = airflow::refused(&name).or_else(|| closed(&name));
            let is_there = refused.is_none() && known().any(|known| known == &*name);
            if is_there || told.contains(&name) {
                continue;
            }
            let reason = refused.unwrap_or_else(|| {
                let what = if called { "function" } else { "variable" };
                let near = did_you_mean(&name, known());
                let mend = if near.is_empty() { format!(": {}", mend(called)) } else { near };
                format!("there is no {what} `{name}` here{mend}")
            });
            all.push(BadTemplate { field: field.into(), line: Some(line), reason, host: None });
            told.push(name);
        }
    });
    all
}

/// Does this with each template in a value, and the way to it.
fn each(field: &str, value: &Json, does: &mut impl FnMut(&str, &str)) {
    match value {
        Json::String(text) if is_template(text) => does(field, text),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| each(&format!("{field}[{place}]"), item, does));
        }
        Json::Object(map) => {
            map.iter().for_each(|(key, item)| each(&format!("{field}.{key}"), item, does));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Checks that an expression can be read: its syntax, not its names. The error goes on after the argument's name.
pub(crate) fn read_expression(text: &str) -> Result<(), String> {
    // Its names, only a run has.
    jinja::read_expression(text, &[]).map(drop).map_err(|reason| format!("is no expression: {reason}"))
}

/// A time as Python's `isoformat` writes it in UTC: `2026-01-01T00:00:00+00:00`.
pub(crate) fn isoformat(time: Timestamp) -> String {
    DateTime::utc(time).isoformat('T')
}
