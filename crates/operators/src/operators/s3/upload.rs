//! `LocalFilesystemToS3Operator` and `S3CreateObjectOperator`, as Airflow's Amazon provider documents them.

use std::path::PathBuf;

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, WriteMultipart, path::Path};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use updraft_core::TaskKind;

use super::{
    DEFAULT, Deed, Doing, Task,
    bucket::{Account, Bucket, Fault},
    place, refuse,
};
use crate::{
    Files, Refused, Work,
    catalog::{Entry, argument::arguments},
    operators::local::outgoing,
    prepare::Job,
    work::TaskContext,
};

arguments! {
    /// The arguments of `LocalFilesystemToS3Operator`.
    struct UploadArgs {
        /// The file here. A relative path starts at the DAG file's folder or, where there is none, at the folder for
        /// what tasks write (`UPDRAFT_FILES`).
        templated filename: String,
        /// The key of the object, or `s3://bucket/key`.
        templated dest_key: String,
        /// The bucket, unless `dest_key` names it.
        templated dest_bucket: Option<String>,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
        /// Whether an object that is there is replaced; otherwise it is an error.
        plain replace: bool = false,
    } accepted {
        /// Only as it is: certificates are always checked.
        verify: Value,
        /// Not here.
        encrypt: bool,
        /// Not here.
        gzip: bool,
        /// Not here.
        acl_policy: String,
    }
}

arguments! {
    /// The arguments of `S3CreateObjectOperator`.
    struct CreateArgs {
        /// What is in the object.
        templated data: String,
        /// The key of the object, or `s3://bucket/key`.
        templated s3_key: String,
        /// The bucket, unless `s3_key` names it.
        templated s3_bucket: Option<String>,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
        /// Whether an object that is there is replaced; otherwise it is an error.
        plain replace: bool = false,
    } accepted {
        /// Only as it is: certificates are always checked.
        verify: Value,
        /// Not here.
        encrypt: bool,
        /// Not here.
        acl_policy: String,
        /// Not here: it is UTF-8.
        encoding: String,
        /// Not here.
        compression: String,
    }
}

pub(in crate::operators) const UPLOAD: Entry = Entry {
    name: "LocalFilesystemToS3Operator",
    aliases: &[
        "local_to_s3",
        "airflow.providers.amazon.aws.transfers.local_to_s3.LocalFilesystemToS3Operator",
    ],
    doc: "Puts a file into a bucket of S3, of any size; it is there when it is whole. The result is its address.",
    arguments: &[UploadArgs::LIST],
    kind: |written| refuse(written, &["verify", "encrypt", "gzip", "acl_policy"]).map(|()| TaskKind::Run),
    plan: upload,
    ..DEFAULT
};

pub(in crate::operators) const CREATE: Entry = Entry {
    name: "S3CreateObjectOperator",
    aliases: &["s3_create_object", "airflow.providers.amazon.aws.operators.s3.S3CreateObjectOperator"],
    doc: "Puts a text into a bucket of S3. The result is its address.",
    arguments: &[CreateArgs::LIST],
    kind: |written| {
        refuse(written, &["verify", "encrypt", "acl_policy", "encoding", "compression"])
            .map(|()| TaskKind::Run)
    },
    plan: create,
    ..DEFAULT
};

/// What is shorter goes in one request; what is longer, in parts of this size, in bytes.
const PART: usize = 8 << 20;

/// So many parts an object may have, by S3's rules, with some to spare.
const MOST_PARTS: u64 = 9_000;

/// So many parts are on their way at once.
const AT_ONCE: usize = 2;

fn upload(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(UploadArgs::read)?;
    let to = place("dest_key", args.dest_bucket.as_deref(), &args.dest_key).map_err(|bad| job.bad(bad))?;
    let from = From::File { path: job.found(args.filename)?, files: job.host.files()?.clone() };
    Ok(Task::work(Uploading {
        account: Account::of(job, &args.aws_conn_id)?,
        from,
        to,
        replace: args.replace,
    }))
}

fn create(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(CreateArgs::read)?;
    let to = place("s3_key", args.s3_bucket.as_deref(), &args.s3_key).map_err(|bad| job.bad(bad))?;
    let from = From::Text(args.data);
    Ok(Task::work(Uploading {
        account: Account::of(job, &args.aws_conn_id)?,
        from,
        to,
        replace: args.replace,
    }))
}

#[derive(Debug)]
enum From {
    File { path: PathBuf, files: Files },
    Text(String),
}

#[derive(Debug)]
struct Uploading {
    account: Account,
    from: From,
    to: (String, String),
    replace: bool,
}

impl Deed for Uploading {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let (bucket, key) = (self.account.bucket(&self.to.0)?, &self.to.1);
            let path = bucket.key(key)?;
            if !self.replace && bucket.has(&path).await? {
                return Err(
                    bucket.fault(format!("{key} is there already: set `replace: true`, or name another"))
                );
            }
            let bytes = match &self.from {
                From::Text(text) => {
                    let put = bucket.store.put(&path, PutPayload::from(text.clone().into_bytes())).await;
                    put.map_err(|error| bucket.failed(&format!("writing {path}"), error))?;
                    text.len() as u64
                }
                From::File { path: local, files } => {
                    let file = outgoing(files, local).await?;
                    let length = file.metadata().await.map_err(|error| error.to_string())?.len();
                    bucket.write(&path, file, length).await?
                }
            };
            let address = format!("s3://{}/{key}", self.to.0);
            context.log.line(&format!("put {bytes} bytes into {address}"));
            Ok(json!(address))
        })
    }
}

impl Bucket {
    /// Writes an object from what is about so long; the number of its bytes.
    pub(super) async fn write(
        &self,
        key: &Path,
        mut from: impl AsyncRead + Unpin + Send,
        length: u64,
    ) -> Result<u64, Fault> {
        let failed = |error| self.failed(&format!("writing {key}"), error);
        let unread =
            |error: std::io::Error| self.fault(format!("what is to be {key} can't be read: {error}"));
        let size = PART.max(usize::try_from(length / MOST_PARTS).unwrap_or(usize::MAX));
        let mut first = Vec::new();
        (&mut from).take(size as u64).read_to_end(&mut first).await.map_err(unread)?;
        if first.len() < size {
            let bytes = first.len() as u64;
            self.store.put(key, first.into()).await.map_err(failed)?;
            return Ok(bytes);
        }
        let upload = self.store.put_multipart(key).await.map_err(failed)?;
        let mut parts = Parts::new(upload, size);
        let written = parts.write(first, from).await;
        match written {
            Ok(bytes) => parts.finish().await.map(|()| bytes).map_err(failed),
            Err(error) => {
                parts.abort().await;
                Err(match error {
                    Unwritten::Read(error) => unread(error),
                    Unwritten::Store(error) => failed(error),
                })
            }
        }
    }
}

/// An object in the making. Where it is dropped before its end, its parts go.
struct Parts(Option<WriteMultipart>);

enum Unwritten {
    Read(std::io::Error),
    Store(object_store::Error),
}

impl Parts {
    fn new(upload: Box<dyn MultipartUpload>, size: usize) -> Self {
        Self(Some(WriteMultipart::new_with_chunk_size(upload, size)))
    }

    async fn write(&mut self, first: Vec<u8>, mut from: impl AsyncRead + Unpin) -> Result<u64, Unwritten> {
        let Some(upload) = &mut self.0 else { return Ok(0) };
        let mut bytes = first.len() as u64;
        upload.put(first.into());
        let mut chunk = vec![0; 256 * 1024];
        loop {
            let read = from.read(&mut chunk).await.map_err(Unwritten::Read)?;
            if read == 0 {
                return Ok(bytes);
            }
            upload.wait_for_capacity(AT_ONCE).await.map_err(Unwritten::Store)?;
            upload.write(&chunk[..read]);
            bytes += read as u64;
        }
    }

    async fn finish(mut self) -> object_store::Result<()> {
        match self.0.take() {
            Some(upload) => upload.finish().await.map(drop),
            None => Ok(()),
        }
    }

    /// The parts go. Where even that fails, the bucket's own rule for what was begun and not ended applies.
    async fn abort(mut self) {
        if let Some(upload) = self.0.take() {
            let _ = upload.abort().await;
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(upload.abort());
        }
    }
}
