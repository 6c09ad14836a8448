//! Reading DAG files.

mod assets;
mod callbacks;
mod dialect;
mod errors;
mod files;
mod holidays;
mod limits;
mod oracle;
mod own;
mod variables;
mod watch;

use jiff::Timestamp;
use serde_json::{Map, Value};
use updraft_core::{DagSpec, Mapping, Namespace, TaskKind, TaskSpec};
use updraft_operators::catalog::{BadOperator, Checked};
use updraft_server::authoring::{Format, ImportError, Options, Reading, native, read_document};

/// What operators are known to these tests: all of the program, and one that takes whatever it is given.
fn check(
    operator: &str,
    args: &Map<String, Value>,
    mapping: Option<&Mapping>,
) -> Result<Checked, BadOperator> {
    match operator {
        "Anything" => Ok(Checked { operator: "Anything".into(), kind: TaskKind::Run, args: args.clone() }),
        _ => native(operator, args, mapping),
    }
}

/// The environment of these tests.
fn variable(name: &str) -> Option<String> {
    (name == "FIXTURE_WORD").then(|| "from-the-environment".to_owned())
}

/// A Saturday at noon in Paris, an hour earlier in UTC.
fn now() -> Timestamp {
    "2026-01-31T11:00:00Z".parse().unwrap()
}

fn read(text: &str) -> Reading {
    read_as(text, Format::Yaml)
}

fn read_as(text: &str, format: Format) -> Reading {
    let options = Options { namespace: Namespace::default(), check: &check, variable: &variable, now: now() };
    read_document("dags.yml", text, format, &options)
}

/// The one DAG of a document that has no errors.
fn dag(text: &str) -> DagSpec {
    let reading = read(text);
    assert_eq!(messages(&reading.errors), <[&str; 0]>::default());
    let [read] = &reading.dags[..] else { panic!("{} DAGs", reading.dags.len()) };
    (*read.spec).clone()
}

fn task<'a>(dag: &'a DagSpec, id: &str) -> &'a TaskSpec {
    dag.tasks.iter().find(|task| &*task.task_id == id).unwrap_or_else(|| panic!("no task {id}"))
}

fn messages(errors: &[ImportError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The errors of a document, as people see them.
fn errors(text: &str) -> Vec<String> {
    messages(&read(text).errors)
}
