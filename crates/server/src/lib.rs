//! The loop, the HTTP API and the reading of DAG files.
//!
//! # Architecture Invariant
//!
//! What the engine decides is in the store before anything is done about it, and only [`leader`] writes it.
//! Everything else here either asks the store, or hands the leader a command and waits for its answer.

pub mod accounts;
pub mod authoring;
pub mod backfills;
pub mod blobs;
pub mod dags;
pub mod deliveries;
pub mod deployments;
pub mod git;
pub mod http;
pub mod leader;
pub mod leadership;
pub mod logs;
pub mod objects;
pub mod params;
pub mod retention;
pub mod secrets;
#[cfg(any(test, feature = "test-s3"))]
pub mod test_s3;
pub mod workers;

/// Does what waits for the disk. A bug in it is not hidden; on shutdown it is cancelled.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
