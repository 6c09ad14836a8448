//! Files on a server, by SFTP: many requests are on their way at once, and little is kept.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use russh_sftp::{
    client::{Config, RawSftpSession, error::Error, rawsession::SftpResult},
    protocol::{FileAttributes, OpenFlags, Packet, StatusCode},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{fault::Fault, server::Server, session::Session};
use crate::operators::transfer::folders_of;

/// So much goes in one message: what every server takes, in bytes.
const CHUNK: u32 = 32 * 1024;

/// So many messages wait for their answers: 1 MiB is on its way.
const AT_ONCE: usize = 32;

/// How long the server may take for one of them, in seconds; what is slow, but goes on, keeps below it.
const PATIENCE_SECONDS: u64 = 120;

/// How OpenSSH's server calls the renaming that replaces what is there.
const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// A session of SFTP.
pub(super) struct Sftp {
    // In this order, so that the session goes before its connection.
    raw: RawSftpSession,
    session: Session,
    replaces: bool,
    flushes: bool,
    pub(super) server: Server,
}

impl Sftp {
    pub(super) async fn open(server: &Server) -> Result<Self, Fault> {
        let session = Session::open(server).await?;
        let channel = session.channel(server).await?;
        channel.request_subsystem(false, "sftp").await.map_err(|error| server.broken(error.into()))?;
        let config = Config { request_timeout_secs: server.patience.as_secs().max(1), ..Config::default() };
        let raw = RawSftpSession::new_with_config(channel.into_stream(), config);
        let version = raw.init().await.map_err(|error| {
            server.fault(format!(
                "the server moves no files ({error}): this account needs the SFTP subsystem there, and a shell that \
                 prints nothing of its own"
            ))
        })?;
        raw.set_timeout(PATIENCE_SECONDS);
        let has = |name: &str| version.extensions.contains_key(name);
        let (replaces, flushes) = (has(POSIX_RENAME), has(russh_sftp::extensions::FSYNC));
        Ok(Self { raw, session, replaces, flushes, server: server.clone() })
    }

    /// Says good-bye.
    pub(super) async fn close(self) {
        drop(self.raw);
        self.session.close().await;
    }

    /// Writes a file there; the number of its bytes. It is on the server's disk, where the server can tell.
    pub(super) async fn write(&self, remote: &str, file: tokio::fs::File) -> Result<u64, Fault> {
        let failed = |error| self.server.refused("writing", remote, error);
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let handle = self.raw.open(remote, flags, FileAttributes::empty()).await.map_err(failed)?.handle;
        let handle = &*handle;
        let chunks = stream::try_unfold((file, 0_u64), |(mut file, at)| async move {
            let mut chunk = Vec::with_capacity(CHUNK as usize);
            (&mut file).take(u64::from(CHUNK)).read_to_end(&mut chunk).await?;
            let next = at + chunk.len() as u64;
            Ok::<_, Error>((!chunk.is_empty()).then_some(((at, chunk), (file, next))))
        });
        let written = chunks
            .map_ok(|(at, chunk)| async move {
                let length = chunk.len() as u64;
                self.raw.write(handle, at, chunk).await.map(|_| length)
            })
            .try_buffer_unordered(AT_ONCE)
            .try_fold(0, |sum, length| async move { Ok(sum + length) })
            .await
            .map_err(failed)?;
        if self.flushes {
            self.raw.fsync(handle).await.map_err(failed)?;
        }
        self.raw.close(handle).await.map_err(failed)?;
        Ok(written)
    }

    /// Reads a file there; the number of its bytes.
    pub(super) async fn read(&self, remote: &str, file: &mut tokio::fs::File) -> Result<u64, Fault> {
        let failed = |error| self.server.refused("reading", remote, error);
        let about = self.about(remote).await.map_err(failed)?;
        if about.is_dir() {
            return Err(self.server.fault(format!("{remote} is a folder: name the files in it")));
        }
        let handle =
            self.raw.open(remote, OpenFlags::READ, FileAttributes::empty()).await.map_err(failed)?.handle;
        let mut chunks = stream::iter(0_u64..)
            .map(|number| self.chunk(&handle, number * u64::from(CHUNK)))
            .buffered(AT_ONCE);
        let mut read = 0;
        while let Some(chunk) = chunks.next().await.transpose().map_err(failed)? {
            file.write_all(&chunk).await.map_err(|error| Fault(format!("writing failed here: {error}")))?;
            read += chunk.len() as u64;
            if chunk.len() < CHUNK as usize {
                break;
            }
        }
        drop(chunks);
        self.raw.close(&*handle).await.map_err(failed)?;
        Ok(read)
    }

    /// What is in a file from there on: so many bytes, or those up to its end.
    async fn chunk(&self, handle: &str, at: u64) -> SftpResult<Vec<u8>> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK as usize {
            let left = CHUNK - chunk.len() as u32;
            match self.raw.read(handle, at + chunk.len() as u64, left).await {
                Ok(more) if more.data.is_empty() => break,
                Ok(more) if chunk.is_empty() => chunk = more.data,
                Ok(more) => chunk.extend_from_slice(&more.data),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(chunk)
    }

    pub(super) async fn about(&self, remote: &str) -> SftpResult<FileAttributes> {
        Ok(self.raw.stat(remote).await?.attrs)
    }

    /// The same; nothing where there is no such file.
    pub(super) async fn about_if_any(&self, remote: &str) -> Result<Option<FileAttributes>, Fault> {
        match self.about(remote).await {
            Ok(about) => Ok(Some(about)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.server.refused("looking at", remote, error)),
        }
    }

    /// The names in a folder; none where there is no such folder.
    pub(super) async fn names(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let failed = |error| self.server.refused("listing", folder, error);
        let handle = match self.raw.opendir(folder).await {
            Ok(handle) => handle.handle,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        loop {
            match self.raw.readdir(&*handle).await {
                Ok(more) => names.extend(more.files.into_iter().map(|file| file.filename)),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(failed(error)),
            }
        }
        self.raw.close(handle).await.map_err(failed)?;
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        Ok(names)
    }

    /// Makes the folders that a file is below, where they are not there.
    pub(super) async fn make_folders_of(&self, remote: &str) -> Result<(), Fault> {
        for folder in folders_of(remote) {
            if self.about_if_any(folder).await?.is_some() {
                continue;
            }
            if let Err(error) = self.raw.mkdir(folder, FileAttributes::empty()).await
                // Somebody else may have made it meanwhile.
                && self.about_if_any(folder).await?.is_none()
            {
                return Err(self.server.refused("making the folder", folder, error));
            }
        }
        Ok(())
    }

    /// Puts a file into the place of another.
    ///
    /// A server without OpenSSH's extension renames only to where nothing is: there the old one goes first, and for a
    /// moment there is neither.
    pub(super) async fn replace(&self, from: &str, to: &str) -> Result<(), Fault> {
        let failed = |error| self.server.refused("renaming to", to, error);
        if self.replaces {
            return self.posix_rename(from, to).await.map_err(failed);
        }
        if self.raw.rename(from, to).await.is_ok() {
            return Ok(());
        }
        if self.about_if_any(to).await?.is_some_and(|about| !about.is_dir()) {
            self.raw.remove(to).await.map_err(failed)?;
        }
        self.raw.rename(from, to).await.map(drop).map_err(failed)
    }

    async fn posix_rename(&self, from: &str, to: &str) -> SftpResult<()> {
        let mut message = Vec::new();
        for path in [from, to] {
            let length = u32::try_from(path.len()).map_err(|error| Error::Limited(error.to_string()))?;
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(path.as_bytes());
        }
        match self.raw.extended(POSIX_RENAME, message).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(status.into()),
            _ => Err(Error::UnexpectedPacket),
        }
    }

    pub(super) async fn remove(&self, remote: &str) -> Result<(), Fault> {
        let removed = self.raw.remove(remote).await;
        removed.map(drop).map_err(|error| self.server.refused("deleting", remote, error))
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Status(status) if status.status_code == StatusCode::NoSuchFile)
}

/// A file there that is not whole yet. Where it is dropped, it goes.
pub(super) struct Half {
    sftp: Arc<Sftp>,
    path: Option<String>,
}

impl Half {
    pub(super) fn new(sftp: &Arc<Sftp>, path: String) -> Self {
        Self { sftp: Arc::clone(sftp), path: Some(path) }
    }

    /// It is in its place.
    pub(super) fn keep(mut self) {
        self.path = None;
    }

    /// It goes. Where even that fails, its name says what it is.
    pub(super) async fn discard(mut self) {
        if let Some(path) = self.path.take() {
            let _ = self.sftp.remove(&path).await;
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if let (Some(path), Ok(runtime)) = (self.path.take(), tokio::runtime::Handle::try_current()) {
            let sftp = Arc::clone(&self.sftp);
            runtime.spawn(async move { sftp.remove(&path).await });
        }
    }
}
