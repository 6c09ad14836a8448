//! `updraft dags test`: one run of a DAG in this terminal, with no server.

mod follow;
mod signals;

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use glob::Pattern;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use updraft_core::{DagSpec, Namespace, TaskKind, input::Trigger, record::RunType};
use updraft_server::{
    authoring::{self, Format, Options, read_document},
    params,
};

use self::{follow::Following, signals::Signals};
use super::{super::Session, find, time, trigger::object};
use crate::{
    config::{Config, Home},
    dag_files,
    failure::{Exit, Failure},
    trial::{Trial, key_of},
};

/// What is run, and how.
#[derive(clap::Args)]
pub struct Test {
    /// A DAG file, or the name of a DAG in the folder of DAG files.
    #[arg(value_name = "FILE|DAG_ID")]
    what: String,
    #[command(flatten)]
    root: find::Root,
    /// The DAG, where its file has several.
    #[arg(long, value_name = "DAG_ID")]
    dag: Option<String>,
    /// Its parameters, a JSON object.
    #[arg(short, long, value_name = "JSON", value_parser = object)]
    conf: Option<Map<String, Value>>,
    /// The time it is about, as 2026-01-31 or 2026-01-31T12:00:00Z [default: now].
    #[arg(short = 'e', long, value_name = "TIME", value_parser = time::time)]
    logical_date: Option<Timestamp>,
    /// Only this task; may be given several times.
    #[arg(short, long = "task", value_name = "TASK_ID")]
    tasks: Vec<String>,
    /// Tasks with such a name are not run and succeed at once, such as `wait_*`; may be given several times.
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::new)]
    mark_success: Vec<Pattern>,
    /// A task that fails has failed: no retries.
    #[arg(long)]
    no_retries: bool,
    /// It may take so many seconds: exit code 124. What runs then is ended.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Runs a DAG once, and fails where the run does.
pub async fn test(session: &Session, args: Test) -> Result<()> {
    let home = Home::open(session.home.clone())?;
    let config = args.root.over(Config::read(&home.0)?);
    let folder = dag_files::of(&home.0, &config)?;
    let found = find::one(&folder, &args.what, args.dag.as_deref())?;
    // A server may be at work with the same repository.
    let _held = match (&found.read.spec.bundle, &folder.git) {
        (Some(bundle), Some(git)) => {
            Some(git.hold(&bundle.version).context("can't keep the commit's files")?)
        }
        (Some(_) | None, _) => None,
    };
    let spec = prepared((*found.read.spec).clone(), &args)?;
    let conf = args.conf.unwrap_or_default();
    params::check(&spec, &conf).map_err(|bad| Failure::new(Exit::Usage, bad.to_string()))?;
    let trigger = Trigger {
        logical_date: Some(args.logical_date.unwrap_or_else(Timestamp::now)),
        conf: Arc::new(Value::Object(conf)),
        tasks: args.tasks.iter().map(|task| task.as_str().into()).collect(),
        ..trigger_of(&spec)
    };
    let installation = (&home, &config, &*found.readable);
    once(session, installation, spec, &found.source, trigger, args.timeout).await
}

/// Tries a connection in a task of its own.
pub async fn connection(session: &Session, conn_id: &str) -> Result<()> {
    let home = Home::open(session.home.clone())?;
    let config = Config::read(&home.0)?;
    let task = json!({"operator": "ConnectionTestOperator", "conn_id": conn_id});
    let text = json!({conn_id: {"schedule": null, "default_args": {"retries": 0}, "tasks": {"test": task}}});
    let folder = dag_files::folder_of(&home.0, &config)?;
    let options = Options {
        namespace: Namespace::default(),
        check: &authoring::native,
        variable: &|_| None,
        now: Timestamp::now(),
    };
    let reading = read_document("connection", &text.to_string(), Format::Json, &options);
    let Some(read) = reading.dags.into_iter().next() else {
        let why = reading.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(Failure::new(Exit::Usage, why).into());
    };
    let spec = (*read.spec).clone();
    let trigger = trigger_of(&spec);
    once(session, (&home, &config, &folder), spec, "", trigger, None).await
}

/// A run of now, of all tasks and with nothing said.
fn trigger_of(spec: &DagSpec) -> Trigger {
    Trigger {
        dag: key_of(spec),
        run_id: None,
        logical_date: Some(Timestamp::now()),
        data_interval: None,
        run_after: None,
        conf: Arc::new(json!({})),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: "test",
    }
}

/// One run in an installation of its own, beside this one, whose tasks may read this folder.
async fn once(
    session: &Session,
    (home, config, readable): (&Home, &Config, &Path),
    mut spec: DagSpec,
    source: &str,
    trigger: Trigger,
    timeout: Option<u64>,
) -> Result<()> {
    // One worker does it all.
    for task in &mut spec.tasks {
        task.worker_labels.clear();
        task.worker_slots = task.worker_slots.min(config.worker.slots);
    }
    let mut queues: Vec<_> = spec.tasks.iter().map(|task| task.queue.clone()).collect();
    queues.sort();
    queues.dedup();
    let mut signals = Signals::listen()?;
    let trial = Trial::begin(home, config, readable, queues).await?;
    let done = run(session, &trial, (spec, source), trigger, timeout, &mut signals).await;
    let ended = trial.end().await;
    done.and(ended)
}

async fn run(
    session: &Session,
    trial: &Trial,
    (spec, source): (DagSpec, &str),
    trigger: Trigger,
    timeout: Option<u64>,
    signals: &mut Signals,
) -> Result<()> {
    let dag_id = spec.dag_id.clone();
    trial.put(spec, source).await?;
    let run = trial.trigger(trigger).await?;
    let mut following = Following::new(trial, run, session.is_for_programs());
    let longest = timeout.map_or(Duration::MAX, Duration::from_secs);
    let failed = |exit, message: String| anyhow::Error::from(Failure::new(exit, message));
    let over = tokio::select! {
        over = following.until_over() => over,
        () = tokio::time::sleep(longest) => {
            let message = format!("the run of {dag_id} is not over after {longest:?}; what runs is ended");
            Err(failed(Exit::TimedOut, message))
        }
        () = signals.come() => {
            // The terminal may be gone.
            let _ = writeln!(std::io::stderr(), "ending what runs: a task has a minute to end by itself");
            Err(failed(Exit::Failed, format!("the run of {dag_id} was interrupted")))
        }
    };
    // Who reads it may be gone, with the terminal; what became of the run counts all the same.
    let shown = following.show(session.format).await;
    match over? {
        true => shown,
        false => Err(failed(Exit::Failed, format!("the run of {dag_id} failed"))),
    }
}

/// The DAG as it is run here: by nobody but us, and with what is left out.
fn prepared(mut spec: DagSpec, args: &Test) -> Result<DagSpec> {
    // Its schedule stays, since it says which interval a run is about; all its ticks have passed.
    spec.end_date = Some(Timestamp::UNIX_EPOCH);
    spec.catchup = false;
    spec.is_paused_upon_creation = Some(false);
    for pattern in &args.mark_success {
        let mut any = false;
        for task in spec.tasks.iter_mut().filter(|task| pattern.matches(&task.task_id)) {
            any = true;
            task.operator = "EmptyOperator".to_owned();
            task.kind = TaskKind::Empty;
            task.args.clear();
        }
        if !any {
            let message = format!("`{}` has no task `{pattern}` to be marked as a success", spec.dag_id);
            return Err(Failure::new(Exit::NotFound, message).into());
        }
    }
    if args.no_retries {
        spec.tasks.iter_mut().for_each(|task| task.retry.retries = 0);
    }
    Ok(spec)
}
