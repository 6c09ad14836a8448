//! Assets: what tasks make and DAGs wait for, and what happened to them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AssetEventId, AssetId, AssetUri, DagId, MapIndex, Namespace, RunId, TaskId};

/// An asset as a DAG names it (Airflow's `Asset`). Within a namespace it is known by its URI; what is said of it
/// besides is as the last DAG had it that said it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its URI, or a plain name.
    pub uri: AssetUri,
    /// The name shown in its place, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A word by which assets are told apart in lists (Airflow's default: `asset`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whatever its authors keep with it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Asset {
    /// The asset of this URI, of which nothing else is known.
    pub fn new(uri: impl Into<AssetUri>) -> Self {
        Self { uri: uri.into(), name: None, group: None, extra: Map::new() }
    }
}

/// Of which assets something must have happened for a run to be made (Airflow's asset expressions).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetCondition {
    /// Of this one.
    Asset(Asset),
    /// What all of these ask for. Of none it is nothing that could happen.
    All(Vec<AssetCondition>),
    /// What one of these asks for.
    Any(Vec<AssetCondition>),
}

impl AssetCondition {
    /// The assets that it names.
    pub fn assets(&self) -> Vec<&Asset> {
        match self {
            Self::Asset(asset) => vec![asset],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::assets).collect(),
        }
    }

    /// Whether it names this asset.
    pub fn names(&self, uri: &AssetUri) -> bool {
        match self {
            Self::Asset(asset) => asset.uri == *uri,
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.names(uri)),
        }
    }

    /// Whether it is fulfilled, where something has happened to the assets that are told.
    pub fn holds(&self, happened: &impl Fn(&AssetUri) -> bool) -> bool {
        match self {
            Self::Asset(asset) => happened(&asset.uri),
            Self::All(parts) => !parts.is_empty() && parts.iter().all(|part| part.holds(happened)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(happened)),
        }
    }
}

/// Something that happened to an asset. Written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetEvent {
    /// Its number; later events have higher ones.
    pub id: AssetEventId,
    /// The namespace.
    pub namespace: Namespace,
    /// The asset.
    pub asset: AssetId,
    /// Its URI.
    pub uri: AssetUri,
    /// When.
    pub at: Timestamp,
    /// What whoever told of it had to say: a JSON object.
    pub extra: Arc<Value>,
    /// Told again under the same key, it is the same event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The task instance that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AssetEventSource>,
    /// The account that told of it, where it was no task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_by: Option<String>,
}

/// A task instance that made an asset anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetEventSource {
    /// Its DAG.
    pub dag_id: DagId,
    /// Its run.
    pub run_id: RunId,
    /// Its task.
    pub task_id: TaskId,
    /// Its copy.
    pub map_index: MapIndex,
}
