//! Several servers on one PostgreSQL, and workers of theirs: whichever of them goes, the work goes on.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use updraft_core::RunState;
use updraft_store::{Ledger as _, Queries as _, RunQuery, SqlStore, test_postgres::TestPostgres};

use crate::system::{client, signal};

/// Servers and workers, each with a home folder of its own.
struct Fleet {
    folder: TempDir,
    _postgres: TestPostgres,
    database: String,
    servers: Vec<Member>,
    workers: Vec<Member>,
}

/// One of their processes.
struct Member {
    home: PathBuf,
    process: Child,
}

impl Member {
    fn start(home: PathBuf, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
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

    fn said(&self) -> String {
        std::fs::read_to_string(self.home.with_extension("log")).unwrap_or_default()
    }

    fn address(&self) -> Option<String> {
        let address = std::fs::read_to_string(self.home.join("run/address")).ok()?;
        Some(address.trim().to_owned())
    }

    fn kill(&mut self) {
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
        for pid in crate::system::tasks_of(self.folder.path()) {
            signal(pid, "-KILL");
        }
    }
}

impl Fleet {
    /// So many servers and workers, with this DAG file.
    async fn start(servers: usize, workers: usize, dag: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = TestPostgres::start();
        let database = postgres.database();
        // Tasks may write to a folder beside the homes, and not to the one above them.
        for name in ["dags", "shared"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("dags/load.yaml"), dag).unwrap();
        let mut fleet =
            Self { folder, _postgres: postgres, database, servers: Vec::new(), workers: Vec::new() };
        for number in 0..servers {
            fleet.start_server(number).await;
        }
        let token = fleet.run(0, &["tokens", "create", "workers", "--join"]);
        let addresses: Vec<String> = fleet.servers.iter().map(|server| server.address().unwrap()).collect();
        for number in 0..workers {
            let (name, home) = (format!("w{number}"), fleet.folder.path().join(format!("worker{number}")));
            let arguments = ["worker", "--server", &addresses.join(","), "--name", &name, "--slots", "8"];
            fleet.workers.push(Member::start(home, &arguments, &[("UPDRAFT_WORKER_TOKEN", token.trim())]));
        }
        fleet
    }

    /// Starts the server of this number, or starts it again, and waits until it is in its place.
    async fn start_server(&mut self, number: usize) {
        let home = self.folder.path().join(format!("server{number}"));
        std::fs::create_dir_all(&home).unwrap();
        for file in ["key", "admin-password"] {
            let first = self.folder.path().join("server0").join(file);
            if number > 0 {
                std::fs::copy(first, home.join(file)).unwrap();
            }
        }
        let blobs = format!("file://{}", self.folder.path().join("blobs").display());
        let dags = self.folder.path().join("dags");
        let environment = [("UPDRAFT__DATABASE__URL", &*self.database), ("UPDRAFT__BLOB__URL", &*blobs)];
        let port = match self.servers.get(number) {
            Some(_) => std::fs::read_to_string(home.join("port")).unwrap(),
            None => "0".to_owned(),
        };
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

    /// A command that asks the server of this number.
    fn run(&self, number: usize, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        command.arg("--home").arg(&self.servers[number].home).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}\n{}", self.said());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What servers and workers said, for a test that fails.
    fn said(&self) -> String {
        let all = self.servers.iter().chain(&self.workers);
        all.map(|member| format!("== {}\n{}", member.home.display(), member.said())).collect()
    }

    async fn store(&self) -> SqlStore {
        SqlStore::open(&self.database).await.unwrap()
    }

    /// The number of the server that leads, once one does that is not this one.
    async fn leader_but(&self, other: Option<usize>) -> usize {
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
    async fn runs_over(&self, count: usize, within: Duration) {
        let store = self.store().await;
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let runs = store.runs(&RunQuery::default()).await.map(|page| page.rows).unwrap_or_default();
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

    fn notes(&self) -> PathBuf {
        self.folder.path().join("shared/notes")
    }

    /// How often each attempt noted what it did.
    fn noted(&self) -> BTreeMap<String, usize> {
        let mut noted = BTreeMap::new();
        for line in std::fs::read_to_string(self.notes()).unwrap_or_default().lines() {
            *noted.entry(line.to_owned()).or_default() += 1;
        }
        noted
    }

    /// Waits until so many ends are noted.
    async fn ends(&self, count: usize) {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while self.noted().keys().filter(|line| line.ends_with("end")).count() < count {
            tick.tick().await;
            assert!(began.elapsed() < Duration::from_secs(60), "it does not go on:\n{}", self.said());
        }
    }

    /// Each task instance began once, and ended once.
    fn each_once(&self, copies: usize) {
        let noted = self.noted();
        assert_eq!(noted.len(), 2 * copies, "one begin and one end each\n{}", self.said());
        let twice: Vec<_> = noted.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{twice:?}\n{}", self.said());
    }
}

/// A run whose task instances each note that they begin and that they end.
fn dag(folder: &Path, copies: usize, seconds: f64) -> String {
    let copies: Vec<String> = (0..copies).map(|n| format!("{{N: \"{n}\"}}")).collect();
    format!(
        r#"load:
  schedule: null
  max_active_tasks: 1000
  default_args: {{retries: 0}}
  tasks:
    work:
      operator: bash
      append_env: true
      partial: {{bash_command: 'echo "$N begin" >> {notes}; sleep {seconds}; echo "$N end" >> {notes}; echo "said $N"'}}
      expand: {{env: [{copies}]}}
    last: {{operator: empty, dependencies: [work]}}
"#,
        notes = folder.display(),
        copies = copies.join(", "),
    )
}

/// The notes' place is known only when the folder is there.
async fn fleet(servers: usize, workers: usize, copies: usize, seconds: f64) -> Fleet {
    let fleet = Fleet::start(servers, workers, "").await;
    let text = dag(&fleet.notes(), copies, seconds);
    std::fs::write(fleet.folder.path().join("dags/load.yaml"), text).unwrap();
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !fleet.run(0, &["dags", "list"]).contains("load") {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{}", fleet.said());
    }
    fleet
}

#[tokio::test]
async fn a_standby_answers_and_passes_on_and_takes_the_place_of_a_leader_that_is_killed() {
    const COPIES: usize = 120;
    let mut fleet = fleet(2, 3, COPIES, 0.3).await;
    let first = fleet.leader_but(None).await;
    let standby = 1 - first;
    // All of it asked of the one that does not lead.
    fleet.run(standby, &["dags", "trigger", "load", "--run-id", "r"]);
    let workers: Vec<Value> =
        serde_json::from_str(&fleet.run(standby, &["workers", "list", "-o", "json"])).unwrap();
    assert_eq!(workers.len(), 3, "{workers:?}");
    let servers: Vec<Value> =
        serde_json::from_str(&fleet.run(standby, &["servers", "list", "-o", "json"])).unwrap();
    let states: BTreeMap<&str, &str> = servers
        .iter()
        .map(|server| (server["address"].as_str().unwrap(), server["state"].as_str().unwrap()))
        .collect();
    let [leading, by] = [first, standby].map(|at| fleet.servers[at].address().unwrap());
    assert_eq!(states, [(&*leading, "leading"), (&*by, "standby")].into());
    fleet.ends(COPIES / 4).await;

    fleet.servers[first].kill();
    let killed = Instant::now();
    // Asked while nobody leads, it answers when somebody does.
    fleet.run(standby, &["variables", "set", "colour", "blue"]);
    assert_eq!(fleet.leader_but(Some(first)).await, standby);
    let took = killed.elapsed();
    println!("a leader that was killed was replaced within {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    fleet.start_server(first).await;
    fleet.ends(COPIES / 2).await;
    fleet.servers[standby].kill();
    assert_eq!(fleet.leader_but(Some(standby)).await, first);
    fleet.runs_over(1, Duration::from_secs(60)).await;
    fleet.each_once(COPIES);
    // What was logged is where all servers see it.
    let log = fleet.run(first, &["tasks", "logs", "load", "r", "work", "--map-index", "7"]);
    assert!(log.contains("said 7"), "{log}");
    assert_eq!(fleet.run(first, &["variables", "get", "colour"]).trim(), "blue");
}

#[tokio::test]
async fn a_leader_that_slept_past_its_lease_writes_nothing_when_it_wakes() {
    const COPIES: usize = 60;
    let fleet = fleet(2, 2, COPIES, 0.5).await;
    let first = fleet.leader_but(None).await;
    let other = 1 - first;
    fleet.run(first, &["dags", "trigger", "load", "--run-id", "r"]);
    fleet.ends(8).await;
    let sleeper = fleet.servers[first].process.id();
    signal(sleeper, "-STOP");
    assert_eq!(fleet.leader_but(Some(first)).await, other);
    let here = fleet.noted().len();
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    // The workers find the other server by themselves.
    while fleet.noted().len() < here + 16 {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{}", fleet.said());
    }
    println!("workers of a leader that sleeps had work again within {:?}", began.elapsed());
    signal(sleeper, "-CONT");
    fleet.runs_over(1, Duration::from_secs(60)).await;
    fleet.each_once(COPIES);
    assert_eq!(fleet.leader_but(None).await, other);
    let said = fleet.servers[first].said();
    assert!(said.contains("another server leads"), "{said}");
}

#[tokio::test]
async fn a_server_that_belongs_elsewhere_is_told() {
    let fleet = Fleet::start(1, 0, "").await;
    let blobs = format!("file://{}", fleet.folder.path().join("blobs").display());
    let environment = [("UPDRAFT__DATABASE__URL", &*fleet.database), ("UPDRAFT__BLOB__URL", &*blobs)];
    let code = |member: &mut Member| member.process.wait().unwrap().code();
    let mut stranger =
        Member::start(fleet.folder.path().join("stranger"), &["server", "--port", "0"], &environment);
    assert_eq!(code(&mut stranger), Some(1));
    assert!(stranger.said().contains("Copy the file `key`"), "{}", stranger.said());
    let mut forgetful =
        Member::start(fleet.folder.path().join("forgetful"), &["server", "--port", "0"], &environment[..1]);
    assert_eq!(code(&mut forgetful), Some(1));
    assert!(forgetful.said().contains("UPDRAFT__BLOB__URL"), "{}", forgetful.said());
    // What it had said of itself is taken back.
    let servers: Vec<Value> =
        serde_json::from_str(&fleet.run(0, &["servers", "list", "-o", "json"])).unwrap();
    assert_eq!(servers.len(), 1, "{servers:?}");
    let answer = client().get(format!("{}/api/v2/monitor/health", fleet.servers[0].address().unwrap()));
    let health: Value = answer.send().await.unwrap().json().await.unwrap();
    assert_eq!(health["scheduler"]["status"], json!("healthy"));
}
