//! An object that is named by its address alone: `s3://bucket/key`, or `s3://conn_id@bucket/key`.

use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use tokio::io::AsyncRead;

use super::{
    bucket::{Account, Bucket, Fault},
    place,
};
use crate::{Refused, prepare::Job};

/// An object of an account.
#[derive(Debug)]
pub(in crate::operators) struct Object {
    account: Account,
    conn_id: String,
    bucket: String,
    key: String,
}

impl Object {
    /// The object at an address. The connection is the one that is given or, where none is, that of the address.
    pub(in crate::operators) fn of(
        job: &Job<'_>,
        argument: &'static str,
        address: &str,
        conn_id: Option<&str>,
    ) -> Result<Self, Refused> {
        let (own, address) = with_connection(address);
        let (bucket, key) = place(argument, None, &address).map_err(|bad| job.bad(bad))?;
        let conn_id = conn_id.or(own).unwrap_or("aws_default").to_owned();
        Ok(Self { account: Account::of(job, &conn_id)?, conn_id, bucket, key })
    }

    pub(in crate::operators) fn address(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// Whether another is in the same bucket, seen by the same account.
    pub(in crate::operators) fn is_beside(&self, other: &Self) -> bool {
        (&self.conn_id, &self.bucket) == (&other.conn_id, &other.bucket)
    }

    /// An error where it is there already, unless it may be replaced.
    pub(in crate::operators) async fn is_free(&self, may_be_replaced: bool) -> Result<(), String> {
        let bucket = self.bucket()?;
        if may_be_replaced || !bucket.has(&bucket.key(&self.key)?).await? {
            return Ok(());
        }
        let why = format!("{} is there already: set `overwrite: true`, or name another", self.key);
        Err(bucket.fault(why).0)
    }

    /// What is in it, and how long that is.
    pub(in crate::operators) async fn content(
        &self,
    ) -> Result<(impl AsyncRead + Send + Unpin + use<>, u64), String> {
        let bucket = self.bucket()?;
        let key = bucket.key(&self.key)?;
        let got = bucket.store.get(&key).await;
        let got = got.map_err(|error| bucket.failed(&format!("reading {key}"), error))?;
        let length = got.meta.size;
        let chunks = got.into_stream().map_err(std::io::Error::other);
        Ok((tokio_util::io::StreamReader::new(chunks), length))
    }

    /// Writes it from what is about so long; the number of its bytes.
    pub(in crate::operators) async fn write(
        &self,
        from: impl AsyncRead + Unpin + Send,
        length: u64,
    ) -> Result<u64, String> {
        let bucket = self.bucket()?;
        Ok(bucket.write(&bucket.key(&self.key)?, from, length).await?)
    }

    /// Has the server copy it to one that is beside it.
    pub(in crate::operators) async fn copy_to(&self, copy: &Self) -> Result<(), String> {
        let bucket = self.bucket()?;
        let (source, copy) = (bucket.key(&self.key)?, bucket.key(&copy.key)?);
        let copied = bucket.store.copy(&source, &copy).await;
        Ok(copied.map_err(|error| bucket.failed(&format!("copying {source}"), error))?)
    }

    fn bucket(&self) -> Result<Bucket, Fault> {
        self.account.bucket(&self.bucket)
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.0
    }
}

/// The connection that an address names before its bucket, and the address without it.
fn with_connection(address: &str) -> (Option<&str>, String) {
    let rest = address.strip_prefix("s3://").unwrap_or(address);
    let bucket = rest.split('/').next().unwrap_or_default();
    match bucket.rsplit_once('@') {
        Some((conn_id, _)) => (
            Some(conn_id).filter(|conn_id| !conn_id.is_empty()),
            format!("s3://{}", &rest[conn_id.len() + 1..]),
        ),
        None => (None, address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_its_connection() {
        for (address, conn_id, plain) in [
            ("s3://lake/a/b@c.csv", None, "s3://lake/a/b@c.csv"),
            ("s3://own@lake/a@b", Some("own"), "s3://lake/a@b"),
            ("s3://@lake/a", None, "s3://lake/a"),
            ("s3://me@example.org@lake/a", Some("me@example.org"), "s3://lake/a"),
        ] {
            assert_eq!(with_connection(address), (conn_id, plain.to_owned()), "{address}");
        }
    }
}
