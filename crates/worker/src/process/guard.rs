//! What a task cannot reach, by Landlock: files of the server and of other tasks, other processes' memory,
//! environment and descriptors, signals to them, their abstract sockets.
//!
//! Each task is put into a Landlock domain of its own, so that tasks of one OS user are kept from one another
//! as well as from us. Landlock knows only what is allowed, never what is denied. "Everything but these" is
//! therefore said by allowing every neighbour of a denied path, in its own folder and in each folder above.
//! Four things follow, and cannot be helped:
//!
//! - In the folders above a denied path ([`Guard::narrowed_folders`]) a task can use what is there but cannot
//!   create or rename anything directly in them. Keep what is denied in a folder of its own, not in `/tmp` or
//!   among people's files.
//! - Names can be listed everywhere, also below denied paths.
//! - What appears in such a folder while a task runs is out of that task's reach (later tasks reach it).
//! - A path that leads to a denied file by another mount is another path.
//!
//! Landlock needs `no_new_privs`: under a guard, `sudo` and other set-user-id programs run without their
//! rights. A guarded task that runs as root is without the capabilities that reach into memory past Landlock
//! (SYS_ADMIN, PERFMON, BPF, ...). Landlock does not hide that a path exists, does not stop root from reading
//! a disk's device, and until its ABI 9 does not keep a task from connecting to a Unix socket that has a
//! path: whoever listens on one must ask for proof.
//!
//! It keeps a script from reading and meddling, and is no prison for code that means harm: what a task may
//! write it may write for later, such as a crontab or a shell's start file, and what runs that is under no
//! guard. Run people who do not trust one another as different users (`run_as_user`).

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{Mode, OFlags};

use super::error::shortage;
use super::folder::Folder;
use super::sys;

/// The newest ABI whose rights we know; the kernel is asked for as many of them as it has.
const NEWEST: ABI = ABI::V9;

/// What tasks are to be kept from.
#[derive(Debug, Clone, Default)]
pub struct GuardPolicy {
    /// Files and folders that are out of reach, with all that is below them. They may come to be later.
    pub denied: Vec<PathBuf>,
    /// Below denied ones: what may be read and executed all the same.
    pub readable: Vec<PathBuf>,
    /// Below denied ones: what may be used in full all the same.
    pub writable: Vec<PathBuf>,
}

/// Why a guard cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The kernel has Landlock, and gave none.
    #[error("this kernel offers Landlock, and gave no ruleset for a task")]
    NoRuleset,
    /// A path cannot be looked at.
    #[error("the guard cannot look at {}: {source}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Landlock refused the rules.
    #[error("Landlock refused the guard's rules: {0}")]
    Rules(#[from] RulesetError),
}

/// How far a task is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardStatus {
    /// No guard was asked for.
    NotAsked,
    /// Landlock is at work.
    Active {
        /// The kernel's ABI version.
        abi: u32,
        /// What this version cannot keep from a task; empty from ABI 9 on.
        missing: Vec<&'static str>,
    },
    /// The kernel has no Landlock: nothing is kept from the task but what file permissions keep.
    Unavailable {
        /// Why.
        why: String,
    },
}

impl GuardStatus {
    fn of(abi: Result<u32, String>) -> Self {
        let abi = match abi {
            Ok(abi) if abi > 0 => abi,
            Ok(_) => return Self::Unavailable { why: "the kernel answers with Landlock ABI 0".into() },
            Err(why) => return Self::Unavailable { why },
        };
        let since = [
            (3, "truncating denied files"),
            (5, "device ioctls on denied files"),
            (6, "signals to processes outside the task"),
            (6, "abstract Unix sockets outside the task"),
            (9, "Unix sockets with a path"),
        ];
        Self::Active {
            abi,
            missing: since.into_iter().filter(|(since, _)| abi < *since).map(|(_, what)| what).collect(),
        }
    }
}

/// A policy ready to be laid on tasks. One serves all tasks with the same policy.
#[derive(Debug)]
pub struct Guard {
    policy: GuardPolicy,
    status: GuardStatus,
    rules: Mutex<Option<Arc<Rules>>>,
}

/// The allowed paths, opened once, and the state of the folders they were found in. What is not there has none.
#[derive(Debug)]
struct Rules {
    allowed: Vec<(OwnedFd, BitFlags<AccessFs>)>,
    depends_on: Vec<(PathBuf, Option<Seen>)>,
}

type Seen = (u64, i64, i64);

/// Rules handed to the kernel, with one more for a private folder. Each task that is put under it gets a
/// domain of its own.
#[derive(Debug)]
pub(super) struct Ruleset {
    rules: Arc<Rules>,
    fd: OwnedFd,
}

impl Ruleset {
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn new(rules: Arc<Rules>, folder: &Path) -> Result<Self, GuardError> {
        let own = open(folder).map_err(|source| GuardError::Path { path: folder.to_owned(), source })?;
        let full = AccessFs::from_all(NEWEST);
        let ruleset = landlock::Ruleset::default().handle_access(full)?.scope(Scope::from_all(NEWEST))?;
        let mut ruleset = ruleset.create()?;
        for (path, access) in &rules.allowed {
            ruleset = ruleset.add_rule(PathBeneath::new(path, *access))?;
        }
        let ruleset = ruleset.add_rule(PathBeneath::new(&own, full))?;
        let fd: Option<OwnedFd> = ruleset.into();
        // The crate gives no descriptor where the kernel has no Landlock, and this one has.
        let fd = fd.ok_or(GuardError::NoRuleset)?;
        Ok(Self { rules, fd })
    }
}

impl Guard {
    /// Makes a policy ready, as far as this kernel can follow it.
    pub fn new(policy: GuardPolicy) -> Result<Self, GuardError> {
        let abi = sys::landlock_abi().map_err(|error| format!("this kernel offers no Landlock ({error})"));
        Self::with_abi(policy, abi)
    }

    fn with_abi(mut policy: GuardPolicy, abi: Result<u32, String>) -> Result<Self, GuardError> {
        for path in policy.denied.iter_mut().chain(&mut policy.readable).chain(&mut policy.writable) {
            *path = canonical(path)?;
        }
        let status = GuardStatus::of(abi);
        Ok(Self { policy, status, rules: Mutex::new(None) })
    }

    /// The policy, its paths without links.
    #[must_use]
    pub fn policy(&self) -> &GuardPolicy {
        &self.policy
    }

    /// How far this kernel follows the policy.
    #[must_use]
    pub fn status(&self) -> &GuardStatus {
        &self.status
    }

    /// Whether anything is kept from tasks.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.status, GuardStatus::Active { .. })
    }

    /// The folders above denied paths, in which tasks cannot create anything directly.
    #[must_use]
    pub fn narrowed_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self
            .policy
            .denied
            .iter()
            .flat_map(|path| path.ancestors().skip(1))
            .map(Path::to_path_buf)
            .collect();
        folders.sort();
        folders.dedup();
        folders.retain(|folder| !self.policy.denied.iter().any(|denied| folder.starts_with(denied)));
        folders
    }

    /// Gives a folder the ruleset for who works in it, who may use it in full. None where there is no
    /// Landlock.
    pub(super) fn lay_rules(&self, folder: &mut Folder) -> Result<(), GuardError> {
        if matches!(self.status, GuardStatus::Unavailable { .. }) {
            folder.ruleset = None;
            return Ok(());
        }
        let rules = self.rules()?;
        if folder.ruleset.as_ref().is_none_or(|known| !Arc::ptr_eq(&known.rules, &rules)) {
            folder.ruleset = Some(Ruleset::new(rules, folder.path())?);
        }
        Ok(())
    }

    /// The rules, found anew if something that they depend on has changed.
    fn rules(&self) -> Result<Arc<Rules>, GuardError> {
        let mut cached = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = &*cached
            && rules.depends_on.iter().all(|(folder, seen)| state_of(folder) == *seen)
        {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(self.find_rules()?);
        *cached = Some(Arc::clone(&rules));
        Ok(rules)
    }

    fn find_rules(&self) -> Result<Rules, GuardError> {
        let full = AccessFs::from_all(NEWEST);
        let mut rules = Rules { allowed: Vec::new(), depends_on: Vec::new() };
        let folders = self.narrowed_folders();
        for folder in &folders {
            // Looked at before it is read: a change in between makes the next task read it again.
            rules.depends_on.push((folder.clone(), state_of(folder)));
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(source) if shortage(&source).is_some() => {
                    return Err(GuardError::Path { path: folder.clone(), source });
                }
                // A folder that we cannot list, or that is not there yet, has no neighbours to allow.
                Err(_) => continue,
            };
            for entry in entries.flatten() {
                let path = entry.path();
                if !self.policy.denied.contains(&path) && folders.binary_search(&path).is_err() {
                    rules.allow(&path, full)?;
                }
            }
        }
        if folders.is_empty() {
            rules.allow(Path::new("/"), full)?;
        }
        // Names, not contents: it can't be allowed for a folder and not for those below, and without it `ls ~`
        // and `ls /` would fail.
        rules.allow(Path::new("/"), AccessFs::ReadDir.into())?;
        let readable = self.policy.readable.iter().map(|path| (path, AccessFs::from_read(NEWEST)));
        for (path, access) in readable.chain(self.policy.writable.iter().map(|path| (path, full))) {
            // One that comes to be later is to be found then.
            if state_of(path).is_none() {
                rules.depends_on.push((path.clone(), None));
            }
            rules.allow(path, access)?;
        }
        Ok(rules)
    }
}

impl Rules {
    /// Links need no rule, since it is what they lead to that is checked; what vanishes meanwhile needs none
    /// either. What can't be opened only now does: without it tasks would miss what is there.
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), GuardError> {
        let is_link = |file: &OwnedFd| {
            rustix::fs::fstat(file)
                .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
        };
        match open(path) {
            Ok(file) if !is_link(&file) => self.allowed.push((file, access)),
            Err(source) if shortage(&source).is_some() => {
                return Err(GuardError::Path { path: path.to_owned(), source });
            }
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

fn state_of(folder: &Path) -> Option<Seen> {
    let seen = |metadata: Metadata| (metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
    std::fs::metadata(folder).ok().map(seen)
}

/// The path without links. One that is not there yet keeps its last names below what is.
fn canonical(path: &Path) -> Result<PathBuf, GuardError> {
    let failed = |source| GuardError::Path { path: path.to_owned(), source };
    match path.canonicalize() {
        Ok(canonical) => Ok(canonical),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if path.is_absolute() => Ok(canonical(parent)?.join(name)),
            _ => Err(failed(error)),
        },
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests;
