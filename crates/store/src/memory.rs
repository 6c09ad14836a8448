//! The store in memory, for simulation: what a database would have after each commit, without waiting.
//!
//! A copy of it is a database of its own. Runs are shared between copies until one of them changes, so that a
//! simulator can keep a copy for every moment at which it may want to crash.

mod assets;
mod backfills;
mod deployments;
mod filter;
mod outbox;
mod queries;
mod records;
mod tables;
mod upkeep;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;
use updraft_core::{
    DagKey, RunId, RunKey,
    record::{Batch, DagVersionRow, RunSnapshot, Snapshot},
};

use self::tables::Tables;
use crate::{
    Change, CommitError, Error, Fence, Leader, Ledger, Server, ServerSeen, ledger::FORGOTTEN_AFTER,
    sql::CHANGES_KEPT,
};

/// The store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    changes: broadcast::Sender<Arc<Change>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::of(Tables::default())
    }
}

impl Clone for MemoryStore {
    /// A copy that goes its own way from now on. It has no subscribers.
    fn clone(&self) -> Self {
        Self::of(self.tables().clone())
    }
}

impl MemoryStore {
    fn of(tables: Tables) -> Self {
        Self { tables: Mutex::new(tables), changes: broadcast::channel(CHANGES_KEPT).0 }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change of the tables is checked before it begins, so that a panic leaves them whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Change) {
        // Nobody may be listening, and then nobody is told.
        let _ = self.changes.send(Arc::new(change));
    }

    /// Writes a batch, whoever leads.
    pub fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.tables().apply(batch)?;
        self.tell(Change::of(batch));
        Ok(())
    }

    /// [`Ledger::commit`] without waiting.
    pub fn commit_now(&self, batch: &Batch, fence: Fence) -> Result<(), CommitError> {
        let mut tables = self.tables();
        if tables.engine.fence != fence.0 {
            return Err(CommitError::Fenced(fence));
        }
        tables.apply(batch)?;
        drop(tables);
        self.tell(Change::of(batch));
        Ok(())
    }

    /// [`Ledger::acquire_leadership`] by a clock that is given.
    pub fn elect(&self, holder: &str, address: &str, ttl: Duration, now: Timestamp) -> Option<Fence> {
        self.tables().elect(holder, address, ttl, now)
    }

    /// [`Ledger::renew`] by a clock that is given.
    pub fn renew_at(&self, fence: Fence, ttl: Duration, now: Timestamp) -> bool {
        self.tables().renew(fence, ttl, now)
    }

    /// [`Ledger::load`] without waiting.
    pub fn snapshot(&self) -> Snapshot {
        self.tables().snapshot()
    }
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn load(&self) -> Result<Snapshot, Error> {
        Ok(self.snapshot())
    }

    async fn load_run(&self, run: RunKey) -> Result<Option<(DagVersionRow, RunSnapshot)>, Error> {
        Ok(self.tables().load_run(run))
    }

    async fn find_run(&self, dag: &DagKey, run_id: &RunId) -> Result<Option<RunKey>, Error> {
        Ok(self.tables().run_ids.get(&(dag.clone(), run_id.clone())).copied())
    }

    async fn dag_version(&self, dag: &DagKey, version: Option<u32>) -> Result<Option<DagVersionRow>, Error> {
        let tables = self.tables();
        let version = version.or_else(|| tables.dags.get(dag).map(|row| row.version));
        Ok(version.and_then(|version| tables.versions.get(&(dag.clone(), version)).cloned()))
    }

    async fn commit(&self, batch: &Batch, fence: Fence) -> Result<(), CommitError> {
        self.commit_now(batch, fence)
    }

    async fn acquire_leadership(
        &self,
        holder: &str,
        address: &str,
        ttl: Duration,
    ) -> Result<Option<Fence>, Error> {
        Ok(self.elect(holder, address, ttl, Timestamp::now()))
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<bool, Error> {
        Ok(self.renew_at(fence, ttl, Timestamp::now()))
    }

    async fn release(&self, fence: Fence) -> Result<(), Error> {
        let mut tables = self.tables();
        if tables.engine.fence == fence.0 {
            tables.engine.held_until = Timestamp::UNIX_EPOCH;
        }
        Ok(())
    }

    async fn leader(&self) -> Result<Option<Leader>, Error> {
        let engine = &self.tables().engine;
        Ok((engine.fence > 0).then(|| Leader {
            holder: engine.holder.clone(),
            address: engine.address.clone(),
            until: engine.held_until,
            fence: Fence(engine.fence),
            expired: engine.held_until <= Timestamp::now(),
        }))
    }

    async fn see_server(&self, server: &Server) -> Result<(), Error> {
        let now = Timestamp::now();
        let servers = &mut self.tables().servers;
        servers.insert(server.name.clone(), (server.clone(), now));
        servers.retain(|_, (_, seen_at)| silent_for(now, *seen_at) < FORGOTTEN_AFTER);
        Ok(())
    }

    async fn forget_server(&self, name: &str) -> Result<(), Error> {
        self.tables().servers.remove(name);
        Ok(())
    }

    async fn servers(&self) -> Result<Vec<ServerSeen>, Error> {
        let now = Timestamp::now();
        let seen = |(server, seen_at): &(Server, Timestamp)| ServerSeen {
            server: server.clone(),
            seen_at: *seen_at,
            silent_for: silent_for(now, *seen_at),
        };
        Ok(self.tables().servers.values().map(seen).collect())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }
}

fn silent_for(now: Timestamp, seen_at: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(seen_at)).unwrap_or(Duration::ZERO)
}
