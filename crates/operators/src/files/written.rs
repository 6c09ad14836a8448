//! A file that a task has the worker write: beside its place first, and into it when it is whole. One that it has it add
//! to, or delete.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::Files;

/// A file that is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritable {
    #[error("{} can't be written: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} can't be written: there is no such folder: have a task make it first, or set create_intermediate_dirs where the operator has it", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "{} can't be written: it is out of tasks' reach, as all that is the server's own; name a folder elsewhere, or a relative path, which begins in the folder for tasks' files",
        .0.display()
    )]
    Denied(PathBuf),
    #[error("{} can't be added to: it is no regular file, but a link, a device or a pipe; name a regular file", .0.display())]
    Irregular(PathBuf),
    #[error("{} can't be deleted: {source}", path.display())]
    Undeleted { path: PathBuf, source: io::Error },
    #[error("{} can't be deleted: it is out of tasks' reach, as all that is the server's own", .0.display())]
    Kept(PathBuf),
}

/// A file in the making. Where it is dropped before its end, nothing is left of it.
#[derive(Debug)]
pub(crate) struct NewFile {
    folder: OwnedFd,
    half: Option<OsString>,
    path: PathBuf,
}

impl Files {
    /// Begins a file that takes the place of what is at this path; `mark` is in the name that it has until then. What an
    /// attempt of the same task instance has left of it that was killed goes.
    pub(crate) fn write(&self, path: &Path, mark: &str) -> Result<(NewFile, File), Unwritable> {
        let failed = |source: io::Error| Unwritable::Io { path: path.to_owned(), source };
        let place = self.folder_of(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unwritable::NoFolder(path.to_owned()),
            _ => failed(error),
        })?;
        let (folder, name) = place.ok_or_else(|| Unwritable::Denied(path.to_owned()))?;
        let half = half_name(name, mark);
        forget_halves(&folder, name, mark);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &half, flags, FILE).map_err(|error| failed(error.into()))?;
        Ok((NewFile { folder, half: Some(half), path: path.to_owned() }, file.into()))
    }

    /// Adds to a file, which is made where it is missing, as are the folders that it is in. Blocks.
    pub(crate) fn append(&self, path: &Path, content: &[u8]) -> Result<(), Unwritable> {
        let failed = |source: io::Error| Unwritable::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            self.make_folders(folder)?;
        }
        let place = self.folder_of(path).map_err(failed)?;
        let (folder, name) = place.ok_or_else(|| Unwritable::Denied(path.to_owned()))?;
        // Neither does a link lead elsewhere, nor does a pipe without a reader hold the worker up.
        let how = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | how;
        let file = rustix::fs::openat(&folder, name, flags, FILE).map_err(|error| match error {
            Errno::LOOP | Errno::NXIO => Unwritable::Irregular(path.to_owned()),
            error => failed(error.into()),
        })?;
        let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unwritable::Irregular(path.to_owned()));
        }
        let mut file = File::from(file);
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Deletes a file, or a link; whether there was one. Blocks.
    pub(crate) fn delete(&self, path: &Path) -> Result<bool, Unwritable> {
        let failed = |source: io::Error| Unwritable::Undeleted { path: path.to_owned(), source };
        let (folder, name) = match self.folder_of(path) {
            Ok(place) => place.ok_or_else(|| Unwritable::Kept(path.to_owned()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Whether files in this folder may be written and deleted.
    pub(crate) fn may_be_changed(&self, folder: &Path) -> io::Result<bool> {
        let real = folder.canonicalize()?;
        Ok(!is_of_the_system(&real) && !self.keeps(&real))
    }

    /// The folder that a path is in, and its name there; none where that is out of tasks' reach.
    ///
    /// The folder is first found, then judged, and only then used, by what was found.
    fn folder_of<'a>(&self, path: &'a Path) -> io::Result<Option<(OwnedFd, &'a OsStr)>> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
        let is_denied = is_of_the_system(&real)
            || !real.is_absolute()
            || self.keeps(&real)
            || self.keeps(&real.join(name));
        Ok((!is_denied).then_some((folder, name)))
    }

    /// Makes a folder and those above it, where they are not there.
    ///
    /// The last one that is there is found first and judged with what is to be below it; the others are made from it
    /// on, one in the other, and no link among them is followed.
    pub(crate) fn make_folders(&self, path: &Path) -> Result<(), Unwritable> {
        let failed = |source: io::Error| Unwritable::Io { path: path.to_owned(), source };
        let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.symlink_metadata().is_ok();
        let there = path.ancestors().find(is_there).unwrap_or(Path::new("/"));
        let missing = path.strip_prefix(there).unwrap_or(path);
        if !missing.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        let mut folder =
            rustix::fs::openat(CWD, from, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).map_err(failed)?;
        if !real.is_absolute() || (!missing.as_os_str().is_empty() && self.keeps(&real.join(missing))) {
            return Err(Unwritable::Denied(path.to_owned()));
        }
        for part in missing.components() {
            match rustix::fs::mkdirat(&folder, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error.into())),
            }
            folder = rustix::fs::openat(&folder, part.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }
}

/// How a new file may be used.
const FILE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::ROTH);

fn is_of_the_system(real: &Path) -> bool {
    ["/proc", "/sys"].iter().any(|folder| real.starts_with(folder))
}

fn half_name(name: &OsStr, mark: &str) -> OsString {
    let mut half = OsString::from(".");
    half.push(name);
    half.push(format!(".{mark}.half"));
    half
}

/// Deletes what earlier attempts began here: the mark of an attempt is that of its task instance, and two numbers. What
/// can't be deleted stays: it harms nobody.
fn forget_halves(folder: &OwnedFd, name: &OsStr, mark: &str) {
    let Some(instance) = mark.rsplitn(3, '-').nth(2) else { return };
    let mut begins = OsString::from(".");
    begins.push(name);
    begins.push(format!(".{instance}-"));
    let is_half = |found: &[u8]| {
        let rest = found.strip_prefix(begins.as_bytes()).and_then(|rest| rest.strip_suffix(b".half"));
        let mut numbers = rest.into_iter().flat_map(|rest| rest.split(|byte| *byte == b'-'));
        let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        numbers.next().is_some_and(is_number)
            && numbers.next().is_some_and(is_number)
            && numbers.next().is_none()
    };
    for entry in Dir::read_from(folder).into_iter().flatten().flatten() {
        if is_half(entry.file_name().to_bytes()) {
            let _ = rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty());
        }
    }
}

impl NewFile {
    /// Puts the file into its place, once it is on the disk. Blocks.
    pub(crate) fn finish(mut self, file: &File) -> Result<(), Unwritable> {
        let failed = |path: &Path, source: io::Error| Unwritable::Io { path: path.to_owned(), source };
        file.sync_all().map_err(|error| failed(&self.path, error))?;
        if let Some(half) = &self.half {
            let name = self.path.file_name().unwrap_or_default();
            rustix::fs::renameat(&self.folder, half, &self.folder, name)
                .map_err(|error| failed(&self.path, error.into()))?;
        }
        self.half = None;
        rustix::fs::fsync(&self.folder).map_err(|error| failed(&self.path, error.into()))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(half) = &self.half {
            // Where even that fails, there is nobody to tell.
            let _ = rustix::fs::unlinkat(&self.folder, half, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_its_place_when_it_is_whole_and_leaves_nothing_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        std::fs::write(&path, "old").unwrap();
        let files = Files::default();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let (half, mut file) = files.write(&path, "1").unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!((names(), std::fs::read(&path).unwrap()), (2, b"old".to_vec()));
        drop(half);
        assert_eq!((names(), std::fs::read(&path).unwrap()), (1, b"old".to_vec()));
        let (half, mut file) = files.write(&path, "2").unwrap();
        file.write_all(b"new").unwrap();
        half.finish(&file).unwrap();
        assert_eq!((names(), std::fs::read(&path).unwrap()), (1, b"new".to_vec()));
    }

    #[test]
    fn what_a_killed_attempt_began_goes_when_the_next_one_of_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            ".a.csv.5-0--1-1-1.half",
            ".a.csv.5-0--1-12-3.half",
            ".a.csv.5-0-1-1-1.half",
            ".b.csv.5-0--1-1-1.half",
            ".a.csv.5-0--1-1.half",
            ".a.csv.5-0--1-1-1.half.x",
            ".a.csv.15-0--1-1-1.half",
        ] {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        let (half, file) = Files::default().write(&folder.path().join("a.csv"), "5-0--1-2-1").unwrap();
        half.finish(&file).unwrap();
        let all = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let others = [
            ".a.csv.15-0--1-1-1.half",
            ".a.csv.5-0--1-1-1.half.x",
            ".a.csv.5-0--1-1.half",
            ".a.csv.5-0-1-1-1.half",
            ".b.csv.5-0--1-1-1.half",
            "a.csv",
        ];
        assert_eq!(names, others);
    }

    #[test]
    fn what_tasks_are_kept_from_is_not_written_whichever_way_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap().join("home");
        std::fs::create_dir_all(home.join("dags")).unwrap();
        std::fs::write(home.join("key"), "the key").unwrap();
        std::os::unix::fs::symlink(&home, folder.path().join("way")).unwrap();
        std::fs::create_dir(home.join("files")).unwrap();
        let files = Files::new(vec![home.clone()], vec![home.join("dags")]).with_own(home.join("files"));
        let (half, file) = files.write(&folder.path().join("way/files/new"), "1").unwrap();
        half.finish(&file).unwrap();
        assert!(home.join("files/new").is_file());
        std::os::unix::fs::symlink("..", home.join("files/up")).unwrap();
        for path in [
            "home/key",
            "way/key",
            "way/new",
            "home/files/up/key",
            "home/files/../new",
            "home/dags/x.csv",
            "home/dags/../new",
            "home",
        ] {
            let error = files.write(&folder.path().join(path), "1").unwrap_err().to_string();
            assert!(error.contains("out of tasks' reach"), "{path}: {error}");
        }
        // A link is replaced and not followed.
        std::os::unix::fs::symlink(home.join("key"), folder.path().join("link")).unwrap();
        let (half, mut file) = files.write(&folder.path().join("link"), "1").unwrap();
        file.write_all(b"new").unwrap();
        half.finish(&file).unwrap();
        assert_eq!(std::fs::read(home.join("key")).unwrap(), b"the key");
        assert!(files.write(&folder.path().join("nowhere/x"), "1").is_err());
    }

    #[test]
    fn a_file_is_added_to_and_deleted_where_tasks_may_write_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap().join("home");
        std::fs::create_dir_all(home.join("dags")).unwrap();
        std::fs::write(home.join("key"), "the key").unwrap();
        std::fs::write(home.join("dags/d.yaml"), "a DAG").unwrap();
        std::os::unix::fs::symlink(&home, folder.path().join("way")).unwrap();
        std::os::unix::fs::symlink(home.join("key"), folder.path().join("link")).unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let files = Files::new(vec![home.clone()], vec![home.join("dags")]);
        let path = folder.path().join("new/log");
        files.append(&path, b"one ").unwrap();
        files.append(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");
        for name in ["home/key", "way/key", "home/dags/d.yaml", "way/new"] {
            let path = folder.path().join(name);
            let error = files.append(&path, b"x").unwrap_err().to_string();
            assert!(error.contains("can't be written: it is out of tasks' reach"), "{name}: {error}");
            let error = files.delete(&path).unwrap_err().to_string();
            assert!(error.contains("can't be deleted: it is out of tasks' reach"), "{name}: {error}");
        }
        for name in ["link", "pipe"] {
            let error = files.append(&folder.path().join(name), b"x").unwrap_err().to_string();
            assert!(error.contains("no regular file"), "{name}: {error}");
        }
        assert!(files.delete(&folder.path().join("link")).unwrap(), "a link goes, and not what it leads to");
        assert_eq!(std::fs::read(home.join("key")).unwrap(), b"the key");
        assert!(files.delete(&path).unwrap() && !files.delete(&path).unwrap());
        assert!(!files.delete(&folder.path().join("nowhere/x")).unwrap());
        assert!(files.delete(&folder.path().join("new")).is_err(), "a folder stays");
        let may = |name: &str| files.may_be_changed(&folder.path().join(name)).unwrap();
        assert!(may("new") && !may("way") && !may("home/dags") && !may("/proc/self"));
    }

    #[test]
    fn folders_are_made_where_tasks_may_write_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap().join("home");
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::symlink(&home, folder.path().join("way")).unwrap();
        let files = Files::new(vec![home.clone()], Vec::new());
        for path in ["out/2026/01", "out/2026/02", "out"] {
            files.make_folders(&folder.path().join(path)).unwrap();
            assert!(folder.path().join(path).is_dir());
        }
        for path in ["home/x", "way/x/y", "out/../home/x"] {
            let error = files.make_folders(&folder.path().join(path)).unwrap_err().to_string();
            assert!(error.contains("out of tasks' reach"), "{path}: {error}");
        }
        assert!(files.make_folders(&folder.path().join("new/../home/x")).is_err());
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    }
}
