//! The files that whoever wrote a DAG has the worker read: templates, the first lines of scripts, attachments.
//!
//! The worker reads them itself, as its own user and under no guard. So what its tasks are kept from is refused
//! here too, and so is what has no end or may never come: devices and pipes.

mod written;

pub(crate) use written::{NewFile, Unwritable};

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags};

/// The largest template.
pub(crate) const MOST_OF_A_TEMPLATE: u64 = 32 << 20;

/// Which files of this machine may be read for the author of a DAG. Blocks, as reading files does.
#[derive(Clone, Debug, Default)]
pub struct Files {
    denied: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    own: Option<PathBuf>,
    /// In this each folder is one with DAG files.
    versions: Option<PathBuf>,
}

/// What may be done at a place in the tree of folders.
#[cfg(feature = "sql")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// All that the worker's user may do.
    Free,
    /// Reading only.
    Readable,
}

/// A file that is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{} can't be read: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{} can't be read: it is out of tasks' reach, as all that is the server's own; put what a task needs into the folder of DAG files, or elsewhere",
        .0.display()
    )]
    Denied(PathBuf),
    #[error("{} can't be read: it is no regular file, but a device, a pipe or a socket; name a regular file", .0.display())]
    Irregular(PathBuf),
    #[error(
        "{} can't be read: it has more than the {} MiB that may be read here; have the task itself read it while it runs",
        path.display(),
        most >> 20
    )]
    TooLarge { path: PathBuf, most: u64 },
}

impl Unreadable {
    /// Whether there is no file of this name.
    pub(crate) fn is_missing(&self) -> bool {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), NotFound | NotADirectory | IsADirectory))
    }
}

impl Files {
    /// All that is not below `denied`, and what is below `readable` all the same. Both without links.
    #[must_use]
    pub fn new(denied: Vec<PathBuf>, readable: Vec<PathBuf>) -> Self {
        Self { denied, readable, own: None, versions: None }
    }

    /// With this folder, without links, in which each folder is one with DAG files.
    #[must_use]
    pub fn with_versions(self, folder: PathBuf) -> Self {
        Self { versions: Some(folder), ..self }
    }

    /// With this folder, without links, for what tasks write: it may be used in full, wherever it is.
    #[must_use]
    pub fn with_own(self, folder: PathBuf) -> Self {
        Self { own: Some(folder), ..self }
    }

    /// The folder for what tasks write.
    pub fn own(&self) -> Option<&Path> {
        self.own.as_deref()
    }

    /// The folder of DAG files that a folder is below.
    pub(crate) fn root_of(&self, folder: &Path) -> Option<PathBuf> {
        if let Some(versions) = &self.versions
            && let Ok(below) = folder.strip_prefix(versions)
        {
            let root = versions.join(below.components().next()?);
            return (root != folder).then_some(root);
        }
        let is_below = |root: &&PathBuf| folder.starts_with(root) && folder != root.as_path();
        self.readable.iter().find(is_below).cloned()
    }

    /// What is in a file of at most this many bytes.
    pub(crate) fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, Unreadable> {
        let bytes = self.beginning(path, most.saturating_add(1))?;
        if bytes.len() as u64 > most {
            return Err(Unreadable::TooLarge { path: path.to_owned(), most });
        }
        Ok(bytes)
    }

    /// The same as text.
    pub(crate) fn read_text(&self, path: &Path, most: u64) -> Result<String, Unreadable> {
        String::from_utf8(self.read(path, most)?).map_err(|error| Unreadable::Io {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 ({error})")),
        })
    }

    /// The first bytes of a file, this many or all there are.
    pub(crate) fn beginning(&self, path: &Path, bytes: u64) -> Result<Vec<u8>, Unreadable> {
        let mut read = Vec::new();
        self.open(path)?
            .take(bytes)
            .read_to_end(&mut read)
            .map_err(|source| Unreadable::Io { path: path.to_owned(), source })?;
        Ok(read)
    }

    /// The file is first found, then judged, and only then opened, by what was found: whoever puts a link in
    /// its place meanwhile wins nothing, and a device or a pipe is not touched.
    pub(crate) fn open(&self, path: &Path) -> Result<File, Unreadable> {
        let failed = |source: io::Error| Unreadable::Io { path: path.to_owned(), source };
        let found = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        let by_number = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
        let real = std::fs::read_link(&by_number).map_err(failed)?;
        if self.denies(&real) || is_of_a_process(&found).map_err(failed)? {
            return Err(Unreadable::Denied(path.to_owned()));
        }
        let stat = rustix::fs::fstat(&found).map_err(|error| failed(error.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            // One without a name is the worker's own, found by its number.
            FileType::RegularFile if stat.st_nlink == 0 => return Err(Unreadable::Denied(path.to_owned())),
            FileType::RegularFile => {}
            FileType::Directory => return Err(failed(io::ErrorKind::IsADirectory.into())),
            _ => return Err(Unreadable::Irregular(path.to_owned())),
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &by_number, flags, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        Ok(file.into())
    }

    /// What may be done with the file of this path, which need not be there yet, and where it really is: without
    /// links on the way. For what others open by its path.
    #[cfg(feature = "sql")]
    pub(crate) fn place(&self, path: &Path) -> Result<(Place, PathBuf), Unreadable> {
        let failed = |source: io::Error| Unreadable::Io { path: path.to_owned(), source };
        let real = match path.canonicalize() {
            Ok(real) => real,
            // A link to nothing is none: what is made by its name would be made elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                let name = path.file_name().ok_or_else(|| failed(error))?;
                let folder = path.parent().unwrap_or(Path::new("/")).canonicalize().map_err(failed)?;
                folder.join(name)
            }
            Err(error) => return Err(failed(error)),
        };
        let of_a_process = ["/proc", "/dev", "/sys"].iter().any(|folder| real.starts_with(folder));
        if self.denies(&real) || (of_a_process && !real.starts_with("/dev/shm")) {
            return Err(Unreadable::Denied(path.to_owned()));
        }
        if real.metadata().is_ok_and(|about| !about.is_file()) {
            return Err(Unreadable::Irregular(path.to_owned()));
        }
        Ok((if self.keeps(&real) { Place::Readable } else { Place::Free }, real))
    }

    /// The guard's rule: below a denied folder, and not below what is readable all the same.
    fn denies(&self, real: &Path) -> bool {
        // What has no whole path was found by a way around the tree of folders.
        !real.is_absolute()
            || (self.keeps(real) && !self.readable.iter().any(|folder| real.starts_with(folder)))
    }

    /// Whether this is below a denied folder. What may be read there all the same may not be written.
    fn keeps(&self, real: &Path) -> bool {
        let below = |folder: &PathBuf| real.starts_with(folder);
        self.denied.iter().any(below) && !self.own.iter().any(below)
    }
}

/// Whether this is a process's own, such as the worker's environment and memory.
fn is_of_a_process(file: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(files: &Files, path: impl AsRef<Path>) -> String {
        files.read(path.as_ref(), 1 << 20).unwrap_err().to_string()
    }

    /// A home of a server, with a folder of DAG files in it, and what keeps authors out of the one.
    fn home() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap().join("home");
        std::fs::create_dir_all(home.join("dags")).unwrap();
        std::fs::write(home.join("key"), "the key").unwrap();
        std::fs::write(home.join("dags/mail.html"), "dear").unwrap();
        let files = Files::new(vec![home.clone()], vec![home.join("dags")]);
        (folder, files)
    }

    #[test]
    fn what_tasks_are_kept_from_is_refused_whichever_way_leads_to_it() {
        let (folder, files) = home();
        let home = folder.path().join("home");
        std::os::unix::fs::symlink("../key", home.join("dags/link")).unwrap();
        std::os::unix::fs::symlink(&home, folder.path().join("way")).unwrap();
        std::fs::create_dir(home.join("files")).unwrap();
        std::os::unix::fs::symlink("../key", home.join("files/link")).unwrap();
        std::fs::write(home.join("files/kept"), "by a task").unwrap();
        let files = files.with_own(home.join("files"));
        assert_eq!(files.read(&folder.path().join("way/files/kept"), 99).unwrap(), b"by a task");
        for path in ["home/key", "home/dags/link", "home/dags/../key", "way/key", "home/files/link"] {
            let refused = refused(&files, folder.path().join(path));
            assert!(refused.contains(path) && refused.contains("out of tasks' reach"), "{refused}");
        }
        for path in ["home/dags/mail.html", "way/dags/mail.html"] {
            assert_eq!(files.read(&folder.path().join(path), 10).unwrap(), b"dear");
        }
    }

    #[test]
    fn the_workers_own_environment_memory_and_open_files_are_refused() {
        let (folder, files) = home();
        let open = File::open(folder.path().join("home/key")).unwrap();
        let unnamed = rustix::fs::memfd_create("secret", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let number = |number| format!("/proc/self/fd/{number}");
        for path in [
            "/proc/self/environ".to_owned(),
            "/proc/self/mem".to_owned(),
            number(open.as_raw_fd()),
            number(unnamed.as_raw_fd()),
        ] {
            let refused = refused(&files, &path);
            assert!(refused.contains("out of tasks' reach"), "{refused}");
        }
    }

    #[test]
    fn what_has_no_end_or_never_comes_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let refused = refused(&Files::default(), path);
            assert!(refused.contains("no regular file"), "{refused}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        File::create(&path).unwrap().set_len((1 << 20) + 1).unwrap();
        let refused = refused(&Files::default(), &path);
        assert!(refused.contains("large can't be read: it has more than the 1 MiB"), "{refused}");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(Files::default().read(&path, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(Files::default().beginning(&path, 5).unwrap(), [0; 5]);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = |path: &Path| Files::default().read(path, 1).unwrap_err().is_missing();
        assert!(missing(&folder.path().join("nothing")) && missing(folder.path()));
        assert!(!missing(Path::new("/dev/zero")));
        std::fs::write(folder.path().join("binary"), [0xff]).unwrap();
        let binary = Files::default().read_text(&folder.path().join("binary"), 10).unwrap_err();
        assert!(binary.to_string().contains("not UTF-8") && !binary.is_missing(), "{binary}");
    }
}
