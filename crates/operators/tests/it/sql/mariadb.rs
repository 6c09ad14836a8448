//! A MariaDB of one's own. It listens on a free port and ends with the process that started it, however that ends.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use updraft_core::protocol::Connection;

use crate::owner::{Owner, free_port, program};

pub const PASSWORD: &str = "s3cret-of-maria";

/// A running server.
pub struct MariaDb {
    child: Child,
    home: PathBuf,
    pub port: u16,
}

impl MariaDb {
    /// Starts one with an empty database `shop`, and an account `etl` that may do all in it.
    pub fn start() -> Self {
        let owner = Owner::find(&["mysql", "nobody"]);
        let template = owner.template("maria", |folder| {
            let mut command = owner.command(program("mariadb-install-db", &[], "mariadb-server"));
            command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            command.arg(format!("--datadir={}", folder.display()));
            command
        });
        let home = owner.copy(&template, "maria");
        let init = home.join("init.sql");
        // It reads one statement a line.
        let account = format!(
            "CREATE DATABASE shop;\nCREATE USER etl@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO etl@'%';\n"
        );
        fs::write(&init, account).unwrap();
        let port = free_port();
        owner.tls(&home);
        let child = owner
            .command(program("mariadbd", &["/usr/sbin".into()], "mariadb-server"))
            .arg("--no-defaults")
            .arg(format!("--datadir={}", home.join("data").display()))
            .arg(format!("--socket={}", home.join("socket").display()))
            .arg(format!("--pid-file={}", home.join("pid").display()))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--ssl-cert={}", home.join("cert.pem").display()))
            .arg(format!("--ssl-key={}", home.join("key.pem").display()))
            .args(["--bind-address=127.0.0.1", &format!("--port={port}")])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=32M", "--skip-name-resolve"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { child, home, port };
        server.wait_until_ready();
        server
    }

    /// It opens its port when its first statements are done.
    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.home.join("log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "MariaDB ended at once: {}", log());
            assert!(begin.elapsed() < Duration::from_secs(30), "MariaDB is not ready: {}", log());
            // tidy: sleep because a port that opens can only be tried
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn connection(&self) -> Connection {
        Connection {
            conn_id: "shop".into(),
            conn_type: "mysql".into(),
            host: Some("127.0.0.1".into()),
            port: Some(self.port),
            schema: Some("shop".into()),
            login: Some("etl".into()),
            password: Some(PASSWORD.into()),
            ..Connection::default()
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}
