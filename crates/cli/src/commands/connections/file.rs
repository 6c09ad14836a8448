//! All connections in one file.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use updraft_server::secrets::connections_in;

use super::{PATH, Session, body_of};
use crate::{
    failure::{Exit, Failure},
    output::{MASK, export_all},
};

pub async fn import(session: &Session, file: &Path, overwrite: bool) -> Result<()> {
    let found = connections_in(file).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let there = match overwrite {
        true => Vec::new(),
        false => session.client.list(&PATH, &[], "connections", None).await?,
    };
    let there: BTreeSet<&str> = there.iter().filter_map(|row| row["connection_id"].as_str()).collect();
    let (mut made, mut changed, mut left) = (0, 0, Vec::new());
    for connection in found {
        let conn_id = connection.conn_id.as_str();
        if there.contains(conn_id) {
            left.push(connection.conn_id);
            continue;
        }
        let was_there =
            session.client.put(&PATH, conn_id, body_of(&connection)?.into()).await.with_context(|| {
                format!(
                    "the connection `{conn_id}`; of those before it {made} were made and {changed} changed"
                )
            })?;
        *(if was_there { &mut changed } else { &mut made }) += 1;
    }
    eprintln!("{made} made, {changed} changed");
    if !left.is_empty() {
        eprintln!("these are there already and stay as they are, without --overwrite: {}", left.join(", "));
    }
    Ok(())
}

pub async fn export(session: &Session, file: &Path) -> Result<()> {
    if file.as_os_str() != "-" && file.extension().is_none_or(|ending| ending != "json") {
        let message =
            format!("{}: connections are exported as JSON: name a file that ends in .json", file.display());
        return Err(Failure::new(Exit::Usage, message).into());
    }
    const FIELDS: [&str; 7] = ["conn_type", "description", "login", "host", "port", "schema", "extra"];
    let mut exported = Map::new();
    let mut secret = Vec::new();
    for mut connection in session.client.list(&PATH, &[], "connections", None).await? {
        let conn_id = connection["connection_id"].as_str().unwrap_or_default().to_owned();
        if connection["extra"].as_str().is_some_and(|extra| extra.contains(MASK)) {
            connection["extra"] = Value::Null;
            secret.push(format!("the extra of `{conn_id}`"));
        }
        if !connection["password"].is_null() {
            secret.push(format!("the password of `{conn_id}`"));
        }
        let fields = FIELDS.into_iter().map(|field| (field.to_owned(), connection[field].take()));
        exported.insert(conn_id, Value::Object(fields.collect()));
    }
    export_all(file, "connection", &exported, &secret)
}
