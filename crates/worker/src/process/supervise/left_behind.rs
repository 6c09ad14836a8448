//! What outlives the first process, and its end.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::ended::LeftBehind;
use super::super::survivors::{KILL_PATIENCE, all_gone, send};
use super::super::tree;
use super::{Command, Phase, Supervisor, after, at};

/// What finishes by itself within this time after the first process is left to: a `tee` or `gzip` at the end
/// of a shell's `exec > >(...)` still has the last of the output in hand.
const LINGER: Duration = Duration::from_secs(1);

/// So many of them are named in the log.
const MOST_NAMED: usize = 5;

/// How what was left behind is ended.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Linger,
    Term,
    Kill,
}

impl Stage {
    fn signal(self) -> Option<Signal> {
        match self {
            Self::Linger => None,
            Self::Term => Some(Signal::TERM),
            Self::Kill => Some(Signal::KILL),
        }
    }
}

/// What came of waiting for what was left behind.
enum Waited {
    Gone,
    TimeUp,
    AskedToKill { grace: Duration },
}

impl Supervisor {
    /// The first process is gone; ends what it left running, first gently.
    pub(super) async fn end_left_behind(&mut self) -> LeftBehind {
        let mut left_behind = LeftBehind::default();
        if let Phase::Ending { kill_at, .. } = self.phase {
            self.hurry(kill_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now())));
        }
        for stage in [Stage::Linger, Stage::Term, Stage::Kill] {
            let begun = Instant::now();
            loop {
                let left = self.left();
                left_behind.surviving =
                    left.iter().map(|member| member.pid.as_raw_nonzero().get().unsigned_abs()).collect();
                if left.is_empty() {
                    return left_behind;
                }
                let deadline = match stage {
                    Stage::Linger => self.kill_left_at.map_or(begun + LINGER, |_| begun),
                    Stage::Term => self.kill_left_at.unwrap_or_else(|| after(begun, self.watched.kill_grace)),
                    Stage::Kill => begun + KILL_PATIENCE,
                };
                if let Some(signal) = stage.signal() {
                    if left_behind.ended == 0 {
                        self.name(&left);
                    }
                    left.iter().for_each(|member| send(member, signal));
                    left_behind.ended = left_behind.ended.max(left.len());
                }
                match self.all_gone(left, deadline).await {
                    Waited::Gone => {}
                    Waited::TimeUp => break,
                    Waited::AskedToKill { grace } => self.hurry(grace),
                }
            }
        }
        left_behind
    }

    /// Says in the log what was left behind and is to be ended. Of a task that is being ended all goes together.
    fn name(&mut self, left: &[tree::Member]) {
        if matches!(self.phase, Phase::Ending { .. }) {
            return;
        }
        let named = left.iter().take(MOST_NAMED);
        let named: Vec<String> =
            named.map(|member| format!("{} ({})", member.pid.as_raw_nonzero(), member.command())).collect();
        let more = match left.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = match left.len() {
            1 => "a process running, which is".to_owned(),
            count => format!("{count} processes running, which are"),
        };
        self.output.remark(&format!("It has left {what} ended with it: {}{more}.", named.join(", ")));
    }

    fn left(&self) -> Vec<tree::Member> {
        self.spawner.orphans().left_by(self.watched.pid, self.watched.marker.as_str())
    }

    /// Waits until all of `left` have ended, capturing what they write.
    async fn all_gone(&mut self, left: Vec<tree::Member>, deadline: Instant) -> Waited {
        let gone = all_gone(left);
        tokio::pin!(gone);
        loop {
            let next = self.output.show_at().map_or(deadline, |show_at| show_at.min(deadline));
            tokio::select! {
                biased;
                () = &mut gone => return Waited::Gone,
                Some(command) = self.commands.recv() => {
                    // There is nothing left that could be paused: dropping the answer says so.
                    if let Command::Kill { grace } = command {
                        return Waited::AskedToKill { grace };
                    }
                }
                () = at(Some(next)) => {
                    if self.output.show_at().is_some_and(|at| at <= Instant::now()) {
                        self.output.show();
                    }
                    if deadline <= Instant::now() {
                        return Waited::TimeUp;
                    }
                }
                () = self.output.read() => {}
            }
        }
    }
}
