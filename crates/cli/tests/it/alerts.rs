//! Alerts by HTTP, with a web server that takes them, refuses them, or is slow when ours dies.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

use crate::system::{Done, System};

/// What a request came with.
#[derive(Debug)]
struct Asked {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// A web server that answers with these, one after the other, and with the last one from then on. `silence`
/// is no answer.
struct Web {
    port: u16,
    asked: mpsc::Receiver<Asked>,
}

impl Web {
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = mpsc::channel();
        std::thread::spawn(move || {
            let mut answers = answers.iter().copied();
            let mut answer = answers.next().unwrap();
            // Who gets no answer would else see the connection go.
            let mut kept = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&mut stream) else { continue };
                if sender.send(request).is_err() {
                    return;
                }
                if answer == "silence" {
                    kept.push(stream);
                } else {
                    let _ =
                        write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                }
                answer = answers.next().unwrap_or(answer);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Asked {
        self.asked.recv_timeout(Duration::from_secs(60)).expect("nothing came within a minute")
    }
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line: lines.remove(0), headers, body: serde_json::from_slice(&body).ok()? })
}

/// A DAG whose task fails, with these alerts.
fn failing(alerts: &str) -> String {
    format!(
        "failing:\n  schedule: '@once'\n  default_args: {{start_date: 2024-01-01, retries: 0}}\n  tasks:\n    \
         fail: {{operator: bash, bash_command: exit 3, alerts: [{alerts}]}}\n"
    )
}

/// The rows of the outbox, once they are as wished.
async fn deliveries(system: &System, are_they: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let rows = |done: &Done| serde_json::from_str::<Vec<Value>>(&done.out).unwrap_or_default();
    let done = system.until(&["deliveries", "list", "-o", "json"], |done| are_they(&rows(done))).await;
    rows(&done)
}

fn are(state: &'static str, count: usize) -> impl Fn(&[Value]) -> bool {
    move |rows| rows.len() == count && rows.iter().all(|row| row["state"] == state)
}

#[tokio::test]
async fn one_failure_goes_to_a_webhook_a_chat_and_a_telephone() {
    let web = Web::start(&["200 OK"]);
    let port = web.port;
    let alerts = format!(
        "{{on: failure, webhook: 'http://127.0.0.1:{port}/hook'}}, \
         {{on: failure, slack: chat, text: '{{{{ ti.task_id }}}} says {{{{ exit_code }}}}, see {{{{ url }}}}'}}, \
         {{on: failure, sms: '+49 30 1', text: '{{{{ var.value.token }}}}'}}"
    );
    let mut system = System::new(&[("failing.yaml", &failing(&alerts))]);
    system.set(
        "AIRFLOW_CONN_CHAT",
        format!("{{\"conn_type\": \"slackwebhook\", \"host\": \"http://127.0.0.1:{port}/services\", \"password\": \"T0/s3cret\"}}"),
    );
    system.set(
        "AIRFLOW_CONN_SMS_DEFAULT",
        format!("{{\"conn_type\": \"sms\", \"host\": \"http://127.0.0.1:{port}/sms\"}}"),
    );
    system.set("AIRFLOW_VAR_TOKEN", "very secret");
    system.start(2);
    let mut asked: Vec<Asked> = (0..3).map(|_| web.asked()).collect();
    asked.sort_by(|a, b| a.line.cmp(&b.line));
    let [hook, chat, sms] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(hook.line, "POST /hook HTTP/1.1");
    assert_eq!((&hook.body["on"], &hook.body["about"]["exit_code"]), (&"failure".into(), &3.into()));
    assert_eq!(hook.body["id"], *hook.headers["idempotency-key"]);
    assert!(hook.body["url"].as_str().unwrap().contains("/dags/failing/runs/"), "{hook:?}");
    assert_eq!(chat.line, "POST /services/T0/s3cret HTTP/1.1");
    let text = chat.body["text"].as_str().unwrap();
    assert!(text.starts_with("fail says 3, see http://127.0.0.1:"), "{text}");
    assert_eq!((sms.line.as_str(), &sms.body["to"]), ("POST /sms HTTP/1.1", &"+49 30 1".into()));
    // A template that can't be had still tells somebody, and nothing that is secret.
    let text = sms.body["text"].as_str().unwrap();
    assert!(text.starts_with("[Updraft] task fail of failing failed"), "{text}");
    assert!(text.contains("an alert can't show variables") && !text.contains("very secret"), "{text}");
    deliveries(&system, are("sent", 3)).await;
    assert!(!system.said().contains("s3cret"), "{}", system.said());
}

#[tokio::test]
async fn an_alert_in_doubt_comes_again_under_its_key_or_is_held_where_it_says_so() {
    let web = Web::start(&["silence", "silence", "200 OK"]);
    let hook = |path: &str, more: &str| {
        format!("{{on: failure, webhook: 'http://127.0.0.1:{}/{path}'{more}}}", web.port)
    };
    let alerts = format!("{}, {}", hook("resend", ""), hook("hold", ", on_doubt: hold"));
    let mut system = System::new(&[("failing.yaml", &failing(&alerts))]);
    system.start(2);
    let mut first = [web.asked(), web.asked()];
    first.sort_by(|a, b| a.line.cmp(&b.line));
    // Both have what they need, and do not say so.
    system.kill_server();
    system.start(2);
    let again = web.asked();
    let key = |asked: &Asked| asked.headers["idempotency-key"].clone();
    assert_eq!((&*again.line, key(&again)), ("POST /resend HTTP/1.1", key(&first[1])));
    let rows = deliveries(&system, |rows| rows.iter().any(|row| row["state"] == "sent")).await;
    let held = rows.iter().find(|row| row["state"] == "held").unwrap_or_else(|| panic!("{rows:?}"));
    assert!(held["last_error"].as_str().unwrap().contains("nobody knows whether it arrived"), "{held}");
    assert_eq!(held["on_doubt"], "hold");
    assert!(web.asked.try_recv().is_err(), "what is held was sent");
    let id = held["id"].to_string();
    system.run(&["deliveries", "drop", &id]).good();
    let dropped = deliveries(&system, |rows| rows.iter().any(|row| row["state"] == "failed")).await;
    assert!(dropped.iter().any(|row| row["last_error"] == "dropped by admin"), "{dropped:?}");
    let again = system.run(&["deliveries", "drop", &id]);
    assert!(again.code == 1 && again.err.contains("only what waits or is held can be dropped"), "{again:?}");
    // Who thinks better of it sends it all the same.
    system.run(&["deliveries", "resend", &id]).good();
    let released = web.asked();
    assert_eq!((&*released.line, key(&released)), ("POST /hold HTTP/1.1", key(&first[0])));
    deliveries(&system, are("sent", 2)).await;
}

#[tokio::test]
async fn a_run_that_is_late_and_ticks_that_were_passed_over_are_told() {
    let web = Web::start(&["200 OK"]);
    let dag = format!(
        "late:\n  schedule: '* * * * * *'\n  start_date: 2024-01-01\n  max_active_runs: 1\n  alerts:\n    \
         - {{on: deadline, after: 1, webhook: 'http://127.0.0.1:{0}/deadline'}}\n    \
         - {{on: missed, webhook: 'http://127.0.0.1:{0}/missed'}}\n  tasks:\n    \
         slow: {{operator: bash, bash_command: sleep 3}}\n",
        web.port
    );
    let mut system = System::new(&[("late.yaml", &dag)]);
    system.start(2);
    let next = |path: &str| loop {
        let asked = web.asked();
        if asked.line == format!("POST /{path} HTTP/1.1") {
            return asked;
        }
    };
    let late = next("deadline");
    assert_eq!((&late.body["on"], &late.body["about"]["state"]), (&"deadline".into(), &"running".into()));
    // One run at a time, which takes three seconds: the ticks of two are passed over.
    let missed = next("missed");
    assert!(missed.body["about"]["ticks"].as_u64().unwrap() >= 1, "{missed:?}");
    assert_eq!(missed.body["about"]["run_id"], Value::Null);
    assert!(missed.body["url"].as_str().unwrap().ends_with("/dags/late"), "{missed:?}");
    let rows = deliveries(&system, |rows| rows.iter().any(|row| row["on"] == "missed")).await;
    assert!(rows.iter().all(|row| row["dag_id"] == "late"), "{rows:?}");
}

#[tokio::test]
async fn a_webhook_that_refuses_for_good_is_not_asked_again() {
    let web = Web::start(&["410 Gone"]);
    let alerts = format!(
        "{{on: failure, webhook: 'http://127.0.0.1:{}/hook'}}, {{on: failure, slack: nowhere}}",
        web.port
    );
    let mut system = System::new(&[("failing.yaml", &failing(&alerts))]);
    system.start(2);
    web.asked();
    let over = |state: &Value| state == "failed" || state == "undeliverable";
    let rows =
        deliveries(&system, |rows| rows.len() == 2 && rows.iter().all(|row| over(&row["state"]))).await;
    let error = |state: &str| {
        rows.iter()
            .find(|row| row["state"] == state)
            .map(|row| row["last_error"].as_str().unwrap().to_owned())
    };
    assert!(error("failed").unwrap().contains("410:Gone"), "{rows:?}");
    assert!(error("undeliverable").unwrap().contains("there is no connection `nowhere`"), "{rows:?}");
}

#[tokio::test]
async fn many_failures_come_as_a_few_messages_and_one_digest_also_when_the_server_dies() {
    let web = Web::start(&["200 OK", "200 OK", "silence", "200 OK"]);
    let mut dag =
        "many:\n  schedule: '@once'\n  default_args: {start_date: 2024-01-01, retries: 0}\n  tasks:\n"
            .to_owned();
    for number in 0..30 {
        dag += &format!(
            "    t{number}: {{operator: bash, bash_command: exit 3, alerts: [{{on: failure, slack: chat}}]}}\n"
        );
    }
    let mut system = System::new(&[("many.yaml", &dag)]);
    let chat = format!(
        "{{\"conn_type\": \"slackwebhook\", \"host\": \"http://127.0.0.1:{}/chat\", \"password\": \"T0\"}}",
        web.port
    );
    system.set("AIRFLOW_CONN_CHAT", chat);
    system.set("UPDRAFT__ALERTS__SINGLY", "2");
    system.set("UPDRAFT__ALERTS__DIGEST", "8s");
    system.set("UPDRAFT__SERVER__BASE_URL", "https://updraft.example.com/");
    system.start(16);
    let text = |asked: &Asked| asked.body["text"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let single = text(&web.asked());
        assert!(single.starts_with("[Updraft] task t"), "{single}");
        assert!(single.contains("\nhttps://updraft.example.com/dags/many/runs/"), "{single}");
    }
    let rows = |rows: &[Value]| rows.len() == 30;
    deliveries(&system, rows).await;
    let digest = web.asked();
    assert!(text(&digest).starts_with("28 alerts within a short time"), "{digest:?}");
    assert_eq!(text(&digest).matches(" of many failed").count(), 28, "{digest:?}");
    // It was taken, and the server does not know.
    system.kill_server();
    system.start(16);
    let again = web.asked();
    let key = |asked: &Asked| asked.headers["idempotency-key"].clone();
    assert_eq!((key(&again), text(&again)), (key(&digest), text(&digest)));
    let rows = deliveries(&system, are("sent", 30)).await;
    assert_eq!(rows.iter().filter(|row| !row["digest"].is_null()).count(), 28);
}

#[tokio::test]
async fn a_test_says_by_which_ways_alerts_come() {
    let web = Web::start(&["200 OK"]);
    let hook = format!("{{on: failure, webhook: 'http://luffy:pw@127.0.0.1:{}/hook/s3cret'}}", web.port);
    let dag =
        failing(&format!("{hook}, {{on: failure, email: luffy@example.com}}")).replace("@once", "@never");
    let dag = dag.replace("schedule: '@never'", "schedule: null");
    let mut system = System::new(&[("failing.yaml", &dag), ("quiet.yaml", &dag_without_alerts())]);
    system.start(2);
    let done = system.until(&["alerts", "test", "failing", "-o", "json"], |done| !done.out.is_empty()).await;
    let asked = web.asked();
    assert_eq!(
        (&asked.body["about"]["test"], &asked.body["about"]["dag_id"]),
        (&true.into(), &"failing".into())
    );
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("1 of 2 did not go out"), "{done:?}");
    let rows: Vec<Value> = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&rows[0]["state"], &rows[1]["state"]), (&"sent".into(), &"undeliverable".into()), "{rows:?}");
    let port = web.port;
    assert_eq!(rows[0]["channel"]["webhook"]["url"], format!("http://127.0.0.1:{port}/***"));
    assert!(rows[1]["last_error"].as_str().unwrap().contains("UPDRAFT__SMTP__URL"), "{rows:?}");
    let none = system.run(&["alerts", "test", "quiet"]);
    assert_eq!((none.code, none.err.contains("quiet has no alerts")), (3, true), "{none:?}");
}

fn dag_without_alerts() -> String {
    "quiet:\n  schedule: null\n  default_args: {start_date: 2024-01-01}\n  tasks:\n    a: {operator: empty}\n"
        .into()
}
