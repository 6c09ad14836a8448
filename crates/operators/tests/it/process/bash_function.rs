//! `BashFunctionOperator`.

use serde_json::{Value, json};
use updraft_core::input::{AttemptEnd, Outcome};
use updraft_operators::{ProcessPlan, Refused, Work, catalog, prepare};

use super::{prepared, run};
use crate::world::{World, order};

const FUNCTIONS: &str = r#"
class AirflowSkipException(Exception):
    pass


class AirflowFailException(Exception):
    pass


def greet(name, ds=None):
    print("thinking")
    return f"echo {name} of {ds} is {{{{ dag.dag_id }}}}"


async def later():
    return "echo later"


def script():
    return "greet.sh"


def given(value):
    return value


def show():
    return 'echo "$A${B:-}${HOME:+ and a home}"; pwd'


def code():
    return "exit 7"


def secret():
    return "cat <&$PASSWORD_FD"


def skips():
    raise AirflowSkipException("nothing to do")


def fails():
    raise AirflowFailException("no use")


def breaks():
    raise ValueError("broken")


def pushes(ti=None):
    ti.xcom_push("rows", 1)


def leaves():
    import os

    os._exit(0)
"#;

/// The order for a function of these, with arguments of the operator.
fn of(function: &str, mut args: Value) -> Result<(ProcessPlan, Value), Refused> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("functions.py"), FUNCTIONS).unwrap();
    args["python_callable_name"] = json!(function);
    args["python_callable_file"] = json!(folder.path().join("functions.py"));
    let prepared = prepare(&order("bash_function", args), &World::default())?;
    let Work::Process(plan) = prepared.work else { panic!("no process") };
    Ok((plan, prepared.rendered))
}

fn refused(function: &str, args: Value) -> Outcome {
    of(function, args).unwrap_err().into()
}

#[test]
fn what_a_function_returns_is_rendered_and_run() {
    let (plan, rendered) = of("greet", json!({"op_kwargs": {"name": "{{ ti.task_id }}"}})).unwrap();
    let ran = run(&plan, None);
    assert_eq!(ran.result(), json!("extract of 2026-01-31 is reports"), "{}", ran.output);
    assert_eq!(rendered["bash_command"], json!("echo extract of 2026-01-31 is reports"));
    assert_eq!(rendered["op_kwargs"], json!({"name": "extract"}));
    assert_eq!(run(&of("later", json!({})).unwrap().0, None).result(), json!("later"));
}

#[test]
fn a_command_that_ends_in_sh_is_the_name_of_a_script_that_is_a_template() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("functions.py"), FUNCTIONS).unwrap();
    std::fs::write(folder.path().join("greet.sh"), "echo script of {{ ds }}").unwrap();
    let mut order = order("bash_function", json!({"python_callable": "functions.script"}));
    let source = folder.path().join("dags.yml").to_string_lossy().into_owned();
    std::sync::Arc::get_mut(&mut order.run).unwrap().source = source;
    assert_eq!(run(&prepared(&order, &World::default()), None).result(), json!("script of 2026-01-31"));
}

#[test]
fn the_command_has_what_a_bash_operator_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let cwd = folder.path().canonicalize().unwrap();
    let ran = run(&of("show", json!({"env": {"A": "{{ ds }}"}, "cwd": cwd})).unwrap().0, None);
    assert_eq!(ran.output, format!("2026-01-31\n{}\n", cwd.display()));
    let added = run(&of("show", json!({"env": {"B": "b"}, "append_env": true})).unwrap().0, None);
    assert!(added.output.starts_with("b and a home\n"), "{}", added.output);
    assert_eq!(
        run(&of("code", json!({"skip_on_exit_code": 7})).unwrap().0, None).outcome.end,
        AttemptEnd::Skipped
    );
    assert_eq!(run(&of("code", json!({})).unwrap().0, None).outcome.end, AttemptEnd::Failed);
    let secrets = of("secret", json!({"secrets": {"PASSWORD": "{{ ds }}"}})).unwrap().0.secrets;
    assert_eq!(secrets["PASSWORD"], "2026-01-31");
}

#[test]
fn a_function_has_to_return_a_command() {
    for value in [json!(""), json!(" \n"), json!(null), json!(5), json!(["echo"])] {
        let outcome = refused("given", json!({"op_args": [value]}));
        assert_eq!(outcome.end, AttemptEnd::Failed);
        let why = outcome.message.unwrap();
        assert!(
            why.starts_with("TypeError: the function returned ")
                && why.ends_with("has to return a command, a string that is not empty"),
            "{why}"
        );
    }
    let faulty = refused("given", json!({"op_args": ["echo {% raw %}{{ nope( }}{% endraw %}"]}));
    assert!(faulty.message.as_deref().unwrap().starts_with("template of `bash_command`"), "{faulty:?}");
}

#[test]
fn how_the_function_ends_is_how_the_task_ends() {
    let ended = |function| {
        let Outcome { end, message, .. } = refused(function, json!({}));
        (end, message.unwrap())
    };
    assert_eq!(ended("skips"), (AttemptEnd::Skipped, "AirflowSkipException: nothing to do".into()));
    assert_eq!(ended("fails"), (AttemptEnd::FailedForGood, "AirflowFailException: no use".into()));
    assert_eq!(ended("breaks"), (AttemptEnd::Failed, "ValueError: broken".into()));
    assert!(ended("pushes").1.contains("a function that returns a command leaves no values"));
    assert!(ended("leaves").1.contains("ended before that had returned"));
    assert!(ended("missing").1.contains("has no function 'missing'"));
}

#[test]
fn it_is_known_by_two_names_and_needs_a_function() {
    for name in ["BashFunctionOperator", "bash_function"] {
        let args = json!({"python_callable": "m.f"}).as_object().cloned().unwrap();
        assert_eq!(catalog::check(name, &args).unwrap().operator, "BashFunctionOperator");
    }
    let error =
        |args: Value| catalog::check("bash_function", args.as_object().unwrap()).unwrap_err().to_string();
    assert!(error(json!({})).contains("needs `python_callable`"));
    assert!(error(json!({"python_callable": "m.f", "output_encoding": "latin-1"})).contains("only be utf-8"));
    assert!(error(json!({"python_callable": "m.f", "bash_command": "x"})).contains("is no argument of it"));
}
