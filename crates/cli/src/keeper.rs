//! The keeper: a worker on this machine, in a process of its own, so that tasks outlive the server.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{signal::unix::SignalKind, sync::watch};
use tracing::{info, warn};
use updraft_core::input::Offer;
use updraft_server::workers::Workers;
use updraft_worker::worker::{Asked, Config, Endpoint, Guarding, run};

use crate::config::Home;

/// A keeper without a server goes when it has nothing to do for so long.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// How often the server looks whether its keeper is there.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// How long who takes a lock waits for one that was killed to be gone.
const LOCK_WITHIN: Duration = Duration::from_secs(2);

/// What a keeper is told.
#[derive(clap::Args)]
pub struct Args {
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
    let mut lock = match lock(&home.keeper_lock())? {
        Some(lock) => lock,
        None => bail!("a keeper is at work for {} already", home.0.display()),
    };
    // So that a server that did not start it can stop it.
    lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).context("can't write the lock")?;
    updraft_worker::process::harden_self().context("can't protect the keeper from its tasks")?;
    let token = std::fs::read_to_string(home.worker_token())
        .with_context(|| format!("can't read {}", home.worker_token().display()))?;
    let config = Config {
        id: Workers::KEEPER.into(),
        // Each server says what it is to offer.
        offer: Offer::default(),
        endpoint: Endpoint::Unix(home.socket()),
        token,
        denied: [home.0.clone(), args.scratch.clone()].into_iter().chain(args.denied).collect(),
        logs: args.logs,
        scratch: args.scratch,
        scratch_of_others: args.scratch_of_others,
        installation: home.installation(),
        guarding: args.guard,
        readable: args.readable,
        bundles: home.bundles(),
        files: args.files,
        callback_timeout: Duration::from_secs(args.callback_timeout),
        log_limit_bytes: args.log_limit,
        alone_for: Some(ALONE_FOR),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (ask, asked) = watch::channel(Asked::ToWork);
        let mut term = tokio::signal::unix::signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            term.recv().await;
            info!("asked to stop; ending what runs");
            ask.send_replace(Asked::ToStop);
            // For as long as the worker listens.
            std::future::pending::<()>().await;
        });
        tokio::spawn(run(config, asked)).await?.context("the keeper could not go on")
    })
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

/// Asks the keeper to end what runs and to go, and waits until it has.
pub async fn stop(home: &Home) -> Result<()> {
    let path = home.keeper_lock();
    if let Some(pid) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<i32>().ok())
        && lock(&path)?.is_none()
    {
        updraft_worker::process::ask_to_end(pid).context("can't stop the keeper")?;
    }
    while lock(&path)?.is_none() {
        tokio::time::sleep(WATCH_EVERY).await;
    }
    Ok(())
}

/// Sees to it that there is always a keeper, one that was there before or a new one.
pub struct Supervisor {
    /// The home folder.
    pub home: PathBuf,
    /// The lock that a keeper holds.
    pub lock: PathBuf,
    /// The folders of DAG files, which tasks may read.
    pub readable: Vec<PathBuf>,
    /// The folder for logs.
    pub logs: PathBuf,
    /// What tasks may not see, beside the home folder.
    pub denied: Vec<PathBuf>,
    /// The folder for the folders in which tasks run.
    pub scratch: PathBuf,
    /// The folder for those of tasks that run as other users, if it is another one.
    pub scratch_of_others: Option<PathBuf>,
    /// The folder for what tasks write.
    pub files: PathBuf,
    /// Whether tasks are guarded.
    pub guarding: Guarding,
    /// Seconds that a callback may take.
    pub callback_timeout_s: u64,
    /// Bytes that are kept of a log.
    pub log_limit_bytes: u64,
}

impl Supervisor {
    /// Starts a keeper whenever none is there.
    pub async fn run(self) {
        let mut child: Option<Child> = None;
        loop {
            if let Some(ended) = child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                warn!(%ended, "the keeper has ended");
                child = None;
            }
            match (child.is_some(), lock(&self.lock)) {
                (false, Ok(Some(free))) => {
                    drop(free);
                    match self.start() {
                        Ok(started) => child = Some(started),
                        Err(error) => {
                            warn!(error = format!("{error:#}"), "can't start the keeper; trying again")
                        }
                    }
                }
                (true, _) | (false, Ok(None)) => {}
                (false, Err(error)) => warn!(error = format!("{error:#}"), "can't look for the keeper"),
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    fn start(&self) -> Result<Child> {
        use std::os::unix::process::CommandExt;
        let program = std::env::current_exe().context("can't find this program's own file")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.join("run").join("keeper.log"))
            .context("can't open the keeper's log")?;
        let mut command = std::process::Command::new(program);
        command.arg("--home").arg(&self.home).arg("keeper");
        for folder in &self.readable {
            command.arg("--readable").arg(folder);
        }
        for path in &self.denied {
            command.arg("--denied").arg(path);
        }
        if let Some(folder) = &self.scratch_of_others {
            command.arg("--scratch-of-others").arg(folder);
        }
        command
            .arg("--logs")
            .arg(&self.logs)
            .arg("--scratch")
            .arg(&self.scratch)
            .arg("--files")
            .arg(&self.files)
            .arg("--guard")
            .arg(serde_json::to_value(self.guarding)?.as_str().unwrap_or_default())
            .args(["--callback-timeout", &self.callback_timeout_s.to_string()])
            .args(["--log-limit", &self.log_limit_bytes.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in the server's terminal is not for the keeper: it is told by the server.
            .process_group(0)
            .spawn()
            .context("can't start the keeper")
    }
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
