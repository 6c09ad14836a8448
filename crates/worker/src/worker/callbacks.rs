//! The functions that a task has called about its attempts (Airflow's `on_*_callback`), each in a process of its own,
//! which is guarded, marked and masked as the attempt's. What they come to changes nothing about the attempt.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;
use updraft_core::{Callback, CallbackOn, input::Outcome, protocol::Order};
use updraft_operators::{
    callback::{Told, call},
    work::TaskLog,
};

use super::attempt::{Tools, Wanted, explain_refusal, process_spec, steer};
use crate::process::{self, Masks, log::TaskLogFile};

/// A callback that takes too long may go on for so long after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// What an attempt's callbacks are called with.
pub(super) struct Callbacks<'a> {
    pub order: &'a Order,
    pub tools: &'a Tools,
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
            if *self.wanted.borrow() == Wanted::End {
                self.line(&format!("{name} is not called: the attempt is to end."));
                continue;
            }
            self.line(&format!("Calling {name}."));
            if let Err(why) = self.one(callback, told).await {
                self.line(&format!("{name} {why}. This changes nothing about the task."));
                explain_refusal(self.tools, &self.log).await;
            }
        }
    }

    async fn one(&self, callback: &Callback, told: Told<'_>) -> Result<(), String> {
        let limit = self.tools.callback_timeout;
        let plan = call(self.order, &self.tools.files, callback, told);
        let (mut spec, _granted) =
            process_spec(self.order, self.tools, &plan, self.masks.clone(), self.log.clone())
                .map_err(|why| format!("could not be called: {why}"))?;
        spec.timeout = Some(limit);
        spec.kill_grace = GRACE;
        let running = self.tools.spawner.spawn(spec).await;
        let running = running.map_err(|error| format!("could not be called: {error}"))?;
        let control = running.control();
        let ended = tokio::select! {
            ended = running.wait() => ended.map_err(|error| error.to_string())?,
            never = steer(control, self.wanted.clone()) => match never {},
        };
        Err(match ended.outcome {
            process::Outcome::Succeeded => return Ok(()),
            process::Outcome::TimedOut => format!(
                "took longer than {limit:?} and was ended; UPDRAFT__WORKER__CALLBACK_TIMEOUT_S sets how long a \
                 callback may take"
            ),
            process::Outcome::Killed => "was ended, since the attempt is to end".into(),
            process::Outcome::Failed { code } | process::Outcome::Skipped { code } => {
                format!("failed with exit code {code}")
            }
            process::Outcome::Signaled { signal } => format!("was ended by signal {signal}"),
            process::Outcome::Unknown => "ended, and it is not known how".into(),
        })
    }

    fn line(&self, text: &str) {
        TaskLogFile::masked(self.log.clone(), self.masks.clone()).line(text);
    }
}
