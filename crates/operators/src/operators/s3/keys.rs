//! `S3ListOperator` and `S3DeleteObjectsOperator`, as Airflow's Amazon provider documents them.

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    ObjectStore,
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
};
use serde_json::{Value, json};
use updraft_core::TaskKind;

use super::{
    DEFAULT, Deed, Doing, Task,
    bucket::{Account, Bucket, Fault},
    refuse,
};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{OneOrMore, arguments},
    },
    prepare::Job,
    work::TaskContext,
};

arguments! {
    /// The arguments of `S3ListOperator`.
    struct ListArgs {
        /// The bucket.
        templated bucket: String,
        /// What the keys begin with.
        templated prefix: String = String::new(),
        /// With it, only the keys that don't have it behind the prefix: `/` for those in one folder alone.
        templated delimiter: String = String::new(),
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
    } accepted {
        /// Only as it is: certificates are always checked.
        verify: Value,
        /// Not here.
        apply_wildcard: bool,
    }
}

arguments! {
    /// The arguments of `S3DeleteObjectsOperator`.
    struct DeleteArgs {
        /// The bucket.
        templated bucket: String,
        /// The key, or several in a list; what is not there is no error.
        templated keys: Option<OneOrMore>,
        /// What the keys begin with. Either this or `keys`.
        templated prefix: Option<String>,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
    } accepted {
        /// Only as it is: certificates are always checked.
        verify: Value,
        /// Not here.
        from_datetime: String,
        /// Not here.
        to_datetime: String,
    }
}

pub(in crate::operators) const LIST: Entry = Entry {
    name: "S3ListOperator",
    aliases: &["s3_list", "airflow.providers.amazon.aws.operators.s3.S3ListOperator"],
    doc: "Lists the keys in a bucket of S3. They are the result.",
    arguments: &[ListArgs::LIST],
    kind: |written| refuse(written, &["verify", "apply_wildcard"]).map(|()| TaskKind::Run),
    plan: |job| {
        let args = job.read(ListArgs::read)?;
        Ok(Task::work(Listing { account: Account::of(job, &args.aws_conn_id)?, args }))
    },
    ..DEFAULT
};

pub(in crate::operators) const DELETE: Entry = Entry {
    name: "S3DeleteObjectsOperator",
    aliases: &["s3_delete_objects", "airflow.providers.amazon.aws.operators.s3.S3DeleteObjectsOperator"],
    doc: "Deletes objects from a bucket of S3.",
    arguments: &[DeleteArgs::LIST],
    kind: |written| {
        refuse(written, &["verify", "from_datetime", "to_datetime"])?;
        if !written.may_have("keys") && !written.may_have("prefix") {
            return Err((None, "needs `keys` or `prefix`".into()));
        }
        Ok(TaskKind::Run)
    },
    plan: delete,
    ..DEFAULT
};

/// So many keys may be in a result.
const MOST_KEYS: usize = 100_000;

#[derive(Debug)]
struct Listing {
    account: Account,
    args: ListArgs,
}

impl Deed for Listing {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let bucket = self.account.bucket(&self.args.bucket)?;
            let mut keys = Vec::new();
            let mut pages = Pages::new(&bucket, &self.args.prefix, &self.args.delimiter);
            while let Some(page) = pages.next().await? {
                keys.extend(page.into_iter().map(String::from));
                if keys.len() > MOST_KEYS {
                    let why = format!(
                        "there are more than {MOST_KEYS} keys, too many for a result: give a longer `prefix`"
                    );
                    return Err(bucket.fault(why));
                }
            }
            keys.sort_unstable();
            context.log.line(&format!("{} keys begin with {:?}", keys.len(), self.args.prefix));
            Ok(json!(keys))
        })
    }
}

/// The keys of a bucket that begin with something, page by page.
pub(super) struct Pages<'a> {
    bucket: &'a Bucket,
    prefix: &'a str,
    delimiter: &'a str,
    /// Where the next page begins; `None` is behind the last.
    token: Option<Option<String>>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(bucket: &'a Bucket, prefix: &'a str, delimiter: &'a str) -> Self {
        Self { bucket, prefix, delimiter, token: Some(None) }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<Path>>, Fault> {
        let Some(page_token) = self.token.take() else { return Ok(None) };
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let options = PaginatedListOptions {
            delimiter: some(self.delimiter).map(Into::into),
            page_token,
            ..PaginatedListOptions::default()
        };
        let page = self.bucket.store.list_paginated(some(self.prefix).as_deref(), options).await;
        let page = page.map_err(|error| self.bucket.failed("listing", error))?;
        self.token = page.page_token.map(Some);
        Ok(Some(page.result.objects.into_iter().map(|object| object.location).collect()))
    }
}

fn delete(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(DeleteArgs::read)?;
    let which = match (args.keys, args.prefix) {
        (Some(OneOrMore(keys)), None) => Which::Keys(keys),
        (None, Some(prefix)) if !prefix.is_empty() => Which::Prefix(prefix),
        (None, _) => return Err(job.bad((Some("prefix"), "is empty, and would delete all there is".into()))),
        (Some(_), Some(_)) => return Err(job.bad((None, "takes either `keys` or `prefix`, not both".into()))),
    };
    Ok(Task::work(Deleting { account: Account::of(job, &args.aws_conn_id)?, bucket: args.bucket, which }))
}

#[derive(Debug)]
enum Which {
    Keys(Vec<String>),
    Prefix(String),
}

#[derive(Debug)]
struct Deleting {
    account: Account,
    bucket: String,
    which: Which,
}

impl Deed for Deleting {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let bucket = self.account.bucket(&self.bucket)?;
            let deleted = match &self.which {
                Which::Keys(keys) => {
                    let keys = keys.iter().map(|key| bucket.key(key)).collect::<Result<Vec<_>, _>>()?;
                    bucket.delete(keys).await?
                }
                Which::Prefix(prefix) => {
                    let (mut pages, mut deleted) = (Pages::new(&bucket, prefix, ""), 0);
                    while let Some(page) = pages.next().await? {
                        deleted += bucket.delete(page).await?;
                    }
                    deleted
                }
            };
            context.log.line(&format!("deleted {deleted} objects"));
            Ok(Value::Null)
        })
    }
}

impl Bucket {
    /// Deletes the objects of these keys; how many they were.
    pub(super) async fn delete(&self, keys: Vec<Path>) -> Result<usize, Fault> {
        let count = keys.len();
        let mut deleted = self.store.delete_stream(stream::iter(keys).map(Ok).boxed());
        loop {
            match deleted.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(count),
                // What is gone needs no deleting.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("deleting", error)),
            }
        }
    }
}
