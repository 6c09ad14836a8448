//! The store on a database: SQLite and PostgreSQL.
//!
//! Both take the same statements, apart from a few words that [`Db`] knows, so that there is one
//! implementation of each trait and not two.

mod assets;
mod backfills;
mod commit;
mod db;
mod deployments;
mod ledger;
mod migrate;
mod postgres;
mod queries;
mod records;
mod row;
mod sqlite;
mod statement;
mod table;
mod upkeep;

use std::sync::{Arc, atomic::AtomicI64};

use tokio::sync::{Mutex, broadcast};

use self::db::Db;
pub use self::{migrate::SCHEMA_VERSION, sqlite::restore};
use crate::{Change, Error, Fence};

/// How many changes a subscriber may be behind.
pub(crate) const CHANGES_KEPT: usize = 1024;

/// The store on SQLite or PostgreSQL.
#[derive(Debug)]
pub struct SqlStore {
    db: Db,
    changes: broadcast::Sender<Arc<Change>>,
    /// What the commits of the current fence have come to. Held during a commit: there is one leader, and
    /// it commits one batch after the other.
    reign: Mutex<Option<Reign>>,
    /// How long the lease is that was last taken, in microseconds.
    lease_us: AtomicI64,
}

/// The commits of a fence, as far as this process knows.
#[derive(Clone, Copy, Debug)]
struct Reign {
    fence: Fence,
    /// How many are known to be written.
    commits: i64,
    /// One more was sent, and nobody said whether it was written.
    in_doubt: bool,
}

impl SqlStore {
    /// Opens a database by its URL: `sqlite://PATH`, `sqlite::memory:` not among them, or `postgres://…`.
    /// A SQLite file that is not there is made. The schema is not touched: see [`crate::Upkeep::migrate`].
    pub async fn open(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            Self::sqlite(std::path::Path::new(path)).await
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Self::postgres(url).await
        } else {
            let scheme = url.split(':').next().unwrap_or_default();
            Err(Error::Invalid(format!(
                "`{scheme}:` is no database that Updraft knows: the URL has to begin with sqlite:// or postgres://"
            )))
        }
    }

    fn new(db: Db) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        Self { db, changes, reign: Mutex::new(None), lease_us: AtomicI64::new(0) }
    }

    fn tell(&self, change: Change) {
        // Nobody may be listening, and then nobody is told.
        let _ = self.changes.send(Arc::new(change));
    }

    /// Closes all connections, after what is under way.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
