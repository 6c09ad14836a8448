//! The log of one attempt: one file, one entry a line.
//!
//! [`updraft_core::log`] says what an entry looks like, and reads it. Here it is written:
//!
//! - The time is when the text was read from the pipe.
//! - The line goes on in the next entry of its stream where it is long, and is cut every [`PIECE_BYTES`], or where
//!   it has begun but not ended (a prompt, a row of dots), and is written when it has been waiting.
//! - The text is UTF-8 without control characters except tab and escape (colours). Bytes that are not UTF-8
//!   and other control characters, NUL among them, stand as `\xNN`, as Airflow's `backslashreplace` has it. A
//!   line ends at LF, CR LF or a lone CR (progress bars). So no output can forge an entry, and `grep` takes
//!   the file for text.

mod task;
mod text;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use updraft_core::log::Stream;

pub use task::TaskLogFile;
pub(super) use text::Lines;
pub use text::PIECE_BYTES;

/// What is gathered before a write; a smaller log is written at once at its end or when followers have
/// waited.
const WRITE_BYTES: usize = 64 * 1024;
/// Time, stream and the tabs behind them.
const HEAD_BYTES: usize = 27 + 1 + 3 + 1;
/// How much of the end of a cut log is kept.
const TAIL_BYTES: u64 = 64 * 1024;

/// What went into a log and what did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    /// Bytes in the file.
    pub bytes: u64,
    /// Lines that the process wrote, whether kept, cut or lost.
    pub lines: u64,
    /// Entries left out of the middle because of the spec's limit.
    pub cut: Missing,
    /// Entries that could not be written, and why.
    pub lost: Option<LogLoss>,
    /// The end, where it is short and whoever asked for the process sees to it: it is not in the file.
    pub unwritten: Vec<u8>,
}

/// Entries that are not in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Entries lost to a write error, such as a full disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLoss {
    /// The first error, with the file's path.
    pub error: String,
    /// What is missing.
    pub missing: Missing,
}

/// A time as the log writes it.
#[derive(Clone)]
pub(super) struct Stamp(Arc<str>);

impl Stamp {
    pub(super) fn now() -> Self {
        // Before 1970 or beyond 9999 the clock is broken; the log is then still readable.
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(format!("{now:.6}").into())
    }
}

/// Writes a log file. Never fails: what cannot be written is counted, so that a full disk ends no task.
pub(super) struct LogWriter {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    written: u64,
    limit: u64,
    /// Of a log that is all in memory at its end, so many bytes are not written.
    unwritten: usize,
    tail: Option<Tail>,
    lines: u64,
    loss: Option<LogLoss>,
    /// Losses that the file does not mention yet.
    unmentioned: Missing,
    /// The file's last line has no end.
    is_torn: bool,
}

/// What comes after the limit: only its end is kept, in memory, and made printable only when it is certain to
/// be written.
#[derive(Default)]
struct Tail {
    kept: VecDeque<Kept>,
    kept_bytes: u64,
    cut: Missing,
}

struct Kept {
    stamp: Stamp,
    stream: Stream,
    goes_on: bool,
    text: Vec<u8>,
}

impl LogWriter {
    pub(super) fn new(path: PathBuf, limit: u64) -> Self {
        Self {
            path,
            file: None,
            buffer: Vec::new(),
            written: 0,
            limit,
            unwritten: 0,
            tail: None,
            lines: 0,
            loss: None,
            unmentioned: Missing::default(),
            is_torn: false,
        }
    }

    /// Does not write a log that is no longer than this, unless it had to be shown before its end.
    pub(super) fn leaving(self, unwritten: usize) -> Self {
        Self { unwritten, ..self }
    }

    /// Adds an entry. `goes_on`: the line is continued by the stream's next entry.
    pub(super) fn entry(&mut self, stamp: &Stamp, stream: Stream, goes_on: bool, text: &[u8]) {
        if !goes_on && stream != Stream::Sys {
            self.lines += 1;
        }
        if let Some(tail) = &mut self.tail {
            tail.push(
                Kept { stamp: stamp.clone(), stream, goes_on, text: text.to_vec() },
                TAIL_BYTES.min(self.limit / 4),
            );
            return;
        }
        render(&mut self.buffer, stamp, stream, goes_on, text);
        if self.written + self.buffer.len() as u64 > self.limit.saturating_sub(self.tail_bytes()) {
            let text = format!(
                "The log has reached its limit of {} bytes (UPDRAFT__WORKER__LOG_LIMIT_MB): from here on only its \
                 end is kept.",
                self.limit
            );
            render(&mut self.buffer, stamp, Stream::Sys, false, text.as_bytes());
            self.flush();
            self.tail = Some(Tail::default());
        } else if self.buffer.len() >= WRITE_BYTES {
            self.write();
        }
    }

    /// Writes what is waiting and gives its memory back: most tasks are silent most of the time.
    pub(super) fn flush(&mut self) {
        self.write();
        self.buffer = Vec::new();
    }

    /// Writes all that is left and tells what became of the log.
    pub(super) fn finish(mut self) -> LogReport {
        let mut cut = Missing::default();
        if let Some(tail) = self.tail.take() {
            cut = tail.cut;
            if cut.entries > 0 {
                let text = format!("{} entries of {} bytes are cut here.", cut.entries, cut.bytes);
                render(&mut self.buffer, &Stamp::now(), Stream::Sys, false, text.as_bytes());
            }
            for Kept { stamp, stream, goes_on, text } in tail.kept {
                render(&mut self.buffer, &stamp, stream, goes_on, &text);
            }
        }
        let unwritten = match self.file {
            None if self.loss.is_none() && self.buffer.len() <= self.unwritten => {
                std::mem::take(&mut self.buffer)
            }
            _ => Vec::new(),
        };
        if unwritten.is_empty() {
            self.write();
        }
        LogReport { bytes: self.written, lines: self.lines, cut, lost: self.loss, unwritten }
    }

    fn tail_bytes(&self) -> u64 {
        TAIL_BYTES.min(self.limit / 4)
    }

    fn write(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mentioned =
            if self.unmentioned.entries > 0 && !buffer.is_empty() { self.mention_loss() } else { Ok(()) };
        let mut done = 0;
        if let Err(error) = mentioned.and_then(|()| self.append(&buffer, &mut done)) {
            let missing = Missing::of(&buffer[done..]);
            self.unmentioned.add(missing);
            let first = || LogLoss {
                error: format!("{}: {error}", self.path.display()),
                missing: Missing::default(),
            };
            self.loss.get_or_insert_with(first).missing.add(missing);
        }
        self.buffer = buffer;
        self.buffer.clear();
    }

    /// Says in the file, if it can be written again, that something is missing before what follows.
    fn mention_loss(&mut self) -> io::Result<()> {
        let mut mention = if self.is_torn { b"\n".to_vec() } else { Vec::new() };
        let Missing { entries, bytes } = self.unmentioned;
        let text = format!("{entries} entries of {bytes} bytes could not be written and are missing here.");
        render(&mut mention, &Stamp::now(), Stream::Sys, false, text.as_bytes());
        self.append(&mention, &mut 0)?;
        self.unmentioned = Missing::default();
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        while *done < bytes.len() {
            match file.write(&bytes[*done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *done += count;
                    self.written += count as u64;
                    self.is_torn = bytes[*done - 1] != b'\n';
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The log at this path, to add to it; made with its folders where it is not there.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let open = || File::options().append(true).create(true).mode(0o600).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

fn render(buffer: &mut Vec<u8>, stamp: &Stamp, stream: Stream, goes_on: bool, text: &[u8]) {
    buffer.extend_from_slice(stamp.0.as_bytes());
    buffer.push(b'\t');
    buffer.extend_from_slice(stream.as_str().as_bytes());
    buffer.extend_from_slice(if goes_on { b"+\t" } else { b"\t" });
    text::append_printable(buffer, text);
    buffer.push(b'\n');
}

impl Missing {
    fn of(entries: &[u8]) -> Self {
        Self { entries: memchr::memchr_iter(b'\n', entries).count() as u64, bytes: entries.len() as u64 }
    }

    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

impl Tail {
    /// Adds an entry, and cuts the oldest ones so that about `most` bytes are kept.
    fn push(&mut self, entry: Kept, most: u64) {
        self.kept_bytes += entry.bytes();
        self.kept.push_back(entry);
        while self.kept_bytes > most
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.bytes();
            self.cut.add(Missing { entries: 1, bytes: oldest.bytes() });
        }
    }
}

impl Kept {
    /// What it takes in the file, unless something in it must be escaped.
    fn bytes(&self) -> u64 {
        (HEAD_BYTES + self.text.len() + 1) as u64
    }
}

#[cfg(test)]
mod tests;
