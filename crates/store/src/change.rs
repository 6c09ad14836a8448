//! Telling others in this process what was written.

use std::collections::BTreeSet;

use updraft_core::{DagKey, RunKey, TiKey, TiStateName, record::Batch};

/// What was written. Told after the transaction has ended, to subscribers in this process only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// By the engine.
    Committed {
        /// DAGs of which something was written: themselves, versions, ticks, mean durations.
        dags: Vec<DagKey>,
        /// Runs that were written or deleted.
        runs: Vec<RunKey>,
        /// Task instances that were written, with the state they are in now.
        tis: Vec<(TiKey, TiStateName)>,
        /// Pools were written or deleted.
        pools: bool,
        /// The outbox has new rows.
        deliveries: bool,
    },
    /// By any server.
    Record(RecordKind),
}

/// The kinds of plain records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Connections.
    Connection,
    /// Variables.
    Variable,
    /// Accounts and tokens.
    Account,
    /// Import errors.
    ImportError,
    /// Notes of runs and task instances.
    Note,
    /// Configuration kept in the store.
    Config,
    /// States of deliveries.
    Delivery,
    /// Backfills and how far they are.
    Backfill,
    /// Deployments.
    Deployment,
    /// Retention deleted something.
    Cleaned,
}

impl Change {
    /// What this batch writes.
    pub(crate) fn of(batch: &Batch) -> Self {
        let mut dags: BTreeSet<DagKey> = batch.dags.keys().cloned().collect();
        dags.extend(batch.versions.iter().map(|row| row.key.clone()));
        dags.extend(batch.ticks.keys().map(|(dag, _)| dag.clone()));
        dags.extend(batch.stats.keys().map(|(dag, _)| dag.clone()));
        dags.extend(batch.deleted_dags.iter().cloned());
        let mut runs: BTreeSet<RunKey> = batch.runs.keys().copied().collect();
        runs.extend(&batch.deleted_runs);
        Self::Committed {
            dags: dags.into_iter().collect(),
            runs: runs.into_iter().collect(),
            tis: batch.tis.values().map(|row| (row.key, row.state.name())).collect(),
            pools: !batch.pools.is_empty() || !batch.deleted_pools.is_empty(),
            deliveries: !batch.deliveries.is_empty(),
        }
    }
}
