//! Which operators there are, and what arguments they take.

use serde_json::{Map, Value};
use updraft_core::TaskKind;

/// An operator as a DAG file names it, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Its class name, as Airflow has it.
    pub operator: &'static str,
    /// What the engine has to do for it.
    pub kind: TaskKind,
    /// Its own arguments, as given.
    pub args: Map<String, Value>,
}

/// An operator that can't be had as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOperator {
    /// There is none of this name.
    #[error("there is no operator `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// As written.
        name: String,
        /// One with a similar name.
        nearest: Option<&'static str>,
    },
    /// It does not take these arguments.
    #[error("{operator}: {reason}")]
    Arguments {
        /// Its class name.
        operator: &'static str,
        /// Which argument, what is wrong, and the mend.
        reason: String,
        /// The argument, where it is one.
        argument: Option<String>,
    },
}

/// Checks an operator's name (Airflow's class name, its dotted path, or a short alias) and the arguments
/// that are its own; what every task can have (`retries`, `pool`, …) is not among them.
pub fn check(name: &str, args: &Map<String, Value>) -> Result<Checked, BadOperator> {
    match name.rsplit('.').next() {
        Some("EmptyOperator" | "empty") => {
            Ok(Checked { operator: "EmptyOperator", kind: TaskKind::Empty, args: args.clone() })
        }
        _ => Err(BadOperator::Unknown { name: name.into(), nearest: None }),
    }
}
