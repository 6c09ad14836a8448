//! `updraft workers`.

use anyhow::Result;

use super::{Ask, Session};
use crate::output::Columns;

/// What can be done with workers.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the workers that are connected.
    #[command(after_help = "Example:\n  updraft workers list")]
    List,
}

const LISTED: Columns =
    &[("WORKER", "/worker"), ("VERSION", "/version"), ("MACHINE", "/hostname"), ("PROCESS", "/pid")];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Self::List = self;
        let path = ["v1", "workers"];
        session.format.list(&session.client.list(&path, &[], "workers", None).await?, LISTED)
    }
}
