//! What is wrong with a document, and where.

use std::{fmt, sync::Arc};

use updraft_core::DagId;

use super::{
    node::{Node, Place},
    text::Text,
};

/// Something in a DAG file that can't be taken as it is, with its place and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// The file it stands in: most often the DAG file itself, else a `defaults.yml`.
    pub file: Arc<str>,
    /// The DAG that can't be had because of it; `None` where that is the whole file.
    pub dag_id: Option<DagId>,
    /// The line, from 1; `None` for what has no lines (JSON, a file that can't be read).
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// The keys that lead there: `etl.tasks.load.retries`. Empty where it is the whole document.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ImportError {}

impl ImportError {
    /// A problem of a whole file.
    pub(super) fn of_file(file: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            dag_id: None,
            line: None,
            column: None,
            path: String::new(),
            message: message.into(),
        }
    }
}

/// The documents that one reading looks at: the DAG file, and the `defaults.yml` files around it.
#[derive(Default)]
pub(super) struct Documents<'a> {
    list: Vec<Document<'a>>,
}

struct Document<'a> {
    name: Arc<str>,
    text: Option<Text<'a>>,
    root: Option<Node>,
}

impl<'a> Documents<'a> {
    /// Takes up a document; its number goes into its places.
    pub fn add(&mut self, name: Arc<str>, text: Option<Text<'a>>) -> u16 {
        self.list.push(Document { name, text, root: None });
        u16::try_from(self.list.len() - 1).unwrap_or(u16::MAX)
    }

    pub fn set_root(&mut self, document: u16, root: Node) {
        self.list[usize::from(document)].root = Some(root);
    }

    pub fn text(&self, document: u16) -> &str {
        self.list[usize::from(document)].text.as_ref().map_or("", Text::expanded)
    }

    /// The environment variables that were not put into the documents, with the document and where they stand in it.
    pub fn withheld(&self) -> impl Iterator<Item = (u16, u32, &str)> {
        let texts = (0..).zip(&self.list).filter_map(|(at, document)| Some((at, document.text.as_ref()?)));
        texts.flat_map(|(at, text)| {
            let withheld = text.withheld().iter();
            withheld.map(move |(offset, name)| (at, u32::try_from(*offset).unwrap_or(u32::MAX), *name))
        })
    }

    pub fn name(&self, document: u16) -> &Arc<str> {
        &self.list[usize::from(document)].name
    }

    /// The line and the column of a place, from 1; `None` where there are none.
    pub fn position(&self, place: Place) -> Option<(u32, u32)> {
        let text = self.list[usize::from(place.document)].text.as_ref()?;
        Some(text.line_and_column(place.offset as usize))
    }

    /// The problem of that place.
    pub fn error(&self, place: Place, dag_id: Option<&DagId>, message: impl Into<String>) -> ImportError {
        let document = &self.list[usize::from(place.document)];
        let position = self.position(place);
        let mut path = String::new();
        if let Some(root) = &document.root {
            write_path(root, place.serial, &mut path);
        }
        ImportError {
            file: document.name.clone(),
            dag_id: dag_id.cloned(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            path,
            message: message.into(),
        }
    }
}

/// The way to the key or value with this number. What an alias repeats has the number of where it stands
/// first, which is smaller than that of the repeating mapping: the way leads to where it is written.
fn write_path(root: &Node, serial: u32, path: &mut String) {
    let mut node = root;
    while node.place.serial < serial {
        let own = |place: &Place| place.serial > node.place.serial && place.serial <= serial;
        if let Some(map) = node.map() {
            let entries = map.entries.iter().filter(|entry| own(&entry.key_place));
            let Some(entry) = entries.max_by_key(|entry| entry.key_place.serial) else { return };
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&entry.key);
            if entry.key_place.serial == serial {
                return;
            }
            node = &entry.node;
        } else if let Some(list) = node.list() {
            let items = list.iter().enumerate().filter(|(_, item)| own(&item.place));
            let Some((index, item)) = items.max_by_key(|(_, item)| item.place.serial) else { return };
            path.push_str(&format!("[{index}]"));
            node = item;
        } else {
            return;
        }
    }
}

/// What was found while one DAG was read.
#[derive(Default)]
pub(super) struct Problems {
    errors: Vec<(Place, String)>,
    warnings: Vec<(Place, String)>,
    untold: usize,
}

impl Problems {
    /// More than these help nobody.
    const MOST: usize = 100;

    pub fn error(&mut self, place: Place, message: impl Into<String>) {
        if self.is_full() {
            self.untold += 1;
        } else {
            self.errors.push((place, message.into()));
        }
    }

    pub fn warn(&mut self, place: Place, message: impl Into<String>) {
        let message = message.into();
        let new = || !self.warnings.iter().any(|(at, known)| *at == place && *known == message);
        if self.warnings.len() < Self::MOST && new() {
            self.warnings.push((place, message));
        }
    }

    /// Whether further errors are only counted.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= Self::MOST
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The errors and the warnings, in the order of their places.
    pub fn finish(
        mut self,
        documents: &Documents<'_>,
        dag_id: Option<&DagId>,
    ) -> (Vec<ImportError>, Vec<ImportError>) {
        self.errors.sort_by_key(|(place, _)| (place.document, place.serial));
        self.errors.dedup();
        let tell = |list: Vec<(Place, String)>| -> Vec<ImportError> {
            list.into_iter().map(|(place, message)| documents.error(place, dag_id, message)).collect()
        };
        let mut errors = tell(self.errors);
        if let (true, Some(last)) = (self.untold > 0, errors.last_mut()) {
            last.message.push_str(&format!(" (and {} more problems)", self.untold));
        }
        (errors, tell(self.warnings))
    }
}
