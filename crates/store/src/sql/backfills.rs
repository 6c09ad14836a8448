//! Backfills: see [`crate::Backfills`].

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{Namespace, RunState, record::AuditRow};

use super::{
    SqlStore,
    db::broken,
    queries::page,
    row::{
        AUDIT, BACKFILL, BACKFILL_RUN, audit_cells, backfill_cells, backfill_run_cells, read_backfill,
        read_backfill_run, read_backfill_run_listing,
    },
    statement::Sql,
    table::{Conflict, Rows},
};
use crate::{
    BackfillCounts, BackfillId, BackfillQuery, BackfillRow, BackfillRunListing, BackfillRunRow, Backfills,
    Change, Error, NewBackfill, Page, RecordKind, Window,
};

#[async_trait]
impl Backfills for SqlStore {
    async fn create_backfill(
        &self,
        backfill: &NewBackfill,
        runs: &[BackfillRunRow],
        audit: &AuditRow,
    ) -> Result<Option<BackfillId>, Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("INSERT INTO backfill (namespace, dag_id, from_date, to_date, reprocess, ");
        sql.push("run_backwards, max_active_runs, conf, tasks, account, is_paused, created_at, updated_at)");
        sql.push(" VALUES (");
        for cell in backfill_cells(backfill) {
            sql.arg(cell).push(", ");
        }
        sql.arg(audit.at).push(", ").arg(audit.at).push(") ON CONFLICT DO NOTHING RETURNING id");
        let Some(mut made) = tx.row(sql).await? else { return Ok(None) };
        let id = BackfillId(made.int()?);
        let rows = Rows::of(BACKFILL_RUN.columns, runs.iter().map(|row| backfill_run_cells(id, row)));
        tx.insert(&BACKFILL_RUN, rows, Conflict::Fail).await?;
        let rows = Rows::of(AUDIT.columns, [audit_cells(audit)]);
        tx.insert(&AUDIT, rows, Conflict::Fail).await?;
        tx.commit().await?;
        self.tell(Change::Record(RecordKind::Backfill));
        Ok(Some(id))
    }

    async fn backfills(&self, query: &BackfillQuery) -> Result<Page<BackfillRow>, Error> {
        let mut from = Sql::new(" FROM backfill b WHERE b.namespace = ").with(&*query.namespace);
        if let Some(dag_id) = &query.dag_id {
            from.push(" AND b.dag_id = ").arg(&**dag_id);
        }
        if let Some(is_completed) = query.is_completed {
            from.push(if is_completed {
                " AND b.completed_at IS NOT NULL"
            } else {
                " AND b.completed_at IS NULL"
            });
        }
        page(&self.db, BACKFILL, from, " ORDER BY b.id DESC", query.window, read_backfill).await
    }

    async fn backfill(&self, namespace: &Namespace, id: BackfillId) -> Result<Option<BackfillRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {BACKFILL} FROM backfill b WHERE b.id = ")).with(id.0);
        sql.push(" AND b.namespace = ").arg(&**namespace);
        self.db.row(sql).await?.map(|mut f| read_backfill(&mut f)).transpose()
    }

    async fn open_backfills(&self) -> Result<Vec<BackfillRow>, Error> {
        let sql = format!("SELECT {BACKFILL} FROM backfill b WHERE b.completed_at IS NULL ORDER BY b.id");
        self.db.rows(Sql::new(sql)).await?.into_iter().map(|mut f| read_backfill(&mut f)).collect()
    }

    async fn backfill_counts(&self, id: BackfillId) -> Result<BackfillCounts, Error> {
        let mut sql = Sql::new("SELECT x.progress, r.state, count(*) FROM backfill_run x");
        sql.push(" LEFT JOIN run r ON r.key = x.run WHERE x.backfill = ").arg(id.0);
        sql.push(" GROUP BY x.progress, r.state");
        let mut counts = BackfillCounts::default();
        for mut f in self.db.rows(sql).await? {
            let (progress, state) = (f.text()?, f.opt_text()?);
            let state = state.map(|state| state.parse::<RunState>()).transpose();
            counts.add(&progress, state.map_err(|error| broken("reading a state", error))?, f.number()?);
        }
        Ok(counts)
    }

    async fn backfill_runs(&self, id: BackfillId, window: Window) -> Result<Page<BackfillRunListing>, Error> {
        let select = format!("{}, r.run_id, r.state", BACKFILL_RUN.select("x"));
        let mut from = Sql::new(" FROM backfill_run x LEFT JOIN run r ON r.key = x.run");
        from.push(" WHERE x.backfill = ").arg(id.0);
        page(&self.db, &select, from, " ORDER BY x.ix", window, read_backfill_run_listing).await
    }

    async fn next_backfill_run(&self, id: BackfillId) -> Result<Option<BackfillRunRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {} FROM backfill_run x", BACKFILL_RUN.select("x")));
        sql.push(" WHERE x.backfill = ").arg(id.0).push(" AND x.progress IN ('waiting', 'starting')");
        sql.push(" ORDER BY x.ix LIMIT 1");
        self.db.row(sql).await?.map(|mut f| read_backfill_run(&mut f)).transpose()
    }

    async fn put_backfill_run(&self, id: BackfillId, row: &BackfillRunRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let names: Vec<&str> = BACKFILL_RUN.columns.iter().map(|(name, _)| *name).collect();
        let mut sql = Sql::new(format!("UPDATE backfill_run SET ({}) = ", names.join(", ")));
        sql.list(backfill_run_cells(id, row)).push(" WHERE backfill = ").arg(id.0);
        sql.push(" AND ix = ").arg(row.ix).push(" AND progress <> 'passed_over'");
        let changed = tx.run(sql).await? > 0;
        tx.commit().await?;
        self.tell(Change::Record(RecordKind::Backfill));
        Ok(changed)
    }

    async fn pause_backfill(&self, id: BackfillId, paused: bool, audit: &AuditRow) -> Result<bool, Error> {
        let mut sql = Sql::new("UPDATE backfill SET is_paused = ").with(paused);
        sql.push(", updated_at = ").arg(audit.at).push(" WHERE id = ").arg(id.0);
        sql.push(" AND completed_at IS NULL AND is_paused <> ").arg(paused);
        self.change(sql, RecordKind::Backfill, audit).await
    }

    async fn cancel_backfill(&self, id: BackfillId, reason: &str, audit: &AuditRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("UPDATE backfill SET completed_at = ").with(audit.at);
        sql.push(", updated_at = ").arg(audit.at).push(" WHERE id = ").arg(id.0);
        sql.push(" AND completed_at IS NULL");
        if tx.run(sql).await? == 0 {
            return Ok(false);
        }
        let mut sql = Sql::new("UPDATE backfill_run SET progress = 'passed_over', reason = ").with(reason);
        sql.push(" WHERE backfill = ").arg(id.0).push(" AND progress = 'waiting'");
        tx.run(sql).await?;
        self.changed(tx, RecordKind::Backfill, audit).await?;
        Ok(true)
    }

    async fn complete_backfill(&self, id: BackfillId, at: Timestamp) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("UPDATE backfill SET completed_at = ").with(at);
        sql.push(", updated_at = ").arg(at).push(" WHERE id = ").arg(id.0);
        sql.push(" AND completed_at IS NULL");
        tx.run(sql).await?;
        tx.commit().await?;
        self.tell(Change::Record(RecordKind::Backfill));
        Ok(())
    }
}
