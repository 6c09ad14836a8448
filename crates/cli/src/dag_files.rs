//! How this program reads DAG files, with a server or without.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use updraft_core::{DagId, Namespace};
use updraft_server::authoring::{
    Event, Folder, Format, Options, Reading, environment, native, read_document, read_folder,
};

use crate::config::{Config, Home};

/// How often a folder is looked at where nothing was noticed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A folder of DAG files that may name all operators of this program.
pub fn folder(root: PathBuf) -> Folder {
    Folder {
        root,
        namespace: Namespace::default(),
        check: Arc::new(native),
        variable: Arc::new(environment),
        owners: BTreeMap::new(),
        look_every: LOOK_EVERY,
    }
}

/// Where a home folder's DAG files are.
pub fn folder_of(home: &Path, config: &Config) -> Result<PathBuf> {
    let folder = config.dags.folder.clone().unwrap_or_else(|| Home::dags_in(home));
    std::path::absolute(folder).context("can't tell where the folder of DAG files is")
}

/// Reads what is to be a DAG file of this name, without the defaults around it.
pub fn read(file: &Path, text: &str) -> Reading {
    let options = Options {
        namespace: Namespace::default(),
        check: &native,
        variable: &environment,
        now: Timestamp::now(),
    };
    read_document(&file.display().to_string(), text, Format::Yaml, &options)
}

/// The DAGs that the files of a folder name, good and bad, and where. What can't be read names none.
pub fn named_in(root: &Path) -> BTreeMap<DagId, PathBuf> {
    if !root.is_dir() {
        return BTreeMap::new();
    }
    let named = |event: Event| match event {
        Event::Changed { source, named, .. } => {
            let file = PathBuf::from(&*source);
            named.unwrap_or_default().into_iter().map(|dag_id| (dag_id, file.clone())).collect()
        }
        Event::Removed { .. } | Event::Scanned { .. } => Vec::new(),
    };
    // Of two files with a DAG the first counts.
    read_folder(folder(root.to_owned())).into_iter().rev().flat_map(named).collect()
}
