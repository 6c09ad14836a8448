//! Logs on their way to a server of another machine, from the files that they are written to here: beside the
//! connection that orders and reports go over, so that no heartbeat waits behind them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::oneshot,
    task::JoinHandle,
};
use tracing::warn;

use super::{
    attempt::Tools,
    host::{Client, LogOf},
};

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
    ended: oneshot::Sender<()>,
    over: JoinHandle<()>,
}

impl Shipping {
    /// Sends what is written to this file from now on; nothing where the server reads it there itself.
    pub fn begin(of: LogOf, file: PathBuf, tools: &Arc<Tools>) -> Option<Self> {
        if !tools.remote {
            return None;
        }
        let (ended, has_ended) = oneshot::channel();
        let mut log = Log { of, file, base: None, sent: 0, client: tools.client.clone() };
        let over = tokio::spawn(async move {
            let shipped = log.ship_until(has_ended).await;
            let told = |error: &dyn std::fmt::Display| {
                warn!(attempt = %of.attempt, %error, "a log is not whole on the server");
            };
            match shipped {
                Ok(()) => {}
                Err(Unshipped::Refused(why)) => told(&why),
                Err(Unshipped::Unread(error)) => told(&error),
            }
            let _ = tokio::fs::remove_file(&log.file).await;
        });
        Some(Self { ended, over })
    }

    /// Nothing more is written. Waits until all is there, or long enough: the rest follows.
    pub async fn end(self) {
        // Gone where it was refused.
        let _ = self.ended.send(());
        let _ = tokio::time::timeout(WAITED_FOR, self.over).await;
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
enum Unshipped {
    Refused(String),
    Unread(io::Error),
}

impl Log {
    async fn ship_until(&mut self, mut ended: oneshot::Receiver<()>) -> Result<(), Unshipped> {
        loop {
            let last = tokio::select! {
                _ = &mut ended => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            self.ship().await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Sends all that is there now.
    async fn ship(&mut self) -> Result<(), Unshipped> {
        loop {
            let bytes = self.read().await.map_err(Unshipped::Unread)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let base = match self.base {
                Some(base) => base,
                None => *self.base.insert(self.put(0, Vec::new()).await?),
            };
            // Nobody else adds to it.
            self.sent = self.put(base + self.sent, bytes).await?.saturating_sub(base);
        }
    }

    async fn put(&self, offset: u64, bytes: Vec<u8>) -> Result<u64, Unshipped> {
        let stored = self.client.put_log(self.of, offset, bytes).await;
        stored.map_err(|error| Unshipped::Refused(error.to_string()))
    }

    /// What the server has not, or the beginning of it.
    async fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = match tokio::fs::File::open(&self.file).await {
            Ok(file) => file,
            // Nothing was written yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
            Err(error) => return Err(error),
        };
        file.seek(io::SeekFrom::Start(self.sent)).await?;
        file.take(AT_ONCE).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
}
