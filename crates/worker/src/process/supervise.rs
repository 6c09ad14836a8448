//! Watches one process from its start to the end of all it started.

mod left_behind;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::ended::{Ended, Exit, LeftBehind, Outcome};
use super::guard::GuardStatus;
use super::output::Output;
use super::spawner::Spawner;
use super::spec::Marker;
use super::{sys, tree};

/// What can be asked of a running process.
pub(super) enum Command {
    Kill { grace: Duration },
    Pause { done: oneshot::Sender<()> },
    Resume { done: oneshot::Sender<()> },
}

/// Why a process is being ended.
#[derive(Debug, Clone, Copy)]
enum Why {
    TimedOut,
    Killed,
}

/// Where the first process is on its way.
enum Phase {
    Running,
    /// Stopped by SIGSTOP.
    Paused {
        since: Instant,
    },
    /// SIGTERM has been sent; SIGKILL follows at `kill_at`, or has been sent if there is no such time.
    Ending {
        why: Why,
        kill_at: Option<Instant>,
    },
}

/// What is fixed about one process while it is watched.
pub(super) struct Watched {
    pub(super) pid: Pid,
    pub(super) marker: Marker,
    pub(super) uid: u32,
    pub(super) timeout: Option<Duration>,
    pub(super) kill_grace: Duration,
    pub(super) skip_codes: Vec<i32>,
    pub(super) guard: GuardStatus,
    pub(super) started_at: SystemTime,
    pub(super) started: Instant,
    /// This program's own peak memory at the start, which the kernel counts to the child.
    pub(super) own_max_rss_bytes: u64,
}

pub(super) struct Supervisor {
    watched: Watched,
    ended: AsyncFd<OwnedFd>,
    output: Output,
    commands: mpsc::UnboundedReceiver<Command>,
    phase: Phase,
    paused: Duration,
    /// When patience ends with what the first process leaves behind, if somebody has asked to kill it.
    kill_left_at: Option<Instant>,
    /// Keeps the launching threads, whose child the process is, and the list of orphans.
    spawner: Spawner,
}

impl Supervisor {
    pub(super) fn new(
        watched: Watched,
        ended: AsyncFd<OwnedFd>,
        output: Output,
        commands: mpsc::UnboundedReceiver<Command>,
        spawner: Spawner,
    ) -> Self {
        Self {
            watched,
            ended,
            output,
            commands,
            phase: Phase::Running,
            paused: Duration::ZERO,
            kill_left_at: None,
            spawner,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        self.until_first_ends().await;
        let (ended, ended_at) = (Instant::now(), SystemTime::now());
        if let Phase::Paused { since } = self.phase {
            self.paused += ended.duration_since(since);
        }
        let has_orphans = !self.spawner.orphans().is_empty();
        let left_behind = if has_orphans { self.end_left_behind().await } else { LeftBehind::default() };
        self.output.drain();
        // Only now: until its status is taken, the id of process, group and session stands for nothing else.
        let (exit, mut usage) = match sys::reap(self.watched.pid) {
            Ok(Some((exit, usage))) => (exit, usage),
            Ok(None) | Err(_) => (Exit::Unknown, Default::default()),
        };
        let floor = self.watched.own_max_rss_bytes;
        usage.max_rss_bytes = usage.max_rss_bytes.filter(|bytes| *bytes > floor + floor / 16);
        let outcome = self.outcome(exit);
        let (log, result, folder) = self.output.finish(self.watched.uid);
        let is_deserted = self.spawner.orphans().is_empty();
        let unfit = if is_deserted { self.spawner.scratches().own.take_back(folder) } else { Some(folder) };
        if let Some(folder) = unfit {
            // What the task has put there may be a large tree.
            let _ = tokio::task::spawn_blocking(move || drop(folder)).await;
        }
        let Watched { started, started_at, guard, .. } = self.watched;
        let active = ended.duration_since(started).saturating_sub(self.paused);
        let paused = self.paused;
        Ended { outcome, exit, result, started_at, ended_at, active, paused, usage, log, left_behind, guard }
    }

    fn outcome(&self, exit: Exit) -> Outcome {
        match (&self.phase, exit) {
            (Phase::Ending { why: Why::TimedOut, .. }, _) => Outcome::TimedOut,
            (Phase::Ending { why: Why::Killed, .. }, _) => Outcome::Killed,
            (Phase::Running | Phase::Paused { .. }, Exit::Code(code)) => {
                if self.watched.skip_codes.contains(&code) {
                    Outcome::Skipped { code }
                } else if code == 0 {
                    Outcome::Succeeded
                } else {
                    Outcome::Failed { code }
                }
            }
            (Phase::Running | Phase::Paused { .. }, Exit::Signal { signal, .. }) => {
                Outcome::Signaled { signal }
            }
            (Phase::Running | Phase::Paused { .. }, Exit::Unknown) => Outcome::Unknown,
        }
    }

    async fn until_first_ends(&mut self) {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => self.on_command(command),
                () = at(deadline) => self.on_deadline(),
                _ = self.ended.readable() => return,
                () = self.output.read() => {}
            }
        }
    }

    /// When something is to be done next.
    fn deadline(&self) -> Option<Instant> {
        [self.end_deadline(), self.output.show_at()].into_iter().flatten().min()
    }

    fn end_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => Some(after(self.watched.started, self.watched.timeout?) + self.paused),
            Phase::Paused { .. } => None,
            Phase::Ending { kill_at, .. } => kill_at,
        }
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        if self.output.show_at().is_some_and(|at| at <= now) {
            self.output.show();
        }
        if self.end_deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.phase {
            // It was in time, if only just.
            Phase::Running if self.has_ended() => self.watched.timeout = None,
            Phase::Running => self.end(Why::TimedOut, self.watched.kill_grace),
            Phase::Ending { why, .. } => {
                self.output.remark("Its time to end is over: killing it and all it has started (SIGKILL).");
                self.kill_now(why);
            }
            // It has no deadline.
            Phase::Paused { .. } => {}
        }
    }

    /// Whether the first process has ended, noticed or not: what it made of itself is then not ours to
    /// change.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.watched.pid), options), Ok(Some(_)))
    }

    /// Somebody wants what is left to end within `grace`.
    fn hurry(&mut self, grace: Duration) {
        let at = after(Instant::now(), grace);
        self.kill_left_at = Some(self.kill_left_at.map_or(at, |before| before.min(at)));
    }

    fn on_command(&mut self, command: Command) {
        if self.has_ended() {
            // Dropping the answer to anything else says that it comes too late.
            if let Command::Kill { grace } = command {
                self.hurry(grace);
            }
            return;
        }
        match (command, &self.phase) {
            (Command::Kill { grace }, Phase::Running | Phase::Paused { .. }) => self.end(Why::Killed, grace),
            (Command::Kill { grace }, Phase::Ending { why, kill_at: Some(kill_at) }) => {
                let kill_at = after(Instant::now(), grace).min(*kill_at);
                self.phase = Phase::Ending { why: *why, kill_at: Some(kill_at) };
            }
            (Command::Pause { done }, Phase::Running) => {
                self.signal_all(Signal::STOP);
                self.phase = Phase::Paused { since: Instant::now() };
                let _ = done.send(());
            }
            (Command::Resume { done }, Phase::Paused { since }) => {
                self.paused += since.elapsed();
                self.phase = Phase::Running;
                self.signal_all(Signal::CONT);
                let _ = done.send(());
            }
            (Command::Pause { done }, Phase::Paused { .. }) | (Command::Resume { done }, Phase::Running) => {
                let _ = done.send(());
            }
            // What is being ended is past pausing; dropping `done` says so.
            (Command::Kill { .. } | Command::Pause { .. } | Command::Resume { .. }, Phase::Ending { .. }) => {
            }
        }
    }

    /// Begins to end the process: SIGTERM now, SIGKILL after the grace.
    fn end(&mut self, why: Why, grace: Duration) {
        if let Phase::Paused { since } = self.phase {
            self.paused += since.elapsed();
        }
        let reason = match (why, self.watched.timeout) {
            (Why::TimedOut, Some(timeout)) => format!("Timed out after {timeout:?}, and ending the task"),
            (Why::TimedOut, None) | (Why::Killed, _) => "Ending the task, as asked".to_owned(),
        };
        if grace.is_zero() {
            self.output.remark(&format!("{reason}, at once (SIGKILL)."));
            self.kill_now(why);
            return;
        }
        self.output.remark(&format!("{reason}: it is told to (SIGTERM), and has {grace:?} for it."));
        self.phase = Phase::Ending { why, kill_at: Some(after(Instant::now(), grace)) };
        self.signal_all(Signal::TERM);
        // A stopped process acts on no signal but SIGKILL until it goes on.
        self.signal_all(Signal::CONT);
    }

    fn kill_now(&mut self, why: Why) {
        self.phase = Phase::Ending { why, kill_at: None };
        self.signal_all(Signal::KILL);
    }

    /// Signals the group, and those who left it but still have their parents.
    fn signal_all(&self, signal: Signal) {
        let outside = tree::outside_group(self.watched.pid);
        if let Err(error) = kill_process_group(self.watched.pid, signal) {
            tracing::warn!(pid = self.watched.pid.as_raw_nonzero().get(), %error, "a task could not be signalled");
        }
        outside.iter().for_each(|member| member.signal(signal));
    }
}

/// A later time; a duration that no clock can hold counts as ten years.
pub(super) fn after(start: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    start + duration.min(FAR)
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
