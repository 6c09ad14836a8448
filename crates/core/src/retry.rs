//! When an attempt that failed or was lost is followed by another.

use jiff::{SignedDuration, Timestamp};

use crate::{DagKey, RetryPolicy, TaskId, input::AttemptEnd};

/// No delay is longer than this, whatever the backoff says (Airflow's `MAX_RETRY_DELAY`, a day).
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// Whether another try follows a failed one that ended so: unless it asked for none, where tries are left, and where
/// its exit code is one of `on_exit_codes`, if any are named. The engine goes by this, and so does a worker, which
/// has to know it before the engine hears of the end.
pub(crate) fn is_tried_again(
    end: &AttemptEnd,
    exit_code: Option<i32>,
    (try_number, max_tries): (u32, u32),
    on_exit_codes: &[i32],
) -> bool {
    let covered = on_exit_codes.is_empty() || exit_code.is_some_and(|code| on_exit_codes.contains(&code));
    *end != AttemptEnd::FailedForGood && try_number <= max_tries && covered
}

/// How long after so many losses in a row the next attempt may begin. The first is bad luck more often than not: it costs
/// no time. What takes its worker down each time is not to take down one after the other as fast as they come.
pub(crate) fn pause_after_losses(in_row: u32) -> SignedDuration {
    SignedDuration::from_secs(match in_row {
        0 | 1 => 0,
        2 => 1,
        3 => 5,
        _ => 30,
    })
}

impl RetryPolicy {
    /// How long to wait after the failure with this number, from 1.
    ///
    /// With a backoff the delay grows by the factor with each failure, and up to as much again is added to
    /// it, so that tasks that failed together do not come back together (as Airflow does). How much is
    /// drawn from the task's names and the number, so that it is the same each time it is asked.
    pub fn delay_after(&self, failures: u32, dag: &DagKey, run_id: &str, task: &TaskId) -> SignedDuration {
        let grows = self.backoff > 0.0 && (self.backoff - 1.0).abs() > f64::EPSILON;
        if !grows {
            return self.delay;
        }
        let factor = self.backoff.powf(f64::from(failures.saturating_sub(1)));
        // What is too much for a number is too long, also as a multiple of nothing.
        let grown = if factor.is_finite() { self.delay.as_secs_f64() * factor } else { f64::MAX };
        let least = grown.ceil().clamp(1.0, LONGEST.as_secs_f64());
        let seed = format!("{dag}#{task}#{run_id}#{failures}");
        let seconds = least + (fnv1a(seed.as_bytes()) % least as u64) as f64;
        let delay = SignedDuration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()));
        self.max_delay.map_or(delay, |most| delay.min(most))
    }

    /// When the next attempt may begin.
    pub fn next_at(
        &self,
        ended: Timestamp,
        failures: u32,
        dag: &DagKey,
        run_id: &str,
        task: &TaskId,
    ) -> Timestamp {
        ended.saturating_add(self.delay_after(failures, dag, run_id, task)).unwrap_or(Timestamp::MAX)
    }
}

/// A hash that is the same on every machine and in every version of the compiler.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(policy: &RetryPolicy, try_number: u32) -> i64 {
        policy.delay_after(try_number, &DagKey::new("default", "d"), "r", &"t".into()).as_secs()
    }

    #[test]
    fn without_backoff_every_delay_is_the_same() {
        let policy = RetryPolicy { delay: SignedDuration::from_secs(30), ..RetryPolicy::default() };
        assert_eq!((delay(&policy, 1), delay(&policy, 9)), (30, 30));
    }

    #[test]
    fn with_backoff_the_delay_grows_with_jitter_up_to_the_cap() {
        let policy = RetryPolicy {
            delay: SignedDuration::from_secs(10),
            backoff: 2.0,
            max_delay: Some(SignedDuration::from_secs(100)),
            ..RetryPolicy::default()
        };
        for (try_number, least) in [(1, 10), (2, 20), (3, 40)] {
            let seconds = delay(&policy, try_number);
            assert!((least..2 * least).contains(&seconds), "try {try_number}: {seconds}");
        }
        assert_eq!(delay(&policy, 30), 100);
        let uncapped = RetryPolicy { max_delay: None, ..policy };
        assert_eq!(delay(&uncapped, u32::MAX), 86_400);
        let at_once = RetryPolicy { delay: SignedDuration::ZERO, ..uncapped };
        assert_eq!((delay(&at_once, 1), delay(&at_once, 5_000)), (1, 86_400));
    }

    #[test]
    fn only_the_named_exit_codes_are_tried_again() {
        let again = |exit_code, codes: &[i32]| is_tried_again(&AttemptEnd::Failed, exit_code, (1, 1), codes);
        assert!(again(Some(75), &[75]));
        assert!(!again(Some(1), &[75]) && !again(None, &[75]));
        assert!(again(None, &[]));
    }

    #[test]
    fn none_is_tried_again_that_asked_not_to_be_or_has_no_try_left() {
        let again = |end, tries| is_tried_again(&end, Some(1), tries, &[]);
        assert!(again(AttemptEnd::Failed, (2, 2)) && !again(AttemptEnd::Failed, (3, 2)));
        assert!(!again(AttemptEnd::FailedForGood, (1, 2)));
    }
}
