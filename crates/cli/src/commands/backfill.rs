//! `updraft backfill`: runs for times that are past.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Ask, Limit, Session,
    dags::{time, trigger::object},
};
use crate::{
    client::patiently,
    failure::{Exit, Failure},
    output::{self, Columns, confirm},
};

/// Between two looks at a backfill.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What can be done with backfills.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make the runs of a DAG that are missing in a time, and have those begin anew that failed, or all.
    #[command(
        after_help = "Examples:\n  updraft backfill create etl --from 2026-01-01 --to 2026-01-31 --dry-run\n  \
                      updraft backfill create etl --from 2026-01-01 --to 2026-01-31 --reprocess failed --yes --wait\n  \
                      updraft backfill create etl --from 2026-01-01 --to 2026-01-31 --task load --reprocess all"
    )]
    Create(Create),
    /// List backfills with how far they are, the latest first.
    #[command(after_help = "Examples:\n  updraft backfill list --open\n  updraft backfill list --dag etl")]
    List {
        /// Only of this DAG.
        #[arg(long = "dag", value_name = "DAG_ID")]
        dag_id: Option<String>,
        /// Only those that are not over.
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show the dates of a backfill, each with its run.
    #[command(after_help = "Example:\n  updraft backfill show 3")]
    Show {
        /// Its number in `backfill list`.
        id: i64,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make no more runs for now; those that are made go on.
    #[command(after_help = "Example:\n  updraft backfill pause 3")]
    Pause {
        /// Its number in `backfill list`.
        id: i64,
    },
    /// Let a backfill go on.
    #[command(after_help = "Example:\n  updraft backfill unpause 3")]
    Unpause {
        /// Its number in `backfill list`.
        id: i64,
    },
    /// Make no more runs at all; runs that wait to begin are marked failed, and what runs goes on.
    #[command(after_help = "Example:\n  updraft backfill cancel 3")]
    Cancel {
        /// Its number in `backfill list`.
        id: i64,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Stay until a backfill is over: exit code 1 where one of its runs failed.
    #[command(after_help = "Example:\n  updraft backfill wait 3")]
    Wait {
        /// Its number in `backfill list`.
        id: i64,
    },
}

/// The backfill that is wanted.
#[derive(clap::Args)]
pub struct Create {
    /// The DAG.
    dag_id: String,
    /// No logical date before this.
    #[arg(long, visible_alias = "from-date", value_name = "TIME", value_parser = time::time)]
    from: Timestamp,
    /// No logical date after this.
    #[arg(long, visible_alias = "to-date", value_name = "TIME", value_parser = time::time)]
    to: Timestamp,
    /// What becomes of runs that are there and over: `none` leaves them alone, `failed` has those begin anew
    /// that failed, `all` every one.
    #[arg(long, visible_alias = "reprocess-behavior", value_parser = ["none", "failed", "all", "completed"], default_value = "none")]
    reprocess: String,
    /// The latest first.
    #[arg(long, visible_alias = "run-backwards")]
    backwards: bool,
    /// So many of its runs at most are not over at a time; the DAG's own limit counts besides.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    max_active_runs: u32,
    /// The runs' parameters, a JSON object.
    #[arg(short, long, visible_alias = "dag-run-conf", value_name = "JSON", value_parser = object)]
    conf: Option<Map<String, Value>>,
    /// Only this task; may be given several times.
    #[arg(short, long = "task", value_name = "TASK_ID")]
    tasks: Vec<String>,
    /// Only list what would become of each date.
    #[arg(long)]
    dry_run: bool,
    /// Stay until it is over: exit code 1 where one of its runs failed.
    #[arg(short, long)]
    wait: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

const LISTED: Columns = &[
    ("ID", "/id"),
    ("DAG", "/dag_id"),
    ("FROM", "/from_date"),
    ("TO", "/to_date"),
    ("WAITING", "/waiting"),
    ("ACTIVE", "/active"),
    ("SUCCESS", "/success"),
    ("FAILED", "/failed"),
    ("PASSED OVER", "/passed_over"),
    ("PAUSED", "/is_paused"),
    ("OVER", "/completed_at"),
];

const PLANNED: Columns = &[
    ("LOGICAL DATE", "/logical_date"),
    ("DATA UP TO", "/data_interval_end"),
    ("WHAT", "/action"),
    ("RUN", "/run_id"),
    ("WHY", "/reason"),
];

const DATES: Columns =
    &[("LOGICAL DATE", "/logical_date"), ("STATE", "/state"), ("RUN", "/run_id"), ("WHY", "/reason")];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::List { dag_id, open, limit } => {
                let mut query = Vec::new();
                query.extend(dag_id.map(|dag_id| ("dag_id", dag_id)));
                query.extend(open.then(|| ("is_completed", "false".to_owned())));
                let path = ["v1", "backfills"];
                format.list(&client.list(&path, &query, "backfills", limit.rows()).await?, LISTED)
            }
            Self::Show { id, limit } => {
                let path = ["v1", "backfills", &id.to_string(), "runs"];
                format.list(&client.list(&path, &[], "dates", limit.rows()).await?, DATES)
            }
            Self::Pause { id } => change(session, id, "pause", "is paused: what runs goes on").await,
            Self::Unpause { id } => change(session, id, "unpause", "goes on").await,
            Self::Cancel { id, yes } => {
                confirm(&format!("ending backfill {id}"), yes)?;
                change(session, id, "cancel", "is over: what runs goes on").await
            }
            Self::Wait { id } => until_over(session, id).await,
        }
    }
}

async fn change(session: &Session, id: i64, what: &str, told: &str) -> Result<()> {
    let path = ["v2", "backfills", &id.to_string(), what];
    let answer = session.client.call(Method::PUT, &path, &[], None).await?;
    eprintln!("backfill {id} {told}");
    session.echo(&answer)
}

impl Create {
    async fn ask(self, session: &Session) -> Result<()> {
        let (client, dag_id) = (&session.client, &self.dag_id);
        let body = json!({
            "dag_id": dag_id,
            "from_date": self.from,
            "to_date": self.to,
            "run_backwards": self.backwards,
            "dag_run_conf": self.conf.unwrap_or_default(),
            "reprocess_behavior": if self.reprocess == "all" { "completed" } else { &*self.reprocess },
            "max_active_runs": self.max_active_runs,
            "task_ids": self.tasks,
        });
        let preview = client.post(&["v1", "backfills", "preview"], body.clone()).await?;
        let dates = preview["dates"].as_array().map(Vec::as_slice).unwrap_or_default();
        let count = |action: &str| dates.iter().filter(|date| date["action"] == action).count();
        let (new, again, over) = (count("make"), count("clear"), count("pass_over"));
        let counts = [
            output::count(new, "new run", "new runs"),
            output::count(again, "run that begins anew", "runs that begin anew"),
            output::count(over, "date passed over", "dates passed over"),
        ];
        let counts = counts.join(", ");
        if self.dry_run {
            session.format.list(dates, PLANNED)?;
            eprintln!("{counts}");
            return Ok(());
        }
        if new + again == 0 {
            bail!("there is nothing to do for `{dag_id}`: {counts}; --dry-run says why, date by date");
        }
        confirm(&format!("backfilling `{dag_id}`: {counts}"), self.yes)?;
        let made = client.post(&["v2", "backfills"], body).await?;
        let id = made["id"].as_i64().unwrap_or_default();
        eprintln!("backfill {id} of `{dag_id}`: {counts}");
        if client.get(&["v2", "dags", dag_id]).await?["is_paused"] == true {
            eprintln!("`{dag_id}` is paused: its runs wait until `updraft dags unpause {dag_id}`");
        }
        session.echo(&made)?;
        if self.wait { until_over(session, id).await } else { Ok(()) }
    }
}

/// Shows how a backfill gets on until it is over.
async fn until_over(session: &Session, id: i64) -> Result<()> {
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {wide_msg}");
    let bar = stderr().is_terminal().then(|| {
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(0).with_style(style)
    });
    let mut told = String::new();
    loop {
        let path = ["v1", "backfills", &id.to_string()];
        let backfill = patiently(async || session.client.get(&path).await).await?;
        let count = |what: &str| backfill[what].as_u64().unwrap_or_default();
        let states = ["waiting", "active", "success", "failed", "passed_over", "deleted"];
        let done = states[2..].iter().map(|state| count(state)).sum::<u64>();
        let line: Vec<String> = states
            .iter()
            .filter(|state| count(state) > 0)
            .map(|state| format!("{} {}", count(state), state.replace('_', " ")))
            .collect();
        let line = line.join(", ");
        match &bar {
            Some(bar) => {
                bar.set_length(done + count("waiting") + count("active"));
                bar.set_position(done);
                bar.set_message(line.clone());
            }
            None if line != told => eprintln!("backfill {id}: {line}"),
            None => {}
        }
        told = line;
        if !backfill["completed_at"].is_null() {
            if let Some(bar) = &bar {
                bar.abandon();
            }
            return match count("failed") {
                0 => Ok(()),
                failed => {
                    let failed = output::count(failed, "run", "runs");
                    let message = format!("{failed} of backfill {id} failed: updraft backfill show {id}");
                    Err(Failure::new(Exit::Failed, message).into())
                }
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
