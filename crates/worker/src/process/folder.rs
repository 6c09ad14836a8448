//! The private folders of attempts, and the larger results that outlive them.
//!
//! A folder that a task leaves empty serves another one: ext4 looks at every recently deleted inode of a
//! block group before it makes a new one, and with a folder made and removed for each of a thousand short
//! tasks a second that is more work than the tasks themselves.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::guard::Ruleset;

const PRIVATE: u32 = 0o700;
/// The socket at which tasks ask the worker.
const API_SOCKET: &str = "api";
/// More than these are removed rather than kept.
const MOST_KEPT: usize = 1024;

/// Where attempts get their private folders.
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
    /// Makes the folder if it is missing. Others may pass through it (`run_as_user` needs that) but not look
    /// into it.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        std::fs::set_permissions(root, Permissions::from_mode(0o711))?;
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

    /// Removes what former programs have left, and tells how many entries that were.
    pub(super) fn clear_former(&self) -> io::Result<usize> {
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
        if !folder.is_as_made() {
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
