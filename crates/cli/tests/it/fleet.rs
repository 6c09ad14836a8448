//! Several servers on one PostgreSQL, and workers of theirs: whichever of them goes, the work goes on.

mod faults;
mod members;
mod objects;
mod proxy;
mod soak;
mod upgrade;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::members::{Fleet, Member};
use crate::system::{client, signal};

/// A run whose task instances each note that they begin and that they end, and whether
/// another attempt of theirs is at work.
fn dag(folder: &Path, copies: usize, seconds: f64) -> String {
    let copies: Vec<String> = (0..copies).map(|n| format!("{{N: \"{n}\"}}")).collect();
    format!(
        r#"load:
  schedule: null
  max_active_tasks: 1000
  default_args: {{retries: 0}}
  tasks:
    work:
      operator: bash
      append_env: true
      partial: {{bash_command: 'exec 9>> {notes}.$N; flock -n 9 || echo "$N twice at once" >> {notes}; echo "$N begin" >> {notes}; sleep {seconds}; echo "$N end" >> {notes}; echo "said $N"'}}
      expand: {{env: [{copies}]}}
    last: {{operator: empty, dependencies: [work]}}
"#,
        notes = folder.display(),
        copies = copies.join(", "),
    )
}

/// The notes' place is known only when the folder is there.
async fn fleet(servers: usize, workers: usize, copies: usize, seconds: f64) -> Fleet {
    let fleet = Fleet::start(servers, workers, "").await;
    let text = dag(&fleet.notes(), copies, seconds);
    std::fs::write(fleet.folder.path().join("dags/load.yaml"), text).unwrap();
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !fleet.run(0, &["dags", "list"]).contains("load") {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{}", fleet.said());
    }
    fleet
}

#[tokio::test]
async fn a_standby_answers_and_passes_on_and_takes_the_place_of_a_leader_that_is_killed() {
    const COPIES: usize = 120;
    let mut fleet = fleet(2, 3, COPIES, 0.3).await;
    let first = fleet.leader_but(None).await;
    let standby = 1 - first;
    // All of it asked of the one that does not lead.
    fleet.run(standby, &["dags", "trigger", "load", "--run-id", "r"]);
    let workers: Vec<Value> =
        serde_json::from_str(&fleet.run(standby, &["workers", "list", "-o", "json"])).unwrap();
    assert_eq!(workers.len(), 3, "{workers:?}");
    let servers: Vec<Value> =
        serde_json::from_str(&fleet.run(standby, &["servers", "list", "-o", "json"])).unwrap();
    let states: BTreeMap<&str, &str> = servers
        .iter()
        .map(|server| (server["address"].as_str().unwrap(), server["state"].as_str().unwrap()))
        .collect();
    let [leading, by] = [first, standby].map(|at| fleet.servers[at].address().unwrap());
    assert_eq!(states, [(&*leading, "leading"), (&*by, "standby")].into());
    fleet.ends(COPIES / 4).await;

    fleet.servers[first].kill();
    let killed = Instant::now();
    // Asked while nobody leads, it answers when somebody does.
    fleet.run(standby, &["variables", "set", "colour", "blue"]);
    assert_eq!(fleet.leader_but(Some(first)).await, standby);
    let took = killed.elapsed();
    println!("a leader that was killed was replaced within {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    fleet.start_server(first).await;
    fleet.ends(COPIES / 2).await;
    fleet.servers[standby].kill();
    assert_eq!(fleet.leader_but(Some(standby)).await, first);
    fleet.runs_over(1, Duration::from_secs(60)).await;
    fleet.each_once(COPIES);
    // What was logged is where all servers see it.
    let log = fleet.run(first, &["tasks", "logs", "load", "r", "work", "--map-index", "7"]);
    assert!(log.contains("said 7"), "{log}");
    assert_eq!(fleet.run(first, &["variables", "get", "colour"]).trim(), "blue");
}

#[tokio::test]
async fn a_leader_that_slept_past_its_lease_writes_nothing_when_it_wakes() {
    const COPIES: usize = 32;
    let fleet = fleet(2, 2, COPIES, 8.0).await;
    let first = fleet.leader_but(None).await;
    let other = 1 - first;
    fleet.run(first, &["dags", "trigger", "load", "--run-id", "r"]);
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while fleet.noted().len() < 16 {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{}", fleet.said());
    }
    let sleeper = fleet.servers[first].process.id();
    signal(sleeper, "-STOP");
    assert_eq!(fleet.leader_but(Some(first)).await, other);
    // The workers find the other server by themselves, before their leases pass.
    let began = Instant::now();
    let is_there = |list: String| list.lines().any(|line| line.starts_with("w1") && line.contains("active"));
    while !is_there(fleet.run(other, &["workers", "list"])) {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{}", fleet.said());
    }
    println!(
        "a worker of a leader that sleeps found another {:?} after it had begun to lead",
        began.elapsed()
    );
    signal(sleeper, "-CONT");
    fleet.runs_over(1, Duration::from_secs(60)).await;
    fleet.each_once(COPIES);
    faults::lost_and_done_again(&fleet, 0).await;
    assert_eq!(fleet.leader_but(None).await, other);
    let said = fleet.servers[first].said();
    assert!(said.contains("another server leads"), "{said}");
}

#[tokio::test]
async fn a_server_that_belongs_elsewhere_is_told() {
    let fleet = Fleet::start(1, 0, "").await;
    let blobs = format!("file://{}", fleet.folder.path().join("blobs").display());
    let environment = [("UPDRAFT__DATABASE__URL", &*fleet.database), ("UPDRAFT__BLOB__URL", &*blobs)];
    let code = |member: &mut Member| member.process.wait().unwrap().code();
    let mut stranger =
        Member::start(fleet.folder.path().join("stranger"), &["server", "--port", "0"], &environment);
    assert_eq!(code(&mut stranger), Some(1));
    assert!(stranger.said().contains("Copy the file `key`"), "{}", stranger.said());
    let mut forgetful =
        Member::start(fleet.folder.path().join("forgetful"), &["server", "--port", "0"], &environment[..1]);
    assert_eq!(code(&mut forgetful), Some(1));
    assert!(forgetful.said().contains("UPDRAFT__BLOB__URL"), "{}", forgetful.said());
    // What it had said of itself is taken back.
    let servers: Vec<Value> =
        serde_json::from_str(&fleet.run(0, &["servers", "list", "-o", "json"])).unwrap();
    assert_eq!(servers.len(), 1, "{servers:?}");
    let answer = client().get(format!("{}/api/v2/monitor/health", fleet.servers[0].address().unwrap()));
    let health: Value = answer.send().await.unwrap().json().await.unwrap();
    assert_eq!(health["scheduler"]["status"], json!("healthy"));
}
