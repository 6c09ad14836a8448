//! `TriggerDagRunOperator`, `ExternalTaskSensor` and `LatestOnlyOperator`, as Airflow's standard provider
//! documents them: what concerns other runs.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_core::{
    AttemptId, DagId, GroupId, RunId, RunState, TaskId, TaskKind, TiStateName, XcomValue,
    input::{AttemptEnd, Outcome},
    protocol::{OrderRun, RunGiven, RunWanted, States, StatesWanted, WhichRun},
    record::RunType,
};

use super::{
    branch::follow,
    python::{Function, dates_of},
};
use crate::{
    HostError, Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, Interval, MapOrJson, OneOrMore, Shift, arguments},
    },
    prepare::Job,
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `TriggerDagRunOperator`.
    struct TriggerArgs {
        /// The DAG.
        templated trigger_dag_id: String,
        /// The run's name; made from the time where none is given.
        templated trigger_run_id: Option<String>,
        /// The run's parameters; a text is read as JSON.
        templated conf: MapOrJson,
        /// The run's logical date; the time at which the task begins, where neither this nor `run_after` is there. `null`
        /// for none.
        templated logical_date: Option<Timestamp>,
        /// The old name of `logical_date`.
        templated execution_date: Option<Timestamp>,
        /// The run does not begin before this.
        plain run_after: Option<Timestamp>,
        /// A run that is there already begins anew.
        plain reset_dag_run: bool = false,
        /// Stays until the run is over. Holds no slot.
        templated wait_for_completion: bool = false,
        /// How long between two looks at the run.
        plain poke_interval: Interval = Interval(jiff::SignedDuration::from_secs(60)),
        /// The run is well in one of these states; `success`, where nothing is said.
        plain allowed_states: OneOrMore = OneOrMore(vec!["success".into()]),
        /// The task fails where the run is in one of these states; `failed`, where nothing is said.
        plain failed_states: OneOrMore = OneOrMore(vec!["failed".into()]),
        /// Is skipped where there is such a run already.
        templated skip_when_already_exists: bool = false,
        /// Fails where the DAG is paused.
        plain fail_when_dag_is_paused: bool = false,
        /// What is noted on the run.
        plain note: Option<String>,
    } accepted {
        /// No difference here: a task that waits holds no slot.
        deferrable: bool,
        /// There is no OpenLineage here.
        openlineage_inject_parent_info: bool,
    }
}

pub(super) const TRIGGER: Entry = Entry {
    name: "TriggerDagRunOperator",
    aliases: &[
        "trigger_dag_run",
        "trigger",
        "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator",
        "airflow.operators.trigger_dagrun.TriggerDagRunOperator",
    ],
    doc: "Makes a run of another DAG, waiting for its end or not. Tried again since an attempt was lost, it makes no \
          second one.",
    takes_results: None,
    arguments: &[TriggerArgs::LIST],
    template_ext: &[],
    kind: |written| {
        states_of::<RunState>(written, &["allowed_states", "failed_states"])?;
        Ok(match written.literal("wait_for_completion") {
            None | Some(Value::Bool(false)) => TaskKind::Run,
            Some(_) => TaskKind::Watch,
        })
    },
    plan: |job| {
        let args = job.read(TriggerArgs::read)?;
        let attempt = job.order.attempt;
        let says = |name: &str| job.order.args.contains_key(name);
        let is_undated = says("logical_date") || says("execution_date") || args.run_after.is_some();
        let begins = (!is_undated).then(Timestamp::now);
        let wanted = RunWanted {
            attempt,
            dag_id: args.trigger_dag_id.as_str().into(),
            run_id: args.trigger_run_id.filter(|run_id| !run_id.is_empty()).map(Into::into),
            logical_date: args.logical_date.or(args.execution_date).or(begins),
            run_after: args.run_after,
            conf: args.conf.0,
            reset: args.reset_dag_run,
            unless_paused: args.fail_when_dag_is_paused,
            note: args.note.filter(|note| !note.is_empty()),
        };
        let until = Until {
            allowed: read_states(&args.allowed_states),
            failed: read_states(&args.failed_states),
            look_every: args.poke_interval.0.unsigned_abs(),
        };
        let wait = args.wait_for_completion.then_some(until);
        Ok(Work::Native(Box::new(Triggering { wanted, wait, skips: args.skip_when_already_exists })))
    },
};

/// A run to be made.
#[derive(Debug)]
struct Triggering {
    wanted: RunWanted,
    wait: Option<Until>,
    skips: bool,
}

/// What ends the wait for a run.
#[derive(Debug)]
struct Until {
    allowed: Vec<RunState>,
    failed: Vec<RunState>,
    look_every: std::time::Duration,
}

impl NativeTask for Triggering {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let said = self.carry_out(&context).await;
            said.unwrap_or_else(|HostError(why)| failed(AttemptEnd::Failed, why))
        })
    }
}

fn failed(end: AttemptEnd, why: String) -> Outcome {
    Outcome { message: Some(why), ..Outcome::new(end) }
}

impl Triggering {
    async fn carry_out(self, context: &TaskContext) -> Result<Outcome, HostError> {
        let dag_id = self.wanted.dag_id.clone();
        let attempt = self.wanted.attempt;
        let run_id = match context.server.give_run(self.wanted).await? {
            RunGiven::Made(run_id) => run_id,
            RunGiven::Exists(run_id) if self.skips => {
                let why = format!("the DAG `{dag_id}` has the run `{run_id}` already");
                return Ok(failed(AttemptEnd::Skipped, why));
            }
            RunGiven::Exists(run_id) => {
                let why = format!(
                    "the DAG `{dag_id}` has the run `{run_id}` already: take another trigger_run_id or logical_date, \
                     or set reset_dag_run or skip_when_already_exists"
                );
                return Ok(failed(AttemptEnd::Failed, why));
            }
            RunGiven::Refused(why) => return Ok(failed(AttemptEnd::Failed, why)),
        };
        context.log.line(&format!("the run `{run_id}` of the DAG `{dag_id}` was made"));
        let mut outcome = match self.wait {
            Some(until) => until.over(context, attempt, &dag_id, &run_id).await?,
            None => Outcome::new(AttemptEnd::Success),
        };
        let value = XcomValue::Inline(json!(run_id).into());
        outcome.xcoms.push(("trigger_run_id".into(), value));
        Ok(outcome)
    }
}

impl Until {
    /// Waits for the end of a run.
    async fn over(
        self,
        context: &TaskContext,
        attempt: AttemptId,
        dag_id: &DagId,
        run_id: &RunId,
    ) -> Result<Outcome, HostError> {
        loop {
            let wanted = StatesWanted {
                attempt,
                dag_id: dag_id.clone(),
                run: WhichRun::Named(run_id.clone()),
                tasks: Vec::new(),
                group: None,
            };
            let Some(state) = context.server.states(wanted).await?.run else {
                let why = format!("the run `{run_id}` of the DAG `{dag_id}` was deleted");
                return Ok(failed(AttemptEnd::Failed, why));
            };
            if self.failed.contains(&state) {
                let why = format!("the run `{run_id}` of the DAG `{dag_id}` is {state}");
                return Ok(failed(AttemptEnd::Failed, why));
            }
            if self.allowed.contains(&state) {
                context.log.line(&format!("the run `{run_id}` of the DAG `{dag_id}` is {state}"));
                return Ok(Outcome::new(AttemptEnd::Success));
            }
            tokio::time::sleep(self.look_every).await;
        }
    }
}

arguments! {
    /// The arguments of `ExternalTaskSensor`.
    struct ExternalArgs {
        /// The DAG.
        templated external_dag_id: String,
        /// The task to wait for; the run, where neither tasks nor a task group are named.
        templated external_task_id: Option<String>,
        /// The tasks to wait for.
        templated external_task_ids: OneOrMore = OneOrMore(Vec::new()),
        /// The task group to wait for.
        templated external_task_group_id: Option<String>,
        /// It is there in one of these states; `success`, where nothing is said.
        plain allowed_states: OneOrMore = OneOrMore(vec!["success".into()]),
        /// Is skipped where it is in one of these states.
        plain skipped_states: OneOrMore = OneOrMore(Vec::new()),
        /// Fails where it is in one of these states.
        plain failed_states: OneOrMore = OneOrMore(Vec::new()),
        /// The run looked at has a logical date that is earlier by this; the same, where nothing is said.
        plain execution_delta: Option<Shift>,
        /// The dotted path to a Python function, `package.module.function`, that is called with the logical date, and what
        /// else of the context its signature names. It returns the logical date of the run to look at, or a list of them.
        plain execution_date_fn: Option<String>,
        /// The function's name in `execution_date_fn_file`.
        plain execution_date_fn_name: Option<String>,
        /// The Python file; a relative path starts at the DAG file's folder.
        plain execution_date_fn_file: Option<String>,
        /// Fails where the DAG, the tasks or the task group do not exist.
        plain check_existence: bool = false,
    }
}

const STATES: &[&str] = &["allowed_states", "skipped_states", "failed_states"];

pub(super) const EXTERNAL: Entry = Entry {
    name: "ExternalTaskSensor",
    aliases: &[
        "external_task_sensor",
        "external_task",
        "airflow.providers.standard.sensors.external_task.ExternalTaskSensor",
        "airflow.sensors.external_task.ExternalTaskSensor",
        "airflow.sensors.external_task_sensor.ExternalTaskSensor",
    ],
    doc: "Waits for a run of another DAG with the same logical date, or for tasks of it. Holds no slot.",
    takes_results: None,
    arguments: &[ExternalArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |written| {
        if DATE_FUNCTION.is_given(written)? && written.may_have("execution_delta") {
            return Err((
                Some("execution_delta"),
                "is one way to the date, the function another: keep one".into(),
            ));
        }
        let of = ["external_task_id", "external_task_ids", "external_task_group_id"];
        let several = of.iter().filter(|name| written.literal(name).is_some()).count() > 1;
        match of.iter().any(|name| written.may_have(name)) {
            false => states_of::<RunState>(written, STATES)?,
            true if !several => states_of::<TiStateName>(written, STATES)?,
            true => {
                return Err((
                    None,
                    format!("takes one of {}, not several", of.map(|name| format!("`{name}`")).join(", ")),
                ));
            }
        }
        Ok(TaskKind::Watch)
    },
    plan: |job| {
        let args = job.read(ExternalArgs::read)?;
        let function = [args.execution_date_fn, args.execution_date_fn_name, args.execution_date_fn_file];
        let dates = match DATE_FUNCTION.callable(job, function) {
            Some(function) => dates_of(job, function)?,
            None => vec![earlier(&job.order.run, args.execution_delta)?],
        };
        let mut tasks: Vec<TaskId> = args.external_task_ids.0.into_iter().map(Into::into).collect();
        tasks.extend(args.external_task_id.filter(|task| !task.is_empty()).map(Into::into));
        let group = args.external_task_group_id.filter(|group| !group.is_empty()).map(GroupId::from);
        let dag_id: DagId = args.external_dag_id.into();
        let wanted = |date| StatesWanted {
            attempt: job.order.attempt,
            dag_id: dag_id.clone(),
            run: WhichRun::Dated(date),
            tasks: tasks.clone(),
            group: group.clone(),
        };
        let look = ExternalLook {
            wanted: dates.into_iter().map(|date| (date, wanted(date))).collect(),
            allowed: args.allowed_states.0,
            skipped: args.skipped_states.0,
            failed: args.failed_states.0,
            check_existence: args.check_existence,
        };
        Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, Box::new(look)))))
    },
};

const DATE_FUNCTION: Function =
    Function { dotted: "execution_date_fn", name: "execution_date_fn_name", file: "execution_date_fn_file" };

/// The logical date to look at where no function says it.
fn earlier(run: &OrderRun, by: Option<Shift>) -> Result<Timestamp, Refused> {
    let date = run.logical_date.unwrap_or(run.run_after);
    let delta = by.map_or(jiff::SignedDuration::ZERO, |Shift(delta)| delta);
    date.checked_sub(delta).map_err(|error| Refused::Missing(format!("execution_delta: {error}")))
}

/// What is looked at, and what it means.
#[derive(Debug)]
struct ExternalLook {
    /// For each run its logical date, and what is asked of it.
    wanted: Vec<(Timestamp, StatesWanted)>,
    allowed: Vec<String>,
    skipped: Vec<String>,
    failed: Vec<String>,
    check_existence: bool,
}

impl Look for ExternalLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            let mut all = Seen::There;
            for (date, wanted) in &self.wanted {
                let states = context.server.states(wanted.clone()).await;
                let seen = self.judge(*date, wanted, &states.map_err(|HostError(why)| why)?);
                all = match (all, seen) {
                    (_, fail @ Seen::Fail(_)) => return Ok(fail),
                    (skip @ Seen::Skip(_), _) | (_, skip @ Seen::Skip(_)) => skip,
                    (Seen::There, seen) => seen,
                    (all, _) => all,
                };
            }
            Ok(all)
        })
    }
}

impl ExternalLook {
    fn judge(&self, date: Timestamp, wanted: &StatesWanted, states: &States) -> Seen {
        if let Some(missing) = states.missing.as_ref().filter(|_| self.check_existence) {
            return Seen::Fail(missing.clone());
        }
        let of_tasks = !wanted.tasks.is_empty() || wanted.group.is_some();
        let now: Vec<(&str, Option<&str>)> = match of_tasks {
            false => vec![("the run", states.run.map(RunState::as_str))],
            true => states
                .tasks
                .iter()
                .flat_map(|(task, copies)| {
                    let none = copies.is_empty().then_some((&**task, None));
                    none.into_iter().chain(copies.iter().map(|state| (&**task, Some(state.as_str()))))
                })
                .collect(),
        };
        let one_of = |list: &[String]| {
            let is_one = |state: Option<&str>| state.is_some_and(|state| list.iter().any(|one| one == state));
            now.iter().find(|(_, state)| is_one(*state)).map(|(what, state)| {
                let state = state.unwrap_or_default();
                format!("{what} of {date} in the DAG `{}` is {state}", wanted.dag_id)
            })
        };
        if let Some(why) = one_of(&self.failed) {
            return Seen::Fail(why);
        }
        if let Some(why) = one_of(&self.skipped) {
            return Seen::Skip(why);
        }
        let well =
            |state: &Option<&str>| state.is_some_and(|state| self.allowed.iter().any(|one| one == state));
        (states.missing.is_none() && !now.is_empty() && now.iter().all(|(_, state)| well(state))).into()
    }
}

/// Refuses states that there are not.
fn states_of<S: FromStr>(written: &Written<'_>, arguments: &[&'static str]) -> Result<(), BadArgument> {
    for name in arguments {
        let states = written.literal(name).and_then(Value::as_array).into_iter().flatten();
        if let Some(wrong) = states.filter_map(Value::as_str).find(|state| state.parse::<S>().is_err()) {
            return Err((Some(name), format!("names the state `{wrong}`, which there is not")));
        }
    }
    Ok(())
}

fn read_states(states: &OneOrMore) -> Vec<RunState> {
    states.0.iter().filter_map(|state| state.parse().ok()).collect()
}

pub(super) const LATEST_ONLY: Entry = Entry {
    name: "LatestOnlyOperator",
    aliases: &[
        "latest_only",
        "airflow.providers.standard.operators.latest_only.LatestOnlyOperator",
        "airflow.operators.latest_only.LatestOnlyOperator",
    ],
    doc: "Skips the tasks after it where the run is not its schedule's latest. Runs made by hand go on.",
    takes_results: None,
    arguments: &[],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| {
        let after = if is_latest(job)? { job.order.task.downstream.clone() } else { Vec::new() };
        let result = json!(after);
        follow(job, after, result)
    },
};

fn is_latest(job: &Job<'_>) -> Result<bool, Refused> {
    let run = &job.order.run;
    if run.run_type == RunType::Manual {
        return Ok(true);
    }
    let begins = run.data_interval.map(|(begins, _)| begins);
    let begins = begins.or(run.logical_date).unwrap_or(run.run_after);
    let now = Timestamp::now();
    // Where no run is to come after it, it stays the latest.
    Ok(job.host.next_interval()?.is_none_or(|next| begins < now && now <= next.end))
}
