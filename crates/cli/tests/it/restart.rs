//! A server that is started again finds the keeper that it left.

use std::{os::unix::net::UnixDatagram, time::Duration};

use updraft_core::RunState;

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
