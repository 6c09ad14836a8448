//! Which processes belong to an attempt, found through `/proc`, and pinned by descriptors against reuse of
//! their ids.
//!
//! A task's first process leads a session and a process group. What it starts is found by
//! - descent, while the chain of parents is alive;
//! - orphanhood: this program is a "child subreaper", so whatever loses its parent becomes our child, and
//!   shows in our own short list of children however it got away;
//! - session, group, marker (in the environment) or [`Mark`] (a limit), which tell whose such an orphan is.
//!
//! Whose it is stays unknown only of what left its session, wiped its environment, lost its parent *and* set the
//! limit that is the mark. It is an orphan still, and ended with this program ([`Orphans::all`]).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};

use super::env::MARKER_VARIABLE;
use super::mark::Mark;
use super::sys;

/// So much of a command is shown.
const COMMAND_CHARS: usize = 80;

/// A living process. Its id cannot come to mean another one while this exists.
pub(super) struct Member {
    pub(super) pid: Pid,
    pidfd: OwnedFd,
}

impl Member {
    /// `None` if there is no such process any more.
    fn open(pid: Pid) -> Option<Self> {
        pidfd_open(pid, PidfdFlags::empty()).ok().map(|pidfd| Self { pid, pidfd })
    }

    /// Sends a signal; one that has ended meanwhile needs none.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.pidfd, signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(pid = self.pid.as_raw_nonzero().get(), %error, "a task's process could not be signalled");
        }
    }

    /// What it runs, as far as it shows that: cut where it is long.
    pub(super) fn command(&self) -> String {
        let read = |what: &str| {
            let path = format!("/proc/{}/{what}", self.pid.as_raw_nonzero());
            let bytes = std::fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim_matches(['\0', '\n']).replace(['\0', '\n'], " ")
        };
        let mut line = read("cmdline");
        if line.is_empty() {
            line = read("comm");
        }
        match line.char_indices().nth(COMMAND_CHARS) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }

    /// Waits until it has ended. Its status is left to whoever is its parent, which may be another part of
    /// this program.
    pub(super) async fn gone(self) -> io::Result<()> {
        let ended = sys::awaitable(self.pidfd)?;
        ended.readable().await?.retain_ready();
        Ok(())
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) is_zombie: bool,
    parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
}

impl Stat {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The second field is the program's name in parentheses, and may itself contain some.
        let rest = &stat[memchr::memrchr(b')', &stat)? + 1..];
        let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let mut number = || fields.next()?.parse().ok();
        Some(Self {
            is_zombie: matches!(state, "Z" | "X"),
            parent: number()?,
            group: number()?,
            session: number()?,
        })
    }
}

/// The session of this program. It is 0 where the session's leader is outside of our namespace of process ids,
/// as when a container's or a sandbox's first process has not opened a session of its own.
fn own_session() -> io::Result<i32> {
    let stat = Stat::of(rustix::process::getpid());
    stat.map(|stat| stat.session)
        .ok_or_else(|| io::Error::other("/proc/self/stat can't be read; this needs a mounted /proc"))
}

/// The orphans of all our tasks: the children of this program's first thread, which starts none itself.
pub(super) struct Orphans {
    children: File,
    own_session: i32,
}

impl Orphans {
    /// Makes this program the parent of what its tasks leave behind.
    pub(super) fn adopt() -> io::Result<Self> {
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))?;
        let path = format!("/proc/self/task/{}/children", own.as_raw_nonzero());
        let children = File::open(&path).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{path}: {error}; this needs a kernel with CONFIG_PROC_CHILDREN and a mounted /proc"),
            )
        })?;
        Ok(Self { children, own_session: own_session()? })
    }

    /// Whether there is not one, dead or alive: then whatever a task that has ended had started has ended,
    /// too.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.children.read_at(&mut [0; 8], 0), Ok(0))
    }

    /// The living orphans. Takes the status of dead ones away, so that they do not pile up. What is in our
    /// own session is no task's: another part of this program has started it and waits for it.
    fn living(&self) -> Vec<(Member, Stat)> {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(read) = self.children.read_at(&mut piece, text.len() as u64)
            && read > 0
        {
            text.extend_from_slice(&piece[..read]);
        }
        let living = |pid| {
            let member = Member::open(pid)?;
            let stat = Stat::of(pid).filter(|stat| stat.session != self.own_session)?;
            if stat.is_zombie {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                return None;
            }
            Some((member, stat))
        };
        pids(&text).filter_map(living).collect()
    }

    /// Takes the status of dead orphans away.
    pub(super) fn bury(&self) {
        drop(self.living());
    }

    /// What an attempt whose first process has ended (but whose status has not been taken, which pins its id)
    /// left running.
    pub(super) fn left_by(&self, leader: Pid, marker: &str) -> Vec<Member> {
        let leader = leader.as_raw_nonzero().get();
        let mark = Mark::of(marker);
        let mut left = Vec::new();
        for (member, stat) in self.living() {
            if stat.session == leader
                || stat.group == leader
                || Mark::of_process(member.pid) == Some(mark)
                || marker_of(member.pid).as_deref() == Some(marker)
            {
                let pid = member.pid;
                left.push(member);
                add_descendants(pid, &mut left);
            }
        }
        left
    }

    /// All orphans and their descendants, of whichever task.
    pub(super) fn all(&self) -> Vec<Member> {
        let mut all = Vec::new();
        for (member, _) in self.living() {
            let pid = member.pid;
            all.push(member);
            add_descendants(pid, &mut all);
        }
        all
    }
}

/// The descendants of a living process that are outside its group, where a signal to the group does not reach
/// them.
pub(super) fn outside_group(leader: Pid) -> Vec<Member> {
    let mut members = Vec::new();
    add_descendants(leader, &mut members);
    let group = leader.as_raw_nonzero().get();
    members.retain(|member| Stat::of(member.pid).is_some_and(|stat| stat.group != group));
    members
}

fn add_descendants(of: Pid, members: &mut Vec<Member>) {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero())) else { return };
    for thread in threads.flatten() {
        // Both the process and its thread may vanish at any time.
        let Ok(children) = std::fs::read(thread.path().join("children")) else { continue };
        for pid in pids(&children) {
            // The child may have ended and its id be another's by now, whose parent is not this one.
            if let Some(member) = Member::open(pid)
                && Stat::of(pid).is_some_and(|stat| stat.parent == of.as_raw_nonzero().get())
            {
                members.push(member);
                add_descendants(pid, members);
            }
        }
    }
}

fn pids(text: &[u8]) -> impl Iterator<Item = Pid> {
    let words = text.split(|byte| *byte == b' ');
    words.filter_map(|word| Pid::from_raw(std::str::from_utf8(word).ok()?.parse().ok()?))
}

/// The attempt whose marker a process carries, if we may read its environment.
pub(super) fn marker_of(pid: Pid) -> Option<String> {
    let mut environment = Vec::new();
    let file = File::open(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    // The kernel allows arguments and environment a few megabytes.
    file.take(8 << 20).read_to_end(&mut environment).ok()?;
    let is_marker = |line: &[u8]| {
        let value = line.strip_prefix(MARKER_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    environment.split(|byte| *byte == 0).find_map(is_marker)
}

/// A process that was found to be of an attempt.
pub(super) struct Marked {
    pub(super) member: Member,
    pub(super) stat: Stat,
    pub(super) mark: Mark,
    /// The attempt's id, where a process carries it.
    pub(super) attempt: Option<String>,
}

/// Every process of this machine that carries a mark or a marker for which `wanted` holds, and what shares its
/// session.
pub(super) fn marked(wanted: impl Fn(Mark, Option<&str>) -> bool) -> io::Result<Vec<Marked>> {
    let own_session = own_session()?;
    let mut marked: Vec<Marked> = Vec::new();
    let mut unmarked = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(member) = pid.and_then(Member::open) else { continue };
        let Some(stat) = Stat::of(member.pid).filter(|stat| !stat.is_zombie && stat.session != own_session)
        else {
            continue;
        };
        let attempt = marker_of(member.pid);
        let mark = attempt.as_deref().map(Mark::of).or_else(|| Mark::of_process(member.pid));
        match mark.filter(|mark| wanted(*mark, attempt.as_deref())) {
            Some(mark) => marked.push(Marked { member, stat, mark, attempt }),
            None => unmarked.push((member, stat)),
        }
    }
    // A session cannot be entered from outside, so all in it come from the one who opened it.
    for (member, stat) in unmarked {
        if let Some(found) = marked.iter().find(|marked| marked.stat.session == stat.session) {
            let (mark, attempt) = (found.mark, found.attempt.clone());
            marked.push(Marked { member, stat, mark, attempt });
        }
    }
    Ok(marked)
}
