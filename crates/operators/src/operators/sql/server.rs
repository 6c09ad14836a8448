//! The database that a connection leads to, as Airflow's PostgreSQL, MySQL and SQLite providers document their
//! connections.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use sqlx::{
    ConnectOptions,
    mysql::{MySqlConnectOptions, MySqlSslMode},
    postgres::{PgConnectOptions, PgSslMode},
    sqlite::SqliteConnectOptions,
};
use updraft_core::protocol::Connection;

use super::text::Dialect;
use crate::{
    Files, Refused,
    catalog::argument::{Duration as Length, FromArgument},
    files::Place,
    prepare::{Job, no_connection},
};

/// How long a server may take to let one in, where its connection says nothing (`connect_timeout`).
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest certificate or key, in bytes.
const MOST_OF_A_KEY: u64 = 1 << 20;

/// A database, and how to get in.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) conn_id: String,
    /// Where it is, for people: without the password.
    pub(super) shown: String,
    pub(super) login: String,
    pub(super) patience: Duration,
    pub(super) way: Way,
}

/// How to get in.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Sqlite {
        options: Box<SqliteConnectOptions>,
        /// What the file is checked against once more when it is open.
        files: Box<Files>,
    },
}

impl Server {
    /// The server of a connection. `database` takes the place of the connection's own. Its certificates and keys are
    /// read here. Blocks.
    pub(super) fn of(job: &Job<'_>, conn_id: &str, database: Option<&str>) -> Result<Self, Refused> {
        let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
        let given = Given { job, connection: &connection, database };
        let way = match &*connection.conn_type {
            "postgres" | "postgresql" | "redshift" => given.postgres(),
            "mysql" | "mariadb" => given.mysql(),
            "sqlite" => given.sqlite(),
            other => Err(bad(
                conn_id,
                &format!(
                    "is of type `{other}`, with which no SQL is done here: the type is postgres, mysql (MariaDB, \
                     too) or sqlite"
                ),
            )),
        }?;
        let patience = ["connect_timeout", "timeout"].into_iter().find_map(|name| given.extra(name));
        let patience = patience
            .filter(|_| connection.conn_type != "sqlite")
            .map(Length::from_argument)
            .transpose()
            .map_err(|wrong| bad(conn_id, &format!("has a `connect_timeout` that {wrong}")))?
            .map_or(PATIENCE, |Length(length)| length.unsigned_abs());
        let login = given.login();
        Ok(Self { conn_id: conn_id.to_owned(), shown: given.shown(&way), login, patience, way })
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.way {
            Way::Postgres(_) => Dialect::Postgres,
            Way::MySql(_) => Dialect::MySql,
            Way::Sqlite { .. } => Dialect::Sqlite,
        }
    }
}

fn bad(conn_id: &str, why: &str) -> Refused {
    Refused::Missing(format!("the connection `{conn_id}` {why}"))
}

/// A connection as it is written.
struct Given<'a> {
    job: &'a Job<'a>,
    connection: &'a Connection,
    database: Option<&'a str>,
}

impl Given<'_> {
    fn bad(&self, why: &str) -> Refused {
        bad(&self.connection.conn_id, why)
    }

    fn extra(&self, name: &str) -> Option<&Value> {
        self.connection.extra.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.extra(name).and_then(Value::as_str)
    }

    fn host(&self) -> &str {
        self.connection.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("localhost")
    }

    fn login(&self) -> String {
        self.connection.login.clone().unwrap_or_default()
    }

    fn database(&self) -> Option<&str> {
        let own = self.connection.schema.as_deref();
        self.database.or(own).filter(|database| !database.is_empty())
    }

    fn shown(&self, way: &Way) -> String {
        let (port, kind) = match way {
            Way::Postgres(options) => (options.get_port(), "PostgreSQL"),
            Way::MySql(options) => (options.get_port(), "MySQL"),
            Way::Sqlite { options, .. } => return options.get_filename().display().to_string(),
        };
        let database = self.database().map(|name| format!(", database `{name}`")).unwrap_or_default();
        format!("{kind} at {}:{port}{database}", self.host())
    }

    /// What is in the file that an extra field names: a certificate or a key.
    fn file(&self, path: &str) -> Result<Vec<u8>, Refused> {
        let read = self.job.host.files()?.read(Path::new(path), MOST_OF_A_KEY);
        read.map_err(|error| self.bad(&format!("names a file for TLS: {error}")))
    }

    /// The account is never taken from the worker's own environment or password file.
    fn postgres(&self) -> Result<Way, Refused> {
        // Without these it would log in otherwise than is meant, or elsewhere.
        for name in ["iam", "target_session_attrs"] {
            if self.extra(name).is_some_and(|value| !matches!(value, Value::Bool(false)) && value != "any") {
                return Err(
                    self.bad(&format!("has `{name}`, which is not supported: take it out of its extra"))
                );
            }
        }
        let mut options = PgConnectOptions::new_without_pgpass()
            .port(self.connection.port.unwrap_or(5432))
            .username(&self.login())
            .password(self.connection.password.as_deref().unwrap_or_default())
            .application_name("updraft")
            .ssl_mode(PgSslMode::Prefer)
            // There may be secrets in statements, which are for the task's log alone, if at all.
            .disable_statement_logging();
        options = if self.host().starts_with('/') {
            options.socket(self.host())
        } else {
            options.host(self.host())
        };
        let database = self.database().map_or_else(|| self.login(), str::to_owned);
        options = options.database(&database);
        if let Some(mode) = self.text("sslmode") {
            let mode = mode.parse::<PgSslMode>().map_err(|_| {
                self.bad(&format!(
                    "has the `sslmode` {mode:?}: it is disable, allow, prefer, require, verify-ca or verify-full"
                ))
            })?;
            options = options.ssl_mode(mode);
        }
        if let Some(path) = self.text("sslrootcert") {
            options = options.ssl_root_cert_from_pem(self.file(path)?);
        }
        if let Some(path) = self.text("sslcert") {
            options = options.ssl_client_cert_from_pem(self.file(path)?);
        }
        if let Some(path) = self.text("sslkey") {
            options = options.ssl_client_key_from_pem(self.file(path)?);
        }
        if let Some(name) = self.text("application_name") {
            options = options.application_name(name);
        }
        // `-c search_path=sales -c lock_timeout=5s`
        let settings = self.text("options").unwrap_or_default().split_whitespace();
        let settings = settings.map(|word| word.trim_start_matches("-c").trim_start_matches("--"));
        options = options.options(settings.filter_map(|word| word.split_once('=')));
        Ok(Way::Postgres(Box::new(options)))
    }

    fn mysql(&self) -> Result<Way, Refused> {
        let mut options = MySqlConnectOptions::new()
            .host(self.host())
            .port(self.connection.port.unwrap_or(3306))
            .username(&self.login())
            .disable_statement_logging();
        if let Some(password) = self.connection.password.as_deref().filter(|password| !password.is_empty()) {
            options = options.password(password);
        }
        if let Some(database) = self.database() {
            options = options.database(database);
        }
        if let Some(socket) = self.text("unix_socket") {
            options = options.socket(socket);
        }
        if let Some(charset) = self.text("charset") {
            options = options.charset(charset);
        }
        if let Some(mode) = self.text("ssl_mode") {
            options = options.ssl_mode(match &*mode.to_uppercase() {
                "DISABLED" => MySqlSslMode::Disabled,
                "PREFERRED" => MySqlSslMode::Preferred,
                "REQUIRED" => MySqlSslMode::Required,
                "VERIFY_CA" => MySqlSslMode::VerifyCa,
                "VERIFY_IDENTITY" => MySqlSslMode::VerifyIdentity,
                _ => {
                    return Err(self.bad(&format!(
                        "has the `ssl_mode` {mode:?}: it is disabled, preferred, required, verify_ca or \
                         verify_identity"
                    )));
                }
            });
        }
        let tls = match self.extra("ssl") {
            Some(Value::Object(map)) => map.clone(),
            Some(Value::String(text)) => serde_json::from_str(text)
                .map_err(|error| self.bad(&format!("has an `ssl` that is no JSON map: {error}")))?,
            _ => serde_json::Map::new(),
        };
        let path = |name: &str| tls.get(name).and_then(Value::as_str);
        if let Some(path) = path("ca") {
            options = options.ssl_ca_from_pem(self.file(path)?);
            if self.text("ssl_mode").is_none() {
                options = options.ssl_mode(MySqlSslMode::VerifyCa);
            }
        }
        if let Some(path) = path("cert") {
            options = options.ssl_client_cert_from_pem(self.file(path)?);
        }
        if let Some(path) = path("key") {
            options = options.ssl_client_key_from_pem(self.file(path)?);
        }
        Ok(Way::MySql(Box::new(options)))
    }

    /// The file is the connection's host. A relative path starts at the DAG file's folder or, where there is none, at
    /// the folder for what tasks write.
    fn sqlite(&self) -> Result<Way, Refused> {
        let path = self.connection.host.as_deref().or(self.connection.schema.as_deref()).unwrap_or_default();
        let path = path.strip_prefix("sqlite://").unwrap_or(path);
        if path.is_empty() {
            return Err(self.bad("has no host: of a SQLite database it is the path of its file"));
        }
        if path == ":memory:" {
            let options = SqliteConnectOptions::new().in_memory(true).filename(path);
            return Ok(Way::Sqlite { options: Box::new(options), files: Box::default() });
        }
        let files = self.job.host.files()?;
        let path = match self.job.found(path)? {
            there if there.exists() => there,
            _ => self.job.written(path)?,
        };
        let (place, path): (Place, PathBuf) = files.place(&path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(place == Place::Readable)
            .create_if_missing(place == Place::Free)
            .busy_timeout(Duration::from_secs(5))
            .disable_statement_logging();
        Ok(Way::Sqlite { options: Box::new(options), files: Box::new(files.clone()) })
    }
}
