//! Pools, variables, connections, import errors, the audit log, jobs.

use serde_json::{Value, json};

use super::Server;

#[tokio::test]
async fn pools_are_made_changed_and_deleted() {
    let server = Server::start().await;
    let body = json!({"name": "a/b", "slots": 2, "description": "for b"});
    let made = server.post("/api/v2/pools", body.clone()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.shape("PoolResponse")["open_slots"], 2);
    server.post("/api/v2/pools", body).await.refused(409);
    server.post("/api/v2/pools", json!({"name": "c", "slots": -2})).await.refused(422);
    server.post("/api/v2/pools", json!({"name": "", "slots": 2})).await.refused(422);
    server.post("/api/v2/pools", json!({"name": "c", "slots": 1, "team_name": "t"})).await.refused(422);
    let pool = server.patch("/api/v2/pools/a/b", json!({"slots": -1, "include_deferred": true})).await;
    let pool = pool.shape("PoolResponse");
    assert_eq!(
        (&pool["slots"], &pool["open_slots"], &pool["description"]),
        (&json!(-1), &json!(-1), &json!("for b"))
    );
    let masked = json!({"slots": 5, "description": "other"});
    let pool = server.patch("/api/v2/pools/a/b?update_mask=slots", masked).await.shape("PoolResponse");
    assert_eq!((&pool["slots"], &pool["description"]), (&json!(5), &json!("for b")));
    server.patch("/api/v2/pools/a/b", json!({"pool": "other"})).await.refused(400);
    server.patch("/api/v2/pools/none", json!({"slots": 1})).await.refused(404);
    let list =
        server.get("/api/v2/pools?pool_name_pattern=A/&order_by=-name").await.shape("PoolCollectionResponse");
    assert_eq!(list["total_entries"], 1);
    assert_eq!(server.delete("/api/v2/pools/a/b").await.status, 204);
    server.delete("/api/v2/pools/a/b").await.refused(404);
    server.delete("/api/v2/pools/default_pool").await.refused(400);
}

#[tokio::test]
async fn variables_are_encrypted_and_shown_unless_their_name_says_that_they_are_secret() {
    let server = Server::start().await;
    let made =
        server.post("/api/v2/variables", json!({"key": "env", "value": "prod", "description": "d"})).await;
    assert_eq!(made.status, 201);
    let variable = made.shape("VariableResponse");
    assert_eq!((&variable["value"], &variable["is_encrypted"]), (&json!("prod"), &json!(true)));
    let kept = server.store.variable(&"default".into(), "env").await.unwrap().unwrap();
    assert!(!kept.value.windows(4).any(|bytes| bytes == b"prod"));
    server.post("/api/v2/variables", json!({"key": "env", "value": "x"})).await.refused(409);
    server.post("/api/v2/variables", json!({"key": "", "value": "x"})).await.refused(422);
    server.post("/api/v2/variables", json!({"key": "k"})).await.refused(422);
    let secret = json!({"key": "api_token", "value": "s3cret"});
    assert_eq!(server.post("/api/v2/variables", secret).await.ok()["value"], "***");
    let nested = json!({"key": "settings", "value": {"password": "s3cret", "host": "h"}});
    let shown = server.post("/api/v2/variables", nested).await.ok();
    assert_eq!(
        serde_json::from_str::<Value>(shown["value"].as_str().unwrap()).unwrap(),
        json!({"password": "***", "host": "h"})
    );
    // What comes back as it was shown keeps its secrets.
    server
        .patch("/api/v2/variables/settings", json!({"key": "settings", "value": shown["value"]}))
        .await
        .ok();
    let text = server.real_variable("settings").await;
    assert!(text.contains("s3cret"), "{text}");
    let masked = json!({"key": "env", "value": "test", "description": "e"});
    let changed =
        server.patch("/api/v2/variables/env?update_mask=value", masked).await.shape("VariableResponse");
    assert_eq!((&changed["value"], &changed["description"]), (&json!("test"), &json!("d")));
    server.patch("/api/v2/variables/env", json!({"key": "other", "value": "x"})).await.refused(400);
    server.patch("/api/v2/variables/none", json!({"key": "none", "value": "x"})).await.refused(404);
    let list =
        server.get("/api/v2/variables?order_by=-key&limit=2").await.shape("VariableCollectionResponse");
    assert_eq!((&list["variables"][0]["key"], &list["total_entries"]), (&json!("settings"), &json!(3)));
    assert_eq!(server.delete("/api/v2/variables/env").await.status, 204);
    server.delete("/api/v2/variables/env").await.refused(404);
    server.get("/api/v2/variables/env").await.refused(404);
}

#[tokio::test]
async fn a_connections_password_goes_in_and_never_comes_out() {
    let server = Server::start().await;
    let body = json!({
        "connection_id": "db", "conn_type": "postgres", "host": "h", "port": 5432, "login": "me",
        "password": "s3cret", "extra": "{\"token\": \"t0ken\", \"region\": \"eu\"}",
    });
    let made = server.post("/api/v2/connections", body.clone()).await;
    assert_eq!(made.status, 201);
    let connection = made.shape("ConnectionResponse");
    assert_eq!((&connection["password"], &connection["host"]), (&json!("***"), &json!("h")));
    server.post("/api/v2/connections", body.clone()).await.refused(409);
    for answer in [
        server.get("/api/v2/connections/db").await,
        server.get("/api/v2/connections").await,
        server.get("/api/v2/eventLogs").await,
    ] {
        assert!(!answer.text.contains("s3cret") && !answer.text.contains("t0ken"), "{}", answer.text);
    }
    let bad = [
        json!({"connection_id": "a b", "conn_type": "http"}),
        json!({"connection_id": "a", "conn_type": "http", "extra": "no json"}),
        json!({"connection_id": "a", "conn_type": "http", "port": 99999}),
        json!({"connection_id": "a"}),
        json!({"connection_id": "a", "conn_type": "http", "passwort": "x"}),
    ];
    for body in bad {
        server.post("/api/v2/connections", body).await.refused(422);
    }
    let shown = connection["extra"].as_str().unwrap();
    let edited = json!({"connection_id": "db", "conn_type": "postgres", "host": "h2", "password": "***", "extra": shown});
    let changed = server.patch("/api/v2/connections/db", edited).await.shape("ConnectionResponse");
    assert_eq!((&changed["host"], &changed["login"]), (&json!("h2"), &json!("me")));
    let real = server.real_connection("db").await;
    assert_eq!(real.password.as_deref(), Some("s3cret"));
    assert_eq!(real.extra["token"], "t0ken");
    let masked = json!({"connection_id": "db", "conn_type": "mysql", "host": "h3"});
    let changed = server.patch("/api/v2/connections/db?update_mask=host", masked).await.ok();
    assert_eq!((&changed["host"], &changed["conn_type"]), (&json!("h3"), &json!("postgres")));
    server
        .patch("/api/v2/connections/db", json!({"connection_id": "other", "conn_type": "x"}))
        .await
        .refused(400);
    server
        .patch("/api/v2/connections/none", json!({"connection_id": "none", "conn_type": "x"}))
        .await
        .refused(404);
    let tested = server.post("/api/v2/connections/test", body).await.shape("ConnectionTestResponse");
    assert_eq!(tested["status"], false);
    assert_eq!(server.delete("/api/v2/connections/db").await.status, 204);
    server.delete("/api/v2/connections/db").await.refused(404);
    server.get("/api/v2/connections/db").await.refused(404);
    let list =
        server.get("/api/v2/connections?order_by=-conn_type").await.shape("ConnectionCollectionResponse");
    assert_eq!(list["total_entries"], 0);
}

#[tokio::test]
async fn import_errors_are_listed_with_their_line() {
    let server = Server::start().await;
    let at = jiff::Timestamp::now();
    let namespace = "default".into();
    server.store.put_import_error(&namespace, "dags/b.yml", "no such operator", Some(3), at).await.unwrap();
    let placed = "dags/a.yml:2:5: d.tasks: a cycle";
    server.store.put_import_error(&namespace, "dags/a.yml", placed, Some(2), at).await.unwrap();
    let list =
        server.get("/api/v2/importErrors?order_by=-filename").await.shape("ImportErrorCollectionResponse");
    assert_eq!(list["import_errors"][0]["stack_trace"], "dags/b.yml:3: no such operator");
    assert_eq!(list["import_errors"][1]["stack_trace"], placed);
    assert_eq!(list["total_entries"], 2);
    let found = server.get("/api/v2/importErrors?filename_pattern=A.yml").await.ok();
    assert_eq!(found["total_entries"], 1);
    let id = &found["import_errors"][0]["import_error_id"];
    server.get(&format!("/api/v2/importErrors/{id}")).await.shape("ImportErrorResponse");
    server.get("/api/v2/importErrors/999").await.refused(404);
    server.get("/api/v2/importErrors/x").await.refused(422);
}

#[tokio::test]
async fn who_did_what_is_on_record() {
    let server = Server::with_dags("etl: {tasks: {a: {operator: EmptyOperator}}}").await;
    server.trigger("etl", "r").await;
    server.ask("PATCH", "/api/v2/dags/etl", "user", Some(json!({"is_paused": false}))).await.ok();
    let list =
        server.get("/api/v2/eventLogs?dag_id=etl&order_by=-id").await.shape("EventLogCollectionResponse");
    let events: Vec<_> = list["event_logs"].as_array().unwrap().iter().map(|log| &log["event"]).collect();
    assert_eq!(events, ["unpause_dag", "trigger"]);
    assert_eq!(
        (&list["event_logs"][0]["owner"], &list["event_logs"][1]["run_id"]),
        (&json!("user"), &json!("r"))
    );
    let cases = [
        ("event=trigger", 1),
        ("excluded_events=trigger", 1),
        ("owner=user", 1),
        ("run_id=r", 1),
        ("run_id=none", 0),
        ("event_pattern=AUSE", 1),
    ];
    for (query, total) in cases {
        let list = server.get(&format!("/api/v2/eventLogs?dag_id=etl&{query}")).await.ok();
        assert_eq!(list["total_entries"], total, "{query}");
    }
    let id = &list["event_logs"][0]["event_log_id"];
    server.get(&format!("/api/v2/eventLogs/{id}")).await.shape("EventLogResponse");
    server.get("/api/v2/eventLogs/99999").await.refused(404);
    server.get("/api/v2/eventLogs?run_id=r").await.refused(400);
}

#[tokio::test]
async fn the_leader_is_the_one_job() {
    let server = Server::start().await;
    let jobs = server.get("/api/v2/jobs").await.shape("JobCollectionResponse");
    assert_eq!(
        (&jobs["jobs"][0]["job_type"], &jobs["jobs"][0]["state"]),
        (&json!("SchedulerJob"), &json!("running"))
    );
    assert_eq!(server.get("/api/v2/jobs?is_alive=false").await.ok()["total_entries"], 0);
}
