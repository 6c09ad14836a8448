//! Deployments: see [`crate::Deployments`].

use async_trait::async_trait;
use updraft_core::{Namespace, record::AuditRow};

use super::{SqlStore, db::broken, queries::page, row::read_deployment, statement::Sql};
use crate::{DeploymentRow, Deployments, Error, NewDeployment, Page, RecordKind, Window};

const DEPLOYMENT: &str = "x.namespace, x.number, x.hash, x.bytes, x.files, x.message, x.rolled_back_to, x.account, \
                          x.created_at";

#[async_trait]
impl Deployments for SqlStore {
    async fn create_deployment(&self, deployment: &NewDeployment, audit: &AuditRow) -> Result<u32, Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("INSERT INTO deployment (namespace, number, hash, bytes, files, message, ");
        sql.push("rolled_back_to, account, created_at) SELECT ").arg(&*deployment.namespace);
        sql.push(", coalesce(max(number), 0) + 1, ").arg(&deployment.hash).push(", ").arg(deployment.bytes);
        sql.push(", ").arg(deployment.files).push(", ").arg(deployment.message.as_deref()).push(", ");
        sql.arg(deployment.rolled_back_to).push(", ").arg(&deployment.account).push(", ").arg(audit.at);
        sql.push(" FROM deployment WHERE namespace = ").arg(&*deployment.namespace).push(" RETURNING number");
        let made = tx.row(sql).await?;
        let mut made = made.ok_or_else(|| broken("adding a deployment", "it has no number"))?;
        let number = made.number()?;
        self.changed(tx, RecordKind::Deployment, audit).await?;
        Ok(number)
    }

    async fn deployments(&self, namespace: &Namespace, window: Window) -> Result<Page<DeploymentRow>, Error> {
        let from = Sql::new(" FROM deployment x WHERE x.namespace = ").with(&**namespace);
        page(&self.db, DEPLOYMENT, from, " ORDER BY x.number DESC", window, read_deployment).await
    }

    async fn deployment(&self, namespace: &Namespace, number: u32) -> Result<Option<DeploymentRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {DEPLOYMENT} FROM deployment x WHERE x.namespace = "));
        sql.arg(&**namespace).push(" AND x.number = ").arg(number);
        self.db.row(sql).await?.map(|mut f| read_deployment(&mut f)).transpose()
    }

    async fn current_deployments(&self) -> Result<Vec<DeploymentRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {DEPLOYMENT} FROM deployment x WHERE x.number = "));
        sql.push(
            "(SELECT max(y.number) FROM deployment y WHERE y.namespace = x.namespace) ORDER BY x.namespace",
        );
        self.db.rows(sql).await?.into_iter().map(|mut f| read_deployment(&mut f)).collect()
    }
}
