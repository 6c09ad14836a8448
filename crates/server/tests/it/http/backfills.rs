//! Backfills: what is planned, what is done, and what a crash in the middle leads to.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use updraft_core::DagKey;
use updraft_server::backfills::Backfiller;
use updraft_store::{BackfillId, BackfillRunRow, Progress, RunQuery, Window};

use super::Server;

const DAGS: &str = "
daily:
  schedule: '@daily'
  start_date: 2020-01-01
  catchup: false
  is_paused_upon_creation: true
  params: {depth: {__type__: airflow.sdk.Param, type: integer, default: 1}}
  tasks:
    load: {operator: bash, bash_command: 'true'}
    tell: {operator: bash, bash_command: 'true'}
by_hand:
  schedule: null
  tasks:
    a: {operator: empty}
careful:
  schedule: '@daily'
  start_date: 2020-01-01
  catchup: false
  tasks:
    a: {operator: empty, depends_on_past: true}
";

fn january(days: u32) -> Value {
    let to = format!("2021-01-{days:02}T00:00:00Z");
    json!({"dag_id": "daily", "from_date": "2021-01-01T00:00:00Z", "to_date": to})
}

fn with(mut body: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn backfiller(server: &Server) -> Backfiller {
    Backfiller { store: server.store.clone(), leader: server.leader.clone() }
}

/// The dates of a backfill: day, state, run.
async fn dates(server: &Server, id: i64) -> Vec<(String, String)> {
    let answer = server.get(&format!("/api/v1/backfills/{id}/runs?limit=1000")).await.ok();
    let day = |date: &Value| {
        let at = date["logical_date"].as_str().unwrap()[8..10].to_owned();
        (at, date["state"].as_str().unwrap().to_owned())
    };
    answer["dates"].as_array().unwrap().iter().map(day).collect()
}

/// Waits until the dates of a backfill are so.
async fn until(server: &Server, id: i64, expected: &[(&str, &str)]) {
    let mut now = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        tick.tick().await;
        now = dates(server, id).await;
        if now.iter().map(|(day, state)| (&**day, &**state)).eq(expected.iter().copied()) {
            return;
        }
    }
    panic!("{now:?}");
}

async fn end(server: &Server, day: u32, state: &str) {
    let run = format!("/api/v2/dags/daily/dagRuns/backfill__2021-01-{day:02}T00:00:00+00:00");
    server.patch(&run, json!({"state": state})).await.ok();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_as_airflow_does() {
    let server = Server::with_dags(DAGS).await;
    let refused = async |more: Value, status| {
        let answer = server.post("/api/v2/backfills", with(january(3), more)).await;
        answer.refused(status)
    };
    assert_eq!(refused(json!({"dag_id": "none"}), 404).await, "Could not find dag none");
    assert_eq!(
        refused(json!({"dag_id": "by_hand"}), 422).await,
        "by_hand has a non-periodic schedule that does not support backfills"
    );
    let careful = json!({"dag_id": "careful"});
    assert!(refused(careful.clone(), 422).await.contains("You must set reprocess"));
    let backwards = with(careful, json!({"run_backwards": true}));
    assert!(refused(backwards, 422).await.contains("cannot be run in reverse"));
    let future = json!({"from_date": "2999-01-01T00:00:00Z", "to_date": "2999-01-02T00:00:00Z"});
    assert_eq!(refused(future, 422).await, "Backfill cannot be executed for future dates.");
    let turned = json!({"from_date": "2021-02-01T00:00:00Z"});
    assert!(refused(turned, 422).await.contains("must not be after to_date"));
    let nothing = json!({"from_date": "2021-01-01T01:00:00Z", "to_date": "2021-01-01T02:00:00Z"});
    assert!(refused(nothing, 422).await.starts_with("No runs to create for Dag daily"));
    let detail = refused(json!({"dag_run_conf": {"depth": "x"}}), 422).await;
    assert!(detail.contains("Invalid input for param depth"), "{detail}");
    assert!(refused(json!({"task_ids": ["lod"]}), 422).await.contains("no task `lod`"));
    let detail = refused(json!({"reprocess_behavior": "some"}), 422).await;
    assert!(detail.contains(r#"["body","reprocess_behavior"]"#), "{detail}");
    assert!(refused(json!({"max_active_runs": 0}), 422).await.contains("max_active_runs"));
    let many = json!({"dag_id": "daily", "from_date": "1600-01-01T00:00:00Z"});
    assert!(refused(many, 422).await.contains("more than 100000 runs"));
    assert_eq!(server.get("/api/v2/backfills/7").await.refused(404), "Backfill not found");
    assert!(server.get("/api/v2/backfills").await.refused(422).contains(r#"["query","dag_id"]"#));
}

#[tokio::test]
async fn its_runs_are_made_a_few_at_a_time_the_latest_first_where_that_is_asked_for() {
    let server = Server::with_dags(DAGS).await;
    let work = tokio::spawn(backfiller(&server).run());
    let body =
        with(january(4), json!({"max_active_runs": 2, "run_backwards": true, "dag_run_conf": {"depth": 2}}));
    let made = server.post("/api/v2/backfills", body.clone()).await.ok();
    let id = made["id"].as_i64().unwrap();
    assert_eq!((&made["dag_id"], &made["completed_at"]), (&json!("daily"), &Value::Null));
    let detail = server.post("/api/v2/backfills", body).await.refused(409);
    assert_eq!(detail, "There is already a running backfill for dag daily");
    until(&server, id, &[("04", "queued"), ("03", "queued"), ("02", "waiting"), ("01", "waiting")]).await;
    let path = "/api/v2/dags/daily/dagRuns/backfill__2021-01-04T00:00:00+00:00";
    let run = server.get(path).await.ok();
    assert_eq!((&run["run_type"], &run["conf"]), (&json!("backfill"), &json!({"depth": 2})));
    assert_eq!(run["data_interval_start"], "2021-01-04T00:00:00Z");
    assert_eq!(run["triggered_by"], "backfill");

    // Paused, it makes none in the place of the one that is over.
    let paused = server.request(Method::PUT, &format!("/api/v2/backfills/{id}/pause"), "user");
    assert_eq!(paused.send().await.unwrap().json::<Value>().await.unwrap()["is_paused"], true);
    end(&server, 4, "success").await;
    // tidy: sleep because nothing is to happen
    tokio::time::sleep(Duration::from_millis(300)).await;
    until(&server, id, &[("04", "success"), ("03", "queued"), ("02", "waiting"), ("01", "waiting")]).await;
    let unpaused = server.request(Method::PUT, &format!("/api/v2/backfills/{id}/unpause"), "user");
    assert!(unpaused.send().await.unwrap().status().is_success());
    until(&server, id, &[("04", "success"), ("03", "queued"), ("02", "queued"), ("01", "waiting")]).await;
    for (day, state) in [(3, "failed"), (2, "success")] {
        end(&server, day, state).await;
    }
    until(&server, id, &[("04", "success"), ("03", "failed"), ("02", "success"), ("01", "queued")]).await;
    let progress = server.get(&format!("/api/v1/backfills/{id}")).await.ok();
    assert_eq!(
        (&progress["success"], &progress["failed"], &progress["active"]),
        (&json!(2), &json!(1), &json!(1))
    );
    end(&server, 1, "success").await;
    let over = async || server.get(&format!("/api/v2/backfills/{id}")).await.ok()["completed_at"].clone();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while over().await.is_null() {
        tick.tick().await;
    }
    let refused = server.request(Method::PUT, &format!("/api/v2/backfills/{id}/pause"), "user");
    assert_eq!(refused.send().await.unwrap().status(), 409);

    // What failed begins anew, and nothing else.
    let again = with(january(5), json!({"reprocess_behavior": "failed"}));
    let preview = server.post("/api/v1/backfills/preview", again.clone()).await.ok();
    let actions: Vec<_> = preview["dates"].as_array().unwrap().iter().map(|date| &date["action"]).collect();
    assert_eq!(actions, ["pass_over", "pass_over", "clear", "pass_over", "make"]);
    let reason = preview["dates"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, "its run `backfill__2021-01-01T00:00:00+00:00` succeeded");
    let dry = server.post("/api/v2/backfills/dry_run", again.clone()).await.ok();
    assert_eq!(dry["total_entries"], 2);
    assert_eq!(dry["backfills"][0]["logical_date"], "2021-01-03T00:00:00Z");
    let id = server.post("/api/v2/backfills", again).await.ok()["id"].as_i64().unwrap();
    let over = "passed_over";
    until(&server, id, &[("01", over), ("02", over), ("03", "queued"), ("04", over), ("05", "queued")]).await;

    // Cancelled, its runs that wait are failed.
    let cancelled = server.request(Method::PUT, &format!("/api/v2/backfills/{id}/cancel"), "user");
    assert!(cancelled.send().await.unwrap().status().is_success());
    until(&server, id, &[("01", over), ("02", over), ("03", "failed"), ("04", over), ("05", "failed")]).await;
    let listed = server.get("/api/v2/backfills?dag_id=daily&order_by=-id").await.ok();
    assert_eq!((&listed["total_entries"], &listed["backfills"][0]["id"]), (&json!(2), &json!(id)));
    work.abort();
}

#[tokio::test]
async fn only_some_tasks_of_each_date() {
    let server = Server::with_dags(DAGS).await;
    let work = tokio::spawn(backfiller(&server).run());
    let body = with(january(1), json!({"task_ids": ["tell"]}));
    let id = server.post("/api/v2/backfills", body).await.ok()["id"].as_i64().unwrap();
    until(&server, id, &[("01", "queued")]).await;
    let path = "/api/v2/dags/daily/dagRuns/backfill__2021-01-01T00:00:00+00:00/taskInstances";
    let tis = server.get(path).await.ok();
    let names: Vec<_> = tis["task_instances"].as_array().unwrap().iter().map(|ti| &ti["task_id"]).collect();
    assert_eq!(names, ["tell"]);
    work.abort();
}

/// A server that died right after the leader had obeyed it, and before it could note that.
#[tokio::test]
async fn what_was_begun_before_a_crash_is_not_done_again() {
    let server = Server::with_dags(DAGS).await;
    let key = DagKey::new("default", "daily");
    let work = tokio::spawn(backfiller(&server).run());
    let id = server.post("/api/v2/backfills", january(2)).await.ok()["id"].as_i64().unwrap();
    until(&server, id, &[("01", "queued"), ("02", "queued")]).await;
    work.abort();
    end(&server, 1, "failed").await;
    end(&server, 2, "failed").await;

    let store = &server.store;
    let row = |progress: Progress, listing: &BackfillRunRow| BackfillRunRow {
        progress,
        run: None,
        ..listing.clone()
    };
    let rows = store.backfill_runs(BackfillId(id), Window::ALL).await.unwrap().rows;
    let run = rows[1].row.run.unwrap();
    let before = store.run(run).await.unwrap().unwrap().row.clear_number;
    // The first was being made; the second was being cleared, and was.
    let path = "/api/v2/dags/daily/dagRuns/backfill__2021-01-02T00:00:00+00:00/clear";
    server.post(path, json!({"dry_run": false})).await.ok();
    end(&server, 2, "failed").await;
    let starting = |clear_number| Progress::Starting { clear_number };
    store.put_backfill_run(BackfillId(id), &row(starting(None), &rows[0].row)).await.unwrap();
    store.put_backfill_run(BackfillId(id), &row(starting(Some(before)), &rows[1].row)).await.unwrap();

    let work = tokio::spawn(backfiller(&server).run());
    until(&server, id, &[("01", "failed"), ("02", "failed")]).await;
    let after = store.run(run).await.unwrap().unwrap().row.clear_number;
    assert_eq!(after, before + 1, "cleared by hand, and not again");
    let query = RunQuery { dags: vec![key.dag_id], ..RunQuery::default() };
    assert_eq!(store.runs(&query).await.unwrap().total, 2);
    work.abort();
}

/// Whoever makes the runs is ended at any moment and begins again, and each date has one run, begun anew once.
#[tokio::test]
async fn ended_at_any_moment_it_makes_each_run_once_and_clears_each_once() {
    let server = Server::with_dags(DAGS).await;
    let days = 25;
    let interrupted = async |id: i64, state: &str| {
        for round in 0_u64.. {
            let work = tokio::spawn(backfiller(&server).run());
            // tidy: sleep because any moment will do
            tokio::time::sleep(Duration::from_micros(round * 97 % 2500)).await;
            work.abort();
            let _ = work.await;
            for (day, now) in dates(&server, id).await {
                if now == "queued" {
                    end(&server, day.parse().unwrap(), state).await;
                }
            }
            let over = server.get(&format!("/api/v2/backfills/{id}")).await.ok();
            if !over["completed_at"].is_null() {
                let dates = dates(&server, id).await;
                assert!(dates.iter().all(|(_, now)| now == state), "{dates:?}");
                return round;
            }
        }
        0
    };
    let first = with(january(days), json!({"max_active_runs": 3}));
    let id = server.post("/api/v2/backfills", first).await.ok()["id"].as_i64().unwrap();
    assert!(interrupted(id, "failed").await > 5);
    let query = RunQuery { window: Window::ALL, ..RunQuery::default() };
    let runs = server.store.runs(&query).await.unwrap().rows;
    assert_eq!(runs.len(), days as usize);
    assert!(runs.iter().all(|run| run.row.clear_number == 0));

    let again = with(january(days), json!({"max_active_runs": 3, "reprocess_behavior": "failed"}));
    let id = server.post("/api/v2/backfills", again).await.ok()["id"].as_i64().unwrap();
    interrupted(id, "success").await;
    let runs = server.store.runs(&query).await.unwrap().rows;
    assert_eq!(runs.len(), days as usize);
    let cleared: Vec<u32> = runs.iter().map(|run| run.row.clear_number).collect();
    assert!(cleared.iter().all(|cleared| *cleared == 1), "{cleared:?}");
}
