//! What is kept: runs, task instances and all else, in SQLite, PostgreSQL or memory.
//!
//! [`Store`] is what a server holds, as `Arc<dyn Store>`. It is seven traits, so that each can be read by
//! itself: [`Ledger`] for the engine (rebuild, commit, leadership), [`Queries`] for the API and the UI,
//! [`Records`] for what any server writes (connections, accounts, notes), [`Backfills`], [`Assets`],
//! [`Deployments`], and [`Upkeep`] for the administrator.
//!
//! # Architecture Invariant
//!
//! What the engine decides is written by [`Ledger::commit`] and by nothing else. The other writers never
//! touch a run's or a task instance's row, except that [`Upkeep::clean`] deletes runs that are over.
//!
//! Times are kept in whole microseconds since 1970. What is finer is cut off, so that whoever makes a
//! timestamp should round it first.

mod assets;
mod backfills;
mod change;
mod deployments;
mod error;
mod header;
mod ledger;
mod memory;
mod queries;
mod records;
mod sql;
#[cfg(feature = "test-postgres")]
pub mod test_postgres;
mod upkeep;

pub use self::{
    assets::{AssetEventListing, AssetEventQuery, AssetListing, AssetQuery, AssetUsage, AssetUse, Assets},
    backfills::{
        BackfillCounts, BackfillId, BackfillQuery, BackfillRow, BackfillRunListing, BackfillRunRow,
        Backfills, NewBackfill, Progress, Reprocess,
    },
    change::{Change, RecordKind},
    deployments::{DeploymentRow, Deployments, NewDeployment},
    error::{CommitError, Error, Outage},
    ledger::{Fence, Leader, Ledger, Server, ServerSeen},
    memory::MemoryStore,
    queries::{
        AuditListing, AuditQuery, Bounds, DagField, DagListing, DagQuery, DeliveryListing, DeliveryQuery,
        DeliveryState, LastRun, Order, Page, PoolListing, Queries, RunField, RunListing, RunQuery,
        TextFilter, TiField, TiListing, TiQuery, VersionListing, Window, XcomListing, XcomQuery,
    },
    records::{
        AccountId, AccountRow, Burst, Claimed, ConnectionRow, DeliveryEnd, ImportErrorRow, NewAccount,
        NewToken, Note, OutboxPart, Put, Records, SecretId, SecretRow, TokenId, TokenKind, TokenRow,
        VariableRow,
    },
    sql::{SCHEMA_VERSION, SqlStore, restore},
    upkeep::{Cleaned, Expired, Upkeep},
};

/// All that a server asks of what keeps its state.
pub trait Store: Ledger + Queries + Records + Backfills + Assets + Deployments + Upkeep {}

impl<T: Ledger + Queries + Records + Backfills + Assets + Deployments + Upkeep> Store for T {}
