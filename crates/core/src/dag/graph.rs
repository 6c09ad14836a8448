//! A DAG made ready to run: names resolved to places, who follows whom, weights, scopes of setups.

use std::collections::BTreeMap;

use super::{DagSpec, Mapping, Role, TaskSpec, WeightRule, scopes::find_scopes};
use crate::{GroupId, TaskId, TaskIx, condition::Condition};

/// A DAG that the engine can run. Immutable: a changed DAG is another one.
#[derive(Debug)]
pub struct Dag {
    spec: DagSpec,
    nodes: Vec<Node>,
    by_id: BTreeMap<TaskId, TaskIx>,
    topological: Vec<TaskIx>,
    any_depends_on_past: bool,
}

/// What the engine needs to know of a task's place among the others.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub upstream: Vec<TaskIx>,
    pub downstream: Vec<TaskIx>,
    /// The tasks whose results it gets, in the order in which its edges were written.
    pub inputs: Vec<TaskIx>,
    /// The conditions on edges that lead away.
    pub conditions: Vec<(TaskIx, Condition)>,
    /// Tasks mapped over this one's result.
    pub mapped_by: Vec<TaskIx>,
    /// Setups that are not directly before this task and must have succeeded before it.
    pub setups: Vec<TaskIx>,
    /// For a teardown: what lies between its setups and itself and is not directly before it.
    pub scope: Vec<TaskIx>,
    /// Tasks that have this one among their `setups` or in their `scope`.
    pub watched_by: Vec<TaskIx>,
    /// Decides the run's state.
    pub leaf: bool,
    /// Its own weight and those its rule adds.
    pub weight: i64,
    /// The mapped group it is in (innermost), by place in the DAG's list of groups.
    pub mapped_group: Option<usize>,
}

/// Why a DAG can't run. Each names the place and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDag {
    /// Two tasks have one name.
    #[error("two tasks are called `{0}`: give one of them another task_id")]
    DuplicateTask(TaskId),
    /// Two groups have one name.
    #[error("two task groups are called `{0}`: give one of them another name")]
    DuplicateGroup(GroupId),
    /// An edge leads to or from no task.
    #[error("task `{task}` names `{missing}` as a neighbour, and there is no such task{}", did_you_mean(.nearest))]
    UnknownNeighbour {
        /// The task that names it.
        task: TaskId,
        /// What it names.
        missing: TaskId,
        /// A task with a similar name.
        nearest: Option<TaskId>,
    },
    /// A task or a group is in a group that is not there, or that comes later.
    #[error("`{member}` is in task group `{group}`, which is not declared before it")]
    UnknownGroup {
        /// The task or group.
        member: String,
        /// The group that is missing.
        group: GroupId,
    },
    /// Tasks wait for each other.
    #[error("these tasks wait for each other in a circle: {}; take one of these dependencies out", .0.iter().map(|t| &**t).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<TaskId>),
    /// A mapped task maps over a task that is not there.
    #[error("task `{task}` is mapped over the result of `{missing}`, and there is no such task")]
    UnknownMapSource {
        /// The mapped task.
        task: TaskId,
        /// What it names.
        missing: TaskId,
    },
    /// A number has to be at least one.
    #[error("{what} is {value}: it has to be at least 1")]
    TooSmall {
        /// Which number of what.
        what: String,
        /// What it is.
        value: i64,
    },
    /// `fail_fast` with a trigger rule that waits for failures.
    #[error("fail_fast allows only the trigger rule all_success, and task `{0}` has another")]
    FailFastRule(TaskId),
    /// A mapped group around a mapped group.
    #[error("task group `{0}` is mapped and lies in a mapped group: only one of them can be")]
    NestedMappedGroup(GroupId),
    /// A mapped task in a mapped group.
    #[error("task `{task}` is mapped and lies in the mapped task group `{group}`: only one of them can be")]
    MappedInMappedGroup {
        /// The task.
        task: TaskId,
        /// The group.
        group: GroupId,
    },
    /// More tasks than can be numbered.
    #[error("{0} tasks are more than the 1,000,000 a DAG may have")]
    TooManyTasks(usize),
}

fn did_you_mean(nearest: &Option<TaskId>) -> String {
    nearest.as_ref().map(|task| format!("; did you mean `{task}`?")).unwrap_or_default()
}

impl Dag {
    /// The most tasks a DAG may have.
    pub const MAX_TASKS: usize = 1_000_000;

    /// Checks a spec and resolves its names.
    pub fn compile(spec: DagSpec) -> Result<Self, InvalidDag> {
        if spec.tasks.len() > Self::MAX_TASKS {
            return Err(InvalidDag::TooManyTasks(spec.tasks.len()));
        }
        let by_id = index_tasks(&spec)?;
        let groups = index_groups(&spec)?;
        check_numbers(&spec)?;
        let mut nodes: Vec<Node> = spec.tasks.iter().map(|_| Node::default()).collect();
        for (ix, task) in spec.tasks.iter().enumerate() {
            if let Some(group) = &task.group {
                let at = *groups.get(group).ok_or_else(|| InvalidDag::UnknownGroup {
                    member: task.task_id.to_string(),
                    group: group.clone(),
                })?;
                nodes[ix].mapped_group = closest_mapped_group(&spec, &groups, at);
                if task.map.is_some()
                    && let Some(mapped) = nodes[ix].mapped_group
                {
                    let group = spec.groups[mapped].group_id.clone();
                    return Err(InvalidDag::MappedInMappedGroup { task: task.task_id.clone(), group });
                }
            }
        }
        connect(&spec, &by_id, &mut nodes)?;
        let topological = sort(&spec, &nodes)?;
        weigh(&spec, &topological, &mut nodes);
        mark_leaves(&spec, &mut nodes);
        find_scopes(&spec, &mut nodes);
        let any_depends_on_past = spec.tasks.iter().any(TaskSpec::looks_at_past);
        Ok(Self { spec, nodes, by_id, topological, any_depends_on_past })
    }

    /// The DAG as it was written.
    pub fn spec(&self) -> &DagSpec {
        &self.spec
    }

    /// How many tasks it has.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The task at this place. Places come from this DAG, so there is one.
    pub fn task(&self, ix: TaskIx) -> &TaskSpec {
        &self.spec.tasks[ix.usize()]
    }

    /// How many copies of a task are written down; 0 where it is not mapped, or over what is not known before.
    pub fn written_copies(&self, ix: TaskIx) -> i32 {
        let length = self.mapping(ix).and_then(|mapping| mapping.length(&mut |_| None));
        length.and_then(|length| i32::try_from(length).ok()).unwrap_or(0)
    }

    /// Whether a run of this DAG can go on as one of another version: that has the same tasks in the same places, each mapped
    /// as before, and whatever is new behind them. What is in the way, otherwise.
    pub fn continued_by(&self, later: &Self) -> Result<(), String> {
        for ix in self.tasks() {
            let id = &self.task(ix).task_id;
            if later.spec.tasks.get(ix.usize()).is_none_or(|task| task.task_id != *id) {
                return Err(match later.find(id) {
                    Some(_) => format!("`{id}` has another place among the tasks"),
                    None => format!("`{id}` is no task any more"),
                });
            }
            let mapped = |dag: &Self| {
                (dag.mapping(ix).is_some(), dag.written_copies(ix), dag.node(ix).mapped_group.is_some())
            };
            if mapped(self) != mapped(later) {
                return Err(format!("`{id}` is mapped otherwise"));
            }
        }
        Ok(())
    }

    /// Whether the task tears down what others have set up.
    pub fn is_teardown(&self, ix: TaskIx) -> bool {
        matches!(self.task(ix).role, Role::Teardown { .. })
    }

    /// Where the task of this name is.
    pub fn find(&self, task: &str) -> Option<TaskIx> {
        self.by_id.get(task).copied()
    }

    /// All places, in the order of writing.
    pub fn tasks(&self) -> impl Iterator<Item = TaskIx> + use<> {
        (0..self.nodes.len() as u32).map(TaskIx)
    }

    /// All places, each after those it depends on.
    pub fn topological(&self) -> &[TaskIx] {
        &self.topological
    }

    /// The tasks directly before this one.
    pub fn upstream(&self, ix: TaskIx) -> &[TaskIx] {
        &self.node(ix).upstream
    }

    /// The tasks directly after this one.
    pub fn downstream(&self, ix: TaskIx) -> &[TaskIx] {
        &self.node(ix).downstream
    }

    /// The tasks whose results this one gets as arguments, in this order.
    pub fn inputs(&self, ix: TaskIx) -> &[TaskIx] {
        &self.node(ix).inputs
    }

    /// What this task, or the mapped group around it, exists once for each of.
    pub fn mapping(&self, ix: TaskIx) -> Option<&Mapping> {
        let group = self.node(ix).mapped_group.and_then(|group| self.spec.groups[group].map.as_ref());
        self.task(ix).map.as_ref().or(group)
    }

    /// A task's priority: its weight and those that its rule adds.
    pub fn priority(&self, ix: TaskIx) -> i64 {
        self.node(ix).weight
    }

    /// Whether a task looks at the run before.
    pub(crate) fn looks_at_past(&self) -> bool {
        self.any_depends_on_past
    }

    pub(crate) fn node(&self, ix: TaskIx) -> &Node {
        &self.nodes[ix.usize()]
    }
}

impl TaskSpec {
    /// Whether it waits for the run before.
    pub(crate) fn looks_at_past(&self) -> bool {
        self.depends_on_past || self.wait_for_downstream
    }
}

fn index_tasks(spec: &DagSpec) -> Result<BTreeMap<TaskId, TaskIx>, InvalidDag> {
    let mut by_id = BTreeMap::new();
    for (ix, task) in spec.tasks.iter().enumerate() {
        if by_id.insert(task.task_id.clone(), TaskIx(ix as u32)).is_some() {
            return Err(InvalidDag::DuplicateTask(task.task_id.clone()));
        }
    }
    Ok(by_id)
}

fn index_groups(spec: &DagSpec) -> Result<BTreeMap<GroupId, usize>, InvalidDag> {
    let mut groups = BTreeMap::new();
    for (at, group) in spec.groups.iter().enumerate() {
        let parent = match &group.parent {
            None => None,
            Some(parent) => Some(*groups.get(parent).ok_or_else(|| InvalidDag::UnknownGroup {
                member: group.group_id.to_string(),
                group: parent.clone(),
            })?),
        };
        if group.map.is_some()
            && parent.is_some_and(|parent| closest_mapped_group(spec, &groups, parent).is_some())
        {
            return Err(InvalidDag::NestedMappedGroup(group.group_id.clone()));
        }
        if groups.insert(group.group_id.clone(), at).is_some() {
            return Err(InvalidDag::DuplicateGroup(group.group_id.clone()));
        }
    }
    Ok(groups)
}

fn closest_mapped_group(spec: &DagSpec, groups: &BTreeMap<GroupId, usize>, mut at: usize) -> Option<usize> {
    loop {
        let group = &spec.groups[at];
        if group.map.is_some() {
            return Some(at);
        }
        at = *groups.get(group.parent.as_ref()?)?;
    }
}

fn check_numbers(spec: &DagSpec) -> Result<(), InvalidDag> {
    let at_least_one = |what: String, value: u32| match value {
        0 => Err(InvalidDag::TooSmall { what, value: 0 }),
        _ => Ok(()),
    };
    at_least_one("max_active_runs".into(), spec.max_active_runs)?;
    at_least_one("max_active_tasks".into(), spec.max_active_tasks)?;
    for task in &spec.tasks {
        at_least_one(format!("pool_slots of task `{}`", task.task_id), task.pool_slots)?;
        let per_dag = task.max_active_tis_per_dag.unwrap_or(1);
        at_least_one(format!("max_active_tis_per_dag of task `{}`", task.task_id), per_dag)?;
        let per_run = task.max_active_tis_per_dagrun.unwrap_or(1);
        at_least_one(format!("max_active_tis_per_dagrun of task `{}`", task.task_id), per_run)?;
        let rule_waits_for_failures = task.trigger_rule != super::TriggerRule::AllSuccess;
        if spec.fail_fast && rule_waits_for_failures && matches!(task.role, Role::Normal | Role::Setup) {
            return Err(InvalidDag::FailFastRule(task.task_id.clone()));
        }
    }
    Ok(())
}

fn connect(spec: &DagSpec, by_id: &BTreeMap<TaskId, TaskIx>, nodes: &mut [Node]) -> Result<(), InvalidDag> {
    let find = |task: &TaskId, of: &TaskId| {
        by_id.get(task).copied().ok_or_else(|| InvalidDag::UnknownNeighbour {
            task: of.clone(),
            missing: task.clone(),
            nearest: nearest(task, by_id),
        })
    };
    for edge in &spec.edges {
        let (from, to) = (find(&edge.from, &edge.to)?, find(&edge.to, &edge.from)?);
        nodes[from.usize()].downstream.push(to);
        nodes[to.usize()].upstream.push(from);
        if edge.pass_result {
            nodes[to.usize()].inputs.push(from);
        }
        if let Some(when) = &edge.when {
            nodes[from.usize()].conditions.push((to, when.clone()));
        }
    }
    // A task mapped over a result comes after it, whether or not somebody wrote it; of a mapped group, the
    // tasks do with which it begins.
    let begins = |nodes: &[Node], ix: usize| {
        let group = nodes[ix].mapped_group;
        !nodes[ix].upstream.iter().any(|up| nodes[up.usize()].mapped_group == group)
    };
    let first: Vec<bool> = (0..nodes.len()).map(|ix| begins(nodes, ix)).collect();
    for (ix, task) in spec.tasks.iter().enumerate() {
        let own = task.map.iter().map(|map| (map, true));
        let group = nodes[ix].mapped_group.and_then(|group| spec.groups[group].map.as_ref());
        for (map, after) in own.chain(group.map(|map| (map, first[ix]))) {
            for source in map.upstream() {
                let from = *by_id.get(source).ok_or_else(|| InvalidDag::UnknownMapSource {
                    task: task.task_id.clone(),
                    missing: source.clone(),
                })?;
                let to = TaskIx(ix as u32);
                nodes[from.usize()].mapped_by.push(to);
                if after {
                    nodes[from.usize()].downstream.push(to);
                    nodes[ix].upstream.push(from);
                }
            }
        }
    }
    for node in nodes {
        for list in [&mut node.upstream, &mut node.downstream, &mut node.mapped_by] {
            list.sort_unstable();
            list.dedup();
        }
    }
    Ok(())
}

/// The task whose name is nearest to what was written, if one is near.
fn nearest(written: &TaskId, by_id: &BTreeMap<TaskId, TaskIx>) -> Option<TaskId> {
    by_id
        .keys()
        .take(10_000)
        .map(|known| (strsim::levenshtein(written, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.clone())
}

/// Kahn's algorithm, always taking the task written first, so that the order is the author's.
fn sort(spec: &DagSpec, nodes: &[Node]) -> Result<Vec<TaskIx>, InvalidDag> {
    let mut waiting: Vec<usize> = nodes.iter().map(|node| node.upstream.len()).collect();
    let mut ready: std::collections::BTreeSet<u32> =
        (0..nodes.len() as u32).filter(|ix| waiting[*ix as usize] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(ix) = ready.pop_first() {
        order.push(TaskIx(ix));
        for next in &nodes[ix as usize].downstream {
            waiting[next.usize()] -= 1;
            if waiting[next.usize()] == 0 {
                ready.insert(next.0);
            }
        }
    }
    if order.len() == nodes.len() { Ok(order) } else { Err(InvalidDag::Cycle(cycle(spec, nodes, &waiting))) }
}

/// One circle among the tasks that could not be sorted: from any of them, going back only to others of
/// them must come round.
fn cycle(spec: &DagSpec, nodes: &[Node], waiting: &[usize]) -> Vec<TaskId> {
    let start = waiting.iter().position(|left| *left > 0).unwrap_or(0);
    let mut path = Vec::new();
    let mut place = vec![None; nodes.len()];
    let mut at = start;
    while place[at].is_none() {
        place[at] = Some(path.len());
        path.push(at);
        match nodes[at].upstream.iter().find(|up| waiting[up.usize()] > 0) {
            Some(up) => at = up.usize(),
            None => break,
        }
    }
    let from = place[at].unwrap_or(0);
    let mut circle: Vec<TaskId> = path[from..].iter().map(|ix| spec.tasks[*ix].task_id.clone()).collect();
    circle.reverse();
    circle.extend(circle.first().cloned());
    circle
}

/// Adds up the weights of all tasks after (or before) each, every one once. Done for 64 tasks at a time,
/// as one bit each, so that a DAG of 100,000 tasks takes a fraction of a second and little memory.
fn weigh(spec: &DagSpec, topological: &[TaskIx], nodes: &mut [Node]) {
    for (ix, task) in spec.tasks.iter().enumerate() {
        nodes[ix].weight = task.priority_weight;
    }
    for (rule, forward) in [(WeightRule::Downstream, false), (WeightRule::Upstream, true)] {
        if !spec.tasks.iter().any(|task| task.weight_rule == rule) {
            continue;
        }
        let mut reaches = vec![0u64; nodes.len()];
        for block in spec.tasks.chunks(64).enumerate() {
            add_weights_of(block, rule, forward, spec, topological, nodes, &mut reaches);
        }
    }
}

fn add_weights_of(
    (block, tasks): (usize, &[TaskSpec]),
    rule: WeightRule,
    forward: bool,
    spec: &DagSpec,
    topological: &[TaskIx],
    nodes: &mut [Node],
    reaches: &mut [u64],
) {
    let first = block * 64;
    let one_weight = tasks.iter().all(|task| task.priority_weight == tasks[0].priority_weight);
    let mut visit = |ix: TaskIx| {
        let node = &nodes[ix.usize()];
        let mut bits = 0u64;
        for next in if forward { &node.upstream } else { &node.downstream } {
            bits |= reaches[next.usize()];
            if let Some(bit) = next.usize().checked_sub(first).filter(|bit| *bit < 64) {
                bits |= 1 << bit;
            }
        }
        reaches[ix.usize()] = bits;
        if bits != 0 && spec.tasks[ix.usize()].weight_rule == rule {
            let sum = if one_weight {
                i64::from(bits.count_ones()).saturating_mul(tasks[0].priority_weight)
            } else {
                let set = (0..tasks.len()).filter(|bit| bits >> bit & 1 == 1);
                set.fold(0i64, |sum, bit| sum.saturating_add(tasks[bit].priority_weight))
            };
            let weight = &mut nodes[ix.usize()].weight;
            *weight = weight.saturating_add(sum);
        }
    };
    if forward {
        topological.iter().copied().for_each(&mut visit);
    } else {
        topological.iter().rev().copied().for_each(&mut visit);
    }
}

/// Which tasks decide the run's state: those that nothing follows, leaving teardowns aside unless they say
/// that their failure counts.
fn mark_leaves(spec: &DagSpec, nodes: &mut [Node]) {
    let ignorable =
        |ix: usize| matches!(spec.tasks[ix].role, Role::Teardown { on_failure_fail_dagrun: false });
    for (ix, node) in nodes.iter_mut().enumerate() {
        let all_after_ignorable = node.downstream.iter().all(|down| ignorable(down.usize()));
        node.leaf = all_after_ignorable && !ignorable(ix);
    }
    if !nodes.iter().any(|node| node.leaf) {
        for node in nodes {
            node.leaf = node.downstream.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::{EdgeSpec, GroupSpec, MapSource, TaskKind};

    fn dag(tasks: &[&str], edges: &[(&str, &str)]) -> DagSpec {
        let mut spec = DagSpec::new("d");
        spec.tasks = tasks.iter().map(|id| TaskSpec::new(*id, "EmptyOperator", TaskKind::Empty)).collect();
        spec.edges = edges.iter().map(|(from, to)| EdgeSpec::new(*from, *to)).collect();
        spec
    }

    #[test]
    fn a_circle_is_named_in_its_order() {
        let spec = dag(&["in", "a", "b", "c"], &[("in", "a"), ("a", "b"), ("b", "c"), ("c", "a")]);
        let InvalidDag::Cycle(circle) = Dag::compile(spec).unwrap_err() else { panic!("no cycle found") };
        assert_eq!(circle.len(), 4);
        assert_eq!(circle.first(), circle.last());
    }

    #[test]
    fn an_unknown_neighbour_is_named_with_the_nearest_name() {
        let error = Dag::compile(dag(&["extract", "load"], &[("extrakt", "load")])).unwrap_err();
        assert!(error.to_string().contains("did you mean `extract`?"), "{error}");
    }

    #[test]
    fn a_diamond_counts_each_task_after_once() {
        let spec = dag(&["a", "b", "c", "d"], &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]);
        let dag = Dag::compile(spec).unwrap();
        let weights: Vec<i64> = dag.tasks().map(|ix| dag.priority(ix)).collect();
        assert_eq!(weights, [4, 2, 2, 1]);
    }

    #[test]
    fn what_is_mapped_twice_is_refused() {
        let literal = || Mapping::Product(vec![("n".into(), MapSource::List(vec![1.into(), 2.into()]))]);
        let mut spec = dag(&["a"], &[]);
        let group = |id: &str, parent: Option<&str>| GroupSpec {
            group_id: id.into(),
            parent: parent.map(Into::into),
            tooltip: None,
            map: None,
        };
        spec.groups = vec![group("outer", None), group("inner", Some("outer"))];
        spec.groups[0].map = Some(literal());
        spec.tasks[0].group = Some("inner".into());
        assert!(Dag::compile(spec.clone()).is_ok());
        spec.tasks[0].map = Some(literal());
        let error = Dag::compile(spec).unwrap_err();
        assert!(
            error.to_string().contains("`a` is mapped and lies in the mapped task group `outer`"),
            "{error}"
        );
    }

    #[test]
    fn the_results_that_a_task_gets_come_in_the_order_of_its_edges() {
        let mut spec = dag(&["a", "b", "c", "d"], &[("b", "d"), ("a", "d"), ("c", "d"), ("a", "c")]);
        spec.edges[0].pass_result = true;
        spec.edges[2].pass_result = true;
        spec.edges[1].pass_result = true;
        let dag = Dag::compile(spec).unwrap();
        assert_eq!(dag.inputs(TaskIx(3)), [TaskIx(1), TaskIx(0), TaskIx(2)]);
        assert!(dag.inputs(TaskIx(2)).is_empty(), "it passes nothing on");
    }

    #[test]
    fn a_hundred_thousand_tasks_compile() {
        let mut spec = DagSpec::new("big");
        for n in 0..100_000 {
            spec.tasks.push(TaskSpec::new(format!("t{n}"), "EmptyOperator", TaskKind::Empty));
            if n > 0 {
                spec.edges.push(EdgeSpec::new(format!("t{}", n - 1), format!("t{n}")));
            }
        }
        let dag = Dag::compile(spec).unwrap();
        assert_eq!(dag.priority(TaskIx(0)), 100_000);
        assert_eq!(dag.priority(TaskIx(99_999)), 1);
    }
}
