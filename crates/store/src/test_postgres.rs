//! A PostgreSQL of one's own, for tests and benches. It listens on a Unix socket in its own folder and on
//! nothing else, syncs like any other, and ends with the process that started it, however that ends.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

/// Where Debian has each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The settings that make it small. Nothing here makes it less durable.
const SETTINGS: [&str; 6] = [
    "listen_addresses=",
    "max_connections=40",
    "shared_buffers=64MB",
    "max_wal_size=256MB",
    "log_min_messages=warning",
    "dynamic_shared_memory_type=mmap",
];

/// A running server.
#[derive(Debug)]
pub struct TestPostgres {
    bin: PathBuf,
    home: PathBuf,
    /// Its pid, and the thread that waits for its end.
    running: Option<(u32, JoinHandle<()>)>,
    databases: AtomicU32,
}

impl TestPostgres {
    /// Starts one, with nothing in it, in memory where the machine has a file system there: a thousand small
    /// files are soon copied. The first call on a machine takes a second more, for `initdb`.
    ///
    /// # Panics
    ///
    /// When it can't be started, with the reason and the mend: it is for tests.
    pub fn start() -> Self {
        let memory = Path::new("/dev/shm");
        Self::start_in(&if memory.is_dir() { memory.into() } else { std::env::temp_dir() })
    }

    /// Starts one in this folder, for a bench that means to wait for a disk.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub fn start_in(folder: &Path) -> Self {
        Self::try_start(folder).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn try_start(folder: &Path) -> Result<Self, String> {
        let bin = binaries()?;
        let owner = Owner::find()?;
        let template = template(&bin, &owner)?;
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let home = folder.join(format!("updraft-pg-{}-{number}", std::process::id()));
        owner.folder(&home)?;
        let mut server = Self { bin, home, running: None, databases: AtomicU32::new(0) };
        let copied = owner.command("cp").arg("-a").arg(&template).arg(server.data()).status();
        if !copied.is_ok_and(|status| status.success()) {
            return Err(format!("could not copy {} to {}", template.display(), server.data().display()));
        }
        server.launch(&owner)?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn launch(&mut self, owner: &Owner) -> Result<(), String> {
        let mut command = owner.command(self.bin.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.home);
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (ready, started) = mpsc::channel();
        // The signal at a parent's death goes by the thread that made the child, so that one thread makes it
        // and stays until it ends.
        let thread = std::thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(ready.send(Err(format!("could not run {command:?}: {error}")))),
            };
            let _ = ready.send(Ok(child.id()));
            let mut log = String::new();
            for line in
                child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).flatten()
            {
                let _ = writeln!(log, "{line}");
            }
            let _ = child.wait();
            if std::thread::panicking() || std::env::var_os("UPDRAFT_TEST_POSTGRES_LOG").is_some() {
                eprint!("{log}");
            }
        });
        let pid = started.recv().map_err(|_| "the thread of the test's PostgreSQL died".to_owned())??;
        self.running = Some((pid, thread));
        self.wait_until_ready()
    }

    /// PostgreSQL says so in the last line of its pid file.
    fn wait_until_ready(&self) -> Result<(), String> {
        let pid_file = self.data().join("postmaster.pid");
        for _ in 0..2000 {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            if text.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
                return Ok(());
            }
            if self.running.as_ref().is_none_or(|(_, thread)| thread.is_finished()) {
                return Err(
                    "the test's PostgreSQL ended at once; set UPDRAFT_TEST_POSTGRES_LOG=1 to see why".into(),
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Err("the test's PostgreSQL is not ready after ten seconds".into())
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let done = Command::new(self.bin.join("psql"))
            .args(["-q", "-X", "-U", "updraft", "-d", "postgres", "-c"])
            .arg(format!("CREATE DATABASE {name}"))
            .arg("-h")
            .arg(&self.home)
            .status();
        assert!(done.is_ok_and(|status| status.success()), "could not make the database {name}");
        format!("postgres://updraft@localhost/{name}?host={}", self.home.display())
    }

    /// Runs statements in the database of this URL, several of them all or none.
    ///
    /// # Panics
    ///
    /// When it refuses one.
    pub fn run(&self, database: &str, statements: &str) {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements, database]);
        let done = psql.status();
        assert!(done.is_ok_and(|status| status.success()), "could not run {statements}");
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) {
        self.signal("-KILL");
    }

    /// Starts it again, on what it had.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub fn restart(&mut self) {
        let done = Owner::find().and_then(|owner| self.launch(&owner));
        done.unwrap_or_else(|problem| panic!("{problem}"));
    }

    fn signal(&mut self, signal: &str) {
        if let Some((pid, thread)) = self.running.take() {
            let _ = Command::new("kill").arg(signal).arg(pid.to_string()).status();
            let _ = thread.join();
        }
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        // An immediate shutdown: nobody wants the data any more.
        self.signal("-QUIT");
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// PostgreSQL refuses to run as root: then it runs as somebody else.
struct Owner {
    ids: Option<(u32, u32)>,
}

impl Owner {
    fn find() -> Result<Self, String> {
        let me = fs::metadata("/proc/self").map_err(|error| format!("/proc/self: {error}"))?.uid();
        if me != 0 {
            return Ok(Self { ids: None });
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        let ids = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let ids = ids("postgres").or_else(|| ids("nobody"));
        let ids = ids.ok_or("PostgreSQL does not run as root, and there is no user postgres or nobody")?;
        Ok(Self { ids: Some(ids) })
    }

    /// A command run by this user, which ends when we do.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some((user, group)) = self.ids {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
        }
        command.arg("--").arg(program).current_dir("/");
        command
    }

    /// Makes a folder of this user's that nobody else can change.
    fn folder(&self, path: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        match self.ids {
            Some((user, group)) => chown(path, Some(user), Some(group)).map_err(failed),
            None => Ok(()),
        }
    }
}

/// The folder with PostgreSQL's programs: the newest that Debian has, or where `postgres` is found.
fn binaries() -> Result<PathBuf, String> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = versions.filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| {
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok())
    });
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let newest = newest.map(|path| path.join("bin"));
    newest.or_else(|| std::env::split_paths(&paths).find(|path| path.join("initdb").exists())).ok_or_else(
        || {
            format!(
                "these tests start a PostgreSQL of their own, and there is none under {DEBIAN} nor in PATH: \
             install it, on Debian with `apt-get install postgresql`"
            )
        },
    )
}

/// A cluster that was made once and is copied for each server. Its language is not C, so that what leans on
/// the order of letters shows.
fn template(bin: &Path, owner: &Owner) -> Result<PathBuf, String> {
    let user = owner.ids.map_or_else(String::new, |(user, _)| format!("-{user}"));
    let version = bin.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let me = fs::metadata("/proc/self").map_or(0, |me| me.uid());
    let home = std::env::temp_dir().join(format!("updraft-pg-template-{version}-{me}{user}"));
    owner.folder(&home)?;
    let failed = |error: std::io::Error| format!("{}: {error}", home.display());
    // One process makes it, the others wait.
    let lock = File::create(home.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (cluster, half) = (home.join("cluster"), home.join("half"));
    if cluster.exists() {
        return Ok(cluster);
    }
    let _ = fs::remove_dir_all(&half);
    let made = owner
        .command(bin.join("initdb"))
        .args(["--username=updraft", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--locale-provider=icu", "--icu-locale=en-US", "--no-instructions", "--no-sync", "-D"])
        .arg(&half)
        .output()
        .map_err(failed)?;
    if !made.status.success() {
        return Err(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr)));
    }
    fs::rename(&half, &cluster).map_err(failed)?;
    Ok(cluster)
}
