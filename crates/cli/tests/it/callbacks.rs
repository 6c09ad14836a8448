//! Functions that tasks and DAGs have called, in a whole installation.

use std::{path::Path, time::Duration};

use serde_json::Value;
use updraft_core::{RunState, TiStateName};

use crate::system::System;

const FUNCTIONS: &str = r#"
import os

SHARED = "FOLDER_OF_TEST"

def note(line):
    with open(SHARED + "/notes", "a") as file:
        file.write(line + "\n")

def tell(context):
    ti = context["ti"]
    note(f"{ti.task_id} {ti.state} {ti.try_number}")

def confide(context, to):
    print("for", to, "the password is", context["conn"].shop.password)

def wait(context):
    note(f"begun {context['ti'].try_number}")
    open(SHARED + "/go").read()
    note(f"done {context['ti'].try_number}")

def of_run(context, mark="-"):
    run, ti = context["dag_run"], context["ti"]
    note(f"{run.run_id} {run.state} {context['reason']} {ti.task_id} {ti.state} {mark}")
    print("the password is", context["conn"].shop.password)
    print("it left", ti.xcom_pull(task_ids="works"))

def of_run_raises(context):
    raise ValueError("no mail today")

def fails(ti):
    raise ValueError("as it should")
"#;

/// An installation with this DAG and the functions beside it.
fn system(dag: &str) -> System {
    let mut system = System::new(&[]);
    let (dags, shared) = (system.home().join("dags"), system.shared().display().to_string());
    std::fs::write(dags.join("functions.py"), FUNCTIONS.replace("FOLDER_OF_TEST", &shared)).unwrap();
    std::fs::write(dags.join("called.yaml"), dag.replace("FOLDER_OF_TEST", &shared)).unwrap();
    let go = system.shared().join("go");
    rustix::fs::mknodat(rustix::fs::CWD, &go, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    system.set("AIRFLOW_CONN_SHOP", "http://nami:correct-horse@localhost");
    system
}

fn notes(shared: &Path) -> Vec<String> {
    let notes = std::fs::read_to_string(shared.join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

/// Waits until a callback has noted this.
async fn noted(system: &System, line: &str) {
    let shared = system.shared();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let found = async {
        while !notes(&shared).iter().any(|note| note == line) {
            tick.tick().await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), found).await;
    assert!(found.is_ok(), "{line}: {:?}\n{}", notes(&shared), system.said());
}

/// Lets the callback go on that waits.
async fn go(system: &System) {
    let go = system.shared().join("go");
    tokio::task::spawn_blocking(move || std::fs::write(go, "go")).await.unwrap().unwrap();
}

#[tokio::test]
async fn each_end_of_an_attempt_is_told_once() {
    let system = &mut system(
        "
called:
  schedule: '@once'
  default_args:
    start_date: 2024-01-01
    retry_delay: 0
    on_execute_callback: functions.tell
    on_success_callback: functions.tell
    on_failure_callback: functions.tell
    on_retry_callback: functions.tell
    on_skipped_callback_name: tell
    on_skipped_callback_file: functions.py
  tasks:
    again: {operator: bash, retries: 1, bash_command: 'mkdir FOLDER_OF_TEST/second && exit 1; true'}
    breaks: {operator: python, python_callable: functions.fails}
    skips: {operator: bash, bash_command: exit 99}
    nothing: {operator: empty}
    after: {operator: empty, dependencies: [breaks]}
    confides:
      operator: bash
      bash_command: 'true'
      on_execute_callback: {callback: functions.confide, to: the crew}
      on_success_callback: null
",
    );
    system.start(4);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let mut told = notes(&system.shared());
    told.sort();
    let expected = [
        "again running 1",
        "again running 2",
        "again success 2",
        "again up_for_retry 1",
        "breaks failed 1",
        "breaks running 1",
        "nothing running 1",
        "nothing success 1",
        "skips running 1",
        "skips skipped 1",
    ];
    assert_eq!((told, runs[0].state), (expected.map(str::to_owned).to_vec(), RunState::Failed));
    let tis = system.tis().await;
    let confides = tis.iter().find(|ti| &*ti.row.task_id == "confides").unwrap();
    let log = system.log(confides);
    assert!(log.contains("Calling on_execute_callback functions.confide."), "{log}");
    assert!(log.contains("for the crew the password is ***") && !log.contains("correct-horse"), "{log}");
}

const WAITS: &str = "
called:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    works: {operator: bash, bash_command: echo works, on_success_callback: functions.wait}
";

#[tokio::test]
async fn a_server_that_dies_while_one_is_called_changes_nothing() {
    let system = &mut system(WAITS);
    system.start(2);
    noted(system, "begun 1").await;
    system.kill_server();
    go(system).await;
    noted(system, "done 1").await;
    system.start(2);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let tis = system.tis().await;
    assert_eq!((runs[0].state, tis[0].row.try_number), (RunState::Success, 1), "{}", system.said());
    assert_eq!(notes(&system.shared()), ["begun 1", "done 1"]);
}

#[tokio::test]
async fn an_attempt_is_lost_whose_keeper_dies_while_one_is_called() {
    let system = &mut system(WAITS);
    system.start(2);
    noted(system, "begun 1").await;
    system.kill_keeper();
    noted(system, "begun 2").await;
    go(system).await;
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let tis = system.tis().await;
    assert_eq!((runs[0].state, tis[0].row.try_number), (RunState::Success, 2), "{}", system.said());
    assert_eq!(tis[0].row.state.name(), TiStateName::Success);
    assert_eq!(notes(&system.shared()), ["begun 1", "begun 2", "done 2"]);
}

/// Waits until as many callbacks of DAGs as are named stand so, the first first, and gives them.
async fn called(system: &System, states: &[&str]) -> Vec<Value> {
    let listed = |done: &crate::system::Done| -> Vec<Value> {
        let mut rows: Vec<Value> = serde_json::from_str(&done.out).unwrap_or_default();
        rows.reverse();
        rows
    };
    let stand = |done: &crate::system::Done| {
        listed(done).iter().map(|row| row["state"].as_str().unwrap().to_owned()).eq(states.iter().copied())
    };
    listed(&system.until(&["deliveries", "list", "-o", "json"], stand).await)
}

#[tokio::test]
async fn the_end_of_a_run_is_called_about() {
    let system = &mut system(
        "
called:
  default_args: {start_date: 2024-01-01, retries: 0}
  params: {code: 0}
  on_success_callback: functions.of_run
  on_failure_callback:
  - functions.of_run_raises
  - {callback: functions.of_run, mark: crew}
  tasks:
    works: {operator: bash, bash_command: echo much}
    ends: {operator: bash, bash_command: 'exit {{ params.code }}', dependencies: [works]}
",
    );
    system.start(2);
    system.until(&["dags", "trigger", "called", "--run-id", "good"], |done| done.code == 0).await;
    let sent = called(system, &["sent"]).await;
    system.run(&["dags", "trigger", "called", "--run-id", "bad", "--conf", r#"{"code": 3}"#]).good();
    let rows = called(system, &["sent", "failed", "sent"]).await;
    let expected = ["good success success ends success -", "bad failed task_failure ends failed crew"];
    assert_eq!(notes(&system.shared()), expected);
    assert_eq!(rows[1]["last_error"], "failed with exit code 1: ValueError: no mail today");
    // What they print is kept and shown, without what is secret.
    let log = system.run(&["deliveries", "logs", &sent[0]["id"].to_string()]).good();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let expected = ["Calling on_success_callback functions.of_run.", "the password is ***", "it left much"];
    assert_eq!(lines, expected);
    let log = system.run(&["deliveries", "logs", &rows[1]["id"].to_string()]).good();
    assert!(log.contains("in of_run_raises") && log.contains("ValueError: no mail today"), "{log}");
    assert!(log.contains("This changes nothing about the run."), "{log}");
    // There is nothing to test by calling it.
    let none = system.run(&["alerts", "test", "called"]);
    assert_eq!((none.code, none.err.contains("called has no alerts")), (3, true), "{none:?}");
}

const WAITS_AT_END: &str = "
called:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  on_success_callback: functions.wait
  tasks: {works: {operator: bash, bash_command: echo works}}
";

#[tokio::test]
async fn a_server_that_dies_while_a_dags_callback_runs_hears_of_it_when_it_is_back() {
    let system = &mut system(WAITS_AT_END);
    system.start(2);
    noted(system, "begun 1").await;
    system.kill_server();
    go(system).await;
    noted(system, "done 1").await;
    system.start(2);
    let rows = called(system, &["sent"]).await;
    // It was asked for twice and called once.
    assert_eq!(
        (&rows[0]["attempts"], notes(&system.shared())),
        (&2.into(), vec!["begun 1".into(), "done 1".into()])
    );
}

#[tokio::test]
async fn a_dags_callback_is_called_again_whose_keeper_dies_in_its_midst() {
    let system = &mut system(WAITS_AT_END);
    system.start(2);
    noted(system, "begun 1").await;
    system.kill_keeper();
    // The one that was called is ended before the next is, so only that goes on.
    let again = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while notes(&system.shared()).len() < 2 {
            tick.tick().await;
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(30), again).await;
    assert!(again.is_ok(), "{}", system.said());
    go(system).await;
    let rows = called(system, &["sent"]).await;
    assert_eq!(notes(&system.shared()), ["begun 1", "begun 1", "done 1"]);
    assert_eq!(rows[0]["attempts"], 2);
    let runs = system.runs_over(1, Duration::from_secs(10)).await;
    assert_eq!(runs[0].state, RunState::Success);
}

/// `dev/dags/example_callbacks.yml` of dag-factory, but for the notifier's text.
const OF_DAG_FACTORY: &str = r##"
callbacks:
  default_args:
    start_date: "2025-01-01"
    on_retry_callback: print_hello.print_hello_from_callback
    on_failure_callback:
      callback: airflow.providers.slack.notifications.slack.send_slack_notification
      slack_conn_id: slack_conn_id
      text: ":red_circle: Task Failed."
      channel: "#channel"
  schedule: "@daily"
  catchup: False
  on_execute_callback_name: print_hello_from_callback
  on_execute_callback_file: $CONFIG_ROOT_DIR/print_hello.py
  on_success_callback:
    callback: customized.callbacks.custom_callbacks.output_message
    param1: param1
    param2: param2
  task_groups:
    - group_name: "task_group_1"
      default_args:
        on_success_callback: print_hello.print_hello_from_callback
      dependencies: [task_1, task_2]
  tasks:
    - task_id: "start"
      operator: airflow.operators.empty.EmptyOperator
      on_success_callback_name: print_hello_from_callback
      on_success_callback_file: $CONFIG_ROOT_DIR/print_hello.py
    - task_id: "task_1"
      operator: airflow.operators.bash.BashOperator
      bash_command: "echo 1"
      on_success_callback:
        callback: customized.callbacks.custom_callbacks.output_message
        param1: param1
        param2: param2
      dependencies: [start]
    - task_id: "task_2"
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: "echo 2"
      on_success_callback_name: print_hello_from_callback
      on_success_callback_file: $CONFIG_ROOT_DIR/print_hello.py
      dependencies: [start]
    - task_id: "task_3"
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: "echo 3"
      task_group_name: task_group_1
    - task_id: "end"
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: "echo -1"
      dependencies:
        - task_group_1
"##;

#[test]
fn dag_factorys_example_calls_its_callbacks_in_a_trial() {
    let system = System::new(&[
        ("callbacks.yml", OF_DAG_FACTORY),
        ("print_hello.py", "def print_hello_from_callback(context):\n    print('hello from callback')\n"),
        ("customized/__init__.py", ""),
        ("customized/callbacks/__init__.py", ""),
        (
            "customized/callbacks/custom_callbacks.py",
            "def output_message(context, param1, param2):\n    print(f'{param1} ---------- {param2}')\n",
        ),
    ]);
    let dags = system.home().join("dags");
    let file = dags.join("callbacks.yml").display().to_string();
    let output = system.command(&["dags", "test", &file]).env("CONFIG_ROOT_DIR", &dags).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    let of = |task: &str, text: &str| {
        said.lines().any(|line| line.starts_with(task) && line.ends_with(&format!("| {text}")))
    };
    for task in ["start", "task_2", "task_group_1.task_3"] {
        assert!(of(task, "hello from callback"), "{task}: {said}");
    }
    for task in ["task_1", "(the run)"] {
        assert!(of(task, "param1 ---------- param2"), "{task}: {said}");
    }
    assert_eq!(said.matches("Calling on_").count(), 5, "{said}");
}
