//! `updraft alerts`: whether those who are to be told are told.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Ask, Session, deliveries};
use crate::failure::{Exit, Failure};

/// Between two looks at what becomes of a test.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What can be done with alerts.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Send a test by each way by which a DAG's alerts go, and say what became of it; fails where one failed.
    #[command(after_help = "Examples:\n  updraft alerts test etl\n  updraft alerts test etl --task load")]
    Test {
        /// Whose.
        dag_id: String,
        /// Only those of this task of it.
        #[arg(long = "task", value_name = "TASK_ID")]
        task_id: Option<String>,
        /// For how many seconds to wait for what becomes of it.
        #[arg(long, default_value_t = 30, value_name = "SECONDS")]
        timeout: u64,
    },
}

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        let Self::Test { dag_id, task_id, timeout } = self;
        let path = ["v1", "dags", &dag_id, "alerts", "test"];
        let made = client.call(Method::POST, &path, &[], Some(json!({ "task_id": task_id }))).await?;
        let ids: Vec<String> =
            made["deliveries"].as_array().into_iter().flatten().map(Value::to_string).collect();
        if ids.is_empty() {
            let whose = task_id.map_or_else(|| dag_id.clone(), |task| format!("{task} of {dag_id}"));
            return Err(Failure::new(Exit::NotFound, format!("{whose} has no alerts")).into());
        }
        let mut left = Duration::from_secs(timeout);
        let made = loop {
            let mut made = Vec::new();
            for id in &ids {
                made.push(client.call(Method::GET, &["v1", "deliveries", id], &[], None).await?);
            }
            if left.is_zero() || made.iter().all(is_settled) {
                break made;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            left = left.saturating_sub(LOOK_EVERY);
        };
        // What was sent in part says so as its error.
        let went_out = |delivery: &Value| delivery["state"] == "sent" && delivery["last_error"].is_null();
        let failed = made.iter().filter(|delivery| !went_out(delivery)).count();
        deliveries::list(*format, made)?;
        match failed {
            0 => Ok(()),
            _ => Err(Failure::new(
                Exit::Failed,
                format!("{failed} of {} did not go out, or not to all", ids.len()),
            )
            .into()),
        }
    }
}

/// Whether nothing more becomes of it soon.
fn is_settled(delivery: &Value) -> bool {
    let waits = matches!(delivery["state"].as_str(), Some("pending" | "sending"));
    !waits || !delivery["last_error"].is_null() || !delivery["digest"].is_null()
}
