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
            Expired::History => {
                let key = "run, task, map_index, try_number";
                let found = Sql::new(format!("SELECT {key} FROM ti_history WHERE ended_at < ")).with(before);
                clean_found(&mut tx, "ti_history", key, found, limit).await?
            }
            Expired::Ticks => {
                let mut found = Sql::new("SELECT namespace, dag_id, first_at FROM tick t WHERE last_at < ");
                found.arg(before).push(" AND EXISTS (SELECT 1 FROM tick l WHERE l.namespace = t.namespace");
                found.push(" AND l.dag_id = t.dag_id AND l.first_at > t.first_at)");
                clean_found(&mut tx, "tick", "namespace, dag_id, first_at", found, limit).await?
            }
            Expired::Deliveries => {
                let mut found = Sql::new("SELECT id FROM delivery WHERE changed_at < ").with(before);
                found.push(" AND state IN ('sent', 'failed', 'undeliverable')");
                clean_found(&mut tx, "delivery", "id", found, limit).await?
            }
            Expired::Tokens => {
                let found = Sql::new("SELECT id FROM token WHERE expires_at < ").with(before);
                clean_found(&mut tx, "token", "id", found, limit).await?
            }
        };
        tx.commit().await?;
        if cleaned.rows > 0 {
            self.tell(Change::Record(RecordKind::Cleaned));
        }
        Ok(cleaned)
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

/// Deletes what `found` finds, up to `limit` rows of it.
async fn clean_found(tx: &mut Tx, table: &str, key: &str, found: Sql, limit: u32) -> Result<Cleaned, Error> {
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

/// Deletes the runs that ended first, as many as have about `limit` rows together.
async fn clean_runs(tx: &mut Tx, before: Timestamp, limit: u64) -> Result<Cleaned, Error> {
    let mut sql = Sql::new(
        "SELECT r.key, (SELECT count(*) FROM ti t WHERE t.run = r.key)
            + (SELECT count(*) FROM transition t WHERE t.run = r.key) FROM run r
         WHERE r.state IN ('success', 'failed') AND r.ended_at < ",
    );
    sql.arg(before).push(" AND EXISTS (SELECT 1 FROM run l WHERE l.namespace = r.namespace");
    sql.push(" AND l.dag_id = r.dag_id AND l.key > r.key) ORDER BY r.ended_at, r.key LIMIT ").arg(limit);
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
        for table in ["dag_tag", "dag_task", "dag_version"] {
            let mut sql = Sql::new(format!("DELETE FROM {table} WHERE namespace = ")).with(&namespace);
            sql.push(" AND dag_id = ").arg(&dag_id).push(" AND version = ").arg(version);
            tx.run(sql).await?;
        }
        gone += 1;
    }
    Ok(gone)
}
