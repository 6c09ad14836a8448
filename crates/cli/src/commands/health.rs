//! `updraft health` and `updraft version`.

use anyhow::Result;
use serde_json::json;

use super::{Ask, Session};
use crate::{
    failure::{Exit, Failure},
    output::Columns,
};

/// How the server is.
#[derive(clap::Args)]
pub struct Health {}

/// Which version it is.
#[derive(clap::Args)]
pub struct Version {}

const HEALTH: Columns = &[
    ("Database", "/metadatabase/status"),
    ("Scheduler", "/scheduler/status"),
    ("Its last sign of life", "/scheduler/latest_scheduler_heartbeat"),
    ("Keeper", "/keeper/status"),
    ("Repository of DAG files", "/dag_processor/status"),
    ("Its last good answer", "/dag_processor/latest_dag_processor_heartbeat"),
];

const VERSION: Columns = &[("This program", "/client"), ("Server", "/server")];

impl Ask for Health {
    async fn ask(self, session: &Session) -> Result<()> {
        let health = session.client.get_openly(&["v2", "monitor", "health"]).await?;
        session.format.show(&health, HEALTH)?;
        let parts = [&health["metadatabase"], &health["scheduler"]].into_iter().chain(health.get("keeper"));
        match parts.into_iter().all(|part| part["status"] == "healthy") {
            true => Ok(()),
            false => {
                Err(Failure::new(Exit::Failed, format!("{} is not well", session.client.server())).into())
            }
        }
    }
}

impl Ask for Version {
    async fn ask(self, session: &Session) -> Result<()> {
        // Which version this program is can be said without a server.
        let server = session.client.get_openly(&["v2", "version"]).await;
        if let Err(error) = &server {
            eprintln!("{error:#}");
        }
        let server = server.map(|answer| answer["version"].clone()).unwrap_or_default();
        session.format.show(&json!({ "client": env!("CARGO_PKG_VERSION"), "server": server }), VERSION)
    }
}
