//! One installation in a folder of its own, its processes, and a look into its database.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use updraft_core::{TiStateName, XcomValue, record::RunRow};
use updraft_store::{Queries, RunQuery, SqlStore, TiListing, TiQuery, Window};

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// What was printed, where it went well.
    pub fn good(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// The same as JSON.
    pub fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }
}

/// An installation. What it started is ended when this goes.
pub struct System {
    /// Where it is not on the machine's own disk. It goes before the folder that it is mounted in.
    disk: Option<SmallDisk>,
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    server: Option<Child>,
}

impl System {
    /// An installation with these DAG files, not yet started.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let system =
            Self { disk: None, folder: tempfile::tempdir().unwrap(), environment: Vec::new(), server: None };
        std::fs::create_dir_all(system.home().join("dags")).unwrap();
        for (name, text) in files {
            let file = system.home().join("dags").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        system
    }

    /// An installation whose home is a disk of this size, as `mount` writes it; none, where this user can't
    /// mount one.
    pub fn on_disk_of(size: &str) -> Option<Self> {
        let mut system = Self::new(&[]);
        system.disk = Some(SmallDisk::mount(&system.home(), size)?);
        std::fs::create_dir_all(system.home().join("dags")).unwrap();
        Some(system)
    }

    /// A variable of the server's environment.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.into(), value.into()));
    }

    /// What was set counts no more, from the next start on.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(set, _)| set != name);
    }

    /// The log of an attempt, as it is kept.
    pub fn log(&self, ti: &TiListing) -> String {
        let names = (&ti.dag.namespace, &ti.dag.dag_id, &ti.run_id);
        let (key, try_number) = (ti.row.key, ti.row.try_number);
        let path = updraft_core::protocol::log_path(names, &ti.row.task_id, key.map_index, try_number);
        std::fs::read_to_string(self.home().join("logs").join(path)).unwrap_or_default()
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A folder that tasks may write to.
    pub fn shared(&self) -> PathBuf {
        let shared = self.folder.path().join("shared");
        std::fs::create_dir_all(&shared).unwrap();
        shared
    }

    pub fn start(&mut self, slots: u32) {
        self.start_on(0, slots);
    }

    /// The same on this port; 0 for any that is free.
    pub fn start_on(&mut self, port: u16, slots: u32) {
        let log =
            File::options().create(true).append(true).open(self.folder.path().join("server.log")).unwrap();
        let server = Command::new(env!("CARGO_BIN_EXE_updraft"))
            .arg("--home")
            .arg(self.home())
            .args(["standalone", "--port", &port.to_string(), "--slots", &slots.to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
    }

    /// A command of the program, for this installation.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("UPDRAFT_")) {
            command.env_remove(name);
        }
        command.arg("--home").arg(self.home()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    /// The same, with this on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // What does not read goes without.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Done { code: output.status.code().unwrap(), out, err }
    }

    /// Waits until a command goes well, and gives what it prints.
    pub async fn until(&self, arguments: &[&str], is_it: impl Fn(&Done) -> bool) -> Done {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let done = self.run(arguments);
            if is_it(&done) {
                return done;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{done:?}; it said:\n{}", self.said());
        }
    }

    /// Where the server is.
    pub fn address(&self) -> String {
        std::fs::read_to_string(self.home().join("run/address")).unwrap().trim().to_owned()
    }

    /// A token for an account.
    pub async fn log_in(&self, username: &str, password: &str) -> String {
        let body = serde_json::json!({"username": username, "password": password});
        let request = client().post(format!("{}/auth/token", self.address())).json(&body);
        let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// What the server's administrator is answered at this path.
    pub async fn get(&self, path: &str) -> String {
        let password = std::fs::read_to_string(self.home().join("admin-password")).unwrap();
        let token = self.log_in("admin", password.trim()).await;
        let request = client().get(format!("{}{path}", self.address())).bearer_auth(token);
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    /// Asks the server to end, as an upgrade does, and waits until it has.
    pub fn stop_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(server.id(), "-TERM");
            server.wait().unwrap();
        }
    }

    /// Waits until the server has ended by itself; its exit code.
    pub async fn server_ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if let Some(status) = self.server.as_mut().unwrap().try_wait().unwrap() {
                self.server = None;
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "it lives on; it said:\n{}", self.said());
        }
    }

    /// Changes the database behind the server's back.
    pub fn sql(&self, statement: &str) {
        let code =
            "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute(sys.argv[2]); d.commit()";
        let mut command = Command::new("python3");
        command.args(["-c", code]).arg(self.home().join("updraft.db")).arg(statement);
        assert!(command.status().unwrap().success(), "{statement}");
    }

    /// What the server said of itself, for a test that fails.
    pub fn said(&self) -> String {
        let keeper = std::fs::read_to_string(self.home().join("run/keeper.log")).unwrap_or_default();
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default() + &keeper
    }

    /// Ends the server as the kernel does when memory runs out: without asking.
    pub fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// The same for the keeper, if one is there.
    pub fn kill_keeper(&self) {
        for pid in self.processes("keeper") {
            signal(pid, "-KILL");
        }
    }

    /// The processes of this installation that run this command.
    pub fn processes(&self, command: &str) -> Vec<u32> {
        let home = self.home();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let ours = arguments.contains(&home.as_os_str().as_encoded_bytes());
            if ours && arguments.contains(&command.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }

    /// What SQLite itself finds wrong with the database.
    pub fn integrity(&self) -> String {
        let code = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); \
                    print(*(d.execute('PRAGMA integrity_check').fetchone() + tuple(d.execute('PRAGMA foreign_key_check'))))";
        let output = Command::new("python3").args(["-c", code]).arg(self.home().join("updraft.db")).output();
        let output = output.unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn database(&self) -> String {
        let set = self.environment.iter().find(|(name, _)| name == "UPDRAFT__DATABASE__URL");
        let own = || format!("sqlite://{}", self.home().join("updraft.db").display());
        set.map_or_else(own, |(_, url)| url.clone())
    }

    /// What the database has.
    pub async fn store(&self) -> SqlStore {
        SqlStore::open(&self.database()).await.unwrap()
    }

    /// The value that a task instance left as its result, where it is kept in its row.
    pub async fn result(&self, ti: &TiListing) -> Value {
        let store = self.store().await;
        let row = store.xcom(ti.row.key, "return_value").await.unwrap();
        store.close().await;
        match row.map(|row| row.value) {
            Some(XcomValue::Inline(value)) => (*value).clone(),
            other => panic!("{} left {other:?}", ti.row.task_id),
        }
    }

    /// Waits until so many runs are over, and gives them.
    pub async fn runs_over(&self, count: usize, within: Duration) -> Vec<RunRow> {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if self.database().starts_with("postgres") || self.home().join("updraft.db").exists() {
                let store = self.store().await;
                let runs = store.runs(&RunQuery::default()).await.map(|page| page.rows).unwrap_or_default();
                store.close().await;
                let over: Vec<RunRow> =
                    runs.into_iter().map(|run| run.row).filter(|run| run.state.is_finished()).collect();
                if over.len() >= count {
                    return over;
                }
            }
            assert!(began.elapsed() < within, "not over within {within:?}; it said:\n{}", self.said());
        }
    }

    /// The task instances there are.
    pub async fn tis(&self) -> Vec<TiListing> {
        let store = self.store().await;
        let all = Window { limit: 100_000, ..Window::default() };
        let tis = store.tis(&TiQuery { window: all, ..TiQuery::default() }).await.unwrap().rows;
        store.close().await;
        tis
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.kill_server();
        // A keeper without a server would wait for one to come back.
        self.kill_keeper();
        for pid in tasks_of(&self.home()) {
            signal(pid, "-KILL");
        }
    }
}

pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).stderr(Stdio::null());
        command.status().ok()?.success().then(|| Self(at.into()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Processes of tasks of this installation, by the marker in their environment.
pub fn tasks_of(home: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let home = home.as_os_str().as_encoded_bytes();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let marked = environment.split(|byte| *byte == 0).any(|pair| pair.starts_with(b"UPDRAFT_ATTEMPT="));
        let named = environment.windows(home.len()).any(|window| window == home);
        // Most are told of nothing in it, and work in a folder of their own there.
        let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if marked && (named || folder.as_os_str().as_encoded_bytes().starts_with(home)) {
            found.push(pid);
        }
    }
    found
}

/// Whether there is such a process, and more of it than its exit code, which nobody has asked for yet.
pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    // The state is the first word behind the name, which is in parentheses.
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// Sends a signal to a process.
pub fn signal(pid: u32, which: &str) {
    // One that has gone needs no signal.
    let _ = Command::new("kill").args([which, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// How many task instances are in this state.
pub fn count(tis: &[TiListing], state: TiStateName) -> usize {
    tis.iter().filter(|ti| ti.row.state.name() == state).count()
}
