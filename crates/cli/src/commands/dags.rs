//! `updraft dags`: DAGs, their runs made, their schedules.

mod check;
mod find;
mod simulate;
pub(super) mod test;
pub(super) mod time;
pub(super) mod trigger;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Ask, Limit, Session};
use crate::{
    client::Client,
    failure::{Exit, Failure},
    output::{Columns, confirm, print},
};

/// What can be done with DAGs.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the DAGs there are.
    #[command(
        after_help = "Examples:\n  updraft dags list\n  updraft dags list --tag etl --paused false -o json"
    )]
    List {
        /// Only those with this text in their name.
        #[arg(long, value_name = "TEXT")]
        pattern: Option<String>,
        /// Only those with this tag.
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
        /// Only those that are paused, or that are not.
        #[arg(long, value_name = "true|false")]
        paused: Option<bool>,
        /// Also those whose file is gone.
        #[arg(long)]
        stale: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show all about one DAG.
    #[command(after_help = "Example:\n  updraft dags show etl")]
    Show {
        /// The DAG.
        dag_id: String,
    },
    /// Start a run of a DAG, of all its tasks or of some.
    #[command(after_help = "Examples:\n  updraft dags trigger etl --conf '{\"day\": \"2026-01-31\"}'\n  \
                            updraft dags trigger etl --task extract --wait --timeout 600")]
    Trigger(trigger::Trigger),
    /// Run a DAG once in this terminal, without a server: nothing of it is kept, and nobody is told.
    #[command(after_help = "Examples:\n  updraft dags test dags/etl.yaml\n  \
                            updraft dags test etl --conf '{\"day\": \"2026-01-31\"}' --mark-success 'wait_*'")]
    Test(test::Test),
    /// List the runs that schedules will make, without a server.
    #[command(after_help = "Examples:\n  updraft dags simulate --from 2026-03-29 --to 2026-04-01\n  \
                            updraft dags simulate dags/etl.yaml -o json")]
    Simulate(simulate::Simulate),
    /// Let a DAG make no new runs and begin no new tasks.
    #[command(after_help = "Example:\n  updraft dags pause etl")]
    Pause {
        /// The DAG.
        dag_id: String,
    },
    /// Let a paused DAG go on.
    #[command(after_help = "Example:\n  updraft dags unpause etl")]
    Unpause {
        /// The DAG.
        dag_id: String,
    },
    /// Delete a DAG with all its history. One whose file is still there comes back when that is read again.
    #[command(after_help = "Example:\n  updraft dags delete old_etl --yes")]
    Delete {
        /// The DAG.
        dag_id: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// List the DAG files that can't be read, with the mend.
    #[command(after_help = "Example:\n  updraft dags list-import-errors")]
    ListImportErrors {
        #[command(flatten)]
        limit: Limit,
    },
    /// Say when a DAG's schedule makes its next run.
    #[command(alias = "next-execution", after_help = "Example:\n  updraft dags next etl")]
    Next {
        /// The DAG.
        dag_id: String,
    },
    /// List what became of each time at which a DAG's schedule asked for a run.
    #[command(after_help = "Examples:\n  updraft dags ticks etl\n  updraft dags ticks etl --from 2026-01-01")]
    Ticks {
        /// The DAG.
        dag_id: String,
        /// From this time on [default: a week ago].
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Up to this time [default: now].
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Read DAG files and say what is wrong with them, without a server; fails where something is, or nothing is found.
    #[command(
        after_help = "Examples:\n  updraft dags check dags/etl.yaml\n  updraft dags check dags/ --strict\n  \
                            updraft dags check team/etl.yaml --dags ."
    )]
    Check(check::Check),
}

const LISTED: Columns = &[
    ("DAG", "/dag_id"),
    ("SCHEDULE", "/timetable_summary"),
    ("PAUSED", "/is_paused"),
    ("NEXT RUN", "/next_dagrun_run_after"),
    ("OWNER", "/owners"),
    ("SOURCE", "/fileloc"),
    ("COMMIT", "/bundle_version"),
];

const SHOWN: Columns = &[
    ("DAG", "/dag_id"),
    ("Description", "/description"),
    ("Schedule", "/timetable_description"),
    ("Paused", "/is_paused"),
    ("Next run", "/next_dagrun_run_after"),
    ("Begins", "/start_date"),
    ("Ends", "/end_date"),
    ("Catch-up", "/catchup"),
    ("Owner", "/owners"),
    ("Source", "/fileloc"),
    ("Source is gone", "/is_stale"),
    ("Import errors", "/has_import_errors"),
    ("Version", "/latest_dag_version/version_number"),
    ("Commit", "/bundle_version"),
    ("Changed", "/last_parsed"),
    ("Runs at once", "/max_active_runs"),
    ("Tasks at once", "/max_active_tasks"),
    ("Running now", "/active_runs_count"),
    ("Run may take", "/dag_run_timeout"),
];

const IMPORT_ERRORS: Columns = &[("FILE", "/filename"), ("SINCE", "/timestamp"), ("ERROR", "/stack_trace")];

const TICKS: Columns = &[
    ("FIRST", "/first"),
    ("LAST", "/last"),
    ("COUNT", "/count"),
    ("OUTCOME", "/outcome"),
    ("REASON", "/reason"),
    ("RUN", "/run_id"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { pattern, tag, paused, stale, limit } => {
                let mut query =
                    vec![("exclude_stale", (!stale).to_string()), ("order_by", "dag_id".to_owned())];
                query.extend(pattern.iter().map(|text| ("dag_id_pattern", text.clone())));
                query.extend(tag.map(|tag| ("tags", tag)));
                query.extend(paused.map(|paused| ("paused", paused.to_string())));
                // `_` and `%` stand for other letters there, as in Airflow; what has them is looked at once more.
                let wanted = limit.rows().filter(|_| pattern.is_none());
                let mut dags = client.list(&["v2", "dags"], &query, "dags", wanted).await?;
                if let Some(text) = pattern {
                    dags.retain(|dag| has(&dag["dag_id"], &text));
                    limit.cut(&mut dags);
                }
                if dags.is_empty() {
                    refuse_empty_namespace(client).await?;
                }
                // Most have none, and a screen is narrow.
                let any_commit = dags.iter().any(|dag| !dag["bundle_version"].is_null());
                format.list(&dags, if any_commit { LISTED } else { &LISTED[..LISTED.len() - 1] })
            }
            Self::Show { dag_id } => {
                format.show(&client.get(&["v2", "dags", &dag_id, "details"]).await?, SHOWN)
            }
            Self::Trigger(args) => trigger::trigger(session, args).await,
            Self::Test(args) => test::test(session, args).await,
            Self::Simulate(args) => simulate::simulate(&session.home, *format, &args),
            Self::Pause { dag_id } => pause(session, &dag_id, true).await,
            Self::Unpause { dag_id } => pause(session, &dag_id, false).await,
            Self::Delete { dag_id, yes } => {
                confirm(&format!("`{dag_id}` goes with all its runs"), yes)?;
                client.delete(&["v2", "dags", &dag_id]).await?;
                eprintln!("`{dag_id}` is deleted");
                Ok(())
            }
            Self::ListImportErrors { limit } => {
                let path = ["v2", "importErrors"];
                format.list(&client.list(&path, &[], "import_errors", limit.rows()).await?, IMPORT_ERRORS)
            }
            Self::Next { dag_id } => next(session, &dag_id).await,
            Self::Ticks { dag_id, from, to, limit } => {
                let mut query = Vec::new();
                let of_the_week = from.is_none();
                query.extend(from.map(|from| ("from", from)));
                query.extend(to.map(|to| ("to", to)));
                let path = ["v1", "dags", &dag_id, "ticks"];
                let ticks = client.list(&path, &query, "ticks", limit.rows()).await?;
                if ticks.is_empty() && of_the_week {
                    eprintln!("of the last week; --from TIME looks further back:");
                }
                format.list(&ticks, TICKS)
            }
            Self::Check(args) => check::check(&session.home, session.format, &args),
        }
    }
}

/// Whether a name has a text in it, in capitals or not.
fn has(name: &Value, text: &str) -> bool {
    name.as_str().is_some_and(|name| name.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
}

/// A namespace is there by what is in it: who lists one with no DAG at all has rather mistaken its name.
async fn refuse_empty_namespace(client: &Client) -> Result<()> {
    let namespace = client.namespace();
    if namespace == "default" {
        return Ok(());
    }
    let query = [("exclude_stale", "false".to_owned()), ("limit", "1".to_owned())];
    let all = client.call(Method::GET, &["v2", "dags"], &query, None).await?;
    if all["total_entries"] != 0 {
        return Ok(());
    }
    let message = format!("there is no namespace `{namespace}` with DAGs");
    Err(Failure::new(Exit::NotFound, message).into())
}

async fn pause(session: &Session, dag_id: &str, paused: bool) -> Result<()> {
    let dag = session.client.patch(&["v2", "dags", dag_id], json!({ "is_paused": paused })).await?;
    eprintln!("`{dag_id}` is {}", if paused { "paused" } else { "not paused" });
    session.echo(&dag)
}

async fn next(session: &Session, dag_id: &str) -> Result<()> {
    let dag = session.client.get(&["v2", "dags", dag_id]).await?;
    if session.is_for_programs() {
        return session.format.value(&dag);
    }
    match (&dag["next_dagrun_run_after"], dag["is_paused"].as_bool()) {
        (Value::String(time), paused) => {
            if paused == Some(true) {
                eprintln!("`{dag_id}` is paused: nothing runs before `updraft dags unpause {dag_id}`");
            }
            print(time)
        }
        (_, _) => {
            eprintln!("`{dag_id}` has no next run: {}", dag["timetable_description"].as_str().unwrap_or("-"));
            Ok(())
        }
    }
}
