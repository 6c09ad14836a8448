//! How fast the store takes batches, what a sync of the disk alone takes, how soon a new leader has its state,
//! and how long a page of a list takes when much has happened.
//!
//! `cargo run --release -p updraft-store --features test-postgres --example commit_rate -- [sqlite|postgres|memory]`
//!
//! It writes to the folder for temporary files: set `TMPDIR` to the disk that is meant.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

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

const DAGS: i64 = 20;
const TASKS: u32 = 10;
const LARGE_RUNS: i64 = 100;

#[tokio::main]
async fn main() {
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    println!("one sync of 4 KiB on this disk: {:.2} ms (median)\n", ms(sync_limit(folder.path())));
    println!(
        "{:<10} {:>16} {:>14} {:>12} {:>12} {:>12} {:>12} {:>12} {:>14}",
        "store",
        "6,000 rows, ms",
        "of it CPU, ms",
        "rows/s",
        "1 run, ms",
        "load, ms",
        "runs, ms",
        "tis, ms",
        "tis failed, ms"
    );
    if wanted("memory") {
        bench("memory", &MemoryStore::default()).await;
    }
    if wanted("sqlite") {
        let store = SqlStore::sqlite(&folder.path().join("updraft.db")).await.expect("a SQLite file");
        bench("sqlite", &store).await;
    }
    if wanted("postgres") {
        let server = TestPostgres::start_in(&std::env::temp_dir());
        let store = SqlStore::postgres(&server.database()).await.expect("a connection");
        bench("postgres", &store).await;
    }
}

async fn bench(name: &str, store: &dyn Store) {
    store.migrate().await.expect("a schema");
    let fence = store.acquire_leadership("bench", "", Duration::from_secs(3600)).await.expect("no error");
    let fence = fence.expect("nobody else leads");
    store.commit(&dags(), fence).await.expect("DAGs");

    // A history first, so that no table is small.
    let mut next = 1;
    for _ in 0..20 {
        commit(store, fence, &batch(next, LARGE_RUNS, RunState::Success)).await;
        next += LARGE_RUNS;
    }
    let cpu_before = cpu();
    let mut large = Vec::new();
    for _ in 0..30 {
        large.push(commit(store, fence, &batch(next, LARGE_RUNS, RunState::Success)).await);
        next += LARGE_RUNS;
    }
    let cpu = (cpu() - cpu_before) / 30.0;
    let mut small = Vec::new();
    for _ in 0..200 {
        small.push(commit(store, fence, &batch(next, 1, RunState::Success)).await);
        next += 1;
    }
    // Ten thousand active task instances for a new leader.
    for _ in 0..10 {
        commit(store, fence, &batch(next, LARGE_RUNS, RunState::Running)).await;
        next += LARGE_RUNS;
    }
    let started = Instant::now();
    let snapshot = store.load().await.expect("a snapshot");
    let load = started.elapsed();
    assert!(snapshot.runs.iter().map(|run| run.tis.len()).sum::<usize>() >= 10_000);

    let window = Window { count_to: 10_000, ..Window::default() };
    let order = vec![Order { by: RunField::RunAfter, descending: true }];
    let runs = RunQuery { order, window, ..RunQuery::default() };
    let runs = median(&times(20, async || store.runs(&runs).await.expect("runs").rows.len()).await);
    let order = vec![Order { by: TiField::StartedAt, descending: true }];
    let tis = TiQuery { order, window, ..TiQuery::default() };
    let failed = TiQuery { states: vec![TiStateName::Failed], ..tis.clone() };
    let tis = median(&times(20, async || store.tis(&tis).await.expect("task instances").rows.len()).await);
    let failed = median(&times(20, async || store.tis(&failed).await.expect("none").rows.len()).await);

    let large = median(&large);
    println!(
        "{name:<10} {:>16.1} {cpu:>14.1} {:>12.0} {:>12.2} {:>12.0} {:>12.2} {:>12.2} {:>14.2}",
        ms(large),
        6000.0 / large.as_secs_f64(),
        ms(median(&small)),
        ms(load),
        ms(runs),
        ms(tis),
        ms(failed),
    );
}

async fn commit(store: &dyn Store, fence: Fence, batch: &Batch) -> Duration {
    let started = Instant::now();
    store.commit(batch, fence).await.expect("a commit");
    started.elapsed()
}

async fn times(rounds: usize, mut ask: impl AsyncFnMut() -> usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        std::hint::black_box(ask().await);
        times.push(started.elapsed());
    }
    times
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// This process's time on processors so far, in milliseconds. PostgreSQL's own is not in it.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) * 10.0
}

/// What the disk takes for the least durable write there is.
fn sync_limit(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("sync")).expect("a file");
    let mut times = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        file.write_all(&[7; 4096]).expect("a write");
        file.sync_data().expect("a sync");
        times.push(started.elapsed());
    }
    median(&times)
}

fn dag(number: i64) -> DagKey {
    DagKey::new("default", format!("dag_{}", number % DAGS))
}

fn dags() -> Batch {
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
            source: "bench.yaml".into(),
            last_tick: None,
            next_tick: None,
            consecutive_failures: 0,
        };
        batch.dags.insert(key, row);
    }
    batch
}

/// So many runs of ten tasks, with four transitions and a result for each task instance.
fn batch(first: i64, runs: i64, state: RunState) -> Batch {
    let mut batch = Batch { runs: BTreeMap::new(), ..Batch::default() };
    for number in first..first + runs {
        let at = Timestamp::from_second(1_750_000_000 + number).expect("a time");
        batch.runs.insert(RunKey(number), run(number, state, at));
        for task in 0..TASKS {
            let key = TiKey { run: RunKey(number), task: TaskIx(task), map_index: MapIndex::NONE };
            batch.tis.insert(key, ti(key, state, at));
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

fn run(number: i64, state: RunState, at: Timestamp) -> RunRow {
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
        reason: None,
    }
}

fn ti(key: TiKey, state: RunState, at: Timestamp) -> TiRow {
    let holder = Assignment { worker: "worker-1".into(), incarnation: Incarnation(1), lease: 1 };
    TiRow {
        key,
        task_id: format!("task_{}", key.task).into(),
        state: if state.is_finished() { TiState::Success } else { TiState::Running(holder) },
        try_number: 1,
        max_tries: 1,
        lost: 0,
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
