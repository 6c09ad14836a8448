//! Where the server of a home folder listens: it writes that down, for whoever looks for it there.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::config::{Config, Home};

/// Where a server that listens at this address is asked from this machine.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Where the server of this home folder listens as long as it is there, and by its settings otherwise: so who asks one
/// that is down is told of that one.
pub(super) fn of(home: &Path) -> (String, &'static str) {
    if let Ok(url) = std::fs::read_to_string(Home::address_in(home)) {
        return (url, "the home folder's run/address");
    }
    // Settings that can't be read are told of by whoever needs them.
    let server = Config::read(home).map(|config| config.server).unwrap_or_default();
    (url(SocketAddr::new(server.host, server.port)), "the home folder's settings")
}

/// Tells who looks in the home folder where its server listens, for as long as this lives.
pub struct Published(PathBuf);

impl Published {
    /// Writes it down.
    pub fn at(home: &Home, address: SocketAddr) -> Result<Self> {
        let path = Home::address_in(&home.0);
        let url = format!("{}\n", url(address));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_looked_for_where_it_would_listen() {
        let home = tempfile::tempdir().unwrap();
        let home = Home::open(home.path().to_owned()).unwrap();
        std::fs::write(home.0.join("updraft.toml"), "[server]\nhost = \"0.0.0.0\"\nport = 9123\n").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 4567));
        let published = Published::at(&home, address).unwrap();
        assert_eq!(of(&home.0).0.trim(), "http://127.0.0.1:4567");
        drop(published);
        assert_eq!(of(&home.0).0, "http://127.0.0.1:9123");
    }
}
