//! The script runtime: runs one process tree per attempt and captures its output, result and end.
//!
//! It knows of no DAG, server or store. [`Spawner::spawn`] takes a [`ProcessSpec`] and gives a [`Running`],
//! which [`Running::wait`]s for an [`Ended`]. Linux only: it stands on Landlock, process descriptors, `/proc`
//! and `clone`.
//!
//! What holds:
//! - Nothing of a task outlives it: SIGTERM, a grace and SIGKILL go to its whole group, and what left the
//!   group or is left behind by a normal end is found (see [`Ended::left_behind`]) and ended.
//! - A task gets an allow-listed environment, the descriptors meant for it and no other, and is kept by a
//!   [`Guard`] from the files, memory and environment of this program and of other tasks.
//! - Output of any size and kind costs fixed memory and becomes one readable [`log`] with the secrets masked.

mod ended;
mod env;
mod error;
mod folder;
mod guard;
mod harden;
pub mod log;
mod mark;
mod mask;
mod output;
mod prepare;
mod result;
mod running;
mod script;
mod slots;
mod spawner;
mod spec;
mod supervise;
mod survivors;
mod sys;
mod tree;
mod user;

pub use ended::{Ended, Exit, LeftBehind, Outcome, Usage};
pub use env::{BASE_ENV, DEFAULT_PATH, MARKER_VARIABLE, RESULT_VARIABLE, base_env};
pub use error::SpawnError;
pub use guard::{Guard, GuardError, GuardPolicy, GuardStatus};
pub use harden::harden_self;
pub use mask::{MaskError, Masks};
pub use result::{INLINE_RESULT_BYTES, ResultError, ResultValue, SpilledResult};
pub use running::{Control, NotRunning, Running, Unwatched};
pub use spawner::Spawner;
pub use spec::{
    DEFAULT_KILL_GRACE, DEFAULT_LOG_LIMIT_BYTES, DEFAULT_RESULT_LIMIT_BYTES, DEFAULT_SKIP_CODE,
    MAX_HANDED_SECRETS, Marker, MarkerError, ProcessSpec, Program, ResultRule, Secret, Stdin, Streams,
};
pub use survivors::{Survivor, survivors};

/// Asks a process, not one of a task, to end (SIGTERM). One that is gone already needs no asking.
pub fn ask_to_end(pid: i32) -> std::io::Result<()> {
    signal(pid, rustix::process::Signal::TERM)
}

/// Asks a keeper to go when its tasks are over (SIGUSR1). One that is gone already needs no asking.
pub fn ask_to_finish(pid: i32) -> std::io::Result<()> {
    signal(pid, rustix::process::Signal::USR1)
}

/// Kills a keeper that does nothing any more (SIGKILL). The next one ends what it has left.
pub fn kill(pid: i32) -> std::io::Result<()> {
    signal(pid, rustix::process::Signal::KILL)
}

fn signal(pid: i32, signal: rustix::process::Signal) -> std::io::Result<()> {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return Ok(()) };
    match rustix::process::kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
