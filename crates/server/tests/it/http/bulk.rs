//! Many things made, changed and deleted by one request.

use serde_json::{Value, json};

use super::{Server, runs::at_work};

/// What became of an action: the names of those that it was done with, and the statuses of its errors.
fn told(response: &Value, action: &str) -> (Value, Vec<u64>) {
    let errors = response[action]["errors"].as_array().unwrap();
    let statuses = errors.iter().map(|error| error["status_code"].as_u64().unwrap()).collect();
    (response[action]["success"].clone(), statuses)
}

#[tokio::test]
async fn pools_are_made_changed_and_deleted_in_bulk() {
    let server = Server::start().await;
    let create = |on: &str, slots: i64| {
        let entities =
            json!([{"name": "a", "slots": slots, "description": "of a"}, {"name": "b", "slots": slots}]);
        json!({"actions": [{"action": "create", "entities": entities, "action_on_existence": on}]})
    };
    let bulk = async |body: Value| server.patch("/api/v2/pools", body).await.shape("BulkResponse");
    server.post("/api/v2/pools", json!({"name": "b", "slots": 7})).await.ok();
    // One that is there: nothing of the action is done.
    assert_eq!(told(&bulk(create("fail", 1)).await, "create"), (json!([]), vec![409]));
    server.get("/api/v2/pools/a").await.refused(404);
    let response = bulk(create("skip", 1)).await;
    assert_eq!(told(&response, "create"), (json!(["a"]), vec![]));
    assert_eq!((&response["update"], &response["delete"]), (&Value::Null, &Value::Null));
    assert_eq!(server.get("/api/v2/pools/b").await.ok()["slots"], 7);
    assert_eq!(told(&bulk(create("overwrite", 3)).await, "create"), (json!(["a", "b"]), vec![]));
    assert_eq!(server.get("/api/v2/pools/b").await.ok()["slots"], 3);

    let response = bulk(json!({"actions": [
        {"action": "update", "entities": [{"name": "a", "slots": 5, "description": "other"}], "update_mask": ["slots"]},
        {"action": "update", "entities": [{"name": "none", "slots": 5}]},
        {"action": "update", "entities": [{"name": "none", "slots": 5}], "action_on_non_existence": "skip"},
        {"action": "delete", "entities": ["b", {"name": "none"}], "action_on_non_existence": "skip"},
    ]}))
    .await;
    assert_eq!(told(&response, "update"), (json!(["a"]), vec![404]));
    assert_eq!(told(&response, "delete"), (json!(["b"]), vec![]));
    let pool = server.get("/api/v2/pools/a").await.ok();
    assert_eq!((&pool["slots"], &pool["description"]), (&json!(5), &json!("of a")));
    server.get("/api/v2/pools/b").await.refused(404);
}

#[tokio::test]
async fn nothing_is_done_while_a_part_of_a_bulk_has_the_wrong_form() {
    let server = Server::start().await;
    let with = |action: Value| {
        let fine = json!({"action": "create", "entities": [{"name": "a", "slots": 1}]});
        json!({"actions": [fine, action]})
    };
    for (action, place) in [
        (json!({"action": "create", "entities": [{"name": "b"}]}), "slots"),
        (json!({"action": "create", "entities": [{"slots": 1}]}), "name"),
        (json!({"action": "update", "entities": [{"name": "b", "colour": 1}]}), "colour"),
        (json!({"action": "delete", "entities": [7]}), "name"),
        (json!({"action": "paint", "entities": []}), "paint"),
    ] {
        let refused = server.patch("/api/v2/pools", with(action)).await.refused(422);
        assert!(refused.contains(place), "{refused}");
    }
    server.get("/api/v2/pools/a").await.refused(404);
    server.ask("PATCH", "/api/v2/pools", "viewer", Some(json!({"actions": []}))).await.refused(403);
}

#[tokio::test]
async fn variables_and_connections_are_changed_in_bulk() {
    let server = Server::start().await;
    let response = server
        .patch(
            "/api/v2/variables",
            json!({"actions": [
                {"action": "create", "entities": [{"key": "a", "value": 1}, {"key": "api_token", "value": "s3cret"}]},
                {"action": "update", "entities": [{"key": "api_token", "value": "***", "description": "d"}]},
                {"action": "delete", "entities": ["a"]},
            ]}),
        )
        .await
        .shape("BulkResponse");
    assert_eq!(told(&response, "create").0, json!(["a", "api_token"]));
    assert_eq!(told(&response, "delete").0, json!(["a"]));
    assert_eq!(server.real_variable("api_token").await, "s3cret");
    let db = json!({"connection_id": "db", "conn_type": "postgres", "host": "h", "password": "s3cret"});
    let moved = json!({"connection_id": "db", "conn_type": "postgres", "host": "h2"});
    let response = server
        .patch(
            "/api/v2/connections",
            json!({"actions": [
                {"action": "create", "entities": [db]},
                {"action": "create", "entities": [moved], "action_on_existence": "overwrite"},
            ]}),
        )
        .await;
    assert!(!response.text.contains("s3cret"), "{}", response.text);
    assert_eq!(told(&response.shape("BulkResponse"), "create"), (json!(["db", "db"]), vec![]));
    let real = server.real_connection("db").await;
    assert_eq!((real.host.as_deref(), real.password.as_deref()), (Some("h2"), Some("s3cret")));
}

#[tokio::test]
async fn runs_are_marked_cleared_and_deleted_in_bulk() {
    let server = at_work().await;
    for run in ["r1", "r2", "r3"] {
        server.trigger("work", run).await;
    }
    let runs = "/api/v2/dags/work/dagRuns";
    let response = server
        .patch(
            runs,
            json!({"actions": [
                {"action": "update", "entities": [
                    {"dag_run_id": "r1", "state": "failed", "note": "by hand"}, {"dag_run_id": "r2", "state": "success"},
                ]},
                {"action": "delete", "entities": ["none"]},
            ]}),
        )
        .await
        .shape("BulkResponse");
    assert_eq!(told(&response, "update").0, json!(["work.r1", "work.r2"]));
    assert_eq!(told(&response, "delete").1, [404]);
    let run = server.until(&format!("{runs}/r1"), |run| run["state"] == "failed").await;
    assert_eq!(run["note"], "by hand");
    server.until(&format!("{runs}/r2"), |run| run["state"] == "success").await;

    let clear = |runs: Value, dry_run: bool| json!({"dag_runs": runs, "dry_run": dry_run});
    let both = json!([{"dag_run_id": "r1"}, {"dag_run_id": "r2"}, {"dag_run_id": "r1"}]);
    let at = "/api/v2/dags/work/clearDagRuns";
    let would = server.post(at, clear(both.clone(), true)).await.shape("ClearTaskInstanceCollectionResponse");
    assert_eq!(would["total_entries"], 4);
    assert_eq!(server.get(&format!("{runs}/r1")).await.ok()["state"], "failed");
    let cleared = server.post(at, clear(both, false)).await.shape("DAGRunCollectionResponse");
    assert_eq!(cleared["total_entries"], 2);
    server.until(&format!("{runs}/r1"), |run| run["state"] != "failed").await;
    server.post(at, clear(json!([{"dag_run_id": "r1"}, {"dag_run_id": "none"}]), false)).await.refused(404);
    server.post(at, clear(json!([]), false)).await.refused(400);
    server.post(at, clear(json!([{"dag_run_id": "r1", "dag_id": "other"}]), false)).await.refused(400);

    // With any DAG in the path, each names its own.
    let any = "/api/v2/dags/~/dagRuns";
    let delete = |entity: Value| json!({"actions": [{"action": "delete", "entities": [entity]}]});
    server.patch(any, delete(json!({"dag_run_id": "r1"}))).await.refused(422);
    let mark = json!({"dag_run_id": "r1", "dag_id": "work", "state": "success"});
    server.patch(any, json!({"actions": [{"action": "update", "entities": [mark]}]})).await.ok();
    server.until(&format!("{runs}/r1"), |run| run["state"] == "success").await;
    let response = server.patch(any, delete(json!({"dag_run_id": "r1", "dag_id": "work"}))).await.ok();
    assert_eq!(told(&response, "delete"), (json!(["work.r1"]), vec![]));
    server.get(&format!("{runs}/r1")).await.refused(404);
    let made = json!({"actions": [{"action": "create", "entities": [{"dag_run_id": "r9"}]}]});
    assert_eq!(told(&server.patch(runs, made).await.ok(), "create"), (json!([]), vec![405]));
}

#[tokio::test]
async fn task_instances_are_marked_in_bulk() {
    let server = at_work().await;
    server.trigger("work", "r").await;
    let tis = "/api/v2/dags/work/dagRuns/r/taskInstances";
    let update = |entities: Value| json!({"actions": [{"action": "update", "entities": entities}]});
    let entities = json!([
        {"task_id": "first", "map_index": -1, "new_state": "success", "note": "by hand"},
        {"task_id": "second", "new_state": "skipped"},
    ]);
    let response = server.patch(tis, update(entities)).await.shape("BulkResponse");
    assert_eq!(told(&response, "update"), (json!(["work.r.first[-1]", "work.r.second"]), vec![]));
    let first = server.get(&format!("{tis}/first")).await.ok();
    assert_eq!((&first["state"], &first["note"]), (&json!("success"), &json!("by hand")));
    assert_eq!(server.get(&format!("{tis}/second")).await.ok()["state"], "skipped");
    let none = server.patch(tis, update(json!([{"task_id": "none", "new_state": "failed"}]))).await.ok();
    assert_eq!(told(&none, "update"), (json!([]), vec![404]));
    server.patch(tis, update(json!([{"task_id": "first", "new_state": "blue"}]))).await.ok();
    let delete = json!({"actions": [{"action": "delete", "entities": ["first"]}]});
    assert_eq!(told(&server.patch(tis, delete).await.ok(), "delete"), (json!([]), vec![405]));
    let any = "/api/v2/dags/~/dagRuns/~/taskInstances";
    let mut entity = json!({"task_id": "first", "dag_id": "work", "note": "again"});
    server.patch(any, update(json!([entity]))).await.refused(422);
    entity["dag_run_id"] = "r".into();
    server.patch(any, update(json!([entity]))).await.ok();
    assert_eq!(server.get(&format!("{tis}/first")).await.ok()["note"], "again");
}

#[tokio::test]
async fn a_filter_of_airflows_that_a_list_has_not_is_refused_by_name() {
    let server = Server::start().await;
    let refused = server.get("/api/v2/dags?is_favorite=true").await.refused(422);
    assert!(refused.contains("is_favorite"), "{refused}");
    // What Airflow's list has not either is passed over, as Airflow passes over it.
    server.get("/api/v2/dags?colour=red&map_index=1").await.ok();
}
