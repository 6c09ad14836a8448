//! The operators that do SQL, as Airflow's common SQL provider documents them, on PostgreSQL, MySQL, MariaDB and
//! SQLite.

mod branch;
mod cell;
mod check;
mod execute;
mod export;
mod fault;
mod interval_check;
mod load;
mod number;
mod parquet;
mod sensor;
mod server;
mod session;
mod table_check;
mod text;
mod transfer;

use serde_json::Value;
use updraft_core::TaskKind;

use self::text::Parameters;
pub(super) use self::{
    branch::ENTRY as BRANCH,
    check::{CHECK, THRESHOLD_CHECK, VALUE_CHECK},
    execute::{ENTRY as EXECUTE, MYSQL, POSTGRES, SQLITE},
    export::ENTRY as EXPORT,
    interval_check::ENTRY as INTERVAL_CHECK,
    sensor::ENTRY as SENSOR,
    table_check::{COLUMN_CHECK, TABLE_CHECK},
    transfer::ENTRY as TRANSFER,
};
use super::connection::Trying;
use crate::{
    Refused,
    catalog::{Entry, argument::FromArgument},
    prepare::Job,
};

/// What the entries of this module have in common.
const DEFAULT: Entry = Entry {
    name: "",
    aliases: &[],
    doc: "",
    takes_results: None,
    arguments: &[],
    template_ext: &[".sql"],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| Err(job.bad((None, "does nothing".into()))),
};

impl FromArgument for Parameters {
    const EXPECTS: &'static str = "a list or a map";
    const TYPES: &'static [&'static str] = &["array", "object"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => Ok(Self::List(items.clone())),
            Value::Object(map) => Ok(Self::Named(map.clone())),
            other => Err(format!("must be {}; {}", Self::EXPECTS, crate::catalog::argument::found(other))),
        }
    }
}

/// Logs in and asks for a number.
pub(super) fn tried(job: &Job<'_>, conn_id: &str) -> Result<Trying, Refused> {
    let server = server::Server::of(job, conn_id, None)?;
    Ok(Box::pin(async move {
        let mut session = session::Session::open(&server).await.map_err(|fault| fault.to_string())?;
        session.run("SELECT 1").await.map_err(|fault| fault.to_string())?;
        session.close().await;
        Ok(format!("{} answers", server.shown))
    }))
}

/// The database that is asked for in place of the connection's own.
fn database(job: &Job<'_>, given: Option<String>) -> Option<String> {
    let of_hook = |name: &str| Some(job.args.get("hook_params")?.get(name)?.as_str()?.to_owned());
    given.or_else(|| of_hook("database")).or_else(|| of_hook("schema"))
}
