//! Whoever a test's servers run as: they refuse to run as root, and then are somebody else's.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

pub struct Owner {
    ids: Option<(u32, u32)>,
}

impl Owner {
    /// The first of these users that there is, where we are root.
    pub fn find(names: &[&str]) -> Self {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Self { ids: None };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let ids = |name: &&str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(*name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let found = names.iter().find_map(ids);
        Self { ids: Some(found.unwrap_or_else(|| panic!("none of the users {names:?} is there"))) }
    }

    /// A command that ends when we do.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((user, group)) = self.ids {
            // The group lets an SSH server give terminals.
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--groups=tty");
        }
        command.arg("--").arg(program).current_dir("/");
        command
    }

    fn folder(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self.own(path);
    }

    /// This is theirs.
    pub fn own(&self, path: &Path) {
        if let Some((user, group)) = self.ids {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// What the system calls them.
    pub fn name(&self) -> String {
        let id = self.ids.map_or_else(|| fs::metadata("/proc/self").unwrap().uid(), |(user, _)| user);
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let user = users.lines().find(|line| line.split(':').nth(2) == Some(&id.to_string())).unwrap();
        user.split(':').next().unwrap().to_owned()
    }

    /// A folder of data that the command makes, once on a machine, to be copied for each server.
    pub fn template(&self, kind: &str, make: impl FnOnce(&Path) -> Command) -> PathBuf {
        let user = self.ids.map_or_else(String::new, |(user, _)| format!("-{user}"));
        let home = std::env::temp_dir().join(format!("updraft-{kind}-template-of-operators{user}"));
        self.folder(&home);
        // One process makes it, the others wait.
        let lock = File::create(home.join("lock")).unwrap();
        lock.lock().unwrap();
        let (data, half) = (home.join("data"), home.join("half"));
        if !data.exists() {
            let _ = fs::remove_dir_all(&half);
            let made = make(&half).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            fs::rename(&half, &data).unwrap();
        }
        data
    }

    /// A new folder with a copy of these data as its `data`, in memory where the machine has a file system there.
    pub fn copy(&self, template: &Path, kind: &str) -> PathBuf {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let home = folder.join(format!("updraft-{kind}-of-operators-{}-{number}", std::process::id()));
        self.folder(&home);
        let copied = self.command("cp").arg("-a").arg(template).arg(home.join("data")).status().unwrap();
        assert!(copied.success());
        home
    }
}

impl Owner {
    /// Puts a certificate and its key where a server can read them and takes them: nobody else may read the key.
    pub fn tls(&self, home: &Path) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        for (name, mode) in [("cert.pem", 0o644), ("key.pem", 0o600)] {
            fs::copy(fixtures.join(name), home.join(name)).unwrap();
            fs::set_permissions(home.join(name), fs::Permissions::from_mode(mode)).unwrap();
            self.own(&home.join(name));
        }
    }
}

/// A port that nobody has.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program in PATH or in one of these folders.
pub fn program(name: &str, folders: &[PathBuf], package: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(std::env::split_paths(&paths));
    let found = all.map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!(
            "these tests start servers of their own, and there is no {name}: install it, on Debian with \
             `apt-get install {package}`"
        )
    })
}
