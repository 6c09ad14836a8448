//! `HttpOperator` against a server.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

use serde_json::{Value, json};
use updraft_core::{input::AttemptEnd, protocol::Connection};
use updraft_operators::{catalog, prepare};

use crate::{
    http::world,
    server::Server,
    world::{Ended, World, order, run_native},
};

fn arguments(more: Value) -> Value {
    let mut args = json!({"endpoint": "jobs/{{ ds }}", "http_conn_id": "api"});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

fn ask(server: &Server, more: Value) -> Ended {
    run_native(prepare(&order("HttpOperator", arguments(more)), &world(server)).unwrap())
}

#[test]
fn the_text_of_the_answer_is_the_result() {
    let server = Server::start(&["201 Created|{\"id\": 7}"]);
    let data = json!({"data": "{\"day\": \"{{ ds }}\"}", "headers": {"Content-Type": "application/json"}});
    let ended = ask(&server, data);
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert_eq!(ended.result(), json!("{\"id\": 7}"));
    let asked = &server.asked()[0];
    assert_eq!((&*asked.line, &*asked.body), ("POST /jobs/2026-01-31 HTTP/1.1", "{\"day\": \"2026-01-31\"}"));
    assert_eq!(asked.headers["content-type"], "application/json");
    assert_eq!(asked.headers["authorization"], "Basic YW5uOnMzY3JldA==");
    assert_eq!(asked.headers["x-extra"], "from connection");
    assert!(!ended.log.iter().any(|line| line.contains("\"id\"")), "{:?}", ended.log);
    let mut quiet = order("HttpOperator", arguments(json!({})));
    quiet.task.do_xcom_push = false;
    assert_eq!(run_native(prepare(&quiet, &world(&server)).unwrap()).result(), json!(null));
}

#[test]
fn an_answer_that_is_compressed_is_read() {
    // `{"rows": 3}`, as gzip has it.
    const GZIP: [u8; 31] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 202, 47, 47, 86, 178, 82, 48, 174, 5, 0, 200, 53, 206,
        72, 11, 0, 0, 0,
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines =
            BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let takes_gzip =
            lines.any(|line| line.to_lowercase().starts_with("accept-encoding:") && line.contains("gzip"));
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", GZIP.len());
        (&stream).write_all(&[head.as_bytes(), &GZIP].concat()).unwrap();
        takes_gzip
    });
    let connection = Connection { host: Some(format!("http://{address}")), ..Connection::default() };
    let world = World { connections: [("api".to_owned(), connection)].into(), ..World::default() };
    let order =
        order("HttpOperator", arguments(json!({"method": "GET", "response_filter": "response.json.rows"})));
    let ended = run_native(prepare(&order, &world).unwrap());
    assert_eq!(ended.result(), json!(3), "{:?}", ended.outcome.message);
    assert!(answers.join().unwrap());
}

#[test]
fn data_goes_where_airflow_puts_it() {
    let server = Server::start(&["200 OK"]);
    ask(&server, json!({"method": "get", "endpoint": "x?a=1", "data": {"b": [2, 3], "c": null}}));
    ask(&server, json!({"method": "GET", "endpoint": "x?a=1", "data": "b=2"}));
    ask(&server, json!({"method": "HEAD", "endpoint": "x", "data": {"b": 2}}));
    ask(&server, json!({"method": "PUT", "endpoint": "x", "data": {"b c": "d&e"}}));
    ask(&server, json!({"endpoint": null, "request_kwargs": {"json": {"day": ["{{ ds }}"]}}}));
    let json = json!({"Content-Type": "application/json; charset=utf-8"});
    ask(&server, json!({"endpoint": null, "headers": json, "data": {"n": [1], "day": "{{ ds }}"}}));
    let asked = server.asked();
    let lines: Vec<_> = asked.iter().map(|asked| &*asked.line).collect();
    assert_eq!(
        lines,
        [
            "GET /x?a=1&b=2&b=3 HTTP/1.1",
            "GET /x?a=1&b=2 HTTP/1.1",
            "HEAD /x HTTP/1.1",
            "PUT /x HTTP/1.1",
            "POST / HTTP/1.1",
            "POST / HTTP/1.1"
        ]
    );
    let bodies: Vec<_> = asked[3..].iter().map(|asked| &*asked.body).collect();
    assert_eq!(bodies, ["b+c=d%26e", r#"{"day":["2026-01-31"]}"#, r#"{"n":[1],"day":"2026-01-31"}"#]);
}

#[test]
fn a_check_fails_it_and_a_filter_makes_the_result() {
    let server = Server::start(&["200 OK|{\"job\": {\"id\": 7, \"state\": \"queued\"}}"]);
    let ended = ask(&server, json!({"response_filter": "response.json.job", "log_response": true}));
    assert_eq!(ended.result(), json!({"id": 7, "state": "queued"}));
    assert_eq!(ended.outcome.result_length, Some(2));
    assert!(ended.log.iter().any(|line| line.contains("\"state\": \"queued\"")), "{:?}", ended.log);
    let ended = ask(&server, json!({"response_check": "response.json.job.state == 'done'"}));
    assert!(ended.failure().contains("response_check `response.json.job.state == 'done'` does not hold"));
    let ended = ask(&server, json!({"response_filter": "response.json.jobs"}));
    assert!(ended.failure().contains("response_filter `response.json.jobs`"), "{}", ended.failure());
}

#[test]
fn pages_are_asked_for_until_there_is_no_more() {
    let server = Server::start(&[
        "200 OK|{\"items\": [1, 2], \"next\": \"b\"}",
        "200 OK|{\"items\": [3], \"next\": \"c\"}",
        "200 OK|{\"items\": [], \"next\": null}",
    ]);
    let ended = ask(
        &server,
        json!({
            "method": "GET",
            "data": {"size": 2},
            "pagination_function": "{'data': {'cursor': response.json.next}} if response.json.next else none",
            "response_check": "response | length == 3",
            "response_filter": "response | sum(attribute='json.items', start=[])",
        }),
    );
    assert_eq!(ended.result(), json!([1, 2, 3]), "{:?}", ended.outcome.message);
    let lines: Vec<_> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(
        lines,
        [
            "GET /jobs/2026-01-31?size=2 HTTP/1.1",
            "GET /jobs/2026-01-31?size=2&cursor=b HTTP/1.1",
            "GET /jobs/2026-01-31?size=2&cursor=c HTTP/1.1"
        ]
    );
    let plain = json!({"method": "GET", "pagination_function": "none"});
    assert_eq!(ask(&server, plain).result(), json!(["{\"items\": [], \"next\": null}"]));
}

#[test]
fn a_next_page_may_be_a_whole_address_and_not_another_server() {
    let elsewhere = Server::start(&["200 OK"]);
    let server = Server::start(&[&format!("200 OK|http://{}/y", elsewhere.address), "200 OK|stop"]);
    let next = "{'endpoint': response.text} if response.text != 'stop' else none";
    let ended = ask(&server, json!({"pagination_function": next}));
    assert!(ended.failure().contains("another server"), "{}", ended.failure());
    assert!(elsewhere.asked().is_empty());
    let server = Server::start(&["200 OK|more", "200 OK|stop"]);
    let next =
        format!("{{'endpoint': 'http://{}/p?n=2'}} if response.text != 'stop' else none", server.address);
    assert_eq!(ask(&server, json!({"pagination_function": next})).result(), json!(["more", "stop"]));
    assert_eq!(server.asked()[1].line, "POST /p?n=2 HTTP/1.1");
}

#[test]
fn pages_without_end_are_stopped() {
    let server = Server::start(&["200 OK"]);
    let ended = ask(&server, json!({"method": "GET", "pagination_function": "{'data': 'page=1'}"}));
    assert!(ended.failure().contains("more than 1000 pages"), "{}", ended.failure());
    assert_eq!(server.asked().len(), 1000);
}

#[test]
fn an_error_fails_it_and_its_words_are_in_the_log() {
    let server = Server::start(&["500 Internal Server Error|the disk\nis full"]);
    let ended = ask(&server, json!({"endpoint": "x?key=abc"}));
    assert_eq!(ended.failure(), format!("POST http://{}/x gave 500:Internal Server Error", server.address));
    assert!(ended.log.ends_with(&["the disk".into(), "is full".into()]), "{:?}", ended.log);
    assert!(!ended.log.iter().any(|line| line.contains("abc")), "{:?}", ended.log);
    let ended = ask(&server, json!({"extra_options": {"check_response": false}}));
    assert_eq!(ended.result(), json!("the disk\nis full"));
}

#[test]
fn it_asks_again_within_its_try_where_the_arguments_say_so() {
    let flaky = &["503 Service Unavailable", "429 Too Many Requests", "200 OK|there"];
    let again = |statuses, attempts| json!({"retry_args": {"attempts": attempts, "wait": 0.01, "statuses": statuses}});
    let server = Server::start(flaky);
    assert_eq!(ask(&server, again(json!([429, 503]), 3)).result(), json!("there"));
    assert_eq!(server.asked().len(), 3);
    let server = Server::start(flaky);
    assert!(ask(&server, again(json!([503]), 3)).failure().contains("429"));
    let server = Server::start(flaky);
    assert!(ask(&server, again(json!([429, 503]), 2)).failure().contains("429"));
    assert_eq!(server.asked().len(), 2);
    let server = Server::start(&["silence", "200 OK|there"]);
    let mut patient = again(json!([]), 2);
    patient["extra_options"] = json!({"timeout": 0.2});
    assert_eq!(ask(&server, patient).result(), json!("there"));
    let server = Server::start(&["503 Service Unavailable", "200 OK"]);
    assert!(ask(&server, json!({})).failure().contains("503"));
}

#[test]
fn redirections_are_followed_unless_the_options_say_not() {
    let answers = &["302 Found\r\nLocation: /there", "200 OK|there"];
    let server = Server::start(answers);
    assert_eq!(ask(&server, json!({})).result(), json!("there"));
    assert_eq!(server.asked()[1].line, "GET /there HTTP/1.1");
    let server = Server::start(answers);
    let stay =
        json!({"extra_options": {"allow_redirects": false}, "response_filter": "response.status_code"});
    assert_eq!(ask(&server, stay).result(), json!(302));
}

#[test]
fn an_answer_that_does_not_come_or_is_too_long_is_given_up() {
    let server = Server::start(&["silence"]);
    let ended = ask(&server, json!({"extra_options": {"timeout": 0.1}}));
    assert!(ended.failure().contains("no answer within 100ms"), "{}", ended.failure());
    let long = format!("200 OK|{}", "x".repeat((16 << 20) + 1));
    let server = Server::start(&[&long]);
    let ended = ask(&server, json!({"retry_args": {"attempts": 3, "wait": 0}}));
    assert!(ended.failure().contains("too long to be kept"), "{}", ended.failure());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn what_may_have_been_done_is_not_asked_for_again_where_the_task_says_so() {
    let held = |answers: &[&str], more: Value| {
        let server = Server::start(answers);
        let mut order = order("HttpOperator", arguments(more));
        order.task.hold_doubts = true;
        let ended = run_native(prepare(&order, &world(&server)).unwrap());
        (ended.outcome.end, server.asked().len())
    };
    let patience = json!({"timeout": 0.2});
    let again = json!({"attempts": 3, "wait": 0});
    let asked = |more: Value| {
        let mut all = json!({"method": "POST", "extra_options": patience, "retry_args": again});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(held(&["silence"], asked(json!({}))), (AttemptEnd::FailedForGood, 1));
    // What does not change anything, or comes under a key, may be asked for again.
    assert_eq!(held(&["silence", "200 OK"], asked(json!({"method": "GET"}))), (AttemptEnd::Success, 2));
    let key = json!({"headers": {"Idempotency-Key": "{{ run_id }}"}});
    assert_eq!(held(&["silence", "200 OK"], asked(key)), (AttemptEnd::Success, 2));
    // An answer leaves no doubt.
    assert_eq!(held(&["503 Service Unavailable"], asked(json!({}))), (AttemptEnd::Failed, 1));
}

#[test]
fn a_server_that_is_not_there_is_named_without_what_is_secret() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = json!({"endpoint": format!("http://ann:s3cret@{gone}/x?token=abc#d")});
    let ended = run_native(prepare(&order("HttpOperator", args), &World::default()).unwrap());
    let why = ended.failure();
    assert!(why.starts_with(&format!("POST http://{gone}/x failed: ")) && why.contains("refused"), "{why}");
    assert!(!why.contains("s3cret") && !why.contains("abc"), "{why}");
}

#[test]
fn to_cancel_it_is_to_drop_it() {
    let server = Server::start(&["silence"]);
    let prepared = prepare(&order("HttpOperator", arguments(json!({}))), &world(&server)).unwrap();
    server.is_left_when_dropped(prepared);
}

#[test]
fn what_can_t_be_had_is_refused_with_the_mend() {
    for (args, mend) in [
        (json!({"response_check": "checks.is_done"}), "Python callable"),
        (json!({"response_filter": "lambda response: response.json()"}), "Python callable"),
        (json!({"pagination_function": "pages.next_page"}), "Python callable"),
        (json!({"retry_args": {"stop": 3}}), "`attempts`"),
        (json!({"auth_type": "requests.auth.HTTPDigestAuth"}), "Authorization"),
        (json!({"retry_args": 3}), "must be a map"),
    ] {
        let args = args.as_object().unwrap();
        let error = catalog::check("SimpleHttpOperator", args).unwrap_err().to_string();
        assert!(error.starts_with("HttpOperator: `") && error.contains(mend), "{error}");
    }
    let refused = |args| prepare(&order("HttpOperator", args), &World::default()).unwrap_err().to_string();
    for (args, mend) in [
        (json!({"endpoint": "x"}), "http_default"),
        (json!({"endpoint": "http://x", "method": "GE T"}), "method"),
        (json!({"endpoint": "http://x", "extra_options": {"verify": false}}), "trusts"),
        (json!({"endpoint": "http://x", "extra_options": {"proxies": {}}}), "HTTPS_PROXY"),
        (json!({"endpoint": "http://x", "request_kwargs": {"files": "x"}}), "request_kwargs"),
    ] {
        let error = refused(args);
        assert!(error.contains(mend), "{error}");
    }
}
