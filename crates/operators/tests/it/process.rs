//! `BashOperator`, `ScriptOperator` and the Python operators with real shells and interpreters.

mod apart;
mod api;
mod bash_function;
mod class;
mod context;
mod objects;
mod sensor;

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use updraft_core::{
    MapIndex, MapSource, Mapping, ResultArg, XcomValue,
    input::{AttemptEnd, Branch, Outcome},
    protocol::Order,
};
use updraft_operators::{
    HostError, ProcessPlan, Variable, Work, is_literal,
    outcome::ProcessEnd,
    prepare,
    work::{self, ResultRule},
};

use self::api::Api;
use crate::world::{World, order, with_run};

/// What a plan came to.
struct Ran {
    outcome: Outcome,
    output: String,
}

impl Ran {
    fn result(&self) -> Value {
        self.xcom("return_value")
    }

    fn xcom(&self, name: &str) -> Value {
        let found = self.outcome.xcoms.iter().find(|(key, _)| key == name);
        match found {
            Some((_, XcomValue::Inline(value))) => (**value).clone(),
            Some((_, XcomValue::Blob { .. })) | None => Value::Null,
        }
    }
}

fn prepared(order: &Order, world: &World) -> ProcessPlan {
    match prepare(order, world).unwrap().work {
        Work::Process(plan) => plan,
        other => panic!("{other:?} is no process"),
    }
}

/// Calls a macro as a worker does.
pub fn call(plan: &ProcessPlan) -> Result<Value, HostError> {
    let ran = run(plan, None);
    match ran.outcome.end {
        AttemptEnd::Success => Ok(ran.result()),
        _ => Err(HostError(ran.outcome.message.unwrap_or_default())),
    }
}

/// Starts the process of a plan, with what a worker gives it.
fn run(plan: &ProcessPlan, api: Option<&Api>) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let result = folder.path().join("result");
    let argv = match &plan.command {
        work::Command::Argv(argv) => argv.clone(),
        work::Command::Script { text, interpreter, arguments } => {
            let script = folder.path().join("script");
            std::fs::write(&script, text).unwrap();
            std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            let script = script.to_string_lossy().into_owned();
            [interpreter.clone(), vec![script], arguments.clone()].concat()
        }
    };
    let argv = api.map_or(argv.clone(), |api| api.with_token(&argv));
    let cwd = plan.cwd.clone().unwrap_or_else(|| {
        std::fs::create_dir(folder.path().join("cwd")).unwrap();
        folder.path().join("cwd")
    });
    let mut command = Command::new(&argv[0]);
    if !plan.inherit_env {
        command.env_clear();
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    command
        .args(&argv[1..])
        .envs(&plan.env)
        .envs(api.map(Api::environment).unwrap_or_default())
        .env("UPDRAFT_RESULT", &result)
        .current_dir(cwd)
        .stdin(if plan.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(writer.try_clone().unwrap())
        .stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let stdin = child.stdin.take();
    let input = plan.stdin.clone().unwrap_or_default();
    let feeder = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    let status = child.wait().unwrap();
    let _ = feeder.join().unwrap();
    let wanted = match plan.result {
        ResultRule::LastLine => {
            output.strip_suffix('\n').unwrap_or(&output).rsplit('\n').next().map(str::to_owned)
        }
        ResultRule::Output => Some(output.clone()),
        ResultRule::File | ResultRule::Envelope | ResultRule::None => None,
    };
    let end = ProcessEnd {
        exit_code: status.code(),
        signal: status.signal(),
        output: wanted,
        result_file: std::fs::read(result).ok(),
    };
    Ran { outcome: plan.outcome(end), output }
}

fn bash(args: Value) -> Ran {
    run(&prepared(&order("BashOperator", args), &World::default()), None)
}

#[test]
fn bash_runs_a_command_and_its_last_line_is_the_result() {
    let ran = bash(json!({"bash_command": "echo first; echo {{ ds }} >&2"}));
    assert_eq!((ran.outcome.end.clone(), ran.result()), (AttemptEnd::Success, json!("2026-01-31")));
    assert_eq!(ran.outcome.exit_code, Some(0));
    assert_eq!(bash(json!({"bash_command": "exit 99"})).outcome.end, AttemptEnd::Skipped);
    assert_eq!(
        bash(json!({"bash_command": "exit 7", "skip_on_exit_code": [7, 8]})).outcome.end,
        AttemptEnd::Skipped
    );
    let failed = bash(json!({"bash_command": "echo x; exit 99", "skip_on_exit_code": null}));
    assert_eq!((failed.outcome.end.clone(), failed.result()), (AttemptEnd::Failed, Value::Null));
    assert_eq!(bash(json!({"bash_command": "kill -9 $$"})).outcome.message.unwrap(), "ended by signal 9");
}

#[test]
fn bash_has_airflows_variables_and_its_own_environment_if_it_wants() {
    let ran = bash(
        json!({"bash_command": "echo $AIRFLOW_CTX_DAG_ID $AIRFLOW_CTX_TASK_ID $AIRFLOW_CTX_DAG_OWNER $AIRFLOW_CTX_TRY_NUMBER $AIRFLOW_CTX_LOGICAL_DATE $AIRFLOW_CTX_DAG_RUN_ID"}),
    );
    let expected = "reports extract data 1 2026-01-31T06:00:00+00:00 scheduled__2026-01-31T06:00:00+00:00";
    assert_eq!(ran.result(), json!(expected));
    let show = "echo ${HOME:-none} $A";
    assert_eq!(
        bash(json!({"bash_command": show, "env": {"A": "{{ ds }}"}})).result(),
        json!("none 2026-01-31")
    );
    let added = bash(json!({"bash_command": show, "env": {"A": "1"}, "append_env": true}));
    assert_ne!(added.result(), json!("none 1"));
    assert_eq!(bash(json!({"bash_command": "pwd", "cwd": "/"})).result(), json!("/"));
}

#[test]
fn bash_takes_a_long_command_and_passed_results() {
    let long = format!(": {}\necho done", "x".repeat(300_000));
    assert_eq!(bash(json!({"bash_command": long})).result(), json!("done"));
    let world = World::default()
        .with_xcom("load.return_value", json!({"rows": 2}))
        .with_xcom("name.return_value", json!("a b"));
    let mut order = order("BashOperator", json!({"bash_command": "echo \"$0 $1 $2 $#\""}));
    order.task.inputs = vec!["load".into(), "name".into()];
    assert_eq!(run(&prepared(&order, &world), None).result(), json!(r#"bash {"rows":2} a b 2"#));
}

#[test]
fn a_secret_is_not_in_what_is_shown_of_the_arguments() {
    let mut world = World::default();
    world.variables.insert("key".into(), Variable { value: "t0ps3cret".into(), secret: true });
    let order = order(
        "BashOperator",
        json!({"bash_command": "echo {{ var.value.key }}", "env": {"K": "{{ var.value.key }}"}}),
    );
    let prepared = prepare(&order, &world).unwrap();
    assert_eq!(prepared.rendered, json!({"bash_command": "echo ***", "env": {"K": "***"}}));
    assert!(prepared.secrets.contains(&"t0ps3cret".to_owned()));
    let Work::Process(plan) = prepared.work else { panic!("no process") };
    // Nor is it among the arguments of a process, which everybody on the machine can read.
    assert!(
        matches!(&plan.command, work::Command::Script { arguments, .. } if arguments.is_empty()),
        "{plan:?}"
    );
    assert_eq!(run(&plan, None).result(), json!("t0ps3cret"));
    let sensor = json!({"bash_command": "tr '\\0' ' ' </proc/$$/cmdline; echo {{ var.value.key }}"});
    let looks = run(&self::prepared(&self::order("BashSensor", sensor), &world), None);
    assert!(looks.output.contains("bash /dev/fd/3 t0ps3cret"), "{}", looks.output);
}

/// Who leaves a result is not who writes the DAG: Airflow renders neither of these, and both of what is written.
#[test]
fn a_result_that_looks_like_a_template_stays_what_it_is() {
    let mut world = World {
        xcoms: [
            ("a.return_value".to_owned(), vec![(-1, json!(["{{ var.value.key }}"]))]),
            ("a.colour".to_owned(), vec![(-1, json!({"is": "{{ var.value.key }}"}))]),
        ]
        .into(),
        ..World::default()
    };
    world.variables.insert("key".into(), Variable { value: "t0ps3cret".into(), secret: true });
    let arg = |key: &str| ResultArg { task_id: "a".into(), key: key.into() }.to_argument();
    let kwargs = json!({"x": [arg("colour")], "written": "{{ 'w' ~ 1 }}"});
    let mut order = order("PythonOperator", json!({"python_callable": "m.f", "op_kwargs": kwargs}));
    assert!(!is_literal(&order));
    order.task.mapping =
        Some(Mapping::Product(vec![("op_kwargs.each".into(), MapSource::Result("a".into()))]));
    order.attempt.ti.map_index = MapIndex(0);
    let prepared = prepare(&order, &world).unwrap();
    assert_eq!(
        prepared.rendered["op_kwargs"],
        json!({"x": [{"is": "{{ var.value.key }}"}], "written": "w1", "each": "{{ var.value.key }}"})
    );
    order.args["op_kwargs"]["x"] = arg("shape");
    let refused = prepare(&order, &world).unwrap_err().to_string();
    assert_eq!(refused, "`a` left no `shape`, which is one of the arguments");
    order.args["op_kwargs"]["x"] = json!(1);
    let written = MapSource::List(vec![json!("{{ 'w' ~ 2 }}")]);
    order.task.mapping = Some(Mapping::Product(vec![("op_kwargs.each".into(), written)]));
    assert_eq!(prepare(&order, &world).unwrap().rendered["op_kwargs"]["each"], "w2");
}

#[test]
fn a_script_is_read_by_whom_its_first_line_or_its_task_names() {
    let script = |args| run(&prepared(&order("ScriptOperator", args), &World::default()), None);
    let python = "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n";
    let ran =
        script(json!({"script": python, "arguments": ["{{ ds }}", 5], "stdin": {"a": "{{ run_id[:9] }}"}}));
    assert_eq!(ran.result(), json!(r#"['2026-01-31', '5'] {"a":"scheduled"}"#), "{}", ran.output);
    let ran = script(json!({"script": "print(6 * 7)", "interpreter": ["python3", "-u"], "result": "output"}));
    assert_eq!(ran.result(), json!("42\n"));
    let ran =
        script(json!({"script": "#!/bin/sh\necho '{\"rows\": [1, 2]}' > $UPDRAFT_RESULT", "result": "file"}));
    assert_eq!((ran.result(), ran.outcome.result_length), (json!({"rows": [1, 2]}), Some(1)));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.py"), "#!/usr/bin/env python3\nprint(__file__)\n").unwrap();
    let order = with_run(order("ScriptOperator", json!({"script_file": "run.py"})), |run| {
        run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
    });
    assert_eq!(run(&prepared(&order, &World::default()), None).result(), json!(folder.path().join("run.py")));
}

#[test]
fn a_script_that_nobody_can_read_is_refused() {
    let refused = |args| prepare(&order("ScriptOperator", args), &World::default()).unwrap_err().to_string();
    assert!(refused(json!({"script": "echo"})).contains("#!/bin/sh"));
    assert!(refused(json!({"script_file": "/nowhere/x"})).contains("/nowhere/x"));
    assert!(refused(json!({"script": "#!/bin/sh", "result": "x"})).contains("last_line, output or file"));
}

const FUNCTIONS: &str = r#"
import datetime, sys

class AirflowException(Exception): pass
class AirflowSkipException(AirflowException): pass
class AirflowFailException(AirflowException): pass

def add(a, b=0, *, c=0): return a + b + c
def context(ds, ti, params, logical_date, dag_run, **rest):
    return [ds, ti.task_id, params, logical_date.isoformat(), dag_run.conf, sorted(rest)]
def named(ds, run_id): return f"{ds} {run_id[:9]}"
def templates(templates_dict): return templates_dict["day"]
def branch(**_): return ["left"]
def nowhere(): return None
def odd(): return [1, 2]
def five(): return 5
def current():
    try:
        from airflow.providers.standard.operators.python import get_current_context
    except ImportError:
        from airflow.sdk import get_current_context
    return [get_current_context()["ds"], get_current_context()["ti"].task_id]
def skips_as_in_airflow():
    from airflow.exceptions import AirflowException, AirflowSkipException as Skip
    raise Skip("by its name") if issubclass(Skip, AirflowException) else ValueError()
def needs_airflow():
    from airflow.models import DagBag
def truth(value): return value
def skip(): raise AirflowSkipException("nothing to do")
def for_good(): raise AirflowFailException("never")
def breaks(): raise ValueError("no good")
def leaves(): sys.exit(3)
def push(ti):
    ti.xcom_push("path", {"a": [1]})
    print("said")
    return sys.stdin.read()
def own_push(ti):
    ti.xcom_push("rows", 12)
    raise ValueError(ti.xcom_pull(key="rows"), ti.xcom_pull("extract", key="rows"))
def no_json(): return object()
def plain():
    import decimal, pathlib
    time = datetime.datetime(2026, 1, 31, 6, tzinfo=datetime.timezone.utc)
    return {
        "at": time, "day": time.date(), "took": datetime.timedelta(minutes=2), "set": {1}, "each": (n * 2 for n in (1, 2)),
        "price": decimal.Decimal("1.5"), "path": pathlib.Path("/tmp/x"),
    }
def before(prev_start_date_success, ti):
    return [str(prev_start_date_success), ti.state, ti.start_date.tzinfo is not None, ti.task.task_id == ti.task_id]
def all_before(**context): return [str(context["prev_end_date_success"]), context.get("prev_data_interval_end_success")]
def not_a_number(): return float("nan")
async def later(): return "awaited"
def pull(ti, var, conn):
    return [
        ti.xcom_pull("load"), ti.xcom_pull(["load", "none"]), ti.xcom_pull("copies"),
        ti.xcom_pull("copies", map_indexes=1), ti.xcom_pull("none", map_indexes=0, default="d"),
        var["value"].bucket, var["json"].get("settings")["a"], var["value"].get("none", "d"),
        conn.lake.host, conn.lake.extra_dejson, conn.lake.login,
    ]
def shown(*args, at=None, plain=None): return [repr(args), repr(at), plain]
def lines(path):
    from airflow.sdk import ObjectStoragePath
    with path.open() as file:
        return [isinstance(path, ObjectStoragePath), file.read(), path.parent.name]
"#;

fn python(operator: &str, name: &str, args: Value) -> Ran {
    python_with(operator, name, args, None)
}

fn python_with(operator: &str, name: &str, args: Value, api: Option<&Api>) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("functions.py"), FUNCTIONS).unwrap();
    let mut all = json!({"python_callable_name": name, "python_callable_file": "functions.py"});
    if name.contains('.') {
        all = json!({"python_callable": name});
    }
    all.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
    let order = with_run(order(operator, all), |run| {
        run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
        run.params.insert("n".into(), json!(1));
        run.conf = std::sync::Arc::new(json!({"m": 2}));
    });
    run(&prepared(&order, &World::default()), api)
}

#[test]
fn a_function_gets_its_arguments_and_those_of_the_context_that_it_names() {
    let call = |name, args| python("PythonOperator", name, args).result();
    assert_eq!(call("add", json!({"op_args": [1], "op_kwargs": {"c": 5}})), json!(6));
    assert_eq!(call("functions.add", json!({"op_args": [1]})), json!(1));
    assert_eq!(call("named", json!({})), json!("2026-01-31 scheduled"));
    assert_eq!(call("named", json!({"op_kwargs": {"ds": "{{ ds_nodash }}"}})), json!("20260131 scheduled"));
    assert_eq!(call("templates", json!({"templates_dict": {"day": "{{ ds }}"}})), json!("2026-01-31"));
    assert_eq!(call("later", json!({})), json!("awaited"));
    let context = call("context", json!({}));
    assert_eq!(
        context.as_array().unwrap()[1..5],
        [json!("extract"), json!({"n": 1}), json!("2026-01-31T06:00:00+00:00"), json!({"m": 2})]
    );
    assert!(context[5].as_array().unwrap().contains(&json!("data_interval_end")), "{context}");
    let reserved = python("PythonOperator", "named", json!({"op_args": ["x"]}));
    assert!(reserved.outcome.message.unwrap().contains("'ds'"));
}

#[test]
fn a_function_has_the_current_context_without_airflow() {
    let call = |name| python("PythonOperator", name, json!({}));
    assert_eq!(call("current").result(), json!(["2026-01-31", "extract"]));
    assert_eq!(call("skips_as_in_airflow").outcome.end, AttemptEnd::Skipped);
    let message = call("needs_airflow").outcome.message.unwrap();
    assert!(
        message.contains("cannot import 'DagBag' from 'airflow.models': no Airflow is installed"),
        "{message}"
    );
    assert!(message.contains("has BaseOperator, Connection, Variable"), "{message}");
}

/// As Airflow 3 keeps what it executes, in as few lines.
#[test]
fn the_airflow_that_is_installed_gets_the_context() {
    let folder = tempfile::tempdir().unwrap();
    let sdk = folder.path().join("airflow/sdk/definitions/_internal");
    std::fs::create_dir_all(&sdk).unwrap();
    std::fs::write(sdk.join("contextmanager.py"), "_CURRENT_CONTEXT = []\n").unwrap();
    let functions = "
def current():
    from airflow.sdk.definitions._internal.contextmanager import _CURRENT_CONTEXT
    return [context['ds'] for context in _CURRENT_CONTEXT]

def own():
    from airflow.exceptions import AirflowSkipException
";
    std::fs::write(folder.path().join("functions.py"), functions).unwrap();
    let call = |name: &str| {
        let args = json!({"python_callable": format!("functions.{name}")});
        let order = with_run(order("PythonOperator", args), |run| {
            run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
        });
        run(&prepared(&order, &World::default()), None)
    };
    assert_eq!(call("current").result(), json!(["2026-01-31"]));
    // Nothing stands in for what it lacks.
    assert!(call("own").outcome.message.unwrap().contains("No module named 'airflow.exceptions'"));
}

#[test]
fn what_a_function_raises_says_how_it_ended() {
    let call = |name| python("PythonOperator", name, json!({}));
    let skipped = call("skip");
    assert_eq!(
        (skipped.outcome.end, skipped.outcome.message.unwrap().as_str()),
        (AttemptEnd::Skipped, "AirflowSkipException: nothing to do")
    );
    assert_eq!(call("for_good").outcome.end, AttemptEnd::FailedForGood);
    let broken = call("breaks");
    assert_eq!(broken.outcome.end, AttemptEnd::Failed);
    assert!(
        broken.output.contains("Traceback") && broken.output.contains("line 31, in breaks"),
        "{}",
        broken.output
    );
    let pushed = call("own_push");
    assert_eq!(pushed.xcom("rows"), 12, "as in Airflow, it stays");
    assert!(pushed.output.contains("ValueError: (12, 12)"), "{}", pushed.output);
    assert_eq!(call("leaves").outcome.message.unwrap(), "ended with exit code 3");
    assert!(call("missing").outcome.message.unwrap().contains("has no function 'missing'"));
    assert!(call("nothing.at_all").outcome.message.unwrap().contains("No module named"));
    for name in ["no_json", "not_a_number"] {
        let outcome = call(name).outcome;
        assert_eq!(outcome.end, AttemptEnd::Failed);
        assert!(outcome.message.unwrap().contains("what it returned is no JSON"));
    }
}

#[test]
fn a_function_pushes_and_reads_nothing_of_what_called_it() {
    let ran = python("PythonOperator", "push", json!({}));
    assert_eq!((ran.xcom("path"), ran.result()), (json!({"a": [1]}), json!("")));
    assert!(ran.output.contains("said\nDone. Returned value was: "), "{}", ran.output);
    let silent = python("PythonOperator", "push", json!({"show_return_value_in_logs": false}));
    assert!(!silent.output.contains("Done."));
}

#[test]
fn a_function_branches() {
    let branch = |operator, name, args| python(operator, name, args).outcome.branch;
    assert_eq!(
        branch("BranchPythonOperator", "branch", json!({})),
        Some(Branch::Follow(vec!["left".into()]))
    );
    assert_eq!(branch("BranchPythonOperator", "nowhere", json!({})), Some(Branch::Follow(vec![])));
    assert_eq!(python("BranchPythonOperator", "odd", json!({})).outcome.end, AttemptEnd::Failed);
    let five = python("BranchPythonOperator", "five", json!({})).outcome.message.unwrap();
    assert!(
        five.contains("a branch is a task id or a list of task ids, and the function returned 5"),
        "{five}"
    );
    let truth = |value| json!({"op_args": [value]});
    assert_eq!(branch("ShortCircuitOperator", "truth", truth(json!([1]))), None);
    assert_eq!(branch("ShortCircuitOperator", "truth", truth(json!([]))), Some(Branch::SkipAllDownstream));
    let mut minding = truth(json!(0));
    minding["ignore_downstream_trigger_rules"] = json!(false);
    assert_eq!(branch("ShortCircuitOperator", "truth", minding), Some(Branch::SkipDownstream));
}

#[test]
fn a_function_asks_the_worker_for_values_of_others() {
    let api = Api::start();
    let ran = python_with("PythonOperator", "pull", json!({}), Some(&api));
    let expected = json!([
        {"rows": 2}, [{"rows": 2}, null], ["x", "y"], "y", "d",
        "s3://lake", 1, "d", "lake.example.org", {"path": "/x"}, null
    ]);
    assert_eq!(ran.result(), expected, "{}", ran.output);
    let without = python("PythonOperator", "pull", json!({}));
    assert!(without.outcome.message.unwrap().contains("gives tasks no access to its API"));
}

#[test]
fn a_function_leaves_what_json_has_not_as_what_is_nearest() {
    let left = python("PythonOperator", "plain", json!({})).result();
    let expected = json!({
        "at": "2026-01-31T06:00:00+00:00", "day": "2026-01-31", "took": 120.0, "set": [1], "each": [2, 4], "price": 1.5,
        "path": "/tmp/x",
    });
    assert_eq!(left, expected);
}

#[test]
fn a_function_has_the_run_before_that_succeeded_where_it_wants_it() {
    let api = Api::start();
    let call = |name| python_with("PythonOperator", name, json!({}), Some(&api)).result();
    assert_eq!(call("before"), json!(["2026-01-30 06:00:01+00:00", "running", true, true]));
    assert_eq!(call("all_before"), json!(["2026-01-30 06:00:09+00:00", null]));
    let none = python("PythonOperator", "all_before", json!({})).result();
    assert_eq!(none, json!(["None", null]));
}

#[test]
fn the_result_of_a_task_that_keeps_none_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("functions.py"), FUNCTIONS).unwrap();
    let args = json!({"python_callable_name": "add", "python_callable_file": folder.path().join("functions.py"), "op_args": [1]});
    let mut order = order("PythonOperator", args);
    order.task.do_xcom_push = false;
    assert_eq!(run(&prepared(&order, &World::default()), None).outcome.xcoms, []);
}
