//! `updraft db`: the database, with no server needed.

mod clean;

use std::{
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use updraft_store::{SqlStore, Upkeep, restore};

use crate::config::{Config, Home};

/// What can be done with the database.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Bring the schema up to this program's version.
    #[command(after_help = "Example:\n  updraft db migrate")]
    Migrate,
    /// Say which version the schema is at.
    #[command(after_help = "Example:\n  updraft db version")]
    Version,
    /// Copy the database, the key file and large values into a new folder, also while a server is at work. Logs
    /// are not among them.
    #[command(after_help = "Example:\n  updraft db backup /backups/2026-11-21")]
    Backup {
        /// The folder to make.
        to: PathBuf,
    },
    /// Put a backup in the place of the database; no server may be at work.
    #[command(after_help = "Example:\n  updraft db restore /backups/2026-11-21")]
    Restore {
        /// The folder that `backup` made.
        from: PathBuf,
    },
    /// Delete what is over since long ago: runs with their logs, and records. No server may be at work; one that
    /// is cleans by itself (UPDRAFT__RETENTION__RUNS).
    #[command(after_help = "Examples:\n  updraft db clean --older-than 30d --dry-run\n  \
                            updraft db clean --before 2026-01-01 --tables runs,audit --yes")]
    Clean(clean::Clean),
}

/// Runs a command.
pub fn main(home: PathBuf, command: Command) -> Result<()> {
    let home = Home::open(home)?;
    let config = Config::read(&home.0)?;
    let url = config.database.url.unwrap_or_else(|| home.database_url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Clean(args) => clean::clean(&home, &url, args).await?,
            Command::Migrate => {
                let store = SqlStore::open(&url).await?;
                store.migrate().await?;
                println!("the database is at schema version {}", store.schema_version().await?);
            }
            Command::Version => {
                let store = SqlStore::open(&url).await?;
                println!("{}", store.schema_version().await?);
            }
            Command::Backup { to } => {
                // With the key in it, it is for nobody else.
                let made = std::fs::DirBuilder::new().mode(0o700).create(&to);
                made.with_context(|| format!("can't make {}", to.display()))?;
                let store = SqlStore::open(&url).await?;
                store.backup(&to.join("updraft.db")).await?;
                copy_beside(&home.0, &to)?;
                println!("backed up to {}", to.display());
            }
            Command::Restore { from } => {
                let Some(path) = url.strip_prefix("sqlite://") else {
                    bail!("{url} is PostgreSQL's: restore it with pg_restore or psql");
                };
                let Some(_lock) = crate::keeper::lock(&home.server_lock())? else {
                    bail!("a server is at work for {}: stop it first", home.0.display());
                };
                restore(&from.join("updraft.db"), Path::new(path)).await?;
                copy_beside(&from, &home.0)?;
                println!("restored from {}", from.display());
            }
        }
        Ok(())
    })
}

/// Copies what the database refers to. It comes after the database: a value is written before its row is.
fn copy_beside(from: &Path, to: &Path) -> Result<()> {
    let key = from.join("key");
    if key.exists() {
        std::fs::copy(&key, to.join("key")).context("can't copy the key file")?;
    }
    copy_folder(&from.join("blobs"), &to.join("blobs")).context("can't copy large values")
}

/// Copies all that is in a folder, where there is one. What goes meanwhile was no more wanted.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    std::fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => match std::fs::copy(entry.path(), target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => drop(copied?),
            },
        }
    }
    Ok(())
}
