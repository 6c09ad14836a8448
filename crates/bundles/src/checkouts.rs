//! The folder with what is unpacked: `checkouts/<version>`, and `current`, a link to one of them.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{Error, at, links};

/// The folder with a source's versions, and where in them DAG files are.
#[derive(Clone, Debug)]
pub struct Checkouts {
    /// The folder.
    pub folder: PathBuf,
    /// The folder with DAG files in each version; empty for all of it (Airflow's `subdir`).
    pub subdir: PathBuf,
}

impl Checkouts {
    /// The link to the version that counts.
    pub fn current(&self) -> PathBuf {
        self.folder.join("current")
    }

    /// The folder with a folder for each version, all of which tasks may read.
    pub fn all(&self) -> PathBuf {
        self.folder.join("checkouts")
    }

    /// The version that counts; `None` before there is one.
    pub fn version(&self) -> Option<String> {
        let target = fs::read_link(self.current()).ok()?;
        let version = target.file_name()?.to_str()?.to_owned();
        self.all().join(&version).is_dir().then_some(version)
    }

    /// The folder with the DAG files of the version that counts.
    pub fn dags(&self) -> Option<PathBuf> {
        let checkout = self.all().join(self.version()?);
        // Joined with nothing, a path gets a slash at its end.
        Some(if self.subdir.as_os_str().is_empty() { checkout } else { checkout.join(&self.subdir) })
    }

    /// The version that a file is from, and its place in that.
    pub fn place_of(&self, file: &Path) -> Option<(String, PathBuf)> {
        let mut parts = file.strip_prefix(self.all()).ok()?.components();
        let version = parts.next()?.as_os_str().to_str()?.to_owned();
        Some((version, parts.as_path().to_owned()))
    }

    /// Keeps a version's files there for as long as the file is open, whatever a server does.
    pub fn hold(&self, version: &str) -> io::Result<fs::File> {
        let folder = fs::File::open(self.all().join(version))?;
        folder.lock_shared()?;
        Ok(folder)
    }

    /// The versions that are checked out.
    pub fn versions(&self) -> Vec<String> {
        let entries = fs::read_dir(self.all()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Makes the folders, and removes what a process that was killed left half done: nobody may be at work there.
    pub fn prepare(&self) -> Result<(), Error> {
        self.make()?;
        self.clear_unfinished();
        Ok(())
    }

    /// Makes the folders, for nobody but this user.
    pub fn make(&self) -> Result<(), Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.folder).map_err(at(&self.folder))?;
        builder.create(self.all()).map_err(at(&self.all()))?;
        builder.create(self.unfinished()).map_err(at(&self.unfinished()))
    }

    /// What is on its way, in or out.
    fn unfinished(&self) -> PathBuf {
        self.folder.join("unfinished")
    }

    /// Makes a folder in which a version may come to be. It is another each time: who wrote into the last one may
    /// have outlived the server that asked for it.
    pub fn begin(&self) -> Result<PathBuf, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{:x}-{}", since.as_micros(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = self.unfinished().join(name);
        fs::create_dir(&folder).map_err(at(&folder))?;
        Ok(folder)
    }

    /// Removes what is on its way nowhere. Where something is still written there, it is for the next time.
    pub fn clear_unfinished(&self) {
        for entry in fs::read_dir(self.unfinished()).into_iter().flatten().flatten() {
            if let Err(error) = remove(&entry.path()) {
                tracing::debug!(%error, "what is left of a checkout can't be removed yet");
            }
        }
    }

    /// Takes a finished folder as this version, on the disk and whole.
    pub fn finish(&self, finished: &Path, version: &str) -> Result<(), Error> {
        links::remove_those_out(finished).map_err(at(finished))?;
        let target = self.all().join(version);
        let synced = fs::File::open(finished).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
        synced.map_err(at(finished))?;
        match fs::rename(finished, &target) {
            // Somebody else was sooner, with the same.
            Err(_) if target.is_dir() => remove(finished),
            renamed => renamed.map_err(at(&target)),
        }
    }

    /// Has this version count, at once.
    pub fn point_to(&self, version: &str) -> Result<(), Error> {
        let (next, current) = (self.folder.join("next"), self.current());
        remove(&next)?;
        symlink(Path::new("checkouts").join(version), &next).map_err(at(&next))?;
        fs::rename(&next, &current).map_err(at(&current))
    }

    /// Has no version count.
    pub fn point_to_none(&self) -> Result<(), Error> {
        remove(&self.current())
    }

    /// The versions that came to be, or were held, longer ago than this.
    pub fn older_than(&self, age: Duration) -> Vec<String> {
        let old = |version: &String| self.changed(version).elapsed().is_ok_and(|elapsed| elapsed > age);
        self.versions().into_iter().filter(old).collect()
    }

    /// When a version came to be, or was noted to be in use.
    fn changed(&self, version: &str) -> SystemTime {
        let metadata = fs::metadata(self.all().join(version));
        metadata.and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH)
    }

    /// Removes the files of all versions but those that were changed or held last, so many, and those that are held now.
    pub fn keep_last(&self, count: usize) -> Result<(), Error> {
        let mut versions = self.versions();
        versions.sort_by_cached_key(|version| std::cmp::Reverse(self.changed(version)));
        versions.iter().skip(count).try_for_each(|version| self.forget(version))
    }

    /// Removes a version's files, unless somebody holds them.
    pub fn forget(&self, version: &str) -> Result<(), Error> {
        let folder = self.all().join(version);
        let lock = fs::File::open(&folder).map_err(at(&folder))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(()),
            Err(fs::TryLockError::Error(error)) => return Err(at(&folder)(error)),
        }
        // What is removed only in part must not be taken for whole.
        let going = self.begin()?;
        fs::rename(&folder, &going).map_err(at(&going))?;
        remove(&going)
    }
}

/// Removes a file or a folder, where it is there.
pub fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkouts(folder: &Path) -> Checkouts {
        let checkouts = Checkouts { folder: folder.join("git"), subdir: "dags".into() };
        checkouts.prepare().unwrap();
        checkouts
    }

    fn check_out(checkouts: &Checkouts, commit: &str) {
        let folder = checkouts.begin().unwrap();
        fs::create_dir(folder.join("dags")).unwrap();
        fs::write(folder.join("dags/a.yml"), commit).unwrap();
        checkouts.finish(&folder, commit).unwrap();
    }

    #[test]
    fn a_file_keeps_its_name_from_version_to_version() {
        let folder = tempfile::tempdir().unwrap();
        let checkouts = checkouts(folder.path());
        assert_eq!((checkouts.version(), checkouts.dags()), (None, None));
        for commit in ["c1", "c2"] {
            check_out(&checkouts, commit);
            checkouts.point_to(commit).unwrap();
            assert_eq!(checkouts.version().as_deref(), Some(commit));
            let file = checkouts.dags().unwrap().join("a.yml");
            let name = checkouts.current().join("dags/a.yml");
            assert_eq!(checkouts.place_of(&file), Some((commit.to_owned(), "dags/a.yml".into())));
            assert_eq!(fs::read_to_string(name).unwrap(), commit);
        }
        assert_eq!(checkouts.place_of(Path::new("/elsewhere/a.yml")), None);
        let held = checkouts.hold("c1").unwrap();
        checkouts.forget("c1").unwrap();
        assert_eq!(checkouts.versions().len(), 2);
        drop(held);
        checkouts.forget("c1").unwrap();
        assert_eq!(checkouts.versions(), ["c2"]);
    }

    #[test]
    fn what_was_left_half_done_is_gone_and_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let checkouts = checkouts(folder.path());
        let half = checkouts.begin().unwrap();
        fs::write(half.join("half"), "").unwrap();
        // A link whose commit is gone is as good as none.
        symlink("checkouts/gone", checkouts.current()).unwrap();
        checkouts.prepare().unwrap();
        assert_eq!((checkouts.version(), half.exists()), (None, false));
    }

    #[test]
    fn links_that_lead_out_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let checkouts = checkouts(folder.path());
        fs::write(folder.path().join("secret"), "s").unwrap();
        let unfinished = checkouts.begin().unwrap();
        fs::create_dir(unfinished.join("dags")).unwrap();
        fs::write(unfinished.join("real.yml"), "").unwrap();
        let absolute = unfinished.join("real.yml");
        let links: [(&str, &Path); 5] = [
            ("dags/good.yml", Path::new("../real.yml")),
            ("dags/up.yml", Path::new("../../../secret")),
            ("dags/root.yml", Path::new("/etc/passwd")),
            ("dags/moved.yml", &absolute),
            ("dags/nowhere.yml", Path::new("nothing")),
        ];
        for (name, target) in links {
            symlink(target, unfinished.join(name)).unwrap();
        }
        checkouts.finish(&unfinished, "c1").unwrap();
        let left = fs::read_dir(checkouts.all().join("c1/dags")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["good.yml"]);
    }
}
