//! What tasks leave and say: much of it, and what nobody should see.

use std::time::Duration;

use serde_json::json;
use updraft_core::{RunState, TiStateName};

use crate::system::System;

#[tokio::test]
async fn a_task_may_leave_more_than_a_message_holds() {
    let dag = "
much:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    push: {operator: python, python_callable_file: much.py, python_callable_name: push}
    count: {operator: python, python_callable_file: much.py, python_callable_name: count, dependencies: [push]}
";
    let functions = "
def push(ti):
    for n in range(1500):
        ti.xcom_push(key=f'k{n}', value='x' * 60_000)

def count(ti):
    return sum(len(ti.xcom_pull(task_ids='push', key=f'k{n}')) for n in (0, 700, 1499))
";
    let mut system = System::new(&[("much.yaml", dag), ("much.py", functions)]);
    system.start(2);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    let counted = system.run(&["xcoms", "get", "much", &runs[0].run_id, "count"]).good();
    assert_eq!(counted.trim(), "180000");
}

#[tokio::test]
async fn what_a_task_says_as_it_fails_shows_no_secret() {
    let dag = r#"
told:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    raises: {operator: python, python_callable_file: raises.py, python_callable_name: main}
    refused: {operator: bash, bash_command: [], cwd: "/nowhere/{{ conn.shop.password }}"}
    misplaced: {operator: bash, bash_command: "true", cwd: "/nowhere/{{ conn.shop.password }}"}
    branches: {operator: branch, expression: conn.shop.password}
"#;
    let function = "
def main(conn):
    raise ValueError(f'login failed for {conn.shop.password}')
";
    let mut system =
        System::new(&[("told.yaml", &dag.replace("[]", "'{{ [].x.y }}'")), ("raises.py", function)]);
    system.set("AIRFLOW_CONN_SHOP", "http://nami:correct-horse@localhost");
    system.start(3);
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    let run_id = &runs[0].run_id;
    for task in ["raises", "refused", "misplaced", "branches"] {
        let why = system.run(&["tasks", "explain", "told", run_id, task]).good();
        let log = system.run(&["tasks", "logs", "told", run_id, task]).good();
        assert!(!why.contains("correct-horse") && !log.contains("correct-horse"), "{task}: {why}\n{log}");
    }
    let why = system.run(&["tasks", "explain", "told", run_id, "raises"]).good();
    assert!(why.contains("login failed for ***"), "{why}");
    let why = system.run(&["tasks", "explain", "told", run_id, "branches"]).good();
    assert!(why.contains("it branches to `***`"), "{why}");
    assert_eq!(json!(runs[0].state), "failed");
}

#[tokio::test]
async fn a_log_keeps_as_much_as_is_set_and_its_end() {
    let dag = "
talks:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    much: {operator: bash, bash_command: 'yes | head -n 100000; echo the end'}
";
    let mut system = System::new(&[("talks.yaml", dag)]);
    system.set("UPDRAFT__WORKER__LOG_LIMIT_MB", "1");
    system.start(1);
    system.runs_over(1, Duration::from_secs(30)).await;
    let log = system.log(&system.tis().await[0]);
    assert!((1_000_000..(1 << 20) + 1000).contains(&log.len()), "{}", log.len());
    assert!(log.contains("its limit of 1048576 bytes (UPDRAFT__WORKER__LOG_LIMIT_MB)"));
    assert!(log.contains("are cut here") && log.trim_end().ends_with("the end"));
}

#[tokio::test]
async fn a_last_line_that_is_no_result_fails_nothing() {
    let dag = "
line:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    endless: {operator: bash, bash_command: head -c 40000000 /dev/zero | tr '\\0' x}
";
    let mut system = System::new(&[("line.yaml", dag)]);
    system.start(1);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    let tis = system.tis().await;
    assert_eq!(tis[0].row.state.name(), TiStateName::Success);
    let log = system.log(&tis[0]);
    assert!(log.contains("its last line is not kept as its result"), "{}", &log[log.len() - 300..]);
}

#[tokio::test]
async fn copies_of_a_product_have_each_their_own_of_a_large_list_and_of_other_copies() {
    let dag = "
pairs:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0, python_callable_file: pairs.py}
  tasks:
    long: {operator: python, python_callable_name: long}
    ten: {operator: python, python_callable_name: ten, expand: {op_kwargs: [{n: 1}, {n: 2}]}}
    pair:
      operator: script
      partial: {interpreter: bash, script: 'echo \"${1:0:1}$(cat)\"'}
      expand: {arguments: long.output, stdin: ten.output}
";
    let functions = "
def long():
    return [[letter * 40_000] for letter in 'abc']

def ten(n):
    return 10 * n
";
    let mut system = System::new(&[("pairs.yaml", dag), ("pairs.py", functions)]);
    system.start(2);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    let pair = |index: usize| {
        let index = index.to_string();
        system.run(&["xcoms", "get", "pairs", &runs[0].run_id, "pair", "--map-index", &index]).good()
    };
    let pairs: Vec<String> = (0..6).map(|index| pair(index).trim().replace('"', "")).collect();
    assert_eq!(pairs, ["a10", "a20", "b10", "b20", "c10", "c20"]);
}
