//! How soon it is there, and what it takes while it has nothing to do.

use std::time::Duration;

use anyhow::Result;

use crate::{
    installation::Installation,
    statistics::{millis, percentile},
    table::{Figure, Goal, Table},
};

const ROUNDS: usize = 15;
/// How long it is left in peace before its memory is looked at.
const IDLE_FOR: Duration = Duration::from_secs(5);

#[tokio::main]
pub async fn run() -> Result<Table> {
    let (mut first, mut again, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut updraft = Installation::new()?;
        let arguments = ["--examples"];
        first.push(millis(updraft.start(&arguments).await?.healthy));
        updraft.log_in().await?;
        updraft.stop().await?;
        again.push(millis(updraft.start(&arguments).await?.healthy));
        updraft.log_in().await?;
        if round < 3 {
            tokio::time::sleep(IDLE_FOR).await;
            memory.push(updraft.megabytes().await?.iter().sum());
        }
        updraft.stop().await?;
    }
    let title = format!(
        "the release binary, from exec until its API says healthy, {ROUNDS} rounds; memory (PSS) of both \
         processes {} s after a start",
        IDLE_FOR.as_secs()
    );
    let mut table = Table::new(title, "");
    for (what, times) in [("first start", &first), ("restart", &again)] {
        table.row(format!("{what} to healthy, p50"), Figure::Millis(percentile(times, 0.5)), Goal::None);
        let goal = Goal::AtMost(Figure::Millis(500.0));
        table.row(format!("{what} to healthy, p95"), Figure::Millis(percentile(times, 0.95)), goal);
    }
    let goal = Goal::AtMost(Figure::Megabytes(60.0));
    table.row("idle memory, server and keeper", Figure::Megabytes(percentile(&memory, 0.5)), goal);
    Ok(table)
}
