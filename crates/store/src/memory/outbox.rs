//! The outbox, from the side of who sends.

use std::collections::BTreeSet;

use jiff::Timestamp;
use updraft_core::{DeliveryId, OnDoubt};

use super::tables::Tables;
use crate::{Burst, Claimed, DeliveryEnd, DeliveryListing, DeliveryState, OutboxPart};

impl Tables {
    pub(super) fn claim_deliveries(
        &mut self,
        part: OutboxPart,
        now: Timestamp,
        limit: u32,
        burst: Option<Burst>,
    ) -> Claimed {
        let is_due = |row: &&DeliveryListing| {
            row.state == DeliveryState::Pending
                && part.has(&row.row.channel)
                && row.next_at <= now
                && row.digest.is_none_or(|lead| lead == row.row.id)
        };
        let mut due: Vec<DeliveryListing> = self.deliveries.values().filter(is_due).cloned().collect();
        due.sort_by_key(|row| (row.next_at, row.row.id));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = due.len() >= limit;
        due.truncate(limit);
        let (mut deliveries, mut gathered) = (Vec::new(), BTreeSet::new());
        for row in due {
            if let Some(burst) = burst.filter(|_| row.may_be_gathered()) {
                if gathered.contains(&row.way()) {
                    continue;
                }
                if let Some(lead) = self.digest_for(&row, now, burst) {
                    self.gather(&row, lead, now);
                    gathered.insert(row.way());
                    continue;
                }
            }
            let Some(claimed) = self.deliveries.get_mut(&row.row.id) else { continue };
            claimed.state = DeliveryState::Sending;
            claimed.attempts += 1;
            claimed.changed_at = now;
            deliveries.push(claimed.clone());
        }
        Claimed { deliveries, more }
    }

    /// Which digest is to tell of this delivery; none, where it may be told singly.
    fn digest_for(&mut self, row: &DeliveryListing, now: Timestamp, burst: Burst) -> Option<DeliveryId> {
        let way = row.way();
        let leads = |row: &DeliveryListing| row.digest == Some(row.row.id);
        let of_it = || self.deliveries.values().filter(|other| other.way() == way);
        let waits = |other: &&DeliveryListing| {
            other.state == DeliveryState::Pending
                && other.attempts == 0
                && leads(other)
                && other.next_at > now
        };
        if let Some(lead) = of_it().find(waits) {
            return Some(lead.row.id);
        }
        let since = now.saturating_sub(burst.within).unwrap_or(Timestamp::MIN);
        let was_told = |other: &&DeliveryListing| {
            other.attempts > 0 && other.changed_at > since && (other.digest.is_none() || leads(other))
        };
        if of_it().filter(was_told).count() < burst.singly as usize {
            return None;
        }
        let lead = self.deliveries.get_mut(&row.row.id)?;
        lead.digest = Some(row.row.id);
        lead.next_at = now.saturating_add(burst.within).unwrap_or(Timestamp::MAX);
        Some(row.row.id)
    }

    /// Has all that is due by the way of this one told of by a digest.
    fn gather(&mut self, row: &DeliveryListing, lead: DeliveryId, now: Timestamp) {
        let way = row.way();
        for other in self.deliveries.values_mut() {
            let due = other.state == DeliveryState::Pending && other.next_at <= now;
            if due && other.may_be_gathered() && other.way() == way {
                other.digest = Some(lead);
            }
        }
    }

    /// Those that a digest tells of beside itself.
    fn told_by(&mut self, lead: DeliveryId) -> impl Iterator<Item = &mut DeliveryListing> {
        self.deliveries.values_mut().filter(move |row| row.digest == Some(lead) && row.row.id != lead)
    }

    pub(super) fn finish_delivery(
        &mut self,
        id: DeliveryId,
        attempt: u32,
        end: &DeliveryEnd,
        now: Timestamp,
    ) -> bool {
        let claimed =
            |row: &&mut DeliveryListing| row.state == DeliveryState::Sending && row.attempts == attempt;
        let Some(row) = self.deliveries.get_mut(&id).filter(claimed) else { return false };
        row.changed_at = now;
        (row.state, row.last_error) = match end.clone() {
            DeliveryEnd::Sent => (DeliveryState::Sent, None),
            DeliveryEnd::SentInPart { taken_by, error } => {
                row.taken_by = taken_by;
                (DeliveryState::Sent, Some(error))
            }
            DeliveryEnd::Partly { taken_by, at, error } => {
                (row.taken_by, row.next_at) = (taken_by, at);
                (DeliveryState::Pending, Some(error))
            }
            DeliveryEnd::Retry { at, error } => {
                row.next_at = at;
                (DeliveryState::Pending, Some(error))
            }
            DeliveryEnd::Failed(error) => (DeliveryState::Failed, Some(error)),
            DeliveryEnd::Undeliverable(error) => (DeliveryState::Undeliverable, Some(error)),
            DeliveryEnd::Held(error) => (DeliveryState::Held, Some(error)),
        };
        let (state, error) = (row.state, row.last_error.clone());
        for told in self.told_by(id) {
            (told.state, told.last_error, told.changed_at) = (state, error.clone(), now);
        }
        true
    }

    pub(super) fn end_doubt(
        &mut self,
        part: OutboxPart,
        before: Timestamp,
        error: &str,
        now: Timestamp,
    ) -> u64 {
        let in_doubt = |row: &&DeliveryListing| {
            row.state == DeliveryState::Sending && part.has(&row.row.channel) && row.changed_at < before
        };
        let ids: Vec<DeliveryId> = self.deliveries.values().filter(in_doubt).map(|row| row.row.id).collect();
        for id in &ids {
            let of_it =
                self.deliveries.values_mut().filter(|row| row.row.id == *id || row.digest == Some(*id));
            for row in of_it {
                row.state = match row.row.on_doubt {
                    OnDoubt::Resend => DeliveryState::Pending,
                    OnDoubt::Hold => DeliveryState::Held,
                };
                row.last_error = Some(error.to_owned());
                (row.next_at, row.changed_at) = (now, now);
            }
        }
        ids.len() as u64
    }

    pub(super) fn resend_delivery(&mut self, id: DeliveryId, now: Timestamp) -> bool {
        use DeliveryState::{Failed, Held, Sent, Undeliverable};
        let ended = |row: &DeliveryListing| match row.state {
            Failed | Undeliverable | Held => true,
            Sent => row.last_error.is_some() && !row.taken_by.is_empty(),
            _ => false,
        };
        self.change_delivery(id, now, ended, |row| (row.state, row.next_at) = (DeliveryState::Pending, now))
    }

    pub(super) fn drop_delivery(&mut self, id: DeliveryId, why: &str, now: Timestamp) -> bool {
        use DeliveryState::{Failed, Held, Pending};
        let waits = |row: &DeliveryListing| matches!(row.state, Pending | Held);
        self.change_delivery(id, now, waits, |row| {
            (row.state, row.last_error) = (Failed, Some(why.to_owned()));
        })
    }

    /// Changes a delivery where it may be, and all that it tells of; what another tells of is by itself from now on.
    fn change_delivery(
        &mut self,
        id: DeliveryId,
        now: Timestamp,
        may_be: impl Fn(&DeliveryListing) -> bool,
        change: impl Fn(&mut DeliveryListing),
    ) -> bool {
        let mut changed = false;
        for row in self.deliveries.values_mut().filter(|row| row.row.id == id || row.digest == Some(id)) {
            if may_be(row) {
                if row.row.id == id && row.digest != Some(id) {
                    row.digest = None;
                }
                change(row);
                row.changed_at = now;
                changed = true;
            }
        }
        changed
    }
}
