//! What all sensors have in common: look, wait, look again. A sensor that waits is a timer and a few hundred
//! bytes, whatever `mode` says. Those whose look is a process wait in that one: they take the same arguments, and no more is
//! theirs of this.

#[cfg(any(feature = "ftp", feature = "http", feature = "s3", feature = "sql", feature = "ssh"))]
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use std::{fmt, future::Future, pin::Pin};

use jiff::{SignedDuration, Timestamp};
#[cfg(any(feature = "ftp", feature = "http", feature = "s3", feature = "sql", feature = "ssh"))]
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use updraft_core::{
    AttemptId,
    input::{AttemptEnd, Outcome},
};

use crate::{
    catalog::argument::{Duration, Interval, arguments},
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// What all sensors take, as Airflow's `BaseSensorOperator` documents it.
    pub(crate) struct SensorArgs {
        /// How long between two looks.
        plain poke_interval: Interval = Interval(SignedDuration::from_secs(60)),
        /// It fails, and is not tried again, when it has waited for so long; amid a look, too, where that is no
        /// process. 7 days, where nothing is said. A wait whose end is known when it begins has no use for it.
        plain timeout: Duration = Duration(SignedDuration::from_hours(7 * 24)),
        /// It is skipped where it would fail by its timeout.
        plain soft_fail: bool = false,
        /// It is skipped where it would fail in any way.
        plain never_fail: bool = false,
        /// A look that fails counts as one that found nothing.
        plain silent_fail: bool = false,
        /// Each wait is twice the one before.
        plain exponential_backoff: bool = false,
        /// No wait is longer.
        plain max_wait: Option<Duration>,
    } accepted {
        /// `poke` or `reschedule`. No difference here.
        mode: String,
        /// No difference here.
        deferrable: bool,
    }
}

/// A look has so long, be its sensor's timeout ever so near.
const LEAST_PATIENCE: SignedDuration = SignedDuration::from_secs(5);

/// What a sensor does each time.
pub(crate) trait Look: Send + Sync + fmt::Debug {
    /// Looks: whether what it waits for is there, or why it can't be told.
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a>;
}

/// A look.
pub(crate) type Looking<'a> = Pin<Box<dyn Future<Output = Result<Seen, String>> + Send + 'a>>;

/// What a sensor saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What it waits for.
    There,
    /// Nothing yet.
    NotYet,
    /// What it waits for will not be, and it is to be skipped.
    Skip(String),
    /// What it waits for will not be, and it is to fail (with `soft_fail`, to be skipped).
    Fail(String),
}

impl From<bool> for Seen {
    fn from(there: bool) -> Self {
        if there { Self::There } else { Self::NotYet }
    }
}

/// A sensor at work.
#[derive(Debug)]
pub(crate) struct Sensor {
    args: SensorArgs,
    attempt: AttemptId,
    began: Timestamp,
    rejoined: bool,
    look: Box<dyn Look>,
}

impl Sensor {
    pub(crate) fn new(job: &Job<'_>, args: SensorArgs, look: Box<dyn Look>) -> Self {
        let now = Timestamp::now();
        let began = job.order.task.first_started_at.unwrap_or(now);
        let rejoined = now.duration_since(began) > args.poke_interval.0;
        Self { args, attempt: job.order.attempt, began, rejoined, look }
    }

    /// A number of this sensor's own in 0..1, the same each time, by which many that begin together drift
    /// apart.
    fn phase(&self) -> f64 {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(self.attempt.ti);
        (hash >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How long to wait before look number `looks` (from 0). The first comes at once, unless the sensor is
    /// taken over from another worker, perhaps with thousands more. The second comes early by a part of the
    /// interval that is each sensor's own, so that those that began together don't stay together.
    fn wait_before(&self, looks: u32) -> SignedDuration {
        let interval = self.args.poke_interval.0;
        let wait = match looks {
            0 if self.rejoined => interval.mul_f64(self.phase()),
            0 => SignedDuration::ZERO,
            _ if self.args.exponential_backoff => {
                let factor = f64::from(looks.min(32)).exp2() / 2.0 * (1.0 + self.phase());
                SignedDuration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(interval)
            }
            1 if !self.rejoined => interval.mul_f64(1.0 - self.phase() / 2.0),
            _ => interval,
        };
        self.args.max_wait.map_or(wait, |Duration(longest)| wait.min(longest))
    }

    fn failed(&self, end: AttemptEnd, message: String) -> Outcome {
        let timed_out = end == AttemptEnd::FailedForGood;
        let end = if self.args.never_fail || (self.args.soft_fail && timed_out) {
            AttemptEnd::Skipped
        } else {
            end
        };
        Outcome { message: Some(message), ..Outcome::new(end) }
    }

    async fn watch(self: Box<Self>, context: TaskContext) -> Outcome {
        let mut looks = 0;
        loop {
            let left = self.args.timeout.0 - Timestamp::now().duration_since(self.began);
            let wait = self.wait_before(looks).min(left).max(SignedDuration::ZERO);
            // Where no wait is wanted, others still get their turn.
            tokio::time::sleep(wait.unsigned_abs()).await;
            // What it asks may never answer.
            let left = self.args.timeout.0 - Timestamp::now().duration_since(self.began);
            let patience = left.max(LEAST_PATIENCE).unsigned_abs();
            let seen = tokio::time::timeout(patience, self.look.look(&context)).await;
            match seen.unwrap_or(Ok(Seen::NotYet)) {
                Ok(Seen::There) => return Outcome::new(AttemptEnd::Success),
                Ok(Seen::NotYet) => {}
                Ok(Seen::Skip(why)) => {
                    return Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Skipped) };
                }
                Ok(Seen::Fail(why)) if self.args.soft_fail => {
                    return Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Skipped) };
                }
                Ok(Seen::Fail(why)) => return self.failed(AttemptEnd::Failed, why),
                Err(why) if self.args.silent_fail => context.log.line(&format!("this look failed: {why}")),
                Err(why) => return self.failed(AttemptEnd::Failed, why),
            }
            looks = looks.saturating_add(1);
            let waited = Timestamp::now().duration_since(self.began);
            if waited >= self.args.timeout.0 {
                let message =
                    format!("what it waits for was not there after {:#} (`timeout`)", readable(waited));
                return self.failed(AttemptEnd::FailedForGood, message);
            }
        }
    }
}

/// So many ask one server at a time; the others wait their turn. A thousand sensors are not a thousand connections.
#[cfg(any(feature = "ftp", feature = "http", feature = "s3", feature = "sql", feature = "ssh"))]
const AT_ONCE: usize = 8;

/// Whose turn it is to ask a server.
#[cfg(any(feature = "ftp", feature = "http", feature = "s3", feature = "sql", feature = "ssh"))]
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

#[cfg(any(feature = "ftp", feature = "http", feature = "s3", feature = "sql", feature = "ssh"))]
impl Turns {
    /// Waits for a turn at this server, which lasts until the permit is dropped.
    pub(crate) async fn of(&self, server: &str) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() > 1000 {
                turns.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let made = || Arc::new(Semaphore::new(AT_ONCE));
            Arc::clone(turns.entry(server.to_owned()).or_insert_with(made))
        };
        // It is never closed.
        turns.acquire_owned().await.ok()
    }
}

/// A length of time as people read it: nobody wants the nanoseconds of a minute.
fn readable(length: SignedDuration) -> SignedDuration {
    match length.as_secs() {
        0..10 => SignedDuration::from_millis_i128(length.as_millis()),
        seconds => SignedDuration::from_secs(seconds),
    }
}

impl NativeTask for Sensor {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(self.watch(context))
    }
}
