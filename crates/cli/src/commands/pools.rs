//! `updraft pools`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Ask, Limit, Session};
use crate::output::Columns;

/// What can be done with pools.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List pools, with the slots that are taken.
    #[command(after_help = "Example:\n  updraft pools list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one pool.
    #[command(after_help = "Example:\n  updraft pools get default_pool")]
    Get {
        /// The pool.
        name: String,
    },
    /// Make a pool, or give it another size or rate.
    #[command(
        after_help = "Examples:\n  updraft pools set warehouse 4\n  updraft pools set default_pool -1\n  \
                            updraft pools set mail -1 --rate 14/minute\n  updraft pools set mail -1 --rate none"
    )]
    Set {
        /// The pool.
        name: String,
        /// How many slots it has; -1 for no limit.
        #[arg(allow_negative_numbers = true)]
        slots: i64,
        /// How many of its task instances may begin in so long, evenly spaced; `none` lifts it.
        #[arg(long, value_name = "COUNT/second|minute|hour|day")]
        rate: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Whether what is deferred takes slots too.
        #[arg(long, value_name = "true|false")]
        include_deferred: Option<bool>,
    },
    /// Delete a pool. What waits in it waits on until there is one of this name again.
    #[command(after_help = "Example:\n  updraft pools delete warehouse")]
    Delete {
        /// The pool.
        name: String,
    },
}

const POOLS: Columns = &[
    ("POOL", "/name"),
    ("SLOTS", "/slots"),
    ("RATE", "/rate"),
    ("OPEN", "/open_slots"),
    ("RUNNING", "/running_slots"),
    ("QUEUED", "/queued_slots"),
    ("SCHEDULED", "/scheduled_slots"),
    ("DEFERRED", "/deferred_slots"),
    ("DESCRIPTION", "/description"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { limit } => {
                format.list(&client.list(&["v2", "pools"], &[], "pools", limit.rows()).await?, POOLS)
            }
            Self::Get { name } => format.show(&client.get(&["v2", "pools", &name]).await?, POOLS),
            Self::Set { name, slots, rate, description, include_deferred } => {
                let mut body = json!({ "name": &name, "slots": slots });
                if let Some(rate) = rate {
                    body["rate"] = if rate == "none" { Value::Null } else { rate.into() };
                }
                if let Some(description) = description {
                    body["description"] = description.into();
                }
                if let Some(include) = include_deferred {
                    body["include_deferred"] = include.into();
                }
                let was_there = client.put(&["v2", "pools"], &name, body).await?;
                eprintln!("`{name}` is {}", if was_there { "changed" } else { "made" });
                Ok(())
            }
            Self::Delete { name } => {
                client.delete(&["v2", "pools", &name]).await?;
                eprintln!("`{name}` is deleted");
                Ok(())
            }
        }
    }
}
