//! What happened to the assets that a DAG waits for, and there was no run for yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{AssetCondition, AssetEvent, AssetEventId, AssetUri};

/// So many events of one asset are kept for a run to come. A DAG may wait for what never happens, or be about to:
/// of an asset that changes all the time meanwhile, the latest are what a run can still use.
const MOST_OF_ASSET: usize = 1000;

/// Events by their numbers, and by their assets.
#[derive(Debug, Default)]
pub(super) struct QueuedEvents {
    events: BTreeMap<AssetEventId, Arc<AssetEvent>>,
    of_asset: BTreeMap<AssetUri, BTreeSet<AssetEventId>>,
}

impl QueuedEvents {
    /// Takes an event. The one that has to go for it is returned.
    pub fn insert(&mut self, event: Arc<AssetEvent>) -> Option<AssetEventId> {
        let of_asset = self.of_asset.entry(event.uri.clone()).or_default();
        of_asset.insert(event.id);
        self.events.insert(event.id, event);
        let gone = if of_asset.len() > MOST_OF_ASSET { of_asset.pop_first() } else { None };
        gone.inspect(|gone| {
            self.events.remove(gone);
        })
    }

    /// Drops events, and returns which those were.
    pub fn remove_if(&mut self, goes: impl Fn(&AssetEvent) -> bool) -> Vec<AssetEventId> {
        let gone: Vec<AssetEventId> =
            self.events.extract_if(.., |_, event| goes(event)).map(|(id, _)| id).collect();
        self.of_asset.retain(|_, events| {
            events.retain(|id| self.events.contains_key(id));
            !events.is_empty()
        });
        gone
    }

    /// Takes all of them out, the oldest first.
    pub fn take(&mut self) -> Vec<Arc<AssetEvent>> {
        self.of_asset.clear();
        std::mem::take(&mut self.events).into_values().collect()
    }

    /// Whether what a DAG waits for has happened.
    pub fn fulfil(&self, condition: &AssetCondition) -> bool {
        condition.holds(&|uri| self.of_asset.contains_key(uri))
    }

    /// The latest one.
    pub fn last(&self) -> Option<AssetEventId> {
        self.events.keys().next_back().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
