//! `BashSensor` and `PythonSensor`.

use std::time::Instant;

use updraft_operators::catalog;

use super::*;

fn quickly(args: Value, more: Value) -> Value {
    let mut all = json!({"poke_interval": 0.01, "timeout": 30});
    for args in [args, more] {
        all.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
    }
    all
}

fn bash(command: &str, more: Value) -> Ran {
    let args = quickly(json!({"bash_command": command}), more);
    run(&prepared(&order("BashSensor", args), &World::default()), None)
}

/// Is there at the third look, and before ends with this exit code.
fn third(code: u8) -> String {
    format!("echo x >> looks; [ $(wc -l < looks) -ge 3 ] || exit {code}; echo there")
}

#[test]
fn bash_looks_until_its_command_ends_well() {
    let ran = bash(&third(7), json!({}));
    assert_eq!(ran.outcome.end, AttemptEnd::Success, "{}", ran.output);
    assert_eq!(ran.output, "not there yet: exit code 7\n".repeat(2) + "there\n");
    assert_eq!((ran.result(), ran.outcome.exit_code), (Value::Null, Some(0)));
    let ran = bash(&third(7), json!({"retry_exit_code": 7}));
    assert_eq!(ran.outcome.end, AttemptEnd::Success, "{}", ran.output);
    let ran = bash(&third(7), json!({"retry_exit_code": [1, 7]}));
    assert_eq!(ran.outcome.end, AttemptEnd::Success, "{}", ran.output);
}

#[test]
fn another_exit_code_than_that_for_not_yet_is_a_failure_for_good() {
    let ran = bash(&third(7), json!({"retry_exit_code": 77}));
    assert_eq!((ran.outcome.end.clone(), ran.outcome.exit_code), (AttemptEnd::FailedForGood, Some(7)));
    assert!(ran.outcome.message.unwrap().starts_with("ended with exit code 7"), "{}", ran.output);
    for option in ["soft_fail", "never_fail"] {
        let ran = bash("exit 1", json!({"retry_exit_code": 77, option: true}));
        assert_eq!(ran.outcome.end, AttemptEnd::Skipped, "{option}: {}", ran.output);
    }
}

#[test]
fn bash_has_waited_enough_at_its_timeout() {
    let never = |more: Value| {
        let began = Instant::now();
        // Between the looks it does not wait for longer than there is time.
        let ran = bash("exit 1", quickly(json!({"poke_interval": 3600, "timeout": 0.2}), more));
        assert!(began.elapsed().as_secs() < 60, "{}", ran.output);
        assert_eq!(ran.output, "not there yet: exit code 1\n");
        ran.outcome
    };
    let late = never(json!({}));
    assert_eq!(late.end, AttemptEnd::FailedForGood);
    assert!(late.message.as_deref().unwrap().contains("was not there after 0."), "{late:?}");
    assert_eq!(never(json!({"soft_fail": true})).end, AttemptEnd::Skipped);
    assert_eq!(never(json!({"never_fail": true})).end, AttemptEnd::Skipped);
    let once = bash("echo look; false", json!({"timeout": 0}));
    assert_eq!((once.outcome.end, &*once.output), (AttemptEnd::FailedForGood, "look\n"));
}

#[test]
fn waits_grow_up_to_the_longest() {
    let looks = |more: Value| {
        let more = quickly(json!({"poke_interval": 0.01, "timeout": 1, "exponential_backoff": true}), more);
        bash("exit 1", more).output.lines().count()
    };
    // 10 + 20 + ... + 640 ms is more than the second there is.
    let (growing, limited) = (looks(json!({})), looks(json!({"max_wait": 0.02})));
    assert!((2..=8).contains(&growing) && limited > growing, "{growing} {limited}");
}

#[test]
fn a_look_has_the_environment_that_its_task_says_and_reads_nothing() {
    let show = "cat; echo ${HOME:-none} $A $AIRFLOW_CTX_TASK_ID ${UPDRAFT_RESULT:-none}";
    let alone = bash(show, json!({"env": {"A": "{{ ds }}"}}));
    assert_eq!(alone.output, "none 2026-01-31 extract none\n");
    let added = bash(show, json!({"env": {"A": "1"}, "append_env": true}));
    assert_eq!(added.output, format!("{} 1 extract none\n", std::env::var("HOME").unwrap()));
    let long = json!({"bash_command": "x".repeat(200_000)});
    let refused = prepare(&order("bash_sensor", long), &World::default()).unwrap_err().to_string();
    assert!(refused.contains("put it into a script"), "{refused}");
    let args = json!({"bash_command": "x", "output_encoding": "latin-1"});
    let refused = catalog::check("bash_sensor", args.as_object().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("can only be utf-8"), "{refused}");
}

const FUNCTIONS: &str = r#"
from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.sensors.base import PokeReturnValue

looks = []


def third(word, what="value", ds=None):
    looks.append(word)
    print("look", len(looks), word, ds)
    if len(looks) < 3:
        return PokeReturnValue(False, "early") if what == "more" else []
    return PokeReturnValue(True, {"looks": looks}) if what == "more" else [word]


def never():
    return None


def broken():
    raise ValueError("no good")


def skips():
    raise AirflowSkipException("not today")


def fails():
    raise AirflowFailException("never again")
"#;

fn python(name: &str, more: Value) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("looks.py"), FUNCTIONS).unwrap();
    let args = quickly(json!({"python_callable": format!("looks.{name}")}), more);
    let order = with_run(order("PythonSensor", args), |run| {
        run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
    });
    run(&prepared(&order, &World::default()), Some(&Api::start()))
}

#[test]
fn a_function_is_called_in_one_process_until_it_returns_something_true() {
    let ran = python("third", json!({"op_args": ["{{ ds }}"]}));
    assert_eq!((ran.outcome.end.clone(), ran.result()), (AttemptEnd::Success, Value::Null), "{}", ran.output);
    let looks =
        ["look 1 2026-01-31 2026-01-31", "look 2 2026-01-31 2026-01-31", "look 3 2026-01-31 2026-01-31"];
    assert_eq!(ran.output.lines().collect::<Vec<_>>(), looks);
    let ran = python("third", json!({"op_kwargs": {"word": "w", "what": "more"}}));
    assert_eq!(ran.result(), json!({"looks": ["w", "w", "w"]}), "{}", ran.output);
}

#[test]
fn how_a_function_fails_decides_what_becomes_of_its_sensor() {
    use AttemptEnd::{Failed, FailedForGood, Skipped};
    let short = |name: &str, more: Value| python(name, quickly(json!({"timeout": 0.05}), more)).outcome;
    for (name, more, end) in [
        ("never", json!({}), FailedForGood),
        ("never", json!({"soft_fail": true}), Skipped),
        ("never", json!({"never_fail": true}), Skipped),
        ("broken", json!({}), Failed),
        ("broken", json!({"soft_fail": true}), Failed),
        ("broken", json!({"never_fail": true}), Skipped),
        ("broken", json!({"silent_fail": true}), FailedForGood),
        ("skips", json!({"silent_fail": true}), Skipped),
        ("fails", json!({"silent_fail": true}), FailedForGood),
        ("fails", json!({"soft_fail": true}), Skipped),
    ] {
        let outcome = short(name, more.clone());
        assert_eq!(outcome.end, end, "{name} {more}: {:?}", outcome.message);
    }
    assert_eq!(short("broken", json!({})).message.unwrap(), "ValueError: no good");
    assert_eq!(short("fails", json!({})).message.unwrap(), "AirflowFailException: never again");
}

#[test]
fn sensors_are_found_under_the_names_that_airflow_had_for_them() {
    for (name, class) in [
        ("bash_sensor", "BashSensor"),
        ("airflow.providers.standard.sensors.bash.BashSensor", "BashSensor"),
        ("airflow.sensors.bash.BashSensor", "BashSensor"),
        ("python_sensor", "PythonSensor"),
        ("airflow.providers.standard.sensors.python.PythonSensor", "PythonSensor"),
        ("airflow.sensors.python.PythonSensor", "PythonSensor"),
    ] {
        assert_eq!(catalog::find(name).unwrap().name, class);
    }
    let error = catalog::check("python_sensor", &serde_json::Map::new()).unwrap_err().to_string();
    assert!(error.contains("needs `python_callable`"), "{error}");
}
