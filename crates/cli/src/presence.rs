//! A server says that it is there, for whoever administers several; and finds out whether it belongs to them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tracing::warn;
use updraft_server::secrets::Keys;
use updraft_store::{Server, ServerSeen, Store};

/// How often a server says that it is there.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// A server that says nothing for so long is taken for gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A server, as it says of itself.
pub struct Presence {
    store: Arc<dyn Store>,
    server: Server,
}

/// Why two servers can't both have a database.
fn conflict(this: &Server, other: &Server, keys: &Keys) -> Option<String> {
    let Server { hostname, address, key_id, .. } = other;
    if !keys.has(key_id) {
        return Some(format!(
            "the server on {hostname} ({address}) has this database too, and another key: neither could read what the \
             other encrypts. Copy the file `key` from its home folder into this server's, and start again"
        ));
    }
    (*address == this.address).then(|| {
        format!(
            "the server on {hostname} says that it is reached at {address}, as this one does: say for each where the others \
             reach it (--address, or server.address)"
        )
    })
}

impl Presence {
    /// Says for the first time that this server is there. An error where one that is there has another key, or the same name or
    /// address.
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
        let there = |seen: &ServerSeen| seen.silent_for < GONE_AFTER;
        let known = store.servers().await.context("can't read which servers are there")?;
        let same =
            |seen: &&ServerSeen| seen.server.name == server.name && seen.server.hostname != server.hostname;
        if let Some(seen) = known.iter().filter(|seen| there(seen)).find(same) {
            bail!(
                "the server on {} has the name of this one, {}: its home folder was copied. Delete the file `server-name` \
                 in this one, and start again",
                seen.server.hostname,
                server.name
            );
        }
        // First said, then looked: of two that begin at once, one sees the other.
        store.see_server(&server).await.context("can't write that this server is there")?;
        let others = store.servers().await.context("can't read which servers are there")?;
        let others = others.iter().filter(|seen| there(seen) && seen.server.name != server.name);
        if let Some(why) = others.filter_map(|seen| conflict(&server, &seen.server, keys)).next() {
            store.forget_server(&server.name).await.context("can't write that this server goes")?;
            bail!(why);
        }
        Ok(Self { store, server })
    }

    /// Waits until all servers that are there encrypt with the same key as this one: one that has not got it yet could not
    /// read what is encrypted anew.
    pub async fn all_have_this_key(&self) {
        let has_it =
            |seen: &ServerSeen| seen.silent_for >= GONE_AFTER || seen.server.key_id == self.server.key_id;
        loop {
            match self.store.servers().await {
                Ok(servers) if servers.iter().all(has_it) => return,
                Ok(_) | Err(_) => tokio::time::sleep(SAY_EVERY).await,
            }
        }
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
