//! What workers ask for.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use updraft_core::{
    AttemptId, XcomValue,
    input::{AttemptEnd, Outcome, Report, WorkerEvent},
    protocol::{FromServer, FromWorker, Piece},
};

use super::{Server, runs::at_work, server::WORKER_TOKEN, worker::Worker};

/// A server with a run whose first task runs.
async fn running() -> (Server, Worker, AttemptId) {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let attempt = worker.begin().await.attempt;
    (server, worker, attempt)
}

async fn ask(server: &Server, path: &str, attempt: AttemptId) -> super::server::Answer {
    server.ask("GET", &format!("/worker/v1/{path}?attempt={attempt}"), WORKER_TOKEN, None).await
}

#[tokio::test]
async fn only_a_workers_token_opens_its_routes() {
    let (server, _worker, attempt) = running().await;
    for who in ["admin", "nonsense", "updraft_join_0"] {
        let path = format!("/worker/v1/variables/x?attempt={attempt}");
        server.ask("GET", &path, who, None).await.refused(403);
    }
    server.ask("GET", "/worker/v1/smtp", "", None).await.refused(401);
    assert!(Worker::connect(&server, "nonsense").await.is_err());
    let body = json!({"name": "worker", "purpose": "join"});
    let token = server.post("/api/v1/tokens", body).await.ok()["token"].as_str().unwrap().to_owned();
    assert!(Worker::connect(&server, &token).await.is_ok());
    server.ask("GET", "/api/v2/dags", WORKER_TOKEN, None).await.refused(403);
    server.ask("GET", "/api/v2/dags", &token, None).await.refused(403);
}

#[tokio::test]
async fn connections_and_variables_are_given_to_an_attempt_that_is_held_and_to_no_other() {
    let (server, mut worker, attempt) = running().await;
    let body =
        json!({"connection_id": "db", "conn_type": "postgres", "password": "s3cret", "extra": "{\"a\": 1}"});
    server.post("/api/v2/connections", body).await.ok();
    server.post("/api/v2/variables", json!({"key": "api_token", "value": "t"})).await.ok();
    let connection = ask(&server, "connections/db", attempt).await.ok();
    assert_eq!((&connection["password"], &connection["extra"]), (&json!("s3cret"), &json!({"a": 1})));
    let from_env = ask(&server, "connections/from_env", attempt).await.ok();
    assert_eq!((&from_env["host"], &from_env["password"]), (&json!("example.com"), &json!("secret")));
    let variable = ask(&server, "variables/api_token", attempt).await.ok();
    assert_eq!(variable, json!({"key": "api_token", "value": "t", "secret": true}));
    assert_eq!(ask(&server, "variables/from_env", attempt).await.ok()["value"], "env");
    ask(&server, "connections/none", attempt).await.refused(404);
    ask(&server, "variables/none", attempt).await.refused(404);
    ask(&server, "smtp", attempt).await.refused(404);
    ask(&server, "previous-success", attempt).await.refused(404);
    let other = AttemptId { lease: attempt.lease + 1, ..attempt };
    ask(&server, "connections/db", other).await.refused(403);
    server.ask("GET", "/worker/v1/connections/db", WORKER_TOKEN, None).await.refused(422);
    worker.end(attempt, Outcome::new(AttemptEnd::Success)).await;
    server.until("/api/v2/dags/work/dagRuns/r/taskInstances/first", |ti| ti["state"] == "success").await;
    ask(&server, "connections/db", attempt).await.refused(403);
}

#[tokio::test]
async fn a_large_value_goes_to_the_blob_store_and_comes_back_to_tasks_and_people() {
    let (server, mut worker, attempt) = running().await;
    let value = json!({"text": "x".repeat(100_000)});
    let request =
        server.request(Method::PUT, &format!("/worker/v1/blobs/{attempt}/return_value"), WORKER_TOKEN);
    let stored = request.json(&value).send().await.unwrap();
    assert_eq!(stored.status(), 201);
    let stored: Value = stored.json().await.unwrap();
    let path = stored["path"].as_str().unwrap().to_owned();
    let bytes = stored["bytes"].as_u64().unwrap();
    assert_eq!(bytes, value.to_string().len() as u64);
    let mut outcome = Outcome::new(AttemptEnd::Success);
    outcome.xcoms = vec![("return_value".into(), XcomValue::Blob { path, bytes })];
    worker.end(attempt, outcome).await;
    let second = worker.begin().await.attempt;
    let query = json!({"attempt": second, "task_id": "first", "key": "return_value"});
    let found = server.ask("POST", "/worker/v1/xcom", WORKER_TOKEN, Some(query)).await.ok();
    assert_eq!(found["values"][0], json!({"map_index": -1, "value": value}));
    for (item, expected) in [
        (0, json!([{"map_index": -1, "value": ["text", value["text"]], "is_item": true}])),
        (0, json!([{"map_index": -1, "value": ["text", value["text"]], "is_item": true}])),
        (1, json!([])),
    ] {
        let query = json!({"attempt": second, "task_id": "first", "key": "return_value", "item": item});
        let found = server.ask("POST", "/worker/v1/xcom", WORKER_TOKEN, Some(query)).await.ok();
        assert_eq!(found["values"], expected);
    }
    let shown = server.get("/api/v2/dags/work/dagRuns/r/taskInstances/first/xcomEntries/return_value").await;
    assert_eq!(shown.shape("XComResponseNative")["value"], value);
    for query in [
        json!({"attempt": second, "task_id": "none", "key": "return_value"}),
        json!({"attempt": second, "task_id": "first", "key": "none"}),
        json!({"attempt": second, "task_id": "first", "key": "return_value", "run_id": "none"}),
        json!({"attempt": second, "task_id": "first", "key": "return_value", "map_index": 3}),
    ] {
        let found = server.ask("POST", "/worker/v1/xcom", WORKER_TOKEN, Some(query)).await.ok();
        assert_eq!(found, json!({"values": []}));
    }
    let late = json!({"attempt": attempt, "task_id": "first", "key": "return_value"});
    server.ask("POST", "/worker/v1/xcom", WORKER_TOKEN, Some(late)).await.refused(403);
}

#[tokio::test]
async fn an_upload_lies_in_its_place_under_any_name_and_that_of_a_stranger_is_refused() {
    let (server, _worker, attempt) = running().await;
    let put = async |path: String| {
        let request = server.request(Method::PUT, &format!("/worker/v1/blobs/{path}"), WORKER_TOKEN);
        request.body("1").send().await.unwrap().status().as_u16()
    };
    let key = std::fs::read(server.home.path().join("key")).unwrap();
    assert_eq!(put(format!("{attempt}/..%2F..%2F..%2F..%2F..%2F..%2Fkey")).await, 201);
    assert_eq!(std::fs::read(server.home.path().join("key")).unwrap(), key);
    assert_eq!(put("nonsense/name".into()).await, 400);
    assert_eq!(put(format!("{}/name", AttemptId { lease: 99, ..attempt })).await, 403);
}

#[tokio::test]
async fn the_run_before_that_succeeded_is_found() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    for (run, date) in [("early", "2026-01-01T00:00:00Z"), ("late", "2026-01-03T00:00:00Z")] {
        let body = json!({"dag_run_id": run, "logical_date": date});
        server.post("/api/v2/dags/work/dagRuns", body).await.ok();
        worker.run_one(AttemptEnd::Success).await;
        worker.run_one(AttemptEnd::Success).await;
        server.until(&format!("/api/v2/dags/work/dagRuns/{run}"), |run| run["state"] == "success").await;
    }
    let body = json!({"dag_run_id": "between", "logical_date": "2026-01-02T00:00:00Z"});
    server.post("/api/v2/dags/work/dagRuns", body).await.ok();
    let attempt = worker.begin().await.attempt;
    let found = ask(&server, "previous-success", attempt).await.ok();
    assert_eq!(found["data_interval"][1], "2026-01-01T00:00:00Z");
    assert!(found["start_date"].is_string() && found["end_date"].is_string());
}

#[tokio::test]
async fn a_task_sees_runs_of_its_namespace_as_they_are_now() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    assert_eq!(order.run.shown.base_url, "https://updraft.example.org");
    server.patch("/api/v2/dags/work/dagRuns/r", json!({"note": "for the audit"})).await.ok();
    let found = ask(&server, "runs/work/r", order.attempt).await.ok();
    assert_eq!((&found["note"], &found["state"]), (&json!("for the audit"), &json!("running")));
    assert_eq!((&found["dag_id"], &found["run_id"]), (&json!("work"), &json!("r")));
    ask(&server, "runs/work/none", order.attempt).await.refused(404);
    ask(&server, "runs/work/r", AttemptId { lease: 99, ..order.attempt }).await.refused(403);
}

#[tokio::test]
async fn a_task_gets_a_run_of_another_dag_once() {
    let (server, _worker, attempt) = running().await;
    server.put_dags("other: {tasks: {a: {operator: bash, bash_command: 'true'}}}").await;
    let give = async |more: Value| {
        let mut body = json!({"attempt": attempt, "dag_id": "other", "conf": {}, "reset": false, "unless_paused": false});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.ask("POST", "/worker/v1/runs", WORKER_TOKEN, Some(body)).await
    };
    let none = give(json!({"dag_id": "none"})).await.ok();
    assert_eq!(none, json!({"refused": "there is no DAG `none`"}));
    let by_hand = json!({"run_id": "by_hand"});
    server.trigger("other", "by_hand").await;
    assert_eq!(give(by_hand.clone()).await.ok(), json!({"exists": "by_hand"}));
    server.patch("/api/v2/dags/other/dagRuns/by_hand", json!({"state": "failed"})).await.ok();
    let reset = give(json!({"run_id": "by_hand", "reset": true})).await.ok();
    assert_eq!(reset, json!({"made": "by_hand"}));
    assert_eq!(server.get("/api/v2/dags/other/dagRuns/by_hand").await.ok()["state"], "queued");

    // A DAG that is put begins paused.
    let refused = give(json!({"unless_paused": true})).await.ok();
    assert!(refused["refused"].as_str().unwrap().contains("is paused"), "{refused}");
    let made = give(json!({"run_id": "mine", "note": "for the audit"})).await.ok();
    assert_eq!(made, json!({"made": "mine"}));
    assert_eq!(server.get("/api/v2/dags/other/dagRuns/mine").await.ok()["note"], "for the audit");
    // Asked again it is the same, whatever is asked for; after the run's failure it is not.
    assert_eq!(give(json!({})).await.ok(), made);
    server.patch("/api/v2/dags/other/dagRuns/mine", json!({"state": "failed"})).await.ok();
    assert_eq!(give(json!({"run_id": "mine"})).await.ok(), json!({"exists": "mine"}));
    assert_eq!(give(json!({"run_id": "again"})).await.ok(), json!({"made": "again"}));
    let over = AttemptId { lease: attempt.lease + 1, ..attempt };
    give(json!({"attempt": over})).await.refused(403);
}

#[tokio::test]
async fn a_task_is_told_how_the_tasks_of_a_run_are() {
    let (server, _worker, attempt) = running().await;
    let grouped = "
other:
  task_groups: {outer: {}, inner: {parent_group_name: outer}}
  tasks:
    a: {operator: bash, bash_command: 'true'}
    b: {operator: bash, bash_command: 'true', task_group_name: inner}
";
    server.put_dags(grouped).await;
    server.trigger("other", "r").await;
    let states = async |more: Value| {
        let mut body = json!({"attempt": attempt, "dag_id": "other", "run": {"named": "r"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.ask("POST", "/worker/v1/states", WORKER_TOKEN, Some(body)).await.ok()
    };
    let run = states(json!({})).await;
    assert_eq!(run, json!({"run": "queued"}));
    let task = states(json!({"tasks": ["a"]})).await;
    assert_eq!(task["tasks"]["a"].as_array().unwrap().len(), 1, "{task}");
    let group = states(json!({"group": "outer"})).await;
    let tasks: Vec<&String> = group["tasks"].as_object().unwrap().keys().collect();
    assert!(tasks.len() == 1 && tasks[0].ends_with('b'), "{group}");
    let missing = states(json!({"tasks": ["nothing"]})).await;
    assert_eq!(missing["missing"], "the DAG `other` has no task `nothing`");
    assert_eq!(states(json!({"dag_id": "none"})).await["missing"], "there is no DAG `none`");
    assert_eq!(states(json!({"run": {"dated": "2020-01-01T00:00:00Z"}})).await["run"], Value::Null);
}

#[tokio::test]
async fn what_a_run_is_given_is_among_its_params_whether_its_dag_names_it_or_not() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    let body = json!({"dag_run_id": "r", "logical_date": null, "conf": {"unnamed": 4}});
    server.post("/api/v2/dags/work/dagRuns", body).await.ok();
    let order = worker.begin().await;
    assert_eq!(order.run.params["unnamed"], 4);
}

#[tokio::test]
async fn a_heartbeat_is_answered_amid_a_long_order() {
    let text = "x".repeat(6 << 20);
    let task = json!({"operator": "bash", "bash_command": "ls", "env": {"TEXT": &text}});
    let dag = json!({"big": {"schedule": null, "is_paused_upon_creation": false, "tasks": {"t": task}}});
    let server = Server::with_dags(&dag.to_string()).await;
    let mut worker = Worker::join(&server).await;
    server.trigger("big", "r").await;
    let (mut whole, mut answered) = (String::new(), false);
    loop {
        match worker.hear(Some).await {
            FromServer::Piece(Piece { text, is_last }) => {
                if whole.is_empty() {
                    // Far more is to come than lies in any buffer.
                    worker.say(FromWorker::Events(vec![WorkerEvent::Heartbeat])).await;
                }
                whole.push_str(&text);
                if is_last {
                    break;
                }
            }
            FromServer::Heartbeat => answered = true,
            _ => {}
        }
    }
    assert!(answered);
    let FromServer::Assign(orders) = serde_json::from_str(&whole).unwrap() else { panic!("no order") };
    assert_eq!(orders[0].args["env"]["TEXT"], text);
}

#[tokio::test]
async fn what_a_worker_says_in_pieces_is_put_together_whatever_it_says_between() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    let report = Report::Ended(Box::new(Outcome::new(AttemptEnd::Success)));
    let event = WorkerEvent::Report { attempt: order.attempt, at: Timestamp::now(), report };
    let text = serde_json::to_string(&FromWorker::Events(vec![event])).unwrap();
    let (begin, end) = text.split_at(text.len() / 2);
    worker.say(FromWorker::Piece(Piece { text: begin.into(), is_last: false })).await;
    worker.say(FromWorker::Events(vec![WorkerEvent::Heartbeat])).await;
    worker.hear(|said| (said == FromServer::Heartbeat).then_some(())).await;
    worker.say(FromWorker::Piece(Piece { text: end.into(), is_last: true })).await;
    let path = "/api/v2/dags/work/dagRuns/r/taskInstances/first";
    server.until(path, |ti| ti["state"] == "success").await;
}
