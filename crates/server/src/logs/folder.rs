//! Logs in a folder of this machine, or of a file server.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DagKey, RunId, protocol::log_folder};
use updraft_store::Store;

use super::{LONGEST_LINE, LogName, Logged, Logs, Page, Part};
use crate::retention;

/// Logs in a folder of this machine.
pub struct LogFolder(PathBuf);

impl LogFolder {
    /// Below this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }
}

#[async_trait]
impl Logs for LogFolder {
    async fn read(&self, log: &LogName, offset: u64, most_bytes: usize) -> io::Result<Page> {
        let path = self.0.join(&log.path);
        tokio::task::spawn_blocking(move || read(&path, offset, most_bytes))
            .await
            .map_err(io::Error::other)?
    }

    fn look_every(&self) -> Duration {
        Duration::from_millis(200)
    }

    async fn append(&self, parts: Vec<Part>) -> Vec<io::Result<u64>> {
        let (root, count) = (self.0.clone(), parts.len());
        let add = move || parts.iter().map(|part| append(&root.join(&part.log.path), part)).collect();
        let added = tokio::task::spawn_blocking(add).await;
        added.unwrap_or_else(|error| (0..count).map(|_| Err(io::Error::other(error.to_string()))).collect())
    }

    async fn remove(&self, which: &[Logged]) -> io::Result<bool> {
        let root = self.0.clone();
        let paths: Vec<PathBuf> = which.iter().map(folder_of).collect();
        let put_away = move || {
            let mut any = false;
            for path in &paths {
                any |= put_away(&root, path)?;
            }
            Ok(any)
        };
        tokio::task::spawn_blocking(put_away).await.map_err(io::Error::other)?
    }

    async fn remove_gone(&self, store: &dyn Store, before: Timestamp) -> Result<u64, retention::Error> {
        let mut removed = 0;
        let root = self.0.clone();
        let look = move || runs_before(&root, before.into());
        let old = tokio::task::spawn_blocking(look).await.map_err(io::Error::other).flatten();
        for (dag, run_id) in old.map_err(retention::Error::Logs)? {
            if store.find_run(&dag, &run_id).await?.is_none() {
                let gone = Logged { dag, run_id: Some(run_id), run: None };
                self.remove(&[gone]).await.map_err(retention::Error::Logs)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Also of what servers removed that died before they could.
    async fn purge(&self) -> io::Result<()> {
        match tokio::fs::remove_dir_all(self.0.join(REMOVED)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Where these logs are, below the folder of logs.
fn folder_of(Logged { dag, run_id, .. }: &Logged) -> PathBuf {
    log_folder(&dag.namespace, &dag.dag_id, run_id.as_ref()).into()
}

fn append(path: &Path, part: &Part) -> io::Result<u64> {
    if part.bytes.is_empty() {
        return match std::fs::metadata(path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
    }
    let mut file = open(path)?;
    // The same may come twice at once, where an answer took too long.
    file.lock()?;
    let length = file.metadata()?.len();
    let ends_with_it = part.offset.is_none() && ends_with(&file, length, &part.bytes)?;
    let new = part.new_behind(length, ends_with_it);
    file.write_all(new)?;
    Ok(length + new.len() as u64)
}

fn open(path: &Path) -> io::Result<File> {
    let open = || File::options().read(true).append(true).create(true).mode(0o600).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

fn ends_with(file: &File, length: u64, bytes: &[u8]) -> io::Result<bool> {
    let Some(offset) = length.checked_sub(bytes.len() as u64) else { return Ok(false) };
    let mut there = vec![0; bytes.len()];
    Ok(read_at(file, &mut there, offset)? == there.len() && there == bytes)
}

/// The folder, beside those of namespaces, of what was removed.
const REMOVED: &str = "removed";

/// Puts a folder where it is found no more; whether there was one.
fn put_away(root: &Path, path: &Path) -> io::Result<bool> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let from = root.join(path);
    if !from.try_exists()? {
        return Ok(false);
    }
    let removed = root.join(REMOVED);
    let (now, number) = (Timestamp::now().as_nanosecond(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let to = removed.join(format!("{now}-{number}"));
    loop {
        std::fs::create_dir_all(&removed)?;
        match std::fs::rename(&from, &to) {
            // The folder of what was removed went at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.try_exists()? => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            moved => break moved?,
        }
    }
    // The folders around it, where these are empty now.
    for folder in from.ancestors().skip(1).take_while(|folder| *folder != root) {
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(true)
}

/// The runs whose logs nothing was added to since `before`, no task's. See [`updraft_core::protocol::log_path`] for the
/// folders.
fn runs_before(root: &Path, before: SystemTime) -> io::Result<Vec<(DagKey, RunId)>> {
    let mut found = Vec::new();
    for (namespace, of_namespace) in folders(root, "namespace=")? {
        for (dag_id, of_dag) in folders(&of_namespace, "dag_id=")? {
            for (run_id, path) in folders(&of_dag, "run_id=")? {
                let dag = DagKey::new(namespace.as_str(), dag_id.as_str());
                let run_id = RunId::from(run_id);
                let folder = log_folder(&dag.namespace, &dag.dag_id, Some(&run_id));
                // A folder that only looks like one is none of ours.
                if root.join(folder) == path && path.metadata()?.modified()? < before {
                    found.push((dag, run_id));
                }
            }
        }
    }
    Ok(found)
}

/// The folders in a folder whose names begin so, with the rest of their names as it was before it was escaped.
fn folders(parent: &Path, prefix: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        if entry.file_type()?.is_dir() {
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn read(path: &Path, offset: u64, most_bytes: usize) -> io::Result<Page> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Page { next: offset, at_end: true, ..Page::default() });
        }
        opened => opened?,
    };
    let mut bytes = vec![0; most_bytes.max(LONGEST_LINE)];
    let read = read_at(&file, &mut bytes, offset)?;
    Ok(Page::of(&bytes[..read], offset, read < bytes.len()))
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
