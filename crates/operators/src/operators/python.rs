//! `PythonOperator`, `BranchPythonOperator`, `ShortCircuitOperator`: a function of a Python file, called in
//! a process of its own by the runner `python/runner.py`. The same in a Python of their own: [`apart`]. Operators that
//! are classes of their authors: [`class`]. One that waits until a function says so: [`sensor`].

pub(super) mod apart;
pub mod callback;
#[cfg(any(feature = "http", feature = "sql"))]
pub(super) mod check;
pub(crate) mod class;
pub(super) mod sensor;

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use updraft_core::{TaskKind, input::AttemptEnd, protocol::Order};

use crate::{
    HostError, Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, OneOrMore, Strings, arguments},
        class_of,
    },
    files::Files,
    prepare::{Job, airflow_variables, folder},
    template::{isoformat, log_url},
    work::{Command, ProcessPlan, ResultRule},
};

arguments! {
    /// The function, and what it is called with.
    pub(super) struct FunctionArgs {
        /// The function with the dotted path to it: `package.module.function`, looked for in the DAG file's
        /// folder and in that of all DAG files too. Either this, or `python_callable_name` and `python_callable_file`.
        plain python_callable: Option<String>,
        /// The function's name in `python_callable_file`.
        plain python_callable_name: Option<String>,
        /// The Python file; a relative path starts at the DAG file's folder.
        plain python_callable_file: Option<String>,
        /// Its positional arguments.
        objects op_args: Vec<Value>,
        /// Its keyword arguments. Those of Airflow's context that its signature names are added.
        objects op_kwargs: Map<String, Value>,
        /// Rendered, and in the context as `templates_dict`.
        templated templates_dict: Option<Map<String, Value>>,
    } accepted {
        /// A text in arguments that are templates and ends so, such as `.sql`, is the name of a file that is one.
        templates_exts: OneOrMore,
    }
}

arguments! {
    /// What only its process is to know.
    struct SecretArgs {
        /// Secrets, handed over where no other process sees them: for `PASSWORD: "{{ conn.db.password }}"` the
        /// function reads the text from the descriptor whose number is in `PASSWORD_FD` of its environment.
        templated secrets: Strings = Strings::new(),
    }
}

arguments! {
    /// What is done with what it returns.
    struct ReturnArgs {
        /// Whether each entry of what it returns, a dict, is left under a name of its own, too.
        plain multiple_outputs: bool = false,
        /// Whether its result is shown in the log.
        plain show_return_value_in_logs: bool = true,
    }
}

arguments! {
    /// What those take besides that may skip all that comes after them.
    pub(super) struct ShortCircuitArgs {
        /// Whether all tasks after it are skipped, or only those directly after it, the others being left
        /// to their trigger rules.
        plain ignore_downstream_trigger_rules: bool = true,
    }
}

/// What calls a function, or carries out a class.
const RUNNER: &str = concat!(
    include_str!("python/runner.py"),
    "\n\n",
    include_str!("python/asked.py"),
    "\n\n",
    include_str!("python/assets.py"),
    "\n\n",
    include_str!("python/airflow.py"),
    "\n\n",
    include_str!("python/operators.py"),
    "\n\nmain()\n"
);
pub(super) const TAKES_RESULTS: Option<&str> = Some("positional arguments, behind `op_args`");

pub(super) const PYTHON: Entry = Entry {
    name: "PythonOperator",
    aliases: &[
        "python",
        "airflow.providers.standard.operators.python.PythonOperator",
        "airflow.operators.python.PythonOperator",
        "airflow.operators.python_operator.PythonOperator",
    ],
    doc: "Calls a Python function in a process of its own. What it returns, as JSON, is its result.",
    takes_results: TAKES_RESULTS,
    arguments: &[FunctionArgs::LIST, SecretArgs::LIST, ReturnArgs::LIST],
    template_ext: &[],
    kind,
    plan: |job| plan(job, "python", false),
};

pub(super) const BRANCH: Entry = Entry {
    name: "BranchPythonOperator",
    aliases: &[
        "branch_python",
        "airflow.providers.standard.operators.python.BranchPythonOperator",
        "airflow.operators.python.BranchPythonOperator",
        "airflow.operators.python_operator.BranchPythonOperator",
    ],
    doc: "Calls a Python function that returns the id of the task to follow, or a list of ids; of the tasks \
          directly after it, the others are skipped.",
    takes_results: TAKES_RESULTS,
    arguments: &[FunctionArgs::LIST, SecretArgs::LIST, ReturnArgs::LIST],
    template_ext: &[],
    kind,
    plan: |job| plan(job, "branch", false),
};

pub(super) const SHORT_CIRCUIT: Entry = Entry {
    name: "ShortCircuitOperator",
    aliases: &[
        "short_circuit",
        "airflow.providers.standard.operators.python.ShortCircuitOperator",
        "airflow.operators.python.ShortCircuitOperator",
        "airflow.operators.python_operator.ShortCircuitOperator",
    ],
    doc: "Calls a Python function; where what it returns is false or empty, the tasks after it are skipped.",
    takes_results: TAKES_RESULTS,
    arguments: &[FunctionArgs::LIST, SecretArgs::LIST, ReturnArgs::LIST, ShortCircuitArgs::LIST],
    template_ext: &[],
    kind,
    plan: |job| {
        let all = job.read(ShortCircuitArgs::read)?.ignore_downstream_trigger_rules;
        plan(job, "short_circuit", all)
    },
};

/// The three arguments that name a function: by its dotted path, or by its name and its file.
pub(super) struct Function {
    pub(super) dotted: &'static str,
    pub(super) name: &'static str,
    pub(super) file: &'static str,
}

const CALLABLE: Function =
    Function { dotted: "python_callable", name: "python_callable_name", file: "python_callable_file" };

impl Function {
    /// Whether a function is named, as far as can be seen before anything is rendered.
    pub(super) fn is_given(&self, written: &Written<'_>) -> Result<bool, BadArgument> {
        let Self { dotted, name, file } = *self;
        if let Some(path) = written.literal(dotted).and_then(Value::as_str)
            && !path.contains('.')
        {
            let mend = format!(
                "must be a dotted path, package.module.function; for a function of a file use `{name}` and `{file}`"
            );
            return Err((Some(dotted), mend));
        }
        match (written.may_have(dotted), written.may_have(name), written.may_have(file)) {
            (false, true, false) => {
                Err((Some(file), format!("is required with `{name}`: the file that the function is in")))
            }
            (true, _, _) | (false, true, true) => Ok(true),
            (false, false, _) => Ok(false),
        }
    }

    /// What the runner finds it by, of these three as rendered.
    pub(super) fn callable(&self, job: &Job<'_>, [dotted, name, file]: [Option<String>; 3]) -> Option<Value> {
        match (dotted, name, file) {
            (Some(dotted), _, _) => Some(json!({"dotted": dotted})),
            (None, Some(name), Some(file)) => Some(json!({"name": name, "file": job.folder().join(file)})),
            (None, _, _) => None,
        }
    }

    fn missing(&self) -> BadArgument {
        let Self { dotted, name, file } = self;
        (None, format!("needs `{dotted}` (package.module.function), or `{name}` and `{file}`"))
    }
}

pub(super) fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    if CALLABLE.is_given(written)? { Ok(TaskKind::Run) } else { Err(CALLABLE.missing()) }
}

fn plan(job: &Job<'_>, mode: &str, skip_all: bool) -> Result<Work, Refused> {
    plan_of(job, mode, json!({"skip_all": skip_all})).map(Work::Process)
}

/// The process of a function that may leave what it returns; `own` is what only this kind has of orders.
fn plan_of(job: &Job<'_>, mode: &str, own: Value) -> Result<ProcessPlan, Refused> {
    let args = job.read(ReturnArgs::read)?;
    let returned = json!({
        "show_return_value": args.show_return_value_in_logs,
        "multiple_outputs": args.multiple_outputs,
    });
    call(job, mode, [returned, own])
}

/// The process that calls the function that the arguments name; `own` is what only this mode has of orders.
fn call<const N: usize>(job: &Job<'_>, mode: &str, own: [Value; N]) -> Result<ProcessPlan, Refused> {
    let secrets = job.read(SecretArgs::read)?.secrets;
    Ok(ProcessPlan { secrets: job.secrets(secrets), ..process(job, mode, own)? })
}

/// The same, without secrets.
fn process<const N: usize>(job: &Job<'_>, mode: &str, own: [Value; N]) -> Result<ProcessPlan, Refused> {
    let args = job.read(FunctionArgs::read)?;
    let function = [args.python_callable, args.python_callable_name, args.python_callable_file];
    let callable = CALLABLE.callable(job, function).ok_or_else(|| job.bad(CALLABLE.missing()))?;
    let mut op_args = args.op_args;
    op_args.extend(job.results.iter().cloned());
    let mut orders = json!({
        "callable": callable,
        "folders": folders(job.order, job.host.files()?),
        "mode": mode,
        "op_args": op_args,
        "op_kwargs": args.op_kwargs,
        "objects": objects(&job.written, &[]),
        "templates_dict": args.templates_dict,
        "do_xcom_push": job.order.task.do_xcom_push,
        "context": context(job.order),
    });
    for own in own {
        if let (Value::Object(orders), Value::Object(own)) = (&mut orders, own) {
            orders.extend(own);
        }
    }
    Ok(runner(job.order, &orders, ResultRule::Envelope))
}

/// How a function ended that is to return a command.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CommandEnd {
    Command(String),
    Skipped(String),
    Failed(String),
    FailedForGood(String),
}

/// The command that the function returns, which the arguments name.
pub(super) fn command_of(job: &Job<'_>) -> Result<String, Refused> {
    let ended = |end, why| Err(Refused::Ended(end, why));
    let answer = job.host.call(&process(job, "command", [])?);
    let answer = answer.map_err(|HostError(why)| Refused::Missing(why))?;
    match serde_json::from_value(answer) {
        Ok(CommandEnd::Command(command)) => Ok(command),
        Ok(CommandEnd::Skipped(why)) => ended(AttemptEnd::Skipped, why),
        Ok(CommandEnd::Failed(why)) => ended(AttemptEnd::Failed, why),
        Ok(CommandEnd::FailedForGood(why)) => ended(AttemptEnd::FailedForGood, why),
        Err(_) => Err(Refused::Missing("the process of the function ended before that had returned".into())),
    }
}

/// The objects among the arguments, each with its class and the way to it from `within`, innermost first: as the DAG file
/// has them. What comes to be there when templates
/// are rendered, or from another task's result, is a value, whatever it looks like.
fn objects(args: &Map<String, Value>, within: &[Value]) -> Vec<Value> {
    fn find(value: &Value, way: &mut Vec<Value>, found: &mut Vec<Value>) {
        let mut within = |step: Value, value: &Value| {
            way.push(step);
            find(value, way, found);
            way.pop();
        };
        match value {
            Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| within(json!(at), item)),
            Value::Object(map) => map.iter().for_each(|(name, item)| within(json!(name), item)),
            _ => {}
        }
        if let Some(class) = class_of(value) {
            found.push(json!({"class": class, "way": way}));
        }
    }
    let mut found = Vec::new();
    for (name, value) in args {
        find(value, &mut [within, &[json!(name)]].concat(), &mut found);
    }
    found
}

/// The dates that a function gives for the logical date of the order's run.
pub(super) fn dates_of(job: &Job<'_>, callable: Value) -> Result<Vec<Timestamp>, Refused> {
    let run = &job.order.run;
    let files = job.host.files()?;
    let orders = json!({
        "callable": callable,
        "folders": folders(job.order, files),
        "mode": "dates",
        "of": isoformat(run.logical_date.unwrap_or(run.run_after)),
        "templates_dict": null,
        "context": context(job.order),
    });
    let answer = job.host.call(&runner(job.order, &orders, ResultRule::Envelope))?;
    serde_json::from_value(answer)
        .map_err(|error| Refused::Missing(format!("what the function returned is not understood: {error}")))
}

/// The process that calls a macro of a DAG's own. Its arguments and its result are as `template/own.rs` writes them.
pub(crate) fn macro_call(
    order: &Order,
    files: &Files,
    dotted: &str,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
) -> ProcessPlan {
    let orders = json!({
        "callable": {"dotted": dotted},
        "folders": folders(order, files),
        "mode": "macro",
        "op_args": args,
        "op_kwargs": kwargs,
        "templates_dict": null,
        "context": context(order),
    });
    runner(order, &orders, ResultRule::Envelope)
}

/// Where modules are looked for, before Python's own places: the DAG file's folder, and that of all DAG files.
fn folders(order: &Order, files: &Files) -> Vec<PathBuf> {
    let folder = folder(order);
    let root = files.root_of(&folder.canonicalize().unwrap_or_else(|_| folder.clone()));
    [folder].into_iter().chain(root).collect()
}

/// The runner, with what it is to do.
fn runner(order: &Order, orders: &Value, result: ResultRule) -> ProcessPlan {
    runner_in(airflow_variables(order), orders, result)
}

/// The same in this environment.
fn runner_in(env: BTreeMap<String, String>, orders: &Value, result: ResultRule) -> ProcessPlan {
    ProcessPlan {
        command: Command::Script {
            text: RUNNER.into(),
            interpreter: vec!["python3".into(), "-u".into()],
            arguments: Vec::new(),
        },
        env,
        inherit_env: true,
        secrets: Strings::new(),
        asks: true,
        cwd: None,
        stdin: Some(orders.to_string().into_bytes()),
        result,
        skip_exit_codes: Vec::new(),
        environment: None,
    }
}

/// What the runner makes Airflow's context of: JSON, times in ISO 8601.
fn context(order: &Order) -> Value {
    let (run, task, attempt) = (&order.run, &order.task, order.attempt);
    json!({
        "attempt": attempt,
        "dag_id": run.dag_id,
        "task_id": task.task_id,
        "owner": task.owner,
        "operator": order.operator,
        "run_id": run.run_id,
        "run_type": run.run_type.as_str(),
        "logical_date": run.logical_date.map(isoformat),
        "data_interval_start": run.data_interval.map(|(start, _)| isoformat(start)),
        "data_interval_end": run.data_interval.map(|(_, end)| isoformat(end)),
        "run_after": isoformat(run.run_after),
        "start_date": run.started_at.map(isoformat),
        "conf": if run.conf.is_null() { json!({}) } else { (*run.conf).clone() },
        "params": order.params(),
        "try_number": attempt.try_number,
        "max_tries": task.max_tries,
        "map_index": attempt.ti.map_index,
        "upstream": task.upstream,
        "downstream": task.downstream,
        "folder": folder(order),
        "source": run.source,
        "tags": run.tags,
        "timezone": run.timezone,
        "description": run.shown.description,
        "dag_display_name": run.shown.dag_display_name.as_deref().unwrap_or(&run.dag_id),
        "clear_number": run.shown.clear_number,
        "triggering_user_name": run.shown.triggering_user,
        "log_url": log_url(order),
        "queue": task.shown.queue,
        "pool": task.shown.pool,
        "pool_slots": task.shown.pool_slots,
        "priority_weight": task.shown.priority_weight,
        "trigger_rule": task.shown.trigger_rule,
        "doc_md": task.shown.doc_md,
        "inlets": task.shown.inlets,
        "outlets": task.shown.outlets,
        "assets": run.assets,
        "asset_events": run.asset_events,
    })
}
