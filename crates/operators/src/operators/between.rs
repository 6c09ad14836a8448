//! `BranchDateTimeOperator`, as Airflow's standard provider documents it.

use jiff::{
    Timestamp, ToSpan as _,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use serde_json::{Value, json};
use updraft_core::{TaskId, TaskKind};

use super::branch::follow;
use crate::{
    Refused,
    catalog::{
        Entry,
        argument::{FromArgument, OneOrMore, arguments, found},
    },
};

arguments! {
    /// The arguments of `BranchDateTimeOperator`.
    struct Args {
        /// Not before this: a time, or one of each day. One without a zone is in the DAG's.
        plain target_lower: Option<Target>,
        /// Not after this; of two times of the day it is the next day's where it is the earlier one.
        plain target_upper: Option<Target>,
        /// Whether the run's logical date (where it has none, the time at which it was due) is between them, and not the
        /// time.
        plain use_task_logical_date: bool = false,
        /// The task or task group to follow between them, or a list of them.
        plain follow_task_ids_if_true: OneOrMore,
        /// The task or task group to follow before and after, or a list of them.
        plain follow_task_ids_if_false: OneOrMore,
    }
}

/// One end of a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    At(Timestamp),
    /// By the clocks of the DAG's zone.
    Local(DateTime),
    /// The same, on whatever day it is (in UTC).
    Daily(Time),
}

impl FromArgument for Target {
    const EXPECTS: &'static str =
        "a time such as \"2026-01-31T18:30:00+00:00\", or one of the day such as \"18:30\"";

    fn from_argument(value: &Value) -> Result<Self, String> {
        let moment = value.as_str().and_then(|text| {
            let text = text.trim();
            text.parse().map(Self::At).or_else(|_| text.parse().map(Self::Local)).ok()
        });
        // A time of the day could be read as no moment.
        let daily = Time::from_argument(value).ok().map(Self::Daily);
        daily.or(moment).ok_or_else(|| format!("must be {}; {}", Self::EXPECTS, found(value)))
    }
}

pub(super) const BRANCH: Entry = Entry {
    name: "BranchDateTimeOperator",
    aliases: &[
        "branch_datetime",
        "airflow.providers.standard.operators.datetime.BranchDateTimeOperator",
        "airflow.operators.datetime.BranchDateTimeOperator",
    ],
    doc: "Follows some tasks within a span of time, and others before and after it.",
    takes_results: None,
    arguments: &[Args::LIST],
    template_ext: &[],
    kind: |written| match ["target_lower", "target_upper"].iter().any(|name| written.may_have(name)) {
        true => Ok(TaskKind::Run),
        false => Err((Some("target_lower"), "is there, or `target_upper` is, or both".into())),
    },
    plan: |job| {
        let args = job.read(Args::read)?;
        let run = &job.order.run;
        let zone = TimeZone::get(&run.timezone)
            .map_err(|error| Refused::Missing(format!("the DAG's time zone: {error}")))?;
        let now = match args.use_task_logical_date {
            true => run.logical_date.unwrap_or(run.run_after),
            false => Timestamp::now(),
        };
        let between = is_between(now, args.target_lower, args.target_upper, &zone)
            .map_err(|error| Refused::Missing(format!("the span of time: {error}")))?;
        let OneOrMore(tasks) =
            if between { args.follow_task_ids_if_true } else { args.follow_task_ids_if_false };
        let result = json!(tasks);
        follow(job, tasks.into_iter().map(TaskId::from).collect(), result)
    },
};

fn is_between(
    now: Timestamp,
    lower: Option<Target>,
    upper: Option<Target>,
    zone: &TimeZone,
) -> Result<bool, jiff::Error> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let local = |target: Option<Target>| match target? {
        Target::At(_) => None,
        Target::Local(time) => Some(time),
        Target::Daily(time) => Some(today.to_datetime(time)),
    };
    let is_daily = |target| matches!(target, Some(Target::Daily(_)));
    let (from, mut to) = (local(lower), local(upper));
    if let (Some(from), Some(until)) = (from, to)
        && until < from
        && (is_daily(lower) || is_daily(upper))
    {
        to = Some(until.checked_add(1.day())?);
    }
    let moment = |target: Option<Target>, local: Option<DateTime>| match (target, local) {
        (Some(Target::At(time)), _) => Ok(Some(time)),
        (_, Some(local)) => zone.to_timestamp(local).map(Some),
        (_, None) => Ok(None),
    };
    let (lower, upper) = (moment(lower, from)?, moment(upper, to)?);
    Ok(lower.is_none_or(|lower| lower <= now) && upper.is_none_or(|upper| now <= upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(now: &str, lower: Value, upper: Value) -> bool {
        let target = |value: Value| (!value.is_null()).then(|| Target::from_argument(&value).unwrap());
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        is_between(now.parse().unwrap(), target(lower), target(upper), &zone).unwrap()
    }

    #[test]
    fn a_span_may_be_open_daily_or_over_midnight() {
        for (now, lower, upper, expected) in [
            ("2026-01-31T09:00:00Z", json!("10:00"), json!("11:00"), true),
            ("2026-01-31T10:00:01Z", json!("10:00"), json!("11:00"), false),
            ("2026-01-31T08:59:59Z", json!("10:00:00"), Value::Null, false),
            ("2026-01-31T22:30:00Z", json!("23:00"), json!("05:00"), true),
            ("2026-01-31T12:00:00Z", json!("23:00"), json!("05:00"), false),
            ("2026-01-31T12:00:00Z", Value::Null, json!("2026-01-31T13:00:00"), true),
            ("2026-01-31T12:00:01Z", Value::Null, json!("2026-01-31T13:00:00"), false),
            ("2026-01-31T12:00:00Z", json!("2026-01-31T12:00:00+00:00"), json!("2026-02-01T00:00:00Z"), true),
            // Of two moments the earlier one is no next day's.
            ("2026-01-31T12:00:00Z", json!("2026-01-31T20:00:00"), json!("2026-01-31T10:00:00"), false),
        ] {
            assert_eq!(between(now, lower.clone(), upper.clone()), expected, "{now} {lower} {upper}");
        }
    }
}
