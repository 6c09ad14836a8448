//! `BranchDayOfWeekOperator` and `DayOfWeekSensor`, as Airflow's standard provider documents them.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use serde_json::{Value, json};
use updraft_core::{TaskId, TaskKind};

use super::branch::follow;
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{FromArgument, OneOrMore, arguments, found},
    },
    prepare::Job,
    sensor::{Look, Looking, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// What both take.
    struct DayArgs {
        /// The day's full name, or a list of names.
        plain week_day: Days,
        /// Whether the run's logical date says which day it is (in UTC; where it has none, the time at which it
        /// was due), and not the clock.
        plain use_task_logical_date: bool = false,
        /// The old name of `use_task_logical_date`.
        plain use_task_execution_day: bool = false,
    }
}

arguments! {
    /// What `BranchDayOfWeekOperator` takes besides.
    struct BranchArgs {
        /// The task or task group to follow on one of these days, or a list of them.
        plain follow_task_ids_if_true: OneOrMore,
        /// The task or task group to follow on all other days, or a list of them.
        plain follow_task_ids_if_false: OneOrMore,
    }
}

/// Days of the week.
#[derive(Clone, Debug, PartialEq)]
struct Days(Vec<Weekday>);

impl FromArgument for Days {
    const EXPECTS: &'static str = "a day of the week such as \"Monday\", or a list of days";

    fn from_argument(value: &Value) -> Result<Self, String> {
        let names: Option<Vec<&str>> = match value {
            Value::String(name) => Some(vec![name]),
            Value::Array(names) => names.iter().map(Value::as_str).collect(),
            // What YAML makes of `{Saturday, Sunday}`, Python's way to write a set.
            Value::Object(set) => Some(set.keys().map(String::as_str).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        };
        let days = names.map(|names| names.into_iter().map(day).collect());
        let Some(Some(days)) = days else {
            return Err(format!("must be {}; {}", Self::EXPECTS, found(value)));
        };
        Ok(Self(days))
    }
}

fn day(name: &str) -> Option<Weekday> {
    Some(match &*name.to_uppercase() {
        "MONDAY" => Weekday::Monday,
        "TUESDAY" => Weekday::Tuesday,
        "WEDNESDAY" => Weekday::Wednesday,
        "THURSDAY" => Weekday::Thursday,
        "FRIDAY" => Weekday::Friday,
        "SATURDAY" => Weekday::Saturday,
        "SUNDAY" => Weekday::Sunday,
        _ => return None,
    })
}

pub(super) const BRANCH: Entry = Entry {
    name: "BranchDayOfWeekOperator",
    aliases: &[
        "branch_day_of_week",
        "airflow.providers.standard.operators.weekday.BranchDayOfWeekOperator",
        "airflow.operators.weekday.BranchDayOfWeekOperator",
    ],
    doc: "Follows some tasks on some days of the week, and others on the other days.",
    takes_results: None,
    arguments: &[DayArgs::LIST, BranchArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| {
        let args = job.read(BranchArgs::read)?;
        let zone = TimeZone::get(&job.order.run.timezone)
            .map_err(|error| Refused::Missing(format!("the DAG's time zone: {error}")))?;
        let wanted = wanted(job)?;
        let OneOrMore(tasks) = if wanted.is_met(Timestamp::now(), zone) {
            args.follow_task_ids_if_true
        } else {
            args.follow_task_ids_if_false
        };
        let result = json!(tasks);
        follow(job, tasks.into_iter().map(TaskId::from).collect(), result)
    },
};

pub(super) const SENSOR: Entry = Entry {
    name: "DayOfWeekSensor",
    aliases: &[
        "day_of_week_sensor",
        "airflow.providers.standard.sensors.weekday.DayOfWeekSensor",
        "airflow.sensors.weekday.DayOfWeekSensor",
        "airflow.contrib.sensors.weekday_sensor.DayOfWeekSensor",
    ],
    doc: "Waits for a day of the week, in UTC. Holds no slot.",
    takes_results: None,
    arguments: &[DayArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Watch),
    plan: |job| {
        let look = Box::new(wanted(job)?);
        Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, look))))
    },
};

/// Which days are wanted, and which one it is where the run says it.
#[derive(Debug)]
struct Wanted {
    days: Vec<Weekday>,
    of_run: Option<Weekday>,
}

fn wanted(job: &Job<'_>) -> Result<Wanted, Refused> {
    let args = job.read(DayArgs::read)?;
    let run = &job.order.run;
    let by_run = args.use_task_logical_date || args.use_task_execution_day;
    let of_run = by_run.then(|| weekday(run.logical_date.unwrap_or(run.run_after), TimeZone::UTC));
    Ok(Wanted { days: args.week_day.0, of_run })
}

fn weekday(time: Timestamp, zone: TimeZone) -> Weekday {
    time.to_zoned(zone).weekday()
}

impl Wanted {
    /// Whether it is one of the days, by the run or else by the clock in this zone.
    fn is_met(&self, now: Timestamp, zone: TimeZone) -> bool {
        self.days.contains(&self.of_run.unwrap_or_else(|| weekday(now, zone)))
    }
}

impl Look for Wanted {
    fn look<'a>(&'a self, _: &'a TaskContext) -> Looking<'a> {
        Box::pin(async { Ok(self.is_met(Timestamp::now(), TimeZone::UTC).into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_by_their_full_names_one_or_more() {
        let read = |value| Days::from_argument(&value).map(|Days(days)| days);
        assert_eq!(read(json!("Monday")), Ok(vec![Weekday::Monday]));
        assert_eq!(read(json!(["SATURDAY", "sunday"])), Ok(vec![Weekday::Saturday, Weekday::Sunday]));
        assert_eq!(read(json!({"Friday": null})), Ok(vec![Weekday::Friday]));
        for wrong in [json!("Mon"), json!(["Monday", "Lundi"]), json!(1), json!([1])] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_clock_says_the_day_in_its_zone_unless_the_run_does() {
        // A Sunday evening in UTC, and Monday morning in Tokyo.
        let now: Timestamp = "2026-02-01T20:00:00Z".parse().unwrap();
        let tokyo = || TimeZone::get("Asia/Tokyo").unwrap();
        let wanted = Wanted { days: vec![Weekday::Monday], of_run: None };
        assert!(wanted.is_met(now, tokyo()));
        assert!(!wanted.is_met(now, TimeZone::UTC));
        let wanted = Wanted { of_run: Some(Weekday::Sunday), ..wanted };
        assert!(!wanted.is_met(now, tokyo()));
    }
}
