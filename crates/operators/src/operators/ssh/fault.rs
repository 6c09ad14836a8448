//! Why something did not come about, in words for people.

use russh_sftp::{client::error::Error as SftpError, protocol::StatusCode};
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

/// What has happened to a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The server's key is not the one that is expected.
    #[error("{0}")]
    Untrusted(String),
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

impl Server {
    /// A fault of this server.
    pub(super) fn fault(&self, why: impl std::fmt::Display) -> Fault {
        Fault(format!("connection `{}` (SSH at {}): {why}", self.conn_id, self.shown()))
    }

    /// What the SSH library says, in words for people.
    pub(super) fn broken(&self, broken: Broken) -> Fault {
        use russh::Error;
        match broken {
            Broken::Untrusted(why) => self.fault(why),
            Broken::Ssh(Error::NoCommonAlgo { kind, theirs, .. }) => self.fault(format!(
                "the server and Updraft have no {kind:?} algorithm in common; it has {}: have it offer a newer one",
                theirs.join(", ")
            )),
            Broken::Ssh(
                error @ (Error::Disconnect
                | Error::HUP
                | Error::SendError
                | Error::RecvError
                | Error::KeepaliveTimeout
                | Error::IO(_)),
            ) => self.fault(format!("the connection broke off ({error}): the server, or something on the way, ended it")),
            Broken::Ssh(error) => self.fault(error),
        }
    }

    /// What the SFTP library says of a path there, in words for people.
    pub(super) fn refused(&self, what: &str, path: &str, error: SftpError) -> Fault {
        let why = match error {
            SftpError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => "there is no such file or folder there".to_owned(),
                StatusCode::PermissionDenied => "the account may not do that there".to_owned(),
                code if status.error_message.is_empty() => code.to_string(),
                // OpenSSH says no more than this; what it most often means helps more.
                StatusCode::Failure if status.error_message == "Failure" => {
                    "the server says only that it failed: is there a file or folder of that name, or no room?"
                        .to_owned()
                }
                _ => status.error_message,
            },
            SftpError::Timeout => "the server has not answered in time".to_owned(),
            error => {
                format!("the connection broke off ({error}): the server, or something on the way, ended it")
            }
        };
        self.fault(format!("{what} {path} failed: {why}"))
    }
}
