//! A web server that answers everything with 404 and keeps account of who asked when.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// When each path was asked for.
type Asked = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

/// The server. It lives as long as the runtime.
pub struct Counting {
    pub url: String,
    asked: Asked,
}

impl Counting {
    /// Starts it on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Asked::default();
        let taken = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, taken.clone()));
            }
        });
        Ok(Self { url, asked })
    }

    /// When each path was asked for, up to now.
    pub fn asked(&self) -> HashMap<String, Vec<Instant>> {
        // A map is whole whatever panicked while it was held.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers on one connection for as long as it lasts.
async fn serve(stream: TcpStream, asked: Asked) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let path = line.split(' ').nth(1).context("no path")?.to_owned();
        // The head's other lines; a GET has no body.
        while line.trim_end() != "" {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        line.clear();
        asked.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default().push(Instant::now());
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?;
    }
    Ok(())
}
