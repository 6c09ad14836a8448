//! Alerts by HTTP against a server.

use jiff::SignedDuration;
use serde_json::{Value, json};
use updraft_core::{
    AlertChannel, AlertOn, AlertWords, DagKey, DeliveryId, OnDoubt, RunKey, protocol::Connection,
    record::DeliveryRow,
};
use updraft_operators::alert::{NotSent, Sender, Way, Words};

use crate::server::Server;

const KEY: &str = "delivery-7.0.abc";
const URL: &str = "http://here/dags/etl/runs/r";

fn row() -> DeliveryRow {
    DeliveryRow {
        id: DeliveryId(7),
        dag: DagKey::new("default", "etl"),
        run: Some(RunKey(1)),
        ti: None,
        on: AlertOn::Failure,
        channel: AlertChannel::Slack { conn_id: "chat".into(), channel: None },
        words: AlertWords::default(),
        on_doubt: OnDoubt::Resend,
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        context: json!({"dag_id": "etl", "run_id": "r", "reason": "it failed"}),
    }
}

fn send(way: Way<'_>) -> Result<(), NotSent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let words = Words { subject: "etl failed".into(), text: "it failed, see there".into(), html: false };
    runtime.block_on(Sender::default().send(way, &row(), &words, URL, KEY))
}

fn connection(conn_id: &str, host: String, password: Option<&str>, extra: Value) -> Connection {
    Connection {
        conn_id: conn_id.into(),
        host: Some(host),
        password: password.map(Into::into),
        extra: extra.as_object().cloned().unwrap_or_default(),
        ..Connection::default()
    }
}

#[test]
fn a_webhook_gets_what_happened_as_json_under_a_stable_key() {
    let server = Server::start(&["204 No Content"]);
    let url = format!("http://{}/hook?token=x", server.address);
    send(Way::Url(&url)).unwrap();
    send(Way::Url(&url)).unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /hook?token=x HTTP/1.1");
    for asked in &asked {
        assert_eq!(asked.headers["idempotency-key"], KEY);
        assert_eq!(asked.headers["content-type"], "application/json");
    }
    let expected = json!({
        "id": KEY, "on": "failure", "at": "2026-01-02T03:04:05Z", "namespace": "default", "dag_id": "etl",
        "subject": "etl failed", "text": "it failed, see there", "url": URL,
        "about": {"dag_id": "etl", "run_id": "r", "reason": "it failed"},
    });
    assert_eq!(serde_json::from_str::<Value>(&asked[0].body).unwrap(), expected);
}

#[test]
fn a_webhook_by_connection_has_its_account_and_headers() {
    let server = Server::start(&["200 OK|thanks"]);
    let mut to = connection(
        "pager",
        format!("{}/v1/events", server.address),
        Some("s3cret"),
        json!({"X-Team": "data"}),
    );
    to.login = Some("updraft".into());
    send(Way::Webhook(&to)).unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "POST /v1/events HTTP/1.1");
    assert_eq!(asked.headers["x-team"], "data");
    assert!(asked.headers["authorization"].starts_with("Basic "));
}

#[test]
fn slacks_api_is_told_the_channel_and_says_in_its_answer_whether_it_took_it() {
    let server =
        Server::start(&["200 OK|{\"ok\": true}", "200 OK|{\"ok\": false, \"error\": \"channel_not_found\"}"]);
    let base = json!({"base_url": format!("http://{}/api/", server.address)});
    let api = Connection {
        conn_type: "slack".into(),
        ..connection("app", String::new(), Some("xoxb-s3cret"), base)
    };
    send(Way::Slack(&api, Some("#ops"))).unwrap();
    let NotSent::Permanent(refused) = send(Way::Slack(&api, Some("#ops"))).unwrap_err() else {
        panic!("a channel that is not there is not there the next time")
    };
    assert!(refused.contains("channel_not_found") && !refused.contains("s3cret"), "{refused}");
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "POST /api/chat.postMessage HTTP/1.1");
    assert_eq!(asked.headers["authorization"], "Bearer xoxb-s3cret");
    let expected = json!({"channel": "#ops", "text": "it failed, see there"});
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), expected);
    let mend = send(Way::Slack(&api, None)).unwrap_err();
    assert!(matches!(&mend, NotSent::Permanent(why) if why.contains("write `channel`")), "{mend:?}");
}

#[test]
fn slacks_api_may_repeat_a_long_message_and_have_troubles_that_pass() {
    let long = format!("200 OK|{{\"ok\": true, \"message\": {{\"text\": \"{}\"}}}}", "x".repeat(100_000));
    let server = Server::start(&[&long, "200 OK|{\"ok\": false, \"error\": \"service_unavailable\"}"]);
    let base = json!({"extra__slack__base_url": format!("http://{}/api/", server.address)});
    let api = connection("app", String::new(), Some("xoxb-s3cret"), base);
    send(Way::Slack(&api, Some("#ops"))).unwrap();
    let busy = send(Way::Slack(&api, Some("#ops"))).unwrap_err();
    assert!(matches!(busy, NotSent::Temporary { .. }), "{busy:?}");
}

#[test]
fn an_answer_that_repeats_the_address_shows_no_token_of_it() {
    let server =
        Server::start(&["404 Not Found|Cannot POST /hook/t0ken?sig=s1gn of http://x/hook/t0ken or sig=s1gn"]);
    let chat = connection("chat", format!("http://{}/hook", server.address), Some(" t0ken "), Value::Null);
    let url = format!("http://{}/hook/t0ken?sig=s1gn", server.address);
    for way in [Way::Url(&url), Way::Slack(&chat, None)] {
        let error = send(way).unwrap_err().to_string();
        assert!(error.contains("Cannot POST ***") && !error.contains("t0ken"), "{error}");
    }
    assert!(!send(Way::Url(&url)).unwrap_err().to_string().contains("s1gn"));
}

#[test]
fn a_chat_gets_the_text() {
    let server = Server::start(&["200 OK|ok"]);
    let chat =
        connection("chat", format!("http://{}/services", server.address), Some("T0/B0/s3cret"), Value::Null);
    send(Way::Slack(&chat, None)).unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "POST /services/T0/B0/s3cret HTTP/1.1");
    assert_eq!(asked.headers["idempotency-key"], KEY);
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), json!({"text": "it failed, see there"}));
}

#[test]
fn a_short_message_goes_as_the_gateways_connection_describes() {
    let server = Server::start(&["200 OK|{\"status\": \"queued\"}", "200 OK|{\"status\": \"no credit\"}"]);
    let host = format!("http://{}", server.address);
    let extra = json!({
        "endpoint": "send", "body": {"dest": "{{ to }}", "msg": "{{ text }}", "key": "{{ password }}"},
        "response_check": "response.json.status == 'queued'",
    });
    let gateway = connection("sms_default", host, Some("s3cret"), extra);
    send(Way::Sms("+49 30 1", &gateway)).unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(
        (asked.line.as_str(), asked.headers["idempotency-key"].as_str()),
        ("POST /send HTTP/1.1", KEY)
    );
    let body = json!({"dest": "+49 30 1", "msg": "it failed, see there", "key": "s3cret"});
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), body);
    let NotSent::Temporary { why, .. } = send(Way::Sms("+49 30 1", &gateway)).unwrap_err() else {
        panic!("the gateway has not taken it")
    };
    assert!(why.contains("no credit"), "{why}");
}

#[test]
fn what_a_server_finds_wrong_is_final_and_what_it_can_not_now_is_tried_again() {
    let server = Server::start(&[
        "404 Not Found|no such hook",
        "302 Found\r\nLocation: http://elsewhere/",
        "503 Service Unavailable|later",
        "429 Too Many Requests\r\nRetry-After: 90|slow down",
        "500 Internal Server Error|s3cret is wrong",
    ]);
    let to = connection("pager", server.address.clone(), Some("s3cret"), Value::Null);
    for status in ["404", "302"] {
        let NotSent::Permanent(why) = send(Way::Webhook(&to)).unwrap_err() else {
            panic!("{status} is final")
        };
        assert!(
            why.starts_with("the webhook of the connection `pager` gave") && why.contains(status),
            "{why}"
        );
    }
    let mut waits = Vec::new();
    for status in ["503", "429", "500"] {
        let NotSent::Temporary { why, after } = send(Way::Webhook(&to)).unwrap_err() else {
            panic!("{status} passes")
        };
        assert!(why.contains(status) && !why.contains("s3cret"), "{why}");
        waits.push(after);
    }
    assert_eq!(waits, [None, Some(SignedDuration::from_secs(90)), None]);
}

#[test]
fn who_breaks_off_may_have_taken_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Read::read(&mut stream, &mut [0; 64]).unwrap();
    });
    let error = send(Way::Url(&url)).unwrap_err();
    server.join().unwrap();
    assert!(matches!(error, NotSent::Doubt(_)), "{error:?}");
}

#[test]
fn a_server_that_is_not_there_may_come_back_and_its_address_shows_no_token() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = send(Way::Url(&format!("http://{closed}/hook/t0ken"))).unwrap_err();
    assert!(matches!(error, NotSent::Temporary { .. }), "{error:?}");
    assert!(error.to_string().contains("refused") && !error.to_string().contains("t0ken"), "{error}");
}
