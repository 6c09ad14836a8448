//! Why a process could not be started. Each says what is wrong, where, and the mend.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::guard::GuardError;
use super::mask::MaskError;
use super::spec::MAX_HANDED_SECRETS;

/// A process that was not started; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The argument list is empty.
    #[error("there is no program to run: give at least one argument")]
    NoProgram,
    /// No such program in the child's `PATH`, or no such file.
    #[error(
        "the program {program:?} was not found ({searched}): install it, correct its name, or set PATH in the task's env"
    )]
    ProgramMissing {
        /// As given.
        program: String,
        /// Where we looked.
        searched: String,
    },
    /// It is there but cannot be executed.
    #[error("the program {} cannot be executed: {source}; make it executable (chmod +x) and, if it is a script, begin it with a #! line", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there but cannot be executed by the user that the task runs as.
    #[error("the program {} cannot be executed by the user {user:?}: {source}; install it where this user can reach it, or name one there", path.display())]
    NotExecutableBy {
        /// The file, the first of those that the name stands for.
        path: PathBuf,
        /// Who tried.
        user: String,
        /// What the system said.
        source: io::Error,
    },
    /// A script's interpreter is not on this machine.
    #[error(
        "the script's interpreter {interpreter:?} (from its line {line:?}) was not found ({searched}): install it on this worker or correct the line"
    )]
    InterpreterMissing {
        /// The program that the line names.
        interpreter: String,
        /// The line.
        line: String,
        /// Where we looked.
        searched: String,
    },
    /// The first line begins with `#!` but cannot be used.
    #[error("the script's first line {line:?} cannot be used: {why}")]
    BadShebang {
        /// The line.
        line: String,
        /// What is wrong and the mend.
        why: &'static str,
    },
    /// A text that goes to the system has a NUL byte, which ends a text there.
    #[error("{what} contains a NUL byte: remove it")]
    Nul {
        /// Which text.
        what: String,
    },
    /// A variable that may not be set.
    #[error("the environment variable {name:?} cannot be set: {why}")]
    Env {
        /// Its name.
        name: String,
        /// Why, and the mend.
        why: &'static str,
    },
    /// More secrets than there are places for.
    #[error(
        "{count} secrets are handed over by descriptor, and {MAX_HANDED_SECRETS} is the most: put several into one"
    )]
    TooManySecrets {
        /// How many.
        count: usize,
    },
    /// The secrets cannot be searched for in the output.
    #[error("{0}; mask fewer or shorter ones")]
    Mask(#[from] MaskError),
    /// The working folder cannot be entered.
    #[error("the working folder {} cannot be entered by {user}: {source}; create it or give {user} the right to enter it and the folders above", path.display())]
    Cwd {
        /// The folder.
        path: PathBuf,
        /// Who tried.
        user: String,
        /// What the system said.
        source: io::Error,
    },
    /// The private folder cannot be entered by the user that the task runs as.
    #[error("the attempt's private folder {} cannot be entered by the user {user:?}: {source}; let worker.scratch name a folder below such that all users may enter, or leave it out", path.display())]
    OutOfReach {
        /// The folder.
        path: PathBuf,
        /// Who tried.
        user: String,
        /// What the system said.
        source: io::Error,
    },
    /// `run_as_user` cannot be followed.
    #[error("the task cannot run as user {user:?}: {why}")]
    User {
        /// The user's name.
        user: String,
        /// Why, and the mend.
        why: String,
    },
    /// The guard cannot be set up.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The private folder or what belongs into it cannot be made.
    #[error("the attempt's private folder under {} cannot be made ready: {source}; free space there, correct its permissions, or let worker.scratch name another folder", path.display())]
    Scratch {
        /// The scratch folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Arguments and environment together are too large for the system.
    #[error(
        "the arguments and environment are too large for the system: pass the data on standard input or in a file"
    )]
    TooLong,
    /// It was started and can't be watched; it has been killed.
    #[error("the process just started can't be watched, and has been killed: {source}")]
    Unwatched {
        /// What the system said.
        source: io::Error,
    },
    /// The system refused for a reason of its own (out of processes, memory or descriptors).
    #[error("the system refused to {doing}: {source}")]
    System {
        /// What we were doing.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl SpawnError {
    /// What of the machine there was too little of, where nothing else is why. That says nothing about what was to be
    /// started, and may be otherwise in a moment.
    pub fn short_of(&self) -> Option<&'static str> {
        if matches!(self, Self::Unwatched { .. }) {
            return None;
        }
        let mut cause: Option<&dyn std::error::Error> = Some(self);
        loop {
            match cause?.downcast_ref::<io::Error>() {
                Some(error) => return shortage(error),
                None => cause = cause?.source(),
            }
        }
    }
}

/// What of the machine there was too little of, where that is what the system said.
pub(super) fn shortage(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::MFILE => "open files: its own limit of them is reached (`ulimit -n`)",
        Errno::NFILE => "open files: the machine's limit of them is reached",
        Errno::NOMEM => "memory",
        Errno::AGAIN => "processes: a limit of them is reached (`ulimit -u`, or pids.max of its cgroup)",
        Errno::NOSPC | Errno::DQUOT => "room on the disk",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_machine_has_too_little_of_is_a_shortage() {
        let scratch = |code| {
            let source = io::Error::from_raw_os_error(code);
            SpawnError::Scratch { path: "/s".into(), source }.short_of()
        };
        assert_eq!(scratch(libc::ENOSPC), Some("room on the disk"));
        assert_eq!(scratch(libc::EACCES), None);
        let source = io::Error::from_raw_os_error(libc::ENFILE);
        let of_guard = SpawnError::Guard(GuardError::Path { path: "/s".into(), source });
        assert!(of_guard.short_of().is_some_and(|what| what.contains("machine")));
        assert_eq!(SpawnError::NoProgram.short_of(), None);
    }
}
