//! A backend that is asked no more often than need be.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use updraft_core::protocol::Connection;

use super::backend::{Backend, BackendError};

/// So many answers are kept of each kind.
const MOST: usize = 10_000;

/// Keeps what another backend said for a short time, that it has nothing too; never that it failed.
pub struct Cached<B> {
    inner: B,
    kept_for: Duration,
    connections: Kept<Option<Connection>>,
    variables: Kept<Option<String>>,
}

impl<B: Backend> Cached<B> {
    /// Keeps what this backend says for so long.
    pub fn new(inner: B, kept_for: Duration) -> Self {
        Self { inner, kept_for, connections: Kept::default(), variables: Kept::default() }
    }
}

#[async_trait]
impl<B: Backend> Backend for Cached<B> {
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, BackendError> {
        if let Some(known) = self.connections.get(conn_id, self.kept_for) {
            return Ok(known);
        }
        let found = self.inner.connection(conn_id).await?;
        self.connections.keep(conn_id, found.clone(), self.kept_for);
        Ok(found)
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, BackendError> {
        if let Some(known) = self.variables.get(key, self.kept_for) {
            return Ok(known);
        }
        let found = self.inner.variable(key).await?;
        self.variables.keep(key, found.clone(), self.kept_for);
        Ok(found)
    }
}

struct Kept<T>(Mutex<HashMap<String, (Instant, T)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Kept<T> {
    fn get(&self, name: &str, kept_for: Duration) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).filter(|(at, _)| at.elapsed() < kept_for).map(|(_, value)| value.clone())
    }

    fn keep(&self, name: &str, value: T, kept_for: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, (at, _)| at.elapsed() < kept_for);
        }
        if kept.len() < MOST && !kept_for.is_zero() {
            kept.insert(name.to_owned(), (Instant::now(), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Answers with how often it was asked, has no `none`, and fails at first for `fails`.
    #[derive(Default)]
    struct Counting(AtomicU32);

    #[async_trait]
    impl Backend for Counting {
        async fn connection(&self, _: &str) -> Result<Option<Connection>, BackendError> {
            Ok(None)
        }

        async fn variable(&self, key: &str) -> Result<Option<String>, BackendError> {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            match key {
                "none" => Ok(None),
                "fails" if count == 0 => Err(BackendError { backend: "b".into(), why: "w".into() }),
                _ => Ok(Some(count.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_is_kept_and_a_failure_is_not() {
        let cached = Cached::new(Counting::default(), Duration::from_secs(3600));
        assert!(cached.variable("fails").await.is_err());
        for _ in 0..2 {
            assert_eq!(cached.variable("fails").await.unwrap().as_deref(), Some("1"));
            assert_eq!(cached.variable("none").await.unwrap(), None);
            assert_eq!(cached.variable("other").await.unwrap().as_deref(), Some("3"));
        }
        assert_eq!(cached.inner.0.load(Ordering::Relaxed), 4);
        let uncached = Cached::new(Counting::default(), Duration::ZERO);
        for count in ["0", "1"] {
            assert_eq!(uncached.variable("v").await.unwrap().as_deref(), Some(count));
        }
    }
}
