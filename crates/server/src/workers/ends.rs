//! The ends of logs that come with the ends of their attempts. No worker keeps them: what can't be written when it comes is
//! kept here, and tried again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{info, warn};

use crate::{http::Shared, logs::Part};

/// What is told with the end of a log waits so long for a store that does not take it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// Between two tries: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// It is tried for so long.
const TRIED_FOR: Duration = Duration::from_secs(6 * 60 * 60);

/// So many bytes are kept.
static ROOM: Semaphore = Semaphore::const_new(64 << 20);

/// Adds the ends of logs. Returns when they are there, or when they are kept here because they can't be.
pub(super) async fn add(shared: &Arc<Shared>, parts: Vec<Part>) {
    let left = match tokio::time::timeout(WRITTEN_WITHIN, tried(shared, parts.clone())).await {
        Ok(left) => left,
        Err(_) => parts,
    };
    if left.is_empty() {
        return;
    }
    let bytes = left.iter().map(|part| part.bytes.len()).sum::<usize>();
    match ROOM.try_acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)) {
        Ok(room) => {
            warn!(logs = left.len(), "the ends of logs can't be written yet; trying again");
            tokio::spawn(add_later(shared.clone(), left, room));
        }
        Err(_) => warn!(logs = left.len(), bytes, "the ends of logs are lost: more can't be kept here"),
    }
}

/// Those that can't be added.
async fn tried(shared: &Shared, parts: Vec<Part>) -> Vec<Part> {
    let added = shared.logs.append(parts.clone()).await;
    let failed = parts.into_iter().zip(added).filter_map(|(part, added)| {
        let error = added.err()?;
        warn!(log = part.log.path, %error, "the end of a log can't be written");
        Some(part)
    });
    failed.collect()
}

async fn add_later(shared: Arc<Shared>, mut left: Vec<Part>, _room: SemaphorePermit<'static>) {
    let (count, began, mut pause) = (left.len(), Instant::now(), PAUSES.0);
    while !left.is_empty() {
        if began.elapsed() > TRIED_FOR {
            warn!(logs = left.len(), "the ends of logs are lost: they could not be written for hours");
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
        let mut wanted = Vec::with_capacity(left.len());
        for part in left {
            // A run that was deleted meanwhile has no log.
            if !matches!(shared.store.run(part.log.run).await, Ok(None)) {
                wanted.push(part);
            }
        }
        left = tried(&shared, wanted).await;
    }
    info!(logs = count, "the ends of logs that could not be written are written");
}
