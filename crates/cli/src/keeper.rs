//! The keeper: a worker on this machine, in a process of its own, so that tasks outlive the server.

mod hung;
mod place;
mod supervisor;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{signal::unix::SignalKind, sync::watch};
use tracing::{info, warn};
use updraft_core::input::Offer;
use updraft_server::workers::Workers;
use updraft_worker::{
    process::Spawner,
    worker::{Asked, Config, Endpoint, Guarding, run},
};

pub use self::supervisor::Supervisor;
use self::{
    place::{Found, Place, places},
    supervisor::WATCH_EVERY,
};
use crate::config::Home;

/// A keeper without a server goes when it has nothing to do for so long.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// How long who takes a lock waits for one that was killed to be gone.
const LOCK_WITHIN: Duration = Duration::from_secs(2);

/// What a keeper is told.
#[derive(clap::Args)]
pub struct Args {
    /// The name that it joins under.
    #[arg(long)]
    name: String,
    /// What it was started with, as [`Supervisor`] writes it: one that was started otherwise is replaced.
    #[arg(long, value_name = "TEXT")]
    made_for: String,
    /// End what an earlier one of this name has left, tell of it, and go.
    #[arg(long)]
    finish: bool,
    /// What tasks may not see, beside the home folder.
    #[arg(long, value_name = "PATH")]
    denied: Vec<PathBuf>,
    /// What tasks may read although it is in the home folder: the folders of DAG files.
    #[arg(long, value_name = "DIR")]
    readable: Vec<PathBuf>,
    /// The folder for logs.
    #[arg(long, value_name = "DIR")]
    logs: PathBuf,
    /// The folder for the folders in which tasks run.
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// The folder for those of tasks that run as other users.
    #[arg(long, value_name = "DIR")]
    scratch_of_others: Option<PathBuf>,
    /// The folder for what tasks write.
    #[arg(long, value_name = "DIR")]
    files: PathBuf,
    /// Whether tasks are guarded.
    #[arg(long, value_parser = guarding)]
    guard: Guarding,
    /// Seconds that a callback may take.
    #[arg(long, value_name = "SECONDS")]
    callback_timeout: u64,
    /// Bytes that are kept of a log.
    #[arg(long, value_name = "BYTES")]
    log_limit: u64,
}

fn guarding(text: &str) -> Result<Guarding, serde_json::Error> {
    serde_json::from_value(text.into())
}

/// Runs the keeper.
pub fn main(home: &Path, args: Args) -> Result<()> {
    crate::serve::trace();
    let home = Home::open(home.to_owned())?;
    let Some(place) = Place::take(&home.keeper_lock(&args.name), &args.made_for)? else {
        bail!("a keeper is at work for {} already", home.0.display())
    };
    let place = Arc::new(place);
    updraft_worker::process::harden_self().context("can't protect the keeper from its tasks")?;
    let token = std::fs::read_to_string(home.worker_token())
        .with_context(|| format!("can't read {}", home.worker_token().display()))?;
    // What two keepers of a home have is kept apart.
    let is_first = args.name == Workers::KEEPER;
    let config = Config {
        id: args.name.as_str().into(),
        // Each server says what it is to offer.
        offer: Offer::default(),
        endpoint: Endpoint::Unix(home.socket()),
        token,
        denied: [home.0.clone(), args.scratch.clone()].into_iter().chain(args.denied).collect(),
        logs: args.logs,
        scratch: if is_first { args.scratch } else { args.scratch.join(&args.name) },
        scratch_of_others: args
            .scratch_of_others
            .map(|folder| if is_first { folder } else { beside(&folder, &args.name) }),
        installation: if is_first {
            home.installation()
        } else {
            format!("{}-{}", home.installation(), args.name)
        },
        guarding: args.guard,
        readable: args.readable,
        bundles: home.bundles(),
        files: args.files,
        callback_timeout: Duration::from_secs(args.callback_timeout),
        log_limit_bytes: args.log_limit,
        alone_for: Some(ALONE_FOR),
    };
    home.check_sockets(&[Spawner::api_socket_in(&config.scratch)])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (ask, asked) = watch::channel(if args.finish { Asked::ToFinish } else { Asked::ToWork });
        let mut term = tokio::signal::unix::signal(SignalKind::terminate())?;
        let mut finish = tokio::signal::unix::signal(SignalKind::user_defined1())?;
        if args.finish {
            place.finish()?;
        }
        let place = place.clone();
        tokio::spawn(async move {
            loop {
                let what = tokio::select! {
                    _ = term.recv() => Asked::ToStop,
                    _ = finish.recv() => Asked::ToFinish,
                };
                info!(?what, "asked to go");
                ask.send_modify(|asked| *asked = (*asked).max(what));
                // Another server may be started as the one was that this keeper was made for.
                if what == Asked::ToFinish
                    && let Err(error) = place.finish()
                {
                    warn!(error = format!("{error:#}"), "nobody may see that this keeper takes nothing new");
                }
            }
        });
        tokio::spawn(run(config, asked)).await?.context("the keeper could not go on")
    })?;
    place.leave()
}

/// A folder that is called as another and as a keeper.
fn beside(folder: &Path, name: &str) -> PathBuf {
    let mut called = folder.as_os_str().to_owned();
    called.push("-");
    called.push(name);
    called.into()
}

/// Takes a lock for as long as the file is open; `None` where another has it. The kernel gives it back when
/// its holder is gone, however it went.
pub fn lock(path: &Path) -> Result<Option<File>> {
    let doing = || format!("can't lock {}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(path).with_context(doing)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(doing),
    }
}

/// Takes a lock, also one that is free in a moment: what was killed has it until the kernel has taken it down.
pub fn lock_soon(path: &Path, mut wait: impl FnMut()) -> Result<Option<File>> {
    let until = Instant::now() + LOCK_WITHIN;
    loop {
        let taken = lock(path)?;
        if taken.is_some() || Instant::now() >= until {
            return Ok(taken);
        }
        wait();
    }
}

/// Asks the keepers to end what runs and to go, and waits until they have.
pub async fn stop(home: &Home) -> Result<()> {
    for (_, found) in places(home)? {
        if let Found::Held { pid: Some(pid), .. } = found {
            updraft_worker::process::ask_to_end(pid).context("can't stop the keeper")?;
        }
    }
    while places(home)?.iter().any(|(_, found)| matches!(found, Found::Held { .. })) {
        tokio::time::sleep(WATCH_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_free_in_a_moment_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut held = lock(&path).unwrap();
        assert!(held.is_some() && lock(&path).unwrap().is_none());
        assert!(lock_soon(&path, || drop(held.take())).unwrap().is_some());
    }
}
