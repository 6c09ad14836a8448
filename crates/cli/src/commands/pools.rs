//! `updraft pools`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{Ask, Limit, Session};
use crate::{
    failure::{Exit, Failure},
    output::{Columns, count, export_all, read},
};

const PATH: [&str; 2] = ["v2", "pools"];

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
    /// Make or change all pools of a JSON file, as Airflow exports them: `{"name": {"slots": 4, "description": ""}}`.
    #[command(after_help = "Example:\n  updraft pools import pools.json")]
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
    },
    /// Write all pools into a JSON file.
    #[command(after_help = "Examples:\n  updraft pools export pools.json\n  updraft pools export -")]
    Export {
        /// The file; `-` for standard output.
        file: PathBuf,
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
                format.list(&client.list(&PATH, &[], "pools", limit.rows()).await?, POOLS)
            }
            Self::Get { name } => format.show(&client.get(&[PATH[0], PATH[1], &name]).await?, POOLS),
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
                let was_there = client.put(&PATH, &name, body).await?;
                eprintln!("`{name}` is {}", if was_there { "changed" } else { "made" });
                Ok(())
            }
            Self::Import { file } => import(session, &file).await,
            Self::Export { file } => {
                let pools = client.list(&PATH, &[], "pools", None).await?.into_iter();
                let pools: Map<String, Value> = pools.filter_map(exported).collect();
                export_all(&file, "pool", &pools, &[])
            }
            Self::Delete { name } => {
                client.delete(&[PATH[0], PATH[1], &name]).await?;
                eprintln!("`{name}` is deleted");
                Ok(())
            }
        }
    }
}

/// What a file of pools has of each.
const FIELDS: [&str; 4] = ["slots", "description", "include_deferred", "rate"];

fn exported(mut pool: Value) -> Option<(String, Value)> {
    let name = pool["name"].as_str()?.to_owned();
    let given =
        |field: &str| Some((field.to_owned(), pool[field].take())).filter(|(_, value)| !value.is_null());
    Some((name, Value::Object(FIELDS.into_iter().filter_map(given).collect())))
}

async fn import(session: &Session, file: &Path) -> Result<()> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", file.display()));
    let pools: Map<String, Value> = serde_json::from_str(&read(file)?)
        .map_err(|error| wrong(format!("no JSON object of pools: {error}")))?;
    if let Some((name, _)) = pools.iter().find(|(_, pool)| !pool["slots"].is_i64()) {
        return Err(wrong(format!("`{name}` has to be an object with `slots`, a whole number")).into());
    }
    for (name, pool) in &pools {
        let mut body = json!({ "name": name });
        for field in FIELDS {
            if let Some(value) = pool.get(field) {
                body[field] = value.clone();
            }
        }
        session.client.put(&PATH, name, body).await.with_context(|| format!("the pool `{name}`"))?;
    }
    eprintln!("{}", count(pools.len(), "pool is set", "pools are set"));
    Ok(())
}
