//! The one HTTP client of a worker: its connections, and how many ask one server at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use reqwest::{Response, StatusCode, header::HeaderMap, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::sync::Semaphore;

use super::request::Request;

/// So many ask one server at a time; the others wait their turn. Ten thousand sensors that begin together
/// are neither ten thousand connections nor a burst.
const AT_ONCE: usize = 64;

/// Of an answer so much is read; what a check looks at is shorter.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Asks servers.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Made when it is first needed, since the system's certificates are read for it.
    client: OnceLock<Result<reqwest::Client, String>>,
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// Asks. The error says what was asked of whom.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, String> {
        let turns = self.turns_of(request);
        let _turn = turns.acquire().await.map_err(|error| error.to_string())?;
        let client = self.client.get_or_init(build).clone()?;
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .timeout(request.timeout);
        if let Some((login, password)) = &request.account {
            builder = builder.basic_auth(login, password.as_ref());
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.to_vec());
        }
        let told = |error: reqwest::Error| {
            let why = if error.is_timeout() {
                format!("no answer within {:?}", request.timeout)
            } else {
                causes(&error)
            };
            // The address without what stands behind `?`, in which there may be secrets.
            let mut url = request.url.clone();
            url.set_query(None);
            format!("{} {url} failed: {why}", request.method)
        };
        let response = builder.send().await.map_err(told)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response).await.map_err(told)?;
        Ok(Answer { status, headers, body })
    }

    fn turns_of(&self, request: &Request) -> Arc<Semaphore> {
        let server = request.url.host_str().unwrap_or_default();
        let server = format!("{server}:{}", request.url.port_or_known_default().unwrap_or(0));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() > 1000 {
            turns.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        Arc::clone(turns.entry(server).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(LONGEST_ANSWER - body.len())]);
        if body.len() == LONGEST_ANSWER {
            break;
        }
    }
    Ok(body)
}

/// The innermost cause says most: "connection refused".
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn build() -> Result<reqwest::Client, String> {
    let config = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())
    };
    // On a machine without certificates plain HTTP works all the same, and HTTPS says that it trusts nobody.
    let tls = match config()?.with_platform_verifier() {
        Ok(config) => config.with_no_client_auth(),
        Err(_) => config()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("updraft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(8)
        // As many as Python's `requests` follows.
        .redirect(Policy::limited(30))
        .build()
        .map_err(|error| causes(&error))
}
