//! Python functions in a Python of their own.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use updraft_core::{
    input::{AttemptEnd, Branch},
    protocol::Connection,
};
use updraft_operators::{catalog, prepare, work::PythonEnvironment};

use super::{prepared, run};
use crate::world::{World, order};

const FUNCTIONS: &str = r#"
import os
import sys


def where():
    return [os.path.dirname(os.path.dirname(sys.executable)), os.environ.get("COLOUR"), "HOME" in os.environ]


def strings(word):
    return [word, *virtualenv_string_args]


def leaves(code):
    if code == 1:
        raise ValueError("broken")
    sys.exit(code)


def way():
    return "load"
"#;

fn functions(folder: &Path) -> Value {
    fs::write(folder.join("functions.py"), FUNCTIONS).unwrap();
    json!(folder.join("functions.py"))
}

fn of(operator: &str, function: &str, folder: &Path, mut args: Value) -> super::Ran {
    args["python_callable_name"] = json!(function);
    args["python_callable_file"] = functions(folder);
    run(&prepared(&order(operator, args), &World::default()), None)
}

#[test]
fn a_function_is_called_in_the_python_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&own).status().unwrap();
    assert!(made.success());
    let python = own.join("bin/python");
    let args = json!({"python": python, "env_vars": {"COLOUR": "red"}, "inherit_env": false});
    let ran = of("ExternalPythonOperator", "where", folder.path(), args);
    assert_eq!(ran.result(), json!([own, "red", false]), "{}", ran.output);
    let args = json!({"python": "{{ 'python3' }}", "op_args": ["a"], "string_args": ["b", 3, "{{ ds }}"]});
    let ran = of("external_python", "strings", folder.path(), args);
    assert_eq!(ran.result(), json!(["a", "b", "3", "{{ ds }}"]), "{}", ran.output);
    let ran = of("branch_external_python", "way", folder.path(), json!({"python": python}));
    assert_eq!(ran.outcome.branch, Some(Branch::Follow(vec!["load".into()])), "{}", ran.output);
}

#[test]
fn an_exit_code_may_mean_skip() {
    let folder = tempfile::tempdir().unwrap();
    let ended = |code: i32, skip: Value| {
        let args = json!({"python": "python3", "op_args": [code], "skip_on_exit_code": skip});
        of("external_python", "leaves", folder.path(), args).outcome.end
    };
    assert_eq!(ended(42, json!(42)), AttemptEnd::Skipped);
    assert_eq!(ended(42, json!([7])), AttemptEnd::Failed);
    assert_eq!(ended(99, Value::Null), AttemptEnd::Failed);
    // Airflow does not ask whether it was an exception.
    assert_eq!(ended(1, json!([1, 2])), AttemptEnd::Skipped);
}

#[test]
fn an_environment_has_what_the_task_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("packages.txt"), "pandas=={{ '2.2' }}\n").unwrap();
    let connection = Connection {
        conn_id: "packages".into(),
        conn_type: "package_index".into(),
        host: Some("https://pypi.example/simple".into()),
        login: Some("ann".into()),
        password: Some("s3cret/word".into()),
        ..Connection::default()
    };
    let world = World { connections: [("packages".to_owned(), connection)].into(), ..World::default() };
    let asks = |operator: &str, args: Value| {
        let mut order = order(operator, args);
        order.args.insert("python_callable".into(), json!("functions.where"));
        let source = folder.path().join("dags.yml").to_string_lossy().into_owned();
        std::sync::Arc::get_mut(&mut order.run).unwrap().source = source;
        let made = prepare(&order, &world).unwrap();
        assert!(!made.rendered.to_string().contains("s3cret"), "{}", made.rendered);
        let updraft_operators::Work::Process(plan) = made.work else { panic!("no process") };
        *plan.environment.unwrap()
    };
    let plain = PythonEnvironment {
        python: "python3".into(),
        requirements: String::new(),
        system_site_packages: true,
        pip_options: Vec::new(),
        index_urls: None,
    };
    assert_eq!(asks("PythonVirtualenvOperator", json!({})), plain);
    let all = json!({
        "requirements": ["a==1", "b=={{ 1 + 1 }}"], "python_version": "3.12", "system_site_packages": false,
        "pip_install_options": ["--no-deps"], "index_urls": ["https://one.example"],
        "index_urls_from_connection_ids": "packages",
    });
    let asked = asks("branch_python_virtualenv", all);
    assert_eq!((&*asked.python, &*asked.requirements), ("python3.12", "a==1\nb==2"));
    assert_eq!((asked.system_site_packages, asked.pip_options), (false, vec!["--no-deps".to_owned()]));
    let urls = ["https://one.example", "https://ann:s3cret%2Fword@pypi.example/simple"];
    assert_eq!(asked.index_urls.unwrap(), urls);
    let of_file = asks("python_virtualenv", json!({"requirements": "packages.txt"}));
    assert_eq!(of_file.requirements.trim_end(), "pandas==2.2");
    assert_eq!(asks("python_virtualenv", json!({"index_urls": []})).index_urls, Some(Vec::new()));
}

#[test]
fn what_can_t_be_had_is_refused_with_the_mend() {
    let refused = |args: Value| {
        let mut order = order("python_virtualenv", args);
        order.args.insert("python_callable".into(), json!("m.f"));
        order.task.run_as_user = order.args.remove("user").and_then(|user| user.as_str().map(str::to_owned));
        prepare(&order, &World::default()).unwrap_err().to_string()
    };
    assert!(refused(json!({"user": "nobody"})).contains("use ExternalPythonOperator"));
    assert!(refused(json!({"index_urls_from_connection_ids": ["x"]})).contains("there is no connection `x`"));
    let check = |operator: &str, args: Value| {
        catalog::check(operator, args.as_object().unwrap()).unwrap_err().to_string()
    };
    let python = check("python_virtualenv", json!({"python_callable": "m.f", "python_version": 3.12}));
    assert!(python.contains("put it in quotes"), "{python}");
    let python = check("external_python", json!({"python_callable": "m.f"}));
    assert!(python.contains("`python` is required"), "{python}");
}

#[test]
fn a_template_may_be_in_a_file_whose_ending_the_task_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rows.sql"), "SELECT '{{ ds }}'").unwrap();
    fs::write(folder.path().join("functions.py"), "def given(templates_dict):\n    return templates_dict\n")
        .unwrap();
    let given = |ends: Value| {
        let mut order = order("python", json!({"python_callable": "functions.given"}));
        order.args.insert("templates_dict".into(), json!({"query": "rows.sql"}));
        order.args.insert("templates_exts".into(), ends);
        let source = folder.path().join("dags.yml").to_string_lossy().into_owned();
        std::sync::Arc::get_mut(&mut order.run).unwrap().source = source;
        run(&prepared(&order, &World::default()), None).result()
    };
    assert_eq!(given(json!([".sql"])), json!({"query": "SELECT '2026-01-31'"}));
    assert_eq!(given(Value::Null), json!({"query": "rows.sql"}));
}
