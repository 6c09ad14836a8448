//! What a task is mapped over: `expand`, and our `expand_kwargs`.

use updraft_core::{MapSource, Mapping as TaskMapping, TaskId};

use super::{
    field::{self, Noted},
    names::{Names, Target},
    node::{Mapping, Node, Value},
    problem::Problems,
};

/// What a task is mapped over. `ids` are the full names of the DAG's tasks.
pub(super) fn read(
    expand: Option<&Node>,
    expand_kwargs: Option<&Node>,
    names: &Names,
    ids: &[TaskId],
    problems: &mut Problems,
) -> Result<Option<TaskMapping>, Noted> {
    if let Some(node) = expand_kwargs.filter(|node| !node.is_null()) {
        if expand.is_some_and(|node| !node.is_null()) {
            problems.error(
                node.place,
                "a task is mapped by `expand` or by `expand_kwargs`: take one of the two out",
            );
            return Err(Noted);
        }
        let objects = |list: &[Node]| list.iter().all(|item| item.map().is_some());
        let is_set = node.map().is_some_and(|map| several(map).is_none());
        if is_set || node.list().is_some_and(|list| !objects(list)) {
            problems.error(node.place, "expand_kwargs is a list of mappings, or `task.output`");
            return Err(Noted);
        }
        return source(node, names, ids, problems).map(|source| Some(TaskMapping::Kwargs(source)));
    }
    let Some(node) = expand.filter(|node| !node.is_null()) else { return Ok(None) };
    let Some(map) = node.map() else {
        let message = format!(
            "expected `expand` as a mapping from arguments to what they are mapped over, found {}",
            node.kind()
        );
        problems.error(node.place, message);
        return Err(Noted);
    };
    if map.entries.is_empty() {
        problems.error(node.place, "`expand` maps over nothing: name an argument, or take it out");
        return Err(Noted);
    }
    let mut all = Vec::with_capacity(map.entries.len());
    for entry in &map.entries {
        all.push((entry.key.to_string(), source(&entry.node, names, ids, problems)?));
    }
    Ok(Some(TaskMapping::Product(all)))
}

fn source(node: &Node, names: &Names, ids: &[TaskId], problems: &mut Problems) -> Result<MapSource, Noted> {
    if let Some((key, items)) = node.map().and_then(|map| several(map)) {
        let sources =
            items.iter().map(|item| source(item, names, ids, problems)).collect::<Result<_, _>>()?;
        return Ok(match key {
            ZIP => MapSource::Zip { sources, fill: None },
            _ => MapSource::Concat(sources),
        });
    }
    match &node.value {
        Value::List(list) => {
            let items: Result<Vec<_>, Noted> =
                list.items.iter().map(|item| field::json(item, problems)).collect();
            Ok(MapSource::List(items?))
        }
        Value::Map(_) => match field::json(node, problems)? {
            serde_json::Value::Object(pairs) => Ok(MapSource::Dict(pairs)),
            other => Ok(MapSource::List(vec![other])),
        },
        Value::Text(text) => match upstream(text) {
            Some(name) => match names.find(name, node, problems) {
                Some(Target::Task(task)) => Ok(MapSource::Result(ids[task].clone())),
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
