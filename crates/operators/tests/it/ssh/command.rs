//! `SSHOperator`.

use std::{net::TcpListener, path::Path};

use serde_json::json;
use updraft_core::input::AttemptEnd;
use updraft_operators::catalog;

use super::*;
use crate::cut::Cut;

fn command(server: &Sshd, text: &str, more: Value) -> Ended {
    run(&world(server.connection()), "SSHOperator", with(text, more))
}

fn with(text: &str, more: Value) -> Value {
    let mut args = json!({"ssh_conn_id": "box", "command": text});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

#[test]
fn a_command_runs_there_and_its_last_line_is_the_result() {
    let server = Sshd::start("");
    let text = "echo of {{ ds }}; echo to stderr >&2; echo $SSH_CONNECTION | wc -w; printf 'the end  '";
    let ended = command(&server, text, json!({}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome);
    assert_eq!((ended.result(), ended.outcome.exit_code), (json!("the end"), Some(0)));
    for line in ["of 2026-01-31", "to stderr", "4", "the end  "] {
        assert!(ended.log.iter().any(|logged| logged == line), "{line} is not in {:?}", ended.log);
    }
}

#[test]
fn an_exit_code_fails_or_skips_and_a_signal_fails() {
    let server = Sshd::start("");
    let ended = command(&server, "echo no; exit 3", json!({}));
    assert_eq!((ended.failure(), ended.outcome.exit_code), ("ended with exit code 3", Some(3)));
    assert_eq!(ended.result(), json!(null));
    let ended = command(&server, "exit 99", json!({"skip_on_exit_code": [98, 99]}));
    assert_eq!(ended.outcome.end, AttemptEnd::Skipped);
    assert_eq!(command(&server, "kill -KILL $$", json!({})).failure(), "ended by signal KILL");
}

#[test]
fn the_environment_is_what_the_server_takes_of_it_and_a_terminal_is_there_where_it_is_wanted() {
    let server = Sshd::start("");
    let environment = json!({"environment": {"UPDRAFT_DAY": "{{ ds }}; rm x", "OTHER": "1"}});
    let ended = command(&server, "echo \"$UPDRAFT_DAY|$OTHER|$(tty)\"", environment);
    assert_eq!(ended.result(), json!("2026-01-31; rm x||not a tty"));
    assert!(
        ended.log.iter().any(|line| line.contains("`OTHER`") && line.contains("AcceptEnv")),
        "{:?}",
        ended.log
    );
    let ended = command(&server, "tty", json!({"get_pty": true}));
    assert!(ended.result().as_str().unwrap().starts_with("/dev/pts/"), "{:?}", ended.outcome);
}

#[test]
fn a_command_that_falls_silent_is_ended_and_one_that_may_be_silent_is_not() {
    let server = Sshd::start("");
    let pid = server.path("pid");
    let text = format!("echo $$ > {}; exec sleep 1000", pid.display());
    let args = with(&text, json!({"cmd_timeout": 0.5}));
    let (runtime, running, _) = begin(&world(server.connection()), "ssh", args);
    let outcome = runtime.block_on(running).unwrap();
    let message = outcome.message.unwrap();
    assert!(message.contains("silent for 500ms") && message.contains("`cmd_timeout`"), "{message}");
    wait_until("the command goes on", || !is_alive(&pid));
    let ended = command(&server, "sleep 0.3; echo done", json!({"cmd_timeout": null}));
    assert_eq!(ended.result(), json!("done"));
    let mut connection = server.connection();
    connection.extra.insert("cmd_timeout".into(), json!(0.2));
    let ended = run(&world(connection), "ssh", with("sleep 1000", json!({})));
    assert!(ended.failure().contains("silent for 200ms"), "{:?}", ended.outcome);
}

fn is_alive(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    Path::new("/proc").join(pid.trim()).exists()
}

/// What the worker does where an attempt is stopped, or takes longer than its `execution_timeout`.
#[test]
fn a_command_whose_task_is_stopped_is_ended_be_it_deaf() {
    let server = Sshd::start("");
    for (name, setting) in [("polite", ""), ("deaf", "trap '' TERM; ")] {
        let pid = server.path(name);
        let text = format!("{setting}echo $$ > {}; while :; do sleep 0.1; done", pid.display());
        let (runtime, running, _) = begin(&world(server.connection()), "ssh", with(&text, json!({})));
        wait_until("the command does not begin", || {
            std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
        });
        running.abort();
        wait_until("the command goes on", || !is_alive(&pid));
        drop(runtime);
    }
}

#[test]
fn a_connection_that_is_cut_is_no_end_of_the_command() {
    let server = Sshd::start("");
    let mut connection = server.connection();
    connection.port = Some(Cut::after(200_000, server.port).port);
    let ended = run(&world(connection), "ssh", with("yes | head -c 10000000", json!({})));
    assert!(ended.failure().contains("broke off before the command ended"), "{:?}", ended.outcome);
}

#[test]
fn a_server_that_is_not_there_or_silent_is_given_up() {
    let server = Sshd::start("");
    let mut connection = server.connection();
    connection.port = Some(1);
    let ended = run(&world(connection.clone()), "ssh", with("true", json!({})));
    assert!(ended.failure().contains("no server answers"), "{:?}", ended.outcome);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    connection.port = Some(silent.local_addr().unwrap().port());
    let ended = run(&world(connection), "ssh", with("true", json!({"conn_timeout": 0.2})));
    assert!(ended.failure().contains("has not answered within 200ms"), "{:?}", ended.outcome);
}

#[test]
fn much_output_is_logged_line_by_line() {
    let server = Sshd::start("");
    let ended = command(&server, "seq 100000", json!({}));
    assert_eq!(ended.result(), json!("100000"));
    let numbers = ended.log.iter().filter(|line| line.parse::<u32>().is_ok());
    assert!(numbers.eq((1..=100_000).map(|number| number.to_string()).collect::<Vec<_>>().iter()));
}

#[test]
fn what_can_t_be_is_refused_before_anything_is_tried() {
    let connection = Connection { conn_id: "box".into(), conn_type: "ssh".into(), ..Connection::default() };
    let whole = Connection {
        host: Some("localhost".into()),
        login: Some("etl".into()),
        password: Some("x".into()),
        ..connection.clone()
    };
    let extra = |extra: Value| Connection { extra: extra.as_object().unwrap().clone(), ..whole.clone() };
    for (connection, why) in [
        (connection, "has no host"),
        (Connection { login: None, ..whole.clone() }, "has no login"),
        (Connection { password: None, ..whole.clone() }, "neither a password nor a key"),
        (Connection { conn_type: "http".into(), ..whole.clone() }, "must be ssh or sftp"),
        (extra(json!({"private_key": "nonsense"})), "private key that can't be read"),
        (extra(json!({"key_file": "/nowhere/key"})), "/nowhere/key can't be read"),
        (extra(json!({"host_key": "nonsense"})), "ssh-keyscan"),
        (extra(json!({"no_host_key_check": "perhaps"})), "it is true or false"),
        (extra(json!({"host_proxy_cmd": "nc -X 5 %h %p"})), "`host_proxy_cmd`, which is not supported"),
        (extra(json!({"conn_timeout": "soon"})), "`conn_timeout`"),
    ] {
        let args = with("true", json!({}));
        let refused = prepare(&order("SSHOperator", args), &world(connection)).unwrap_err().to_string();
        assert!(refused.contains(why) && refused.contains("`box`"), "{refused}");
    }
    let missing = catalog::check("ssh", &serde_json::Map::new()).unwrap_err().to_string();
    assert!(missing.contains("`command` is required"), "{missing}");
}
