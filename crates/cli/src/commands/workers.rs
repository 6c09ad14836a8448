//! `updraft workers`.

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use super::{Ask, Session};
use crate::output::{Columns, Format};

/// What can be done with workers.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the workers that are connected, or were a moment ago.
    #[command(after_help = "Example:\n  updraft workers list")]
    List,
    /// Have a worker take nothing more, and stay: before its machine is worked on.
    #[command(after_help = "Example:\n  updraft workers drain worker-7")]
    Drain(Named),
    /// Have a worker that drains take work again.
    #[command(after_help = "Example:\n  updraft workers resume worker-7")]
    Resume(Named),
    /// Have a worker go when what it runs is over.
    #[command(after_help = "Example:\n  updraft workers remove worker-7")]
    Remove(Named),
}

/// A worker.
#[derive(clap::Args)]
pub struct Named {
    /// The name under which it joined.
    worker: String,
}

const LISTED: Columns = &[
    ("WORKER", "/worker"),
    ("STATE", "/state"),
    ("SLOTS", "/slots"),
    ("USED", "/used_slots"),
    ("TASKS", "/attempts"),
    ("QUEUES", "/queues"),
    ("LABELS", "/labels"),
    ("NAMESPACE", "/namespace"),
    ("HEARD", "/last_heard_at"),
    ("VERSION", "/version"),
    ("MACHINE", "/hostname"),
    ("PROCESS", "/pid"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let path = ["v1", "workers"];
        match self {
            Self::List => {
                let mut workers = session.client.list(&path, &[], "workers", None).await?;
                for labels in workers.iter_mut().filter_map(|worker| worker.get_mut("labels")) {
                    if let Some(named) = labels.as_object().filter(|_| session.format == Format::Table) {
                        let named = named.iter().map(|(name, value)| {
                            Value::String(format!("{name}={}", value.as_str().unwrap_or_default()))
                        });
                        *labels = named.collect();
                    }
                }
                session.format.list(&workers, LISTED)
            }
            Self::Drain(Named { worker }) => {
                tell(session, Method::POST, &worker, Some("drain")).await?;
                eprintln!("`{worker}` takes nothing more, until `updraft workers resume {worker}`");
                Ok(())
            }
            Self::Resume(Named { worker }) => {
                tell(session, Method::POST, &worker, Some("resume")).await?;
                eprintln!("`{worker}` takes work again");
                Ok(())
            }
            Self::Remove(Named { worker }) => {
                tell(session, Method::DELETE, &worker, None).await?;
                eprintln!("`{worker}` goes when what it runs is over");
                Ok(())
            }
        }
    }
}

async fn tell(session: &Session, method: Method, worker: &str, what: Option<&str>) -> Result<()> {
    let path: Vec<&str> = ["v1", "workers", worker].into_iter().chain(what).collect();
    session.client.call(method, &path, &[], None).await.map(drop)
}
