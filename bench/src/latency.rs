//! How soon a task starts: after a trigger, and after the task before it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    installation::Installation,
    machine,
    statistics::percentile,
    table::{Figure, Goal, Table},
};

const RUNS: usize = 500;
/// The first ones, which are not counted: caches fill.
const WARM_UP: usize = 20;

/// A script that says when it runs, by its own clock. It is at its end as soon as it has begun.
const SCRIPT: &str = "echo $EPOCHREALTIME";

#[tokio::main]
pub async fn run() -> Result<Table> {
    let mut updraft = Installation::started(&[]).await?;
    let task = |after: &[&str]| json!({ "operator": "bash", "bash_command": SCRIPT, "dependencies": after });
    let tasks = vec![("first".to_owned(), task(&[])), ("second".to_owned(), task(&["first"]))];
    updraft.put_dag("latency", tasks).await?;
    let (mut to_first, mut to_second, mut recorded) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..WARM_UP + RUNS {
        let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let run_id = updraft.trigger("latency").await?;
        updraft.finished("latency", &run_id).await?;
        if run < WARM_UP {
            continue;
        }
        let first = said(&updraft, &run_id, "first").await?;
        let second = said(&updraft, &run_id, "second").await?;
        to_first.push((first - before) * 1e3);
        to_second.push((second - first) * 1e3);
        let path = format!("/api/v2/dags/latency/dagRuns/{run_id}/taskInstances/first");
        let started = updraft.get(&path).await?["start_date"].as_str().context("no start")?.to_owned();
        let started: jiff::Timestamp = started.parse()?;
        recorded.push((started.as_microsecond() as f64 / 1e6 - before) * 1e3);
    }
    updraft.stop().await?;
    let title = format!(
        "{RUNS} runs of two scripts, one run after the other; the scripts' own clocks (`{SCRIPT}`), so that the \
         shell's start is in it"
    );
    let mut table = Table::new(title, "one sync");
    let sync = Figure::Millis(machine::sync_millis(&std::env::temp_dir())?);
    let parts = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
    let mut rows = |what: &str, times: &[f64], most: Option<f64>| {
        for (name, part) in parts {
            let goal =
                most.filter(|_| name == "p99").map_or(Goal::None, |most| Goal::AtMost(Figure::Millis(most)));
            table.compare(format!("{what}, {name}"), Figure::Millis(percentile(times, part)), sync, goal);
        }
    };
    rows("trigger (REST) to first script", &to_first, Some(20.0));
    rows("end of a script to the next one's start", &to_second, Some(10.0));
    rows("trigger (REST) to first start as recorded", &recorded, None);
    Ok(table)
}

/// What a script said: seconds since 1970.
async fn said(updraft: &Installation, run_id: &str, task: &str) -> Result<f64> {
    let path = format!(
        "/api/v2/dags/latency/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value?deserialize=true"
    );
    let value = updraft.get(&path).await?["value"].take();
    match &value {
        Value::String(text) => Ok(text.parse()?),
        other => other.as_f64().with_context(|| format!("a script said {other}")),
    }
}
