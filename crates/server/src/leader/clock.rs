//! Telling a clock that was set from time that has passed.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// A difference of this length between the two clocks is no drift and no slow answer of theirs.
const NOTICED: SignedDuration = SignedDuration::from_millis(500);

/// The clock on the wall beside the one that is never set.
#[derive(Debug)]
pub(super) struct Clock {
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    pub fn new(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Notes both times; says by how much the wall's was set since they were last noted, where it was.
    ///
    /// The steady clock stands still while the machine sleeps, as do the workers' on it: a machine that wakes
    /// has had its clock set, and no lease has run out over it.
    pub fn passed(&mut self, wall: Timestamp, steady: Instant) -> Option<SignedDuration> {
        let on_the_wall = wall.duration_since(self.wall);
        let passed = SignedDuration::try_from(steady.saturating_duration_since(self.steady)).ok()?;
        *self = Self { wall, steady };
        let by = on_the_wall.saturating_sub(passed);
        (by.abs() >= NOTICED).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_from_time_that_passed() {
        let (wall, steady) = (Timestamp::UNIX_EPOCH, Instant::now());
        let mut clock = Clock::new(wall, steady);
        let at = |wall_s: i64, steady_s: u64| {
            (wall + SignedDuration::from_secs(wall_s), steady + Duration::from_secs(steady_s))
        };
        let mut passed = |(wall, steady)| clock.passed(wall, steady).map(|by| by.as_secs());
        assert_eq!(passed(at(3600, 3600)), None);
        assert_eq!(passed(at(7200, 3610)), Some(3590));
        assert_eq!(passed(at(7201, 3611)), None);
        assert_eq!(passed(at(0, 3612)), Some(-7202));
    }
}
