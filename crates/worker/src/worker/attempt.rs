//! One attempt, from its order to its end.

use std::{
    fmt::Display,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinError,
};
use updraft_core::{
    CallbackOn, TaskId, XcomValue,
    input::{AttemptEnd, Branch, Outcome, Report},
    protocol::{LOG_END_BYTES, Order, log_path},
};
use updraft_operators::{
    Files, Prepared, ProcessPlan, Work, is_literal,
    outcome::ProcessEnd,
    prepare,
    work::{Command, ResultRule, Shared, TaskContext, TaskLog},
};

use super::{
    Happened,
    api::{self, Granted, TaskApi},
    bundles::{self, Bundles, Here},
    callbacks::Callbacks,
    host::{AttemptHost, Client, LogOf, NoLookUps},
    logs::{self, Shipping},
    macros::Caller,
    remarks,
    shortage::{self, NotBegun, Patience, Unbegun},
    wanted::{Running, Wanted, steer},
};
use crate::process::{
    self, Exit, Guard, Marker, Masks, ProcessSpec, Program, ResultError, ResultValue, Secret, Spawner, Stdin,
    Streams, log::TaskLogFile,
};

/// A value that takes more than this as JSON goes into the blob store.
const INLINE_BYTES: usize = 64 * 1024;

/// All values of an attempt that do not: what comes after these goes there too.
const INLINE_BYTES_TOGETHER: usize = 256 * 1024;

/// A last line beyond this is no result: nobody means it as one.
const LAST_LINE_BYTES: u64 = 16 * 1024 * 1024;

/// What is said of an attempt is cut after so many characters; the log has it all.
const MESSAGE_CHARS: usize = 8 * 1024;

/// The variable that says where a task may write.
const FILES: &str = "UPDRAFT_FILES";

/// Who waits for a time looks at the clock so often.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// So many are prepared on threads at once. Ten thousand that come together are not hundreds of threads, of which
/// each keeps some memory.
pub(super) const PREPARED_AT_ONCE: usize = 32;

/// What all attempts of a worker share.
pub(super) struct Tools {
    pub spawner: Spawner,
    pub guard: Option<Arc<Guard>>,
    pub bundles: Bundles,
    pub client: Client,
    pub api: Arc<TaskApi>,
    pub shared: Arc<Shared>,
    /// The turns of those that have to be prepared on a thread of their own.
    pub preparing: Semaphore,
    /// What may be read for the authors of DAGs.
    pub files: Arc<Files>,
    /// Where logs are written: each where the server looks for it, or else for as long as it is being sent there.
    pub logs: PathBuf,
    pub remote: bool,
    pub installation: String,
    /// So long a callback may take.
    pub callback_timeout: Duration,
    /// So many bytes are kept of what a process writes.
    pub log_limit_bytes: u64,
    pub happened: mpsc::UnboundedSender<Happened>,
}

/// Begins an attempt.
pub(super) fn begin(order: Arc<Order>, tools: Arc<Tools>) -> Running {
    let (running, wanted) = Running::new(order.task.outlives_lease);
    tokio::spawn(async move {
        let attempt = order.attempt;
        let happened = tools.happened.clone();
        let shipping = Shipping::begin(LogOf { attempt, call: None }, log_file(&order, &tools), &tools);
        // In a task of its own, so that one that panics has an end, too.
        let carried_out = tokio::spawn(async move { carry_out(order, &tools, wanted).await }).await;
        let (at, report, unwritten) =
            carried_out.unwrap_or_else(|panic| (Timestamp::now(), unexpected(&panic), Vec::new()));
        let log = match shipping {
            Some(shipping) => shipping.end(unwritten).await,
            None => None,
        };
        // Nobody to tell only when the worker itself is going.
        let _ = happened.send(Happened { attempt, at, report, log });
    });
    running
}

fn unexpected(panic: &JoinError) -> Report {
    ended(AttemptEnd::Failed, format!("it failed in a way it should not; please report this: {panic}"))
}

/// Carries an attempt out, and calls what is to be called about it. How it ended, and when: what is called after
/// that takes none of its time; and what of its log is not written.
async fn carry_out(
    order: Arc<Order>,
    tools: &Arc<Tools>,
    wanted: watch::Receiver<Wanted>,
) -> (Timestamp, Report, Vec<u8>) {
    let masks = Masks::default();
    let mut unwritten = Vec::new();
    let began = Timestamp::now();
    let here = match order.run.bundle.is_some() {
        true => Box::pin(bundles::here(&order, tools, &masks, wanted.clone())).await,
        false => Ok(Here::as_it_is(order)),
    };
    let order = match &here {
        Ok(here) => &here.order,
        Err(outcome) => return (Timestamp::now(), Report::Ended(outcome.clone()), unwritten),
    };
    let report = run(order, tools, &masks, wanted.clone(), &mut unwritten).await;
    let at = Timestamp::now();
    if let (Report::Ended(outcome), false) = (&report, order.task.callbacks.is_empty()) {
        // Boxed, as those of most attempts are not there. Whatever becomes of them, the attempt has ended as it has.
        let callbacks = callbacks(order, tools, &masks, wanted);
        let called = AssertUnwindSafe(Box::pin(callbacks.after(began, outcome, at))).catch_unwind();
        if called.await.is_err() {
            tracing::error!(attempt = %order.attempt, "calling its callbacks failed in a way it should not; please report this");
        }
    }
    (at, report, unwritten)
}

fn callbacks<'a>(
    order: &'a Arc<Order>,
    tools: &'a Arc<Tools>,
    masks: &Masks,
    wanted: watch::Receiver<Wanted>,
) -> Callbacks<'a> {
    Callbacks { order, tools, log: log_file(order, tools), masks: masks.clone(), wanted }
}

async fn run(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    masks: &Masks,
    wanted: watch::Receiver<Wanted>,
    unwritten: &mut Vec<u8>,
) -> Report {
    let log = log_file(order, tools);
    let prepared = tokio::select! {
        prepared = prepared(order, tools, masks) => prepared,
        outcome = stopped(order, wanted.clone()) => return Report::Ended(Box::new(outcome)),
    };
    let prepared = match prepared {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(outcome)) => {
            TaskLogFile::new(log).line(outcome.message.as_deref().unwrap_or_default());
            return Report::Ended(outcome);
        }
        Err(panic) => return unexpected(&panic),
    };
    let Prepared { rendered, name, secrets, work } = prepared;
    if let Err(error) = masks.add(secrets.into_iter().map(Secret::new)) {
        return ended(AttemptEnd::Failed, error.to_string());
    }
    match name {
        Some(Ok(name)) => happened(order, tools, Timestamp::now(), Report::Named(name)),
        Some(Err(bad)) => {
            TaskLogFile::masked(log.clone(), masks.clone()).line(&format!("This copy has no name: {bad}"));
        }
        None => {}
    }
    if order.calls(CallbackOn::Execute) {
        let began = Timestamp::now();
        started(order, tools, began);
        Box::pin(callbacks(order, tools, masks, wanted.clone()).before(began)).await;
    }
    let mut report = match work {
        Work::Until(until) if order.task.callbacks.iter().any(|callback| callback.on.is_of_success()) => {
            // Nobody else could call them at its end.
            started(order, tools, Timestamp::now());
            let outcome = tokio::select! {
                () = comes(until) => Outcome::new(AttemptEnd::Success),
                outcome = stopped(order, wanted) => outcome,
            };
            Report::Ended(Box::new(outcome))
        }
        Work::Until(until) => Report::Deferred { until },
        Work::Process(plan) => {
            // Boxed, so that one that only waits does not take as much room as one with a process.
            let process = Box::pin(run_process(order, tools, plan, masks, log, wanted, unwritten));
            Report::Ended(Box::new(process.await))
        }
        Work::Native(task) => {
            let log = Arc::new(TaskLogFile::masked(log, masks.clone()));
            let context = TaskContext {
                log: log.clone(),
                shared: tools.shared.clone(),
                server: Arc::new(tools.client.clone()),
                functions: Arc::new(Caller {
                    order: order.clone(),
                    tools: tools.clone(),
                    masks: masks.clone(),
                }),
            };
            started(order, tools, Timestamp::now());
            let outcome = tokio::select! {
                outcome = task.run(context) => outcome,
                outcome = stopped(order, wanted) => outcome,
            };
            if let Some(message) = &outcome.message {
                log.line(message);
            }
            Report::Ended(Box::new(told(order, outcome, masks)))
        }
    };
    if let Report::Ended(outcome) = &mut report {
        match &mut outcome.rendered {
            // What its process rendered itself.
            Some(own) => hide(own, masks),
            None => outcome.rendered = Some(rendered),
        }
        if let Err(error) = Box::pin(store_large(order, tools, outcome)).await {
            return ended(AttemptEnd::Failed, format!("its result could not be stored: {error}"));
        }
    }
    report
}

/// Waits until this time. A clock that is set meanwhile is followed, a little later.
async fn comes(until: Timestamp) {
    loop {
        let left = until.duration_since(Timestamp::now());
        if !left.is_positive() {
            return;
        }
        tokio::time::sleep(left.unsigned_abs().min(LOOK_EVERY)).await;
    }
}

/// Prepares an order: at once where nothing has to be looked up, which most are, and otherwise where blocking
/// is allowed. The way to another thread and back costs more than preparing a literal command.
async fn prepared(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    masks: &Masks,
) -> Result<Result<Prepared, Box<Outcome>>, JoinError> {
    if is_literal(order) {
        let host = NoLookUps::default();
        // One that panics does so again below, where that is told.
        let prepared = std::panic::catch_unwind(AssertUnwindSafe(|| prepare(order, &host)));
        if let (Ok(prepared), false) = (prepared, host.was_asked()) {
            return Ok(prepared.map_err(|refused| Box::new(refused.into())));
        }
    }
    let _turn = tools.preparing.acquire().await;
    // Dropped where this is: then nothing is asked for any more.
    let (_waiting, waited_for) = watch::channel(());
    let host = AttemptHost::new(order.clone(), tools.clone(), masks.clone(), waited_for);
    let (order, masks) = (order.clone(), masks.clone());
    let prepare = move || {
        let prepared = prepare(&order, &host);
        // None where there are gigabytes of them.
        let _ = masks.add(host.secrets().into_iter().map(Secret::new));
        match prepared {
            Ok(prepared) if host.called() => Ok(shown(prepared, &masks)),
            Ok(prepared) => Ok(prepared),
            Err(refused) => Err(Box::new(told(&order, refused.into(), &masks))),
        }
    };
    tokio::task::spawn_blocking(prepare).await
}

/// Hides what may not be seen in a value.
fn hide(value: &mut Value, masks: &Masks) {
    match value {
        Value::String(text) => *text = hidden(text, masks),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, masks)),
        Value::Object(map) => map.values_mut().for_each(|item| hide(item, masks)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What is shown of an order, without what its macros looked up.
fn shown(prepared: Prepared, masks: &Masks) -> Prepared {
    let Prepared { mut rendered, name, .. } = prepared;
    hide(&mut rendered, masks);
    Prepared { rendered, name: name.map(|name| name.map(|name| hidden(&name, masks))), ..prepared }
}

/// A text as everybody may see it.
fn hidden(text: &str, masks: &Masks) -> String {
    String::from_utf8_lossy(&masks.hide(text.as_bytes())).into_owned()
}

/// An outcome as everybody may see it.
fn told(order: &Order, outcome: Outcome, masks: &Masks) -> Outcome {
    let shown = |message: String| {
        let shown = hidden(&message, masks);
        match shown.char_indices().nth(MESSAGE_CHARS) {
            Some((end, _)) => format!("{}… (cut; the log has it all)", &shown[..end]),
            None => shown,
        }
    };
    // A branch is shown where it leads nowhere.
    let branch = outcome.branch.map(|branch| match branch {
        Branch::Follow(tasks) => {
            let hide = |task: TaskId| match order.task.downstream.contains(&task) {
                true => task,
                false => (&*hidden(&task, masks)).into(),
            };
            Branch::Follow(tasks.into_iter().map(hide).collect())
        }
        Branch::SkipDownstream | Branch::SkipAllDownstream => branch,
    });
    Outcome { message: outcome.message.map(shown), branch, ..outcome }
}

fn ended(end: AttemptEnd, message: String) -> Report {
    Report::Ended(Box::new(Outcome { message: Some(message), ..Outcome::new(end) }))
}

fn started(order: &Order, tools: &Tools, at: Timestamp) {
    happened(order, tools, at, Report::Started);
}

fn happened(order: &Order, tools: &Tools, at: Timestamp, report: Report) {
    let _ = tools.happened.send(Happened { attempt: order.attempt, at, report, log: None });
}

pub(super) fn log_file(order: &Order, tools: &Tools) -> PathBuf {
    if tools.remote {
        return tools.logs.join(format!("{}.log", order.attempt));
    }
    let run = &order.run;
    let names = (&run.namespace, &run.dag_id, &run.run_id);
    let path = log_path(names, &order.task.task_id, order.attempt.ti.map_index, order.attempt.try_number);
    tools.logs.join(path)
}

/// How an attempt ends that is stopped or takes too long, as soon as that is so.
pub(super) async fn stopped(order: &Order, mut wanted: watch::Receiver<Wanted>) -> Outcome {
    let limit = order.task.execution_timeout.and_then(|limit| Duration::try_from(limit).ok());
    let timeout = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = timeout => Outcome {
            message: Some(timed_out(limit)),
            ..Outcome::new(AttemptEnd::Failed)
        },
        _ = wanted.wait_for(|wanted| matches!(wanted, Wanted::End(_))) => Outcome::new(AttemptEnd::Cancelled),
    }
}

fn timed_out(limit: Option<Duration>) -> String {
    format!("it took longer than its execution_timeout of {:?} and was ended", limit.unwrap_or_default())
}

async fn run_process(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    plan: ProcessPlan,
    masks: &Masks,
    log: PathBuf,
    wanted: watch::Receiver<Wanted>,
    unwritten: &mut Vec<u8>,
) -> Outcome {
    let environment = match &plan.environment {
        Some(asked) => match Box::pin(bundles::environment(order, tools, masks, asked, wanted.clone())).await
        {
            Ok(held) => Some(held),
            Err(outcome) => return *outcome,
        },
        None => None,
    };
    let name = order.attempt.to_string();
    let made = || -> Result<_, Unbegun> {
        let (mut spec, granted) = process_spec(order, tools, &name, &plan, masks.clone(), log.clone())?;
        if let Some((environment, _held)) = &environment {
            bundles::use_environment(&mut spec, environment, plan.inherit_env);
        }
        if tools.remote && order.task.callbacks.is_empty() {
            spec.unwritten_log_bytes = LOG_END_BYTES;
        }
        Ok((spec, granted))
    };
    if matches!(*wanted.borrow(), Wanted::End(_)) {
        return Outcome::new(AttemptEnd::Cancelled);
    }
    remarks::secret_arguments(&plan.command, masks, &log);
    let tell = |line: &dyn Display| {
        TaskLogFile::masked(log.clone(), masks.clone()).line(&line.to_string());
    };
    let begin = || {
        let (made, began) = (made(), Timestamp::now());
        async move {
            let (spec, granted) = made?;
            Ok::<_, Unbegun>((tools.spawner.spawn(spec).await?, granted, began))
        }
    };
    let (running, _granted, began) = match shortage::begun(Patience::USUAL, begin, wanted.clone(), tell).await
    {
        Ok(begun) => begun,
        Err(NotBegun { end, message }) => {
            let message = message.map(|message| hidden(&message, masks));
            message.iter().for_each(|message| tell(message));
            return Outcome { message, ..Outcome::new(end) };
        }
    };
    started(order, tools, began);
    let control = running.control();
    tokio::select! {
        end = running.wait() => match end {
            Ok(mut end) => {
                *unwritten = std::mem::take(&mut end.log.unwritten);
                let outcome = judge(order, &plan, end, &log).await;
                if outcome.end == AttemptEnd::Failed {
                    // What it failed by is looked for there.
                    logs::write(&log, &std::mem::take(unwritten));
                    remarks::refusal(order, tools, &log).await;
                }
                told(order, outcome, masks)
            }
            Err(error) => Outcome { message: Some(error.to_string()), ..Outcome::new(AttemptEnd::Lost) },
        },
        never = steer(control, wanted) => match never {},
    }
}

/// How a process is started that is known by this name, should it outlive this worker.
pub(super) fn process_spec(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    name: &str,
    plan: &ProcessPlan,
    masks: Masks,
    log: PathBuf,
) -> Result<(ProcessSpec, Option<Granted>), String> {
    let marker = Marker::new(format!("{}/{name}", tools.installation)).map_err(|e| e.to_string())?;
    let program = match &plan.command {
        Command::Argv(argv) => Program::Argv(argv.clone()),
        Command::Script { text, interpreter, arguments } => Program::Script {
            body: text.clone(),
            interpreter: (!interpreter.is_empty()).then(|| interpreter.clone()),
            args: arguments.clone(),
        },
    };
    let mut spec = ProcessSpec::new(marker, program, log);
    spec.env = plan.env.clone();
    let of_bundle = order.run.bundle.as_ref().and_then(|bundle| bundle.environment.as_ref());
    if let Some(environment) = of_bundle.filter(|_| plan.environment.is_none()) {
        bundles::use_environment(&mut spec, environment, plan.inherit_env);
    }
    if let Some(own) = tools.files.own() {
        spec.env.entry(FILES.into()).or_insert_with(|| own.to_string_lossy().into_owned());
    }
    spec.inherit_env = plan.inherit_env;
    spec.handed = plan.secrets.iter().map(|(name, text)| (name.clone(), Secret::new(text.clone()))).collect();
    spec.run_as_user = order.task.run_as_user.clone();
    spec.cwd = plan.cwd.clone();
    spec.stdin = plan.stdin.clone().map_or(Stdin::Empty, Stdin::Bytes);
    spec.streams = match plan.result {
        ResultRule::LastLine => Streams::Merged,
        ResultRule::Output | ResultRule::File | ResultRule::Envelope | ResultRule::None => Streams::Apart,
    };
    spec.result = match plan.result {
        ResultRule::LastLine => process::ResultRule::LastLine,
        ResultRule::Output => process::ResultRule::WholeOutput,
        ResultRule::File | ResultRule::Envelope => process::ResultRule::File,
        ResultRule::None => process::ResultRule::Nothing,
    };
    if plan.result == ResultRule::LastLine {
        spec.result_limit_bytes = LAST_LINE_BYTES;
    }
    spec.skip_codes = plan.skip_exit_codes.clone();
    spec.timeout = order.task.execution_timeout.and_then(|limit| Duration::try_from(limit).ok());
    spec.masked = masks;
    spec.guard = tools.guard.clone();
    spec.log_limit_bytes = tools.log_limit_bytes;
    if !plan.asks {
        return Ok((spec, None));
    }
    let socket = match spec.run_as_user {
        Some(_) => tools.spawner.api_socket_of_others().map_err(|error| error.to_string())?,
        None => tools.spawner.api_socket(),
    };
    let listening = tools.api.listen(&socket);
    listening.map_err(|error| format!("can't listen for what it asks at {}: {error}", socket.display()))?;
    let granted = tools.api.grant(socket, order, tools, &spec.masked).map_err(|error| error.to_string())?;
    spec.env.insert(api::SOCKET.into(), granted.socket());
    spec.handed.insert(api::TOKEN.into(), granted.token());
    Ok((spec, Some(granted)))
}

/// What the end of a process means for the attempt.
pub(super) async fn judge(order: &Order, plan: &ProcessPlan, end: process::Ended, log: &Path) -> Outcome {
    let (exit_code, signal) = match end.exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal { signal, .. } => (None, Some(signal)),
        Exit::Unknown => (None, None),
    };
    let failed = |end, message: Option<String>| Outcome { message, exit_code, ..Outcome::new(end) };
    match end.outcome {
        process::Outcome::Killed => return failed(AttemptEnd::Cancelled, None),
        process::Outcome::TimedOut => {
            let limit = order.task.execution_timeout.and_then(|limit| Duration::try_from(limit).ok());
            return failed(AttemptEnd::Failed, Some(timed_out(limit)));
        }
        process::Outcome::Succeeded
        | process::Outcome::Skipped { .. }
        | process::Outcome::Failed { .. }
        | process::Outcome::Signaled { .. }
        | process::Outcome::Unknown => {}
    }
    let result = match end.result {
        Ok(None) => None,
        Ok(Some(ResultValue::Inline(bytes))) => Some(bytes),
        Ok(Some(ResultValue::Spilled(file))) => match tokio::fs::read(file.path()).await {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("its result can't be read back: {error}");
                return failed(AttemptEnd::Failed, Some(message));
            }
        },
        Err(error @ ResultError::TooLarge { .. }) if plan.result == ResultRule::LastLine => {
            TaskLogFile::new(log.to_owned())
                .line(&format!("its last line is not kept as its result: {error}"));
            None
        }
        Err(error) => return failed(AttemptEnd::Failed, Some(error.to_string())),
    };
    let in_file = matches!(plan.result, ResultRule::File | ResultRule::Envelope);
    let (output, result_file) = match result {
        Some(bytes) if in_file => (None, Some(bytes)),
        Some(bytes) => {
            let text = String::from_utf8(bytes);
            // Without a copy of what may be large.
            let text = text.unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned());
            (Some(text), None)
        }
        None => (None, None),
    };
    plan.outcome(ProcessEnd { exit_code, signal, output, result_file })
}

/// Puts the values that are too large for a row into the blob store.
async fn store_large(
    order: &Order,
    tools: &Tools,
    outcome: &mut Outcome,
) -> Result<(), updraft_operators::HostError> {
    let mut inline = 0;
    for (name, value) in &mut outcome.xcoms {
        let XcomValue::Inline(value_of) = value else { continue };
        let Ok(json) = serde_json::to_vec(&**value_of) else { continue };
        if json.len() > INLINE_BYTES || inline + json.len() > INLINE_BYTES_TOGETHER {
            let (path, bytes) = tools.client.put_blob(order.attempt, name, json).await?;
            *value = XcomValue::Blob { path, bytes };
        } else {
            inline += json.len();
        }
    }
    Ok(())
}
