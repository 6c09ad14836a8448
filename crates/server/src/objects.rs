//! A bucket of S3, or of what speaks its language, in which logs and large values are.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
    StaticCredentialProvider,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential},
    path::Path,
    prefix::PrefixStore,
};
use reqwest::Url;
use updraft_operators::said_by_s3;

use crate::{blobs::Blobs, logs::LogObjects};

/// How long nothing may come from the store.
const SILENCE: Duration = Duration::from_secs(30);

/// How long what fails is tried again here, before whoever asked hears of it and tries again himself.
const RETRIES: Duration = Duration::from_secs(10);

/// The longest prefix: S3 takes names of 1024 bytes, and what is in it needs the rest.
const LONGEST_PREFIX: usize = 100;

/// A bucket as it is set. What is not set is taken from the environment and the machine, as Amazon's own programs do.
#[derive(Clone, Default)]
pub struct Settings {
    /// Its name.
    pub bucket: String,
    /// What all names in it begin with.
    pub prefix: String,
    /// Where it is, unless it is Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Whether its name is in the path of a request, and not in the name of the host.
    pub path_style: Option<bool>,
    /// Whose the key is, and the key.
    pub keys: Option<(String, String)>,
    /// What goes with a key that lasts for a while.
    pub session_token: Option<String>,
}

/// Why a bucket can't be used: where, what is wrong, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// A bucket.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    /// Where it is, for people.
    shown: String,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Bucket {
    /// As it is set; nothing is asked yet.
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        let Settings { bucket, prefix, endpoint, region, path_style, keys, session_token } = settings;
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&bucket);
        let of_environment = || {
            let value = |key| builder.get_config_value(&key).filter(|url| !url.is_empty());
            value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint))
        };
        let endpoint = endpoint.or_else(of_environment);
        let at = endpoint.clone().unwrap_or_else(|| "Amazon S3".into());
        let shown = format!("s3://{bucket}/{prefix} at {at}");
        let unusable = |why: &str| Unusable(format!("{shown}: {why}"));
        if prefix.len() > LONGEST_PREFIX {
            return Err(unusable(&format!("what stands behind the bucket may have {LONGEST_PREFIX} bytes")));
        }
        // A name with a dot has no certificate of its own.
        let path_style = path_style.unwrap_or(endpoint.is_some() || bucket.contains('.'));
        builder = builder.with_virtual_hosted_style_request(!path_style);
        let mut unencrypted = false;
        if let Some(endpoint) = endpoint {
            let url = Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let bad = || unusable("blob.endpoint is no address: write it like https://s3.example.com");
            let mut url = url.ok_or_else(bad)?;
            unencrypted = url.scheme() == "http";
            if !path_style {
                let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
                url.set_host(Some(&host)).map_err(|_| bad())?;
            }
            let url = url.as_str().trim_end_matches('/');
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, url);
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        if let Some((key_id, secret_key)) = keys {
            let keys = AwsCredential { key_id, secret_key, token: session_token };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys)));
        }
        let client = ClientOptions::new()
            .with_allow_http(unencrypted)
            .with_timeout_disabled()
            .with_connect_timeout(Duration::from_secs(5))
            .with_read_timeout(SILENCE);
        let retries =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRIES };
        let store = builder.with_client_options(client).with_retry(retries).build();
        let store = store.map_err(|error| unusable(&said(&error)))?;
        Ok(Self { store: Arc::new(store), prefix, shown })
    }

    /// Sees to it that what is needed can be done there. `who` is a name of this server's own.
    pub async fn check(&self, who: &str) -> Result<(), Unusable> {
        let probes = self.part("probes");
        let probe = Path::from(who);
        let failed = |error: Error| self.mend(&error);
        probes.put(&probe, "1".into()).await.map_err(failed)?;
        let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match probes.put_opts(&probe, "2".into(), only_new).await {
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(failed(error)),
            Ok(_) => {
                return Err(Unusable(format!(
                    "{}: it overwrites an object where it is told not to (`If-None-Match: *`), and two servers could \
                     destroy one another's logs: it needs a newer version, or another store",
                    self.shown
                )));
            }
        }
        probes.list(None).try_for_each(|_| async { Ok(()) }).await.map_err(failed)?;
        probes.get(&probe).await.map_err(failed)?;
        probes.delete(&probe).await.map_err(failed)
    }

    /// What is wrong, and the mend.
    fn mend(&self, error: &Error) -> Unusable {
        let mend = match error {
            Error::NotFound { .. } => "make the bucket, or set blob.url to one that is there",
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                "check blob.access_key_id and blob.secret_access_key, or what stands for them in the environment \
                 (AWS_ACCESS_KEY_ID) and the machine's role, and that they may put, get, list and delete objects there"
            }
            _ => "check blob.url, blob.endpoint and blob.region, and that it can be reached from here",
        };
        Unusable(format!("{}: {}: {mend}", self.shown, said(error)))
    }

    /// The large values in it.
    pub fn blobs(&self) -> Blobs {
        Blobs::in_store(self.part("blobs"))
    }

    /// The logs in it.
    pub fn logs(&self) -> LogObjects {
        LogObjects::new(self.part("logs"))
    }

    fn part(&self, name: &str) -> Arc<dyn ObjectStore> {
        let prefix = Path::from_iter(self.prefix.split('/').filter(|part| !part.is_empty()).chain([name]));
        Arc::new(PrefixStore::new(self.store.clone(), prefix))
    }
}

/// What a store says of a failure, for people: what S3 said, or else what the failure comes from.
pub(crate) fn said(error: &Error) -> String {
    let text = error.to_string();
    if let Some(said) = said_by_s3(&text) {
        return said;
    }
    let mut cause: &dyn std::error::Error = error;
    let mut text = text;
    while let Some(source) = cause.source() {
        cause = source;
        text = format!("{cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_s3::TestS3;

    #[tokio::test]
    async fn a_store_that_overwrites_what_it_is_told_not_to_is_refused() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let agrees = axum::Router::new().fallback(|| async { [("ETag", "\"1\"")] });
        tokio::spawn(async move { axum::serve(listener, agrees).await });
        let keys = Some(("id".into(), "key".into()));
        let settings =
            Settings { bucket: "lake".into(), endpoint: Some(endpoint), keys, ..Settings::default() };
        let refused = Bucket::new(settings).unwrap().check("me").await.unwrap_err().to_string();
        assert!(refused.contains("s3://lake/") && refused.contains("If-None-Match"), "{refused}");
    }

    #[tokio::test]
    async fn a_bucket_is_tried_by_each_server_as_often_as_it_starts() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let s3 = TestS3::start();
        for who in ["one", "two", "one"] {
            s3.bucket("a/b").check(who).await.unwrap();
        }
        let long = Bucket::new(s3.settings(&"x".repeat(LONGEST_PREFIX + 1))).unwrap_err().to_string();
        assert!(long.contains("100 bytes"), "{long}");
    }
}
