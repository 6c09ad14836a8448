//! The logs of attempts: read by offsets, whole or while they grow, and removed with their runs.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DagKey, RunId, log::Entry, protocol::log_folder};

/// A line longer than this is none of ours: an entry's text is cut every 8 KiB, each byte at most four long.
const LONGEST_LINE: usize = 64 * 1024;

/// Some consecutive entries of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the log's order. Lines that are no entries are left out.
    pub entries: Vec<Entry>,
    /// Where the next page begins, in bytes.
    pub next: u64,
    /// Nothing follows yet.
    pub at_end: bool,
}

/// What is to be added to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which: see [`updraft_core::protocol::log_path`].
    pub path: String,
    /// Where it belongs, in bytes. Only what is not there yet is added, and nothing where something between is missing.
    /// Without an offset it belongs to the end, and is not added where the log ends with it: so it can come twice.
    pub offset: Option<u64>,
    /// What is added, in whole lines.
    pub bytes: Vec<u8>,
}

/// Where the logs of attempts are.
#[async_trait]
pub trait Logs: Send + Sync {
    /// The entries that stand whole in the log at `path` from `offset` on, about `most_bytes` of them. A log
    /// that does not exist is an empty one. `path` is that of [`updraft_core::protocol::log_path`].
    async fn read(&self, path: &str, offset: u64, most_bytes: usize) -> io::Result<Page>;

    /// Adds to logs, and says how long each is then.
    async fn append(&self, parts: Vec<Part>) -> Vec<io::Result<u64>>;

    /// The runs whose logs nothing was added to since `before`, no task's.
    async fn runs_before(&self, before: Timestamp) -> io::Result<Vec<Logged>>;

    /// Takes all logs of these out of where they are found, at once however many there are. Says whether there
    /// were any. [`Logs::purge`] frees their room.
    async fn remove(&self, which: &[Logged]) -> io::Result<bool>;

    /// Frees the room of what was removed, also by servers that died before they could.
    async fn purge(&self) -> io::Result<()>;
}

/// What has logs: a run, or all runs of a DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The DAG.
    pub dag: DagKey,
    /// The run's name; all runs where none is named.
    pub run_id: Option<RunId>,
}

impl Logged {
    /// Where its logs are, below the folder of logs.
    fn path(&self) -> PathBuf {
        log_folder(&self.dag.namespace, &self.dag.dag_id, self.run_id.as_ref()).into()
    }
}

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
    async fn read(&self, path: &str, offset: u64, most_bytes: usize) -> io::Result<Page> {
        let path = self.0.join(path);
        tokio::task::spawn_blocking(move || read(&path, offset, most_bytes))
            .await
            .map_err(io::Error::other)?
    }

    async fn append(&self, parts: Vec<Part>) -> Vec<io::Result<u64>> {
        let (root, count) = (self.0.clone(), parts.len());
        let add = move || parts.iter().map(|part| append(&root.join(&part.path), part)).collect();
        let added = tokio::task::spawn_blocking(add).await;
        added.unwrap_or_else(|error| (0..count).map(|_| Err(io::Error::other(error.to_string()))).collect())
    }

    async fn runs_before(&self, before: Timestamp) -> io::Result<Vec<Logged>> {
        let root = self.0.clone();
        let look = move || runs_before(&root, before.into());
        tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
    }

    async fn remove(&self, which: &[Logged]) -> io::Result<bool> {
        let root = self.0.clone();
        let paths: Vec<PathBuf> = which.iter().map(Logged::path).collect();
        let put_away = move || {
            let mut any = false;
            for path in &paths {
                any |= put_away(&root, path)?;
            }
            Ok(any)
        };
        tokio::task::spawn_blocking(put_away).await.map_err(io::Error::other)?
    }

    async fn purge(&self) -> io::Result<()> {
        match tokio::fs::remove_dir_all(self.0.join(REMOVED)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn append(path: &Path, Part { offset, bytes, .. }: &Part) -> io::Result<u64> {
    if bytes.is_empty() {
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
    let new = match offset {
        Some(offset) if *offset > length => &[],
        Some(offset) => {
            let known = usize::try_from(length - offset).unwrap_or(usize::MAX);
            bytes.get(known..).unwrap_or_default()
        }
        None if ends_with(&file, length, bytes)? => &[],
        None => bytes,
    };
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

/// See [`updraft_core::protocol::log_path`] for the folders.
fn runs_before(root: &Path, before: SystemTime) -> io::Result<Vec<Logged>> {
    let mut found = Vec::new();
    for (namespace, of_namespace) in folders(root, "namespace=")? {
        for (dag_id, of_dag) in folders(&of_namespace, "dag_id=")? {
            for (run_id, path) in folders(&of_dag, "run_id=")? {
                let dag = DagKey::new(namespace.as_str(), dag_id.as_str());
                let logged = Logged { dag, run_id: Some(run_id.into()) };
                // A folder that only looks like one is none of ours.
                if root.join(logged.path()) == path && path.metadata()?.modified()? < before {
                    found.push(logged);
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
    let (bytes, at_end) = (&bytes[..read], read < bytes.len());
    let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        // A line without an end that fills everything would have a reader stand still.
        None if !at_end => read,
        None => 0,
    };
    let lines = bytes[..whole].split(|byte| *byte == b'\n');
    let entries = lines.filter_map(|line| Entry::parse(std::str::from_utf8(line).ok()?)).collect();
    Ok(Page { entries, next: offset + whole as u64, at_end })
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use updraft_core::{MapIndex, protocol::log_path};

    use super::*;

    const LINE: &str = "2026-11-21T03:48:10.123456Z\tout\thello\n";

    #[tokio::test]
    async fn a_growing_log_is_read_on_from_where_the_last_page_ended() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFolder::new(folder.path());
        let missing = logs.read("a.log", 0, 10).await.unwrap();
        assert_eq!(missing, Page { entries: Vec::new(), next: 0, at_end: true });
        let mut file = File::create(folder.path().join("a.log")).unwrap();
        write!(file, "{LINE}torn\n{LINE}2026-11").unwrap();
        let page = logs.read("a.log", 0, 10).await.unwrap();
        assert_eq!((page.entries.len(), page.at_end), (2, true));
        write!(file, "{}", &LINE[7..]).unwrap();
        let page = logs.read("a.log", page.next, 10).await.unwrap();
        assert_eq!(page.entries[0].text, "hello");
        assert_eq!(page.next, file.metadata().unwrap().len());
    }

    #[tokio::test]
    async fn an_offset_in_the_middle_of_an_entry_is_that_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.log"), LINE.repeat(3)).unwrap();
        let logs = LogFolder::new(folder.path());
        for offset in 0..=3 * LINE.len() {
            let page = logs.read("a.log", offset as u64, 10).await.unwrap();
            let whole = (3 * LINE.len() - offset) / LINE.len();
            assert_eq!((page.entries.len(), page.at_end), (whole, true), "offset {offset}");
        }
    }

    #[tokio::test]
    async fn logs_are_found_by_their_runs_and_removed_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFolder::new(folder.path());
        assert_eq!(logs.runs_before(Timestamp::MAX).await.unwrap(), []);
        let dag = DagKey::new("team", "a/b");
        let run_id = RunId::from(".x+00:00");
        let names = (&dag.namespace, &dag.dag_id, &run_id);
        let path = folder.path().join(log_path(names, &"t".into(), MapIndex(3), 1));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, LINE).unwrap();
        std::fs::create_dir(folder.path().join("lost+found")).unwrap();
        assert_eq!(logs.runs_before(Timestamp::UNIX_EPOCH).await.unwrap(), []);
        let found = logs.runs_before(Timestamp::MAX).await.unwrap();
        assert_eq!(found, [Logged { dag: dag.clone(), run_id: Some(run_id) }]);
        assert!(logs.remove(&found).await.unwrap());
        assert!(!path.exists());
        assert!(!logs.remove(&[Logged { dag, run_id: None }]).await.unwrap());
        logs.purge().await.unwrap();
        logs.purge().await.unwrap();
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lost+found"]);
    }

    #[tokio::test]
    async fn what_comes_twice_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFolder::new(folder.path());
        let path = "namespace=default/dag_id=d/run_id=r/a.log";
        let add = async |offset, text: &str| {
            let part = Part { path: path.into(), offset, bytes: text.into() };
            logs.append(vec![part]).await.remove(0).unwrap()
        };
        let text = || std::fs::read_to_string(folder.path().join(path)).unwrap_or_default();
        assert_eq!((add(Some(0), "").await, text()), (0, String::new()));
        // An attempt that was lost has written to it before; and one may write twice the same.
        assert_eq!(add(None, "one\n").await, 4);
        for _ in 0..2 {
            assert_eq!((add(None, "two\ntwo\n").await, text()), (12, "one\ntwo\ntwo\n".into()));
        }
        assert_eq!(add(Some(8), "two\nthree\n").await, 18, "what is new of it");
        assert_eq!(add(Some(8), "two\n").await, 18, "nothing of it is new");
        assert_eq!(add(Some(19), "five\n").await, 18, "something between is missing");
        assert_eq!(text(), "one\ntwo\ntwo\nthree\n");
        assert_eq!(add(None, "one\ntwo\n").await, 26, "it is not the end");
        let parts = ["b.log", "b.log/c.log", "d.log"];
        let parts = parts.map(|path| Part { path: path.into(), offset: None, bytes: b"x\n".into() });
        let added = logs.append(parts.into()).await;
        assert!(added[1].is_err(), "a file is no folder");
        assert_eq!(
            (added[0].as_ref().unwrap(), added[2].as_ref().unwrap()),
            (&2, &2),
            "one does not hold the others up"
        );
    }

    #[tokio::test]
    async fn a_line_without_end_does_not_hold_a_reader_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.log"), "x".repeat(3 * LONGEST_LINE)).unwrap();
        let page = LogFolder::new(folder.path()).read("a.log", 0, 10).await.unwrap();
        assert_eq!((page.next, page.at_end), (LONGEST_LINE as u64, false));
    }
}
