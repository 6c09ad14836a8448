//! The bundles that runs' DAGs were deployed with, on this machine: fetched once, taken where they are what they are
//! called, and kept while an attempt runs from them. A bundle that asks for packages of Python, by a `requirements.txt`,
//! has them in an environment that is made once.

mod environment;

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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
use updraft_operators::work::TaskLog as _;

pub(super) use self::environment::use_environment;
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
    /// Under this the making of an environment may write where they are.
    guard: Option<GuardPolicy>,
    /// Who fetches or makes one has the turn; others wait for it.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// An order as it is carried out here, and what it runs from, for as long as this is kept.
pub(super) struct Here {
    pub order: Arc<Order>,
    _held: Vec<File>,
}

/// The order of an attempt that runs from a bundle, which is here from then on; or how the attempt ends.
pub(super) async fn here(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    masks: &Masks,
    wanted: watch::Receiver<Wanted>,
) -> Result<Here, Box<Outcome>> {
    let log = log_file(order, tools);
    let here = tokio::select! {
        here = tools.bundles.here(order, tools, (masks, &log), wanted.clone()) => here,
        outcome = stopped(order, wanted) => return Err(Box::new(outcome)),
    };
    here.map_err(|why| {
        TaskLogFile::masked(log, masks.clone()).line(&why);
        Box::new(Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Failed) })
    })
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
        let within = |name: &str| Checkouts { folder: folder.join(name), subdir: PathBuf::new() };
        let (bundles, environments) = (within("deployed"), within("environments"));
        bundles.prepare()?;
        environments.prepare()?;
        let guard = guard.map(|guard| {
            let mut policy = guard.policy().clone();
            policy.writable.push(environments.folder.clone());
            policy
        });
        Ok(Self { bundles, environments, guard, turns: Mutex::default() })
    }

    /// What an order runs from, on this machine. It may take long where it has to be fetched, and longer where packages
    /// have to be, of which the log tells.
    pub async fn here(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        wanted: watch::Receiver<Wanted>,
    ) -> Result<Here, String> {
        let Some(OrderBundle { hash, .. }) = &order.run.bundle else {
            return Ok(Here::as_it_is(order.clone()));
        };
        if !archive::is_hash(hash) {
            return Err(format!("`{hash}` names no bundle"));
        }
        let mut held = vec![self.fetched(order, hash, tools).await?];
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
    async fn fetched(&self, order: &Order, hash: &str, tools: &Tools) -> Result<File, String> {
        let _turn = self.turn(hash).await;
        if let Some(held) = hold(&self.bundles, hash) {
            return Ok(held);
        }
        let bundles = self.bundles.clone();
        let folder = blocking(move || bundles.begin()).await?;
        let file = folder.with_extension("tar.gz");
        let fetched = tools.client.fetch_bundle(order.attempt, hash, &file).await;
        let (bundles, wanted) = (self.bundles.clone(), hash.to_owned());
        blocking(move || {
            let unpacked = fetched.map_err(|error| error.0).and_then(|()| {
                archive::unpack(&file, &wanted, &folder, Limits::default())
                    .map_err(|error| error.to_string())?;
                bundles.finish(&folder, &wanted).map_err(|error| error.to_string())
            });
            // What did not become one is in nobody's way, and is removed with the next.
            let _ = (updraft_bundles::remove(&file), updraft_bundles::remove(&folder));
            if let Err(error) = bundles.keep_last(KEPT) {
                warn!(%error, "bundles that nothing runs from can't be removed");
            }
            unpacked
        })
        .await
        .map_err(|why| format!("the bundle {hash} that it was deployed with can't be had: {why}"))?;
        info!(hash, "a bundle was fetched");
        hold(&self.bundles, hash).ok_or_else(|| format!("the bundle {hash} has just gone"))
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

/// Keeps a version that is there, and notes that it is in use.
fn hold(checkouts: &Checkouts, version: &str) -> Option<File> {
    let held = checkouts.hold(version).ok()?;
    let _ = held.set_modified(SystemTime::now());
    Some(held)
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
