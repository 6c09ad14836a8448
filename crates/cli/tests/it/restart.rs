//! A server that is started again finds the keeper that it left.

use std::{os::unix::net::UnixDatagram, time::Duration};

use sha2::{Digest, Sha256};
use updraft_core::{RunState, record::AuditRow};
use updraft_store::Records;

use crate::system::{System, signal, tasks_of};

#[tokio::test]
async fn a_keeper_that_outlived_its_server_offers_what_the_next_one_says() {
    let mut system = System::new(&[]);
    let shared = system.shared();
    let notes = shared.join("notes").display().to_string();
    system.start(8);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while system.processes("keeper").is_empty() {
        tick.tick().await;
    }
    let keeper = system.processes("keeper");
    system.kill_server();
    let dag = format!(
        "one_by_one:
  schedule: '@once'
  default_args: {{start_date: 2024-01-01, queue: special}}
  tasks:
    work:
      operator: bash
      bash_command: echo begin >> {notes}; sleep 0.02; echo end >> {notes}
      append_env: true
      expand: {{env: [{{N: '1'}}, {{N: '2'}}, {{N: '3'}}, {{N: '4'}}]}}
"
    );
    std::fs::write(system.home().join("dags/dag.yaml"), dag).unwrap();
    system.set("UPDRAFT__WORKER__QUEUES", "[default,special]");
    system.start(1);
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    assert_eq!(system.processes("keeper"), keeper, "it is the same keeper");
    let notes = std::fs::read_to_string(shared.join("notes")).unwrap();
    assert_eq!(notes, "begin\nend\n".repeat(4));
}

/// Waits until so many keepers are there, other than these.
async fn keepers_other_than(system: &System, former: &[u32], count: usize) -> Vec<u32> {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let others = async {
        loop {
            let there = system.processes("keeper");
            if there.len() == count && !there.iter().any(|pid| former.contains(pid)) {
                return there;
            }
            tick.tick().await;
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(20), others).await;
    within.unwrap_or_else(|_| panic!("{:?}\n{}", system.processes("keeper"), system.said()))
}

#[tokio::test]
async fn a_keeper_with_nothing_to_do_is_replaced_where_the_next_server_is_set_up_otherwise() {
    let mut system = System::new(&[]);
    system.start(1);
    let first = keepers_other_than(&system, &[], 1).await;
    system.kill_server();
    system.set("UPDRAFT__WORKER__LOG_LIMIT_MB", "7");
    system.start(1);
    let second = keepers_other_than(&system, &first, 1).await;
    system.kill_server();
    system.start(1);
    let dag = "now: {schedule: '@once', start_date: 2024-01-01, tasks: {work: {operator: bash, bash_command: 'true'}}}";
    std::fs::write(system.home().join("dags/now.yaml"), dag).unwrap();
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    assert_eq!(system.processes("keeper"), second, "nothing is set otherwise");
    let workers = system.run(&["workers", "list", "-o", "json"]).json();
    assert_eq!(workers[0]["worker"], "keeper", "{workers}");
}

/// A task runs in one keeper, and another with other settings has taken its place: the first one's process.
async fn one_after_another() -> (System, u32) {
    let dag = "
long:
  schedule: '@once'
  start_date: 2024-01-01
  tasks:
    work:
      operator: bash
      bash_command: 'echo $$ >> SHARED/began; until [ -e SHARED/go ]; do sleep 0.02; done'
";
    let mut system = System::new(&[]);
    let shared = system.shared();
    let dags = system.home().join("dags");
    std::fs::write(dags.join("long.yaml"), dag.replace("SHARED", &shared.display().to_string())).unwrap();
    system.start(1);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !shared.join("began").exists() {
        tick.tick().await;
    }
    let first = system.processes("keeper");
    let other = "
other:
  schedule: '@once'
  start_date: 2024-01-01
  tasks: {work: {operator: bash, bash_command: 'echo $UPDRAFT_FILES'}}
";
    std::fs::write(dags.join("other.yaml"), other).unwrap();
    // It waits for a slot, of which the next server has more.
    system.until(&["runs", "list", "other"], |done| done.out.contains("running")).await;
    system.kill_server();
    let files = shared.join("files");
    system.set("UPDRAFT__WORKER__FILES", files.display().to_string());
    system.start(4);
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    assert_eq!((&*runs[0].dag.dag_id, runs[0].state), ("other", RunState::Success), "{}", system.said());
    let run_id = runs[0].run_id.to_string();
    let result = system.run(&["xcoms", "get", "other", &run_id, "work"]).good();
    assert_eq!(result.trim(), format!("\"{}\"", files.canonicalize().unwrap().display()));
    let both = system.processes("keeper");
    assert!(both.len() == 2 && both.contains(&first[0]), "{first:?} {both:?}");
    (system, first[0])
}

#[tokio::test]
async fn a_keeper_with_tasks_ends_them_as_they_began_while_another_takes_its_place() {
    let (system, first) = one_after_another().await;
    std::fs::write(system.shared().join("go"), "").unwrap();
    let runs = system.runs_over(2, Duration::from_secs(30)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{}", system.said());
    assert_eq!(std::fs::read_to_string(system.shared().join("began")).unwrap().lines().count(), 1);
    keepers_other_than(&system, &[first], 1).await;
}

#[tokio::test]
async fn who_is_set_up_as_at_first_again_has_a_keeper_that_takes_tasks_while_the_first_ends_its_own() {
    let (mut system, first) = one_after_another().await;
    system.kill_server();
    system.unset("UPDRAFT__WORKER__FILES");
    let last = "last: {schedule: '@once', start_date: 2024-01-01, tasks: {work: {operator: bash, bash_command: 'true'}}}";
    std::fs::write(system.home().join("dags/last.yaml"), last).unwrap();
    system.start(1);
    let runs = system.runs_over(2, Duration::from_secs(30)).await;
    assert!(runs.iter().any(|run| &*run.dag.dag_id == "last" && run.state == RunState::Success), "{runs:?}");
    assert!(system.processes("keeper").contains(&first));
    std::fs::write(system.shared().join("go"), "").unwrap();
    let runs = system.runs_over(3, Duration::from_secs(30)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{}", system.said());
    assert_eq!(std::fs::read_to_string(system.shared().join("began")).unwrap().lines().count(), 1);
    keepers_other_than(&system, &[first], 1).await;
}

#[tokio::test]
async fn what_a_keeper_that_was_replaced_leaves_when_it_is_killed_is_ended_and_begins_anew() {
    let (system, first) = one_after_another().await;
    let began = system.shared().join("began");
    let task: u32 = std::fs::read_to_string(&began).unwrap().trim().parse().unwrap();
    signal(first, "-KILL");
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let again = async {
        while std::fs::read_to_string(&began).unwrap().lines().count() < 2 {
            tick.tick().await;
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(20), again).await;
    assert!(within.is_ok(), "{}", system.said());
    assert!(!tasks_of(&system.home()).contains(&task), "its process runs on");
    std::fs::write(system.shared().join("go"), "").unwrap();
    let runs = system.runs_over(2, Duration::from_secs(30)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{}", system.said());
    keepers_other_than(&system, &[first], 1).await;
}

#[tokio::test]
async fn a_keeper_that_is_stopped_while_no_server_is_there_ends_its_tasks_and_goes() {
    let dag = "
long:
  schedule: '@once'
  default_args: {start_date: 2024-01-01}
  tasks:
    work: {operator: bash, bash_command: 'echo > $NOTE; sleep 1000', append_env: true, env: {NOTE: SHARED}}
";
    let mut system = System::new(&[]);
    let note = system.shared().join("note");
    let dag = dag.replace("SHARED", &note.display().to_string());
    std::fs::write(system.home().join("dags/long.yaml"), dag).unwrap();
    system.start(1);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !note.exists() {
        tick.tick().await;
    }
    system.kill_server();
    for keeper in system.processes("keeper") {
        signal(keeper, "-TERM");
    }
    while !system.processes("keeper").is_empty() {
        tick.tick().await;
    }
    assert!(tasks_of(&system.home()).is_empty());
}

/// Notes that it began; its first attempt stays until it is asked to end, and then some time.
const STUBBORN: &str = "
stubborn:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    work:
      operator: bash
      append_env: true
      env: {NOTE: SHARED}
      bash_command: |
        echo begin >> $NOTE
        [ $(wc -l < $NOTE) -gt 1 ] && exit 0
        trap 'sleep 2; exit 1' TERM
        while true; do sleep 0.1; done
";

/// Until the first attempt of it runs.
async fn stubborn(system: &mut System) {
    let note = system.shared().join("note");
    let dag = STUBBORN.replace("SHARED", &note.display().to_string());
    std::fs::write(system.home().join("dags/stubborn.yaml"), dag).unwrap();
    system.start(1);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !note.exists() {
        tick.tick().await;
    }
}

#[tokio::test]
async fn a_keeper_that_was_told_to_stop_while_no_server_was_there_takes_nothing_new_from_the_next() {
    let mut system = System::new(&[]);
    stubborn(&mut system).await;
    let keepers = system.processes("keeper");
    system.kill_server();
    keepers.iter().for_each(|keeper| signal(*keeper, "-TERM"));
    system.start(1);
    let runs = system.runs_over(1, Duration::from_secs(40)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    assert_ne!(system.processes("keeper"), keepers, "{}", system.said());
}

/// What a service manager is told.
struct Told(UnixDatagram);

impl Told {
    fn by(system: &mut System) -> Self {
        let path = system.shared().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        system.set("NOTIFY_SOCKET", path.to_str().unwrap());
        Self(socket)
    }

    fn next(&self) -> String {
        let mut bytes = [0; 1024];
        let read = self.0.recv(&mut bytes).expect("nothing was told");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }
}

#[test]
fn a_service_manager_is_told_when_the_server_is_ready_and_when_it_stops() {
    let mut system = System::new(&[]);
    let told = Told::by(&mut system);
    system.start(1);
    assert_eq!(told.next(), "READY=1");
    system.run(&["health"]).good();
    system.stop_server();
    assert_eq!(told.next(), "STOPPING=1");
}

#[tokio::test]
async fn a_server_that_can_never_lead_ends_and_says_why() {
    let mut system = System::new(&[]);
    system.start(1);
    system.until(&["health"], |done| done.code == 0).await;
    system.stop_server();
    let told = Told::by(&mut system);
    system.sql("ALTER TABLE engine RENAME COLUMN held_until TO gone");
    system.start(1);
    assert_eq!(system.server_ended().await, Some(1), "{}", system.said());
    assert!(system.said().contains("held_until"), "{}", system.said());
    assert_eq!(told.next(), "STOPPING=1", "it was never ready");
    assert!(!system.processes("keeper").is_empty(), "as when it is asked to stop, tasks go on");
}

#[tokio::test]
async fn a_start_of_the_machine_makes_one_run_whatever_is_killed_and_one_of_the_server_none() {
    let dags = "
warm_up:
  schedule: '@reboot'
  default_args: {start_date: 2024-01-01}
  tasks: {work: {operator: bash, bash_command: echo up}}
asleep:
  schedule: '@reboot'
  is_paused_upon_creation: true
  default_args: {start_date: 2024-01-01}
  tasks: {work: {operator: bash, bash_command: echo up}}
";
    let mut system = System::new(&[]);
    std::fs::write(system.home().join("dags/dags.yaml"), dags).unwrap();
    // The machine's id is not shown to whoever reads the database.
    let machine: String = std::fs::read_to_string("/etc/machine-id").map_or_else(
        |_| "here".into(),
        |id| {
            Sha256::digest(format!("updraft boot {}", id.trim()))
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        },
    );
    let key = format!("boot/{machine}");
    let noted = async |system: &System| {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let store = system.store().await;
            let boot = store.config(&key).await.unwrap();
            store.close().await;
            match boot {
                Some(boot) if boot != "an earlier one" => return,
                Some(_) | None => {}
            }
        }
    };
    system.start(8);
    system.until(&["dags", "show", "warm_up"], |done| done.code == 0).await;
    noted(&system).await;
    // As if the machine had started since, and then as if a server had been killed before it noted that.
    for _ in 0..2 {
        system.kill_server();
        let audit = AuditRow {
            at: jiff::Timestamp::now(),
            user: "test".into(),
            action: "boot".into(),
            namespace: None,
            dag: None,
            run: None,
            detail: serde_json::Value::Null,
        };
        let store = system.store().await;
        store.put_config(&key, Some("an earlier one"), &audit).await.unwrap();
        store.close().await;
        system.start(8);
        noted(&system).await;
        let runs = system.runs_over(1, Duration::from_secs(30)).await;
        let [run] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!((&*run.dag.dag_id, run.state), ("warm_up", RunState::Success));
        assert!(run.run_id.starts_with("reboot__"), "{}", run.run_id);
    }
    // The same start of the machine.
    system.kill_server();
    system.start(8);
    let says = "After each start of the machine";
    system.until(&["dags", "next", "warm_up"], |done| done.err.contains(says)).await;
    assert_eq!(system.runs_over(1, Duration::from_secs(30)).await.len(), 1);
}
