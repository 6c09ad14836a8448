//! What a task is mapped over: `expand`, and our `expand_kwargs`.

use serde_json::{Map, Value as Json};
use updraft_core::{MapSource, Mapping as TaskMapping, TaskId};

use super::{
    field::{self, Noted},
    names::{Names, Target},
    node::{Entry, Mapping, Node, Place, Value},
    problem::Problems,
};

/// Who takes what a task is mapped over.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// This operator.
    Operator(&'a str),
    /// A function of Python.
    Function,
}

/// What a task is mapped over. `ids` are the full names of the DAG's tasks.
pub(super) fn read(
    task: &Mapping,
    of: Of<'_>,
    names: &Names,
    ids: &[TaskId],
    problems: &mut Problems,
) -> Result<Option<TaskMapping>, Noted> {
    let given = |key| task.get(key).filter(|node| !node.is_null());
    let reader = Reader { of, names, ids };
    let Some(kwargs) = given("expand_kwargs") else {
        return given("expand").map(|expand| reader.product(expand, problems)).transpose();
    };
    if given("expand").is_some() {
        problems.error(
            kwargs.place,
            "a task is mapped by `expand` or by `expand_kwargs`: take one of the two out",
        );
        return Err(Noted);
    }
    if let Some((place, found)) = no_sets(kwargs) {
        let message = format!(
            "expected `expand_kwargs` as a list of mappings, one for each copy, or as `task.output`, found {found}"
        );
        problems.error(place, message);
        return Err(Noted);
    }
    reader.source(None, kwargs, problems).map(|source| Some(TaskMapping::Kwargs(source)))
}

/// What stands where sets of arguments should, and where that is.
fn no_sets(kwargs: &Node) -> Option<(Place, String)> {
    let wrong = match &kwargs.value {
        Value::List(list) => {
            let (at, item) = list.items.iter().enumerate().find(|(_, item)| item.map().is_none())?;
            return Some((item.place, format!("a list with {} at place {}", item.kind(), at + 1)));
        }
        Value::Map(map) => several(map).is_none(),
        Value::Text(text) => upstream(text).is_none(),
        _ => true,
    };
    wrong.then(|| (kwargs.place, kwargs.kind()))
}

struct Reader<'a> {
    of: Of<'a>,
    names: &'a Names,
    ids: &'a [TaskId],
}

impl Reader<'_> {
    fn product(&self, expand: &Node, problems: &mut Problems) -> Result<TaskMapping, Noted> {
        let Some(map) = expand.map() else {
            let message = format!(
                "expected `expand` as a mapping from arguments to what they are mapped over, found {}",
                expand.kind()
            );
            problems.error(expand.place, message);
            return Err(Noted);
        };
        if map.entries.is_empty() {
            problems.error(expand.place, "`expand` maps over nothing: name an argument, or take it out");
            return Err(Noted);
        }
        let mut all = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            all.push((entry.key.to_string(), self.source(Some(&entry.key), &entry.node, problems)?));
        }
        Ok(TaskMapping::Product(all))
    }

    /// What this argument is mapped over; without one, sets of arguments.
    fn source(
        &self,
        argument: Option<&str>,
        node: &Node,
        problems: &mut Problems,
    ) -> Result<MapSource, Noted> {
        if let Some((key, items)) = node.map().and_then(|map| several(map)) {
            let sources =
                items.iter().map(|item| self.source(argument, item, problems)).collect::<Result<_, _>>()?;
            return Ok(match key {
                ZIP => MapSource::Zip { sources, fill: None },
                _ => MapSource::Concat(sources),
            });
        }
        match &node.value {
            Value::List(list) => {
                let items: Result<Vec<_>, Noted> =
                    list.items.iter().map(|item| self.value(argument, item, problems)).collect();
                Ok(MapSource::List(items?))
            }
            Value::Map(map) => {
                // Nobody's argument is called so: it is one of these, misspelt or with something beside it.
                if let Some(entry) = map.entries.iter().find(|entry| entry.key.starts_with("__")) {
                    let message = format!(
                        "`{}` can't stand here: `{ZIP}` and `{CONCAT}` stand alone, each with a list of what is put \
                         together",
                        entry.key
                    );
                    problems.error(entry.node.place, message);
                    return Err(Noted);
                }
                let pair =
                    |entry: &Entry| Ok((entry.key.to_string(), self.value(argument, &entry.node, problems)?));
                Ok(MapSource::Dict(map.entries.iter().map(pair).collect::<Result<_, Noted>>()?))
            }
            Value::Text(text) => match upstream(text) {
                Some(name) => match self.names.find(name, node, problems) {
                    Some(Target::Task(task)) => Ok(MapSource::Result(self.ids[task].clone())),
                    Some(Target::Group(_)) => {
                        problems.error(
                            node.place,
                            format!("`{name}` is a task group, which has no result: name a task"),
                        );
                        Err(Noted)
                    }
                    None => Err(Noted),
                },
                None => refuse(node, problems),
            },
            _ => refuse(node, problems),
        }
    }

    /// A value that is written down, as whoever takes it has it without mapping.
    fn value(&self, argument: Option<&str>, node: &Node, problems: &mut Problems) -> Result<Json, Noted> {
        match (self.of, argument, node.map()) {
            (Of::Function, ..) => field::python(node, problems),
            (Of::Operator(operator), Some(name), _) => field::argument(name, node, operator, problems),
            (Of::Operator(operator), None, Some(set)) => {
                let argument = |entry: &Entry| {
                    let value = field::argument(&entry.key, &entry.node, operator, problems)?;
                    Ok((entry.key.to_string(), value))
                };
                set.entries.iter().map(argument).collect::<Result<Map<_, _>, Noted>>().map(Json::Object)
            }
            (Of::Operator(_), None, None) => field::json(node, problems),
        }
    }
}

/// Airflow's `XComArg.zip` and `XComArg.concat`, written as dag-factory writes what Python does.
const ZIP: &str = "__zip__";
const CONCAT: &str = "__concat__";

/// What is to be put together, and how.
fn several(map: &Mapping) -> Option<(&'static str, &[Node])> {
    let [entry] = map.entries.as_slice() else { return None };
    let key = [ZIP, CONCAT].into_iter().find(|key| *key == &*entry.key)?;
    Some((key, entry.node.list()?))
}

fn refuse(node: &Node, problems: &mut Problems) -> Result<MapSource, Noted> {
    let message =
        format!("expected a list, a mapping, or a task's result (`task.output`), found {}", node.kind());
    problems.error(node.place, message);
    Err(Noted)
}

/// The task whose result a text means: `task.output`, `XcomArg(task)`, `+task`.
fn upstream(text: &str) -> Option<&str> {
    let text = text.trim();
    if let Some(task) = text.strip_suffix(".output").or_else(|| text.strip_prefix('+')) {
        return Some(task);
    }
    let inner = text.strip_prefix("XcomArg").or_else(|| text.strip_prefix("XComArg"))?;
    Some(inner.trim_start_matches('(').trim_end_matches(')').trim_matches(['"', '\'']))
}
