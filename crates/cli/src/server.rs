//! `updraft server`: a server whose tasks run on workers elsewhere, alone or beside others on one PostgreSQL.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Result;

use crate::{
    config::{Config, Home},
    serve,
};

/// What a server is told.
#[derive(clap::Args)]
pub struct Args {
    /// The port to listen at; 0 for any that is free.
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen at.
    #[arg(long)]
    host: Option<IpAddr>,
    /// Where other servers and workers reach this one: http://HOST:PORT or https://HOST [default: where it listens].
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The folder with DAG files.
    #[arg(long, value_name = "DIR")]
    dags: Option<PathBuf>,
    /// No other server has this database: logs and large values may stay in the home folder.
    #[arg(long)]
    alone: bool,
}

/// Runs a server without a keeper.
pub fn main(home: PathBuf, args: Args) -> Result<()> {
    serve::trace();
    let home = Home::open(home)?;
    let mut config = Config::read(&home.0)?;
    config.server.port = args.port.unwrap_or(config.server.port);
    config.server.host = args.host.unwrap_or(config.server.host);
    config.server.address = args.address.or(config.server.address);
    config.server.alone |= args.alone;
    config.dags.folder = args.dags.or(config.dags.folder);
    serve::main(home, config, false)
}
