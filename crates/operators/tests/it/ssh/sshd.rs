//! OpenSSH's server, one's own. It listens on a free port and ends with the process that started it, however that ends.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use updraft_core::protocol::Connection;

use crate::owner::{Owner, free_port, program};

/// A running server, whose one account is whoever it runs as, by the key `key` in its home.
pub struct Sshd {
    child: Child,
    pub home: tempfile::TempDir,
    pub port: u16,
    pub login: String,
}

impl Sshd {
    /// Starts one; `more` is added to its configuration.
    pub fn start(more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        // To root, sshd sends no signals. This account has a shell.
        let owner = Owner::find(&["postgres"]);
        owner.own(home.path());
        make_key(&path("host_key"), "");
        owner.own(&path("host_key"));
        make_key(&path("key"), "");
        fs::copy(path("key.pub"), path("authorized_keys")).unwrap();
        let port = free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\nAuthorizedKeysFile {keys}\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication yes\nLogLevel VERBOSE\n\
             AcceptEnv UPDRAFT_*\nSubsystem sftp internal-sftp\n{more}\n",
            host = path("host_key").display(),
            keys = path("authorized_keys").display(),
        );
        fs::write(path("config"), config).unwrap();
        let child = owner
            .command(program("sshd", &["/usr/sbin".into()], "openssh-server"))
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { child, home, port, login: owner.name() };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "sshd ended at once: {}", self.log());
            assert!(begin.elapsed() < Duration::from_secs(30), "sshd is not ready: {}", self.log());
            // tidy: sleep because a port that opens can only be tried
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Makes a folder that is the account's.
    pub fn folder(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        Owner::find(&["postgres"]).own(&self.path(name));
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A connection by the key, to a server whose key is known.
    pub fn connection(&self) -> Connection {
        let extra = json!({"private_key": self.text("key"), "host_key": self.text("host_key.pub")});
        self.with_extra(extra)
    }

    pub fn with_extra(&self, extra: Value) -> Connection {
        Connection {
            conn_id: "box".into(),
            conn_type: "ssh".into(),
            host: Some("127.0.0.1".into()),
            port: Some(self.port),
            login: Some(self.login.clone()),
            extra: extra.as_object().unwrap().clone(),
            ..Connection::default()
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a pair of keys.
pub fn make_key(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "", "-N", passphrase, "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen is not there: on Debian, `apt-get install openssh-client`");
    assert!(made.success());
}
