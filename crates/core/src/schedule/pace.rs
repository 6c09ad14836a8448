//! What a schedule steps along, a cron in a zone or a length of time, as instants.

use jiff::{SignedDuration, Timestamp};

use super::{Cron, Delta, Holidays, Zone, holidays::Stretch};

/// Steps, of which those on a holiday are none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace<'a> {
    /// All of them.
    pub steps: Steps<'a>,
    pub holidays: Option<&'a Holidays>,
}

impl Pace<'_> {
    /// The first step after an instant; `None` where there is none. However long the holidays are, they
    /// are passed at once.
    pub fn next(self, current: Timestamp) -> Option<Timestamp> {
        let mut step = self.steps.next(current)?;
        while let Some(stretch) = self.stretch(step) {
            let end = stretch.end?;
            step = match self.steps {
                Steps::Cron(..) => self.steps.next(just_before(end)?.max(step))?,
                Steps::Every(delta) => beyond(delta, step, end)?,
            };
        }
        Some(step)
    }

    /// The last step before an instant. Where a clock is set back it may lie after the instant.
    pub fn previous(self, current: Timestamp) -> Option<Timestamp> {
        self.back_to_work(self.steps.previous(current)?, current)
    }

    /// The instant itself where it is a step, else the first step after it. Lengths of time have no fixed
    /// steps: each instant is one, and where it is on a holiday they are counted from there.
    pub fn align_to_next(self, current: Timestamp) -> Option<Timestamp> {
        match (self.steps, self.stretch(current)) {
            (Steps::Every(delta), Some(_)) => {
                let mut step = current;
                while let Some(stretch) = self.stretch(step) {
                    step = beyond(delta, step, stretch.end?)?;
                }
                Some(step)
            }
            (Steps::Every(_), None) => Some(current),
            (Steps::Cron(..), _) => match self.next(current) {
                Some(next) if self.previous(next) != Some(current) => Some(next),
                Some(_) => Some(current),
                None => self.is_step(current).then_some(current),
            },
        }
    }

    /// The instant itself where it is a step, else the last step before it. On a holiday a length of time
    /// has none: it was not said from where they are counted.
    pub fn align_to_previous(self, current: Timestamp) -> Option<Timestamp> {
        match self.steps {
            Steps::Every(_) => self.stretch(current).is_none().then_some(current),
            Steps::Cron(..) => match self.previous(current) {
                Some(previous) if self.next(previous) != Some(current) => Some(previous),
                Some(_) => Some(current),
                None => self.is_step(current).then_some(current),
            },
        }
    }

    /// The last of the steps from `due` on that is not after `now`, or `due` where that is still to come.
    /// A length of time that is overdue comes now; where now is a holiday, its last step before that.
    pub fn latest(self, due: Timestamp, now: Timestamp) -> Timestamp {
        let passed = match (self.steps, self.stretch(now)) {
            (Steps::Every(delta), Some(Stretch { start, .. })) if due < start => delta
                .first_from(due, start)
                .and_then(|within| delta.last_before(within, start))
                .and_then(|step| self.back_to_work(step, now)),
            _ => self.align_to_previous(now),
        };
        passed.map_or(due, |passed| passed.max(due))
    }

    /// This step where it is not on a holiday, else the last one before.
    pub fn back_to_work(self, mut step: Timestamp, mut current: Timestamp) -> Option<Timestamp> {
        while let Some(Stretch { start, .. }) = self.stretch(step) {
            step = match self.steps {
                Steps::Every(delta) => delta.last_before(step, start)?,
                Steps::Cron(..) => {
                    // Where a clock is set back, the step before may lie after: each look begins earlier.
                    let earlier = current.checked_sub(SignedDuration::from_secs(1)).ok()?;
                    current = start.min(earlier);
                    self.steps.previous(current)?
                }
            };
        }
        Some(step)
    }

    /// The last step before `target` of those that are counted from `start`; `None` where there is none, and for a
    /// cron, whose steps are where they are.
    pub fn last_counted(self, start: Timestamp, target: Timestamp) -> Option<Timestamp> {
        let Steps::Every(delta) = self.steps else { return None };
        let step_before = |target| {
            let instant = just_before(target).filter(|instant| *instant >= start)?;
            delta.last_from(start, instant)
        };
        let mut step = step_before(target)?;
        while let Some(stretch) = self.stretch(step) {
            step = step_before(stretch.start)?;
        }
        Some(step)
    }

    fn stretch(self, at: Timestamp) -> Option<Stretch> {
        self.holidays?.around(at)
    }

    /// Whether an instant is a step, asked where it has no neighbour to be reached from: it may be the
    /// very first or last.
    fn is_step(self, instant: Timestamp) -> bool {
        just_before(instant).is_some_and(|just_before| self.next(just_before) == Some(instant))
    }
}

/// The first step after one on a holiday that is not in the same stretch. Where a clock is set back over midnight, a
/// day comes again after its end.
fn beyond(delta: &Delta, step: Timestamp, end: Timestamp) -> Option<Timestamp> {
    if end <= step { delta.after(step) } else { delta.first_from(step, end) }
}

fn just_before(instant: Timestamp) -> Option<Timestamp> {
    instant.checked_sub(SignedDuration::from_nanos(1)).ok()
}

/// The steps of a cron in a zone, or of a length of time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Steps<'a> {
    Cron(&'a Cron, &'a Zone),
    Every(&'a Delta),
}

impl Steps<'_> {
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
}
