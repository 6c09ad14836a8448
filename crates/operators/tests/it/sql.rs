//! The operators that do SQL against real PostgreSQL, MariaDB and SQLite.

mod branch;
mod check;
mod execute;
mod interval_check;
mod mariadb;
mod parquet;
mod postgres;
mod table_check;
mod transfer;

use std::path::Path;

use serde_json::{Value, json};
use updraft_core::{input::AttemptEnd, protocol::Connection};
use updraft_operators::prepare;

use self::{mariadb::MariaDb, postgres::Postgres};
use crate::world::{Ended, World, order, run_native};

/// What all connections of these tests have as their password.
const PASSWORD: &str = mariadb::PASSWORD;

fn sqlite(path: &Path) -> Connection {
    Connection {
        conn_id: "file".into(),
        conn_type: "sqlite".into(),
        host: Some(path.to_str().unwrap().into()),
        ..Connection::default()
    }
}

fn world(connections: impl IntoIterator<Item = Connection>) -> World {
    let connections = connections.into_iter().map(|connection| (connection.conn_id.clone(), connection));
    World { connections: connections.collect(), ..World::default() }
}

/// Carries an operator out; neither its log nor what it ended by has the password.
fn run(world: &World, operator: &str, args: Value) -> Ended {
    let prepared = match prepare(&order(operator, args), world) {
        Ok(prepared) => prepared,
        Err(refused) => return Ended { outcome: refused.into(), log: Vec::new() },
    };
    let ended = run_native(prepared);
    let message = ended.outcome.message.as_deref().unwrap_or_default();
    for line in ended.log.iter().map(String::as_str).chain([message]) {
        assert!(!line.contains(PASSWORD), "{line}");
    }
    ended
}

fn args(first: Value, more: Value) -> Value {
    let mut args = first;
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

/// Carries out SQL that works; gives its result.
fn sql(world: &World, conn_id: &str, text: &str) -> Value {
    let ended = execute(world, conn_id, json!({"sql": text}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{text}: {:?}", ended.outcome.message);
    ended.result()
}

fn execute(world: &World, conn_id: &str, more: Value) -> Ended {
    run(world, "SQLExecuteQueryOperator", args(json!({"conn_id": conn_id}), more))
}
