//! What a driver's error means.

use crate::{Error, Outage};

/// Tells what may go away by itself from bugs.
pub(crate) fn classify(doing: &'static str, error: sqlx::Error) -> Error {
    let outage = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Some(Outage::Unreachable),
        sqlx::Error::Database(error) => {
            if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                error.code().and_then(|code| postgres_outage(&code))
            } else {
                error.code().and_then(|code| code.parse().ok()).and_then(sqlite_outage)
            }
        }
        sqlx::Error::Configuration(_) => return Error::Invalid(error.to_string()),
        _ => None,
    };
    let message = error.to_string();
    match outage {
        Some(outage) => Error::Unavailable { outage, message },
        None => Error::Broken { doing, message },
    }
}

/// By SQLSTATE, see PostgreSQL's appendix "Error Codes".
fn postgres_outage(code: &str) -> Option<Outage> {
    match code {
        // Deadlock, serialization failure, lock not available, canceled by a timeout.
        "40001" | "40P01" | "55P03" | "57014" => Some(Outage::Busy),
        // Too many connections is a matter of reaching it.
        "53300" => Some(Outage::Unreachable),
        // Shutdown, crash, starting up, a standby that does not take writes, and a connection that was ended because a
        // transaction stood still.
        "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P03" => Some(Outage::Unreachable),
        "58030" => Some(Outage::Failing),
        _ if code.starts_with("08") => Some(Outage::Unreachable),
        _ if code.starts_with("53") => Some(Outage::Full),
        _ => None,
    }
}

/// By SQLite's extended result code, whose low byte is the primary one.
fn sqlite_outage(code: i32) -> Option<Outage> {
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED.
        5 | 6 => Some(Outage::Busy),
        // SQLITE_NOMEM, SQLITE_FULL.
        7 | 13 => Some(Outage::Full),
        // SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN.
        8 | 10 | 14 => Some(Outage::Failing),
        _ => None,
    }
}
