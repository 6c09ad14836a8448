//! The logs of attempts: read by offsets, whole or while they grow, and removed with their runs.

mod folder;
mod objects;
mod segments;
#[cfg(test)]
mod tests;

use std::{io, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DagKey, RunId, RunKey, log::Entry};
use updraft_store::Store;

pub use self::{folder::LogFolder, objects::LogObjects};
use crate::retention;

/// A line longer than this is none of ours: an entry's text is cut every 8 KiB, each byte at most four long.
const LONGEST_LINE: usize = 64 * 1024;

/// Which log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogName {
    /// Whose it is. A run that has the name of one that was deleted has another number.
    pub run: RunKey,
    /// Its path: see [`updraft_core::protocol::log_path`].
    pub path: String,
}

/// Some consecutive entries of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the log's order. Lines that are no entries are left out.
    pub entries: Vec<Entry>,
    /// Where the next page begins, in bytes.
    pub next: u64,
    /// Nothing follows yet.
    pub at_end: bool,
}

impl Page {
    /// What stands in a log from `offset` on; whether that is all of it.
    fn of(bytes: &[u8], offset: u64, at_end: bool) -> Self {
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            // A line without an end that fills everything would have a reader stand still.
            None if !at_end => bytes.len(),
            None => 0,
        };
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        let entries = lines.filter_map(|line| Entry::parse(std::str::from_utf8(line).ok()?)).collect();
        Self { entries, next: offset + whole as u64, at_end }
    }
}

/// What is to be added to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub log: LogName,
    /// Where it belongs, in bytes. Only what is not there yet is added, and nothing where something between is missing.
    /// Without an offset it belongs to the end, and is not added where the log ends with it: so it can come twice.
    pub offset: Option<u64>,
    /// What is added, in whole lines.
    pub bytes: Vec<u8>,
}

impl Part {
    /// What of it is not in a log that is so long. Whether such a log ends with it already, is said where it belongs to
    /// the end.
    fn new_behind(&self, length: u64, ends_with_it: bool) -> &[u8] {
        match self.offset {
            Some(offset) if offset > length => &[],
            Some(offset) => {
                let known = usize::try_from(length - offset).unwrap_or(usize::MAX);
                self.bytes.get(known..).unwrap_or_default()
            }
            None if ends_with_it => &[],
            None => &self.bytes,
        }
    }
}

/// Where the logs of attempts are.
#[async_trait]
pub trait Logs: Send + Sync {
    /// The entries that stand whole in a log from `offset` on, about `most_bytes` of them. A log that does not exist is
    /// an empty one.
    async fn read(&self, log: &LogName, offset: u64, most_bytes: usize) -> io::Result<Page>;

    /// How long a reader who follows a log waits between two looks at it: what a look costs, says the implementation.
    fn look_every(&self) -> Duration;

    /// Adds to logs, and says how long each is then. What is said is there for good.
    async fn append(&self, parts: Vec<Part>) -> Vec<io::Result<u64>>;

    /// Takes all logs of these out of where they are found, at once however many there are. Says whether there may
    /// have been any. [`Logs::purge`] frees their room.
    async fn remove(&self, which: &[Logged]) -> io::Result<bool>;

    /// Takes away the logs that nothing was added to since `before` and whose runs are not in the store, whoever
    /// deleted them; the logs of how many runs.
    async fn remove_gone(&self, store: &dyn Store, before: Timestamp) -> Result<u64, retention::Error>;

    /// Frees the room of what was removed.
    async fn purge(&self) -> io::Result<()>;
}

/// What has logs: a run, or all runs of a DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The DAG.
    pub dag: DagKey,
    /// The run's name; all runs where none is named.
    pub run_id: Option<RunId>,
    /// The run's number, or that of the last run which was there. Without one, it is any run that had this name.
    pub run: Option<RunKey>,
}
