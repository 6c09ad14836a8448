//! DAGs: put, listed, looked at, paused, deleted.

use reqwest::Method;
use serde_json::{Value, json};

use updraft_core::input::{AttemptEnd, Outcome};

use super::{Server, runs::at_work, worker::Worker};

const DAGS: &str = "
etl:
  description: loads
  schedule: '0 3 * * *'
  start_date: 2026-01-01
  tags: [b, a]
  default_args: {owner: ann, retries: 2, retry_delay_sec: 60}
  tasks:
    one: {operator: BashOperator, bash_command: 'true'}
    two: {operator: EmptyOperator, dependencies: [one]}
other:
  tags: [a]
  tasks:
    only: {operator: EmptyOperator}
";

fn ids(list: &Value) -> Vec<&str> {
    list["dags"].as_array().unwrap().iter().map(|dag| dag["dag_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_dag_that_is_put_is_there_at_once_and_looks_as_airflow_shows_it() {
    let server = Server::with_dags(DAGS).await;
    let list = server.get("/api/v2/dags").await.shape("DAGCollectionResponse");
    assert_eq!((ids(&list), &list["total_entries"]), (vec!["etl", "other"], &json!(2)));
    let dag = server.get("/api/v2/dags/etl").await.shape("DAGResponse");
    assert_eq!(dag["timetable_summary"], "0 3 * * *");
    assert_eq!(dag["is_paused"], true);
    assert_eq!(dag["owners"], json!(["ann"]));
    let tags: Vec<_> = dag["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    assert_eq!(tags, ["a", "b"]);
    let details = server.get("/api/v2/dags/etl/details").await.shape("DAGDetailsResponse");
    assert_eq!(details["start_date"], "2026-01-01T00:00:00Z");
    assert_eq!(details["latest_dag_version"]["version_number"], 1);
    for path in ["/api/v2/dags/none", "/api/v2/dags/none/details"] {
        assert!(server.get(path).await.refused(404).contains("`none`"));
    }
}

#[tokio::test]
async fn dags_are_filtered_ordered_and_paged() {
    let server = Server::with_dags(DAGS).await;
    let cases: [(&str, &[&str]); 10] = [
        ("tags=a&tags=b", &["etl", "other"]),
        ("tags=a&tags=b&tags_match_mode=all", &["etl"]),
        ("dag_id_pattern=TL", &["etl"]),
        ("dag_id_pattern=etl%7Cother", &["etl", "other"]),
        ("dag_id_pattern=~", &["etl", "other"]),
        ("dag_id_prefix_pattern=oth", &["other"]),
        ("owners=ann", &["etl"]),
        ("paused=false", &[]),
        ("order_by=-dag_id&limit=1", &["other"]),
        ("limit=1&offset=1", &["other"]),
    ];
    for (query, expected) in cases {
        let list = server.get(&format!("/api/v2/dags?{query}")).await.shape("DAGCollectionResponse");
        assert_eq!(ids(&list), expected, "{query}");
    }
    let faults = server.get("/api/v2/dags?limit=-1&paused=maybe").await.refused(422);
    assert!(faults.contains("limit") && faults.contains("paused"), "{faults}");
    server.get("/api/v2/dags?tags_match_mode=some").await.refused(422);
    server.get("/api/v2/dags?last_dag_run_state=sleeping").await.refused(422);
    assert!(server.get("/api/v2/dags?order_by=hash").await.refused(400).contains("'hash'"));
}

#[tokio::test]
async fn a_dag_is_paused_and_goes_on_alone_or_with_others() {
    let server = Server::with_dags(DAGS).await;
    let dag = server.patch("/api/v2/dags/etl", json!({"is_paused": false})).await.shape("DAGResponse");
    assert_eq!(dag["is_paused"], false);
    server.patch("/api/v2/dags/none", json!({"is_paused": false})).await.refused(404);
    server.patch("/api/v2/dags/etl", json!({"is_paused": "x"})).await.refused(422);
    server.patch("/api/v2/dags/etl", json!({"is_stale": true})).await.refused(422);
    server.patch("/api/v2/dags/etl?update_mask=is_stale", json!({"is_paused": true})).await.refused(400);
    let nothing = server.patch("/api/v2/dags", json!({"is_paused": true})).await;
    assert_eq!(nothing.shape("DAGCollectionResponse")["total_entries"], 0);
    let path = "/api/v2/dags?dag_id_pattern=~&limit=1";
    let page = server.patch(path, json!({"is_paused": false})).await.shape("DAGCollectionResponse");
    assert_eq!((ids(&page).len(), &page["total_entries"]), (1, &json!(2)));
    let running = server.get("/api/v2/dags?paused=false").await.ok();
    assert_eq!(running["total_entries"], 2, "also those beyond the page");
}

#[tokio::test]
async fn a_dag_goes_with_its_history_but_not_while_it_runs() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r1").await;
    let order = worker.begin().await;
    server.until("/api/v2/dags/work/dagRuns/r1/taskInstances/first", |ti| ti["state"] == "running").await;
    server.delete("/api/v2/dags/work").await.refused(409);
    worker.end(order.attempt, Outcome::new(AttemptEnd::FailedForGood)).await;
    server.until("/api/v2/dags/work/dagRuns/r1", |run| run["state"] == "failed").await;
    assert_eq!(server.delete("/api/v2/dags/work").await.status, 204);
    server.get("/api/v2/dags/work").await.refused(404);
    server.get("/api/v2/dags/work/dagRuns/r1").await.refused(404);
    server.delete("/api/v2/dags/work").await.refused(404);
}

#[tokio::test]
async fn versions_sources_tags_and_counts_are_told() {
    let server = Server::with_dags(DAGS).await;
    server.put_dags(&DAGS.replace("loads", "loads more")).await;
    let versions = server.get("/api/v2/dags/etl/dagVersions?order_by=-version_number").await;
    let versions = versions.shape("DAGVersionCollectionResponse");
    assert_eq!(versions["dag_versions"][0]["version_number"], 2);
    assert_eq!(versions["total_entries"], 2);
    server.get("/api/v2/dags/etl/dagVersions/1").await.shape("DagVersionResponse");
    server.get("/api/v2/dags/etl/dagVersions/3").await.refused(404);
    server.get("/api/v2/dags/etl/dagVersions/one").await.refused(422);
    let source = server.get("/api/v2/dagSources/etl?version_number=1").await.shape("DAGSourceResponse");
    assert!(source["content"].as_str().unwrap().contains("\"loads\""));
    let text = server.request(Method::GET, "/api/v2/dagSources/etl", "viewer").header("accept", "text/plain");
    assert!(text.send().await.unwrap().text().await.unwrap().contains("loads more"));
    server.get("/api/v2/dagSources/etl?version_number=9").await.refused(404);
    let tags = server.get("/api/v2/dagTags?order_by=-name").await.shape("DAGTagCollectionResponse");
    assert_eq!(tags["tags"], json!(["b", "a"]));
    server.trigger("other", "r1").await;
    let stats = server.get("/api/v2/dagStats?dag_ids=other").await.shape("DagStatsCollectionResponse");
    assert_eq!(stats["total_entries"], 1);
    assert_eq!(stats["dags"][0]["stats"][0], json!({"state": "queued", "count": 1}));
}

#[tokio::test]
async fn tasks_are_those_of_the_dag() {
    let server = Server::with_dags(DAGS).await;
    let tasks = server.get("/api/v2/dags/etl/tasks?order_by=-task_id").await.shape("TaskCollectionResponse");
    let ids: Vec<_> = tasks["tasks"].as_array().unwrap().iter().map(|task| &task["task_id"]).collect();
    assert_eq!(ids, ["two", "one"]);
    let one = server.get("/api/v2/dags/etl/tasks/one").await.shape("TaskResponse");
    assert_eq!(one["downstream_task_ids"], json!(["two"]));
    assert_eq!(one["retries"], 2.0);
    assert_eq!(
        one["retry_delay"],
        json!({"__type": "TimeDelta", "days": 0, "seconds": 60, "microseconds": 0})
    );
    server.get("/api/v2/dags/etl/tasks/none").await.refused(404);
    server.get("/api/v2/dags/none/tasks").await.refused(404);
    server.get("/api/v2/dags/etl/tasks?order_by=colour").await.refused(400);
}

#[tokio::test]
async fn a_document_with_faults_puts_nothing_and_says_where_they_are() {
    let server = Server::start().await;
    let put = async |kind: &str, document: &str| {
        let request = server.request(Method::POST, "/api/v1/dags", "admin");
        let response = request.header("content-type", kind).body(document.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = put(
        "application/yaml",
        "good: {tasks: {a: {operator: EmptyOperator}}}\nbad: {tasks: {a: {operator: NoSuchOperator}}}",
    )
    .await;
    assert_eq!(status, 422);
    assert!(text.contains("NoSuchOperator") && text.contains(":2:"), "{text}");
    server.get("/api/v2/dags/good").await.refused(404);
    assert_eq!(put("application/pdf", "x").await.0, 415);
    let json = json!({"from_json": {"tasks": {"a": {"operator": "EmptyOperator"}}}});
    let (status, text) = put("application/json", &json.to_string()).await;
    assert_eq!(status, 200, "{text}");
    server.get("/api/v2/dags/from_json").await.shape("DAGResponse");
    let again: Value = serde_json::from_str(&put("application/json", &json.to_string()).await.1).unwrap();
    assert_eq!((&again["dags"][0]["version"], &again["dags"][0]["changed"]), (&json!(1), &json!(false)));
    server.ask("POST", "/api/v1/dags", "op", Some(json!({}))).await.refused(403);
}
