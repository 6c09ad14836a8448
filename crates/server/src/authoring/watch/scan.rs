//! One look at a folder: which DAG files are there, and what tells a changed one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    beside::Used,
    ignore::{self, Patterns},
    text,
};

/// Files with defaults for those around them; the first that is there counts.
const DEFAULTS: [&str; 2] = ["defaults.yml", "defaults.yaml"];

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// What tells one file or folder from another, whatever is in it.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// A file's stamp, and those of the `defaults.yml` that count for it, the outermost first. What else it is read
/// with, only reading it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub own: Stamp,
    pub defaults: Vec<(PathBuf, Stamp)>,
    pub used: Used,
}

impl Found {
    /// The same, with the other files that it was read with as they are now.
    pub fn with_used(&self, before: &Used) -> Self {
        let now = |path: &Path| fs::metadata(path).map(|metadata| Stamp::of(&metadata)).ok();
        let used = before.iter().map(|(path, _)| (path.clone(), now(path))).collect();
        Self { own: self.own, defaults: self.defaults.clone(), used }
    }
}

#[cfg(test)]
impl Found {
    /// Something of this size.
    pub fn of_size(size: u64) -> Self {
        let own = Stamp { device: 0, inode: 0, size, modified: (0, 0), changed: (0, 0) };
        Self { own, defaults: Vec::new(), used: Used::new() }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub files: BTreeMap<PathBuf, Found>,
    /// Folders that can't be looked into, and why. What was in them is not known to be gone.
    pub unreadable: BTreeMap<PathBuf, String>,
    /// DAG files that are links to nothing.
    pub dangling: BTreeSet<PathBuf>,
    /// The folders in which a change shows, and which they are.
    pub folders: BTreeMap<PathBuf, (u64, u64)>,
    /// Whether there is more to be read that has not come yet.
    pub is_partial: bool,
}

impl Scan {
    /// Looks at everything in a folder, for which the defaults of those `above` it count too, the outermost first.
    pub fn of(root: &Path, above: &[PathBuf]) -> Self {
        let mut scan = Self::default();
        scan.note_way_to(root);
        let mut walk = Walk { scan, seen: BTreeSet::new() };
        let defaults: Vec<_> = above.iter().filter_map(|folder| defaults_in(folder)).collect();
        walk.folder(root, root, &mut Vec::new(), &defaults);
        walk.scan
    }

    /// Takes in what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.unreadable.extend(other.unreadable);
        self.dangling.extend(other.dangling);
        self.folders.extend(other.folders);
        self.is_partial |= other.is_partial;
    }

    /// Whether a file lies where nothing could be looked at.
    pub fn is_hidden(&self, file: &Path) -> bool {
        self.unreadable.keys().any(|folder| file.starts_with(folder))
    }

    fn note_folder(&mut self, folder: &Path) {
        if let Ok(metadata) = fs::metadata(folder) {
            self.folders.insert(folder.into(), Stamp::of(&metadata).identity());
        }
    }

    /// A link on the way to the root may be made to point elsewhere, and a missing root may come.
    pub fn note_way_to(&mut self, root: &Path) {
        for part in root.ancestors() {
            let is_link = fs::symlink_metadata(part).is_ok_and(|metadata| metadata.is_symlink());
            if let (true, Some(parent)) = (is_link || !part.exists(), part.parent()) {
                self.note_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
            }
        }
    }
}

/// Whether a file of this name is one of defaults.
pub(super) fn is_defaults(name: &str) -> bool {
    DEFAULTS.contains(&name)
}

/// The defaults that a folder has for the files in it and below.
pub(super) fn defaults_in(folder: &Path) -> Option<(PathBuf, Stamp)> {
    DEFAULTS.iter().find_map(|name| {
        let path = folder.join(name);
        let stamp = fs::metadata(&path).map(|metadata| Stamp::of(&metadata)).ok()?;
        Some((path, stamp))
    })
}

struct Walk {
    scan: Scan,
    /// Folders that were looked at: a link may lead back to one around it.
    seen: BTreeSet<(u64, u64)>,
}

impl Walk {
    fn folder(
        &mut self,
        root: &Path,
        folder: &Path,
        patterns: &mut Vec<(PathBuf, Patterns)>,
        defaults: &[(PathBuf, Stamp)],
    ) {
        let entries = match self.entries(folder) {
            Ok(Some(entries)) => entries,
            Ok(None) => return,
            Err(error) => {
                // A folder below that is gone since it was named is just not there.
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                if folder == root || !is_gone {
                    let reason = if is_gone { "it is not there".to_owned() } else { error.to_string() };
                    self.scan.unreadable.insert(folder.into(), reason);
                }
                return;
            }
        };
        let known_patterns = patterns.len();
        for name in ignore::FILES {
            if let Ok(text) = text::of(&folder.join(name)) {
                patterns.push((folder.into(), Patterns::parse(&text)));
            }
        }
        let mut defaults = defaults.to_vec();
        defaults.extend(defaults_in(folder));
        for path in entries {
            self.entry(root, &path, patterns, &defaults);
        }
        patterns.truncate(known_patterns);
    }

    /// What is in a folder, in order; `None` where it was looked at already.
    fn entries(&mut self, folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
        let identity = Stamp::of(&fs::metadata(folder)?).identity();
        if !self.seen.insert(identity) {
            return Ok(None);
        }
        self.scan.folders.insert(folder.into(), identity);
        let mut entries: Vec<PathBuf> =
            fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        entries.sort();
        Ok(Some(entries))
    }

    fn entry(
        &mut self,
        root: &Path,
        path: &Path,
        patterns: &mut Vec<(PathBuf, Patterns)>,
        defaults: &[(PathBuf, Stamp)],
    ) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Version control and mounted config maps keep their own in names that begin with a dot.
        if name.starts_with('.') {
            return;
        }
        let metadata = fs::metadata(path).ok();
        let is_dir = metadata.as_ref().is_some_and(Metadata::is_dir);
        let mut ignored = false;
        for (folder, patterns) in patterns.iter() {
            if let Ok(relative) = path.strip_prefix(folder) {
                ignored = patterns.ignores(relative, is_dir).unwrap_or(ignored);
            }
        }
        if ignored {
            return;
        }
        if is_dir {
            self.folder(root, path, patterns, defaults);
            return;
        }
        let is_yaml = name.ends_with(".yml") || name.ends_with(".yaml");
        if !is_yaml || is_defaults(&name) {
            return;
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let Some(metadata) = metadata else {
            if is_link {
                self.scan.dangling.insert(path.into());
            }
            return;
        };
        if !metadata.is_file() {
            return;
        }
        if is_link
            && let Ok(target) = fs::canonicalize(path)
            && let Some(parent) = target.parent()
        {
            self.scan.note_folder(parent);
        }
        let found = Found { own: Stamp::of(&metadata), defaults: defaults.to_vec(), used: Used::new() };
        self.scan.files.insert(path.into(), found);
    }
}
