//! `updraft runs`: runs of DAGs.

mod diff;

use anyhow::Result;
use serde_json::json;

use super::{Ask, Limit, Session};
use crate::{
    client::Client,
    output::{Columns, Format, begin_anew, confirm, tell_progress},
};

/// What can be done with runs.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List runs, the latest first.
    #[command(
        after_help = "Examples:\n  updraft runs list etl --limit 10\n  updraft runs list --state failed"
    )]
    List {
        /// Only of this DAG [default: of all].
        dag_id: Option<String>,
        /// Only in this state; may be given several times.
        #[arg(long, value_parser = ["queued", "running", "success", "failed"])]
        state: Vec<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show all about one run.
    #[command(after_help = "Example:\n  updraft runs show etl manual__2026-01-31T12:00:00.000000+00:00")]
    Show {
        #[command(flatten)]
        run: Run,
    },
    /// Have a run begin anew, all of it or what failed.
    #[command(after_help = "Examples:\n  updraft runs clear etl nightly --only-failed --yes\n  \
                            updraft runs clear etl nightly --only-failed --latest")]
    Clear {
        #[command(flatten)]
        run: Run,
        /// Only what failed, and what could not run for that.
        #[arg(long)]
        only_failed: bool,
        /// Go on with the DAG as it is now; without it a run goes on with that which it began with.
        #[arg(long)]
        latest: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Declare a run over: what still runs of it is ended, and its teardowns do their work. `queued` starts what is not
    /// finished.
    #[command(after_help = "Example:\n  updraft runs mark etl nightly --state success")]
    Mark {
        #[command(flatten)]
        run: Run,
        /// What it is from now on.
        #[arg(long, value_parser = ["success", "failed", "queued"])]
        state: String,
    },
    /// Show in what a run differs from another: states, tries, durations, parameters, version.
    #[command(
        after_help = "Examples:\n  updraft runs diff etl nightly\n  updraft runs diff etl nightly last_week"
    )]
    Diff(diff::Diff),
    /// Delete a run that is not running, with all that is its.
    #[command(after_help = "Example:\n  updraft runs delete etl nightly --yes")]
    Delete {
        #[command(flatten)]
        run: Run,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// A run.
#[derive(clap::Args)]
pub struct Run {
    /// The DAG.
    pub dag_id: String,
    /// The run.
    pub run_id: String,
}

const LISTED: Columns = &[
    ("DAG", "/dag_id"),
    ("RUN", "/dag_run_id"),
    ("STATE", "/state"),
    ("TYPE", "/run_type"),
    ("DUE", "/run_after"),
    ("BEGAN", "/start_date"),
    ("SECONDS", "/duration"),
];

/// What is shown of one run.
pub const SHOWN: Columns = &[
    ("DAG", "/dag_id"),
    ("Run", "/dag_run_id"),
    ("State", "/state"),
    ("Why", "/reason"),
    ("Done", "/done"),
    ("Time left", "/time_left"),
    ("Type", "/run_type"),
    ("Logical date", "/logical_date"),
    ("Interval from", "/data_interval_start"),
    ("Interval to", "/data_interval_end"),
    ("Due", "/run_after"),
    ("Queued", "/queued_at"),
    ("Began", "/start_date"),
    ("Ended", "/end_date"),
    ("Seconds", "/duration"),
    ("Conf", "/conf"),
    ("Triggered by", "/triggered_by"),
    ("User", "/triggering_user_name"),
    ("Version", "/dag_versions/0/version_number"),
    ("Commit", "/bundle_version"),
    ("Note", "/note"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { dag_id, state, limit } => {
                let mut query = vec![("order_by", "-run_after".to_owned())];
                query.extend(state.into_iter().map(|state| ("state", state)));
                let path = ["v2", "dags", dag_id.as_deref().unwrap_or("~"), "dagRuns"];
                format.list(&client.list(&path, &query, "dag_runs", limit.rows()).await?, LISTED)
            }
            Self::Show { run } => {
                let mut shown = client.get(&run.path()).await?;
                if *format == Format::Table {
                    let progress = client.get(&[&run.path_v1()[..], &["progress"]].concat()).await?;
                    if !matches!(shown["state"].as_str(), Some("success" | "failed")) {
                        tell_progress(&mut shown, &progress);
                    }
                    shown["reason"] = progress["reason"].clone();
                }
                format.show(&shown, SHOWN)
            }
            Self::Clear { run, only_failed, latest, yes } => {
                let path = [&run.path()[..], &["clear"]].concat();
                let body = |dry_run| json!({ "only_failed": only_failed, "run_on_latest_version": latest, "dry_run": dry_run });
                if !latest {
                    tell_of_later_version(client, &run).await?;
                }
                let concerned = client.post(&path, body(true)).await?;
                let what = begin_anew(&concerned, &format!(" of {run}"));
                confirm(&what, yes)?;
                let cleared = client.post(&path, body(false)).await?;
                eprintln!("{what}");
                session.echo(&cleared)
            }
            Self::Mark { run, state } => {
                let before = client.get(&run.path()).await?;
                let goes_on = matches!(before["state"].as_str(), Some("queued" | "running"));
                let marked = client.patch(&run.path(), json!({ "state": state })).await?;
                match (state.as_str(), goes_on) {
                    ("queued", true) => eprintln!("{run} is not over: it goes on as it is"),
                    ("success" | "failed", _) if marked["state"] != *state => {
                        eprintln!("{run} is marked as {state}; its teardowns are still to run");
                    }
                    _ => eprintln!("{run} is marked as {state}"),
                }
                session.echo(&marked)
            }
            Self::Diff(args) => diff::diff(session, args).await,
            Self::Delete { run, yes } => {
                confirm(&format!("{run} goes with its task instances and what they left"), yes)?;
                client.delete(&run.path()).await?;
                eprintln!("{run} is deleted");
                Ok(())
            }
        }
    }
}

/// Says that a run that begins anew goes on with a DAG that is not as it is now: who has mended it expects otherwise.
pub async fn tell_of_later_version(client: &Client, run: &Run) -> Result<()> {
    let shown = client.get(&run.path()).await?;
    let of_run = shown["dag_versions"].as_array().and_then(|versions| versions.last());
    let of_run = of_run.and_then(|version| version["version_number"].as_u64());
    let dag = client.get(&["v2", "dags", &run.dag_id, "details"]).await?;
    let latest = dag["latest_dag_version"]["version_number"].as_u64();
    if let Some((of_run, latest)) = of_run.zip(latest).filter(|(of_run, latest)| of_run < latest) {
        eprintln!(
            "it goes on with version {of_run} of the DAG, which is at {latest}: --latest goes on with that"
        );
    }
    Ok(())
}

impl Run {
    /// Its path in Airflow's API.
    pub fn path(&self) -> [&str; 5] {
        ["v2", "dags", &self.dag_id, "dagRuns", &self.run_id]
    }

    /// Its path in what goes beyond that.
    pub fn path_v1(&self) -> [&str; 5] {
        ["v1", "dags", &self.dag_id, "dagRuns", &self.run_id]
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run {} of {}", self.run_id, self.dag_id)
    }
}
