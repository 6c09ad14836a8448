//! The example of a shop's mailing, as a user starts it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jiff::Timestamp;
use serde_json::json;
use updraft_core::Namespace;
use updraft_server::authoring::{Format, Options, environment, native, read_document};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/eztable")
}

fn run(arguments: &[&str]) -> Output {
    let python = std::env::var("UPDRAFT_TEST_PYTHON").unwrap();
    assert!(Path::new(&python).exists(), "there is no {python}: run `scripts/setup.sh test`");
    Command::new(python)
        .arg(example().join("run"))
        .args(arguments)
        .env("UPDRAFT", env!("CARGO_BIN_EXE_updraft"))
        .output()
        .unwrap()
}

/// What was printed, where it went well.
fn printed(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// How many lines have these words in them, in this order.
fn lines(printed: &str, words: &[&str]) -> usize {
    let has =
        |line: &&str| words.iter().try_fold(*line, |rest, word| Some(rest.split_once(word)?.1)).is_some();
    printed.lines().filter(has).count()
}

#[test]
fn subscribers_are_uploaded_and_then_mails_and_text_messages_sent() {
    let printed = printed(&run(&["--fast"]));
    assert_eq!(lines(&printed, &["file by FTP", "subscribers.csv, 4 people"]), 1, "{printed}");
    assert_eq!(lines(&printed, &["member-1,Nami 1,member-1@example.com,+886900000001"]), 1, "{printed}");
    for (by, to) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        let words = [" mail ", &*format!(" {by} via EZTABLE"), &*format!("to member-{to}@example.com")];
        assert_eq!(lines(&printed, &words), 1, "{printed}");
    }
    assert_eq!(lines(&printed, &["text message", "to +8869"]), 2, "{printed}");
    // Each copy has the name that its task gives it.
    let steps = ["people", "upload", "wait", "mail envelope-0.member-1", "sms +886900000003", "report"];
    for step in steps {
        assert_eq!(lines(&printed, &[&format!("step {step} "), "success"]), 1, "{step}: {printed}");
    }
    // What is seen of a task and what its other end sees comes by two ways.
    let first = |words: &[&str]| {
        let found = printed.lines().position(|line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("no {words:?}: {printed}"))
    };
    let waited = first(&["step wait", "success"]);
    assert!(first(&["file by FTP"]) < waited && waited < first(&["via EZTABLE"]), "{printed}");
    assert_eq!(lines(&printed, &["mail on failure"]), 0, "{printed}");
}

#[test]
fn what_fails_is_tried_once_more_and_then_reported_by_mail() {
    let printed = printed(&run(&["--fast", "--fail", "sms"]));
    assert_eq!(lines(&printed, &["text refused"]), 4, "{printed}");
    assert_eq!(lines(&printed, &["step sms ", "failed, attempt 2"]), 2, "{printed}");
    let told =
        ["mail on failure", "to luffy@example.com", "[Updraft] task sms[+886900000", "] of MCWork failed"];
    assert_eq!(lines(&printed, &told), 2, "{printed}");
    assert_eq!(lines(&printed, &[" mail ", " via EZTABLE"]), 4, "{printed}");
}

#[test]
fn whatever_is_killed_everybody_has_each_letter_once() {
    // Of 200 people two have an address that is none.
    let arguments = ["--fast", "--envelopes", "100", "--rate", "40/second", "--kill", "5"];
    let printed = printed(&run(&arguments));
    assert!(lines(&printed, &["kill -9", "of the"]) >= 2, "{printed}");
    assert!(printed.lines().any(|line| line == "198 mails, 100 text messages"), "{printed}");
}

#[test]
fn by_a_server_that_knows_no_keys_nobody_has_a_letter_twice_and_doubts_are_listed() {
    let arguments = ["--fast", "--smtp", "--envelopes", "100", "--rate", "25/second", "--kill", "4"];
    let printed = printed(&run(&arguments));
    let doubts = lines(&printed, &["in doubt", "lost when it may have done its work"]);
    let mails = printed.lines().find_map(|line| line.strip_suffix(" mails, 0 text messages")?.parse().ok());
    let mails: usize = mails.unwrap_or_else(|| panic!("{printed}"));
    assert!((198 - doubts..=198).contains(&mails), "{printed}");
    assert!(lines(&printed, &["kill -9", "of the"]) >= 2, "{printed}");
}

#[test]
fn the_dag_is_that_of_the_shop() {
    let text = std::fs::read_to_string(example().join("dags/mcwork.yaml")).unwrap();
    let options = Options {
        namespace: Namespace::default(),
        check: &native,
        variable: &environment,
        now: Timestamp::now(),
    };
    let reading = read_document("mcwork.yaml", &text, Format::Yaml, &options);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    let [read] = &reading.dags[..] else { panic!("{} DAGs", reading.dags.len()) };
    let dag = serde_json::to_value(&read.spec).unwrap();
    assert_eq!(dag["schedule"]["crons"], json!(["*/10 * * * *"]), "{}", dag["schedule"]);
    let edges = [
        ("people", "upload"),
        ("upload", "wait"),
        ("wait", "letters"),
        ("wait", "texts"),
        ("mail", "report"),
        ("sms", "report"),
        ("people", "report"),
    ];
    let found: BTreeSet<(&str, &str)> = dag["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| (edge["from"].as_str().unwrap(), edge["to"].as_str().unwrap()))
        .collect();
    assert_eq!(found, edges.into());
    let told = json!([{"on": "failure", "channel": {"email": {"to": ["luffy@example.com"]}}}]);
    for task in dag["tasks"].as_array().unwrap() {
        let retry = (&task["retry"]["retries"], &task["retry"]["delay"]);
        assert_eq!(retry, (&json!(1), &json!("PT5M")), "{task}");
        assert_eq!(task["alerts"], told, "{task}");
        let waits = task["task_id"] == "wait";
        assert_eq!(task["kind"] == json!({"wait": {"after_ready": "PT2M"}}), waits, "{task}");
    }
}
