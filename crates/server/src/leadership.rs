//! Holding the lease: see [`updraft_store::Ledger`] for its contract; and knowing who holds it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle};
use tracing::{info, warn};
use updraft_store::{Error, Fence, Store};

/// Between two tries to become the leader, or to reach the store.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// A database that is there answers within this, though it wait for a leader's commit.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Who leads, as far as a server knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lead {
    /// Nobody, or it is not known.
    #[default]
    Nobody,
    /// This server.
    Here,
    /// Another, which is reached at this address.
    At(String),
}

impl Lead {
    /// Waits until this server leads no more.
    pub(crate) async fn over(lead: &mut watch::Receiver<Self>) {
        if lead.wait_for(|lead| *lead != Self::Here).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }

    /// For a server beside which there is no other.
    pub fn always_here() -> watch::Receiver<Self> {
        watch::channel(Self::Here).1
    }
}

/// A server that may lead.
pub struct Candidate {
    /// Where the lease is.
    pub store: Arc<dyn Store>,
    /// Its name. No two living servers have the same.
    pub name: String,
    /// Where others reach it.
    pub address: String,
    /// A leader that is not heard of for so long is replaced.
    pub lease: Duration,
    /// Whether there is no other server.
    pub alone: bool,
    /// Who leads is told here.
    pub lead: watch::Sender<Lead>,
}

impl Candidate {
    /// Waits until this server leads, and says meanwhile who does.
    pub async fn elected(&self) -> Result<Reign, Error> {
        let mut told_of_outage = false;
        let (fence, asked) = loop {
            let asked = Instant::now();
            match self.try_once().await {
                Ok(Some(fence)) => break (fence, asked),
                Ok(None) => {}
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
        self.lead.send_replace(Lead::Here);
        let (sender, certain_until) = watch::channel(asked + self.lease);
        let renewing = tokio::spawn(renew(self.store.clone(), fence, self.lease, sender));
        Ok(Reign { store: self.store.clone(), fence, certain_until, renewing })
    }

    async fn try_once(&self) -> Result<Option<Fence>, Error> {
        // Over a network a database that is gone says nothing, for minutes.
        let fence = self.store.acquire_leadership(&self.name, &self.address, self.lease);
        let Ok(fence) = tokio::time::timeout(ANSWERS_WITHIN, fence).await else { return Ok(None) };
        let fence = fence?;
        if fence.is_none() {
            let other = tokio::time::timeout(ANSWERS_WITHIN, self.store.leader()).await;
            let Ok(other) = other else { return Ok(None) };
            let other = other?;
            // Beside one that stands alone there is none who would answer for it: it waits for what is left of a lease.
            let other = other.filter(|other| !other.expired && !self.alone);
            self.tell(other.map_or(Lead::Nobody, |other| Lead::At(other.address)));
        }
        Ok(fence)
    }

    fn tell(&self, lead: Lead) {
        self.lead.send_if_modified(|known| {
            let is_news = *known != lead;
            if is_news {
                if let Lead::At(address) = &lead {
                    info!(address, "another server leads; standing by");
                }
                *known = lead;
            }
            is_news
        });
    }
}

/// The right to lead, held for as long as this lives and the store agrees.
pub struct Reign {
    store: Arc<dyn Store>,
    fence: Fence,
    certain_until: watch::Receiver<Instant>,
    renewing: JoinHandle<()>,
}

impl Reign {
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
        match tokio::time::timeout(ANSWERS_WITHIN, self.store.release(self.fence)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "could not give up the lease; it runs out by itself"),
            Err(_) => warn!("the store did not answer in time to give up the lease; it runs out by itself"),
        }
    }
}

impl Drop for Reign {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(store: Arc<dyn Store>, fence: Fence, lease: Duration, certain_until: watch::Sender<Instant>) {
    let mut wait = lease / 3;
    loop {
        tokio::time::sleep(wait).await;
        wait = lease / 3;
        // Counted from before the question: the answer may be late, the lease is not longer for that.
        let asked = Instant::now();
        match tokio::time::timeout(lease, store.renew(fence, lease)).await {
            Ok(Ok(true)) => {
                certain_until.send_replace(asked + lease);
                // The answer came late: behind a long commit.
                wait = wait.saturating_sub(asked.elapsed());
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

#[cfg(test)]
mod tests {
    use updraft_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn who_stands_alone_takes_no_lease_of_another_for_a_server_to_ask() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let lease = Duration::from_secs(60);
        store.acquire_leadership("other", "http://other:8080", lease).await.unwrap().unwrap();
        for (alone, told) in [(false, Lead::At("http://other:8080".into())), (true, Lead::Nobody)] {
            let (lead, follows) = watch::channel(Lead::Nobody);
            let (store, name, address) = (store.clone(), "this".into(), "http://this:8080".into());
            let candidate = Candidate { store, name, address, lease, alone, lead };
            assert!(candidate.try_once().await.unwrap().is_none());
            assert!(*follows.borrow() == told, "alone: {alone}");
        }
    }
}
