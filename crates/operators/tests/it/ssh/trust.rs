//! Who is let in, and whom we trust.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
};

use serde_json::json;
use updraft_core::input::AttemptEnd;

use super::{sshd::make_key, *};

fn run_true(connection: Connection) -> Ended {
    run(&world(connection), "SSHOperator", json!({"ssh_conn_id": "box", "command": "true"}))
}

fn is_let_in(connection: Connection) {
    let ended = run_true(connection);
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome);
}

#[test]
fn only_a_server_that_somebody_vouched_for_is_trusted() {
    let server = Sshd::start("");
    let other = Sshd::start("");
    let key = server.text("key");
    let with = |extra: Value| {
        let mut connection =
            server.with_extra(json!({"private_key": key, "known_hosts": server.path("known")}));
        connection.extra.extend(extra.as_object().unwrap().clone());
        connection
    };
    let known = |of: &Sshd| {
        let line = format!("[127.0.0.1]:{} {}", server.port, of.text("host_key.pub"));
        std::fs::write(server.path("known"), line).unwrap();
    };
    let stranger = run_true(with(json!({})));
    let said = stranger.failure();
    // The mend is in the words of a connection and in those of a file.
    for mend in [
        format!("\"host_key\": \"{}\"", server.text("host_key.pub").trim()),
        format!("[127.0.0.1]:{} {}", server.port, server.text("host_key.pub").trim()),
        "\"no_host_key_check\": true".into(),
    ] {
        assert!(said.contains(&mend), "{mend} is not in {said}");
    }
    is_let_in(with(json!({"no_host_key_check": "true"})));
    known(&server);
    is_let_in(with(json!({})));
    known(&other);
    for extra in [json!({}), json!({"no_host_key_check": true})] {
        let changed = run_true(with(extra));
        assert!(changed.failure().contains("another key than"), "{:?}", changed.outcome);
    }
    is_let_in(with(json!({"no_host_key_check": true, "allow_host_key_change": true})));
    is_let_in(with(json!({"host_key": server.text("host_key.pub")})));
    let wrong = run_true(with(json!({"host_key": other.text("host_key.pub"), "no_host_key_check": true})));
    assert!(wrong.failure().contains("another key than the connection's `host_key`"), "{:?}", wrong.outcome);
    // Whoever is not trusted hears of no account.
    assert_eq!(server.log().matches("Accepted publickey for").count(), 4, "{}", server.log());
}

#[test]
fn keys_of_all_kinds_are_taken_and_a_wrong_one_is_refused() {
    let server = Sshd::start("");
    let host_key = server.text("host_key.pub");
    make_key(&server.path("locked"), "of the key");
    let rsa = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(server.path("rsa"))
        .status();
    assert!(rsa.unwrap().success());
    let keys = ["key.pub", "locked.pub", "rsa.pub"].map(|name| server.text(name)).concat();
    std::fs::write(server.path("authorized_keys"), keys).unwrap();
    for extra in [
        json!({"key_file": server.path("key")}),
        json!({"private_key": server.text("key").replace('\n', "\\n")}),
        json!({"private_key": server.text("locked"), "private_key_passphrase": "of the key"}),
        json!({"private_key": server.text("rsa")}),
    ] {
        let mut connection = server.with_extra(extra);
        connection.extra.insert("host_key".into(), json!(host_key));
        is_let_in(connection);
    }
    make_key(&server.path("stranger"), "");
    let mut connection = server.connection();
    connection.extra.insert("private_key".into(), json!(server.text("stranger")));
    let ended = run_true(connection.clone());
    assert!(ended.failure().contains("not by its key"), "{:?}", ended.outcome);
    connection.password = Some("s3cret-that-is-wrong".into());
    let ended = run_true(connection);
    assert!(ended.failure().contains("neither its key nor its password"), "{:?}", ended.outcome);
}

/// asyncssh's server, in a process of its own.
struct WithPasswords {
    process: Child,
    _input: ChildStdin,
    home: tempfile::TempDir,
    port: u16,
}

impl WithPasswords {
    fn start(how: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        make_key(&home.path().join("host_key"), "");
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ssh/server.py"))
            .arg(home.path().join("host_key"))
            .arg(home.path())
            .arg(how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("asyncssh is not there: run `scripts/setup.sh test`");
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("the SSH server did not start");
        Self { _input: process.stdin.take().unwrap(), process, home, port }
    }

    fn connection(&self, password: &str) -> Connection {
        let host_key = std::fs::read_to_string(self.home.path().join("host_key.pub")).unwrap();
        Connection {
            conn_id: "box".into(),
            conn_type: "sftp".into(),
            host: Some("127.0.0.1".into()),
            port: Some(self.port),
            login: Some("etl".into()),
            password: Some(password.into()),
            extra: json!({"host_key": host_key}).as_object().unwrap().clone(),
            ..Connection::default()
        }
    }
}

impl Drop for WithPasswords {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_password_opens_whichever_way_the_server_asks_for_it_and_a_wrong_one_does_not() {
    for how in ["password", "questions"] {
        let server = WithPasswords::start(how);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.csv");
        std::fs::write(&file, "a,b\n").unwrap();
        let args = json!({
            "ssh_conn_id": "box", "local_filepath": file, "remote_filepath": "/in/a.csv",
            "create_intermediate_dirs": true,
        });
        let ended = run(&world(server.connection("s3cret-of-etl")), "SFTPOperator", args.clone());
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{how}: {:?}", ended.outcome);
        assert_eq!(std::fs::read_to_string(server.home.path().join("in/a.csv")).unwrap(), "a,b\n");
        let ended = run(&world(server.connection("s3cret-that-is-wrong")), "SFTPOperator", args);
        assert!(ended.failure().contains("not by its password"), "{how}: {:?}", ended.outcome);
    }
}
