//! `updraft servers`.

use anyhow::Result;

use super::{Ask, Session};
use crate::output::Columns;

/// What can be done with servers.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the servers of the database: which leads, which stand by, which are away.
    #[command(after_help = "Example:\n  updraft servers list")]
    List,
}

const LISTED: Columns = &[
    ("SERVER", "/server"),
    ("STATE", "/state"),
    ("ADDRESS", "/address"),
    ("HEARD", "/last_heard_at"),
    ("STARTED", "/started_at"),
    ("VERSION", "/version"),
    ("MACHINE", "/hostname"),
    ("PROCESS", "/pid"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        match self {
            Self::List => {
                let servers = session.client.list(&["v1", "servers"], &[], "servers", None).await?;
                session.format.list(&servers, LISTED)
            }
        }
    }
}
