//! `updraft tasks`: tasks, and task instances.

mod logs;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

pub use self::logs::{EMPTY, Shown, text};
use super::{
    Ask, Limit, Session,
    runs::{Run, tell_of_later_version},
};
use crate::output::{Columns, Format, begin_anew, confirm, print, tell_progress, yaml};

/// What can be done with tasks.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List a DAG's tasks.
    #[command(after_help = "Example:\n  updraft tasks list etl")]
    List {
        /// The DAG.
        dag_id: String,
    },
    /// List the task instances of a run, with their states.
    #[command(
        alias = "states-for-dag-run",
        after_help = "Examples:\n  updraft tasks states etl nightly\n  \
                            updraft tasks states etl nightly load --state failed --state up_for_retry"
    )]
    States {
        #[command(flatten)]
        run: Run,
        /// Only of this task.
        task_id: Option<String>,
        /// Only those in this state; several times for several.
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<String>,
    },
    /// Print the log of an attempt, or follow it until the attempt is over.
    #[command(after_help = "Examples:\n  updraft tasks logs etl nightly extract\n  \
                            updraft tasks logs -f etl nightly extract\n  \
                            updraft tasks logs etl nightly extract --map-index 3 --try 1")]
    Logs(logs::Logs),
    /// Say why a task instance is where it is.
    #[command(after_help = "Example:\n  updraft tasks explain etl nightly load")]
    Explain {
        #[command(flatten)]
        ti: Ti,
    },
    /// Print what the templates of a task instance came to at its last try; secrets are masked.
    #[command(after_help = "Example:\n  updraft tasks rendered etl nightly load")]
    Rendered {
        #[command(flatten)]
        ti: Ti,
    },
    /// List the changes of state of a run's task instances, or of one task.
    #[command(
        after_help = "Examples:\n  updraft tasks history etl nightly\n  updraft tasks history etl nightly load"
    )]
    History {
        #[command(flatten)]
        run: Run,
        /// Only of this task.
        task_id: Option<String>,
        /// Only of this copy of it, where it is mapped.
        #[arg(long, requires = "task_id", value_name = "N", allow_negative_numbers = true)]
        map_index: Option<i32>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Have task instances begin anew: says first which.
    #[command(after_help = "Examples:\n  updraft tasks clear etl nightly --task load --downstream\n  \
                            updraft tasks clear etl --only-failed --from 2026-01-01 --yes")]
    Clear(Clear),
    /// Declare a task instance over; where it runs, it is ended.
    #[command(after_help = "Example:\n  updraft tasks mark etl nightly load --state success --downstream")]
    Mark {
        #[command(flatten)]
        ti: Ti,
        /// What it is from now on.
        #[arg(long, value_parser = ["success", "failed", "skipped"])]
        state: String,
        /// Also all tasks before it.
        #[arg(short, long)]
        upstream: bool,
        /// Also all tasks after it.
        #[arg(short, long)]
        downstream: bool,
    },
    /// Stop a running task instance for now: its processes get SIGSTOP.
    #[command(after_help = "Example:\n  updraft tasks pause etl nightly load")]
    Pause {
        #[command(flatten)]
        ti: Ti,
    },
    /// Let a paused task instance go on.
    #[command(after_help = "Example:\n  updraft tasks continue etl nightly load")]
    Continue {
        #[command(flatten)]
        ti: Ti,
    },
    /// End a running task instance: it has failed and is not tried again.
    #[command(after_help = "Example:\n  updraft tasks stop etl nightly load")]
    Stop {
        #[command(flatten)]
        ti: Ti,
    },
}

/// A task instance.
#[derive(clap::Args)]
pub struct Ti {
    #[command(flatten)]
    run: Run,
    /// The task.
    task_id: String,
    /// The copy of a mapped task.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    map_index: Option<i32>,
}

/// Which task instances begin anew.
#[derive(clap::Args)]
pub struct Clear {
    /// The DAG.
    dag_id: String,
    /// The run [default: all runs].
    #[arg(conflicts_with_all = ["from", "to"])]
    run_id: Option<String>,
    /// Of runs with this logical date or a later one.
    #[arg(short = 's', long, value_name = "TIME")]
    from: Option<String>,
    /// Of runs with this logical date or an earlier one.
    #[arg(short = 'e', long, value_name = "TIME")]
    to: Option<String>,
    /// Only this task; may be given several times.
    #[arg(short, long = "task", value_name = "TASK_ID")]
    tasks: Vec<String>,
    /// Only this copy of them, where they are mapped.
    #[arg(long, requires = "tasks", value_name = "N", allow_negative_numbers = true)]
    map_index: Option<i32>,
    /// Also all tasks before these.
    #[arg(short, long)]
    upstream: bool,
    /// Also all tasks after these.
    #[arg(short, long)]
    downstream: bool,
    /// Of all these only what failed, and what could not run for that.
    #[arg(short = 'f', long)]
    only_failed: bool,
    /// Go on with the DAG as it is now; without it a run goes on with that which it began with.
    #[arg(long)]
    latest: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

const LISTED: Columns = &[
    ("TASK", "/task_id"),
    ("OPERATOR", "/operator_name"),
    ("TRIGGER RULE", "/trigger_rule"),
    ("RETRIES", "/retries"),
    ("POOL", "/pool"),
    ("MAPPED", "/is_mapped"),
    ("DOWNSTREAM", "/downstream_task_ids"),
];

const STATES: Columns = &[
    ("TASK", "/task_id"),
    ("COPY", "/map_index"),
    ("NAME", "/rendered_map_index"),
    ("STATE", "/state"),
    ("TRY", "/try_number"),
    ("DONE", "/done"),
    ("LEFT", "/time_left"),
    ("BEGAN", "/start_date"),
    ("ENDED", "/end_date"),
    ("EXIT", "/exit_code"),
    ("REASON", "/reason"),
];

/// Task instances as Airflow's API has them.
const CONCERNED: Columns = &[
    ("RUN", "/dag_run_id"),
    ("TASK", "/task_id"),
    ("COPY", "/map_index"),
    ("STATE", "/state"),
    ("TRY", "/try_number"),
    ("ENDED", "/end_date"),
];

const HISTORY: Columns = &[
    ("AT", "/at"),
    ("TASK", "/task_id"),
    ("COPY", "/map_index"),
    ("TRY", "/try_number"),
    ("FROM", "/from"),
    ("TO", "/to"),
    ("REASON", "/reason"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { dag_id } => {
                let tasks = client.list(&["v2", "dags", &dag_id, "tasks"], &[], "tasks", None).await?;
                format.list(&tasks, LISTED)
            }
            Self::States { run, task_id, states } => {
                let path = [&run.path_v1()[..], &["progress"]].concat();
                let mut progress = client.get(&path).await?;
                if let Some(tasks) = progress["tasks"].as_array_mut() {
                    tasks.retain(|task| {
                        task_id.as_ref().is_none_or(|task_id| task["task_id"] == **task_id)
                            && (states.is_empty() || states.iter().any(|state| task["state"] == **state))
                    });
                }
                let tasks = progress["tasks"].as_array_mut().filter(|_| *format == Format::Table);
                for task in tasks.into_iter().flatten() {
                    if matches!(task["state"].as_str(), Some("running" | "paused")) {
                        let known = task.clone();
                        tell_progress(task, &known);
                    }
                }
                session.list_in(&progress, "tasks", STATES)
            }
            Self::Logs(args) => logs::logs(session, args).await,
            Self::Explain { ti } => explain(session, &ti).await,
            Self::Rendered { ti } => {
                let copy = ti.map_index.unwrap_or(-1).to_string();
                let mut shown = client.get(&[&ti.path()[..], &[&copy]].concat()).await?;
                let fields = shown["rendered_fields"].take();
                match (session.is_for_programs(), fields.as_object()) {
                    (false, Some(fields)) if fields.is_empty() => {
                        eprintln!("it has no arguments with templates, or has not begun");
                        Ok(())
                    }
                    (false, _) => print(yaml(&fields)?.trim_end()),
                    (true, _) => format.value(&fields),
                }
            }
            Self::History { run, task_id, map_index, limit } => {
                let mut query = Vec::new();
                query.extend(task_id.map(|task_id| ("task_id", task_id)));
                query.extend(map_index.map(|copy| ("map_index", copy.to_string())));
                let path = [&run.path_v1()[..], &["transitions"]].concat();
                format.list(&client.list(&path, &query, "transitions", limit.rows()).await?, HISTORY)
            }
            Self::Clear(args) => clear(session, args).await,
            Self::Mark { ti, state, upstream, downstream } => {
                let body = json!({
                    "new_state": &state,
                    "include_upstream": upstream,
                    "include_downstream": downstream,
                });
                let marked = client.call(Method::PATCH, &ti.path(), &ti.query(), Some(body)).await?;
                eprintln!("marked as {state}:");
                session.list_in(&marked, "task_instances", CONCERNED)
            }
            Self::Pause { ti } => control(session, &ti, "pause", "is paused").await,
            Self::Continue { ti } => control(session, &ti, "continue", "goes on").await,
            Self::Stop { ti } => control(session, &ti, "stop", "is ended").await,
        }
    }
}

async fn control(session: &Session, ti: &Ti, verb: &str, done: &str) -> Result<()> {
    let path = [&ti.path_v1()[..], &[verb]].concat();
    session.client.call(Method::POST, &path, &ti.query(), None).await?;
    eprintln!("{} of {} {done}", ti.task_id, ti.run);
    Ok(())
}

async fn explain(session: &Session, ti: &Ti) -> Result<()> {
    let path = [&ti.path_v1()[..], &["why"]].concat();
    let why = session.client.call(Method::GET, &path, &ti.query(), None).await?;
    if session.is_for_programs() {
        return session.format.value(&why);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("{} is {}", ti.task_id, text(&why["state"]))];
    lines.extend(why["reasons"].as_array().into_iter().flatten().map(|reason| format!("- {}", text(reason))));
    if let Some(until) = why["until"].as_str() {
        lines.push(format!("It goes on by itself at {until}."));
    }
    print(&lines.join("\n"))
}

async fn clear(session: &Session, args: Clear) -> Result<()> {
    let path = ["v2", "dags", &args.dag_id, "clearTaskInstances"];
    let chosen: Vec<Value> = match args.map_index {
        Some(copy) => args.tasks.iter().map(|task| json!([task, copy])).collect(),
        None => args.tasks.iter().map(|task| json!(task)).collect(),
    };
    let body = |dry_run| {
        json!({
            "dry_run": dry_run,
            "dag_run_id": args.run_id,
            "start_date": args.from,
            "end_date": args.to,
            "task_ids": Some(&chosen).filter(|chosen| !chosen.is_empty()),
            "include_upstream": args.upstream,
            "include_downstream": args.downstream,
            "only_failed": args.only_failed,
            "run_on_latest_version": args.latest,
        })
    };
    if let (Some(run_id), false) = (&args.run_id, args.latest) {
        let run = Run { dag_id: args.dag_id.clone(), run_id: run_id.clone() };
        tell_of_later_version(&session.client, &run).await?;
    }
    if !args.yes {
        let concerned = session.client.post(&path, body(true)).await?;
        session.list_in(&concerned, "task_instances", CONCERNED)?;
        confirm(&begin_anew(&concerned, ""), false)?;
    }
    let cleared = session.client.post(&path, body(false)).await?;
    eprintln!("{}", begin_anew(&cleared, ""));
    match args.yes {
        true => session.list_in(&cleared, "task_instances", CONCERNED),
        // They were shown when it was asked.
        false => Ok(()),
    }
}

impl Ti {
    fn path(&self) -> Vec<&str> {
        [&self.run.path()[..], &["taskInstances", &self.task_id]].concat()
    }

    fn path_v1(&self) -> Vec<&str> {
        [&self.run.path_v1()[..], &["taskInstances", &self.task_id]].concat()
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        self.map_index.map(|copy| ("map_index", copy.to_string())).into_iter().collect()
    }
}
