//! A session with a server, which is closed when nobody holds it any more.

use std::{future::Future, time::Duration};

use suppaftp::{
    FtpError, FtpResult, Mode,
    tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream},
    tokio_rustls::TlsConnector,
    types::FileType,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::server::{Fault, Server};
use crate::operators::transfer::folders_of;

/// So much is kept of a file that is moved, in bytes.
const CHUNK: usize = 64 * 1024;

/// How long a server may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a server answers where something is not there, or may not be done (RFC 959).
const NOT_THERE: u32 = 550;

/// A session whose account is let in.
pub(super) struct Session {
    stream: Option<AsyncRustlsFtpStream>,
    /// A file there that is not whole yet. Where the session is dropped, it goes.
    half: Option<String>,
    server: Server,
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(server: &Server) -> Result<Self, Fault> {
        let connecting = timeout(server.patience, TcpStream::connect((&*server.host, server.port))).await;
        let late = || server.fault(format!("the server has not answered within {:?}", server.patience));
        let stream = connecting.map_err(|_| late())?.map_err(|error| {
            server.fault(format!("no server answers ({error}): check its host and port, and whether it runs"))
        })?;
        // Where it can't be had, small messages go a little later.
        let _ = stream.set_nodelay(true);
        let is_new = stream.peer_addr().is_ok_and(|address| address.is_ipv6());
        let mut stream =
            server.in_time("the greeting", AsyncRustlsFtpStream::connect_with_stream(stream)).await?;
        if let Some(tls) = &server.tls {
            let connector = AsyncRustlsConnector::from(TlsConnector::from(tls.clone()));
            stream =
                server.in_time("securing the session", stream.into_secure(connector, &server.host)).await?;
        }
        stream.set_mode(if is_new { Mode::ExtendedPassive } else { Mode::Passive });
        // A server must not send us to another machine.
        stream.set_passive_nat_workaround(true);
        server.in_time("logging in", stream.login(&*server.login, &*server.password)).await?;
        server.in_time("TYPE I", stream.transfer_type(FileType::Binary)).await?;
        Ok(Self { stream: Some(stream), half: None, server: server.clone() })
    }

    /// Says good-bye.
    pub(super) async fn close(mut self) {
        if let Some(mut stream) = self.stream.take() {
            // Whoever is gone hears nothing.
            let _ = timeout(FAREWELL, stream.quit()).await;
        }
    }

    fn stream(&mut self) -> Result<&mut AsyncRustlsFtpStream, Fault> {
        self.stream.as_mut().ok_or_else(|| self.server.fault("the session is over"))
    }

    /// Writes a file there, under its name once it is whole; the number of its bytes.
    pub(super) async fn put(
        &mut self,
        file: tokio::fs::File,
        half: String,
        remote: &str,
    ) -> Result<u64, Fault> {
        self.half = Some(half.clone());
        let put = self.put_half(file, &half, remote).await;
        if put.is_err() {
            let server = self.server.clone();
            // Where even that fails, its name says what it is.
            let _ = server.in_time("DELE", self.stream()?.rm(&half)).await;
        }
        self.half = None;
        put
    }

    async fn put_half(&mut self, mut file: tokio::fs::File, half: &str, remote: &str) -> Result<u64, Fault> {
        let server = self.server.clone();
        let what = format!("writing {remote}");
        let stream = self.stream()?;
        let mut data = server.in_time(&what, stream.put_with_stream(half)).await?;
        let (mut chunk, mut sent) = (vec![0; CHUNK], 0);
        loop {
            let read =
                file.read(&mut chunk).await.map_err(|error| format!("reading failed here: {error}"))?;
            if read == 0 {
                break;
            }
            let written = async { data.write_all(&chunk[..read]).await.map_err(FtpError::ConnectionError) };
            server.in_time(&what, written).await?;
            sent += read as u64;
        }
        server.in_time(&what, data.finish()).await?;
        // Not every server can tell.
        if let Ok(Ok(there)) = timeout(server.patience, stream.size(half)).await
            && there as u64 != sent
        {
            return Err(server.fault(format!("{sent} bytes were sent for {remote}, and {there} are there")));
        }
        self.replace(half, remote).await?;
        Ok(sent)
    }

    /// Puts a file into the place of another. Where the server renames only to where nothing is, the old one goes
    /// first, and for a moment there is neither.
    async fn replace(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        let server = self.server.clone();
        let what = format!("renaming to {to}");
        let stream = self.stream()?;
        let Err(fault) = server.in_time(&what, stream.rename(from, to)).await else { return Ok(()) };
        if fault.code.is_none() || server.in_time(&what, stream.rm(to)).await.is_err() {
            return Err(fault);
        }
        server.in_time(&what, stream.rename(from, to)).await
    }

    /// Reads a file there; the number of its bytes.
    pub(super) async fn get(&mut self, remote: &str, file: &mut tokio::fs::File) -> Result<u64, Fault> {
        let server = self.server.clone();
        let what = format!("reading {remote}");
        let mut data = server.in_time(&what, self.stream()?.retr_as_stream(remote)).await?;
        let (mut chunk, mut got) = (vec![0; CHUNK], 0);
        loop {
            let reading = async { data.read(&mut chunk).await.map_err(FtpError::ConnectionError) };
            let read = server.in_time(&what, reading).await?;
            if read == 0 {
                break;
            }
            file.write_all(&chunk[..read]).await.map_err(|error| format!("writing failed here: {error}"))?;
            got += read as u64;
        }
        server.in_time(&what, data.finish()).await?;
        Ok(got)
    }

    pub(super) async fn delete(&mut self, remote: &str) -> Result<(), Fault> {
        let server = self.server.clone();
        server.in_time(&format!("deleting {remote}"), self.stream()?.rm(remote)).await
    }

    /// Makes the folders that a file is below. Whether they are there, writing it tells: not every server can say.
    pub(super) async fn make_folders_of(&mut self, remote: &str) -> Result<(), Fault> {
        let server = self.server.clone();
        for folder in folders_of(remote) {
            match server.in_time(&format!("making the folder {folder}"), self.stream()?.mkdir(folder)).await {
                Err(fault) if fault.code.is_none() => return Err(fault),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a file is there: whether the server knows when it was changed.
    pub(super) async fn has(&mut self, remote: &str) -> Result<bool, Fault> {
        let server = self.server.clone();
        match server.in_time(&format!("looking at {remote}"), self.stream()?.mdtm(remote)).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.code == Some(NOT_THERE) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

impl Server {
    /// Waits for what the server does, for as long as it may take.
    async fn in_time<T>(&self, what: &str, done: impl Future<Output = FtpResult<T>>) -> Result<T, Fault> {
        match timeout(self.patience, done).await {
            Ok(done) => done.map_err(|error| self.failed(what, error)),
            Err(_) => Err(self.fault(format!(
                "{what} failed: the server has not answered within {:?} (`timeout` in the connection's extra)",
                self.patience
            ))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(stream), Ok(runtime)) = (self.stream.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(leave(stream, self.half.take()));
        }
    }
}

/// Deletes what is not whole, and says good-bye.
async fn leave(mut stream: AsyncRustlsFtpStream, half: Option<String>) {
    let leaving = async {
        if let Some(half) = half {
            stream.rm(half).await?;
        }
        stream.quit().await
    };
    // Whoever is gone hears nothing.
    let _ = timeout(FAREWELL, leaving).await;
}
