//! `EmailOperator` against a real mail server, aiosmtpd.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use updraft_core::{
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};
use updraft_operators::{Refused, Smtp, mail, prepare};

use crate::world::{World, order, run_native};

/// A mail server in a process of its own.
struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    _input: ChildStdin,
    port: u16,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/server.py");
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
        assert!(Path::new(&python).exists(), "aiosmtpd is not there: run `scripts/setup.sh test`");
        let mut process = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse();
        let port = port.expect("the mail server did not start");
        Self { output, _input: process.stdin.take().unwrap(), process, port }
    }

    /// The next mail it took.
    fn mail(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn connection(&self, extra: Value) -> Connection {
        Connection {
            conn_id: "smtp_default".into(),
            conn_type: "smtp".into(),
            host: Some("127.0.0.1".into()),
            port: Some(self.port),
            extra: extra.as_object().unwrap().clone(),
            ..Connection::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn world(connection: Connection) -> World {
    World { connections: [("smtp_default".to_owned(), connection)].into(), ..World::default() }
}

fn arguments(to: Value) -> Value {
    json!({
        "to": to,
        "subject": "Run of {{ ds }}",
        "html_content": "<p>{{ task.task_id }} on {{ ds }}: ü</p>",
        "from_email": "Reports <reports@example.org>",
    })
}

fn send(world: &World, args: Value) -> Outcome {
    let order = order("EmailOperator", args);
    run_native(prepare(&order, world).unwrap()).outcome
}

#[test]
fn a_mail_goes_out_with_all_that_belongs_to_it() {
    let mut server = Server::start(&["plain"]);
    let world = world(server.connection(json!({"disable_ssl": true, "disable_tls": true})));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    std::fs::write(&file, "a,b\n1,2\n").unwrap();
    let mut args = arguments(json!("ann@example.org, bob@example.org"));
    args["cc"] = json!(["cid@example.org"]);
    args["bcc"] = json!("eve@example.org");
    args["files"] = json!([file]);
    args["custom_headers"] = json!({"X-Run": "{{ run_id }}"});
    for try_number in 1..=2 {
        let outcome = send(&world, args.clone());
        assert_eq!(outcome.end, AttemptEnd::Success, "{:?} in try {try_number}", outcome.message);
    }
    let mail = server.mail();
    assert_eq!(mail["from"], "reports@example.org");
    assert_eq!(
        mail["to"],
        json!(["ann@example.org", "bob@example.org", "cid@example.org", "eve@example.org"])
    );
    let content = mail["content"].as_str().unwrap();
    assert!(content.contains("Subject: Run of 2026-01-31"), "{content}");
    assert!(content.contains("X-Run: scheduled__2026-01-31T06:00:00+00:00"), "{content}");
    assert!(content.contains("extract on 2026-01-31"), "{content}");
    assert!(content.contains("filename=\"report.csv\""), "{content}");
    assert!(!content.contains("eve@"), "{content}");
    assert_eq!(
        message_id_of(&mail),
        message_id_of(&server.mail()),
        "the same attempt sends under the same id"
    );
}

#[test]
fn starttls_and_tls_keep_the_password_from_others() {
    for (mode, extra) in [
        ("starttls", json!({"disable_ssl": true, "ssl_context": "none"})),
        ("tls", json!({"ssl_context": "none"})),
    ] {
        let mut server = Server::start(&[mode, "auth"]);
        let mut connection = server.connection(extra);
        (connection.login, connection.password) = (Some("user".into()), Some("secret".into()));
        let outcome = send(&world(connection.clone()), arguments(json!("ann@example.org")));
        assert_eq!(outcome.end, AttemptEnd::Success, "{mode}: {:?}", outcome.message);
        let mail = server.mail();
        assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!("user")));
        connection.password = Some("wrong".into());
        let outcome = send(&world(connection), arguments(json!("ann@example.org")));
        assert_eq!(outcome.end, AttemptEnd::Failed);
        assert!(outcome.message.as_ref().unwrap().contains("535"), "{:?}", outcome.message);
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let server = Server::start(&["plain", "auth"]);
    let mut connection = server.connection(json!({"disable_ssl": true, "disable_tls": true, "timeout": 0.2}));
    (connection.login, connection.password) = (Some("patience".into()), Some("secret".into()));
    let outcome = send(&world(connection), arguments(json!("ann@example.org")));
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert!(outcome.message.as_ref().unwrap().contains("has not answered within"), "{:?}", outcome.message);
}

#[test]
fn a_mail_that_may_have_gone_out_is_not_sent_again_where_the_task_says_so() {
    let mut server = Server::start(&["plain"]);
    let plain = json!({"disable_ssl": true, "disable_tls": true, "timeout": 0.2});
    let world = world(server.connection(plain));
    let mut ids = Vec::new();
    for (to, why) in [("hang@example.org", "may have taken it"), ("break@example.org", "may have been taken")]
    {
        let mut order = order("EmailOperator", arguments(json!(to)));
        order.task.hold_doubts = true;
        let outcome = run_native(prepare(&order, &world).unwrap()).outcome;
        assert_eq!(outcome.end, AttemptEnd::FailedForGood, "{:?}", outcome.message);
        assert!(outcome.message.as_ref().unwrap().contains(why), "{:?}", outcome.message);
        ids.push(message_id_of(&server.mail()));
    }
    // Without that it fails as others do. A further try goes under the same id.
    let mut order = order("EmailOperator", arguments(json!("break@example.org")));
    order.attempt.try_number = 2;
    assert_eq!(run_native(prepare(&order, &world).unwrap()).outcome.end, AttemptEnd::Failed);
    assert_eq!(message_id_of(&server.mail()), ids[1]);
    // One that is cleared is asked to be sent again, and a server that drops what it has seen must not.
    order.task.tries_before = 2;
    assert_eq!(run_native(prepare(&order, &world).unwrap()).outcome.end, AttemptEnd::Failed);
    assert_ne!(message_id_of(&server.mail()), ids[1]);
    // One that was not taken for sure is tried again in any case.
    order.task.hold_doubts = true;
    order.args["to"] = json!("later@example.org");
    assert_eq!(run_native(prepare(&order, &world).unwrap()).outcome.end, AttemptEnd::Failed);
}

fn message_id_of(mail: &Value) -> String {
    let content = mail["content"].as_str().unwrap();
    content.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned()
}

#[test]
fn a_server_that_can_t_prove_who_it_is_gets_no_mail() {
    for (mode, extra) in [("starttls", json!({"disable_ssl": true})), ("tls", json!({}))] {
        let server = Server::start(&[mode]);
        let outcome = send(&world(server.connection(extra)), arguments(json!("ann@example.org")));
        assert_eq!(outcome.end, AttemptEnd::Failed, "{mode}");
        assert!(outcome.message.as_ref().unwrap().to_lowercase().contains("cert"), "{:?}", outcome.message);
    }
}

#[test]
fn a_server_without_starttls_is_no_place_for_those_who_insist_on_it() {
    let server = Server::start(&["plain"]);
    let world = world(server.connection(json!({"disable_ssl": true, "ssl_context": "none"})));
    let outcome = send(&world, arguments(json!("ann@example.org")));
    assert_eq!(outcome.end, AttemptEnd::Failed);
}

#[test]
fn what_will_never_do_is_told_from_what_may_do_later() {
    let server = Server::start(&["plain"]);
    let smtp = mail::MailServer::from_url(&format!("smtp://127.0.0.1:{}", server.port)).unwrap();
    let mail = |to: &str| mail::Mail {
        from: "reports@example.org".into(),
        to: vec![to.into()],
        message_id: "1@example.org".into(),
        ..mail::Mail::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let send = |smtp: &mail::MailServer, to| runtime.block_on(mail::send(smtp, &mail(to))).unwrap_err();
    assert!(matches!(send(&smtp, "nobody@example.org"), mail::MailError::Permanent(_)));
    assert!(matches!(send(&smtp, "later@example.org"), mail::MailError::Temporary(_)));
    let away = mail::MailServer::from_url("smtp://127.0.0.1:1").unwrap();
    assert!(matches!(send(&away, "ann@example.org"), mail::MailError::Temporary(_)));
}

#[test]
fn who_is_refused_keeps_nobody_else_from_getting_it() {
    let mut server = Server::start(&["plain"]);
    let plain = json!({"disable_ssl": true, "disable_tls": true});
    let world = world(server.connection(plain));
    let to = json!(["nobody@example.org", "ann@example.org", "later@example.org"]);
    let ran = run_native(prepare(&order("EmailOperator", arguments(to)), &world).unwrap());
    assert_eq!(ran.outcome.end, AttemptEnd::Success, "{:?}", ran.outcome.message);
    assert_eq!(server.mail()["to"], json!(["ann@example.org"]));
    let log = ran.log.join("\n");
    assert!(log.contains("refused: nobody@example.org (permanent error (550): 5.1.1 no such user)"), "{log}");
    assert!(log.contains("later@example.org (transient error (451)"), "{log}");
    assert!(log.contains("sent to ann@example.org, Message-ID"), "{log}");
    let result = serde_json::to_value(&ran.outcome.xcoms).unwrap().to_string();
    assert!(
        result.contains(r#""sent":["ann@example.org"]"#) && result.contains("5.1.1 no such user"),
        "{result}"
    );
    // With nobody left there is no mail; of whom one was refused for now, another try may do.
    let to = json!(["nobody@example.org", "later@example.org"]);
    let ran = run_native(prepare(&order("EmailOperator", arguments(to)), &world).unwrap());
    assert_eq!(ran.outcome.end, AttemptEnd::Failed);
    assert!(ran.outcome.message.unwrap().contains("come back later"));
}

#[test]
fn a_connection_that_breaks_before_the_mail_is_on_its_way_leaves_no_doubt() {
    let server = Server::start(&["plain"]);
    let smtp = mail::MailServer::from_url(&format!("smtp://127.0.0.1:{}?tls=off", server.port)).unwrap();
    let mail = mail::Mail {
        from: "reports@example.org".into(),
        to: vec!["away@example.org".into()],
        message_id: "1@example.org".into(),
        ..mail::Mail::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broken = runtime.block_on(mail::send(&smtp, &mail)).unwrap_err();
    assert!(matches!(broken, mail::MailError::Temporary(_)), "{broken:?}");
}

#[test]
fn without_a_connection_the_configurations_server_takes_it() {
    let mut server = Server::start(&["plain"]);
    let world = World {
        smtp: Some(Smtp {
            url: format!("smtp://127.0.0.1:{}?tls=off", server.port),
            from: Some("updraft@example.org".into()),
        }),
        ..World::default()
    };
    let mut args = arguments(json!("ann@example.org"));
    args.as_object_mut().unwrap().remove("from_email");
    let outcome = send(&world, args);
    assert_eq!(outcome.end, AttemptEnd::Success, "{:?}", outcome.message);
    assert_eq!(server.mail()["from"], "updraft@example.org");
}

#[test]
fn where_a_connection_names_no_sender_the_configuration_does() {
    let mut server = Server::start(&["plain"]);
    let mut connection = server.connection(json!({"disable_ssl": true, "disable_tls": true}));
    connection.conn_id = "elsewhere".into();
    let world = World {
        connections: [("elsewhere".to_owned(), connection)].into(),
        smtp: Some(Smtp { url: "smtp://127.0.0.1:1".into(), from: Some("updraft@example.org".into()) }),
        ..World::default()
    };
    let mut args = arguments(json!("ann@example.org"));
    args["conn_id"] = json!("elsewhere");
    args.as_object_mut().unwrap().remove("from_email");
    assert_eq!(send(&world, args).end, AttemptEnd::Success);
    assert_eq!(server.mail()["from"], "updraft@example.org");
}

#[test]
fn what_can_t_be_sent_is_refused_before_anything_is_tried() {
    let refused =
        |world: &World, args| prepare(&order("EmailOperator", args), world).unwrap_err().to_string();
    assert!(refused(&World::default(), arguments(json!("ann@example.org"))).contains("UPDRAFT__SMTP__URL"));
    let mut other = arguments(json!("ann@example.org"));
    other["conn_id"] = json!("elsewhere");
    assert!(matches!(
        prepare(&order("EmailOperator", other), &World::default()).unwrap_err(),
        Refused::Missing(reason) if reason.contains("elsewhere")
    ));
    let world = world(Connection { host: Some("localhost".into()), ..Connection::default() });
    assert!(refused(&world, arguments(json!("no address"))).contains("no mail address"));
    assert!(refused(&world, arguments(json!([]))).contains("names nobody"));
    let mut files = arguments(json!("ann@example.org"));
    files["files"] = json!(["/nowhere/at/all.csv"]);
    assert!(refused(&world, files).contains("/nowhere/at/all.csv"));
}

#[test]
fn a_connection_is_tried_without_a_mail() {
    let server = Server::start(&["plain", "auth"]);
    let tried = |login: Option<&str>| {
        let mut connection = server.connection(json!({"disable_ssl": true, "disable_tls": true}));
        connection.login = login.map(|_| "user".into());
        connection.password = login.map(Into::into);
        let order = order("ConnectionTestOperator", json!({"conn_id": "smtp_default"}));
        run_native(prepare(&order, &world(connection)).unwrap())
    };
    let ran = tried(Some("secret"));
    assert_eq!(ran.outcome.end, AttemptEnd::Success, "{:?}", ran.outcome.message);
    assert!(ran.log[0].contains("the connection `smtp_default` works: 127.0.0.1:"), "{:?}", ran.log);
    let refused = tried(Some("wrong")).outcome;
    assert_eq!(refused.end, AttemptEnd::Failed);
    assert!(refused.message.unwrap().contains("lets nobody in"));
}
