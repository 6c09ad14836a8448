//! `updraft xcoms`: values that tasks left for others.

use anyhow::Result;
use reqwest::Method;

use super::{Ask, Limit, Session, runs::Run};
use crate::output::{Columns, print};

/// What can be done with XComs.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the values that a run's tasks left, without themselves.
    #[command(
        after_help = "Examples:\n  updraft xcoms list etl nightly\n  updraft xcoms list etl nightly extract"
    )]
    List {
        #[command(flatten)]
        run: Run,
        /// Only of this task.
        task_id: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Print one value as JSON.
    #[command(after_help = "Examples:\n  updraft xcoms get etl nightly extract\n  \
                            updraft xcoms get etl nightly extract --key rows --map-index 2")]
    Get {
        #[command(flatten)]
        run: Run,
        /// The task.
        task_id: String,
        /// Its key.
        #[arg(long, default_value = "return_value")]
        key: String,
        /// The copy of a mapped task.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        map_index: Option<i32>,
    },
}

const LISTED: Columns =
    &[("TASK", "/task_id"), ("COPY", "/map_index"), ("KEY", "/key"), ("WRITTEN", "/timestamp")];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { run, task_id, limit } => {
                let task_id = task_id.as_deref().unwrap_or("~");
                // A list of all runs' names is empty for a run that is not there; this says so.
                client.get(&run.path()).await?;
                let path = [&run.path()[..], &["taskInstances", task_id, "xcomEntries"]].concat();
                format.list(&client.list(&path, &[], "xcom_entries", limit.rows()).await?, LISTED)
            }
            Self::Get { run, task_id, key, map_index } => {
                let path = [&run.path()[..], &["taskInstances", &task_id, "xcomEntries", &key]].concat();
                let query: Vec<_> =
                    map_index.map(|copy| ("map_index", copy.to_string())).into_iter().collect();
                let xcom = client.call(Method::GET, &path, &query, None).await?;
                match session.is_for_programs() {
                    true => format.value(&xcom),
                    false => print(&serde_json::to_string_pretty(&xcom["value"])?),
                }
            }
        }
    }
}
