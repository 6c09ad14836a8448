//! Reading DAG files.
mod common;
mod conversion;
mod dag;
mod date;
mod document;
mod edges;
mod expand;
mod field;
mod groups;
mod keys;
mod merge;
mod names;
mod node;
mod object;
mod operators;
mod problem;
mod scalar;
mod schedule;
mod tasks;
mod text;
mod watch;
mod yaml;

use std::sync::Arc;

use jiff::Timestamp;
use updraft_core::{DagId, DagSpec, Namespace};

pub use self::{
    operators::{Check, native},
    problem::ImportError,
    watch::{Event, Folder, watch},
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
    /// SHA-256 of the spec as JSON with its keys in order, in hexadecimal.
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

/// The variables of this process that DAG files may see: all but those that hold secrets of the server
/// (`UPDRAFT__…`) and of Airflow (`AIRFLOW__…`, `AIRFLOW_CONN_…`).
pub fn environment(name: &str) -> Option<String> {
    let secret = ["UPDRAFT__", "AIRFLOW__", "AIRFLOW_CONN_"].iter().any(|start| name.starts_with(start));
    if secret { None } else { std::env::var(name).ok() }
}

/// Reads one document: the DAGs it names, or why they can't be had. A document without DAGs is an error.
pub fn read_document(name: &str, text: &str, format: Format, options: &Options<'_>) -> Reading {
    let mut reading = document::read(name.into(), text, format, &[], options);
    if reading.errors.is_empty() && reading.dags.is_empty() {
        let message = "no entry of this document has `tasks`: write `my_dag: {tasks: …}`";
        reading.errors.push(ImportError::of_file(name, message));
    }
    reading
}
