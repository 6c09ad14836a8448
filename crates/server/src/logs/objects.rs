//! Logs in a bucket.
//!
//! What is added to a log is an object of its own, which is made only where there is none of its name: see [`Segment`].
//! Whoever adds needs to know how long the log is. Where that is known wrong, because another server has added to it, the
//! object is there already: then it looks, and goes by what it finds. Now and then many small objects are made one: that
//! one is written before the others are deleted, and who meets both reads the longer one.
//!
//! The number of its run is in each object's name, so that a run finds no log of an earlier one of its name.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, path::Path};
use tokio::sync::Mutex as AsyncMutex;
use tracing::warn;
use updraft_core::{DagKey, RunKey, protocol::log_folder};
use updraft_store::Store;

use super::{
    LONGEST_LINE, LogName, Logged, Logs, Page, Part,
    segments::{SMALL_AT_ONCE, Segment, added, end_of, in_a_row, merged, places, to_merge},
};
use crate::{accounts::digest, objects::said, retention};

/// So many logs are added to at once.
const LOGS_AT_ONCE: usize = 16;

/// So many objects of a log are read at once.
const READ_AT_ONCE: usize = 8;

/// So often something is begun anew that another server came between.
const TRIES: usize = 8;

/// Of so many logs it is kept how long they are.
const KNOWN: usize = 4096;

/// A part of an object's name that would be longer is its hash: S3 takes 1024 bytes.
const LONGEST_PART: usize = 400;

/// Logs in a bucket.
pub struct LogObjects {
    store: Arc<dyn ObjectStore>,
    known: Mutex<HashMap<Path, Arc<AsyncMutex<Known>>>>,
    gone: Mutex<Vec<Gone>>,
}

/// What is known of a log without a look.
#[derive(Debug, Default)]
struct Known {
    length: Option<u64>,
    /// How many of its objects are as they were added.
    small: usize,
}

/// What is to be deleted.
#[derive(Clone, Debug)]
enum Gone {
    /// The logs of a run.
    Run(Path),
    /// Those of a DAG's runs up to this one.
    Runs(Path, RunKey),
}

impl LogObjects {
    /// All that is in this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, known: Mutex::default(), gone: Mutex::default() }
    }

    /// What is known of a log, for whoever adds to it: one after the other.
    fn known(&self, log: &Path) -> Arc<AsyncMutex<Known>> {
        let mut known = lock(&self.known);
        if known.len() >= KNOWN {
            known.retain(|_, log| Arc::strong_count(log) > 1);
        }
        known.entry(log.clone()).or_default().clone()
    }

    /// All objects of a log.
    async fn objects(&self, log: &Path) -> Result<Vec<Segment>, Error> {
        let all = self.store.list(Some(log));
        all.try_filter_map(|object| async { Ok(Segment::of(object)) }).try_collect().await
    }

    /// Those that make it up.
    async fn look(&self, log: &Path, known: &mut Known) -> Result<Vec<Segment>, Error> {
        let row = in_a_row(self.objects(log).await?);
        known.length = Some(end_of(&row));
        known.small = row.iter().filter(|segment| !segment.merged).count();
        Ok(row)
    }

    async fn bytes(&self, row: &[Segment], bytes: Range<u64>) -> Result<Vec<u8>, Error> {
        let parts = places(row, &bytes).into_iter().map(|(object, of)| {
            let store = self.store.clone();
            async move { store.get_range(&object, of).await }
        });
        let parts = stream::iter(parts).buffered(READ_AT_ONCE);
        let gather = |mut all: Vec<u8>, part: bytes::Bytes| async move {
            all.extend_from_slice(&part);
            Ok(all)
        };
        parts.try_fold(Vec::new(), gather).await
    }

    async fn ends_with(&self, row: &[Segment], bytes: &[u8]) -> Result<bool, Error> {
        let end = end_of(row);
        match end.checked_sub(bytes.len() as u64) {
            Some(from) => Ok(self.bytes(row, from..end).await? == bytes),
            None => Ok(false),
        }
    }

    async fn add(&self, part: &Part) -> Result<u64, Error> {
        let log = place_of(&part.log)?;
        let known = self.known(&log);
        let mut known = known.lock().await;
        if part.bytes.is_empty() {
            return Ok(end_of(&self.look(&log, &mut known).await?));
        }
        // Of most logs the first that is added is all: there is nothing to look for. Otherwise who says where it belongs
        // was told so, by this server or by another.
        let mut guessed = match (part.offset, known.length) {
            (None | Some(0), None) => Some(0),
            (offset, length) => length.filter(|_| offset == length),
        };
        for _ in 0..TRIES {
            let (length, ends_with_it) = match guessed.take() {
                Some(length) => (length, false),
                None => {
                    let row = self.look(&log, &mut known).await?;
                    let ends_with_it = part.offset.is_none() && self.ends_with(&row, &part.bytes).await?;
                    (end_of(&row), ends_with_it)
                }
            };
            let new = part.new_behind(length, ends_with_it);
            if new.is_empty() {
                return Ok(length);
            }
            let object = log.clone().join(added(length));
            let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&object, new.to_vec().into(), only_new).await {
                Err(Error::AlreadyExists { .. }) => continue,
                put => drop(put?),
            }
            let end = length + new.len() as u64;
            (known.length, known.small) = (Some(end), known.small + 1);
            // What belongs to the end may have come to a place that was the end when this looked, and is no more.
            if part.offset.is_none() && length > 0 {
                let row = self.look(&log, &mut known).await?;
                if !row.iter().any(|segment| segment.object == object) {
                    self.store.delete(&object).await?;
                    continue;
                }
            }
            if known.small >= SMALL_AT_ONCE {
                known.small = 0;
                if let Err(error) = self.merge(&log).await {
                    warn!(log = %log, error = said(&error), "the objects of a log could not be made one; trying again later");
                }
            }
            return Ok(end);
        }
        Err(busy(&log))
    }

    /// Makes one object of many small ones. Where this breaks off, nothing is lost, and the next goes on.
    async fn merge(&self, log: &Path) -> Result<(), Error> {
        let all = self.objects(log).await?;
        let row = in_a_row(all.clone());
        let Some(of) = to_merge(&row) else { return Ok(()) };
        let bytes = self.bytes(&row, of.clone()).await?;
        let made = log.clone().join(merged(&of));
        self.store.put(&made, bytes.into()).await?;
        // What was added first stays, so that nobody takes the log for one that has nothing in it.
        let first = log.clone().join(added(0));
        let is_in_it = |segment: &Segment| segment.at >= of.start && segment.end <= of.end;
        let in_it = all.into_iter().filter(is_in_it).map(|segment| segment.object);
        let objects: Vec<_> = in_it.filter(|object| *object != made && *object != first).map(Ok).collect();
        self.delete(stream::iter(objects)).await
    }

    async fn delete(
        &self,
        all: impl stream::Stream<Item = Result<Path, Error>> + Send + 'static,
    ) -> Result<(), Error> {
        self.store.delete_stream(all.boxed()).try_for_each(|_| async { Ok(()) }).await
    }

    async fn delete_below(&self, folder: &Path) -> Result<(), Error> {
        self.delete(self.store.list(Some(folder)).map_ok(|object| object.location)).await
    }

    async fn free(&self, gone: &Gone) -> Result<(), Error> {
        match gone {
            Gone::Run(folder) => self.delete_below(folder).await,
            Gone::Runs(dag, last) => {
                for folder in self.store.list_with_delimiter(Some(dag)).await?.common_prefixes {
                    if run_in(&folder).is_some_and(|(_, run)| run <= *last) {
                        self.delete_below(&folder).await?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The runs whose logs nothing was added to since `before`.
    async fn runs_before(&self, before: Timestamp) -> Result<Vec<(Path, RunKey)>, Error> {
        let mut old = Vec::new();
        // The objects of a run come one after the other.
        let mut last: Option<(Path, RunKey, i64)> = None;
        let mut is_over = |last: Option<(Path, RunKey, i64)>| {
            let is_old = |(_, _, newest): &(Path, RunKey, i64)| *newest < before.as_microsecond();
            old.extend(last.filter(is_old).map(|(folder, run, _)| (folder, run)));
        };
        let mut all = self.store.list(None);
        while let Some(object) = all.try_next().await? {
            let Some((folder, run)) = run_in(&object.location) else { continue };
            let at = object.last_modified.timestamp_micros();
            match &mut last {
                Some((same, _, newest)) if *same == folder => *newest = at.max(*newest),
                _ => is_over(last.replace((folder, run, at))),
            }
        }
        is_over(last);
        Ok(old)
    }
}

#[async_trait]
impl Logs for LogObjects {
    async fn read(&self, log: &LogName, offset: u64, most_bytes: usize) -> io::Result<Page> {
        let log = place_of(log).map_err(failed)?;
        let most_bytes = most_bytes.max(LONGEST_LINE) as u64;
        for _ in 0..TRIES {
            let row = in_a_row(self.objects(&log).await.map_err(failed)?);
            match self.bytes(&row, offset..offset.saturating_add(most_bytes)).await {
                // They were made one meanwhile.
                Err(Error::NotFound { .. }) => {}
                read => {
                    let read = read.map_err(failed)?;
                    return Ok(Page::of(&read, offset, (read.len() as u64) < most_bytes));
                }
            }
        }
        Err(failed(busy(&log)))
    }

    /// A look is a request that is paid for.
    fn look_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn append(&self, parts: Vec<Part>) -> Vec<io::Result<u64>> {
        let add = |part: Part| async move { self.add(&part).await.map_err(failed) };
        stream::iter(parts).map(add).buffered(LOGS_AT_ONCE).collect().await
    }

    async fn remove(&self, which: &[Logged]) -> io::Result<bool> {
        let gone = which.iter().filter_map(|logged| {
            let (dag, run) = (of_dag(&logged.dag).ok()?, logged.run?);
            Some(match logged.run_id {
                Some(_) => Gone::Run(of_run(&dag, run)),
                None => Gone::Runs(dag, run),
            })
        });
        let mut all = lock(&self.gone);
        all.extend(gone);
        Ok(!all.is_empty())
    }

    async fn remove_gone(&self, store: &dyn Store, before: Timestamp) -> Result<u64, retention::Error> {
        let failed = |error| retention::Error::Logs(failed(error));
        let mut removed = 0;
        for (folder, run) in self.runs_before(before).await.map_err(failed)? {
            if store.run(run).await?.is_none() {
                self.delete_below(&folder).await.map_err(failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// What a server that died had not deleted is found by [`Logs::remove_gone`].
    async fn purge(&self) -> io::Result<()> {
        loop {
            let next = lock(&self.gone).pop();
            let Some(gone) = next else { return Ok(()) };
            if let Err(error) = self.free(&gone).await {
                lock(&self.gone).push(gone);
                return Err(failed(error));
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: Error) -> io::Error {
    io::Error::other(said(&error))
}

fn busy(log: &Path) -> Error {
    Error::Generic { store: "S3", source: format!("others write to {log} all the time").into() }
}

/// Where a log is.
fn place_of(LogName { run, path }: &LogName) -> Result<Path, Error> {
    // Names are escaped: no other part begins so.
    let (dag, rest) = path.split_once("/run_id=").unwrap_or(("", path));
    Ok(Path::parse(format!("{}/run={run:020}/{}", short(dag), short(rest), run = run.0))?)
}

/// Where the logs of a DAG are.
fn of_dag(dag: &DagKey) -> Result<Path, Error> {
    Ok(Path::parse(short(&log_folder(&dag.namespace, &dag.dag_id, None)))?)
}

fn of_run(dag: &Path, run: RunKey) -> Path {
    dag.clone().join(format!("run={:020}", run.0))
}

/// The run whose an object is, and where its logs are.
fn run_in(object: &Path) -> Option<(Path, RunKey)> {
    let mut folder = Path::ROOT;
    for part in object.parts() {
        let run = part.as_ref().strip_prefix("run=").and_then(|run| run.parse().ok());
        folder = folder.join(part);
        if let Some(run) = run {
            return Some((folder, RunKey(run)));
        }
    }
    None
}

/// A part of an object's name.
fn short(part: &str) -> String {
    match part.len() > LONGEST_PART {
        true => format!("sha256-{}", digest(part)),
        false => part.to_owned(),
    }
}
