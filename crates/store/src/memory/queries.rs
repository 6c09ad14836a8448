//! The API's side: see [`crate::Queries`].

mod dag;
mod run;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use updraft_core::{
    DagId, DagKey, MapIndex, Namespace, PoolName, RunKey, RunState, TaskId, TiKey, TiStateName,
    record::{TaskStatsRow, TiRow, TickRow, TransitionRow, XcomRow},
};

use super::{
    MemoryStore,
    filter::{matches, page, within},
};
use crate::{
    AuditListing, AuditQuery, DagListing, DagQuery, DeliveryListing, DeliveryQuery, Error, Page, PoolListing,
    Queries, RunListing, RunQuery, TextFilter, TiListing, TiQuery, VersionListing, Window, XcomListing,
    XcomQuery,
};

#[async_trait]
impl Queries for MemoryStore {
    async fn is_paused(&self) -> Result<bool, Error> {
        Ok(self.tables().engine.paused)
    }

    async fn dags(&self, query: &DagQuery) -> Result<Page<DagListing>, Error> {
        Ok(dag::dags(&self.tables(), query))
    }

    async fn dag(&self, dag: &DagKey) -> Result<Option<DagListing>, Error> {
        let tables = self.tables();
        Ok(tables.dags.get(dag).and_then(|row| dag::listing(&tables, row)))
    }

    async fn dag_versions(&self, dag: &DagKey, window: Window) -> Result<Page<VersionListing>, Error> {
        Ok(dag::versions(&self.tables(), dag, window))
    }

    async fn tags(
        &self,
        namespace: &Namespace,
        tag: &TextFilter,
        window: Window,
    ) -> Result<Page<String>, Error> {
        Ok(dag::tags(&self.tables(), namespace, tag, window))
    }

    async fn run_counts(
        &self,
        namespace: &Namespace,
        dags: &[DagId],
    ) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>, Error> {
        Ok(run::counts(&self.tables(), namespace, dags))
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<RunListing>, Error> {
        Ok(run::runs(&self.tables(), query))
    }

    async fn run(&self, run: RunKey) -> Result<Option<RunListing>, Error> {
        Ok(self.tables().runs.get(&run).map(|run| run::listing(run)))
    }

    async fn ti_counts(
        &self,
        runs: &[RunKey],
    ) -> Result<BTreeMap<RunKey, BTreeMap<TiStateName, u64>>, Error> {
        Ok(run::ti_counts(&self.tables(), runs))
    }

    async fn tis(&self, query: &TiQuery) -> Result<Page<TiListing>, Error> {
        Ok(run::tis(&self.tables(), query))
    }

    async fn ti(&self, ti: TiKey) -> Result<Option<TiListing>, Error> {
        let tables = self.tables();
        let Some(run) = tables.runs.get(&ti.run) else { return Ok(None) };
        Ok(run.tis.get(&ti).map(|row| run::ti_listing(&tables, run, row)))
    }

    async fn find_ti(
        &self,
        run: RunKey,
        task: &TaskId,
        map_index: MapIndex,
    ) -> Result<Option<TiListing>, Error> {
        let tables = self.tables();
        let Some(run) = tables.runs.get(&run) else { return Ok(None) };
        let found = run.tis.values().find(|row| row.task_id == *task && row.key.map_index == map_index);
        Ok(found.map(|row| run::ti_listing(&tables, run, row)))
    }

    async fn tries(&self, ti: TiKey) -> Result<Vec<TiRow>, Error> {
        let tables = self.tables();
        let Some(run) = tables.runs.get(&ti.run) else { return Ok(Vec::new()) };
        let earlier = run.history.values().filter(|row| row.key == ti);
        Ok(earlier.chain(run.tis.get(&ti)).cloned().collect())
    }

    async fn transitions(
        &self,
        run: RunKey,
        ti: Option<TiKey>,
        window: Window,
    ) -> Result<Page<TransitionRow>, Error> {
        let tables = self.tables();
        let rows = tables.runs.get(&run).map_or(&[][..], |run| &run.transitions);
        let of = |row: &TransitionRow| {
            ti.is_none_or(|ti| row.ti.task == ti.task && row.ti.map_index == ti.map_index)
        };
        let rows = rows.iter().filter(|(_, row)| of(row)).map(|(_, row)| row.clone());
        Ok(page(rows.collect(), window))
    }

    async fn xcoms(&self, query: &XcomQuery) -> Result<Page<XcomListing>, Error> {
        Ok(run::xcoms(&self.tables(), query))
    }

    async fn xcom(&self, ti: TiKey, key: &str) -> Result<Option<XcomRow>, Error> {
        let tables = self.tables();
        Ok(tables.runs.get(&ti.run).and_then(|run| run.xcoms.get(&(ti, key.into())).cloned()))
    }

    async fn xcoms_of(&self, run: RunKey, task: &TaskId, key: &str) -> Result<Vec<XcomRow>, Error> {
        let tables = self.tables();
        let Some(run) = tables.runs.get(&run) else { return Ok(Vec::new()) };
        let of =
            |row: &&XcomRow| row.key == key && run.tis.get(&row.ti).is_some_and(|ti| ti.task_id == *task);
        Ok(run.xcoms.values().filter(of).cloned().collect())
    }

    async fn rendered(&self, ti: TiKey) -> Result<Option<Value>, Error> {
        Ok(self.tables().runs.get(&ti.run).and_then(|run| run.rendered.get(&ti).cloned()))
    }

    async fn ticks(
        &self,
        dag: &DagKey,
        from: Timestamp,
        to: Timestamp,
        window: Window,
    ) -> Result<Page<TickRow>, Error> {
        let tables = self.tables();
        let rows = tables.ticks.values().filter(|row| row.dag == *dag && row.last >= from && row.first < to);
        Ok(page(rows.cloned().collect(), window))
    }

    async fn pools(
        &self,
        namespace: &Namespace,
        name: &TextFilter,
        window: Window,
    ) -> Result<Page<PoolListing>, Error> {
        Ok(dag::pools(&self.tables(), namespace, name, window))
    }

    async fn pool(&self, namespace: &Namespace, name: &PoolName) -> Result<Option<PoolListing>, Error> {
        Ok(dag::pools(&self.tables(), namespace, &name.into(), Window::default()).rows.pop())
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryListing>, Error> {
        let tables = self.tables();
        let wanted = |row: &&DeliveryListing| {
            row.row.dag.namespace == query.namespace
                && query.id.is_none_or(|id| row.row.id == id)
                && query.digest.is_none_or(|lead| row.digest == Some(lead))
                && query.dag.as_ref().is_none_or(|dag| row.row.dag == *dag)
                && query.run.is_none_or(|run| row.row.run == Some(run))
                && query.ti.is_none_or(|ti| row.row.ti == Some(ti))
                && (query.states.is_empty() || query.states.contains(&row.state))
        };
        Ok(page(tables.deliveries.values().rev().filter(wanted).cloned().collect(), query.window))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditListing>, Error> {
        let tables = self.tables();
        let wanted = |entry: &&AuditListing| {
            let row = &entry.row;
            row.namespace.as_ref().is_none_or(|namespace| *namespace == query.namespace)
                && query.id.is_none_or(|id| entry.id == id)
                && matches(&query.dag_id, row.dag.as_deref())
                && query.run.is_none_or(|run| row.run == Some(run))
                && matches(&query.user, Some(&row.user))
                && matches(&query.action, Some(&row.action))
                && !query.excluded.contains(&row.action)
                && within(&query.at, Some(row.at))
        };
        let mut rows: Vec<AuditListing> = tables.audit.values().filter(wanted).cloned().collect();
        if query.latest_first {
            rows.reverse();
        }
        Ok(page(rows, query.window))
    }

    async fn task_stats(&self, dag: &DagKey) -> Result<Vec<TaskStatsRow>, Error> {
        Ok(self.tables().stats.values().filter(|row| row.dag == *dag).cloned().collect())
    }
}
