//! The operators that work on S3 and on what speaks its language, as Airflow's Amazon provider documents them.
//!
//! Other than there, the account is never taken from the worker's own environment or machine: it is in the connection.

mod bucket;
mod buckets;
mod copy;
mod download;
mod keys;
mod object;
mod sensor;
mod upload;

use std::{future::Future, pin::Pin};

use serde_json::Value;
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

pub use self::bucket::said_by_server;
use self::bucket::{Account, Fault};
pub(super) use self::{
    buckets::{CREATE as CREATE_BUCKET, DELETE as DELETE_BUCKET},
    copy::ENTRY as COPY,
    download::ENTRY as DOWNLOAD,
    keys::{DELETE, LIST},
    object::Object,
    sensor::ENTRY as SENSOR,
    upload::{CREATE, UPLOAD},
};
use super::connection::Trying;
use crate::{
    Refused, Work,
    catalog::{Entry, Written, argument::BadArgument},
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

/// What the entries of this module have in common.
const DEFAULT: Entry = Entry {
    name: "",
    aliases: &[],
    doc: "",
    takes_results: None,
    arguments: &[],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| Err(job.bad((None, "does nothing".into()))),
};

/// What an operator does: its result, or why there is none.
trait Deed: Send + Sync + std::fmt::Debug + 'static {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a>;
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send + 'a>>;

/// A deed as a task.
#[derive(Debug)]
struct Task<D>(D);

impl<D: Deed> Task<D> {
    fn work(deed: D) -> Work {
        Work::Native(Box::new(Self(deed)))
    }
}

impl<D: Deed> NativeTask for Task<D> {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.0.carry_out(&context).await {
                Ok(result) => with_result(Outcome::new(AttemptEnd::Success), Some(result)),
                // Airflow tries whatever failed again, as often as the task says; so is it here.
                Err(Fault(why)) => Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Failed) },
            }
        })
    }
}

/// Tries the account of a connection.
pub(super) fn tried(job: &Job<'_>, conn_id: &str) -> Result<Trying, Refused> {
    let account = Account::of(job, conn_id)?;
    Ok(Box::pin(async move { account.try_keys().await }))
}

/// Refuses what Airflow's operators can and these can't, rather than leave it out unsaid.
fn refuse(written: &Written<'_>, names: &[&'static str]) -> Result<(), BadArgument> {
    for name in names {
        match written.literal(name) {
            // Certificates are checked in any case.
            Some(Value::Bool(true)) if *name == "verify" => {}
            Some(Value::Bool(false)) if *name != "verify" => {}
            None => {}
            Some(_) => return Err((Some(name), "can't be had here: leave it out".into())),
        }
    }
    Ok(())
}

/// The bucket and the key of an object: a key with its bucket, or `s3://bucket/key` alone.
fn place(argument: &'static str, bucket: Option<&str>, key: &str) -> Result<(String, String), BadArgument> {
    let bad = |why: &str| (Some(argument), format!("is {key:?}, {why}"));
    let (bucket, key) = match (bucket, key.strip_prefix("s3://")) {
        (Some(_), Some(_)) => {
            return Err(bad("which names a bucket, and another argument does too: leave one out"));
        }
        (Some(bucket), None) => (bucket, key),
        (None, Some(rest)) => {
            rest.split_once('/').ok_or_else(|| bad("which has no key behind its bucket"))?
        }
        (None, None) => return Err(bad("and no bucket is named: write `s3://bucket/key`, or name it")),
    };
    Ok((bucket.to_owned(), key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_key_with_its_bucket_or_an_address() {
        let found = |bucket, key| place("key", bucket, key).map_err(|(_, why)| why);
        let lake = ("lake".to_owned(), "a/b.csv".to_owned());
        assert_eq!(found(Some("lake"), "a/b.csv"), Ok(lake.clone()));
        assert_eq!(found(None, "s3://lake/a/b.csv"), Ok(lake));
        for (bucket, key, why) in [
            (Some("lake"), "s3://lake/a", "leave one out"),
            (None, "a", "s3://bucket/key"),
            (None, "s3://lake", "no key"),
        ] {
            let refused = found(bucket, key).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
