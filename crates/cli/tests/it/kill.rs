//! kill -9 of the server, of the keeper, and of both, under load.

use std::{collections::BTreeMap, time::Duration};

use updraft_core::{RunState, TiStateName};

use crate::system::{System, count};

/// So many task instances a round, each noting that it began and that it ended.
const COPIES: usize = 120;

fn dag(shared: &std::path::Path) -> String {
    let notes = shared.join("notes").display().to_string();
    let copies = (0..COPIES).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    format!(
        r#"load:
  schedule: "@once"
  max_active_tasks: 1000
  default_args: {{start_date: 2024-01-01, retries: 0}}
  tasks:
    work:
      operator: bash
      append_env: true
      partial:
        bash_command: 'echo "$N $AIRFLOW_CTX_TRY_NUMBER begin" >> {notes}; sleep 0.1; echo "$N $AIRFLOW_CTX_TRY_NUMBER end" >> {notes}'
      expand:
        env: [{envs}]
    last: {{operator: empty, dependencies: [work]}}
"#,
        envs = copies.split(", ").map(|n| format!("{{N: \"{n}\"}}")).collect::<Vec<_>>().join(", ")
    )
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Server,
    Keeper,
    Both,
}

/// One round: start, kill after a while, start again where needed, and look at what became of everything.
async fn round(victim: Victim, after: Duration) {
    let mut system = System::new(&[]);
    let shared = system.shared();
    std::fs::write(system.home().join("dags/load.yaml"), dag(&shared)).unwrap();
    system.start(16);
    let notes = shared.join("notes");
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while !notes.exists() {
        tick.tick().await;
    }
    // The moment of the kill is what is tested; there is no event to wait for.
    // tidy: sleep because the test is about killing at an arbitrary moment
    tokio::time::sleep(after).await;
    match victim {
        Victim::Server => system.kill_server(),
        Victim::Keeper => system.kill_keeper(),
        Victim::Both => {
            system.kill_server();
            system.kill_keeper();
        }
    }
    if matches!(victim, Victim::Server | Victim::Both) {
        system.start(16);
    }
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success, "{victim:?} after {after:?}:\n{}", system.said());
    let tis = system.tis().await;
    assert_eq!(count(&tis, TiStateName::Success), COPIES + 1, "{victim:?} after {after:?}");
    let mut begun: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in std::fs::read_to_string(&notes).unwrap().lines() {
        let mut words = line.split(' ');
        let (Some(copy), Some(attempt), Some(what)) = (words.next(), words.next(), words.next()) else {
            panic!("`{line}` is no note");
        };
        if what == "begin" {
            *begun.entry((copy.into(), attempt.into())).or_default() += 1;
        }
    }
    let twice: Vec<_> = begun.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{victim:?} after {after:?}: attempts that ran twice: {twice:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_ends_and_none_is_lost_when_the_server_is_killed() {
    for millis in [10, 90, 170, 250, 330, 410, 600] {
        round(Victim::Server, Duration::from_millis(millis)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_ends_and_none_is_lost_when_the_keeper_is_killed() {
    for millis in [20, 100, 180, 260, 340, 420, 620] {
        round(Victim::Keeper, Duration::from_millis(millis)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_ends_and_none_is_lost_when_both_are_killed() {
    for millis in [30, 110, 190, 270, 350, 640] {
        round(Victim::Both, Duration::from_millis(millis)).await;
    }
}
