//! Where the server of a home folder listens: it writes that down, for whoever looks for it there.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context, Result};

use crate::config::Home;

/// Tells who looks in the home folder where its server listens, for as long as this lives.
pub struct Published(PathBuf);

impl Published {
    /// Writes it down.
    pub fn at(home: &Home, address: std::net::SocketAddr) -> Result<Self> {
        let path = Home::address_in(&home.0);
        let ip = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        let url = format!("http://{}\n", std::net::SocketAddr::new(ip, address.port()));
        // In one step: nobody reads half of it.
        let new = path.with_extension("new");
        let written = std::fs::write(&new, url).and_then(|()| std::fs::rename(&new, &path));
        written.with_context(|| format!("can't write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // What stays behind misleads nobody: who finds no server there is told so.
        let _ = std::fs::remove_file(&self.0);
    }
}
