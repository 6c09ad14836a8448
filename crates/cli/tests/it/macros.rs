//! Functions that a DAG has for its templates, and those that return commands.

use crate::system::System;

/// `dev/dags/airflow3/example_user_defined_macros.yml` of dag-factory, and a task whose macro shows what it must not.
const OF_DAG_FACTORY: &str = "
default:
  catchup: false
  default_args:
    start_date: 2025-01-01

example_user_defined_macros:
  schedule: '@daily'
  user_defined_macros:
    add_days: sample.add_days
    date_utils:
      shift: sample.add_days
    key_of: sample.key_of
    looked_up: sample.looked_up
  tasks:
    - task_id: print_macros
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: >-
        echo 'Run date: {{ ds }} |
        Yesterday: {{ add_days(ds, -1) }} |
        Tomorrow: {{ add_days(ds, 1) }} |
        Nested yesterday: {{ date_utils.shift(ds, -1) }}'
    - task_id: hides
      operator: bash
      bash_command: echo 'the key is {{ key_of(var.value.door_token) }}'
    - task_id: hides_what_it_looked_up
      operator: bash
      bash_command: echo 'it found {{ looked_up(var) }}'
    - task_id: fails_with_it
      operator: bash
      bash_command: echo '{{ add_days(looked_up(var), 1) }}'
    - task_id: fails
      operator: bash
      bash_command: echo '{{ add_days(ds, \"many\") }}'
";

const SAMPLE: &str = "
from datetime import datetime, timedelta


def add_days(ds, days):
    return (datetime.strptime(ds, '%Y-%m-%d') + timedelta(days=days)).strftime('%Y-%m-%d')


def looked_up(var):
    return var['value'].door_token


def key_of(key):
    print('called with', key)
    return key
";

#[test]
fn dag_factorys_example_runs_and_secrets_stay_hidden() {
    let system = System::new(&[("macros.yml", OF_DAG_FACTORY), ("sample.py", SAMPLE)]);
    let file = system.home().join("dags/macros.yml").display().to_string();
    let output = system
        .command(&["dags", "test", &file, "--logical-date", "2026-03-01"])
        .env("AIRFLOW_VAR_DOOR_TOKEN", "s3cret-of-the-door")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success(), "{said}");
    let dates =
        "Run date: 2026-03-01 | Yesterday: 2026-02-28 | Tomorrow: 2026-03-02 | Nested yesterday: 2026-02-28";
    assert!(said.contains(dates), "{said}");
    assert!(said.contains("called with ***") && said.contains("the key is ***"), "{said}");
    assert!(said.contains("it found ***") && said.contains("time data '***' does not match"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    assert!(said.contains("the function failed: TypeError: unsupported type for timedelta days"), "{said}");
    assert!(said.contains("Traceback"), "{said}");
}

const COMMANDS: &str = "
commands:
  tasks:
    says: {decorator: airflow.sdk.task.bash, python_callable: commands.says, word: hello, env: {WHO: world}}
    hides: {decorator: airflow.sdk.task.bash, python_callable: commands.hides}
    passes: {decorator: airflow.sdk.task.bash, python_callable: commands.passes, retries: 3}
";

const OF_COMMANDS: &str = "
from airflow.exceptions import AirflowSkipException
from airflow.sdk import Variable


def says(word):
    print('thinking of', word)
    return f'echo {word} $WHO from {{{{ dag.dag_id }}}}'


def hides():
    return 'echo it is ' + Variable.get('door_token')


def passes():
    raise AirflowSkipException('there is nothing to do')
";

#[test]
fn a_function_that_returns_a_command_runs_it_skips_its_task_and_shows_no_secret() {
    let system = System::new(&[("commands.yml", COMMANDS), ("commands.py", OF_COMMANDS)]);
    let file = system.home().join("dags/commands.yml").display().to_string();
    let output = system
        .command(&["dags", "test", &file])
        .env("AIRFLOW_VAR_DOOR_TOKEN", "s3cret-of-the-door")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("thinking of hello") && said.contains("hello world from commands"), "{said}");
    assert!(said.contains("it is ***") && !said.contains("s3cret"), "{said}");
    assert!(
        said.contains("there is nothing to do") && said.contains("skipped") && !said.contains("up_for_retry"),
        "{said}"
    );
}
