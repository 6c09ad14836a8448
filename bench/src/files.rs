//! 2,000 DAG files: how soon they are read, and how soon a change of one is there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    installation::Installation,
    statistics::{millis, percentile},
    table::{Figure, Goal, Table},
};

const FILES: usize = 2000;
const TASKS: usize = 10;
const CHANGES: usize = 30;
/// How long it is watched while nothing changes.
const IDLE_FOR: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
pub async fn run() -> Result<Table> {
    let folder = tempfile::Builder::new().prefix("updraft-dags-").tempdir()?;
    for number in 0..FILES {
        write(folder.path(), number, "as it was")?;
    }
    let dags = folder.path().to_str().context("no UTF-8")?.to_owned();
    let mut updraft = Installation::new()?;
    let began = Instant::now();
    updraft.start(&["--dags", &dags]).await?;
    updraft.log_in().await?;
    loaded(&updraft, began).await?;
    let first = began.elapsed();
    updraft.stop().await?;
    let again = updraft.start(&["--dags", &dags]).await?.healthy;
    updraft.log_in().await?;

    let mut changes = Vec::new();
    for change in 0..CHANGES {
        let number = change * (FILES / CHANGES);
        let said = format!("changed for the {change}. time");
        let began = Instant::now();
        write(folder.path(), number, &said)?;
        loop {
            let dag = updraft.get(&format!("/api/v2/dags/dag_{number}")).await?;
            if dag["description"] == *said {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "a change of dag_{number} is not there");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        changes.push(millis(began.elapsed()));
    }
    let cpu = updraft.cpu_seconds().await?;
    tokio::time::sleep(IDLE_FOR).await;
    let cpu = (updraft.cpu_seconds().await? - cpu) / IDLE_FOR.as_secs_f64();
    let memory: f64 = updraft.megabytes().await?.iter().sum();
    updraft.stop().await?;

    let title = format!(
        "{FILES} YAML files of a DAG with {TASKS} tasks each; {CHANGES} changes, one after the other"
    );
    let mut table = Table::new(title, "");
    table.row("an empty installation, until all are there", Figure::Seconds(first.as_secs_f64()), Goal::None);
    table.row("a restart, until it is healthy", Figure::Millis(millis(again)), Goal::None);
    table.row(
        "a change of a file until it is there, p50",
        Figure::Millis(percentile(&changes, 0.5)),
        Goal::None,
    );
    let goal = Goal::AtMost(Figure::Millis(1000.0));
    table.row("the slowest of them", Figure::Millis(percentile(&changes, 1.0)), goal);
    table.row("of one processor while nothing changes", Figure::Share(cpu), Goal::None);
    table.row("memory (PSS), server and keeper", Figure::Megabytes(memory), Goal::None);
    Ok(table)
}

/// Writes a file as editors do: beside, and then in its place.
fn write(folder: &Path, number: usize, description: &str) -> Result<()> {
    let mut text = format!(
        "dag_{number}:\n  description: {description}\n  schedule: '0 4 * * *'\n  is_paused_upon_creation: true\n  \
         default_args: {{start_date: 2024-01-01, retries: 2, owner: luffy}}\n  tasks:\n"
    );
    for task in 0..TASKS {
        text += &format!("    step_{task}:\n      operator: airflow.operators.bash.BashOperator\n      ");
        text += &format!("bash_command: echo {{{{ ds }}}} {task}\n");
        if task > 0 {
            text += &format!("      dependencies: [step_{}]\n", task - 1);
        }
    }
    let beside = folder.join(format!(".dag_{number}.tmp"));
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, folder.join(format!("dag_{number}.yaml")))?;
    Ok(())
}

async fn loaded(updraft: &Installation, began: Instant) -> Result<()> {
    loop {
        let dags = updraft.get("/api/v2/dags?limit=1").await?;
        if dags["total_entries"].as_u64() == Some(FILES as u64) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "of {FILES} DAGs there are {}", dags["total_entries"]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
