//! Deployments: see [`crate::Deployments`].

use async_trait::async_trait;
use updraft_core::{Namespace, record::AuditRow};

use super::{MemoryStore, filter::page};
use crate::{DeploymentRow, Deployments, Error, NewDeployment, Page, RecordKind, Window};

#[async_trait]
impl Deployments for MemoryStore {
    async fn create_deployment(&self, deployment: &NewDeployment, audit: &AuditRow) -> Result<u32, Error> {
        let mut tables = self.tables();
        let all = tables.deployments.entry(deployment.namespace.clone()).or_default();
        let number = all.last_key_value().map_or(0, |(last, _)| *last) + 1;
        let row = DeploymentRow { number, deployment: deployment.clone(), created_at: audit.at };
        all.insert(number, row);
        self.changed(tables, true, RecordKind::Deployment, audit).map(|_| number)
    }

    async fn deployments(&self, namespace: &Namespace, window: Window) -> Result<Page<DeploymentRow>, Error> {
        let tables = self.tables();
        let rows = tables.deployments.get(namespace).into_iter().flat_map(|all| all.values().rev());
        Ok(page(rows.cloned().collect(), window))
    }

    async fn deployment(&self, namespace: &Namespace, number: u32) -> Result<Option<DeploymentRow>, Error> {
        Ok(self.tables().deployments.get(namespace).and_then(|all| all.get(&number)).cloned())
    }

    async fn current_deployments(&self) -> Result<Vec<DeploymentRow>, Error> {
        let tables = self.tables();
        let last = tables.deployments.values().filter_map(|all| all.last_key_value());
        Ok(last.map(|(_, row)| row.clone()).collect())
    }
}
