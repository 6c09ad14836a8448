//! `updraft standalone`: everything on this machine.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    config::{Config, Home},
    dag_files, serve,
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
    /// The folder with DAG files; one that is not there is told of, and waited for.
    #[arg(long, value_name = "DIR")]
    dags: Option<PathBuf>,
    /// How many tasks run at once.
    #[arg(long)]
    slots: Option<u32>,
    /// Put a first DAG into the folder of DAG files, where it is empty.
    #[arg(long)]
    examples: bool,
}

/// Runs the server, and sees to it that there is a keeper.
pub fn main(home: PathBuf, args: Args) -> Result<()> {
    serve::trace();
    let home = Home::open(home)?;
    let mut config = Config::read(&home.0)?;
    config.server.port = args.port.unwrap_or(config.server.port);
    config.server.host = args.host.unwrap_or(config.server.host);
    config.worker.slots = args.slots.unwrap_or(config.worker.slots);
    config.dags.folder = args.dags.or(config.dags.folder);
    if args.examples {
        put_examples(&dag_files::folder_of(&home.0, &config)?)
            .context("can't put the examples into the folder of DAG files")?;
    }
    serve::main(home, config, true)
}

/// A first DAG for who has none yet.
fn put_examples(dags: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dags)?;
    if std::fs::read_dir(dags)?.next().is_none() {
        std::fs::write(dags.join("hello.yaml"), include_str!("../../../examples/first/hello.yaml"))?;
    }
    Ok(())
}
