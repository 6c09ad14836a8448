//! Slowing down who guesses passwords, by the account and by the address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many failures are free.
const FREE: u32 = 5;
/// The wait after the first that is not; each later one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer for an address.
const LONGEST_FOR_ADDRESS: Duration = Duration::from_secs(300);
/// Nor for an account: whoever guesses elsewhere can't keep its owner out for long.
const LONGEST_FOR_ACCOUNT: Duration = Duration::from_secs(30);
/// After so long without a failure, all is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// More is not remembered: the oldest go first, so that guessing under many names fills no memory.
const MOST: usize = 10_000;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Whose {
    Account(String),
    Address(IpAddr),
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn wait_until(&self, whose: &Whose) -> Instant {
        let Some(over) = self.count.checked_sub(FREE) else { return self.last };
        let longest = match whose {
            Whose::Account(_) => LONGEST_FOR_ACCOUNT,
            Whose::Address(_) => LONGEST_FOR_ADDRESS,
        };
        self.last + FIRST_WAIT.saturating_mul(1 << over.min(16)).min(longest)
    }
}

/// Counts failed logins.
#[derive(Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<Whose, Failures>>,
}

/// A login under way. It counts as failed from the start, so that many at once gain nothing.
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    whose: Vec<Whose>,
}

impl Throttle {
    /// Begins a login; says how long to wait where too many failed before.
    pub fn begin(&self, account: &str, from: Option<IpAddr>) -> Result<Attempt<'_>, Duration> {
        self.begin_at(Instant::now(), account, from)
    }

    fn begin_at(&self, now: Instant, account: &str, from: Option<IpAddr>) -> Result<Attempt<'_>, Duration> {
        let mut whose = vec![Whose::Account(account.to_lowercase())];
        // From this machine come its command line, tasks, and whoever a proxy on it lets in: none of them is to keep out
        // another.
        let elsewhere = from.filter(|address| !address.to_canonical().is_loopback());
        whose.extend(elsewhere.map(Whose::Address));
        let mut failures = self.lock();
        failures.retain(|_, failures| now.saturating_duration_since(failures.last) < FORGET_AFTER);
        let waits = whose.iter().filter_map(|whose| Some(failures.get(whose)?.wait_until(whose)));
        if let Some(until) = waits.max().filter(|until| *until > now) {
            return Err(until.duration_since(now));
        }
        for whose in &whose {
            if failures.len() >= MOST && !failures.contains_key(whose) {
                let oldest = failures.iter().min_by_key(|(_, failures)| failures.last);
                if let Some(oldest) = oldest.map(|(whose, _)| whose.clone()) {
                    failures.remove(&oldest);
                }
            }
            let known = failures.entry(whose.clone()).or_insert(Failures { count: 0, last: now });
            known.count += 1;
            known.last = now;
        }
        Ok(Attempt { throttle: self, whose })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Whose, Failures>> {
        // Counters are whole whatever panicked while they were held.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The password was right: nothing is held against the account, nor against the address for this once.
    pub fn succeeded(self) {
        let mut failures = self.throttle.lock();
        for whose in &self.whose {
            match whose {
                Whose::Account(_) => {
                    failures.remove(whose);
                }
                // Others behind the same address may be guessing.
                Whose::Address(_) => {
                    if let Some(failures) = failures.get_mut(whose) {
                        failures.count = failures.count.saturating_sub(1);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const ELSEWHERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    #[test]
    fn guessing_gets_slower_and_slower_for_the_account_from_wherever_it_comes() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..FREE {
            throttle.begin_at(start, "admin", None).map_err(drop).unwrap();
        }
        let Err(first) = throttle.begin_at(start, "ADMIN", HOME) else { panic!("not slowed down") };
        assert_eq!(first, FIRST_WAIT);
        throttle.begin_at(start + first, "admin", None).map_err(drop).unwrap();
        let Err(second) = throttle.begin_at(start + first, "admin", None) else { panic!("not slowed down") };
        assert_eq!(second, first * 2);
        throttle.begin_at(start, "someone", None).map_err(drop).unwrap();
    }

    #[test]
    fn an_address_that_guesses_under_many_names_is_slowed_down_too() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for name in 0..FREE {
            throttle.begin_at(start, &name.to_string(), ELSEWHERE).map_err(drop).unwrap();
        }
        assert!(throttle.begin_at(start, "another", ELSEWHERE).is_err());
        for name in 0..2 * FREE {
            assert!(
                throttle.begin_at(start, &format!("{name} at home"), HOME).is_ok(),
                "on this machine nobody is kept out"
            );
        }
        assert!(throttle.begin_at(start + FORGET_AFTER, "another", ELSEWHERE).is_ok());
    }

    #[test]
    fn success_forgives_the_account() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..20 {
            throttle.begin_at(start, "admin", HOME).map_err(drop).unwrap().succeeded();
        }
        assert!(throttle.lock().values().all(|failures| failures.count == 0));
    }
}
