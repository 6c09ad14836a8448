//! Why a process could not be started. Each says what is wrong, where, and the mend.

use std::io;
use std::path::PathBuf;

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
    /// The system refused for a reason of its own (out of processes, memory or descriptors).
    #[error("the system refused to {doing}: {source}")]
    System {
        /// What we were doing.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
