//! Where connections and variables may be looked up before the environment and the store.

use async_trait::async_trait;
use updraft_core::protocol::Connection;

/// A place outside of Updraft where secrets are kept (Airflow's `BaseSecretsBackend`).
#[async_trait]
pub trait Backend: Send + Sync {
    /// The connection of this name; `None` where there is none here.
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, BackendError>;

    /// The text of the variable of this name; `None` where there is none here.
    async fn variable(&self, key: &str) -> Result<Option<String>, BackendError>;
}

/// Why a backend can't say. Never says what is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: {why}")]
pub struct BackendError {
    /// Which.
    pub backend: String,
    /// What is wrong, and the mend.
    pub why: String,
}
