//! Bundles that are deployed: a folder of DAG files is uploaded whole, looked through, and counts at once for its
//! namespace. Its archive is in the blob store, where any server and any worker finds it; which one counts, the store
//! says.
//!
//! # Architecture Invariant
//!
//! A deployment is in the store, and its archive in the blob store, before anything is read from it.

mod archives;
mod follow;
mod unpacked;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Mutex, Notify},
};
use tracing::{info, warn};
use updraft_bundles::{Checkouts, archive};
use updraft_core::{DagId, Namespace, record::AuditRow};
use updraft_store::{DeploymentRow, NewDeployment, Store, Window};

use self::unpacked::Unpacked;
use crate::{
    authoring::{Check, ImportError},
    blobs::{self, Blobs},
    blocking,
    leader::{Handle, now},
};

/// The name of what was deployed among the sources of DAGs (Airflow's `bundle_name`).
pub const BUNDLE: &str = "deployed";

/// An archive may have so many bytes.
pub(crate) const MOST_ARCHIVE_BYTES: u64 = 1 << 30;

/// Whoever deploys is told when the DAGs are there, or that this takes longer than so long.
const THERE_WITHIN: Duration = Duration::from_secs(10);

/// The name under which a file of a bundle is known, wherever it is unpacked.
pub(crate) fn source(place: &Path) -> Arc<str> {
    format!("{BUNDLE}:{}", place.display()).into()
}

/// Whether a source is a file of a bundle.
pub(crate) fn is_source(source: &str) -> bool {
    source.strip_prefix(BUNDLE).is_some_and(|rest| rest.starts_with(':'))
}

/// Why something is not deployed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What is in it can't be taken.
    #[error(transparent)]
    Bundle(#[from] updraft_bundles::Error),
    /// The upload broke off.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// It is larger than it may be.
    #[error("an archive may have up to {MOST_ARCHIVE_BYTES} bytes")]
    TooLarge,
    /// Some of its files are wrong.
    #[error("{} of its DAG files are wrong", .0.len())]
    Wrong(Vec<ImportError>),
    /// It has no DAG.
    #[error("there is no DAG in it: no entry of a YAML file has `tasks`")]
    NoDags,
    /// There is no such deployment.
    #[error("{0}")]
    NotFound(String),
    /// The blob store does not take or give it.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The store does not.
    #[error(transparent)]
    Store(#[from] updraft_store::Error),
}

/// What is to be deployed.
pub(crate) struct Wanted {
    pub namespace: Namespace,
    pub account: Arc<str>,
    pub message: Option<String>,
    /// Also where some of its files are wrong: their DAGs stay as they are.
    pub force: bool,
}

/// What was deployed.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub row: DeploymentRow,
    /// The DAGs that its files have.
    pub dags: Vec<DagId>,
    /// What is wrong with some of them.
    pub errors: Vec<ImportError>,
    /// Whether the DAGs are there by now.
    pub in_place: bool,
}

/// Takes up what is deployed, and has it read.
pub struct Deployments {
    /// The folder with one for each namespace.
    folder: PathBuf,
    store: Arc<dyn Store>,
    blobs: Arc<Blobs>,
    leader: Handle,
    check: Arc<Check>,
    /// One deployment at a time: each is the next of those before.
    turn: Mutex<()>,
    /// Told when another deployment counts.
    news: Notify,
}

impl Deployments {
    /// With its unpacked bundles in this folder of the server's own.
    pub fn new(
        folder: PathBuf,
        store: Arc<dyn Store>,
        blobs: Arc<Blobs>,
        leader: Handle,
        check: Arc<Check>,
    ) -> Self {
        for namespace in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let checkouts = Checkouts { folder: namespace.path(), subdir: PathBuf::new() };
            if let Err(error) = checkouts.prepare() {
                warn!(%error, "what was deployed can't be put in order");
            }
        }
        Self { folder, store, blobs, leader, check, turn: Mutex::default(), news: Notify::new() }
    }

    /// Where a namespace's bundles are unpacked.
    pub fn checkouts(&self, namespace: &Namespace) -> Checkouts {
        Checkouts { folder: self.folder.join(&**namespace), subdir: PathBuf::new() }
    }

    /// Deploys what is uploaded.
    pub(crate) async fn deploy<E: std::fmt::Display>(
        self: &Arc<Self>,
        wanted: Wanted,
        upload: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Deployed, Error> {
        let unpacked = self.unpack(&wanted.namespace, upload).await?;
        let (dags, errors) = self.read(&wanted.namespace, &unpacked).await;
        if !errors.is_empty() && !wanted.force {
            return Err(Error::Wrong(errors));
        }
        if dags.is_empty() && errors.is_empty() {
            return Err(Error::NoDags);
        }
        let deployments = self.clone();
        // Whoever asked may go: what has begun to count is to count whole.
        to_its_end(async move {
            let row = deployments.count(wanted, unpacked).await?;
            let in_place = deployments.are_there(&row, &dags).await;
            Ok(Deployed { row, dags, errors, in_place })
        })
        .await
    }

    /// Has count what was uploaded.
    async fn count(&self, wanted: Wanted, unpacked: Unpacked) -> Result<DeploymentRow, Error> {
        let _turn = self.turn.lock().await;
        self.keep(&unpacked).await?;
        let deployment = NewDeployment {
            namespace: wanted.namespace,
            hash: unpacked.hash.clone(),
            bytes: unpacked.bytes,
            files: unpacked.contents.files,
            message: wanted.message,
            rolled_back_to: None,
            account: wanted.account.to_string(),
        };
        self.take_place(&deployment.namespace, unpacked).await?;
        self.create(deployment).await
    }

    /// Deploys anew what an earlier deployment had; where none is named, what counted before what counts now.
    pub(crate) async fn roll_back(
        self: &Arc<Self>,
        namespace: Namespace,
        to: Option<u32>,
        account: String,
    ) -> Result<Deployed, Error> {
        let deployments = self.clone();
        to_its_end(async move {
            let turn = deployments.turn.lock().await;
            let earlier = deployments.earlier(&namespace, to).await?;
            deployments.expect(&earlier.deployment.hash).await?;
            deployments.bring(&namespace, &earlier.deployment.hash).await?;
            let folder = deployments.checkouts(&namespace).all().join(&earlier.deployment.hash);
            let (dags, errors) = deployments.read_in(&namespace, folder).await;
            let deployment = NewDeployment {
                message: None,
                rolled_back_to: Some(earlier.number),
                account,
                ..earlier.deployment
            };
            let row = deployments.create(deployment).await?;
            drop(turn);
            let in_place = deployments.are_there(&row, &dags).await;
            Ok(Deployed { row, dags, errors, in_place })
        })
        .await
    }

    /// The deployment to go back to.
    async fn earlier(&self, namespace: &Namespace, to: Option<u32>) -> Result<DeploymentRow, Error> {
        let none = |what: String| Error::NotFound(what);
        if let Some(number) = to {
            let found = self.store.deployment(namespace, number).await?;
            return found.ok_or_else(|| none(format!("there is no deployment {number} of `{namespace}`")));
        }
        let all = self.store.deployments(namespace, Window::ALL).await?.rows;
        let current = all.first().ok_or_else(|| none(format!("nothing was deployed into `{namespace}`")))?;
        // Going back once more goes on from where that has led.
        let base = current.deployment.rolled_back_to.unwrap_or(current.number);
        let other =
            |row: &&DeploymentRow| row.number < base && row.deployment.hash != current.deployment.hash;
        let earlier = all.iter().find(other).cloned();
        earlier.ok_or_else(|| none(format!("nothing else was deployed into `{namespace}` before")))
    }

    /// Has a deployment count: first in the store, then here.
    async fn create(&self, deployment: NewDeployment) -> Result<DeploymentRow, Error> {
        let detail = json!({
            "hash": deployment.hash, "message": deployment.message, "rolled_back_to": deployment.rolled_back_to,
        });
        let audit = AuditRow {
            at: now(),
            user: deployment.account.as_str().into(),
            action: "deploy".into(),
            namespace: Some(deployment.namespace.clone()),
            dag: None,
            run: None,
            detail,
        };
        let number = self.store.create_deployment(&deployment, &audit).await?;
        info!(namespace = %deployment.namespace, number, hash = deployment.hash, "a bundle is deployed");
        let (checkouts, hash) = (self.checkouts(&deployment.namespace), deployment.hash.clone());
        blocking(move || checkouts.point_to(&hash)).await?;
        self.news.notify_one();
        Ok(DeploymentRow { number, deployment, created_at: audit.at })
    }

    /// Waits until the DAGs are those of this deployment; whether they are.
    async fn are_there(&self, row: &DeploymentRow, dags: &[DagId]) -> bool {
        let look = async {
            loop {
                let (namespace, hash) = (row.deployment.namespace.clone(), row.deployment.hash.clone());
                let dags = dags.to_vec();
                let there = self.leader.ask(move |engine| {
                    dags.iter().all(|dag_id| {
                        let key = updraft_core::DagKey::new(namespace.clone(), dag_id.clone());
                        let bundle = engine.dag(&key).and_then(|(_, dag)| dag.spec().bundle.as_ref());
                        bundle.is_some_and(|bundle| bundle.name == BUNDLE && bundle.version == hash)
                    })
                });
                match there.await {
                    Ok(false) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Ok(true) => return true,
                    Err(_) => return false,
                }
            }
        };
        tokio::time::timeout(THERE_WITHIN, look).await.unwrap_or(false)
    }
}

/// Does something to its end, also where nobody waits for it any more. A bug in it is not hidden.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // On shutdown it is cancelled.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Writes what is uploaded to a file; how many bytes it has.
async fn receive<E: std::fmt::Display>(
    mut upload: impl Stream<Item = Result<Bytes, E>> + Unpin,
    path: &Path,
) -> Result<u64, Error> {
    let failed = |source| updraft_bundles::Error::Files { path: path.display().to_string(), source };
    let mut file = tokio::fs::File::create_new(path).await.map_err(failed)?;
    let mut bytes = 0;
    while let Some(part) = upload.next().await {
        let part = part.map_err(|error| Error::Upload(error.to_string()))?;
        bytes += part.len() as u64;
        if bytes > MOST_ARCHIVE_BYTES {
            return Err(Error::TooLarge);
        }
        file.write_all(&part).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(bytes)
}

/// The hash of an archive.
fn hash_of(path: &Path) -> Result<String, updraft_bundles::Error> {
    let failed = |source| updraft_bundles::Error::Files { path: path.display().to_string(), source };
    archive::hash(std::fs::File::open(path).map_err(failed)?).map_err(failed)
}
