//! Task instances: looked at, marked, cleared.

use serde_json::{Value, json};
use updraft_core::input::{AttemptEnd, Outcome};

use super::{Server, runs::at_work, worker::Worker};

const RUN: &str = "/api/v2/dags/work/dagRuns/r";

fn ids(list: &Value) -> Vec<String> {
    let name = |ti: &Value| match ti["map_index"].as_i64().unwrap() {
        -1 => ti["task_id"].as_str().unwrap().to_owned(),
        index => format!("{}[{index}]", ti["task_id"].as_str().unwrap()),
    };
    list["task_instances"].as_array().unwrap().iter().map(name).collect()
}

/// A server with a run whose first task runs.
async fn running() -> (Server, Worker, updraft_core::AttemptId) {
    let server = at_work().await;
    let mut worker = Worker::join(&server).await;
    server.trigger("work", "r").await;
    let order = worker.begin().await;
    server.until(&format!("{RUN}/taskInstances/first"), |ti| ti["state"] == "running").await;
    (server, worker, order.attempt)
}

#[tokio::test]
async fn a_task_instance_is_shown_as_it_goes_on() {
    let (server, mut worker, attempt) = running().await;
    let first = server.get(&format!("{RUN}/taskInstances/first")).await.shape("TaskInstanceResponse");
    assert_eq!(
        (&first["state"], &first["try_number"], &first["hostname"]),
        (&json!("running"), &json!(1), &json!("worker"))
    );
    let second = server.get(&format!("{RUN}/taskInstances/second")).await.shape("TaskInstanceResponse");
    assert_eq!(second["state"], Value::Null);
    let why = server.get(&format!("{RUN}/taskInstances/second/dependencies")).await;
    let why = why.shape("TaskDependencyCollectionResponse");
    assert!(why["dependencies"][0]["reason"].as_str().unwrap().contains("`first` is running"), "{why}");
    let mut outcome = Outcome::new(AttemptEnd::Success);
    outcome.rendered = Some(json!({"bash_command": "true"}));
    worker.end(attempt, outcome).await;
    let first = server.until(&format!("{RUN}/taskInstances/first"), |ti| ti["state"] == "success").await;
    assert_eq!(first["rendered_fields"], json!({"bash_command": "true"}));
    server.get(&format!("{RUN}/taskInstances/none")).await.refused(404);
    server.get(&format!("{RUN}/taskInstances/first/0")).await.refused(404);
    server.get(&format!("{RUN}/taskInstances/first/x")).await.refused(422);
}

#[tokio::test]
async fn task_instances_are_filtered_ordered_and_paged() {
    let (server, _worker, _) = running().await;
    let cases: [(&str, &[&str]); 9] = [
        ("work/dagRuns/r/taskInstances?order_by=task_id", &["first", "second"]),
        ("~/dagRuns/~/taskInstances?order_by=-task_id", &["second", "first"]),
        ("work/dagRuns/~/taskInstances?state=running", &["first"]),
        ("work/dagRuns/~/taskInstances?state=none", &["second"]),
        ("work/dagRuns/~/taskInstances?task_display_name_pattern=eco", &["second"]),
        ("work/dagRuns/~/taskInstances?task_id=first", &["first"]),
        ("work/dagRuns/~/taskInstances?pool=other", &[]),
        ("work/dagRuns/~/taskInstances?operator=BashOperator&try_number=1", &["first"]),
        ("work/dagRuns/~/taskInstances?order_by=task_id&limit=1&offset=1", &["second"]),
    ];
    for (path, expected) in cases {
        let list = server.get(&format!("/api/v2/dags/{path}")).await.shape("TaskInstanceCollectionResponse");
        assert_eq!(ids(&list), expected, "{path}");
    }
    server.get("/api/v2/dags/~/dagRuns/r/taskInstances").await.refused(400);
    server.get("/api/v2/dags/work/dagRuns/none/taskInstances").await.refused(404);
    server.get("/api/v2/dags/~/dagRuns/~/taskInstances?state=paused").await.refused(422);
    let list = "/api/v2/dags/~/dagRuns/~/taskInstances/list";
    let batch = json!({"dag_ids": ["work"], "state": [null], "order_by": "task_id"});
    let found = server.post(list, batch).await.shape("TaskInstanceCollectionResponse");
    assert_eq!(ids(&found), ["second"]);
    server.post(list, json!({"colour": 1})).await.refused(422);
    server.post("/api/v2/dags/work/dagRuns/~/taskInstances/list", json!({})).await.refused(422);
}

#[tokio::test]
async fn tries_are_kept_with_how_they_ended() {
    let (server, mut worker, attempt) = running().await;
    worker.end(attempt, Outcome::new(AttemptEnd::FailedForGood)).await;
    server.until(RUN, |run| run["state"] == "failed").await;
    let clear = json!({"dry_run": false, "dag_run_id": "r", "task_ids": ["first"], "include_downstream": true, "only_failed": false});
    let cleared = server.post("/api/v2/dags/work/clearTaskInstances", clear).await;
    assert_eq!(cleared.shape("TaskInstanceCollectionResponse")["total_entries"], 2);
    worker.run_one(AttemptEnd::Success).await;
    server.until(&format!("{RUN}/taskInstances/first"), |ti| ti["state"] == "success").await;
    let tries = server.get(&format!("{RUN}/taskInstances/first/tries")).await;
    let tries = tries.shape("TaskInstanceHistoryCollectionResponse");
    let ends: Vec<_> = tries["task_instances"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(ends, ["failed", "success"]);
    let one = server.get(&format!("{RUN}/taskInstances/first/tries/1")).await;
    assert_eq!(one.shape("TaskInstanceHistoryResponse")["state"], "failed");
    server.get(&format!("{RUN}/taskInstances/first/tries/9")).await.refused(404);
}

#[tokio::test]
async fn a_task_instance_is_marked_with_what_is_after_it() {
    let (server, mut worker, attempt) = running().await;
    let path = format!("{RUN}/taskInstances/first");
    server.patch(&path, json!({"new_state": "running"})).await.refused(422);
    server.patch(&path, json!({"new_state": null})).await.refused(422);
    server.patch(&format!("{RUN}/taskInstances/none"), json!({"new_state": "failed"})).await.refused(404);
    let would = json!({"new_state": "success", "include_downstream": true});
    let dry = server.patch(&format!("{path}/dry_run"), would.clone()).await;
    assert_eq!(dry.shape("TaskInstanceCollectionResponse")["total_entries"], 2);
    assert_eq!(server.get(&path).await.ok()["state"], "running", "it was only asked");
    let done = server.patch(&path, would.clone()).await.shape("TaskInstanceCollectionResponse");
    assert_eq!(done["task_instances"][1]["state"], "success");
    // The worker is told to end what still runs.
    let cancelled = worker.hear(|message| match message {
        updraft_core::protocol::FromServer::Cancel(attempts) => Some(attempts),
        _ => None,
    });
    assert_eq!(cancelled.await, [attempt]);
    server.patch(&path, would).await.refused(409);
    let noted = server.patch(&path, json!({"note": "mine"})).await.shape("TaskInstanceCollectionResponse");
    assert_eq!(noted["task_instances"][0]["note"], "mine");
    server.patch(&path, json!({"note": "x".repeat(1001)})).await.refused(422);
}

#[tokio::test]
async fn clearing_is_checked_and_only_said_where_nothing_else_is_asked() {
    let (server, _worker, _) = running().await;
    let path = "/api/v2/dags/work/clearTaskInstances";
    let would = json!({"dag_run_id": "r", "only_failed": false});
    let found = server.post(path, would).await.shape("TaskInstanceCollectionResponse");
    assert_eq!(found["total_entries"], 2);
    assert_eq!(server.get(&format!("{RUN}/taskInstances/first")).await.ok()["state"], "running");
    let cases = [
        (json!({"only_failed": true, "only_running": true}), 422),
        (json!({"task_ids": []}), 422),
        (json!({"dag_run_id": "r", "start_date": "2026-01-01T00:00:00Z"}), 422),
        (json!({"start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"}), 422),
        (json!({"dag_run_id": "none"}), 404),
        (json!({"dag_run_id": "r", "task_ids": ["none"]}), 404),
        (json!({"dag_run_id": "r", "include_past": true}), 400),
        (
            json!({"dag_run_id": "r", "prevent_running_task": true, "dry_run": false, "only_failed": false}),
            409,
        ),
    ];
    for (body, status) in cases {
        server.post(path, body).await.refused(status);
    }
    server.post("/api/v2/dags/none/clearTaskInstances", json!({})).await.refused(404);
}

#[tokio::test]
async fn the_copies_of_a_mapped_task_are_listed_and_looked_at_one_by_one() {
    let document =
        "mapped: {tasks: {each: {operator: BashOperator, expand: {bash_command: ['a', 'b', 'c']}}}}";
    let server = Server::with_dags(document).await;
    server.patch("/api/v2/dags/mapped", json!({"is_paused": false})).await.ok();
    server.trigger("mapped", "r").await;
    let run = "/api/v2/dags/mapped/dagRuns/r/taskInstances";
    server.until(&format!("{run}?order_by=map_index"), |list| list["total_entries"] == 3).await;
    let copies = server.get(&format!("{run}/each/listMapped?order_by=-map_index")).await;
    let copies = copies.shape("TaskInstanceCollectionResponse");
    assert_eq!(ids(&copies), ["each[2]", "each[1]", "each[0]"]);
    let copy = server.get(&format!("{run}/each/1")).await.shape("TaskInstanceResponse");
    assert_eq!((&copy["map_index"], &copy["rendered_map_index"]), (&json!(1), &json!("1")));
    assert!(server.get(&format!("{run}/each")).await.refused(404).contains("map_index"));
    server.get(&format!("{run}/none/listMapped")).await.refused(404);
    let marked = server.patch(&format!("{run}/each/1"), json!({"new_state": "skipped"})).await;
    assert_eq!(ids(&marked.shape("TaskInstanceCollectionResponse")), ["each[1]"]);
    server.get(&format!("{run}/each/1/tries")).await.shape("TaskInstanceHistoryCollectionResponse");
    server.get(&format!("{run}/each/0/dependencies")).await.shape("TaskDependencyCollectionResponse");
}

#[tokio::test]
async fn a_mark_with_what_is_after_it_leaves_the_teardown_its_work() {
    let server = Server::with_dags(
        "d:\n  tasks:\n    make: {operator: bash, bash_command: 'true', is_setup: true}\n    \
         use: {operator: bash, bash_command: 'true', dependencies: [make]}\n    \
         clear: {operator: bash, bash_command: 'true', is_teardown: true, dependencies: [make, use]}\n",
    )
    .await;
    server.patch("/api/v2/dags?dag_id_pattern=~", json!({"is_paused": false})).await.ok();
    server.trigger("d", "r").await;
    let tis = "/api/v2/dags/d/dagRuns/r/taskInstances";
    let body = json!({"new_state": "success", "include_downstream": true});
    let marked = server.patch(&format!("{tis}/make"), body).await.shape("TaskInstanceCollectionResponse");
    assert_eq!(ids(&marked), ["make", "use"]);
    let teardown = server.until(&format!("{tis}/clear"), |ti| ti["state"] == "scheduled").await;
    assert_eq!(teardown["end_date"], Value::Null);
}
