//! The example of a shop's mailing, as a user starts it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

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
    assert_eq!(lines(&printed, &["file by FTP", "subscribers.csv"]), 1, "{printed}");
    assert_eq!(lines(&printed, &["luffy,Luffy,luffy@example.com,+886900000001"]), 1, "{printed}");
    assert_eq!(
        lines(&printed, &["mail ", "Luffy via EZTABLE", "to nami@example.com", "207"]),
        1,
        "{printed}"
    );
    assert_eq!(
        lines(&printed, &["mail ", "Nami via EZTABLE", "to luffy@example.com", "207"]),
        1,
        "{printed}"
    );
    assert_eq!(lines(&printed, &["mail ", " via EZTABLE"]), 4, "{printed}");
    assert_eq!(lines(&printed, &["text message", "to +8869"]), 2, "{printed}");
    for step in ["sync", "wait", "mail", "sms"] {
        assert_eq!(lines(&printed, &[&format!("step {step} "), "success"]), 1, "{printed}");
    }
    let first = |what: &str| printed.find(what).unwrap_or_else(|| panic!("no {what}: {printed}"));
    assert!(
        first("file by FTP") < first("step wait") && first("step wait") < first("via EZTABLE"),
        "{printed}"
    );
    assert_eq!(lines(&printed, &["mail on failure"]), 0, "{printed}");
}

#[test]
fn what_fails_is_tried_once_more_and_then_reported_by_mail() {
    let printed = printed(&run(&["--fast", "--fail", "sms"]));
    assert_eq!(lines(&printed, &["text refused"]), 2, "{printed}");
    assert_eq!(lines(&printed, &["step sms", "failed, attempt 2"]), 1, "{printed}");
    let told = ["mail on failure", "to luffy@example.com", "[Updraft] task sms of MCWork failed"];
    assert_eq!(lines(&printed, &told), 1, "{printed}");
    assert_eq!(lines(&printed, &["mail on failure"]), 1, "{printed}");
    assert_eq!(lines(&printed, &["mail ", " via EZTABLE"]), 4, "{printed}");
}
