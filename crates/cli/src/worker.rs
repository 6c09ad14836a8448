//! `updraft worker`: runs tasks for a server of another machine.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{signal::unix::SignalKind, sync::watch};
use tracing::info;
use updraft_core::{input::Offer, protocol::escape};
use updraft_server::workers::Workers;
use updraft_worker::{
    process::Spawner,
    worker::{self, Asked, Endpoint, run},
};

use crate::{
    config::{Config, Home},
    dag_files, keeper,
};

/// What a worker is told.
#[derive(clap::Args)]
pub struct Args {
    /// Where the server is: http://HOST:PORT or https://HOST. Of several servers all, with commas: any of them says who
    /// leads.
    #[arg(long, env = "UPDRAFT_SERVER", value_name = "URLS", value_delimiter = ',', required = true)]
    server: Vec<reqwest::Url>,
    /// The token to join with, as `updraft tokens create NAME --join` makes it. On a command line all users of the
    /// machine can read it: rather set it in the environment.
    #[arg(
        long,
        env = "UPDRAFT_WORKER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        required_unless_present = "token_file"
    )]
    token: Option<String>,
    /// A file with the token, as Docker and Kubernetes mount secrets.
    #[arg(long, env = "UPDRAFT_WORKER_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The name to join under, which no other worker has [default: the machine's].
    #[arg(long, env = "UPDRAFT_WORKER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// How many tasks at once [default: worker.slots, 32].
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// From which queues [default: worker.queues, default].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    queues: Vec<String>,
    /// What else it is known by, for tasks that name it (`worker_labels`); may be given several times [default:
    /// worker.labels].
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE, as in gpu=a100".into()),
    }
}

/// Runs a worker until it is told to go.
pub fn main(home: PathBuf, args: Args) -> Result<()> {
    crate::serve::trace();
    let home = Home::open(home)?;
    let config = Config::read(&home.0)?;
    if let Some(other) = args.server.iter().find(|url| !matches!(url.scheme(), "http" | "https")) {
        bail!("{other} is no address of a server: write http://HOST:PORT or https://HOST");
    }
    let token = match (args.token, &args.token_file) {
        (Some(token), _) => token,
        (None, file) => {
            let file = file.as_deref().unwrap_or(Path::new(""));
            let read = std::fs::read_to_string(file);
            read.with_context(|| format!("can't read the token to join with from {}", file.display()))?
        }
    };
    let name = match args.name {
        Some(name) => name,
        None => machine()?,
    };
    if name.is_empty() || Workers::is_keeper(&name) {
        bail!("a worker can't be called {name:?}: name it otherwise (--name)");
    }
    let own = Home::open(home.0.join("workers").join(escape(&name)))?;
    let Some(_lock) = keeper::lock(&own.keeper_lock(Workers::KEEPER))? else {
        bail!("a worker of this name is at work here: name this one otherwise (--name)");
    };
    updraft_worker::process::harden_self().context("can't protect the worker from its tasks")?;
    let scratch = config.worker.scratch.clone();
    let queues = if args.queues.is_empty() { config.worker.queues.clone() } else { args.queues };
    let labels =
        if args.labels.is_empty() { config.worker.labels.clone() } else { args.labels.into_iter().collect() };
    let servers: Vec<&str> = args.server.iter().map(reqwest::Url::as_str).collect();
    let servers = servers.join(", ");
    let config = worker::Config {
        id: name.as_str().into(),
        offer: Offer {
            slots: args.slots.unwrap_or(config.worker.slots),
            queues: queues.into_iter().map(Into::into).collect(),
            labels,
            draining: false,
        },
        endpoint: Endpoint::Network(args.server),
        token: token.trim().to_owned(),
        logs: own.logs(),
        scratch_of_others: if scratch.is_none() { own.scratch_of_others() } else { None },
        scratch: scratch.unwrap_or_else(|| own.scratch()),
        installation: own.installation(),
        guarding: config.worker.guard,
        denied: [home.0.clone()].into_iter().chain(args.token_file).chain(config.kept_elsewhere()).collect(),
        readable: vec![dag_files::folder_of(&home.0, &config)?],
        bundles: own.bundles(),
        files: config.worker.files.clone().unwrap_or_else(|| home.files()),
        callback_timeout: Duration::from_secs(config.worker.callback_timeout_s),
        log_limit_bytes: config.worker.log_limit_bytes(),
        alone_for: None,
    };
    home.check_sockets(&[Spawner::api_socket_in(&config.scratch)])?;
    // One is enough for few tasks, and wakes no other.
    let threads = if config.offer.slots <= 16 { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let (ask, asked) = watch::channel(Asked::ToWork);
        let mut term = tokio::signal::unix::signal(SignalKind::terminate())?;
        let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            for more in [Asked::ToFinish, Asked::ToStop] {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = interrupt.recv() => {}
                }
                match more {
                    Asked::ToStop => info!("asked again to stop: ending what runs"),
                    _ => info!("asked to stop: going when what runs is over; once more ends it"),
                }
                ask.send_replace(more);
            }
            // For as long as the worker listens.
            std::future::pending::<()>().await;
        });
        info!(servers, worker = %config.id, slots = config.offer.slots, "joining");
        tokio::spawn(run(config, asked)).await?.context("the worker could not go on")
    })
}

fn machine() -> Result<String> {
    let name = nix::unistd::gethostname().context("this machine has no name: name the worker (--name)")?;
    Ok(name.to_string_lossy().into_owned())
}
