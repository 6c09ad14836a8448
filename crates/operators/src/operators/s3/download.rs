//! `S3ToLocalFilesystemOperator`: an object as a file, after the arguments of Airflow's `GCSToLocalFilesystemOperator`,
//! as its Amazon provider has none.

use std::path::PathBuf;

use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{DEFAULT, Deed, Doing, Task, bucket::Account, place};
use crate::{
    Files, Refused, Work,
    catalog::{Entry, argument::arguments},
    operators::local::Incoming,
    prepare::Job,
    work::TaskContext,
};

arguments! {
    /// The arguments of `S3ToLocalFilesystemOperator`.
    struct DownloadArgs {
        /// The key of the object, or `s3://bucket/key`.
        templated source_key: String,
        /// The bucket, unless `source_key` names it.
        templated source_bucket: Option<String>,
        /// The file. It is written beside its place and put there when it is whole. A relative path starts at the
        /// folder for what tasks write (`UPDRAFT_FILES`).
        templated filename: String,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
        /// Whether the folders that the file goes to are made where they are missing.
        plain create_intermediate_dirs: bool = false,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "S3ToLocalFilesystemOperator",
    aliases: &["s3_to_local"],
    doc: "Gets a file from a bucket of S3, of any size; it has its name when it is whole. The result is the file's path.",
    arguments: &[DownloadArgs::LIST],
    plan,
    ..DEFAULT
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(DownloadArgs::read)?;
    let from = place("source_key", args.source_bucket.as_deref(), &args.source_key);
    Ok(Task::work(Downloading {
        account: Account::of(job, &args.aws_conn_id)?,
        from: from.map_err(|bad| job.bad(bad))?,
        local: job.written(args.filename)?,
        files: job.host.files()?.clone(),
        mark: job.mark(),
        make_folders: args.create_intermediate_dirs,
    }))
}

#[derive(Debug)]
struct Downloading {
    account: Account,
    from: (String, String),
    local: PathBuf,
    files: Files,
    mark: String,
    make_folders: bool,
}

impl Deed for Downloading {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let bucket = self.account.bucket(&self.from.0)?;
            let key = bucket.key(&self.from.1)?;
            let failed = |error| bucket.failed(&format!("reading {key}"), error);
            let mut incoming =
                Incoming::begin(&self.files, &self.local, &self.mark, self.make_folders).await?;
            let mut chunks = bucket.store.get(&key).await.map_err(failed)?.into_stream();
            let mut bytes = 0;
            while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
                let written = incoming.file.write_all(&chunk).await;
                written.map_err(|error| format!("{} can't be written: {error}", self.local.display()))?;
                bytes += chunk.len();
            }
            incoming.finish().await?;
            context.log.line(&format!("got {bytes} bytes from s3://{}/{key}", self.from.0));
            Ok(json!(self.local))
        })
    }
}
