//! Reading what is there now, for who does not stay to watch.

use std::{fs, path::Path, sync::Arc};

use tokio::sync::Notify;

use super::{
    Event, Folder, Watching,
    beside::Calendars,
    read,
    scan::{self, Found, Stamp, defaults_in},
    source,
};
use crate::authoring::{ImportError, Reading};

/// Reads all DAG files of a folder, as [`watch`](super::watch()) does at first: each that is one comes as an
/// [`Event::Changed`], in the order of their names. Blocks.
pub fn read_folder(folder: Folder) -> Vec<Event> {
    let mut events = Watching::new(folder, &Arc::new(Notify::new())).look();
    events.sort_by(|a, b| name_of(a).cmp(&name_of(b)));
    events
}

/// Reads all DAG files of a folder, which may lie within that of the DAG files: the `defaults.yml` of those above it count
/// as for [`read_file`]. Blocks.
pub fn read_folder_within(folder: &Folder, path: &Path) -> Vec<Event> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut above: Vec<_> =
        around(folder.root.as_deref(), &absolute).into_iter().map(Path::to_owned).collect();
    // Itself.
    above.pop();
    read_folder(Folder { root: Some(path.to_owned()), above, git: None, deployed: None, ..folder.clone() })
}

/// The folders whose `defaults.yml` count for what is in a folder, the outermost first: up to `root` where it is below
/// that, or else up to where its git repository begins, if it is in one.
fn around<'a>(root: Option<&Path>, folder: &'a Path) -> Vec<&'a Path> {
    let is_below = |above: &&Path| root.is_some_and(|root| above.starts_with(root));
    let mut folders: Vec<&Path> = folder.ancestors().take_while(is_below).collect();
    if folders.is_empty() {
        let repository = folder.ancestors().find(|above| above.join(".git").exists()).unwrap_or(folder);
        folders = folder.ancestors().take_while(|above| above.starts_with(repository)).collect();
    }
    folders.reverse();
    folders
}

fn name_of(event: &Event) -> Option<&Arc<str>> {
    match event {
        Event::Changed { source, .. } | Event::Removed { source } => Some(source),
        Event::Scanned { .. } => None,
    }
}

/// Reads one file, with the `defaults.yml` of its folder, and of those above it: up to `folder.root` where it is
/// below that, or else up to where its git repository begins, if it is in one. A file without DAGs is an error here. Blocks.
pub fn read_file(folder: &Folder, path: &Path) -> Reading {
    let wrong = |message: String| {
        let errors = vec![ImportError::of_file(source(path), message)];
        Reading { dags: Vec::new(), errors, named: None }
    };
    let own = match fs::metadata(path) {
        Ok(metadata) => Stamp::of(&metadata),
        Err(error) => return wrong(format!("this file can't be read: {error}")),
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folders = around(folder.root.as_deref(), absolute.parent().unwrap_or(Path::new("/")));
    let defaults = folders.into_iter().filter_map(defaults_in).collect();
    let found = Found { own, defaults, used: Vec::new() };
    let Some((mut reading, _)) = read(path, &found, folder, &Calendars::default()) else {
        return wrong("this file can't be read: it has just gone".into());
    };
    if reading.errors.is_empty() && reading.dags.is_empty() {
        let is_defaults = path.file_name().and_then(|name| name.to_str()).is_some_and(scan::is_defaults);
        let message = if is_defaults {
            "this file has the defaults of those around it, and no DAGs: name its folder, or these"
        } else {
            "no entry of this file has `tasks`: write `my_dag: {tasks: …}`"
        };
        reading.errors.push(ImportError::of_file(source(path), message));
    }
    reading
}
