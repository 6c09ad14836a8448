//! Airflow's Jinja: the variables, macros and filters of Airflow 3, and nothing that reads like Jinja2 and
//! means something else.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use updraft_core::protocol::Order;

use crate::{Host, HostError};

/// A template that can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template of `{field}`{}: {reason}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
pub struct BadTemplate {
    /// The argument it stands in, with the way to it: `env.HOME`, `op_args[2]`.
    pub field: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, and the mend.
    pub reason: String,
    /// Set where it is not the template's fault: a look-up failed.
    pub host: Option<HostError>,
}

/// Renders the templates of one order's arguments.
pub struct Renderer {}

impl Renderer {
    /// A renderer for the templates of this order.
    pub fn new(order: &Order, host: &dyn Host) -> Self {
        let _ = (order, host);
        Self {}
    }

    /// Renders all strings in an argument, however deep.
    pub(crate) fn render_argument(
        &self,
        name: &str,
        value: &Value,
        files: &[&str],
    ) -> Result<Value, BadTemplate> {
        let _ = (name, files);
        Ok(value.clone())
    }

    pub(crate) fn into_secrets(self) -> Vec<String> {
        Vec::new()
    }
}

/// Whether a text has anything in it for Jinja.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Checks that the templates in a value can be read: their syntax, not their names.
pub fn check(value: &Value) -> Result<(), BadTemplate> {
    let _ = value;
    Ok(())
}

/// A time as Python's `isoformat` writes it in UTC: `2026-01-01T00:00:00+00:00`.
pub(crate) fn isoformat(time: Timestamp) -> String {
    let time = time.to_zoned(TimeZone::UTC);
    let fraction = if time.subsec_nanosecond() / 1000 == 0 { "" } else { "%.6f" };
    time.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}+00:00")).to_string()
}
