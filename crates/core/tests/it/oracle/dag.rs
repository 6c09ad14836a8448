//! The DAG of a case, as `generate.py` writes it.

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use updraft_core::{DagSpec, EdgeSpec, GroupSpec, MapSource, Mapping, Role, TaskKind, TaskSpec, TriggerRule};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseDag {
    tasks: Vec<(String, String, TaskOptions)>,
    #[serde(default)]
    groups: Vec<(String, GroupOptions)>,
    #[serde(default)]
    fail_fast: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskOptions {
    #[serde(default)]
    rule: TriggerRule,
    #[serde(default)]
    retries: u32,
    #[serde(default)]
    kind: Kind,
    role: Option<String>,
    #[serde(default)]
    past: bool,
    #[serde(default)]
    downstream: bool,
    map: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Work,
    Empty,
    Branch,
    Short,
    ShortDirect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupOptions {
    map: Option<Map<String, Value>>,
}

impl CaseDag {
    pub fn kind(&self, task: &str) -> Kind {
        self.tasks.iter().find(|(name, ..)| name == task).unwrap().2.kind
    }

    pub fn spec(&self) -> DagSpec {
        let mut spec = DagSpec::new("d");
        spec.fail_fast = self.fail_fast;
        spec.max_active_tasks = 1000;
        for (name, options) in &self.groups {
            spec.groups.push(GroupSpec {
                group_id: name.as_str().into(),
                parent: name.rsplit_once('.').map(|(parent, _)| parent.into()),
                tooltip: None,
                map: options.map.as_ref().map(mapping),
            });
        }
        for (name, upstream, options) in &self.tasks {
            spec.tasks.push(options.task(name));
            spec.edges.extend(upstream.split_whitespace().map(|from| EdgeSpec::new(from, name.as_str())));
        }
        spec
    }
}

impl TaskOptions {
    fn task(&self, name: &str) -> TaskSpec {
        let kind = if self.kind == Kind::Empty { TaskKind::Empty } else { TaskKind::Run };
        let mut task = TaskSpec::new(name, "PythonOperator", kind);
        task.group = name.rsplit_once('.').map(|(group, _)| group.into());
        task.retry.retries = self.retries;
        task.retry.delay = SignedDuration::ZERO;
        task.role = match self.role.as_deref() {
            None => Role::Normal,
            Some("setup") => Role::Setup,
            Some("teardown") => Role::Teardown { on_failure_fail_dagrun: false },
            Some("teardown!") => Role::Teardown { on_failure_fail_dagrun: true },
            Some(other) => panic!("no such role: {other}"),
        };
        task.trigger_rule = match task.role {
            Role::Teardown { .. } => TriggerRule::AllDoneSetupSuccess,
            Role::Normal | Role::Setup => self.rule,
        };
        task.depends_on_past = self.past;
        task.wait_for_downstream = self.downstream;
        task.map = self.map.as_ref().map(mapping);
        task
    }
}

fn mapping(map: &Map<String, Value>) -> Mapping {
    match map.get("kwargs") {
        Some(of) => Mapping::Kwargs(source(of, &|at| json!({"x": at}))),
        None => Mapping::Product(
            map.iter().map(|(name, of)| (name.clone(), source(of, &|at| json!(at)))).collect(),
        ),
    }
}

fn source(of: &Value, value: &dyn Fn(u64) -> Value) -> MapSource {
    match of {
        Value::Number(count) => MapSource::List((0..count.as_u64().unwrap()).map(value).collect()),
        Value::String(task) => MapSource::Result(task.as_str().into()),
        Value::Array(parts) => {
            let sources = parts[1..].iter().map(|part| source(part, value)).collect();
            match parts[0].as_str() {
                Some("zip") => MapSource::Zip { sources, fill: None },
                Some("fill") => MapSource::Zip { sources, fill: Some(json!(0)) },
                Some("concat") => MapSource::Concat(sources),
                other => panic!("no such source: {other:?}"),
            }
        }
        other => panic!("no such source: {other}"),
    }
}
