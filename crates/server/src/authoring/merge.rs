//! How a `default` block and a DAG are put together: dag-factory's merge.

use std::sync::Arc;

use super::node::{Entry, Mapping, Node, Value};

/// `own`, and what `default` has that it has not. Where both have a mapping these are merged in turn; else
/// its own value stands, also a list and also nothing (`null`).
pub(super) fn merged(own: &Mapping, default: &Mapping) -> Mapping {
    let mut entries: Vec<Entry> = Vec::with_capacity(own.entries.len());
    for entry in &own.entries {
        let both = entry.node.map().zip(default.get(&entry.key).and_then(Node::map));
        entries.push(match both {
            None => entry.clone(),
            Some((own, default)) => {
                let value = Value::Map(Arc::new(merged(own, default)));
                Entry { node: Node { place: entry.node.place, value }, ..entry.clone() }
            }
        });
    }
    entries.extend(default.entries.iter().filter(|entry| own.get(&entry.key).is_none()).cloned());
    Mapping::new(entries)
}

/// `own`, and what `default` has that it has not; nothing is merged further down.
pub(super) fn shallow(own: &Mapping, default: &Mapping) -> Mapping {
    let missing = default.entries.iter().filter(|entry| own.get(&entry.key).is_none());
    Mapping::new(own.entries.iter().chain(missing).cloned().collect())
}
