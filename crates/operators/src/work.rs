//! What there is to do for an attempt: a process to start, a future to drive, or a time to wait for.

use std::{collections::BTreeMap, fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use jiff::Timestamp;
use updraft_core::{
    input::Outcome,
    protocol::{RunGiven, RunWanted, States, StatesWanted},
};

use crate::HostError;

/// What there is to do for an attempt.
#[derive(Debug)]
pub enum Work {
    /// Start this process and judge its end by [`ProcessPlan::outcome`].
    Process(ProcessPlan),
    /// Drive this.
    Native(Box<dyn NativeTask>),
    /// Nothing but to wait until then; the attempt is deferred, and its end is success.
    Until(Timestamp),
}

/// A process to start.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessPlan {
    /// What is started.
    pub command: Command,
    /// Set in its environment, over what is there.
    pub env: BTreeMap<String, String>,
    /// Whether it gets the worker's (scrubbed) environment below `env`, or `env` alone.
    pub inherit_env: bool,
    /// Secrets that it reads from a descriptor: for `PASSWORD` its environment has the descriptor's number as
    /// `PASSWORD_FD`.
    pub secrets: BTreeMap<String, String>,
    /// Whether it may ask the worker for variables, connections and other tasks' results while it runs.
    pub asks: bool,
    /// Where it starts: `None` is a new, empty folder that is removed at its end.
    pub cwd: Option<PathBuf>,
    /// What it reads; nothing (`/dev/null`) where this is `None`. May hold secrets, and may be large.
    pub stdin: Option<Vec<u8>>,
    /// Where its result is.
    pub result: ResultRule,
    /// These exit codes mean that it is skipped.
    pub skip_exit_codes: Vec<i32>,
    /// The environment of Python whose programs come before all others.
    pub environment: Option<Box<PythonEnvironment>>,
}

/// An environment of Python, a `venv`. A worker makes it once for all who want the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonEnvironment {
    /// The Python that it is made of: `python3`, `python3.12`.
    pub python: String,
    /// The packages in it, as the text of a file of requirements.
    pub requirements: String,
    /// Whether the packages are in it that are installed for that Python.
    pub system_site_packages: bool,
    /// More arguments of `pip install`.
    pub pip_options: Vec<String>,
    /// Where packages come from, the index first; where the worker is set to have them from, where this is `None`. May
    /// hold secrets.
    pub index_urls: Option<Vec<String>>,
}

/// What a [`ProcessPlan`] starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// This program, with these arguments; looked for along the worker's `PATH` where it has no slash.
    Argv(Vec<String>),
    /// This text, which the worker writes to a file of the attempt (mode 0700).
    Script {
        /// The text.
        text: String,
        /// What reads it, the file and `arguments` behind; where it is empty, the file is executed itself
        /// and its first line (`#!`) says what reads it.
        interpreter: Vec<String>,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Where a process's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultRule {
    /// The last line of its standard output and error, as text, trailing white space off (what Airflow's
    /// `BashOperator` returns).
    LastLine,
    /// All of its output, as text.
    Output,
    /// What it writes to the file that `$UPDRAFT_RESULT` names: JSON, or else text.
    File,
    /// An [`crate::outcome::Envelope`] in that file, which says more than a result.
    Envelope,
    /// It is not kept.
    None,
}

/// Work that the worker's own process does: a future that holds no process and no thread while it waits.
pub trait NativeTask: Send + fmt::Debug {
    /// Does it. It is cancelled by dropping the future, at any point: what it holds goes with it.
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture;
}

/// A [`NativeTask`] at work.
pub type TaskFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a [`NativeTask`] is given.
#[derive(Clone)]
pub struct TaskContext {
    /// Where it writes what it does.
    pub log: Arc<dyn TaskLog>,
    /// What all tasks of a worker share.
    pub shared: Arc<Shared>,
    /// What it asks of the server while it is at work.
    pub server: Arc<dyn Server>,
    /// What calls functions of Python for it.
    pub functions: Arc<dyn Functions>,
}

/// Calls functions of Python for a [`NativeTask`]: each in a process of its own, which is guarded as a task's.
pub trait Functions: Send + Sync {
    /// Runs the process of one, and gives what it leaves as its result. The process ends where nobody waits for it.
    fn call(&self, plan: ProcessPlan) -> Asked<'_, serde_json::Value>;
}

/// What a [`NativeTask`] may ask of the server. Waits for one that is away.
pub trait Server: Send + Sync {
    /// Makes a run.
    fn give_run(&self, wanted: RunWanted) -> Asked<'_, RunGiven>;

    /// Says how runs and task instances are.
    fn states(&self, wanted: StatesWanted) -> Asked<'_, States>;
}

/// An answer to come.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, HostError>> + Send + 'a>>;

/// Where a [`NativeTask`] writes what it does.
pub trait TaskLog: Send + Sync {
    /// One line, without its end.
    fn line(&self, text: &str);
}

/// What all native tasks of a worker share. One for a worker; it costs nothing until it is used.
#[derive(Debug, Default)]
pub struct Shared {
    #[cfg(feature = "http")]
    pub(crate) http: crate::operators::http::Client,
    #[cfg(any(feature = "ftp", feature = "http", feature = "s3", feature = "sql", feature = "ssh"))]
    pub(crate) turns: crate::sensor::Turns,
}
