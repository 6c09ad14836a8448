//! The way to a server: where it is, who asks, and what is asked.

mod address;
mod answer;
mod login;
mod patience;

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::Value;
use tokio::sync::Mutex;

pub use self::{
    address::Published,
    patience::{Followed, patiently},
};
use crate::{
    commands::tell_of_more,
    failure::{Exit, Failure},
};

/// The most that the API gives in one answer.
const PER_PAGE: usize = 100;

/// A server that is there answers within this; it gives up on a request itself after half of it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Which server is asked, and by whom.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Server {
    /// Where the server is [default: where that of the home folder listens, or would].
    #[arg(long, global = true, env = "UPDRAFT_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Who asks [default: `admin`, with the password in the home folder].
    #[arg(long, global = true, env = "UPDRAFT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// The namespace that is meant.
    #[arg(long, global = true, env = "UPDRAFT_NAMESPACE", default_value = "default", value_name = "NAME")]
    namespace: String,
}

/// A server, and who asks it. Nothing is sent before the first question.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    namespace: String,
    home: PathBuf,
    given: Option<String>,
    /// From logging in, and when that was.
    token: Mutex<Option<(String, SystemTime)>>,
}

/// Parameters of a query.
pub type Query<'a> = &'a [(&'a str, String)];

impl Client {
    pub fn new(args: Server, home: PathBuf) -> Result<Self> {
        let (url, from) = match args.server {
            Some(url) => (url, "--server or UPDRAFT_SERVER"),
            None => address::of(&home),
        };
        let bad = || {
            let mend = "write it like http://127.0.0.1:8080";
            Failure::new(Exit::Usage, format!("`{}` (from {from}) is no server's URL: {mend}", url.trim()))
        };
        let base = Url::parse(url.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(bad)?;
        // By this the server knows what somebody did on the command line.
        let agent = concat!("updraft-cli/", env!("CARGO_PKG_VERSION"));
        let mut http = reqwest::Client::builder().user_agent(agent).connect_timeout(Duration::from_secs(5));
        if is_of_this_machine(&base) {
            // A proxy would look for it on its own machine.
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build().context("can't make an HTTP client")?,
            base,
            namespace: args.namespace,
            home,
            given: args.token,
            token: Mutex::default(),
        })
    }

    /// Where the server is.
    pub fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The namespace that is meant.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub async fn get(&self, path: &[&str]) -> Result<Value> {
        self.call(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &[&str], body: Value) -> Result<Value> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    pub async fn patch(&self, path: &[&str], body: Value) -> Result<Value> {
        self.call(Method::PATCH, path, &[], Some(body)).await
    }

    /// Changes what is there, or makes it in a list where it is not; whether it was there.
    pub async fn put(&self, list: &[&str], name: &str, body: Value) -> Result<bool> {
        match self.patch(&[list, &[name]].concat(), body.clone()).await {
            Ok(_) => Ok(true),
            Err(error) if Failure::is(&error, Exit::NotFound) => self.post(list, body).await.map(|_| false),
            Err(error) => Err(error),
        }
    }

    pub async fn delete(&self, path: &[&str]) -> Result<()> {
        self.call(Method::DELETE, path, &[], None).await.map(drop)
    }

    /// Asks, and gives the answer's JSON; `null` where it has none. `path` begins with the API's version.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: Query<'_>,
        body: Option<Value>,
    ) -> Result<Value> {
        let mut request = self.http.request(method, self.api(path)).query(query).timeout(ANSWERS_WITHIN);
        if let Some(body) = &body {
            request = request.json(body);
        }
        self.read(self.send(request).await?).await
    }

    /// Sends a packed folder, for as long as that takes.
    pub async fn upload(&self, path: &[&str], query: Query<'_>, packed: Vec<u8>) -> Result<Value> {
        let request = self.http.post(self.api(path)).query(query).header(CONTENT_TYPE, "application/gzip");
        self.read(self.send(request.body(packed)).await?).await
    }

    /// What needs no token.
    pub async fn get_openly(&self, path: &[&str]) -> Result<Value> {
        let request = self.http.get(self.api(path)).timeout(ANSWERS_WITHIN);
        self.read(self.checked(request).await?).await
    }

    /// An answer that comes bit by bit, for as long as it takes.
    async fn follow(&self, path: &[&str], query: Query<'_>, accept: &str) -> Result<Response> {
        self.send(self.http.get(self.api(path)).query(query).header(ACCEPT, accept)).await
    }

    /// All rows of a list, page by page, or the first `limit` of them: then it is said how many more there are.
    pub async fn list(
        &self,
        path: &[&str],
        query: Query<'_>,
        key: &str,
        limit: Option<usize>,
    ) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        loop {
            let wanted = limit.map_or(PER_PAGE, |limit| (limit - rows.len()).min(PER_PAGE));
            let mut query = query.to_vec();
            query.extend([("limit", wanted.to_string()), ("offset", rows.len().to_string())]);
            let mut page = self.call(Method::GET, path, &query, None).await?;
            let total = page["total_entries"].as_u64().unwrap_or(0) as usize;
            let Value::Array(more) = page[key].take() else {
                anyhow::bail!("{} answers without `{key}`: is it of another version?", self.server());
            };
            let none = more.is_empty();
            rows.extend(more);
            if limit.is_some_and(|limit| rows.len() >= limit) {
                if rows.len() < total {
                    tell_of_more(rows.len(), total);
                }
                return Ok(rows);
            }
            if none || rows.len() >= total {
                return Ok(rows);
            }
        }
    }

    /// `/api/…`, or `/ns/{namespace}/api/…`.
    fn api(&self, path: &[&str]) -> Url {
        let of_namespace = (self.namespace != "default").then_some(["ns", &self.namespace]);
        self.url(of_namespace.into_iter().flatten().chain(["api"]).chain(path.iter().copied()))
    }

    fn url<'a>(&self, path: impl Iterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        // A URL of HTTP always has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let token = self.token().await?;
        self.checked(request.bearer_auth(token)).await
    }
}

fn is_of_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn client(server: &str, namespace: &str) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let args = Server { server: Some(server.into()), token: None, namespace: namespace.into() };
        Client::new(args, Path::new("/nowhere").into()).unwrap()
    }

    #[test]
    fn names_are_one_part_of_a_path_each() {
        let plain = client("http://localhost:1/", "default");
        assert_eq!(
            plain.api(&["v2", "dags", "a/b c?"]).as_str(),
            "http://localhost:1/api/v2/dags/a%2Fb%20c%3F"
        );
        let other = client("https://x.example/base", "team a");
        assert_eq!(
            other.api(&["v1", "workers"]).as_str(),
            "https://x.example/base/ns/team%20a/api/v1/workers"
        );
    }

    #[tokio::test]
    async fn the_password_of_this_machine_goes_to_no_other() {
        let error = client("http://192.0.2.1:8080", "default").get(&["v2", "dags"]).await.unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::NotAllowed);
        assert!(error.to_string().contains("UPDRAFT_TOKEN"), "{error}");
    }

    #[test]
    fn a_url_that_is_none_is_refused_with_its_mend() {
        let args = Server { server: Some("localhost:8080".into()), token: None, namespace: "default".into() };
        let error = Client::new(args, Path::new("/nowhere").into()).err().unwrap();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::Usage);
    }
}
