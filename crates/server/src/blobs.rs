//! Values that are too large for the database.
//!
//! A blob is written once, under the attempt that made it, and is there for good before it is acknowledged.

mod items;
#[cfg(test)]
mod tests;

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart, local::LocalFileSystem,
    path::Path as BlobPath,
};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::warn;
use updraft_core::{AttemptId, RunKey, protocol::escape};

use self::items::Items;
use crate::{accounts::digest, objects::said};

/// No file's name may have more than 255 bytes.
const LONGEST_NAME: usize = 200;

/// What is longer is uploaded in parts of so many bytes.
const PART_BYTES: u64 = 5 << 20;

/// So many parts of an upload are under way at once.
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
    /// The disk or the bucket does not take or give it.
    #[error("the blob store fails: {0}")]
    Store(String),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::NotFound(path),
            other => Self::Store(said(&other)),
        }
    }
}

/// Where blobs are.
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
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
        Ok(Self::in_store(Arc::new(store.with_fsync(true).with_automatic_cleanup(true))))
    }

    /// All that is in this store.
    pub fn in_store(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, lists: Mutex::default() }
    }

    /// Writes a blob as it comes in; returns its path and its size. All of it is there for good then, or
    /// nothing is. Written again, it takes the place of the former.
    pub async fn put<E: std::fmt::Display>(
        &self,
        attempt: AttemptId,
        name: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most_bytes: u64,
    ) -> Result<(String, u64), Error> {
        let path = path_of(attempt, name)?;
        let bytes = self.write(&path, body, most_bytes).await?;
        Ok((path.to_string(), bytes))
    }

    /// Writes a blob that any attempt may need; all of it is there for good then, or nothing is.
    pub async fn put_at<E: std::fmt::Display>(
        &self,
        path: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Error> {
        let path = BlobPath::parse(path).map_err(|error| Error::Store(error.to_string()))?;
        self.write(&path, body, u64::MAX).await.map(drop)
    }

    async fn write<E: std::fmt::Display>(
        &self,
        path: &BlobPath,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most_bytes: u64,
    ) -> Result<u64, Error> {
        let (mut first, mut bytes) = (Vec::new(), 0);
        while bytes < PART_BYTES {
            match more(&mut body, &mut bytes, most_bytes).await? {
                Some(chunk) => first.push(chunk),
                // Of most blobs that is all, which takes one request.
                None => {
                    self.store.put(path, PutPayload::from_iter(first)).await?;
                    return Ok(bytes);
                }
            }
        }
        let mut upload = WriteMultipart::new(self.store.put_multipart(path).await?);
        first.into_iter().for_each(|chunk| upload.put(chunk));
        match pour(body, &mut upload, bytes, most_bytes).await {
            Ok(bytes) => upload.finish().await.map(|_| bytes).map_err(Error::from),
            Err(error) => {
                if let Err(left) = upload.abort().await {
                    warn!(%path, error = said(&left), "the parts of an upload that broke off are left there");
                }
                Err(error)
            }
        }
    }

    /// Copies all blobs to another place; when this returns, they are there for good. What goes meanwhile is left out.
    pub async fn copy_to(&self, other: &Self) -> Result<(), Error> {
        let mut all = self.store.list(None);
        while let Some(blob) = all.next().await.transpose()? {
            match self.store.get(&blob.location).await {
                Ok(found) => drop(other.write(&blob.location, found.into_stream(), u64::MAX).await?),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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
    mut bytes: u64,
    most_bytes: u64,
) -> Result<u64, Error> {
    while let Some(chunk) = more(&mut body, &mut bytes, most_bytes).await? {
        upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        upload.put(chunk);
    }
    Ok(bytes)
}

/// What comes next, and how much has come with it.
async fn more<E: std::fmt::Display>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    bytes: &mut u64,
    most_bytes: u64,
) -> Result<Option<Bytes>, Error> {
    let Some(chunk) = body.next().await else { return Ok(None) };
    let chunk = chunk.map_err(|error| Error::Upload(error.to_string()))?;
    *bytes += chunk.len() as u64;
    if *bytes > most_bytes {
        return Err(Error::TooLarge(most_bytes));
    }
    Ok(Some(chunk))
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
