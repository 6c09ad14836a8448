//! The server that a connection leads to, as Airflow's FTP provider documents its connections, and its faults.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde_json::Value;
use suppaftp::{FtpError, Status};
use updraft_core::{
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};

use crate::{
    Refused,
    catalog::argument::{Duration as Length, FromArgument},
    prepare::{Job, no_connection},
    tls,
};

/// How long the server may take for an answer, where its connection says nothing (`timeout`).
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest file of certificates, in bytes.
const MOST_OF_CERTIFICATES: u64 = 16 << 20;

/// A server, and how to get in.
#[derive(Clone)]
pub(super) struct Server {
    conn_id: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: String,
    pub(super) password: String,
    pub(super) patience: Duration,
    /// With it, nothing goes unencrypted.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("shown", &self.shown()).finish_non_exhaustive()
    }
}

/// Why something did not come about: where, what is wrong, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Fault {
    pub(super) why: String,
    /// What the server answered, where it did.
    pub(super) code: Option<u32>,
}

impl From<Fault> for Outcome {
    /// Airflow tries whatever failed again, as often as the task says; so is it here.
    fn from(fault: Fault) -> Self {
        Self { message: Some(fault.why), ..Self::new(AttemptEnd::Failed) }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self { why, code: None }
    }
}

impl Server {
    /// The server of a connection, with TLS or as its type says. Its certificates are read here. Blocks.
    pub(super) fn of(job: &Job<'_>, conn_id: &str, with_tls: bool) -> Result<Self, Refused> {
        let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
        let bad = |why: &str| Refused::Missing(format!("the connection `{conn_id}` {why}"));
        if !matches!(&*connection.conn_type, "ftp" | "ftps") {
            return Err(bad(&format!("is of type `{}`: the type must be ftp or ftps", connection.conn_type)));
        }
        let extra = |name: &str| connection.extra.get(name).filter(|value| !value.is_null());
        if extra("passive").is_some_and(|passive| matches!(passive, Value::Bool(false))) {
            return Err(bad(
                "has `passive: false`, and a server can't call back here: take it off; every server knows passive mode",
            ));
        }
        let patience = extra("timeout").map(Length::from_argument).transpose();
        let patience = patience.map_err(|wrong| bad(&format!("has a `timeout` that {wrong}")))?;
        let host = connection.host.clone().filter(|host| !host.is_empty());
        let tls = match with_tls || connection.conn_type == "ftps" {
            true => Some(Arc::new(tls_of(job, &connection)?)),
            false => None,
        };
        let login = connection.login.clone().filter(|login| !login.is_empty());
        let password = connection.password.clone();
        Ok(Self {
            conn_id: conn_id.to_owned(),
            host: host.ok_or_else(|| bad("has no host"))?,
            port: connection.port.unwrap_or(21),
            // As Python's `ftplib` has it.
            password: password
                .unwrap_or_else(|| if login.is_none() { "anonymous@".into() } else { String::new() }),
            login: login.unwrap_or_else(|| "anonymous".into()),
            patience: patience.map_or(PATIENCE, |Length(length)| length.unsigned_abs()),
            tls,
        })
    }

    /// Where it is, for people.
    pub(super) fn shown(&self) -> String {
        let kind = if self.tls.is_some() { "FTPS" } else { "FTP" };
        format!("{kind} at {}@{}:{}", self.login, self.host, self.port)
    }

    /// A fault of this server.
    pub(super) fn fault(&self, why: impl fmt::Display) -> Fault {
        format!("connection `{}` ({}): {why}", self.conn_id, self.shown()).into()
    }

    /// What the FTP library says, in words for people.
    pub(super) fn failed(&self, what: &str, error: FtpError) -> Fault {
        match error {
            FtpError::UnexpectedResponse(response) => {
                let said = String::from_utf8_lossy(&response.body);
                let mend = match response.status {
                    Status::NotLoggedIn => ": check the connection's login and password",
                    _ => "",
                };
                let why = format!("{what} failed: the server says {}{mend}", said.trim());
                Fault { code: Some(response.status.code()), ..self.fault(why) }
            }
            FtpError::ConnectionError(error) => self.fault(format!(
                "{what} failed: the connection broke off ({error}): the server, or something on the way, ended it"
            )),
            FtpError::SecureError(error) => self.fault(format!(
                "{what} failed: TLS can't be had ({error}): check that the server has a certificate for its host that \
                 this machine trusts, or name the one to trust in `ca_cert` of the connection's extra"
            )),
            error => self.fault(format!("{what} failed: {error}")),
        }
    }
}

/// Whom to trust: as the machine does, or the certificates in the file that `ca_cert` names.
fn tls_of(job: &Job<'_>, connection: &Connection) -> Result<ClientConfig, Refused> {
    let bad = |why: String| Refused::Missing(format!("the connection `{}` {why}", connection.conn_id));
    let Some(path) = connection.extra.get("ca_cert").and_then(Value::as_str).filter(|path| !path.is_empty())
    else {
        return tls::trusting_the_system().map_err(|error| bad(format!("can't have TLS: {error}")));
    };
    let pem = job.host.files()?.read(&job.folder().join(Path::new(path)), MOST_OF_CERTIFICATES);
    let pem = pem.map_err(|error| bad(format!("names a file for TLS: {error}")))?;
    tls::trusting(&pem).map_err(|error| bad(format!("has a `ca_cert` that can't be used: {error}")))
}
