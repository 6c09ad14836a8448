//! What commands say of tasks: which copy is meant, what they wait for, how far they are, what they wrote.

use serde_json::json;

use super::both;
use crate::system::System;

const DAGS: &str = r#"
mapped:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    each: {operator: bash, expand: {bash_command: ["echo a", "echo b", "exit 1"]}}
lonely:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    work: {operator: bash, bash_command: "true", queue: nobody}
coloured:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    work: {operator: bash, bash_command: "printf 'a \\033[31mred\\033[0m \\033[2J end\\n'"}
timed:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    work: {operator: bash, expected_duration: 100, bash_command: "until [ -e SHARED/go ]; do sleep 0.02; done"}
"#;

async fn started() -> System {
    let mut system = System::new(&[]);
    let dags = DAGS.replace("SHARED", &system.shared().display().to_string());
    std::fs::write(system.home().join("dags/dags.yaml"), dags).unwrap();
    system.start(4);
    system.until(&["dags", "show", "timed"], |done| done.code == 0).await;
    system
}

#[tokio::test]
async fn which_copy_of_a_mapped_task_is_meant_has_to_be_said() {
    let system = started().await;
    assert_eq!(system.run(&["dags", "trigger", "mapped", "--run-id", "one", "--wait"]).code, 1);
    for verb in ["logs", "explain", "rendered", "pause", "continue", "stop"] {
        let done = system.run(&["tasks", verb, "mapped", "one", "each"]);
        assert!(done.code == 3 && done.err.contains("--map-index"), "{verb}: {done:?}");
        assert!(done.err.contains("3 copies"), "{verb}: {done:?}");
    }
    let value = system.run(&["xcoms", "get", "mapped", "one", "each"]);
    assert!(value.code == 3 && value.err.contains("--map-index"), "{value:?}");
    let log = system.run(&["tasks", "logs", "mapped", "one", "each", "--map-index", "1"]).good();
    assert!(log.contains("Z b\n"), "{log}");
    let rendered = ["tasks", "rendered", "mapped", "one", "each", "--map-index", "1"];
    assert_eq!(system.run(&rendered).good(), "bash_command: echo b\n");
    let rendered = system.run(&[&rendered[..], &["-o", "json"]].concat()).json();
    assert_eq!(rendered, serde_json::json!({"bash_command": "echo b"}));
    let failed = system.run(&["xcoms", "get", "mapped", "one", "each", "--map-index", "2"]);
    assert!(failed.err.contains("has left no XCom `return_value`: it is failed"), "{failed:?}");
    let late = system.run(&["tasks", "logs", "mapped", "one", "each", "--map-index", "1", "--try", "9"]);
    assert!(late.code == 3 && late.err.contains("no try 9 of the task `each`: there is one"), "{late:?}");
    let other = system.run(&["tasks", "logs", "mapped", "two", "each", "--map-index", "1"]);
    assert!(other.code == 3 && other.err.contains("run_id: `two` was not found"), "{other:?}");

    let clear = ["tasks", "clear", "mapped", "one", "--task", "each", "--map-index", "2"];
    let asked = system.run(&clear);
    assert!(asked.code == 2 && asked.err.contains("1 task instance begins anew"), "{asked:?}");
    let cleared = system.run(&[&clear[..], &["--yes", "-o", "json"]].concat()).json();
    assert_eq!((cleared.as_array().unwrap().len(), &cleared[0]["map_index"]), (1, &json!(2)));
    assert_eq!(system.run(&["tasks", "clear", "mapped", "--map-index", "2"]).code, 2, "of which task?");
}

#[tokio::test]
async fn what_a_task_waits_for_stands_beside_its_state() {
    let system = started().await;
    system.run(&["dags", "trigger", "lonely", "--run-id", "one"]).good();
    let states = ["tasks", "states", "lonely", "one"];
    let listed = system.until(&states, |done| done.out.contains("scheduled")).await.good();
    assert!(listed.contains("no worker that is there serves queue `nobody`"), "{listed}");
}

#[tokio::test]
async fn how_far_a_run_is_stands_beside_it() {
    let system = started().await;
    system.run(&["dags", "trigger", "timed", "--run-id", "one"]).good();
    let states = ["tasks", "states", "timed", "one"];
    let listed = system.until(&states, |done| done.out.contains("running")).await.good();
    let is_shown = |text: &str| text.contains(" %") && (text.contains("1m 39s") || text.contains("1m 3"));
    assert!(is_shown(&listed), "{listed}");
    let run = ["runs", "show", "timed", "one"];
    let shown = system.run(&run).good();
    assert!(shown.contains("Done") && shown.contains("Time left") && is_shown(&shown), "{shown}");
    assert!(shown.contains("cli"), "{shown}");
    assert_eq!(both(&system, &run)["triggered_by"], "cli");
    std::fs::write(system.shared().join("go"), "").unwrap();
    let over = system.until(&run, |done| done.out.contains("success")).await.good();
    assert!(!over.contains("Time left"), "{over}");
}

#[tokio::test]
async fn what_is_not_there_is_said_and_not_an_empty_list() {
    let system = started().await;
    let deliveries = system.run(&["deliveries", "list", "--dag", "mappd"]);
    assert!(deliveries.code == 3 && deliveries.err.contains("did you mean `mapped`?"), "{deliveries:?}");
    let other = system.run(&["dags", "list", "--namespace", "other"]);
    assert!(other.code == 3 && other.err.contains("no namespace `other`"), "{other:?}");
    assert_eq!(system.run(&["dags", "list", "--tag", "none"]).code, 0);
}

#[tokio::test]
async fn a_log_goes_raw_to_who_is_no_terminal() {
    let system = started().await;
    system.run(&["dags", "trigger", "coloured", "--run-id", "one", "--wait"]).good();
    let log = system.run(&["tasks", "logs", "coloured", "one", "work"]).good();
    assert!(log.contains("Z a \u{1b}[31mred\u{1b}[0m \u{1b}[2J end\n"), "{log:?}");
}

#[tokio::test]
async fn of_a_log_that_is_empty_so_far_it_is_not_said_that_nothing_was_written() {
    let system = started().await;
    system.run(&["dags", "trigger", "timed", "--run-id", "one"]).good();
    let logs = ["tasks", "logs", "timed", "one", "work"];
    system
        .until(&logs, |done| done.code == 0 && done.err.contains("nothing is written yet: try 1 runs"))
        .await;
    std::fs::write(system.shared().join("go"), "").unwrap();
    system.until(&logs, |done| done.err.contains("nothing is in this log")).await;
}
