//! How a worker is set up, and why it could not begin.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tracing::{info, warn};
use updraft_core::{WorkerId, input::Offer};

use super::host::Endpoint;
use crate::process::{Guard, GuardStatus};

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name it joins under.
    pub id: WorkerId,
    /// What it offers; the keeper is told by each server that it meets.
    pub offer: Offer,
    /// Where the server is.
    pub endpoint: Endpoint,
    /// What it shows the server.
    pub token: String,
    /// The folder of logs.
    pub logs: PathBuf,
    /// The folder for attempts' private folders.
    pub scratch: PathBuf,
    /// The folder for those of attempts that run as other users, if it is another one: tasks are kept out of it. It
    /// is made when the first of them comes, and removed at the end.
    pub scratch_of_others: Option<PathBuf>,
    /// What tells this installation's processes from another's on the same machine.
    pub installation: String,
    /// Whether tasks are kept out of `denied`.
    pub guarding: Guarding,
    /// Folders that no task may look into.
    pub denied: Vec<PathBuf>,
    /// Below these: what they may read all the same.
    pub readable: Vec<PathBuf>,
    /// The folder for bundles that were deployed, and for what these ask for; tasks may read all of it.
    pub bundles: PathBuf,
    /// The folder for what they write; it is made where it is not there.
    pub files: PathBuf,
    /// A callback that takes longer is ended.
    pub callback_timeout: Duration,
    /// So many bytes are kept of what a process writes: see [`crate::process::ProcessSpec::log_limit_bytes`].
    pub log_limit_bytes: u64,
    /// An idle worker that has not reached a server for so long goes.
    pub alone_for: Option<Duration>,
}

/// Whether tasks are guarded, by Landlock: see [`crate::process::Guard`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarding {
    /// Not at all: they may do what the worker's user may, `sudo` included.
    Off,
    /// Where the kernel can.
    #[default]
    On,
    /// Always: where the kernel can't, there is no worker.
    Required,
}

/// Why a worker could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine refused something.
    #[error("can't {doing}: {source}")]
    Io {
        /// What.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder for tasks' files is one that they are kept out of, or has such a one in it.
    #[error(
        "the folder for tasks' files, {}, has {} in it, which tasks are kept out of: let UPDRAFT__WORKER__FILES name \
         a folder of its own",
        files.display(),
        kept.display()
    )]
    Files {
        /// The folder.
        files: PathBuf,
        /// What is in it.
        kept: PathBuf,
    },
    /// The folder for bundles can't be used.
    #[error(transparent)]
    Bundles(#[from] updraft_bundles::Error),
    /// The guard can't be set up.
    #[error("can't keep tasks out of the server's folders: {0}")]
    Guard(#[from] crate::process::GuardError),
    /// The guard is required, and the kernel has none.
    #[error(
        "tasks can't be guarded: {0}. Use a kernel with Landlock (5.13 or newer, \"landlock\" in its lsm= list), \
         or set UPDRAFT__WORKER__GUARD=on, which does without where it has to"
    )]
    Unguarded(String),
    /// The server does not take it.
    #[error("the server refused this worker: {0}")]
    Refused(String),
    /// The client for look-ups can't be made.
    #[error("can't make a client for the server: {0}")]
    Client(String),
}

/// The guard, as far as it is wanted and the kernel has what it needs.
pub(super) fn guarded(guard: Guard, guarding: Guarding) -> Result<Option<Arc<Guard>>, Error> {
    match (guarding, guard.status()) {
        (Guarding::Off, _) => {
            warn!("tasks are not guarded: they may do what this program's user may");
            return Ok(None);
        }
        (Guarding::Required, GuardStatus::Unavailable { why }) => return Err(Error::Unguarded(why.clone())),
        (Guarding::On, GuardStatus::Unavailable { why }) => warn!(why, "tasks are not guarded"),
        (Guarding::On | Guarding::Required, status) => info!(?status, "tasks are guarded"),
    }
    Ok(Some(Arc::new(guard)))
}
