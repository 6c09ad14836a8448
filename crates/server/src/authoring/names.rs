//! The names of tasks and groups within a DAG, and what they stand for.

use std::{collections::HashMap, sync::Arc};

use super::{
    field::did_you_mean,
    node::{Entry, Mapping, Node},
    problem::Problems,
};

/// What a name stands for: a task or a group, by its place in the list of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Task(usize),
    Group(usize),
}

/// What each name stands for. A task in a group has two: the one it was written under, by which
/// dependencies name it, and the one with its groups' names before it.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<Arc<str>, Target>,
}

impl Names {
    /// Takes up a name; the one that came first stays.
    pub fn add(&mut self, name: Arc<str>, target: Target) {
        self.known.entry(name).or_insert(target);
    }

    /// What stands for a name, noting where there is none.
    pub fn find(&self, name: &str, at: &Node, problems: &mut Problems) -> Option<Target> {
        let found = self.known.get(name).copied();
        if found.is_none() {
            // Beyond what is told anyway, or among very many names, looking for the nearest takes hours.
            let names = if problems.is_full() { 0 } else { 2_000 };
            let near = did_you_mean(name, self.known.keys().take(names).map(|name| &**name));
            problems.error(at.place, format!("there is no task and no task group `{name}`{near}"));
        }
        found
    }
}

/// Tasks or groups as they were written, in their order: a mapping from names, or a list in which each
/// names itself under `name_key`. The name of an entry is its key.
pub(super) fn entries(
    node: Option<&Node>,
    name_key: &str,
    what: &str,
    problems: &mut Problems,
) -> Vec<Entry> {
    let Some(node) = node.filter(|node| !node.is_null()) else { return Vec::new() };
    if let Some(map) = node.map() {
        return map
            .entries
            .iter()
            .filter_map(|entry| named_by_key(entry, name_key, what, problems))
            .collect();
    }
    let Some(items) = node.list() else {
        let message =
            format!("expected a mapping from names to {what}s or a list of {what}s, found {}", node.kind());
        problems.error(node.place, message);
        return Vec::new();
    };
    let mut seen: HashMap<Arc<str>, ()> = HashMap::with_capacity(items.len());
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        let Some(name) = item.map().and_then(|map| map.entry(name_key)) else {
            problems.error(item.place, format!("each {what} of the list needs its `{name_key}`"));
            continue;
        };
        let Some(text) = name.node.text() else {
            let message = format!("expected text, found {}: put it in quotes", name.node.kind());
            problems.error(name.node.place, message);
            continue;
        };
        if seen.insert(text.clone(), ()).is_some() {
            problems
                .error(name.node.place, format!("two {what}s are called `{text}`: give one another name"));
            continue;
        }
        all.push(Entry { key: text.clone(), key_place: name.node.place, node: item.clone() });
    }
    all
}

fn named_by_key(entry: &Entry, name_key: &str, what: &str, problems: &mut Problems) -> Option<Entry> {
    let map: &Mapping = if let Some(map) = entry.node.map() {
        map
    } else if what == "task group" && entry.node.is_null() {
        return Some(entry.clone());
    } else {
        let message =
            format!("expected the {what} `{}` as a mapping, found {}", entry.key, entry.node.kind());
        problems.error(entry.key_place, message);
        return None;
    };
    if let Some(name) = map.get(name_key)
        && name.text() != Some(&entry.key)
    {
        // As in dag-factory, the entry's name counts.
        problems.warn(name.place, format!("has no effect: this {what} is called `{}`", entry.key));
    }
    Some(entry.clone())
}

/// Whether a name is one that Airflow takes: letters, digits, `-` and `_`, and, but for groups, dots.
pub(super) fn check(
    name: &str,
    what: &str,
    dots: bool,
    longest: usize,
    at: super::node::Place,
    problems: &mut Problems,
) {
    let allowed =
        |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_') || dots && letter == '.';
    let length = name.chars().count();
    if name.is_empty() || !name.chars().all(allowed) {
        let dots = if dots { ", dots" } else { "" };
        let message = format!(
            "`{}` can't be a {what}: its name is made of letters, digits, dashes{dots} and underscores",
            super::node::shortened(name)
        );
        problems.error(at, message);
    } else if length > longest {
        problems.error(
            at,
            format!("the name of a {what} has at most {longest} characters, and this has {length}"),
        );
    }
}
