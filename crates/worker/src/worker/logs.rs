//! Logs on their way to a server of another machine, from the files that they are written to here: beside the
//! connection that orders and reports go over, so that no heartbeat waits behind them. Only an end that is short goes with
//! the report of the attempt's: two requests for each small script cost more than the script.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::warn;
use updraft_core::protocol::{LOG_END_BYTES, LogEnd};

use super::{
    attempt::Tools,
    host::{Client, LogOf},
};
use crate::process::log::open;

/// How often a log that grows is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// So many bytes go at once.
const AT_ONCE: u64 = 512 * 1024;

/// The end of an attempt is told when its log is there, or after so long: a server that takes no logs is to hear of it.
const WAITED_FOR: Duration = Duration::from_secs(10);

/// Removes what an earlier life of this worker had not sent when it was killed: nobody knows how much of it the server
/// has.
pub(super) fn clear_former(folder: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|kind| kind != "log") {
            continue;
        }
        warn!(file = %path.display(), "the end of a log was not sent before this worker was killed, and is lost");
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// A log that is being sent.
pub(super) struct Shipping {
    ended: oneshot::Sender<Vec<u8>>,
    over: oneshot::Receiver<Option<LogEnd>>,
}

impl Shipping {
    /// Sends what is written to this file from now on; nothing where the server reads it there itself.
    pub fn begin(of: LogOf, file: PathBuf, tools: &Arc<Tools>) -> Option<Self> {
        if !tools.remote {
            return None;
        }
        let ((ended, has_ended), (tell, over)) = (oneshot::channel(), oneshot::channel());
        let mut log = Log { of, file, base: None, sent: 0, client: tools.client.clone() };
        tokio::spawn(async move {
            let shipped = match log.ship_until(has_ended).await {
                // Nobody waited so long: the attempt's end was told without it.
                Ok(end) => match tell.send(end) {
                    Err(Some(end)) => log.send(end.text.into()).await,
                    Ok(()) | Err(None) => Ok(()),
                },
                Err(unshipped) => Err(unshipped),
            };
            if let Err(error) = shipped {
                warn!(attempt = %of.attempt, %error, "a log is not whole on the server");
            }
            let _ = std::fs::remove_file(&log.file);
        });
        Some(Self { ended, over })
    }

    /// Nothing more is written; behind what is, this belongs. Waits until all is there but what is to be told with the
    /// attempt's end; or long enough: the rest follows.
    pub async fn end(mut self, unwritten: Vec<u8>) -> Option<LogEnd> {
        // Gone where it was refused.
        let _ = self.ended.send(unwritten);
        match tokio::time::timeout(WAITED_FOR, &mut self.over).await {
            Ok(end) => end.ok()?,
            Err(_) => {
                self.over.close();
                // It may have come at this moment.
                self.over.try_recv().ok()?
            }
        }
    }
}

/// Writes what was left unwritten of a log.
pub(super) fn write(log: &Path, unwritten: &[u8]) {
    if unwritten.is_empty() {
        return;
    }
    if let Err(error) = open(log).and_then(|mut file| file.write_all(unwritten)) {
        warn!(file = %log.display(), %error, "the end of a log can't be written");
    }
}

struct Log {
    of: LogOf,
    file: PathBuf,
    /// What the server had before: of an attempt that waited and goes on here.
    base: Option<u64>,
    /// How much of the file it has.
    sent: u64,
    client: Client,
}

/// Why a log is not sent.
#[derive(Debug, thiserror::Error)]
enum Unshipped {
    #[error("{0}")]
    Refused(String),
    #[error("it can't be read: {0}")]
    Unread(io::Error),
}

impl Log {
    async fn ship_until(
        &mut self,
        mut ended: oneshot::Receiver<Vec<u8>>,
    ) -> Result<Option<LogEnd>, Unshipped> {
        loop {
            tokio::select! {
                unwritten = &mut ended => return self.ship_last(&unwritten.unwrap_or_default()).await,
                () = tokio::time::sleep(LOOK_EVERY) => self.ship().await?,
            }
        }
    }

    /// Sends what is left, and returns the end of it that is short and an attempt's.
    async fn ship_last(&mut self, unwritten: &[u8]) -> Result<Option<LogEnd>, Unshipped> {
        let left = [&*self.read().map_err(Unshipped::Unread)?, unwritten].concat();
        if let Some(end) = self.short_end(&left) {
            return Ok(Some(end));
        }
        write(&self.file, unwritten);
        loop {
            let left = self.read().map_err(Unshipped::Unread)?;
            match self.short_end(&left) {
                Some(end) => return Ok(Some(end)),
                None if left.is_empty() => return Ok(None),
                None => self.send(left).await?,
            }
        }
    }

    /// What is left, where it can be told with the attempt's end.
    fn short_end(&self, left: &[u8]) -> Option<LogEnd> {
        let text = std::str::from_utf8(left).ok()?.to_owned();
        let offset = self.base.map(|base| base + self.sent);
        let is_short = self.of.call.is_none() && (1..=LOG_END_BYTES).contains(&left.len());
        is_short.then_some(LogEnd { attempt: self.of.attempt, offset, text })
    }

    /// Sends all that is written.
    async fn ship(&mut self) -> Result<(), Unshipped> {
        loop {
            match self.read().map_err(Unshipped::Unread)? {
                bytes if bytes.is_empty() => return Ok(()),
                bytes => self.send(bytes).await?,
            }
        }
    }

    /// Sends what follows on what was sent.
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Unshipped> {
        let base = match self.base {
            Some(base) => base,
            None => *self.base.insert(self.put(0, Vec::new()).await?),
        };
        // Nobody else adds to it.
        self.sent = self.put(base + self.sent, bytes).await?.saturating_sub(base);
        Ok(())
    }

    async fn put(&self, offset: u64, bytes: Vec<u8>) -> Result<u64, Unshipped> {
        let stored = self.client.put_log(self.of, offset, bytes).await;
        stored.map_err(|error| Unshipped::Refused(error.to_string()))
    }

    /// What the server has not, or the beginning of it: it was written just now, and is in memory.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = match File::open(&self.file) {
            Ok(file) => file,
            // Nothing was written yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
            Err(error) => return Err(error),
        };
        file.seek(io::SeekFrom::Start(self.sent))?;
        file.take(AT_ONCE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
