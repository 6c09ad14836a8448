//! The system calls that no safe wrapper offers. Every `unsafe` of this room is here and in `launch`.
#![expect(unsafe_code, reason = "these calls have no safe wrapper")]

mod launch;

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ended::{Exit, Usage};
pub(super) use launch::{Credentials, Launch, Launched, Stack, Step, launch};

const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;

/// A process descriptor that can be awaited: it is readable once the process has ended.
pub(super) fn awaitable(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd gives the same descriptor each time, and keeps it open for as long as it lives.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}

/// Has the kernel keep the status of dead children for us: a parent that ignores SIGCHLD passes that on, and never learns
/// how its children ended.
pub(super) fn keep_child_statuses() {
    // SAFETY: both structures are valid for reads and writes; an all-zero sigaction is a valid value.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, ptr::null(), &raw mut present);
        if present.sa_sigaction == libc::SIG_IGN {
            let mut default: libc::sigaction = std::mem::zeroed();
            default.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(libc::SIGCHLD, &raw const default, ptr::null_mut());
        }
    }
}

/// Takes a child's end, if it has come: how it ended and what it and its waited-for children used.
pub(super) fn reap(pid: Pid) -> io::Result<Option<(Exit, Usage)>> {
    Ok(wait4(pid, libc::WNOHANG)?.map(|(status, usage)| (exit_of(status), usage)))
}

fn wait4(pid: Pid, options: c_int) -> io::Result<Option<(c_int, Usage)>> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are valid for writes.
        match unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, options, &raw mut usage) } {
            0 => return Ok(None),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => return Ok(Some((status, usage_of(&usage)))),
        }
    }
}

fn exit_of(status: c_int) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal { signal: libc::WTERMSIG(status), core_dumped: libc::WCOREDUMP(status) }
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

fn usage_of(usage: &libc::rusage) -> Usage {
    Usage {
        cpu_user: duration(usage.ru_utime),
        cpu_system: duration(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss).ok().map(|kib| kib * 1024),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u32::try_from(time.tv_usec).unwrap_or(0);
    Duration::new(seconds, micros * 1000)
}

/// The largest resident set this process has had, in bytes.
pub(super) fn own_max_rss_bytes() -> u64 {
    // SAFETY: an all-zero rusage is a valid value, and the pointer is valid for writes.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024
}

/// Landlock's ABI version, or why there is none.
pub(super) fn landlock_abi() -> io::Result<u32> {
    // SAFETY: with this flag the kernel reads no attribute and returns a number, not a descriptor.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(answer).map_err(|_| io::Error::last_os_error())
}
