//! The mark that an attempt's processes carry outside of their environment: the soft limit of file locks
//! (`RLIMIT_LOCKS`).
//!
//! Whatever a process closes, wipes or leaves on its way to become a daemon (its environment, session, parent,
//! descriptors), limits pass every fork and exec. A task without rights may be given one, and anyone may read
//! it (`/proc/<pid>/limits`). Of all limits this one means nothing: Linux has not looked at it since 2.4.25. It
//! has room for 64 bits, so that each attempt's is its own. A process loses it only by setting this very limit.

use std::fs;

use rustix::process::Pid;

/// Tells a mark from a limit that somebody has set for a reason of his own.
const IS_MARK: u64 = 1 << 62;

/// The mark of an attempt: 30 bits tell its installation, the lower 32 the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

impl Mark {
    /// The mark of the attempt with this id, of which what is before the first `/` names the installation.
    pub(super) fn of(attempt: &str) -> Self {
        let (installation, rest) = attempt.split_once('/').unwrap_or((attempt, ""));
        Self(IS_MARK | hash(installation) >> 34 << 32 | hash(rest) >> 32)
    }

    /// The mark that a process carries, if any.
    pub(super) fn of_process(pid: Pid) -> Option<Self> {
        let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).ok()?;
        let locks = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
        let soft = locks.split_ascii_whitespace().next()?.parse().ok()?;
        (soft & !(IS_MARK - 1) == IS_MARK).then_some(Self(soft))
    }

    /// Whether both are of attempts of one installation.
    pub(super) fn is_of_installation(self, other: Self) -> bool {
        self.0 >> 32 == other.0 >> 32
    }

    /// The limit that is the mark.
    pub(super) fn limit(self) -> u64 {
        self.0
    }
}

/// FNV-1a, which is the same in every version of this program, and its bits spread to the upper half.
fn hash(text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_installations_and_their_attempts() {
        let marks = ["a/1", "a/2", "b/1"].map(Mark::of);
        assert!(marks[0] != marks[1] && marks[0].is_of_installation(marks[1]));
        assert!(!marks[0].is_of_installation(marks[2]));
        assert!(marks.iter().all(|mark| mark.limit() >> 62 == 1));
    }
}
