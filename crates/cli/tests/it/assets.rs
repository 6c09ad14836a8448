//! DAGs that run from what happens to assets.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_core::RunState;

use crate::system::System;

const DAGS: &str = "
maker:
  default_args: {start_date: 2024-01-01}
  tasks:
    make: {operator: bash, bash_command: 'echo made', outlets: ['s3://shop/orders']}
reader:
  schedule: ['s3://shop/orders']
  tasks:
    read:
      operator: bash
      bash_command: >-
        echo {% for asset, events in triggering_asset_events.items() %}{{ asset.uri }}
        {% for event in events %}{{ event.source_dag_id }}.{{ event.source_run_id }} {{ event.extra | length }}{% endfor %}{% endfor %}
    plain:
      operator: bash
      bash_command: 'echo {{ (triggering_asset_events.values() | first | first).source_task_id }}'
both:
  schedule: {assets: 's3://shop/orders & stock'}
  tasks:
    use: {operator: bash, bash_command: 'echo {{ triggering_asset_events | length }}'}
";

async fn started() -> System {
    let mut system = System::new(&[]);
    std::fs::write(system.home().join("dags/dags.yaml"), DAGS).unwrap();
    system.start(8);
    system.until(&["dags", "show", "both"], |done| done.code == 0).await;
    system
}

fn rows(system: &System, args: &[&str]) -> Vec<Value> {
    system.run(&[args, &["-o", "json"]].concat()).json().as_array().unwrap().clone()
}

/// The only run of a DAG.
fn run_of(system: &System, dag: &str) -> Value {
    let [run] = &rows(system, &["runs", "list", dag])[..] else { panic!("not one run of {dag}") };
    run.clone()
}

#[tokio::test]
async fn a_run_is_made_of_what_a_task_made_and_of_what_was_told_and_a_killed_server_makes_no_second_one() {
    let mut system = started().await;
    system.run(&["dags", "trigger", "maker", "--run-id", "one"]).good();
    let runs = system.runs_over(2, Duration::from_secs(30)).await;
    assert!(runs.iter().all(|run| run.state == RunState::Success), "{}", system.said());
    let read = run_of(&system, "reader");
    assert_eq!((&read["run_type"], &read["triggered_by"]), (&json!("asset_triggered"), &json!("asset")));
    let run_id = read["dag_run_id"].as_str().unwrap();
    let said = system.run(&["tasks", "logs", "reader", run_id, "read"]).good();
    assert!(said.contains("s3://shop/orders maker.one"), "{said}");
    assert!(system.run(&["tasks", "logs", "reader", run_id, "plain"]).good().contains("make"));
    let queued = rows(&system, &["assets", "queued", "both"]);
    assert_eq!(queued.iter().map(|row| &row["uri"]).collect::<Vec<_>>(), ["s3://shop/orders"]);
    let next = system.run(&["dags", "next", "reader"]);
    assert!(next.err.contains("has no next run: Triggered by assets"), "{next:?}");

    // What waits is there again for the next server, and what has had a run is not.
    system.kill_server();
    system.start(8);
    system.until(&["health"], |done| done.code == 0).await;
    let told = system
        .run(&[
            "assets",
            "tell",
            "stock",
            "--key",
            "monday",
            "--extra",
            r#"{"rows": 5, "api_key": "s3cret"}"#,
        ])
        .good();
    system.runs_over(3, Duration::from_secs(30)).await;
    let said = system.run(&[
        "tasks",
        "logs",
        "both",
        run_of(&system, "both")["dag_run_id"].as_str().unwrap(),
        "use",
    ]);
    assert!(said.good().contains('2') && !told.contains("s3cret"), "{told}");
    run_of(&system, "reader");
    system.run(&["assets", "tell", "stock", "--key", "monday"]).good();
    let events = rows(&system, &["assets", "events"]);
    let shown: Vec<_> = events.iter().map(|event| (&event["uri"], &event["key"], &event["extra"])).collect();
    assert_eq!(
        shown,
        [
            (&json!("stock"), &json!("monday"), &json!({"rows": 5, "api_key": "***"})),
            (&json!("s3://shop/orders"), &Value::Null, &json!({}))
        ]
    );
    let made = |at: usize| events[at]["created_dagruns"].as_array().unwrap().len();
    assert_eq!((made(0), made(1)), (1, 2));
    let assets = rows(&system, &["assets", "list"]);
    assert_eq!(assets[0]["producing_tasks"][0]["task_id"], "make");
    assert_eq!(assets[0]["scheduled_dags"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn who_errs_about_assets_is_told_what_to_do() {
    let system = started().await;
    let done = system.run(&["assets", "tell", "s3://shop/order"]);
    assert!(
        done.code != 0 && done.err.contains("no DAG names an asset of the URI `s3://shop/order`"),
        "{done:?}"
    );
    let done = system.run(&["assets", "tell", "stock", "--extra", "5"]);
    assert!(done.code != 0 && done.err.contains("--extra is no JSON object"), "{done:?}");
    system.run(&["assets", "tell", "stock"]).good();
    system.run(&["assets", "queued", "both", "--forget"]).good();
    let done = system.run(&["assets", "queued", "both"]);
    assert!(done.err.contains("Queue event with dag_id: `both` was not found"), "{done:?}");
}
