//! Values that are too large for the database.
//!
//! A blob is written once, under the attempt that made it, and is on the disk before it is acknowledged.

mod items;

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use object_store::{
    ObjectStore, ObjectStoreExt as _, WriteMultipart, local::LocalFileSystem, path::Path as BlobPath,
};
use serde_json::Value;
use tokio::sync::Mutex;
use updraft_core::{AttemptId, RunKey, protocol::escape};

use self::items::Items;
use crate::accounts::digest;

/// No file's name may have more than 255 bytes.
const LONGEST_NAME: usize = 200;

/// So many parts of an upload wait for the disk at once.
const PARTS_AT_ONCE: usize = 2;

/// Why a blob can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none at this path.
    #[error("there is no blob `{0}`")]
    NotFound(String),
    /// It has no name.
    #[error("a value has to have a name")]
    NoName,
    /// It is longer than what may be uploaded.
    #[error("a value may have up to {0} bytes")]
    TooLarge(u64),
    /// The upload broke off.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// The disk does not take or give it.
    #[error("the blob store fails: {0}")]
    Store(String),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::NotFound(path),
            other => Self::Store(other.to_string()),
        }
    }
}

/// Where blobs are.
pub struct Blobs {
    store: Box<dyn ObjectStore>,
    /// The lists of which items were asked for last, the latest last.
    lists: Mutex<Vec<(String, Arc<Items>)>>,
}

/// So much of lists is kept, in bytes, or the newest alone: each copy of a mapped task wants an item of the same one.
const LISTS_BYTES: usize = 32 << 20;

impl Blobs {
    /// In a folder of this machine, made where it is not there.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(io::Error::other)?;
        let store = Box::new(store.with_fsync(true).with_automatic_cleanup(true));
        Ok(Self { store, lists: Mutex::default() })
    }

    /// Writes a blob as it comes in; returns its path and its size. All of it is on the disk then, or
    /// nothing is there. Written again, it takes the place of the former.
    pub async fn put<E: std::fmt::Display>(
        &self,
        attempt: AttemptId,
        name: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most_bytes: u64,
    ) -> Result<(String, u64), Error> {
        let path = path_of(attempt, name)?;
        let mut upload = WriteMultipart::new(self.store.put_multipart(&path).await?);
        match pour(body, &mut upload, most_bytes).await {
            Ok(bytes) => {
                upload.finish().await?;
                Ok((path.to_string(), bytes))
            }
            Err(error) => {
                upload.abort().await?;
                Err(error)
            }
        }
    }

    /// Writes a blob that any attempt may need; all of it is on the disk then, or nothing is there.
    pub async fn put_at<E: std::fmt::Display>(
        &self,
        path: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Error> {
        let path = BlobPath::parse(path).map_err(|error| Error::Store(error.to_string()))?;
        let mut upload = WriteMultipart::new(self.store.put_multipart(&path).await?);
        match pour(body, &mut upload, u64::MAX).await {
            Ok(_) => Ok(upload.finish().await.map(drop)?),
            Err(error) => {
                upload.abort().await?;
                Err(error)
            }
        }
    }

    /// Whether there is a blob.
    pub async fn has(&self, path: &str) -> Result<bool, Error> {
        let path = BlobPath::parse(path).map_err(|_| Error::NotFound(path.to_owned()))?;
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A blob, as it comes.
    pub async fn stream(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + use<>, Error> {
        let path = BlobPath::parse(path).map_err(|_| Error::NotFound(path.to_owned()))?;
        let parts = self.store.get(&path).await?.into_stream();
        Ok(parts.map(|part| part.map_err(Error::from)))
    }

    /// The blobs in a folder, and when each was written.
    pub async fn list(&self, folder: &str) -> Result<Vec<(String, Timestamp)>, Error> {
        let mut found = Vec::new();
        let mut all = self.store.list(Some(&BlobPath::from(folder)));
        while let Some(blob) = all.next().await.transpose()? {
            let at = Timestamp::from_microsecond(blob.last_modified.timestamp_micros());
            found.push((blob.location.to_string(), at.unwrap_or(Timestamp::MAX)));
        }
        Ok(found)
    }

    /// What is at a place of a list, or among an object's pairs of key and value.
    pub async fn item(&self, path: &str, at: usize) -> Result<Option<Value>, Error> {
        let damaged = |error: serde_json::Error| Error::Store(format!("the blob {path} is no JSON: {error}"));
        self.items(path, damaged).await?.get(at).map_err(damaged)
    }

    /// The items of a blob. Whoever has its path has that from the database, so it is whole and is not written again.
    /// It is read once, also where many ask for it together.
    async fn items(
        &self,
        path: &str,
        damaged: impl Fn(serde_json::Error) -> Error,
    ) -> Result<Arc<Items>, Error> {
        let mut lists = self.lists.lock().await;
        let kept = match lists.iter().position(|(known, _)| known == path) {
            Some(at) => lists.remove(at),
            None => {
                let text = self.get(path).await?;
                let read = tokio::task::spawn_blocking(move || Items::read(text)).await;
                let read = read.map_err(|error| Error::Store(error.to_string()))?.map_err(damaged)?;
                (path.to_owned(), Arc::new(read))
            }
        };
        let items = kept.1.clone();
        lists.push(kept);
        let mut bytes: usize = lists.iter().map(|(_, items)| items.bytes()).sum();
        // The newest stays whatever its size, for the next who asks.
        while bytes > LISTS_BYTES && lists.len() > 1 {
            bytes -= lists.remove(0).1.bytes();
        }
        Ok(items)
    }

    /// A blob's bytes.
    pub async fn get(&self, path: &str) -> Result<Bytes, Error> {
        let path = BlobPath::parse(path).map_err(|_| Error::NotFound(path.to_owned()))?;
        Ok(self.store.get(&path).await?.bytes().await?)
    }

    /// The blobs that were written before a time, with the run that each is of.
    pub async fn before(&self, before: Timestamp) -> Result<Vec<(RunKey, String)>, Error> {
        let mut found = Vec::new();
        let mut all = self.store.list(Some(&BlobPath::from("xcom")));
        while let Some(blob) = all.next().await.transpose()? {
            let run = blob.location.parts().nth(1).and_then(|part| part.as_ref().parse().ok());
            if let Some(run) = run.filter(|_| blob.last_modified.timestamp_micros() < before.as_microsecond())
            {
                found.push((RunKey(run), blob.location.to_string()));
            }
        }
        Ok(found)
    }

    /// Removes a blob.
    pub async fn remove(&self, path: &str) -> Result<(), Error> {
        let path = BlobPath::parse(path).map_err(|_| Error::NotFound(path.to_owned()))?;
        Ok(self.store.delete(&path).await?)
    }
}

async fn pour<E: std::fmt::Display>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    upload: &mut WriteMultipart,
    most_bytes: u64,
) -> Result<u64, Error> {
    let mut bytes = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Error::Upload(error.to_string()))?;
        bytes += chunk.len() as u64;
        if bytes > most_bytes {
            return Err(Error::TooLarge(most_bytes));
        }
        upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        upload.put(chunk);
    }
    Ok(bytes)
}

/// `xcom/<run>/<task>/<map_index>/<try>.<lease>/<name>`. Everything but the name is a number; the name is
/// escaped, and where it is too long for a file's it is its hash.
fn path_of(attempt: AttemptId, name: &str) -> Result<BlobPath, Error> {
    let name = match escape(name) {
        empty if empty.is_empty() => return Err(Error::NoName),
        long if long.len() > LONGEST_NAME => format!("sha256-{}", digest(name)),
        escaped => escaped,
    };
    let AttemptId { ti, try_number, lease } = attempt;
    let path = format!("xcom/{}/{}/{}/{try_number}.{lease}/{name}", ti.run, ti.task, ti.map_index);
    BlobPath::parse(path).map_err(|error| Error::Store(error.to_string()))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn attempt() -> AttemptId {
        "7.0.-1.1.2".parse().unwrap()
    }

    fn body(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, &'static str>> + Unpin {
        stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn what_was_written_in_parts_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        let (path, bytes) = blobs.put(attempt(), "return_value", body(&["[1,", "2]"]), 100).await.unwrap();
        assert_eq!((&*path, bytes), ("xcom/7/0/-1/1.2/return_value", 5));
        assert_eq!(blobs.get(&path).await.unwrap(), "[1,2]");
    }

    #[tokio::test]
    async fn lists_are_kept_up_to_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        let large = format!("[\"{}\", 7]", "x".repeat(LISTS_BYTES / 3));
        for name in ["a", "b", "c"] {
            let parts = stream::iter([Ok::<_, &str>(Bytes::from(large.clone()))]);
            blobs.put(attempt(), name, parts, u64::MAX).await.unwrap();
        }
        let kept = async || {
            blobs.lists.lock().await.iter().filter_map(|(path, _)| path.chars().last()).collect::<String>()
        };
        let path = |name: &str| format!("xcom/7/0/-1/1.2/{name}");
        for (name, then) in [("a", "a"), ("b", "ab"), ("a", "ba"), ("c", "ac")] {
            assert_eq!(blobs.item(&path(name), 1).await.unwrap(), Some(7.into()));
            assert_eq!(kept().await, then);
        }
        assert_eq!(blobs.item(&path("c"), 2).await.unwrap(), None);
        assert!(matches!(blobs.item(&path("d"), 0).await, Err(Error::NotFound(_))));
    }

    #[tokio::test]
    async fn blobs_are_found_by_their_age_and_removed_with_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        let (path, _) = blobs.put(attempt(), "a", body(&["1"]), 9).await.unwrap();
        assert_eq!(blobs.before(Timestamp::UNIX_EPOCH).await.unwrap(), []);
        let all = blobs.before(Timestamp::MAX).await.unwrap();
        assert_eq!(all, [(RunKey(7), path.clone())]);
        blobs.remove(&path).await.unwrap();
        assert_eq!(blobs.before(Timestamp::MAX).await.unwrap(), []);
        assert!(!folder.path().join("xcom/7").exists());
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_or_is_too_large_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        let torn = stream::iter([Ok(Bytes::from_static(b"abc")), Err("reset")]);
        assert!(matches!(blobs.put(attempt(), "a", torn, 100).await, Err(Error::Upload(_))));
        assert!(matches!(blobs.put(attempt(), "a", body(&["abc"]), 2).await, Err(Error::TooLarge(2))));
        assert!(matches!(blobs.get("xcom/7/0/-1/1.2/a").await, Err(Error::NotFound(_))));
    }

    #[tokio::test]
    async fn a_value_may_have_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        let long = "ä".repeat(300);
        let names = ["my key", ".x", "a/b", "..", "50 %", "50 %25", "a\0b", "größe", &long, "CON"];
        let mut paths = std::collections::BTreeSet::new();
        for name in names {
            let put = blobs
                .put(attempt(), name, stream::iter([Ok::<_, &str>(Bytes::from(name.to_owned()))]), 999)
                .await;
            let (path, _) = put.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(blobs.get(&path).await.unwrap(), name);
            paths.insert(path);
        }
        assert_eq!(paths.len(), names.len());
        let all = blobs.before(Timestamp::MAX).await.unwrap();
        assert_eq!(
            all.iter().map(|(_, path)| path.clone()).collect::<std::collections::BTreeSet<_>>(),
            paths
        );
        for path in paths {
            blobs.remove(&path).await.unwrap();
        }
        assert!(!folder.path().join("xcom/7").exists());
    }

    #[tokio::test]
    async fn no_name_and_no_path_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        let blobs = Blobs::in_folder(&folder.path().join("blobs")).unwrap();
        assert!(matches!(blobs.put(attempt(), "", body(&["x"]), 9).await, Err(Error::NoName)));
        let (path, _) = blobs.put(attempt(), "../../../../../../secret", body(&["x"]), 9).await.unwrap();
        assert!(path.starts_with("xcom/7/0/-1/1.2/%2E."), "{path}");
        assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"s");
        for path in ["../secret", "/../secret", "xcom/../../secret"] {
            assert!(matches!(blobs.get(path).await, Err(Error::NotFound(_))), "{path}");
        }
    }
}
