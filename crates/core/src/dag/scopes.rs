//! What lies between a setup and its teardowns.

use super::{DagSpec, Role, graph::Node};
use crate::TaskIx;

/// For each task the setups it needs, and for each teardown what it waits for beyond its direct upstream.
pub(super) fn find_scopes(spec: &DagSpec, nodes: &mut Vec<Node>) {
    let is_setup = |ix: TaskIx| spec.tasks[ix.usize()].role == Role::Setup;
    let is_teardown = |ix: TaskIx| matches!(spec.tasks[ix.usize()].role, Role::Teardown { .. });
    let setups: Vec<TaskIx> = (0..nodes.len() as u32).map(TaskIx).filter(|ix| is_setup(*ix)).collect();
    for setup in setups {
        let teardowns: Vec<TaskIx> =
            nodes[setup.usize()].downstream.iter().copied().filter(|down| is_teardown(*down)).collect();
        let after = reach(nodes, setup, false);
        let before_teardown: Vec<Vec<bool>> = teardowns.iter().map(|t| reach(nodes, *t, true)).collect();
        for ix in (0..nodes.len() as u32).map(TaskIx).filter(|ix| after[ix.usize()]) {
            let in_scope = teardowns.is_empty() || before_teardown.iter().any(|before| before[ix.usize()]);
            let direct = nodes[ix.usize()].upstream.contains(&setup);
            if in_scope && !direct && !is_teardown(ix) {
                nodes[ix.usize()].setups.push(setup);
                nodes[setup.usize()].watched_by.push(ix);
            }
            for (teardown, before) in teardowns.iter().zip(&before_teardown) {
                if before[ix.usize()] && !nodes[teardown.usize()].upstream.contains(&ix) {
                    nodes[teardown.usize()].scope.push(ix);
                    nodes[ix.usize()].watched_by.push(*teardown);
                }
            }
        }
    }
    for node in nodes {
        for list in [&mut node.scope, &mut node.watched_by] {
            list.sort_unstable();
            list.dedup();
        }
    }
}

fn reach(nodes: &[Node], from: TaskIx, upstream: bool) -> Vec<bool> {
    let mut seen = vec![false; nodes.len()];
    let mut todo = vec![from];
    while let Some(ix) = todo.pop() {
        let node = &nodes[ix.usize()];
        for next in if upstream { &node.upstream } else { &node.downstream } {
            if !std::mem::replace(&mut seen[next.usize()], true) {
                todo.push(*next);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use crate::{
        TaskIx,
        dag::{Dag, DagSpec, EdgeSpec, Role, TaskKind, TaskSpec},
    };

    #[test]
    fn work_between_setup_and_teardown_needs_the_setup() {
        let mut spec = DagSpec::new("d");
        let task = |id| TaskSpec::new(id, "EmptyOperator", TaskKind::Empty);
        spec.tasks = ["s", "a", "b", "t", "after"].map(task).into();
        let edges = [("s", "a"), ("a", "b"), ("b", "t"), ("s", "t"), ("t", "after")];
        spec.edges = edges.map(|(from, to)| EdgeSpec::new(from, to)).into();
        spec.tasks[0].role = Role::Setup;
        spec.tasks[3].role = Role::Teardown { on_failure_fail_dagrun: false };
        let dag = Dag::compile(spec).unwrap();
        assert_eq!(dag.node(TaskIx(2)).setups, [TaskIx(0)], "b needs s, though a is between");
        assert!(dag.node(TaskIx(1)).setups.is_empty(), "a has s directly before it");
        assert_eq!(dag.node(TaskIx(3)).scope, [TaskIx(1)], "t waits for a as well");
        assert!(dag.node(TaskIx(4)).setups.is_empty(), "what follows the teardown is out of scope");
    }
}
