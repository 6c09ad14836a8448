//! Servers and workers on one PostgreSQL, each a process with a home folder of its own.

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use updraft_core::RunState;
use updraft_store::{Ledger as _, Queries as _, RunQuery, SqlStore, Window, test_postgres::TestPostgres};

use crate::system::{signal, tasks_of};

/// Servers and workers, each with a home folder of its own.
pub struct Fleet {
    pub folder: TempDir,
    pub postgres: TestPostgres,
    pub database: String,
    /// Another way to it, of servers that don't take the direct one.
    pub ways: BTreeMap<usize, String>,
    pub servers: Vec<Member>,
    pub workers: Vec<Member>,
    /// What else servers have in their environment.
    environment: Vec<(&'static str, String)>,
    token: String,
}

/// One of their processes.
pub struct Member {
    pub home: PathBuf,
    pub process: Child,
}

impl Member {
    pub fn start(home: PathBuf, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(&home).unwrap();
        let log = File::options().create(true).append(true).open(home.with_extension("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_updraft"))
            .arg("--home")
            .arg(&home)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { home, process }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.home.with_extension("log")).unwrap_or_default()
    }

    pub fn address(&self) -> Option<String> {
        let address = std::fs::read_to_string(self.home.join("run/address")).ok()?;
        Some(address.trim().to_owned())
    }

    /// The port that a server had first, and has again.
    fn port(&self) -> String {
        std::fs::read_to_string(self.home.join("port")).unwrap()
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // The next process writes its own.
        let _ = std::fs::remove_file(self.home.join("run/address"));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in self.servers.iter_mut().chain(&mut self.workers) {
            signal(member.process.id(), "-CONT");
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
        for pid in tasks_of(self.folder.path()) {
            signal(pid, "-KILL");
        }
    }
}

impl Fleet {
    /// So many servers and workers, with this DAG file.
    pub async fn start(servers: usize, workers: usize, dag: &str) -> Self {
        Self::start_with(servers, workers, dag, Vec::new()).await
    }

    /// The same, with more in the environment of servers.
    pub async fn start_with(
        servers: usize,
        workers: usize,
        dag: &str,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = TestPostgres::start();
        let database = postgres.database();
        // Tasks may write to a folder beside the homes, and not to the one above them.
        for name in ["dags", "shared", "blobs"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("dags/load.yaml"), dag).unwrap();
        let mut fleet = Self {
            folder,
            postgres,
            database,
            ways: BTreeMap::new(),
            servers: Vec::new(),
            workers: Vec::new(),
            environment,
            token: String::new(),
        };
        for number in 0..servers {
            fleet.start_server(number).await;
        }
        fleet.token = fleet.run(0, &["tokens", "create", "workers", "--join"]).trim().to_owned();
        for number in 0..workers {
            fleet.start_worker(number, &fleet.addresses());
        }
        fleet
    }

    /// Where the servers are, as workers are told.
    pub fn addresses(&self) -> String {
        let all = self.servers.iter().map(|server| format!("http://127.0.0.1:{}", server.port()));
        all.collect::<Vec<_>>().join(",")
    }

    /// Starts the worker of this number, or starts it again.
    pub fn start_worker(&mut self, number: usize, servers: &str) {
        let (name, home) = (format!("w{number}"), self.folder.path().join(format!("worker{number}")));
        let arguments = ["worker", "--server", servers, "--name", &name, "--slots", "8"];
        let member = Member::start(home, &arguments, &[("UPDRAFT_WORKER_TOKEN", &self.token)]);
        match self.workers.get_mut(number) {
            Some(before) => *before = member,
            None => self.workers.push(member),
        }
    }

    /// Ends a worker's machine: the worker, and all that it runs.
    pub fn kill_machine(&mut self, number: usize) {
        self.workers[number].kill();
        for pid in tasks_of(&self.workers[number].home) {
            signal(pid, "-KILL");
        }
    }

    /// Starts the server of this number, or starts it again, and waits until it is in its place.
    pub async fn start_server(&mut self, number: usize) {
        let home = self.folder.path().join(format!("server{number}"));
        std::fs::create_dir_all(&home).unwrap();
        let first = self.folder.path().join("server0");
        let key = first.join("key").display().to_string();
        if number > 0 {
            // For commands that ask it.
            std::fs::copy(first.join("admin-password"), home.join("admin-password")).unwrap();
        }
        let blobs = format!("file://{}", self.folder.path().join("blobs").display());
        let dags = self.folder.path().join("dags");
        let mut environment = vec![
            ("UPDRAFT__DATABASE__URL", self.ways.get(&number).map_or(&*self.database, |way| &**way)),
            ("UPDRAFT__BLOB__URL", &*blobs),
            ("UPDRAFT__SERVER__LEASE_S", "15"),
        ];
        if number > 0 {
            environment.push(("UPDRAFT__SECRETS__KEY_FILE", &*key));
        }
        environment.extend(self.environment.iter().map(|(name, value)| (*name, &**value)));
        let port = self.servers.get(number).map_or("0".to_owned(), Member::port);
        let arguments = ["server", "--port", &port, "--dags", dags.to_str().unwrap()];
        let member = Member::start(home.clone(), &arguments, &environment);
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let address = loop {
            tick.tick().await;
            if let Some(address) = member.address() {
                break address;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "it does not begin:\n{}", member.said());
        };
        std::fs::write(home.join("port"), address.rsplit(':').next().unwrap()).unwrap();
        match self.servers.get_mut(number) {
            Some(before) => *before = member,
            None => self.servers.push(member),
        }
    }

    /// A command that asks the server of this number: what it printed, or why it failed.
    pub fn try_run(&self, number: usize, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        command.arg("--home").arg(&self.servers[number].home).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The same for one that goes well.
    pub fn run(&self, number: usize, arguments: &[&str]) -> String {
        let done = self.try_run(number, arguments);
        done.unwrap_or_else(|why| panic!("{arguments:?}: {why}\n{}", self.said()))
    }

    /// What servers and workers said, for a test that fails.
    pub fn said(&self) -> String {
        let all = self.servers.iter().chain(&self.workers);
        all.map(|member| format!("== {}\n{}", member.home.display(), member.said())).collect()
    }

    pub async fn store(&self) -> SqlStore {
        SqlStore::open(&self.database).await.unwrap()
    }

    /// The number of the server that leads, once one does that is not this one.
    pub async fn leader_but(&self, other: Option<usize>) -> usize {
        let store = self.store().await;
        let addresses: Vec<_> = self.servers.iter().map(Member::address).collect();
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let leader = store.leader().await.unwrap().filter(|leader| !leader.expired);
            let is_it = |address: &Option<String>| {
                address.is_some() && address.as_deref() == leader.as_ref().map(|leader| &*leader.address)
            };
            if let Some(at) = addresses.iter().position(is_it).filter(|at| Some(*at) != other) {
                store.close().await;
                return at;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "nobody leads:\n{}", self.said());
        }
    }

    /// Waits until so many runs are over; all of them went well.
    pub async fn runs_over(&self, count: usize, within: Duration) {
        let store = self.store().await;
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let runs = store
                .runs(&RunQuery { window: Window::ALL, ..RunQuery::default() })
                .await
                .map(|page| page.rows)
                .unwrap_or_default();
            let over: Vec<_> =
                runs.iter().map(|run| run.row.state).filter(|state| state.is_finished()).collect();
            if over.len() >= count {
                assert!(over.iter().all(|state| *state == RunState::Success), "{over:?}\n{}", self.said());
                break;
            }
            assert!(began.elapsed() < within, "not over within {within:?}:\n{}", self.said());
        }
        store.close().await;
    }

    pub fn notes(&self) -> PathBuf {
        self.folder.path().join("shared/notes")
    }

    /// How often each attempt noted what it did.
    pub fn noted(&self) -> BTreeMap<String, usize> {
        let mut noted = BTreeMap::new();
        for line in std::fs::read_to_string(self.notes()).unwrap_or_default().lines() {
            *noted.entry(line.to_owned()).or_default() += 1;
        }
        noted
    }

    /// Waits until so many ends are noted.
    pub async fn ends(&self, count: usize) {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while self.noted().keys().filter(|line| line.ends_with("end")).count() < count {
            tick.tick().await;
            assert!(began.elapsed() < Duration::from_secs(60), "it does not go on:\n{}", self.said());
        }
    }

    /// Each task instance began once, and ended once.
    pub fn each_once(&self, copies: usize) {
        let noted = self.noted();
        assert_eq!(noted.len(), 2 * copies, "one begin and one end each\n{}", self.said());
        let twice: Vec<_> = noted.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{twice:?}\n{}", self.said());
    }
}
