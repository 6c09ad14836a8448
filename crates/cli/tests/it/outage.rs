//! The database is gone for a while, its disk is full, or a worker is short of something, while tasks run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use updraft_core::RunState;
use updraft_store::test_postgres::TestPostgres;

use crate::system::{Done, System};

const COPIES: usize = 60;

/// A run whose task instances each note that they begin and that they end, beyond the outage's reach.
fn dag(notes: &Path) -> String {
    let copies: Vec<String> = (0..COPIES).map(|n| format!("{{N: \"{n}\"}}")).collect();
    format!(
        r#"load:
  schedule: "@once"
  max_active_tasks: 1000
  default_args: {{start_date: 2024-01-01, retries: 0}}
  tasks:
    work:
      operator: bash
      append_env: true
      partial: {{bash_command: 'echo "$N begin" >> {notes}; sleep 0.5; echo "$N end" >> {notes}'}}
      expand: {{env: [{copies}]}}
    last: {{operator: empty, dependencies: [work]}}
"#,
        notes = notes.display(),
        copies = copies.join(", "),
    )
}

/// An installation at work: some task instances have ended, some run, some have not begun.
async fn at_work(mut system: System) -> System {
    let notes = system.shared().join("notes");
    std::fs::write(system.home().join("dags/load.yaml"), dag(&notes)).unwrap();
    system.start(4);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while std::fs::read_to_string(&notes).unwrap_or_default().matches("end").count() < 8 {
        tick.tick().await;
    }
    system
}

/// Everything ends well, and nothing began twice.
async fn all_ends_well(system: &System) {
    let runs = system.runs_over(1, Duration::from_secs(100)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    let mut noted: BTreeMap<String, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(system.shared().join("notes")).unwrap().lines() {
        *noted.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!(noted.len(), 2 * COPIES, "one begin and one end each");
    assert!(noted.values().all(|times| *times == 1), "{noted:?}");
}

async fn without_postgres_for(time: Duration, lease: Duration) {
    let mut postgres = TestPostgres::start();
    let mut system = System::new(&[]);
    system.set("UPDRAFT__DATABASE__URL", postgres.database());
    system.set("UPDRAFT__SERVER__LEASE_S", lease.as_secs().to_string());
    let system = at_work(system).await;
    postgres.crash();
    // tidy: sleep because an outage has a length, and the time that passes is what is tested
    tokio::time::sleep(time).await;
    assert!(system.said().contains("database"), "nobody was told:\n{}", system.said());
    postgres.restart();
    all_ends_well(&system).await;
}

#[tokio::test]
async fn a_postgres_that_is_gone_for_a_while_under_load_costs_no_attempt() {
    without_postgres_for(Duration::from_secs(5), Duration::from_secs(30)).await;
}

/// That of the workers, which is as short as can be set here, and that of the leader, ten seconds.
#[tokio::test]
async fn a_postgres_that_is_gone_for_longer_than_any_lease_costs_no_attempt() {
    without_postgres_for(Duration::from_secs(20), Duration::from_secs(15)).await;
}

#[tokio::test]
async fn a_start_waits_for_a_postgres_that_is_not_there_yet_and_for_no_other_reason() {
    let mut postgres = TestPostgres::start();
    let mut system = System::new(&[]);
    system.set("UPDRAFT__DATABASE__URL", postgres.database());
    postgres.crash();
    system.start(1);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !system.said().contains("waiting for the database") {
        tick.tick().await;
    }
    postgres.restart();
    system.until(&["health"], |done| done.code == 0).await;

    let mut system = System::new(&[]);
    system.set("UPDRAFT__DATABASE__URL", postgres.database().replace("/test_", "/no_test_"));
    let since = Instant::now();
    system.start(1);
    assert_eq!(system.server_ended().await, Some(1));
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    let said = system.said();
    assert!(said.contains("no_test_") && !said.contains("waiting for the database"), "{said}");
}

#[tokio::test]
async fn a_full_disk_stops_the_work_until_there_is_room() {
    let Some(system) = System::on_disk_of("24m") else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let system = at_work(system).await;
    let ballast = system.home().join("ballast");
    let filled = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", ballast.display()))
        .stderr(std::process::Stdio::null())
        .status();
    assert!(!filled.unwrap().success(), "the disk has room without end");
    let notes = || std::fs::read_to_string(system.shared().join("notes")).unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    // What runs ends; nothing new begins, since nobody could write down that it did.
    while !system.said().contains("full") {
        tick.tick().await;
    }
    let health = system.run(&["health", "-o", "json"]);
    assert!(health.code == 1 && health.out.contains("unhealthy"), "{health:?}");
    let begun = notes().matches("begin").count();
    // tidy: sleep because what must not happen has no event
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(notes().matches("begin").count(), begun, "{}", system.said());
    std::fs::remove_file(ballast).unwrap();
    all_ends_well(&system).await;
    assert_eq!(system.run(&["health"]).code, 0);
}

/// Lets a process have no more than this many further open files; what its limit was. `None` where this user does not see
/// which it has.
fn leave_files(pid: u32, free: usize) -> Option<Rlimit> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let taken: BTreeSet<usize> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The lowest numbers that are free are taken first.
    let most = (0..).filter(|number| !taken.contains(number)).nth(free).unwrap();
    let before = limit_files(pid, |before| Rlimit { current: Some(most as u64), ..before });
    assert!(before.current.is_none_or(|before| before > most as u64));
    Some(before)
}

/// Sets a process's limit of open files; what it was.
fn limit_files(pid: u32, new: impl FnOnce(Rlimit) -> Rlimit) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let text = std::fs::read_to_string(format!("/proc/{}/limits", pid.unwrap().as_raw_nonzero())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut words = line.split_whitespace().skip(3).map(|word| word.parse().ok());
    let before = Rlimit { current: words.next().unwrap(), maximum: words.next().unwrap() };
    prlimit(pid, Resource::Nofile, new(before)).unwrap()
}

const ECHOES: &str = r#"
echoes:
  schedule: null
  default_args: {retries: 0, max_lost: 0}
  tasks:
    work: {operator: bash, bash_command: "echo done"}
"#;

#[tokio::test]
async fn an_attempt_waits_for_what_its_worker_is_short_of() {
    let mut system = System::new(&[("echoes.yaml", ECHOES)]);
    system.start(1);
    let trigger = async |run: &str| {
        system.until(&["dags", "trigger", "echoes", "--run-id", run], |done| done.code == 0).await
    };
    trigger("before").await;
    system.runs_over(1, Duration::from_secs(60)).await;
    let [keeper] = system.processes("keeper")[..] else { panic!("there is one keeper") };
    // What the attempt before has had open is closed a moment after its end.
    let open = || std::fs::read_dir(format!("/proc/{keeper}/fd")).map_or(0, Iterator::count);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let (mut before, mut equal) = (open(), 0);
    while equal < 20 {
        tick.tick().await;
        let now = open();
        equal = if now == before { equal + 1 } else { 0 };
        before = now;
    }
    // Enough to write a line of a log, and too few to start a process.
    let Some(before) = leave_files(keeper, 2) else {
        eprintln!("skipped: only root sees the open files of who protects itself");
        return;
    };
    trigger("short").await;
    let told = |done: &Done| done.out.matches("trying again in").count() >= 2;
    let log = system.until(&["tasks", "logs", "echoes", "short", "work"], told).await.out;
    assert!(log.contains("is short of open files"), "{log}");
    limit_files(keeper, |_| before);
    let runs = system.runs_over(2, Duration::from_secs(60)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{runs:?}\n{}", system.said());
    assert!(system.tis().await.iter().all(|ti| ti.row.try_number == 1));
}
