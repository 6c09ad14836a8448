//! The script runtime on real processes.

mod capture;
mod end;
mod guard;
mod result;
mod start;
mod survive;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use updraft_core::log::{Entry, Stream};
use updraft_worker::process::{
    Ended, Marker, ProcessSpec, Program, ResultValue, Running, SpawnError, Spawner,
};

/// A spawner in a folder of its own, and what tests ask of it.
struct Lab {
    home: TempDir,
    spawner: Spawner,
}

impl Lab {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let spawner = Spawner::new(&home.path().join("scratch"), None).unwrap();
        Self { home, spawner }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("attempt.log")
    }

    /// `sh -c text`, with the marker that is unique to this lab.
    fn sh(&self, text: &str) -> ProcessSpec {
        self.argv(&["sh", "-c", text])
    }

    fn argv(&self, words: &[&str]) -> ProcessSpec {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        ProcessSpec::new(self.marker("1"), Program::Argv(words), self.log())
    }

    fn script(&self, body: &str) -> ProcessSpec {
        let program = Program::Script { body: body.to_owned(), interpreter: None, args: Vec::new() };
        ProcessSpec::new(self.marker("1"), program, self.log())
    }

    fn marker(&self, name: &str) -> Marker {
        let lab = self.home.path().file_name().unwrap().to_str().unwrap();
        Marker::new(format!("{lab}/{name}")).unwrap()
    }

    async fn spawn(&self, spec: ProcessSpec) -> Running {
        self.spawner.spawn(spec).await.unwrap()
    }

    async fn run(&self, spec: ProcessSpec) -> Ended {
        self.spawn(spec).await.wait().await.unwrap()
    }

    async fn refusal(&self, spec: ProcessSpec) -> SpawnError {
        self.spawner.spawn(spec).await.unwrap_err()
    }

    /// A named pipe in which a script can say that it has come to some point.
    fn bell(&self, name: &str) -> Bell {
        let path = self.path(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
        Bell { path }
    }
}

struct Bell {
    path: PathBuf,
}

impl Bell {
    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Waits until somebody has written and closed it, and gives what was written.
    async fn rung(&self) -> String {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || std::fs::read_to_string(path).unwrap().trim().to_owned())
            .await
            .unwrap()
    }

    /// Lets a script go on that reads it.
    async fn ring(&self) {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || std::fs::write(path, "go\n").unwrap()).await.unwrap();
    }
}

/// Runs a test that looks at its whole process in one of its own, however many share this one. Whoever gets
/// `false` has nothing left to do.
fn alone(test: &str) -> bool {
    const ALONE: &str = "TEST_IS_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let ended = child.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// Waits for something that gives no other notice.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        // tidy: sleep because the kernel gives no notice of what is waited for here
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

fn inline(ended: &Ended) -> String {
    match &ended.result {
        Ok(Some(ResultValue::Inline(bytes))) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("no result in memory: {other:?}"),
    }
}

/// The entries that stand whole in a log, which may be growing or not be there yet.
fn entries(log: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| Entry::parse(line).unwrap_or_else(|| panic!("{line:?} is no entry"))).collect()
}

/// The texts of one stream, with the pieces of long lines joined.
fn lines(log: &Path, stream: Stream) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for entry in entries(log).into_iter().filter(|entry| entry.stream == stream) {
        line.push_str(&entry.text);
        if !entry.goes_on {
            lines.push(std::mem::take(&mut line));
        }
    }
    assert_eq!(line, "", "a line that never ends");
    lines
}

fn own_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
