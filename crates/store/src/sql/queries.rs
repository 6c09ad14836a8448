//! The API's side: see [`crate::Queries`].

mod dag;
mod delivery;
mod filter;
mod run;
mod ti;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use updraft_core::{
    DagId, DagKey, MapIndex, Namespace, PoolName, RunKey, RunState, TaskId, TiKey, TiStateName,
    record::{TaskStatsRow, TiRow, TickRow, TransitionRow, XcomRow},
};

pub(super) use self::{
    delivery::delivery_select,
    filter::{bounds, one_of, page, text_filter},
};
use super::{
    SqlStore,
    row::{
        STATS, TI, TI_HISTORY, TICK, TRANSITION, XCOM, read_stats, read_ti, read_tick, read_transition,
        read_xcom,
    },
    statement::Sql,
};
use crate::{
    AuditListing, AuditQuery, DagListing, DagQuery, DeliveryListing, DeliveryQuery, Error, Page, PoolListing,
    Queries, RunListing, RunQuery, TextFilter, TiListing, TiQuery, VersionListing, Window, XcomListing,
    XcomQuery,
};

#[async_trait]
impl Queries for SqlStore {
    async fn is_paused(&self) -> Result<bool, Error> {
        self.db.row(Sql::new("SELECT paused FROM engine")).await?.map_or(Ok(false), |mut f| f.flag())
    }

    async fn dags(&self, query: &DagQuery) -> Result<Page<DagListing>, Error> {
        dag::dags(&self.db, query).await
    }

    async fn dag(&self, dag: &DagKey) -> Result<Option<DagListing>, Error> {
        let query = DagQuery {
            namespace: dag.namespace.clone(),
            dag_id: (&dag.dag_id).into(),
            window: Window { limit: 1, ..Window::default() },
            ..DagQuery::default()
        };
        Ok(dag::dags(&self.db, &query).await?.rows.pop())
    }

    async fn dag_versions(&self, dag: &DagKey, window: Window) -> Result<Page<VersionListing>, Error> {
        dag::versions(&self.db, dag, window).await
    }

    async fn tags(
        &self,
        namespace: &Namespace,
        tag: &TextFilter,
        window: Window,
    ) -> Result<Page<String>, Error> {
        dag::tags(&self.db, namespace, tag, window).await
    }

    async fn run_counts(
        &self,
        namespace: &Namespace,
        dags: &[DagId],
    ) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>, Error> {
        run::counts(&self.db, namespace, dags).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<RunListing>, Error> {
        run::runs(&self.db, query).await
    }

    async fn run(&self, run: RunKey) -> Result<Option<RunListing>, Error> {
        run::run(&self.db, run).await
    }

    async fn ti_counts(
        &self,
        runs: &[RunKey],
    ) -> Result<BTreeMap<RunKey, BTreeMap<TiStateName, u64>>, Error> {
        ti::counts(&self.db, runs).await
    }

    async fn tis(&self, query: &TiQuery) -> Result<Page<TiListing>, Error> {
        ti::tis(&self.db, query).await
    }

    async fn ti(&self, ti: TiKey) -> Result<Option<TiListing>, Error> {
        let mut sql = Sql::new(" WHERE t.run = ").with(ti.run.0);
        sql.push(" AND t.task = ").arg(ti.task.0).push(" AND t.map_index = ").arg(ti.map_index.0);
        ti::one(&self.db, sql).await
    }

    async fn find_ti(
        &self,
        run: RunKey,
        task: &TaskId,
        map_index: MapIndex,
    ) -> Result<Option<TiListing>, Error> {
        let mut sql = Sql::new(" WHERE t.run = ").with(run.0);
        sql.push(" AND t.task_id = ").arg(&**task).push(" AND t.map_index = ").arg(map_index.0);
        ti::one(&self.db, sql).await
    }

    async fn tries(&self, ti: TiKey) -> Result<Vec<TiRow>, Error> {
        let mut tries = Vec::new();
        for table in [TI_HISTORY, TI] {
            let mut sql = Sql::new(format!("SELECT {} FROM {} t", table.select("t"), table.name));
            sql.push(" WHERE t.run = ").arg(ti.run.0).push(" AND t.task = ").arg(ti.task.0);
            sql.push(" AND t.map_index = ").arg(ti.map_index.0).push(" ORDER BY t.try_number");
            for mut f in self.db.rows(sql).await? {
                tries.push(read_ti(&mut f)?);
            }
        }
        Ok(tries)
    }

    async fn transitions(
        &self,
        run: RunKey,
        ti: Option<TiKey>,
        window: Window,
    ) -> Result<Page<TransitionRow>, Error> {
        let mut from = Sql::new(" FROM transition x WHERE x.run = ").with(run.0);
        if let Some(ti) = ti {
            from.push(" AND x.task = ").arg(ti.task.0).push(" AND x.map_index = ").arg(ti.map_index.0);
        }
        page(&self.db, &TRANSITION.select("x"), from, " ORDER BY x.run, x.id", window, read_transition).await
    }

    async fn xcoms(&self, query: &XcomQuery) -> Result<Page<XcomListing>, Error> {
        ti::xcoms(&self.db, query).await
    }

    async fn xcom(&self, ti: TiKey, key: &str) -> Result<Option<XcomRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {} FROM xcom x WHERE x.run = ", XCOM.select("x")));
        sql.arg(ti.run.0).push(" AND x.task = ").arg(ti.task.0);
        sql.push(" AND x.map_index = ").arg(ti.map_index.0).push(" AND x.key = ").arg(key);
        self.db.row(sql).await?.map(|mut f| read_xcom(&mut f)).transpose()
    }

    async fn xcoms_of(&self, run: RunKey, task: &TaskId, key: &str) -> Result<Vec<XcomRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {} FROM ti t JOIN xcom x", XCOM.select("x")));
        sql.push(" ON x.run = t.run AND x.task = t.task AND x.map_index = t.map_index WHERE t.run = ");
        sql.arg(run.0).push(" AND t.task_id = ").arg(&**task).push(" AND x.key = ").arg(key);
        sql.push(" ORDER BY x.task, x.map_index");
        self.db.rows(sql).await?.into_iter().map(|mut f| read_xcom(&mut f)).collect()
    }

    async fn rendered(&self, ti: TiKey) -> Result<Option<Value>, Error> {
        let mut sql = Sql::new("SELECT fields FROM rendered WHERE run = ").with(ti.run.0);
        sql.push(" AND task = ").arg(ti.task.0).push(" AND map_index = ").arg(ti.map_index.0);
        self.db.row(sql).await?.map(|mut f| f.json()).transpose()
    }

    async fn ticks(
        &self,
        dag: &DagKey,
        from: Timestamp,
        to: Timestamp,
        window: Window,
    ) -> Result<Page<TickRow>, Error> {
        let mut sql = Sql::new(" FROM tick x WHERE x.namespace = ").with(&*dag.namespace);
        sql.push(" AND x.dag_id = ").arg(&*dag.dag_id);
        sql.push(" AND x.last_at >= ").arg(from).push(" AND x.first_at < ").arg(to);
        page(&self.db, &TICK.select("x"), sql, " ORDER BY x.first_at", window, read_tick).await
    }

    async fn pools(
        &self,
        namespace: &Namespace,
        name: &TextFilter,
        window: Window,
    ) -> Result<Page<PoolListing>, Error> {
        dag::pools(&self.db, namespace, name, window).await
    }

    async fn pool(&self, namespace: &Namespace, name: &PoolName) -> Result<Option<PoolListing>, Error> {
        let window = Window { limit: 1, ..Window::default() };
        Ok(dag::pools(&self.db, namespace, &name.into(), window).await?.rows.pop())
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryListing>, Error> {
        delivery::deliveries(&self.db, query).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditListing>, Error> {
        delivery::audit(&self.db, query).await
    }

    async fn task_stats(&self, dag: &DagKey) -> Result<Vec<TaskStatsRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {} FROM task_stats x", STATS.select("x")));
        sql.push(" WHERE x.namespace = ").arg(&*dag.namespace).push(" AND x.dag_id = ").arg(&*dag.dag_id);
        sql.push(" ORDER BY x.task_id");
        self.db.rows(sql).await?.into_iter().map(|mut f| read_stats(&mut f)).collect()
    }
}
