//! `PythonSensor`, as Airflow's standard provider documents it: calls a function until it says that what is waited for is
//! there, all in one process, which the class in `operators.py` that stands for Airflow's sensors has wait.

use serde_json::json;

use super::{FunctionArgs, SecretArgs, TAKES_RESULTS, call, kind};
use crate::{
    Refused, Work,
    catalog::{Entry, argument::Duration},
    prepare::Job,
    sensor::SensorArgs,
};

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "PythonSensor",
    aliases: &[
        "python_sensor",
        "airflow.providers.standard.sensors.python.PythonSensor",
        "airflow.sensors.python.PythonSensor",
        "airflow.contrib.sensors.python_sensor.PythonSensor",
    ],
    doc: "Waits until a Python function returns something true. Holds a slot and a process, in which it is called again \
          and again. Its result is the `xcom_value` of the `PokeReturnValue` that the function may return.",
    takes_results: TAKES_RESULTS,
    arguments: &[FunctionArgs::LIST, SecretArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind,
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(SensorArgs::read)?;
    let seconds = |Duration(length): Duration| length.as_secs_f64();
    let sensor = json!({
        "poke_interval": args.poke_interval.0.as_secs_f64(),
        "timeout": seconds(args.timeout),
        "soft_fail": args.soft_fail,
        "never_fail": args.never_fail,
        "silent_fail": args.silent_fail,
        "exponential_backoff": args.exponential_backoff,
        "max_wait": args.max_wait.map(seconds),
    });
    call(job, "sensor", [json!({"sensor": sensor})]).map(Work::Process)
}
