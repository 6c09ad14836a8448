//! Tasks that make runs of other DAGs, wait for them, or mind whether they are the latest.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_core::RunState;

use crate::system::System;

const DAGS: &str = "
caller:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    call: {operator: trigger, trigger_dag_id: callee, wait_for_completion: true, poke_interval: 0.05, conf: {who: '{{ run_id }}'}}
    after: {operator: bash, bash_command: 'echo {{ ti.xcom_pull(\"call\", key=\"trigger_run_id\") }}', dependencies: [call]}
callee:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    work: {operator: bash, bash_command: 'echo {{ dag_run.conf.who }} >> SHARED/calls; until [ -e SHARED/go ]; do sleep 0.02; done'}
waiter:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    see: {operator: external_task, external_dag_id: callee, external_task_id: work, poke_interval: 0.05}
daily:
  schedule: '@daily'
  start_date: 2021-01-01
  catchup: false
  is_paused_upon_creation: false
  tasks:
    latest: {operator: latest_only}
    mail: {operator: bash, bash_command: 'echo mailed', dependencies: [latest]}
";

async fn started() -> System {
    let mut system = System::new(&[]);
    let dags = DAGS.replace("SHARED", &system.shared().display().to_string());
    std::fs::write(system.home().join("dags/dags.yaml"), dags).unwrap();
    system.start(8);
    system.until(&["dags", "show", "daily"], |done| done.code == 0).await;
    system
}

fn list(system: &System, dag: &str) -> Vec<Value> {
    system.run(&["runs", "list", dag, "-o", "json"]).json().as_array().unwrap().clone()
}

#[tokio::test]
async fn a_task_whose_keeper_dies_while_it_waits_for_its_run_makes_no_second_one() {
    let system = started().await;
    system.run(&["dags", "trigger", "caller", "--run-id", "one"]).good();
    let calls = system.shared().join("calls");
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !calls.exists() {
        tick.tick().await;
    }
    system.kill_keeper();
    // The next keeper begins both tasks again.
    while std::fs::read_to_string(&calls).unwrap().lines().count() < 2 {
        tick.tick().await;
    }
    std::fs::write(system.shared().join("go"), "").unwrap();
    let runs = system.runs_over(2, Duration::from_secs(30)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{}", system.said());
    let made = list(&system, "callee");
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!((&made[0]["triggered_by"], &made[0]["conf"]), (&json!("operator"), &json!({"who": "one"})));
    assert_eq!(made[0]["triggering_user_name"], "task:caller/one/call");
    let said = system.run(&["tasks", "logs", "caller", "one", "after"]).good();
    assert!(said.contains(made[0]["dag_run_id"].as_str().unwrap()), "{said}");

    // Cleared, it makes another.
    system.run(&["tasks", "clear", "caller", "one", "--task", "call", "--yes"]).good();
    let mut made = 1;
    while made < 2 {
        tick.tick().await;
        made = list(&system, "callee").len();
    }
    system.runs_over(3, Duration::from_secs(30)).await;
    assert_eq!(list(&system, "callee").len(), 2);
}

#[tokio::test]
async fn a_sensor_waits_for_a_task_of_another_dag_on_the_same_date() {
    let system = started().await;
    let date = ["-e", "2026-01-01T00:00:00Z"];
    system.run(&[&["dags", "trigger", "waiter", "--run-id", "w"][..], &date].concat()).good();
    system
        .run(
            &[&["dags", "trigger", "callee", "--run-id", "c", "--conf", r#"{"who": "me"}"#][..], &date]
                .concat(),
        )
        .good();
    // tidy: sleep because nothing is to happen
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(list(&system, "waiter")[0]["state"], "running");
    std::fs::write(system.shared().join("go"), "").unwrap();
    let runs = system.runs_over(2, Duration::from_secs(30)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{}", system.said());
}

#[tokio::test]
async fn what_is_not_the_latest_run_stops_at_latest_only() {
    let system = started().await;
    let days = ["--from", "2021-01-01", "--to", "2021-01-02", "--yes", "--wait"];
    system.run(&[&["backfill", "create", "daily"][..], &days].concat()).good();
    system.run(&["dags", "trigger", "daily", "--run-id", "by_hand", "--wait"]).good();
    let state = |run: &str| {
        let tis = system.run(&["tasks", "states", "daily", run, "-o", "json"]).json();
        let tis = tis.as_array().unwrap().clone();
        tis.iter().find(|ti| ti["task_id"] == "mail").unwrap()["state"].clone()
    };
    assert_eq!(state("backfill__2021-01-01T00:00:00+00:00"), "skipped");
    assert_eq!(state("by_hand"), "success");
}
