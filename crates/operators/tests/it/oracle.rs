//! Templates as Airflow 3.3.2 renders them: `tests/oracle/answers.py` asks it, and its answers are kept.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use jiff::SignedDuration;
use serde_json::{Value, json};
use updraft_core::{
    Asset, AssetEvent,
    protocol::{RunFound, RunShown, TaskShown},
    record::RunType,
};
use updraft_operators::{PreviousSuccess, Variable, template::Renderer};

use crate::world::{World, order, with_run};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn world(facts: &Value) -> World {
    let mut world = World::default();
    for (name, values) in facts["xcoms"].as_object().unwrap() {
        let values = values.as_array().unwrap().iter();
        let values = values.map(|pair| (pair[0].as_i64().unwrap() as i32, pair[1].clone())).collect();
        world.xcoms.insert(name.clone(), values);
    }
    for (name, value) in facts["variables"].as_object().unwrap() {
        let variable = Variable { value: value.as_str().unwrap().into(), secret: name.contains("token") };
        world.variables.insert(name.clone(), variable);
    }
    for (name, value) in facts["connections"].as_object().unwrap() {
        world.connections.insert(name.clone(), serde_json::from_value(value.clone()).unwrap());
    }
    let at = |name: &str| facts["previous_success"][name].as_str().unwrap().parse().ok();
    world.previous = Some(PreviousSuccess {
        data_interval: at("data_interval_start").zip(at("data_interval_end")),
        start_date: at("start_date"),
        end_date: at("end_date"),
    });
    world.runs.push(run(&facts["other_run"]));
    for dated in facts["runs"].as_object().unwrap().values() {
        world.runs.push(run(dated));
    }
    world
}

fn run(facts: &Value) -> RunFound {
    let at = |name: &str| facts[name].as_str().and_then(|text| text.parse().ok());
    RunFound {
        dag_id: facts["dag_id"].as_str().unwrap_or("reports").into(),
        run_id: facts["run_id"].as_str().unwrap().into(),
        run_type: serde_json::from_value(facts["run_type"].clone()).unwrap(),
        state: facts["state"].as_str().unwrap_or("running").parse().unwrap(),
        logical_date: at("logical_date"),
        data_interval: at("data_interval_start").zip(at("data_interval_end")),
        run_after: at("run_after").unwrap(),
        started_at: at("start_date"),
        ended_at: at("end_date"),
        clear_number: 0,
        triggering_user: facts["triggering_user_name"].as_str().map(str::to_owned),
        conf: facts["conf"].clone(),
        note: facts["note"].as_str().map(str::to_owned),
    }
}

/// What happened to assets, and what is known of these.
fn events(facts: &Value) -> (Vec<Arc<AssetEvent>>, Vec<Asset>) {
    let all = facts["consumed_asset_events"].as_array().cloned().unwrap_or_default();
    let event = |event: &Value| {
        let mut own = json!({
            "id": 1, "namespace": "default", "asset": 1, "uri": event["asset"]["uri"], "at": event["timestamp"],
            "extra": event["extra"],
        });
        if event["source_dag_id"].is_string() {
            let name = |name: &str| event[format!("source_{name}")].clone();
            own["source"] = json!({"dag_id": name("dag_id"), "run_id": name("run_id"), "task_id": name("task_id"),
                                   "map_index": name("map_index")});
        }
        Arc::new(serde_json::from_value(own).unwrap())
    };
    let asset = |event: &Value| serde_json::from_value(event["asset"].clone()).unwrap();
    (all.iter().map(event).collect(), all.iter().map(asset).collect())
}

/// What we refuse although Airflow renders it. Nothing else may be refused, and nothing rendered otherwise.
fn refused() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/refused.txt");
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn templates_render_as_in_airflow_or_are_refused() {
    let facts = read("world.json");
    let world = world(&facts);
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in facts["files"].as_object().unwrap() {
        fs::write(folder.path().join(name), text.as_str().unwrap()).unwrap();
    }
    let (mut wrong, mut now_refused) = (Vec::new(), Vec::new());
    for answer in read("answers.json").as_array().unwrap() {
        let run = &facts["runs"][answer["run"].as_str().unwrap()];
        let at = |name: &str| run[name].as_str().and_then(|text| text.parse().ok());
        let mut order = with_run(order("BashOperator", Value::Null), |own| {
            own.run_id = run["run_id"].as_str().unwrap().into();
            own.run_type = match run["run_type"].as_str().unwrap() {
                "manual" => RunType::Manual,
                "asset_triggered" => RunType::AssetTriggered,
                _ => RunType::Scheduled,
            };
            (own.asset_events, own.assets) = events(run);
            own.tags = serde_json::from_value(facts["dag"]["tags"].clone()).unwrap();
            own.shown = RunShown {
                triggering_user: run["triggering_user_name"].as_str().map(str::to_owned),
                base_url: "https://updraft.example.org".into(),
                ..serde_json::from_value(facts["dag"].clone()).unwrap()
            };
            own.logical_date = at("logical_date");
            own.data_interval = at("data_interval_start").zip(at("data_interval_end"));
            own.run_after = at("run_after").unwrap();
            own.started_at = at("start_date");
            own.conf = Arc::new(run["conf"].clone());
            own.params = serde_json::from_value(facts["params"].clone()).unwrap();
            // As Airflow has it: what is given with a run goes over the DAG's parameters.
            own.params.extend(serde_json::from_value::<BTreeMap<_, _>>(run["conf"].clone()).unwrap());
            own.source = folder.path().join("reports.py").to_string_lossy().into_owned();
            own.template = ["undefined", "native"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), answer.get(name)?.clone())))
                .collect();
        });
        let mut shown = serde_json::to_value(TaskShown::default()).unwrap();
        shown.as_object_mut().unwrap().extend(facts["task"].as_object().unwrap().clone());
        shown["outlets"] = facts["outlets"].clone();
        order.task.shown = serde_json::from_value(shown).unwrap();
        order.task.execution_timeout = Some(SignedDuration::from_mins(5));
        (order.task.upstream, order.task.downstream) = (Vec::new(), vec!["left".into()]);
        let template = &answer["template"];
        let ours = Renderer::new(&order, &world).unwrap().render("field", template, &[".sh", ".bash"]);
        let shown = ours
            .as_ref()
            .map(|value| value.to_string().replace(folder.path().to_str().unwrap(), "/dags/team"));
        match (shown, answer.get("gives")) {
            (Ok(ours), Some(theirs)) if format!("{theirs}") == ours => {}
            (Ok(ours), theirs) => wrong.push(format!("{template}\n    ours   {ours}\n    theirs {theirs:?}")),
            (Err(error), Some(_)) => now_refused.push(format!("{template}: {}", error.reason)),
            (Err(_), None) => {}
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    let refused = refused();
    assert_eq!(now_refused.join("\n"), refused.join("\n"));
}
