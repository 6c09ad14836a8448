//! Which tasks belong to others: those before and after them, a group's, a setup's.

use super::{Dag, Role};
use crate::{GroupId, TaskIx};

impl Dag {
    /// The tasks before (or after) these, near and far, these themselves not among them unless they are.
    pub fn relatives(&self, of: &[TaskIx], upstream: bool) -> Vec<TaskIx> {
        let mut seen = vec![false; self.len()];
        let mut todo: Vec<TaskIx> = of.to_vec();
        let mut found = Vec::new();
        while let Some(ix) = todo.pop() {
            let node = self.node(ix);
            for &next in if upstream { &node.upstream } else { &node.downstream } {
                if !std::mem::replace(&mut seen[next.usize()], true) {
                    found.push(next);
                    todo.push(next);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// The task of this name, or the first tasks of the group of this name: those with nothing of the group
    /// before them.
    pub(crate) fn find_tasks(&self, name: &str) -> Vec<TaskIx> {
        if let Some(ix) = self.find(name) {
            return vec![ix];
        }
        let mut groups: Vec<&GroupId> = Vec::new();
        for group in &self.spec().groups {
            if *group.group_id == *name
                || group.parent.as_ref().is_some_and(|parent| groups.contains(&parent))
            {
                groups.push(&group.group_id);
            }
        }
        let inside = |ix: &TaskIx| self.task(*ix).group.as_ref().is_some_and(|group| groups.contains(&group));
        self.tasks().filter(inside).filter(|ix| !self.upstream(*ix).iter().any(inside)).collect()
    }

    /// Whether any task is a setup.
    pub(crate) fn has_setups(&self) -> bool {
        self.tasks().any(|ix| self.task(ix).role == Role::Setup)
    }

    /// What has to be done anew with a task: its setups and their teardowns; of a setup, its teardowns.
    pub(crate) fn setups_around(&self, ix: TaskIx) -> Vec<TaskIx> {
        let is_teardown = |ix: &TaskIx| matches!(self.task(*ix).role, Role::Teardown { .. });
        let teardowns = |setup: TaskIx| -> Vec<TaskIx> {
            self.downstream(setup).iter().copied().filter(is_teardown).collect()
        };
        match self.task(ix).role {
            Role::Teardown { .. } => Vec::new(),
            Role::Setup => teardowns(ix),
            Role::Normal => {
                let after = self.relatives(&[ix], false);
                let before = self.relatives(&[ix], true).into_iter();
                let setups =
                    before.filter(|up| self.task(*up).role == Role::Setup).map(|up| (up, teardowns(up)));
                let in_scope = |(_, down): &(TaskIx, Vec<TaskIx>)| {
                    down.is_empty() || down.iter().any(|teardown| after.contains(teardown))
                };
                setups.filter(in_scope).flat_map(|(setup, down)| std::iter::once(setup).chain(down)).collect()
            }
        }
    }
}
