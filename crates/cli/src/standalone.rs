//! `updraft standalone`: everything on this machine.

use std::{
    convert::Infallible,
    io::IsTerminal as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc},
};
use tracing::{error, info, warn};
use updraft_core::protocol::Offer;
use updraft_operators::{alert::Sender, mail::MailServer};
use updraft_server::{
    accounts::{Accounts, ensure_admin},
    authoring,
    backfills::Backfiller,
    blobs::Blobs,
    dags::Loader,
    deliveries::{Caller, Deliverer},
    git::Mirror,
    http::{self, Metrics},
    leader::{self, Ended, Handle, Inbox, Leader, Surroundings},
    leadership::Reign,
    logs::LogFolder,
    retention::{self, Retention},
    secrets::{Environment, Keys, Secrets},
    workers::Workers,
};
use updraft_store::{Burst, SqlStore, Store, Upkeep};

use crate::{
    client::Published,
    config::{Config, Home, random_file},
    dag_files,
    keeper::{self, Supervisor, lock},
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
    /// Put a first DAG into the folder of DAG files, where it is empty.
    #[arg(long)]
    examples: bool,
}

/// Sets up what the program says about itself, on standard error.
pub fn trace() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    lines.with_ansi(coloured).init();
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
    let dags = dag_files::of(&home.0, &config)?.root;
    std::fs::create_dir_all(&dags).with_context(|| format!("can't make the folder {}", dags.display()))?;
    if args.examples {
        put_examples(&dags).context("can't put the examples into the folder of DAG files")?;
    }
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
    updraft_worker::process::harden_self().context("can't protect the server from its tasks")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(home, config))
}

/// A first DAG for who has none yet.
fn put_examples(dags: &Path) -> std::io::Result<()> {
    if std::fs::read_dir(dags)?.next().is_none() {
        std::fs::write(dags.join("hello.yaml"), include_str!("../../../examples/first/hello.yaml"))?;
    }
    Ok(())
}

async fn serve(home: Home, config: Config) -> Result<()> {
    let url = config.database.url.clone().unwrap_or_else(|| home.database_url());
    let store = SqlStore::open(&url).await.context("can't open the database")?;
    store.migrate().await.context("can't bring the database up to date")?;
    let store: Arc<dyn Store> = Arc::new(store);
    expect_key(&home, &*store).await?;
    let queues = config.worker.queues.iter().map(|queue| queue.as_str().into()).collect();
    let workers = Arc::new(Workers::with_keeper(Offer { slots: config.worker.slots, queues }));
    let (handle, inbox) = leader::channel();
    let (deliveries, to_deliver) = mpsc::unbounded_channel();
    let engine = config.engine();
    // The lock on the home folder lets one process at a time have this name; so a server that comes back
    // after a crash leads at once.
    let holder = home.server_name()?;
    let in_place = Arc::new(Notify::new());
    let logs = Arc::new(LogFolder::new(home.logs()));
    let leading = Leading {
        store: store.clone(),
        leader: handle.clone(),
        workers: workers.clone(),
        config: engine,
        holder,
        deliveries,
        logs: logs.clone(),
        in_place: in_place.clone(),
    };
    let mut leading = tokio::spawn(leading.run(inbox));

    let listener = listen(SocketAddr::new(config.server.host, config.server.port)).await?;
    let address = listener.local_addr()?;
    let mail = mail_server(&config)?;

    let socket = listen_for_workers(&home.socket())?;
    let state = state(&home, &config, store.clone(), handle.clone(), workers, logs)?;
    tokio::spawn(deliverer(&config, &state, mail, address).run(to_deliver));
    let secrets = state.secrets.clone();
    tokio::spawn(async move { secrets.rotate().await });
    if let Some(git) = state.git.clone() {
        tokio::spawn(git.run());
    }
    let retention = Retention {
        store: store.clone(),
        leader: handle.clone(),
        logs: state.logs.clone(),
        blobs: state.blobs.clone(),
        config: retention::Config { runs: config.retention.runs.0, audit: config.retention.audit.0 },
    };
    tokio::spawn(retention.run());
    let first = ensure_admin(&*store, &home.0).await.context("can't make the first account")?;
    let routes = http::router(state);
    let for_workers = routes.clone();
    // Whoever guesses passwords is slowed down by the address he comes from.
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(socket, for_workers).await });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    if let Some(password) = first {
        println!("The first account is `admin`, its password {password}");
        println!("(kept in {})", Home::admin_password_in(&home.0).display());
    }

    let (folder, paused_at_creation) = (dag_files::of(&home.0, &config)?, config.dags.paused_at_creation);
    let readable = vec![folder.root.clone(), home.checkouts()];
    tokio::spawn(Loader { folder, store: store.clone(), leader: handle.clone(), paused_at_creation }.run());
    let supervisor = Supervisor {
        home: home.0.clone(),
        lock: home.keeper_lock(),
        readable,
        scratch: config.worker.scratch.clone().unwrap_or_else(|| home.scratch()),
        scratch_of_others: if config.worker.scratch.is_none() { home.scratch_of_others() } else { None },
        files: config.worker.files.clone().unwrap_or_else(|| home.files()),
        guarding: config.worker.guard,
        callback_timeout_s: config.worker.callback_timeout_s,
        log_limit_bytes: config.worker.log_limit_bytes(),
    };
    let supervising = tokio::spawn(supervisor.run());
    let serving = async {
        in_place.notified().await;
        let _published = Published::at(&home, address)?;
        info!(%address, home = %home.0.display(), "ready");
        println!("Updraft is at http://{address}; from another terminal: updraft dags list");
        tell_systemd("READY=1");
        std::future::pending::<Result<Infallible>>().await
    };
    // A server that does not schedule any more ends, so that whoever watches over it starts it anew.
    let (asked, failed) = tokio::select! {
        asked = until_asked_to_stop() => (asked?, None),
        ended = &mut leading => (Asked::ToStopTheServer, Some(why(ended))),
        never = serving => match never? {},
    };
    tell_systemd("STOPPING=1");
    supervising.abort();
    if let Some(failed) = failed {
        error!(error = format!("{failed:#}"), "stopping: nothing is scheduled any more; tasks go on");
        return Err(failed);
    }
    end(&home, asked).await?;
    handle.stop().await;
    match leading.await {
        Ok(Ok(())) => Ok(()),
        ended => Err(why(ended)),
    }
}

/// Who sends what is in the outbox.
fn deliverer(
    config: &Config,
    state: &http::State,
    mail: Option<(MailServer, String)>,
    address: SocketAddr,
) -> Deliverer {
    let base_url = config.server.base_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    Deliverer {
        store: state.store.clone(),
        secrets: state.secrets.clone(),
        sender: Sender::default(),
        mail,
        base_url: base_url.unwrap_or_else(|| format!("http://{address}")),
        burst: config.alerts.digest.0.map(|within| Burst { singly: config.alerts.singly, within }),
    }
}

/// Refuses to make a new key where secrets are in the database that only the old one opens.
pub async fn expect_key(home: &Home, store: &dyn Store) -> Result<()> {
    let key = home.0.join("key");
    let gone = !key.try_exists().with_context(|| format!("can't look for {}", key.display()))?;
    if gone && !store.secrets(None, 1).await.context("can't read the secrets")?.is_empty() {
        let key = key.display();
        bail!(
            "the key file {key} is gone, and the database has secrets that nothing else opens. Put it back: a \
             backup has it. To go on without these secrets make a new one, and set them anew: \
             (umask 077; head -c 32 /dev/urandom | base64 > {key})"
        );
    }
    Ok(())
}

/// Ends what is to end with the server.
async fn end(home: &Home, asked: Asked) -> Result<()> {
    match asked {
        Asked::ToStopTheServer => info!("stopping; tasks go on, and the next server finds them"),
        Asked::ToStopEverything => {
            info!(
                "stopping, and ending what runs: a task has a minute to end by itself. Ctrl-C again to leave \
                 at once; the keeper goes on ending them"
            );
            tokio::select! {
                stopped = keeper::stop(home) => stopped?,
                again = until_asked_to_stop() => again.map(|_| ())?,
            }
        }
    }
    Ok(())
}

/// Why the loop ended without being asked to.
fn why(ended: Result<Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => anyhow::anyhow!("the loop ended, and nobody had asked it to; please report this"),
        Err(error) => anyhow::Error::new(error).context("the loop met a bug; please report this"),
    }
}

/// Tells systemd where the server stands, where it was started by it (`sd_notify(3)`).
fn tell_systemd(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told =
        std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), path));
    if let Err(error) = told {
        warn!(%error, "could not tell systemd");
    }
}

/// What it takes to lead.
struct Leading {
    store: Arc<dyn Store>,
    leader: Handle,
    workers: Arc<Workers>,
    config: updraft_core::Config,
    holder: String,
    deliveries: mpsc::UnboundedSender<updraft_core::DeliveryId>,
    logs: Arc<LogFolder>,
    /// Told when this server leads or stands by.
    in_place: Arc<Notify>,
}

impl Leading {
    /// Leads whenever that is possible, until asked to stop.
    async fn run(self, mut inbox: Inbox) -> Result<()> {
        loop {
            let reign = Reign::begin(self.store.clone(), &self.holder, "", &self.in_place).await;
            let reign = reign.context("can't become the leader")?;
            let around = Surroundings {
                store: self.store.clone(),
                fence: reign.fence(),
                certain_until: reign.certain_until(),
                workers: self.workers.clone(),
                deliveries: self.deliveries.clone(),
                logs: self.logs.clone(),
            };
            let ended = match Leader::take_over(self.config.clone(), inbox, around).await {
                Ok(leader) => {
                    self.in_place.notify_one();
                    let backfiller = Backfiller { store: self.store.clone(), leader: self.leader.clone() };
                    let backfills = tokio::spawn(backfiller.run());
                    let caller = Caller { store: self.store.clone(), workers: self.workers.clone() };
                    let callbacks = tokio::spawn(caller.run());
                    let (ended, given_back) = leader.run().await;
                    backfills.abort();
                    callbacks.abort();
                    inbox = given_back;
                    ended
                }
                Err((error, given_back)) => {
                    warn!(%error, "can't read the state; trying again");
                    inbox = given_back;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    Ended::Fenced
                }
            };
            reign.end().await;
            if matches!(ended, Ended::Stopped) {
                return Ok(());
            }
            warn!("no longer the leader; trying to become it again");
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen at {address}; is another server at work there? Try --port"))
}

fn mail_server(config: &Config) -> Result<Option<(MailServer, String)>> {
    let Some(url) = &config.smtp.url else { return Ok(None) };
    let server = MailServer::from_url(url).context("UPDRAFT__SMTP__URL")?;
    let from = config.smtp.from.clone().unwrap_or_else(|| "updraft@localhost".into());
    Ok(Some((server, from)))
}

/// What the API works with.
fn state(
    home: &Home,
    config: &Config,
    store: Arc<dyn Store>,
    leader: Handle,
    workers: Arc<Workers>,
    logs: Arc<LogFolder>,
) -> Result<http::State> {
    let git = dag_files::repository(&home.0, config)?;
    let git = git.map(|settings| Mirror::new(settings, store.clone(), leader.clone())).transpose()?;
    if Keys::tighten(&home.0) {
        warn!(
            key = %home.0.join("key").display(),
            "others could read the key file, and can no more. If somebody may have read it, put a new key in as its \
             first line, start the server again, which encrypts all secrets anew, and delete the old line"
        );
    }
    let keys = Keys::of_home(&home.0).context("can't read or make the key file")?;
    let accounts = Accounts::new(store.clone(), &keys);
    let secrets = Secrets::new(store.clone(), keys, Environment::of_process());
    let secrets = secrets.with_backends(config.secrets.backends()?);
    Ok(http::State {
        store,
        leader,
        workers,
        secrets: Arc::new(secrets),
        accounts: Arc::new(accounts),
        logs,
        blobs: Arc::new(Blobs::in_folder(&home.blobs()).context("can't use the folder of blobs")?),
        check: Arc::new(authoring::native),
        git: git.map(Arc::new),
        metrics: Arc::new(Metrics::default()),
        config: http::Config {
            hosts: config.server.hosts.clone(),
            // What workers of this machine show.
            worker_tokens: vec![random_file(&home.worker_token(), 32)?],
            lease: Duration::from_secs(config.server.lease_s),
            paused_at_creation: config.dags.paused_at_creation,
            smtp: config.smtp.url.clone().map(|url| (url, config.smtp.from.clone())),
            ..http::Config::default()
        },
    })
}

/// What a signal asks for.
enum Asked {
    /// SIGTERM, as an upgrade or a restart sends it.
    ToStopTheServer,
    /// Ctrl-C in a terminal.
    ToStopEverything,
}

async fn until_asked_to_stop() -> Result<Asked> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => Asked::ToStopTheServer,
        _ = interrupt.recv() => Asked::ToStopEverything,
    })
}

pub fn listen_for_workers(path: &Path) -> Result<UnixListener> {
    let doing = || format!("can't listen at {}", path.display());
    // What an earlier server left; this one has the lock.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(doing),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(doing)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(doing)?;
    Ok(listener)
}
