//! Files that a DAG file names and that lie beside it, in the folder of DAG files.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{scan::Stamp, text};
use crate::authoring::{calendar, holidays::Files, text::mend_of_path};

/// What a DAG file was read with, and how each was then; `None` for one that was not there.
pub(super) type Used = Vec<(PathBuf, Option<Stamp>)>;

/// The files beside the documents that one DAG file is made of.
pub(super) struct Neighbours<'a> {
    /// No file outside of it is read.
    root: PathBuf,
    /// The folders of the documents.
    folders: Vec<PathBuf>,
    used: RefCell<BTreeMap<PathBuf, Option<Stamp>>>,
    calendars: &'a Calendars,
}

impl<'a> Neighbours<'a> {
    pub fn new<'b>(root: &Path, documents: impl Iterator<Item = &'b Path>, calendars: &'a Calendars) -> Self {
        let folder = |document: &Path| {
            let document = std::path::absolute(document).unwrap_or_else(|_| document.to_owned());
            document.parent().unwrap_or(Path::new("/")).to_owned()
        };
        Self {
            root: std::path::absolute(root).unwrap_or_else(|_| root.to_owned()),
            folders: documents.map(folder).collect(),
            used: RefCell::default(),
            calendars,
        }
    }

    /// A file beside one of the documents, where it is and as it is now; why it can't be had.
    fn find(&self, document: u16, name: &str) -> Result<(PathBuf, Stamp), String> {
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
        let found = fs::metadata(&path).map(|metadata| Stamp::of(&metadata));
        self.used.borrow_mut().insert(path.clone(), found.as_ref().ok().copied());
        let found = found.and_then(|stamp| Ok((fs::canonicalize(&path)?, stamp)));
        let (real, stamp) = found.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let mend = mend_of_path(name, || format!("put it into {}", folder.display()));
                format!("is not there: {mend}")
            }
            _ => unreadable(&error),
        })?;
        if self.is_within(folder, &real) { Ok((real, stamp)) } else { Err(outside()) }
    }

    /// Whether a file lies in the folder of DAG files, or in one that a link there leads to, as the document itself
    /// does then.
    fn is_within(&self, folder: &Path, real: &Path) -> bool {
        let around = folder.ancestors().take_while(|above| above.starts_with(&self.root));
        let mut folders = around.chain([&*self.root]);
        folders.any(|folder| fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder)))
    }

    /// What was asked for.
    pub fn used(self) -> Used {
        self.used.into_inner().into_iter().collect()
    }
}

impl Files for Neighbours<'_> {
    fn text(&self, document: u16, name: &str) -> Result<String, String> {
        let (path, _) = self.find(document, name)?;
        text::of(&path).map_err(|error| unreadable(&error))
    }

    fn calendar(&self, document: u16, name: &str) -> Result<calendar::Shared, String> {
        let found = self.find(document, name)?;
        self.calendars.read(found)
    }

    fn is_missing(&self, name: &Path) -> bool {
        let path = self.folders.first().unwrap_or(&self.root).join(name);
        fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}

/// The calendars that the DAG files of one look name: each is read once, however many name it.
#[derive(Default)]
pub(super) struct Calendars(Mutex<BTreeMap<(PathBuf, Stamp), Reading>>);

/// A calendar, or why its file can't be read.
type Known = Result<calendar::Shared, String>;

/// One that is being read, for which others wait.
type Reading = Arc<OnceLock<Known>>;

impl Calendars {
    /// Reads a file that was found so. One that is written meanwhile is another.
    fn read(&self, found: (PathBuf, Stamp)) -> Known {
        let path = found.0.clone();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(found).or_default().clone();
        let read = || {
            let text = text::at_most(calendar::MOST_BYTES, "a calendar file", &path);
            text.map(|text| Arc::new(calendar::read(&text))).map_err(|error| unreadable(&error))
        };
        known.get_or_init(read).clone()
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => format!("{error}: save it as UTF-8"),
        io::ErrorKind::PermissionDenied => "can't be read: let the server's user read it".into(),
        _ => format!("can't be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn a_calendar_that_several_files_name_is_read_once_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("team")).unwrap();
        let write = |day: &str| {
            let text = format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:{day}\nEND:VEVENT\nEND:VCALENDAR\n");
            fs::write(root.join("days.ics"), text).unwrap();
        };
        let calendars = Calendars::default();
        let read = |document: &str, name: &str| {
            let document = root.join(document);
            Neighbours::new(root, iter::once(&*document), &calendars).calendar(0, name).unwrap()
        };
        write("20261225");
        let (one, other) = (read("a.yml", "days.ics"), read("team/b.yml", "../days.ics"));
        assert!(Arc::ptr_eq(&one, &other));
        // A file that is otherwise is another, also within one look.
        write("20261225\nDTEND:20261227");
        let changed = read("a.yml", "days.ics");
        let days = [&one, &changed].map(|read| read.as_ref().as_ref().unwrap().days.count());
        assert_eq!(days, [1, 2]);
    }
}
