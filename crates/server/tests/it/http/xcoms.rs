//! Values that task instances leave.

use serde_json::{Value, json};
use updraft_core::{
    XcomValue,
    input::{AttemptEnd, Outcome},
};

use super::{Server, runs::at_work, worker::Worker};

const XCOMS: &str = "/api/v2/dags/work/dagRuns/r/taskInstances/first/xcomEntries";

/// A server with a run whose first task has left a value.
async fn with_value() -> (Server, Worker) {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    let mut outcome = Outcome::new(AttemptEnd::Success);
    outcome.xcoms = vec![("return_value".into(), XcomValue::Inline(json!({"rows": 3}).into()))];
    worker.end(order.attempt, outcome).await;
    server.until("/api/v2/dags/work/dagRuns/r/taskInstances/first", |ti| ti["state"] == "success").await;
    (server, worker)
}

#[tokio::test]
async fn values_are_listed_and_read_as_json_or_text() {
    let (server, _worker) = with_value().await;
    let list = server.get(XCOMS).await.shape("XComCollectionResponse");
    assert_eq!(
        (&list["xcom_entries"][0]["key"], &list["total_entries"]),
        (&json!("return_value"), &json!(1))
    );
    let everywhere = "/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries";
    let cases = [
        ("", 1),
        ("?xcom_key=return_value", 1),
        ("?xcom_key_pattern=RETURN", 1),
        ("?task_id_prefix_pattern=x", 0),
        ("?map_index=0", 0),
    ];
    for (query, total) in cases {
        let list = server.get(&format!("{everywhere}{query}")).await.shape("XComCollectionResponse");
        assert_eq!(list["total_entries"], total, "{query}");
    }
    let one = server.get(&format!("{XCOMS}/return_value")).await.shape("XComResponseNative");
    assert_eq!(one["value"], json!({"rows": 3}));
    let text = server.get(&format!("{XCOMS}/return_value?stringify=true")).await.ok();
    assert_eq!(text["value"], r#"{"rows":3}"#);
    server.get(&format!("{XCOMS}/none")).await.refused(404);
    server.get(&format!("{XCOMS}/return_value?map_index=x")).await.refused(422);
}

#[tokio::test]
async fn values_are_made_changed_and_deleted() {
    let (server, _worker) = with_value().await;
    let body = json!({"key": "a/b", "value": [1]});
    let made = server.post(XCOMS, body.clone()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.shape("XComResponseNative")["value"], json!([1]));
    server.post(XCOMS, body).await.refused(409);
    let changed = server.patch(&format!("{XCOMS}/a/b"), json!({"value": null})).await;
    assert_eq!(changed.shape("XComResponseNative")["value"], Value::Null);
    server.patch(&format!("{XCOMS}/none"), json!({"value": 1})).await.refused(404);
    assert_eq!(server.delete(&format!("{XCOMS}/a/b")).await.status, 204);
    server.delete(&format!("{XCOMS}/a/b")).await.refused(404);
    server.get(&format!("{XCOMS}/a/b")).await.refused(404);
    let large = json!({"key": "large", "value": "x".repeat(70_000)});
    server.post(XCOMS, large).await.refused(413);
    server.post(&XCOMS.replace("first", "none"), json!({"key": "k", "value": 1})).await.refused(404);
    server.post(&XCOMS.replace("/r/", "/none/"), json!({"key": "k", "value": 1})).await.refused(404);
    server.ask("POST", XCOMS, "viewer", Some(json!({"key": "k", "value": 1}))).await.refused(403);
}
