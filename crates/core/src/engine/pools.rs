//! Pools: how many task instances may be at work at a time, and how many may begin in so long.
//!
//! The time at which the next may begin is in the pool's row, and so in the commit of the one that begins: a
//! restart lets nobody begin too early.

use jiff::{SignedDuration, Timestamp};

use super::{
    Engine, Timer,
    dispatch::Limit,
    run::{Run, takes_pool_slots},
};
use crate::{
    DagKey, Namespace, PoolName, TaskKind, TiKey,
    input::{CommandError, Reply},
    record::PoolRow,
};

/// The pool that is always there (Airflow's), without a limit until someone sets one.
const DEFAULT_POOL: &str = "default_pool";

pub(super) type PoolKey = (Namespace, PoolName);

#[derive(Debug)]
pub(super) struct Pool {
    pub row: PoolRow,
    /// Slots that are taken.
    pub used: u32,
    /// The time of the next has not come yet. [`Timer::Pool`] tells when it has.
    waits: bool,
}

impl Engine {
    pub(super) fn set_pool(&mut self, now: Timestamp, row: PoolRow) -> Result<Reply, CommandError> {
        let key = (row.namespace.clone(), row.name.clone());
        if row.name.is_empty() {
            return Err(CommandError::Invalid("a pool needs a name".into()));
        }
        // When the next may begin is no affair of who sets a pool.
        let next_at = self.pools.get(&key).and_then(|pool| pool.row.next_at);
        self.put_pool(now, PoolRow { next_at, ..row });
        if let Some(pool) = self.pools.get(&key) {
            self.out.batch.deleted_pools.remove(&key);
            self.out.batch.pools.insert(key.clone(), pool.row.clone());
        }
        self.recount_pool(&key);
        let limit = Limit::Pool(key.0, key.1);
        self.unpark(&limit);
        self.changed_limits.insert(limit);
        Ok(Reply::Done)
    }

    pub(super) fn delete_pool(
        &mut self,
        namespace: Namespace,
        name: PoolName,
    ) -> Result<Reply, CommandError> {
        if &*name == DEFAULT_POOL {
            return Err(CommandError::Invalid(format!(
                "`{DEFAULT_POOL}` can't be deleted; set its slots instead"
            )));
        }
        let key = (namespace, name);
        match self.pools.remove(&key) {
            Some(_) => {
                self.out.batch.pools.remove(&key);
                self.out.batch.deleted_pools.insert(key.clone());
                self.changed_limits.insert(Limit::Pool(key.0, key.1));
                Ok(Reply::Done)
            }
            None => Err(CommandError::NotFound(format!("there is no pool `{}`", key.1))),
        }
    }

    pub(super) fn put_pool(&mut self, now: Timestamp, mut row: PoolRow) {
        let key = (row.namespace.clone(), row.name.clone());
        // Not longer than for one that begins now: its rate, or the clock, may have been another.
        let latest = row.rate.and_then(|rate| now.checked_add(rate.every()).ok());
        row.next_at =
            row.next_at.zip(latest).map(|(next, latest)| next.min(latest)).filter(|next| *next > now);
        if let Some(next) = row.next_at {
            self.timers.insert((next, Timer::Pool(key.clone())));
        }
        let (used, waits) = (self.pools.get(&key).map_or(0, |pool| pool.used), row.next_at.is_some());
        self.pools.insert(key, Pool { row, used, waits });
    }

    pub(super) fn ensure_default_pool(&mut self, now: Timestamp, dag: &DagKey) {
        let name: PoolName = DEFAULT_POOL.into();
        if self.pools.contains_key(&(dag.namespace.clone(), name.clone())) {
            return;
        }
        let row = PoolRow {
            namespace: dag.namespace.clone(),
            name,
            slots: None,
            rate: None,
            next_at: None,
            description: "Where tasks are that name no pool".into(),
            include_deferred: false,
        };
        self.out.batch.pools.insert((row.namespace.clone(), row.name.clone()), row.clone());
        self.put_pool(now, row);
    }

    /// Slots of a pool that task instances take now, counted afresh: for one that was made or changed.
    fn recount_pool(&mut self, key: &PoolKey) {
        let Some(pool) = self.pools.get(key).map(|pool| &pool.row) else { return };
        let in_pool = |run: &&Run| run.row.dag.namespace == key.0;
        let used = self
            .runs
            .values()
            .filter(in_pool)
            .flat_map(|run| run.all().map(move |ti| (run.dag.task(ti.key.task), &ti.state)))
            .filter(|(spec, state)| spec.pool == key.1 && takes_pool_slots(pool, spec, state))
            .map(|(spec, _)| spec.pool_slots)
            .sum();
        if let Some(pool) = self.pools.get_mut(key) {
            pool.used = used;
        }
    }

    /// How many more a pool has room for, and why there is none.
    pub(super) fn pool_room(&self, key: &PoolKey, ti: TiKey) -> Result<u32, String> {
        let name = &key.1;
        let Some(pool) = self.pools.get(key) else {
            return Err(format!(
                "there is no pool `{name}`: create it with `updraft pools set {name} SLOTS`"
            ));
        };
        let Some((_, spec)) = self.spec(ti) else { return Ok(1) };
        let begins = spec.kind == TaskKind::Run;
        let most = match pool.row.rate.filter(|_| begins) {
            Some(rate) if pool.waits => {
                return Err(format!("pool `{name}` lets {rate} begin, one after the other"));
            }
            Some(_) => 1,
            None => u32::MAX,
        };
        let Some(slots) = pool.row.slots else { return Ok(most) };
        if !begins && !pool.row.include_deferred {
            return Ok(u32::MAX);
        }
        if spec.pool_slots > slots {
            return Err(format!("it takes {} slots of pool `{name}`, which has {slots}", spec.pool_slots));
        }
        match slots.saturating_sub(pool.used) / spec.pool_slots.max(1) {
            0 => {
                let slots = if slots == 1 { "1 slot".into() } else { format!("{slots} slots") };
                let taken =
                    if pool.used == 1 { "1 is taken".into() } else { format!("{} are taken", pool.used) };
                Err(format!("pool `{name}` has {slots}, and {taken}"))
            }
            room => Ok(room.min(most)),
        }
    }

    /// A task instance begins. Where its pool has a rate, the next has to wait.
    pub(super) fn pace(&mut self, now: Timestamp, ti: TiKey) {
        let Some((run, spec)) = self.spec(ti) else { return };
        let key = (run.row.dag.namespace.clone(), spec.pool.clone());
        let Some(pool) = self.pools.get_mut(&key) else { return };
        let Some(rate) = pool.row.rate else { return };
        let next = now.saturating_add(rate.every()).unwrap_or(now);
        (pool.row.next_at, pool.waits) = (Some(next), true);
        self.out.batch.pools.insert(key.clone(), pool.row.clone());
        self.timers.insert((next, Timer::Pool(key)));
    }

    /// The next may begin, unless another has meanwhile.
    pub(super) fn on_pool_due(&mut self, now: Timestamp, key: PoolKey) {
        let Some(pool) = self.pools.get_mut(&key) else { return };
        if pool.row.next_at.is_none_or(|next| next <= now) {
            pool.waits = false;
            self.unpark(&Limit::Pool(key.0, key.1));
        }
    }

    /// The clock was set; who waits goes on waiting for as long as before.
    pub(super) fn move_pools(&mut self, by: SignedDuration) {
        for (key, pool) in self.pools.iter_mut().filter(|(_, pool)| pool.waits) {
            let Some(next) = pool.row.next_at.and_then(|next| next.saturating_add(by).ok()) else { continue };
            pool.row.next_at = Some(next);
            self.out.batch.pools.insert(key.clone(), pool.row.clone());
            self.timers.insert((next, Timer::Pool(key.clone())));
        }
    }
}
