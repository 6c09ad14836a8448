//! The engine with its loop and a store, without HTTP, worker and processes: how many tasks a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use updraft_core::{
    Config, DagKey, DagSpec, EdgeSpec, MapIndex, Namespace, RunKey, RunState, TaskIx, TaskKind, TaskSpec,
    TiKey, TiStateName,
    input::{Command, Reply, Trigger},
    record::{RunType, TransitionRow},
};
use updraft_server::{
    leader::{self, Handle, Leader, Surroundings},
    leadership::{Candidate, Lead},
    logs::LogFolder,
    workers::Workers,
};
use updraft_store::{MemoryStore, SqlStore, Store, Window, test_postgres::TestPostgres};

use crate::{
    statistics::{median, millis},
    table::{Figure, Goal, Table},
};

const RUNS: usize = 200;
const CHAIN: u32 = 10;
const TASKS: f64 = RUNS as f64 * CHAIN as f64;
const ROUNDS: usize = 15;
/// Runs that are made one after the other, each when the one before is in the store.
const SINGLES: usize = 200;

/// A leader at work.
struct Led {
    name: &'static str,
    store: Arc<dyn Store>,
    handle: Handle,
    leading: JoinHandle<()>,
    /// Seconds from the first trigger until the last run was over and stored.
    times: Vec<f64>,
    /// Seconds for reading back every transition, afterwards.
    read_back: Vec<f64>,
}

#[tokio::main]
pub async fn run() -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let postgres = tokio::task::spawn_blocking(|| TestPostgres::start_in(&std::env::temp_dir())).await?;
    let sqlite = SqlStore::sqlite(&folder.path().join("updraft.db")).await?;
    let stores: [(&str, Arc<dyn Store>); 3] = [
        ("no database", Arc::new(MemoryStore::default())),
        ("SQLite", Arc::new(sqlite)),
        ("PostgreSQL", Arc::new(SqlStore::postgres(&postgres.database()).await?)),
    ];
    let mut led = Vec::new();
    for (name, store) in stores {
        led.push(Led::begin(name, store).await?);
    }
    for _ in 0..ROUNDS {
        for led in &mut led {
            led.round().await?;
        }
    }
    let title = format!(
        "{RUNS} runs of {CHAIN} tasks in a chain, all triggered at once, until all are over and in the store; \
         then every transition is read back and checked; medians of {ROUNDS} rounds, turn by turn"
    );
    let mut table = Table::new(title, "no database");
    let limit = TASKS / median(&led[0].times);
    let goals =
        [Goal::None, Goal::AtLeast(Figure::PerSecond(10_000.0)), Goal::AtLeast(Figure::PerSecond(5_000.0))];
    for (led, goal) in led.iter().zip(goals) {
        let rate = Figure::PerSecond(TASKS / median(&led.times));
        table.compare(format!("tasks, {}", led.name), rate, Figure::PerSecond(limit), goal);
    }
    for led in &led {
        let both: Vec<f64> = led.times.iter().zip(&led.read_back).map(|(run, read)| run + read).collect();
        let what = format!("the same with reading back, {}", led.name);
        table.row(what, Figure::PerSecond(TASKS / median(&both)), Goal::None);
    }
    for led in &led {
        let times = led.singles().await?;
        let what = format!("one such run, each after the other, {}", led.name);
        table.row(what, Figure::Millis(median(&times)), Goal::None);
    }
    for led in led {
        led.end().await?;
    }
    tokio::task::spawn_blocking(|| drop(postgres)).await?;
    Ok(table)
}

impl Led {
    async fn begin(name: &'static str, store: Arc<dyn Store>) -> Result<Self> {
        store.migrate().await?;
        let (handle, inbox) = leader::channel();
        let (deliveries, _) = mpsc::unbounded_channel();
        let candidate = Candidate {
            store: store.clone(),
            name: "bench".into(),
            address: String::new(),
            lease: Duration::from_secs(10),
            alone: true,
            lead: watch::channel(Lead::Nobody).0,
        };
        let reign = candidate.elected().await?;
        let around = Surroundings {
            store: store.clone(),
            fence: reign.fence(),
            certain_until: reign.certain_until(),
            workers: Arc::new(Workers::default()),
            deliveries,
            logs: Arc::new(LogFolder::new(std::env::temp_dir().join("updraft-bench-logs"))),
            base_url: String::new(),
            git: None,
        };
        let leader = Leader::take_over(Config::default(), inbox, around).await.map_err(|(error, _)| error)?;
        let leading = tokio::spawn(async move {
            leader.run().await;
            reign.end().await;
        });
        let put =
            Command::PutDag { spec: chain(), hash: "0".repeat(64), source: "bench".into(), paused: false };
        handle.command("bench", put).await?;
        Ok(Self { name, store, handle, leading, times: Vec::new(), read_back: Vec::new() })
    }

    async fn round(&mut self) -> Result<()> {
        let began = Instant::now();
        let commands: Vec<_> = (0..RUNS)
            .map(|_| {
                let handle = self.handle.clone();
                tokio::spawn(async move { handle.command("bench", trigger()).await })
            })
            .collect();
        let mut runs = Vec::new();
        for command in commands {
            runs.push(key_of(command.await??)?);
        }
        // A run of tasks that do nothing is over in the very commit that its trigger is answered after.
        self.times.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        for run in runs {
            self.check(run).await?;
        }
        self.read_back.push(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Reads back from the store that a run is over, and that each of its tasks became ready when the one
    /// before it had succeeded, and then succeeded.
    async fn check(&self, run: RunKey) -> Result<()> {
        let row = self.store.run(run).await?.context("the run is not in the store")?.row;
        ensure!(row.state == RunState::Success, "the run is {:?}", row.state);
        let all = Window { limit: 1000, ..Window::default() };
        let rows = self.store.transitions(run, None, all).await?.rows;
        let expected: Vec<(TiKey, TiStateName, TiStateName)> = (0..CHAIN)
            .flat_map(|task| {
                let ti = TiKey { run, task: TaskIx(task), map_index: MapIndex::NONE };
                [
                    (ti, TiStateName::None, TiStateName::Scheduled),
                    (ti, TiStateName::Scheduled, TiStateName::Success),
                ]
            })
            .collect();
        let found: Vec<_> = rows.iter().map(|TransitionRow { ti, from, to, .. }| (*ti, *from, *to)).collect();
        ensure!(found == expected, "run {} has other transitions than it should: {found:?}", run.0);
        Ok(())
    }

    async fn singles(&self) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..SINGLES {
            let began = Instant::now();
            self.handle.command("bench", trigger()).await?;
            times.push(millis(began.elapsed()));
        }
        Ok(times)
    }

    async fn end(self) -> Result<()> {
        self.handle.stop().await;
        tokio::time::timeout(Duration::from_secs(10), self.leading).await??;
        Ok(())
    }
}

fn key_of(reply: Reply) -> Result<RunKey> {
    match reply {
        Reply::Run(key, _) => Ok(key),
        other => anyhow::bail!("a trigger was answered with {other:?}"),
    }
}

fn chain() -> Arc<DagSpec> {
    let mut spec = DagSpec::new("chain");
    spec.max_active_runs = 10_000;
    for task in 0..CHAIN {
        spec.tasks.push(TaskSpec::new(format!("task_{task}"), "EmptyOperator", TaskKind::Empty));
    }
    for task in 1..CHAIN {
        spec.edges.push(EdgeSpec::new(format!("task_{}", task - 1), format!("task_{task}")));
    }
    Arc::new(spec)
}

fn trigger() -> Command {
    Command::Trigger(Trigger {
        dag: DagKey::new(Namespace::default(), "chain"),
        run_id: None,
        logical_date: None,
        data_interval: None,
        run_after: None,
        conf: Arc::new(json!({})),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: "rest_api",
    })
}
