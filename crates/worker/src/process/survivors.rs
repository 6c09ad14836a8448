//! Processes of attempts that outlived the program which started them, for the one started in its place.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::timeout_at;

use super::ended::LeftBehind;
use super::mark::Mark;
use super::supervise::after;
use super::tree::{self, Marked, Member};

/// How long to wait for what SIGKILL has hit: it ends at once, but for uninterruptible sleep in the kernel.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// An attempt of which processes are running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// The id that its processes carry in their environment; `None` where they have all wiped it, and only a
    /// limit of theirs still tells whose installation's they are.
    pub attempt: Option<String>,
    /// The processes, by process id.
    pub pids: Vec<u32>,
    /// Whether the attempt's first process, the leader of a session, is among them.
    pub has_leader: bool,
    mark: Mark,
}

/// Finds every process on this machine whose attempt's id begins with `prefix`, and whatever shares a session
/// with one. Give ids a prefix that is this installation's own and ends in `/`. Processes of other users are
/// seen only by root.
pub fn survivors(prefix: &str) -> io::Result<Vec<Survivor>> {
    let own = Mark::of(prefix);
    let wanted = |mark: Mark, attempt: Option<&str>| {
        attempt.map_or_else(|| mark.is_of_installation(own), |attempt| attempt.starts_with(prefix))
    };
    let mut attempts: BTreeMap<Mark, Survivor> = BTreeMap::new();
    for Marked { member, stat, mark, attempt } in tree::marked(wanted)? {
        let survivor = attempts.entry(mark).or_insert_with(|| Survivor {
            attempt: None,
            pids: Vec::new(),
            has_leader: false,
            mark,
        });
        let pid = member.pid.as_raw_nonzero().get();
        survivor.attempt = survivor.attempt.take().or(attempt);
        survivor.pids.push(pid.unsigned_abs());
        survivor.has_leader |= stat.session == pid;
    }
    Ok(attempts.into_values().collect())
}

impl Survivor {
    /// Ends all processes of this attempt: SIGTERM, the grace, SIGKILL.
    pub async fn end(&self, grace: Duration) -> io::Result<LeftBehind> {
        let of_it = || {
            let marked = tree::marked(|mark, _| mark == self.mark)?;
            Ok(marked.into_iter().map(|marked| marked.member).collect())
        };
        end_all(of_it, grace).await
    }
}

/// Ends whatever `find` finds, until that is nothing: SIGTERM, the grace, SIGKILL.
pub(super) async fn end_all(
    find: impl Fn() -> io::Result<Vec<Member>>,
    grace: Duration,
) -> io::Result<LeftBehind> {
    let mut left = LeftBehind::default();
    for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, KILL_PATIENCE)] {
        let deadline = after(Instant::now(), patience);
        loop {
            let members = find()?;
            left.surviving =
                members.iter().map(|member| member.pid.as_raw_nonzero().get().unsigned_abs()).collect();
            if members.is_empty() {
                return Ok(left);
            }
            if signal == Signal::TERM {
                left.ended = left.ended.max(members.len());
            }
            members.iter().for_each(|member| send(member, signal));
            if timeout_at(deadline.into(), all_gone(members)).await.is_err() {
                break;
            }
        }
    }
    Ok(left)
}

/// Sends a signal that is to end a process, also to a stopped one.
pub(super) fn send(member: &Member, signal: Signal) {
    member.signal(signal);
    if signal != Signal::KILL {
        member.signal(Signal::CONT);
    }
}

/// Waits until all have ended.
pub(super) async fn all_gone(members: Vec<Member>) {
    for member in members {
        let pid = member.pid;
        if let Err(error) = member.gone().await {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "a task's process could not be waited for");
        }
    }
}
