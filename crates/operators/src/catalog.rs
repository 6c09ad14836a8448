//! Which operators there are, and what arguments they take.

use serde_json::{Map, Value};
use updraft_core::{Mapping, TaskKind, WaitRule};

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

impl Checked {
    /// The same, with the DAG's time zone where a time of the day was given without one (`TimeSensor`).
    /// [`check`] does not know the DAG and leaves the zone empty.
    #[must_use]
    pub fn in_zone(mut self, dag_zone: &str) -> Self {
        if let TaskKind::Wait(WaitRule::TimeOfDay { zone, .. }) = &mut self.kind
            && zone.is_empty()
        {
            *zone = dag_zone.into();
        }
        self
    }
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

/// An operator, as the documentation and editors show it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its class name, as Airflow has it; for our own, in Airflow's manner.
    pub name: &'static str,
    /// Other names it is found under: short ones first, then the dotted paths it has or had in Airflow.
    pub aliases: &'static [&'static str],
    /// What it does.
    pub doc: &'static str,
    /// Its arguments, in the order in which they matter.
    pub arguments: &'static [Argument],
    /// Whether it takes results that an edge passes on.
    pub takes_results: bool,
}

/// An argument of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it may be, for people: `a string`, `a duration`.
    pub expects: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// Whether templates in it are rendered (Airflow's `template_fields`).
    pub templated: bool,
    /// What it means.
    pub doc: &'static str,
}

/// All operators, by name.
pub fn all() -> &'static [Entry] {
    &[]
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

/// The same for a mapped task: the arguments that it is mapped over are not missed among `args`.
pub fn check_mapped(
    name: &str,
    args: &Map<String, Value>,
    mapping: &Mapping,
) -> Result<Checked, BadOperator> {
    let _ = mapping;
    check(name, args)
}
