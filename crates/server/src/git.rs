//! DAG files from a Git repository, as Airflow's `GitDagBundle` has them: a branch or a tag is fetched again and
//! again, and whenever somebody says that it has changed. Each commit is checked out into a folder of its own,
//! which never changes, and a link names the one that counts. Whatever fails leaves the last good commit at work.
//!
//! # Architecture Invariant
//!
//! The files of a commit stay for as long as a DAG is on it, or a run: what runs does not lose its scripts, and no
//! run has files of two commits.

mod mirror;
mod program;
mod remote;

pub(crate) use self::remote::SOURCE_PREFIX;
pub use self::{
    mirror::{Mirror, Present, Settings, Status},
    remote::{BadRemote, Credentials, Remote},
};

/// The name of the repository among the sources of DAGs (Airflow's `bundle_name`).
pub const BUNDLE: &str = "git";

/// Why the repository's state can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no program `git`.
    #[error(
        "the program `git` is not on this machine, and `dags.git` needs it: install it (`apt install git`), or put \
         it on the server's PATH"
    )]
    NoProgram,
    /// The program could not do it.
    #[error("can't {doing}: {said}{}", mend.map(|mend| format!(". {mend}")).unwrap_or_default())]
    Failed {
        /// What it was to do.
        doing: &'static str,
        /// What it said.
        said: String,
        /// What helps, where that is known.
        mend: Option<&'static str>,
    },
    /// The program took too long, and was ended.
    #[error(
        "can't {doing}: it took longer than {timeout:?} and was ended. See whether the server is well, or give it more \
         time by `dags.git.timeout_s`"
    )]
    TimedOut {
        /// What it was to do.
        doing: &'static str,
        /// How long it may take.
        timeout: std::time::Duration,
    },
    /// The commit does not have the folder.
    #[error("the commit {commit} has no folder `{subdir}`: set `dags.git.subdir` to one that is there")]
    NoFolder {
        /// The commit.
        commit: String,
        /// The folder.
        subdir: String,
    },
    /// Files can't be written.
    #[error(transparent)]
    Files(#[from] updraft_bundles::Error),
}
