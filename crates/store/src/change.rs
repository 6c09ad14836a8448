//! Telling others in this process what was written.

use updraft_core::{DagKey, RunKey, TiKey, TiStateName};

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
    /// Retention deleted something.
    Cleaned,
}
