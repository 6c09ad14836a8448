//! What follows what: dependencies between tasks, and those that name groups.

use std::collections::HashMap;

use updraft_core::{Condition, EdgeSpec, Mapping as TaskMapping, Role, TaskSpec};

use super::{
    field,
    groups::Group,
    names::{Names, Target},
    node::{Node, Place},
    problem::Problems,
};

/// Groups that depend on groups multiply their tasks; a DAG with more edges than these is a mistake.
const MAX_EDGES: usize = 1_000_000;

/// The tasks of a DAG and the way through its groups.
pub(super) struct Graph<'a> {
    tasks: &'a [TaskSpec],
    /// The innermost group of each task.
    groups_of: &'a [Option<usize>],
    groups: &'a [Group],
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    members: Vec<Vec<usize>>,
    edges: Vec<EdgeSpec>,
    seen: HashMap<(usize, usize), usize>,
}

/// One dependency as it was written: `of` comes after `on`.
pub(super) struct Dependency {
    of: Target,
    on: Target,
    place: Place,
    when: Option<Condition>,
    pass_result: bool,
    label: Option<String>,
}

impl Dependency {
    /// One that says no more than what comes after what.
    pub fn plain(of: Target, on: Target, place: Place) -> Self {
        Self { of, on, place, when: None, pass_result: false, label: None }
    }
}

impl<'a> Graph<'a> {
    pub fn new(tasks: &'a [TaskSpec], groups_of: &'a [Option<usize>], groups: &'a [Group]) -> Self {
        let mut members = vec![Vec::new(); groups.len()];
        for (task, group) in groups_of.iter().enumerate() {
            let mut at = *group;
            while let Some(group) = at {
                members[group].push(task);
                at = groups[group].parent;
            }
        }
        let mut graph = Self {
            tasks,
            groups_of,
            groups,
            before: vec![Vec::new(); tasks.len()],
            after: vec![Vec::new(); tasks.len()],
            members,
            edges: Vec::new(),
            seen: HashMap::new(),
        };
        // What a task is mapped over comes before it, and so counts for what is first and last in a group.
        let index: HashMap<&str, usize> =
            tasks.iter().enumerate().map(|(at, task)| (&*task.task_id, at)).collect();
        for (to, task) in tasks.iter().enumerate() {
            let sources = task.map.as_ref().map(TaskMapping::upstream).unwrap_or_default();
            for from in sources.into_iter().filter_map(|source| index.get(&**source)) {
                graph.before[to].push(*from);
                graph.after[*from].push(to);
            }
        }
        graph
    }

    /// The edges that these dependencies come to. Those within groups come first, since they decide what is
    /// first and last in a group for those that name it.
    pub fn edges(mut self, mut dependencies: Vec<Dependency>, problems: &mut Problems) -> Vec<EdgeSpec> {
        let depth = |target: Target| match target {
            Target::Task(task) => self.groups_of[task].map_or(0, |group| self.groups[group].depth + 1),
            Target::Group(group) => self.groups[group].depth,
        };
        let is_group = |target: Target| matches!(target, Target::Group(_));
        dependencies.sort_by_key(|dependency| {
            let names_group = is_group(dependency.of) || is_group(dependency.on);
            let depth = depth(dependency.of).min(depth(dependency.on));
            if names_group { (1, usize::MAX - depth) } else { (0, 0) }
        });
        for dependency in dependencies {
            if !self.add(&dependency, problems) {
                let message = format!(
                    "with this dependency the DAG has more than {MAX_EDGES} edges: put a task between the groups"
                );
                problems.error(dependency.place, message);
                break;
            }
        }
        self.edges
    }

    /// Adds what a dependency comes to; `false` where that is too much.
    fn add(&mut self, dependency: &Dependency, problems: &mut Problems) -> bool {
        let from = match dependency.on {
            Target::Task(task) => vec![task],
            Target::Group(group) => self.leaves(group),
        };
        let to = match dependency.of {
            Target::Task(task) => vec![task],
            Target::Group(group) => self.roots(group),
        };
        for (side, tasks) in [(dependency.on, &from), (dependency.of, &to)] {
            if let (Target::Group(group), true) = (side, tasks.is_empty()) {
                let message = format!(
                    "the task group `{}` has no tasks, so this orders nothing",
                    self.groups[group].id
                );
                problems.warn(dependency.place, message);
            }
        }
        if from.len().saturating_mul(to.len()).saturating_add(self.edges.len()) > MAX_EDGES {
            return false;
        }
        for from in &from {
            for to in &to {
                self.connect(*from, *to, dependency, problems);
            }
        }
        true
    }

    fn connect(&mut self, from: usize, to: usize, dependency: &Dependency, problems: &mut Problems) {
        if dependency.when.is_some() && self.tasks[from].map.is_some() {
            let message = format!(
                "`{}` is mapped, and a condition is over one result: put a task between them that takes the list of its \
                 results (`pass_result: true`) and leaves what is to decide",
                self.tasks[from].task_id
            );
            problems.error(dependency.place, message);
        }
        let edge = EdgeSpec {
            from: self.tasks[from].task_id.clone(),
            to: self.tasks[to].task_id.clone(),
            when: dependency.when.clone(),
            pass_result: dependency.pass_result,
            label: dependency.label.clone(),
        };
        if let Some(known) = self.seen.get(&(from, to)) {
            if self.edges[*known] != edge {
                let message =
                    format!("`{}` is named twice, not in the same way: keep one of the two", edge.from);
                problems.error(dependency.place, message);
            }
            return;
        }
        self.seen.insert((from, to), self.edges.len());
        self.edges.push(edge);
        self.before[to].push(from);
        self.after[from].push(to);
    }

    fn is_in(&self, task: usize, group: usize) -> bool {
        let mut at = self.groups_of[task];
        while let Some(here) = at {
            if here == group {
                return true;
            }
            at = self.groups[here].parent;
        }
        false
    }

    /// The tasks of a group with none of the group before them.
    fn roots(&self, group: usize) -> Vec<usize> {
        let first = |task: &&usize| !self.before[**task].iter().any(|before| self.is_in(*before, group));
        self.members[group].iter().filter(first).copied().collect()
    }

    /// The tasks of a group with none of the group after them. What follows a group does not wait for its
    /// teardowns but, as in Airflow, for what is before these.
    fn leaves(&self, group: usize) -> Vec<usize> {
        let last = |task: &&usize| !self.after[**task].iter().any(|after| self.is_in(*after, group));
        let mut found = Vec::new();
        let mut teardowns = Vec::new();
        for task in self.members[group].iter().filter(last).copied() {
            if self.is_teardown(task) { teardowns.push(task) } else { found.push(task) }
        }
        let mut seen = vec![false; if teardowns.is_empty() { 0 } else { self.tasks.len() }];
        while let Some(teardown) = teardowns.pop() {
            for before in self.before[teardown].iter().copied().filter(|task| self.is_in(*task, group)) {
                if std::mem::replace(&mut seen[before], true) {
                    continue;
                }
                let goes_on = || {
                    self.after[before].iter().any(|after| {
                        *after != teardown && self.is_in(*after, group) && !self.is_teardown(*after)
                    })
                };
                if self.is_teardown(before) {
                    teardowns.push(before);
                } else if self.tasks[before].role != Role::Setup && !goes_on() {
                    found.push(before);
                }
            }
        }
        found
    }

    fn is_teardown(&self, task: usize) -> bool {
        matches!(self.tasks[task].role, Role::Teardown { .. })
    }
}

/// The dependencies written under `dependencies` of a task or a group.
pub(super) fn read(
    of: Target,
    node: Option<&Node>,
    names: &Names,
    all: &mut Vec<Dependency>,
    problems: &mut Problems,
) {
    let Some(node) = node.filter(|node| !node.is_null()) else { return };
    let Some(items) = node.list() else {
        let message =
            format!("expected a list of tasks and task groups (`[extract]`), found {}", node.kind());
        problems.error(node.place, message);
        return;
    };
    for item in items {
        if let Some(name) = item.text() {
            if let Some(on) = names.find(name, item, problems) {
                all.push(Dependency::plain(of, on, item.place));
            }
        } else {
            all.extend(detailed(of, item, names, problems));
        }
    }
}

/// A dependency that says more than a name: `{task: a, when: "result | int > 5", pass_result: true}`.
fn detailed(of: Target, item: &Node, names: &Names, problems: &mut Problems) -> Option<Dependency> {
    const KEYS: [&str; 4] = ["task", "when", "pass_result", "label"];
    let Some(map) = item.map() else {
        let message = format!(
            "expected a task's name or `{{task: …, when: …, pass_result: …}}`, found {}",
            item.kind()
        );
        problems.error(item.place, message);
        return None;
    };
    let mut dependency = Dependency::plain(of, of, item.place);
    let mut on = None;
    for entry in &map.entries {
        let node = &entry.node;
        match &*entry.key {
            "task" => {
                let name = field::text(node, problems).ok().flatten()?;
                on = names.find(&name, node, problems);
                on?;
            }
            "when" => {
                let Some(text) = field::text(node, problems).ok().flatten() else { continue };
                match Condition::parse(text) {
                    Ok(condition) => dependency.when = Some(condition),
                    Err(error) => problems.error(node.place, error.to_string()),
                }
            }
            "pass_result" => {
                field::set(&mut dependency.pass_result, field::boolean(node, problems), false);
            }
            "label" => field::set_option(&mut dependency.label, field::text(node, problems)),
            key => {
                let near = field::did_you_mean(key, KEYS.into_iter());
                problems.error(entry.key_place, format!("a dependency has no `{key}`{near}"));
            }
        }
    }
    let Some(on) = on else {
        problems.error(item.place, "this dependency names no task: write `task: …` in it");
        return None;
    };
    let says_more = dependency.when.is_some() || dependency.pass_result;
    if says_more && (matches!(on, Target::Group(_)) || matches!(of, Target::Group(_))) {
        problems
            .error(item.place, "a condition and a passed result need a task on both sides, not a task group");
        return None;
    }
    dependency.on = on;
    Some(dependency)
}
