//! Where logs and large values are kept.

use std::{os::unix::fs::DirBuilderExt as _, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use updraft_server::{
    blobs::Blobs,
    logs::{LogFolder, Logs},
    objects::{Bucket, Settings},
};

use super::{Home, blobs_in, logs_in};

/// Where logs and large values are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Blob {
    /// `file:///…`, a folder that all servers of the database have, such as one of a file server; or `s3://bucket/prefix`;
    /// the home folder, where nothing is said.
    pub url: Option<String>,
    /// Where the bucket is, unless it is Amazon's: `https://s3.example.com`. What goes to `http://…` is not encrypted.
    /// `AWS_ENDPOINT_URL`, where nothing is said.
    pub endpoint: Option<String>,
    /// The bucket's region; `AWS_REGION`, where nothing is said.
    pub region: Option<String>,
    /// Whether the bucket's name is in the path of a request (`https://s3.example.com/bucket`), and not in the name of
    /// the host; so it is with an endpoint, where nothing is said.
    pub path_style: Option<bool>,
    /// Whose the key is; where nothing is said, what Amazon's own programs take: `AWS_ACCESS_KEY_ID`, or the role of the
    /// pod, the container or the machine.
    pub access_key_id: Option<String>,
    /// The key; needs `access_key_id`.
    pub secret_access_key: Option<String>,
    /// What goes with a key that lasts for a while.
    pub session_token: Option<String>,
}

/// Where they are.
pub enum Kept {
    /// In this folder: `logs` and `blobs` in it.
    Folder(PathBuf),
    /// In this bucket.
    Bucket(Bucket),
}

impl Blob {
    /// Where they are, where that is set.
    pub fn kept(&self) -> Result<Option<Kept>> {
        let Some(url) = &self.url else { return Ok(None) };
        if let Some(folder) = self.folder() {
            return Ok(Some(Kept::Folder(folder)));
        }
        // What may be a key is nobody's to see.
        let shown = if url.contains('@') { "…" } else { url };
        let wrong = || format!("blob.url is `{shown}`: write file:///mnt/updraft, or s3://bucket/prefix");
        let is_plain = |url: &reqwest::Url| {
            url.scheme() == "s3" && url.username().is_empty() && url.port().is_none() && url.query().is_none()
        };
        let parsed = reqwest::Url::parse(url).ok().filter(is_plain).with_context(wrong)?;
        let bucket = parsed.host_str().filter(|bucket| !bucket.is_empty()).with_context(wrong)?;
        Ok(Some(Kept::Bucket(self.bucket(bucket.to_owned(), parsed.path())?)))
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<PathBuf> {
        let url = reqwest::Url::parse(self.url.as_deref()?).ok()?;
        (url.scheme() == "file").then(|| url.to_file_path().ok()).flatten()
    }

    fn bucket(&self, bucket: String, prefix: &str) -> Result<Bucket> {
        let keys = match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => Some((id.clone(), secret.clone())),
            (None, None) => None,
            _ => bail!("blob.access_key_id and blob.secret_access_key go together: set both, or none"),
        };
        ensure!(
            keys.is_some() || self.session_token.is_none(),
            "blob.session_token goes with blob.access_key_id and blob.secret_access_key: set these too"
        );
        let settings = Settings {
            bucket,
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            keys,
            session_token: self.session_token.clone(),
        };
        Bucket::new(settings).context("can't use blob.url")
    }
}

impl Kept {
    /// Makes what is to be there, and sees to it that it can be used. `who` is a name of this server's own.
    pub async fn prepare(&self, who: &str) -> Result<()> {
        let folder = match self {
            Self::Bucket(bucket) => return bucket.check(who).await.context("can't use blob.url"),
            Self::Folder(folder) => folder,
        };
        for folder in [logs_in(folder), blobs_in(folder)] {
            // Without the folder above them: where the disk is not there, it is not to be taken for an empty one.
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error)
                        .with_context(|| format!("can't make {}: is it there?", folder.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The large values.
    pub fn blobs(&self) -> Result<Blobs> {
        match self {
            Self::Folder(folder) => {
                Blobs::in_folder(&blobs_in(folder)).context("can't use the folder of large values")
            }
            Self::Bucket(bucket) => Ok(bucket.blobs()),
        }
    }

    /// The logs. A keeper writes them to files, which are in the home folder where there is no other.
    pub fn logs(&self, home: &Home, with_keeper: bool) -> Arc<dyn Logs> {
        match self {
            Self::Bucket(bucket) if !with_keeper => Arc::new(bucket.logs()),
            Self::Bucket(_) => Arc::new(LogFolder::new(home.logs())),
            Self::Folder(folder) => Arc::new(LogFolder::new(logs_in(folder))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(url: &str) -> Blob {
        Blob { url: Some(url.into()), ..Blob::default() }
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_mend() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for url in ["file:///mnt/updraft", "s3://bucket", "s3://bucket/a/b/"] {
            assert!(blob(url).kept().unwrap().is_some(), "{url}");
        }
        for url in
            ["/mnt/updraft", "file://elsewhere/x", "s3://", "s3:///x", "s3://me:key@bucket", "gs://bucket"]
        {
            let refused = blob(url).kept().err().unwrap();
            assert!(format!("{refused:#}").contains("s3://bucket/prefix"), "{url}: {refused:#}");
        }
        assert!(Blob::default().kept().unwrap().is_none());
    }

    #[test]
    fn half_of_an_account_and_an_endpoint_that_is_none_are_refused() {
        let half = Blob { access_key_id: Some("id".into()), ..blob("s3://bucket") };
        assert!(half.kept().err().unwrap().to_string().contains("set both"));
        let token = Blob { session_token: Some("token".into()), ..blob("s3://bucket") };
        assert!(token.kept().err().unwrap().to_string().contains("set these too"));
        let place = Blob { endpoint: Some("s3.example.com".into()), ..blob("s3://bucket") };
        assert!(format!("{:#}", place.kept().err().unwrap()).contains("blob.endpoint"));
    }
}
