//! Mail of alerts and of tasks, with a real mail server: one that is there, that is gone, and one that is slow
//! when the server dies.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::system::System;

/// A mail server in a process of its own.
struct MailServer {
    process: Child,
    lines: mpsc::Receiver<String>,
    port: u16,
}

impl MailServer {
    /// On this port; 0 is any that is free.
    fn start(port: u16) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operators/tests/smtp/server.py");
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
        let mut process = Command::new(python)
            .arg(script)
            .arg("plain")
            .env("PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut server = Self { process, lines, port: 0 };
        server.port = server.line().parse().unwrap();
        server
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("nothing came within a minute")
    }

    /// The text of the next mail it takes.
    fn mail(&self) -> String {
        let mail: Value = serde_json::from_str(&self.line()).unwrap();
        mail["content"].as_str().unwrap().to_owned()
    }

    fn url(port: u16) -> String {
        format!("smtp://127.0.0.1:{port}?tls=off")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn failing(to: &str) -> String {
    format!(
        "failing:\n  schedule: '@once'\n  default_args: {{start_date: 2024-01-01, retries: 0}}\n  tasks:\n    \
         fail: {{operator: bash, bash_command: exit 3, email: {to}, email_on_failure: true}}\n"
    )
}

fn id_of(mail: &str) -> &str {
    mail.lines().find(|line| line.starts_with("Message-ID:")).unwrap()
}

/// What the outbox says of its only row, once that is as wished.
async fn delivery(system: &System, is_it: impl Fn(&Value) -> bool) -> Value {
    let rows = |done: &crate::system::Done| serde_json::from_str::<Value>(&done.out).unwrap_or_default();
    let listing = ["deliveries", "list", "-o", "json"];
    let done = system.until(&listing, |done| rows(done).get(0).is_some_and(&is_it)).await;
    rows(&done)[0].clone()
}

#[tokio::test]
async fn mail_that_was_on_its_way_when_the_server_died_is_sent_again_under_the_same_id() {
    let mail_server = MailServer::start(0);
    let mut system = System::new(&[("failing.yaml", &failing("hang@example.com"))]);
    system.set("UPDRAFT__SMTP__URL", MailServer::url(mail_server.port));
    system.start(2);
    let first = mail_server.mail();
    assert!(first.contains("task fail of failing failed"), "{first}");
    // It has the mail, and does not say so.
    system.kill_server();
    system.start(2);
    let second = mail_server.mail();
    assert_eq!(id_of(&first), id_of(&second));
    delivery(&system, |row| row["state"] == "sent").await;
}

#[tokio::test]
async fn mails_of_two_installations_have_two_ids() {
    let mail_server = MailServer::start(0);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let mut system = System::new(&[("failing.yaml", &failing("chef@example.com"))]);
        system.set("UPDRAFT__SMTP__URL", MailServer::url(mail_server.port));
        system.start(2);
        let mail = mail_server.mail();
        // What is before it differs by chance.
        ids.insert(id_of(&mail).split('.').nth(2).unwrap().to_owned());
    }
    assert_eq!(ids.len(), 2, "{ids:?}");
}

#[tokio::test]
async fn that_mail_was_sent_is_written_once_the_database_takes_it_and_the_mail_is_sent_once() {
    let mail_server = MailServer::start(0);
    let mut system = System::new(&[]);
    system.set("UPDRAFT__SMTP__URL", MailServer::url(mail_server.port));
    system.start(2);
    system.until(&["health"], |done| done.code == 0).await;
    system.sql(
        "CREATE TRIGGER gone BEFORE UPDATE ON delivery WHEN NEW.state = 'sent' \
         BEGIN SELECT RAISE(ABORT, 'the database is gone'); END",
    );
    std::fs::write(system.home().join("dags/failing.yaml"), failing("chef@example.com")).unwrap();
    mail_server.mail();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !system.said().contains("the database is gone") {
        tick.tick().await;
    }
    system.sql("DROP TRIGGER gone");
    let row = delivery(&system, |row| row["state"] == "sent").await;
    assert_eq!(row["attempts"], 1);
    assert!(mail_server.lines.try_recv().is_err(), "the mail came twice");
}

#[tokio::test]
async fn mail_waits_for_its_server_also_where_ours_dies_meanwhile() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut system = System::new(&[("failing.yaml", &failing("chef@example.com"))]);
    system.set("UPDRAFT__SMTP__URL", MailServer::url(port));
    system.start(2);
    let row = delivery(&system, |row| row["attempts"].as_u64() > Some(0) && row["state"] == "pending").await;
    assert!(row["last_error"].as_str().unwrap().contains("refused"), "{row}");
    system.kill_server();
    let mail_server = MailServer::start(port);
    system.start(2);
    let mail = mail_server.mail();
    assert!(mail.contains("exit_code: 3"), "{mail}");
    delivery(&system, |row| row["state"] == "sent").await;
}

#[tokio::test]
async fn without_a_mail_server_it_is_said_what_to_set_and_nothing_is_lost() {
    let mail_server = MailServer::start(0);
    let mut system = System::new(&[("failing.yaml", &failing("chef@example.com"))]);
    system.start(2);
    let row = delivery(&system, |row| row["state"] == "undeliverable").await;
    assert!(row["last_error"].as_str().unwrap().contains("UPDRAFT__SMTP__URL"), "{row}");
    system.kill_server();
    system.set("UPDRAFT__SMTP__URL", MailServer::url(mail_server.port));
    system.start(2);
    let id = row["id"].to_string();
    system.until(&["deliveries", "resend", &id], |done| done.code == 0).await;
    assert!(mail_server.mail().contains("failing"));
}

/// Answers each request, with 404 until told otherwise.
fn web_server() -> (u16, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let mut status = "404 Not Found";
        for mut stream in listener.incoming().map_while(Result::ok) {
            if is_ready.try_recv().is_ok() {
                status = "200 OK";
            }
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, ready)
}

#[tokio::test]
async fn sensors_wait_and_then_a_task_sends_mail() {
    let (mail_server, (web, ready)) = (MailServer::start(0), web_server());
    let mut system = System::new(&[]);
    let file = system.shared().join("ready.csv");
    let dag = format!(
        "waiting:\n  schedule: '@once'\n  default_args: {{start_date: 2024-01-01, retries: 0, poke_interval: 0.2}}\n  tasks:\n    \
         file: {{operator: FileSensor, filepath: {}}}\n    \
         page: {{operator: HttpSensor, endpoint: report}}\n    \
         tell: {{operator: EmailOperator, to: boss@example.com, subject: 'all of {{{{ dag.dag_id }}}} is there', \
                html_content: '<p>come and see</p>', dependencies: [file, page]}}\n",
        file.display()
    );
    std::fs::write(system.home().join("dags/waiting.yaml"), dag).unwrap();
    system.set("AIRFLOW_CONN_HTTP_DEFAULT", format!("http://127.0.0.1:{web}"));
    system.set(
        "AIRFLOW_CONN_SMTP_DEFAULT",
        format!(
            "smtp://127.0.0.1:{}/?disable_ssl=true&disable_tls=true&from_email=us%40example.com",
            mail_server.port
        ),
    );
    system.start(1);
    let deferred = ["runs", "list", "waiting", "-o", "json"];
    system.until(&deferred, |done| done.out.contains("running")).await;
    std::fs::write(&file, "a,b\n").unwrap();
    ready.send(()).unwrap();
    let mail = mail_server.mail();
    assert!(mail.contains("Subject: all of waiting is there") && mail.contains("come and see"), "{mail}");
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    assert_eq!(runs[0].state, updraft_core::RunState::Success, "{}", system.said());
}

#[tokio::test]
async fn whom_the_mail_server_refused_is_told_where_the_others_have_the_mail() {
    let mail_server = MailServer::start(0);
    let dag = failing(
        "null, alerts: [{on: failure, email: [chef@example.com, nobody@example.com], bcc: hidden@example.com}]",
    );
    let mut system = System::new(&[("failing.yaml", &dag)]);
    system.set("UPDRAFT__SMTP__URL", MailServer::url(mail_server.port));
    system.start(2);
    let row = delivery(&system, |row| row["state"] == "sent").await;
    assert!(
        row["last_error"].as_str().unwrap().contains("nobody@example.com (permanent error (550)"),
        "{row}"
    );
    let mail: Value = serde_json::from_str(&mail_server.line()).unwrap();
    assert_eq!(mail["to"], json!(["chef@example.com", "hidden@example.com"]));
    let mail = mail["content"].as_str().unwrap();
    assert!(mail.contains("task fail of failing failed") && !mail.contains("hidden@"), "{mail}");
    let test = system.run(&["alerts", "test", "failing", "--task", "fail"]);
    assert!(test.code == 1 && test.err.contains("1 of 1 did not go out, or not to all"), "{test:?}");
    assert!(test.out.contains("nobody@example.com"), "{test:?}");
}

#[tokio::test]
async fn whom_the_mail_server_puts_off_has_the_mail_later_and_nobody_has_it_twice() {
    let mail_server = MailServer::start(0);
    let dag = failing("[chef@example.com, nobody@example.com, grey@example.com]");
    let mut system = System::new(&[("failing.yaml", &dag)]);
    system.set("UPDRAFT__SMTP__URL", MailServer::url(mail_server.port));
    system.start(2);
    let row = delivery(&system, |row| !row["last_error"].is_null()).await;
    assert_eq!((&row["state"], &row["taken_by"]), (&"pending".into(), &json!(["chef@example.com"])), "{row}");
    let taken_for = || serde_json::from_str::<Value>(&mail_server.line()).unwrap()["to"].clone();
    assert_eq!(taken_for(), json!(["chef@example.com"]));
    // Who it is put off for is known to a server that knows of it from the database alone.
    system.kill_server();
    // Half a minute has passed.
    system.sql("UPDATE delivery SET next_at = changed_at");
    system.start(2);
    let row = delivery(&system, |row| row["state"] == "sent").await;
    assert_eq!(taken_for(), json!(["grey@example.com"]));
    let error = row["last_error"].as_str().unwrap();
    assert!(error.contains("nobody@example.com") && !error.contains("grey@"), "{row}");
    // It can be sent to the one who has it not, alone.
    assert_eq!(row["taken_by"], json!(["chef@example.com", "grey@example.com"]));
    let resent = system.run(&["deliveries", "resend", &row["id"].to_string()]);
    assert_eq!(resent.code, 0, "{resent:?}");
    let row = delivery(&system, |row| row["attempts"] == 3 && row["state"] == "sent").await;
    assert!(row["last_error"].as_str().unwrap().contains("nobody@example.com"), "{row}");
    assert_eq!(row["taken_by"], json!(["chef@example.com", "grey@example.com"]));
}
