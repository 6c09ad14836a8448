//! The DAG versions that were asked for lately.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use updraft_core::{Dag, DagKey, record::DagVersionRow};

use super::{Error, Shared};

/// So many are kept.
const MOST: usize = 128;
/// A version never changes, but its DAG can be deleted and made anew under the same number.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// A version, ready to be looked at.
pub(crate) struct Version {
    pub row: DagVersionRow,
    pub dag: Dag,
}

type Kept = HashMap<(DagKey, u32), (Instant, Arc<Version>)>;

/// See the module.
#[derive(Default)]
pub(crate) struct Versions {
    kept: Mutex<Kept>,
}

impl Shared {
    /// A version of a DAG; `None` where there is none.
    pub(crate) async fn version(&self, dag: &DagKey, version: u32) -> Result<Option<Arc<Version>>, Error> {
        let key = (dag.clone(), version);
        if let Some(kept) = self.versions.get(&key) {
            return Ok(Some(kept));
        }
        let Some(row) = self.store.dag_version(dag, Some(version)).await? else { return Ok(None) };
        let compiled = Dag::compile((*row.spec).clone());
        let dag =
            compiled.map_err(|error| Error::Internal(format!("version {version} of {dag}: {error}")))?;
        let version = Arc::new(Version { row, dag });
        self.versions.keep(key, version.clone());
        Ok(Some(version))
    }
}

impl Versions {
    fn get(&self, key: &(DagKey, u32)) -> Option<Arc<Version>> {
        let kept = self.lock();
        let (at, version) = kept.get(key)?;
        (at.elapsed() < KEPT_FOR).then(|| version.clone())
    }

    fn keep(&self, key: (DagKey, u32), version: Arc<Version>) {
        let mut kept = self.lock();
        kept.retain(|_, (at, _)| at.elapsed() < KEPT_FOR);
        if kept.len() < MOST {
            kept.insert(key, (Instant::now(), version));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A map is whole whatever panicked while it was held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
