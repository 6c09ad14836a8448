//! From a process's pipes to its log and result.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use updraft_core::log::Stream;

use super::folder::Folder;
use super::log::{Lines, LogReport, LogWriter, Stamp};
use super::mask::{Masker, Masks};
use super::result::{Collector, ResultError, ResultValue};

/// How long output may wait in memory for more before it is written for followers.
const FOLLOW_DELAY: Duration = Duration::from_millis(100);
/// How long a line that goes on growing without an end may stay unseen.
const LINE_DELAY: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    // One buffer per thread, not per task: nothing stays in it between two reads.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A pipe for a child to write to; only our end does not block.
pub(super) fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}

/// The output of one process.
pub(super) struct Output {
    out: Option<Receiver>,
    err: Option<Receiver>,
    /// How often standard output was read since standard error was.
    out_in_row: u32,
    capture: Capture,
}

/// Where both have something, standard output is read first, so often in a row at most: what a program prints before it
/// fails comes before what it fails by.
const OUT_IN_ROW: u32 = 16;

impl Output {
    /// Must run within the tokio runtime that will read.
    pub(super) fn new(out: OwnedFd, err: Option<OwnedFd>, capture: Capture) -> io::Result<Self> {
        let out = Some(Receiver::from_owned_fd_unchecked(out)?);
        let err = err.map(Receiver::from_owned_fd_unchecked).transpose()?;
        Ok(Self { out, err, out_in_row: 0, capture })
    }

    /// Waits for output and captures one read of it. Never returns once both pipes have ended.
    pub(super) async fn read(&mut self) {
        let (out, err) = (readable(self.out.as_ref()), readable(self.err.as_ref()));
        let stream = if self.out_in_row < OUT_IN_ROW {
            tokio::select! { biased; () = out => Stream::Out, () = err => Stream::Err }
        } else {
            tokio::select! { biased; () = err => Stream::Err, () = out => Stream::Out }
        };
        self.out_in_row = if stream == Stream::Out { self.out_in_row + 1 } else { 0 };
        self.read_once(stream);
    }

    /// Captures what is in the pipes now, without waiting for processes that hold them open and write on.
    pub(super) fn drain(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let in_pipe = self
                .pipe(stream)
                .as_ref()
                .map_or(0, |pipe| rustix::io::ioctl_fionread(pipe.as_fd()).unwrap_or(0));
            let mut left = usize::try_from(in_pipe).unwrap_or(usize::MAX);
            while left > 0 {
                match self.read_once(stream) {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
        }
    }

    fn pipe(&mut self, stream: Stream) -> &mut Option<Receiver> {
        if stream == Stream::Out { &mut self.out } else { &mut self.err }
    }

    fn read_once(&mut self, stream: Stream) -> usize {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let Some(pipe) = self.pipe(stream) else { return 0 };
            match pipe.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Ok(0) => {
                    *self.pipe(stream) = None;
                    0
                }
                Ok(read) => {
                    self.capture.push(stream, &buffer[..read]);
                    read
                }
                Err(error) => {
                    tracing::warn!(%error, stream = stream.as_str(), "a task's output could not be read on");
                    *self.pipe(stream) = None;
                    0
                }
            }
        })
    }

    /// When output that has been captured must be shown to followers.
    pub(super) fn show_at(&self) -> Option<Instant> {
        self.capture.unshown_since.map(|since| since + FOLLOW_DELAY)
    }

    pub(super) fn show(&mut self) {
        self.capture.show();
    }

    /// Adds a remark of our own to the log.
    pub(super) fn remark(&mut self, text: &str) {
        self.capture.remark(text);
    }

    /// Everything is over: completes log and result, and gives the folder back.
    pub(super) fn finish(self, uid: u32) -> (LogReport, Result<Option<ResultValue>, ResultError>, Folder) {
        self.capture.finish(uid)
    }
}

async fn readable(pipe: Option<&Receiver>) {
    match pipe {
        // An error shows again, with its text, when the pipe is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

/// Log and result of one process in the making.
pub(super) struct Capture {
    log: LogWriter,
    result: Collector,
    folder: Folder,
    out: Channel,
    err: Channel,
    /// What is hidden in remarks, too.
    masks: Masks,
    unshown_since: Option<Instant>,
}

/// One stream's way to the log.
struct Channel {
    masker: Masker,
    lines: Lines,
    /// Text has come since the last look.
    is_fresh: bool,
    begun_at: Option<Instant>,
}

impl Capture {
    pub(super) fn new(log: LogWriter, result: Collector, folder: Folder, masks: Masks) -> Self {
        let channel = |masks| Channel {
            masker: Masker::new(masks),
            lines: Lines::default(),
            is_fresh: false,
            begun_at: None,
        };
        let (out, err) = (channel(masks.clone()), channel(masks.clone()));
        Self { log, result, folder, out, err, masks, unshown_since: None }
    }

    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Instant::now();
        self.unshown_since.get_or_insert(now);
        let channel = if stream == Stream::Out {
            self.result.push(bytes, &self.folder);
            &mut self.out
        } else {
            &mut self.err
        };
        let (stamp, log, lines) = (Stamp::now(), &mut self.log, &mut channel.lines);
        let write = |text: &[u8], goes_on| log.entry(&stamp, stream, goes_on, text);
        let mut write = write;
        channel.masker.push(bytes, |safe| lines.push(safe, &mut write));
        channel.is_fresh = true;
        channel.begun_at =
            if channel.lines.has_begun() { Some(channel.begun_at.unwrap_or(now)) } else { None };
    }

    fn show(&mut self) {
        self.unshown_since = None;
        let now = Instant::now();
        for (stream, channel) in [(Stream::Out, &mut self.out), (Stream::Err, &mut self.err)] {
            let Some(begun_at) = channel.begun_at else { continue };
            // A line that is being written right now is better shown whole.
            if std::mem::take(&mut channel.is_fresh) && now.duration_since(begun_at) < LINE_DELAY {
                self.unshown_since = Some(now);
            } else {
                let stamp = Stamp::now();
                channel.lines.show_begun(|text, goes_on| self.log.entry(&stamp, stream, goes_on, text));
                channel.begun_at = None;
            }
        }
        self.log.flush();
    }

    fn remark(&mut self, text: &str) {
        self.unshown_since.get_or_insert_with(Instant::now);
        self.log.entry(&Stamp::now(), Stream::Sys, false, &self.masks.hide(text.as_bytes()));
    }

    fn finish(mut self, uid: u32) -> (LogReport, Result<Option<ResultValue>, ResultError>, Folder) {
        let stamp = Stamp::now();
        for (stream, mut channel) in [(Stream::Out, self.out), (Stream::Err, self.err)] {
            let log = &mut self.log;
            let mut write = |text: &[u8], goes_on| log.entry(&stamp, stream, goes_on, text);
            let lines = &mut channel.lines;
            channel.masker.finish(|safe| lines.push(safe, &mut write));
            channel.lines.finish(write);
        }
        (self.log.finish(), self.result.finish(&self.folder, uid), self.folder)
    }
}
