//! Look-ups that an attempt makes with the server, over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;
use updraft_core::{
    AttemptId,
    protocol::{Connection, XcomFound, XcomQuery},
};
use updraft_operators::{Host, HostError, PreviousSuccess, Smtp, Variable};

use super::connection::Endpoint;

/// A client of the server's routes for workers.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    token: String,
}

impl Client {
    pub fn new(endpoint: &Endpoint, token: &str) -> Result<Self, String> {
        let Endpoint::Unix(path) = endpoint;
        let http = reqwest::Client::builder()
            .unix_socket(path.clone())
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, token: token.into() })
    }

    fn url<'a>(segments: impl IntoIterator<Item = &'a str>) -> Result<Url, HostError> {
        let mut url =
            Url::parse("http://localhost/worker/v1").map_err(|error| HostError(error.to_string()))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        Ok(url)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<T>, HostError> {
        let failed = |error: reqwest::Error| HostError(format!("the server did not answer: {error}"));
        let response = request.bearer_auth(&self.token).send().await.map_err(failed)?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = response.error_for_status().map_err(failed)?;
        response.json().await.map(Some).map_err(failed)
    }

    /// Looks something up on behalf of an attempt, at this path below `/worker/v1`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        attempt: AttemptId,
        segments: &[&str],
    ) -> Result<Option<T>, HostError> {
        let url = Self::url(segments.iter().copied())?;
        self.answer(self.http.get(url).query(&[("attempt", attempt.to_string())])).await
    }

    /// Values that task instances left.
    pub async fn xcom(&self, query: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        #[derive(serde::Deserialize)]
        struct Found {
            values: Vec<XcomFound>,
        }
        let found: Option<Found> = self.answer(self.http.post(Self::url(["xcom"])?).json(query)).await?;
        Ok(found.map(|found| found.values).unwrap_or_default())
    }

    /// Puts a large value into the blob store.
    pub async fn put_blob(
        &self,
        attempt: AttemptId,
        name: &str,
        value: &Value,
    ) -> Result<(String, u64), HostError> {
        #[derive(serde::Deserialize)]
        struct Stored {
            path: String,
            bytes: u64,
        }
        let url = Self::url(["blobs", &attempt.to_string(), name])?;
        let stored: Option<Stored> = self.answer(self.http.put(url).json(value)).await?;
        let stored = stored.ok_or_else(|| HostError("the server does not store blobs".into()))?;
        Ok((stored.path, stored.bytes))
    }
}

/// What one attempt looks things up through while it is prepared.
pub(super) struct AttemptHost {
    pub client: Client,
    pub attempt: AttemptId,
    pub runtime: Handle,
}

impl AttemptHost {
    fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<Option<T>, HostError> {
        self.runtime.block_on(self.client.get(self.attempt, segments))
    }
}

impl Host for AttemptHost {
    fn xcom(&self, query: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        self.runtime.block_on(self.client.xcom(query))
    }

    fn variable(&self, key: &str) -> Result<Option<Variable>, HostError> {
        self.get(&["variables", key])
    }

    fn connection(&self, conn_id: &str) -> Result<Option<Connection>, HostError> {
        self.get(&["connections", conn_id])
    }

    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError> {
        self.get(&["previous-success"])
    }

    fn smtp(&self) -> Result<Option<Smtp>, HostError> {
        self.get(&["smtp"])
    }
}

/// Looks nothing up, and notes that it should have.
#[derive(Default)]
pub(super) struct NoLookUps(AtomicBool);

impl NoLookUps {
    pub fn was_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn refuse<T>(&self) -> Result<T, HostError> {
        self.0.store(true, Ordering::Relaxed);
        Err(HostError("nothing is looked up here".into()))
    }
}

impl Host for NoLookUps {
    fn xcom(&self, _: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        self.refuse()
    }

    fn variable(&self, _: &str) -> Result<Option<Variable>, HostError> {
        self.refuse()
    }

    fn connection(&self, _: &str) -> Result<Option<Connection>, HostError> {
        self.refuse()
    }

    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError> {
        self.refuse()
    }

    fn smtp(&self) -> Result<Option<Smtp>, HostError> {
        self.refuse()
    }
}
