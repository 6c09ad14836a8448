//! Sending what is in the outbox.
//!
//! A row is claimed before it is sent, and its end is written after, for as long as that takes. So each goes
//! out at least once: one that was claimed when the server died is sent again, under the same id (`Message-ID`,
//! `Idempotency-Key`), or held for a person to decide, where the alert says so.

mod callbacks;
mod send;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tracing::{info, warn};
use updraft_core::DeliveryId;
use updraft_operators::{alert::Sender, mail::MailServer};
use updraft_store::{Burst, DeliveryEnd, DeliveryListing, OutboxPart, Store};

pub use self::callbacks::Caller;
pub(crate) use self::callbacks::called_from;

use crate::{leader::now, secrets::Secrets};

/// So many are sent at once.
const AT_ONCE: u32 = 16;

/// How often to look for those whose time has come again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is on its way for longer than any sending takes is on its way no more, whichever server had it.
const LONGEST_SEND: SignedDuration = SignedDuration::from_mins(10);

/// Sends what is in the outbox.
#[derive(Clone)]
pub struct Deliverer {
    /// Where the outbox is.
    pub store: Arc<dyn Store>,
    /// What connections are looked up through.
    pub secrets: Arc<Secrets>,
    /// What asks web servers.
    pub sender: Arc<Sender>,
    /// Where mail goes, and the address it comes from; nowhere, where none is set.
    pub mail: Option<(MailServer, String)>,
    /// Where a person finds the run a mail is about: `http://127.0.0.1:8080`.
    pub base_url: String,
    /// How much is told singly; all, where it does not say.
    pub burst: Option<Burst>,
}

/// What became of an attempt to send a delivery.
struct Ended {
    id: DeliveryId,
    attempt: u32,
    end: DeliveryEnd,
}

impl Deliverer {
    /// Runs for as long as the leader tells of deliveries.
    pub async fn run(self, mut told: mpsc::UnboundedReceiver<DeliveryId>) {
        let (started, mut unwritten) = (now(), Vec::new());
        let installation = self.installation().await;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                delivery = told.recv() => if delivery.is_none() { return },
                _ = look.tick() => {
                    self.write_ends(&mut unwritten).await;
                    // What is on its way beside those is so for nobody here.
                    if unwritten.is_empty() {
                        self.resume(started).await;
                    }
                }
            }
            while told.try_recv().is_ok() {}
            while self.send_some(&installation, &mut unwritten).await {}
        }
    }

    /// What tells mails of this installation from those of all others: made once, and kept in the database.
    async fn installation(&self) -> String {
        loop {
            let mut random = [0; 16];
            let made = match getrandom::fill(&mut random) {
                Ok(()) => {
                    let new: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
                    self.store.config_or_insert("installation", &new).await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match made {
                Ok(installation) => return installation,
                Err(error) => warn!(error, "can't tell this installation's name; trying again"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What was on its way when an earlier server ended is in doubt, and so is what was claimed without an
    /// answer from the database: it is sent again, or held.
    async fn resume(&self, started: Timestamp) {
        let now = now();
        let before = started.max(now.saturating_sub(LONGEST_SEND).unwrap_or(started));
        let error = "nobody knows whether it arrived: whoever sent it ended meanwhile. It is sent again, or, where it \
                     is held, when somebody resends it";
        match self.store.end_doubt(OutboxPart::Alerts, before, error, now).await {
            Ok(0) => {}
            Ok(count) => warn!(count, "what was on its way when its server ended is sent again or held"),
            Err(error) => warn!(%error, "can't read the outbox; trying again"),
        }
    }

    /// Writes ends that could not be written, until one can't be again.
    async fn write_ends(&self, unwritten: &mut Vec<Ended>) {
        while let Some(ended) = unwritten.pop() {
            if let Err(ended) = self.write(ended).await {
                // It comes last the next time, so that it holds up no other.
                unwritten.insert(0, ended);
                return;
            }
        }
    }

    /// Sends those whose time has come. Says whether there may be more.
    async fn send_some(&self, installation: &str, unwritten: &mut Vec<Ended>) -> bool {
        let claimed = match self.store.claim_deliveries(OutboxPart::Alerts, now(), AT_ONCE, self.burst).await
        {
            Ok(claimed) => claimed,
            Err(error) => {
                warn!(%error, "can't read the outbox; trying again");
                return false;
            }
        };
        let ends = claimed.deliveries.iter().map(|delivery| async {
            let end = self.deliver(delivery, installation).await;
            self.finish(delivery, end).await
        });
        unwritten.extend(futures_util::future::join_all(ends).await.into_iter().filter_map(Result::err));
        claimed.more
    }

    async fn finish(&self, delivery: &DeliveryListing, end: DeliveryEnd) -> Result<(), Ended> {
        let id = delivery.row.id;
        match &end {
            DeliveryEnd::Sent => info!(%id, "told what had to be told"),
            DeliveryEnd::SentInPart { error, .. } => {
                warn!(%id, error, "told some of those who had to be told")
            }
            DeliveryEnd::Partly { at, error, .. } => {
                warn!(%id, %at, error, "told some of those who had to be told; trying again for the others");
            }
            DeliveryEnd::Retry { at, error } => warn!(%id, %at, error, "could not be sent; trying again"),
            DeliveryEnd::Failed(error) | DeliveryEnd::Undeliverable(error) | DeliveryEnd::Held(error) => {
                warn!(%id, error, "could not be sent");
            }
        }
        self.write(Ended { id, attempt: delivery.attempts, end }).await
    }

    /// Writes what became of a delivery; gives it back, where that can't be written now.
    async fn write(&self, ended: Ended) -> Result<(), Ended> {
        let Ended { id, attempt, end } = &ended;
        match self.store.finish_delivery(*id, *attempt, end, now()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                warn!(%error, %id, "could not write what became of a delivery; trying again");
                Err(ended)
            }
        }
    }
}
