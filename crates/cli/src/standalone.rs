//! `updraft standalone`: everything on this machine.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
};
use tracing::{info, warn};
use updraft_server::{
    leader::{self, Leader, Surroundings},
    workers::Workers,
};
use updraft_store::{Fence, Store};

use crate::{
    config::{Config, Home},
    keeper::{Supervisor, lock},
};

/// What `standalone` is told.
#[derive(clap::Args)]
pub struct Args {
    /// The port to listen at; 0 for any that is free.
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen at.
    #[arg(long)]
    host: Option<IpAddr>,
    /// The folder with DAG files.
    #[arg(long, value_name = "DIR")]
    dags: Option<PathBuf>,
    /// How many tasks run at once.
    #[arg(long)]
    slots: Option<u32>,
}

/// Sets up what the program says about itself, on standard error.
pub fn trace() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

/// Runs the server, and sees to it that there is a keeper.
pub fn main(home: PathBuf, args: Args) -> Result<()> {
    trace();
    let home = Home::open(home)?;
    let mut config = Config::read(&home.0)?;
    config.server.port = args.port.unwrap_or(config.server.port);
    config.server.host = args.host.unwrap_or(config.server.host);
    config.worker.slots = args.slots.unwrap_or(config.worker.slots);
    config.dags.folder = args.dags.or(config.dags.folder);
    if !config.server.host.is_loopback() && !config.server.allow_insecure {
        bail!(
            "{} is reachable from other machines, and passwords would travel unencrypted: put a proxy with TLS \
             before it and set UPDRAFT__SERVER__ALLOW_INSECURE=true, or leave out --host",
            config.server.host
        );
    }
    let Some(_lock) = lock(&home.server_lock())? else {
        bail!("a server is at work for {} already", home.0.display());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(home, config))
}
