//! What cannot be done is said with its mend, and with an exit code that scripts can tell apart.

use std::net::TcpListener;

use super::started;
use crate::system::System;

#[test]
fn a_server_that_is_not_there_is_said_with_the_mend() {
    let system = System::new(&[]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let done = system.run(&["health", "--server", &url]);
    assert_eq!(done.code, 1);
    let mend =
        format!("updraft: no server at {url}: start one with `updraft standalone`, or name it with --server");
    assert_eq!(done.err.trim(), mend);
    let version = system.run(&["version", "--server", &url]);
    assert!(version.code == 0 && version.out.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_code() {
    let mut system = started().await;
    let missing = system.run(&["dags", "show", "no/such?dag"]);
    assert!(missing.code == 3 && missing.err.contains("there is no DAG `no/such?dag`"), "{missing:?}");
    for near in
        [&["dags", "show", "elt"][..], &["dags", "trigger", "elt"], &["tasks", "logs", "elt", "one", "a"]]
    {
        let done = system.run(near);
        assert!(
            done.code == 3 && done.err.contains("there is no DAG `elt`; did you mean `etl`?"),
            "{done:?}"
        );
    }
    for usage in [
        &["dags", "show"][..],
        &["dags", "trigger", "etl", "--conf", "[1]"],
        &["dags", "trigger", "etl", "--logical-date", "yesterday"],
        &["dags", "trigger", "etl", "--timeout", "1"],
        &["runs", "mark", "etl", "one", "--state", "running"],
        &["dags", "list", "--server", "localhost:8080"],
        &["dags", "delete", "etl"],
        &["nonsense"],
    ] {
        let done = system.run(usage);
        assert_eq!(done.code, 2, "{usage:?}: {done:?}");
    }
    let refused = system.run(&["dags", "list", "--token", "made-up"]);
    assert!(refused.code == 4 && refused.err.contains("updraft tokens create"), "{refused:?}");
    let password = system.home().join("admin-password");
    let right = std::fs::read_to_string(&password).unwrap();
    std::fs::write(&password, "another").unwrap();
    let changed = system.run(&["dags", "list"]);
    assert!(changed.code == 4 && changed.err.contains("does not take the password in"), "{changed:?}");
    std::fs::write(&password, right).unwrap();
    let foreign = system.run(&["dags", "list", "--server", "http://192.0.2.1:8080"]);
    assert!(foreign.code == 4 && foreign.err.contains("UPDRAFT_TOKEN"), "{foreign:?}");
    let late = system.run(&["dags", "trigger", "slow", "--run-id", "one", "--wait", "--timeout", "1"]);
    assert!(late.code == 124 && late.err.contains("it goes on"), "{late:?}");
    let again = system.run(&["dags", "trigger", "slow", "--run-id", "one"]);
    assert!(again.code == 1 && again.err.contains("has a run `one` already"), "{again:?}");

    let address = system.home().join("run/address");
    assert!(address.exists());
    system.stop_server();
    assert!(!address.exists(), "a server that stops says that it is gone");
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    let good = "one: {tasks: {a: {operator: empty}}}\n";
    let wrong = "two: {tasks: {a: {operator: empty, retrys: 1}}}\n";
    let system = System::new(&[("a.yaml", good), ("m.yaml", good), ("z.yaml", wrong)]);
    let dags = system.home().join("dags");
    std::fs::write(dags.join("latin.yaml"), b"caf\xe9: {tasks: {}}").unwrap();
    // Read by a server as little as by it.
    std::fs::write(dags.join("settings.yaml"), "just: [some, yaml]\n").unwrap();
    let done = system.run(&["dags", "check", dags.to_str().unwrap()]);
    assert_eq!((done.code, &*done.out), (1, "one: 1 task\n"), "{done:?}");
    let errors: Vec<&str> = done.err.lines().filter(|line| line.starts_with("error: ")).collect();
    let expected = [("latin.yaml", "UTF-8"), ("m.yaml", "a.yaml` as well as in"), ("z.yaml", "retrys")];
    assert_eq!(errors.len(), expected.len(), "{done:?}");
    for (error, (file, why)) in errors.iter().zip(expected) {
        assert!(error.contains(file) && error.contains(why), "{done:?}");
    }
    assert!(done.err.contains("3 errors in 4 files"), "{done:?}");
    let twice = system.run(&[
        "dags",
        "check",
        dags.join("a.yaml").to_str().unwrap(),
        dags.join("a.yaml").to_str().unwrap(),
    ]);
    assert_eq!(twice.code, 0, "{twice:?}");
}

#[test]
fn a_check_of_no_dag_files_fails() {
    let system = System::new(&[
        ("settings.yaml", "just: [some, yaml]\n"),
        ("team/defaults.yml", "default_args: {retries: 1}\n"),
        ("good/one.yaml", "one: {tasks: {a: {operator: empty}}}\n"),
    ]);
    let dags = system.home().join("dags");
    let check = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| dags.join(name).display().to_string()).collect();
        let arguments = ["dags", "check"].into_iter().chain(paths.iter().map(String::as_str));
        system.run(&arguments.collect::<Vec<_>>())
    };
    for (name, why) in [
        ("team", "0 DAG files found in this folder"),
        ("settings.yaml", "no entry of this file has `tasks`"),
        ("team/defaults.yml", "this file has the defaults of those around it"),
    ] {
        let done = check(&["good", name]);
        assert_eq!((done.code, &*done.out), (1, "one: 1 task\n"), "{done:?}");
        assert!(done.err.contains(&format!("{name}: {why}")), "{done:?}");
        assert!(done.err.contains("1 error in"), "{done:?}");
    }
    // What is no DAG file is passed over where there is one, also where it was checked already.
    let done = check(&["", "good"]);
    assert_eq!((done.code, &*done.out), (0, "one: 1 task\n1 DAG is good, in 1 file\n"), "{done:?}");
}

#[test]
fn files_are_checked_with_the_defaults_around_them() {
    let defaults = "default_args: {retries: nonsense}\n";
    let dag = "one: {tasks: {a: {operator: empty}}}\n";
    let system = System::new(&[("defaults.yml", defaults), ("team/one.yaml", dag)]);
    let dags = system.home().join("dags");
    let folder = system.run(&["dags", "check", dags.to_str().unwrap()]);
    assert!(folder.code == 1 && folder.err.contains("nonsense"), "{folder:?}");
    let file = system.run(&["dags", "check", dags.join("team/one.yaml").to_str().unwrap()]);
    assert!(file.code == 1 && file.err.contains("nonsense"), "{file:?}");
    std::fs::remove_file(dags.join("defaults.yml")).unwrap();
    assert_eq!(
        system.run(&["dags", "check", dags.to_str().unwrap()]).good(),
        "one: 1 task\n1 DAG is good, in 1 file\n"
    );
}

#[test]
fn what_a_command_lacks_is_said_and_nothing_else() {
    let system = System::new(&[]);
    let cases = [
        (
            &["connections", "add", "y"][..],
            "<--uri <URI>|--type <TYPE>>",
            "add [OPTIONS] <CONN_ID> --type <TYPE>",
        ),
        (&["db", "clean"], "<--before <TIME>|--older-than <AGE>>", "clean [OPTIONS] --older-than <AGE>"),
    ];
    for (arguments, lacks, usage) in cases {
        let done = system.run(arguments);
        assert!(done.code == 2 && done.err.contains(lacks) && done.err.contains(usage), "{done:?}");
        assert!(!done.err.contains("--home"), "{done:?}");
    }
}

#[test]
fn settings_are_shown_with_where_they_come_from() {
    let system = System::new(&[]);
    let file = system.home().join("updraft.toml");
    std::fs::write(&file, "[smtp]\nurl = 'smtp://me:secret@mail.example:587'\n[worker]\nslots = 4").unwrap();
    let mut command = system.command(&["config", "-o", "json"]);
    let output = command.env("UPDRAFT__WORKER__SLOTS", "9").output().unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |key: &str| {
        let row = settings.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        (row["value"].to_string(), row["from"].as_str().unwrap().to_owned())
    };
    let file = file.display().to_string();
    assert_eq!(of("smtp.url"), ("\"smtp://me:***@mail.example:587\"".into(), file));
    assert_eq!(of("worker.slots"), ("9".into(), "UPDRAFT__WORKER__SLOTS".into()));
    assert_eq!(of("retention.runs"), ("\"90d\"".into(), "default".into()));
    let wrong = system.command(&["config"]).env("UPDRAFT__RETENTION__RUNS", "soon").output().unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("write it like 90d") && said.contains("RETENTION"), "{said}");
    let unknown = system.command(&["config"]).env("UPDRAFT__RETENTION__RUN", "1d").output().unwrap();
    assert!(!unknown.status.success(), "{unknown:?}");
}

#[tokio::test]
async fn a_key_that_is_gone_is_not_replaced_where_secrets_need_it() {
    let mut system = started().await;
    system.run(&["connections", "add", "shop", "--uri", "http://nami:secret-word@localhost"]).good();
    system.stop_server();
    let (key, away) = (system.home().join("key"), system.home().join("key.away"));
    std::fs::rename(&key, &away).unwrap();
    system.start(1);
    assert_eq!(system.server_ended().await, Some(1));
    assert!(system.said().contains("is gone, and the database has secrets"), "{}", system.said());
    assert!(!key.exists());
    std::fs::rename(&away, &key).unwrap();
    system.start(1);
    system.until(&["connections", "get", "shop"], |done| done.code == 0).await;
}
