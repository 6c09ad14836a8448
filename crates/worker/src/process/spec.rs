//! What a process is asked to be: the request that one attempt makes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::guard::Guard;
use super::mask::Masks;

/// How long a task may go on after SIGTERM, as Airflow's `killed_task_cleanup_time`.
pub const DEFAULT_KILL_GRACE: Duration = Duration::from_secs(60);
/// The exit code that skips a task, as Airflow's BashOperator has it (`skip_on_exit_code`).
pub const DEFAULT_SKIP_CODE: i32 = 99;
/// The size at which a log is cut by default.
pub const DEFAULT_LOG_LIMIT_BYTES: u64 = 1 << 30;
/// The size beyond which a result is refused by default.
pub const DEFAULT_RESULT_LIMIT_BYTES: u64 = 1 << 28;
/// How many secrets can be handed over by descriptor to one process.
pub const MAX_HANDED_SECRETS: usize = 28;

/// One process to run for one attempt. Make it with [`ProcessSpec::new`] and set what differs.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// The attempt's id, put into the environment so that survivors can be found.
    pub marker: Marker,
    /// What to execute.
    pub program: Program,
    /// Variables beyond the base environment. Names that are reserved or must never pass are refused.
    pub env: BTreeMap<String, String>,
    /// Whether it gets the base environment at all.
    pub inherit_env: bool,
    /// Where to run. `None`: a fresh folder, removed afterwards, as Airflow's BashOperator does.
    pub cwd: Option<PathBuf>,
    /// What the process reads.
    pub stdin: Stdin,
    /// Whether standard error is kept apart.
    pub streams: Streams,
    /// What counts as the result.
    pub result: ResultRule,
    /// A result beyond this many bytes is refused ([`ResultError::TooLarge`](super::ResultError)).
    pub result_limit_bytes: u64,
    /// Exit codes that skip the task.
    pub skip_codes: Vec<i32>,
    /// How long it may run, paused time not counted.
    pub timeout: Option<Duration>,
    /// Time between SIGTERM and SIGKILL, for a timeout and for what is left behind.
    pub kill_grace: Duration,
    /// Texts that must not appear in the log.
    pub masked: Masks,
    /// Secrets handed over by file descriptor: for `PASSWORD` the process gets `PASSWORD_FD=<number>` and
    /// reads `/dev/fd/<number>`, as often as it likes. They are masked too. At most [`MAX_HANDED_SECRETS`].
    pub handed: BTreeMap<String, Secret>,
    /// What is kept out of its reach.
    pub guard: Option<Arc<Guard>>,
    /// The user to run as; only root may ask for it.
    pub run_as_user: Option<String>,
    /// The attempt's log file; missing folders are made.
    pub log: PathBuf,
    /// Beyond this many bytes the middle of the log is cut.
    pub log_limit_bytes: u64,
    /// A log that is no longer than this is not written at its end, but given back ([`LogReport::unwritten`]).
    ///
    /// [`LogReport::unwritten`]: super::log::LogReport::unwritten
    pub unwritten_log_bytes: usize,
}

impl ProcessSpec {
    /// A spec with every default: no timeout, last line as result, 99 skips, empty stdin, fresh working
    /// folder.
    #[must_use]
    pub fn new(marker: Marker, program: Program, log: impl Into<PathBuf>) -> Self {
        Self {
            marker,
            program,
            env: BTreeMap::new(),
            inherit_env: true,
            cwd: None,
            stdin: Stdin::Empty,
            streams: Streams::Apart,
            result: ResultRule::LastLine,
            result_limit_bytes: DEFAULT_RESULT_LIMIT_BYTES,
            skip_codes: vec![DEFAULT_SKIP_CODE],
            timeout: None,
            kill_grace: DEFAULT_KILL_GRACE,
            masked: Masks::default(),
            handed: BTreeMap::new(),
            guard: None,
            run_as_user: None,
            log: log.into(),
            log_limit_bytes: DEFAULT_LOG_LIMIT_BYTES,
            unwritten_log_bytes: 0,
        }
    }
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A program, looked up in the child's `PATH` if it has no slash, and its arguments.
    Argv(Vec<String>),
    /// The text of a script, written to a private file.
    Script {
        /// The text. A byte order mark is dropped, and where the first line ends in CR LF all lines are made
        /// to end in LF.
        body: String,
        /// Program and arguments to run it with; `None`: as its `#!` line says, or `sh` where it has none.
        interpreter: Option<Vec<String>>,
        /// Arguments after the script's path.
        args: Vec<String>,
    },
}

/// What the process reads on standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    Empty,
    /// These bytes, then the end of the file.
    Bytes(Vec<u8>),
}

/// How the two output streams are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Each through a pipe of its own: the log tells them apart, only standard output makes the result, and
    /// two lines written at the same instant to different streams may change places.
    Apart,
    /// Both through one pipe, in the exact order written, as Airflow's BashOperator has it: all is `out`.
    Merged,
}

/// What counts as a task's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultRule {
    /// The last line of standard output without trailing white space, as Airflow's BashOperator; empty if
    /// there is none.
    LastLine,
    /// What the process writes to the file that `UPDRAFT_RESULT` names; none if it writes none.
    File,
    /// All of standard output, byte for byte.
    WholeOutput,
    /// Nothing.
    Nothing,
}

/// An attempt's id as it stands in the environment (`UPDRAFT_ATTEMPT`): one to 200 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker(String);

/// A text that cannot be a [`Marker`].
#[derive(Debug, thiserror::Error)]
#[error("the attempt id {text:?} is not 1 to 200 visible ASCII characters: give it one that is")]
pub struct MarkerError {
    text: String,
}

impl Marker {
    /// Takes a text that is fit to be found again in `/proc/<pid>/environ`.
    pub fn new(text: impl Into<String>) -> Result<Self, MarkerError> {
        let text = text.into();
        let fit = (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fit { Ok(Self(text)) } else { Err(MarkerError { text }) }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret text or file. It shows itself in no error, log or debug print of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the secret's bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
