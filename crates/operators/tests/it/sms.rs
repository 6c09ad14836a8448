//! `SmsOperator` against a server.

use serde_json::{Value, json};
use updraft_core::{input::AttemptEnd, protocol::Connection};
use updraft_operators::prepare;

use crate::{
    server::{Asked, Server},
    world::{Ended, World, order, run_native, with_run},
};

fn world(address: &str, extra: Value) -> World {
    let connection = Connection {
        conn_id: "sms_default".into(),
        conn_type: "sms".into(),
        host: Some(format!("http://{address}/v1")),
        login: Some("acme".into()),
        password: Some("s3cret".into()),
        extra: extra.as_object().unwrap().clone(),
        ..Connection::default()
    };
    World { connections: [("sms_default".to_owned(), connection)].into(), ..World::default() }
}

fn arguments(to: Value) -> Value {
    json!({"to": to, "text": "{{ dag.dag_id }} of {{ ds }}: \"done\" & {{ '{{ to }}' }}"})
}

const TEXT: &str = "reports of 2026-01-31: \"done\" & {{ to }}";

fn send(world: &World, to: Value) -> Ended {
    run_native(prepare(&order("SmsOperator", arguments(to)), world).unwrap())
}

fn asked_with(extra: Value) -> Asked {
    let server = Server::start(&["200 OK"]);
    let ended = send(&world(&server.address, extra), json!("+49 170 1"));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    server.asked().remove(0)
}

#[test]
fn each_gets_the_message_once_under_an_id_of_its_own() {
    let server = Server::start(&["202 Accepted"]);
    let world = world(&server.address, json!({"endpoint": "send"}));
    for _ in 0..2 {
        let ended = send(&world, json!(["+491701, +491702", "+491701"]));
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
        assert_eq!(ended.log, ["sent to +491701", "sent to +491702"]);
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0].line, "POST /v1/send HTTP/1.1");
    assert_eq!(asked[0].headers["authorization"], "Basic YWNtZTpzM2NyZXQ=");
    assert_eq!(asked[0].headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert_eq!(body, json!({"to": "+491702", "text": TEXT}));
    let id = |place: usize| &*asked[place].headers["idempotency-key"];
    assert_eq!(id(0), "1.0.-1.0.1769839201250000.+491701");
    assert_eq!((id(0), id(1)), (id(2), id(3)), "tries send under the same ids");
    assert_ne!(id(0), id(1));
}

#[test]
fn a_gateway_is_asked_as_its_connection_says() {
    let form = asked_with(json!({
        "headers": {"Content-Type": "application/x-www-form-urlencoded", "X-Key": "{{ password }}"},
        "body": {"to": "{{ to }}", "text": "{{ text }}", "user": "{{ login }}"},
        "idempotency_header": "X-Message",
    }));
    assert_eq!(
        form.body,
        "to=%2B49+170+1&text=reports+of+2026-01-31%3A+%22done%22+%26+%7B%7B+to+%7D%7D&user=acme"
    );
    assert_eq!(form.headers["x-key"], "s3cret");
    assert!(form.headers["x-message"].ends_with(".+49%20170%201"));
    assert!(!form.headers.contains_key("idempotency-key"));
    let query = asked_with(json!({
        "method": "get",
        "endpoint": "send/{{ to | urlencode }}",
        "params": {"text": "{{ text }}", "id": "{{ message_id }}"},
        "idempotency_header": "",
    }));
    assert!(
        query.line.starts_with("GET /v1/send/%2B49%20170%201?text=reports+of+2026-01-31"),
        "{}",
        query.line
    );
    assert!(query.line.contains("&id=1.0.-1.") && query.body.is_empty(), "{}", query.line);
    let text = asked_with(json!({"body": "{\"message\": {{ text | tojson }}}"}));
    assert!(text.body.starts_with("{\"message\": \"reports of 2026-01-31"), "{}", text.body);
}

#[test]
fn what_a_gateway_is_told_is_text_whatever_the_dags_options_say() {
    let server = Server::start(&["200 OK"]);
    let order = with_run(order("SmsOperator", json!({"to": "+49 170 1", "text": "done"})), |run| {
        run.template.insert("render_template_as_native_obj".into(), json!(true));
    });
    let extra =
        json!({"body": {"to": "{{ to | replace('+', '00') | replace(' ', '') }}", "code": "{{ to[1:3] }}"}});
    run_native(prepare(&order, &world(&server.address, extra)).unwrap());
    assert_eq!(server.asked()[0].body, r#"{"to":"00491701","code":"49"}"#);
}

#[test]
fn who_got_none_is_told_and_the_others_get_theirs() {
    let server = Server::start(&["200 OK", "400 Bad Request|no such number", "200 OK"]);
    let world = world(&server.address, json!({}));
    let ended = send(&world, json!("+1,+2,+3"));
    assert_eq!(
        ended.failure(),
        "1 of 3 messages were not sent; the first, to +2: the gateway of the connection `sms_default` gave \
         400:Bad Request: no such number"
    );
    assert_eq!((server.asked().len(), &*ended.log[2]), (3, "sent to +3"));
    let lying = Server::start(&["200 OK|{\"status\": \"rejected\"}"]);
    let checked = self::world(&lying.address, json!({"response_check": "response.json.status == 'queued'"}));
    let ended = send(&checked, json!("+1"));
    assert!(ended.failure().ends_with("gave 200:OK: {\"status\": \"rejected\"}"), "{}", ended.failure());
    let moved = Server::start(&["302 Found\r\nLocation: /login", "200 OK"]);
    assert!(send(&self::world(&moved.address, json!({})), json!("+1")).failure().contains("302:Found"));
}

#[test]
fn an_answer_that_does_not_come_is_given_up() {
    let server = Server::start(&["silence"]);
    let ended = send(&world(&server.address, json!({"timeout": 0.1})), json!("+1"));
    assert!(ended.failure().contains("no answer within 100ms"), "{}", ended.failure());
    assert!(!ended.failure().contains(&server.address), "{}", ended.failure());
}

#[test]
fn to_cancel_it_is_to_drop_it() {
    let server = Server::start(&["silence"]);
    let order = order("SmsOperator", arguments(json!(["+1", "+2"])));
    server.is_left_when_dropped(prepare(&order, &world(&server.address, json!({}))).unwrap());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn what_can_t_be_sent_is_refused_with_the_mend() {
    let refused = |world: &World, to| prepare(&order("sms", arguments(to)), world).unwrap_err().to_string();
    assert!(refused(&World::default(), json!("+1")).contains("there is no connection `sms_default`"));
    assert!(refused(&world("x", json!({})), json!(" , ")).contains("names nobody"));
    let many: Vec<_> = (0..1001).map(|number| format!("+{number}")).collect();
    assert!(refused(&world("x", json!({})), json!(many)).contains("map the task over them"));
    for (extra, mend) in [
        (json!({"header": {}}), "has `header` among its extra fields; they are endpoint, method, headers"),
        (json!({"timeout": "soon"}), "has `timeout`, which must be a duration"),
        (json!({"method": "GE T"}), "has the method \"GE T\""),
        (json!({"response_check": "gateway.check"}), "Python callable"),
        (json!({"headers": {"a": "b\nc"}}), "`headers` can't have the value of `a`"),
        (json!({"idempotency_header": "a b"}), "`idempotency_header` is no name"),
        (json!({"body": "{{ txt }}"}), "template of `sms_default.body`, line 1: 'txt' is undefined"),
    ] {
        let error = refused(&world("x", extra), json!("+1"));
        assert!(error.contains(mend), "{error}");
    }
    let mut nowhere = world("x", json!({}));
    nowhere.connections.get_mut("sms_default").unwrap().host = None;
    assert!(refused(&nowhere, json!("+1")).contains("names no host"));
}
