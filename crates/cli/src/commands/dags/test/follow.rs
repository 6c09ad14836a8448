//! What a run writes and comes to, as it does.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, Write, stderr, stdout},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use console::Style;
use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_core::{
    AlertChannel, AlertOn, MapIndex, RunKey, RunState, TiKey, TiStateName as S, WebhookTarget,
    log::{Entry, Stream},
    protocol::{call_log_path, log_path},
    record::{RunSnapshot, TiRow},
};
use updraft_server::logs::{LogName, Logs as _};
use updraft_store::{DeliveryListing, DeliveryQuery, DeliveryState, Window};

use crate::{
    commands::tasks::Shown,
    output::{Columns, Format},
    trial::Trial,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// So many bytes of a log are read at once.
const PAGE: usize = 256 * 1024;

/// Wider names are not lined up.
const WIDEST: usize = 24;

const TASKS: Columns =
    &[("TASK", "/task"), ("STATE", "/state"), ("TRIES", "/tries"), ("SECONDS", "/took"), ("WHY", "/reason")];

/// Says something, if there is still somebody to hear it: a run whose terminal is gone has tasks to end.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// Who follows a run.
pub struct Following<'a> {
    trial: &'a Trial,
    run: RunKey,
    began: Instant,
    /// Logs go where results do not.
    logs_to_err: bool,
    /// How far the log of a try was read.
    read: HashMap<(TiKey, u32), u64>,
    states: HashMap<TiKey, (S, u32)>,
    /// The names are lined up to this.
    width: usize,
}

impl<'a> Following<'a> {
    /// Of this run.
    pub fn new(trial: &'a Trial, run: RunKey, logs_to_err: bool) -> Self {
        let (read, states) = (HashMap::new(), HashMap::new());
        Self { trial, run, began: Instant::now(), logs_to_err, read, states, width: 0 }
    }

    /// Shows all of it; whether it succeeded.
    pub async fn until_over(&mut self) -> Result<bool> {
        loop {
            let seen = self.snapshot().await?;
            self.tell(&seen).await?;
            if seen.run.state.is_finished() && self.told_of_callbacks(&seen).await? {
                return Ok(seen.run.state == RunState::Success);
            }
            if self.trial.has_failed() {
                bail!("the worker could not go on");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn snapshot(&self) -> Result<RunSnapshot> {
        let found = self.trial.store.load_run(self.run).await.context("can't read the run")?;
        found.map(|(_, run)| run).context("the run is gone; please report this")
    }

    /// Shows what is new. A log is whole before its attempt's end is known, so it is read first.
    async fn tell(&mut self, seen: &RunSnapshot) -> Result<()> {
        let longest = seen.tis.iter().map(|ti| name(ti).len()).max().unwrap_or(0);
        self.width = self.width.max(longest.min(WIDEST));
        for ti in &seen.tis {
            let now = (ti.state.name(), ti.try_number);
            let before = self.states.insert(ti.key, now);
            let was_over = before.is_some_and(|(state, number)| state.is_finished() && number == now.1);
            if was_over {
                continue;
            }
            for try_number in 1..=ti.try_number {
                self.tell_log(seen, ti, try_number).await?;
            }
            if before != Some(now) {
                self.tell_state(ti);
            }
        }
        Ok(())
    }

    async fn tell_log(&mut self, seen: &RunSnapshot, ti: &TiRow, try_number: u32) -> Result<()> {
        let names = (&seen.run.dag.namespace, &seen.run.dag.dag_id, &seen.run.run_id);
        let path = log_path(names, &ti.task_id, ti.key.map_index, try_number);
        let log = LogName { run: ti.key.run, path };
        loop {
            let from = self.read.get(&(ti.key, try_number)).copied().unwrap_or(0);
            let page = self.trial.logs.read(&log, from, PAGE).await.context("can't read a log")?;
            self.print(&self.prefix(ti), &page.entries)?;
            self.read.insert((ti.key, try_number), page.next);
            if page.at_end || page.next == from {
                return Ok(());
            }
        }
    }

    /// Shows what the DAG has called about the run, once all of it was; whether that is so.
    async fn told_of_callbacks(&self, seen: &RunSnapshot) -> Result<bool> {
        let called = self.deliveries(seen).await?;
        let called = called.iter().filter_map(|listing| match &listing.row.channel {
            AlertChannel::Callback(callback) => Some((listing, callback)),
            _ => None,
        });
        let waits = |listing: &DeliveryListing| match listing.state {
            DeliveryState::Pending => listing.attempts == 0,
            state => state == DeliveryState::Sending,
        };
        if called.clone().any(|(listing, _)| waits(listing)) {
            return Ok(false);
        }
        let prefix = format!("{:width$}", "(the run)", width = self.width);
        for (listing, callback) in called {
            let run = &seen.run;
            let path = call_log_path(&run.dag.namespace, &run.dag.dag_id, &run.run_id, listing.row.id);
            let log = LogName { run: run.key, path };
            let (mut from, mut at_end) = (0, false);
            while !at_end {
                let page = self.trial.logs.read(&log, from, PAGE).await.context("can't read a log")?;
                self.print(&prefix, &page.entries)?;
                (at_end, from) = (page.at_end || page.next == from, page.next);
            }
            if let Some(error) = &listing.last_error {
                say(&format!("{prefix} {}: {error}", callback.on.key()));
            }
        }
        Ok(true)
    }

    /// What the outbox has about the run, the first first.
    async fn deliveries(&self, seen: &RunSnapshot) -> Result<Vec<DeliveryListing>> {
        let of_it = DeliveryQuery {
            run: Some(self.run),
            namespace: seen.run.dag.namespace.clone(),
            window: Window::ALL,
            ..Default::default()
        };
        let mut rows = self.trial.store.deliveries(&of_it).await?.rows;
        rows.reverse();
        Ok(rows)
    }

    fn print(&self, prefix: &str, entries: &[Entry]) -> Result<()> {
        let mut text = String::new();
        for entry in entries {
            let said = match entry.stream {
                Stream::Out | Stream::Err => entry.text.clone(),
                Stream::Sys => Style::new().dim().apply_to(&entry.text).to_string(),
            };
            text += &format!("{prefix} | {said}\n");
        }
        let mut out: Box<dyn Write> = match self.logs_to_err {
            true => Box::new(stderr().lock()),
            false => Box::new(stdout().lock()),
        };
        let for_terminal = if self.logs_to_err { stderr().is_terminal() } else { stdout().is_terminal() };
        match for_terminal {
            true => out.write_all(&Shown::default().of(text.as_bytes()))?,
            false => out.write_all(text.as_bytes())?,
        }
        Ok(())
    }

    /// Whose line it is: each task has a colour.
    fn prefix(&self, ti: &TiRow) -> String {
        let colours = [
            Style::new().cyan(),
            Style::new().yellow(),
            Style::new().green(),
            Style::new().magenta(),
            Style::new().blue(),
        ];
        let padded = format!("{:width$}", name(ti), width = self.width);
        colours[ti.key.task.usize() % colours.len()].apply_to(padded).to_string()
    }

    fn tell_state(&self, ti: &TiRow) {
        let state = ti.state.name();
        let because = ti.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let said = match state {
            // On the way: the next one tells more.
            S::None | S::Scheduled | S::Queued => return,
            S::Success | S::Failed => format!(
                "{state}{}{because}",
                took(ti).map(|took| format!(" after {took:.1} s")).unwrap_or_default()
            ),
            S::Deferred | S::UpForRetry | S::UpForReschedule => match ti.state.wakes_at() {
                Some(at) => format!("{state} until {}{because}", clock(at)),
                None => format!("{state}{because}"),
            },
            S::Running | S::Paused | S::Restarting | S::Skipped | S::UpstreamFailed | S::Removed => {
                format!("{state}{because}")
            }
        };
        let styled = match state {
            S::Failed | S::UpstreamFailed => Style::new().for_stderr().red().bold(),
            S::Success => Style::new().for_stderr().green(),
            _ => Style::new().for_stderr().dim(),
        };
        let at = self.began.elapsed().as_secs_f64();
        say(&format!("{} {at:6.1} s  {}", self.prefix(ti), styled.apply_to(said)));
    }

    /// Shows what became of all tasks, and whom a server would have told.
    pub async fn show(&mut self, format: Format) -> Result<()> {
        let seen = self.snapshot().await?;
        self.tell(&seen).await?;
        let rows: Vec<Value> = seen.tis.iter().map(row).collect();
        match format {
            Format::Table => {
                say("");
                format.list(&rows, TASKS)?;
            }
            Format::Json | Format::Yaml => {
                let run = &seen.run;
                let (dag_id, run_id, state) = (&run.dag.dag_id, &run.run_id, run.state.as_str());
                format.value(&json!({"dag_id": dag_id, "run_id": run_id, "state": state, "tasks": rows}))?;
            }
        }
        for alert in self.deliveries(&seen).await? {
            let Some(way) = way(&alert.row.channel) else { continue };
            let task = seen.tis.iter().find(|ti| Some(ti.key) == alert.row.ti);
            let what = task.map_or_else(|| "the run".to_owned(), name);
            let became = match alert.row.on {
                AlertOn::Failure => "failed",
                AlertOn::Retry => "failed and is tried again",
                AlertOn::Success => "succeeded",
                AlertOn::Deadline => "is not over by its deadline",
                // A test has no ticks.
                AlertOn::Missed => "was missed",
            };
            say(&format!("not sent, as this is a test: {way} that {what} {became}"));
        }
        Ok(())
    }
}

/// How a server would have told of it; `None` for what is called.
fn way(channel: &AlertChannel) -> Option<String> {
    Some(match channel {
        AlertChannel::Email { to, cc, bcc } => {
            let all: Vec<&str> = [to, cc, bcc].into_iter().flatten().map(String::as_str).collect();
            format!("a mail to {}", all.join(", "))
        }
        AlertChannel::Slack { conn_id, channel: None } => format!("a message by the connection `{conn_id}`"),
        AlertChannel::Slack { conn_id, channel: Some(channel) } => {
            format!("a message to {channel} by the connection `{conn_id}`")
        }
        AlertChannel::Webhook(WebhookTarget::Url(url)) => format!("word to {url}"),
        AlertChannel::Webhook(WebhookTarget::ConnId(conn_id)) => {
            format!("word by the connection `{conn_id}`")
        }
        AlertChannel::Sms { to, .. } => format!("a short message to {to}"),
        AlertChannel::Callback(_) => return None,
    })
}

fn row(ti: &TiRow) -> Value {
    json!({
        "task": name(ti),
        "state": ti.state.name().as_str(),
        "tries": ti.try_number,
        "took": took(ti),
        "reason": ti.reason.as_deref(),
    })
}

fn name(ti: &TiRow) -> String {
    match ti.key.map_index {
        MapIndex::NONE => ti.task_id.to_string(),
        MapIndex(copy) => format!("{}[{copy}]", ti.task_id),
    }
}

/// In seconds.
fn took(ti: &TiRow) -> Option<f64> {
    Some(ti.ended_at?.duration_since(ti.started_at?).as_secs_f64())
}

/// A time as the clock here shows it.
fn clock(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}
