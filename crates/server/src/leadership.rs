//! Holding the lease: see [`updraft_store::Ledger`] for its contract.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tracing::{info, warn};
use updraft_store::{Error, Fence, Store};

/// A leader that is not heard of for so long is replaced.
const LEASE: Duration = Duration::from_secs(10);

/// Between two tries to become the leader, or to reach the store.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// The right to lead, held for as long as this lives and the store agrees.
pub struct Reign {
    store: Arc<dyn Store>,
    fence: Fence,
    certain_until: watch::Receiver<Instant>,
    renewing: JoinHandle<()>,
}

impl Reign {
    /// Waits until this server leads. Where another does, `standby` is told, once.
    pub async fn begin(
        store: Arc<dyn Store>,
        holder: &str,
        address: &str,
        standby: &Notify,
    ) -> Result<Self, Error> {
        let (mut told_of_other, mut told_of_outage) = (false, false);
        let (fence, asked) = loop {
            let asked = Instant::now();
            match store.acquire_leadership(holder, address, LEASE).await {
                Ok(Some(fence)) => break (fence, asked),
                Ok(None) => {
                    if !std::mem::replace(&mut told_of_other, true) {
                        info!("another server leads; standing by");
                        standby.notify_one();
                    }
                }
                Err(error) if error.is_retryable() => {
                    if !std::mem::replace(&mut told_of_outage, true) {
                        warn!(%error, "can't reach the store; trying again until it is there");
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(TRY_EVERY).await;
        };
        info!(%fence, "this server leads");
        let (sender, certain_until) = watch::channel(asked + LEASE);
        let renewing = tokio::spawn(renew(store.clone(), fence, sender));
        Ok(Self { store, fence, certain_until, renewing })
    }

    /// What every commit has to name.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Until when it is certain that nobody else leads.
    pub fn certain_until(&self) -> watch::Receiver<Instant> {
        self.certain_until.clone()
    }

    /// Lets another lead at once.
    pub async fn end(self) {
        self.renewing.abort();
        if let Err(error) = self.store.release(self.fence).await {
            warn!(%error, "could not give up the lease; it runs out by itself");
        }
    }
}

impl Drop for Reign {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(store: Arc<dyn Store>, fence: Fence, certain_until: watch::Sender<Instant>) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        // Counted from before the question: the answer may be late, the lease is not longer for that.
        let asked = Instant::now();
        match tokio::time::timeout(LEASE, store.renew(fence, LEASE)).await {
            Ok(Ok(true)) => {
                certain_until.send_replace(asked + LEASE);
            }
            Ok(Ok(false)) => {
                warn!(%fence, "another server has taken over");
                certain_until.send_replace(asked);
                return;
            }
            Ok(Err(error)) => warn!(%error, "could not renew the lease"),
            Err(_) => warn!("the store did not answer in time to renew the lease"),
        }
    }
}
