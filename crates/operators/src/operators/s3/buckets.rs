//! `S3CreateBucketOperator` and `S3DeleteBucketOperator`, as Airflow's Amazon provider documents them.
//!
//! The library works on what is in buckets. Requests about a bucket itself it signs, and our client sends them.

use std::time::Duration;

use object_store::{
    aws::{AwsAuthorizer, AwsCredential},
    client::HttpRequest,
    path::Path,
    signer::Signer,
};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;
use updraft_core::TaskKind;

use super::{
    DEFAULT, Deed, Doing, Task,
    bucket::{Account, Bucket, Fault, REGION, of_tag, said_by_server},
    keys::Pages,
};
use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    prepare::Job,
    work::TaskContext,
};

arguments! {
    /// The arguments of `S3CreateBucketOperator`.
    struct CreateArgs {
        /// The bucket.
        templated bucket_name: String,
        /// Where it is; in the connection's region, where nothing is said.
        plain region_name: Option<String>,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
    }
}

arguments! {
    /// The arguments of `S3DeleteBucketOperator`.
    struct DeleteArgs {
        /// The bucket.
        templated bucket_name: String,
        /// Whether all objects in it are deleted before. Otherwise it is an error where there are any.
        plain force_delete: bool = false,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
    }
}

pub(in crate::operators) const CREATE: Entry = Entry {
    name: "S3CreateBucketOperator",
    aliases: &[
        "s3_create_bucket",
        "airflow.providers.amazon.aws.operators.s3.S3CreateBucketOperator",
        "airflow.providers.amazon.aws.operators.s3_bucket.S3CreateBucketOperator",
    ],
    doc: "Makes a bucket of S3, unless the account can see that there is one of this name.",
    arguments: &[CreateArgs::LIST],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| {
        let args = job.read(CreateArgs::read)?;
        let account = Account::of(job, &args.aws_conn_id)?.in_region(args.region_name);
        Ok(Task::work(Creating { account, bucket: named(job, args.bucket_name)? }))
    },
    ..DEFAULT
};

pub(in crate::operators) const DELETE: Entry = Entry {
    name: "S3DeleteBucketOperator",
    aliases: &[
        "s3_delete_bucket",
        "airflow.providers.amazon.aws.operators.s3.S3DeleteBucketOperator",
        "airflow.providers.amazon.aws.operators.s3_bucket.S3DeleteBucketOperator",
    ],
    doc: "Deletes a bucket of S3, if it is there.",
    arguments: &[DeleteArgs::LIST],
    kind: |_| Ok(TaskKind::Run),
    plan,
    ..DEFAULT
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(DeleteArgs::read)?;
    let account = Account::of(job, &args.aws_conn_id)?;
    Ok(Task::work(Deleting { account, bucket: named(job, args.bucket_name)?, force: args.force_delete }))
}

/// Refuses what would be another address than that of a bucket.
fn named(job: &Job<'_>, name: String) -> Result<String, Refused> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    if !name.is_empty() && name.chars().all(is_name) {
        return Ok(name);
    }
    let why =
        format!("is {name:?}, which is no bucket's name: it has letters, digits, dots and dashes alone");
    Err(job.bad((Some("bucket_name"), why)))
}

#[derive(Debug)]
struct Creating {
    account: Account,
    bucket: String,
}

impl Deed for Creating {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let (bucket, region) = (self.account.bucket(&self.bucket)?, self.account.region());
            if self.account.ask(&bucket, Method::HEAD, String::new()).await?.is_there(&bucket)? {
                context.log.line(&format!("the bucket {} is there already", self.bucket));
                return Ok(Value::Null);
            }
            // The first of all regions is none that may be named.
            let place = (region != REGION).then(|| {
                format!(
                    "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
                )
            });
            let answer = self.account.ask(&bucket, Method::PUT, place.unwrap_or_default()).await?;
            if !answer.status.is_success() {
                return Err(answer.refusal(&bucket, "making it"));
            }
            context.log.line(&format!("made the bucket {}", self.bucket));
            Ok(Value::Null)
        })
    }
}

#[derive(Debug)]
struct Deleting {
    account: Account,
    bucket: String,
    force: bool,
}

impl Deed for Deleting {
    fn carry_out<'a>(&'a self, context: &'a TaskContext) -> Doing<'a> {
        Box::pin(async {
            let bucket = self.account.bucket(&self.bucket)?;
            if !self.account.ask(&bucket, Method::HEAD, String::new()).await?.is_there(&bucket)? {
                context.log.line(&format!("there is no bucket {}", self.bucket));
                return Ok(Value::Null);
            }
            if self.force {
                let (mut pages, mut deleted) = (Pages::new(&bucket, "", ""), 0);
                while let Some(page) = pages.next().await? {
                    deleted += bucket.delete(page).await?;
                }
                context.log.line(&format!("deleted {deleted} objects"));
            }
            let answer = self.account.ask(&bucket, Method::DELETE, String::new()).await?;
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(answer.refusal(&bucket, "deleting it"));
            }
            context.log.line(&format!("deleted the bucket {}", self.bucket));
            Ok(Value::Null)
        })
    }
}

/// What was said about a bucket.
struct Answer {
    status: StatusCode,
    text: String,
}

impl Account {
    async fn ask(&self, bucket: &Bucket, method: Method, body: String) -> Result<Answer, Fault> {
        let unsigned = |error| bucket.failed("signing a request", error);
        let signed = bucket.store.signed_url(method.clone(), &Path::default(), PATIENCE).await;
        // That is for others to use, and not every server of S3's language knows it: the address is what is wanted.
        let mut url = signed.map_err(unsigned)?;
        url.set_query(None);
        let credential = bucket.store.credentials().get_credential().await.map_err(unsigned)?;
        self.send(&credential, &method, url, body)
            .await
            .map_err(|why| bucket.fault(format!("asking for it ({method}) failed: {why}")))
    }

    /// Sends what is signed, and takes the answer, whatever that is.
    async fn send(
        &self,
        credential: &AwsCredential,
        method: &Method,
        url: Url,
        body: String,
    ) -> Result<Answer, String> {
        let mut request = HttpRequest::new(body.clone().into());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|error| format!("{url} is no address: {error}"))?;
        let authorizer = AwsAuthorizer::new(credential, "s3", self.region());
        authorizer.try_authorize(&mut request, None).map_err(|error| error.to_string())?;
        let headers = request.headers().clone();
        let told = |error: reqwest::Error| {
            format!("{error}: check the connection's endpoint_url, and whether the server runs")
        };
        let request = self.client().request(method.clone(), url).headers(headers).timeout(PATIENCE);
        let response = request.body(body).send().await.map_err(told)?;
        let status = response.status();
        Ok(Answer { status, text: response.text().await.map_err(told)? })
    }

    /// Asks for the names of all buckets: whether the keys are known there.
    pub(super) async fn try_keys(&self) -> Result<String, String> {
        let root = self.root()?;
        let answer = self.send(&self.credential(), &Method::GET, root, String::new()).await?;
        let place = self.shown();
        match (answer.status, of_tag(&answer.text, "Code")) {
            (status, _) if status.is_success() => Ok(format!("{place} knows its keys")),
            // It says that of keys that it knows alone.
            (StatusCode::FORBIDDEN, Some("AccessDenied")) => {
                Ok(format!("{place} knows its keys, which may not list buckets"))
            }
            (status, _) => {
                let said = said_by_server(&answer.text).map(|said| format!(" ({said})")).unwrap_or_default();
                Err(format!(
                    "{place} gave {status}{said}: check the connection's login (access key id), its password (secret \
                     access key), and its extra fields endpoint_url and region_name"
                ))
            }
        }
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Answer {
    fn is_there(&self, bucket: &Bucket) -> Result<bool, Fault> {
        match self.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refusal(bucket, "looking for it")),
        }
    }

    fn refusal(&self, bucket: &Bucket, what: &str) -> Fault {
        let code = of_tag(&self.text, "Code").unwrap_or_default();
        let mend = match (self.status, code) {
            (_, "BucketNotEmpty") => ": set `force_delete: true`, or delete its objects before",
            (_, "BucketAlreadyExists") => ": another account has it, so take another name",
            (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, _) => {
                ": the account may not do that, or the bucket is another's: check the connection's login (access key \
                 id) and password (secret access key), what they may do, and the bucket's name"
            }
            (StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT, _) => {
                ": it is in another region: name that in the connection's region_name"
            }
            _ => "",
        };
        let said = said_by_server(&self.text);
        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
        bucket.fault(format!("{what} failed: {}{said}{mend}", self.status))
    }
}
