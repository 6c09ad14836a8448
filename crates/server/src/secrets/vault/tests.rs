//! Against a server that answers as Vault's documentation of its API says ("KV secrets engine - version 1 / 2",
//! "AppRole auth method", "Userpass auth method", "HTTP API: status codes").

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response as Answer},
};
use serde_json::json;

use super::*;

#[derive(Default)]
struct Served {
    /// The tokens that are good.
    good: Vec<&'static str>,
    logins: Vec<String>,
    /// A status for everything.
    status: Option<u16>,
    namespaces: Vec<String>,
    reads: Vec<String>,
}

type Shared = Arc<Mutex<Served>>;

async fn answer(State(served): State<Shared>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 10_000).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let with = |status: u16, body: Value| (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
    let mut served = served.lock().unwrap();
    if let Some(status) = served.status {
        return with(status, json!({ "errors": ["Vault is sealed"] }));
    }
    served.namespaces.extend(header("X-Vault-Namespace"));
    let path = parts.uri.path();
    if path.starts_with("/v1/auth/") {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let good = match path {
            "/v1/auth/approle/login" => body == json!({ "role_id": "r", "secret_id": "s3cret" }),
            "/v1/auth/people/login/me" => body == json!({ "password": "s3cret" }),
            _ => false,
        };
        if !good {
            return with(400, json!({ "errors": ["invalid role or secret ID"] }));
        }
        let token = ["login-1", "login-2", "login-3"][served.logins.len()];
        served.logins.push(path.to_owned());
        return with(200, json!({ "auth": { "client_token": token, "lease_duration": 1200 }, "data": null }));
    }
    if !header("X-Vault-Token").is_some_and(|token| served.good.contains(&token.as_str())) {
        return with(403, json!({ "errors": ["permission denied"] }));
    }
    served.reads.push(path.to_owned());
    let version_2 = |data: Value| {
        with(200, json!({ "data": { "data": data, "metadata": { "version": 3, "destroyed": false } } }))
    };
    match path {
        "/v1/secret/data/connections/shop" => version_2(json!({ "conn_uri": "http://me:p%40ss@h:80/?a=1" })),
        "/v1/secret/data/connections/fields" => {
            version_2(json!({ "conn_type": "postgres", "host": "h", "port": "5432", "extra": "{\"a\": 1}" }))
        }
        "/v1/secret/data/connections/wrong" => version_2(json!({ "conn_uri": "s3cret" })),
        "/v1/secret/data/variables/colour" => version_2(json!({ "value": "red" })),
        "/v1/secret/data/variables/team/colour" => version_2(json!({ "value": { "a": 1 } })),
        "/v1/secret/data/variables/other" => version_2(json!({ "values": "red" })),
        "/v1/secret/data/variables/deleted" => with(
            404,
            json!({ "data": { "data": null, "metadata": { "deletion_time": "2026-01-01T00:00:00Z" } } }),
        ),
        "/v1/kv/variables/colour" => {
            with(200, json!({ "data": { "value": "blue" }, "lease_duration": 2764800 }))
        }
        _ => with(404, json!({ "errors": [] })),
    }
}

async fn serve(served: Served) -> (String, Shared) {
    let served = Arc::new(Mutex::new(served));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(answer).with_state(served.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (url, served)
}

fn vault(url: &str, login: Login, change: impl FnOnce(&mut Settings)) -> Vault {
    // Another test may have done so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut settings = Settings {
        url: url.into(),
        login,
        mount_point: "secret".into(),
        kv_engine_version: 2,
        connections_path: "connections".into(),
        variables_path: "variables".into(),
        namespace: None,
        timeout: Duration::from_secs(10),
    };
    change(&mut settings);
    Vault::new(settings).unwrap()
}

fn token(token: &str) -> Login {
    Login::Token(token.into())
}

fn good() -> Served {
    Served { good: vec!["t0ken"], ..Served::default() }
}

#[tokio::test]
async fn connections_and_variables_are_found_as_airflow_finds_them() {
    let (url, served) = serve(good()).await;
    let vault = vault(&url, token("t0ken"), |settings| settings.namespace = Some("team".into()));
    let shop = vault.connection("shop").await.unwrap().unwrap();
    assert_eq!((shop.conn_id.as_str(), shop.password.as_deref()), ("shop", Some("p@ss")));
    let fields = vault.connection("fields").await.unwrap().unwrap();
    assert_eq!((fields.conn_type.as_str(), fields.port), ("postgres", Some(5432)));
    assert_eq!(fields.extra["a"], 1);
    assert_eq!(vault.connection("none").await, Ok(None));
    for (key, value) in [
        ("colour", Some("red")),
        ("team/colour", Some(r#"{"a":1}"#)),
        ("other", None),
        ("deleted", None),
        ("none", None),
    ] {
        assert_eq!(vault.variable(key).await.unwrap().as_deref(), value, "{key}");
    }
    let wrong = vault.connection("wrong").await.unwrap_err().to_string();
    assert!(wrong.contains("`wrong` is no connection") && !wrong.contains("s3cret"), "{wrong}");
    assert!(served.lock().unwrap().namespaces.iter().all(|namespace| namespace == "team"));
    assert_eq!(served.lock().unwrap().namespaces.len(), 9);
}

#[tokio::test]
async fn a_name_leads_nowhere_else_and_an_empty_path_nowhere_at_all() {
    let (url, served) = serve(good()).await;
    let some = vault(&url, token("t0ken"), |settings| settings.connections_path = String::new());
    for name in ["../../sys/mounts", "a/../b", ".", "", "a//b"] {
        assert_eq!(some.variable(name).await, Ok(None), "{name}");
    }
    assert_eq!(some.connection("shop").await, Ok(None));
    assert!(served.lock().unwrap().reads.is_empty());
    assert_eq!(some.variable("a?b#c").await, Ok(None));
    assert_eq!(served.lock().unwrap().reads, ["/v1/secret/data/variables/a%3Fb%23c"]);
}

#[tokio::test]
async fn the_first_version_of_the_engine_has_its_own_paths() {
    let (url, _) = serve(good()).await;
    let vault = vault(&url, token("t0ken"), |settings| {
        settings.kv_engine_version = 1;
        settings.mount_point = "kv".into();
    });
    assert_eq!(vault.variable("colour").await.unwrap().as_deref(), Some("blue"));
}

#[tokio::test]
async fn a_login_is_made_once_and_again_when_its_token_is_taken_back() {
    let mount = |mount: &str| mount.to_owned();
    let role = Login::AppRole { mount: mount("approle"), role_id: "r".into(), secret_id: "s3cret".into() };
    let person = Login::UserPass { mount: mount("people"), username: "me".into(), password: "s3cret".into() };
    for login in [role, person] {
        let (url, served) = serve(Served { good: vec!["login-1"], ..Served::default() }).await;
        let vault = vault(&url, login, |_| {});
        for _ in 0..2 {
            assert_eq!(vault.variable("colour").await.unwrap().as_deref(), Some("red"));
        }
        assert_eq!(served.lock().unwrap().logins.len(), 1);
        served.lock().unwrap().good = vec!["login-2"];
        assert_eq!(vault.variable("colour").await.unwrap().as_deref(), Some("red"));
        assert_eq!(served.lock().unwrap().logins.len(), 2);
        // One that is refused is not tried for ever.
        served.lock().unwrap().good = vec![];
        assert!(vault.variable("colour").await.unwrap_err().to_string().contains("permission denied"));
        assert_eq!(served.lock().unwrap().logins.len(), 3);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_without_a_secret() {
    let (url, served) = serve(good()).await;
    let role = Login::AppRole { mount: "approle".into(), role_id: "r".into(), secret_id: "wr0ng".into() };
    let bad_token = vault(&url, token("wr0ng"), |_| {}).variable("colour").await;
    let bad_role = vault(&url, role, |_| {}).variable("colour").await;
    served.lock().unwrap().status = Some(503);
    let sealed = vault(&url, token("wr0ng"), |_| {}).variable("colour").await;
    served.lock().unwrap().status = Some(307);
    let elsewhere = vault(&url, token("wr0ng"), |_| {}).variable("colour").await;
    let gone = vault("http://127.0.0.1:1", token("wr0ng"), |_| {}).variable("colour").await;
    // One that listens and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let short = |settings: &mut Settings| settings.timeout = Duration::from_millis(200);
    let late = vault(&silent_url, token("wr0ng"), short).variable("colour").await;
    let no_file = vault(&url, Login::TokenFile("/nowhere/token".into()), |_| {}).variable("colour").await;
    for (found, says) in [
        (bad_token, "policy allows `read`"),
        (bad_role, "refused to log in with 400"),
        (sealed, "unseal it"),
        (elsewhere, "sends us elsewhere"),
        (gone, "nobody can be reached"),
        (late, "has not answered within 200ms"),
        (no_file, "/nowhere/token can't be read"),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("wr0ng"), "{error}");
    }
}

#[test]
fn settings_that_can_t_be_right_are_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let with = |url: &str, version: u8, mount: &str| {
        let settings = Settings {
            url: url.into(),
            login: token("t0ken"),
            mount_point: mount.into(),
            kv_engine_version: version,
            connections_path: "c".into(),
            variables_path: "v".into(),
            namespace: None,
            timeout: Duration::from_secs(1),
        };
        Vault::new(settings).map(drop)
    };
    assert_eq!(with("https://vault.example:8200", 2, "secret"), Ok(()));
    for (url, version, mount, says) in [
        ("vault.example:8200", 2, "secret", "https://"),
        ("https://me:pw@vault.example", 2, "secret", "leave it out"),
        ("https://vault.example", 3, "secret", "1 or 2"),
        ("https://vault.example", 2, "", "mount_point"),
    ] {
        let refused = with(url, version, mount).unwrap_err().to_string();
        assert!(refused.contains(says) && !refused.contains("pw"), "{refused}");
    }
}
