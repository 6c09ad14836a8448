//! Keeping the checkouts as the repository has its branch.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::{info, warn};
use updraft_bundles::{Checkouts, remove};
use updraft_core::Namespace;
use updraft_store::{Store, TextFilter, Window};

use super::{Error, Remote, SOURCE_PREFIX, program::Program};
use crate::{
    blocking,
    deliveries::called_from,
    leader::{Handle, now},
};

/// Where what was fetched is noted in the repository on this machine.
const TIP: &str = "refs/updraft/tip";
/// However often somebody says that there is news, so long is waited between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What is followed, and how.
#[derive(Clone)]
pub struct Settings {
    /// The repository.
    pub remote: Remote,
    /// Where it is checked out.
    pub checkouts: Checkouts,
    /// How often to look (Airflow's `refresh_interval`).
    pub every: Duration,
    /// What webhooks have to know; without one none is heard.
    pub webhook_secret: Option<String>,
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// When the repository last answered well.
    pub last_good: Option<Timestamp>,
    /// What is wrong, where something is.
    pub error: Option<String>,
}

/// Follows a repository.
pub struct Mirror {
    settings: Settings,
    store: Arc<dyn Store>,
    leader: Handle,
    news: Notify,
    missed: Arc<Notify>,
    status: Mutex<Status>,
}

/// Which commits have their files on this machine.
#[derive(Clone, Debug)]
pub struct Present {
    checkouts: Checkouts,
    missed: Arc<Notify>,
}

impl Present {
    /// Asks for nobody to bring back what is missed.
    pub(crate) fn of(checkouts: Checkouts) -> Self {
        Self { checkouts, missed: Arc::default() }
    }

    /// Whether a file is of a commit that has its files here no more. They are brought back then, where a run needs them.
    pub(crate) fn misses(&self, file: &Path) -> bool {
        let Some((commit, _)) = self.checkouts.place_of(file) else { return false };
        let misses = !self.checkouts.all().join(commit).is_dir();
        if misses {
            self.missed.notify_one();
        }
        misses
    }
}

impl Mirror {
    /// Makes the folders. Nothing is fetched before it runs.
    pub fn new(settings: Settings, store: Arc<dyn Store>, leader: Handle) -> Result<Self, Error> {
        settings.checkouts.prepare()?;
        let (news, missed) = (Notify::new(), Arc::new(Notify::new()));
        Ok(Self { settings, store, leader, news, missed, status: Mutex::default() })
    }

    /// Which commits have their files here.
    pub fn present(&self) -> Present {
        Present { missed: self.missed.clone(), ..Present::of(self.settings.checkouts.clone()) }
    }

    /// Has it look soon.
    pub fn look_soon(&self) {
        self.news.notify_one();
    }

    /// What webhooks have to know.
    pub fn webhook_secret(&self) -> Option<&str> {
        self.settings.webhook_secret.as_deref()
    }

    /// How it went last.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs for as long as the server does.
    pub async fn run(self: Arc<Self>) {
        let mut written = None;
        let mut left = BTreeMap::new();
        loop {
            let before = self.settings.checkouts.version();
            let error = self.look().await.err().map(|error| error.to_string());
            let after = self.settings.checkouts.version();
            if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
                left.insert(before, Instant::now());
            }
            self.note(error, &mut written).await;
            // DAGs that were read from what counted until now are on their way.
            left.retain(|_, since: &mut Instant| since.elapsed() < self.settings.every * 2);
            let next = tokio::time::Instant::now() + self.settings.every.max(PAUSE);
            loop {
                if let Err(error) = self.tidy(&left).await {
                    warn!(%error, "checkouts of other commits can't be put in order; trying again");
                }
                tokio::time::sleep(PAUSE).await;
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    () = self.news.notified() => break,
                    () = self.missed.notified() => {}
                }
            }
        }
    }

    /// Keeps how it went, where people look for it. What can't be written now is written after the next look.
    async fn note(&self, error: Option<String>, written: &mut Option<Option<String>>) {
        let source = self.settings.remote.source();
        {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            if error.is_none() {
                status.last_good = Some(now());
            }
            status.error = error.clone();
        }
        if *written == Some(error.clone()) {
            return;
        }
        if let Some(error) = &error {
            warn!(%source, error, "the repository of DAG files can't be had; the last good commit stays at work");
        }
        match self.write(&source, error.as_deref(), written.is_none()).await {
            Ok(()) => *written = Some(error),
            Err(error) => warn!(%error, "could not keep how the repository is; trying again"),
        }
    }

    /// Writes how the repository is. At first, what is kept of others goes: it was set where this is now.
    async fn write(
        &self,
        source: &str,
        error: Option<&str>,
        at_first: bool,
    ) -> Result<(), updraft_store::Error> {
        let namespace = Namespace::default();
        if at_first {
            let kept = self.store.import_errors(&namespace, &TextFilter::default(), Window::ALL).await?.rows;
            for other in
                kept.iter().filter(|row| row.source.starts_with(SOURCE_PREFIX) && row.source != source)
            {
                self.store.delete_import_error(&namespace, &other.source).await?;
            }
        }
        match error {
            Some(error) => self.store.put_import_error(&namespace, source, error, None, now()).await,
            None => self.store.delete_import_error(&namespace, source).await.map(drop),
        }
    }

    /// Fetches, and switches to what is new.
    async fn look(&self) -> Result<(), Error> {
        let commit = match self.fetch().await {
            Err(error) if error.is_of_own_repository() => {
                warn!(%error, "the copy of the repository is in disorder, and is made anew");
                let repository = self.repository();
                blocking(move || remove(&repository)).await?;
                self.fetch().await?
            }
            fetched => fetched?,
        };
        let git = self.git();
        let checkouts = &self.settings.checkouts;
        let subdir = checkouts.subdir.to_string_lossy().into_owned();
        if !subdir.is_empty() {
            let object = git.resolve(&format!("{commit}:{subdir}")).await?;
            let folder = match object {
                Some(object) => git.resolve(&format!("{object}^{{tree}}")).await?,
                None => None,
            };
            if folder.is_none() {
                return Err(Error::NoFolder { commit, subdir });
            }
        }
        if let Some(current) = checkouts.version() {
            // A commit that changes nothing need not be another version of all DAGs.
            let old = git.resolve(&format!("{current}^{{tree}}")).await?;
            let new = git.resolve(&format!("{commit}^{{tree}}")).await?;
            if current == commit || old.is_some() && old == new {
                return Ok(());
            }
        }
        self.check_out(&commit).await?;
        let (checkouts, new) = (checkouts.clone(), commit.clone());
        blocking(move || checkouts.point_to(&new)).await?;
        info!(
            commit,
            source = self.settings.remote.source(),
            "a commit of the repository of DAG files is new"
        );
        Ok(())
    }

    /// Fetches the branch; the commit that it is at.
    async fn fetch(&self) -> Result<String, Error> {
        let git = self.git();
        if !self.repository().join("HEAD").exists() {
            git.init().await?;
        }
        git.fetch(TIP).await?;
        let commit = git.resolve(&format!("{TIP}^{{commit}}")).await?;
        commit.ok_or_else(|| Error::Failed {
            doing: "fetch the repository",
            said: format!("`{}` is no commit", self.settings.remote.reference),
            mend: Some("Set `dags.git.branch` to a branch or a tag of one"),
        })
    }

    /// Has a commit's files in their folder.
    async fn check_out(&self, commit: &str) -> Result<(), Error> {
        let checkouts = &self.settings.checkouts;
        if checkouts.all().join(commit).is_dir() {
            return Ok(());
        }
        let begun = checkouts.clone();
        let folder = blocking(move || begun.begin()).await?;
        let index = folder.with_extension("index");
        self.git().check_out(commit, &folder, &index).await?;
        let (checkouts, commit) = (checkouts.clone(), commit.to_owned());
        Ok(blocking(move || checkouts.finish(&folder, &commit)).await?)
    }

    /// Removes the files of commits that nothing runs or is called from, and brings back those that something runs from again.
    async fn tidy(&self, left: &BTreeMap<String, Instant>) -> Result<(), Error> {
        let checkouts = self.settings.checkouts.clone();
        // Looked at before the engine is asked: what comes to be meanwhile is not among them.
        let present = checkouts.versions();
        let of_git = |engine: &updraft_core::Engine| -> BTreeSet<String> {
            let ours = engine.bundles().filter(|bundle| bundle.name == super::BUNDLE);
            ours.map(|bundle| bundle.version.clone()).collect()
        };
        // Where another leads, it is asked again after the next look.
        let Ok(mut needed) = self.leader.ask(of_git).await else { return Ok(()) };
        match called_from(&*self.store, &Namespace::default(), super::BUNDLE).await {
            Ok(commits) => needed.extend(commits),
            Err(error) => {
                warn!(%error, "the outbox can't be read; checkouts stay as they are until it can");
                return Ok(());
            }
        }
        let current = checkouts.version();
        for commit in needed.iter().filter(|commit| !present.contains(commit)) {
            match self.git().resolve(&format!("{commit}^{{commit}}")).await? {
                Some(_) => self.check_out(commit).await?,
                None => warn!(
                    commit,
                    "a run is on a commit that is in the repository no more: its files are missing"
                ),
            }
        }
        let unneeded = present.into_iter().filter(|commit| {
            !needed.contains(commit) && current.as_ref() != Some(commit) && !left.contains_key(commit)
        });
        let unneeded: Vec<String> = unneeded.collect();
        let forgotten = blocking(move || {
            checkouts.clear_unfinished();
            unneeded.iter().try_for_each(|commit| checkouts.forget(commit))
        });
        Ok(forgotten.await?)
    }

    fn repository(&self) -> PathBuf {
        self.settings.checkouts.folder.join("repository")
    }

    fn git(&self) -> Program<'_> {
        Program { repository: self.repository(), remote: &self.settings.remote }
    }
}
