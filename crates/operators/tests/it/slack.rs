//! `SlackWebhookOperator` and `SlackAPIPostOperator` against a server.

use serde_json::{Value, json};
use updraft_core::{input::AttemptEnd, protocol::Connection};
use updraft_operators::{catalog, prepare};

use crate::{
    server::Server,
    world::{Ended, World, order, run_native},
};

const TOKEN: &str = "T0/B0/s3cret";

fn world(address: &str) -> World {
    let connection = Connection {
        conn_id: "alerts".into(),
        conn_type: "slackwebhook".into(),
        host: Some(format!("http://{address}/services")),
        password: Some(TOKEN.into()),
        ..Connection::default()
    };
    World { connections: [("alerts".to_owned(), connection)].into(), ..World::default() }
}

fn arguments(more: Value) -> Value {
    let mut args =
        json!({"slack_webhook_conn_id": "alerts", "message": "{{ dag.dag_id }} of {{ ds }}: done"});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

fn post(world: &World, more: Value) -> Ended {
    let ended = run_native(prepare(&order("SlackWebhookOperator", arguments(more)), world).unwrap());
    let message = ended.outcome.message.as_deref().unwrap_or_default();
    for line in ended.log.iter().map(String::as_str).chain([message]) {
        assert!(!line.contains("s3cret") && !line.contains("/services"), "{line}");
    }
    ended
}

#[test]
fn a_message_is_posted_with_all_that_belongs_to_it() {
    let server = Server::start(&["200 OK|ok"]);
    let world = world(&server.address);
    let ended = post(&world, json!({}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert_eq!(ended.log, ["posted to the webhook of the connection `alerts`"]);
    let block = json!({"type": "section", "text": {"type": "mrkdwn", "text": "{{ ds }}"}});
    post(
        &world,
        json!({
            "blocks": [block],
            "attachments": [{"color": "good"}],
            "unfurl_links": false,
            "channel": "#data",
            "username": "{{ dag.dag_id }}",
            "icon_emoji": ":ok:",
        }),
    );
    let asked = server.asked();
    assert_eq!(asked[0].line, format!("POST /services/{TOKEN} HTTP/1.1"));
    assert_eq!(asked[0].headers["content-type"], "application/json");
    let body = |place: usize| serde_json::from_str::<Value>(&asked[place].body).unwrap();
    assert_eq!(body(0), json!({"text": "reports of 2026-01-31: done"}));
    assert_eq!(
        body(1),
        json!({
            "text": "reports of 2026-01-31: done",
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "2026-01-31"}}],
            "attachments": [{"color": "good"}],
            "unfurl_links": false,
            "channel": "#data",
            "username": "reports",
            "icon_emoji": ":ok:",
        })
    );
}

#[test]
fn what_slack_says_against_it_is_told_and_its_address_is_not() {
    let server = Server::start(&[
        "403 Forbidden|invalid_token",
        "302 Found\r\nLocation: /elsewhere",
        "204 No Content",
    ]);
    let world = world(&server.address);
    let ended = post(&world, json!({}));
    assert_eq!(ended.failure(), "the webhook of the connection `alerts` gave 403:Forbidden: invalid_token");
    assert!(post(&world, json!({})).failure().ends_with("gave 302:Found"));
    assert!(post(&world, json!({})).failure().ends_with("gave 204:No Content"));
    assert_eq!(server.asked().len(), 3);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = post(&self::world(&gone.to_string()), json!({}));
    assert!(ended.failure().starts_with("the webhook of the connection `alerts` failed: "));
    assert!(ended.failure().contains("refused"), "{}", ended.failure());
}

#[test]
fn an_answer_that_does_not_come_is_given_up() {
    let server = Server::start(&["silence"]);
    let mut world = world(&server.address);
    assert!(post(&world, json!({"timeout": 0.1})).failure().contains("no answer within 100ms"));
    let held = |hold: bool| {
        let mut order = order("SlackWebhookOperator", arguments(json!({"timeout": 0.1})));
        order.task.hold_doubts = hold;
        run_native(prepare(&order, &world).unwrap()).outcome.end
    };
    assert_eq!((held(true), held(false)), (AttemptEnd::FailedForGood, AttemptEnd::Failed));
    let connection = world.connections.get_mut("alerts").unwrap();
    connection.extra =
        json!({"extra__slackwebhook__timeout": "0.2", "proxy": ""}).as_object().unwrap().clone();
    assert!(post(&world, json!({})).failure().contains("no answer within 200ms"));
}

#[test]
fn to_cancel_it_is_to_drop_it() {
    let server = Server::start(&["silence"]);
    let order = order("SlackWebhookOperator", arguments(json!({})));
    server.is_left_when_dropped(prepare(&order, &world(&server.address)).unwrap());
}

#[test]
fn its_address_is_kept_secret() {
    let mut world = world("hooks.example.org");
    let address = "https://hooks.example.org/services/T0/B0/s3cret";
    world.connections.get_mut("alerts").unwrap().password = Some(format!(" {address} "));
    let args = arguments(json!({"message": "see {{ conn.alerts.password | trim }}"}));
    let prepared = prepare(&order("SlackWebhookOperator", args), &world).unwrap();
    assert_eq!(prepared.rendered["message"], "see ***");
    assert!(
        prepared.secrets.iter().any(|secret| secret == "services/T0/B0/s3cret"),
        "{:?}",
        prepared.secrets
    );
}

#[test]
fn what_can_t_be_posted_is_refused_with_the_mend() {
    for (args, mend) in [
        (json!({"slack_webhook_conn_id": "alerts"}), "needs `message`, `blocks` or `attachments`"),
        (json!({"slack_webhook_conn_id": "alerts", "message": "x", "proxy": "http://x"}), "HTTPS_PROXY"),
        (json!({"slack_webhook_conn_id": "alerts", "message": "x", "retry_handlers": []}), "`retries`"),
        (json!({"message": "x"}), "`slack_webhook_conn_id` is required"),
        (json!({"slack_webhook_conn_id": "alerts", "blocks": "x"}), "must be a list"),
    ] {
        let error = catalog::check("slack_webhook", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
    let refused = |world: &World, more| {
        prepare(&order("SlackWebhookOperator", arguments(more)), world).unwrap_err().to_string()
    };
    assert!(refused(&World::default(), json!({})).contains("there is no connection `alerts`"));
    let mut world = world("x");
    assert!(refused(&world, json!({"message": "{{ '' }}"})).contains("is empty"));
    let mut with = |password: &str, extra: Value| {
        let connection = world.connections.get_mut("alerts").unwrap();
        connection.password = Some(password.into());
        connection.extra = extra.as_object().unwrap().clone();
        refused(&world, json!({}))
    };
    assert!(with("", json!({})).contains("its whole address"));
    assert!(with("xoxb-s3cret", json!({})).contains("incoming webhook"));
    assert!(with(TOKEN, json!({"proxy": "http://x"})).contains("HTTPS_PROXY"));
    assert!(with(TOKEN, json!({"timeout": "soon"})).contains("must be a duration"));
    let error = with("gopher://s3cret", json!({}));
    assert!(!error.contains("s3cret"), "{error}");
}

const API_TOKEN: &str = "xoxb-1-s3cret";

fn api(address: &str) -> World {
    let extra = json!({"base_url": format!("http://{address}/api/")});
    let connection = Connection {
        conn_id: "slack_api_default".into(),
        conn_type: "slack".into(),
        password: Some(API_TOKEN.into()),
        extra: extra.as_object().unwrap().clone(),
        ..Connection::default()
    };
    World { connections: [("slack_api_default".to_owned(), connection)].into(), ..World::default() }
}

fn post_by_api(world: &World, args: Value) -> Ended {
    let ended = run_native(prepare(&order("SlackAPIPostOperator", args), world).unwrap());
    let message = ended.outcome.message.as_deref().unwrap_or_default();
    for line in ended.log.iter().map(String::as_str).chain([message]) {
        assert!(!line.contains("s3cret"), "{line}");
    }
    ended
}

#[test]
fn a_message_is_posted_by_the_api_and_what_slack_answers_is_the_result() {
    let server = Server::start(&[r#"200 OK|{"ok": true, "channel": "C1", "ts": "1.2"}"#]);
    let world = api(&server.address);
    let ended = post_by_api(&world, json!({"text": "{{ dag.dag_id }} of {{ ds }}: done"}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert_eq!(ended.result(), json!({"ok": true, "channel": "C1", "ts": "1.2"}));
    let all = json!({
        "channel": "#{{ dag.dag_id }}", "text": "x", "username": "{{ dag.dag_id }}", "icon_url": "https://a.org/i.png",
        "blocks": [{"type": "divider"}], "attachments": [{"color": "good"}], "thread_ts": "{{ '1.2' }}",
    });
    post_by_api(&world, all.clone());
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /api/chat.postMessage HTTP/1.1");
    assert_eq!(asked[0].headers["authorization"], format!("Bearer {API_TOKEN}"));
    assert_eq!(asked[0].headers["content-type"], "application/json; charset=utf-8");
    let body = |place: usize| serde_json::from_str::<Value>(&asked[place].body).unwrap();
    assert_eq!(body(0), json!({"channel": "#general", "text": "reports of 2026-01-31: done"}));
    let mut expected = all;
    for (name, value) in [("channel", "#reports"), ("username", "reports"), ("thread_ts", "1.2")] {
        expected[name] = json!(value);
    }
    assert_eq!(body(1), expected);
}

#[test]
fn what_the_api_refuses_is_a_failure_whatever_the_status() {
    let server = Server::start(&[
        r#"200 OK|{"ok": false, "error": "channel_not_found"}"#,
        r#"200 OK|{"ok": false, "error": "missing_scope", "needed": "chat:write"}"#,
        r#"200 OK|{"ok": false, "error": "invalid_blocks", "response_metadata": {"messages": ["no type"]}}"#,
        r#"429 Too Many Requests|{"ok": false, "error": "ratelimited"}"#,
        "200 OK|<html>",
    ]);
    let world = api(&server.address);
    for why in [
        "gave 200:OK: channel_not_found: check `channel`, and whether the token's app may see it",
        "gave 200:OK: missing_scope (chat:write): give the token's app the scope that Slack names",
        "gave 200:OK: invalid_blocks; no type",
        "gave 429:Too Many Requests: ratelimited",
        "gave 200:OK, and no answer of Slack's API: check the connection's `base_url`",
    ] {
        let ended = post_by_api(&world, json!({"text": "x"}));
        let expected = format!("Slack's API, asked with the connection `slack_api_default`, {why}");
        assert_eq!(ended.failure(), expected);
        assert_eq!(ended.result(), Value::Null);
    }
    let silent = Server::start(&["silence"]);
    let base_url = format!("http://{}", silent.address);
    let held = |hold: bool| {
        let args = json!({"text": "x", "timeout": 0.1, "base_url": base_url});
        let mut order = order("slack_api_post", args);
        order.task.hold_doubts = hold;
        run_native(prepare(&order, &world).unwrap()).outcome.end
    };
    assert_eq!((held(true), held(false)), (AttemptEnd::FailedForGood, AttemptEnd::Failed));
}

#[test]
fn a_token_is_tried_without_a_message_and_a_webhook_can_t_be() {
    let server = Server::start(&[
        r#"200 OK|{"ok": true, "user": "reports", "team": "Shop"}"#,
        r#"200 OK|{"ok": false, "error": "invalid_auth"}"#,
    ]);
    let world = api(&server.address);
    let order = order("connection_test", json!({"conn_id": "slack_api_default"}));
    let tried = || run_native(prepare(&order, &world).unwrap());
    let ended = tried();
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert!(ended.log[0].contains("logged in to Slack as reports of Shop"), "{:?}", ended.log);
    assert!(tried().failure().contains("check the connection's password, the token"));
    assert_eq!(server.asked()[0].line, "POST /api/auth.test HTTP/1.1");
    let webhook = self::world("127.0.0.1:9");
    let order = self::order("connection_test", json!({"conn_id": "alerts"}));
    let refused = prepare(&order, &webhook).unwrap_err().to_string();
    assert!(refused.contains("without posting something"), "{refused}");
}

#[test]
fn what_can_t_be_posted_by_the_api_is_refused_with_the_mend() {
    for (args, mend) in [
        (json!({}), "needs `text`, `blocks` or `attachments`"),
        (json!({"text": "x", "proxy": "http://x"}), "HTTPS_PROXY"),
        (json!({"text": "x", "retry_handlers": []}), "`retries`"),
        (json!({"blocks": "x"}), "must be a list"),
    ] {
        let error = catalog::check("slack_api_post", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
    let refused = |world: &World, text: &str| {
        prepare(&order("slack_api_post", json!({"text": text})), world).unwrap_err().to_string()
    };
    assert!(refused(&World::default(), "x").contains("there is no connection `slack_api_default`"));
    let mut world = api("x");
    assert!(refused(&world, "{{ '' }}").contains("is empty"));
    world.connections.get_mut("slack_api_default").unwrap().password = None;
    assert!(refused(&world, "x").contains("without a password: it is a token of Slack's API"));
}
