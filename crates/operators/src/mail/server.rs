//! Where mail goes: how a server is reached.

use std::time::Duration;

use lettre::transport::smtp::{
    Error,
    authentication::{Credentials, DEFAULT_MECHANISMS},
    client::{AsyncSmtpConnection, TlsParameters},
    extension::ClientId,
};
use serde_json::Value;
use updraft_core::protocol::Connection;

use super::MailError;

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// The machine.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How what is said to it is kept secret.
    pub security: Security,
    /// Whether the server must prove that it is who it is. Only for machines of one's own is this ever false.
    pub verify: bool,
    /// Account and password.
    pub login: Option<(String, String)>,
    /// How long the server may take to answer the call. For a whole mail it may take four times that, and a
    /// second for each 16 KiB.
    pub timeout: Duration,
    /// The address that mail comes from where a mail does not say.
    pub from: Option<String>,
}

/// How what is said to a mail server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// From STARTTLS on, if the server has it.
    StartTlsIfThere,
    /// From STARTTLS on, or no mail is sent.
    StartTls,
    /// From the first byte.
    Tls,
}

impl MailServer {
    /// Reads `smtp://user:password@host:587` (STARTTLS if the server has it; `?tls=required` insists on it,
    /// `?tls=off` goes without) or `smtps://…` (TLS from the first byte, port 465).
    ///
    /// # Errors
    ///
    /// What is wrong with the address. Its password is not shown.
    pub fn from_url(url: &str) -> Result<Self, MailError> {
        let wrong = |what: &str| {
            MailError::Permanent(format!(
                "the mail server's address must be smtp://user:password@host:587: {what}"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (account, host) =
            rest.rsplit_once('@').map_or((None, rest), |(account, host)| (Some(account), host));
        let host = host.trim_end_matches('/');
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| wrong("its port is no number"))?))
            }
            _ => (host, None),
        };
        let security = match (scheme, query) {
            ("smtps", "") => Security::Tls,
            ("smtp", "") => Security::StartTlsIfThere,
            ("smtp", "tls=required") => Security::StartTls,
            ("smtp", "tls=off") => Security::Plain,
            ("smtp" | "smtps", _) => {
                return Err(wrong("behind `?` there can only be tls=required or tls=off"));
            }
            (_, _) => return Err(wrong("its scheme must be smtp or smtps")),
        };
        if host.is_empty() {
            return Err(wrong("it names no machine"));
        }
        let decode =
            |text: &str| percent_decoded(text).ok_or_else(|| wrong("its account has a wrong % in it"));
        let login = match account.map(|account| account.split_once(':').unwrap_or((account, ""))) {
            Some((user, password)) => Some((decode(user)?, decode(password)?)),
            None => None,
        };
        let port = port.unwrap_or(if security == Security::Tls { 465 } else { 25 });
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port,
            security,
            verify: true,
            login,
            timeout: Duration::from_secs(30),
            from: None,
        })
    }

    /// Reads a connection of Airflow's type `smtp`: TLS from the first byte unless its extra fields say
    /// `disable_ssl`, then STARTTLS unless they say `disable_tls`.
    ///
    /// # Errors
    ///
    /// What is wrong with the connection.
    pub fn from_connection(connection: &Connection) -> Result<Self, MailError> {
        let wrong =
            |what: String| MailError::Permanent(format!("the connection `{}` {what}", connection.conn_id));
        let host = connection.host.clone().filter(|host| !host.is_empty());
        let flag = |name: &str| match connection.extra.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(wrong(format!("has `{name}` as {other}; it is true or false"))),
        };
        let security = match (flag("disable_ssl")?, flag("disable_tls")?) {
            (false, _) => Security::Tls,
            (true, false) => Security::StartTls,
            (true, true) => Security::Plain,
        };
        let timeout = match connection.extra.get("timeout") {
            None | Some(Value::Null) => Duration::from_secs(30),
            Some(value) => value
                .as_f64()
                .or_else(|| value.as_str()?.parse().ok())
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| wrong(format!("has the timeout {value}; it is a number of seconds")))?,
        };
        let verify = match connection.extra.get("ssl_context").and_then(Value::as_str) {
            None | Some("default") => true,
            Some("none") => false,
            Some(other) => {
                return Err(wrong(format!("has `ssl_context` as {other:?}; it is default or none")));
            }
        };
        Ok(Self {
            host: host.ok_or_else(|| wrong("names no host".into()))?,
            port: connection.port.unwrap_or(if security == Security::Tls { 465 } else { 25 }),
            security,
            verify,
            login: connection
                .login
                .clone()
                .map(|login| (login, connection.password.clone().unwrap_or_default())),
            timeout,
            from: connection.extra.get("from_email").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// How long a mail of this size may take. lettre's own limit holds for the connection alone.
    pub(super) fn patience(&self, bytes: usize) -> Duration {
        self.timeout.saturating_mul(4) + Duration::from_secs(bytes as u64 / 16_384)
    }

    /// For errors.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection over which mail can be sent: kept secret as is wanted, and logged in.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let us = ClientId::default();
        let tls = TlsParameters::builder(self.host.clone()).dangerous_accept_invalid_certs(!self.verify);
        let at_once = match self.security {
            Security::Tls => Some(tls.clone().build()?),
            Security::Plain | Security::StartTlsIfThere | Security::StartTls => None,
        };
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &us, at_once, None).await?;
        let later = match self.security {
            Security::Plain | Security::Tls => false,
            Security::StartTlsIfThere => connection.can_starttls(),
            // Where the server has none, this is an error.
            Security::StartTls => true,
        };
        if later {
            connection.starttls(tls.build()?, &us).await?;
        }
        if let Some((user, password)) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, &Credentials::new(user.clone(), password.clone())).await?;
        }
        Ok(connection)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_says_how_secret_and_who() {
        let server = MailServer::from_url("smtp://ann%40x:p%3Aw@mail.example.org:587?tls=required").unwrap();
        assert_eq!(
            (server.host.as_str(), server.port, server.security),
            ("mail.example.org", 587, Security::StartTls)
        );
        assert_eq!(server.login, Some(("ann@x".into(), "p:w".into())));
        let server = MailServer::from_url("smtps://mail.example.org").unwrap();
        assert_eq!((server.port, server.security, server.login), (465, Security::Tls, None));
        let server = MailServer::from_url("smtp://localhost/").unwrap();
        assert_eq!((server.port, server.security), (25, Security::StartTlsIfThere));
        assert_eq!(MailServer::from_url("smtp://[::1]:2525").unwrap().host, "::1");
        for wrong in
            ["mail.example.org", "http://x", "smtp://", "smtp://x:y", "smtp://x?tls=maybe", "smtp://a%zz@x"]
        {
            let error = MailServer::from_url(wrong).unwrap_err();
            assert!(error.to_string().contains("smtp://user:password@host:587"), "{error}");
        }
    }

    #[test]
    fn a_connection_means_what_it_means_to_airflow() {
        let connection = |extra: Value| Connection {
            host: Some("mail.example.org".into()),
            extra: extra.as_object().cloned().unwrap_or_default(),
            ..Connection::default()
        };
        let read = |extra| MailServer::from_connection(&connection(extra)).unwrap();
        assert_eq!(read(json!({})).security, Security::Tls);
        assert_eq!(read(json!({"disable_ssl": true})).security, Security::StartTls);
        assert_eq!(read(json!({"disable_ssl": "true", "disable_tls": true})).security, Security::Plain);
        assert!(!read(json!({"ssl_context": "none"})).verify);
        assert!(MailServer::from_connection(&connection(json!({"disable_ssl": 3}))).is_err());
        assert!(MailServer::from_connection(&Connection::default()).is_err());
    }
}
