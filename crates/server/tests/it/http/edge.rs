//! What holds for every route, and what is there for whoever operates this.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use updraft_server::http::Config;

use super::Server;

#[tokio::test]
async fn a_request_under_another_name_is_refused() {
    let server = Server::start().await;
    let evil = server.request(Method::GET, "/api/v2/version", "").header("host", "evil.example");
    assert_eq!(evil.send().await.unwrap().status(), 421);
    let own = server.request(Method::GET, "/api/v2/version", "").header("host", "localhost:1");
    assert_eq!(own.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn answers_have_an_id_and_say_what_browsers_may_not_do() {
    let server = Server::start().await;
    let answer = server.ask("GET", "/nowhere", "", None).await;
    answer.refused(404);
    for header in ["x-request-id", "x-content-type-options", "x-frame-options", "content-security-policy"] {
        assert!(answer.headers.contains_key(header), "{header}");
    }
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let own = server.request(Method::GET, "/api/v2/version", "").header("x-request-id", "mine-1");
    assert_eq!(own.send().await.unwrap().headers()["x-request-id"], "mine-1");
}

#[tokio::test]
async fn what_is_not_there_and_what_can_not_be_done_are_told_apart() {
    let server = Server::start().await;
    assert_eq!(server.get("/api/v2/plugins").await.refused(404), "Not Found");
    assert_eq!(server.delete("/api/v2/dagTags").await.refused(405), "Method Not Allowed");
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_is_refused() {
    let server = Server::with(true, Config { most_body_bytes: 1000, ..Config::default() }).await;
    let large = json!({"name": "x".repeat(2000), "slots": 1});
    server.post("/api/v2/pools", large).await.refused(413);
    let request = server.request(Method::POST, "/api/v2/pools", "admin").body("{");
    assert_eq!(request.send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn where_nobody_leads_what_needs_a_leader_is_put_off_and_the_rest_is_answered() {
    let config = Config { timeout: Duration::from_millis(100), ..Config::default() };
    let server = Server::with(false, config).await;
    let pool = server.post("/api/v2/pools", json!({"name": "p", "slots": 1})).await;
    pool.refused(503);
    assert!(pool.headers.contains_key("retry-after"));
    server.get("/api/v2/pools").await.shape("PoolCollectionResponse");
}

#[tokio::test]
async fn health_and_version_are_told_to_anybody() {
    let server = Server::start().await;
    let health = server.ask("GET", "/api/v2/monitor/health", "", None).await.shape("HealthInfoResponse");
    assert_eq!(health["metadatabase"]["status"], "healthy");
    assert_eq!(health["scheduler"]["status"], "healthy");
    assert!(health["scheduler"]["latest_scheduler_heartbeat"].is_string());
    let version = server.ask("GET", "/api/v2/version", "", None).await.shape("VersionInfo");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn documents_and_the_page_of_them_are_there() {
    let server = Server::start().await;
    for base in ["/api/v2", "/api/v1"] {
        let document = server.ask("GET", &format!("{base}/openapi.json"), "", None).await.ok();
        let version = document["openapi"].as_str().unwrap();
        assert!(version.starts_with("3."), "{version}");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut text = document.to_string();
        // Whatever is referred to is there.
        while let Some(at) = text.find("#/components/schemas/") {
            text = text.split_off(at + "#/components/schemas/".len());
            let name = text.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{base} has no schema {name}");
        }
    }
    let schema = server.ask("GET", "/schema/dag.json", "", None).await.ok();
    assert!(schema["$defs"]["BashOperator"]["properties"]["bash_command"]["description"].is_string());
    // The address alone leads there.
    let page = server.ask("GET", "/", "", None).await;
    assert!(page.text.contains("/api/v2/dags/{dag_id}"));
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "it loads something from elsewhere"
    );
}

#[tokio::test]
async fn metrics_count_requests_pools_and_runs() {
    let server = Server::with_dags("etl: {tasks: {a: {operator: EmptyOperator}}}").await;
    server.patch("/api/v2/dags/etl", json!({"is_paused": false})).await.ok();
    server.post("/api/v2/pools", json!({"name": "small", "slots": 3})).await.ok();
    server.trigger("etl", "r1").await;
    server.until("/api/v2/dags/etl/dagRuns/r1", |run| run["state"] == "success").await;
    let metrics = server.get("/metrics").await.text;
    for line in [
        "updraft_dagbag_size 1",
        "updraft_leader 1",
        r#"updraft_dag_runs{namespace="default",state="success"} 1"#,
        r#"updraft_pool_open_slots{namespace="default",pool="small"} 3"#,
        r#"updraft_http_requests_total{method="POST",route="/api/v2/pools",status="201"} 1"#,
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    server.ask("GET", "/metrics", "", None).await.refused(401);
}

#[tokio::test]
async fn namespaces_are_apart() {
    let server = Server::start().await;
    server.post("/ns/team-a/api/v2/pools", json!({"name": "p", "slots": 1})).await.shape("PoolResponse");
    server.get("/ns/team-a/api/v2/pools/p").await.shape("PoolResponse");
    server.get("/api/v2/pools/p").await.refused(404);
    let names = |value: &Value| value["total_entries"].clone();
    assert_ne!(
        names(&server.get("/ns/team-a/api/v2/pools").await.ok()),
        names(&server.get("/ns/team-b/api/v2/pools").await.ok())
    );
}

#[tokio::test]
async fn the_links_of_alerts_lead_to_the_commands_that_show_it() {
    let server = Server::start().await;
    let page = server.ask("GET", "/dags/etl/runs/manual__2026%2D01/x", "", None).await;
    assert!(page.text.contains("<pre>updraft runs show etl manual__2026-01</pre>"), "{}", page.text);
    let page = server.ask("GET", "/dags/%3Cscript%3E%27", "", None).await;
    assert!(page.text.contains("<pre>updraft dags show '&lt;script>'\\'''</pre>"), "{}", page.text);
}
