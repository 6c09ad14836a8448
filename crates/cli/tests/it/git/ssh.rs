//! A repository over SSH, by OpenSSH's own server.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{Repository, dag, following, until_at, until_error};
use crate::system::System;

/// A server whose one account is whoever runs the test, by the key `key` in its folder.
struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Sshd {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for key in ["host_key", "key"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key));
            assert!(command.status().unwrap().success());
        }
        if rustix::process::geteuid().is_root() {
            // Root's server wants this folder, which the system makes when it starts one.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (host_key, key) = (path("host_key"), path("key.pub"));
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\n",
            host_key.display(),
            key.display()
        );
        std::fs::write(path("config"), config).unwrap();
        // It wants to be called by its whole path.
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(path("log")).unwrap())
            .spawn()
            .expect("OpenSSH's server: run `scripts/setup.sh test`");
        let server = Self { child, folder, port };
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            tick.tick().await;
            assert!(began.elapsed() < Duration::from_secs(30), "sshd is not ready: {}", server.log());
        }
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The address of a folder on it.
    fn url(&self, folder: &Path) -> String {
        let me = Command::new("id").arg("-un").output().unwrap();
        let me = String::from_utf8(me.stdout).unwrap();
        format!("ssh://{}@127.0.0.1:{}{}", me.trim(), self.port, folder.display())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_files(system: &mut System, key: &Path, known_hosts: &Path) {
    system.set("UPDRAFT__DAGS__GIT__SSH_KEY_FILE", key.display().to_string());
    system.set("UPDRAFT__DAGS__GIT__SSH_KNOWN_HOSTS_FILE", known_hosts.display().to_string());
}

#[tokio::test]
async fn over_ssh_both_sides_have_to_be_known() {
    let repository = Repository::new();
    let commit = repository.commit(&[("dags/a.yaml", &dag("a", "1"))]);
    let server = Sshd::start().await;
    let mut system = following(&server.url(&repository.root().join("dags.git")), 1);
    // Names that a shell would read as more than one, and as a command.
    let odd = server.path("of us; touch $(echo x)");
    std::fs::create_dir(&odd).unwrap();
    let (key, known_hosts) = (odd.join("key"), odd.join("known hosts"));
    std::fs::write(&known_hosts, "").unwrap();
    std::fs::copy(server.path("host_key"), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    set_files(&mut system, &key, &known_hosts);
    system.start(1);
    until_error(&system, Some("Check the Git server's key")).await;
    let host_key = std::fs::read_to_string(server.path("host_key.pub")).unwrap();
    std::fs::write(&known_hosts, format!("[127.0.0.1]:{} {host_key}", server.port)).unwrap();
    until_error(&system, Some("Set `dags.git.ssh_key_file` to a key")).await;
    std::fs::copy(server.path("key"), &key).unwrap();
    until_at(&system, &[("a", &commit)]).await;
    until_error(&system, None).await;
}
