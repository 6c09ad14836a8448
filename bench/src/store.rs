//! How fast each store takes batches, how soon it gives a new leader its state, and how long a page of a list
//! takes when much has happened.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use updraft_core::{
    Assignment, DagKey, DagSpec, Incarnation, MapIndex, RunKey, RunState, TaskIx, TaskKind, TaskSpec, TiKey,
    TiState, TiStateName, XcomValue,
    record::{Batch, DagRow, DagVersionRow, RunRow, RunType, TiRow, TransitionRow, XcomRow},
};
use updraft_store::{
    Fence, MemoryStore, Order, RunField, RunQuery, SqlStore, Store, TiField, TiQuery, Window,
    test_postgres::TestPostgres,
};

use crate::{
    machine,
    statistics::{median, millis},
    table::{Figure, Goal, Table},
};

const DAGS: i64 = 20;
/// Tasks of a run.
pub const TASKS: u32 = 10;
const LARGE_RUNS: i64 = 100;
/// Rows of a large batch: runs, and for each task instance itself, four transitions and a result.
const LARGE_ROWS: f64 = LARGE_RUNS as f64 * (1.0 + TASKS as f64 * 6.0);

/// Milliseconds.
struct Times {
    large: Vec<f64>,
    small: Vec<f64>,
    load: f64,
    runs: f64,
    tis: f64,
    failed: f64,
}

#[tokio::main]
pub async fn run() -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let postgres = tokio::task::spawn_blocking(|| TestPostgres::start_in(&std::env::temp_dir())).await?;
    let sqlite = SqlStore::sqlite(&folder.path().join("updraft.db")).await?;
    let stores: [(&str, Box<dyn Store>); 3] = [
        ("memory", Box::new(MemoryStore::default())),
        ("SQLite", Box::new(sqlite)),
        ("PostgreSQL", Box::new(SqlStore::postgres(&postgres.database()).await?)),
    ];
    let title = "on 20,000 runs of 10 tasks with their history, one store after the other; medians";
    let mut table = Table::new(title, "one sync");
    for (name, store) in stores {
        let times = times_of(&*store).await?;
        let sync = Figure::Millis(machine::sync_millis(folder.path())?);
        let large = median(&times.large);
        let rows = Figure::PerSecond(LARGE_ROWS / large * 1e3);
        table.row(format!("{name}: rows, {LARGE_ROWS:.0} in a commit"), rows, Goal::None);
        table.compare(format!("{name}: such a commit"), Figure::Millis(large), sync, Goal::None);
        let what = format!("{name}: a commit of one run");
        table.compare(what, Figure::Millis(median(&times.small)), sync, Goal::None);
        let what = format!("{name}: rebuilding, 10,000 active task instances");
        table.row(what, Figure::Millis(times.load), Goal::None);
        table.row(format!("{name}: the latest 50 runs"), Figure::Millis(times.runs), Goal::None);
        table.row(format!("{name}: the latest 50 task instances"), Figure::Millis(times.tis), Goal::None);
        table.row(format!("{name}: of those none that failed"), Figure::Millis(times.failed), Goal::None);
    }
    tokio::task::spawn_blocking(|| drop(postgres)).await?;
    Ok(table)
}

/// A new store with DAGs, ready to be written to.
pub async fn prepare(store: &dyn Store) -> Result<Fence> {
    store.migrate().await?;
    let fence = store.acquire_leadership("bench", "", Duration::from_secs(3600)).await?;
    let fence = fence.context("another leads a new store")?;
    store.commit(&dags(), fence).await?;
    Ok(fence)
}

async fn times_of(store: &dyn Store) -> Result<Times> {
    let fence = prepare(store).await?;
    // A history first, so that no table is small.
    let mut next = 1;
    for _ in 0..200 {
        commit(store, fence, &batch(next, LARGE_RUNS, RunState::Success)).await?;
        next += LARGE_RUNS;
    }
    let mut large = Vec::new();
    for _ in 0..30 {
        large.push(commit(store, fence, &batch(next, LARGE_RUNS, RunState::Success)).await?);
        next += LARGE_RUNS;
    }
    let mut small = Vec::new();
    for _ in 0..200 {
        small.push(commit(store, fence, &batch(next, 1, RunState::Success)).await?);
        next += 1;
    }
    // Ten thousand active task instances for a new leader.
    for _ in 0..10 {
        commit(store, fence, &batch(next, LARGE_RUNS, RunState::Running)).await?;
        next += LARGE_RUNS;
    }
    let load = times(5, async || Ok(store.load().await?.runs.len())).await?;

    let window = Window { count_to: 10_000, ..Window::default() };
    let order = vec![Order { by: RunField::RunAfter, descending: true }];
    let runs = RunQuery { order, window, ..RunQuery::default() };
    let order = vec![Order { by: TiField::StartedAt, descending: true }];
    let tis = TiQuery { order, window, ..TiQuery::default() };
    let failed = TiQuery { states: vec![TiStateName::Failed], ..tis.clone() };
    Ok(Times {
        large,
        small,
        load: median(&load),
        runs: median(&times(20, async || Ok(store.runs(&runs).await?.rows.len())).await?),
        tis: median(&times(20, async || Ok(store.tis(&tis).await?.rows.len())).await?),
        failed: {
            ensure!(store.tis(&failed).await?.rows.is_empty(), "none has failed");
            median(&times(20, async || Ok(store.tis(&failed).await?.rows.len())).await?)
        },
    })
}

async fn commit(store: &dyn Store, fence: Fence, batch: &Batch) -> Result<f64> {
    let began = Instant::now();
    store.commit(batch, fence).await?;
    Ok(millis(began.elapsed()))
}

async fn times(rounds: usize, mut ask: impl AsyncFnMut() -> Result<usize>) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        std::hint::black_box(ask().await?);
        times.push(millis(began.elapsed()));
    }
    Ok(times)
}

fn dag(number: i64) -> DagKey {
    DagKey::new("default", format!("dag_{}", number % DAGS))
}

/// The DAGs that runs are of, put by the API: no file is looked for.
pub fn dags() -> Batch {
    let mut batch = Batch::default();
    for number in 0..DAGS {
        let mut spec = DagSpec::new(dag(number).dag_id);
        for task in 0..TASKS {
            spec.tasks.push(TaskSpec::new(format!("task_{task}"), "BashOperator", TaskKind::Run));
        }
        let (key, now) = (dag(number), Timestamp::now());
        batch.versions.push(DagVersionRow {
            key: key.clone(),
            version: 1,
            hash: "0".repeat(64),
            spec: Arc::new(spec),
            created_at: now,
        });
        let row = DagRow {
            key: key.clone(),
            version: 1,
            is_paused: false,
            is_stale: false,
            source: "api".into(),
            last_tick: None,
            next_tick: None,
            consecutive_failures: 0,
            events_run_at: None,
        };
        batch.dags.insert(key, row);
    }
    batch
}

/// So many runs of ten tasks, with four transitions and a result for each task instance.
pub fn batch(first: i64, runs: i64, state: RunState) -> Batch {
    batch_of(first, runs, TASKS, state)
}

/// The same of so many tasks.
pub fn batch_of(first: i64, runs: i64, tasks: u32, state: RunState) -> Batch {
    let mut batch = Batch { runs: BTreeMap::new(), ..Batch::default() };
    for number in first..first + runs {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_750_000_000 + number);
        batch.runs.insert(RunKey(number), run_row(number, state, at));
        for task in 0..tasks {
            let key = TiKey { run: RunKey(number), task: TaskIx(task), map_index: MapIndex::NONE };
            batch.tis.insert(key, ti_row(key, state, at));
            let states = [
                TiStateName::None,
                TiStateName::Scheduled,
                TiStateName::Queued,
                TiStateName::Running,
                TiStateName::Success,
            ];
            for pair in states.windows(2) {
                let (from, to) = (pair[0], pair[1]);
                batch.transitions.push(TransitionRow { ti: key, try_number: 1, from, to, at, reason: None });
            }
            let value = XcomValue::Inline(Arc::new(json!({"rows": number, "file": "part-0001.parquet"})));
            batch.xcoms.push(XcomRow { ti: key, key: "return_value".into(), value, at });
        }
    }
    batch
}

fn run_row(number: i64, state: RunState, at: Timestamp) -> RunRow {
    RunRow {
        key: RunKey(number),
        dag: dag(number),
        run_id: format!("scheduled__{number}").into(),
        version: 1,
        state,
        run_type: RunType::Scheduled,
        triggered_by: "timetable".into(),
        triggering_user: None,
        owner: "airflow".into(),
        logical_date: Some(at),
        data_interval: Some((at, at)),
        run_after: at,
        conf: Arc::new(json!({})),
        selection: None,
        queued_at: at,
        started_at: Some(at),
        ended_at: state.is_finished().then_some(at),
        clear_number: 0,
        deadlines_told: None,
        reason: None,
        marked: None,
    }
}

fn ti_row(key: TiKey, state: RunState, at: Timestamp) -> TiRow {
    let holder = Assignment { worker: "worker-1".into(), incarnation: Incarnation(1), lease: 1 };
    TiRow {
        key,
        task_id: format!("task_{}", key.task).into(),
        state: if state.is_finished() { TiState::Success } else { TiState::Running(holder) },
        try_number: 1,
        max_tries: 1,
        tries_before: 0,
        lost: 0,
        first_started_at: None,
        name: None,
        lease: 1,
        scheduled_at: Some(at),
        queued_at: Some(at),
        started_at: Some(at),
        ended_at: Some(at),
        paused_at: None,
        paused_for: SignedDuration::ZERO,
        exit_code: Some(0),
        worker: Some("worker-1".into()),
        reason: None,
        result_length: Some(2),
        skips: Arc::default(),
    }
}
