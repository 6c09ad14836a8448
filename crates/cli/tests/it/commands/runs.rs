//! DAGs, runs and tasks.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use serde_json::{Value, json};

use super::{both, first_column, started};
use crate::system::System;

#[tokio::test]
async fn dags_are_listed_shown_and_paused() {
    let system = started().await;
    let table = system.run(&["dags", "list"]).good();
    assert_eq!(first_column(&table), ["etl", "fails", "slow", "told"], "{table}");
    assert!(table.contains("0 0 1 1 *"), "{table}");
    let dags = both(&system, &["dags", "list", "--tag", "nightly"]);
    assert_eq!((dags.as_array().unwrap().len(), &dags[0]["dag_id"]), (1, &json!("etl")));
    let with_text = |text: &str| both(&system, &["dags", "list", "--pattern", text]);
    assert_eq!(with_text("TL")[0]["dag_id"], "etl");
    assert_eq!(with_text("e_l"), json!([]), "`_` is a letter like others");
    let some = system.run(&["dags", "list", "--limit", "2"]);
    assert!(some.err.contains("2 of 4"), "{some:?}");
    assert_eq!(first_column(&some.good()), ["etl", "fails"]);

    let shown = system.run(&["dags", "show", "etl"]).good();
    assert!(shown.contains("0 0 1 1 *, on the clock of UTC"), "{shown}");
    assert_eq!(both(&system, &["dags", "show", "etl"])["tags"][0]["name"], "nightly");
    let next = system.run(&["dags", "next", "etl"]).good();
    assert_eq!(next.trim(), "2999-01-01T00:00:00Z");
    let none = system.run(&["dags", "next", "slow"]);
    assert!(none.code == 0 && none.err.contains("external triggers only"), "{none:?}");
    assert_eq!(both(&system, &["dags", "ticks", "etl"]), json!([]));

    let wrong = system.run(&["dags", "list-import-errors"]).good();
    assert!(wrong.contains("wrong.yaml") && wrong.contains("nothing"), "{wrong}");

    assert_eq!(system.run(&["dags", "pause", "etl", "-o", "json"]).json()["is_paused"], true);
    let waits = system.run(&["dags", "trigger", "etl"]);
    assert!(waits.err.contains("updraft dags unpause etl"), "{waits:?}");
    assert_eq!(both(&system, &["dags", "list", "--paused", "true"])[0]["dag_id"], "etl");
    system.run(&["dags", "unpause", "etl"]).good();
    assert_eq!(both(&system, &["dags", "show", "etl"])["is_paused"], false);
}

#[tokio::test]
async fn a_run_is_triggered_waited_for_and_looked_at() {
    let system = started().await;
    let run = ["etl", "one"];
    let arguments = ["dags", "trigger", "etl", "--run-id", "one", "--conf", r#"{"day": 7}"#, "--wait"];
    let done = system.run(&arguments);
    assert!(done.err.contains("extract success") && done.err.contains("load success"), "{done:?}");
    assert!(done.good().contains("success"));

    let runs = both(&system, &["runs", "list", "etl"]);
    assert_eq!((&runs[0]["dag_run_id"], &runs[0]["state"]), (&json!("one"), &json!("success")));
    assert_eq!(both(&system, &["runs", "list", "--state", "failed"]), json!([]));
    assert_eq!(both(&system, &[&["runs", "show"], &run[..]].concat())["conf"], json!({"day": 7}));
    let tasks = system.run(&["tasks", "list", "etl"]).good();
    assert_eq!(first_column(&tasks), ["extract", "load"], "{tasks}");
    let states = both(&system, &["tasks", "states", "etl", "one"]);
    let states: Vec<_> = states.as_array().unwrap().iter().map(|ti| (&ti["task_id"], &ti["state"])).collect();
    assert_eq!(states, [(&json!("extract"), &json!("success")), (&json!("load"), &json!("success"))]);
    let history = both(&system, &["tasks", "history", "etl", "one", "load"]);
    assert_eq!(history.as_array().unwrap().last().unwrap()["to"], "success");

    let log = system.run(&["tasks", "logs", "etl", "one", "extract"]).good();
    assert!(log.lines().any(|line| line.ends_with("Z day 7")), "{log}");
    let entries = both(&system, &["tasks", "logs", "etl", "one", "extract"]);
    assert!(entries.as_array().unwrap().iter().any(|entry| entry["event"] == "day 7"), "{entries}");

    let some = ["dags", "trigger", "etl", "--run-id", "two", "--task", "load", "--wait"];
    let done = system.run(&some);
    assert!(!done.err.contains("extract") && done.code == 0, "{done:?}");
    system.run(&["runs", "delete", "etl", "two", "--yes"]).good();
    assert_eq!(system.run(&["runs", "show", "etl", "two"]).code, 3);
    system.run(&["dags", "delete", "etl", "--yes"]).good();
}

#[tokio::test]
async fn of_an_empty_log_it_is_said_that_it_is_empty() {
    let system = started().await;
    let quiet =
        "quiet: {default_args: {start_date: 2024-01-01}, tasks: {a: {operator: bash, bash_command: 'true'}}}";
    std::fs::write(system.home().join("dags/quiet.yaml"), quiet).unwrap();
    system.until(&["dags", "show", "quiet"], |done| done.code == 0).await;
    system.run(&["dags", "trigger", "quiet", "--run-id", "one", "--wait"]).good();
    let log = system.run(&["tasks", "logs", "quiet", "one", "a"]);
    assert!(log.out.is_empty() && log.err.contains("nothing is in this log"), "{log:?}");
}

#[tokio::test]
async fn what_the_leader_takes_is_measured() {
    let system = started().await;
    system.run(&["dags", "trigger", "etl", "--run-id", "one", "--conf", r#"{"day": 7}"#, "--wait"]).good();
    let metrics = system.get("/metrics").await;
    for name in ["store_commit_duration_seconds", "scheduler_loop_duration_seconds"] {
        let line = format!("updraft_{name}_count ");
        let count = metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap();
        // A run of two tasks is at least triggered, begun and ended.
        assert!(count.parse::<u64>().unwrap() > 3, "{name}: {count}");
    }
}

fn state(system: &System, dag_id: &str, task_id: &str) -> Value {
    let states = system.run(&["tasks", "states", dag_id, "one", "-o", "json"]).json();
    let ti = states.as_array().unwrap().iter().find(|ti| ti["task_id"] == task_id);
    ti.unwrap()["state"].clone()
}

fn port(system: &System) -> u16 {
    system.address().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn who_waits_for_a_run_waits_on_while_the_server_is_started_anew() {
    let mut system = started().await;
    let port = port(&system);
    let mut waiting = system.command(&["dags", "trigger", "slow", "--run-id", "one", "--wait"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let mut until = |what: &str| while !said.next().unwrap().unwrap().contains(what) {};
    until("work running");
    system.stop_server();
    until("waiting for it to come back");
    system.start_on(port, 4);
    std::fs::write(system.shared().join("go"), "").unwrap();
    until("work success");
    assert!(waiting.wait().unwrap().success());
}

#[tokio::test]
async fn a_log_is_followed_until_the_attempt_is_over() {
    let system = started().await;
    system.run(&["dags", "trigger", "slow", "--run-id", "one"]).good();
    let mut following = system.command(&["tasks", "logs", "-f", "slow", "one", "work"]);
    let mut following = following.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(following.stdout.take().unwrap());
    let mut first = String::new();
    while !first.contains("began") {
        assert_ne!(out.read_line(&mut first).unwrap(), 0, "{first}");
    }
    assert!(!first.contains("ended") && state(&system, "slow", "work") == "running", "{first}");
    std::fs::write(system.shared().join("go"), "").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("ended") && following.wait().unwrap().success(), "{rest}");

    let lines = system.run(&["tasks", "logs", "-f", "slow", "one", "work", "-o", "json"]).good();
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let yaml = system.run(&["tasks", "logs", "-f", "slow", "one", "work", "-o", "yaml"]).good();
    assert_eq!(serde_saphyr::from_str::<Vec<Value>>(&yaml).unwrap(), entries);
}

#[tokio::test]
async fn who_follows_a_log_follows_on_from_where_he_was_when_the_server_is_started_anew() {
    let mut system = started().await;
    let port = port(&system);
    system.run(&["dags", "trigger", "slow", "--run-id", "one"]).good();
    let arguments = |format| ["tasks", "logs", "-f", "slow", "one", "work", "-o", format];
    let mut following = ["table", "json"].map(|format| {
        let mut command = system.command(&arguments(format));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut out, mut read) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        while !read.contains("began") {
            assert_ne!(out.read_line(&mut read).unwrap(), 0, "{read}");
        }
        (child, said, out, read)
    });
    system.stop_server();
    for (_, said, ..) in &mut following {
        while !said.next().unwrap().unwrap().contains("waiting for it to come back") {}
    }
    system.start_on(port, 4);
    std::fs::write(system.shared().join("go"), "").unwrap();
    for ((mut child, _said, mut out, mut read), format) in following.into_iter().zip(["table", "json"]) {
        out.read_to_string(&mut read).unwrap();
        assert!(child.wait().unwrap().success() && read.contains("ended"), "{read}");
        assert_eq!(read, system.run(&arguments(format)).good());
    }
}

#[tokio::test]
async fn a_task_is_paused_continued_and_stopped() {
    let system = started().await;
    let ti = ["slow", "one", "work"];
    let tasks = |verb: &str| system.run(&[&["tasks", verb][..], &ti].concat());
    system.run(&["dags", "trigger", "slow", "--run-id", "one"]).good();
    let states = ["tasks", "states", "slow", "one"];
    system.until(&states, |done| done.out.contains("running")).await;
    tasks("pause").good();
    system.until(&states, |done| done.out.contains("paused")).await;
    let why = tasks("explain").good();
    assert!(why.starts_with("work is paused\n- "), "{why}");
    tasks("continue").good();
    system.until(&states, |done| done.out.contains("running")).await;
    tasks("stop").good();
    let over = ["runs", "show", "slow", "one", "-o", "json"];
    system.until(&over, |done| done.out.contains("\"failed\"")).await;
    assert_eq!(state(&system, "slow", "work"), "failed");
    let why = both(&system, &[&["tasks", "explain"][..], &ti].concat());
    assert!(why["reasons"][0].as_str().unwrap().contains("stop"), "{why}");
    assert_eq!(tasks("pause").code, 1);
}

#[tokio::test]
async fn what_failed_is_cleared_marked_and_begins_anew() {
    let system = started().await;
    let done = system.run(&["dags", "trigger", "fails", "--run-id", "one", "--wait"]);
    assert!(done.code == 1 && done.err.contains("run one of fails failed"), "{done:?}");
    let log = system.run(&["tasks", "logs", "fails", "one", "after"]);
    assert!(log.code == 3 && log.err.contains("never ran"), "{log:?}");

    let clear = ["tasks", "clear", "fails", "one", "--task", "check", "--downstream"];
    let asked = system.run(&clear);
    assert!(asked.code == 2 && asked.err.contains("2 task instances begin anew: say --yes"), "{asked:?}");
    assert_eq!(state(&system, "fails", "check"), "failed");
    std::fs::write(system.shared().join("mended"), "").unwrap();
    let cleared = system.run(&[&clear[..], &["--yes", "-o", "json"]].concat()).json();
    assert_eq!(cleared.as_array().unwrap().len(), 2);
    let over = ["runs", "show", "fails", "one", "-o", "json"];
    system.until(&over, |done| done.out.contains("\"success\"")).await;
    let first = system.run(&["tasks", "logs", "fails", "one", "check", "--try", "1"]).good();
    assert!(first.contains("No such file"), "{first}");

    let mark = ["tasks", "mark", "fails", "one", "check", "--state", "failed"];
    assert!(system.run(&mark).good().contains("failed"));
    assert_eq!(system.run(&mark).code, 1, "it is failed already");
    system.run(&["runs", "mark", "fails", "one", "--state", "failed"]).good();
    assert_eq!(system.run(&over).json()["state"], "failed");
    assert_eq!(system.run(&["runs", "clear", "fails", "one"]).code, 2);
    system.run(&["runs", "clear", "fails", "one", "--only-failed", "--yes"]).good();
    system.until(&over, |done| done.out.contains("\"success\"")).await;
}

#[tokio::test]
async fn runs_are_compared_with_the_last_good_one_or_with_any() {
    let system = started().await;
    let trigger = |run: &str, conf: &str| {
        system.run(&["dags", "trigger", "fails", "--run-id", run, "--conf", conf, "--wait"])
    };
    std::fs::write(system.shared().join("mended"), "").unwrap();
    trigger("good", r#"{"day": 1}"#).good();
    let none = system.run(&["runs", "diff", "fails", "good"]);
    assert!(none.code == 3 && none.err.contains("name the run to compare with"), "{none:?}");
    std::fs::remove_file(system.shared().join("mended")).unwrap();
    assert_eq!(trigger("bad", r#"{"day": 2}"#).code, 1);

    let diff = both(&system, &["runs", "diff", "fails", "bad"]);
    assert_eq!((&diff["before"], &diff["now"]), (&json!("good"), &json!("bad")));
    let of = |what: &str| diff["run"].as_array().unwrap().iter().find(|row| row["what"] == what);
    assert_eq!(of("conf").unwrap()["now"], json!({"day": 2}));
    assert!(of("version").is_none(), "what is the same is left out: {diff}");
    let states =
        |row: &Value| (row["task"].clone(), row["before"]["state"].clone(), row["now"]["state"].clone());
    let mut tasks: Vec<_> = diff["tasks"].as_array().unwrap().iter().map(states).collect();
    // Of those whose state is another, what took longer comes first, and milliseconds decide that here.
    tasks.sort_by_key(|(task, ..)| task.to_string());
    let expected = [("after", "success", "upstream_failed"), ("check", "success", "failed")];
    assert_eq!(tasks, expected.map(|(task, before, now)| (json!(task), json!(before), json!(now))));
    let table = system.run(&["runs", "diff", "fails", "good", "bad"]).good();
    assert!(table.contains("STATE BEFORE") && table.contains("upstream_failed"), "{table}");
}

#[tokio::test]
async fn a_run_whose_dag_was_mended_goes_on_with_it_where_that_is_said() {
    let system = started().await;
    let put = async |command: &str, version: u64| {
        let dag = format!(
            "late: {{default_args: {{start_date: 2024-01-01, retries: 0}}, \
             tasks: {{a: {{operator: bash, bash_command: \"{command}\"}}}}}}"
        );
        std::fs::write(system.home().join("dags/late.yaml"), dag).unwrap();
        let there = format!("\"version_number\": {version}");
        let shown = ["dags", "show", "late", "-o", "json"];
        system.until(&shown, |done| done.code == 0 && done.out.contains(&there)).await;
    };
    put("exit 1", 1).await;
    for run in ["one", "two"] {
        assert_eq!(system.run(&["dags", "trigger", "late", "--run-id", run, "--wait"]).code, 1);
    }
    put("echo mended", 2).await;
    let over = |run: &'static str| ["runs", "show", "late", run, "-o", "json"];
    let hint = "goes on with version 1 of the DAG, which is at 2: --latest";
    let cleared = system.run(&["runs", "clear", "late", "one", "--yes"]);
    assert!(cleared.code == 0 && cleared.err.contains(hint), "{cleared:?}");
    system.until(&over("one"), |done| done.out.contains("\"failed\"")).await;
    let cleared = system.run(&["runs", "clear", "late", "one", "--latest", "--yes"]);
    assert!(cleared.code == 0 && !cleared.err.contains(hint), "{cleared:?}");
    system.until(&over("one"), |done| done.out.contains("\"success\"")).await;
    let cleared = system.run(&["tasks", "clear", "late", "two", "--yes"]);
    assert!(cleared.err.contains(hint), "{cleared:?}");
    system.until(&over("two"), |done| done.out.contains("\"failed\"")).await;
    system.run(&["tasks", "clear", "late", "two", "--latest", "--yes"]).good();
    system.until(&over("two"), |done| done.out.contains("\"success\"")).await;
}

#[tokio::test]
async fn of_many_copies_it_is_told_how_many_are_where() {
    let system = started().await;
    let dag = "many: {default_args: {start_date: 2024-01-01, retries: 0}, tasks: {a: {operator: bash, \
               partial: {}, expand: {bash_command: ['true', 'true', 'true', 'true', 'true', 'true', 'true', 'true', \
               'true', 'true', 'true', 'true']}}}}";
    std::fs::write(system.home().join("dags/many.yaml"), dag).unwrap();
    system.until(&["dags", "show", "many"], |done| done.code == 0).await;
    let done = system.run(&["dags", "trigger", "many", "--run-id", "one", "--wait"]);
    assert!(done.err.contains("a 12 copies: 12 success") && !done.err.contains("a[3]"), "{done:?}");
}
