//! What is known of an attempt's process once it and all it started have ended.

use std::time::{Duration, SystemTime};

use super::guard::GuardStatus;
use super::log::LogReport;
use super::result::{ResultError, ResultValue};

/// The end of an attempt's process tree, with everything that was captured of it.
#[derive(Debug)]
pub struct Ended {
    /// What the end means for the task instance.
    pub outcome: Outcome,
    /// How the first process itself ended; for a killed task that handled SIGTERM this is its own exit code.
    pub exit: Exit,
    /// What the spec's [`ResultRule`](super::ResultRule) found; `None` where there is nothing to find.
    pub result: Result<Option<ResultValue>, ResultError>,
    /// Wall-clock time of the start, for showing; durations below are from the monotonic clock.
    pub started_at: SystemTime,
    /// Wall-clock time at which the first process ended.
    pub ended_at: SystemTime,
    /// Time from start to end of the first process, without the time it was paused.
    pub active: Duration,
    /// Time for which it was paused.
    pub paused: Duration,
    /// What it used.
    pub usage: Usage,
    /// What went into the log file and what did not.
    pub log: LogReport,
    /// What the first process left running.
    pub left_behind: LeftBehind,
    /// How far it was kept from the rest of the machine.
    pub guard: GuardStatus,
}

/// What an end means for the task instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Succeeded,
    /// An exit code that the spec maps to "skipped" (99 by default, as Airflow's BashOperator has it).
    Skipped {
        /// The code.
        code: i32,
    },
    /// Any other exit code.
    Failed {
        /// The code, 1 to 255.
        code: i32,
    },
    /// A signal that neither we nor a timeout sent ended it (a crash, the kernel's out-of-memory killer, an operator).
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It ran longer than the spec's timeout and was ended.
    TimedOut,
    /// It was ended by [`Control::kill`](super::Control::kill).
    Killed,
    /// How it ended was taken by somebody else's `waitpid(-1)` in this program.
    Unknown,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether a core file was written.
        core_dumped: bool,
    },
    /// See [`Outcome::Unknown`].
    Unknown,
}

/// What a process and those of its children that it waited for have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user code.
    pub cpu_user: Duration,
    /// Processor time in the kernel.
    pub cpu_system: Duration,
    /// Largest resident set of one process, in bytes. `None` where it is not above this program's own: the kernel
    /// counts the memory that a child shares with its parent before it executes, so a smaller one cannot be told.
    pub max_rss_bytes: Option<u64>,
}

/// Processes that outlived the first one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// How many were sent a signal to end them.
    pub ended: usize,
    /// Those that even SIGKILL did not end in time (in uninterruptible sleep), by process id.
    pub surviving: Vec<u32>,
}
