//! How soon a new leader has its state: 10,000 active task instances.

use std::time::Instant;

use anyhow::{Result, ensure};
use updraft_core::{Config, Engine, RunState};
use updraft_store::{SqlStore, Store, test_postgres::TestPostgres};

use crate::{
    statistics::{median, millis},
    store::{self, TASKS},
    table::{Figure, Goal, Table},
};

const ACTIVE: i64 = 10_000;
/// Task instances that are over and must not be in the way.
const OVER: i64 = 100_000;
const ROUNDS: usize = 9;

/// One database.
struct Kept {
    name: &'static str,
    store: Box<dyn Store>,
    load: Vec<f64>,
    build: Vec<f64>,
}

#[tokio::main]
pub async fn run() -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let postgres = tokio::task::spawn_blocking(|| TestPostgres::start_in(&std::env::temp_dir())).await?;
    let sqlite = SqlStore::sqlite(&folder.path().join("updraft.db")).await?;
    let stores: [(&str, Box<dyn Store>); 2] = [
        ("SQLite", Box::new(sqlite)),
        ("PostgreSQL", Box::new(SqlStore::postgres(&postgres.database()).await?)),
    ];
    let mut kept = Vec::new();
    for (name, store) in stores {
        let fence = store::prepare(&*store).await?;
        let runs_at_once = 1000;
        let over = OVER / i64::from(TASKS);
        for first in (1..=over).step_by(runs_at_once as usize) {
            store.commit(&store::batch(first, runs_at_once, RunState::Success), fence).await?;
        }
        let active = ACTIVE / i64::from(TASKS);
        store.commit(&store::batch(over + 1, active, RunState::Running), fence).await?;
        kept.push(Kept { name, store, load: Vec::new(), build: Vec::new() });
    }
    for _ in 0..ROUNDS {
        for kept in &mut kept {
            kept.round().await?;
        }
    }
    let title = format!(
        "{ACTIVE} running task instances of {} runs, {OVER} others that are over; medians of {ROUNDS} rounds",
        ACTIVE / i64::from(TASKS)
    );
    let mut table = Table::new(title, "");
    for Kept { name, load, build, .. } in &kept {
        let whole: Vec<f64> = load.iter().zip(build).map(|(load, build)| load + build).collect();
        let goal = Goal::AtMost(Figure::Millis(1000.0));
        table.row(format!("{name}: until the engine is there"), Figure::Millis(median(&whole)), goal);
        table.row(format!("{name}: of it reading"), Figure::Millis(median(load)), Goal::None);
    }
    drop(kept);
    tokio::task::spawn_blocking(|| drop(postgres)).await?;
    Ok(table)
}

impl Kept {
    async fn round(&mut self) -> Result<()> {
        let began = Instant::now();
        let snapshot = self.store.load().await?;
        self.load.push(millis(began.elapsed()));
        let began = Instant::now();
        let engine = Engine::restore(Config::default(), snapshot, jiff::Timestamp::now());
        self.build.push(millis(began.elapsed()));
        ensure!(engine.unfinished() == ACTIVE as u64, "{} are active", engine.unfinished());
        Ok(())
    }
}
