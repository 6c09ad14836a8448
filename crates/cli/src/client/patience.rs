//! A server that is away for a moment, as when it is started anew, and what is asked of it all the same.

use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Response;

use super::{Client, Query};
use crate::failure::Failure;

/// A server that is being started anew is back within this.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Asks again while the server is away: what runs goes on, and an upgrade should not end who waits for it.
pub async fn patiently<T>(ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let mut away_since = None;
    loop {
        match ask().await {
            Err(error) if Failure::is_away(&error) => {
                let since: Instant = *away_since.get_or_insert_with(|| {
                    eprintln!("{error}; waiting for it to come back");
                    Instant::now()
                });
                if since.elapsed() > BACK_WITHIN {
                    return Err(error);
                }
                tokio::time::sleep(TRY_EVERY).await;
            }
            answer => return answer,
        }
    }
}

/// An answer that comes bit by bit, and goes on where it was where the server breaks off: what was said up to then
/// is the beginning of what is said when it is asked again.
pub struct Followed<'a> {
    client: &'a Client,
    path: &'a [&'a str],
    query: Query<'a>,
    accept: &'a str,
    response: Response,
    /// How many bytes were given.
    given: u64,
    /// How many of these are still to come again.
    again: u64,
    /// Since when nothing new has come, where the server broke off.
    broken_since: Option<Instant>,
}

impl<'a> Followed<'a> {
    /// Asks for the first time.
    pub async fn new(
        client: &'a Client,
        path: &'a [&'a str],
        query: Query<'a>,
        accept: &'a str,
    ) -> Result<Self> {
        let response = client.follow(path, query, accept).await?;
        Ok(Self { client, path, query, accept, response, given: 0, again: 0, broken_since: None })
    }

    /// What comes next; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.response.chunk().await {
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) => {
                    let known = bytes.len().min(usize::try_from(self.again).unwrap_or(usize::MAX));
                    self.again -= known as u64;
                    if let [_, ..] = &bytes[known..] {
                        self.given += (bytes.len() - known) as u64;
                        self.broken_since = None;
                        return Ok(Some(bytes[known..].to_vec()));
                    }
                }
                Err(error) => self.ask_again(&error).await?,
            }
        }
    }

    async fn ask_again(&mut self, error: &reqwest::Error) -> Result<()> {
        let server = self.client.server();
        let since = *self.broken_since.get_or_insert_with(|| {
            eprintln!("{server} broke off; asking it for the rest");
            Instant::now()
        });
        if since.elapsed() > BACK_WITHIN {
            let message =
                format!("{server} breaks off again and again ({error}): look into what it says itself");
            return Err(Failure::away(message).into());
        }
        tokio::time::sleep(TRY_EVERY).await;
        let ask = async || self.client.follow(self.path, self.query, self.accept).await;
        self.response = patiently(ask).await?;
        self.again = self.given;
        Ok(())
    }
}
