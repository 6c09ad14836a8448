//! What a schedule steps along, a cron in a zone or a length of time, as instants.

use jiff::{SignedDuration, Timestamp};

use super::{Cron, Delta, Zone};

/// A cron in a zone, or a length of time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace<'a> {
    Cron(&'a Cron, &'a Zone),
    Every(&'a Delta),
}

impl Pace<'_> {
    /// The first step after an instant; `None` where there is none.
    ///
    /// A cron is searched on the wall clock and its time brought back into the zone ([`Zone::instant`]).
    /// One whose hour is `*` is taken otherwise, as the time that passes until then: so it also comes in
    /// the hour that a clock set back shows twice, and what it then shows need not match.
    pub fn next(self, current: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) => {
                let local = zone.local(current);
                let scheduled = cron.next_after(local)?;
                if cron.covers_every_hour() {
                    current.checked_add(scheduled.duration_since(local)).ok()
                } else {
                    zone.instant(scheduled)
                }
            }
            Self::Every(delta) => delta.after(current),
        }
    }

    /// The last step before an instant. Where a clock is set back it may lie after the instant.
    pub fn previous(self, current: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) => {
                let local = zone.local(current);
                let scheduled = cron.previous_before(local)?;
                if cron.covers_every_hour() {
                    current.checked_sub(local.duration_since(scheduled)).ok()
                } else {
                    zone.instant(scheduled)
                }
            }
            Self::Every(delta) => delta.before(current),
        }
    }

    /// The instant itself where it is a step, else the first step after it. Lengths of time have no fixed
    /// steps, so each instant is one.
    pub fn align_to_next(self, current: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(..) => match self.next(current) {
                Some(next) if self.previous(next) != Some(current) => Some(next),
                Some(_) => Some(current),
                None => self.is_step(current).then_some(current),
            },
            Self::Every(_) => Some(current),
        }
    }

    /// The instant itself where it is a step, else the last step before it.
    pub fn align_to_previous(self, current: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(..) => match self.previous(current) {
                Some(previous) if self.next(previous) != Some(current) => Some(previous),
                Some(_) => Some(current),
                None => self.is_step(current).then_some(current),
            },
            Self::Every(_) => Some(current),
        }
    }

    /// Whether an instant is a step, asked where it has no neighbour to be reached from: it may be the
    /// very first or last.
    fn is_step(self, instant: Timestamp) -> bool {
        let just_before = instant.checked_sub(SignedDuration::from_nanos(1));
        just_before.is_ok_and(|just_before| self.next(just_before) == Some(instant))
    }
}
