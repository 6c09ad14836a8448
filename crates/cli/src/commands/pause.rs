//! `updraft pause` and `updraft resume`: the switch for everything.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::{Ask, Session};
use crate::output::Columns;

/// Nothing new begins.
#[derive(clap::Args)]
pub struct Pause {
    /// Only say whether it is so.
    #[arg(long)]
    show: bool,
}

/// Everything begins again.
#[derive(clap::Args)]
pub struct Resume {}

const SHOWN: Columns = &[("Everything is paused", "/is_paused")];

const PATH: [&str; 2] = ["v1", "pause"];

impl Ask for Pause {
    async fn ask(self, session: &Session) -> Result<()> {
        if self.show {
            return session.format.show(&session.client.call(Method::GET, &PATH, &[], None).await?, SHOWN);
        }
        set(session, true).await?;
        eprintln!("nothing new begins until `updraft resume`; what runs goes on to its end");
        Ok(())
    }
}

impl Ask for Resume {
    async fn ask(self, session: &Session) -> Result<()> {
        set(session, false).await?;
        eprintln!("what waited begins; DAGs that are paused by themselves stay so");
        Ok(())
    }
}

async fn set(session: &Session, paused: bool) -> Result<()> {
    session.client.call(Method::PUT, &PATH, &[], Some(json!({ "is_paused": paused }))).await.map(drop)
}
