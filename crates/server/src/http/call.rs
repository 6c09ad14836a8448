//! A request by somebody who may make it, and what most routes need for it.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use jiff::Timestamp;
use serde_json::{Map, Value};
use updraft_core::{
    DagKey, MapIndex, Namespace, RunId, TaskId,
    input::{Command, Reply},
    record::{AuditRow, DagRow},
};
use updraft_store::{DagListing, RunListing, RunQuery, Store, TiListing, TiQuery, Window};

use super::{Error, Shared, versions::Version};
use crate::{accounts::Who, leader::now, params};

/// A request by somebody who may make it.
pub(crate) struct Call {
    pub shared: Arc<Shared>,
    pub who: Who,
    pub namespace: Namespace,
}

impl FromRequestParts<Arc<Shared>> for Call {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Error> {
        // Put there by `access::authorize`; a route that is open to all has no use for a call.
        let who = parts.extensions.get::<Who>().cloned();
        let who =
            who.ok_or_else(|| Error::Internal("a route without authentication asks who it is".into()))?;
        let namespace = parts.extensions.get::<Namespace>().cloned().unwrap_or_default();
        Ok(Self { shared: shared.clone(), who, namespace })
    }
}

impl Call {
    pub fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    /// Has the leader obey a command.
    pub async fn command(&self, command: Command) -> Result<Reply, Error> {
        Ok(self.shared.leader.command(self.who.name.clone(), command).await?)
    }

    pub fn dag_key(&self, dag_id: &str) -> DagKey {
        DagKey::new(self.namespace.clone(), dag_id)
    }

    /// A DAG.
    pub async fn dag(&self, dag_id: &str) -> Result<DagListing, Error> {
        let found = self.store().dag(&self.dag_key(dag_id)).await?;
        found.ok_or_else(|| Error::no_dag(dag_id))
    }

    /// Refuses a logical date that a run of this DAG has: as in Airflow, there is one run of each. Runs without
    /// one are as many as anybody likes.
    pub async fn refuse_taken_date(&self, dag: &DagKey, date: Option<Timestamp>) -> Result<(), Error> {
        let Some(date) = date else { return Ok(()) };
        match self.store().runs(&RunQuery::dated(dag, date)).await?.rows.first() {
            None => Ok(()),
            Some(run) => Err(Error::conflict(format!(
                "the DAG `{}` has a run of the logical date {date} already, `{}`: choose another, or clear that run",
                dag.dag_id, run.row.run_id
            ))),
        }
    }

    /// Refuses parameters that don't fit a DAG's params.
    pub async fn refuse_bad_params(&self, dag: &DagRow, given: &Map<String, Value>) -> Result<(), Error> {
        let version = self.shared.version(&dag.key, dag.version).await?;
        let checked = version.map_or(Ok(()), |version| params::check(version.dag.spec(), given));
        checked.map_err(|bad| Error::bad_request(bad.to_string()))
    }

    /// A run.
    pub async fn run(&self, dag_id: &str, run_id: &str) -> Result<RunListing, Error> {
        let key = self.store().find_run(&self.dag_key(dag_id), &RunId::from(run_id)).await?;
        let run = match key {
            Some(key) => self.store().run(key).await?,
            None => None,
        };
        if run.is_none() {
            // Where it is the DAG that is missing, that is what to say.
            self.dag(dag_id).await?;
        }
        run.ok_or_else(|| {
            Error::not_found(format!(
                "The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"
            ))
        })
    }

    /// A task instance.
    pub async fn ti(
        &self,
        (dag_id, run_id, task_id): (&str, &str, &str),
        map_index: MapIndex,
    ) -> Result<TiListing, Error> {
        let key = self.store().find_run(&self.dag_key(dag_id), &RunId::from(run_id)).await?;
        let ti = match key {
            Some(key) => self.store().find_ti(key, &TaskId::from(task_id), map_index).await?,
            None => None,
        };
        match ti {
            Some(ti) => Ok(ti),
            None => Err(self.no_ti((dag_id, run_id, task_id), map_index).await),
        }
    }

    /// What is missing of a task instance: its DAG, its run, the task, or which copy of it is meant.
    async fn no_ti(&self, (dag_id, run_id, task_id): (&str, &str, &str), map_index: MapIndex) -> Error {
        let run = match self.run(dag_id, run_id).await {
            Ok(run) => run,
            Err(error) => return error,
        };
        let copies = TiQuery {
            namespace: self.namespace.clone(),
            runs: vec![run.row.key],
            task_id: (&TaskId::from(task_id)).into(),
            window: Window { limit: 1, ..Window::default() },
            ..TiQuery::default()
        };
        let copies = match self.store().tis(&copies).await {
            Ok(page) => page.total,
            Err(error) => return error.into(),
        };
        let of = format!("dag_id: `{dag_id}`, run_id: `{run_id}`");
        Error::not_found(match (map_index, copies) {
            (MapIndex::NONE, 0) => {
                format!("The Task Instance with {of} and task_id: `{task_id}` was not found")
            }
            (MapIndex::NONE, copies) => format!(
                "the task `{task_id}` is mapped: say with map_index (on the command line --map-index) which of its \
                 {copies} copies is meant, from 0 on"
            ),
            (MapIndex(index), _) => format!(
                "The Mapped Task Instance with {of}, task_id: `{task_id}`, and map_index: `{index}` was not \
                 found"
            ),
        })
    }

    /// A version that something in the store is on, and which is therefore there.
    pub async fn version(&self, dag: &DagKey, version: u32) -> Result<Arc<Version>, Error> {
        let found = self.shared.version(dag, version).await?;
        // It can be gone only with the DAG, in this instant.
        found.ok_or_else(|| Error::no_dag(&dag.dag_id))
    }

    /// A line of the audit log about what is done now in the call's namespace.
    pub fn audit(&self, action: &str, detail: Value) -> AuditRow {
        AuditRow {
            at: now(),
            user: self.who.name.to_string(),
            action: action.into(),
            namespace: Some(self.namespace.clone()),
            dag: None,
            run: None,
            detail,
        }
    }
}
