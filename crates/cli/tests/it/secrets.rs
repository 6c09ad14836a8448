//! Where a task's connections and variables come from, in a whole installation.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::{Value, json};
use updraft_core::RunState;

use crate::system::System;

const DAG: &str = r#"
looks:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: RETRIES, retry_delay: 1}
  tasks:
    looks:
      operator: bash
      bash_command: "echo in_vault={{ var.value.in_vault }} in_file={{ var.value.in_file }} \
        in_env={{ var.value.in_env }} in_store={{ var.value.in_store }} password={{ conn.shop.password }}"
"#;

const TOKEN: &str = "t0ken-of-the-test";

/// As Vault's KV engine answers; the first of all requests fails where `fails` is above zero.
async fn answer(
    State(fails): State<Arc<AtomicU32>>,
    headers: HeaderMap,
    uri: Uri,
) -> (StatusCode, Json<Value>) {
    let left = fails.load(Ordering::Relaxed);
    if left > 0 {
        fails.store(left - 1, Ordering::Relaxed);
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "errors": ["Vault is sealed"] })));
    }
    if headers.get("X-Vault-Token").is_none_or(|token| token != TOKEN) {
        return (StatusCode::FORBIDDEN, Json(json!({ "errors": ["permission denied"] })));
    }
    let data = match uri.path() {
        "/v1/secret/data/variables/in_vault" => json!({ "value": "vault" }),
        "/v1/secret/data/connections/shop" => json!({ "conn_uri": "http://me:p4ssword-of-vault@h" }),
        _ => return (StatusCode::NOT_FOUND, Json(json!({ "errors": [] }))),
    };
    (StatusCode::OK, Json(json!({ "data": { "data": data, "metadata": {} } })))
}

async fn serve(fails: u32) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().fallback(answer).with_state(Arc::new(AtomicU32::new(fails)));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

fn looking(address: SocketAddr, retries: &str) -> System {
    let mut system = System::new(&[("looks.yaml", &DAG.replace("RETRIES", retries))]);
    let folder = system.shared().join("variables");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("in_file"), "file\n").unwrap();
    system.set("UPDRAFT__SECRETS__FILES__VARIABLES_FOLDER", folder.display().to_string());
    system.set("UPDRAFT__SECRETS__VAULT__URL", format!("http://{address}"));
    system.set("UPDRAFT__SECRETS__VAULT__TOKEN", TOKEN);
    // Each is also where it would be found later.
    for name in ["IN_VAULT", "IN_FILE", "IN_ENV"] {
        system.set(&format!("AIRFLOW_VAR_{name}"), "env");
    }
    system
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_come_before_the_environment_and_that_before_the_store() {
    let mut system = looking(serve(0).await, "0");
    std::fs::remove_file(system.home().join("dags/looks.yaml")).unwrap();
    system.start(1);
    for name in ["in_vault", "in_file", "in_env", "in_store"] {
        system.until(&["variables", "set", name, "store"], |done| done.code == 0).await;
    }
    std::fs::write(system.home().join("dags/looks.yaml"), DAG.replace("RETRIES", "0")).unwrap();
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    let tis = system.tis().await;
    let log = system.log(&tis[0]);
    assert_eq!(runs[0].state, RunState::Success, "{log}{}", system.said());
    let said = "in_vault=vault in_file=file in_env=env in_store=store password=***";
    assert!(log.contains(said), "{log}");
    for secret in [TOKEN, "p4ssword-of-vault"] {
        assert!(!log.contains(secret) && !system.said().contains(secret), "{secret}");
    }
    let shown = system.command(&["config", "show"]).env("UPDRAFT__SECRETS__VAULT__TOKEN", TOKEN).output();
    assert!(!String::from_utf8_lossy(&shown.unwrap().stdout).contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_away_fails_the_attempt_and_the_next_one_finds_it_back() {
    let mut system = looking(serve(1).await, "2");
    system.set("AIRFLOW_VAR_IN_STORE", "env");
    system.start(1);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let tis = system.tis().await;
    assert_eq!(runs[0].state, RunState::Success, "{}", system.said());
    assert_eq!(tis[0].row.try_number, 2);
    let log = system.log(&tis[0]);
    assert!(log.contains("in_vault=vault"), "{log}");
    let run = &runs[0].run_id;
    let why = format!("/api/v1/dags/looks/dagRuns/{run}/transitions");
    let told = system.get(&why.replace('+', "%2B")).await;
    assert!(told.contains("Vault at 127.0.0.1") && told.contains("unseal it"), "{told}");
    assert!(!told.contains(TOKEN), "{told}");
}

/// Waits until the server has said this.
async fn said(system: &System, what: &str) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        tick.tick().await;
        if system.said().contains(what) {
            return;
        }
    }
    panic!("it never said {what:?}:\n{}", system.said());
}

#[tokio::test]
async fn a_new_key_takes_over_everything_and_the_old_one_can_go() {
    let mut system = System::new(&[]);
    system.start(1);
    system.until(&["variables", "set", "region", "north"], |done| done.code == 0).await;
    let connection = ["connections", "add", "shop", "--type", "http", "--host", "h", "--password", "p4ss"];
    system.run(&connection).good();
    system.stop_server();
    let file = system.home().join("key");
    let old = std::fs::read_to_string(&file).unwrap();
    let new = format!("{}=\n", "A".repeat(43));
    std::fs::write(&file, format!("{new}{old}")).unwrap();
    system.start(1);
    said(&system, "all secrets are encrypted with the first key").await;
    system.stop_server();
    std::fs::write(&file, &new).unwrap();
    system.start(1);
    let kept = system.until(&["variables", "get", "region"], |done| done.code == 0).await;
    assert_eq!(kept.out.trim(), "north");
    assert!(!system.said().contains("that no key in the key file decrypts"));
    // With a key that encrypted nothing, what is lost is named.
    system.stop_server();
    std::fs::write(&file, &old).unwrap();
    system.start(1);
    said(&system, "that no key in the key file decrypts").await;
    let said = system.said();
    assert!(
        said.contains("variable default/region") && said.contains("the password of connection default/shop")
    );
    let refused = ["variables", "get", "region"];
    system.until(&refused, |done| done.err.contains("put that key back into the key file")).await;
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_closed_at_the_start_and_that_is_told() {
    let mut system = System::new(&[]);
    let files = ["key", "updraft.db", "updraft.db-wal", "updraft.db-shm"];
    let path = |name| system.home().join(name);
    let (key, paths) = (path("key"), files.map(path));
    system.start(1);
    system.until(&["health"], |done| done.code == 0).await;
    // The folder was there before, and others may look into it.
    for path in &paths {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    system.stop_server();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    system.start(1);
    system.until(&["health"], |done| done.code == 0).await;
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(system.said().contains("others could read the key file"), "{}", system.said());
}
