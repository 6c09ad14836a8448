//! 1000 scripts that sleep for a second, 500 at once: how much of the time is ours.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::{
    bare,
    installation::Installation,
    statistics::{median, median_ratio},
    table::{Figure, Goal, Table},
};

const SCRIPT: &str = "sleep 1; echo res";
const SCRIPTS: usize = 1000;
const AT_ONCE: usize = 500;
const BATCHES: usize = 10;

#[tokio::main]
pub async fn run() -> Result<Table> {
    let bash = bare::bash()?;
    let mut updraft = Installation::started(&["--slots", &AT_ONCE.to_string()]).await?;
    let task = json!({ "operator": "BashOperator", "bash_command": SCRIPT });
    updraft
        .put_dag("sleep", (0..SCRIPTS).map(|number| (format!("t{number}"), task.clone())).collect())
        .await?;
    let (mut loops, mut ours) = (Vec::new(), Vec::new());
    let (mut loop_cpu, mut our_cpu) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        let took = bare::run(&bash, SCRIPT, b"res\n", SCRIPTS, AT_ONCE)?;
        loops.push(took.seconds);
        loop_cpu.push(took.cpu_seconds);
        let (began, cpu) = (Instant::now(), updraft.cpu_seconds().await?);
        let run = updraft.trigger("sleep").await?;
        updraft.finished("sleep", &run).await?;
        ours.push(began.elapsed().as_secs_f64());
        our_cpu.push(updraft.cpu_seconds().await? - cpu);
    }
    updraft.stop().await?;
    let title = format!(
        "{SCRIPTS} x bash -c '{SCRIPT}', {AT_ONCE} at once; from the trigger (REST) to the run's end; \
         medians of {BATCHES} batches, turn by turn"
    );
    let mut table = Table::new(title, "bare loop");
    table.compare_by(
        "wall time of a batch",
        Figure::Seconds(median(&ours)),
        Figure::Seconds(median(&loops)),
        median_ratio(&ours, &loops),
        Goal::RatioAtMost(1.10),
    );
    let each = |cpu: &[f64]| Figure::Micros(median(cpu) * 1e6 / SCRIPTS as f64);
    table.compare("processor time of a script", each(&our_cpu), each(&loop_cpu), Goal::None);
    Ok(table)
}
