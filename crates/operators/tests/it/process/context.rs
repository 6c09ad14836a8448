//! What functions see of the run, the task and what happened to assets.

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use updraft_core::{Asset, protocol::TaskShown};

use super::{api::Api, prepared, run};
use crate::world::{World, order, with_run};

const FUNCTIONS: &str = r#"
def about(ti, task, dag, dag_run):
    return [
        ti.log_url, ti.queue, ti.state, task.queue, task.pool, task.doc_md, task.trigger_rule, task.outlets[0].uri,
        dag.description, sorted(dag.tags), dag_run.state, dag_run.clear_number,
    ]


class AssetOfAirflow:
    name, uri = "orders", "s3://lake/orders"


def events(triggering_asset_events):
    told = triggering_asset_events
    of = [[asset.name, asset.uri, [event.extra for event in events]] for asset, events in told.items()]
    first, second = told[AssetOfAirflow()]
    try:
        told["orders"]
    except TypeError as error:
        refused = "for_asset" in str(error)
    found = told.for_asset(name="orders") == told.for_asset(uri="s3://lake/orders") == [first, second]
    run = first.source_dag_run
    source = [run.run_id, run.data_interval_start.isoformat(), run.note, first.source_task_instance.xcom_pull()]
    return [of, len(told), refused, found, source, second.source_dag_run, first.timestamp.isoformat()]


def noted(ti):
    return ti.get_dagrun().note


def addresses():
    from airflow.sdk import Connection
    return [Connection.get(name).get_uri() for name in ("lake", "web", "odd")]


def changes():
    from airflow.models import Variable
    try:
        Variable.set("rows", 3)
    except NotImplementedError as error:
        return str(error)
"#;

fn call(name: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("functions.py"), FUNCTIONS).unwrap();
    let args = json!({"python_callable_name": name, "python_callable_file": "functions.py"});
    let mut order = with_run(order("PythonOperator", args), |run| {
        run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
        run.tags = vec!["b".into(), "a".into()];
        run.shown.description = Some("What was sold".into());
        run.shown.base_url = "https://updraft.example.org".into();
        run.assets = vec![Asset { name: Some("orders".into()), ..Asset::new("s3://lake/orders") }];
        let source = json!({"dag_id": "feed", "run_id": "r 1", "task_id": "load", "map_index": -1});
        let event = |extra: Value, source: Option<&Value>| {
            let mut event = json!({"id": 1, "namespace": "default", "asset": 1, "uri": "s3://lake/orders",
                                   "at": "2026-01-31T05:00:00Z", "extra": extra});
            event["source"] = source.cloned().unwrap_or_default();
            Arc::new(serde_json::from_value(event).unwrap())
        };
        run.asset_events = vec![event(json!({"rows": 1}), Some(&source)), event(json!({}), None)];
    });
    order.task.shown = TaskShown {
        queue: "large".into(),
        pool: "warehouse".into(),
        doc_md: Some("Reads *all*.".into()),
        outlets: vec![Asset::new("s3://lake/sales")],
        ..TaskShown::default()
    };
    let api = Api::start();
    let ran = run(&prepared(&order, &World::default()), Some(&api));
    assert!(ran.outcome.message.is_none(), "{}", ran.output);
    ran.result()
}

#[test]
fn a_function_sees_what_there_is_to_see_of_its_task_and_its_run() {
    let url = "https://updraft.example.org/dags/reports/runs/scheduled__2026-01-31T06%3A00%3A00%2B00%3A00/tasks/extract\
               ?try_number=1";
    let expected = json!([
        url,
        "large",
        "running",
        "large",
        "warehouse",
        "Reads *all*.",
        "all_success",
        "s3://lake/sales",
        "What was sold",
        ["a", "b"],
        "running",
        0
    ]);
    assert_eq!(call("about"), expected);
    assert_eq!(call("noted"), json!("for the audit"));
}

#[test]
fn a_function_has_the_events_of_assets_that_its_run_was_made_for() {
    let expected = json!([
        [["orders", "s3://lake/orders", [{"rows": 1}, {}]]], 1, true, true,
        ["r 1", "2026-01-30T00:00:00+00:00", "for the audit", {"rows": 2}], null, "2026-01-31T05:00:00+00:00"
    ]);
    assert_eq!(call("events"), expected);
}

#[test]
fn a_connection_is_told_in_one_text_as_in_airflow_and_a_variable_is_not_changed() {
    assert_eq!(
        call("addresses"),
        json!([
            "x://lake.example.org/?path=%2Fx",
            "google-cloud://https://m%40e:p%3Aw@h:80/a%2Fb?__extra__=%7B%22a%22%3A+1%7D",
            "http://@:8080",
        ])
    );
    let refused = call("changes");
    assert!(refused.as_str().unwrap().contains("a task changes no variables"), "{refused}");
}
