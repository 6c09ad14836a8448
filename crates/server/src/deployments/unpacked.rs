//! What was uploaded, until it counts: unpacked in a folder that nobody reads from yet.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::Stream;
use updraft_bundles::{
    archive::{self, Contents, Limits},
    remove,
};
use updraft_core::{DagId, Namespace};

use super::{Deployments, Error, hash_of, receive};
use crate::{
    authoring::{Event, Folder, ImportError, read_folder},
    blocking,
};

/// An archive, and what is in it. Both are removed with it, unless they have their place by then.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The archive's file.
    pub archive: PathBuf,
    pub folder: PathBuf,
    pub hash: String,
    pub bytes: u64,
    pub contents: Contents,
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What is left is removed at the next start.
        let _ = (remove(&self.archive), remove(&self.folder));
    }
}

impl Deployments {
    /// Takes up what is uploaded, and unpacks it.
    pub(super) async fn unpack<E: std::fmt::Display>(
        &self,
        namespace: &Namespace,
        upload: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Unpacked, Error> {
        let checkouts = self.checkouts(namespace);
        let folder = blocking(move || {
            checkouts.make()?;
            checkouts.begin()
        });
        let folder = folder.await?;
        let archive = folder.with_extension("tar.gz");
        // From here on it is removed whatever happens.
        let contents = Contents::default();
        let mut unpacked = Unpacked { archive, folder, hash: String::new(), bytes: 0, contents };
        unpacked.bytes = receive(upload, &unpacked.archive).await?;
        blocking(move || {
            unpacked.hash = hash_of(&unpacked.archive)?;
            let Unpacked { archive, folder, hash, .. } = &unpacked;
            unpacked.contents = archive::unpack(archive, hash, folder, Limits::default())?;
            Ok(unpacked)
        })
        .await
    }

    /// The DAGs of a bundle, and what is wrong with others.
    pub(super) async fn read(
        &self,
        namespace: &Namespace,
        unpacked: &Unpacked,
    ) -> (Vec<DagId>, Vec<ImportError>) {
        self.read_in(namespace, unpacked.folder.clone()).await
    }

    /// The same, of one that is unpacked here.
    pub(super) async fn read_in(
        &self,
        namespace: &Namespace,
        folder: PathBuf,
    ) -> (Vec<DagId>, Vec<ImportError>) {
        let reader = Folder { root: Some(folder.clone()), deployed: None, ..self.reader(namespace) };
        blocking(move || {
            let (mut dags, mut wrong) = (Vec::new(), Vec::new());
            for event in read_folder(reader) {
                let Event::Changed { dags: read, errors, .. } = event else { continue };
                dags.extend(read.into_iter().map(|read| read.spec.dag_id.clone()));
                wrong.extend(errors);
            }
            for error in &mut wrong {
                // By the name that its author knows.
                let within = error
                    .file
                    .strip_prefix(&*folder.to_string_lossy())
                    .map(|own| own.trim_start_matches('/'));
                if let Some(own) = within.map(Arc::from) {
                    error.file = own;
                }
            }
            (dags, wrong)
        })
        .await
    }

    /// Puts an unpacked bundle in its place, from where it may be read.
    pub(super) async fn take_place(&self, namespace: &Namespace, unpacked: Unpacked) -> Result<(), Error> {
        let checkouts = self.checkouts(namespace);
        blocking(move || match checkouts.all().join(&unpacked.hash).is_dir() {
            true => Ok(()),
            false => checkouts.finish(&unpacked.folder, &unpacked.hash).map_err(Error::from),
        })
        .await
    }
}
