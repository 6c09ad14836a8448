//! Keeping what is unpacked as the store says what counts, and having it read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::warn;
use updraft_bundles::Checkouts;
use updraft_core::Namespace;
use updraft_store::{DeploymentRow, Window};

use super::{BUNDLE, Deployments, Error};
use crate::{authoring::Folder, blocking, dags::Loader, leader::now};

/// How often to look where nobody has told of news, and whether something may be removed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What could not be brought is tried again so soon.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What was unpacked within so long may be being read.
const READ_WITHIN: Duration = Duration::from_secs(600);

/// How often a folder is looked at that nobody else writes to.
const READ_EVERY: Duration = Duration::from_secs(60);

/// A bundle whose files are not here is told of under this name.
fn missing(row: &DeploymentRow) -> String {
    format!("{BUNDLE}:{}", row.number)
}

impl Deployments {
    /// Runs for as long as this server leads. What is deployed into the folder's namespace is read with that.
    pub async fn run(self: Arc<Self>, folder: Folder, paused_at_creation: bool) {
        self.forget_former().await;
        let mut loaders = JoinSet::new();
        let mut load = |folder| {
            let (store, leader) = (self.store.clone(), self.leader.clone());
            loaders.spawn(Loader { folder, store, leader, paused_at_creation }.run());
        };
        let mut loading = BTreeSet::from([folder.namespace.clone()]);
        let checkouts = self.checkouts(&folder.namespace);
        // Where it is missing, the folder around it is watched, in which a database may be written to all the time.
        if let Err(error) = checkouts.make() {
            warn!(%error, "there is no folder for what is deployed");
        }
        load(Folder { deployed: Some(checkouts), ..folder });
        loop {
            let mut all_here = true;
            match self.store.current_deployments().await {
                Ok(current) => {
                    for row in current {
                        let namespace = row.deployment.namespace.clone();
                        all_here &= self.put_in_place(&row).await;
                        if loading.insert(namespace.clone()) {
                            load(self.reader(&namespace));
                        }
                        self.tidy_unpacked(&namespace).await;
                    }
                }
                Err(error) => {
                    warn!(%error, "can't read what is deployed; trying again");
                    all_here = false;
                }
            }
            if let Err(error) = self.tidy_archives().await {
                warn!(%error, "archives of bundles can't be put in order; trying again");
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep(if all_here { LOOK_EVERY } else { TRY_AGAIN_AFTER }) => {}
            }
        }
    }

    /// Has nothing count here that does not in the store: another may have led since this server did, and what it has
    /// read then is not to be taken for what there is. Where it is not here, DAGs stay as they are until it is.
    async fn forget_former(&self) {
        let current = loop {
            match self.store.current_deployments().await {
                Ok(current) => break current,
                Err(error) => warn!(%error, "can't read what is deployed; trying again"),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        };
        let counts: BTreeMap<String, String> = current
            .into_iter()
            .map(|row| (row.deployment.namespace.to_string(), row.deployment.hash))
            .collect();
        let folder = self.folder.clone();
        let forgotten = blocking(move || {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let checkouts = Checkouts { folder: entry.path(), subdir: PathBuf::new() };
                let wanted = entry.file_name().to_str().and_then(|namespace| counts.get(namespace));
                if checkouts.version().as_ref() != wanted {
                    checkouts.point_to_none()?;
                }
            }
            Ok::<_, updraft_bundles::Error>(())
        });
        if let Err(error) = forgotten.await {
            warn!(%error, "what was deployed before can't be taken back");
        }
    }

    /// How a namespace's bundles are read. They see no variable of the server's environment: who deploys them need
    /// not be who runs it.
    pub(super) fn reader(&self, namespace: &Namespace) -> Folder {
        Folder {
            root: None,
            above: Vec::new(),
            namespace: namespace.clone(),
            check: self.check.clone(),
            variable: Arc::new(|_| None),
            owners: BTreeMap::new(),
            look_every: READ_EVERY,
            git: None,
            deployed: Some(self.checkouts(namespace)),
        }
    }

    /// Has what counts here, and counting; whether it is. What stands in the way is told where people look for it.
    async fn put_in_place(&self, row: &DeploymentRow) -> bool {
        let namespace = &row.deployment.namespace;
        let placed = self.place(row).await;
        let told = match &placed {
            Ok(()) => self.store.delete_import_error(namespace, &missing(row)).await.map(drop),
            Err(error) => {
                warn!(%namespace, number = row.number, %error, "a bundle can't be had; its DAGs stay as they are");
                self.store.put_import_error(namespace, &missing(row), &error.to_string(), None, now()).await
            }
        };
        if let Err(error) = told {
            warn!(%error, "could not keep how a bundle is");
        }
        placed.is_ok()
    }

    async fn place(&self, row: &DeploymentRow) -> Result<(), Error> {
        let (namespace, hash) = (&row.deployment.namespace, row.deployment.hash.clone());
        self.bring(namespace, &hash).await?;
        let checkouts = self.checkouts(namespace);
        let _turn = self.turn.lock().await;
        // Another may count by now, which has been pointed to.
        let window = Window { limit: 1, ..Window::default() };
        let last = self.store.deployments(namespace, window).await?;
        if last.rows.first().is_some_and(|last| last.number != row.number)
            || checkouts.version().as_deref() == Some(&hash)
        {
            return Ok(());
        }
        blocking(move || checkouts.point_to(&hash)).await.map_err(Error::from)
    }

    /// Removes what is unpacked here and counts no more. Of what counted until a moment ago files are still being read.
    async fn tidy_unpacked(&self, namespace: &Namespace) {
        let checkouts = self.checkouts(namespace);
        let _turn = self.turn.lock().await;
        let forgotten = blocking(move || {
            let counts = checkouts.version();
            let unneeded = checkouts
                .older_than(READ_WITHIN)
                .into_iter()
                .filter(|version| counts.as_ref() != Some(version));
            unneeded.collect::<Vec<_>>().iter().try_for_each(|version| checkouts.forget(version))
        });
        if let Err(error) = forgotten.await {
            warn!(%error, "what was deployed before can't be removed; trying again");
        }
    }
}
