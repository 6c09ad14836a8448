//! A fleet on one machine: a server on PostgreSQL and a hundred workers in five groups, as the authors of Zmey tested
//! theirs; batch after batch, and what is lost when processes are killed.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use updraft_store::test_postgres::TestPostgres;

use crate::{
    bare,
    installation::{Installation, binary},
    machine,
    statistics::{median, median_ratio},
    table::{Figure, Goal, Table},
};

const GROUPS: usize = 5;
const WORKERS_OF_GROUP: usize = 20;
const SLOTS_OF_WORKER: usize = 5;
const SLOTS: usize = GROUPS * WORKERS_OF_GROUP * SLOTS_OF_WORKER;
const SCRIPT: &str = "sleep 1; echo res";
const SCRIPTS: usize = 1000;
const BATCHES: usize = 100;
/// Each such batch has a bare loop beside it.
const BARE_EVERY: usize = 5;
/// So many batches at the beginning and at the end are compared.
const ENDS: usize = 20;
const NOOPS: usize = 2000;
const NOOP_ROUNDS: usize = 5;

/// The workers, ended when this goes.
struct Workers {
    folder: tempfile::TempDir,
    url: String,
    token: String,
    running: Vec<Child>,
}

impl Workers {
    async fn join(updraft: &Installation) -> Result<Self> {
        let body = json!({ "name": "fleet", "purpose": "join" });
        let made = updraft.post("/api/v1/tokens", &body).await?;
        let token = made["token"].as_str().context("no token")?.to_owned();
        let folder = tempfile::Builder::new().prefix("updraft-bench-").tempdir()?;
        let mut workers = Self { folder, url: updraft.url().to_owned(), token, running: Vec::new() };
        for number in 0..GROUPS * WORKERS_OF_GROUP {
            let worker = workers.start(number)?;
            workers.running.push(worker);
        }
        workers.all_there(updraft).await?;
        Ok(workers)
    }

    fn home(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("w{number}"))
    }

    fn start(&self, number: usize) -> Result<Child> {
        Command::new(binary()?)
            .arg("--home")
            .arg(self.home(number))
            .args(["worker", "--server", &self.url, "--slots", &SLOTS_OF_WORKER.to_string()])
            .args(["--name", &format!("w{number}"), "--queues", &format!("g{}", number % GROUPS)])
            .env("UPDRAFT_WORKER_TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't start a worker")
    }

    async fn all_there(&self, updraft: &Installation) -> Result<()> {
        let began = Instant::now();
        loop {
            let there = updraft.get("/api/v1/workers").await?;
            let active = there["workers"].as_array().into_iter().flatten();
            if active.filter(|worker| worker["state"] == "active").count() == self.running.len() {
                return Ok(());
            }
            ensure!(began.elapsed() < Duration::from_secs(120), "not all workers have joined: {there}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn pids(&self) -> Vec<u32> {
        self.running.iter().map(Child::id).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.running {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// Processes by what they have used of processors, in seconds.
fn cpu(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| machine::cpu_seconds(*pid)).sum()
}

#[tokio::main]
pub async fn run() -> Result<Table> {
    let bash = bare::bash()?;
    let postgres = tokio::task::spawn_blocking(|| TestPostgres::start_in(&std::env::temp_dir())).await?;
    let mut updraft = Installation::served(&postgres.database()).await?;
    let workers = Workers::join(&updraft).await?;
    updraft.put_dag("sleep", tasks(SCRIPTS, SCRIPT)).await?;
    updraft.put_dag("noop", tasks(NOOPS, "echo res")).await?;
    let server = updraft.server_pid()?;
    let pids: Vec<u32> = workers.pids().into_iter().chain([server]).collect();

    let (mut ours, mut loops, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let (mut loop_cpu, cpu_before) = (Vec::new(), cpu(&pids)?);
    for number in 0..BATCHES {
        ours.push(batch(&updraft, "sleep").await?);
        if number % BARE_EVERY == 0 {
            let took = bare::run(&bash, SCRIPT, b"res\n", SCRIPTS, SLOTS)?;
            beside.push(ours[number]);
            loops.push(took.seconds);
            loop_cpu.push(took.cpu_seconds);
        }
    }
    let our_cpu = (cpu(&pids)? - cpu_before) / BATCHES as f64;
    let megabytes = pids.iter().map(|pid| machine::pss_megabytes(*pid)).sum::<Result<f64>>()?;

    let mut title = format!(
        "{GROUPS} groups of {WORKERS_OF_GROUP} workers with {SLOTS_OF_WORKER} slots, one server, PostgreSQL; "
    );
    title +=
        &format!("{BATCHES} batches of {SCRIPTS} x bash -c '{SCRIPT}', each when the one before has ended");
    let mut table = Table::new(title, "bare loop");
    table.compare_by(
        "wall time of a batch, median",
        Figure::Seconds(median(&ours)),
        Figure::Seconds(median(&loops)),
        median_ratio(&beside, &loops),
        Goal::RatioAtMost(1.15),
    );
    let (least, most) = ours.iter().fold((f64::MAX, 0_f64), |(l, m), s| (l.min(*s), m.max(*s)));
    table.row("the shortest batch", Figure::Seconds(least), Goal::None);
    table.row("the longest batch", Figure::Seconds(most), Goal::AtMost(Figure::Seconds(17.1)));
    table.compare_by(
        format!("the last {ENDS} batches beside the first {ENDS}"),
        Figure::Seconds(median(&ours[BATCHES - ENDS..])),
        Figure::Seconds(median(&ours[..ENDS])),
        median(&ours[BATCHES - ENDS..]) / median(&ours[..ENDS]),
        Goal::RatioAtMost(1.05),
    );
    let each = |seconds: f64| Figure::Micros(seconds * 1e6 / SCRIPTS as f64);
    table.compare(
        "processor time of a script, server and workers",
        each(our_cpu),
        each(median(&loop_cpu)),
        Goal::None,
    );
    table.row("memory (PSS), server and workers", Figure::Megabytes(megabytes), Goal::None);
    let idle = idle(&pids).await?;
    table.row(
        "of one processor while nothing is to do",
        Figure::Share(idle),
        Goal::AtMost(Figure::Share(0.2)),
    );
    noops(&updraft, &mut table).await?;
    killed(&mut updraft, workers, &mut table).await?;
    updraft.stop().await?;
    tokio::task::spawn_blocking(|| drop(postgres)).await?;
    Ok(table)
}

/// So many tasks, spread over the groups.
fn tasks(count: usize, script: &str) -> Vec<(String, Value)> {
    let task = |number| json!({ "operator": "bash", "bash_command": script, "queue": format!("g{}", number % GROUPS) });
    (0..count).map(|number| (format!("t{number}"), task(number))).collect()
}

/// A run from the trigger to its end, in seconds.
async fn batch(updraft: &Installation, dag_id: &str) -> Result<f64> {
    let began = Instant::now();
    let run = updraft.trigger(dag_id).await?;
    updraft.finished(dag_id, &run).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn idle(pids: &[u32]) -> Result<f64> {
    let (before, began) = (cpu(pids)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    Ok((cpu(pids)? - before) / began.elapsed().as_secs_f64())
}

/// No-op tasks per second, beside those of `standalone` with as many slots.
async fn noops(updraft: &Installation, table: &mut Table) -> Result<()> {
    let mut alone = Installation::started(&["--slots", &SLOTS.to_string()]).await?;
    let plain = json!({ "operator": "bash", "bash_command": "echo res" });
    alone.put_dag("noop", (0..NOOPS).map(|number| (format!("t{number}"), plain.clone())).collect()).await?;
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..NOOP_ROUNDS {
        ours.push(NOOPS as f64 / batch(updraft, "noop").await?);
        beside.push(NOOPS as f64 / batch(&alone, "noop").await?);
    }
    alone.stop().await?;
    table.compare_by(
        "no-op tasks per second, beside `standalone`",
        Figure::PerSecond(median(&ours)),
        Figure::PerSecond(median(&beside)),
        median_ratio(&ours, &beside),
        Goal::RatioAtLeast(0.80),
    );
    Ok(())
}

/// How long a batch takes in which a worker is killed and not started again, and one in which the server is, and is.
async fn killed(updraft: &mut Installation, mut workers: Workers, table: &mut Table) -> Result<()> {
    let run = updraft.trigger("sleep").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let victim = workers.running.first_mut().context("no worker")?;
    victim.kill()?;
    victim.wait()?;
    updraft.finished("sleep", &run).await?;
    let seconds = began.elapsed().as_secs_f64();
    table.row(
        "kill -9 of a worker in mid-batch, until all has ended",
        Figure::Seconds(seconds),
        Goal::AtMost(Figure::Seconds(98.0)),
    );
    let run = updraft.trigger("sleep").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    updraft.restart_server().await?;
    updraft.finished("sleep", &run).await?;
    let seconds = began.elapsed().as_secs_f64();
    table.row(
        "kill -9 of the server in mid-batch, until all has ended",
        Figure::Seconds(seconds),
        Goal::None,
    );
    Ok(())
}
