//! The bundles that runs' DAGs were deployed with, on this machine: fetched once, taken where they are what they are
//! called, and kept while an attempt runs from them. A bundle that asks for packages of Python, by a `requirements.txt`,
//! has them in an environment that is made once.

mod environment;

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use tokio::sync::{OwnedMutexGuard, watch};
use tracing::{info, warn};
use updraft_bundles::{
    Checkouts,
    archive::{self, Limits},
};
use updraft_core::{
    input::{AttemptEnd, Outcome},
    protocol::{Order, OrderBundle, OrderRun},
};
use updraft_operators::work::{PythonEnvironment, TaskLog as _};

pub(super) use self::environment::{Held, use_environment};
use super::{
    attempt::{Tools, log_file, stopped},
    wanted::Wanted,
};
use crate::process::{Guard, GuardPolicy, Masks, log::TaskLogFile};

/// So many bundles, and so many environments, are kept beside those that are in use.
const KEPT: usize = 10;

/// Bundles, and the environments that they ask for.
pub(super) struct Bundles {
    bundles: Checkouts,
    environments: Checkouts,
    /// What the making of an environment is kept from: it may write into that one.
    guard: Option<GuardPolicy>,
    /// Who fetches or makes one has the turn; others wait for it.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// What is held now, once for all attempts that run from it: there may be ten thousand that wait.
    held: Mutex<HashMap<String, Weak<File>>>,
}

/// An order as it is carried out here, and what it runs from, for as long as this is kept.
pub(super) struct Here {
    pub order: Arc<Order>,
    _held: Vec<Arc<File>>,
}

/// The order of an attempt that runs from a bundle, which is here from then on; or how the attempt ends.
pub(super) async fn here(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    masks: &Masks,
    wanted: watch::Receiver<Wanted>,
) -> Result<Here, Box<Outcome>> {
    let log = log_file(order, tools);
    let here = tools.bundles.here(order, tools, (masks, &log), wanted).await;
    here.map_err(|missing| missing.told(log, masks))
}

/// The environment that a task asks for, which is here for as long as it is kept; or how the attempt ends.
pub(super) async fn environment(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    masks: &Masks,
    asked: &PythonEnvironment,
    wanted: watch::Receiver<Wanted>,
) -> Result<Held, Box<Outcome>> {
    let log = log_file(order, tools);
    let made = tools.bundles.environment_of_task(order, tools, (masks, &log), asked, wanted).await;
    made.map_err(|missing| missing.told(log, masks))
}

/// Why what an order runs from is not here.
pub(super) enum Missing {
    /// The attempt was stopped, or its time was up.
    Stopped(Outcome),
    /// It can't be had.
    Because(String),
}

impl Missing {
    /// How the attempt ends, of which its log tells.
    fn told(self, log: PathBuf, masks: &Masks) -> Box<Outcome> {
        Box::new(match self {
            Self::Stopped(outcome) => outcome,
            Self::Because(why) => {
                TaskLogFile::masked(log, masks.clone()).line(&why);
                Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Failed) }
            }
        })
    }
}

impl From<String> for Missing {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

impl Here {
    /// One that runs from no bundle.
    pub fn as_it_is(order: Arc<Order>) -> Self {
        Self { order, _held: Vec::new() }
    }
}

impl Bundles {
    /// In a folder of the worker's. What makes environments there is guarded as tasks are, if these are.
    pub fn new(folder: &Path, guard: Option<&Guard>) -> Result<Self, updraft_bundles::Error> {
        let bundles = Self::bundles_in(folder);
        let environments = Checkouts { folder: folder.join("environments"), subdir: PathBuf::new() };
        bundles.prepare()?;
        environments.prepare()?;
        let guard = guard.map(|guard| guard.policy().clone());
        Ok(Self { bundles, environments, guard, turns: Mutex::default(), held: Mutex::default() })
    }

    /// The folder with a folder for each bundle.
    pub fn folder_in(folder: &Path) -> PathBuf {
        Self::bundles_in(folder).all()
    }

    fn bundles_in(folder: &Path) -> Checkouts {
        Checkouts { folder: folder.join("deployed"), subdir: PathBuf::new() }
    }

    /// What an order runs from, on this machine. It may take long where it has to be fetched, and longer where packages
    /// have to be, of which the log tells.
    pub async fn here(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        wanted: watch::Receiver<Wanted>,
    ) -> Result<Here, Missing> {
        let Some(OrderBundle { hash, .. }) = &order.run.bundle else {
            return Ok(Here::as_it_is(order.clone()));
        };
        if !archive::is_hash(hash) {
            return Err(format!("`{hash}` names no bundle").into());
        }
        let fetched = tokio::select! {
            fetched = self.fetched(order, hash, tools) => fetched?,
            outcome = stopped(order, wanted.clone()) => return Err(Missing::Stopped(outcome)),
        };
        let mut held = vec![fetched];
        let folder = self.bundles.all().join(hash);
        let environment = self.environment(order, tools, (masks, log), &folder, wanted).await?;
        let environment = environment.map(|(path, kept)| {
            held.push(kept);
            path
        });
        let source = folder.join(&order.run.source).to_string_lossy().into_owned();
        let bundle = Some(OrderBundle { hash: hash.clone(), environment });
        let run = Arc::new(OrderRun { source, bundle, ..OrderRun::clone(&order.run) });
        Ok(Here { order: Arc::new(Order { run, ..Order::clone(order) }), _held: held })
    }

    /// Has a bundle's files here, and keeps them.
    async fn fetched(&self, order: &Order, hash: &str, tools: &Tools) -> Result<Arc<File>, String> {
        let _turn = self.turn(hash).await;
        if let Some(held) = self.hold(&self.bundles, hash) {
            return Ok(held);
        }
        let bundles = self.bundles.clone();
        let folder = blocking(move || bundles.begin()).await?;
        let begun = Begun { archive: folder.with_extension("tar.gz"), folder };
        let failed = |why| format!("the bundle {hash} that it was deployed with can't be had: {why}");
        let fetched = tools.client.fetch_bundle(order.attempt, hash, &begun.archive).await;
        fetched.map_err(|error| failed(error.0))?;
        let (bundles, wanted) = (self.bundles.clone(), hash.to_owned());
        blocking(move || {
            archive::unpack(&begun.archive, &wanted, &begun.folder, Limits::default())?;
            bundles.finish(&begun.folder, &wanted)?;
            drop(begun);
            if let Err(error) = bundles.keep_last(KEPT) {
                warn!(%error, "bundles that nothing runs from can't be removed");
            }
            Ok::<_, updraft_bundles::Error>(())
        })
        .await
        .map_err(failed)?;
        info!(hash, "a bundle was fetched");
        self.hold(&self.bundles, hash).ok_or_else(|| format!("the bundle {hash} has just gone"))
    }

    /// Keeps a version that is there, and notes that it is in use.
    fn hold(&self, checkouts: &Checkouts, version: &str) -> Option<Arc<File>> {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match all.get(version).and_then(Weak::upgrade) {
            Some(held) => held,
            None => Arc::new(checkouts.hold(version).ok()?),
        };
        let _ = held.set_modified(SystemTime::now());
        all.retain(|_, held| held.strong_count() > 0);
        all.insert(version.to_owned(), Arc::downgrade(&held));
        Some(held)
    }

    /// The turn of those that want the same.
    async fn turn(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(name.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// A bundle that is being fetched. What is left of it is removed with this: where it is being unpacked, whoever does so has
/// this.
struct Begun {
    archive: PathBuf,
    folder: PathBuf,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = (updraft_bundles::remove(&self.archive), updraft_bundles::remove(&self.folder));
    }
}

/// Does what waits for the disk.
async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("it failed in a way it should not; please report this: {panic}")),
    }
}
