//! The engine's side: see [`crate::Ledger`].

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::broadcast;
use updraft_core::{
    AssetEvent, AssetEventId, DagKey, RunId, RunKey,
    record::{Batch, DagVersionRow, QueuedEvent, RunSnapshot, Snapshot, TiRow},
};

use super::{
    Reign, SqlStore,
    commit::write,
    db::{Fields, Tx},
    row::{
        ASSET, DAG, POOL, RUN, STATS, TI, TICK, asset_event_select, read_asset, read_asset_event, read_dag,
        read_pool, read_run, read_stats, read_ti, read_tick, read_version,
    },
    statement::Sql,
};
use crate::{Change, CommitError, Error, Fence, Leader, Ledger, Server, ServerSeen, ledger::FORGOTTEN_AFTER};

const VERSION_COLUMNS: &str = "v.namespace, v.dag_id, v.version, v.hash, v.created_at, v.spec";

/// The keys of the runs that a new leader has to know. What one of them depends on that is over, it asks for.
const LOADED_RUNS: &str = "SELECT key FROM run WHERE state IN ('queued', 'running')";

#[async_trait]
impl Ledger for SqlStore {
    async fn load(&self) -> Result<Snapshot, Error> {
        let mut tx = self.db.begin_read().await?;
        let counters =
            tx.row(Sql::new("SELECT last_run, last_delivery, last_asset_event, paused FROM engine")).await?;
        let (last_run, last_delivery, last_asset_event, paused) = match counters {
            Some(mut f) => (f.int()?, f.int()?, f.int()?, f.flag()?),
            None => (0, 0, 0, false),
        };
        Ok(Snapshot {
            dags: all(&mut tx, &DAG, "TRUE ORDER BY x.namespace, x.dag_id", read_dag).await?,
            versions: load_versions(&mut tx).await?,
            runs: load_runs(&mut tx).await?,
            pools: all(&mut tx, &POOL, "TRUE ORDER BY x.namespace, x.name", read_pool).await?,
            ticks: all(
                &mut tx,
                &TICK,
                "x.first_at = (SELECT max(y.first_at) FROM tick y
                    WHERE y.namespace = x.namespace AND y.dag_id = x.dag_id)
                 ORDER BY x.namespace, x.dag_id",
                read_tick,
            )
            .await?,
            stats: all(&mut tx, &STATS, "TRUE ORDER BY x.namespace, x.dag_id, x.task_id", read_stats).await?,
            assets: all(&mut tx, &ASSET, "TRUE ORDER BY x.id", read_asset).await?,
            queued_events: load_queued_events(&mut tx).await?,
            last_asset_event,
            last_run,
            last_delivery,
            paused,
        })
    }

    async fn load_run(&self, run: RunKey) -> Result<Option<(DagVersionRow, RunSnapshot)>, Error> {
        let mut tx = self.db.begin_read().await?;
        let sql = Sql::new(format!(
            "SELECT {VERSION_COLUMNS}, {} FROM run r JOIN dag_version v
             ON v.namespace = r.namespace AND v.dag_id = r.dag_id AND v.version = r.version WHERE r.key = ",
            RUN.select("r")
        ));
        let Some(mut f) = tx.row(sql.with(run.0)).await? else { return Ok(None) };
        let version = read_version(&mut f)?;
        let row = read_run(&mut f)?;
        let sql = format!("SELECT {} FROM ti t WHERE t.run = ", TI.select("t"));
        let rows = tx.rows(Sql::new(sql).with(run.0).then(" ORDER BY t.task, t.map_index")).await?;
        let tis = rows.into_iter().map(|mut f| read_ti(&mut f)).collect::<Result<_, _>>()?;
        let asset_events =
            load_asset_events(&mut tx, &run.0.to_string()).await?.remove(&run).unwrap_or_default();
        Ok(Some((version, RunSnapshot { run: row, tis, asset_events })))
    }

    async fn find_run(&self, dag: &DagKey, run_id: &RunId) -> Result<Option<RunKey>, Error> {
        let mut sql = Sql::new("SELECT key FROM run WHERE namespace = ");
        sql.arg(&*dag.namespace).push(" AND dag_id = ").arg(&*dag.dag_id);
        sql.push(" AND run_id = ").arg(&**run_id);
        self.db.row(sql).await?.map(|mut f| f.int().map(RunKey)).transpose()
    }

    async fn dag_version(&self, dag: &DagKey, version: Option<u32>) -> Result<Option<DagVersionRow>, Error> {
        let mut sql = Sql::new(format!(
            "SELECT {VERSION_COLUMNS} FROM dag_version v JOIN dag d
             ON d.namespace = v.namespace AND d.dag_id = v.dag_id WHERE d.namespace = "
        ));
        sql.arg(&*dag.namespace).push(" AND d.dag_id = ").arg(&*dag.dag_id).push(" AND v.version = ");
        match version {
            Some(version) => sql.arg(version),
            None => sql.push("d.version"),
        };
        self.db.row(sql).await?.map(|mut f| read_version(&mut f)).transpose()
    }

    async fn commit(&self, batch: &Batch, fence: Fence) -> Result<(), CommitError> {
        let mut guard = self.reign.lock().await;
        let mut tx = self.db.begin().await?;
        let began = Instant::now();
        let last_run = batch.runs.keys().last().map_or(0, |run| run.0);
        let last_delivery = batch.deliveries.iter().map(|row| row.id.0).max().unwrap_or(0);
        let last_event = batch.asset_events.last().map_or(0, |event| event.id.0);
        let mut sql = Sql::new("UPDATE engine SET commits = commits + 1, last_run = CASE WHEN last_run < ");
        sql.arg(last_run).push(" THEN ").arg(last_run).push(" ELSE last_run END, last_delivery = CASE WHEN ");
        sql.push("last_delivery < ").arg(last_delivery).push(" THEN ").arg(last_delivery);
        sql.push(" ELSE last_delivery END, last_asset_event = CASE WHEN last_asset_event < ").arg(last_event);
        sql.push(" THEN ")
            .arg(last_event)
            .push(" ELSE last_asset_event END WHERE id = 1 AND fence = ")
            .arg(fence.0)
            .push(" RETURNING commits");
        let Some(mut f) = tx.row(sql).await? else { return Err(CommitError::Fenced(fence)) };
        let number = f.int()?;

        let known = guard.filter(|reign| reign.fence == fence);
        if known.is_some_and(|reign| reign.in_doubt && number == reign.commits + 2) {
            // The batch was written although its connection broke before anybody could say so.
            *guard = Some(Reign { fence, commits: number - 1, in_doubt: false });
        } else {
            write(&mut tx, batch).await?;
            *guard = Some(Reign { fence, commits: number - 1, in_doubt: true });
            self.hold_on(&mut tx, began).await?;
            tx.commit().await?;
            *guard = Some(Reign { fence, commits: number, in_doubt: false });
        }
        if self.changes.receiver_count() > 0 {
            self.tell(Change::of(batch));
        }
        Ok(())
    }

    async fn acquire_leadership(
        &self,
        holder: &str,
        address: &str,
        ttl: Duration,
    ) -> Result<Option<Fence>, Error> {
        let clock = self.db.clock();
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("UPDATE engine SET fence = fence + 1, commits = 0, holder = ");
        sql.arg(holder).push(", address = ").arg(address);
        sql.push(", held_until = ").push(clock).push(" + ").arg(ttl_us(ttl));
        sql.push(" WHERE id = 1 AND (held_until <= ").push(clock).push(" OR holder = ").arg(holder);
        sql.push(") RETURNING fence");
        let fence = tx.row(sql).await?.map(|mut f| f.number().map(Fence)).transpose()?;
        tx.commit().await?;
        self.lease_us.store(ttl_us(ttl), Ordering::Relaxed);
        Ok(fence)
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("UPDATE engine SET held_until = ");
        sql.push(self.db.clock()).push(" + ").arg(ttl_us(ttl));
        sql.push(" WHERE id = 1 AND fence = ").arg(fence.0);
        let renewed = tx.run(sql).await? > 0;
        tx.commit().await?;
        Ok(renewed)
    }

    async fn release(&self, fence: Fence) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        tx.run(Sql::new("UPDATE engine SET held_until = 0 WHERE id = 1 AND fence = ").with(fence.0)).await?;
        tx.commit().await
    }

    async fn leader(&self) -> Result<Option<Leader>, Error> {
        let sql = format!(
            "SELECT holder, address, held_until, fence, held_until <= {} FROM engine WHERE fence > 0",
            self.db.clock()
        );
        let Some(mut f) = self.db.row(Sql::new(sql)).await? else { return Ok(None) };
        Ok(Some(Leader {
            holder: f.text()?,
            address: f.text()?,
            until: f.time()?,
            fence: Fence(f.number()?),
            expired: f.flag()?,
        }))
    }

    async fn see_server(&self, server: &Server) -> Result<(), Error> {
        let clock = self.db.clock();
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new(
            "INSERT INTO server (name, address, version, hostname, pid, key_id, started_at, seen_at)",
        );
        sql.push(" VALUES (")
            .arg(&server.name)
            .push(", ")
            .arg(&server.address)
            .push(", ")
            .arg(&server.version);
        sql.push(", ").arg(&server.hostname).push(", ").arg(server.pid).push(", ").arg(&server.key_id);
        sql.push(", ")
            .arg(server.started_at)
            .push(", ")
            .push(clock)
            .push(") ON CONFLICT (name) DO UPDATE SET");
        sql.push(" address = excluded.address, version = excluded.version, hostname = excluded.hostname,");
        sql.push(" pid = excluded.pid, key_id = excluded.key_id, started_at = excluded.started_at,");
        sql.push(" seen_at = excluded.seen_at");
        tx.run(sql).await?;
        let mut sql = Sql::new("DELETE FROM server WHERE seen_at < ");
        sql.push(clock).push(" - ").arg(ttl_us(FORGOTTEN_AFTER));
        tx.run(sql).await?;
        tx.commit().await
    }

    async fn forget_server(&self, name: &str) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        tx.run(Sql::new("DELETE FROM server WHERE name = ").with(name)).await?;
        tx.commit().await
    }

    async fn servers(&self) -> Result<Vec<ServerSeen>, Error> {
        let sql = format!(
            "SELECT name, address, version, hostname, pid, key_id, started_at, seen_at, {} - seen_at
             FROM server ORDER BY name",
            self.db.clock()
        );
        let mut tx = self.db.begin_read().await?;
        let rows = tx.rows(Sql::new(sql)).await?;
        let read = |mut f: Fields| {
            let server = Server {
                name: f.text()?,
                address: f.text()?,
                version: f.text()?,
                hostname: f.text()?,
                pid: f.number()?,
                key_id: f.text()?,
                started_at: f.time()?,
            };
            let (seen_at, silent_us) = (f.time()?, f.int()?);
            let silent_for = Duration::from_micros(u64::try_from(silent_us).unwrap_or(0));
            Ok(ServerSeen { server, seen_at, silent_for })
        };
        rows.into_iter().map(read).collect()
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }
}

impl SqlStore {
    /// Lengthens the lease in a commit that has taken long: as long as it holds the lease's row, nobody else can.
    async fn hold_on(&self, tx: &mut Tx, began: Instant) -> Result<(), Error> {
        let lease_us = self.lease_us.load(Ordering::Relaxed);
        if lease_us == 0 || began.elapsed().as_micros() < u128::from(lease_us.unsigned_abs() / 3) {
            return Ok(());
        }
        let mut sql = Sql::new("UPDATE engine SET held_until = ");
        sql.push(self.db.clock()).push(" + ").arg(lease_us).push(" WHERE id = 1");
        tx.run(sql).await.map(drop)
    }
}

fn ttl_us(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 2)
}

/// Rows of one table, which is `x`.
async fn all<T>(
    tx: &mut Tx,
    table: &super::table::Table,
    filter: &str,
    read: fn(&mut Fields) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let sql = format!("SELECT {} FROM {} x WHERE {filter}", table.select("x"), table.name);
    tx.rows(Sql::new(sql)).await?.into_iter().map(|mut f| read(&mut f)).collect()
}

async fn load_versions(tx: &mut Tx) -> Result<Vec<DagVersionRow>, Error> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM dag_version v WHERE (v.namespace, v.dag_id, v.version) IN (
            SELECT namespace, dag_id, version FROM dag
            UNION
            SELECT namespace, dag_id, version FROM run WHERE key IN ({LOADED_RUNS}))
         ORDER BY v.namespace, v.dag_id, v.version"
    );
    tx.rows(Sql::new(sql)).await?.into_iter().map(|mut f| read_version(&mut f)).collect()
}

async fn load_runs(tx: &mut Tx) -> Result<Vec<RunSnapshot>, Error> {
    let mut tis: BTreeMap<RunKey, Vec<TiRow>> = BTreeMap::new();
    let sql = format!(
        "SELECT {} FROM ti t WHERE t.run IN ({LOADED_RUNS}) ORDER BY t.run, t.task, t.map_index",
        TI.select("t")
    );
    for mut f in tx.rows(Sql::new(sql)).await? {
        let row = read_ti(&mut f)?;
        tis.entry(row.key.run).or_default().push(row);
    }
    let mut events = load_asset_events(tx, LOADED_RUNS).await?;
    let sql = format!("SELECT {} FROM run r WHERE r.key IN ({LOADED_RUNS}) ORDER BY r.key", RUN.select("r"));
    let rows = tx.rows(Sql::new(sql)).await?;
    rows.into_iter()
        .map(|mut f| {
            let run = read_run(&mut f)?;
            let tis = tis.remove(&run.key).unwrap_or_default();
            let asset_events = events.remove(&run.key).unwrap_or_default();
            Ok(RunSnapshot { run, tis, asset_events })
        })
        .collect()
}

/// What happened to assets, that runs were made of; the runs by a list or a query of their keys.
async fn load_asset_events(tx: &mut Tx, runs: &str) -> Result<BTreeMap<RunKey, Vec<Arc<AssetEvent>>>, Error> {
    let sql = format!(
        "SELECT q.run, {} FROM queued_event q JOIN asset_event x ON x.id = q.event JOIN asset a ON a.id = x.asset
         WHERE q.run IN ({runs}) ORDER BY q.run, q.event",
        asset_event_select()
    );
    let mut events: BTreeMap<RunKey, Vec<Arc<AssetEvent>>> = BTreeMap::new();
    for mut f in tx.rows(Sql::new(sql)).await? {
        events.entry(RunKey(f.int()?)).or_default().push(Arc::new(read_asset_event(&mut f)?));
    }
    Ok(events)
}

/// Events that DAGs have had no run for yet. One that several wait for is read once.
async fn load_queued_events(tx: &mut Tx) -> Result<Vec<QueuedEvent>, Error> {
    let sql = format!(
        "SELECT q.namespace, q.dag_id, {} FROM queued_event q JOIN asset_event x ON x.id = q.event
         JOIN asset a ON a.id = x.asset WHERE q.run IS NULL ORDER BY q.namespace, q.dag_id, q.event",
        asset_event_select()
    );
    let mut known: BTreeMap<AssetEventId, Arc<AssetEvent>> = BTreeMap::new();
    let rows = tx.rows(Sql::new(sql)).await?.into_iter();
    rows.map(|mut f| {
        let dag = DagKey { namespace: f.name()?, dag_id: f.name()? };
        let event = read_asset_event(&mut f)?;
        let event = known.entry(event.id).or_insert_with(|| Arc::new(event)).clone();
        Ok(QueuedEvent { dag, event })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use updraft_core::record::AuditRow;

    use super::*;
    use crate::{AuditQuery, Queries, Upkeep};

    fn batch(action: &str) -> Batch {
        let (user, action) = ("ada".into(), action.into());
        let (at, detail) = (Timestamp::UNIX_EPOCH, true.into());
        let row = AuditRow { at, user, action, namespace: None, dag: None, run: None, detail };
        Batch { audit: vec![row], ..Batch::default() }
    }

    async fn audited(store: &SqlStore) -> u64 {
        store.audit(&AuditQuery::default()).await.unwrap().total
    }

    #[tokio::test]
    async fn a_batch_in_doubt_is_written_once_whether_it_had_arrived_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::sqlite(&folder.path().join("updraft.db")).await.unwrap();
        store.migrate().await.unwrap();
        let fence = store.acquire_leadership("test", "", Duration::from_secs(60)).await.unwrap().unwrap();
        store.commit(&batch("first"), fence).await.unwrap();
        store.commit(&batch("second"), fence).await.unwrap();
        // It had arrived, and the answer was lost.
        *store.reign.lock().await = Some(Reign { fence, commits: 1, in_doubt: true });
        store.commit(&batch("second"), fence).await.unwrap();
        assert_eq!(audited(&store).await, 2);
        // It had not.
        *store.reign.lock().await = Some(Reign { fence, commits: 2, in_doubt: true });
        store.commit(&batch("third"), fence).await.unwrap();
        assert_eq!(audited(&store).await, 3);
        store.commit(&batch("third"), fence).await.unwrap();
        assert_eq!(audited(&store).await, 4);
    }

    #[tokio::test]
    async fn what_a_leader_loads_is_found_without_a_look_at_runs_that_are_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::sqlite(&folder.path().join("updraft.db")).await.unwrap();
        store.migrate().await.unwrap();
        let plan = store.db.rows(Sql::new(format!("EXPLAIN QUERY PLAN {LOADED_RUNS}"))).await.unwrap();
        let steps: Vec<String> = plan
            .into_iter()
            .map(|mut f| {
                // The step's number, that of the one it belongs to, and what is no more in use.
                let _: [i64; 3] = std::array::from_fn(|_| f.int().unwrap());
                f.text().unwrap()
            })
            .collect();
        assert!(steps.concat().contains("run_unfinished (state=?)"), "{steps:?}");
    }
}
