//! What the API and the UI ask about assets, and what the engine has to look up.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{
    Asset, AssetCondition, AssetEvent, AssetEventId, AssetId, AssetUri, DagId, DagKey, DagSpec, MapIndex,
    Namespace, RunId, RunKey, TaskId, record::AssetRow,
};

use crate::{Bounds, Error, Page, TextFilter, Window};

/// Which assets are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssetQuery {
    /// In this namespace.
    pub namespace: Namespace,
    /// Only this one.
    pub id: Option<AssetId>,
    /// By their URI.
    pub uri: TextFilter,
    /// By their name; that of one without is its URI.
    pub name: TextFilter,
    /// Only those that the present versions of these DAGs name; all, where none is named.
    pub dags: Vec<DagId>,
    /// Only those that a DAG names in its present version.
    pub only_named: bool,
    /// The last ones first.
    pub latest_first: bool,
    /// Which part of the list.
    pub window: Window,
}

/// An asset, with who names it.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetListing {
    /// The asset.
    pub row: AssetRow,
    /// The DAGs and tasks that name it in their present version; none of a DAG whose source is gone.
    pub uses: Vec<AssetUse>,
    /// The last thing that happened to it.
    pub last_event: Option<(AssetEventId, Timestamp)>,
}

/// Where an asset is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssetUse {
    /// The DAG.
    pub dag_id: DagId,
    /// As what.
    pub usage: AssetUsage,
}

/// As what a DAG names an asset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssetUsage {
    /// It waits for it.
    Schedule,
    /// This task of it reads it.
    Inlet(TaskId),
    /// This task of it makes it.
    Outlet(TaskId),
}

impl AssetUse {
    /// Where a DAG names assets, each place once.
    pub(crate) fn all(spec: &DagSpec) -> BTreeSet<(AssetUri, Self)> {
        let mut all = BTreeSet::new();
        let mut name = |asset: &Asset, usage| {
            all.insert((asset.uri.clone(), Self { dag_id: spec.dag_id.clone(), usage }));
        };
        for asset in spec.assets.iter().flat_map(AssetCondition::assets) {
            name(asset, AssetUsage::Schedule);
        }
        for task in &spec.tasks {
            task.inlets.iter().for_each(|asset| name(asset, AssetUsage::Inlet(task.task_id.clone())));
            task.outlets.iter().for_each(|asset| name(asset, AssetUsage::Outlet(task.task_id.clone())));
        }
        all
    }
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssetEventQuery {
    /// In this namespace.
    pub namespace: Namespace,
    /// Only this one.
    pub id: Option<AssetEventId>,
    /// Of this asset.
    pub asset: Option<AssetId>,
    /// Made by this DAG.
    pub source_dag: Option<DagId>,
    /// Made by this run.
    pub source_run: Option<RunId>,
    /// Made by this task.
    pub source_task: Option<TaskId>,
    /// Made by this copy.
    pub source_map_index: Option<MapIndex>,
    /// Those that this run was made of.
    pub made: Option<RunKey>,
    /// When.
    pub at: Bounds<Timestamp>,
    /// The latest first.
    pub latest_first: bool,
    /// Which part of the list.
    pub window: Window,
}

/// An event, with the runs that were made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetEventListing {
    /// The event.
    pub event: AssetEvent,
    /// The asset's name, where it has one.
    pub name: Option<String>,
    /// The asset's group, where it has one.
    pub group: Option<String>,
    /// The runs, in the order in which they were made, and whether it is the last event of which each was.
    pub runs: Vec<(RunKey, bool)>,
}

/// What the API and the UI ask about assets, and what the engine has to look up.
#[async_trait]
pub trait Assets: Send + Sync {
    /// Assets, by their numbers.
    async fn assets(&self, query: &AssetQuery) -> Result<Page<AssetListing>, Error>;

    /// What happened to assets, in the order in which it did.
    async fn asset_events(&self, query: &AssetEventQuery) -> Result<Page<AssetEventListing>, Error>;

    /// Events that these DAGs have had no run for yet, all of the namespace where none is named, in order.
    async fn queued_events(
        &self,
        namespace: &Namespace,
        dag: Option<&DagId>,
        asset: Option<AssetId>,
    ) -> Result<Vec<(DagKey, AssetEvent)>, Error>;

    /// The event of an asset that was told under a key.
    async fn asset_event_of(&self, asset: AssetId, key: &str) -> Result<Option<AssetEventId>, Error>;
}
