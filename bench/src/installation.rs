//! The product as people run it: the release binary's `updraft standalone` in a home folder of its own.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The folders of installations that are done with. They go when everything is measured: without a journal, ext4
/// looks at each inode that was deleted in the last minutes before it makes a file, which is no affair of ours.
static DONE_WITH: Mutex<Vec<tempfile::TempDir>> = Mutex::new(Vec::new());

/// Removes what all installations have left.
pub fn clean_up() {
    DONE_WITH.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// How long anything may take that is no measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation. What it started is ended when this goes.
pub struct Installation {
    folder: Option<tempfile::TempDir>,
    path: PathBuf,
    server: Option<Child>,
    /// What it is started with, for another start.
    command: Vec<String>,
    environment: Vec<(String, String)>,
    url: String,
    http: reqwest::Client,
    token: String,
}

/// How long a start took.
pub struct Started {
    /// Until the API said that the database and the leader are healthy.
    pub healthy: Duration,
}

impl Installation {
    /// One that is not started.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("updraft-bench-").tempdir()?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let path = folder.path().to_owned();
        Ok(Self {
            folder: Some(folder),
            path,
            server: None,
            command: Vec::new(),
            environment: Vec::new(),
            url: String::new(),
            http,
            token: String::new(),
        })
    }

    /// One that is started and logged into.
    pub async fn started(arguments: &[&str]) -> Result<Self> {
        let mut new = Self::new()?;
        new.start(arguments).await?;
        new.log_in().await?;
        Ok(new)
    }

    /// A server without a keeper, on this database, which no other has.
    pub async fn served(database: &str) -> Result<Self> {
        let mut new = Self::new()?;
        new.command = ["server", "--alone", "--port", "0"].map(str::to_owned).to_vec();
        new.environment.push(("UPDRAFT__DATABASE__URL".into(), database.into()));
        new.launch().await?;
        new.authenticate().await?;
        Ok(new)
    }

    /// A variable of its environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Its database, for when no server is at work.
    pub fn database(&self) -> PathBuf {
        self.home().join("updraft.db")
    }

    /// Kills the server, and starts it again at the same port.
    pub async fn restart_server(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no server")?;
        server.kill()?;
        server.wait()?;
        let port = self.url.rsplit(':').next().unwrap_or_default();
        let at = self.command.iter().position(|word| word == "--port").context("no port")? + 1;
        self.command[at] = port.to_owned();
        self.launch().await.map(drop)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id of the server.
    pub fn server_pid(&self) -> Result<u32> {
        Ok(self.server.as_ref().context("no server")?.id())
    }

    fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// Starts server and keeper, and waits until the server is healthy.
    pub async fn start(&mut self, arguments: &[&str]) -> Result<Started> {
        let always = ["standalone", "--port", "0"];
        self.command = always.iter().chain(arguments).map(|&word| word.to_owned()).collect();
        self.launch().await
    }

    async fn launch(&mut self) -> Result<Started> {
        let log = File::create(self.log())?;
        let began = Instant::now();
        let server = Command::new(binary()?)
            .arg("--home")
            .arg(self.home())
            .args(&self.command)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("can't start updraft")?;
        self.server = Some(server);
        self.url = self.address(began).await?;
        loop {
            if let Ok(health) = self.get("/api/v2/monitor/health").await
                && ["metadatabase", "scheduler"].iter().all(|part| health[*part]["status"] == "healthy")
            {
                return Ok(Started { healthy: began.elapsed() });
            }
            self.check(began, "healthy")?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The address at which it says that it is ready.
    async fn address(&mut self, began: Instant) -> Result<String> {
        loop {
            let said = std::fs::read_to_string(self.log())?;
            let ready = said.lines().find(|line| line.contains(" ready "));
            if let Some(address) = ready.and_then(|line| line.split("address=").nth(1)) {
                return Ok(format!("http://{}", address.split(' ').next().unwrap_or_default()));
            }
            self.check(began, "ready")?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn check(&mut self, began: Instant, what: &str) -> Result<()> {
        let ended = self.server.as_mut().and_then(|server| server.try_wait().transpose()).transpose()?;
        if ended.is_some() || began.elapsed() > PATIENCE {
            let said = std::fs::read_to_string(self.log()).unwrap_or_default();
            bail!("updraft is not {what}; it said:\n{said}");
        }
        Ok(())
    }

    /// Logs in, and waits until the keeper is there.
    pub async fn log_in(&mut self) -> Result<()> {
        self.authenticate().await?;
        let began = Instant::now();
        while self.get("/api/v1/workers").await?["total_entries"] != 1 {
            self.check(began, "with a keeper")?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn authenticate(&mut self) -> Result<()> {
        let password = std::fs::read_to_string(self.home().join("admin-password"))?;
        let body = json!({ "username": "admin", "password": password.trim() });
        let answer = self.post("/auth/token", &body).await?;
        self.token = answer["access_token"].as_str().context("no token")?.to_owned();
        Ok(())
    }

    /// The process ids of the server and of the keeper.
    pub async fn pids(&self) -> Result<[u32; 2]> {
        let workers = self.get("/api/v1/workers").await?;
        let keeper = workers["workers"][0]["pid"].as_u64().context("no keeper")?;
        let server = self.server.as_ref().context("no server")?;
        Ok([server.id(), u32::try_from(keeper)?])
    }

    /// What both processes and the tasks that have ended used of processors so far.
    pub async fn cpu_seconds(&self) -> Result<f64> {
        self.pids().await?.into_iter().map(super::machine::cpu_seconds).sum()
    }

    /// What the server and the keeper take of memory.
    pub async fn megabytes(&self) -> Result<[f64; 2]> {
        let [server, keeper] = self.pids().await?;
        Ok([super::machine::pss_megabytes(server)?, super::machine::pss_megabytes(keeper)?])
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        answer(self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body)).await
    }

    /// Puts a DAG of these tasks: their names, and what else is written of them.
    pub async fn put_dag(&self, dag_id: &str, tasks: Vec<(String, Value)>) -> Result<()> {
        let tasks: serde_json::Map<String, Value> = tasks.into_iter().collect();
        let dag = json!({
            "max_active_tasks": 10_000, "max_active_runs": 1000,
            "default_args": { "start_date": "2024-01-01", "retries": 0 },
            "tasks": tasks,
        });
        self.post("/api/v1/dags", &json!({ dag_id: dag })).await.map(drop)
    }

    /// Makes a run, and gives its name.
    pub async fn trigger(&self, dag_id: &str) -> Result<String> {
        let body = json!({ "logical_date": null });
        let run = self.post(&format!("/api/v2/dags/{dag_id}/dagRuns"), &body).await?;
        Ok(run["dag_run_id"].as_str().context("no run id")?.to_owned())
    }

    /// Waits for the end of a run, which has to be a success.
    pub async fn finished(&self, dag_id: &str, run_id: &str) -> Result<()> {
        let url = format!("{}/api/v2/dags/{dag_id}/dagRuns/{run_id}/wait?interval=1", self.url);
        let lines =
            self.http.get(url).bearer_auth(&self.token).send().await?.error_for_status()?.text().await?;
        let last: Value = serde_json::from_str(lines.lines().last().unwrap_or_default())?;
        ensure!(last["state"] == "success", "the run {run_id} of {dag_id} became {}", last["state"]);
        Ok(())
    }

    /// Ends server and keeper, as Ctrl-C does.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        signal(server.id(), rustix::process::Signal::INT);
        let began = Instant::now();
        while server.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "updraft did not stop");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let (status, url) = (response.status(), response.url().clone());
    let text = response.text().await?;
    ensure!(status.is_success(), "{url} answered {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("{url} answered what is no JSON: {text}"))
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // One that has gone needs no signal.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        DONE_WITH.lock().unwrap_or_else(PoisonError::into_inner).extend(self.folder.take());
        let Some(mut server) = self.server.take() else { return };
        let _ = server.kill();
        let _ = server.wait();
        // The keeper writes its process id into its lock. Without a server it would wait for one.
        let lock = std::fs::read_to_string(self.home().join("run/keeper.lock")).unwrap_or_default();
        if let Ok(pid) = lock.trim().parse() {
            signal(pid, rustix::process::Signal::TERM);
        }
    }
}

/// The binary, which was built beside this one.
pub fn binary() -> Result<PathBuf> {
    let updraft = std::env::current_exe()?.with_file_name("updraft");
    ensure!(updraft.is_file(), "there is no {}: run `make bench`, which builds it", updraft.display());
    Ok(updraft)
}
