//! Why something did not come about, in words for people.

use std::io::ErrorKind;

use sqlx::Error;
use updraft_core::input::{AttemptEnd, Outcome};

use super::server::Server;

/// Why something did not come about: where, what is wrong, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(pub(super) String);

impl From<Fault> for Outcome {
    /// Airflow tries whatever failed again, as often as the task says; so is it here.
    fn from(fault: Fault) -> Self {
        Self { message: Some(fault.0), ..Self::new(AttemptEnd::Failed) }
    }
}

fn no_tls(error: impl std::fmt::Display) -> String {
    format!("TLS failed ({error}): check the connection's `sslmode` (MySQL: `ssl_mode`) and its certificates")
}

impl Server {
    /// A fault of this server.
    pub(super) fn fault(&self, why: impl std::fmt::Display) -> Fault {
        Fault(format!("connection `{}` ({}): {why}", self.conn_id, self.shown))
    }

    /// What the driver says, in words for people.
    pub(super) fn failed(&self, error: Error) -> Fault {
        self.fault(self.explained(error))
    }

    fn explained(&self, error: Error) -> String {
        match error {
            Error::Io(error) => match error.kind() {
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted => {
                    format!(
                        "the server broke off the connection ({error}): it ended, or something on the way did"
                    )
                }
                // What comes back is no TLS, or no certificate that is trusted.
                ErrorKind::InvalidData => no_tls(error),
                _ => format!("no server answers ({error}): check its host and port, and whether it runs"),
            },
            Error::Tls(error) => no_tls(error),
            Error::Database(error) => {
                let code = error.code().map(|code| format!(" [{code}]")).unwrap_or_default();
                let place = error
                    .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                    .and_then(|error| Some(format!(" {}", error.detail().or(error.hint())?)))
                    .unwrap_or_default();
                let mend = self.mend(error.as_ref());
                format!("{}{code}{place}{mend}", error.message())
            }
            Error::Encode(error) | Error::Decode(error) => error.to_string(),
            error => error.to_string(),
        }
    }

    /// What to do about it, where the server's own words don't say.
    fn mend(&self, error: &dyn sqlx::error::DatabaseError) -> String {
        let mysql = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|error| error.number());
        match (error.code().as_deref(), mysql) {
            (Some("28P01" | "28000"), _) | (_, Some(1045 | 1698)) => {
                format!(": check the login (`{}`) and the password of the connection", self.login)
            }
            (Some("3D000"), _) | (_, Some(1049)) => {
                ": check the connection's schema, which is the database's name".into()
            }
            (Some("42P01"), _) | (_, Some(1146)) => {
                ": check the table's name, its schema, and which database the connection leads to".into()
            }
            (Some("25001"), _) => ": set `autocommit: true`".into(),
            _ if error.message().contains("within a transaction") => ": set `autocommit: true`".into(),
            (Some("25006"), _) => ": the database, or what is asked for, is read-only".into(),
            (Some("53300"), _) | (_, Some(1040)) => {
                ": give the task a `pool` with fewer slots, or the server more connections".into()
            }
            _ => String::new(),
        }
    }
}
