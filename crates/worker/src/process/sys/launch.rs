//! Starting a child.
//!
//! It is done as glibc's `posix_spawn` does it (`clone` with `CLONE_VM | CLONE_VFORK`: no page table is
//! copied, and the calling thread sleeps until the child has executed its program), but with the steps that
//! `posix_spawn` has no attribute for: Landlock and another user. And with one saving more: the child shares
//! the descriptor table for an instant (`CLONE_FILES`) and then keeps only its first numbers (`close_range`
//! with `CLOSE_RANGE_UNSHARE`), so that a start costs the same whether this process holds ten open files or
//! two thousand.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::Pid;

use super::wait4;

/// Enough for the few frames between `clone` and `execve`; glibc gives its own spawn 32 KiB.
const STACK_BYTES: usize = 64 * 1024;
/// How many there are on Linux, MIPS apart.
const SIGNALS: usize = 64;
/// Capabilities that reach around Landlock into memory: SYS_MODULE, SYS_RAWIO, SYS_ADMIN, PERFMON (which
/// since Linux 6.14 reads every process's environment without asking a security module), BPF.
const VOIDING_CAPABILITIES: [libc::c_ulong; 5] = [16, 17, 21, 38, 39];
const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// The stack that children start on. One per launching thread: the thread sleeps while it is in use.
pub(in crate::process) struct Stack(Vec<u8>);

impl Stack {
    pub(in crate::process) fn new() -> Self {
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
pub(in crate::process) struct Credentials {
    pub(in crate::process) uid: libc::uid_t,
    pub(in crate::process) gid: libc::gid_t,
    pub(in crate::process) groups: Vec<libc::gid_t>,
}

/// Everything a child needs, made ready beforehand, since it may not allocate.
pub(in crate::process) struct Launch<'a> {
    /// Tried one after the other, as execvp(3) does, until one can be executed.
    pub(in crate::process) programs: &'a [CString],
    pub(in crate::process) args: &'a [CString],
    pub(in crate::process) env: &'a [CString],
    pub(in crate::process) cwd: &'a CStr,
    /// `descriptors[i]` becomes the child's descriptor `i`; all others are closed.
    pub(in crate::process) descriptors: &'a [RawFd],
    /// Above every number in `descriptors` and `ruleset`: the child copies only what is below.
    pub(in crate::process) below: RawFd,
    pub(in crate::process) credentials: Option<&'a Credentials>,
    pub(in crate::process) ruleset: Option<RawFd>,
    /// The child's soft limit of open files.
    pub(in crate::process) open_files: u64,
    /// The child's soft limit of file locks.
    pub(in crate::process) file_locks: u64,
}

/// What a child was about to do when the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Step {
    Clone,
    Descriptors,
    Session,
    Credentials,
    Cwd,
    Guard,
    Exec,
}

/// A started child.
pub(in crate::process) struct Launched {
    pub(in crate::process) pid: Pid,
    pub(in crate::process) pidfd: OwnedFd,
}

struct ChildPlan {
    /// Null behind the last.
    programs: *const *const c_char,
    args: *const *const c_char,
    env: *const *const c_char,
    cwd: *const c_char,
    descriptors: *const RawFd,
    descriptor_count: c_int,
    below: RawFd,
    credentials: *const Credentials,
    ruleset: RawFd,
    open_files: u64,
    file_locks: u64,
    failed: Option<(Step, c_int)>,
}

/// Starts a child and returns once it has executed its program, or says at which step it could not.
pub(in crate::process) fn launch(
    stack: &mut Stack,
    launch: &Launch<'_>,
) -> Result<Launched, (Step, io::Error)> {
    let programs = pointers(launch.programs);
    let args = pointers(launch.args);
    let env = pointers(launch.env);
    let mut plan = ChildPlan {
        programs: programs.as_ptr(),
        args: args.as_ptr(),
        env: env.as_ptr(),
        cwd: launch.cwd.as_ptr(),
        descriptors: launch.descriptors.as_ptr(),
        descriptor_count: c_int::try_from(launch.descriptors.len()).unwrap_or(c_int::MAX),
        below: launch.below,
        credentials: launch.credentials.map_or(ptr::null(), ptr::from_ref),
        ruleset: launch.ruleset.unwrap_or(-1),
        open_files: launch.open_files,
        file_locks: launch.file_locks,
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
    let Some(pid) = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw) else {
        return Err((Step::Clone, clone_error));
    };
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
        // Programs that close every possible descriptor, or use `select`, need it low.
        lower_limit(libc::RLIMIT_NOFILE, plan.open_files);
        lower_limit(libc::RLIMIT_LOCKS, plan.file_locks);
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
        let mut program = plan.programs;
        while !(*program).is_null() {
            libc::execve(*program, plan.args, plan.env);
            if ![libc::EACCES, libc::ENOENT, libc::ENOTDIR].contains(&*libc::__errno_location()) {
                break;
            }
            program = program.add(1);
        }
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

/// Sets a soft limit, no higher than the hard one.
///
/// # Safety
/// As `steps`.
unsafe fn lower_limit(resource: libc::__rlimit_resource_t, soft: u64) {
    // SAFETY: the structure is valid for reads and writes. A limit that cannot be set stays as it is, and
    // harms nothing.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(resource, &raw mut limit) == 0 {
            limit.rlim_cur = soft.min(limit.rlim_max);
            libc::setrlimit(resource, &raw const limit);
        }
    }
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
