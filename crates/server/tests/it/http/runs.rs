//! Runs: triggered, listed, marked, cleared, deleted.

use serde_json::{Value, json};
use updraft_core::input::AttemptEnd;

use super::{Server, worker::Worker};

/// A DAG that does nothing, and one that needs a worker.
pub const DAGS: &str = "
quick:
  tasks:
    a: {operator: EmptyOperator}
    b: {operator: EmptyOperator, dependencies: [a]}
work:
  params: {size: 1}
  tasks:
    first: {operator: BashOperator, bash_command: 'true'}
    second: {operator: BashOperator, bash_command: 'true', dependencies: [first]}
";

/// A server with these DAGs, at work.
pub async fn at_work() -> Server {
    let server = Server::with_dags(DAGS).await;
    server.patch("/api/v2/dags?dag_id_pattern=~", json!({"is_paused": false})).await.ok();
    server
}

fn ids(list: &Value) -> Vec<&str> {
    list["dag_runs"].as_array().unwrap().iter().map(|run| run["dag_run_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_run_is_made_and_comes_to_its_end() {
    let server = at_work().await;
    let body = json!({
        "dag_run_id": "r/1".replace('/', "-"),
        "logical_date": "2026-01-31T12:00:00+01:00",
        "conf": {"size": 3},
        "note": "by hand",
    });
    let run = server.post("/api/v2/dags/quick/dagRuns", body.clone()).await.shape("DAGRunResponse");
    assert_eq!((&run["logical_date"], &run["note"]), (&json!("2026-01-31T11:00:00Z"), &json!("by hand")));
    assert_eq!((&run["conf"], &run["run_type"]), (&json!({"size": 3}), &json!("manual")));
    assert_eq!((&run["triggered_by"], &run["triggering_user_name"]), (&json!("rest_api"), &json!("admin")));
    let done = server.until("/api/v2/dags/quick/dagRuns/r-1", |run| run["state"] == "success").await;
    assert!(done["duration"].as_f64().unwrap() >= 0.0);
    assert!(server.post("/api/v2/dags/quick/dagRuns", body).await.refused(409).contains("r-1"));
    let unnamed = server.post("/api/v2/dags/quick/dagRuns", json!({"logical_date": null})).await;
    assert!(unnamed.shape("DAGRunResponse")["dag_run_id"].as_str().unwrap().starts_with("manual__"));
}

#[tokio::test]
async fn a_logical_date_has_one_run() {
    let server = at_work().await;
    let body = |run_id: &str, date: &str| json!({"dag_run_id": run_id, "logical_date": date});
    let (path, date) = ("/api/v2/dags/quick/dagRuns", "2026-01-31T12:00:00Z");
    server.post(path, body("a", date)).await.ok();
    let refusal = server.post(path, body("b", "2026-01-31T13:00:00+01:00")).await.refused(409);
    assert!(refusal.contains("`a`") && refusal.contains(date), "{refusal}");
    let ours = json!({"run_id": "c", "logical_date": date});
    assert!(server.post("/api/v1/dags/quick/dagRuns", ours).await.refused(409).contains("`a`"));
    server.post("/api/v2/dags/work/dagRuns", body("a", date)).await.ok();
    for _ in 0..2 {
        server.post(path, json!({"logical_date": null})).await.ok();
    }
}

#[tokio::test]
async fn a_trigger_that_makes_no_sense_is_refused() {
    let server = at_work().await;
    let path = "/api/v2/dags/quick/dagRuns";
    let cases = [
        (json!({}), 422, "logical_date"),
        (json!({"logical_date": "yesterday"}), 422, "logical_date"),
        (json!({"logical_date": null, "colour": 1}), 422, "colour"),
        (json!({"logical_date": null, "conf": [1]}), 422, "conf"),
        (
            json!({"logical_date": null, "data_interval_start": "2026-01-01T00:00:00Z"}),
            422,
            "data_interval_end",
        ),
        (json!({"logical_date": null, "dag_run_id": "a/b"}), 400, "a/b"),
        (json!({"logical_date": null, "partition_key": "k"}), 400, "partition"),
        (json!({"logical_date": null, "note": "x".repeat(1001)}), 422, "1000"),
    ];
    for (body, status, word) in cases {
        let refusal = server.post(path, body).await.refused(status);
        assert!(refusal.contains(word), "{refusal}");
    }
    for missing in [
        server.post("/api/v2/dags/none/dagRuns", json!({"logical_date": null})).await,
        server.post("/api/v1/dags/none/dagRuns", json!({})).await,
        server.patch("/api/v2/dags/none", json!({"is_paused": true})).await,
        server.get("/api/v2/dags/none/dagRuns/r").await,
        server.get("/api/v2/dags/none/dagRuns/r/taskInstances").await,
    ] {
        assert_eq!(missing.refused(404), "there is no DAG `none`");
    }
    assert_eq!(server.get(path).await.ok()["total_entries"], 0, "none of them was made");
}

#[tokio::test]
async fn runs_are_filtered_ordered_and_paged() {
    let server = at_work().await;
    for run in ["a", "b", "c"] {
        server.trigger("quick", run).await;
        server.until(&format!("/api/v2/dags/quick/dagRuns/{run}"), |run| run["state"] == "success").await;
    }
    server.trigger("work", "d").await;
    let cases: [(&str, &[&str]); 10] = [
        ("quick/dagRuns", &["a", "b", "c"]),
        ("~/dagRuns", &["a", "b", "c", "d"]),
        ("~/dagRuns?order_by=-id", &["d", "c", "b", "a"]),
        ("~/dagRuns?state=running&state=queued", &["d"]),
        ("~/dagRuns?dag_id_pattern=ork", &["d"]),
        ("~/dagRuns?run_id_prefix_pattern=b", &["b"]),
        ("~/dagRuns?run_type=scheduled", &[]),
        ("~/dagRuns?limit=2&offset=1", &["b", "c"]),
        ("~/dagRuns?run_after_gte=2020-01-01T00:00:00Z&order_by=run_id&limit=1", &["a"]),
        ("~/dagRuns?logical_date_lt=2020-01-01", &[]),
    ];
    for (path, expected) in cases {
        let list = server.get(&format!("/api/v2/dags/{path}")).await.shape("DAGRunCollectionResponse");
        assert_eq!(ids(&list), expected, "{path}");
    }
    server.get("/api/v2/dags/none/dagRuns").await.refused(404);
    server.get("/api/v2/dags/~/dagRuns?state=sleeping").await.refused(422);
    server.get("/api/v2/dags/~/dagRuns?order_by=colour").await.refused(400);
    let page = server.get("/api/v2/dags/~/dagRuns?limit=3&cursor=").await.shape("DAGRunCollectionResponse");
    assert_eq!(ids(&page), ["a", "b", "c"]);
    let next = format!("/api/v2/dags/~/dagRuns?limit=3&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = server.get(&next).await.shape("DAGRunCollectionResponse");
    assert_eq!((ids(&page), &page["next_cursor"]), (vec!["d"], &Value::Null));
    let batch = json!({"dag_ids": ["quick"], "states": ["success"], "page_limit": 2, "order_by": "-run_id"});
    let list = server.post("/api/v2/dags/~/dagRuns/list", batch).await.shape("DAGRunCollectionResponse");
    assert_eq!((ids(&list), &list["total_entries"]), (vec!["c", "b"], &json!(3)));
    server.post("/api/v2/dags/quick/dagRuns/list", json!({})).await.refused(422);
}

#[tokio::test]
async fn a_run_is_marked_noted_and_deleted() {
    let server = at_work().await;
    server.trigger("work", "r").await;
    let path = "/api/v2/dags/work/dagRuns/r";
    server.until(path, |run| run["state"] == "running").await;
    server.delete(path).await.refused(409);
    server.patch(path, json!({"state": "running"})).await.refused(422);
    let run = server.patch(path, json!({"state": "failed", "note": "enough"})).await.shape("DAGRunResponse");
    assert_eq!((&run["state"], &run["note"]), (&json!("failed"), &json!("enough")));
    let run =
        server.patch(&format!("{path}?update_mask=note"), json!({"state": "success", "note": null})).await;
    let run = run.shape("DAGRunResponse");
    assert_eq!((&run["state"], &run["note"]), (&json!("failed"), &Value::Null));
    server.patch("/api/v2/dags/work/dagRuns/none", json!({"state": "failed"})).await.refused(404);
    assert_eq!(server.delete(path).await.status, 204);
    server.get(path).await.refused(404);
}

#[tokio::test]
async fn a_run_that_is_cleared_begins_anew() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let path = "/api/v2/dags/work/dagRuns/r";
    worker.run_one(AttemptEnd::FailedForGood).await;
    server.until(path, |run| run["state"] == "failed").await;
    let would = server.post(&format!("{path}/clear"), json!({})).await;
    assert_eq!(would.shape("ClearTaskInstanceCollectionResponse")["total_entries"], 2);
    assert_eq!(server.get(path).await.ok()["state"], "failed", "it was only asked");
    let cleared = json!({"dry_run": false, "only_failed": true, "note": "again"});
    let run = server.post(&format!("{path}/clear"), cleared).await.shape("DAGRunResponse");
    assert_eq!(run["note"], "again");
    worker.run_one(AttemptEnd::Success).await;
    worker.run_one(AttemptEnd::Success).await;
    server.until(path, |run| run["state"] == "success").await;
    server
        .put_dags(&DAGS.replace(
            "second: {operator: BashOperator, bash_command: 'true'",
            "second: {operator: BashOperator, bash_command: 'pwd'",
        ))
        .await;
    for (latest, version, command) in [(false, 1, "true"), (true, 2, "pwd")] {
        let cleared = json!({"dry_run": false, "task_ids": ["second"], "dag_run_id": "r", "only_failed": false, "run_on_latest_version": latest});
        server.post("/api/v2/dags/work/clearTaskInstances", cleared).await.ok();
        assert_eq!(server.get(path).await.ok()["dag_versions"][0]["version_number"], version);
        assert_eq!(worker.run_one(AttemptEnd::Success).await.args["bash_command"], command);
        server.until(path, |run| run["state"] == "success").await;
    }
    server.post("/api/v2/dags/work/dagRuns/none/clear", json!({})).await.refused(404);
}

#[tokio::test]
async fn a_run_of_some_tasks_has_only_these() {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    let body = json!({"run_id": "some", "tasks": ["second"]});
    let run = server.post("/api/v1/dags/work/dagRuns", body).await;
    assert_eq!(run.status, 201);
    assert_eq!(&*worker.run_one(AttemptEnd::Success).await.task.task_id, "second");
    server.until("/api/v2/dags/work/dagRuns/some", |run| run["state"] == "success").await;
    server.post("/api/v1/dags/work/dagRuns", json!({"tasks": ["none"]})).await.refused(404);
}

#[tokio::test]
async fn what_a_run_is_given_has_to_fit_its_dags_params() {
    let dag = r#"
daily:
  params:
    day: {__type__: airflow.sdk.Param, default: null, type: string, format: date}
  tasks: {a: {operator: EmptyOperator}}
"#;
    let server = Server::with_dags(dag).await;
    server.patch("/api/v2/dags/daily", json!({"is_paused": false})).await.ok();
    for path in ["/api/v2/dags/daily/dagRuns", "/api/v1/dags/daily/dagRuns"] {
        for (conf, why) in [(json!({"day": "31"}), "is not a \"date\""), (json!({}), "No value passed")] {
            let refused = server.post(path, json!({"logical_date": null, "conf": conf})).await.refused(400);
            assert!(refused.contains("Invalid input for param day") && refused.contains(why), "{refused}");
        }
        let given = json!({"logical_date": null, "conf": {"day": "2026-01-31", "beside": 1}});
        assert!(server.post(path, given).await.status.is_success());
    }
}
