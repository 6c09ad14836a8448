//! Scripts that do nothing: how many a second.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::{
    bare,
    installation::Installation,
    statistics::{median, median_ratio},
    table::{Figure, Goal, Table},
};

const SCRIPT: &str = "echo res";
const SCRIPTS: usize = 2000;
/// What `standalone` has where nothing is said.
const AT_ONCE: usize = 32;
const ROUNDS: usize = 7;

#[tokio::main]
pub async fn run() -> Result<Table> {
    let bash = bare::bash()?;
    let mut updraft = Installation::started(&["--slots", &AT_ONCE.to_string()]).await?;
    let task = json!({ "operator": "BashOperator", "bash_command": SCRIPT });
    updraft
        .put_dag("noop", (0..SCRIPTS).map(|number| (format!("t{number}"), task.clone())).collect())
        .await?;
    let (mut loops, mut ours) = (Vec::new(), Vec::new());
    let (mut loop_cpu, mut our_cpu) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let took = bare::run(&bash, SCRIPT, b"res\n", SCRIPTS, AT_ONCE)?;
        loops.push(SCRIPTS as f64 / took.seconds);
        loop_cpu.push(took.cpu_seconds);
        let (began, cpu) = (Instant::now(), updraft.cpu_seconds().await?);
        let run = updraft.trigger("noop").await?;
        updraft.finished("noop", &run).await?;
        ours.push(SCRIPTS as f64 / began.elapsed().as_secs_f64());
        our_cpu.push(updraft.cpu_seconds().await? - cpu);
    }
    updraft.stop().await?;
    let title = format!(
        "{SCRIPTS} x bash -c '{SCRIPT}', {AT_ONCE} at once; from the trigger (REST) to the run's end, output and \
         result kept, SQLite with full sync; medians of {ROUNDS} rounds, turn by turn"
    );
    let mut table = Table::new(title, "bare loop");
    table.compare_by(
        "scripts per second",
        Figure::PerSecond(median(&ours)),
        Figure::PerSecond(median(&loops)),
        median_ratio(&ours, &loops),
        Goal::RatioAtLeast(0.60),
    );
    let each = |cpu: &[f64]| Figure::Micros(median(cpu) * 1e6 / SCRIPTS as f64);
    table.compare("processor time of a script", each(&our_cpu), each(&loop_cpu), Goal::None);
    Ok(table)
}
