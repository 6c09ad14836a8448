//! A server says that it is there, for whoever administers several; and finds out whether it belongs to them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tracing::warn;
use updraft_server::secrets::Keys;
use updraft_store::{Server, Store};

/// How often a server says that it is there.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// A server that says nothing for so long is taken for gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A server, as it says of itself.
pub struct Presence {
    store: Arc<dyn Store>,
    server: Server,
}

impl Presence {
    /// Says for the first time that this server is there. An error where servers that are there too have another key.
    pub async fn begin(store: Arc<dyn Store>, name: String, address: String, keys: &Keys) -> Result<Self> {
        let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let server = Server {
            name,
            address,
            version: env!("CARGO_PKG_VERSION").into(),
            hostname,
            pid: std::process::id(),
            key_id: keys.id(),
            started_at: jiff::Timestamp::now(),
        };
        // First said, then looked: of two that begin at once, one sees the other.
        store.see_server(&server).await.context("can't write that this server is there")?;
        let others = store.servers().await.context("can't read which servers are there")?;
        let there = |name: &str, silent_for| name != server.name && silent_for < GONE_AFTER;
        let stranger = others
            .iter()
            .filter(|seen| there(&seen.server.name, seen.silent_for))
            .find(|seen| !keys.has(&seen.server.key_id));
        if let Some(seen) = stranger {
            let Server { hostname, address, .. } = &seen.server;
            store.forget_server(&server.name).await.context("can't write that this server goes")?;
            bail!(
                "the server on {hostname} ({address}) has this database too, and another key: neither could read what the \
                 other encrypts. Copy the file `key` from its home folder into this server's, and start again"
            );
        }
        Ok(Self { store, server })
    }

    /// Says it again and again.
    pub async fn keep(&self) {
        let mut told = false;
        loop {
            tokio::time::sleep(SAY_EVERY).await;
            match self.store.see_server(&self.server).await {
                Ok(()) => told = false,
                Err(error) if told => drop(error),
                Err(error) => {
                    warn!(%error, "can't write that this server is there");
                    told = true;
                }
            }
        }
    }

    /// Says that it goes.
    pub async fn end(&self) {
        if let Err(error) = self.store.forget_server(&self.server.name).await {
            warn!(%error, "can't write that this server goes; it is forgotten in a day");
        }
    }
}
