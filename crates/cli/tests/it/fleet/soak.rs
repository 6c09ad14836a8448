//! Faults of all kinds in any order for a while, after which everything is as if there had been none.
//!
//! `UPDRAFT_SOAK_SECONDS` says for how long (180), and `UPDRAFT_SOAK_SEED` repeats the order of an earlier one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use updraft_core::{RunState, TiStateName};
use updraft_store::{Queries as _, RunQuery, TiQuery, Window};

use super::members::Fleet;
use crate::system::signal;

const SERVERS: usize = 2;
const WORKERS: usize = 5;
const COPIES: usize = 40;

/// Runs that are asked for, with many tasks that may be lost often; and a schedule with a tick every two seconds.
fn dags(fleet: &Fleet) -> String {
    let notes = fleet.notes().display().to_string();
    let copies: Vec<String> = (0..COPIES).map(|n| format!("{{N: \"{n}\"}}")).collect();
    format!(
        r#"load:
  schedule: null
  max_active_tasks: 1000
  default_args: {{retries: 0, max_lost: 1000}}
  tasks:
    work:
      operator: bash
      append_env: true
      partial:
        bash_command: 'ME={{{{ run_id }}}}.$N; exec 9>> {notes}.$ME; flock -n 9 || echo "$ME twice at once" >> {notes}; sleep 0.$N; echo "$ME end" >> {notes}'
      expand: {{env: [{copies}]}}
    last: {{operator: empty, dependencies: [work]}}
tick:
  schedule: "* * * * * */2"
  catchup: true
  max_active_runs: 1000
  default_args: {{start_date: {start}, retries: 0}}
  tasks:
    it: {{operator: empty}}
"#,
        copies = copies.join(", "),
        start = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00"),
    )
}

/// Numbers that look random, and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        // xorshift64*, as Vigna describes it.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }
}

fn set<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test]
async fn after_any_faults_each_attempt_was_accepted_once_and_no_tick_is_missing() {
    let length = Duration::from_secs(set("UPDRAFT_SOAK_SECONDS").unwrap_or(180));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = set("UPDRAFT_SOAK_SEED").unwrap_or(now | 1);
    println!("UPDRAFT_SOAK_SEED={seed}");
    let mut dice = Dice(seed);
    let mut fleet = Fleet::start(SERVERS, WORKERS, "").await;
    std::fs::write(fleet.folder.path().join("dags/load.yaml"), dags(&fleet)).unwrap();
    let began = Instant::now();
    let (mut runs, mut faults, mut replaced) = (0, BTreeMap::<&str, usize>::new(), Vec::new());
    while began.elapsed() < length {
        trigger(&fleet, runs, dice.below(SERVERS as u64) as usize).await;
        runs += 1;
        let fault = dice.below(6);
        *faults.entry(NAMES[fault as usize]).or_default() += 1;
        strike(&mut fleet, fault, &mut dice, &mut replaced).await;
        // tidy: sleep because faults come at their own times, and not when something is ready for them
        tokio::time::sleep(Duration::from_millis(1000 + dice.below(4000))).await;
    }
    replaced.sort_unstable();
    println!("{runs} runs of {COPIES} tasks in {:?}, among {faults:?}", began.elapsed());
    println!(
        "leaders were replaced within {:?} (the longest {:?})",
        replaced.get(replaced.len() / 2),
        replaced.last()
    );
    let healed = Instant::now();
    all_over(&fleet, runs).await;
    println!("all was over {:?} after the last fault", healed.elapsed());
    check(&fleet, runs).await;
}

/// Asks for a run until it is there: whoever asks in the middle of a fault may be told that nobody knows.
async fn trigger(fleet: &Fleet, number: usize, server: usize) {
    let run_id = format!("r{number}");
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        match fleet.try_run(server, &["dags", "trigger", "load", "--run-id", &run_id]) {
            Ok(_) => return,
            Err(why) if why.contains("already") => return,
            Err(why) => assert!(began.elapsed() < Duration::from_secs(60), "{why}\n{}", fleet.said()),
        }
    }
}

const NAMES: [&str; 6] = [
    "kill -9 of the leader",
    "kill -9 of a standby",
    "kill -9 of a worker",
    "a worker's machine gone",
    "a leader that sleeps past its lease",
    "a crash of the database",
];

/// Does it, and mends it.
async fn strike(fleet: &mut Fleet, fault: u64, dice: &mut Dice, replaced: &mut Vec<Duration>) {
    let leader = fleet.leader_but(None).await;
    let standby = (leader + 1) % SERVERS;
    let worker = dice.below(WORKERS as u64) as usize;
    let moment = Duration::from_millis(200 + dice.below(2000));
    let at = Instant::now();
    match fault {
        0 => {
            fleet.servers[leader].kill();
            fleet.leader_but(Some(leader)).await;
            replaced.push(at.elapsed());
            fleet.start_server(leader).await;
        }
        1 => {
            fleet.servers[standby].kill();
            fleet.start_server(standby).await;
        }
        2 | 3 => {
            if fault == 2 {
                fleet.workers[worker].kill();
            } else {
                fleet.kill_machine(worker);
            }
            // tidy: sleep because it is away for a moment
            tokio::time::sleep(moment).await;
            fleet.start_worker(worker, &fleet.addresses());
        }
        4 => {
            let process = fleet.servers[leader].process.id();
            signal(process, "-STOP");
            fleet.leader_but(Some(leader)).await;
            replaced.push(at.elapsed());
            // tidy: sleep because it sleeps on for a moment
            tokio::time::sleep(moment).await;
            signal(process, "-CONT");
        }
        _ => {
            fleet.postgres.crash();
            // tidy: sleep because it is away for a moment
            tokio::time::sleep(moment).await;
            fleet.postgres.restart();
        }
    }
}

async fn all_over(fleet: &Fleet, runs: usize) {
    let store = fleet.store().await;
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let query = RunQuery { dags: vec!["load".into()], window: Window::ALL, ..RunQuery::default() };
    loop {
        tick.tick().await;
        let states: Vec<RunState> =
            store.runs(&query).await.unwrap().rows.iter().map(|run| run.row.state).collect();
        if states.len() == runs && states.iter().all(|state| state.is_finished()) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{states:?}\n{}", fleet.said());
    }
    store.close().await;
}

async fn check(fleet: &Fleet, runs: usize) {
    let store = fleet.store().await;
    let tis = store.tis(&TiQuery { window: Window::ALL, ..TiQuery::default() }).await.unwrap().rows;
    let of_load: Vec<_> = tis.iter().filter(|ti| &*ti.dag.dag_id == "load").collect();
    assert_eq!(of_load.len(), runs * (COPIES + 1));
    for ti in &of_load {
        let what = (&ti.run_id, &ti.row.task_id, ti.row.key.map_index);
        assert_eq!(ti.row.state.name(), TiStateName::Success, "{what:?}\n{}", fleet.said());
    }
    let lost: u32 = of_load.iter().map(|ti| ti.row.try_number - 1).sum();
    println!("{lost} attempts were lost and made again");
    let noted = fleet.noted();
    let twice: Vec<_> = noted.keys().filter(|line| line.contains("twice")).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(noted.len(), runs * COPIES, "each was done");

    let query = RunQuery { dags: vec!["tick".into()], window: Window::ALL, ..RunQuery::default() };
    let ticks = store.runs(&query).await.unwrap().rows;
    let mut dates: Vec<i64> =
        ticks.iter().map(|run| run.row.logical_date.expect("a date").as_second()).collect();
    dates.sort_unstable();
    let gaps: Vec<_> = dates.windows(2).filter(|pair| pair[1] - pair[0] != 2).collect();
    assert!(gaps.is_empty() && dates.len() > 20, "{gaps:?} among {} ticks", dates.len());
    println!("{} ticks, none missing and none twice", dates.len());
    store.close().await;
}
