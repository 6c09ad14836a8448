//! The home folder: what is where in it.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// `~/.updraft`.
pub fn default_home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from(".")).join(".updraft")
}

/// How many bytes the path of a Unix socket may have: Linux keeps 108, one of which ends it.
const LONGEST_SOCKET: usize = 107;

/// What is where in the home folder.
#[derive(Clone)]
pub struct Home(pub PathBuf);

impl Home {
    /// The folder with everything; made, where it is not there, for nobody but this user.
    pub fn open(path: PathBuf) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let doing = || format!("can't make the home folder {}", path.display());
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&path).with_context(doing)?;
        let home = Self(path.canonicalize().with_context(doing)?);
        for folder in [home.run(), home.logs(), home.blobs(), home.checkouts()] {
            builder.create(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        }
        Ok(home)
    }

    /// The name under which this installation's server leads; made at the first start. Not what is set, and
    /// not the path: many machines may have a home folder at one path, and one database.
    pub fn server_name(&self) -> Result<String> {
        Ok(format!("updraft-{}", random_file(&self.server_name_file(), 16)?))
    }

    /// Whether a server was at work here before.
    pub fn has_served(&self) -> bool {
        self.server_name_file().exists()
    }

    fn server_name_file(&self) -> PathBuf {
        self.0.join("server-name")
    }

    /// The database, where no other is set.
    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.0.join("updraft.db").display())
    }

    /// Whether that database is there.
    pub fn has_database(&self) -> bool {
        self.0.join("updraft.db").exists()
    }

    /// Sockets, locks and what lasts no longer than the processes.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Where the server that works in this home folder listens, as it has written it down.
    pub fn address_in(home: &Path) -> PathBuf {
        home.join("run").join("address")
    }

    /// The password of the first account, as it was made.
    pub fn admin_password_in(home: &Path) -> PathBuf {
        home.join("admin-password")
    }

    /// What is checked out of a repository with DAG files.
    pub fn git_in(home: &Path) -> PathBuf {
        home.join("git")
    }

    /// The commits in it. There is always such a folder, so that a keeper that outlives a change of settings lets
    /// tasks read what comes into it.
    pub fn checkouts(&self) -> PathBuf {
        Self::git_in(&self.0).join("checkouts")
    }

    /// What is deployed, for the server to read.
    pub fn deployed(&self) -> PathBuf {
        self.0.join("deployed")
    }

    /// The same as tasks read it, with what it asks for.
    pub fn bundles(&self) -> PathBuf {
        self.0.join("bundles")
    }

    /// The DAG files, where no other folder is set.
    pub fn dags_in(home: &Path) -> PathBuf {
        home.join("dags")
    }

    /// Where workers of this machine reach the server.
    pub fn socket(&self) -> PathBuf {
        self.run().join("worker.sock")
    }

    /// What workers of this machine show.
    pub fn worker_token(&self) -> PathBuf {
        self.run().join("worker-token")
    }

    /// Held by the keeper of this name for as long as it lives.
    pub fn keeper_lock(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.lock"))
    }

    /// Held by the server for as long as it lives.
    pub fn server_lock(&self) -> PathBuf {
        self.run().join("server.lock")
    }

    /// Refuses a home folder in which the paths of these sockets are too long for the system.
    pub fn check_sockets(&self, sockets: &[PathBuf]) -> Result<()> {
        for socket in sockets {
            let bytes = socket.as_os_str().len();
            if bytes <= LONGEST_SOCKET {
                continue;
            }
            let Ok(within) = socket.strip_prefix(&self.0) else {
                let folder = socket.parent().unwrap_or(socket);
                bail!(
                    "the path of the scratch folder {} is too long: that of a socket in it has {bytes} bytes, and the \
                     system allows {LONGEST_SOCKET}. Name a folder with a shorter one (`worker.scratch`)",
                    folder.display()
                );
            };
            let most = LONGEST_SOCKET.saturating_sub(within.as_os_str().len() + 1);
            bail!(
                "the path of the home folder {} is too long: that of a socket in it ({}) has {bytes} bytes, and the \
                 system allows {LONGEST_SOCKET}. Name a folder whose path has at most {most} bytes, by --home or \
                 UPDRAFT_HOME",
                self.0.display(),
                within.display()
            );
        }
        Ok(())
    }

    /// The logs of attempts.
    pub fn logs(&self) -> PathBuf {
        logs_in(&self.0)
    }

    /// Large values.
    pub fn blobs(&self) -> PathBuf {
        blobs_in(&self.0)
    }

    /// The folders of attempts that run.
    pub fn scratch(&self) -> PathBuf {
        self.run().join("scratch")
    }

    /// The folders of attempts that run as other users, who can't enter this one: where root alone makes folders and
    /// all may pass through. Only root can run any.
    pub fn scratch_of_others(&self) -> Option<PathBuf> {
        nix::unistd::geteuid().is_root().then(|| Path::new("/var/cache").join(self.installation()))
    }

    /// What tasks write, where no other folder is set.
    pub fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    /// What tells this installation's processes from another's on the same machine.
    pub fn installation(&self) -> String {
        let hash =
            self.0.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            });
        format!("updraft-{hash:016x}")
    }
}

/// The logs of attempts, in the home folder or where `blob.url` says.
pub fn logs_in(folder: &Path) -> PathBuf {
    folder.join("logs")
}

/// Large values, in the home folder or where `blob.url` says.
pub fn blobs_in(folder: &Path) -> PathBuf {
    folder.join("blobs")
}

/// What is random and kept in a file for this user alone: made, with so many bytes, where it is not there.
pub fn random_file(path: &Path, bytes: usize) -> Result<String> {
    let doing = || format!("can't make {}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) if !text.is_empty() => return Ok(text),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(doing),
    }
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(doing)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).with_context(doing)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn two_homes_at_one_path_have_two_names_and_a_home_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let name = || Home::open(folder.path().join("home")).unwrap().server_name().unwrap();
        let first = name();
        assert_eq!(name(), first);
        let file = folder.path().join("home/server-name");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // As on another machine.
        std::fs::rename(folder.path().join("home"), folder.path().join("elsewhere")).unwrap();
        assert_ne!(name(), first);
    }

    #[test]
    fn the_longest_home_that_is_allowed_has_room_for_its_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().canonicalize().unwrap().join("x".repeat(200));
        let checked = |bytes: usize| {
            let home = Home(long.to_str().unwrap()[..bytes].into());
            home.check_sockets(&[home.socket()])
        };
        let said = checked(150).unwrap_err().to_string();
        assert!(said.contains("has 166 bytes") && said.contains("at most 91 bytes, by --home"), "{said}");
        checked(91).unwrap();
        checked(92).unwrap_err();
        std::fs::create_dir_all(&long.to_str().unwrap()[..91]).unwrap();
        let home = Home::open(long.to_str().unwrap()[..91].into()).unwrap();
        std::os::unix::net::UnixListener::bind(home.socket()).unwrap();
        let elsewhere = home.check_sockets(&[PathBuf::from("/y").join("y".repeat(120))]).unwrap_err();
        assert!(elsewhere.to_string().contains("`worker.scratch`"), "{elsewhere}");
    }
}
