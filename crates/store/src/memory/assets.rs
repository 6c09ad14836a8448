//! Assets: see [`crate::Assets`].

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use updraft_core::{AssetEvent, AssetEventId, AssetId, DagId, DagKey, Namespace, RunKey, record::AssetRow};

use super::{
    MemoryStore,
    filter::{among, matches, page, within},
    tables::Tables,
};
use crate::{AssetEventListing, AssetEventQuery, AssetListing, AssetQuery, AssetUse, Assets, Error, Page};

#[async_trait]
impl Assets for MemoryStore {
    async fn assets(&self, query: &AssetQuery) -> Result<Page<AssetListing>, Error> {
        let tables = self.tables();
        let listings = tables.assets.values().map(|row| listing(&tables, row));
        let wanted = listings.filter(|listing| {
            let AssetRow { id, namespace, asset, .. } = &listing.row;
            let named = listing.uses.iter().any(|used| among(&query.dags, &used.dag_id));
            *namespace == query.namespace
                && query.id.is_none_or(|wanted| wanted == *id)
                && matches(&query.uri, Some(&asset.uri))
                && matches(&query.name, Some(asset.name.as_deref().unwrap_or(&asset.uri)))
                && (named || (query.dags.is_empty() && !query.only_named))
        });
        let mut wanted: Vec<_> = wanted.collect();
        if query.latest_first {
            wanted.reverse();
        }
        Ok(page(wanted, query.window))
    }

    async fn asset_events(&self, query: &AssetEventQuery) -> Result<Page<AssetEventListing>, Error> {
        let tables = self.tables();
        let mut made: BTreeMap<AssetEventId, BTreeSet<RunKey>> = BTreeMap::new();
        let mut last: BTreeMap<RunKey, AssetEventId> = BTreeMap::new();
        for ((_, event), run) in &tables.queued_events {
            let Some(run) = *run else { continue };
            made.entry(*event).or_default().insert(run);
            last.entry(run).and_modify(|last| *last = (*last).max(*event)).or_insert(*event);
        }
        let runs = |event: AssetEventId| -> Vec<(RunKey, bool)> {
            let runs = made.get(&event).into_iter().flatten();
            runs.map(|run| (*run, last.get(run) == Some(&event))).collect()
        };
        let listings = tables.asset_events.values().map(|event| {
            let asset = tables.assets.get(&event.asset).map(|row| &row.asset);
            AssetEventListing {
                event: AssetEvent::clone(event),
                name: asset.and_then(|asset| asset.name.clone()),
                group: asset.and_then(|asset| asset.group.clone()),
                runs: runs(event.id),
            }
        });
        let is = |event: &AssetEvent| {
            let source = event.source.as_ref();
            event.namespace == query.namespace
                && query.asset.is_none_or(|asset| asset == event.asset)
                && query
                    .source_dag
                    .as_ref()
                    .is_none_or(|dag| source.is_some_and(|source| source.dag_id == *dag))
                && query
                    .source_run
                    .as_ref()
                    .is_none_or(|run| source.is_some_and(|source| source.run_id == *run))
                && (query.source_task.as_ref())
                    .is_none_or(|task| source.is_some_and(|source| source.task_id == *task))
                && (query.source_map_index)
                    .is_none_or(|index| source.is_some_and(|source| source.map_index == index))
                && within(&query.at, Some(event.at))
        };
        let mut wanted: Vec<_> = listings
            .filter(|listing| is(&listing.event))
            .filter(|listing| query.made.is_none_or(|run| listing.runs.iter().any(|(made, _)| *made == run)))
            .collect();
        if query.latest_first {
            wanted.reverse();
        }
        Ok(page(wanted, query.window))
    }

    async fn queued_events(
        &self,
        namespace: &Namespace,
        dag: Option<&DagId>,
        asset: Option<AssetId>,
    ) -> Result<Vec<(DagKey, AssetEvent)>, Error> {
        let tables = self.tables();
        let waiting = tables.queued_events.iter().filter(|(_, run)| run.is_none());
        let events = waiting.filter_map(|((dag, event), _)| {
            Some((dag.clone(), AssetEvent::clone(tables.asset_events.get(event)?)))
        });
        let wanted = events.filter(|(of, event)| {
            of.namespace == *namespace
                && dag.is_none_or(|dag| of.dag_id == *dag)
                && asset.is_none_or(|asset| event.asset == asset)
        });
        Ok(wanted.collect())
    }

    async fn asset_event_of(&self, asset: AssetId, key: &str) -> Result<Option<AssetEventId>, Error> {
        let told = |event: &AssetEvent| event.asset == asset && event.key.as_deref() == Some(key);
        Ok(self.tables().asset_events.values().find(|event| told(event)).map(|event| event.id))
    }
}

fn listing(tables: &Tables, row: &AssetRow) -> AssetListing {
    let present = tables.dags.values().filter(|dag| !dag.is_stale && dag.key.namespace == row.namespace);
    let versions = present.filter_map(|dag| tables.versions.get(&(dag.key.clone(), dag.version)));
    let uses = versions.flat_map(|version| AssetUse::all(&version.spec));
    let mut uses: Vec<AssetUse> =
        uses.filter(|(uri, _)| *uri == row.asset.uri).map(|(_, used)| used).collect();
    uses.sort();
    let last = tables.asset_events.values().rev().find(|event| event.asset == row.id);
    AssetListing { row: row.clone(), uses, last_event: last.map(|event| (event.id, event.at)) }
}
