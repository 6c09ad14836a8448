//! The server that a connection leads to, as Airflow's SSH provider documents its connections.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use russh::keys::{PrivateKey, decode_secret_key};
use serde_json::Value;
use updraft_core::protocol::Connection;

use super::known::{self, Trust};
use crate::{
    Refused,
    catalog::argument::{Duration as Length, FromArgument},
    prepare::{Job, no_connection},
};

/// How long the server may take to answer, where its connection says nothing (`conn_timeout`); as in Airflow.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a command may be silent, where nobody says (`cmd_timeout`); as in Airflow.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest key, in bytes.
const MOST_OF_A_KEY: u64 = 1 << 20;

/// The longest file of known hosts, in bytes.
const MOST_OF_KNOWN_HOSTS: u64 = 16 << 20;

/// A server, and how to get in.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) conn_id: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) account: Account,
    pub(super) trust: Trust,
    pub(super) patience: Duration,
    /// How long a command may be silent.
    pub(super) silence: Option<Duration>,
    /// How often the server is asked whether it is still there.
    pub(super) keepalive: Option<Duration>,
}

/// Who gets in, and by what.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) login: String,
    pub(super) key: Option<Arc<PrivateKey>>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Account").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Server {
    /// The server of a connection. `host` takes the place of the connection's own. Its key and the file of known hosts
    /// are read here. Blocks.
    pub(super) fn of(job: &Job<'_>, conn_id: &str, host: Option<&str>) -> Result<Self, Refused> {
        let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
        let given = Given { job, connection: &connection };
        if !matches!(&*connection.conn_type, "ssh" | "sftp") {
            return Err(
                given.bad(&format!("is of type `{}`: the type must be ssh or sftp", connection.conn_type))
            );
        }
        // Without these it would go another way than is meant, or a less safe one.
        for name in ["host_proxy_cmd", "ciphers", "disabled_algorithms"] {
            if given.extra(name).is_some() {
                return Err(
                    given.bad(&format!("has `{name}`, which is not supported: take it out of its extra"))
                );
            }
        }
        let host = host.or(connection.host.as_deref()).filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| given.bad("has no host, and the task names none (`remote_host`)"))?;
        let port = connection.port.unwrap_or(22);
        let seconds = |name: &str| -> Result<Option<Duration>, Refused> {
            let length = given.extra(name).map(Length::from_argument).transpose();
            let length = length.map_err(|wrong| given.bad(&format!("has a `{name}` that {wrong}")))?;
            Ok(length.map(|Length(length)| length.unsigned_abs()))
        };
        let keepalive = seconds("keepalive_interval")?.unwrap_or(Duration::from_secs(30));
        Ok(Self {
            conn_id: conn_id.to_owned(),
            host: host.to_owned(),
            port,
            account: given.account()?,
            trust: given.trust(host, port)?,
            patience: seconds("conn_timeout")?.or(seconds("timeout")?).unwrap_or(PATIENCE),
            silence: match connection.extra.get("cmd_timeout") {
                Some(Value::Null) => None,
                _ => Some(seconds("cmd_timeout")?.unwrap_or(SILENCE)),
            },
            keepalive: Some(keepalive).filter(|interval| !interval.is_zero()),
        })
    }

    /// Where it is, for people.
    pub(super) fn shown(&self) -> String {
        format!("{}@{}:{}", self.account.login, self.host, self.port)
    }
}

/// A connection as it is written.
struct Given<'a> {
    job: &'a Job<'a>,
    connection: &'a Connection,
}

impl Given<'_> {
    fn bad(&self, why: &str) -> Refused {
        Refused::Missing(format!("the connection `{}` {why}", self.connection.conn_id))
    }

    fn extra(&self, name: &str) -> Option<&Value> {
        self.connection.extra.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.extra(name).and_then(Value::as_str)
    }

    /// Whether something is so; Airflow has it as text, too.
    fn is(&self, name: &str) -> Result<bool, Refused> {
        match self.extra(name) {
            None => Ok(false),
            Some(Value::Bool(is)) => Ok(*is),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(self.bad(&format!("has the `{name}` {other}: it is true or false"))),
        }
    }

    fn file(&self, path: &Path, most: u64) -> Result<String, Refused> {
        let read = self.job.host.files()?.read_text(&self.job.folder().join(path), most);
        read.map_err(|error| self.bad(&format!("names a file: {error}")))
    }

    fn account(&self) -> Result<Account, Refused> {
        let given = self.connection.login.clone().filter(|login| !login.is_empty());
        let login = given.ok_or_else(|| self.bad("has no login: say which account there is used"))?;
        let password = self.connection.password.clone().filter(|password| !password.is_empty());
        let text = match (self.text("private_key"), self.text("key_file")) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(path)) => Some(self.file(Path::new(path), MOST_OF_A_KEY)?),
            (None, None) => None,
        };
        let Some(text) = text else {
            return match password {
                Some(_) => Ok(Account { login, key: None, password }),
                None => Err(self.bad(
                    "has neither a password nor a key: put one into `password`, or into `private_key` or `key_file` \
                     of its extra. The keys of the worker's own user are not tried",
                )),
            };
        };
        // Whoever prints a key prints it line by line.
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= 16 && !line.starts_with("-----"));
        lines.for_each(|line| self.job.keep_secret(line));
        // As Airflow has it: without a passphrase of its own, the key has the password's.
        let passphrase = self.text("private_key_passphrase").or(password.as_deref());
        // An extra field may have lost its line ends to JSON written by hand.
        let text = text.replace("\\n", "\n");
        let key = decode_secret_key(&text, passphrase).or_else(|_| decode_secret_key(&text, None)).map_err(|error| {
            self.bad(&format!(
                "has a private key that can't be read ({error}): it is the text of a file such as ssh-keygen makes, \
                 and its passphrase is `private_key_passphrase`"
            ))
        })?;
        Ok(Account { login, key: Some(Arc::new(key)), password })
    }

    fn trust(&self, host: &str, port: u16) -> Result<Trust, Refused> {
        if let Some(text) = self.text("host_key") {
            return Trust::in_one(text).ok_or_else(|| {
                self.bad(
                    "has a `host_key` that can't be read: it is a kind and a key, such as `ssh-ed25519 AAAA…`, as \
                     ssh-keyscan prints it",
                )
            });
        }
        let strangers = self.is("no_host_key_check")?;
        if strangers && self.is("allow_host_key_change")? {
            return Ok(Trust { strangers, ..Trust::default() });
        }
        let given = self.text("known_hosts").map(|path| self.job.folder().join(path));
        let Some(path) = given.or_else(known::default_path) else {
            return Ok(Trust { strangers, source: "known_hosts".into(), ..Trust::default() });
        };
        let text = match self.job.host.files()?.read_text(&path, MOST_OF_KNOWN_HOSTS) {
            Ok(text) => text,
            Err(error) if error.is_missing() => String::new(),
            Err(error) => return Err(self.bad(&format!("needs the keys of known hosts: {error}"))),
        };
        Ok(Trust { strangers, ..Trust::in_known_hosts(&text, &path, host, port) })
    }
}
