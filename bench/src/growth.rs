//! What a million runs that are over cost: the start, a task's way to its start, and each list, beside the same
//! installation when it was new.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::json;
use updraft_core::{
    RunState,
    record::{AuditRow, Batch},
};
use updraft_store::{Ledger as _, SqlStore, test_postgres::TestPostgres};

use crate::{
    installation::Installation,
    statistics::{millis, percentile},
    store,
    table::{Figure, Goal, Table},
};

/// How many runs are over, of one task each, with their history.
const OVER: i64 = 1_000_000;
/// So many are written at once.
const AT_ONCE: i64 = 10_000;
const STARTS: usize = 9;
const RUNS: usize = 200;
/// How often each list is asked for.
const ASKED: usize = 100;

/// The lists of the API, as people and pages ask for them.
const LISTS: &[(&str, &str)] = &[
    ("DAGs", "/api/v2/dags?limit=50"),
    ("runs of all DAGs", "/api/v2/dags/~/dagRuns?limit=50&order_by=-run_after"),
    ("runs of a DAG", "/api/v2/dags/dag_1/dagRuns?limit=50&order_by=-run_after"),
    ("runs of a DAG that failed", "/api/v2/dags/dag_1/dagRuns?limit=50&order_by=-run_after&state=failed"),
    ("runs that run", "/api/v2/dags/~/dagRuns?limit=50&state=running"),
    ("runs, page 1000", "/api/v2/dags/~/dagRuns?limit=50&offset=50000&order_by=-run_after"),
    ("task instances of all", "/api/v2/dags/~/dagRuns/~/taskInstances?limit=50&order_by=-start_date"),
    ("task instances that failed", "/api/v2/dags/~/dagRuns/~/taskInstances?limit=50&state=failed"),
    ("task instances of a run", "/api/v2/dags/dag_1/dagRuns/~/taskInstances?limit=50"),
    ("statistics of DAGs", "/api/v2/dagStats"),
    ("events of the log", "/api/v2/eventLogs?limit=50"),
    ("XComs of a DAG", "/api/v2/dags/dag_1/dagRuns/~/taskInstances/task_0/xcomEntries?limit=50"),
    ("import errors", "/api/v2/importErrors?limit=50"),
    ("pools", "/api/v2/pools?limit=50"),
    ("assets", "/api/v2/assets?limit=50"),
    ("deliveries", "/api/v1/deliveries?limit=50"),
    ("backfills", "/api/v1/backfills?limit=50"),
];

/// Milliseconds.
struct Times {
    start: Vec<f64>,
    to_start: Vec<f64>,
    lists: Vec<Vec<f64>>,
}

#[tokio::main]
pub async fn run() -> Result<Table> {
    let title = format!(
        "{OVER} runs that are over, with their task instances, transitions, results and entries of the audit log; beside \
         the same with none; {STARTS} starts, {RUNS} runs, {ASKED} questions for each list, one after the other"
    );
    let mut table = Table::new(title, "with none");
    on("SQLite", None, &mut table).await?;
    let postgres = tokio::task::spawn_blocking(|| TestPostgres::start_in(&std::env::temp_dir())).await?;
    on("PostgreSQL", Some(&postgres), &mut table).await?;
    tokio::task::spawn_blocking(|| drop(postgres)).await?;
    Ok(table)
}

async fn on(name: &str, postgres: Option<&TestPostgres>, table: &mut Table) -> Result<()> {
    let url = postgres.map(TestPostgres::database);
    let mut updraft = Installation::new()?;
    // What was written long ago is not to be removed meanwhile.
    updraft.set("UPDRAFT__RETENTION__RUNS", "off");
    if let Some(url) = &url {
        updraft.set("UPDRAFT__DATABASE__URL", url);
    }
    updraft.start(&[]).await?;
    updraft.log_in().await?;
    updraft
        .put_dag(
            "own",
            vec![("only".into(), json!({ "operator": "bash", "bash_command": "echo $EPOCHREALTIME" }))],
        )
        .await?;
    fill(&mut updraft, url.as_deref(), 0).await?;
    let new = times(&mut updraft).await?;
    fill(&mut updraft, url.as_deref(), OVER).await?;
    if let (Some(postgres), Some(url)) = (postgres, &url) {
        // As its own daemon would sooner or later, and not while something is measured.
        tokio::task::block_in_place(|| postgres.run(url, "VACUUM ANALYZE"));
    }
    let grown = times(&mut updraft).await?;
    updraft.stop().await?;

    let mut row = |what: &str, grown: &[f64], new: &[f64], part, goal| {
        let (grown, new) = (percentile(grown, part), percentile(new, part));
        table.compare(format!("{name}: {what}"), Figure::Millis(grown), Figure::Millis(new), goal);
    };
    row("restart to healthy, p50", &grown.start, &new.start, 0.5, Goal::RatioAtMost(1.2));
    row("trigger (REST) to the script, p50", &grown.to_start, &new.to_start, 0.5, Goal::RatioAtMost(1.2));
    row("trigger (REST) to the script, p99", &grown.to_start, &new.to_start, 0.99, Goal::None);
    for (((what, _), grown), new) in LISTS.iter().zip(&grown.lists).zip(&new.lists) {
        row(&format!("{what}, p99"), grown, new, 0.99, Goal::AtMost(Figure::Millis(50.0)));
    }
    Ok(())
}

/// Writes so many runs that are over into the database, while no server is at work; the DAGs that they are of in any case.
async fn fill(updraft: &mut Installation, url: Option<&str>, count: i64) -> Result<()> {
    updraft.stop().await?;
    let kept = match url {
        Some(url) => SqlStore::postgres(url).await?,
        None => SqlStore::sqlite(&updraft.database()).await?,
    };
    let fence = kept.acquire_leadership("bench", "", Duration::from_secs(3600)).await?;
    let fence = fence.context("another leads")?;
    if count == 0 {
        kept.commit(&store::dags(), fence).await?;
    }
    let mut next = kept.load().await?.last_run + 1;
    for part in 1..=count / AT_ONCE {
        kept.commit(&over(next), fence).await?;
        next += AT_ONCE;
        if part % 10 == 0 {
            eprintln!("growth: {} of {count} runs are written", part * AT_ONCE);
        }
    }
    kept.release(fence).await?;
    kept.close().await;
    updraft.start(&[]).await?;
    updraft.log_in().await
}

/// Runs of one task each, as if each had been asked for by somebody.
fn over(first: i64) -> Batch {
    let mut batch = store::batch_of(first, AT_ONCE, 1, RunState::Success);
    batch.audit = batch
        .runs
        .values()
        .map(|run| AuditRow {
            at: run.run_after,
            user: "ann".into(),
            action: "trigger".into(),
            namespace: Some(run.dag.namespace.clone()),
            dag: Some(run.dag.dag_id.clone()),
            run: Some(run.key),
            detail: json!({}),
        })
        .collect();
    batch
}

async fn times(updraft: &mut Installation) -> Result<Times> {
    let mut times = Times { start: Vec::new(), to_start: Vec::new(), lists: Vec::new() };
    for _ in 0..STARTS {
        updraft.stop().await?;
        times.start.push(millis(updraft.start(&[]).await?.healthy));
        updraft.log_in().await?;
    }
    for _ in 0..RUNS {
        let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let run_id = updraft.trigger("own").await?;
        updraft.finished("own", &run_id).await?;
        let path = format!(
            "/api/v2/dags/own/dagRuns/{run_id}/taskInstances/only/xcomEntries/return_value?deserialize=true"
        );
        let said = updraft.get(&path).await?["value"].take();
        let said: f64 = said.as_str().map(str::to_owned).unwrap_or_else(|| said.to_string()).parse()?;
        times.to_start.push((said - before) * 1e3);
    }
    for (_, path) in LISTS {
        let mut of_list = Vec::new();
        for _ in 0..ASKED {
            let began = Instant::now();
            updraft.get(path).await?;
            of_list.push(millis(began.elapsed()));
        }
        times.lists.push(of_list);
    }
    Ok(times)
}
