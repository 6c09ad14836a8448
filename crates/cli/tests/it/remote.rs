//! Workers that reach their server over the network.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use updraft_core::{RunState, TiStateName};

use crate::system::{Done, System, count, lives, signal};

/// A worker that is not on the server's machine, as far as it can tell.
pub struct Remote {
    pub folder: TempDir,
    process: Child,
}

impl Remote {
    pub fn start(system: &System, token: &str) -> Self {
        Self::start_as("far", system, token)
    }

    /// The same under this name.
    fn start_as(name: &str, system: &System, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Self::process(&folder, name, &system.address(), token);
        Self { folder, process }
    }

    fn process(folder: &TempDir, name: &str, address: &str, token: &str) -> Child {
        let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_updraft"))
            .arg("--home")
            .arg(folder.path().join("home"))
            .args(["worker", "--server", address, "--name", name, "--queues", "far", "--slots", "4"])
            .args(["--label", "zone=west", "--label", "gpu=a100"])
            .env("UPDRAFT_WORKER_TOKEN", token)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Its code, once it has gone by itself.
    async fn gone(&mut self) -> Option<i32> {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        for _ in 0..600 {
            tick.tick().await;
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
        }
        panic!("it lives on; it said:\n{}", self.said());
    }

    /// The logs that are not on the server yet.
    fn spool(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("home/workers/far/logs");
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn token(system: &System) -> String {
    system.run(&["tokens", "create", "far", "--join"]).good().trim().to_owned()
}

const DAG: &str = r#"
far:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0, queue: far}
  tasks:
    near: {operator: bash, queue: default, bash_command: echo near}
    large: {operator: script, interpreter: sh, script: "head -c 200000 /dev/zero | tr '\\0' x > $UPDRAFT_RESULT", result: file}
    talks: {operator: bash, bash_command: "for n in $(seq 30000); do echo line $n of many that are said; done"}
    silent: {operator: bash, bash_command: "true", worker_labels: {gpu: a100}, worker_slots: 4}
    looks_up:
      operator: bash
      bash_command: echo "{{ ti.xcom_pull(task_ids='near') }} {{ ti.xcom_pull(task_ids='large') | length }} {{ var.value.colour }}"
      dependencies: [near, large]
    asks:
      operator: python
      python_callable_name: main
      python_callable_file: asks.py
      dependencies: [near]
"#;

const ASKS: &str = r#"
def main(ti, var):
    print("it is", ti.xcom_pull(task_ids="near"))
    return var["value"].colour
"#;

/// A DAG with one task, which writes who it is into a file each time it begins, and goes on for ever.
fn endless(system: &System, before: &str, task: &str) -> PathBuf {
    let pids = system.shared().join("pids");
    let dag = format!(
        "long: {{schedule: '@once', default_args: {{start_date: 2024-01-01, retries: 0, queue: far}}, tasks: \
         {{t: {{operator: bash, bash_command: '{before}echo $$ >> {}; while :; do sleep 0.1; done'{task}}}}}}}",
        pids.display()
    );
    std::fs::write(system.home().join("dags/long.yaml"), dag).unwrap();
    pids
}

/// Waits until such a task has begun so often, and gives what it wrote.
async fn begun(pids: &Path, count: usize) -> String {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..1200 {
        tick.tick().await;
        let text = std::fs::read_to_string(pids).unwrap_or_default();
        if text.lines().count() == count {
            return text;
        }
    }
    panic!("not begun {count} times");
}

#[tokio::test]
async fn a_worker_that_slept_longer_than_its_lease_ends_what_was_given_away_meanwhile() {
    let mut system = System::new(&[]);
    system.set("UPDRAFT__SERVER__LEASE_S", "15");
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let pids = endless(&system, "", "");
    let worker = Remote::start(&system, &token(&system));
    let first = begun(&pids, 1).await;
    let states = ["runs", "list", "long", "-o", "json"];
    let runs = system.run(&states).json();
    let run = runs[0]["dag_run_id"].as_str().unwrap();
    signal(worker.process.id(), "-STOP");
    system.until(&["tasks", "states", "long", run], |done| done.out.contains("scheduled")).await;
    signal(worker.process.id(), "-CONT");
    // It is given it anew, when it has joined again.
    begun(&pids, 2).await;
    assert!(!lives(&first), "{} lives on", first.trim());
    assert!(worker.said().contains("did not act for longer than its lease"), "{}", worker.said());
}

#[tokio::test]
async fn of_two_workers_of_one_name_the_first_ends_with_what_it_runs() {
    let mut system = System::new(&[]);
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let pids = endless(&system, "", "");
    let token = token(&system);
    let mut first = Remote::start(&system, &token);
    let pid = begun(&pids, 1).await;
    let second = Remote::start(&system, &token);
    begun(&pids, 2).await;
    assert_ne!(first.gone().await, Some(0));
    assert!(first.said().contains("a later life of "), "{}", first.said());
    assert!(!lives(&pid), "{} lives on", pid.trim());
    drop(second);
}

#[tokio::test]
async fn whose_token_is_revoked_ends_what_it_runs_and_goes() {
    let mut system = System::new(&[]);
    system.set("UPDRAFT__SERVER__LEASE_S", "15");
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    // It does not go at SIGTERM, and would go on where a lease passes.
    let pids = endless(&system, "trap \"\" TERM; ", ", on_lease_loss: continue");
    let mut remote = Remote::start(&system, &token(&system));
    let pid = begun(&pids, 1).await;
    let listed = system.run(&["tokens", "list", "--all", "-o", "json"]).json();
    let id = listed[0]["id"].to_string();
    // Another's token stays good.
    let other = Remote::start_as("farther", &system, &token(&system));
    let joined = |done: &Done| done.out.contains("farther");
    system.until(&["workers", "list"], joined).await;
    let revoked = Instant::now();
    system.run(&["tokens", "revoke", &id]).good();
    assert_eq!(remote.gone().await, Some(1));
    assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", revoked.elapsed());
    let said = remote.said();
    assert!(said.contains("revoked") && said.contains("updraft tokens create NAME --join"), "{said}");
    assert!(!lives(&pid), "{} lives on", pid.trim());
    // Nobody knew that at the server: it was lost when the lease was over, and no sooner.
    begun(&pids, 2).await;
    assert!(revoked.elapsed() > Duration::from_secs(5), "{:?}", revoked.elapsed());
    let tries = system.run(&["tasks", "explain", "long", RUN, "t"]).good();
    assert!(tries.contains("farther"), "{tries}");
    drop(other);
}

#[tokio::test]
async fn a_worker_elsewhere_runs_tasks_of_its_queues_and_all_they_leave_is_on_the_server() {
    let mut system = System::new(&[("far.yaml", DAG), ("asks.py", ASKS)]);
    system.set("AIRFLOW_VAR_COLOUR", "blue");
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let remote = Remote::start(&system, &token(&system));
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let tis = system.tis().await;
    for ti in &tis {
        let log = system.log(ti);
        let shown = &log[log.len().saturating_sub(2000)..];
        assert_eq!(
            ti.row.state.name(),
            TiStateName::Success,
            "{}: {shown}\n{}",
            ti.row.task_id,
            remote.said()
        );
    }
    assert_eq!(runs[0].state, RunState::Success);
    let of = |task: &str| tis.iter().find(|ti| &*ti.row.task_id == task).unwrap();
    assert_eq!(system.result(of("looks_up")).await, json!("near 200000 blue"));
    assert_eq!(system.result(of("asks")).await, json!("blue"));
    assert!(system.log(of("asks")).contains("it is near"));
    let said = system.log(of("talks"));
    assert_eq!(said.lines().count(), 30_000);
    assert!(said.ends_with("line 30000 of many that are said\n"), "{}", &said[said.len() - 200..]);
    let listed = system.run(&["workers", "list", "-o", "json"]).json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|worker| worker["worker"].clone()).collect();
    assert_eq!(names, ["far", "keeper"]);
    assert_eq!(listed[0]["labels"], json!({"gpu": "a100", "zone": "west"}));
    assert!(system.run(&["workers", "list"]).good().contains("gpu=a100, zone=west"));
    assert!(remote.spool().is_empty(), "what is on the server is here no more: {:?}", remote.spool());
}

/// The run of a DAG that has one.
const RUN: &str = "scheduled__2024-01-01T00:00:00+00:00";

const LONG: &str = r#"
long:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0, queue: far}
  tasks:
    works: {operator: bash, bash_command: "echo begun; while [ ! -e GATE ]; do sleep 0.1; done; echo done"}
"#;

#[tokio::test]
async fn its_tasks_outlive_the_server_and_it_goes_when_they_are_over() {
    let mut system = System::new(&[]);
    let gate = system.home().join("dags/gate");
    let dag = LONG.replace("GATE", &gate.display().to_string());
    std::fs::write(system.home().join("dags/long.yaml"), dag).unwrap();
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let port: u16 = system.address().rsplit(':').next().unwrap().parse().unwrap();
    let mut remote = Remote::start(&system, &token(&system));
    let begun = |done: &Done| done.out.contains("begun");
    system.until(&["tasks", "logs", "long", RUN, "works"], begun).await;
    system.kill_server();
    system.start_on(port, 4);
    system.until(&["health"], |done| done.code == 0).await;
    signal(remote.process.id(), "-TERM");
    std::fs::write(gate, "").unwrap();
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let tis = system.tis().await;
    assert_eq!(runs[0].state, RunState::Success, "{}\n{}", remote.said(), system.said());
    assert_eq!((count(&tis, TiStateName::Success), tis[0].row.try_number), (1, 1));
    let log = system.log(&tis[0]);
    assert_eq!(log.lines().filter_map(|line| line.split_once("\tout\t")).count(), 2, "{log}");
    assert_eq!(remote.gone().await, Some(0), "{}", remote.said());
}

const WAITS: &str = r#"
waits:
  schedule: null
  default_args: {retries: 0, queue: far}
  tasks:
    work: {operator: bash, bash_command: "echo done"}
"#;

#[tokio::test]
async fn it_is_drained_and_takes_work_again_and_goes_when_it_is_removed() {
    let mut system = System::new(&[("waits.yaml", WAITS)]);
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let mut remote = Remote::start(&system, &token(&system));
    let is = |wanted: &'static str| {
        move |done: &Done| {
            let listed: Vec<Value> = serde_json::from_str(&done.out).unwrap_or_default();
            listed.iter().any(|worker| worker["worker"] == "far" && worker["state"] == wanted)
        }
    };
    let list = ["workers", "list", "-o", "json"];
    system.until(&list, is("active")).await;
    assert_eq!(system.run(&["workers", "drain", "keeper"]).code, 1);
    let unknown = system.run(&["workers", "drain", "farther"]);
    assert!(unknown.code == 3 && unknown.err.contains("farther"), "{unknown:?}");
    system.run(&["workers", "drain", "far"]).good();
    system.until(&list, is("draining")).await;
    system.until(&["dags", "trigger", "waits", "--run-id", "r"], |done| done.code == 0).await;
    let why = |done: &Done| done.out.contains("drain") || done.out.contains("stop");
    system.until(&["tasks", "explain", "waits", "r", "work"], why).await;
    system.run(&["workers", "resume", "far"]).good();
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success);
    system.run(&["workers", "remove", "far"]).good();
    assert_eq!(remote.gone().await, Some(0), "{}", remote.said());
    let gone = |done: &Done| done.code == 0 && !done.out.contains("far");
    system.until(&["workers", "list"], gone).await;
}

#[tokio::test]
async fn who_has_no_token_or_takes_the_keepers_name_is_told() {
    let mut system = System::new(&[]);
    system.start(1);
    system.until(&["health"], |done| done.code == 0).await;
    let mut stranger = Remote::start(&system, "nobody's");
    assert_eq!(stranger.gone().await, Some(1));
    assert!(stranger.said().contains("updraft tokens create NAME --join"), "{}", stranger.said());
    let of_a_user = system.run(&["tokens", "create", "me"]).good();
    let mut user = Remote::start(&system, of_a_user.trim());
    assert_eq!(user.gone().await, Some(1));
    let named = system.run(&["worker", "--server", &system.address(), "--token", "x", "--name", "keeper"]);
    assert!(named.code == 1 && named.err.contains("--name"), "{named:?}");
}
