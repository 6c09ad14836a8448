//! Logs of attempts.

use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use updraft_core::{
    AttemptId,
    input::{AttemptEnd, Outcome, Report, WorkerEvent},
    protocol::{FromWorker, LogEnd, log_path},
};

use super::{Server, runs::at_work, worker::Worker};

const LOG: &str = "/api/v2/dags/work/dagRuns/r/taskInstances/first/logs/1";

fn log_of(server: &Server) -> std::fs::File {
    let names = (&"default".into(), &"work".into(), &"r".into());
    let path = log_path(names, &"first".into(), updraft_core::MapIndex::NONE, 1);
    let path = server.home.path().join("logs").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap()
}

#[tokio::test]
async fn a_log_is_read_in_pages_until_the_attempt_is_over() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    server.until("/api/v2/dags/work/dagRuns/r/taskInstances/first", |ti| ti["state"] == "running").await;
    let mut log = log_of(&server);
    writeln!(log, "2026-01-31T12:00:00.000000Z\tout\thello").unwrap();
    let page = server.get(LOG).await.shape("TaskInstancesLogResponse");
    assert_eq!(
        page["content"],
        json!([{"timestamp": "2026-01-31T12:00:00Z", "event": "hello", "level": "info", "logger": "task.stdout"}])
    );
    let token = page["continuation_token"].as_str().unwrap().to_owned();
    writeln!(log, "2026-01-31T12:00:01.000000Z\terr\toh").unwrap();
    worker.end(order.attempt, Outcome::new(AttemptEnd::FailedForGood)).await;
    server.until("/api/v2/dags/work/dagRuns/r", |run| run["state"] == "failed").await;
    let page = server.get(&format!("{LOG}?token={token}")).await.shape("TaskInstancesLogResponse");
    assert_eq!((&page["content"][0]["event"], &page["continuation_token"]), (&json!("oh"), &Value::Null));
    assert_eq!(page["content"][0]["level"], "error");
    server.get(&format!("{LOG}?token=nonsense")).await.refused(400);
    server.get(&LOG.replace("logs/1", "logs/2")).await.refused(404);
    server.get(&LOG.replace("logs/1", "logs/x")).await.refused(422);
    server.get(&LOG.replace("first", "none")).await.refused(404);
}

/// How an attempt ends whose log comes with it.
fn ended(attempt: AttemptId, end: AttemptEnd, text: &str) -> FromWorker {
    let (at, report) = (jiff::Timestamp::now(), Report::Ended(Box::new(Outcome::new(end))));
    FromWorker::Ended {
        logs: vec![LogEnd { attempt, offset: None, text: text.into() }],
        events: vec![WorkerEvent::Report { attempt, at, report }],
    }
}

#[tokio::test]
async fn the_end_of_a_log_comes_with_that_of_its_attempt() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    let line = |text: &str| format!("2026-01-31T12:00:00.000000Z\tout\t{text}\n");
    let said = ended(order.attempt, AttemptEnd::Success, &line("all"));
    worker.say(said.clone()).await;
    server.until("/api/v2/dags/work/dagRuns/r/taskInstances/first", |ti| ti["state"] == "success").await;
    let read = async |log: &str| {
        let text = server.request(Method::GET, log, "viewer").header("accept", "text/plain").send().await;
        text.unwrap().text().await.unwrap()
    };
    assert_eq!(read(LOG).await, "2026-01-31T12:00:00.000000Z all\n", "it is there when the end is known");
    // A connection that broke before this was acknowledged. What follows is heard after it.
    worker.say(said).await;
    let second = worker.begin().await;
    let strange = AttemptId { lease: order.attempt.lease + 1, ..order.attempt };
    worker.say(ended(strange, AttemptEnd::Success, &line("a stranger's"))).await;
    worker.say(ended(second.attempt, AttemptEnd::FailedForGood, &line("second"))).await;
    server.until("/api/v2/dags/work/dagRuns/r", |run| run["state"] == "failed").await;
    assert_eq!(read(&LOG.replace("first", "second")).await, "2026-01-31T12:00:00.000000Z second\n");
    assert_eq!(read(LOG).await, "2026-01-31T12:00:00.000000Z all\n", "once, and nobody else's");
}

#[tokio::test]
async fn logs_go_with_their_run_and_with_their_dag() {
    let server = at_work().await;
    let logs = server.home.path().join("logs/namespace=default");
    let run = logs.join("dag_id=work/run_id=r");
    // What a server left that died after it had deleted a run of this name.
    log_of(&server);
    server.trigger("work", "r").await;
    assert!(!logs.exists());
    log_of(&server);
    server.patch("/api/v2/dags/work/dagRuns/r", json!({"state": "failed"})).await.ok();
    assert!(run.exists());
    server.delete("/api/v2/dags/work/dagRuns/r").await.ok();
    assert!(!logs.exists());
    server.trigger("work", "r").await;
    log_of(&server);
    std::fs::create_dir_all(logs.join("dag_id=other/run_id=r")).unwrap();
    server.patch("/api/v2/dags/work/dagRuns/r", json!({"state": "failed"})).await.ok();
    server.delete("/api/v2/dags/work").await.ok();
    assert!(!logs.join("dag_id=work").exists());
    assert!(logs.join("dag_id=other/run_id=r").exists());
}

#[tokio::test]
async fn a_log_is_followed_while_it_is_written() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    server.until("/api/v2/dags/work/dagRuns/r/taskInstances/first", |ti| ti["state"] == "running").await;
    let mut log = log_of(&server);
    writeln!(log, "2026-01-31T12:00:00.000000Z\tout\tone").unwrap();
    let request = server.request(Method::GET, LOG, "viewer").header("accept", "application/x-ndjson");
    let mut lines = request.send().await.unwrap();
    let first = lines.chunk().await.unwrap().unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first["event"], "one");
    let now = format!("{LOG}?follow=false");
    let now =
        server.request(Method::GET, &now, "viewer").header("accept", "text/plain").send().await.unwrap();
    assert_eq!(now.text().await.unwrap(), "2026-01-31T12:00:00.000000Z one\n", "it does not wait for more");
    writeln!(log, "2026-01-31T12:00:01.000000Z\tout\ttwo").unwrap();
    let second = lines.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&second).unwrap().contains("two"));
    writeln!(log, "2026-01-31T12:00:02.000000Z\terr+\tthr").unwrap();
    writeln!(log, "2026-01-31T12:00:03.000000Z\terr\tee").unwrap();
    let third = lines.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&third).unwrap().contains("thr"));
    worker.end(order.attempt, Outcome::new(AttemptEnd::Success)).await;
    while let Some(rest) = lines.chunk().await.unwrap() {
        assert!(std::str::from_utf8(&rest).unwrap().contains("ee"));
    }
    assert!(lines.chunk().await.unwrap().is_none(), "it ends with the attempt");
    let text =
        server.request(Method::GET, LOG, "viewer").header("accept", "text/plain").send().await.unwrap();
    let expected = "2026-01-31T12:00:00.000000Z one\n2026-01-31T12:00:01.000000Z two\n\
                    2026-01-31T12:00:02.000000Z three\n";
    assert_eq!(text.text().await.unwrap(), expected);
}
