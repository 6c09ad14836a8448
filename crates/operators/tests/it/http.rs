//! `HttpSensor` against a server.

use std::{net::TcpListener, sync::Arc};

use serde_json::{Value, json};
use updraft_core::{
    MapIndex,
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};
use updraft_operators::{Refused, Work, prepare};

use crate::{
    server::Server,
    world::{self, Lines, World, order, run_native, with_run},
};

pub fn world(server: &Server) -> World {
    let connection = Connection {
        conn_id: "api".into(),
        conn_type: "http".into(),
        host: Some(format!("http://{}", server.address)),
        login: Some("ann".into()),
        password: Some("s3cret".into()),
        extra: json!({"X-Extra": "from connection"}).as_object().unwrap().clone(),
        ..Connection::default()
    };
    World { connections: [("api".to_owned(), connection)].into(), ..World::default() }
}

fn arguments(more: Value) -> Value {
    let mut args =
        json!({"endpoint": "state/{{ ds }}", "http_conn_id": "api", "poke_interval": 0.02, "timeout": 20});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

fn watch(server: &Server, more: Value) -> Outcome {
    let world = world(server);
    run_native(prepare(&order("HttpSensor", arguments(more)), &world).unwrap()).outcome
}

#[test]
fn it_asks_until_what_it_waits_for_is_there() {
    let server = Server::start(&["404 Not Found", "404 Not Found", "200 OK"]);
    assert_eq!(watch(&server, json!({})).end, AttemptEnd::Success);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].line, "GET /state/2026-01-31 HTTP/1.1");
    assert_eq!(asked[0].headers["authorization"], "Basic YW5uOnMzY3JldA==");
    assert_eq!(asked[0].headers["x-extra"], "from connection");
}

#[test]
fn a_check_decides_over_the_answer() {
    let server = Server::start(&[r#"200 OK|{"state": "running"}"#, r#"200 OK|{"state": "done"}"#]);
    let check = "response.json.state == 'done' and response.headers['x-state'] == 'ready'";
    assert_eq!(watch(&server, json!({"response_check": check})).end, AttemptEnd::Success);
    assert_eq!(server.asked().len(), 2);
    let outcome = watch(&server, json!({"response_check": "response.json.nothing.here"}));
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert!(outcome.message.unwrap().contains("response_check"));
}

const CHECKS: &str = r#"
def is_done(response, ds, task):
    told = [response.ok, response.status_code, response.headers["X-State"], response.content, ds, task.task_id]
    assert told == [True, 200, "ready", response.text.encode(), "2026-01-31", "extract"], told
    return response.json()["state"] == "done"


def breaks(response):
    raise ValueError("no such state")
"#;

#[test]
fn a_function_of_python_decides_over_the_answer() {
    let server = Server::start(&[r#"200 OK|{"state": "running"}"#, r#"200 OK|{"state": "done"}"#]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("checks.py"), CHECKS).unwrap();
    let checked = |name: &str| {
        let args = arguments(json!({"response_check_name": name, "response_check_file": "checks.py"}));
        let order = with_run(order("HttpSensor", args), |run| {
            run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
        });
        run_native(prepare(&order, &world(&server)).unwrap()).outcome
    };
    let outcome = checked("is_done");
    assert_eq!((outcome.end, server.asked().len()), (AttemptEnd::Success, 2), "{:?}", outcome.message);
    let outcome = checked("breaks");
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert!(outcome.message.unwrap().contains("response_check: ValueError: no such state"));
    let lambda = "lambda response, **context: response.json()['state'] in ('done', context['ds'])";
    let outcome = watch(&server, json!({"response_check_lambda": lambda}));
    assert_eq!(outcome.end, AttemptEnd::Success, "{:?}", outcome.message);
}

#[test]
fn a_function_that_can_be_none_is_refused_before_it_is_called() {
    let refused = |more: Value| {
        let args = arguments(more);
        updraft_operators::catalog::check("HttpSensor", args.as_object().unwrap()).unwrap_err().to_string()
    };
    assert!(refused(json!({"response_check_name": "f"})).contains("`response_check_file`"));
    assert!(refused(json!({"response_check_file": "a.py"})).contains("`response_check_name`"));
    let both = json!({"response_check": "true", "response_check_lambda": "lambda r: True"});
    assert!(refused(both).contains("can't both be given"));
    assert!(refused(json!({"response_check_lambda": "checks.is_done"})).contains("must be a lambda"));
}

#[test]
fn parameters_go_behind_the_address_or_into_the_body() {
    let server = Server::start(&["200 OK"]);
    watch(
        &server,
        json!({"request_params": {"day": "{{ ds }}", "n": 1}, "headers": {"X-Own": "{{ run_id }}"}}),
    );
    watch(&server, json!({"method": "POST", "request_params": {"a b": "c&d"}}));
    watch(&server, json!({"method": "POST", "request_kwargs": {"json": {"a": [1]}}}));
    watch(&server, json!({"method": "POST", "request_params": "{{ ds }}"}));
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /state/2026-01-31?day=2026-01-31&n=1 HTTP/1.1");
    assert_eq!(asked[0].headers["x-own"], "scheduled__2026-01-31T06:00:00+00:00");
    assert_eq!(
        (asked[1].body.as_str(), &*asked[1].headers["content-type"]),
        ("a+b=c%26d", "application/x-www-form-urlencoded")
    );
    assert_eq!(
        (asked[2].body.as_str(), &*asked[2].headers["content-type"]),
        (r#"{"a":[1]}"#, "application/json")
    );
    assert_eq!(asked[3].body, "2026-01-31");
}

#[test]
fn an_error_fails_it_unless_it_is_to_be_taken_for_not_yet() {
    let server = Server::start(&["500 Internal Server Error", "200 OK"]);
    let outcome = watch(&server, json!({}));
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert!(outcome.message.unwrap().contains("500:Internal Server Error"));
    let server = Server::start(&["500 Internal Server Error", "200 OK"]);
    let codes = json!({"response_error_codes_allowlist": ["404", "5"]});
    assert_eq!(watch(&server, codes).end, AttemptEnd::Success);
    let server = Server::start(&["500 Internal Server Error", "200 OK"]);
    assert_eq!(watch(&server, json!({"silent_fail": true})).end, AttemptEnd::Success);
    let server = Server::start(&["500 Internal Server Error"]);
    assert_eq!(watch(&server, json!({"never_fail": true})).end, AttemptEnd::Skipped);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = json!({"endpoint": format!("http://{gone}/x?token=abc")});
    let outcome = run_native(prepare(&order("HttpSensor", args), &World::default()).unwrap()).outcome;
    assert_eq!(outcome.end, AttemptEnd::Failed);
    let message = outcome.message.unwrap();
    assert!(
        message.contains(&format!("GET http://{gone}/x failed")) && message.contains("refused"),
        "{message}"
    );
    assert!(!message.contains("token=abc"), "{message}");
}

#[test]
fn an_answer_that_does_not_come_is_given_up() {
    let server = Server::start(&["silence"]);
    let outcome = watch(&server, json!({"extra_options": {"timeout": 0.1}}));
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert!(outcome.message.unwrap().contains("no answer within 100ms"));
}

#[test]
fn when_its_time_is_up_it_fails_for_good_or_is_skipped() {
    let server = Server::start(&["404 Not Found"]);
    let outcome = watch(&server, json!({"timeout": 0.1}));
    assert_eq!(outcome.end, AttemptEnd::FailedForGood);
    assert_eq!(watch(&server, json!({"timeout": 0.1, "soft_fail": true})).end, AttemptEnd::Skipped);
    // Nor does it wait longer for an answer that does not come.
    let silent = Server::start(&["silence"]);
    let outcome = watch(&silent, json!({"timeout": 0.1, "extra_options": {"timeout": 3600}}));
    assert_eq!(outcome.end, AttemptEnd::FailedForGood);
    // The time counts from the first attempt's begin, whoever looks now.
    let mut late = order("HttpSensor", arguments(json!({"timeout": 3600, "poke_interval": 100_000})));
    late.task.first_started_at = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let outcome = run_native(prepare(&late, &world(&server)).unwrap()).outcome;
    assert_eq!(outcome.end, AttemptEnd::FailedForGood);
}

#[test]
fn to_cancel_it_is_to_drop_it() {
    let server = Server::start(&["silence"]);
    let prepared = prepare(&order("HttpSensor", arguments(json!({}))), &world(&server)).unwrap();
    server.is_left_when_dropped(prepared);
}

#[test]
fn what_can_t_be_asked_is_refused() {
    let world = World::default();
    let refused = |args| prepare(&order("HttpSensor", args), &world).unwrap_err();
    let missing = refused(json!({"endpoint": "x"}));
    assert!(matches!(&missing, Refused::Missing(reason) if reason.contains("http_default")), "{missing}");
    for (args, name) in [
        (json!({"endpoint": "ftp://x/y"}), "endpoint"),
        (json!({"endpoint": "http://x", "method": "GE T"}), "method"),
        (json!({"endpoint": "http://x", "headers": {"a b": "c"}}), "headers"),
        (json!({"endpoint": "http://x", "headers": {"a": "c\nd"}}), "headers"),
        (json!({"endpoint": "http://x", "extra_options": {"verify": false}}), "verify"),
        (json!({"endpoint": "http://x", "request_kwargs": {"auth": "x"}}), "request_kwargs"),
    ] {
        let error = refused(args).to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn many_sensors_cost_little_and_do_not_come_at_once() {
    let server = Server::start(&["404 Not Found", "404 Not Found"]);
    let world = world(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut context = None;
    let sensors = (0..2000).map(|copy| {
        let mut order = order("HttpSensor", arguments(json!({"poke_interval": 60, "timeout": 86400})));
        order.attempt.ti.map_index = MapIndex(copy);
        // Taken over from a worker that has gone.
        order.task.first_started_at = Some(jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10));
        let Work::Native(task) = prepare(&order, &world).unwrap().work else { panic!("no native work") };
        let shared = context.get_or_insert_with(|| world::context(Arc::new(Lines::default())));
        task.run(shared.clone())
    });
    let mut sensors: Vec<_> = sensors.collect();
    let size = size_of_val(&*sensors[0]);
    assert!(size <= 512, "a sensor that waits takes {size} bytes");
    runtime.block_on(async {
        // Each is begun; they are spread over the minute to come.
        for sensor in &mut sensors {
            let waker = std::task::Waker::noop();
            assert!(sensor.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        }
    });
    assert!(server.asked().len() < 100, "{} asked at once", server.asked().len());
}
