//! The administrator's side: see [`crate::Upkeep`].

use std::{collections::BTreeSet, path::Path};

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::RunKey;

use super::{
    SqlStore,
    commit::delete_runs,
    db::{Db, Tx},
    migrate, sqlite,
    statement::Sql,
};
use crate::{Change, Cleaned, Error, Expired, RecordKind, Upkeep};

#[async_trait]
impl Upkeep for SqlStore {
    async fn migrate(&self) -> Result<(), Error> {
        migrate::migrate(&self.db).await
    }

    async fn schema_version(&self) -> Result<u32, Error> {
        migrate::version(&self.db).await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        migrate::check_schema(&self.db).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.db.row(Sql::new("SELECT 1")).await.map(drop)
    }

    async fn clean(&self, before: Timestamp, what: Expired, limit: u32) -> Result<Cleaned, Error> {
        let mut tx = self.db.begin().await?;
        let cleaned = match what {
            Expired::Runs => clean_runs(&mut tx, before, limit.into()).await?,
            Expired::Transitions => clean_oldest(&mut tx, "transition", before, limit).await?,
            Expired::Audit => clean_oldest(&mut tx, "audit", before, limit).await?,
            Expired::Backfills => clean_backfills(&mut tx, before, limit).await?,
            Expired::History
            | Expired::Ticks
            | Expired::Deliveries
            | Expired::AssetEvents
            | Expired::Tokens => clean_found(&mut tx, before, what, limit).await?,
        };
        tx.commit().await?;
        if cleaned.rows > 0 {
            self.tell(Change::Record(RecordKind::Cleaned));
        }
        Ok(cleaned)
    }

    async fn expired(&self, before: Timestamp, what: Expired) -> Result<u64, Error> {
        let (_, _, found) = found(before, what);
        let sql = Sql { text: format!("SELECT count(*) FROM ({}) AS x", found.text), args: found.args };
        self.db.row(sql).await?.map_or(Ok(0), |mut f| f.number())
    }

    async fn backup(&self, to: &Path) -> Result<(), Error> {
        match &self.db {
            Db::Sqlite { read, .. } => sqlite::copy(read, to).await,
            Db::Postgres(_) => Err(Error::Invalid(
                "the database is PostgreSQL: back it up with its own pg_dump, and restore with pg_restore"
                    .into(),
            )),
        }
    }
}

/// What has expired: its table, the columns of its key, and a query of these.
fn found(before: Timestamp, what: Expired) -> (&'static str, &'static str, Sql) {
    let (table, key, and) = match what {
        Expired::Runs => return ("run", "key", runs_over("r.key", before)),
        Expired::Transitions => ("transition", "id", "at"),
        Expired::Audit => ("audit", "id", "at"),
        Expired::History => ("ti_history", "run, task, map_index, try_number", "ended_at"),
        Expired::Ticks => (
            "tick",
            "namespace, dag_id, first_at",
            "EXISTS (SELECT 1 FROM tick l WHERE l.namespace = x.namespace AND l.dag_id = x.dag_id
                AND l.first_at > x.first_at) AND last_at",
        ),
        Expired::Deliveries => {
            ("delivery", "id", "state IN ('sent', 'failed', 'undeliverable') AND changed_at")
        }
        Expired::AssetEvents => {
            ("asset_event", "id", "NOT EXISTS (SELECT 1 FROM queued_event q WHERE q.event = x.id) AND at")
        }
        Expired::Backfills => ("backfill", "id", "completed_at"),
        Expired::Tokens => ("token", "id", "expires_at"),
    };
    (table, key, Sql::new(format!("SELECT {key} FROM {table} x WHERE {and} < ")).with(before))
}

/// Runs that may go: over, not their DAG's latest, and not followed by one that is not over.
fn runs_over(columns: &str, before: Timestamp) -> Sql {
    const DATE: &str = "coalesce({}.logical_date, {}.run_after)";
    let date = |run: &str| DATE.replace("{}", run);
    let mut sql = Sql::new(format!("SELECT {columns} FROM run r WHERE r.state IN ('success', 'failed')"));
    sql.push(" AND r.ended_at < ").arg(before);
    sql.push(" AND EXISTS (SELECT 1 FROM run l WHERE l.namespace = r.namespace AND l.dag_id = r.dag_id");
    sql.push(" AND l.key > r.key) AND NOT EXISTS (SELECT 1 FROM run o WHERE o.namespace = r.namespace");
    sql.push(" AND o.dag_id = r.dag_id AND o.state IN ('queued', 'running')");
    sql.push(&format!(" AND {} > {}", date("o"), date("r")));
    sql.push(" AND NOT EXISTS (SELECT 1 FROM run m WHERE m.namespace = r.namespace AND m.dag_id = r.dag_id");
    sql.push(&format!(" AND m.run_type = r.run_type AND {} > {}", date("m"), date("r")));
    sql.push(&format!(" AND {} < {}))", date("m"), date("o")));
    sql
}

/// Deletes up to `limit` rows of what is found.
async fn clean_found(tx: &mut Tx, before: Timestamp, what: Expired, limit: u32) -> Result<Cleaned, Error> {
    let (table, key, found) = found(before, what);
    let text = format!("DELETE FROM {table} WHERE ({key}) IN ({}", found.text);
    let sql = Sql { text, args: found.args }.then(" LIMIT ").with(limit).then(")");
    let rows = tx.run(sql).await?;
    Ok(Cleaned { runs: 0, rows, more: rows == u64::from(limit) })
}

/// Deletes from a table whose numbers rise with its times. Only its first rows are looked at, so that nothing
/// has to be searched for.
async fn clean_oldest(tx: &mut Tx, table: &str, before: Timestamp, limit: u32) -> Result<Cleaned, Error> {
    let mut sql = Sql::new(format!("DELETE FROM {table} WHERE id IN (SELECT x.id FROM "));
    sql.push(&format!("(SELECT id, at FROM {table} ORDER BY id LIMIT ")).arg(limit);
    sql.push(") AS x WHERE x.at < ").arg(before).push(")");
    let rows = tx.run(sql).await?;
    Ok(Cleaned { runs: 0, rows, more: rows == u64::from(limit) })
}

/// Deletes backfills that are over: first their dates, which may be many.
async fn clean_backfills(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<Cleaned, Error> {
    let mut sql = Sql::new("DELETE FROM backfill_run WHERE (backfill, ix) IN (SELECT x.backfill, x.ix");
    sql.push(" FROM backfill_run x JOIN backfill b ON b.id = x.backfill WHERE b.completed_at < ");
    sql.arg(before).push(" LIMIT ").arg(limit).push(")");
    let rows = tx.run(sql).await?;
    if rows == u64::from(limit) {
        return Ok(Cleaned { runs: 0, rows, more: true });
    }
    let cleaned = clean_found(tx, before, Expired::Backfills, limit).await?;
    Ok(Cleaned { rows: cleaned.rows + rows, ..cleaned })
}

/// Deletes the runs that ended first, as many as have about `limit` rows together.
async fn clean_runs(tx: &mut Tx, before: Timestamp, limit: u64) -> Result<Cleaned, Error> {
    let mut sql = runs_over(
        "r.key, (SELECT count(*) FROM ti t WHERE t.run = r.key)
            + (SELECT count(*) FROM transition t WHERE t.run = r.key)",
        before,
    );
    sql.push(" ORDER BY r.ended_at, r.key LIMIT ").arg(limit);
    let mut runs = BTreeSet::new();
    let mut cleaned = Cleaned::default();
    for mut f in tx.rows(sql).await? {
        let (run, rows) = (RunKey(f.int()?), f.number::<u64>()? + 1);
        if rows > limit && runs.is_empty() {
            let parts = clean_parts(tx, run, limit).await?;
            if parts > 0 {
                return Ok(Cleaned { runs: 0, rows: parts, more: true });
            }
        } else if cleaned.rows + rows > limit {
            cleaned.more = true;
            break;
        }
        cleaned.rows += rows;
        runs.insert(run);
    }
    delete_runs(tx, &runs).await?;
    cleaned.runs = u64::try_from(runs.len()).unwrap_or(u64::MAX);
    if !cleaned.more {
        cleaned.more = cleaned.runs == limit;
        cleaned.rows += clean_versions(tx, before, limit).await?;
    }
    Ok(cleaned)
}

/// Of a run with more rows than should go at once: first what its task instances left, in parts. They
/// themselves go last, with the run.
async fn clean_parts(tx: &mut Tx, run: RunKey, limit: u64) -> Result<u64, Error> {
    let mut gone = 0;
    for (table, key) in [
        ("transition", "id"),
        ("xcom", "run, task, map_index, key"),
        ("ti_history", "run, task, map_index, try_number"),
        ("rendered", "run, task, map_index"),
    ] {
        let mut sql = Sql::new(format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} "));
        sql.push("WHERE run = ").arg(run.0).push(" LIMIT ").arg(limit - gone).push(")");
        gone += tx.run(sql).await?;
        if gone >= limit {
            break;
        }
    }
    Ok(gone)
}

/// Deletes versions that are neither current nor any run's.
async fn clean_versions(tx: &mut Tx, before: Timestamp, limit: u64) -> Result<u64, Error> {
    let mut sql = Sql::new(
        "SELECT v.namespace, v.dag_id, v.version FROM dag_version v JOIN dag d
            ON d.namespace = v.namespace AND d.dag_id = v.dag_id
         WHERE v.version < d.version AND NOT EXISTS (SELECT 1 FROM run r
            WHERE r.namespace = v.namespace AND r.dag_id = v.dag_id AND r.version = v.version)
         AND v.created_at < ",
    );
    sql.arg(before).push(" ORDER BY v.namespace, v.dag_id, v.version LIMIT ").arg(limit);
    let mut gone = 0;
    for mut f in tx.rows(sql).await? {
        let (namespace, dag_id, version) = (f.text()?, f.text()?, f.int()?);
        for table in ["dag_asset", "dag_tag", "dag_task", "dag_version"] {
            let mut sql = Sql::new(format!("DELETE FROM {table} WHERE namespace = ")).with(&namespace);
            sql.push(" AND dag_id = ").arg(&dag_id).push(" AND version = ").arg(version);
            tx.run(sql).await?;
        }
        gone += 1;
    }
    Ok(gone)
}
