//! Keepers that hold their place and do nothing: stopped, or hung. Such a one is told of, and killed when that lasts, before
//! its lease passes: so the next one ends what it had, and tells that this was lost, before others are given it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use updraft_server::workers::Silence;

/// How a keeper that says nothing is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is well, as far as anybody knows.
    Well,
    /// It is to be told of.
    Hung,
    /// It is to be killed.
    Lost,
}

/// One that is not connected may be about to begin, and end what another has left: it has so much longer.
const UNCONNECTED: u32 = 3;

/// Between two looks of a server that is itself at work.
const LOOKS_WITHIN: Duration = Duration::from_secs(2);

/// What is known of how long keepers are silent.
pub struct Hung {
    told_after: Duration,
    killed_after: Duration,
    looked_at: Instant,
    /// Since when this server has looked without a gap: while it stands still itself, nobody is silent.
    awake_since: Instant,
    /// Since when each is known, by its process.
    known: BTreeMap<i32, Instant>,
}

impl Hung {
    /// Of keepers that have this lease, and say every five seconds that they are there.
    pub fn new(lease: Duration, now: Instant) -> Self {
        let killed_after = (lease * 2 / 3).clamp(Duration::from_secs(10), Duration::from_secs(60));
        let told_after = (killed_after / 2).max(Duration::from_secs(7));
        Self { told_after, killed_after, looked_at: now, awake_since: now, known: BTreeMap::new() }
    }

    /// Somebody looks, and these are there.
    pub fn look(&mut self, pids: &[i32], now: Instant) {
        if now - self.looked_at > LOOKS_WITHIN {
            self.awake_since = now;
        }
        self.looked_at = now;
        self.known.retain(|pid, _| pids.contains(pid));
        for pid in pids {
            self.known.entry(*pid).or_insert(now);
        }
    }

    /// What is to be done about one.
    pub fn judge(&self, pid: i32, silence: Option<Silence>) -> Verdict {
        let (silent, times) = match silence {
            // While nobody leads here, nobody is listened to.
            None => return Verdict::Well,
            Some(Silence::Connected(silent)) => (silent, 1),
            Some(Silence::Unconnected(silent)) => (silent, UNCONNECTED),
        };
        let since = self.known.get(&pid).map_or(self.looked_at, |since| *since).max(self.awake_since);
        let silent = silent.min(self.looked_at - since);
        if silent >= self.killed_after * times {
            Verdict::Lost
        } else if silent >= self.told_after * times {
            Verdict::Hung
        } else {
            Verdict::Well
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_that_says_nothing_is_told_of_and_then_killed_before_its_lease_passes() {
        let begin = Instant::now();
        let mut hung = Hung::new(30 * SECOND, begin);
        let mut seen = Vec::new();
        for second in 0..70 {
            hung.look(&[7, 8], begin + SECOND * second);
            // It has been silent since before this server began.
            let silent = SECOND * (second + 100);
            seen.push(
                [Silence::Connected(silent), Silence::Unconnected(silent)]
                    .map(|silence| hung.judge(7, Some(silence))),
            );
            assert_eq!(hung.judge(8, Some(Silence::Connected(SECOND * 5))), Verdict::Well);
            assert_eq!(hung.judge(7, None), Verdict::Well);
        }
        let first = |place: usize, verdict| seen.iter().position(|seen| seen[place] == verdict);
        assert_eq!((first(0, Verdict::Hung), first(0, Verdict::Lost)), (Some(10), Some(20)));
        assert_eq!((first(1, Verdict::Hung), first(1, Verdict::Lost)), (Some(30), Some(60)));
    }

    #[test]
    fn a_server_that_stood_still_itself_takes_nobody_for_hung() {
        let begin = Instant::now();
        let mut hung = Hung::new(30 * SECOND, begin);
        hung.look(&[7], begin);
        hung.look(&[7], begin + 3600 * SECOND);
        assert_eq!(hung.judge(7, Some(Silence::Connected(3600 * SECOND))), Verdict::Well);
    }
}
