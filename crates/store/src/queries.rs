//! What the API and the UI ask of the store. Parameters and orders follow Airflow's REST API v2, so that a
//! route is a translation and no more.
//!
//! Every list is within one namespace. Where an order leaves rows equal, their key decides, in the direction
//! of the last field named; what is absent (a run that has not begun has no start) comes last either way.

mod filter;
mod row;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use updraft_core::{
    DagId, DagKey, MapIndex, Namespace, PoolName, RunKey, RunState, TaskId, TiKey, TiStateName,
    record::{TaskStatsRow, TiRow, TickRow, TransitionRow, XcomRow},
};

pub use self::{
    filter::{
        AuditQuery, Bounds, DagField, DagQuery, DeliveryQuery, Order, RunField, RunQuery, TextFilter,
        TiField, TiQuery, Window, XcomQuery,
    },
    row::{
        AuditListing, DagListing, DeliveryListing, DeliveryState, LastRun, Page, PoolListing, RunListing,
        TiListing, VersionListing, XcomListing,
    },
};
use crate::Error;

/// What the API and the UI ask of the store.
#[async_trait]
pub trait Queries: Send + Sync {
    /// Whether nothing new begins anywhere.
    async fn is_paused(&self) -> Result<bool, Error>;

    /// DAGs.
    async fn dags(&self, query: &DagQuery) -> Result<Page<DagListing>, Error>;

    /// One DAG.
    async fn dag(&self, dag: &DagKey) -> Result<Option<DagListing>, Error>;

    /// A DAG's versions, the latest first.
    async fn dag_versions(&self, dag: &DagKey, window: Window) -> Result<Page<VersionListing>, Error>;

    /// The tags of current versions, in order.
    async fn tags(
        &self,
        namespace: &Namespace,
        tag: &TextFilter,
        window: Window,
    ) -> Result<Page<String>, Error>;

    /// How many runs each of these DAGs has, by state (Airflow's `/dagStats`); all DAGs where none is named.
    async fn run_counts(
        &self,
        namespace: &Namespace,
        dags: &[DagId],
    ) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>, Error>;

    /// Runs.
    async fn runs(&self, query: &RunQuery) -> Result<Page<RunListing>, Error>;

    /// One run.
    async fn run(&self, run: RunKey) -> Result<Option<RunListing>, Error>;

    /// How many task instances each of these runs has, by state.
    async fn ti_counts(&self, runs: &[RunKey])
    -> Result<BTreeMap<RunKey, BTreeMap<TiStateName, u64>>, Error>;

    /// Task instances.
    async fn tis(&self, query: &TiQuery) -> Result<Page<TiListing>, Error>;

    /// One task instance.
    async fn ti(&self, ti: TiKey) -> Result<Option<TiListing>, Error>;

    /// One task instance, by its task's name.
    async fn find_ti(
        &self,
        run: RunKey,
        task: &TaskId,
        map_index: MapIndex,
    ) -> Result<Option<TiListing>, Error>;

    /// The tries of a task instance, in their order; the latest is its current row.
    async fn tries(&self, ti: TiKey) -> Result<Vec<TiRow>, Error>;

    /// The changes of state of a run, or of one of its task instances, in the order in which they happened.
    async fn transitions(
        &self,
        run: RunKey,
        ti: Option<TiKey>,
        window: Window,
    ) -> Result<Page<TransitionRow>, Error>;

    /// XComs, ordered by run, task, copy and key.
    async fn xcoms(&self, query: &XcomQuery) -> Result<Page<XcomListing>, Error>;

    /// One XCom.
    async fn xcom(&self, ti: TiKey, key: &str) -> Result<Option<XcomRow>, Error>;

    /// What all copies of a task left under one key, ordered by map index.
    async fn xcoms_of(&self, run: RunKey, task: &TaskId, key: &str) -> Result<Vec<XcomRow>, Error>;

    /// The arguments of a task instance's latest attempt as they were rendered, a JSON object.
    async fn rendered(&self, ti: TiKey) -> Result<Option<Value>, Error>;

    /// The ranges of ticks that reach into a time from `from` up to, and not including, `to`, in order.
    async fn ticks(
        &self,
        dag: &DagKey,
        from: Timestamp,
        to: Timestamp,
        window: Window,
    ) -> Result<Page<TickRow>, Error>;

    /// Pools with the slots taken from them, by name.
    async fn pools(
        &self,
        namespace: &Namespace,
        name: &TextFilter,
        window: Window,
    ) -> Result<Page<PoolListing>, Error>;

    /// One pool.
    async fn pool(&self, namespace: &Namespace, name: &PoolName) -> Result<Option<PoolListing>, Error>;

    /// The outbox, the latest first.
    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryListing>, Error>;

    /// The audit log.
    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditListing>, Error>;

    /// The mean durations of a DAG's tasks.
    async fn task_stats(&self, dag: &DagKey) -> Result<Vec<TaskStatsRow>, Error>;
}
