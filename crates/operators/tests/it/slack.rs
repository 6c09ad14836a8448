//! `SlackWebhookOperator` against a server.

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
