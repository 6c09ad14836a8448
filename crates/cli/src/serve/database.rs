//! A database that comes up beside its server, as after a machine's start.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use updraft_store::{Error, Outage, SqlStore};

/// A PostgreSQL that is not there is waited for so long.
const WAITED_FOR: Duration = Duration::from_secs(60);

/// Between two tries to reach it.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// How often is said that it is waited for.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Opens the database. Waits for a PostgreSQL that takes no connections, or none yet; what else is wrong stays so.
pub(super) async fn reach(url: &str) -> Result<SqlStore, Error> {
    let since = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let error = match SqlStore::open(url).await {
            Ok(store) => {
                if told.is_some() {
                    info!("the database is there");
                }
                return Ok(store);
            }
            Err(error) => error,
        };
        let may_come = matches!(error, Error::Unavailable { outage: Outage::Unreachable, .. });
        let left = WAITED_FOR.saturating_sub(since.elapsed());
        if !may_come || left.is_zero() {
            return Err(error);
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            warn!(why = %error, left_s = left.as_secs(), "waiting for the database");
            told = Some(Instant::now());
        }
        sleep(TRY_EVERY).await;
    }
}
