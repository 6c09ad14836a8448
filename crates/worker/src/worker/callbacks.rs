//! The functions that a task has called about its attempts, and a DAG about its runs (Airflow's `on_*_callback`), each in
//! a process of its own, which is guarded, marked and masked as the attempt's. What they come to changes nothing about
//! attempt and run.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::watch;
use updraft_core::{
    CallbackOn,
    input::Outcome,
    log::{Entry, Stream},
    protocol::{Call, CallOutcome, Order, call_log_path},
};
use updraft_operators::{
    ProcessPlan,
    callback::{Told, call, call_of_run},
    work::TaskLog,
};

use super::{
    attempt::{Tools, process_spec},
    bundles::Missing,
    host::LogOf,
    logs::Shipping,
    remarks,
    wanted::{Wanted, steer},
};
use crate::process::{self, Masks, log::TaskLogFile};

/// A callback that takes too long may go on for so long after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// What an attempt's callbacks are called with.
pub(super) struct Callbacks<'a> {
    pub order: &'a Arc<Order>,
    pub tools: &'a Arc<Tools>,
    pub log: PathBuf,
    pub masks: Masks,
    pub wanted: watch::Receiver<Wanted>,
}

impl Callbacks<'_> {
    /// Calls what is to be called before the attempt does anything.
    pub async fn before(&self, began: Timestamp) {
        self.all(Told { on: CallbackOn::Execute, began, ended: None }).await;
    }

    /// Calls what is to be called after this end.
    pub async fn after(&self, began: Timestamp, outcome: &Outcome, at: Timestamp) {
        if let Some(on) = self.order.called_after(outcome) {
            self.all(Told { on, began, ended: Some((outcome, at)) }).await;
        }
    }

    /// One after the other, whatever becomes of each, as in Airflow.
    async fn all(&self, told: Told<'_>) {
        for callback in self.order.task.callbacks.iter().filter(|callback| callback.on == told.on) {
            let name = format!("{} {}", callback.on.key(), callback.function);
            if matches!(*self.wanted.borrow(), Wanted::End(_)) {
                self.line(&format!("{name} is not called: the attempt is to end."));
                continue;
            }
            self.line(&format!("Calling {name}."));
            let plan = call(self.order, &self.tools.files, callback, told);
            let process = self.order.attempt.to_string();
            let why = match self.one(&process, &plan).await {
                CallOutcome::Done => continue,
                CallOutcome::Failed(why) | CallOutcome::NotCalled(why) => why,
                CallOutcome::Broken(why) => format!("{why}, since the attempt is to end"),
            };
            self.line(&format!("{name} {why}. This changes nothing about the task."));
            remarks::refusal(self.order, self.tools, &self.log).await;
        }
    }

    /// Has this done in a process of this name.
    async fn one(&self, name: &str, plan: &ProcessPlan) -> CallOutcome {
        let limit = self.tools.callback_timeout;
        let not_called = |why: String| CallOutcome::NotCalled(format!("could not be called: {why}"));
        let made = process_spec(self.order, self.tools, name, plan, self.masks.clone(), self.log.clone());
        let (mut spec, _granted) = match made {
            Ok(made) => made,
            Err(why) => return not_called(why),
        };
        spec.timeout = Some(limit);
        spec.kill_grace = GRACE;
        let running = match self.tools.spawner.spawn(spec).await {
            Ok(running) => running,
            Err(error) => return not_called(error.to_string()),
        };
        let control = running.control();
        let ended = tokio::select! {
            ended = running.wait() => ended,
            never = steer(control, self.wanted.clone()) => match never {},
        };
        CallOutcome::Failed(match ended.map(|ended| ended.outcome) {
            Ok(process::Outcome::Succeeded) => return CallOutcome::Done,
            Ok(process::Outcome::Killed) => return CallOutcome::Broken("was ended".into()),
            Ok(process::Outcome::TimedOut) => format!(
                "took longer than {limit:?} and was ended; UPDRAFT__WORKER__CALLBACK_TIMEOUT_S sets how long a \
                 callback may take"
            ),
            Ok(process::Outcome::Failed { code } | process::Outcome::Skipped { code }) => {
                format!("failed with exit code {code}")
            }
            Ok(process::Outcome::Signaled { signal }) => format!("was ended by signal {signal}"),
            Ok(process::Outcome::Unknown) => "ended, and it is not known how".into(),
            Err(error) => error.to_string(),
        })
    }

    fn line(&self, text: &str) {
        TaskLogFile::masked(self.log.clone(), self.masks.clone()).line(text);
    }
}

/// Calls a function about a run, unless it is to end before.
pub(super) async fn call_about_run(
    call: &Call,
    tools: &Arc<Tools>,
    wanted: watch::Receiver<Wanted>,
) -> CallOutcome {
    let run = &call.order.run;
    let log = match tools.remote {
        true => tools.logs.join(format!("call-{}.log", call.id)),
        false => tools.logs.join(call_log_path(&run.namespace, &run.dag_id, &run.run_id, call.id)),
    };
    let of = LogOf { attempt: call.order.attempt, call: Some(call.id) };
    let shipping = Shipping::begin(of, log.clone(), tools);
    let outcome = called_about_run(call, tools, log, wanted).await;
    if let Some(shipping) = shipping {
        shipping.end(Vec::new()).await;
    }
    outcome
}

async fn called_about_run(
    call: &Call,
    tools: &Arc<Tools>,
    log: PathBuf,
    wanted: watch::Receiver<Wanted>,
) -> CallOutcome {
    let masks = Masks::default();
    if matches!(*wanted.borrow(), Wanted::End(_)) {
        return CallOutcome::NotCalled("its worker is to stop".into());
    }
    let here = match tools.bundles.here(&call.order, tools, (&masks, &log), wanted.clone()).await {
        Ok(here) => here,
        Err(Missing::Stopped(_)) => return CallOutcome::NotCalled("its worker is to stop".into()),
        Err(Missing::Because(why)) => {
            TaskLogFile::new(log).line(&why);
            return CallOutcome::NotCalled(why);
        }
    };
    let call_here = Call { order: here.order.clone(), ..call.clone() };
    let called = Callbacks { order: &here.order, tools, log, masks, wanted };
    let name = format!("{} {}", call.callback.on.key(), call.callback.function);
    called.line(&format!("Calling {name}."));
    let outcome = called.one(&format!("call-{}", call.id), &call_of_run(&call_here, &tools.files)).await;
    let (CallOutcome::Failed(why) | CallOutcome::NotCalled(why) | CallOutcome::Broken(why)) = &outcome else {
        return outcome;
    };
    let said = last_error(&called.log).await.map(|said| format!(": {said}")).unwrap_or_default();
    called.line(&format!("{name} {why}. This changes nothing about the run."));
    remarks::refusal(&call.order, tools, &called.log).await;
    match outcome {
        CallOutcome::Failed(why) => CallOutcome::Failed(why + &said),
        other => other,
    }
}

/// The last line that was written to standard error: of an exception its name and what it says.
async fn last_error(log: &Path) -> Option<String> {
    let words = remarks::last_of(log).await.ok()?;
    let mut entries = words.lines().rev().filter_map(Entry::parse);
    entries.find(|entry| entry.stream == Stream::Err).map(|entry| entry.text)
}
