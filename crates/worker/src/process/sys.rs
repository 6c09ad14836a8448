//! The system calls that no safe wrapper offers: starting a child, reaping it with its resource
//! usage, and asking for Landlock's version. Every `unsafe` of this room is in this file.
//!
//! A child is started as glibc's `posix_spawn` does it (`clone` with `CLONE_VM | CLONE_VFORK`: no page
//! table is copied and the calling thread sleeps until the child has executed its program), but with
//! the steps that `posix_spawn` has no attribute for: own session, Landlock, another user. And with one
//! more saving: the child shares the descriptor table for an instant (`CLONE_FILES`) and then keeps only
//! its first numbers (`close_range` with `CLOSE_RANGE_UNSHARE`), so that a start costs the same whether
//! this process holds ten open files or two thousand.
#![expect(unsafe_code, reason = "these calls have no safe wrapper")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ended::{Exit, Usage};

/// Enough for the few frames between `clone` and `execve`; glibc gives its own spawn 32 KiB.
const STACK_BYTES: usize = 64 * 1024;
/// How many there are on Linux, MIPS apart.
const SIGNALS: usize = 64;
/// Capabilities that reach around Landlock into memory: SYS_MODULE, SYS_RAWIO, SYS_ADMIN, PERFMON (which since Linux 6.14
/// reads every process's environment without asking a security module), BPF.
const VOIDING_CAPABILITIES: [libc::c_ulong; 5] = [16, 17, 21, 38, 39];
const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;

/// The stack that children start on. One per launching thread: the thread sleeps while it is in use.
pub(super) struct Stack(Vec<u8>);

impl Stack {
    pub(super) fn new() -> Self {
        Self(vec![0; STACK_BYTES])
    }

    fn top(&mut self) -> *mut c_void {
        let range = self.0.as_mut_ptr_range();
        // The ABIs want 16-byte alignment; rounding down stays inside the allocation.
        range.end.map_addr(|address| address & !15).cast()
    }
}

/// Whom the child becomes before it executes its program.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    pub(super) groups: Vec<libc::gid_t>,
}

/// Everything a child needs, made ready beforehand, since it may not allocate.
pub(super) struct Launch<'a> {
    pub(super) program: &'a CStr,
    pub(super) args: &'a [CString],
    pub(super) env: &'a [CString],
    pub(super) cwd: &'a CStr,
    /// `descriptors[i]` becomes the child's descriptor `i`; all others are closed.
    pub(super) descriptors: &'a [RawFd],
    /// Above every number in `descriptors` and `ruleset`: the child copies only what is below.
    pub(super) below: RawFd,
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) ruleset: Option<RawFd>,
}

/// What a child was about to do when the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Clone,
    Descriptors,
    Session,
    Credentials,
    Cwd,
    Guard,
    Exec,
}

/// A started child.
pub(super) struct Launched {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

struct ChildPlan {
    program: *const c_char,
    args: *const *const c_char,
    env: *const *const c_char,
    cwd: *const c_char,
    descriptors: *const RawFd,
    descriptor_count: c_int,
    below: RawFd,
    credentials: *const Credentials,
    ruleset: RawFd,
    failed: Option<(Step, c_int)>,
}

/// Starts a child and returns once it has executed its program, or says at which step it could not.
pub(super) fn launch(stack: &mut Stack, launch: &Launch<'_>) -> Result<Launched, (Step, io::Error)> {
    let args = pointers(launch.args);
    let env = pointers(launch.env);
    let mut plan = ChildPlan {
        program: launch.program.as_ptr(),
        args: args.as_ptr(),
        env: env.as_ptr(),
        cwd: launch.cwd.as_ptr(),
        descriptors: launch.descriptors.as_ptr(),
        descriptor_count: c_int::try_from(launch.descriptors.len()).unwrap_or(c_int::MAX),
        below: launch.below,
        credentials: launch.credentials.map_or(ptr::null(), ptr::from_ref),
        ruleset: launch.ruleset.unwrap_or(-1),
        failed: None,
    };
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_PIDFD | libc::SIGCHLD;
    let signals = SignalsBlocked::all();
    // SAFETY: `child` runs on `stack`, which nothing else uses while this thread sleeps (CLONE_VFORK), and
    // reads `plan` and what it points to, all of which outlive the call. It only makes system calls: no
    // allocation, no lock, no unwinding. With signals blocked no handler runs in the shared memory.
    let pid = unsafe { libc::clone(child, stack.top(), flags, (&raw mut plan).cast(), &raw mut pidfd) };
    let clone_error = io::Error::last_os_error();
    drop(signals);
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Err((Step::Clone, clone_error)) };
    // SAFETY: the kernel has stored a new descriptor here, since `clone` succeeded with CLONE_PIDFD.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: `plan` is alive; the read is volatile since the child, not this function, wrote the field.
    let failed = unsafe { ptr::read_volatile(&raw const plan.failed) };
    match failed {
        None => Ok(Launched { pid, pidfd }),
        Some((step, errno)) => {
            // The child has left with `_exit`: this takes its status away and cannot block for long.
            let _ = wait4(pid, 0);
            Err((step, io::Error::from_raw_os_error(errno)))
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// All signals of this thread blocked, until dropped.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn all() -> Self {
        // SAFETY: both sets are valid for writes; an all-zero sigset_t is a valid value.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `all`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// What the child does between `clone` and `execve`. Its memory is the parent's, which sleeps.
extern "C" fn child(plan: *mut c_void) -> c_int {
    let plan = plan.cast::<ChildPlan>();
    // SAFETY: `launch` passed a pointer to its plan, which it keeps alive and untouched until this
    // child has executed or left. Writing `failed` is the only write to shared memory but errno.
    unsafe {
        let step = steps(&*plan);
        let errno = *libc::__errno_location();
        ptr::write_volatile(&raw mut (*plan).failed, Some((step, errno)));
        libc::_exit(127)
    }
}

/// Does one step after the other; returns only if one fails, with `errno` set.
///
/// # Safety
/// Only in a child that does not share its parent's signal handlers, with a plan whose pointers hold.
unsafe fn steps(plan: &ChildPlan) -> Step {
    // SAFETY: plain system calls on the plan's pointers, which the caller vouches for.
    unsafe {
        if let Err(step) = take_descriptors(plan) {
            return step;
        }
        if libc::setsid() < 0 {
            return Step::Session;
        }
        if let Some(credentials) = plan.credentials.as_ref()
            && !become_user(credentials)
        {
            return Step::Credentials;
        }
        if libc::chdir(plan.cwd) != 0 {
            return Step::Cwd;
        }
        if plan.ruleset >= 0 && !put_under_guard(plan.ruleset) {
            return Step::Guard;
        }
        // Ignored signals (SIGPIPE, which Rust ignores; SIGINT under a background shell) would survive
        // the execve, and no handler may run here once signals are unblocked. The kernel's own call,
        // since the library's refuses the two signals that it keeps for itself; all zero is SIG_DFL.
        let default = [0_u64; 4];
        for signal in 1..=SIGNALS {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<c_void>(),
                SIGNALS / 8,
            );
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(plan.program, plan.args, plan.env);
        Step::Exec
    }
}

/// Leaves the shared descriptor table and puts the plan's descriptors in place.
///
/// # Safety
/// As `steps`.
unsafe fn take_descriptors(plan: &ChildPlan) -> Result<(), Step> {
    // SAFETY: as `steps`; the loop stays within `descriptor_count`.
    unsafe {
        // From here on the table is the child's own. Nothing above may touch a descriptor.
        if libc::syscall(libc::SYS_close_range, plan.below, libc::c_uint::MAX, CLOSE_RANGE_UNSHARE) != 0 {
            return Err(Step::Descriptors);
        }
        let count = plan.descriptor_count;
        for target in 0..count {
            // `Slots` hands out numbers above every target, so no source is overwritten before its turn.
            let source = *plan.descriptors.offset(target as isize);
            if libc::dup2(source, target) < 0 {
                return Err(Step::Descriptors);
            }
        }
        if libc::syscall(libc::SYS_close_range, count, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) != 0 {
            return Err(Step::Descriptors);
        }
    }
    Ok(())
}

/// # Safety
/// As `steps`: raw calls, since glibc's wrappers would change every thread of the parent.
unsafe fn become_user(credentials: &Credentials) -> bool {
    let Credentials { uid, gid, groups } = credentials;
    // SAFETY: the pointer and length are those of a live vector.
    unsafe {
        libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0
            && libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) == 0
            && libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) == 0
    }
}

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

/// Gives up what would void the guard, then enters a Landlock domain.
///
/// # Safety
/// As `steps`.
unsafe fn put_under_guard(ruleset: RawFd) -> bool {
    // SAFETY: these calls take no pointers.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return false;
        }
        // Who is not root has none of these and, by the above, cannot come by them.
        let is_root = libc::geteuid() == 0;
        for capability in VOIDING_CAPABILITIES {
            let has = is_root && libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) == 1;
            if has && libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                return false;
            }
        }
        libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) == 0
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
