//! `BashSensor`, as Airflow's standard provider documents it: runs a command until it ends with 0.
//!
//! Each look is a process, and only a task that holds a slot has one: so it waits in its own, between two looks in bash.

use jiff::SignedDuration;
use updraft_core::TaskKind;

use super::LONGEST_ARGUMENT;
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{Duration, ExitCodes, Strings, arguments},
    },
    prepare::Job,
    sensor::SensorArgs,
    work::{Command, ProcessPlan, ResultRule},
};

arguments! {
    /// The arguments of `BashSensor`.
    struct LookArgs {
        /// The command, or several commands. What it waits for is there when they end with exit code 0.
        templated bash_command: String,
        /// The exit code that means "not yet", or a list of these; any other but 0 is a failure, and no other try is
        /// made. Where none is given, each but 0 means "not yet".
        plain retry_exit_code: Option<ExitCodes>,
        /// The environment, in place of the worker's own unless `append_env` is set.
        templated env: Option<Strings>,
        /// Whether `env` is added to the worker's environment.
        plain append_env: bool = false,
    } accepted {
        /// The encoding of its output. Only `utf-8`; other bytes are shown as the replacement character.
        output_encoding: String,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "BashSensor",
    aliases: &[
        "bash_sensor",
        "airflow.providers.standard.sensors.bash.BashSensor",
        "airflow.sensors.bash.BashSensor",
        "airflow.contrib.sensors.bash_sensor.BashSensor",
    ],
    doc: "Waits until a command ends with exit code 0. Holds a slot and a process, in which it looks again and again.",
    takes_results: None,
    arguments: &[LookArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |written| super::only_utf_8(written).map(|()| TaskKind::Run),
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(LookArgs::read)?;
    let sensor = job.read(SensorArgs::read)?;
    if args.bash_command.len() > LONGEST_ARGUMENT {
        let mend =
            "is longer than the 120 KiB that a program can be given: put it into a script, and name that";
        return Err(job.bad((Some("bash_command"), mend.into())));
    }
    let not_yet = args
        .retry_exit_code
        .map(|ExitCodes(codes)| codes.iter().map(|code| format!(" {code} ")).collect::<String>());
    let inherit_env = args.env.is_none() || args.append_env;
    let mut env = args.env.unwrap_or_default();
    env.extend(job.airflow_variables());
    let milliseconds = |length: SignedDuration| length.as_millis().to_string();
    let arguments = vec![
        not_yet.unwrap_or_default(),
        milliseconds(sensor.poke_interval.0),
        milliseconds(sensor.max_wait.map_or(SignedDuration::ZERO, |Duration(longest)| longest)),
        milliseconds(sensor.timeout.0),
        sensor.exponential_backoff.to_string(),
        // As in Airflow, an exit code that is a failure is one for good, as is the timeout.
        if sensor.soft_fail || sensor.never_fail { "skipped" } else { "failed_for_good" }.to_owned(),
    ];
    Ok(Work::Process(ProcessPlan {
        command: Command::Script {
            text: include_str!("sensor.sh").into(),
            interpreter: vec!["bash".into()],
            arguments,
        },
        env,
        inherit_env,
        secrets: Strings::new(),
        asks: false,
        cwd: None,
        stdin: Some(args.bash_command.into_bytes()),
        result: ResultRule::Envelope,
        skip_exit_codes: Vec::new(),
        environment: None,
    }))
}
