//! kill -9 of the server, of the keeper, and of both, under load.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use updraft_core::{RunState, TiStateName, XcomValue};
use updraft_store::Queries;

use crate::system::{Done, System, count, lives, signal};

/// So many task instances a round, each noting that it began and that it ended. Each looks up what another has
/// left, and leaves something large: both need the server, which may just be gone.
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
    first: {{operator: bash, bash_command: echo 100000}}
    work:
      operator: bash
      append_env: true
      dependencies: [first]
      partial:
        bash_command: >-
          echo "$N $AIRFLOW_CTX_TRY_NUMBER begin" >> {notes}; sleep 0.1;
          echo "$N $AIRFLOW_CTX_TRY_NUMBER end" >> {notes};
          printf '%{{{{ ti.xcom_pull(task_ids="first") }}}}d' 7
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
/// Tells how long it took until tasks began again.
async fn round(victim: Victim, after: Duration) -> Duration {
    let mut system = System::new(&[]);
    let shared = system.shared();
    std::fs::write(system.home().join("dags/load.yaml"), dag(&shared)).unwrap();
    system.start(16);
    let notes = shared.join("notes");
    let mut tick = tokio::time::interval(Duration::from_millis(2));
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
    let killed = Instant::now();
    let begun_before = begun(&notes).len();
    if matches!(victim, Victim::Server | Victim::Both) {
        system.start(16);
    }
    while begun(&notes).len() == begun_before {
        tick.tick().await;
        assert!(killed.elapsed() < Duration::from_secs(60), "nothing begins:\n{}", system.said());
    }
    let recovered = killed.elapsed();
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success, "{victim:?} after {after:?}:\n{}", system.said());
    let tis = system.tis().await;
    assert_eq!(count(&tis, TiStateName::Success), COPIES + 2, "{victim:?} after {after:?}");
    assert_eq!(large_results(&system).await, COPIES, "{victim:?} after {after:?}");
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    begun(&notes).into_iter().for_each(|attempt| *times.entry(attempt).or_default() += 1);
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{victim:?} after {after:?}: attempts that ran twice: {twice:?}");
    system.kill_server();
    assert_eq!(system.integrity(), "ok", "{victim:?} after {after:?}");
    recovered
}

/// How many of the copies' results are in the store, and as large as they were.
async fn large_results(system: &System) -> usize {
    let tis = system.tis().await;
    let store = system.store().await;
    let work = tis.iter().find(|ti| &*ti.row.task_id == "work").unwrap();
    let rows = store.xcoms_of(work.row.key.run, &work.row.task_id, "return_value").await.unwrap();
    store.close().await;
    rows.iter().filter(|row| matches!(row.value, XcomValue::Blob { bytes: 100_002, .. })).count()
}

/// The attempts that have begun, by copy and try.
fn begun(notes: &std::path::Path) -> Vec<String> {
    let notes = std::fs::read_to_string(notes).unwrap();
    notes.lines().filter_map(|line| line.strip_suffix(" begin")).map(str::to_owned).collect()
}

/// Kills at this many moments that nobody has chosen.
async fn rounds(victim: Victim, count: u32) {
    let mut recovered = Vec::new();
    for _ in 0..count {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let after = Duration::from_millis(u64::from(u16::from_le_bytes(random)) % 700);
        recovered.push(round(victim, after).await);
    }
    recovered.sort_unstable();
    let (median, longest) = (recovered[recovered.len() / 2], recovered[recovered.len() - 1]);
    println!(
        "{victim:?} killed {count} times; tasks began again after {median:?} (median), {longest:?} (longest)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_ends_and_none_is_lost_when_the_server_is_killed() {
    rounds(Victim::Server, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_ends_and_none_is_lost_when_the_keeper_is_killed() {
    rounds(Victim::Keeper, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_ends_and_none_is_lost_when_both_are_killed() {
    rounds(Victim::Both, 6).await;
}

#[tokio::test]
async fn a_keeper_that_hangs_is_told_of_and_replaced_and_what_it_had_is_ended() {
    let mut system = System::new(&[]);
    let (pids, gate) = (system.shared().join("pids"), system.shared().join("gate"));
    let dag = format!(
        "hangs: {{schedule: '@once', default_args: {{start_date: 2024-01-01, retries: 0}}, tasks: \
         {{t: {{operator: bash, bash_command: 'echo $$ >> {}; [ -e {} ] || sleep 600'}}}}}}",
        pids.display(),
        gate.display()
    );
    std::fs::write(system.home().join("dags/hangs.yaml"), dag).unwrap();
    system.set("UPDRAFT__SERVER__LEASE_S", "15");
    system.start(1);
    let well = |done: &Done| done.code == 0 && done.out.contains("healthy");
    system.until(&["health"], well).await;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let begun = || std::fs::read_to_string(&pids).unwrap_or_default();
    while !begun().ends_with('\n') {
        tick.tick().await;
    }
    let first = begun().trim().to_owned();
    let [keeper] = system.processes("keeper")[..] else { panic!("there is one keeper") };
    std::fs::write(&gate, "").unwrap();
    signal(keeper, "-STOP");
    let hung = |done: &Done| done.code != 0 && done.out.contains("unhealthy");
    let told = system.until(&["health", "-o", "json"], hung).await;
    assert!(told.out.contains("\"hung\""), "{told:?}");
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    let tis = system.tis().await;
    assert_eq!((tis[0].row.try_number, tis[0].row.max_tries), (2, 1), "{}", system.said());
    assert!(!lives(&first), "{first} lives on");
    assert!(!system.processes("keeper").contains(&keeper));
    system.until(&["health"], well).await;
}
