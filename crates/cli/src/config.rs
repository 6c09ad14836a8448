//! What can be set: in `updraft.toml` in the home folder, and as `UPDRAFT__SECTION__KEY` in the environment.

mod blob;
mod home;
mod secrets;
mod show;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, bail, ensure};
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Serialize};
use updraft_core::Labels;
use updraft_server::secrets::Keys;
use updraft_worker::{process::DEFAULT_LOG_LIMIT_BYTES, worker::Guarding};

pub use self::{
    blob::{Blob, Kept},
    home::{Home, blobs_in, default_home, logs_in, random_file},
    secrets::Secrets,
    show::Show,
};
use crate::tls;

/// Everything that can be set. A key that is not known is an error.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the state is kept.
    pub database: Database,
    /// Where logs and large values are kept.
    pub blob: Blob,
    /// The server.
    pub server: Server,
    /// How tasks are run.
    pub worker: Worker,
    /// Where DAGs come from.
    pub dags: Dags,
    /// Where connections and variables are looked up before the environment and the database.
    pub secrets: Secrets,
    /// Where mail goes.
    pub smtp: Smtp,
    /// How people are told of what happens.
    pub alerts: Alerts,
    /// How long what is over is kept.
    pub retention: Retention,
}

/// Where the state is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite://…` or `postgres://…`; a file in the home folder, where nothing is said.
    pub url: Option<String>,
}

/// The server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address it listens at.
    pub host: IpAddr,
    /// The port it listens at; 0 for any that is free.
    pub port: u16,
    /// Where people find it: what links in alerts begin with, `https://updraft.example.com`. The address it
    /// listens at, where nothing is said.
    pub base_url: Option<String>,
    /// Where other servers and workers reach it, `http://10.0.0.1:8080`; where it listens, where nothing is said.
    pub address: Option<String>,
    /// Whether no other server has the database; so it is with `standalone`, and with SQLite.
    pub alone: bool,
    /// Names by which it may be asked, beside `localhost` and addresses: behind a proxy, the proxy's.
    pub hosts: Vec<String>,
    /// Seconds after which a silent worker is given up; from 15 up.
    pub lease_s: u64,
    /// Whether it may listen at more than this machine without TLS.
    pub allow_insecure: bool,
    /// Where it listens with TLS besides, for other machines: `0.0.0.0:8443`. Needs `tls_certificate` and `tls_key`.
    pub tls_listen: Option<SocketAddr>,
    /// The file with the certificate for that, in PEM, and behind it those of who has signed it. It is read anew when it
    /// changes.
    pub tls_certificate: Option<PathBuf>,
    /// The file with the certificate's private key, in PEM.
    pub tls_key: Option<PathBuf>,
}

impl Server {
    /// Where it listens with TLS, and by which certificate.
    pub fn tls(&self) -> Result<Option<(SocketAddr, tls::Files)>> {
        match (self.tls_listen, &self.tls_certificate, &self.tls_key) {
            (None, None, None) => Ok(None),
            (Some(listen), Some(certificate), Some(key)) => {
                Ok(Some((listen, tls::Files { certificate: certificate.clone(), key: key.clone() })))
            }
            _ => bail!(
                "server.tls_listen, server.tls_certificate and server.tls_key go together: set all three"
            ),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            base_url: None,
            address: None,
            alone: false,
            hosts: Vec::new(),
            lease_s: 30,
            allow_insecure: false,
            tls_listen: None,
            tls_certificate: None,
            tls_key: None,
        }
    }
}

/// How tasks are run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// How many at once.
    pub slots: u32,
    /// From which queues.
    pub queues: Vec<String>,
    /// What else a worker is known by, for tasks that name it (`worker_labels`).
    pub labels: Labels,
    /// The folder for the folders in which tasks run; where nothing is said, within the home folder, and for tasks that
    /// run as other users (`run_as_user`) below `/var/cache`. These users must be able to pass through all folders
    /// above one that is set.
    pub scratch: Option<PathBuf>,
    /// The folder for what tasks write, which all may use; `files` in the home folder, where nothing is said. Tasks
    /// find it by `$UPDRAFT_FILES`, and operators that write files begin relative paths there.
    pub files: Option<PathBuf>,
    /// Whether tasks are kept off the server's files and one another's: `on` where the kernel can, `required`,
    /// or `off`. Guarded tasks can't use `sudo`, nor make files directly in the folders above the home folder.
    #[cfg_attr(test, schemars(with = "String"))]
    pub guard: Guarding,
    /// Seconds that a callback of a task or a DAG may take (`on_failure_callback` and its like). One that takes
    /// longer is ended.
    pub callback_timeout_s: u64,
    /// MiB that are kept of what a process of an attempt writes, with the time of each line: of more, the middle is
    /// cut, and a line in the log says so.
    pub log_limit_mb: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            slots: 32,
            queues: vec!["default".into()],
            labels: Labels::new(),
            scratch: None,
            files: None,
            guard: Guarding::On,
            callback_timeout_s: 60,
            log_limit_mb: DEFAULT_LOG_LIMIT_BYTES / MIB,
        }
    }
}

/// Where DAGs come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Dags {
    /// The folder with DAG files; `dags` in the home folder, where nothing is said.
    pub folder: Option<PathBuf>,
    /// Whether a new DAG begins paused, where it does not say itself.
    pub paused_at_creation: bool,
    /// A task is not mapped over more values than this (Airflow's `core.max_map_length`).
    pub max_map_length: u32,
    /// A repository with DAG files, beside the folder.
    pub git: Git,
}

impl Default for Dags {
    fn default() -> Self {
        let max_map_length = updraft_core::Config::default().max_map_length;
        Self { folder: None, paused_at_creation: false, max_map_length, git: Git::default() }
    }
}

/// A repository with DAG files. Needs the program `git`, and `ssh` for addresses of SSH.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Git {
    /// Where it is: `https://…`, `ssh://…`, `git@host:path`, `file:///…`.
    pub url: Option<String>,
    /// The branch or the tag that is followed.
    pub branch: String,
    /// The folder in it with DAG files; all of it, where nothing is said.
    pub subdir: PathBuf,
    /// Seconds between two looks.
    pub poll_interval_s: u64,
    /// Seconds that a fetch may take.
    pub timeout_s: u64,
    /// Whose the token is, over HTTP. Most servers take any name.
    pub username: String,
    /// A token or a password, over HTTP.
    pub token: Option<String>,
    /// A file with a private key, over SSH; what `ssh` has by itself, where nothing is said.
    pub ssh_key_file: Option<PathBuf>,
    /// A file with the keys of Git servers, over SSH; `~/.ssh/known_hosts`, where nothing is said. A server whose
    /// key is not known is not asked.
    pub ssh_known_hosts_file: Option<PathBuf>,
    /// What a webhook has to know (`POST /api/v1/dags/git/webhook`); none is heard, where nothing is said.
    pub webhook_secret: Option<String>,
}

impl Default for Git {
    fn default() -> Self {
        Self {
            url: None,
            branch: "main".into(),
            subdir: PathBuf::new(),
            poll_interval_s: 60,
            timeout_s: 300,
            username: "git".into(),
            token: None,
            ssh_key_file: None,
            ssh_known_hosts_file: None,
            webhook_secret: None,
        }
    }
}

/// Where mail goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// `smtp://user:password@host:587` or `smtps://…`.
    pub url: Option<String>,
    /// The address that mail comes from; `updraft@localhost` where none is set.
    pub from: Option<String>,
}

impl Smtp {
    /// The address that mail comes from.
    pub fn sender(&self) -> String {
        self.from.clone().unwrap_or_else(|| "updraft@localhost".into())
    }
}

/// How people are told of what happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// So many by one way to the same go singly within the time of a digest.
    pub singly: u32,
    /// What is more than that is told in one, after this time: as `10m`, or `off` to tell all singly. Webhooks
    /// (`webhook:`) are told of each.
    pub digest: Age,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { singly: 5, digest: Age(Some(SignedDuration::from_mins(10))) }
    }
}

/// How long what is over is kept: as `90d`, `12h`, or `off` for ever.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Runs that are over, with all that is theirs, logs and large values too; but a DAG's latest run stays.
    /// Of the same age ticks, deliveries, and tokens that have run out go as well.
    pub runs: Age,
    /// The audit log.
    pub audit: Age,
}

const DAY_S: i64 = 24 * 60 * 60;

impl Default for Retention {
    fn default() -> Self {
        let days = |days: i64| Age(Some(SignedDuration::from_secs(days * DAY_S)));
        Self { runs: days(90), audit: days(365) }
    }
}

/// A length of time, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(into = "String", try_from = "String")]
pub struct Age(pub Option<SignedDuration>);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text.trim(), "" | "off") {
            return Ok(Self(None));
        }
        let length =
            text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        match length {
            Ok(length) if !length.is_negative() => Ok(Self(Some(length))),
            Ok(_) | Err(_) => Err(format!("`{text}` is no age: write it like 90d, 12h 30m, or off")),
        }
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        match age.0 {
            None => "off".into(),
            Some(age) if !age.is_zero() && age.as_secs() % DAY_S == 0 => {
                format!("{}d", age.as_secs() / DAY_S)
            }
            Some(age) => format!("{age:#}"),
        }
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A shorter lease is lost by a worker that is only slow for a moment: it takes three signs of life to be missed.
const LEASES_S: RangeInclusive<u64> = 15..=24 * 60 * 60;

const MIB: u64 = 1 << 20;

/// Up to a tebibyte.
const LOG_LIMITS_MB: RangeInclusive<u64> = 1..=MIB;

impl Worker {
    /// So many bytes are kept of a log.
    pub fn log_limit_bytes(&self) -> u64 {
        self.log_limit_mb * MIB
    }
}

impl Config {
    /// Where logs and large values are: `blob.url`, or the home folder.
    pub fn kept(&self, home: &Home) -> Result<Kept> {
        Ok(self.blob.kept()?.unwrap_or_else(|| Kept::Folder(home.0.clone())))
    }

    /// The file with the key: `secrets.key_file`, or that in the home folder.
    pub fn key_file(&self, home: &Home) -> PathBuf {
        self.secrets.key_file.clone().unwrap_or_else(|| home.0.join("key"))
    }

    /// What of the server's own is outside of its home folder: nothing for tasks to see.
    pub fn kept_elsewhere(&self) -> Vec<PathBuf> {
        self.blob.folder().into_iter().chain(self.secrets.key_file.clone()).collect()
    }

    /// The keys of the installation; made in the home folder, where there are none and no other file is set.
    pub fn keys(&self, home: &Home) -> Result<Keys> {
        match &self.secrets.key_file {
            Some(file) => Keys::of_file(file).context("can't use secrets.key_file"),
            None => Keys::of_home(&home.0).context("can't read or make the key file"),
        }
    }

    /// What of it is the engine's.
    pub fn engine(&self) -> updraft_core::Config {
        updraft_core::Config {
            lease: SignedDuration::from_secs(self.server.lease_s as i64),
            max_map_length: self.dags.max_map_length,
            ..updraft_core::Config::default()
        }
    }

    /// Reads what is set.
    pub fn read(home: &Path) -> Result<Self> {
        let config: Self = sources(home).extract().with_context(|| {
            let file = file(home);
            format!("the configuration ({} and UPDRAFT__* variables) can't be read", file.display())
        })?;
        let lease_s = config.server.lease_s;
        ensure!(
            LEASES_S.contains(&lease_s),
            "server.lease_s is {lease_s}: set it to {} to {} seconds, since a worker gives a sign of life every 5",
            LEASES_S.start(),
            LEASES_S.end()
        );
        ensure!(
            config.worker.callback_timeout_s > 0,
            "worker.callback_timeout_s is 0: set it to the seconds that a callback may take"
        );
        ensure!(
            LOG_LIMITS_MB.contains(&config.worker.log_limit_mb),
            "worker.log_limit_mb is {}: set it to {} to {} MiB that are kept of a log",
            config.worker.log_limit_mb,
            LOG_LIMITS_MB.start(),
            LOG_LIMITS_MB.end()
        );
        let is_address =
            |url: &str| reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if let Some(base_url) = &config.server.base_url {
            ensure!(
                is_address(base_url),
                "server.base_url is `{base_url}`: write where this server is seen from outside, such as \
                 https://updraft.example.com"
            );
        }
        if let Some(address) = &config.server.address {
            let has_path = |url: &str| reqwest::Url::parse(url).is_ok_and(|url| url.path() != "/");
            ensure!(
                is_address(address) && !has_path(address),
                "server.address is `{address}`: write where other servers and workers reach this one, such as \
                 http://10.0.0.1:8080"
            );
        }
        config.blob.kept()?;
        Ok(config)
    }
}

fn file(home: &Path) -> PathBuf {
    home.join("updraft.toml")
}

/// Where settings come from; what comes later counts.
fn sources(home: &Path) -> Figment {
    Figment::from(Serialized::defaults(Config::default()))
        .merge(Toml::file(file(home)))
        .merge(Env::prefixed("UPDRAFT__").split("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_no_worker_could_keep_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for (lease, good) in [("15", true), ("14", false), ("0", false), ("9223372036854775807", false)] {
            std::fs::write(home.path().join("updraft.toml"), format!("[server]\nlease_s = {lease}\n"))
                .unwrap();
            match Config::read(home.path()) {
                Ok(config) => assert!(good, "{}", config.server.lease_s),
                Err(error) => assert!(!good && error.to_string().contains("lease_s"), "{error:#}"),
            }
        }
    }

    #[test]
    fn a_log_that_could_have_nothing_in_it_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for (limit, bytes) in [("1", Some(1 << 20)), ("1024", Some(1 << 30)), ("0", None), ("1048577", None)]
        {
            std::fs::write(home.path().join("updraft.toml"), format!("[worker]\nlog_limit_mb = {limit}\n"))
                .unwrap();
            match Config::read(home.path()) {
                Ok(config) => assert_eq!(Some(config.worker.log_limit_bytes()), bytes),
                Err(error) => {
                    assert!(bytes.is_none() && error.to_string().contains("log_limit_mb"), "{error:#}");
                }
            }
        }
        assert_eq!(Worker::default().log_limit_bytes(), 1 << 30);
    }

    #[test]
    fn what_links_begin_with_is_an_address() {
        let home = tempfile::tempdir().unwrap();
        for (url, good) in
            [("https://updraft.example.com/x", true), ("updraft.example.com", false), ("ftp://x", false)]
        {
            std::fs::write(home.path().join("updraft.toml"), format!("[server]\nbase_url = '{url}'\n"))
                .unwrap();
            match Config::read(home.path()) {
                Ok(_) => assert!(good, "{url}"),
                Err(error) => assert!(!good && error.to_string().contains("base_url"), "{error:#}"),
            }
        }
    }

    #[test]
    fn an_age_is_a_length_of_time_or_for_ever() {
        let hours = |hours| Ok(Age(Some(SignedDuration::from_hours(hours))));
        for (text, age) in
            [("90d", hours(2160)), ("1w 2h", hours(170)), ("0s", hours(0)), ("", Ok(Age(None)))]
        {
            assert_eq!(text.parse(), age, "{text}");
        }
        assert_eq!("off".parse(), Ok(Age(None)));
        for text in ["90d", "1d", "2h 30m", "off", "0s"] {
            assert_eq!(String::from(text.parse::<Age>().unwrap()), text);
        }
        for none in ["90", "-1d", "never", "1 month"] {
            assert!(none.parse::<Age>().unwrap_err().contains("90d"), "{none}");
        }
    }
}
