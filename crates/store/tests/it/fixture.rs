//! Stores to test.

use std::{future::Future, sync::Arc, time::Duration};

use tempfile::TempDir;
use updraft_core::record::Batch;
use updraft_store::{CommitError, Fence, MemoryStore, SqlStore, Store, test_postgres::TestPostgres};

/// A store with what it stands on, which goes when this goes.
pub struct TestStore {
    pub store: Arc<dyn Store>,
    pub fence: Fence,
    _stands_on: StandsOn,
}

#[expect(dead_code, reason = "kept until the test is over")]
enum StandsOn {
    Nothing,
    Folder(TempDir),
    Server(TestPostgres),
}

/// Long enough for any test.
pub const HOUR: Duration = Duration::from_secs(3600);

impl TestStore {
    async fn new(store: impl Store + 'static, stands_on: StandsOn) -> Self {
        store.migrate().await.unwrap();
        let fence = store.acquire_leadership("test", "127.0.0.1:1", HOUR).await.unwrap().unwrap();
        Self { store: Arc::new(store), fence, _stands_on: stands_on }
    }

    pub async fn memory() -> Self {
        Self::new(MemoryStore::default(), StandsOn::Nothing).await
    }

    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::sqlite(&folder.path().join("updraft.db")).await.unwrap();
        Self::new(store, StandsOn::Folder(folder)).await
    }

    pub async fn postgres() -> Self {
        let server = TestPostgres::start();
        let store = SqlStore::postgres(&server.database()).await.unwrap();
        Self::new(store, StandsOn::Server(server)).await
    }

    pub async fn commit(&self, batch: &Batch) {
        self.store.commit(batch, self.fence).await.unwrap();
    }

    pub async fn refuses(&self, batch: &Batch) -> CommitError {
        self.store.commit(batch, self.fence).await.unwrap_err()
    }
}

/// Runs a test.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
