//! The private folders of attempts, and the larger results that outlive them.
//!
//! A folder that a task leaves empty serves another one: ext4 looks at every recently deleted inode of a
//! block group before it makes a new one, and with a folder made and removed for each of a thousand short
//! tasks a second that is more work than the tasks themselves.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::SpawnError;
use super::guard::Ruleset;

const PRIVATE: u32 = 0o700;
/// Others may pass through it, but not look into it.
const PASSABLE: u32 = 0o711;
/// The socket at which tasks ask the worker.
pub(super) const API_SOCKET: &str = "api";
/// More than these are removed rather than kept.
const MOST_KEPT: usize = 1024;

/// Where attempts get their private folders: those of other users (`run_as_user`) somewhere else, since the usual
/// place is within a folder that only this program's user can enter.
#[derive(Debug)]
pub(super) struct Scratches {
    pub(super) own: Scratch,
    /// Where that is, if it is somewhere else. Nothing is made there before the first one comes.
    of_others: Option<PathBuf>,
    made: OnceLock<Scratch>,
}

impl Scratches {
    pub(super) fn new(own: &Path, of_others: Option<PathBuf>) -> io::Result<Self> {
        Ok(Self { own: Scratch::new(own)?, of_others, made: OnceLock::new() })
    }

    /// Those of other users.
    pub(super) fn of_others(&self) -> Result<&Scratch, SpawnError> {
        let Some(path) = &self.of_others else { return Ok(&self.own) };
        self.at(path).map_err(|source| SpawnError::Scratch { path: path.clone(), source })
    }

    fn at(&self, path: &Path) -> io::Result<&Scratch> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        match DirBuilder::new().mode(PASSABLE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // It is where others may have made something, too.
        let found = path.symlink_metadata()?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0
        {
            return Err(io::Error::other("somebody else has made it, or may write in it: remove it"));
        }
        let made = Scratch::new(path)?;
        Ok(self.made.get_or_init(|| made))
    }

    /// Removes what former programs have left, and tells how many entries that were.
    pub(super) fn clear_former(&self) -> io::Result<usize> {
        let mut removed = self.own.clear_former()?;
        if let Some(path) = self.of_others.as_ref().filter(|path| path.symlink_metadata().is_ok()) {
            removed += self.at(path)?.clear_former()?;
        }
        Ok(removed)
    }

    /// Removes the folder for others, if nothing is in it any more but the socket.
    pub(super) fn leave(&self) {
        if let Some(made) = self.made.get() {
            // Whatever is left there is removed at the next start.
            let _ = std::fs::remove_file(made.api_socket());
            let _ = std::fs::remove_dir(made.root());
        }
    }
}

/// A folder for private folders.
#[derive(Debug)]
pub(super) struct Scratch {
    root: PathBuf,
    /// What all names here begin with: no other program's do.
    prefix: String,
    folders: Mutex<Folders>,
}

#[derive(Debug, Default)]
struct Folders {
    given: u64,
    free: Vec<Folder>,
}

impl Scratch {
    /// Makes the folder if it is missing.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        std::fs::set_permissions(root, Permissions::from_mode(PASSABLE))?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prefix = format!("{}-{}", std::process::id(), since_1970.as_micros());
        Ok(Self { root: root.canonicalize()?, prefix, folders: Mutex::default() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where tasks can reach the worker.
    pub(super) fn api_socket(&self) -> PathBuf {
        self.root.join(API_SOCKET)
    }

    /// A folder that only its owner can enter, with an empty one to work in.
    pub(super) fn folder(&self) -> io::Result<Folder> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}-{}", self.prefix, folders.given);
        folders.given += 1;
        let kept_result = self.root.join(format!("{name}.result"));
        if let Some(folder) = folders.free.pop() {
            return Ok(Folder { kept_result, ..folder });
        }
        let path = self.root.join(name);
        DirBuilder::new().mode(PRIVATE).create(&path)?;
        let folder = Folder { path: FolderPath(path), kept_result, ruleset: None };
        DirBuilder::new().mode(PRIVATE).create(folder.work())?;
        Ok(folder)
    }

    fn clear_former(&self) -> io::Result<usize> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // The folder may be one that others use, too.
            if name.starts_with(&self.prefix) || !is_ours(&name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
            removed += 1;
        }
        Ok(removed)
    }

    /// Takes a folder back, whose attempt is over and of which no process is left, to give it to another one.
    /// Gives it back if it is not as it was. Its former users could reach it again only through a Landlock
    /// domain that has died with them.
    pub(super) fn take_back(&self, folder: Folder) -> Option<Folder> {
        if folder.path().parent() != Some(&self.root) || !folder.is_as_made() {
            return Some(folder);
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if folders.free.len() >= MOST_KEPT {
            return Some(folder);
        }
        folders.free.push(folder);
        None
    }
}

/// Whether such a program has given this name: `<pid>-<microseconds>-<number>`, `.result` behind it or not.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(".result").unwrap_or(name);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    name.split('-').count() == 3 && name.split('-').all(is_number)
}

/// A private folder, removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: FolderPath,
    kept_result: PathBuf,
    /// The guard's rules for whoever works here: they hold for the next one, too.
    pub(super) ruleset: Option<Ruleset>,
}

#[derive(Debug)]
struct FolderPath(PathBuf);

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.path.0
    }

    /// The folder to work in.
    pub(super) fn work(&self) -> PathBuf {
        self.path.0.join("work")
    }

    /// Where a script is put.
    pub(super) fn script(&self) -> PathBuf {
        self.path.0.join("script")
    }

    /// Where a task may write its result.
    pub(super) fn result(&self) -> PathBuf {
        self.path.0.join("result")
    }

    /// Where a result of this attempt is kept: beside the folder, out of the task's reach.
    pub(super) fn kept_result(&self) -> KeptFile {
        KeptFile { path: self.kept_result.clone() }
    }

    /// Whether nothing is in it but the empty folder to work in, both still private.
    fn is_as_made(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        let is_private =
            |folder: Metadata| folder.is_dir() && folder.mode() & 0o777 == PRIVATE && folder.uid() == own;
        // What a task need not have been given is not there to remove.
        let _ = std::fs::remove_file(self.script());
        let count = |path: &Path| std::fs::read_dir(path).map(Iterator::count);
        let state = || {
            let private =
                is_private(self.path.0.symlink_metadata()?) && is_private(self.work().symlink_metadata()?);
            Ok::<bool, io::Error>(private && count(&self.work())? == 0 && count(&self.path.0)? == 1)
        };
        state().unwrap_or(false)
    }
}

impl Drop for FolderPath {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "an attempt's folder could not be removed");
        }
    }
}

/// A file that is removed when dropped.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
}

impl KeptFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn create(&self) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).mode(0o600).open(&self.path)
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), %error, "a result file could not be removed");
        }
    }
}
