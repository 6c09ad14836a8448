//! How a command fails, with an exit code by which a script can tell what to do.

use std::{fmt, process::ExitCode};

/// Exit codes beside 0, as `timeout(1)` and most shells' tools have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The run or check failed, the server is not there, or anything else.
    Failed = 1,
    /// What was asked for makes no sense.
    Usage = 2,
    /// What it is about is not there.
    NotFound = 3,
    /// Whoever asks may not.
    NotAllowed = 4,
    /// It took longer than it was given.
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: what is wrong, where, and the mend.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    message: String,
    /// The server is not there, or not ready: asked again later it may answer.
    away: bool,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), away: false }
    }

    /// The server is not there, or not ready.
    pub fn away(message: impl Into<String>) -> Self {
        Self { away: true, ..Self::new(Exit::Failed, message) }
    }

    /// Whether an error says that the server is not there, or not ready.
    pub fn is_away(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Self>().is_some_and(|failure| failure.away)
    }

    /// Whether an error is such a failure.
    pub fn is(error: &anyhow::Error, exit: Exit) -> bool {
        error.downcast_ref::<Self>().is_some_and(|failure| failure.exit == exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
