//! The archives, in the blob store.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::Stream;
use jiff::{SignedDuration, Timestamp};
use tokio_util::io::ReaderStream;
use updraft_bundles::archive::{self, Limits};
use updraft_core::Namespace;
use updraft_store::Window;

use super::{BUNDLE, Deployments, Error, receive, unpacked::Unpacked};
use crate::{blobs, blocking, deliveries::called_from, leader::now};

/// Where archives are in the blob store, and what their names end with.
const FOLDER: &str = "bundles";
const SUFFIX: &str = ".tar.gz";

/// The archives of so many deployments of a namespace are kept, for those who go back to them.
const KEPT: u64 = 20;

/// One that was written within so long may be of a deployment that another server has on its way.
const FRESH_FOR: SignedDuration = SignedDuration::from_hours(1);

impl Deployments {
    /// Has an archive in the blob store, written now: nobody takes it for one that was needed once.
    pub(super) async fn keep(&self, unpacked: &Unpacked) -> Result<(), Error> {
        let path = path_of(&unpacked.hash);
        let failed =
            |source| updraft_bundles::Error::Files { path: unpacked.archive.display().to_string(), source };
        let file = tokio::fs::File::open(&unpacked.archive).await.map_err(failed)?;
        Ok(self.blobs.put_at(&path, ReaderStream::new(file)).await?)
    }

    /// An archive, as it comes.
    pub(crate) async fn archive(
        &self,
        hash: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, blobs::Error>> + Unpin + Send + use<>, Error> {
        self.blobs.stream(&path_of(hash)).await.map_err(|error| match error {
            blobs::Error::NotFound(_) => missing(hash),
            other => other.into(),
        })
    }

    /// An error where an archive is kept no more: others could not have it.
    pub(super) async fn expect(&self, hash: &str) -> Result<(), Error> {
        match self.blobs.has(&path_of(hash)).await? {
            true => Ok(()),
            false => Err(missing(hash)),
        }
    }

    /// Has a bundle unpacked here.
    pub(super) async fn bring(&self, namespace: &Namespace, hash: &str) -> Result<(), Error> {
        let checkouts = self.checkouts(namespace);
        if checkouts.all().join(hash).is_dir() {
            return Ok(());
        }
        let archive = self.archive(hash).await?;
        let begun = {
            let checkouts = checkouts.clone();
            blocking(move || {
                checkouts.make()?;
                checkouts.begin()
            })
            .await?
        };
        let file = begun.with_extension("tar.gz");
        let unpacked = Unpacked {
            archive: file,
            folder: begun,
            hash: hash.to_owned(),
            bytes: 0,
            contents: archive::Contents::default(),
        };
        receive(archive, &unpacked.archive).await?;
        blocking(move || {
            archive::unpack(&unpacked.archive, &unpacked.hash, &unpacked.folder, Limits::default())?;
            checkouts.finish(&unpacked.folder, &unpacked.hash)
        })
        .await?;
        Ok(())
    }

    /// Removes archives that nobody goes back to, and nothing runs from or is called from.
    pub(super) async fn tidy_archives(&self) -> Result<(), Error> {
        // One whose deployment is on its way is not taken for one that nobody needs.
        let _turn = self.turn.lock().await;
        let there = self.blobs.list(FOLDER).await?;
        let of_engine = self.leader.ask(|engine| {
            let ours = engine.bundles().filter(|bundle| bundle.name == BUNDLE);
            ours.map(|bundle| bundle.version.clone()).collect::<BTreeSet<_>>()
        });
        // Where another leads, that one sees to it.
        let Ok(mut needed) = of_engine.await else { return Ok(()) };
        for current in self.store.current_deployments().await? {
            let namespace = &current.deployment.namespace;
            needed.extend(called_from(&*self.store, namespace, BUNDLE).await?);
            let window = Window { limit: KEPT, ..Window::default() };
            let last = self.store.deployments(namespace, window).await?.rows;
            needed.extend(last.into_iter().map(|row| row.deployment.hash));
        }
        let fresh = now().saturating_sub(FRESH_FOR).unwrap_or(Timestamp::MIN);
        for (path, written_at) in there {
            if written_at < fresh && hash_in(&path).is_some_and(|hash| !needed.contains(hash)) {
                self.blobs.remove(&path).await?;
            }
        }
        Ok(())
    }
}

fn missing(hash: &str) -> Error {
    Error::NotFound(format!(
        "the files of the bundle {hash} are kept no more: deploy them anew (`updraft deploy`)"
    ))
}

/// Where an archive is in the blob store.
pub(super) fn path_of(hash: &str) -> String {
    format!("{FOLDER}/{hash}{SUFFIX}")
}

/// The hash of the archive that is there.
fn hash_in(path: &str) -> Option<&str> {
    path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(SUFFIX)
}
