//! What the worker itself writes into an attempt's log: for tasks that are no process.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use updraft_core::log::Stream;
use updraft_operators::work::TaskLog;

use super::{LogWriter, Stamp};
use crate::process::{Masks, spec::DEFAULT_LOG_LIMIT_BYTES};

/// An attempt's log, for lines of the worker's own.
pub struct TaskLogFile {
    writer: Mutex<LogWriter>,
    masks: Masks,
}

impl TaskLogFile {
    /// The log at this path; lines are added to what is there.
    pub fn new(path: PathBuf) -> Self {
        Self::masked(path, Masks::default())
    }

    /// The same, with texts that must not show.
    pub fn masked(path: PathBuf, masks: Masks) -> Self {
        Self { writer: Mutex::new(LogWriter::new(path, DEFAULT_LOG_LIMIT_BYTES)), masks }
    }
}

impl TaskLog for TaskLogFile {
    fn line(&self, text: &str) {
        let shown = self.masks.hide(text.as_bytes());
        // A writer that panicked has lost a line and no more.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::now();
        for line in shown.split(|byte| *byte == b'\n') {
            writer.entry(&stamp, Stream::Sys, false, line);
        }
        writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use updraft_core::log::Entry;

    use super::*;
    use crate::process::Secret;

    #[test]
    fn a_secret_of_several_lines_does_not_show_however_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let secrets = ["first line\nsecond line\n", "hunter2", "abcd"].map(Secret::new);
        let log = TaskLogFile::masked(path.clone(), Masks::new(secrets).unwrap());
        log.line("a first line\nsecond line b");
        log.line("> second line");
        log.line("hunter2hunter2 abcd\nend");
        let text = std::fs::read_to_string(path).unwrap();
        let shown: Vec<_> = text.lines().map(|line| Entry::parse(line).unwrap().text).collect();
        assert_eq!(shown, ["a *** b", "> ***", "*** abcd", "end"]);
    }
}
