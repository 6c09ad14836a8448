//! Assets: see [`crate::Assets`].

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use updraft_core::{AssetEvent, AssetEventId, AssetId, DagId, DagKey, Namespace, RunKey};

use super::{
    SqlStore,
    db::Fields,
    queries::{bounds, one_of, page, text_filter},
    row::{ASSET, asset_event_select, read_asset, read_asset_event, read_asset_use},
    statement::Sql,
};
use crate::{AssetEventListing, AssetEventQuery, AssetListing, AssetQuery, AssetUse, Assets, Error, Page};

/// So many values go into one list. SQLite takes 32,766 in a statement, PostgreSQL 65,535.
const MOST_ARGS: usize = 10_000;

/// The present versions' uses of assets, `u`.
const USED: &str = "dag_asset u JOIN dag d ON d.namespace = u.namespace AND d.dag_id = u.dag_id
    AND d.version = u.version AND NOT d.is_stale";

#[async_trait]
impl Assets for SqlStore {
    async fn assets(&self, query: &AssetQuery) -> Result<Page<AssetListing>, Error> {
        let mut from = Sql::new(" FROM asset x WHERE x.namespace = ").with(&*query.namespace);
        one_of(&mut from, "x.id", query.id.map(|id| id.0));
        text_filter(&self.db, &mut from, "x.uri", &query.uri);
        text_filter(&self.db, &mut from, "coalesce(x.name, x.uri)", &query.name);
        if query.only_named || !query.dags.is_empty() {
            from.push(&format!(" AND x.uri IN (SELECT u.uri FROM {USED} WHERE u.namespace = "));
            from.arg(&*query.namespace);
            one_of(&mut from, "u.dag_id", query.dags.iter().map(|dag| &**dag));
            from.push(")");
        }
        let order = if query.latest_first { " ORDER BY x.id DESC" } else { " ORDER BY x.id" };
        let assets = page(&self.db, &ASSET.select("x"), from, order, query.window, read_asset).await?;
        let mut uses: BTreeMap<String, Vec<AssetUse>> = BTreeMap::new();
        let mut last = BTreeMap::new();
        if !assets.rows.is_empty() {
            let mut sql = Sql::new(format!("SELECT u.uri, u.dag_id, u.usage, u.task_id FROM {USED}"));
            sql.push(" WHERE u.namespace = ").arg(&*query.namespace).push(" AND u.uri IN ");
            sql.list(assets.rows.iter().map(|row| &*row.asset.uri));
            for mut f in self.db.rows(sql).await? {
                uses.entry(f.text()?).or_default().push(read_asset_use(&mut f)?);
            }
            let mut sql = Sql::new("SELECT e.asset, e.id, e.at FROM asset_event e WHERE e.id IN ");
            sql.push("(SELECT max(m.id) FROM asset_event m WHERE m.asset IN ");
            sql.list(assets.rows.iter().map(|row| row.id.0)).push(" GROUP BY m.asset)");
            for mut f in self.db.rows(sql).await? {
                last.insert(AssetId(f.int()?), (AssetEventId(f.int()?), f.time()?));
            }
        }
        let listing = |row: updraft_core::record::AssetRow| {
            let mut uses = uses.remove(&*row.asset.uri).unwrap_or_default();
            uses.sort();
            AssetListing { last_event: last.remove(&row.id), uses, row }
        };
        Ok(Page { rows: assets.rows.into_iter().map(listing).collect(), total: assets.total })
    }

    async fn asset_events(&self, query: &AssetEventQuery) -> Result<Page<AssetEventListing>, Error> {
        let mut from = Sql::new(" FROM asset_event x JOIN asset a ON a.id = x.asset WHERE a.namespace = ");
        from.arg(&*query.namespace);
        one_of(&mut from, "x.id", query.id.map(|id| id.0));
        one_of(&mut from, "x.asset", query.asset.map(|id| id.0));
        one_of(&mut from, "x.source_dag_id", query.source_dag.as_deref());
        one_of(&mut from, "x.source_run_id", query.source_run.as_deref());
        one_of(&mut from, "x.source_task_id", query.source_task.as_deref());
        one_of(&mut from, "x.source_map_index", query.source_map_index.map(|index| index.0));
        if let Some(run) = query.made {
            from.push(" AND x.id IN (SELECT q.event FROM queued_event q WHERE q.run = ").arg(run.0).push(")");
        }
        bounds(&mut from, "x.at", &query.at);
        let order = if query.latest_first { " ORDER BY x.id DESC" } else { " ORDER BY x.id" };
        let select = format!("{}, a.name, a.asset_group", asset_event_select());
        let read = |f: &mut Fields| Ok((read_asset_event(f)?, f.opt_text()?, f.opt_text()?));
        let events = page(&self.db, &select, from, order, query.window, read).await?;
        let mut made: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for some in events.rows.chunks(MOST_ARGS) {
            let mut sql = Sql::new("SELECT q.event, q.run FROM queued_event q WHERE q.run IS NOT NULL");
            sql.push(" AND q.event IN ").list(some.iter().map(|(event, _, _)| event.id.0));
            for mut f in self.db.rows(sql.then(" ORDER BY q.run")).await? {
                made.entry(f.int()?).or_default().push(f.int()?);
            }
        }
        let runs: BTreeSet<i64> = made.values().flatten().copied().collect();
        let runs: Vec<i64> = runs.into_iter().collect();
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        for some in runs.chunks(MOST_ARGS) {
            let mut sql = Sql::new("SELECT q.run, max(q.event) FROM queued_event q WHERE q.run IN ");
            sql.list(some.iter().copied()).push(" GROUP BY q.run");
            for mut f in self.db.rows(sql).await? {
                last.insert(f.int()?, f.int()?);
            }
        }
        let listing = |(event, name, group): (AssetEvent, _, _)| {
            let runs = made.remove(&event.id.0).unwrap_or_default().into_iter();
            let runs = runs.map(|run| (RunKey(run), last.get(&run) == Some(&event.id.0))).collect();
            AssetEventListing { event, name, group, runs }
        };
        Ok(Page { rows: events.rows.into_iter().map(listing).collect(), total: events.total })
    }

    async fn queued_events(
        &self,
        namespace: &Namespace,
        dag: Option<&DagId>,
        asset: Option<AssetId>,
    ) -> Result<Vec<(DagKey, AssetEvent)>, Error> {
        let mut sql = Sql::new(format!("SELECT q.dag_id, {} FROM queued_event q", asset_event_select()));
        sql.push(" JOIN asset_event x ON x.id = q.event JOIN asset a ON a.id = x.asset");
        sql.push(" WHERE q.run IS NULL AND q.namespace = ").arg(&**namespace);
        one_of(&mut sql, "q.dag_id", dag.map(|dag| &**dag));
        one_of(&mut sql, "x.asset", asset.map(|asset| asset.0));
        sql.push(" ORDER BY q.dag_id, q.event");
        let rows = self.db.rows(sql).await?.into_iter();
        rows.map(|mut f| {
            let dag_id: DagId = f.name()?;
            Ok((DagKey { namespace: namespace.clone(), dag_id }, read_asset_event(&mut f)?))
        })
        .collect()
    }

    async fn asset_event_of(&self, asset: AssetId, key: &str) -> Result<Option<AssetEventId>, Error> {
        let sql = Sql::new("SELECT id FROM asset_event WHERE asset = ").with(asset.0);
        let found = self.db.row(sql.then(" AND key = ").with(key)).await?;
        found.map(|mut f| f.int().map(AssetEventId)).transpose()
    }
}
