//! Pausing, letting go on, stopping, explaining, progress, and what happened.

use serde_json::json;
use updraft_core::{
    input::{AttemptEnd, Outcome},
    protocol::FromServer,
};

use super::{runs::at_work, worker::Worker};

const TI: &str = "/api/v1/dags/work/dagRuns/r/taskInstances/first";
const PROGRESS: &str = "/api/v1/dags/work/dagRuns/r/progress";

#[tokio::test]
async fn a_running_task_is_paused_goes_on_and_is_stopped() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    server.until(PROGRESS, |run| run["tasks"][0]["state"] == "running").await;
    server.post(&format!("{TI}/continue"), json!({})).await.refused(409);
    assert_eq!(server.post(&format!("{TI}/pause"), json!({})).await.status, 204);
    let paused = worker.hear(|message| match message {
        FromServer::Pause(attempts) => Some(attempts),
        _ => None,
    });
    assert_eq!(paused.await, [order.attempt]);
    assert_eq!(server.get(PROGRESS).await.ok()["tasks"][0]["state"], "paused");
    let as_airflow = server.get("/api/v2/dags/work/dagRuns/r/taskInstances/first").await;
    assert_eq!(as_airflow.shape("TaskInstanceResponse")["state"], "running");
    let running = server.get("/api/v2/dags/work/dagRuns/r/taskInstances?state=running").await.ok();
    assert_eq!(running["total_entries"], 1);
    server.post(&format!("{TI}/continue"), json!({})).await.ok();
    server.post(&format!("{TI}/stop"), json!({})).await.ok();
    server.until(PROGRESS, |run| run["tasks"][0]["state"] == "failed").await;
    let why = server.get(&format!("{TI}/why")).await.ok();
    assert_eq!(why["state"], "failed");
    assert!(why["reasons"][0].as_str().unwrap().contains("stopped by admin"), "{why}");
    server.post(&format!("{TI}/stop"), json!({})).await.refused(409);
    server.post("/api/v1/dags/work/dagRuns/r/taskInstances/none/stop", json!({})).await.refused(404);
    server.ask("POST", &format!("{TI}/stop"), "viewer", None).await.refused(403);
}

#[tokio::test]
async fn what_does_not_run_says_why() {
    let server = at_work().await;
    server.trigger("work", "r").await;
    let why = server.until(&format!("{TI}/why"), |why| why["state"] == "scheduled").await;
    assert!(why["reasons"][0].as_str().unwrap().contains("no worker"), "{why}");
    let progress = server.get(PROGRESS).await.ok();
    assert_eq!(progress["tasks"][0]["reason"], why["reasons"][0]);
    server.get("/api/v1/dags/work/dagRuns/r/taskInstances/none/why").await.refused(404);
}

#[tokio::test]
async fn progress_comes_from_how_long_it_took_before() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "before").await;
    worker.run_one(AttemptEnd::Success).await;
    worker.run_one(AttemptEnd::Success).await;
    server.until("/api/v2/dags/work/dagRuns/before", |run| run["state"] == "success").await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    let run = server.until(PROGRESS, |run| run["tasks"][0]["state"] == "running").await;
    assert!(run["percent"].as_f64().unwrap() < 100.0, "{run}");
    assert!(run["seconds_left"].as_f64().unwrap() >= 0.0, "{run}");
    assert!(run["tasks"][0]["percent"].as_f64().unwrap() <= 99.0, "{run}");
    worker.end(order.attempt, Outcome::new(AttemptEnd::Success)).await;
    worker.run_one(AttemptEnd::Success).await;
    let run = server.until(PROGRESS, |run| run["state"] == "success").await;
    assert_eq!((&run["percent"], &run["seconds_left"]), (&json!(100.0), &json!(0.0)));
    server.get("/api/v1/dags/work/dagRuns/none/progress").await.refused(404);
}

#[tokio::test]
async fn what_happened_is_told_in_its_order() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    worker.run_one(AttemptEnd::Success).await;
    worker.run_one(AttemptEnd::Success).await;
    server.until("/api/v2/dags/work/dagRuns/r", |run| run["state"] == "success").await;
    let path = "/api/v1/dags/work/dagRuns/r/transitions";
    let first = server.get(&format!("{path}?task_id=first")).await.ok();
    let states: Vec<_> = first["transitions"].as_array().unwrap().iter().map(|it| &it["to"]).collect();
    assert_eq!(states, ["scheduled", "queued", "running", "success"]);
    let all = server.get(&format!("{path}?limit=1")).await.ok();
    assert_eq!((&all["total_entries"], all["transitions"].as_array().unwrap().len()), (&json!(8), 1));
    server.get(&format!("{path}?task_id=none")).await.refused(404);
    let workers = server.get("/api/v1/workers").await.ok();
    let mut worker = workers["workers"][0].clone();
    assert!(worker["last_heard_at"].take().is_string());
    let expected = json!({
        "worker": "worker", "state": "active", "slots": 8, "used_slots": 0, "attempts": 0, "queues": ["default"], "labels": {},
        "namespace": null, "last_heard_at": null, "version": "test", "hostname": "host", "pid": 7,
    });
    assert_eq!(worker, expected);
}

#[tokio::test]
async fn ticks_and_deliveries_are_listed() {
    let server = at_work().await;
    let document =
        "often: {schedule: '* * * * *', start_date: 2026-01-01, tasks: {a: {operator: EmptyOperator}}}";
    server.put_dags(document).await;
    server.patch("/api/v2/dags/often", json!({"is_paused": false})).await.ok();
    let ticks = server.until("/api/v1/dags/often/ticks?from=2020-01-01", |it| it["total_entries"] != 0).await;
    assert!(ticks["next"].is_string(), "{ticks}");
    server.get("/api/v1/dags/none/ticks").await.refused(404);
    server.get("/api/v1/dags/often/ticks?from=x").await.refused(422);
    assert_eq!(server.get("/api/v1/deliveries?state=failed").await.ok()["total_entries"], 0);
    let missing = server.get("/api/v1/deliveries?dag_id=none").await.refused(404);
    assert_eq!(missing, "there is no DAG `none`");
    server.get("/api/v1/deliveries?state=lost").await.refused(422);
    server.post("/api/v1/deliveries/1/resend", json!({})).await.refused(404);
}
