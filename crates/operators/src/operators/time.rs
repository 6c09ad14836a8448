//! Waits whose end is known when they begin. With a literal argument the engine keeps them; with a template,
//! or mapped, a worker renders it and hands the time back.

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};
use updraft_core::{TaskKind, WaitRule};

use crate::{
    Refused, Work,
    catalog::{
        Argument, Entry, Written,
        argument::{BadArgument, Duration, FromArgument, Minutes, arguments},
    },
    prepare::Job,
    sensor::SensorArgs,
    template,
};

arguments! {
    /// The arguments of `TimeDeltaSensor`.
    struct TimeDeltaArgs {
        /// So long after the end of the data interval, or, where there is none, after the run was due. As in
        /// Airflow a bare number counts minutes.
        templated delta: Minutes,
    } accepted {
        /// No difference here: no wait holds a slot.
        end_from_trigger: bool,
    }
}

arguments! {
    /// The arguments of `TimeSensor`.
    struct TimeArgs {
        /// The time of the day, in the DAG's time zone.
        plain target_time: Time,
    } accepted {
        /// No difference here: no wait holds a slot.
        end_from_trigger: bool,
        /// No difference here: no wait holds a slot.
        start_from_trigger: bool,
    }
}

arguments! {
    /// The arguments of `DateTimeSensor`.
    struct DateTimeArgs {
        /// The time; one without an offset is in UTC.
        templated target_time: Timestamp,
    } accepted {
        /// No difference here: no wait holds a slot.
        trigger_kwargs: serde_json::Value,
        /// No difference here: no wait holds a slot.
        end_from_trigger: bool,
        /// No difference here: no wait holds a slot.
        start_from_trigger: bool,
    }
}

arguments! {
    /// The arguments of `WaitSensor`.
    struct WaitSensorArgs {
        /// So long after the task could begin. As in Airflow a bare number counts minutes.
        templated time_to_wait: Minutes,
    }
}

arguments! {
    /// The arguments of `WaitOperator`.
    struct WaitArgs {
        /// So many seconds after the task could begin. Either this or `delta`.
        templated seconds: Option<Duration>,
        /// So long after the task could begin; a bare number counts seconds.
        templated delta: Option<Duration>,
    }
}

const SENSOR: &[Argument] = SensorArgs::LIST;

pub(super) const TIME_DELTA_SENSOR: Entry = Entry {
    name: "TimeDeltaSensor",
    aliases: &[
        "time_delta_sensor",
        "TimeDeltaSensorAsync",
        "airflow.providers.standard.sensors.time_delta.TimeDeltaSensor",
        "airflow.providers.standard.sensors.time_delta.TimeDeltaSensorAsync",
        "airflow.sensors.time_delta.TimeDeltaSensor",
        "airflow.sensors.time_delta.TimeDeltaSensorAsync",
        "airflow.sensors.time_delta_sensor.TimeDeltaSensor",
    ],
    doc: "Waits until so long after the end of the run's data interval. Holds no slot.",
    takes_results: None,
    arguments: &[TimeDeltaArgs::LIST, SENSOR],
    template_ext: &[],
    kind: |written| literal(written, "delta", |Minutes(delta)| WaitRule::AfterInterval(delta)),
    plan: |job| {
        let run = &job.order.run;
        let base = run.data_interval.map_or(run.run_after, |(_, end)| end);
        after(job, base, job.read(TimeDeltaArgs::read)?.delta.0)
    },
};

pub(super) const TIME_SENSOR: Entry = Entry {
    name: "TimeSensor",
    aliases: &[
        "time_sensor",
        "TimeSensorAsync",
        "airflow.providers.standard.sensors.time.TimeSensor",
        "airflow.providers.standard.sensors.time.TimeSensorAsync",
        "airflow.sensors.time_sensor.TimeSensor",
        "airflow.sensors.time_sensor.TimeSensorAsync",
    ],
    doc: "Waits until a time of the day on which it begins. Holds no slot.",
    takes_results: None,
    arguments: &[TimeArgs::LIST, SENSOR],
    template_ext: &[],
    kind: |written| literal(written, "target_time", |time| WaitRule::TimeOfDay { time, zone: String::new() }),
    plan: |job| {
        let time = job.read(TimeArgs::read)?.target_time;
        let zone = TimeZone::get(&job.order.run.timezone)
            .map_err(|error| Refused::Missing(format!("the DAG's time zone: {error}")))?;
        let today = began(job).to_zoned(zone.clone()).date();
        let until = today.to_datetime(time).to_zoned(zone).map_err(|error| out_of_range(job, &error))?;
        Ok(Work::Until(until.timestamp()))
    },
};

pub(super) const DATE_TIME_SENSOR: Entry = Entry {
    name: "DateTimeSensor",
    aliases: &[
        "date_time_sensor",
        "DateTimeSensorAsync",
        "airflow.providers.standard.sensors.date_time.DateTimeSensor",
        "airflow.providers.standard.sensors.date_time.DateTimeSensorAsync",
        "airflow.sensors.date_time.DateTimeSensor",
        "airflow.sensors.date_time.DateTimeSensorAsync",
        "airflow.sensors.date_time_sensor.DateTimeSensor",
    ],
    doc: "Waits until a time. Holds no slot.",
    takes_results: None,
    arguments: &[DateTimeArgs::LIST, SENSOR],
    template_ext: &[],
    kind: |written| literal(written, "target_time", WaitRule::At),
    plan: |job| Ok(Work::Until(job.read(DateTimeArgs::read)?.target_time)),
};

pub(super) const WAIT_SENSOR: Entry = Entry {
    name: "WaitSensor",
    aliases: &[
        "wait_sensor",
        "airflow.providers.standard.sensors.time_delta.WaitSensor",
        "airflow.sensors.time_delta.WaitSensor",
    ],
    doc: "Waits for so long from when it could begin. Holds no slot.",
    takes_results: None,
    arguments: &[WaitSensorArgs::LIST, SENSOR],
    template_ext: &[],
    kind: |written| literal(written, "time_to_wait", |Minutes(delta)| WaitRule::AfterReady(delta)),
    plan: |job| after(job, began(job), job.read(WaitSensorArgs::read)?.time_to_wait.0),
};

pub(super) const WAIT_OPERATOR: Entry = Entry {
    name: "WaitOperator",
    aliases: &["wait"],
    doc: "Waits for so long from when it could begin. Holds no slot.",
    takes_results: None,
    arguments: &[WaitArgs::LIST],
    template_ext: &[],
    kind: |written| {
        match (written.literal("seconds"), written.literal("delta")) {
            (Some(_), Some(_)) => return Err((None, "takes either `seconds` or `delta`, not both".into())),
            (None, None) if !written.may_have("seconds") && !written.may_have("delta") => {
                return Err((None, "needs `seconds` or `delta`: how long it waits".into()));
            }
            _ => {}
        }
        let name = if written.literal("seconds").is_some() { "seconds" } else { "delta" };
        literal(written, name, |Duration(delta)| WaitRule::AfterReady(delta))
    },
    plan: |job| {
        let args = job.read(WaitArgs::read)?;
        let Some(Duration(delta)) = args.seconds.or(args.delta) else {
            return Err(job.bad((None, "needs `seconds` or `delta`: how long it waits".into())));
        };
        after(job, began(job), delta)
    },
};

/// The engine waits where the argument is there and no template; a worker has to look where it is not.
fn literal<T: FromArgument>(
    written: &Written<'_>,
    name: &'static str,
    rule: impl FnOnce(T) -> WaitRule,
) -> Result<TaskKind, BadArgument> {
    match written.literal(name) {
        Some(value) if !value.as_str().is_some_and(template::is_template) => {
            let value = T::from_argument(value).map_err(|wrong| (Some(name), wrong))?;
            Ok(TaskKind::Wait(rule(value)))
        }
        _ => Ok(TaskKind::Watch),
    }
}

/// When the task began: a worker that takes it over counts from where the first one did.
fn began(job: &Job<'_>) -> Timestamp {
    job.order.task.first_started_at.unwrap_or_else(Timestamp::now)
}

fn after(job: &Job<'_>, base: Timestamp, delta: SignedDuration) -> Result<Work, Refused> {
    base.checked_add(delta).map(Work::Until).map_err(|error| out_of_range(job, &error))
}

fn out_of_range(job: &Job<'_>, error: &jiff::Error) -> Refused {
    job.bad((None, format!("waits for a time that there is not: {error}")))
}
