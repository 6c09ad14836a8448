//! Reading DAG files: YAML in the ecosystem's dag-factory dialect, from a folder that is watched ([`watch()`])
//! or one by one ([`read_document`]).
//!
//! # The way of a document
//!
//! Environment variables are put into its text (`text`), the text is parsed to values with their places
//! (`yaml`, `scalar`, `node`), Python objects are resolved (`object`), the defaults are merged into each DAG
//! (`document`, `merge`), and each DAG is read by itself (`dag`, `settings`, `tasks`, `groups`, `edges`,
//! `expand`, `schedule`), noting all that is wrong with it (`problem`). An error in one DAG hides no other.
//!
//! # The dialect
//!
//! It is that of dag-factory 1.1 on Airflow 3.3.2, compared by `tests/oracle/dag_factory.py`: YAML 1.1 as
//! PyYAML reads it; a `default` block and `defaults.yml` files, merged as dag-factory merges them; tasks and
//! groups as mappings or lists; `__type__`, `__args__` and `__join__`; `expand` and `partial`. What of it
//! can't be had yet is refused by name with a mend, and what has no effect here is a warning (`keys`).
//! It goes further where dag-factory has no way to say a thing:
//!
//! - a dependency may be `{task: a, when: "result | int > 5", pass_result: true, label: …}`;
//! - tasks take `retry_on_exit_codes`, `expected_duration`, `alerts`, `max_lost`, `expand_kwargs`, and
//!   `is_setup`, `is_teardown`, `on_failure_fail_dagrun` as Airflow calls them in Python;
//! - DAGs take `alerts` too (`alert`);
//! - DAGs take `holidays`, days on which their schedule makes no runs: dates, spans of dates (`2026-12-24/2026-12-26`)
//!   and calendar files that lie in the folder of DAG files, found from where they are named (`calendar`). What counts
//!   is the day on which a run would begin (`run_after`), in the zone of the cron or else of the DAG;
//! - a schedule may be a list of crons, or of dates;
//! - lengths of time may be a number of seconds or words (`5 minutes`) where dag-factory wants a `timedelta`;
//! - `dagrun_timeout_sec`, `retry_delay_sec`, `execution_timeout_secs` and `schedule_interval` of dag-factory's
//!   older versions are still read.
//!
//! # Where it differs
//!
//! - A key that stands twice is an error; PyYAML takes the last.
//! - Keys are their text: `on:` is `on`, which PyYAML reads as true.
//! - What is first and last in a task group is found when all dependencies are known. dag-factory looks while it
//!   goes through the tasks, so that there it depends on their order in the file.
//! - Groups and tasks are found by their full names (`group.task`) as well as by the short ones.
//! - A wrong default argument that no task takes is told; Airflow passes over it.
//! - An environment variable that is a secret by its name is not put in, and a warning says so.
mod alert;
mod assets;
mod calendar;
mod callback;
mod conversion;
mod dag;
mod date;
mod decorator;
mod document;
mod edges;
mod expand;
mod field;
mod files;
mod groups;
mod holidays;
mod keys;
mod merge;
mod names;
mod node;
mod object;
mod operators;
mod problem;
#[cfg(test)]
mod reference;
mod scalar;
mod schedule;
mod schema;
mod settings;
mod tasks;
mod text;
mod variables;
mod watch;
mod yaml;

use std::sync::Arc;

use jiff::Timestamp;
use updraft_core::{DagId, DagSpec, Namespace};

pub use self::{
    operators::{Check, native},
    problem::ImportError,
    schema::schema,
    watch::{Event, Folder, read_file, read_folder, read_folder_within, watch},
};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.1, as PyYAML reads it.
    Yaml,
    /// JSON, of the same shape.
    Json,
}

/// The value of an environment variable, by its name.
pub type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What a document is read with.
pub struct Options<'a> {
    /// The namespace its DAGs belong to.
    pub namespace: Namespace,
    /// The operators its tasks may name.
    pub check: &'a Check,
    /// The environment variables that `$NAME` and `${NAME}` in YAML stand for; see [`environment`].
    pub variable: &'a Variable,
    /// What `2 days` ago is counted from.
    pub now: Timestamp,
}

/// A DAG that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The DAG. It compiles.
    pub spec: Arc<DagSpec>,
    /// SHA-256 of the spec as JSON with all keys sorted, in hexadecimal.
    pub hash: String,
    /// The line and the column, from 1, at which it begins; `None` for JSON.
    pub position: Option<(u32, u32)>,
    /// What was accepted and has no effect here, or not the one its author may expect.
    pub warnings: Vec<ImportError>,
}

/// What a document came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Its good DAGs.
    pub dags: Vec<Read>,
    /// What is wrong with the others, or with all of it.
    pub errors: Vec<ImportError>,
    /// The DAGs that it names, good and bad; `None` where it can't be read so far.
    pub named: Option<Vec<DagId>>,
}

/// The variables of this process that DAG files may see. Those that by their names are secrets are put into none,
/// whoever gives them (`text`).
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads one document: the DAGs it names, or why they can't be had. A document without DAGs is an error.
pub fn read_document(name: &str, text: &str, format: Format, options: &Options<'_>) -> Reading {
    let mut reading = document::read(name.into(), text, format, &[], &holidays::NoFiles, options);
    if reading.errors.is_empty() && reading.dags.is_empty() {
        let message = "no entry of this document has `tasks`: write `my_dag: {tasks: …}`";
        reading.errors.push(ImportError::of_file(name, message));
    }
    reading
}
