//! `updraft connections`.

mod file;

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use updraft_core::protocol::Connection;
use updraft_server::secrets::parse_connection;

use super::{Ask, Limit, Session, dags};
use crate::{
    failure::{Exit, Failure},
    output::{Columns, secret},
};

const PATH: [&str; 2] = ["v2", "connections"];

/// What can be done with connections.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List connections, by name. Those of the server's environment are not among them.
    #[command(after_help = "Example:\n  updraft connections list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one connection; its password is never shown.
    #[command(after_help = "Example:\n  updraft connections get warehouse")]
    Get {
        /// The connection.
        conn_id: String,
    },
    /// Make a connection.
    #[command(
        after_help = "Examples:\n  updraft connections add warehouse --type postgres --host db.example.com \
                            --login me --password -\n  \
                            updraft connections add warehouse --uri 'postgres://me@db.example.com:5432/shop'\n  \
                            updraft connections add warehouse --type postgres --password - --overwrite"
    )]
    Add(Box<Add>),
    /// Try a connection from this machine, without a server: log in where it leads, and change nothing there.
    #[command(after_help = "Example:\n  updraft connections test warehouse")]
    Test {
        /// The connection: the home folder's, or one of this environment or its secrets' backends.
        conn_id: String,
    },
    /// Delete a connection.
    #[command(after_help = "Example:\n  updraft connections delete warehouse")]
    Delete {
        /// The connection.
        conn_id: String,
    },
    /// Make all connections of a file, as Airflow exports them: `.json`, `.yaml` or `.env`.
    #[command(after_help = "Examples:\n  updraft connections import connections.json\n  \
                            updraft connections import connections.env --overwrite")]
    Import {
        /// The file.
        file: PathBuf,
        /// Change those that are there already, in what the file says of them; without it they stay as they are.
        #[arg(long)]
        overwrite: bool,
    },
    /// Write all connections into a JSON file, but for their passwords, which are shown to nobody.
    #[command(
        after_help = "Examples:\n  updraft connections export connections.json\n  updraft connections export -"
    )]
    Export {
        /// The file; `-` for standard output.
        file: PathBuf,
    },
}

/// A connection that is to be.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["uri", "conn_type"]).required(true).multiple(true)))]
#[command(override_usage = "updraft connections add [OPTIONS] <CONN_ID> --uri <URI>\n       \
                            updraft connections add [OPTIONS] <CONN_ID> --type <TYPE>")]
pub struct Add {
    /// Its name: letters, digits, `_`, `.` and `-`.
    conn_id: String,
    /// All of it in one: `type://login:password@host:port/schema?key=value`, or JSON, as in AIRFLOW_CONN_*.
    #[arg(long = "uri", alias = "conn-uri", value_name = "URI")]
    uri: Option<String>,
    /// What it leads to: `http`, `postgres`, `smtp`, …
    #[arg(long = "type", alias = "conn-type", value_name = "TYPE")]
    conn_type: Option<String>,
    /// The machine.
    #[arg(long, alias = "conn-host")]
    host: Option<String>,
    /// The port.
    #[arg(long, alias = "conn-port")]
    port: Option<u16>,
    /// The account.
    #[arg(long, alias = "conn-login")]
    login: Option<String>,
    /// The password; `-` asks for it, or reads it from standard input, where no other process sees it.
    #[arg(long, alias = "conn-password")]
    password: Option<String>,
    /// The database, or whatever the type calls so.
    #[arg(long, alias = "conn-schema")]
    schema: Option<String>,
    /// More, a JSON object.
    #[arg(long, alias = "conn-extra", value_name = "JSON")]
    extra: Option<String>,
    /// What it is for.
    #[arg(long, alias = "conn-description", value_name = "TEXT")]
    description: Option<String>,
    /// Change it where it is there already, in what is said here.
    #[arg(long)]
    overwrite: bool,
}

const LISTED: Columns = &[
    ("CONNECTION", "/connection_id"),
    ("TYPE", "/conn_type"),
    ("HOST", "/host"),
    ("PORT", "/port"),
    ("LOGIN", "/login"),
    ("SCHEMA", "/schema"),
    ("DESCRIPTION", "/description"),
];

const SHOWN: Columns = &[
    ("Connection", "/connection_id"),
    ("Type", "/conn_type"),
    ("Host", "/host"),
    ("Port", "/port"),
    ("Login", "/login"),
    ("Password", "/password"),
    ("Schema", "/schema"),
    ("Extra", "/extra"),
    ("Description", "/description"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { limit } => {
                format.list(&client.list(&PATH, &[], "connections", limit.rows()).await?, LISTED)
            }
            Self::Get { conn_id } => format.show(&client.get(&[PATH[0], PATH[1], &conn_id]).await?, SHOWN),
            Self::Add(add) if add.overwrite => {
                let was_there = client.put(&PATH, &add.conn_id, add.body()?).await?;
                eprintln!("`{}` is {}", add.conn_id, if was_there { "changed" } else { "made" });
                Ok(())
            }
            Self::Add(add) => {
                let made = client.post(&PATH, add.body()?).await?;
                eprintln!("`{}` is made", add.conn_id);
                session.echo(&made)
            }
            Self::Test { conn_id } => dags::test::connection(session, &conn_id).await,
            Self::Delete { conn_id } => {
                client.delete(&[PATH[0], PATH[1], &conn_id]).await?;
                eprintln!("`{conn_id}` is deleted");
                Ok(())
            }
            Self::Import { file, overwrite } => file::import(session, &file, overwrite).await,
            Self::Export { file } => file::export(session, &file).await,
        }
    }
}

impl Add {
    /// What the URI says, and in its place what is said beside it.
    fn body(&self) -> Result<Value> {
        let mut body: Map<String, Value> = Map::new();
        if let Some(uri) = &self.uri {
            let read = parse_connection(&self.conn_id, uri)
                .map_err(|fault| Failure::new(Exit::Usage, format!("--uri is no connection: {fault}")))?;
            body = body_of(&read)?;
        }
        let password = match self.password.as_deref() {
            Some("-") => Some(secret("Password")?),
            password => password.map(Into::into),
        };
        body.insert("connection_id".into(), json!(self.conn_id));
        let texts = [
            ("conn_type", &self.conn_type),
            ("host", &self.host),
            ("login", &self.login),
            ("password", &password),
            ("schema", &self.schema),
            ("extra", &self.extra),
            ("description", &self.description),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                body.insert(name.into(), json!(text));
            }
        }
        if let Some(port) = self.port {
            body.insert("port".into(), json!(port));
        }
        Ok(body.into())
    }
}

/// A connection as the API takes it.
fn body_of(connection: &Connection) -> Result<Map<String, Value>> {
    let Value::Object(mut body) = json!(connection) else { bail!("a connection is no JSON object") };
    if let Some(conn_id) = body.remove("conn_id") {
        body.insert("connection_id".into(), conn_id);
    }
    if let Some(extra) = body.get_mut("extra") {
        *extra = extra.to_string().into();
    }
    Ok(body)
}
