//! A server within this process, for one run: its state is in memory, its worker beside it, and nothing of it is
//! left. Connections and variables are those of the home folder's database and of the environment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use updraft_core::{
    DagKey, DagSpec, QueueName, RunKey,
    input::{Command, CommandError, Offer, Reply, Trigger},
    record::PoolRow,
};
use updraft_server::{
    accounts::Accounts,
    authoring,
    blobs::Blobs,
    deliveries::Caller,
    deployments::Deployments,
    http::{self, Metrics},
    leader::{self, Handle, Leader, Refusal, Surroundings},
    leadership::{Candidate, Lead},
    logs::LogFolder,
    secrets::{Environment, Keys, Secrets},
    workers::Workers,
};
use updraft_store::{MemoryStore, SqlStore, Store, Upkeep as _};
use updraft_worker::{
    process::Spawner,
    worker::{self, Asked, Endpoint},
};

use crate::{
    config::{Config, Home, random_file},
    failure::{Exit, Failure},
    keeper::lock,
    serve::{LEASE_ALONE, expect_key, listen_for_workers},
};

/// Under this name the audit log would have what it does.
const BY: &str = "trial";

/// What this process's trial keeps in the home folder begins so.
const PREFIX: &str = "trial-";

/// A server within this process.
pub struct Trial {
    pub store: Arc<dyn Store>,
    pub logs: Arc<LogFolder>,
    leader: Handle,
    ask: watch::Sender<Asked>,
    worker: JoinHandle<Result<(), worker::Error>>,
    // Removed last, when nothing is at work in it any more.
    _folder: Folder,
}

impl Trial {
    /// Begins one. Its tasks may read the folder of DAG files, and serve these queues.
    pub async fn begin(home: &Home, config: &Config, dags: &Path, queues: Vec<QueueName>) -> Result<Self> {
        updraft_worker::process::harden_self().context("can't protect this process from its tasks")?;
        let folder = Folder::make(home)?;
        let inner = Home::open(folder.path.clone())?;
        home.check_sockets(&[inner.socket(), Spawner::api_socket_in(&inner.scratch())])?;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let logs = Arc::new(LogFolder::new(inner.logs()));
        let workers =
            Arc::new(Workers::with_keeper(Offer { slots: config.worker.slots, queues, ..Offer::default() }));
        let leader = lead(config.engine(), &store, &workers, &logs).await?;
        let token = random_file(&inner.worker_token(), 32)?;
        let accounts = Accounts::new(store.clone(), &Keys::of_home(&inner.0)?);
        let blobs = Arc::new(Blobs::in_folder(&inner.blobs()).context("can't use the folder of blobs")?);
        let check: Arc<authoring::Check> = Arc::new(authoring::native);
        let deployments =
            Deployments::new(inner.deployed(), store.clone(), blobs.clone(), leader.clone(), check.clone());
        let routes = http::router(http::State {
            store: store.clone(),
            leader: leader.clone(),
            lead: Lead::always_here(),
            workers,
            secrets: Arc::new(secrets(home, config, &inner).await?.with_backends(config.secrets.backends()?)),
            accounts: Arc::new(accounts),
            logs: logs.clone(),
            blobs,
            deployments: Arc::new(deployments),
            check,
            git: None,
            metrics: Arc::new(Metrics::default()),
            config: http::Config {
                worker_tokens: vec![token.clone()],
                lease: Duration::from_secs(config.server.lease_s),
                smtp: config.smtp.url.clone().map(|url| (url, Some(config.smtp.sender()))),
                ..http::Config::default()
            },
        })?;
        let socket = listen_for_workers(&inner.socket())?;
        tokio::spawn(async move { axum::serve(socket, routes).await });
        let (ask, asked) = watch::channel(Asked::ToWork);
        let worker = worker::Config {
            id: Workers::KEEPER.into(),
            offer: Offer::default(),
            endpoint: Endpoint::Unix(inner.socket()),
            token,
            logs: inner.logs(),
            scratch: inner.scratch(),
            scratch_of_others: inner.scratch_of_others(),
            installation: inner.installation(),
            guarding: config.worker.guard,
            denied: [home.0.clone()].into_iter().chain(config.kept_elsewhere()).collect(),
            readable: vec![dags.to_owned()],
            bundles: inner.bundles(),
            files: config.worker.files.clone().unwrap_or_else(|| home.files()),
            callback_timeout: Duration::from_secs(config.worker.callback_timeout_s),
            log_limit_bytes: config.worker.log_limit_bytes(),
            alone_for: None,
        };
        let worker = tokio::spawn(worker::run(worker, asked));
        Ok(Self { store, logs, leader, ask, worker, _folder: folder })
    }

    /// Puts a DAG there. Its pools have all the slots that are wanted: their limits are for what runs beside it.
    pub async fn put(&self, spec: DagSpec, source: &str) -> Result<()> {
        let namespace = spec.namespace.clone();
        for name in spec.tasks.iter().map(|task| task.pool.clone()).collect::<std::collections::BTreeSet<_>>()
        {
            let (namespace, description) = (namespace.clone(), String::new());
            let (slots, rate, next_at, include_deferred) = (None, None, None, false);
            let pool = PoolRow { namespace, name, slots, rate, next_at, description, include_deferred };
            self.command(Command::PutPool(pool)).await?;
        }
        let (spec, hash, source) = (Arc::new(spec), "trial".to_owned(), source.to_owned());
        self.command(Command::PutDag { spec, hash, source, paused: false }).await.map(drop)
    }

    /// Makes a run.
    pub async fn trigger(&self, trigger: Trigger) -> Result<RunKey> {
        match self.command(Command::Trigger(trigger)).await? {
            Reply::Run(run, _) => Ok(run),
            other => bail!("the run was answered with {other:?}; please report this"),
        }
    }

    async fn command(&self, command: Command) -> Result<Reply> {
        match self.leader.command(BY, command).await {
            Err(Refusal::Command(CommandError::NotFound(what))) => {
                Err(Failure::new(Exit::NotFound, what).into())
            }
            answer => Ok(answer?),
        }
    }

    /// Whether the worker has ended, which it does not by itself.
    pub fn has_failed(&self) -> bool {
        self.worker.is_finished()
    }

    /// Ends what runs, and everything. A task has a minute to end by itself.
    pub async fn end(mut self) -> Result<()> {
        self.ask.send_replace(Asked::ToStop);
        let ended = (&mut self.worker).await.context("the worker met a bug; please report this")?;
        self.leader.stop().await;
        ended.context("the worker could not go on")
    }
}

/// Has a loop run over a store that nobody else has.
async fn lead(
    engine: updraft_core::Config,
    store: &Arc<dyn Store>,
    workers: &Arc<Workers>,
    logs: &Arc<LogFolder>,
) -> Result<Handle> {
    let (handle, inbox) = leader::channel();
    let candidate = Candidate {
        store: store.clone(),
        name: BY.into(),
        address: String::new(),
        lease: LEASE_ALONE,
        alone: true,
        lead: watch::channel(Lead::Nobody).0,
    };
    let reign = candidate.elected().await?;
    let around = Surroundings {
        store: store.clone(),
        fence: reign.fence(),
        certain_until: reign.certain_until(),
        workers: workers.clone(),
        // Nobody is told of a trial.
        deliveries: mpsc::unbounded_channel().0,
        logs: logs.clone(),
        base_url: String::new(),
        git: None,
    };
    let leader = Leader::take_over(engine, inbox, around).await;
    let leader = leader.map_err(|(error, _)| error)?;
    // What a DAG has called about its run is called, as what its tasks have.
    let caller = Caller { store: store.clone(), workers: workers.clone(), base_url: String::new() };
    tokio::spawn(async move {
        let callbacks = tokio::spawn(caller.run());
        leader.run().await;
        callbacks.abort();
        reign.end().await;
    });
    Ok(handle)
}

/// What the home folder's database knows, where there is one that this program can read.
async fn secrets(home: &Home, config: &Config, inner: &Home) -> Result<Secrets> {
    let environment = Environment::of_process();
    let is_there = config.database.url.is_some() || home.has_database();
    if !is_there {
        let none: Arc<dyn Store> = Arc::new(MemoryStore::default());
        return Ok(Secrets::new(none, Keys::of_home(&inner.0)?, environment));
    }
    let url = config.database.url.clone().unwrap_or_else(|| home.database_url());
    let known =
        SqlStore::open(&url).await.context("can't open the database with connections and variables")?;
    known.check_schema().await.context("can't read connections and variables")?;
    expect_key(&config.key_file(home), &known).await?;
    let keys = config.keys(home)?;
    Ok(Secrets::new(Arc::new(known), keys, environment))
}

/// The key of a DAG in a trial.
pub fn key_of(spec: &DagSpec) -> DagKey {
    DagKey { namespace: spec.namespace.clone(), dag_id: spec.dag_id.clone() }
}

/// The folder of a trial, below the home folder, which no task can look into. Gone when this is dropped.
struct Folder {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: std::fs::File,
}

impl Folder {
    fn make(home: &Home) -> Result<Self> {
        remove_left(&home.run())?;
        let path = home.run().join(format!("{PREFIX}{}", std::process::id()));
        let lock_path = path.with_extension("lock");
        match lock(&lock_path)? {
            Some(lock) => Ok(Self { path, lock_path, _lock: lock }),
            None => bail!("{} is held by another process: try again", lock_path.display()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed now, the next trial removes.
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = std::fs::remove_file(&self.lock_path);
    }
}

/// Removes what trials have left that were killed.
fn remove_left(run: &Path) -> Result<()> {
    for entry in std::fs::read_dir(run).with_context(|| format!("can't look into {}", run.display()))? {
        let lock_path = entry?.path();
        let name = lock_path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(PREFIX) || !name.ends_with(".lock") {
            continue;
        }
        if let Some(_lock) = lock(&lock_path)? {
            let _ = std::fs::remove_dir_all(lock_path.with_extension(""));
            std::fs::remove_file(&lock_path)
                .with_context(|| format!("can't remove {}", lock_path.display()))?;
        }
    }
    Ok(())
}
