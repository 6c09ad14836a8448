//! `SFTPOperator` and `SFTPSensor`.

use std::{fs, io::Write, path::Path};

use serde_json::json;
use updraft_core::input::AttemptEnd;
use updraft_operators::{Files, catalog};

use super::*;
use crate::{cut::Cut, memory::peak_mib};

/// Moves files as the arguments say.
fn transfer(world: &World, operation: &str, local: Value, remote: Value, more: Value) -> Ended {
    run(world, "SFTPOperator", arguments(operation, local, remote, more))
}

fn arguments(operation: &str, local: Value, remote: Value, more: Value) -> Value {
    let mut args = json!({
        "ssh_conn_id": "box", "operation": operation, "local_filepath": local, "remote_filepath": remote,
    });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

fn succeeds(ended: &Ended) {
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome);
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A server with two folders, `here` and `there`.
fn server() -> (Sshd, World) {
    let server = Sshd::start("");
    server.folder("here");
    server.folder("there");
    let world = world(server.connection());
    (server, world)
}

#[test]
fn files_go_there_come_back_and_are_deleted() {
    let (server, world) = server();
    let path = |name: &str| json!(server.path(name));
    fs::write(server.path("here/2026-01-31.csv"), "one").unwrap();
    fs::write(server.path("here/b.csv"), "").unwrap();
    fs::write(server.path("there/b.csv"), "old and longer").unwrap();
    let local = json!([server.path("here/{{ ds }}.csv"), path("here/b.csv")]);
    let remote = json!([path("there/a.csv"), path("there/b.csv")]);
    let put = transfer(&world, "put", local, remote.clone(), json!({}));
    succeeds(&put);
    assert_eq!(put.result(), json!([path("here/2026-01-31.csv"), path("here/b.csv")]));
    assert_eq!(names(&server.path("there")), ["a.csv", "b.csv"]);
    assert_eq!((server.text("there/a.csv"), server.text("there/b.csv")), ("one".into(), String::new()));

    let got = transfer(&world, "GET", json!([path("here/x"), path("here/y")]), remote.clone(), json!({}));
    succeeds(&got);
    assert_eq!((server.text("here/x"), server.text("here/y")), ("one".into(), String::new()));

    succeeds(&run(
        &world,
        "sftp",
        json!({"ssh_conn_id": "box", "operation": "delete", "remote_filepath": remote}),
    ));
    assert_eq!(names(&server.path("there")), Vec::<String>::new());
}

#[test]
fn folders_are_made_where_that_is_wanted_and_missed_where_it_is_not() {
    let (server, world) = server();
    fs::write(server.path("here/a"), "a").unwrap();
    let (local, remote) = (json!(server.path("here/a")), json!(server.path("there/2026/01/a")));
    let missing = transfer(&world, "put", local.clone(), remote.clone(), json!({}));
    assert!(missing.failure().contains("no such file or folder there"), "{:?}", missing.outcome);
    let made = json!({"create_intermediate_dirs": true});
    // The second time, they are there.
    for _ in 0..2 {
        succeeds(&transfer(&world, "put", local.clone(), remote.clone(), made.clone()));
    }
    assert_eq!(names(&server.path("there/2026/01")), ["a"]);
    let back = json!(server.path("here/x/y/a"));
    let missing = transfer(&world, "get", back.clone(), remote.clone(), json!({}));
    assert!(missing.failure().contains("can't be written: there is no such folder"), "{:?}", missing.outcome);
    succeeds(&transfer(&world, "get", back, remote, made));
    assert_eq!(server.text("here/x/y/a"), "a");
}

#[test]
fn what_can_t_be_moved_is_told_and_leaves_nothing() {
    let (server, world) = server();
    fs::write(server.path("here/a"), "a").unwrap();
    fs::create_dir(server.path("there/folder")).unwrap();
    let path = |name: &str| json!(server.path(name));
    for (operation, local, remote, why) in [
        ("put", "here/nothing", "there/a", "here/nothing can't be read: No such file"),
        ("put", "here", "there/a", "here can't be read: is a directory"),
        ("put", "here/a", "there/folder", "renaming to"),
        ("get", "here/b", "there/nothing", "no such file or folder there"),
        ("get", "here/b", "there/folder", "is a folder: name the files in it"),
    ] {
        let ended = transfer(&world, operation, path(local), path(remote), json!({}));
        assert!(ended.failure().contains(why), "{:?}", ended.outcome);
        assert_eq!(
            (names(&server.path("here")), names(&server.path("there"))),
            (vec!["a".into()], vec!["folder".into()])
        );
    }
    let gone = json!({"ssh_conn_id": "box", "operation": "delete", "remote_filepath": path("there/nothing")});
    let gone = run(&world, "sftp", gone);
    assert!(gone.failure().contains("deleting"), "{:?}", gone.outcome);
    // The second of two fails: the first is whole.
    let (local, remote) =
        (json!([path("here/a"), path("here/b")]), json!([path("there/x"), path("there/y")]));
    let half = transfer(&world, "put", local, remote, json!({}));
    assert!(half.failure().contains("here/b"), "{:?}", half.outcome);
    assert_eq!(names(&server.path("there")), ["folder", "x"]);
}

#[test]
fn what_does_not_fit_together_is_refused_before_anything_is_tried() {
    let (_server, world) = server();
    let refused = |args: Value| match catalog::check("sftp", args.as_object().unwrap()) {
        Err(error) => error.to_string(),
        Ok(_) => prepare(&order("sftp", args), &world).unwrap_err().to_string(),
    };
    for (args, why) in [
        (json!({"ssh_conn_id": "box", "remote_filepath": "a"}), "`local_filepath` is required"),
        (arguments("put", json!(["a", "b"]), json!("c"), json!({})), "has 2 paths"),
        (arguments("delete", json!("a"), json!("c"), json!({})), "no meaning"),
        (arguments("put", json!("a"), json!("folder/"), json!({})), "names no file"),
        (arguments("move", json!("a"), json!("c"), json!({})), "put, get or delete"),
    ] {
        let refused = refused(args);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn what_tasks_are_kept_from_is_neither_sent_nor_overwritten() {
    let (server, mut world) = server();
    let home = server.path("home").canonicalize().unwrap_or_else(|_| server.path("home"));
    fs::create_dir_all(home.join("dags")).unwrap();
    fs::write(home.join("key"), "the key").unwrap();
    std::os::unix::fs::symlink(home.join("key"), server.path("here/link")).unwrap();
    world.files = Files::new(vec![home.clone()], vec![home.join("dags")]);
    fs::write(server.path("there/a"), "a").unwrap();
    for (operation, local, more) in [
        ("put", home.join("key"), json!({})),
        ("put", server.path("here/link"), json!({})),
        ("put", "/proc/self/environ".into(), json!({})),
        ("get", home.join("key"), json!({})),
        ("get", home.join("dags/new.yaml"), json!({})),
        ("get", home.join("new/folder/a"), json!({"create_intermediate_dirs": true})),
    ] {
        let ended = transfer(&world, operation, json!(local), json!(server.path("there/a")), more);
        assert!(
            ended.failure().contains("out of tasks' reach"),
            "{operation} {local:?}: {:?}",
            ended.outcome
        );
    }
    assert_eq!(fs::read_to_string(home.join("key")).unwrap(), "the key");
    assert_eq!(
        (names(&home), names(&server.path("there"))),
        (vec!["dags".into(), "key".into()], vec!["a".into()])
    );
}

const LARGE: usize = 4 << 20;

#[test]
fn a_connection_that_is_cut_in_the_middle_leaves_no_half_file() {
    let (server, _) = server();
    let large = vec![7; LARGE];
    fs::write(server.path("here/large"), &large).unwrap();
    fs::write(server.path("there/large"), &large).unwrap();
    fs::write(server.path("there/a"), "old").unwrap();
    fs::write(server.path("here/a"), "old").unwrap();
    for (operation, local, remote) in [("put", "here/large", "there/a"), ("get", "here/a", "there/large")] {
        let mut connection = server.connection();
        connection.port = Some(Cut::after(LARGE as u64 / 2, server.port).port);
        let (local, remote) = (json!(server.path(local)), json!(server.path(remote)));
        let ended = transfer(&world(connection), operation, local, remote, json!({}));
        assert!(ended.failure().contains("broke off"), "{:?}", ended.outcome);
        assert_eq!((server.text("here/a"), server.text("there/a")), ("old".into(), "old".into()));
        assert_eq!(names(&server.path("here")), ["a", "large"]);
    }
    // What could not be deleted there any more says by its name what it is.
    let left = names(&server.path("there")).into_iter().filter(|name| name != "a" && name != "large");
    for name in left {
        assert!(name.starts_with(".a.") && name.ends_with(".half"), "{name}");
    }
}

#[test]
fn a_transfer_whose_task_is_stopped_leaves_nothing_at_either_end() {
    let (server, world) = server();
    let file = fs::File::create(server.path("here/large")).unwrap();
    file.set_len(1 << 30).unwrap();
    fs::rename(server.path("here/large"), server.path("large")).unwrap();
    for (operation, local, remote, fills) in
        [("put", "large", "there/a", "there"), ("get", "here/a", "large", "here")]
    {
        let args = arguments(operation, json!(server.path(local)), json!(server.path(remote)), json!({}));
        let (runtime, running, _) = begin(&world, "sftp", args);
        wait_until("nothing is moved", || {
            names(&server.path(fills)).iter().any(|name| name.ends_with(".half"))
        });
        running.abort();
        wait_until("something is left", || names(&server.path(fills)).is_empty());
        drop(runtime);
    }
}

#[test]
fn a_hundred_megabytes_take_little_memory() {
    let (server, world) = server();
    let mut large = fs::File::create(server.path("here/large")).unwrap();
    for number in 0..100_u8 {
        large.write_all(&vec![number; 1 << 20]).unwrap();
    }
    let path = |name: &str| json!(server.path(name));
    let before = peak_mib();
    for (operation, local, remote) in
        [("put", "here/large", "there/large"), ("get", "here/back", "there/large")]
    {
        let begin = Instant::now();
        succeeds(&transfer(&world, operation, path(local), path(remote), json!({})));
        println!("{operation}: 100 MiB in {:?}", begin.elapsed());
    }
    let peak = peak_mib();
    assert!(peak < before + 64, "{before} MiB before, {peak} MiB at most");
    let same = std::process::Command::new("cmp")
        .args([server.path("here/large"), server.path("here/back")])
        .status();
    assert!(same.unwrap().success());
}

fn sensor(world: &World, args: Value) -> Ended {
    let mut whole = json!({"sftp_conn_id": "box", "poke_interval": 0.05, "timeout": 0.3});
    whole.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
    run(world, "SFTPSensor", whole)
}

#[test]
fn a_sensor_sees_a_file_by_its_path_its_name_and_its_age() {
    let (server, world) = server();
    fs::write(server.path("there/2026-01-31.csv"), "").unwrap();
    let day = fs::File::options().write(true).open(server.path("there/2026-01-31.csv")).unwrap();
    let changed = "2026-01-31T12:00:00Z".parse::<jiff::Timestamp>().unwrap();
    day.set_modified(changed.into()).unwrap();
    let there = server.path("there");
    for (args, is_there) in [
        (json!({"path": there.join("{{ ds }}.csv")}), true),
        (json!({"path": there}), true),
        (json!({"path": there.join("other.csv")}), false),
        (json!({"path": there, "file_pattern": "*.csv"}), true),
        (json!({"path": there, "file_pattern": "2026-0[12]-??.*"}), true),
        (json!({"path": there, "file_pattern": "*.txt"}), false),
        (json!({"path": server.path("nowhere"), "file_pattern": "*"}), false),
        (json!({"path": there, "file_pattern": "*.csv", "newer_than": "2026-01-31T12:00:00+00:00"}), true),
        (json!({"path": there.join("2026-01-31.csv"), "newer_than": "2026-01-31T12:00:01"}), false),
    ] {
        let ended = sensor(&world, args.clone());
        let end = if is_there { AttemptEnd::Success } else { AttemptEnd::FailedForGood };
        assert_eq!(ended.outcome.end, end, "{args}: {:?}", ended.outcome);
    }
    let args = json!({
        "sftp_conn_id": "box", "path": there.join("late.csv"), "poke_interval": 0.05, "timeout": 60,
    });
    let (runtime, running, lines) = begin(&world, "sftp_sensor", args);
    fs::write(there.join("late.csv"), "").unwrap();
    assert_eq!(runtime.block_on(running).unwrap().end, AttemptEnd::Success);
    assert!(lines.0.lock().unwrap()[0].ends_with("late.csv"));
}

#[test]
fn a_sensor_whose_server_lets_nobody_in_fails_unless_it_is_to_be_silent() {
    let (server, _) = server();
    let mut connection = server.with_extra(json!({"host_key": server.text("host_key.pub")}));
    connection.password = Some("s3cret-that-is-wrong".into());
    let world = world(connection);
    let ended = sensor(&world, json!({"path": "/x"}));
    assert!(ended.failure().contains("not by its password"), "{:?}", ended.outcome);
    let ended = sensor(&world, json!({"path": "/x", "silent_fail": true}));
    assert_eq!(ended.outcome.end, AttemptEnd::FailedForGood, "{:?}", ended.outcome);
}
