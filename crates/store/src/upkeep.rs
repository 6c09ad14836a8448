//! What an administrator asks of the store.

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Error;

/// What retention deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Runs that ended, with all that is theirs; but never a DAG's latest run, nor one that a run which is
    /// not over follows: its tasks may depend on it. Versions that no run is on any more and that are not
    /// current go with the last such run.
    Runs,
    /// Changes of state, also of runs that stay.
    Transitions,
    /// Earlier tries, also of runs that stay.
    History,
    /// The audit log.
    Audit,
    /// Ticks; but never a DAG's last range.
    Ticks,
    /// Deliveries that came to an end, in whatever way.
    Deliveries,
    /// Backfills that are over.
    Backfills,
    /// Events of assets that no DAG waits with, and that no run was made of that is still there.
    AssetEvents,
    /// API and join tokens that have run out.
    Tokens,
}

impl Expired {
    /// Everything there is.
    pub const ALL: &'static [Self] = &[
        Self::Runs,
        Self::Transitions,
        Self::History,
        Self::Audit,
        Self::Ticks,
        Self::Deliveries,
        Self::Backfills,
        Self::AssetEvents,
        Self::Tokens,
    ];
}

/// What one step of cleaning deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Runs.
    pub runs: u64,
    /// Rows of all kinds, the runs among them.
    pub rows: u64,
    /// There may be more: call again.
    pub more: bool,
}

/// What an administrator asks of the store.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Brings the database's schema up to this program's. Does nothing where it is there already.
    async fn migrate(&self) -> Result<(), Error>;

    /// The version the database's schema is at; 0 before the first migration.
    async fn schema_version(&self) -> Result<u32, Error>;

    /// Whether the schema is the one this program needs, for who may not migrate: an error says what to do
    /// where it is older, newer or changed.
    async fn check_schema(&self) -> Result<(), Error>;

    /// Asks the database for a sign of life.
    async fn ping(&self) -> Result<(), Error>;

    /// Deletes what ended, or was written, before `before`: about `limit` rows in one short transaction, so
    /// that a commit never waits for long. Call it again while it says that there may be more.
    async fn clean(&self, before: Timestamp, what: Expired, limit: u32) -> Result<Cleaned, Error>;

    /// How many runs, or rows of another kind, [`Self::clean`] would delete if it were called until there is
    /// no more.
    async fn expired(&self, before: Timestamp, what: Expired) -> Result<u64, Error>;

    /// Writes a complete, consistent copy of a SQLite database to a file that must not exist yet, while the
    /// server goes on. Refused for the others: of PostgreSQL `pg_dump` makes the backups.
    async fn backup(&self, to: &Path) -> Result<(), Error>;
}
