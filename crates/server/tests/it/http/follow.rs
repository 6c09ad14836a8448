//! Waiting for a run's end, and following what changes.

use reqwest::Method;
use serde_json::{Value, json};
use updraft_core::input::{AttemptEnd, Outcome};

use super::{runs::at_work, worker::Worker};

#[tokio::test]
async fn waiting_ends_with_the_run_and_its_results() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let path = "/api/v2/dags/work/dagRuns/r/wait";
    let waiting =
        server.request(Method::GET, &format!("{path}?interval=0.05&result=second"), "viewer").send();
    let work = async {
        worker.run_one(AttemptEnd::Success).await;
        let order = worker.begin().await;
        let mut outcome = Outcome::new(AttemptEnd::Success);
        let value = updraft_core::XcomValue::Inline(json!([1, 2]).into());
        outcome.xcoms = vec![("return_value".into(), value)];
        worker.end(order.attempt, outcome).await;
    };
    let (response, ()) = tokio::join!(waiting, work);
    let text = response.unwrap().text().await.unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last, json!({"state": "success", "results": {"second": [1, 2]}}));
    assert!(server.get(&format!("{path}?interval=0")).await.refused(422).contains("interval"));
    server.get(path).await.refused(422);
    server.get("/api/v2/dags/work/dagRuns/none/wait?interval=1").await.refused(404);
}

#[tokio::test]
async fn who_waits_learns_at_once_that_a_run_is_over() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    // Nobody would wait for a second look of this.
    let path = "/api/v2/dags/work/dagRuns/r/wait?interval=100000";
    let waiting = server.request(Method::GET, path, "viewer").send();
    let mut lines = waiting.await.unwrap();
    let first = lines.chunk().await.unwrap().unwrap();
    assert!(!first.windows(7).any(|word| word == b"success"), "{first:?}");
    worker.run_one(AttemptEnd::Success).await;
    worker.run_one(AttemptEnd::Success).await;
    assert_eq!(&*lines.chunk().await.unwrap().unwrap(), b"{\"state\":\"success\"}\n");
    assert_eq!(lines.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn events_tell_what_changes_in_this_namespace() {
    let server = at_work().await;
    let mut events = server.request(Method::GET, "/api/v1/events", "viewer").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut elsewhere =
        server.request(Method::GET, "/ns/other/api/v1/events", "viewer").send().await.unwrap();
    server.trigger("quick", "r").await;
    let mut heard = String::new();
    while !heard.contains("\"run_id\":\"r\"") || !heard.contains("\"state\":\"success\"") {
        heard.push_str(std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
    }
    server.post("/ns/other/api/v2/pools", json!({"name": "p", "slots": 1})).await.ok();
    let first = elsewhere.chunk().await.unwrap().unwrap();
    let first = std::str::from_utf8(&first).unwrap();
    assert!(first.contains("\"pools\":true") && !first.contains("quick"), "{first}");
}
