//! The operators that move files by FTP and FTPS against pyftpdlib's server.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{runtime::Runtime, task::JoinHandle};
use updraft_core::{
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};
use updraft_operators::{Files, Work, prepare};

use crate::{
    memory::peak_mib,
    world::{Ended, Lines, World, context, order, run_native},
};

const PASSWORD: &str = "s3cret-of-etl";

/// A server in a process of its own, with the folders `here` and `there`; the latter is where its files are.
struct Server {
    process: Child,
    _input: ChildStdin,
    home: tempfile::TempDir,
    port: u16,
    kind: &'static str,
}

impl Server {
    fn start(kind: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in ["here", "there"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ftp/server.py"))
            .arg(home.path().join("there"))
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.path().join("log")).unwrap())
            .spawn()
            .expect("pyftpdlib is not there: run `scripts/setup.sh test`");
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let log = || fs::read_to_string(home.path().join("log")).unwrap();
        let port = port.trim().parse().unwrap_or_else(|_| panic!("the FTP server did not start: {}", log()));
        Self { _input: process.stdin.take().unwrap(), process, home, port, kind }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn connection(&self) -> Connection {
        let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem");
        let extra = if self.kind == "tls" { json!({"ca_cert": ca}) } else { json!({}) };
        Connection {
            conn_id: "files".into(),
            conn_type: "ftp".into(),
            host: Some("127.0.0.1".into()),
            port: Some(self.port),
            login: Some("etl".into()),
            password: Some(PASSWORD.into()),
            extra: extra.as_object().unwrap().clone(),
            ..Connection::default()
        }
    }

    fn world(&self) -> World {
        world(self.connection())
    }

    fn transfer(&self, operation: &str, local: &str, remote: &str) -> Ended {
        run(
            &self.world(),
            self.operator(),
            arguments(operation, json!(self.path(local)), json!(remote), json!({})),
        )
    }

    fn operator(&self) -> &'static str {
        if self.kind == "tls" { "FTPSFileTransmitOperator" } else { "FTPFileTransmitOperator" }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

fn world(connection: Connection) -> World {
    World { connections: [("files".to_owned(), connection)].into(), ..World::default() }
}

fn arguments(operation: &str, local: Value, remote: Value, more: Value) -> Value {
    let mut args = json!({
        "ftp_conn_id": "files", "operation": operation, "local_filepath": local, "remote_filepath": remote,
    });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

/// Runs an operator to its end. Nothing that it shows has the password in it.
fn run(world: &World, operator: &str, args: Value) -> Ended {
    let prepared = prepare(&order(operator, args), world).unwrap();
    assert!(prepared.secrets.iter().any(|secret| secret.starts_with("s3cret")), "the password is not masked");
    let shown = format!("{:?} {}", prepared.work, prepared.rendered);
    let ended = run_native(prepared);
    let shown = format!("{shown} {:?} {:?}", ended.outcome, ended.log);
    assert!(!shown.contains("s3cret"), "{shown}");
    ended
}

/// Begins work beside the test.
fn begin(world: &World, operator: &str, args: Value) -> (Runtime, JoinHandle<Outcome>) {
    let Work::Native(task) = prepare(&order(operator, args), world).unwrap().work else {
        panic!("no native work")
    };
    let runtime = Runtime::new().unwrap();
    let running = runtime.spawn(task.run(context(Arc::new(Lines::default()))));
    (runtime, running)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        // tidy: sleep because what happens on a server can only be looked at
        std::thread::sleep(Duration::from_millis(2));
    }
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

#[test]
fn files_go_there_come_back_and_are_deleted_with_tls_and_without() {
    for kind in ["plain", "tls"] {
        let server = Server::start(kind);
        // Lines that end in LF alone, and what is no text, stay as they are.
        let bytes: &[u8] = b"a\nb\r\n\xff\0";
        fs::write(server.path("here/2026-01-31.csv"), bytes).unwrap();
        fs::write(server.path("here/b"), "").unwrap();
        fs::create_dir(server.path("there/in")).unwrap();
        fs::write(server.path("there/in/a"), "old and longer").unwrap();
        let local = json!([server.path("here/{{ ds }}.csv"), server.path("here/b")]);
        let put = arguments("put", local, json!(["/in/a", "b"]), json!({}));
        let put = run(&server.world(), server.operator(), put);
        succeeds(&put);
        assert_eq!(put.result()[0], json!(server.path("here/2026-01-31.csv")));
        assert_eq!(fs::read(server.path("there/in/a")).unwrap(), bytes);
        assert_eq!(
            (names(&server.path("there/in")), server.text("there/b")),
            (vec!["a".into()], String::new())
        );
        succeeds(&server.transfer("get", "here/back", "/in/a"));
        assert_eq!(fs::read(server.path("here/back")).unwrap(), bytes);
        let delete =
            json!({"ftp_conn_id": "files", "operation": "delete", "remote_filepath": ["/in/a", "/b"]});
        succeeds(&run(&server.world(), server.operator(), delete));
        assert_eq!(names(&server.path("there/in")), Vec::<String>::new());
    }
}

#[test]
fn a_server_that_can_t_prove_who_it_is_hears_no_password() {
    let server = Server::start("tls");
    let mut connection = server.connection();
    connection.extra.clear();
    let args = arguments("put", json!(server.path("here/a")), json!("a"), json!({}));
    let ended = run(&world(connection), "ftps", args.clone());
    assert!(ended.failure().contains("`ca_cert`"), "{:?}", ended.outcome);
    // Nor does one that has no TLS at all.
    let plain = Server::start("plain");
    let mut connection = server.connection();
    connection.port = Some(plain.port);
    for (operator, conn_type) in [("ftps", "ftp"), ("ftp", "ftps")] {
        connection.conn_type = conn_type.into();
        let ended = run(&world(connection.clone()), operator, args.clone());
        assert!(ended.failure().contains("securing the session failed"), "{:?}", ended.outcome);
    }
    assert!(!server.text("log").contains("PASS") && !plain.text("log").contains("PASS"));
    fs::write(plain.path("here/a"), "a").unwrap();
    succeeds(&plain.transfer("put", "here/a", "a"));
    assert!(plain.text("log").contains("PASS"), "{}", plain.text("log"));
}

#[test]
fn a_wrong_password_is_told_with_the_mend() {
    for kind in ["plain", "tls"] {
        let server = Server::start(kind);
        let mut connection = server.connection();
        connection.password = Some("s3cret-that-is-wrong".into());
        let args = arguments("get", json!(server.path("here/a")), json!("a"), json!({}));
        let ended = run(&world(connection), server.operator(), args);
        assert!(ended.failure().contains("check the connection's login and password"), "{:?}", ended.outcome);
        assert_eq!(names(&server.path("here")), Vec::<String>::new());
    }
}

#[test]
fn folders_are_made_where_that_is_wanted_and_missed_where_it_is_not() {
    let server = Server::start("plain");
    fs::write(server.path("here/a"), "a").unwrap();
    let missing = server.transfer("put", "here/a", "/2026/01/a");
    assert!(missing.failure().contains("writing /2026/01/a failed"), "{:?}", missing.outcome);
    let made = json!({"create_intermediate_dirs": true});
    // The second time, they are there.
    for _ in 0..2 {
        let put = arguments("put", json!(server.path("here/a")), json!("/2026/01/a"), made.clone());
        succeeds(&run(&server.world(), "ftp", put));
    }
    let get = arguments("get", json!(server.path("here/x/y")), json!("/2026/01/a"), made);
    succeeds(&run(&server.world(), "ftp", get));
    assert_eq!(
        (server.text("here/x/y"), names(&server.path("there/2026/01"))),
        ("a".into(), vec!["a".into()])
    );
}

#[test]
fn what_can_t_be_moved_is_told_and_leaves_nothing() {
    let mut server = Server::start("plain");
    fs::write(server.path("here/a"), "a").unwrap();
    fs::create_dir(server.path("there/folder")).unwrap();
    for (operation, local, remote, why) in [
        ("put", "here/nothing", "a", "here/nothing can't be read: No such file"),
        ("put", "here/a", "folder", "renaming to folder failed"),
        ("put", "here/a", "a\r\nDELE b", "writing a"),
        ("get", "here/b", "nothing", "No such file"),
        ("get", "here/b", "folder", "reading folder failed"),
        ("get", "nowhere/b", "folder", "can't be written"),
    ] {
        let ended = server.transfer(operation, local, remote);
        assert!(ended.failure().contains(why), "{operation} {remote}: {:?}", ended.outcome);
        assert_eq!(names(&server.path("here")), ["a"]);
        assert_eq!(names(&server.path("there")), ["folder"]);
    }
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let ended = server.transfer("put", "here/a", "a");
    assert!(ended.failure().contains("no server answers"), "{:?}", ended.outcome);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = server.connection();
    connection.port = Some(silent.local_addr().unwrap().port());
    connection.extra.insert("timeout".into(), json!(0.2));
    let ended = run(&world(connection), "ftp", arguments("put", json!("/a"), json!("a"), json!({})));
    assert!(ended.failure().contains("has not answered within 200ms"), "{:?}", ended.outcome);
}

#[test]
fn what_tasks_are_kept_from_is_neither_sent_nor_overwritten() {
    let server = Server::start("plain");
    let home = server.path("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("key"), "the key").unwrap();
    fs::write(server.path("there/a"), "a").unwrap();
    let files = Files::new(vec![home.canonicalize().unwrap()], Vec::new());
    let world = World { files, ..server.world() };
    for (operation, local) in [("put", "home/key"), ("get", "home/key"), ("get", "home/new")] {
        let args = arguments(operation, json!(server.path(local)), json!("a"), json!({}));
        let ended = run(&world, "ftp", args);
        assert!(ended.failure().contains("out of tasks' reach"), "{operation}: {:?}", ended.outcome);
    }
    assert_eq!((server.text("home/key"), server.text("there/a")), ("the key".into(), "a".into()));
    assert_eq!((names(&home), names(&server.path("there"))), (vec!["key".into()], vec!["a".into()]));
}

/// A file that takes a while.
fn large(path: &Path) {
    fs::File::create(path).unwrap().set_len(4 << 30).unwrap();
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_no_half_file() {
    for (operation, fills, local, remote) in
        [("put", "there", "large", "a"), ("get", "here", "here/a", "large")]
    {
        let mut server = Server::start("plain");
        large(&server.path("large"));
        fs::rename(server.path("large"), server.path("there/large")).unwrap();
        std::os::unix::fs::symlink("there/large", server.path("large")).unwrap();
        for folder in ["here", "there"] {
            fs::write(server.path(folder).join("a"), "old").unwrap();
        }
        let args = arguments(operation, json!(server.path(local)), json!(remote), json!({}));
        let (runtime, running) = begin(&server.world(), "ftp", args);
        wait_until("nothing is moved", || {
            names(&server.path(fills)).iter().any(|name| name.ends_with(".half"))
        });
        server.process.kill().unwrap();
        let outcome = runtime.block_on(running).unwrap();
        assert!(outcome.message.as_ref().unwrap().contains("broke off"), "{outcome:?}");
        assert_eq!((server.text("here/a"), server.text("there/a")), ("old".into(), "old".into()));
        assert_eq!(names(&server.path("here")), ["a"]);
    }
}

#[test]
fn a_transfer_whose_task_is_stopped_leaves_nothing_at_either_end() {
    let server = Server::start("plain");
    large(&server.path("there/large"));
    for (operation, fills, local, remote) in
        [("put", "there", "there/large", "a"), ("get", "here", "here/a", "large")]
    {
        let args = arguments(operation, json!(server.path(local)), json!(remote), json!({}));
        let (runtime, running) = begin(&server.world(), "ftp", args);
        wait_until("nothing is moved", || {
            names(&server.path(fills)).iter().any(|name| name.ends_with(".half"))
        });
        running.abort();
        wait_until("something is left", || {
            !names(&server.path(fills)).iter().any(|name| name.ends_with(".half"))
        });
        drop(runtime);
    }
    assert_eq!(
        (names(&server.path("here")), names(&server.path("there"))),
        (Vec::new(), vec!["large".into()])
    );
}

#[test]
fn a_hundred_megabytes_take_little_memory() {
    for kind in ["plain", "tls"] {
        let server = Server::start(kind);
        let mut large = fs::File::create(server.path("here/large")).unwrap();
        for number in 0..100_u8 {
            large.write_all(&vec![number; 1 << 20]).unwrap();
        }
        let before = peak_mib();
        for (operation, local) in [("put", "here/large"), ("get", "here/back")] {
            let begin = Instant::now();
            succeeds(&server.transfer(operation, local, "large"));
            println!("{kind} {operation}: 100 MiB in {:?}", begin.elapsed());
        }
        let peak = peak_mib();
        assert!(peak < before + 64, "{before} MiB before, {peak} MiB at most");
        let same = Command::new("cmp").args([server.path("here/large"), server.path("here/back")]).status();
        assert!(same.unwrap().success());
    }
}

#[test]
fn a_sensor_waits_for_a_file_and_passes_over_what_may_pass() {
    for kind in ["plain", "tls"] {
        let server = Server::start(kind);
        let operator = if kind == "tls" { "FTPSSensor" } else { "FTPSensor" };
        fs::write(server.path("there/2026-01-31"), "").unwrap();
        let sensor = |path: &str, more: Value| {
            let mut args =
                json!({"ftp_conn_id": "files", "path": path, "poke_interval": 0.05, "timeout": 0.2});
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            run(&server.world(), operator, args)
        };
        succeeds(&sensor("/{{ ds }}", json!({})));
        let waited = sensor("/never", json!({}));
        assert_eq!(waited.outcome.end, AttemptEnd::FailedForGood, "{:?}", waited.outcome);
        let busy = sensor("/busy", json!({}));
        assert!(busy.failure().contains("450 come back later"), "{:?}", busy.outcome);
        let patient = sensor("/busy", json!({"fail_on_transient_errors": false}));
        assert_eq!(patient.outcome.end, AttemptEnd::FailedForGood, "{:?}", patient.outcome);
    }
    let server = Server::start("plain");
    let args = json!({"ftp_conn_id": "files", "path": "late", "poke_interval": 0.05, "timeout": 60});
    let (runtime, running) = begin(&server.world(), "ftp_sensor", args);
    fs::write(server.path("there/late"), "").unwrap();
    assert_eq!(runtime.block_on(running).unwrap().end, AttemptEnd::Success);
}

#[test]
fn what_can_t_be_is_refused_before_anything_is_tried() {
    let whole = Connection {
        conn_id: "files".into(),
        conn_type: "ftp".into(),
        host: Some("localhost".into()),
        ..Connection::default()
    };
    let extra = |extra: Value| Connection { extra: extra.as_object().unwrap().clone(), ..whole.clone() };
    for (connection, why) in [
        (Connection { host: None, ..whole.clone() }, "has no host"),
        (Connection { conn_type: "sftp".into(), ..whole.clone() }, "must be ftp or ftps"),
        (extra(json!({"passive": false})), "passive mode"),
        (extra(json!({"timeout": "soon"})), "`timeout`"),
        (extra(json!({"ca_cert": "/nowhere/ca.pem"})), "/nowhere/ca.pem can't be read"),
    ] {
        let args = arguments("put", json!("a"), json!("b"), json!({}));
        let refused = prepare(&order("ftps", args), &world(connection)).unwrap_err().to_string();
        assert!(refused.contains(why) && refused.contains("`files`"), "{refused}");
    }
}
