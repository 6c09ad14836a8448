//! `updraft runs diff`: what became otherwise from one run to another.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::Session;
use crate::{
    failure::{Exit, Failure},
    output::{Columns, Format},
};

/// Which runs.
#[derive(clap::Args)]
pub struct Diff {
    /// The DAG.
    dag_id: String,
    /// The run.
    run_id: String,
    /// The run that it is compared with [default: the last before it that succeeded].
    other: Option<String>,
}

/// What of two runs is compared.
const RUN: &[(&str, &str)] = &[
    ("state", "/state"),
    ("type", "/run_type"),
    ("logical date", "/logical_date"),
    ("interval from", "/data_interval_start"),
    ("interval to", "/data_interval_end"),
    ("seconds", "/duration"),
    ("conf", "/conf"),
    ("version", "/dag_versions/0/version_number"),
];

const RUN_SHOWN: Columns = &[("RUN", "/what"), ("BEFORE", "/before"), ("NOW", "/now")];

const TASKS_SHOWN: Columns = &[
    ("TASK", "/task"),
    ("STATE BEFORE", "/before/state"),
    ("NOW", "/now/state"),
    ("TRIES BEFORE", "/before/try_number"),
    ("NOW", "/now/try_number"),
    ("SECONDS BEFORE", "/before/duration"),
    ("NOW", "/now/duration"),
    ("LONGER BY", "/longer_by"),
];

/// Shows in what a run differs from another.
pub async fn diff(session: &Session, args: Diff) -> Result<()> {
    let Diff { dag_id, run_id, other } = args;
    let client = &session.client;
    let path = |run: &str| ["v2", "dags", &dag_id, "dagRuns", run].map(str::to_owned);
    let get = async |run: &str| {
        let path = path(run);
        client.get(&path.each_ref().map(String::as_str)).await
    };
    let now = get(&run_id).await?;
    let other = match other {
        Some(other) => other,
        None => last_good(session, &dag_id, &now).await?,
    };
    let before = get(&other).await?;
    let tasks = async |run: &str| {
        let path = [&path(run)[..], &["taskInstances".to_owned()]].concat();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        client.list(&path, &[], "task_instances", None).await
    };
    let rows = compared(&tasks(&other).await?, &tasks(&run_id).await?);
    let run: Vec<Value> = RUN
        .iter()
        .map(|(what, at)| json!({"what": what, "before": before.pointer(at), "now": now.pointer(at)}))
        .filter(|row| row["before"] != row["now"])
        .collect();
    if session.format != Format::Table {
        return session.format.value(&json!({"before": other, "now": run_id, "run": run, "tasks": rows}));
    }
    eprintln!("{run_id} of {dag_id}, compared with {other}");
    session.format.list(&run, RUN_SHOWN)?;
    println!();
    session.format.list(&rows, TASKS_SHOWN)
}

/// The last run that succeeded before a run.
async fn last_good(session: &Session, dag_id: &str, run: &Value) -> Result<String> {
    let mut query = vec![("order_by", "-run_after".to_owned()), ("state", "success".to_owned())];
    query.extend(run["run_after"].as_str().map(|before| ("run_after_lt", before.to_owned())));
    let found = session.client.list(&["v2", "dags", dag_id, "dagRuns"], &query, "dag_runs", Some(1)).await?;
    let run_id = found.first().and_then(|run| run["dag_run_id"].as_str()).map(str::to_owned);
    run_id.ok_or_else(|| {
        let message = format!("no run of {dag_id} before this one succeeded: name the run to compare with");
        Failure::new(Exit::NotFound, message).into()
    })
}

/// A row for each task instance of either run: first those whose state is another, by name, then those that took
/// longer, the most first.
fn compared(before: &[Value], now: &[Value]) -> Vec<Value> {
    let name =
        |row: &Value| (row["task_id"].as_str().unwrap_or_default().to_owned(), row["map_index"].as_i64());
    let mut both: BTreeMap<_, [&Value; 2]> = BTreeMap::new();
    for (side, rows) in [before, now].into_iter().enumerate() {
        for row in rows {
            both.entry(name(row)).or_insert([&Value::Null; 2])[side] = row;
        }
    }
    let of = |row: &Value| json!({"state": row["state"], "try_number": row["try_number"], "duration": row["duration"]});
    let mut rows: Vec<Value> = both
        .into_iter()
        .map(|((task_id, copy), [before, now])| {
            let task =
                copy.filter(|copy| *copy >= 0).map_or(task_id.clone(), |copy| format!("{task_id}[{copy}]"));
            let longer_by =
                now["duration"].as_f64().zip(before["duration"].as_f64()).map(|(now, before)| now - before);
            // To the millisecond: what comes behind it is noise.
            let longer_by = longer_by.map(|seconds| (seconds * 1000.0).round() / 1000.0);
            json!({"task": task, "before": of(before), "now": of(now), "longer_by": longer_by})
        })
        .collect();
    let rank = |row: &Value| match row["before"]["state"] == row["now"]["state"] {
        false => (false, 0.0),
        true => (true, -row["longer_by"].as_f64().unwrap_or(0.0)),
    };
    rows.sort_by(|a, b| {
        let ((same, shorter), (other_same, other_shorter)) = (rank(a), rank(b));
        same.cmp(&other_same).then(shorter.total_cmp(&other_shorter))
    });
    rows
}
