//! What the engine asks of the store: its state back, its batches written, and the right to write them.
//!
//! # The lease
//!
//! Many servers may stand on one database; one of them leads. Who leads is one row, with the name of the
//! holder, the address at which others find it, the end of its lease, and a fence.
//!
//! - **Taking.** [`Ledger::acquire_leadership`] succeeds when nobody holds the lease, when it has run out,
//!   or when the holder asks again under its own name. Each success raises the fence by at least one, and
//!   the fence never falls. A process that comes
//!   back after a crash under its old name therefore leads at once and needn't wait for its own lease to
//!   run out; and so no two living processes may use one name. A server's
//!   name is random and lies in its home folder, which a lock gives to one process at a time.
//! - **Whose clock.** The end of the lease is compared with the database's clock alone: PostgreSQL's
//!   `clock_timestamp()`, and for SQLite the clock of the machine, since all its users are on it. Servers'
//!   clocks may differ as they like.
//! - **Holding.** The leader calls [`Ledger::renew`] well before the lease runs out, at about a third of it.
//!   It counts the lease on its own monotonic clock from *before* it sent the request. When that time has
//!   passed without a renewal it stops: it sends nothing more to workers and answers no command. It may
//!   have lost the lease without having been told.
//! - **What is guaranteed.** Not that there is only one process that thinks it leads: that can't be had. But
//!   every commit names its fence, and in the transaction that writes the batch the row of the lease is
//!   locked and compared. So the batches of one fence are all written before the first batch of a higher
//!   one, and none after. A lease that has run out and that nobody took still commits: it can't harm.
//! - **Giving up.** [`Ledger::release`] ends the lease at once; the fence stays, so that a late commit of the
//!   one who gave it up still counts until another takes it. [`CommitError::Fenced`] and a renewal that
//!   returns `false` mean the same: another leads, forget everything.
//! - **In doubt.** When a connection breaks amid a commit, nobody knows whether it was written. The row also
//!   counts the commits of its fence. The leader gives the same batch again; the store sees by the count
//!   whether it is there already, and then writes nothing and says that it is done. This is why a batch that
//!   failed with a retryable error must be the next one given.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;
use updraft_core::{
    DagKey, RunId, RunKey,
    record::{Batch, DagVersionRow, RunSnapshot, Snapshot},
};

use crate::{Change, CommitError, Error};

/// The number of a reign. Every commit carries it, and the store takes only the highest there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who leads, or did so last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub holder: String,
    /// Where others reach it.
    pub address: String,
    /// When its lease ends, by the database's clock.
    pub until: Timestamp,
    /// Its fence.
    pub fence: Fence,
    /// Whether the lease has run out, by the database's clock.
    pub expired: bool,
}

/// A server, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, under which it leads.
    pub name: String,
    /// Where others reach it.
    pub address: String,
    /// The program's version.
    pub version: String,
    /// The machine's name.
    pub hostname: String,
    /// Its process id there.
    pub pid: u32,
    /// What tells its key from others: servers of one database have the same.
    pub key_id: String,
    /// When it was started, by its own clock.
    pub started_at: Timestamp,
}

/// A server that says, or said, that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSeen {
    /// What it says of itself.
    pub server: Server,
    /// When it last said so, by the database's clock.
    pub seen_at: Timestamp,
    /// For how long it has said nothing, by that clock.
    pub silent_for: Duration,
}

/// Who said nothing for so long is forgotten.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What the engine asks of the store.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Everything a new leader has to know. To be asked for after leadership was acquired, so that no other
    /// leader writes any more.
    ///
    /// The runs are those that are not over; and of each DAG its latest run and the run directly before each
    /// of those, over or not, for `depends_on_past`.
    async fn load(&self) -> Result<Snapshot, Error>;

    /// A run with its task instances and the version it is on.
    async fn load_run(&self, run: RunKey) -> Result<Option<(DagVersionRow, RunSnapshot)>, Error>;

    /// The number of the run with this name.
    async fn find_run(&self, dag: &DagKey, run_id: &RunId) -> Result<Option<RunKey>, Error>;

    /// One version of a DAG, or its current one.
    async fn dag_version(&self, dag: &DagKey, version: Option<u32>) -> Result<Option<DagVersionRow>, Error>;

    /// Writes all of the batch, or nothing: deletions first, then the rest.
    async fn commit(&self, batch: &Batch, fence: Fence) -> Result<(), CommitError>;

    /// Tries to become the leader. `None` while another holds a lease that has not run out.
    async fn acquire_leadership(
        &self,
        holder: &str,
        address: &str,
        ttl: Duration,
    ) -> Result<Option<Fence>, Error>;

    /// Holds the lease for another `ttl` from now. `false` where another has taken it.
    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<bool, Error>;

    /// Ends the lease, where it is still this one.
    async fn release(&self, fence: Fence) -> Result<(), Error>;

    /// Who leads; `None` before the first ever.
    async fn leader(&self) -> Result<Option<Leader>, Error>;

    /// Notes that a server is there, and forgets who said nothing for a day.
    async fn see_server(&self, server: &Server) -> Result<(), Error>;

    /// Forgets a server that goes.
    async fn forget_server(&self, name: &str) -> Result<(), Error>;

    /// The servers, by name.
    async fn servers(&self) -> Result<Vec<ServerSeen>, Error>;

    /// What is written from now on, by this process. A subscriber that falls too far behind is told that it
    /// lagged and should ask anew.
    fn subscribe(&self) -> broadcast::Receiver<std::sync::Arc<Change>>;
}
