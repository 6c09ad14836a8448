//! Secrets in HashiCorp Vault, or what speaks its HTTP API, with the parameters of Airflow's `VaultBackend`: the KV
//! engine's versions 1 and 2; a token, AppRole, or a name and a password.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header::HeaderValue};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use updraft_core::protocol::Connection;

use super::{
    backend::{Backend, BackendError},
    environment::parse_connection,
};

/// Of a token's life so much is used.
const USED_OF_LEASE: f64 = 0.8;

/// Where a Vault is, and what in it.
#[derive(Clone)]
pub struct Settings {
    /// Its address.
    pub url: String,
    /// How one gets in.
    pub login: Login,
    /// Where the KV engine is mounted (Airflow's default: `secret`).
    pub mount_point: String,
    /// The KV engine's version, 1 or 2.
    pub kv_engine_version: u8,
    /// Where connections are; empty where none are looked up.
    pub connections_path: String,
    /// Where variables are; empty where none are looked up.
    pub variables_path: String,
    /// The namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// A request that takes longer has failed.
    pub timeout: Duration,
}

/// How one gets in (Airflow's `auth_type`).
#[derive(Clone)]
pub enum Login {
    /// A token.
    Token(String),
    /// A file with a token, which others keep fresh.
    TokenFile(PathBuf),
    /// AppRole.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role.
        role_id: String,
        /// Its secret.
        secret_id: String,
    },
    /// A name and a password.
    UserPass {
        /// Where the method is mounted.
        mount: String,
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
}

/// A client of a Vault.
pub struct Vault {
    settings: Settings,
    url: Url,
    http: reqwest::Client,
    /// The token that a login gave, and until when it is used.
    token: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Vault {
    /// A client. Nothing is asked yet.
    pub fn new(settings: Settings) -> Result<Self, BackendError> {
        let wrong = |why: &str| BackendError { backend: "secrets.vault".into(), why: why.into() };
        let url = Url::parse(&settings.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| wrong("`url` is no address: write https://vault.example:8200"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "`url` has a name or a password in it, which Vault takes no notice of: leave it out",
            ));
        }
        if !matches!(settings.kv_engine_version, 1 | 2) {
            return Err(wrong("`kv_engine_version` has to be 1 or 2"));
        }
        if settings.mount_point.is_empty() {
            return Err(wrong("`mount_point` is empty: name the path at which the KV engine is mounted"));
        }
        // A redirection would have the token sent elsewhere.
        let http = reqwest::Client::builder()
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| wrong(&format!("no client can be made: {error}")))?;
        Ok(Self { settings, url, http, token: Mutex::default() })
    }

    fn error(&self, why: impl Into<String>) -> BackendError {
        let host = self.url.host_str().unwrap_or_default();
        BackendError { backend: format!("Vault at {host}"), why: why.into() }
    }

    /// An address of its API; none where a name in it would lead elsewhere.
    fn address<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Option<Url> {
        let mut url = self.url.clone();
        let parts: Vec<&str> = parts.into_iter().flat_map(|part| part.trim_matches('/').split('/')).collect();
        if parts.iter().any(|part| part.is_empty() || matches!(*part, "." | "..")) {
            return None;
        }
        url.path_segments_mut().ok()?.pop_if_empty().push("v1").extend(parts);
        Some(url)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url).header("X-Vault-Request", "true");
        match &self.settings.namespace {
            Some(namespace) => request.header("X-Vault-Namespace", namespace),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, BackendError> {
        request.send().await.map_err(|error| match error {
            error if error.is_timeout() => self.too_late(),
            error => {
                let why = match error.is_connect() {
                    true => "nobody can be reached there".into(),
                    false => format!("it can't be asked: {}", error.without_url()),
                };
                self.error(format!("{why}. See whether it is well, or whether `secrets.vault.url` is right"))
            }
        })
    }

    fn too_late(&self) -> BackendError {
        let timeout = self.settings.timeout;
        self.error(format!("it has not answered within {timeout:?}. See whether it is well"))
    }

    /// The token to ask with, from a login where that is how one gets in.
    async fn token(&self, anew: bool) -> Result<HeaderValue, BackendError> {
        let as_header = |token: &str| {
            let mut header = HeaderValue::from_str(token.trim())
                .map_err(|_| self.error("the token has a character that no token has"))?;
            header.set_sensitive(true);
            Ok(header)
        };
        let (parts, body) = match &self.settings.login {
            Login::Token(token) => return as_header(token),
            Login::TokenFile(path) => {
                let text = tokio::fs::read_to_string(path).await;
                let text = text.map_err(|error| {
                    self.error(format!("the file with its token {} can't be read: {error}", path.display()))
                })?;
                return as_header(&text);
            }
            Login::AppRole { mount, role_id, secret_id } => {
                (vec!["auth", mount.as_str(), "login"], json!({ "role_id": role_id, "secret_id": secret_id }))
            }
            Login::UserPass { mount, username, password } => {
                (vec!["auth", mount.as_str(), "login", username.as_str()], json!({ "password": password }))
            }
        };
        let mut kept = self.token.lock().await;
        if let Some((token, until)) = kept.as_ref().filter(|_| !anew)
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let url =
            self.address(parts).ok_or_else(|| self.error("the login's names can't be in an address"))?;
        let response = self.send(self.request(Method::POST, url).json(&body)).await?;
        if !response.status().is_success() {
            return Err(self.refused("log in", response).await);
        }
        let answer = self.body(response).await?;
        let token = answer["auth"]["client_token"].as_str().unwrap_or_default();
        let token = as_header(token)?;
        let lease = answer["auth"]["lease_duration"].as_u64().unwrap_or_default();
        // A lease of nothing is one without an end.
        let lease = if lease == 0 { Duration::from_secs(3600) } else { Duration::from_secs(lease) };
        *kept = Some((token.clone(), Instant::now() + lease.mul_f64(USED_OF_LEASE)));
        Ok(token)
    }

    async fn body(&self, response: Response) -> Result<Value, BackendError> {
        let strange = "its answer is not one of Vault: see whether `secrets.vault.url` is right";
        response.json().await.map_err(|_| self.error(strange))
    }

    /// What a status means. Vault's own words name paths and policies, no secrets.
    async fn refused(&self, doing: &str, response: Response) -> BackendError {
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        let errors = answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let said: String = errors.collect::<Vec<_>>().join("; ").chars().take(500).collect();
        let mend = match status.as_u16() {
            503 => "it is sealed or being maintained: unseal it",
            429 | 472 | 473 => "it is a standby or has too much to do: ask the active one, or try later",
            301..=308 => "it sends us elsewhere: set `secrets.vault.url` to the address it names",
            403 => "see whether the token is good still, and whether its policy allows `read` there",
            400 => "see the settings of `secrets.vault`",
            _ => "see its log",
        };
        self.error(format!("it refused to {doing} with {status} ({said}): {mend}"))
    }

    /// The fields of a secret; `None` where there is none.
    async fn read(&self, base: &str, name: &str) -> Result<Option<Map<String, Value>>, BackendError> {
        if base.is_empty() {
            return Ok(None);
        }
        let mount = self.settings.mount_point.as_str();
        let url = match self.settings.kv_engine_version {
            1 => self.address([mount, base, name]),
            _ => self.address([mount, "data", base, name]),
        };
        let Some(url) = url else { return Ok(None) };
        let asked = self.ask(url, base, name);
        // A login may come before it, and another after that.
        match tokio::time::timeout(self.settings.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.too_late()),
        }
    }

    async fn ask(
        &self,
        url: Url,
        base: &str,
        name: &str,
    ) -> Result<Option<Map<String, Value>>, BackendError> {
        let mut anew = false;
        loop {
            let token = self.token(anew).await?;
            let request = self.request(Method::GET, url.clone()).header("X-Vault-Token", token);
            let response = self.send(request).await?;
            let by_login = matches!(self.settings.login, Login::AppRole { .. } | Login::UserPass { .. });
            match response.status() {
                StatusCode::NOT_FOUND => return Ok(None),
                // The token may have been taken back before its time.
                StatusCode::FORBIDDEN if by_login && !anew => anew = true,
                status if status.is_success() => {
                    let mut answer = self.body(response).await?;
                    let data = answer["data"].take();
                    let data = match (self.settings.kv_engine_version, data) {
                        (1, data) => data,
                        (_, mut data) => data["data"].take(),
                    };
                    return match data {
                        Value::Object(fields) => Ok(Some(fields)),
                        Value::Null => Ok(None),
                        _ => {
                            Err(self.error("the secret has no fields: see `secrets.vault.kv_engine_version`"))
                        }
                    };
                }
                _ => return Err(self.refused(&format!("show `{base}/{name}`"), response).await),
            }
        }
    }
}

#[async_trait]
impl Backend for Vault {
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, BackendError> {
        let Some(fields) = self.read(&self.settings.connections_path, conn_id).await? else {
            return Ok(None);
        };
        // As Airflow's `VaultBackend.get_connection`: a URI, or the fields of a connection.
        let text = match fields.get("conn_uri") {
            Some(Value::String(uri)) => uri.clone(),
            Some(_) => return Err(self.error(format!("`conn_uri` of `{conn_id}` is no text"))),
            None => Value::Object(fields).to_string(),
        };
        let wrong = |fault| self.error(format!("the secret `{conn_id}` is no connection: {fault}"));
        parse_connection(conn_id, text.trim()).map(Some).map_err(wrong)
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, BackendError> {
        let Some(mut fields) = self.read(&self.settings.variables_path, key).await? else { return Ok(None) };
        // Airflow's `VaultBackend.get_variable`: what is not under `value` is no variable.
        Ok(fields.remove("value").and_then(|value| match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }))
    }
}

#[cfg(test)]
mod tests;
