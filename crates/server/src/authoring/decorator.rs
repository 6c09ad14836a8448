//! TaskFlow tasks as dag-factory writes them: a decorator in the operator's place, and the function's own arguments
//! beside it. `+task` among these is that task's result, and `+task['key']` one of its entries.

use serde_json::{Map, Value as Json};
use updraft_core::{Mapping as TaskMapping, ResultArg, TaskId};
use updraft_operators::catalog;

use super::{
    edges::Dependency,
    field::{self, Noted},
    names::{Names, Target},
    node::{Entry, Node, Value},
    problem::Problems,
};

/// The modules that Airflow has its decorators in, by version.
const MODULES: [&str; 3] = ["airflow.sdk.definitions.decorators.", "airflow.sdk.", "airflow.decorators."];

/// The same where Airflow's standard provider has them, each in a module of its own.
const OF_PROVIDER: &str = "airflow.providers.standard.decorators.";

/// The operator of a function that is only called: what it takes, those of all others take.
const PYTHON: &str = "PythonOperator";

/// The arguments of an operator that hold those of the function, which stand beside it here.
const OF_FUNCTION: [&str; 2] = ["op_args", KWARGS];

/// Whether an argument of a decorated task is its operator's; the rest are the function's.
pub(super) fn is_of_operator(operator: Option<&str>, name: &str) -> bool {
    let takes = |operator| catalog::argument(operator, name).is_some();
    !OF_FUNCTION.contains(&name) && (takes(PYTHON) || operator.is_some_and(takes))
}

/// The argument that all of the function's are in.
const KWARGS: &str = "op_kwargs";

/// The operator that a decorator stands for.
pub(super) fn operator(node: &Node, problems: &mut Problems) -> Option<&'static str> {
    let name = field::text(node, problems).ok().flatten()?;
    let short = MODULES.iter().chain([&OF_PROVIDER]).find_map(|module| name.strip_prefix(module));
    match short.unwrap_or(&name) {
        "task" | "task.python" | "python.python_task" => Some(PYTHON),
        "task.branch" | "branch_python.branch_task" => Some("BranchPythonOperator"),
        "task.short_circuit" | "short_circuit.short_circuit_task" => Some("ShortCircuitOperator"),
        "task.sensor" | "sensor.sensor_task" => Some("PythonSensor"),
        "task.bash" | "bash.bash_task" => Some("BashFunctionOperator"),
        "task.virtualenv" | "python_virtualenv.virtualenv_task" => Some("PythonVirtualenvOperator"),
        "task.branch_virtualenv" | "branch_virtualenv.branch_virtualenv_task" => {
            Some("BranchPythonVirtualenvOperator")
        }
        "task.external_python" | "external_python.external_python_task" => Some("ExternalPythonOperator"),
        "task.branch_external_python" | "branch_external_python.branch_external_python_task" => {
            Some("BranchExternalPythonOperator")
        }
        _ => {
            let mend = "there are `task`, `task.branch`, `task.short_circuit`, `task.sensor`, `task.bash`, `task.virtualenv`, \
                        `task.external_python`, and for branches `task.branch_virtualenv` and `task.branch_external_python`; \
                        write an `operator` for others";
            problems.error(node.place, format!("there is no decorator `{name}`: {mend}"));
            None
        }
    }
}

/// A decorated task's arguments, and the tasks whose results they take.
pub(super) struct Arguments {
    pub args: Map<String, Json>,
    pub needs: Vec<Dependency>,
}

/// Reads them.
pub(super) fn arguments(
    of: Target,
    operator: Option<&str>,
    own: &[&Entry],
    names: &Names,
    ids: &[TaskId],
    problems: &mut Problems,
) -> Result<Arguments, Noted> {
    let (mut args, mut kwargs, mut needs) = (Map::new(), Map::new(), Vec::new());
    for entry in own {
        let key = entry.key.to_string();
        if is_of_operator(operator, &key) {
            args.insert(key, field::json(&entry.node, problems)?);
            continue;
        }
        let mut reader = Reader { of, names, ids, needs: &mut needs };
        kwargs.insert(key, reader.value(&entry.node, problems)?);
    }
    args.insert(KWARGS.into(), Json::Object(kwargs));
    Ok(Arguments { args, needs })
}

/// What it is mapped over, as arguments of the operator.
pub(super) fn mapping(
    mapping: TaskMapping,
    at: &Node,
    problems: &mut Problems,
) -> Result<TaskMapping, Noted> {
    match mapping {
        TaskMapping::Product(sources) => {
            let inner = |(name, source)| (format!("{KWARGS}.{name}"), source);
            Ok(TaskMapping::Product(sources.into_iter().map(inner).collect()))
        }
        TaskMapping::Kwargs(_) => {
            problems.error(at.place, "a decorated task is mapped by `expand`: name its arguments one by one");
            Err(Noted)
        }
    }
}

struct Reader<'a> {
    of: Target,
    names: &'a Names,
    ids: &'a [TaskId],
    needs: &'a mut Vec<Dependency>,
}

impl Reader<'_> {
    fn value(&mut self, node: &Node, problems: &mut Problems) -> Result<Json, Noted> {
        match &node.value {
            Value::Text(text) if text.starts_with('+') => self.result(&text[1..], node, problems),
            Value::List(list) => list.items.iter().map(|item| self.value(item, problems)).collect(),
            Value::Map(map) => {
                let pairs = map
                    .entries
                    .iter()
                    .map(|entry| Ok((entry.key.to_string(), self.value(&entry.node, problems)?)));
                pairs.collect::<Result<Map<_, _>, Noted>>().map(Json::Object)
            }
            _ => field::python(node, problems),
        }
    }

    /// `task`, or `task['key']`.
    fn result(&mut self, text: &str, node: &Node, problems: &mut Problems) -> Result<Json, Noted> {
        let (name, key) = match text.split_once('[') {
            None => (text, "return_value"),
            Some((name, key)) => match key.strip_suffix(']').map(|key| key.trim_matches(['\'', '"'])) {
                Some(key) if !key.is_empty() => (name, key),
                Some(_) | None => {
                    problems.error(
                        node.place,
                        format!("`+{text}` is no result: write `+task` or `+task['key']`"),
                    );
                    return Err(Noted);
                }
            },
        };
        match self.names.find(name, node, problems) {
            Some(on @ Target::Task(task)) => {
                self.needs.push(Dependency::plain(self.of, on, node.place));
                Ok(ResultArg { task_id: self.ids[task].clone(), key: key.to_owned() }.to_argument())
            }
            Some(Target::Group(_)) => {
                problems
                    .error(node.place, format!("`{name}` is a task group, which has no result: name a task"));
                Err(Noted)
            }
            None => Err(Noted),
        }
    }
}
