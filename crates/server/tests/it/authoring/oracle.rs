//! Our reading of the fixtures beside that of dag-factory 1.1 on Airflow 3.3.2, whose answers
//! `tests/oracle/dag_factory.py` wrote down.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use updraft_core::{Dag, DagSpec, Namespace, schedule::Schedule};
use updraft_server::authoring::{Event, Folder, Read, watch};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn answers(file: &str) -> Value {
    let text = std::fs::read_to_string(tests().join("oracle").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All DAGs of the fixtures, by file.
async fn fixtures() -> BTreeMap<String, (Vec<Read>, usize)> {
    let root = tests().join("fixtures/dags");
    let (sender, mut events) = mpsc::channel(64);
    let folder = Folder {
        root: Some(root.clone()),
        above: Vec::new(),
        namespace: Namespace::default(),
        check: Arc::new(super::check),
        variable: Arc::new(super::variable),
        owners: BTreeMap::new(),
        look_every: Duration::from_secs(10),
        git: None,
        deployed: None,
    };
    tokio::spawn(watch(folder, sender));
    let mut all = BTreeMap::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Changed { source, dags, errors, .. } => {
                let name = Path::new(&*source).strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                all.insert(name, (dags, errors.len()));
            }
            Event::Removed { source } => panic!("{source} is removed"),
            Event::Scanned { .. } => break,
        }
    }
    all
}

#[tokio::test]
async fn fixtures_mean_what_they_mean_to_dag_factory() {
    let theirs = answers("dag_factory.json");
    let ours = fixtures().await;
    let files = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(ours.keys().cloned().collect::<BTreeSet<_>>(), files(&theirs));
    let mut compared = 0;
    for (file, answer) in theirs.as_object().unwrap() {
        let (dags, errors) = &ours[file];
        if answer.get("error").is_some() {
            assert!(*errors > 0 && dags.is_empty(), "{file} is refused there");
            continue;
        }
        assert_eq!(*errors, 0, "{file}");
        let ids: BTreeSet<String> = dags.iter().map(|read| read.spec.dag_id.to_string()).collect();
        assert_eq!(ids, files(answer), "{file}");
        for read in dags {
            let ours = told(&read.spec, &answer[&*read.spec.dag_id]);
            assert_eq!(ours, answer[&*read.spec.dag_id], "{file}, {}", read.spec.dag_id);
            compared += 1;
        }
    }
    assert!(compared > 20, "only {compared} DAGs were compared");
}

/// A DAG in the shape of the answers. `answer` only tells how they write what is relative to today.
fn told(spec: &DagSpec, answer: &Value) -> Value {
    let dag = Dag::compile(spec.clone()).unwrap();
    let tasks: serde_json::Map<String, Value> = dag
        .tasks()
        .map(|ix| {
            let task = dag.task(ix);
            let mut upstream: Vec<String> =
                dag.upstream(ix).iter().map(|up| dag.task(*up).task_id.to_string()).collect();
            upstream.sort();
            let told = json!({
                "operator": task.operator,
                "upstream": upstream,
                "group": task.group,
                "mapped": task.map.is_some(),
                "owner": task.owner.as_deref().unwrap_or(&spec.owner),
                "retries": task.retry.retries,
                "retry_delay": task.retry.delay.as_secs_f64(),
                "backoff": task.retry.backoff,
                "max_retry_delay": task.retry.max_delay.map(|delay| delay.as_secs_f64()),
                "trigger_rule": task.trigger_rule,
                "weight_rule": task.weight_rule,
                "priority_weight": task.priority_weight,
                "pool": task.pool,
                "pool_slots": task.pool_slots,
                "queue": task.queue,
                "depends_on_past": task.depends_on_past,
                "wait_for_downstream": task.wait_for_downstream,
                "execution_timeout": task.execution_timeout.map(|timeout| timeout.as_secs_f64()),
                "max_active_tis_per_dag": task.max_active_tis_per_dag,
                "do_xcom_push": task.do_xcom_push,
                "email": email(task),
                "bash_command": task.args.get("bash_command"),
                "env": task.args.get("env"),
            });
            (task.task_id.to_string(), told)
        })
        .collect();
    let tags: BTreeSet<&str> = spec.tags.iter().map(String::as_str).collect();
    let start = &answer["start_date"];
    json!({
        "schedule": schedule(&spec.schedule, &answer["schedule"]),
        "start_date": match start.get("days_ago") {
            // The fixtures are read now, and the answers were written on another day.
            Some(_) if spec.start_date.is_some() => start.clone(),
            _ => json!(spec.start_date.map(isoformat)),
        },
        "end_date": spec.end_date.map(isoformat),
        "catchup": spec.catchup,
        "description": spec.description,
        "tags": tags,
        "max_active_runs": spec.max_active_runs,
        "max_active_tasks": spec.max_active_tasks,
        "dagrun_timeout": spec.dagrun_timeout.map(|timeout| timeout.as_secs_f64()),
        "is_paused_upon_creation": spec.is_paused_upon_creation,
        "params": spec.params.iter().map(|(name, param)| (name.clone(), param.value.clone())).collect::<BTreeMap<_, _>>(),
        "tasks": tasks,
        "groups": spec.groups.iter().map(|group| group.group_id.to_string()).collect::<BTreeSet<_>>(),
    })
}

/// The address that is told of a failure. The fixtures have one at most.
fn email(task: &updraft_core::TaskSpec) -> Option<String> {
    task.alerts.iter().find_map(|alert| match &alert.channel {
        updraft_core::AlertChannel::Email { to, .. } => to.first().cloned(),
        other => panic!("dag-factory knows nothing of {other:?}"),
    })
}

fn isoformat(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// The schedule, with what the answer tells of it.
fn schedule(schedule: &Schedule, answer: &Value) -> Value {
    let mut told = match schedule {
        Schedule::Manual => json!({"class": "NullTimetable"}),
        Schedule::Once => json!({"class": "OnceTimetable"}),
        Schedule::CronTrigger { crons, zone, .. } => json!({
            "class": "CronTriggerTimetable",
            "expression": crons.as_slice()[0].as_str(),
            "timezone": zone.to_string(),
        }),
        Schedule::CronDataInterval { cron, zone } => json!({
            "class": "CronDataIntervalTimetable",
            "expression": cron.as_str(),
            "timezone": zone.to_string(),
        }),
        Schedule::DeltaTrigger { every, .. } => {
            json!({"class": "DeltaTriggerTimetable", "delta": seconds(every)})
        }
        Schedule::DeltaDataInterval { every } => {
            json!({"class": "DeltaDataIntervalTimetable", "delta": seconds(every)})
        }
        Schedule::AtBoot
        | Schedule::Continuous
        | Schedule::ListOfTimes { .. }
        | Schedule::WithHolidays { .. } => {
            panic!("no fixture has this")
        }
    };
    told.as_object_mut().unwrap().retain(|key, _| answer.get(key).is_some());
    told
}

fn seconds(delta: &updraft_core::schedule::Delta) -> f64 {
    let span: jiff::Span = delta.to_string().parse().unwrap();
    span.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).unwrap()
}

#[test]
fn scalars_mean_what_they_mean_to_pyyaml() {
    let answers = answers("scalars.json");
    let answers = answers.as_array().unwrap();
    assert!(answers.len() > 60);
    for answer in answers {
        let (text, theirs) = (answer[0].as_str().unwrap(), &answer[1]);
        let document = format!("d:\n  tasks:\n    t:\n      operator: Anything\n      x: {text}\n");
        let reading = super::read(&document);
        let ours = reading.dags.first().map(|read| read.spec.tasks[0].args.get("x").cloned());
        let (kind, value) = theirs.as_object().unwrap().iter().next().unwrap();
        let fits = match (kind.as_str(), &ours) {
            ("error", None) => true,
            ("date", Some(Some(ours))) => ours == value,
            ("time", Some(Some(Value::String(ours)))) => {
                let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
                let wall = |text: &str| text.parse::<jiff::civil::DateTime>().ok();
                let theirs = value.as_str().unwrap();
                parse(ours) == parse(theirs) && wall(ours) == wall(theirs)
            }
            ("float", Some(Some(ours))) => ours.as_f64() == value.as_f64() && ours.is_f64(),
            (_, Some(Some(ours))) => ours == value,
            _ => false,
        };
        assert!(fits, "`{text}` is {theirs} there, and {ours:?} here: {:?}", reading.errors);
    }
}
