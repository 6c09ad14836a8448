//! A process's result: its last line, all its output or a file, in bounded memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::folder::{Folder, KeptFile};
use super::spec::ResultRule;

/// A result beyond this is kept in a file, not in memory.
pub const INLINE_RESULT_BYTES: usize = 64 * 1024;

/// What a process gave as its result: its own bytes, not masked, since the next task may need them.
#[derive(Debug)]
pub enum ResultValue {
    /// At most [`INLINE_RESULT_BYTES`].
    Inline(Vec<u8>),
    /// A larger one.
    Spilled(SpilledResult),
}

/// A large result in a file that is removed when this is dropped.
#[derive(Debug)]
pub struct SpilledResult {
    file: KeptFile,
    bytes: u64,
}

impl SpilledResult {
    /// Where it is, until this is dropped.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Why there is no result although there should be one.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The spec's limit is exceeded.
    #[error(
        "the result has more than {limit_bytes} bytes, which is the most: put the data into a file or an object store, and hand over its path"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// `UPDRAFT_RESULT` is no longer a plain file of the task's own.
    #[error("the result file {} is not a plain file of the task's user: write the result itself to $UPDRAFT_RESULT, not a link", path.display())]
    NotAPlainFile {
        /// Its path.
        path: PathBuf,
    },
    /// Reading or keeping it failed.
    #[error("the result file {} could not be read or written: {source}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Gathers the result while the process runs.
pub(super) enum Collector {
    Nothing,
    LastLine { line: Spill, ended: bool },
    WholeOutput(Spill),
    File { limit: u64 },
}

impl Collector {
    pub(super) fn new(rule: ResultRule, limit: u64) -> Self {
        match rule {
            ResultRule::Nothing => Self::Nothing,
            ResultRule::LastLine => Self::LastLine { line: Spill::new(limit), ended: false },
            ResultRule::WholeOutput => Self::WholeOutput(Spill::new(limit)),
            ResultRule::File => Self::File { limit },
        }
    }

    /// Takes the next piece of standard output.
    pub(super) fn push(&mut self, piece: &[u8], folder: &Folder) {
        match self {
            Self::Nothing | Self::File { .. } => {}
            Self::WholeOutput(all) => all.push(piece, folder),
            Self::LastLine { line, ended } => {
                if piece.is_empty() {
                    return;
                }
                let begins_anew = std::mem::take(ended);
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                *ended = text.len() < piece.len();
                match memchr::memrchr(b'\n', text) {
                    Some(end) => line.restart(&text[end + 1..], folder),
                    None if begins_anew => line.restart(text, folder),
                    None => line.push(text, folder),
                }
            }
        }
    }

    /// All output has been seen and the process is gone. `uid`: the user it ran as.
    pub(super) fn finish(self, folder: &Folder, uid: u32) -> Result<Option<ResultValue>, ResultError> {
        match self {
            Self::Nothing => Ok(None),
            Self::WholeOutput(all) => all.finish().map(Some),
            Self::LastLine { line, .. } => line.finish().map(|value| Some(trimmed(value))),
            Self::File { limit } => take_file(folder, limit, uid),
        }
    }
}

/// Airflow strips the white space at a line's end; a line too long for memory is left as it is.
fn trimmed(value: ResultValue) -> ResultValue {
    match value {
        ResultValue::Inline(mut line) => {
            line.truncate(line.trim_ascii_end().len());
            ResultValue::Inline(line)
        }
        spilled @ ResultValue::Spilled(_) => spilled,
    }
}

/// Bytes that move to a file when they become too many.
pub(super) struct Spill {
    limit: u64,
    bytes: u64,
    state: SpillState,
}

enum SpillState {
    Memory(Vec<u8>),
    File(File, KeptFile),
    TooLarge,
    Failed(PathBuf, io::Error),
}

impl Spill {
    fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, state: SpillState::Memory(Vec::new()) }
    }

    fn restart(&mut self, piece: &[u8], folder: &Folder) {
        self.bytes = 0;
        match &mut self.state {
            SpillState::Memory(memory) => memory.clear(),
            // A file that was needed once is not made again for each long line.
            SpillState::File(file, kept) => {
                if let Err(error) = rustix::fs::ftruncate(&*file, 0)
                    .and_then(|()| rustix::fs::seek(&*file, rustix::fs::SeekFrom::Start(0)).map(drop))
                {
                    self.state = SpillState::Failed(kept.path().to_owned(), error.into());
                }
            }
            SpillState::TooLarge | SpillState::Failed(..) => self.state = SpillState::Memory(Vec::new()),
        }
        self.push(piece, folder);
    }

    fn push(&mut self, piece: &[u8], folder: &Folder) {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limit {
            self.state = SpillState::TooLarge;
        }
        match &mut self.state {
            SpillState::Memory(memory) if memory.len() + piece.len() <= INLINE_RESULT_BYTES => {
                memory.extend_from_slice(piece);
            }
            SpillState::Memory(memory) => {
                let kept = folder.kept_result();
                let written = kept.create().and_then(|mut file| {
                    file.write_all(memory)?;
                    file.write_all(piece)?;
                    Ok(file)
                });
                self.state = match written {
                    Ok(file) => SpillState::File(file, kept),
                    Err(error) => SpillState::Failed(kept.path().to_owned(), error),
                };
            }
            SpillState::File(file, kept) => {
                if let Err(error) = file.write_all(piece) {
                    self.state = SpillState::Failed(kept.path().to_owned(), error);
                }
            }
            SpillState::TooLarge | SpillState::Failed(..) => {}
        }
    }

    fn finish(self) -> Result<ResultValue, ResultError> {
        match self.state {
            SpillState::Memory(memory) => Ok(ResultValue::Inline(memory)),
            SpillState::File(mut file, kept) if self.bytes <= INLINE_RESULT_BYTES as u64 => {
                let mut memory = Vec::new();
                let read = rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))
                    .map_err(io::Error::from)
                    .and_then(|_| file.read_to_end(&mut memory));
                match read {
                    Ok(_) => Ok(ResultValue::Inline(memory)),
                    Err(source) => Err(ResultError::Io { path: kept.path().to_owned(), source }),
                }
            }
            SpillState::File(_, file) => Ok(ResultValue::Spilled(SpilledResult { file, bytes: self.bytes })),
            SpillState::TooLarge => Err(ResultError::TooLarge { limit_bytes: self.limit }),
            SpillState::Failed(path, source) => Err(ResultError::Io { path, source }),
        }
    }
}

/// Takes the result file. The task may have put anything in its place, and we may read what it may not: so no
/// link is followed, and a file that belongs to somebody else or has a second name is refused.
fn take_file(folder: &Folder, limit: u64, uid: u32) -> Result<Option<ResultValue>, ResultError> {
    let path = folder.result();
    let kept = folder.kept_result();
    let failed = |path: &Path, source: io::Error| ResultError::Io { path: path.to_owned(), source };
    // Once moved to a folder that is not the task's, nobody can exchange it between our looks.
    match std::fs::rename(&path, kept.path()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path, error)),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(kept.path(), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
            return Err(ResultError::NotAPlainFile { path });
        }
        Err(error) => return Err(failed(&path, error.into())),
    };
    let metadata = file.metadata().map_err(|error| failed(&path, error))?;
    if metadata.is_dir() {
        let _ = std::fs::remove_dir_all(kept.path());
    }
    if !metadata.is_file() || metadata.nlink() != 1 || metadata.uid() != uid {
        return Err(ResultError::NotAPlainFile { path });
    }
    if metadata.len() > limit {
        return Err(ResultError::TooLarge { limit_bytes: limit });
    }
    if metadata.len() > INLINE_RESULT_BYTES as u64 {
        return Ok(Some(ResultValue::Spilled(SpilledResult { file: kept, bytes: metadata.len() })));
    }
    let mut bytes = Vec::new();
    // A process we could not end may still hold the file open and write to it.
    let most = INLINE_RESULT_BYTES as u64;
    file.take(most).read_to_end(&mut bytes).map_err(|error| failed(&path, error))?;
    Ok(Some(ResultValue::Inline(bytes)))
}
