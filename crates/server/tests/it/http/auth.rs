//! Getting in, and who may do what.

use reqwest::Method;
use serde_json::json;
use updraft_server::accounts::ensure_admin;

use super::Server;

async fn with_admin() -> (Server, String) {
    let server = Server::start().await;
    for name in ["viewer", "user", "op", "admin"] {
        let account = server.store.find_account(name).await.unwrap().unwrap();
        let audit = updraft_core::record::AuditRow {
            at: jiff::Timestamp::now(),
            user: "test".into(),
            action: "delete_account".into(),
            namespace: None,
            dag: None,
            run: None,
            detail: serde_json::Value::Null,
        };
        server.store.delete_account(account.id, &audit).await.unwrap();
    }
    let password = ensure_admin(&*server.store, server.home.path()).await.unwrap().unwrap();
    (server, password)
}

#[tokio::test]
async fn the_first_account_gets_in_with_the_password_that_was_kept() {
    let (server, password) = with_admin().await;
    let kept = std::fs::read_to_string(server.home.path().join("admin-password")).unwrap();
    assert_eq!(kept.trim(), password);
    assert_eq!(ensure_admin(&*server.store, server.home.path()).await.unwrap(), None);
    let body = json!({"username": "admin", "password": password});
    let answer = server.ask("POST", "/auth/token", "", Some(body.clone())).await;
    assert_eq!(answer.status, 201);
    let token = answer.ok()["access_token"].as_str().unwrap().to_owned();
    let who = server.ask("GET", "/api/v1/whoami", &token, None).await.ok();
    assert_eq!(who, json!({"username": "admin", "role": "admin", "namespace": null}));
    let answer = server.ask("POST", "/auth/token/cli", "", Some(body)).await;
    assert_eq!(answer.status, 201);
    let form = server.request(Method::POST, "/auth/token", "");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let sent = form.body(format!("grant_type=password&username=admin&password={password}")).send().await;
    assert_eq!(sent.unwrap().status(), 201);
}

#[tokio::test]
async fn a_changed_password_ends_the_tokens_that_were_given_for_the_old_one() {
    let (server, password) = with_admin().await;
    let body = json!({"username": "admin", "password": password});
    let token = server.ask("POST", "/auth/token", "", Some(body)).await.ok()["access_token"].clone();
    let token = token.as_str().unwrap();
    let change = json!({"old_password": password, "new_password": "a new one"});
    server.ask("PUT", "/api/v1/whoami/password", token, Some(change)).await.ok();
    let refusal = server.ask("GET", "/api/v1/whoami", token, None).await.refused(403);
    assert_eq!(refusal, "Invalid JWT token");
}

#[tokio::test]
async fn wrong_passwords_are_refused_alike_counted_and_slowed_down() {
    let (server, password) = with_admin().await;
    let log_in = async |name: &str, password: &str| {
        server.ask("POST", "/auth/token", "", Some(json!({"username": name, "password": password}))).await
    };
    assert_eq!(log_in("admin", "wrong").await.refused(401), "Invalid credentials");
    assert_eq!(log_in("nobody", "wrong").await.refused(401), "Invalid credentials");
    assert_eq!(log_in("admin", "").await.refused(400), "Username and password must be provided");
    let body = json!({"username": "admin"});
    server.ask("POST", "/auth/token", "", Some(body)).await.refused(422);
    for _ in 0..4 {
        log_in("admin", "wrong").await.refused(401);
    }
    let slowed = log_in("admin", &password).await;
    slowed.refused(429);
    assert!(slowed.headers.contains_key("retry-after"));
    let audit = updraft_store::AuditQuery::default();
    let rows = server.store.audit(&audit).await.unwrap().rows;
    assert_eq!(rows.iter().filter(|row| row.row.action == "login_failed").count(), 6);
}

#[tokio::test]
async fn without_a_token_or_with_a_wrong_one_nothing_is_answered() {
    let server = Server::start().await;
    assert_eq!(server.ask("GET", "/api/v2/dags", "", None).await.refused(401), "Not authenticated");
    assert_eq!(server.ask("GET", "/api/v2/dags", "nonsense", None).await.refused(403), "Invalid JWT token");
    let unknown = "updraft_pat_0000";
    assert_eq!(server.ask("GET", "/api/v2/dags", unknown, None).await.refused(403), "Invalid JWT token");
}

#[tokio::test]
async fn each_role_may_what_the_one_before_it_may_and_more() {
    let server = Server::start().await;
    let pool = json!({"name": "p", "slots": 1});
    let pause = json!({"is_paused": true});
    let cases = [
        ("GET", "/api/v2/dags", None, ["ok", "ok", "ok", "ok"]),
        ("PATCH", "/api/v2/dags", Some(pause), ["no", "ok", "ok", "ok"]),
        ("POST", "/api/v2/pools", Some(pool), ["no", "no", "ok", "taken"]),
        ("GET", "/api/v2/connections", None, ["no", "no", "ok", "ok"]),
        ("GET", "/api/v2/variables", None, ["no", "no", "ok", "ok"]),
        ("GET", "/api/v1/users", None, ["no", "no", "no", "ok"]),
    ];
    for (method, path, body, expected) in cases {
        for (role, expected) in ["viewer", "user", "op", "admin"].into_iter().zip(expected) {
            let answer = server.ask(method, path, role, body.clone()).await;
            let status = answer.status.as_u16();
            let found = match status {
                200 | 201 => "ok",
                403 => "no",
                409 => "taken",
                _ => "strange",
            };
            assert_eq!(found, expected, "{method} {path} as {role}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn an_account_of_a_namespace_sees_no_other() {
    let server = Server::start().await;
    let token = server.account("bound", "admin", Some("team-a")).await;
    server.ask("GET", "/ns/team-a/api/v2/dags", &token, None).await.shape("DAGCollectionResponse");
    for path in ["/api/v2/dags", "/ns/team-b/api/v2/dags", "/ns/team-a/api/v1/users", "/metrics"] {
        let refusal = server.ask("GET", path, &token, None).await.refused(403);
        assert_eq!(refusal, "Forbidden: the account `bound` is bound to the namespace `team-a`");
    }
    let refusal = server.ask("GET", "/api/v2/variables", "viewer", None).await.refused(403);
    assert_eq!(refusal, "Forbidden: the account `viewer` has the role viewer, and this needs op");
}

#[tokio::test]
async fn a_personal_token_is_shown_once_works_until_it_is_revoked_and_shows_no_others() {
    let server = Server::start().await;
    let made = server.ask("POST", "/api/v1/tokens", "user", Some(json!({"name": "laptop"}))).await.ok();
    let token = made["token"].as_str().unwrap();
    let who = server.ask("GET", "/api/v1/whoami", token, None).await.ok();
    assert_eq!(who["username"], "user");
    let list = server.ask("GET", "/api/v1/tokens", "user", None).await;
    assert!(!list.text.contains(token));
    assert_eq!(list.ok()["total_entries"], 2);
    server.ask("GET", "/api/v1/tokens?all=true", "user", None).await.refused(403);
    let path = format!("/api/v1/tokens/{}", made["id"]);
    server.ask("DELETE", &path, "viewer", None).await.refused(404);
    server.ask("DELETE", &path, "user", None).await.ok();
    server.ask("GET", "/api/v1/whoami", token, None).await.refused(403);
    let past = json!({"name": "old", "expires_at": "2020-01-01T00:00:00Z"});
    server.post("/api/v1/tokens", past).await.refused(422);
    let join = json!({"name": "worker", "purpose": "join"});
    server.ask("POST", "/api/v1/tokens", "op", Some(join)).await.refused(403);
}

#[tokio::test]
async fn accounts_are_made_changed_and_deleted_and_one_administrator_stays() {
    let server = Server::start().await;
    let body = json!({"username": "ann", "password": "long enough", "role": "viewer"});
    let made = server.post("/api/v1/users", body.clone()).await;
    assert_eq!(made.status, 201);
    server.post("/api/v1/users", body).await.refused(409);
    let short = json!({"username": "bob", "password": "short", "role": "viewer"});
    server.post("/api/v1/users", short).await.refused(422);
    let no_role = json!({"username": "bob", "password": "long enough", "role": "king"});
    assert!(server.post("/api/v1/users", no_role).await.refused(422).contains("role"));
    let log_in = json!({"username": "ann", "password": "long enough"});
    let token = server.ask("POST", "/auth/token", "", Some(log_in)).await.ok()["access_token"].clone();
    let token = token.as_str().unwrap();
    server.ask("POST", "/api/v2/dags/x/dagRuns", token, Some(json!({}))).await.refused(403);
    let changed = server.patch("/api/v1/users/ann", json!({"role": "user"})).await.ok();
    assert_eq!(changed["role"], "user");
    // The role of now counts, not that of when the token was given.
    let body = json!({"logical_date": null});
    server.ask("POST", "/api/v2/dags/x/dagRuns", token, Some(body)).await.refused(404);
    server.patch("/api/v1/users/ann", json!({"disabled": true})).await.ok();
    server.ask("GET", "/api/v1/whoami", token, None).await.refused(401);
    server.delete("/api/v1/users/ann").await.ok();
    server.delete("/api/v1/users/ann").await.refused(404);
    server.delete("/api/v1/users/admin").await.refused(409);
    server.patch("/api/v1/users/admin", json!({"role": "op"})).await.refused(409);
}
