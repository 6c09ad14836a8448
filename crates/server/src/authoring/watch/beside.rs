//! Files that a DAG file names and that lie beside it, in the folder of DAG files.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{scan::Stamp, text};

/// What a DAG file was read with, and how each was then; `None` for one that was not there.
pub(super) type Used = Vec<(PathBuf, Option<Stamp>)>;

/// The files beside the documents that one DAG file is made of.
pub(super) struct Neighbours {
    /// No file outside of it is read.
    root: PathBuf,
    /// The folders of the documents.
    folders: Vec<PathBuf>,
    used: RefCell<BTreeMap<PathBuf, Option<Stamp>>>,
}

impl Neighbours {
    pub fn new<'a>(root: &Path, documents: impl Iterator<Item = &'a Path>) -> Self {
        let folder = |document: &Path| {
            let document = std::path::absolute(document).unwrap_or_else(|_| document.to_owned());
            document.parent().unwrap_or(Path::new("/")).to_owned()
        };
        Self { root: root.into(), folders: documents.map(folder).collect(), used: RefCell::default() }
    }

    /// The text of a file beside one of the documents; why it can't be had.
    pub fn text(&self, document: u16, name: &str) -> Result<String, String> {
        let folder = self.folders.get(usize::from(document)).unwrap_or(&self.root);
        let outside = || {
            format!(
                "lies outside of the folder of DAG files, {}: put it beside the DAG file",
                self.root.display()
            )
        };
        if Path::new(name).is_absolute() && !Path::new(name).starts_with(&self.root) {
            return Err(outside());
        }
        let path = folder.join(name);
        let stamp = fs::metadata(&path).map(|metadata| Stamp::of(&metadata)).ok();
        self.used.borrow_mut().insert(path.clone(), stamp);
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => format!("is not there: put it into {}", folder.display()),
            io::ErrorKind::InvalidData => "is not UTF-8: save it as UTF-8".into(),
            io::ErrorKind::PermissionDenied => "can't be read: let the server's user read it".into(),
            _ => format!("can't be read: {error}"),
        };
        let real = fs::canonicalize(&path).map_err(unreadable)?;
        if !fs::canonicalize(&self.root).is_ok_and(|root| real.starts_with(root)) {
            return Err(outside());
        }
        text::of(&real).map_err(unreadable)
    }

    /// What was asked for.
    pub fn used(self) -> Used {
        self.used.into_inner().into_iter().collect()
    }
}
