//! `updraft tokens`: by which programs and workers are known.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::{Ask, Limit, Session};
use crate::{
    config::Age,
    output::{Columns, print},
};

/// What can be done with tokens.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List your tokens, the latest first, without themselves.
    #[command(after_help = "Example:\n  updraft tokens list --all")]
    List {
        /// Also those of others and those for workers; for administrators.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a token and print it, this once.
    #[command(
        after_help = "Examples:\n  export UPDRAFT_TOKEN=$(updraft tokens create ci --expires-in 90d)\n  \
                            updraft tokens create worker-7 --join\n  \
                            updraft tokens create prod-1 --join --of-namespace prod"
    )]
    Create {
        /// What you call it.
        name: String,
        /// For a worker to join with; for administrators [default: for programs that act as you].
        #[arg(long)]
        join: bool,
        /// The worker that joins with it works for this namespace alone [default: for all].
        #[arg(long, requires = "join", value_name = "NAME")]
        of_namespace: Option<String>,
        /// It is no use after so long, as 90d or 12h [default: never].
        #[arg(long, value_name = "AGE")]
        expires_in: Option<Age>,
    },
    /// Revoke a token.
    #[command(after_help = "Example:\n  updraft tokens revoke 3")]
    Revoke {
        /// Its number in `tokens list`.
        id: i64,
    },
}

const LISTED: Columns = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("FOR", "/purpose"),
    ("NAMESPACE", "/namespace"),
    ("SINCE", "/created_at"),
    ("UNTIL", "/expires_at"),
    ("EXPIRED", "/expired"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { all, limit } => {
                let query = [("all", all.to_string())];
                format.list(&client.list(&["v1", "tokens"], &query, "tokens", limit.rows()).await?, LISTED)
            }
            Self::Create { name, join, of_namespace, expires_in } => {
                let age = expires_in.and_then(|age| age.0);
                let expires_at = age.map(|age| Timestamp::now().checked_add(age)).transpose();
                let body = json!({
                    "name": name,
                    "purpose": if join { "join" } else { "api" },
                    "namespace": of_namespace,
                    "expires_at": expires_at.context("that is too far off")?,
                });
                let made = client.post(&["v1", "tokens"], body).await?;
                match session.is_for_programs() {
                    true => format.value(&made),
                    // Alone, so that a shell can take it as it is.
                    false => print(made["token"].as_str().unwrap_or_default()),
                }
            }
            Self::Revoke { id } => {
                client.delete(&["v1", "tokens", &id.to_string()]).await?;
                eprintln!("token {id} is revoked");
                Ok(())
            }
        }
    }
}
