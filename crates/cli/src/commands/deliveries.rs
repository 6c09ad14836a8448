//! `updraft deliveries`: what is told to people.

use anyhow::Result;
use reqwest::Method;

use super::{
    Ask, Limit, Session,
    tasks::{EMPTY, text},
};
use crate::output::Columns;

/// What can be done with deliveries.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List what is told to people, the latest first.
    #[command(after_help = "Examples:\n  updraft deliveries list --state undeliverable\n  \
                            updraft deliveries list --dag etl --limit 10")]
    List {
        /// Only about this DAG.
        #[arg(long = "dag", value_name = "DAG_ID")]
        dag_id: Option<String>,
        /// Only about this run of it.
        #[arg(long = "run", requires = "dag_id", value_name = "RUN_ID")]
        run_id: Option<String>,
        /// Only in this state; may be given several times.
        #[arg(long, value_parser = ["pending", "sending", "sent", "failed", "undeliverable", "held"])]
        state: Vec<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Print what a function printed that a DAG had called about a run.
    #[command(after_help = "Example:\n  updraft deliveries logs 12")]
    Logs {
        /// Its number in `deliveries list`.
        id: i64,
    },
    /// Send anew what failed, could not be delivered, or is held since nobody knows whether it went out; what did not go to
    /// all, to the others alone.
    #[command(after_help = "Example:\n  updraft deliveries resend 12")]
    Resend {
        /// Its number in `deliveries list`.
        id: i64,
    },
    /// Send what waits, or is held, no more.
    #[command(after_help = "Example:\n  updraft deliveries drop 12")]
    Drop {
        /// Its number in `deliveries list`.
        id: i64,
    },
}

pub const LISTED: Columns = &[
    ("ID", "/id"),
    ("AT", "/at"),
    ("DAG", "/dag_id"),
    ("ON", "/on"),
    ("TO", "/channel"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("LAST ERROR", "/last_error"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { dag_id, run_id, state, limit } => {
                let mut query = Vec::new();
                query.extend(dag_id.map(|dag_id| ("dag_id", dag_id)));
                query.extend(run_id.map(|run_id| ("run_id", run_id)));
                query.extend(state.into_iter().map(|state| ("state", state)));
                let path = ["v1", "deliveries"];
                format.list(&client.list(&path, &query, "deliveries", limit.rows()).await?, LISTED)
            }
            Self::Logs { id } => {
                if text(session, &["v1", "deliveries", &id.to_string(), "logs"], &[]).await? {
                    eprintln!("{EMPTY}");
                }
                Ok(())
            }
            Self::Resend { id } => {
                let path = ["v1", "deliveries", &id.to_string(), "resend"];
                client.call(Method::POST, &path, &[], None).await?;
                eprintln!("delivery {id} is sent anew");
                Ok(())
            }
            Self::Drop { id } => {
                let path = ["v1", "deliveries", &id.to_string(), "drop"];
                client.call(Method::POST, &path, &[], None).await?;
                eprintln!("delivery {id} is dropped");
                Ok(())
            }
        }
    }
}
