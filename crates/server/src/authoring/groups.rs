//! Task groups: their names, what lies in what, and the defaults they give their tasks.

use std::{collections::HashMap, sync::Arc};

use updraft_core::GroupSpec;

use super::{
    common::{Common, default_args, tell},
    field::{self, did_you_mean},
    keys,
    names::{self},
    node::{Entry, Mapping, Node},
    problem::Problems,
};

/// A task group as it was written.
pub(super) struct Group {
    /// Its name within the one around it.
    pub entry: Entry,
    /// The name with those of the groups around it.
    pub id: Arc<str>,
    /// The group around it; always one that comes before.
    pub parent: Option<usize>,
    /// How many groups are around it.
    pub depth: usize,
    /// Whether its name is put before those of its tasks.
    prefix: bool,
    tooltip: Option<String>,
    /// What its tasks have in common.
    pub common: Common,
}

impl Group {
    pub fn spec(&self, groups: &[Self]) -> GroupSpec {
        GroupSpec {
            group_id: (&*self.id).into(),
            parent: self.parent.map(|parent| (&*groups[parent].id).into()),
            tooltip: self.tooltip.clone(),
            map: None,
        }
    }

    /// The full name of what is called so within it.
    pub fn child_id(&self, name: &str) -> Arc<str> {
        if self.prefix { format!("{}.{name}", self.id).into() } else { name.into() }
    }
}

/// The groups of a DAG, each after the one around it.
pub(super) fn read(node: Option<&Node>, common: &Common, problems: &mut Problems) -> Vec<Group> {
    let written = names::entries(node, "group_name", "task group", problems);
    let by_name: HashMap<&str, usize> =
        written.iter().enumerate().map(|(at, entry)| (&*entry.key, at)).collect();
    let mut parents = Vec::with_capacity(written.len());
    for entry in &written {
        names::check(&entry.key, "task group", false, 200, entry.key_place, problems);
        let parent = entry.node.map().and_then(|map| map.get("parent_group_name"));
        parents.push(parent.and_then(|node| {
            let name = field::text(node, problems).ok()??;
            let found = by_name.get(&*name).copied();
            if found.is_none() {
                let near = did_you_mean(&name, by_name.keys().copied());
                problems.error(node.place, format!("there is no task group `{name}`{near}"));
            }
            found
        }));
    }
    let mut groups: Vec<Group> = Vec::with_capacity(written.len());
    let mut placed: Vec<Option<usize>> = vec![None; written.len()];
    for start in 0..written.len() {
        // From the group outwards to one that is placed, then back inwards.
        let mut chain = Vec::new();
        let mut at = Some(start);
        while let Some(group) = at.filter(|group| placed[*group].is_none()) {
            if chain.contains(&group) {
                let message = format!(
                    "the task group `{}` lies in itself: take its parent_group_name out",
                    written[group].key
                );
                problems.error(written[group].key_place, message);
                return Vec::new();
            }
            chain.push(group);
            at = parents[group];
        }
        for group in chain.into_iter().rev() {
            let parent = parents[group].and_then(|parent| placed[parent]);
            placed[group] = Some(groups.len());
            let group = one(&written[group], parent, &groups, common, problems);
            groups.push(group);
        }
    }
    groups
}

fn one(
    entry: &Entry,
    parent: Option<usize>,
    groups: &[Group],
    common: &Common,
    problems: &mut Problems,
) -> Group {
    let around = parent.map(|parent| &groups[parent]);
    let mut group = Group {
        id: around.map_or_else(|| entry.key.clone(), |around| around.child_id(&entry.key)),
        parent,
        depth: around.map_or(0, |around| around.depth + 1),
        prefix: true,
        tooltip: None,
        common: around.map_or(common, |around| &around.common).clone(),
        entry: entry.clone(),
    };
    let entries = entry.node.map().map_or(&[][..], |map: &Arc<Mapping>| &map.entries);
    for entry in entries {
        match &*entry.key {
            "group_name" | "parent_group_name" | "dependencies" => {}
            "tooltip" => field::set_option(&mut group.tooltip, field::text(&entry.node, problems)),
            "prefix_group_id" => {
                field::set(&mut group.prefix, field::boolean(&entry.node, problems), true);
            }
            "default_args" => {
                let defaults = default_args(Some(&entry.node), problems);
                group.common = group.common.with_defaults(&defaults, problems);
            }
            "group_id" => {
                if entry.node.text() != Some(&group.entry.key) {
                    let message =
                        format!("this task group is called `{}`: take its group_id out", group.entry.key);
                    problems.error(entry.node.place, message);
                }
            }
            key => match keys::of_group(key) {
                None => {
                    let near = did_you_mean(key, keys::GROUP.into_iter());
                    problems.error(entry.key_place, format!("a task group has no `{key}`{near}"));
                }
                fate => tell(fate, entry, problems),
            },
        }
    }
    group
}
