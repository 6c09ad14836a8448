//! What is over goes after a while: its rows, and then the files of runs that have no row any more.
//!
//! A crash between the two leaves files, which the next cleaning finds: it looks for what is old and whose run
//! is gone, whoever deleted that.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};
use updraft_store::{Cleaned, Expired, Store};

use crate::{
    blobs::{self, Blobs},
    leader::{Handle, Refusal, now},
    logs::Logs,
};

/// Between two cleanings.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// A step deletes about so many rows in a transaction of some milliseconds: no commit waits longer.
pub const ROWS_PER_STEP: u32 = 500;

/// Between two steps, so that what waits for the leader meanwhile comes first.
const PAUSE: Duration = Duration::from_millis(50);

/// What goes with the runs of an age.
const WITH_RUNS: &[Expired] = &[
    Expired::Runs,
    Expired::Ticks,
    Expired::Deliveries,
    Expired::Backfills,
    Expired::AssetEvents,
    Expired::Tokens,
];

/// How long what is over is kept; for ever where nothing is said.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Runs that are over, with all that is theirs: task instances, XComs, logs. Also ticks and deliveries, and
    /// tokens that have run out.
    pub runs: Option<SignedDuration>,
    /// The audit log.
    pub audit: Option<SignedDuration>,
}

/// Why cleaning stopped. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] updraft_store::Error),
    /// The leader did not do it.
    #[error(transparent)]
    Leader(#[from] Refusal),
    /// The logs can't be read or written.
    #[error("the logs can't be cleaned: {0}")]
    Logs(io::Error),
    /// The blob store fails.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
}

/// What a cleaning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Runs.
    pub runs: u64,
    /// Rows of all kinds, the runs among them.
    pub rows: u64,
    /// Runs whose logs were removed.
    pub logs: u64,
    /// Blobs.
    pub blobs: u64,
}

impl Removed {
    /// Adds what a step deleted; whether there may be more.
    pub fn add(&mut self, cleaned: Cleaned) -> bool {
        self.runs += cleaned.runs;
        self.rows += cleaned.rows;
        cleaned.more
    }
}

/// Cleans, for as long as the server lives and whenever it leads.
pub struct Retention {
    /// Where the state is.
    pub store: Arc<dyn Store>,
    /// The way to the leader, who alone deletes runs.
    pub leader: Handle,
    /// The logs of attempts.
    pub logs: Arc<dyn Logs>,
    /// Values that are too large for the store.
    pub blobs: Arc<Blobs>,
    /// How long what is over is kept.
    pub config: Config,
}

impl Retention {
    /// Cleans now and every hour.
    pub async fn run(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let mut removed = Removed::default();
            let cleaned = self.clean(now(), &mut removed).await;
            let Removed { runs, rows, logs, blobs } = removed;
            if removed != Removed::default() {
                info!(runs, rows, logs, blobs, "removed what is over for longer than it is to be kept");
            }
            match cleaned {
                Ok(()) => {}
                // The server stops, or another leads.
                Err(Error::Leader(refusal)) => info!(%refusal, "retention goes on later"),
                Err(error) => warn!(%error, "could not remove all that is over; trying again in an hour"),
            }
        }
    }

    async fn clean(&self, now: Timestamp, removed: &mut Removed) -> Result<(), Error> {
        let since = |age: Option<SignedDuration>| age.and_then(|age| now.checked_sub(age).ok());
        let (runs, audit) = (since(self.config.runs), since(self.config.audit));
        let kinds = WITH_RUNS.iter().map(|what| (*what, runs)).chain([(Expired::Audit, audit)]);
        for (what, before) in kinds {
            let Some(before) = before else { continue };
            while removed.add(self.leader.clean(before, what, ROWS_PER_STEP).await??) {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if let Some(before) = runs {
            remove_files(&*self.store, &[&*self.logs], &self.blobs, before, removed).await?;
        }
        Ok(())
    }
}

/// Removes logs and blobs that are older than `before` and whose run is gone.
pub async fn remove_files(
    store: &dyn Store,
    logs: &[&dyn Logs],
    blobs: &Blobs,
    before: Timestamp,
    removed: &mut Removed,
) -> Result<(), Error> {
    for logs in logs {
        removed.logs += logs.remove_gone(store, before).await?;
        logs.purge().await.map_err(Error::Logs)?;
    }
    let mut gone = HashMap::new();
    for (run, path) in blobs.before(before).await? {
        let gone = match gone.get(&run) {
            Some(gone) => *gone,
            None => *gone.entry(run).or_insert(store.run(run).await?.is_none()),
        };
        if gone {
            blobs.remove(&path).await?;
            removed.blobs += 1;
        }
    }
    Ok(())
}
