//! A PostgreSQL of one's own. It listens on a socket in its own folder and on a free port, and ends with the process that started it,
//! however that ends.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use updraft_core::protocol::Connection;

use super::PASSWORD;
use crate::owner::{Owner, free_port, program};

/// A running server.
pub struct Postgres {
    owner: Owner,
    home: PathBuf,
    pub port: u16,
    child: Child,
}

impl Postgres {
    /// Starts one with nothing in it.
    pub fn start() -> Self {
        let owner = Owner::find(&["postgres", "nobody"]);
        let template = owner.template("pg", |folder| {
            let mut command = owner.command(of_postgres("initdb"));
            command.args([
                "--username=updraft",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]);
            command.arg("-D").arg(folder);
            command
        });
        let home = owner.copy(&template, "pg");
        owner.tls(&home);
        let port = free_port();
        let child = launch(&owner, &home, port);
        let mut server = Self { owner, home, port, child };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        let is_ready = || {
            let pid_file = fs::read_to_string(self.home.join("data/postmaster.pid")).unwrap_or_default();
            pid_file.lines().nth(7).is_some_and(|state| state.trim() == "ready")
                && UnixStream::connect(self.home.join(format!(".s.PGSQL.{}", self.port))).is_ok()
        };
        while !is_ready() {
            let log = || fs::read_to_string(self.home.join("log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "PostgreSQL ended at once: {}", log());
            assert!(begin.elapsed() < Duration::from_secs(30), "PostgreSQL is not ready: {}", log());
            // tidy: sleep because a server that starts can only be asked
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn connection(&self) -> Connection {
        Connection {
            conn_id: "warehouse".into(),
            conn_type: "postgres".into(),
            host: Some(self.home.to_str().unwrap().into()),
            port: Some(self.port),
            schema: Some("postgres".into()),
            login: Some("updraft".into()),
            password: Some(PASSWORD.into()),
            ..Connection::default()
        }
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on what it had.
    pub fn restart(&mut self) {
        fs::remove_file(self.home.join("data/postmaster.pid")).unwrap();
        self.child = launch(&self.owner, &self.home, self.port);
        self.wait_until_ready();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn launch(owner: &Owner, home: &Path, port: u16) -> Child {
    let mut command = owner.command(of_postgres("postgres"));
    command.arg("-D").arg(home.join("data")).arg("-k").arg(home).arg("-p").arg(port.to_string());
    let (cert, key) = (home.join("cert.pem"), home.join("key.pem"));
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        "max_connections=40".into(),
        "shared_buffers=32MB".into(),
        "dynamic_shared_memory_type=mmap".into(),
        "ssl=on".into(),
        format!("ssl_cert_file={}", cert.display()),
        format!("ssl_key_file={}", key.display()),
    ];
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    let log = File::create(home.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// One of its programs: of the newest that Debian has, or in PATH.
fn of_postgres(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(number).map(|path| path.join("bin"));
    program(name, &newest.into_iter().collect::<Vec<_>>(), "postgresql")
}
