//! What can go wrong, told apart by what to do about it.

use std::fmt;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something outside is in the way. The same call may succeed later, and nothing was half done.
    #[error("the database is {outage}: {message}")]
    Unavailable {
        /// What is in the way.
        outage: Outage,
        /// What the database or the driver said.
        message: String,
    },
    /// The database was migrated by a later program. Nothing was touched.
    #[error(
        "the database is at schema version {found} and this program knows versions up to {known}: \
         run the newer program, or restore a backup made before its migration"
    )]
    NewerSchema {
        /// What the database is at.
        found: u32,
        /// The last one this program has.
        known: u32,
    },
    /// The database was not migrated yet.
    #[error(
        "the database is at schema version {found} and this program needs {known}: run `updraft db migrate`"
    )]
    OlderSchema {
        /// What the database is at; 0 where it has no tables at all.
        found: u32,
        /// The one this program needs.
        known: u32,
    },
    /// A migration that was applied is not the one this program has under that number.
    #[error(
        "migration {version} of the database is not the one this program was built with (checksum {found}, \
         not {expected}): it was changed after it was applied"
    )]
    ChangedMigration {
        /// Its number.
        version: u32,
        /// The checksum that was kept when it was applied.
        found: String,
        /// The checksum of this program's.
        expected: String,
    },
    /// What was asked for makes no sense here: a bad URL, a target that exists, an operation that this
    /// database does not have.
    #[error("{0}")]
    Invalid(String),
    /// A bug in this program, or a damaged database. The same call will fail again.
    #[error("the store failed at {doing}: {message}")]
    Broken {
        /// What it was about.
        doing: &'static str,
        /// What the database or the driver said.
        message: String,
    },
}

/// What stands between us and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No connection, or it broke, or all of them are taken for too long.
    Unreachable,
    /// Another transaction is in the way.
    Busy,
    /// No room left on its disk, or another resource has run out.
    Full,
    /// Its files can't be read or written.
    Failing,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "not reachable",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Failing => "not able to read or write its files",
        })
    }
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Why a commit was refused.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has taken over: stop leading, forget the state, and stand by. Nothing was written.
    #[error("fence {0} is not the current one: another server leads")]
    Fenced(crate::Fence),
    /// See [`Error`]. Where it [is retryable](Error::is_retryable), give the same batch again before any
    /// other.
    #[error(transparent)]
    Store(#[from] Error),
}

impl CommitError {
    /// Whether the same commit may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}
