use jiff::{SignedDuration, civil::time};
use serde_json::json;
use updraft_core::MapSource;

use super::*;

fn args(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn kind(name: &str, given: Value) -> TaskKind {
    check(name, &args(given)).unwrap().kind
}

fn error(name: &str, given: Value) -> String {
    check(name, &args(given)).unwrap_err().to_string()
}

#[test]
fn no_name_means_two_operators() {
    let mut names: Vec<&str> =
        all().iter().flat_map(|e| [e.name].into_iter().chain(e.aliases.iter().copied())).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_operator_and_argument_is_documented_and_named_once() {
    for entry in all() {
        assert!(entry.doc.ends_with('.'), "{}", entry.name);
        let mut names: Vec<_> = entry.arguments().map(|argument| argument.name).collect();
        assert!(entry.arguments().all(|argument| argument.doc.ends_with('.')), "{}", entry.name);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", entry.name);
    }
}

#[test]
fn an_operator_is_found_by_its_class_its_old_and_new_paths_and_its_alias() {
    for name in [
        "BashOperator",
        "bash",
        "airflow.operators.bash.BashOperator",
        "airflow.operators.bash_operator.BashOperator",
        "airflow.providers.standard.operators.bash.BashOperator",
    ] {
        let checked = check(name, &args(json!({"bash_command": "true"}))).unwrap();
        assert_eq!((&*checked.operator, checked.kind), ("BashOperator", TaskKind::Run));
    }
    let own = check("my.company.BashOperator", &args(json!({"anything": [1]}))).unwrap();
    assert_eq!((&*own.operator, own.kind), ("my.company.BashOperator", TaskKind::Run));
    for name in ["my..Operator", ".Operator", "my.", "my.1st", "my.op erator"] {
        let wrong = check(name, &Map::new()).unwrap_err();
        assert!(matches!(wrong, BadOperator::Unknown { .. }), "{wrong}");
    }
    assert_eq!(
        check("BashOperater", &Map::new()).unwrap_err().to_string(),
        "there is no operator `BashOperater`; did you mean `BashOperator`?"
    );
}

#[test]
fn only_a_name_that_is_near_is_a_hint() {
    let said = |name: &str| find(name).map(|entry| entry.name).unwrap_err().to_string();
    for (name, meant) in [
        ("BashOpertor", "BashOperator"),
        ("BashoOperator", "BashOperator"),
        ("EmptyOprator", "EmptyOperator"),
        ("bsh", "bash"),
        ("FilSensor", "FileSensor"),
    ] {
        assert!(said(name).ends_with(&format!("did you mean `{meant}`?")), "{}", said(name));
    }
    for name in ["KubernetesPodOperator", "BigQueryGetDataOperator"] {
        let said = said(name);
        assert!(
            said.contains(": there are BashOperator, PythonOperator") && !said.contains("mean"),
            "{said}"
        );
        assert!(said.ends_with(&format!("by the whole path to it: `package.module.{name}`")), "{said}");
    }
    let warned = |name| needs_airflow(name).unwrap_or_default();
    let unlike = warned("airflow.operators.dagrun_operator.X");
    assert!(unlike.ends_with("where the worker's python3 has Airflow and this class."), "{unlike}");
    assert!(warned("airflow.operators.bash.BashOpertor").ends_with("Did you mean `BashOperator`?"));
    assert_eq!(
        (warned("airflow.operators.bash.BashOperator"), warned("my.Operator")),
        ("".into(), "".into())
    );
    assert!(
        said("nothing").starts_with("there is no operator `nothing`: there are Bash"),
        "{}",
        said("nothing")
    );
}

#[test]
fn unknown_missing_and_mistyped_arguments_are_named_with_the_mend() {
    assert_eq!(
        error("bash", json!({"bash_comand": "true"})),
        "BashOperator: `bash_comand` is no argument of it; did you mean `bash_command`? It takes: \
         bash_command, env, append_env, secrets, cwd, skip_on_exit_code, output_encoding"
    );
    assert_eq!(error("bash", json!({})), "BashOperator: `bash_command` is required");
    assert_eq!(
        error("bash", json!({"bash_command": null})),
        "BashOperator: `bash_command` must be a string; found nothing (null)"
    );
    assert_eq!(
        error("bash", json!({"bash_command": "x", "append_env": "yes"})),
        "BashOperator: `append_env` must be true or false; found the text \"yes\""
    );
    assert!(
        error("bash", json!({"bash_command": "x", "output_processor": "f"}))
            .contains("no argument of it. It takes")
    );
    assert!(error("python", json!({"python_callable_name": "f"})).contains("python_callable_file"));
    assert!(error("script", json!({"script": "a", "script_file": "b"})).contains("not both"));
    assert!(error("wait", json!({})).contains("`seconds` or `delta`"));
    let object = |class: &str| json!([{"__type__": class, "__args__": ["p"]}]);
    let bash = json!({"bash_command": "true", "env": {"PATHS": object("pathlib.Path")}});
    assert!(
        error("bash", bash).contains("`env` can't have a Python object of the class `pathlib.Path` in it")
    );
    let python = |class: &str| json!({"python_callable": "m.f", "op_args": object(class)});
    assert!(error("python", python("Path")).contains("package.module.Class"));
    let two = json!({"a": object("pathlib.Path"), "b": {"c": object("Path")}});
    assert!(
        error("python", json!({"python_callable": "m.f", "op_kwargs": two})).contains("of the class `Path`"),
        "each object is looked at"
    );
    check("python", python("pathlib.Path").as_object().unwrap()).unwrap();
    assert!(error("time_delta_sensor", json!({"delta": "soon"})).contains("must be a duration"));
}

#[test]
fn a_wait_with_a_literal_is_the_engines_and_one_with_a_template_a_workers() {
    let seconds = SignedDuration::from_secs;
    assert_eq!(kind("empty", json!({})), TaskKind::Empty);
    let delta = json!({"delta": {"__type__": "datetime.timedelta", "seconds": 90}});
    assert_eq!(kind("TimeDeltaSensorAsync", delta), TaskKind::Wait(WaitRule::AfterInterval(seconds(90))));
    let words = json!({"delta": "90 seconds"});
    assert_eq!(kind("TimeDeltaSensor", words), TaskKind::Wait(WaitRule::AfterInterval(seconds(90))));
    // A bare number counts minutes in Airflow's own sensors.
    assert_eq!(
        kind("TimeDeltaSensor", json!({"delta": 2})),
        TaskKind::Wait(WaitRule::AfterInterval(seconds(120)))
    );
    assert_eq!(kind("wait", json!({"seconds": 2})), TaskKind::Wait(WaitRule::AfterReady(seconds(2))));
    assert_eq!(kind("wait", json!({"seconds": "{{ params.s }}"})), TaskKind::Watch);
    let at = "2026-01-01T11:00:00Z".parse().unwrap();
    assert_eq!(
        kind("DateTimeSensor", json!({"target_time": "2026-01-01 12:00:00+01:00"})),
        TaskKind::Wait(WaitRule::At(at))
    );
    assert_eq!(kind("DateTimeSensor", json!({"target_time": "{{ ts }}"})), TaskKind::Watch);
    let checked =
        check("TimeSensor", &args(json!({"target_time": "18:30"}))).unwrap().in_zone("Europe/Paris");
    let rule = WaitRule::TimeOfDay { time: time(18, 30, 0, 0), zone: "Europe/Paris".into() };
    assert_eq!(checked.kind, TaskKind::Wait(rule));
}

#[test]
fn what_a_task_is_mapped_over_is_not_missed_and_is_checked_where_it_is_written() {
    let over = |values: Vec<Value>| Mapping::Product(vec![("bash_command".into(), MapSource::List(values))]);
    assert!(check_mapped("bash", &Map::new(), &over(vec![json!("a"), json!("b")])).is_ok());
    assert!(check_mapped("bash", &Map::new(), &over(vec![json!(1)])).is_err());
    let unknown = Mapping::Product(vec![("comand".into(), MapSource::Result("up".into()))]);
    assert!(check_mapped("bash", &Map::new(), &unknown).is_err());
    let kwargs = Mapping::Kwargs(MapSource::Result("up".into()));
    assert!(check_mapped("bash", &Map::new(), &kwargs).is_ok());
    let seconds = Mapping::Product(vec![("seconds".into(), MapSource::List(vec![json!(1)]))]);
    assert_eq!(check_mapped("wait", &Map::new(), &seconds).unwrap().kind, TaskKind::Watch);
}

#[test]
fn a_sensor_that_would_look_without_a_pause_is_refused_with_the_mend() {
    for none in [json!(0), json!("0 seconds"), json!("00:00:00"), json!({"__type__": "datetime.timedelta"})] {
        for (name, mut given) in [
            ("FileSensor", json!({"filepath": "a"})),
            ("TriggerDagRunOperator", json!({"trigger_dag_id": "d"})),
        ] {
            given["poke_interval"] = none.clone();
            let error = error(name, given);
            assert!(
                error.contains("`poke_interval` must be longer than 0") && error.contains("1 second"),
                "{error}"
            );
        }
    }
}

#[test]
fn looking_more_than_once_a_second_is_warned_of() {
    let warning = |interval: Value| too_often(&args(json!({"poke_interval": interval})));
    assert!(warning(json!(0.5)).unwrap().contains("write `1 second` or more"));
    assert!(warning(json!("20 ms")).is_some());
    assert_eq!(warning(json!(1)), None);
    assert_eq!(too_often(&Map::new()), None);
}
