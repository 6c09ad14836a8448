//! What the worker itself writes into an attempt's log: for tasks that are no process.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use updraft_core::log::Stream;
use updraft_operators::work::TaskLog;

use super::{LogWriter, Stamp};
use crate::process::spec::DEFAULT_LOG_LIMIT_BYTES;

/// An attempt's log, for lines of the worker's own.
pub struct TaskLogFile {
    writer: Mutex<LogWriter>,
    masked: Vec<String>,
}

impl TaskLogFile {
    /// The log at this path; lines are added to what is there.
    pub fn new(path: PathBuf) -> Self {
        Self::masked(path, Vec::new())
    }

    /// The same, with texts that must not show. Those shorter than five characters show, as in the logs of
    /// processes.
    pub fn masked(path: PathBuf, secrets: Vec<String>) -> Self {
        let mut masked: Vec<String> =
            secrets.into_iter().filter(|secret| secret.chars().count() >= 5).collect();
        // A secret that holds another is masked whole.
        masked.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { writer: Mutex::new(LogWriter::new(path, DEFAULT_LOG_LIMIT_BYTES)), masked }
    }
}

impl TaskLog for TaskLogFile {
    fn line(&self, text: &str) {
        let mut shown = text.to_owned();
        for secret in &self.masked {
            shown = shown.replace(secret, "***");
        }
        // A writer that panicked has lost a line and no more.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::now();
        for line in shown.split('\n') {
            writer.entry(&stamp, Stream::Sys, false, line.as_bytes());
        }
        writer.flush();
    }
}
