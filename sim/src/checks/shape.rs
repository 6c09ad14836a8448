//! A DAG as the checks read it: from the spec, and not from what the core made of it.

use std::{collections::BTreeSet, sync::Arc};

use updraft_core::{DagSpec, GroupId, MapSource, Mapping, Role, TaskSpec};

/// Who follows whom.
#[derive(Debug)]
pub(super) struct Shape {
    pub spec: Arc<DagSpec>,
    pub up: Vec<BTreeSet<usize>>,
    pub down: Vec<BTreeSet<usize>>,
    /// The mapped group each task is in.
    pub group: Vec<Option<GroupId>>,
    /// The setups that each task needs, near or far.
    pub setups: Vec<BTreeSet<usize>>,
    /// What lies between each teardown's setups and itself.
    pub scope: Vec<BTreeSet<usize>>,
}

impl Shape {
    pub fn new(spec: Arc<DagSpec>) -> Self {
        let size = spec.tasks.len();
        let at = |name: &str| spec.tasks.iter().position(|task| *task.task_id == *name);
        let mut up = vec![BTreeSet::new(); size];
        for edge in &spec.edges {
            if let (Some(from), Some(to)) = (at(&edge.from), at(&edge.to)) {
                up[to].insert(from);
            }
        }
        let group: Vec<_> = spec.tasks.iter().map(|task| mapped_group(&spec, task)).collect();
        let first: Vec<bool> =
            (0..size).map(|to| !up[to].iter().any(|from| group[*from] == group[to])).collect();
        for (to, up) in up.iter_mut().enumerate() {
            // What a group is mapped over comes before the tasks with which it begins.
            let of_group = group_mapping(&spec, group[to].as_ref()).filter(|_| first[to]);
            for source in spec.tasks[to].map.iter().chain(of_group).flat_map(sources) {
                up.extend(at(&source));
            }
        }
        let mut down = vec![BTreeSet::new(); size];
        for (to, before) in up.iter().enumerate() {
            for from in before {
                down[*from].insert(to);
            }
        }
        let mut shape = Self {
            setups: vec![BTreeSet::new(); size],
            scope: vec![BTreeSet::new(); size],
            spec,
            up,
            down,
            group,
        };
        shape.find_scopes();
        shape
    }

    /// What a task, or the group around it, is mapped over.
    pub fn mapping(&self, task: usize) -> Option<&Mapping> {
        self.spec.tasks[task].map.as_ref().or(group_mapping(&self.spec, self.group[task].as_ref()))
    }

    fn find_scopes(&mut self) {
        let tasks = self.spec.tasks.len();
        let is_teardown = |task: usize| matches!(self.spec.tasks[task].role, Role::Teardown { .. });
        for setup in (0..tasks).filter(|task| self.spec.tasks[*task].role == Role::Setup) {
            let after = reach(&self.down, setup);
            let teardowns: Vec<usize> =
                self.down[setup].iter().copied().filter(|t| is_teardown(*t)).collect();
            for task in after {
                let closing: Vec<usize> =
                    teardowns.iter().copied().filter(|t| reach(&self.down, task).contains(t)).collect();
                if !is_teardown(task) && (teardowns.is_empty() || !closing.is_empty()) {
                    self.setups[task].insert(setup);
                }
                for teardown in closing {
                    self.scope[teardown].insert(task);
                }
            }
        }
    }

    /// Whether a task decides its run's state, where the run has only these tasks.
    pub fn is_leaf(&self, task: usize, chosen: &dyn Fn(usize) -> bool) -> bool {
        let ignored =
            |task: usize| self.spec.tasks[task].role == Role::Teardown { on_failure_fail_dagrun: false };
        let leaf = |task: usize| self.down[task].iter().all(|down| ignored(*down)) && !ignored(task);
        let any_leaf = (0..self.spec.tasks.len()).any(leaf);
        let last = self.down[task].is_empty();
        // Where a run leaves tasks out, what nothing of it follows counts as well.
        let partial = (0..self.spec.tasks.len()).any(|task| !chosen(task));
        let last_of_chosen = partial && self.down[task].iter().all(|down| !chosen(*down));
        last_of_chosen || if any_leaf { leaf(task) } else { last }
    }
}

/// All that can be reached, the start not among it.
fn reach(next: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(task) = todo.pop() {
        todo.extend(next[task].iter().copied().filter(|task| found.insert(*task)));
    }
    found
}

fn mapped_group(spec: &DagSpec, task: &TaskSpec) -> Option<GroupId> {
    let mut at = task.group.clone();
    while let Some(name) = at {
        let group = spec.groups.iter().find(|group| group.group_id == name)?;
        if group.map.is_some() {
            return Some(name);
        }
        at = group.parent.clone();
    }
    None
}

fn group_mapping<'a>(spec: &'a DagSpec, name: Option<&GroupId>) -> Option<&'a Mapping> {
    spec.groups.iter().find(|group| Some(&group.group_id) == name)?.map.as_ref()
}

/// The tasks whose results a mapping is over.
fn sources(mapping: &Mapping) -> Vec<String> {
    fn of(source: &MapSource) -> Vec<String> {
        match source {
            MapSource::List(_) | MapSource::Dict(_) => Vec::new(),
            MapSource::Result(task) => vec![task.to_string()],
            MapSource::Zip { sources, .. } | MapSource::Concat(sources) => {
                sources.iter().flat_map(of).collect()
            }
        }
    }
    match mapping {
        Mapping::Product(arguments) => arguments.iter().flat_map(|(_, source)| of(source)).collect(),
        Mapping::Kwargs(source) => of(source),
    }
}
