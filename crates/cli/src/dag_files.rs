//! How this program reads DAG files, with a server or without.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use updraft_bundles::Checkouts;
use updraft_core::{DagId, Namespace};
use updraft_server::{
    authoring::{Event, Folder, Format, Options, Reading, environment, native, read_document, read_folder},
    git::{self, Credentials, Remote},
};

use crate::config::{Config, Home};

/// How often a folder is looked at where nothing was noticed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A folder of DAG files that may name all operators of this program.
pub fn folder(root: PathBuf) -> Folder {
    Folder {
        root: Some(root),
        above: Vec::new(),
        namespace: Namespace::default(),
        check: Arc::new(native),
        variable: Arc::new(environment),
        owners: BTreeMap::new(),
        look_every: LOOK_EVERY,
        git: None,
        deployed: None,
    }
}

/// The folder that is no bundle.
pub fn root(folder: &Folder) -> &Path {
    folder.root.as_deref().unwrap_or(Path::new("."))
}

/// All DAG files of a home folder: those of the folder, and those of the repository as it was last fetched.
pub fn of(home: &Path, config: &Config) -> Result<Folder> {
    let git = repository(home, config)?.map(|repository| repository.checkouts);
    Ok(Folder { git, ..folder(folder_of(home, config)?) })
}

/// The repository that DAG files come from, where one is set.
pub fn repository(home: &Path, config: &Config) -> Result<Option<git::Settings>> {
    let git = &config.dags.git;
    let Some(url) = &git.url else {
        let is_meant = git.token.is_some() || git.ssh_key_file.is_some() || git.webhook_secret.is_some();
        ensure!(!is_meant, "dags.git has a secret and no address: set dags.git.url");
        return Ok(None);
    };
    let (key, known_hosts) = (git.ssh_key_file.clone(), git.ssh_known_hosts_file.clone());
    let credentials = match (&git.token, key.is_some() || known_hosts.is_some()) {
        (Some(_), true) => {
            bail!("dags.git.token is for https://, and dags.git.ssh_* for SSH: leave one of them out")
        }
        (Some(token), false) => Credentials::Token { username: git.username.clone(), token: token.clone() },
        (None, true) => Credentials::Ssh { key, known_hosts },
        (None, false) => Credentials::None,
    };
    ensure!(
        git.subdir.components().all(|part| matches!(part, Component::Normal(_))),
        "dags.git.subdir is `{}`: write a folder of the repository, as `dags` or `team/dags`",
        git.subdir.display()
    );
    ensure!(git.poll_interval_s > 0, "dags.git.poll_interval_s is 0: set it to a number of seconds");
    ensure!(
        git.webhook_secret.as_ref().is_none_or(|secret| !secret.is_empty()),
        "dags.git.webhook_secret is empty, which anybody knows: set a secret, or leave it out"
    );
    let timeout = Duration::from_secs(git.timeout_s);
    Ok(Some(git::Settings {
        remote: Remote::new(url.clone(), git.branch.clone(), credentials, timeout)?,
        checkouts: Checkouts { folder: Home::git_in(home), subdir: git.subdir.clone() },
        every: Duration::from_secs(git.poll_interval_s),
        webhook_secret: git.webhook_secret.clone(),
    }))
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
