//! A server at work, with a keeper or without: what `standalone` and `server` start.

mod database;

use std::{
    convert::Infallible,
    io::IsTerminal as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    serve::{Listener as _, ListenerExt as _},
};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};
use tracing::{error, info, warn};
use updraft_core::input::Offer;
use updraft_operators::{alert::Sender, mail::MailServer};
use updraft_server::{
    accounts::{Accounts, ensure_admin},
    authoring::{self, Folder},
    backfills::Backfiller,
    blobs::Blobs,
    deliveries::{Caller, Deliverer},
    deployments::Deployments,
    git::{self, Mirror},
    http::{self, Metrics},
    leader::{self, Ended, Handle, Inbox, Leader, Surroundings},
    leadership::{Candidate, Lead},
    logs::Logs,
    retention::{self, Retention},
    secrets::{Environment, Keys, Secrets},
    workers::Workers,
};
use updraft_store::{Burst, Store, Upkeep};

use crate::{
    client::Published,
    config::{Config, Home, Kept, logs_in, random_file},
    dag_files,
    keeper::{self, Supervisor, lock_soon},
    presence::Presence,
    tls::TlsListener,
};

/// A leader beside which there is no other server is not replaced: it need not say often that it is there.
pub const LEASE_ALONE: Duration = Duration::from_secs(10);

/// A leader that is not heard of for so long is replaced by another server.
const LEASE: Duration = Duration::from_secs(3);

/// Sets up what the program says about itself, on standard error.
pub fn trace() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    lines.with_ansi(coloured).init();
}

/// Runs a server until it is asked to stop; with a keeper, where tasks are to run on this machine.
pub fn main(home: Home, config: Config, with_keeper: bool) -> Result<()> {
    let scratch = config.worker.scratch.clone().unwrap_or_else(|| home.scratch());
    home.check_sockets(&[home.socket()])?;
    if with_keeper {
        home.check_sockets(&[updraft_worker::process::Spawner::api_socket_in(&scratch)])?;
    }
    if !home.has_served() {
        // At the first start alone: a folder that was there and is not, an empty one must not stand in for.
        let dags = Home::dags_in(&home.0);
        std::fs::create_dir_all(&dags)
            .with_context(|| format!("can't make the folder {}", dags.display()))?;
    }
    if !config.server.host.is_loopback() && !config.server.allow_insecure {
        bail!(
            "{} is reachable from other machines, and passwords would travel unencrypted: leave out --host, and listen \
             there with TLS (UPDRAFT__SERVER__TLS_LISTEN), or put a proxy with TLS before it and set \
             UPDRAFT__SERVER__ALLOW_INSECURE=true",
            config.server.host
        );
    }
    let Some(_lock) = lock_soon(&home.server_lock(), || std::thread::sleep(Duration::from_millis(20)))?
    else {
        bail!(
            "a server is at work for {} already: stop it, or name another folder (--home)",
            home.0.display()
        );
    };
    updraft_worker::process::harden_self().context("can't protect the server from its tasks")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(home, config, with_keeper))
}

async fn serve(home: Home, config: Config, with_keeper: bool) -> Result<()> {
    let url = config.database.url.clone().unwrap_or_else(|| home.database_url());
    let alone = with_keeper || config.server.alone || !url.starts_with("postgres");
    let store = open(&url, &home, &config, alone).await?;
    // The lock on the home folder lets one process at a time have this name; so a server that comes back
    // after a crash leads at once.
    let name = home.server_name()?;
    let kept = config.kept(&home)?;
    kept.prepare(&name).await?;
    let listener = listen(SocketAddr::new(config.server.host, config.server.port)).await?;
    let address = listener.local_addr()?;
    let tls = listen_with_tls(&config).await?;
    let reached_at = reached_at(&config, address, tls.as_ref())?;
    let seen_at = if tls.is_some() { reached_at.clone() } else { format!("http://{address}") };
    let mail = mail_server(&config)?;
    let socket = listen_for_workers(&home.socket())?;

    let workers = Arc::new(if with_keeper { workers_with_keeper(&config) } else { Workers::default() });
    let (handle, inbox) = leader::channel();
    let (lead, who_leads) = watch::channel(Lead::Nobody);
    let logs = kept.logs(&home, with_keeper);
    let around =
        Around { store: store.clone(), leader: handle.clone(), lead: who_leads.clone(), workers, logs };
    let state = state(&home, &config, &reached_at, &kept, around)?;
    let presence = Arc::new(
        Presence::begin(store.clone(), name.clone(), reached_at.clone(), &keys(&home, &config)?).await?,
    );
    let first = ensure_admin(&*store, &home.0).await.context("can't make the first account")?;
    if let Some(password) = first {
        println!("The first account is `admin`, its password {password}");
        println!("(kept in {})", Home::admin_password_in(&home.0).display());
    }
    let (secrets, servers) = (state.secrets.clone(), presence.clone());
    tokio::spawn(async move {
        servers.all_have_this_key().await;
        secrets.rotate().await;
    });
    if let Some(git) = state.git.clone() {
        tokio::spawn(git.run());
    }
    let folder = dag_files::of(&home.0, &config)?;
    let readable = vec![dag_files::folder_of(&home.0, &config)?, home.checkouts()];
    let lease = if alone { LEASE_ALONE } else { LEASE };
    let leading = Leading {
        candidate: Candidate { store: store.clone(), name, address: reached_at, lease, alone, lead },
        leader: handle.clone(),
        workers: state.workers.clone(),
        config: config.engine(),
        deliverer: deliverer(&config, &state, mail, seen_at),
        logs: state.logs.clone(),
        blobs: state.blobs.clone(),
        deployments: state.deployments.clone(),
        folder,
        git: state.git.as_ref().map(|git| git.present()),
        paused_at_creation: config.dags.paused_at_creation,
        retention: retention::Config { runs: config.retention.runs.0, audit: config.retention.audit.0 },
        in_place: Arc::new(Notify::new()),
    };
    let in_place = leading.in_place.clone();
    let mut leading = tokio::spawn(leading.run(inbox));

    let supervisor = match with_keeper {
        true => Some(supervisor(&home, &config, readable, state.workers.clone())?),
        false => None,
    };
    if let Some(supervisor) = &supervisor {
        supervisor.ask_others().await;
    }
    let routes = http::router(state).context("can't prepare to ask other servers")?;
    answer(routes, socket, listener, tls);
    let supervising = supervisor.map(|supervisor| tokio::spawn(supervisor.run()));
    let serving = async {
        standing(who_leads, &in_place).await;
        let _published = Published::at(&home, address)?;
        info!(%address, home = %home.0.display(), "ready");
        println!("Updraft is at http://{address}; from another terminal: {}", first_command(&home.0));
        tell_systemd("READY=1");
        presence.keep().await;
        std::future::pending::<Result<Infallible>>().await
    };
    // A server that does not schedule any more ends, so that whoever watches over it starts it anew.
    let (asked, failed) = tokio::select! {
        asked = until_asked_to_stop() => (asked?, None),
        ended = &mut leading => (Asked::ToStopTheServer, Some(why(ended))),
        never = serving => match never? {},
    };
    tell_systemd("STOPPING=1");
    if let Some(supervising) = &supervising {
        supervising.abort();
    }
    if let Some(failed) = failed {
        error!(error = format!("{failed:#}"), "stopping: nothing is scheduled any more; tasks go on");
        return Err(failed);
    }
    end(&home, asked, with_keeper).await?;
    handle.stop().await;
    presence.end().await;
    match leading.await {
        Ok(Ok(())) => Ok(()),
        ended => Err(why(ended)),
    }
}

/// Listens where others reach this server with TLS, if they do.
async fn listen_with_tls(config: &Config) -> Result<Option<TlsListener>> {
    let Some((at, files)) = config.server.tls()? else { return Ok(None) };
    let tls = TlsListener::bind(at, files).await?;
    info!(address = %tls.local_addr()?, "listens with TLS");
    Ok(Some(tls))
}

/// Answers whoever asks, until the program ends: the workers and commands of this machine, and others.
fn answer(routes: Router, socket: UnixListener, listener: TcpListener, tls: Option<TlsListener>) {
    let for_workers = routes.clone();
    // Whoever guesses passwords is slowed down by the address he comes from.
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(socket, for_workers).await });
    if let Some(tls) = tls {
        let routes = routes.clone();
        // The tap, of which nothing is wanted, tells where a connection comes from.
        tokio::spawn(async move { axum::serve(tls.tap_io(|_| {}), routes).await });
    }
    tokio::spawn(async move { axum::serve(listener, routes).await });
}

/// The database, brought up to date; an error where a server can't work with it.
async fn open(url: &str, home: &Home, config: &Config, alone: bool) -> Result<Arc<dyn Store>> {
    if !alone && config.blob.url.is_none() {
        bail!(
            "other servers may have this database, and would not find logs and large values in this one's home folder: \
             set UPDRAFT__BLOB__URL to a folder that all have (file:///mnt/updraft) or a bucket (s3://bucket/prefix), or \
             say that there are none (--alone)"
        );
    }
    let store = database::reach(url).await.context("can't open the database")?;
    store.migrate().await.context("can't bring the database up to date")?;
    let store: Arc<dyn Store> = Arc::new(store);
    expect_key(&config.key_file(home), &*store).await?;
    Ok(store)
}

/// Where other servers and workers reach a server that listens at this address, and with TLS perhaps at another.
fn reached_at(config: &Config, listens_at: SocketAddr, tls: Option<&TlsListener>) -> Result<String> {
    if let Some(address) = &config.server.address {
        return Ok(address.trim_end_matches('/').to_owned());
    }
    let (scheme, at) = match tls {
        Some(tls) => ("https", tls.local_addr()?),
        None => ("http", listens_at),
    };
    // A certificate is for a name.
    if tls.is_none() && !at.ip().is_unspecified() {
        return Ok(format!("{scheme}://{at}"));
    }
    let name = nix::unistd::gethostname().context("this machine has no name: set server.address")?;
    Ok(format!("{scheme}://{}:{}", name.to_string_lossy(), at.port()))
}

/// How whoever started this server asks it for its DAGs from another terminal.
fn first_command(home: &Path) -> String {
    let usual = std::env::home_dir().is_some_and(|user| user.join(".updraft") == *home);
    match usual || std::env::var_os("UPDRAFT_HOME").is_some() {
        true => "updraft dags list".into(),
        false => format!("updraft --home {} dags list", home.display()),
    }
}

/// Waits until this server leads, or stands by.
async fn standing(mut lead: watch::Receiver<Lead>, in_place: &Notify) {
    let stands_by = async {
        let another_leads = lead.wait_for(|lead| matches!(lead, Lead::At(_))).await.is_ok();
        if !another_leads {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = in_place.notified() => {}
        () = stands_by => {}
    }
}

/// The connections of workers, of which one is the keeper's.
fn workers_with_keeper(config: &Config) -> Workers {
    let slots = config.worker.slots;
    if slots == 0 {
        warn!("worker.slots is 0: on this machine no task runs");
    }
    let queues = config.worker.queues.iter().map(|queue| queue.as_str().into()).collect();
    Workers::with_keeper(Offer { slots, queues, labels: config.worker.labels.clone(), draining: false })
}

/// Who sees to it that there is a keeper.
fn supervisor(
    home: &Home,
    config: &Config,
    readable: Vec<PathBuf>,
    workers: Arc<Workers>,
) -> Result<Supervisor> {
    Ok(Supervisor {
        home: home.clone(),
        workers,
        lease: Duration::from_secs(config.server.lease_s),
        readable,
        logs: logs_in(&config.blob.folder().unwrap_or_else(|| home.0.clone())),
        denied: config.kept_elsewhere(),
        scratch: config.worker.scratch.clone().unwrap_or_else(|| home.scratch()),
        scratch_of_others: if config.worker.scratch.is_none() { home.scratch_of_others() } else { None },
        files: config.worker.files.clone().unwrap_or_else(|| home.files()),
        guarding: config.worker.guard,
        callback_timeout_s: config.worker.callback_timeout_s,
        log_limit_bytes: config.worker.log_limit_bytes(),
    })
}

/// Who sends what is in the outbox.
fn deliverer(
    config: &Config,
    state: &http::State,
    mail: Option<(MailServer, String)>,
    seen_at: String,
) -> Deliverer {
    let base_url = config.server.base_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    Deliverer {
        store: state.store.clone(),
        secrets: state.secrets.clone(),
        sender: Arc::new(Sender::default()),
        mail,
        base_url: base_url.unwrap_or(seen_at),
        burst: config.alerts.digest.0.map(|within| Burst { singly: config.alerts.singly, within }),
    }
}

/// Refuses to make a new key where secrets are in the database that only the old one opens.
pub async fn expect_key(key: &Path, store: &dyn Store) -> Result<()> {
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
async fn end(home: &Home, asked: Asked, with_keeper: bool) -> Result<()> {
    match asked {
        Asked::ToStopEverything if !with_keeper => info!("stopping; tasks go on"),
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
    candidate: Candidate,
    leader: Handle,
    workers: Arc<Workers>,
    config: updraft_core::Config,
    deliverer: Deliverer,
    logs: Arc<dyn Logs>,
    blobs: Arc<Blobs>,
    deployments: Arc<Deployments>,
    folder: Folder,
    git: Option<git::Present>,
    paused_at_creation: bool,
    retention: retention::Config,
    /// Told when this server leads.
    in_place: Arc<Notify>,
}

impl Leading {
    /// Leads whenever that is possible, until asked to stop.
    async fn run(self, mut inbox: Inbox) -> Result<()> {
        loop {
            let reign = tokio::select! {
                reign = self.candidate.elected() => reign.context("can't become the leader")?,
                () = inbox.refuse() => return Ok(()),
            };
            let (deliveries, to_deliver) = mpsc::unbounded_channel();
            let around = Surroundings {
                store: self.candidate.store.clone(),
                fence: reign.fence(),
                certain_until: reign.certain_until(),
                workers: self.workers.clone(),
                deliveries,
                logs: self.logs.clone(),
                base_url: self.deliverer.base_url.clone(),
                git: self.git.clone(),
            };
            self.workers.open(reign.certain_until());
            let ended = match Leader::take_over(self.config.clone(), inbox, around).await {
                Ok(leader) => {
                    self.in_place.notify_one();
                    let mut beside = self.beside();
                    beside.spawn(self.deliverer.clone().run(to_deliver));
                    let (ended, given_back) = leader.run().await;
                    drop(beside);
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
            self.candidate.lead.send_replace(Lead::Nobody);
            self.workers.close();
            reign.end().await;
            if matches!(ended, Ended::Stopped) {
                return Ok(());
            }
            warn!("no longer the leader; trying to become it again");
        }
    }

    /// What works beside the loop of a leader, for as long as this is kept.
    fn beside(&self) -> JoinSet<()> {
        let (store, leader) = (self.candidate.store.clone(), self.leader.clone());
        let mut beside = JoinSet::new();
        beside.spawn(Backfiller { store: store.clone(), leader: leader.clone() }.run());
        let base_url = self.deliverer.base_url.clone();
        beside.spawn(Caller { store: store.clone(), workers: self.workers.clone(), base_url }.run());
        let (folder, paused_at_creation) = (self.folder.clone(), self.paused_at_creation);
        beside.spawn(self.deployments.clone().run(folder, paused_at_creation));
        let (logs, blobs, config) = (self.logs.clone(), self.blobs.clone(), self.retention);
        beside.spawn(Retention { store, leader, logs, blobs, config }.run());
        beside
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
    let from = config.smtp.sender();
    Ok(Some((server, from)))
}

/// The keys of the installation. Those in the home folder are made its owner's alone again.
fn keys(home: &Home, config: &Config) -> Result<Keys> {
    if config.secrets.key_file.is_none() && Keys::tighten(&home.0) {
        warn!(
            key = %config.key_file(home).display(),
            "others could read the key file, and can no more. If somebody may have read it, put a new key in as its \
             first line, start the server again, which encrypts all secrets anew, and delete the old line"
        );
    }
    config.keys(home)
}

/// What the API and the leader share.
struct Around {
    store: Arc<dyn Store>,
    leader: Handle,
    lead: watch::Receiver<Lead>,
    workers: Arc<Workers>,
    logs: Arc<dyn Logs>,
}

/// What the API works with.
fn state(home: &Home, config: &Config, reached_at: &str, kept: &Kept, around: Around) -> Result<http::State> {
    let Around { store, leader, lead, workers, logs } = around;
    let git = dag_files::repository(&home.0, config)?;
    let git = git.map(|settings| Mirror::new(settings, store.clone(), leader.clone())).transpose()?;
    let keys = keys(home, config)?;
    let accounts = Accounts::new(store.clone(), &keys);
    let secrets = Secrets::new(store.clone(), keys, Environment::of_process());
    let secrets = secrets.with_backends(config.secrets.backends()?);
    let blobs = Arc::new(kept.blobs()?);
    let check: Arc<authoring::Check> = Arc::new(authoring::native);
    let deployments =
        Deployments::new(home.deployed(), store.clone(), blobs.clone(), leader.clone(), check.clone());
    // Other servers ask by that name.
    let own = reqwest::Url::parse(reached_at)?.host_str().map(str::to_owned);
    Ok(http::State {
        store,
        leader,
        lead,
        workers,
        secrets: Arc::new(secrets),
        accounts: Arc::new(accounts),
        logs,
        blobs,
        deployments: Arc::new(deployments),
        check,
        git: git.map(Arc::new),
        metrics: Arc::new(Metrics::default()),
        config: http::Config {
            hosts: config.server.hosts.iter().cloned().chain(own).collect(),
            // What workers of this machine show.
            worker_tokens: vec![random_file(&home.worker_token(), 32)?],
            lease: Duration::from_secs(config.server.lease_s),
            paused_at_creation: config.dags.paused_at_creation,
            smtp: config.smtp.url.clone().map(|url| (url, Some(config.smtp.sender()))),
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
