//! `S3CopyObjectOperator`, as Airflow's Amazon provider documents it.

use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use serde_json::Value;
use updraft_core::TaskKind;

use super::{DEFAULT, Deed, Doing, Task, bucket::Account, place, refuse};
use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    prepare::Job,
    work::TaskContext,
};

arguments! {
    /// The arguments of `S3CopyObjectOperator`.
    struct CopyArgs {
        /// The key of the object, or `s3://bucket/key`.
        templated source_bucket_key: String,
        /// The key of its copy, or `s3://bucket/key`.
        templated dest_bucket_key: String,
        /// The bucket, unless `source_bucket_key` names it.
        templated source_bucket_name: Option<String>,
        /// The bucket of the copy, unless `dest_bucket_key` names it. To another bucket it goes through the worker.
        templated dest_bucket_name: Option<String>,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
    } accepted {
        /// Not here.
        source_version_id: String,
        /// Only as it is: certificates are always checked.
        verify: Value,
        /// Not here.
        acl_policy: String,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "S3CopyObjectOperator",
    aliases: &["s3_copy_object", "airflow.providers.amazon.aws.operators.s3.S3CopyObjectOperator"],
    doc: "Copies an object of S3, which replaces what is there.",
    arguments: &[CopyArgs::LIST],
    kind: |written| refuse(written, &["source_version_id", "verify", "acl_policy"]).map(|()| TaskKind::Run),
    plan,
    ..DEFAULT
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(CopyArgs::read)?;
    let from = place("source_bucket_key", args.source_bucket_name.as_deref(), &args.source_bucket_key);
    let to = place("dest_bucket_key", args.dest_bucket_name.as_deref(), &args.dest_bucket_key);
    Ok(Task::work(Copying {
        account: Account::of(job, &args.aws_conn_id)?,
        from: from.map_err(|bad| job.bad(bad))?,
        to: to.map_err(|bad| job.bad(bad))?,
    }))
}

#[derive(Debug)]
struct Copying {
    account: Account,
    from: (String, String),
    to: (String, String),
}

impl Deed for Copying {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let (from, to) = (self.account.bucket(&self.from.0)?, self.account.bucket(&self.to.0)?);
            let (source, copy) = (from.key(&self.from.1)?, to.key(&self.to.1)?);
            let failed = |error| from.failed(&format!("copying {source}"), error);
            if self.from.0 == self.to.0 {
                from.store.copy(&source, &copy).await.map_err(failed)?;
            } else {
                let got = from.store.get(&source).await.map_err(failed)?;
                let length = got.meta.size;
                let chunks = got.into_stream().map_err(std::io::Error::other);
                to.write(&copy, tokio_util::io::StreamReader::new(chunks), length).await?;
            }
            context.log.line(&format!("copied s3://{}/{source} to s3://{}/{copy}", self.from.0, self.to.0));
            Ok(Value::Null)
        })
    }
}
