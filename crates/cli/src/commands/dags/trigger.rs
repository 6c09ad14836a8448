//! `updraft dags trigger`: a run made and, where that is wanted, waited for.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use updraft_core::numbers;

use super::super::{Session, runs};
use crate::{
    client::patiently,
    failure::{Exit, Failure},
};

/// Between two looks at a run: short at first, so that a short run is over here as soon as it is there.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Of a mapped task with more copies than this, their number is told, and not each.
const MOST_COPIES: usize = 10;

/// The run that is wanted.
#[derive(clap::Args)]
pub struct Trigger {
    /// The DAG.
    dag_id: String,
    /// Its parameters, a JSON object.
    #[arg(short, long, value_name = "JSON", value_parser = object)]
    conf: Option<Map<String, Value>>,
    /// Its name [default: made from the time].
    #[arg(short, long, value_name = "RUN_ID")]
    run_id: Option<String>,
    /// The time it is about, as 2026-01-31T12:00:00Z [default: none].
    #[arg(short = 'e', long, value_name = "TIME")]
    logical_date: Option<String>,
    /// Only this task; may be given several times.
    #[arg(short, long = "task", value_name = "TASK_ID")]
    tasks: Vec<String>,
    /// Stay until the run is over: exit code 1 where it fails.
    #[arg(short, long)]
    wait: bool,
    /// Wait for so many seconds at most: exit code 124. The run goes on.
    #[arg(long, requires = "wait", value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub fn object(text: &str) -> Result<Map<String, Value>, String> {
    numbers::fit_64_bits(text.as_bytes()).map_err(|large| large.to_string())?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("write a JSON object, like '{\"day\": 1}'".into()),
        Err(error) => Err(format!("{error}; write a JSON object, like '{{\"day\": 1}}'")),
    }
}

/// Makes a run.
pub async fn trigger(session: &Session, args: Trigger) -> Result<()> {
    let (client, dag_id) = (&session.client, &args.dag_id);
    let body = json!({
        "run_id": args.run_id,
        "logical_date": args.logical_date,
        "conf": args.conf.unwrap_or_default(),
        "tasks": args.tasks,
    });
    let run = client.post(&["v1", "dags", dag_id, "dagRuns"], body).await?;
    let run_id = run["dag_run_id"].as_str().unwrap_or_default();
    if client.get(&["v2", "dags", dag_id]).await?["is_paused"] == true {
        eprintln!("`{dag_id}` is paused: the run waits until `updraft dags unpause {dag_id}`");
    }
    if !args.wait {
        return session.format.show(&run, runs::SHOWN);
    }
    let waiting = until_over(session, dag_id, run_id);
    match args.timeout.map(Duration::from_secs) {
        None => waiting.await?,
        Some(timeout) => tokio::time::timeout(timeout, waiting).await.map_err(|_| {
            let message = format!("run {run_id} of {dag_id} is not over after {timeout:?}; it goes on");
            Failure::new(Exit::TimedOut, message)
        })??,
    }
    let run = patiently(async || client.get(&["v2", "dags", dag_id, "dagRuns", run_id]).await).await?;
    session.format.show(&run, runs::SHOWN)?;
    match run["state"].as_str() {
        Some("success") => Ok(()),
        _ => Err(Failure::new(Exit::Failed, format!("run {run_id} of {dag_id} failed")).into()),
    }
}

/// Shows how a run gets on until it is over.
async fn until_over(session: &Session, dag_id: &str, run_id: &str) -> Result<()> {
    let mut shown = Shown::new(dag_id, run_id);
    let mut wait = LOOK_EVERY.0;
    loop {
        let path = ["v1", "dags", dag_id, "dagRuns", run_id, "progress"];
        let progress = patiently(async || session.client.get(&path).await).await?;
        shown.update(&progress);
        if matches!(progress["state"].as_str(), Some("success" | "failed")) {
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOK_EVERY.1);
    }
}

/// What is shown of a run: a bar in a terminal, a line for each change elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    states: BTreeMap<String, String>,
    began: Instant,
}

impl Shown {
    fn new(dag_id: &str, run_id: &str) -> Self {
        eprintln!("run {run_id} of {dag_id}");
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {wide_msg}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, states: BTreeMap::new(), began: Instant::now() }
    }

    fn update(&mut self, progress: &Value) {
        let tasks: Vec<&Value> = progress["tasks"].as_array().into_iter().flatten().collect();
        if let Some(bar) = &self.bar {
            let over = tasks.iter().filter(|task| task["percent"] == 100.0).count();
            let is_at_work = |task: &&&Value| matches!(task["state"].as_str(), Some("running" | "paused"));
            let at_work: Vec<String> = tasks.iter().filter(is_at_work).map(|task| name(task)).collect();
            bar.set_length(tasks.len() as u64);
            bar.set_position(over as u64);
            bar.set_message(at_work.join(", "));
            return;
        }
        let mut copies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for task in tasks.iter().filter(|task| task["map_index"].as_i64().is_some_and(|copy| copy >= 0)) {
            let states = copies.entry(task["task_id"].as_str().unwrap_or_default()).or_default();
            states.push(task["state"].as_str().unwrap_or_default());
        }
        copies.retain(|_, states| states.len() > MOST_COPIES);
        for task in tasks {
            if copies.contains_key(task["task_id"].as_str().unwrap_or_default()) {
                continue;
            }
            let state = task["state"].as_str().unwrap_or_default();
            let reason = task["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
            self.tell(name(task), state.to_owned(), &reason);
        }
        for (task_id, states) in copies {
            self.tell(task_id.to_owned(), counted(&states), "");
        }
    }

    /// Prints a state that is another than before; one that nothing has happened in yet is not worth a line.
    fn tell(&mut self, name: String, state: String, reason: &str) {
        let before = self.states.get(&name);
        if before != Some(&state) && (before.is_some() || state != "none") {
            eprintln!("{:7.1}s {name} {state}{reason}", self.began.elapsed().as_secs_f64());
        }
        self.states.insert(name, state);
    }
}

/// How many copies of a mapped task are in which state: `60 copies: 12 running, 40 success`. Those that wait for their turn
/// are the rest.
fn counted(states: &[&str]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for state in states.iter().filter(|state| !matches!(**state, "none" | "scheduled")) {
        *counts.entry(state).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    match counts.is_empty() {
        true => "none".into(),
        false => format!("{} copies: {}", states.len(), counts.join(", ")),
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn name(task: &Value) -> String {
    let task_id = task["task_id"].as_str().unwrap_or_default();
    match task["map_index"].as_i64() {
        None | Some(-1) => task_id.to_owned(),
        Some(copy) => format!("{task_id}[{copy}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_by_their_states() {
        assert_eq!(counted(&["none", "scheduled"]), "none");
        assert_eq!(counted(&["success", "running", "success", "none"]), "4 copies: 1 running, 2 success");
    }

    #[test]
    fn a_number_that_would_become_another_is_no_parameter() {
        assert!(
            object(r#"{"id": 12345678901234567890123}"#).unwrap_err().contains("12345678901234567890123")
        );
        assert!(object(r#"{"id": "12345678901234567890123"}"#).is_ok());
    }
}
