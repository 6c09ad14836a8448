//! Variables, connections, pools, accounts and what else is kept beside runs.

use serde_json::{Value, json};

use super::{both, first_column, started};
use crate::system::System;

#[tokio::test]
async fn values_that_tasks_leave_are_read() {
    let system = started().await;
    system.run(&["dags", "trigger", "etl", "--run-id", "one", "--conf", r#"{"day": 7}"#, "--wait"]).good();
    let listed = both(&system, &["xcoms", "list", "etl", "one"]);
    let keys: Vec<_> =
        listed.as_array().unwrap().iter().map(|xcom| (&xcom["task_id"], &xcom["key"])).collect();
    let result = json!("return_value");
    assert_eq!(keys, [(&json!("extract"), &result), (&json!("load"), &result)]);
    assert_eq!(system.run(&["xcoms", "get", "etl", "one", "extract"]).good(), "\"day 7\"\n");
    assert_eq!(both(&system, &["xcoms", "get", "etl", "one", "extract"])["value"], "day 7");
    let none = system.run(&["xcoms", "get", "etl", "one", "extract", "--key", "other"]);
    let said = "the task `extract` has left no XCom `other`: it succeeded and left other values, or none";
    assert!(none.code == 3 && none.err.contains(said), "{none:?}");
    assert_eq!(system.run(&["xcoms", "list", "etl", "none"]).code, 3);
}

#[tokio::test]
async fn variables_are_set_and_carried_to_another_installation() {
    let system = started().await;
    assert!(system.run(&["variables", "set", "region", "eu", "--description", "where"]).err.contains("made"));
    assert!(system.run(&["variables", "set", "region", "us"]).err.contains("changed"));
    assert_eq!(system.run(&["variables", "get", "region"]).good(), "us\n");
    assert_eq!(both(&system, &["variables", "get", "region"])["description"], "where");
    system.run_with(&["variables", "set", "api_key", "-"], "s3cret\n").good();
    let secret = system.run(&["variables", "get", "api_key"]);
    assert!(secret.out == "***\n" && secret.err.contains("tasks get its value"), "{secret:?}");
    system.run(&["variables", "set", "a/b", r#"{"value": [1]}"#]).good();

    let file = system.shared().join("variables.json");
    let file = file.to_str().unwrap();
    let exported = system.run(&["variables", "export", file]);
    assert!(exported.code == 0 && exported.err.contains("left out: api_key"), "{exported:?}");
    let text: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let region = json!({"value": "us", "description": "where"});
    assert_eq!(text, json!({"a/b": {"value": {"value": [1]}, "description": null}, "region": region}));
    system.run(&["variables", "delete", "region"]).good();
    system.run(&["variables", "delete", "a/b"]).good();
    assert_eq!(first_column(&system.run(&["variables", "list"]).good()), ["api_key"]);
    system.run(&["variables", "import", file]).good();
    assert_eq!(system.run(&["variables", "get", "a/b"]).json(), json!({"value": [1]}));
    assert_eq!(both(&system, &["variables", "list"]).as_array().unwrap().len(), 3);
    let yaml = system.shared().join("variables.yaml");
    std::fs::write(&yaml, "region: eu\nsize: {rows: 5}\n").unwrap();
    let import = ["variables", "import", yaml.to_str().unwrap(), "--action-on-existing-key"];
    let fails = system.run(&[&import[..], &["fail"]].concat());
    assert!(
        fails.code == 1 && fails.err.contains("nothing is set: these are there already: region"),
        "{fails:?}"
    );
    let skips = system.run(&[&import[..], &["skip"]].concat());
    assert!(skips.code == 0 && skips.err.contains("1 variable is set"), "{skips:?}");
    assert_eq!(system.run(&["variables", "get", "size"]).json(), json!({"rows": 5}));
    assert_eq!(system.run(&["variables", "get", "region"]).good(), "us\n");
    system.run(&["variables", "delete", "size"]).good();
    let wrong = system.run_with(&["variables", "import", "-"], "[1]");
    assert!(wrong.code == 2 && wrong.err.contains("no JSON object of variables"), "{wrong:?}");
    assert_eq!(system.run(&["variables", "delete", "none"]).code, 3);

    let of_team = |arguments: &[&str]| system.run(&[arguments, &["--namespace", "team"]].concat());
    assert_eq!(of_team(&["variables", "get", "region"]).code, 3);
    of_team(&["variables", "set", "region", "asia"]).good();
    assert_eq!(of_team(&["variables", "get", "region"]).good(), "asia\n");
    assert_eq!(system.run(&["variables", "get", "region"]).good(), "us\n");
}

#[tokio::test]
async fn connections_and_pools_are_looked_after() {
    let system = started().await;
    let uri = "postgres://me:pa%20ss@db.example:5433/shop?sslmode=require";
    system.run(&["connections", "add", "shop", "--uri", uri, "--description", "the shop"]).good();
    let shown = both(&system, &["connections", "get", "shop"]);
    let expected = json!({
        "connection_id": "shop", "conn_type": "postgres", "host": "db.example", "port": 5433, "login": "me",
        "password": "***", "schema": "shop", "extra": "{\"sslmode\":\"require\"}", "description": "the shop",
        "team_name": null,
    });
    assert_eq!(shown, expected);
    system.run_with(&["connections", "add", "ftp", "--type", "ftp", "--password", "-"], "pw\n").good();
    assert_eq!(system.run(&["connections", "get", "ftp", "-o", "json"]).json()["password"], "***");
    assert_eq!(first_column(&system.run(&["connections", "list"]).good()), ["ftp", "shop"]);
    assert_eq!(system.run(&["connections", "add", "ftp", "--type", "ftp"]).code, 1, "it is there already");
    assert_eq!(system.run(&["connections", "add", "x", "--uri", "nonsense"]).code, 2);
    system.run(&["connections", "delete", "ftp"]).good();
    assert_eq!(system.run(&["connections", "get", "ftp"]).code, 3);
    connections_in_a_file(&system, &shown);

    assert!(system.run(&["pools", "set", "few", "2", "--description", "of two"]).err.contains("made"));
    assert!(system.run(&["pools", "set", "few", "3"]).err.contains("changed"));
    let pool = both(&system, &["pools", "get", "few"]);
    assert_eq!((&pool["slots"], &pool["description"]), (&json!(3), &json!("of two")));
    let file = system.shared().join("pools.json");
    let file = file.to_str().unwrap();
    system.run(&["pools", "set", "few", "3", "--rate", "2/hour"]).good();
    system.run(&["pools", "export", file]).good();
    system.run(&["pools", "set", "few", "1", "--rate", "none"]).good();
    assert!(system.run(&["pools", "import", file]).err.contains("2 pools are set"));
    let pool = both(&system, &["pools", "get", "few"]);
    assert_eq!((&pool["slots"], &pool["rate"]), (&json!(3), &json!("2/hour")));
    std::fs::write(file, "{\"few\": 4}").unwrap();
    let refused = system.run(&["pools", "import", file]);
    assert!(
        refused.code == 2 && refused.err.contains("`few` has to be an object with `slots`"),
        "{refused:?}"
    );
    system.run(&["pools", "set", "default_pool", "-1"]).good();
    assert_eq!(both(&system, &["pools", "list"])[0]["slots"], -1);
    system.run(&["pools", "delete", "few"]).good();
    assert_eq!(first_column(&system.run(&["pools", "list"]).good()), ["default_pool"]);
}

fn connections_in_a_file(system: &System, shop: &Value) {
    let file = system.shared().join("connections.json");
    let file = file.to_str().unwrap();
    let exported = system.run(&["connections", "export", file]);
    assert!(exported.err.contains("left out: the password of `shop`"), "{exported:?}");
    assert!(!std::fs::read_to_string(file).unwrap().contains("***"));
    // As Airflow writes it, by `airflow connections export --file-format env`.
    let airflows = system.shared().join("airflow.env");
    std::fs::write(&airflows, "shop=http://other\nspool=sftp://me:pw@files.example:2222/in?a=1\n").unwrap();
    let airflows = airflows.to_str().unwrap();
    let imported = system.run(&["connections", "import", airflows]);
    assert!(
        imported.err.contains("1 made, 0 changed") && imported.err.contains("as they are"),
        "{imported:?}"
    );
    assert_eq!(&both(system, &["connections", "get", "shop"]), shop);
    let spool = both(system, &["connections", "get", "spool"]);
    assert_eq!(
        (&spool["port"], &spool["password"], &spool["extra"]),
        (&json!(2222), &json!("***"), &json!("{\"a\":\"1\"}"))
    );
    system.run(&["connections", "import", airflows, "--overwrite"]).good();
    assert_eq!(both(system, &["connections", "get", "shop"])["host"], "other");
    assert!(system.run(&["connections", "import", file, "--overwrite"]).err.contains("0 made, 1 changed"));
    assert_eq!(&both(system, &["connections", "get", "shop"]), shop, "its password is there yet");
    std::fs::write(airflows, "shop=no uri, s3cret\n").unwrap();
    let refused = system.run(&["connections", "import", airflows]);
    assert!(refused.code == 2 && refused.err.contains("`shop` is no connection"), "{refused:?}");
    assert!(!refused.err.contains("s3cret"), "{refused:?}");
    let change = ["connections", "add", "spool", "--type", "sftp", "--password", "-", "--overwrite"];
    assert!(system.run_with(&change, "new\n").err.contains("`spool` is changed"));
    assert_eq!(both(system, &["connections", "get", "spool"]), spool, "all else stays");
    system.run(&["connections", "delete", "spool"]).good();
}

/// What is asked with a token in place of the first account's password.
fn as_who(system: &System, token: &str, arguments: &[&str]) -> i32 {
    system.run(&[arguments, &["--token", token]].concat()).code
}

#[tokio::test]
async fn accounts_may_what_their_role_says() {
    let system = started().await;
    system.run_with(&["users", "create", "ada", "--role", "viewer"], "correct horse\n").good();
    let users = both(&system, &["users", "list"]);
    assert_eq!((&users[0]["username"], &users[1]["role"]), (&json!("ada"), &json!("admin")));
    let short = system.run_with(&["users", "create", "bob", "--role", "op"], "short\n");
    assert!(short.code == 2 && short.err.contains("at least 8"), "{short:?}");

    let ada = system.log_in("ada", "correct horse").await;
    assert_eq!(as_who(&system, &ada, &["dags", "list"]), 0);
    assert_eq!(as_who(&system, &ada, &["dags", "trigger", "etl"]), 4);
    assert_eq!(as_who(&system, &ada, &["users", "list"]), 4);
    let refused = system.run(&["variables", "list", "--token", &ada]);
    assert!(refused.err.contains("`ada` has the role viewer, and this needs op"), "{refused:?}");

    let token = system.run(&["tokens", "create", "laptop", "--expires-in", "1h", "--token", &ada]).good();
    let token = token.trim();
    assert_eq!(as_who(&system, token, &["dags", "list"]), 0);
    let listed = system.run(&["tokens", "list", "--token", token, "-o", "json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["purpose"]), (&json!("laptop"), &json!("api")));
    system.run(&["tokens", "revoke", &listed[0]["id"].to_string()]).good();
    assert_eq!(as_who(&system, token, &["dags", "list"]), 4);
    system.run(&["tokens", "create", "worker", "--join"]).good();
    assert_eq!(both(&system, &["tokens", "list", "--all"])[0]["purpose"], "join");

    let changed = ["users", "password", "--token", &ada];
    assert_eq!(system.run_with(&changed, "wrong horse\nbattery staple\n").code, 4);
    system.run_with(&changed, "correct horse\nbattery staple\n").good();
    system.log_in("ada", "battery staple").await;
    system.run_with(&["users", "password", "ada"], "another horse\n").good();
    system.log_in("ada", "another horse").await;
    system.run(&["users", "delete", "ada", "--yes"]).good();
    assert_eq!(both(&system, &["users", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(system.run(&["users", "delete", "admin", "--yes"]).code, 1, "the last administrator stays");
}

#[tokio::test]
async fn workers_and_deliveries_are_looked_at() {
    let system = started().await;
    let workers = both(&system, &["workers", "list"]);
    assert_eq!((workers.as_array().unwrap().len(), &workers[0]["worker"]), (1, &json!("keeper")));
    let health = system.run(&["health", "-o", "json"]).json();
    assert_eq!(health["scheduler"]["status"], "healthy");
    let version = json!(env!("CARGO_PKG_VERSION"));
    let named = system.run(&["--version"]).good();
    assert_eq!(named.trim(), format!("updraft {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(both(&system, &["version"]), json!({"client": &version, "server": &version}));

    assert_eq!(both(&system, &["deliveries", "list"]), json!([]));
    let done = system.run(&["dags", "trigger", "told", "--run-id", "one", "--wait"]);
    assert_eq!(done.code, 1, "{done:?}");
    let list =
        ["deliveries", "list", "--dag", "told", "--run", "one", "--state", "undeliverable", "-o", "json"];
    let listed = system.until(&list, |done| done.out.contains("ada@example.com")).await.json();
    // No mail server is set, and that does not change.
    system.run(&["deliveries", "resend", &listed[0]["id"].to_string()]).good();
    assert_eq!(system.run(&["deliveries", "resend", "999"]).code, 3);
}
