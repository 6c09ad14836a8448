//! Keeping what is unpacked as the store says what counts, and having it read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::warn;
use updraft_core::Namespace;
use updraft_store::DeploymentRow;

use super::{BUNDLE, Deployments, Error};
use crate::{authoring::Folder, blocking, dags::Loader, leader::now};

/// How often to look where nobody has told of news, and whether something may be removed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What could not be brought is tried again so soon.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How often a folder is looked at that nobody else writes to.
const READ_EVERY: Duration = Duration::from_secs(60);

/// A bundle whose files are not here is told of under this name.
fn missing(row: &DeploymentRow) -> String {
    format!("{BUNDLE}:{}", row.number)
}

impl Deployments {
    /// Runs for as long as this server leads. What was deployed into `default`, whoever reads its folder reads as well.
    pub async fn run(self: Arc<Self>, paused_at_creation: bool) {
        let mut loaders = JoinSet::new();
        let mut loading = BTreeSet::from([Namespace::default()]);
        let mut counted: BTreeMap<Namespace, String> = BTreeMap::new();
        loop {
            let mut all_here = true;
            match self.store.current_deployments().await {
                Ok(current) => {
                    for row in current {
                        let namespace = row.deployment.namespace.clone();
                        all_here &= self.put_in_place(&row).await;
                        if loading.insert(namespace.clone()) {
                            let folder = self.reader(&namespace);
                            let (store, leader) = (self.store.clone(), self.leader.clone());
                            loaders.spawn(Loader { folder, store, leader, paused_at_creation }.run());
                        }
                        let before = counted.insert(namespace, row.deployment.hash.clone());
                        // What counted until now may be being read.
                        self.tidy_unpacked(&row, before.as_deref()).await;
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

    /// How a namespace's bundles are read. They see no variable of the server's environment: who deploys them need
    /// not be who runs it.
    pub(super) fn reader(&self, namespace: &Namespace) -> Folder {
        Folder {
            root: None,
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
        let last = self
            .store
            .deployments(namespace, updraft_store::Window { limit: 1, ..Default::default() })
            .await?;
        if last.rows.first().is_some_and(|last| last.number != row.number)
            || checkouts.version().as_deref() == Some(&hash)
        {
            return Ok(());
        }
        blocking(move || checkouts.point_to(&hash)).await.map_err(Error::from)
    }

    /// Removes what is unpacked here and counts no more.
    async fn tidy_unpacked(&self, row: &DeploymentRow, before: Option<&str>) {
        let checkouts = self.checkouts(&row.deployment.namespace);
        let keep = [Some(row.deployment.hash.clone()), before.map(str::to_owned), checkouts.version()];
        let _turn = self.turn.lock().await;
        let forgotten = blocking(move || {
            let unneeded = checkouts
                .versions()
                .into_iter()
                .filter(|version| !keep.iter().flatten().any(|kept| kept == version));
            unneeded.collect::<Vec<_>>().iter().try_for_each(|version| checkouts.forget(version))
        });
        if let Err(error) = forgotten.await {
            warn!(%error, "what was deployed before can't be removed; trying again");
        }
    }
}
