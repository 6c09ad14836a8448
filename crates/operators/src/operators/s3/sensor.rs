//! `S3KeySensor`, as Airflow's Amazon provider documents it: waits until there are objects.

use glob::{MatchOptions, Pattern};
use serde_json::Value;
use updraft_core::TaskKind;

use super::{
    DEFAULT,
    bucket::{Account, Fault},
    keys::Pages,
    place, refuse,
};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{OneOrMore, arguments},
    },
    prepare::Job,
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// The arguments of `S3KeySensor`.
    struct LookArgs {
        /// The key, or `s3://bucket/key`, or several in a list, of which all must be there.
        templated bucket_key: OneOrMore,
        /// The bucket, unless `bucket_key` names it.
        templated bucket_name: Option<String>,
        /// Whether `*`, `?` and `[…]` in a key stand for many.
        plain wildcard_match: bool = false,
        /// The connection, of type aws.
        templated aws_conn_id: String = "aws_default".to_owned(),
    } accepted {
        /// Not here: a Python callable can't be called.
        check_fn: Value,
        /// Not here.
        use_regex: bool,
        /// Only as it is: certificates are always checked.
        verify: Value,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "S3KeySensor",
    aliases: &[
        "s3_key_sensor",
        "airflow.providers.amazon.aws.sensors.s3.S3KeySensor",
        "airflow.providers.amazon.aws.sensors.s3_key.S3KeySensor",
        "airflow.sensors.s3_key_sensor.S3KeySensor",
    ],
    doc: "Waits until there are objects in a bucket of S3. Holds no slot.",
    arguments: &[LookArgs::LIST, SensorArgs::LIST],
    kind: |written| refuse(written, &["check_fn", "use_regex", "verify"]).map(|()| TaskKind::Watch),
    plan,
    ..DEFAULT
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(LookArgs::read)?;
    let wanted = args.bucket_key.0.iter().map(|key| {
        let (bucket, key) = place("bucket_key", args.bucket_name.as_deref(), key)?;
        let pattern = args.wildcard_match.then(|| Pattern::new(&key)).transpose();
        let pattern = pattern.map_err(|error| (Some("bucket_key"), format!("has no pattern: {error}")))?;
        Ok(Wanted { bucket, key, pattern })
    });
    let wanted: Vec<_> = wanted.collect::<Result<_, _>>().map_err(|bad| job.bad(bad))?;
    if wanted.is_empty() {
        return Err(job.bad((Some("bucket_key"), "names nothing".into())));
    }
    let look = Box::new(KeyLook { account: Account::of(job, &args.aws_conn_id)?, wanted });
    Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, look))))
}

#[derive(Debug)]
struct Wanted {
    bucket: String,
    key: String,
    pattern: Option<Pattern>,
}

#[derive(Debug)]
struct KeyLook {
    account: Account,
    wanted: Vec<Wanted>,
}

impl Look for KeyLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            for wanted in &self.wanted {
                let _turn = context.shared.turns.of(&self.account.shown()).await;
                let Some(found) = self.find(wanted).await.map_err(|fault| fault.to_string())? else {
                    return Ok(Seen::NotYet);
                };
                context.log.line(&format!("found s3://{}/{found}", wanted.bucket));
            }
            Ok(Seen::There)
        })
    }
}

impl KeyLook {
    async fn find(&self, wanted: &Wanted) -> Result<Option<String>, Fault> {
        let bucket = self.account.bucket(&wanted.bucket)?;
        let Some(pattern) = &wanted.pattern else {
            let there = bucket.has(&bucket.key(&wanted.key)?).await?;
            return Ok(there.then(|| wanted.key.clone()));
        };
        let plain = wanted.key.find(['*', '?', '[']).unwrap_or(wanted.key.len());
        let mut pages = Pages::new(&bucket, &wanted.key[..plain], "");
        while let Some(page) = pages.next().await? {
            // As Python's `fnmatch`: a star stands for a slash too.
            let fits = |key: &str| pattern.matches_with(key, MatchOptions::new());
            if let Some(key) = page.iter().find(|key| fits(key.as_ref())) {
                return Ok(Some(key.to_string()));
            }
        }
        Ok(None)
    }
}
