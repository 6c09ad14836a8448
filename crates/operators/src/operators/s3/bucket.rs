//! The account that a connection names, as Airflow's Amazon provider documents its connections, and its buckets.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AwsCredential},
    client::{HttpClient, HttpConnector},
    path::Path,
};
use reqwest::{Url, redirect::Policy};
use serde_json::{Map, Value};

use crate::{
    Refused,
    prepare::{Job, no_connection},
    tls,
};

/// The region, where a connection names none; what only speaks S3's language has none.
pub(super) const REGION: &str = "us-east-1";

/// How long nothing may come from the server.
const SILENCE: Duration = Duration::from_secs(60);

/// How long what fails is tried again before the task fails.
const RETRIES: Duration = Duration::from_secs(60);

/// Why something did not come about: where, what is wrong, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(pub(super) String);

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self(why)
    }
}

/// Who asks, and where.
#[derive(Clone)]
pub(super) struct Account {
    conn_id: String,
    key_id: String,
    secret: String,
    token: Option<String>,
    region: String,
    /// Where it is, unless it is Amazon's.
    endpoint: Option<String>,
    client: reqwest::Client,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Account").field("conn_id", &self.conn_id).finish_non_exhaustive()
    }
}

impl Account {
    /// The account of a connection. Blocks.
    pub(super) fn of(job: &Job<'_>, conn_id: &str) -> Result<Self, Refused> {
        let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
        let bad = |why: &str| Refused::Missing(format!("the connection `{conn_id}` {why}"));
        if connection.conn_type != "aws" {
            return Err(bad(&format!("is of type `{}`: the type must be aws", connection.conn_type)));
        }
        let text = |name: &str| text(&connection.extra, name);
        for name in ["role_arn", "profile_name", "assume_role_method"] {
            if text(name).is_some() {
                return Err(bad(&format!("has `{name}`, which can't be had here: give it keys of its own")));
            }
        }
        let key_id = connection.login.clone().filter(|login| !login.is_empty()).or(text("aws_access_key_id"));
        let password = connection.password.clone().filter(|password| !password.is_empty());
        let (Some(key_id), Some(secret)) = (key_id, password.or(text("aws_secret_access_key"))) else {
            return Err(bad(
                "has no keys: put the access key id into its login and the secret access key into its password. What \
                 the worker's own environment or machine may do, tasks may not",
            ));
        };
        let for_s3 =
            connection.extra.get("service_config").and_then(|config| config.get("s3")?.as_object().cloned());
        let endpoint = for_s3.and_then(|config| self::text(&config, "endpoint_url")).or(text("endpoint_url"));
        let client = client().map_err(|error| bad(&format!("can't be used: {error}")))?;
        Ok(Self {
            conn_id: conn_id.to_owned(),
            key_id,
            secret,
            token: text("aws_session_token"),
            region: text("region_name").unwrap_or_else(|| REGION.to_owned()),
            endpoint,
            client,
        })
    }

    /// The same in another region, where one is given.
    pub(super) fn in_region(self, region: Option<String>) -> Self {
        Self { region: region.filter(|region| !region.is_empty()).unwrap_or(self.region), ..self }
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// What sends requests that the library does not make itself.
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Where it is, for people.
    pub(super) fn shown(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("Amazon S3 in {}", self.region))
    }

    /// The address that all buckets are below.
    pub(super) fn root(&self) -> Result<Url, String> {
        let of_amazon = || format!("https://s3.{}.amazonaws.com", self.region);
        let root = self.endpoint.clone().unwrap_or_else(of_amazon);
        Url::parse(&root)
            .map_err(|error| format!("the connection's endpoint_url {root} is no address: {error}"))
    }

    /// What its requests are signed with.
    pub(super) fn credential(&self) -> AwsCredential {
        AwsCredential {
            key_id: self.key_id.clone(),
            secret_key: self.secret.clone(),
            token: self.token.clone(),
        }
    }

    /// A bucket of it. Whether it is there, the first request tells.
    pub(super) fn bucket(&self, name: &str) -> Result<Bucket, Fault> {
        let retries =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRIES };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&self.region)
            .with_access_key_id(&self.key_id)
            .with_secret_access_key(&self.secret)
            .with_retry(retries)
            .with_http_connector(Connector(self.client.clone()));
        if let Some(token) = &self.token {
            builder = builder.with_token(token);
        }
        builder = match &self.endpoint {
            Some(endpoint) => {
                builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"))
            }
            // A name with a dot has no certificate of its own.
            None => builder.with_virtual_hosted_style_request(!name.contains('.')),
        };
        let shown = format!("connection `{}` (bucket {name} at {})", self.conn_id, self.shown());
        match builder.build() {
            Ok(store) => Ok(Bucket { store: Arc::new(store), shown }),
            Err(error) => Err(Fault(format!("{shown}: {error}"))),
        }
    }
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::trusting_the_system()?)
        .user_agent(concat!("updraft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .redirect(Policy::none())
        // An object comes as it is kept, of the length that was told.
        .no_gzip()
        .no_deflate()
        .build()
        .map_err(|error| error.to_string())
}

/// Has the library ask through our client: its own would look for certificates in its own way.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// A bucket.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) store: Arc<AmazonS3>,
    /// Where it is, for people.
    shown: String,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// What stands in an element of an answer in XML.
pub(super) fn of_tag<'a>(answer: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0.trim())
}

/// What a server has said, where that is an error of S3's: a code and a message.
pub fn said_by_server(error: &str) -> Option<String> {
    let (code, message) =
        (of_tag(error, "Code")?, of_tag(error, "Message").filter(|message| !message.is_empty()));
    Some(message.map_or_else(|| code.to_owned(), |message| format!("{code}: {message}")))
}

impl Bucket {
    pub(super) fn fault(&self, why: impl fmt::Display) -> Fault {
        Fault(format!("{}: {why}", self.shown))
    }

    /// What the library says, in words for people.
    pub(super) fn failed(&self, what: &str, error: object_store::Error) -> Fault {
        use object_store::Error;
        match error {
            Error::NotFound { path, .. } => {
                self.fault(format!("{what} failed: there is no {path}, or no such bucket"))
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                let said =
                    said_by_server(&error.to_string()).map(|said| format!(" ({said})")).unwrap_or_default();
                self.fault(format!(
                    "{what} failed: the account may not do that{said}: check the connection's login (access key id) \
                     and password (secret access key), and what they may do"
                ))
            }
            error => {
                let said = error.to_string();
                self.fault(format!("{what} failed: {}", said_by_server(&said).unwrap_or(said)))
            }
        }
    }

    /// A key. Those with empty parts, which S3 has, can't be had.
    pub(super) fn key(&self, key: &str) -> Result<Path, Fault> {
        let unfit = || {
            self.fault(format!(
                "the key {key:?} can't be had: it must have no empty part, and no `.` or `..`"
            ))
        };
        let is_whole = !key.is_empty() && !key.starts_with('/') && !key.ends_with('/');
        let path = Path::parse(key).map_err(|_| unfit())?;
        if is_whole { Ok(path) } else { Err(unfit()) }
    }

    /// Whether an object is there.
    pub(super) async fn has(&self, key: &Path) -> Result<bool, Fault> {
        match self.store.head(key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(&format!("looking at {key}"), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_in_xml_the_code_and_the_message_are_told() {
        let answer = "Server returned non-2xx status code: 403: <?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed\
                      </Code><Message>The clock is wrong.</Message><RequestId>1</RequestId></Error>";
        assert_eq!(said_by_server(answer).unwrap(), "RequestTimeTooSkewed: The clock is wrong.");
        assert_eq!(said_by_server("<Code>SlowDown</Code>").unwrap(), "SlowDown");
        assert_eq!(said_by_server("connection refused"), None);
    }
}
