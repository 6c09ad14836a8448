//! How this program reads DAG files, with a server or without.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use updraft_core::Namespace;
use updraft_server::authoring::{self, Folder};

use crate::config::{Config, Home};

/// How often a folder is looked at where nothing was noticed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A folder of DAG files that may name all operators of this program.
pub fn folder(root: PathBuf) -> Folder {
    Folder {
        root,
        namespace: Namespace::default(),
        check: Arc::new(authoring::native),
        variable: Arc::new(authoring::environment),
        owners: BTreeMap::new(),
        look_every: LOOK_EVERY,
    }
}

/// Where a home folder's DAG files are.
pub fn folder_of(home: &Path, config: &Config) -> Result<PathBuf> {
    let folder = config.dags.folder.clone().unwrap_or_else(|| Home::dags_in(home));
    std::path::absolute(folder).context("can't tell where the folder of DAG files is")
}
