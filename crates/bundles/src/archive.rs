//! A bundle as one file: a tar packed by gzip. The same files give the same bytes, whoever packs them, so that the hash of
//! these tells whether anything has changed.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, Entry, EntryType, Header};

use crate::{Error, at, links};

/// What nobody means to deploy: what programs leave behind, and what repositories keep for themselves.
const LEFT_OUT: [&str; 8] =
    [".git", ".hg", ".svn", ".venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"];

/// The longest name of an entry, in bytes: what Linux takes for a path.
const LONGEST_PATH: usize = 4096;

/// So many folders may be in one another.
const DEEPEST: usize = 64;

/// What stands before an entry (a long name of its own, say) may have so many bytes.
const LONGEST_HEADER: u64 = 64 * 1024;

/// What was packed or unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many files, links among them.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// The most that is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many files and folders.
    pub entries: u64,
    /// So many bytes together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 2 << 30 }
    }
}

/// Packs a folder. Left out are repositories' own folders (`.git`), caches of Python and virtual environments. A link
/// that leads out of the folder is an error, as is what is neither file, folder nor link.
pub fn pack(folder: &Path, into: impl Write) -> Result<Contents, Error> {
    let mut contents = Contents::default();
    // No time and no name in it: the same files are to give the same bytes.
    let mut builder = Builder::new(GzBuilder::new().mtime(0).write(into, Compression::default()));
    let root = folder.canonicalize().map_err(at(folder))?;
    for (name, path) in below(folder)? {
        let shown = || name.display().to_string();
        let metadata = fs::symlink_metadata(&path).map_err(at(&path))?;
        let mut header = Header::new_gnu();
        header.set_mtime(0);
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, &name, io::empty()).map_err(at(&path))?;
            continue;
        }
        contents.files += 1;
        if metadata.is_symlink() {
            if !links::leads_into(&path, &root) {
                return Err(Error::Entry {
                    path: shown(),
                    what: "a link that leads out of the folder, or nowhere",
                });
            }
            let target = fs::read_link(&path).map_err(at(&path))?;
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, &name, target).map_err(at(&path))?;
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            header.set_mode(if executable { 0o755 } else { 0o644 });
            header.set_size(metadata.len());
            contents.bytes += metadata.len();
            // A file that grows meanwhile would spoil what comes after it.
            let file = fs::File::open(&path).map_err(at(&path))?.take(metadata.len());
            builder.append_data(&mut header, &name, file).map_err(at(&path))?;
        } else {
            return Err(Error::Entry { path: shown(), what: "neither a file nor a folder" });
        }
    }
    let gzip = builder.into_inner().map_err(at(folder))?;
    gzip.finish().and_then(|mut written| written.flush()).map_err(at(folder))?;
    Ok(contents)
}

/// What is in a folder, by the names that it has there, in their order.
fn below(root: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, Error> {
    let mut all = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(at(&path))? {
            let entry = entry.map_err(at(&path))?;
            let name = entry.file_name();
            let compiled = Path::new(&name).extension() == Some(OsStr::new("pyc"));
            if compiled || LEFT_OUT.iter().any(|left_out| name == *left_out) {
                continue;
            }
            let below = folder.join(name);
            if entry.file_type().map_err(at(&path))?.is_dir() {
                folders.push(below.clone());
            }
            all.insert(below, entry.path());
        }
    }
    Ok(all)
}

/// The hash that an archive is known by: SHA-256 of its bytes, in small hexadecimal digits.
pub fn hash(mut archive: impl Read) -> io::Result<String> {
    let mut sha = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match archive.read(&mut piece)? {
            0 => return Ok(sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            bytes => sha.update(&piece[..bytes]),
        }
    }
}

/// Whether a text may be the hash of an archive, and so the name of a folder.
pub fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Unpacks an archive into an empty folder, where its bytes have this hash.
pub fn unpack(archive: &Path, wanted: &str, into: &Path, limits: Limits) -> Result<Contents, Error> {
    let mut file = fs::File::open(archive).map_err(at(archive))?;
    let found = hash(&mut file).map_err(at(archive))?;
    if found != wanted {
        return Err(Error::Damaged { wanted: wanted.to_owned(), found });
    }
    io::Seek::rewind(&mut file).map_err(at(archive))?;
    unpack_from(file, into, limits)
}

fn unpack_from(archive: impl Read, into: &Path, limits: Limits) -> Result<Contents, Error> {
    let mut contents = Contents::default();
    let mut links = Vec::new();
    let (mut entries, mut folders) = (0, BTreeSet::new());
    // What stands before an entry is read into memory, whatever size it says it has.
    let left = Rc::new(Cell::new(LONGEST_HEADER));
    let mut archive = Archive::new(Measured { inner: GzDecoder::new(archive), left: left.clone() });
    for entry in archive.entries().map_err(Error::NoArchive)? {
        let mut entry = entry.map_err(Error::NoArchive)?;
        left.set(entry.size().saturating_add(LONGEST_HEADER));
        entries += 1;
        if entries > limits.entries {
            return Err(Error::TooLarge { what: format!("{} files and folders", limits.entries) });
        }
        let Some(name) = name_of(&entry)? else { continue };
        folders.extend(name.ancestors().skip(1).map(Path::to_owned));
        if folders.len() as u64 > limits.entries {
            return Err(Error::TooLarge { what: format!("{} files and folders", limits.entries) });
        }
        let target = into.join(&name);
        let shown = || name.display().to_string();
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        match entry.header().entry_type() {
            EntryType::Directory | EntryType::Symlink if entry.size() > 0 => {
                return Err(Error::Entry { path: shown(), what: "no file, and has a content" });
            }
            EntryType::Directory => fs::create_dir_all(&target).map_err(at(&target))?,
            EntryType::Regular => {
                contents.files += 1;
                contents.bytes = contents.bytes.saturating_add(entry.size());
                if contents.bytes > limits.bytes {
                    return Err(Error::TooLarge { what: format!("{} bytes", limits.bytes) });
                }
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mode = if executable { 0o755 } else { 0o644 };
                // What is there already is not written over, and so no link is followed: there are none yet.
                let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&target);
                let mut file = opened.map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Error::Entry { path: shown(), what: "there twice" },
                    _ => at(&target)(error),
                })?;
                write_all(&mut entry, &mut file, &target)?;
                left.set(LONGEST_HEADER);
            }
            EntryType::Symlink => {
                contents.files += 1;
                let leads_to = entry.link_name().map_err(Error::NoArchive)?;
                links.push((target, leads_to.map(|path| path.into_owned()).unwrap_or_default()));
            }
            _ => return Err(Error::Entry { path: shown(), what: "neither a file, a folder nor a link" }),
        }
    }
    for (link, leads_to) in links {
        symlink(leads_to, &link).map_err(at(&link))?;
    }
    links::remove_those_out(into).map_err(at(into))?;
    Ok(contents)
}

/// A reader of which so much may be read until more is allowed.
struct Measured<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(into.len());
        if most == 0 && !into.is_empty() {
            return Err(io::Error::other("what stands before a file in it is too long"));
        }
        let bytes = self.inner.read(&mut into[..most])?;
        self.left.set(self.left.get() - bytes as u64);
        Ok(bytes)
    }
}

/// Writes what an entry has to a file. What can't be read is the archive's fault, what can't be written the disk's.
fn write_all(entry: &mut impl Read, file: &mut fs::File, path: &Path) -> Result<(), Error> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match entry.read(&mut piece).map_err(Error::NoArchive)? {
            0 => return Ok(()),
            bytes => file.write_all(&piece[..bytes]).map_err(at(path))?,
        }
    }
}

/// The name of an entry below the folder; `None` for that of the folder itself.
fn name_of(entry: &Entry<'_, impl Read>) -> Result<Option<PathBuf>, Error> {
    let path = entry.path().map_err(Error::NoArchive)?;
    let refused = |what| Error::Entry { path: path.display().to_string(), what };
    let mut name = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => name.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refused("a path that leads out of the bundle"));
            }
        }
    }
    match name.as_os_str().len() {
        0 => Ok(None),
        length if length > LONGEST_PATH || name.components().count() > DEEPEST => {
            Err(refused("a path that is too long, or too deep"))
        }
        _ => Ok(Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(GzBuilder::new().write(Vec::new(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            // Written past the checks of whoever packs: this is what an attacker would send.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name_literal(content).unwrap();
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        below(folder).unwrap().into_keys().map(|name| name.display().to_string()).collect()
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let long = "n".repeat(150);
        for folder in ["team/empty", ".git", "team/__pycache__", ".hidden"] {
            fs::create_dir_all(from.path().join(folder)).unwrap();
        }
        for file in ["a.yml", "team/b.py", ".git/config", "team/__pycache__/b.pyc", ".hidden/c", &long] {
            fs::write(from.path().join(file), file).unwrap();
        }
        fs::write(from.path().join("run.sh"), "#!/bin/sh").unwrap();
        fs::set_permissions(from.path().join("run.sh"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("../a.yml", from.path().join("team/link.yml")).unwrap();
        let mut packed = Vec::new();
        let contents = pack(from.path(), &mut packed).unwrap();
        assert_eq!(contents.files, 6);
        let mut again = Vec::new();
        fs::File::open(from.path().join("a.yml"))
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        pack(from.path(), &mut again).unwrap();
        assert_eq!(hash(&*packed).unwrap(), hash(&*again).unwrap());
        let file = from.path().join("archive");
        fs::write(&file, &packed).unwrap();
        let unpacked = unpack(&file, &hash(&*packed).unwrap(), to.path(), Limits::default()).unwrap();
        assert_eq!(unpacked, contents);
        let there: Vec<&str> = vec![
            ".hidden",
            ".hidden/c",
            "a.yml",
            &long,
            "run.sh",
            "team",
            "team/b.py",
            "team/empty",
            "team/link.yml",
        ];
        assert_eq!(names(to.path()), there);
        assert_eq!(fs::read_to_string(to.path().join("team/link.yml")).unwrap(), "a.yml");
        let mode = |name: &str| fs::metadata(to.path().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("run.sh"), mode("a.yml") & 0o111), (0o755, 0));
    }

    #[test]
    fn nothing_gets_out_of_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, "s").unwrap();
        let bad: [&[(&str, EntryType, &str)]; 6] = [
            &[("../up.yml", EntryType::Regular, "x")],
            &[("a/../../up.yml", EntryType::Regular, "x")],
            &[("/tmp/root.yml", EntryType::Regular, "x")],
            &[("dev", EntryType::Char, "")],
            &[("hard", EntryType::Link, "/etc/passwd")],
            &[("a.yml", EntryType::Regular, "x"), ("a.yml", EntryType::Regular, "y")],
        ];
        for entries in bad {
            let into = outside.path().join("into");
            fs::create_dir(&into).unwrap();
            let refused = unpack_from(&*archive(entries), &into, Limits::default());
            assert!(matches!(refused, Err(Error::Entry { .. })), "{entries:?}: {refused:?}");
            fs::remove_dir_all(&into).unwrap();
            assert_eq!(names(outside.path()), ["secret"], "{entries:?}");
        }
        // A link first, and then a file by way of it: the file comes to be where its name says, and nothing outside.
        let into = outside.path().join("into");
        fs::create_dir(&into).unwrap();
        let by_link = [("d", EntryType::Symlink, ".."), ("d/secret", EntryType::Regular, "x")];
        assert!(unpack_from(&*archive(&by_link), &into, Limits::default()).is_err());
        let links = [("out", EntryType::Symlink, "../secret"), ("root", EntryType::Symlink, "/etc/passwd")];
        fs::remove_dir_all(&into).unwrap();
        fs::create_dir(&into).unwrap();
        unpack_from(&*archive(&links), &into, Limits::default()).unwrap();
        assert_eq!(names(&into), [""; 0]);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "s");
    }

    #[test]
    fn what_stands_before_a_file_is_not_read_whatever_its_size() {
        let into = tempfile::tempdir().unwrap();
        // A name of its own of two hundred thousand bytes, which a reader has to hold.
        let long = "n".repeat(200_000);
        let bomb =
            archive(&[("././@LongLink", EntryType::GNULongName, &long), ("a", EntryType::Regular, "x")]);
        let refused = unpack_from(&*bomb, into.path(), Limits::default());
        assert!(matches!(refused, Err(Error::NoArchive(_))), "{refused:?}");
        let deep = format!("{}x", "d/".repeat(45));
        let refused =
            unpack_from(&*archive(&[(&deep, EntryType::Regular, "x")]), into.path(), Limits::default());
        assert!(refused.is_ok(), "{refused:?}");
        let many = Limits { entries: 30, ..Limits::default() };
        let other = tempfile::tempdir().unwrap();
        let refused = unpack_from(&*archive(&[(&deep, EntryType::Regular, "x")]), other.path(), many);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }

    #[test]
    fn what_is_too_large_or_another_is_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let zeros = "0".repeat(100_000);
        let large = archive(&[("a", EntryType::Regular, &zeros), ("b", EntryType::Regular, &zeros)]);
        let limits = |entries, bytes| Limits { entries, bytes };
        for limits in [limits(1, 1 << 30), limits(10, 150_000)] {
            let into = tempfile::tempdir().unwrap();
            let refused = unpack_from(&*large, into.path(), limits);
            assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        }
        let file = folder.path().join("archive");
        fs::write(&file, &large).unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let wanted = hash(&*large).unwrap();
        assert!(is_hash(&wanted) && !is_hash("../../../etc/passwd") && !is_hash(&wanted.to_uppercase()));
        fs::write(&file, &large[..large.len() - 1]).unwrap();
        assert!(matches!(unpack(&file, &wanted, &into, Limits::default()), Err(Error::Damaged { .. })));
        for none in [&b"no gzip"[..], &large[..large.len() / 2], b""] {
            let refused = unpack_from(none, &into, Limits::default());
            assert!(matches!(refused, Err(Error::NoArchive(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_folder_with_a_link_out_is_not_packed() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", folder.path().join("users.yml")).unwrap();
        let refused = pack(folder.path(), io::sink()).unwrap_err();
        let said = "`users.yml` is a link that leads out of the folder, or nowhere, which a bundle may not have in it: \
                    leave it out";
        assert_eq!(refused.to_string(), said);
    }
}
