//! Deployments: which bundle the DAGs of a namespace come from, and came from before.
//!
//! They are only ever added, so that going back is a deployment like another, of a bundle that was deployed before.

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{Namespace, record::AuditRow};

use crate::{Error, Page, Window};

/// A deployment that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeployment {
    /// The namespace.
    pub namespace: Namespace,
    /// The hash that the bundle's archive is known by.
    pub hash: String,
    /// The archive's size.
    pub bytes: u64,
    /// How many files are in it.
    pub files: u64,
    /// What whoever deployed it says of it.
    pub message: Option<String>,
    /// The earlier deployment that this one brings back.
    pub rolled_back_to: Option<u32>,
    /// The account that deployed it.
    pub account: String,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// Its number in its namespace, from 1. The highest one counts.
    pub number: u32,
    /// The rest.
    pub deployment: NewDeployment,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Deployments.
#[async_trait]
pub trait Deployments: Send + Sync {
    /// Adds a deployment, which counts from now on; returns its number.
    async fn create_deployment(&self, deployment: &NewDeployment, audit: &AuditRow) -> Result<u32, Error>;

    /// Those of a namespace, the latest first.
    async fn deployments(&self, namespace: &Namespace, window: Window) -> Result<Page<DeploymentRow>, Error>;

    /// One of them.
    async fn deployment(&self, namespace: &Namespace, number: u32) -> Result<Option<DeploymentRow>, Error>;

    /// The ones that count, by namespace.
    async fn current_deployments(&self) -> Result<Vec<DeploymentRow>, Error>;
}
