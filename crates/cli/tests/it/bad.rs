//! Bad input, at work beside good: it fails by itself, says what to mend, and takes nothing else down.

use std::{
    fmt::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use updraft_core::{RunState, TiStateName};

use crate::system::System;

const MIXED: &str = "
mixed:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    template: {operator: bash, bash_command: 'echo {{ dag_rum.run_id }}'}
    connection: {operator: bash, bash_command: 'echo {{ conn.nothing.host }}'}
    variable: {operator: bash, bash_command: 'echo {{ var.value.nothing }}'}
    program: {operator: script, script: \"#!/no/such/interpreter\\n\"}
    folder: {operator: bash, bash_command: pwd, cwd: /no/such/folder}
    fine: {operator: bash, bash_command: echo fine}
";

#[tokio::test]
async fn what_is_wrong_with_a_task_fails_it_alone_and_is_told() {
    let mut system = System::new(&[("mixed.yaml", MIXED)]);
    let dags = system.home().join("dags");
    std::fs::write(dags.join("latin.yaml"), b"caf\xe9: {tasks: {}}").unwrap();
    std::fs::create_dir(dags.join("folder.yaml")).unwrap();
    std::os::unix::fs::symlink("/no/such/file", dags.join("link.yaml")).unwrap();
    std::fs::write(dags.join("ring.yaml"), "ring: {tasks: {a: {operator: empty, dependencies: [a]}}}")
        .unwrap();
    system.start(4);
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    assert_eq!(runs[0].state, RunState::Failed);
    for ti in system.tis().await {
        let reason = ti.row.reason.as_deref().unwrap_or_default().to_owned();
        let log = system.log(&ti);
        let (state, says) = match &*ti.row.task_id {
            "fine" => (TiStateName::Success, ""),
            "template" => (TiStateName::Failed, "dag_run"),
            "connection" => (TiStateName::Failed, "connection `nothing`"),
            "variable" => (TiStateName::Failed, "variable `nothing`"),
            "program" => (TiStateName::Failed, "/no/such/interpreter"),
            "folder" => (TiStateName::Failed, "/no/such/folder"),
            other => panic!("there is no task {other}"),
        };
        assert_eq!(ti.row.state.name(), state, "{}: {reason}", ti.row.task_id);
        assert!(reason.contains(says) && log.contains(says), "{}: {reason}\n{log}", ti.row.task_id);
    }
    let said = system.said();
    for file in ["latin.yaml", "link.yaml", "ring.yaml"] {
        assert!(said.contains(file), "{file} is not among the errors:\n{said}");
    }
}

#[tokio::test]
async fn that_a_file_is_mended_is_written_when_the_database_takes_it_again() {
    let good = "good: {tasks: {a: {operator: empty}}}\n";
    let mut system = System::new(&[("a.yaml", &format!("{good}bad: {{tasks: {{a: {{}}}}}}\n"))]);
    system.start(1);
    let listing = ["dags", "list-import-errors"];
    system.until(&listing, |done| done.out.contains("a.yaml")).await;
    system.sql(
        "CREATE TRIGGER gone BEFORE DELETE ON import_error \
         BEGIN SELECT RAISE(ABORT, 'the database is gone'); END",
    );
    std::fs::write(system.home().join("dags/a.yaml"), good).unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !system.said().contains("the database is gone") {
        tick.tick().await;
    }
    system.sql("DROP TRIGGER gone");
    system.until(&listing, |done| done.code == 0 && !done.out.contains("a.yaml")).await;
    system.run(&["dags", "trigger", "good"]).good();
}

#[tokio::test]
async fn a_named_folder_of_dag_files_that_is_not_there_is_told_and_keeps_its_dags() {
    let mut system = System::new(&[]);
    let (dags, away) = (system.shared().join("dags"), system.shared().join("away"));
    system.set("UPDRAFT__DAGS__FOLDER", dags.to_str().unwrap());
    let is_told = |told: &str| told.contains("it is not there") && told.contains("--dags");
    let listing = ["dags", "list-import-errors", "-o", "json"];
    system.start(1);
    system.until(&listing, |done| is_told(&done.out)).await;
    assert!(!dags.exists(), "it was made");

    std::fs::create_dir(&away).unwrap();
    std::fs::write(away.join("good.yaml"), "good: {tasks: {a: {operator: empty}}}\n").unwrap();
    std::fs::rename(&away, &dags).unwrap();
    system.until(&["dags", "list"], |done| done.out.contains("good")).await;
    system.until(&listing, |done| done.code == 0 && !done.out.contains("not there")).await;

    system.stop_server();
    std::fs::rename(&dags, &away).unwrap();
    system.start(1);
    system.until(&listing, |done| is_told(&done.out)).await;
    assert!(!dags.exists(), "it was made");
    system.run(&["dags", "trigger", "good"]).good();
    assert!(!system.said().contains("is gone from its file"), "{}", system.said());
}

#[tokio::test]
async fn a_folder_in_the_home_that_vanished_is_not_made_anew() {
    let mut system = System::new(&[("good.yaml", "good: {tasks: {a: {operator: empty}}}\n")]);
    system.start(1);
    system.until(&["dags", "list"], |done| done.out.contains("good")).await;
    system.stop_server();
    std::fs::rename(system.home().join("dags"), system.shared().join("away")).unwrap();
    system.start(1);
    system.until(&["dags", "list-import-errors"], |done| done.out.contains("it is not there")).await;
    system.run(&["dags", "trigger", "good"]).good();
}

#[tokio::test]
async fn a_dag_of_a_hundred_thousand_tasks_is_read_and_run_beside_another() {
    let mut big = String::from(
        "big:\n  schedule: '@once'\n  default_args: {start_date: 2024-01-01}\n  tasks:\n    t0: {operator: empty}\n",
    );
    for task in 1..100_000 {
        let after = if task % 100 > 0 { task - 1 } else { 0 };
        writeln!(big, "    t{task}: {{operator: empty, dependencies: [t{after}]}}").unwrap();
    }
    let small = "small:\n  schedule: '@once'\n  default_args: {start_date: 2024-01-01}\n  tasks:\n    a: {operator: bash, bash_command: 'true'}\n";
    let mut system = System::new(&[("big.yaml", &big), ("small.yaml", small)]);
    system.start(4);
    let runs = system.runs_over(2, Duration::from_secs(300)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{runs:?}");
}

#[test]
fn a_home_whose_path_is_too_long_for_sockets_is_refused_with_the_mend() {
    let system = System::new(&[("a.yaml", "a: {tasks: {t: {operator: empty}}}\n")]);
    let file = system.home().join("dags/a.yaml");
    let long = system.shared().join("x".repeat(100));
    let long = long.to_str().unwrap();
    for command in [
        &["standalone", "--port", "0"][..],
        &["server", "--port", "0"],
        &["dags", "test", file.to_str().unwrap()],
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_updraft"));
        let done = program.args(["--home", long]).args(command).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("the path of the home folder"), "{command:?}: {said}");
        assert!(said.contains("Name a folder whose path has at most"), "{command:?}: {said}");
    }
}
