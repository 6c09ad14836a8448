//! The dialect beyond what the comparison with dag-factory shows.

use jiff::SignedDuration;
use serde_json::{Value, json};
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, Dag, DagId, GroupId, MapSource, Mapping, Role, TaskKind, TriggerRule,
    WaitRule, WeightRule,
};
use updraft_server::authoring::Format;

use super::{dag, errors, messages, read, read_as, task};

#[test]
fn operators_go_by_their_alias_too() {
    let dag = dag("d: {tasks: {t: {operator: bash, bash_command: echo}}}");
    assert_eq!(task(&dag, "t").operator, "BashOperator");
    assert_eq!(task(&dag, "t").args["bash_command"], json!("echo"));
}

#[test]
fn a_time_of_the_day_is_on_the_clock_of_the_dag() {
    let dag = dag("d:\n  timezone: Asia/Tokyo\n  start_date: 2026-01-01\n  tasks:\n    \
                   t: {operator: TimeSensor, target_time: '08:30:00'}\n");
    let TaskKind::Wait(WaitRule::TimeOfDay { zone, .. }) = &task(&dag, "t").kind else { panic!("no wait") };
    assert_eq!(zone, "Asia/Tokyo");
}

#[test]
fn email_becomes_alerts() {
    let dag =
        dag("d:\n  default_args: {email: 'a@x.org, b@x.org;c@x.org', email_on_retry: false}\n  tasks:\n    \
                   told: {operator: empty}\n    \
                   both: {operator: empty, email: [d@x.org], email_on_retry: true}\n    \
                   none: {operator: empty, email: null}\n");
    let mail = |on, to: &[&str]| {
        AlertSpec::new(on, AlertChannel::email(to.iter().map(|&to| to.to_owned()).collect()))
    };
    assert_eq!(task(&dag, "told").alerts, [mail(AlertOn::Failure, &["a@x.org", "b@x.org", "c@x.org"])]);
    assert_eq!(
        task(&dag, "both").alerts,
        [mail(AlertOn::Failure, &["d@x.org"]), mail(AlertOn::Retry, &["d@x.org"])]
    );
    assert!(task(&dag, "none").alerts.is_empty());
}

#[test]
fn nothing_means_airflows_default_whatever_the_dag_says() {
    let dag = dag("d:\n  default_args: {retries: 3, pool: heavy, execution_timeout: 60}\n  tasks:\n    \
                   t: {operator: empty, retries: null, pool: ~, execution_timeout: }\n");
    let task = task(&dag, "t");
    assert_eq!((task.retry.retries, &*task.pool, task.execution_timeout), (0, "default_pool", None));
}

#[test]
fn lengths_of_time_are_seconds_words_or_timedeltas() {
    for written in ["5400", "90 minutes", "PT1H30M", "1h 30m", "{__type__: datetime.timedelta, hours: 1.5}"] {
        let dag = dag(&format!("d: {{tasks: {{t: {{operator: empty, execution_timeout: {written}}}}}}}"));
        assert_eq!(task(&dag, "t").execution_timeout, Some(SignedDuration::from_mins(90)), "{written}");
    }
}

#[test]
fn objects_that_stand_for_words_days_and_lengths_are_read_as_these() {
    let object = |class: &str, rest: &str| format!("{{__type__: {class}, {rest}}}");
    let argument = |operator: &str, name: &str, value: &str| {
        let task = format!("{{operator: {operator}, {name}: {value}}}");
        dag(&format!("d: {{tasks: {{t: {task}}}}}")).tasks.remove(0)
    };
    let rule = object("airflow.task.weight_rule.WeightRule", "__args__: [absolute]");
    assert_eq!(argument("empty", "weight_rule", &rule).weight_rule, WeightRule::Absolute);
    let rule = object("airflow.task.trigger_rule.TriggerRule", "__args__: [all_done]");
    assert_eq!(argument("empty", "trigger_rule", &rule).trigger_rule, TriggerRule::AllDone);
    let day = object("airflow.providers.standard.utils.weekday.WeekDay", "__args__: [1]");
    let days = object("builtins.list", &format!("items: [{day}]"));
    assert_eq!(argument("DayOfWeekSensor", "week_day", &day).args["week_day"], "MONDAY");
    assert_eq!(argument("DayOfWeekSensor", "week_day", &days).args["week_day"], json!(["MONDAY"]));
    let hour = object("dateutil.relativedelta.relativedelta", "hours: 1");
    assert_eq!(argument("empty", "retry_delay", &hour).retry.delay, SignedDuration::from_hours(1));
    for (zone, offset) in [
        ("tz: Europe/Paris", "+02"),
        ("tz: {__type__: pendulum.timezone, __args__: [Asia/Tokyo]}", "+09"),
        ("tz: null", ""),
        ("second: 0", "+00"),
    ] {
        let time = object("pendulum.datetime", &format!("year: 2026, month: 7, day: 1, {zone}"));
        let read = argument("DateTimeSensor", "target_time", &time).args["target_time"].clone();
        assert_eq!(read, format!("2026-07-01T00:00:00{offset}"), "{zone}");
    }
}

#[test]
fn objects_that_stand_for_nothing_here_are_refused_with_the_mend() {
    for (key, object, mend) in [
        ("retry_delay", "{__type__: dateutil.relativedelta.relativedelta, months: 1}", "a cron, as in"),
        ("weight_rule", "{__type__: airflow.utils.weight_rule.WeightRule}", "`__args__: [value]`"),
    ] {
        let refused = errors(&format!("d: {{tasks: {{t: {{operator: empty, {key}: {object}}}}}}}"));
        assert!(refused.iter().any(|error| error.contains(mend)), "{object}: {refused:?}");
    }
}

#[test]
fn the_zone_of_a_start_date_has_no_effect_as_in_dag_factory() {
    let start = |zone: &str| {
        let date = format!("{{__type__: pendulum.datetime, year: 2026, month: 1, day: 1{zone}}}");
        dag(&format!("d: {{start_date: {date}, tasks: {{t: {{operator: empty}}}}}}"))
            .start_date
            .unwrap()
            .to_string()
    };
    assert_eq!(start(""), "2026-01-01T00:00:00Z");
    assert_eq!(start(", tz: Europe/Paris"), "2026-01-01T00:00:00Z");
}

/// As PyYAML and dag-factory make them; everybody else's arguments have them as text.
#[test]
fn python_gets_dates_and_lengths_of_time_as_its_own() {
    let delta = |seconds: i64| json!({"__type__": "datetime.timedelta", "seconds": seconds});
    let at = |zone: i64| {
        json!({
            "__type__": "datetime.datetime", "__args__": [2026, 1, 31, 6, 5, 4, 250_000],
            "tzinfo": {"__type__": "datetime.timezone", "__args__": [delta(zone)]},
        })
    };
    let values = json!({
        "day": {"__type__": "datetime.date", "__args__": [2026, 1, 31]},
        "at": [at(7200), {"__type__": "datetime.datetime", "__args__": [2026, 1, 31, 6, 0, 0, 0]}],
        "length": delta(-60),
        "path": {"__type__": "pathlib.Path", "__args__": ["p"], "since": delta(3600)},
    });
    let written = "{day: 2026-01-31, length: {__type__: datetime.timedelta, minutes: -1}, \
                   at: [2026-01-31 06:05:04.25 +02:00, 2026-01-31T06:00:00], path: {__type__: pathlib.Path, \
                   __args__: [p], since: {__type__: datetime.timedelta, hours: 1}}}";
    let dag = dag(&format!(
        "d:\n  default_args: {{retries: 1, since: 2026-01-31}}\n  tasks:\n    \
         f: {{operator: python, python_callable: m.f, op_kwargs: {written}, on_success_callback: \
         {{callback: m.tell, values: {written}}}}}\n    \
         c: {{operator: m.Class, values: {written}}}\n    \
         d: {{decorator: task, python_callable: m.f, values: {written}}}\n    \
         b: {{operator: bash, bash_command: echo, env: {{DAY: 2026-01-31}}}}\n"
    ));
    assert_eq!(task(&dag, "f").args["op_kwargs"], values);
    assert_eq!(task(&dag, "f").callbacks[0].kwargs["values"], values);
    assert_eq!(task(&dag, "c").args["values"], values);
    assert_eq!(task(&dag, "c").args["default_args"], json!({"since": values["day"]}));
    assert_eq!(task(&dag, "d").args["op_kwargs"]["values"], values);
    assert_eq!(task(&dag, "b").args["env"], json!({"DAY": "2026-01-31"}));
}

#[test]
fn a_function_that_returns_a_command_has_the_arguments_that_are_not_the_commands() {
    let dag = dag(
        "d:\n  default_args: {cwd: /srv}\n  tasks:\n    a: {operator: bash, bash_command: echo}\n    \
         t: {decorator: airflow.providers.standard.decorators.bash.bash_task, python_callable: m.f, env: {A: '1'}, \
         append_env: true, skip_on_exit_code: [7], output_encoding: utf-8, secrets: {S: x}, bash_command: mine, \
         of: +a, expand: {each: [1, 2]}}\n    \
         p: {decorator: task, python_callable: m.f, env: {A: '1'}}\n",
    );
    let t = task(&dag, "t");
    assert_eq!(
        json!(t.args),
        json!({
            "python_callable": "m.f", "env": {"A": "1"}, "append_env": true, "skip_on_exit_code": [7], "cwd": "/srv",
            "output_encoding": "utf-8", "secrets": {"S": "x"},
            "op_kwargs": {"bash_command": "mine", "of": t.args["op_kwargs"]["of"]},
        })
    );
    assert!(t.args["op_kwargs"]["of"].to_string().contains("\"a\""));
    let over = [("op_kwargs.each".to_owned(), MapSource::List(vec![json!(1), json!(2)]))];
    assert_eq!(t.map, Some(Mapping::Product(over.to_vec())));
    assert_eq!(task(&dag, "p").args["op_kwargs"], json!({"env": {"A": "1"}}));
}

/// Which those are, the operator knows.
#[test]
fn a_decorated_task_gives_its_operator_what_that_takes() {
    let dag = dag("d:\n  tasks:\n    \
                   wait: {decorator: airflow.sdk.task.sensor, python_callable: m.f, poke_interval: 5, mode: poke, of: 1}\n    \
                   stop: {decorator: airflow.sdk.task.short_circuit, python_callable: m.f, \
                   ignore_downstream_trigger_rules: false, secrets: {S: x}, op_args: [1]}\n    \
                   made: {decorator: airflow.sdk.task.virtualenv, python_callable: m.f, requirements: [a], of: 1}\n");
    let args = |id: &str| {
        let mut args = task(&dag, id).args.clone();
        args.remove("python_callable");
        json!(args)
    };
    assert_eq!(args("wait"), json!({"poke_interval": 5, "mode": "poke", "op_kwargs": {"of": 1}}));
    assert_eq!(
        args("stop"),
        json!({
            "ignore_downstream_trigger_rules": false, "secrets": {"S": "x"}, "op_kwargs": {"op_args": [1]},
        })
    );
    assert_eq!(args("made"), json!({"requirements": ["a"], "op_kwargs": {"of": 1}}));
}

/// As they get them without mapping.
#[test]
fn python_gets_what_it_is_mapped_over_as_its_own() {
    let dag = dag("d:\n  tasks:\n    list: {operator: empty}\n    \
                   f: {decorator: task, python_callable: m.f, expand: {day: [2026-01-31, {__type__: m.C}], of: \
                   {a: 2026-01-31}, each: {__zip__: [list.output, [2026-01-31]]}}}\n    \
                   o: {operator: python, python_callable: m.f, expand: {op_kwargs: [{day: 2026-01-31}]}}\n    \
                   k: {operator: python, expand_kwargs: [{python_callable: m.f, op_args: [2026-01-31]}]}\n    \
                   b: {operator: bash, bash_command: echo, expand: {env: [{DAY: 2026-01-31}]}}\n");
    let day = json!({"__type__": "datetime.date", "__args__": [2026, 1, 31]});
    let map = |id: &str| task(&dag, id).map.clone().unwrap();
    let list = |values: Vec<Value>| MapSource::List(values);
    let pairs = json!({"a": day}).as_object().cloned().unwrap();
    let zip = vec![MapSource::Result("list".into()), list(vec![day.clone()])];
    assert_eq!(
        map("f"),
        Mapping::Product(vec![
            ("op_kwargs.day".into(), list(vec![day.clone(), json!({"__type__": "m.C"})])),
            ("op_kwargs.of".into(), MapSource::Dict(pairs)),
            ("op_kwargs.each".into(), MapSource::Zip { sources: zip, fill: None }),
        ])
    );
    assert_eq!(map("o"), Mapping::Product(vec![("op_kwargs".into(), list(vec![json!({"day": day})]))]));
    let set = json!({"python_callable": "m.f", "op_args": [day]});
    assert_eq!(map("k"), Mapping::Kwargs(list(vec![set])));
    let text = json!({"DAY": "2026-01-31"});
    assert_eq!(map("b"), Mapping::Product(vec![("env".into(), list(vec![text]))]));
    let refused = errors("d: {tasks: {t: {operator: bash, expand: {bash_command: [{__type__: m.C}]}}}}");
    assert!(refused[0].contains("can't have a Python object of the class `m.C`"), "{refused:?}");
}

#[test]
fn default_arguments_are_for_the_operators_that_take_them() {
    let reading = read(
        "d:\n  default_args: {cwd: /tmp, retrys: 2}\n  tasks:\n    \
                        b: {operator: bash, bash_command: echo}\n    e: {operator: empty}\n",
    );
    assert_eq!(messages(&reading.errors), <[&str; 0]>::default());
    let spec = &reading.dags[0].spec;
    assert_eq!(task(spec, "b").args["cwd"], json!("/tmp"));
    assert!(task(spec, "e").args.is_empty());
    assert_eq!(
        messages(&reading.dags[0].warnings),
        ["dags.yml:2:29: d.default_args.retrys: no task takes the default argument `retrys`; did you mean \
          `retries`?"]
    );
}

#[test]
fn teardowns_clean_up_after_their_setups() {
    let dag = dag("d:\n  tasks:\n    make: {operator: empty, is_setup: true}\n    \
                   work: {operator: empty, dependencies: [make]}\n    \
                   clean: {operator: empty, is_teardown: true, on_failure_fail_dagrun: yes, dependencies: [work, make]}\n");
    assert_eq!(task(&dag, "make").role, Role::Setup);
    assert_eq!(task(&dag, "clean").role, Role::Teardown { on_failure_fail_dagrun: true });
    assert_eq!(task(&dag, "clean").trigger_rule, TriggerRule::AllDoneSetupSuccess);
}

#[test]
fn what_follows_a_group_does_not_wait_for_its_teardown() {
    let dag = dag("d:\n  task_groups: {g: {}}\n  tasks:\n    \
                   work: {operator: empty, task_group_name: g}\n    \
                   clean: {operator: empty, task_group_name: g, is_teardown: true, dependencies: [work]}\n    \
                   after: {operator: empty, dependencies: [g]}\n");
    let compiled = Dag::compile(dag).unwrap();
    let after = compiled.find("after").unwrap();
    assert_eq!(compiled.upstream(after), [compiled.find("g.work").unwrap()]);
}

#[test]
fn groups_may_be_named_before_those_around_them_and_leave_names_alone() {
    let dag = dag("d:\n  task_groups:\n    inner: {parent_group_name: outer, prefix_group_id: false}\n    \
                   outer: {tooltip: around}\n  tasks:\n    \
                   t: {operator: empty, task_group_name: inner}\n");
    let groups: Vec<_> = dag.groups.iter().map(|group| (&*group.group_id, group.parent.as_deref())).collect();
    assert_eq!(groups, [("outer", None), ("outer.inner", Some("outer"))]);
    assert_eq!(dag.groups[0].tooltip.as_deref(), Some("around"));
    assert_eq!(&*dag.tasks[0].task_id, "t");
    assert_eq!(dag.tasks[0].group, Some(GroupId::from("outer.inner")));
}

#[test]
fn a_task_is_mapped_over_lists_mappings_and_results() {
    let dag = dag("d:\n  tasks:\n    list: {operator: bash, bash_command: echo}\n    \
                   t:\n      operator: Anything\n      partial: {fixed: 1, retries: 2}\n      \
                   expand: {a: [1, 2], b: {k: v}, c: list.output, d: XcomArg(list), e: +list}\n    \
                   k: {operator: Anything, expand_kwargs: [{a: 1}, {a: 2}]}\n");
    let result = || MapSource::Result("list".into());
    let Some(Mapping::Product(sources)) = &task(&dag, "t").map else { panic!("not mapped") };
    let pairs = json!({"k": "v"}).as_object().unwrap().clone();
    assert_eq!(
        sources,
        &[
            ("a".to_owned(), MapSource::List(vec![json!(1), json!(2)])),
            ("b".to_owned(), MapSource::Dict(pairs)),
            ("c".to_owned(), result()),
            ("d".to_owned(), result()),
            ("e".to_owned(), result()),
        ]
    );
    assert_eq!(task(&dag, "t").args["fixed"], json!(1));
    assert_eq!(task(&dag, "t").retry.retries, 2);
    let kwargs = MapSource::List(vec![json!({"a": 1}), json!({"a": 2})]);
    assert_eq!(task(&dag, "k").map, Some(Mapping::Kwargs(kwargs)));
}

#[test]
fn what_is_mapped_over_may_be_zipped_and_put_one_after_the_other() {
    let dag = dag("d:\n  tasks:\n    list: {operator: bash, bash_command: echo}\n    \
                   t:\n      operator: Anything\n      \
                   expand: {a: {__zip__: [list.output, [1, 2]]}, b: {__concat__: [[0], {__zip__: [[1], [2]]}]}}\n    \
                   k: {operator: Anything, expand_kwargs: {__concat__: [list.output, [{a: 2}]]}}\n");
    let (result, list) = (|| MapSource::Result("list".into()), |items: Vec<Value>| MapSource::List(items));
    let zip = |sources| MapSource::Zip { sources, fill: None };
    let Some(Mapping::Product(sources)) = &task(&dag, "t").map else { panic!("not mapped") };
    let inner = zip(vec![list(vec![json!(1)]), list(vec![json!(2)])]);
    assert_eq!(
        sources,
        &[
            ("a".to_owned(), zip(vec![result(), list(vec![json!(1), json!(2)])])),
            ("b".to_owned(), MapSource::Concat(vec![list(vec![json!(0)]), inner])),
        ]
    );
    let kwargs = MapSource::Concat(vec![result(), list(vec![json!({"a": 2})])]);
    assert_eq!(task(&dag, "k").map, Some(Mapping::Kwargs(kwargs)));
}

#[test]
fn what_is_put_together_stands_alone() {
    for expand in ["{__zip__: [[1], [2]], fillvalue: 0}", "{__zpi__: [[1], [2]]}"] {
        let file = format!("d:\n  tasks:\n    t: {{operator: Anything, expand: {{a: {expand}}}}}\n");
        let told = errors(&file);
        assert!(told[0].contains("`__zip__` and `__concat__` stand alone"), "{told:?}");
    }
}

#[test]
fn params_may_say_what_they_have_to_be() {
    let dag = dag("d:\n  params:\n    plain: [1, 2]\n    size:\n      __type__: airflow.sdk.Param\n      \
                   __args__: [3]\n      type: integer\n      minimum: 1\n      description: how many\n  \
                   tasks: {t: {operator: empty}}\n");
    assert_eq!(dag.params["plain"].value, json!([1, 2]));
    let size = &dag.params["size"];
    assert_eq!(size.value, json!(3));
    assert_eq!(size.description.as_deref(), Some("how many"));
    assert_eq!(size.schema, json!({"type": "integer", "minimum": 1}));
}

#[test]
fn a_task_may_have_params_of_its_own_over_those_of_its_defaults() {
    let dag = dag("d:\n  params: {a: 1}\n  default_args: {params: {b: 2, c: 3}}\n  tasks:\n    \
                   t: {operator: empty, params: {c: 4}}\n    u: {operator: empty}\n");
    let values = |name: &str| {
        let params = &task(&dag, name).params;
        params.iter().map(|(name, param)| format!("{name}={}", param.value)).collect::<Vec<_>>()
    };
    assert_eq!(
        (values("t"), values("u")),
        (vec!["b=2".into(), "c=4".into()], vec!["b=2".into(), "c=3".into()])
    );
    let reading = read(
        "d:\n  schedule: '@daily'\n  start_date: 2026-01-01\n  tasks:\n    t:\n      operator: empty\n      \
                        params: {day: {__type__: airflow.sdk.Param, type: string}}\n",
    );
    let errors = messages(&reading.errors);
    assert!(errors[0].contains("`t`: a scheduled run is given nothing"), "{errors:?}");
}

#[test]
fn what_is_harmless_is_taken_and_what_has_no_effect_is_told() {
    let reading = read(
        "d:\n  default_view: tree\n  orientation: LR\n  doc_md_python_callable_name: f\n  tasks:\n    \
                        t: {operator: empty, ui_color: red, doc: x, executor_config: {x: y}}\n",
    );
    assert_eq!(reading.dags.len(), 1);
    let warnings = messages(&reading.dags[0].warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let of_doc = "d.doc_md_python_callable_name: `doc_md_python_callable_name` has no effect";
    assert!(warnings[0].starts_with(&format!("dags.yml:4:3: {of_doc}")));
    assert!(
        warnings[1].starts_with("dags.yml:6:49: d.tasks.t.executor_config: `executor_config` has no effect")
    );
}

#[test]
fn relative_dates_count_from_the_beginning_of_today_in_their_zone() {
    let dag =
        dag("d:\n  timezone: Pacific/Auckland\n  start_date: 2 days\n  tasks: {t: {operator: empty}}\n");
    // It is the 1st of February there, just after midnight, in summer time.
    assert_eq!(dag.start_date.unwrap().to_string(), "2026-01-29T11:00:00Z");
}

#[test]
fn dates_may_be_days_of_weeks_or_of_years_and_months() {
    for (written, day) in [
        ("2024-W05-1", "2024-01-29T00:00:00Z"),
        ("2024-W05", "2024-01-29T00:00:00Z"),
        ("2024W057T06:30", "2024-02-04T06:30:00Z"),
        ("2024-032", "2024-02-01T00:00:00Z"),
        ("2024-366 06:30:00", "2024-12-31T06:30:00Z"),
        ("2024-02", "2024-02-01T00:00:00Z"),
        ("2024", "2024-01-01T00:00:00Z"),
    ] {
        let dag = dag(&format!("d: {{start_date: '{written}', tasks: {{t: {{operator: empty}}}}}}"));
        assert_eq!(dag.start_date.unwrap().to_string(), day, "{written}");
    }
    for none in ["2024-13", "24", "2024-W53-1", "2024-W05-8", "2023-366", "2024-W05-x"] {
        let text = format!("d: {{start_date: '{none}', tasks: {{t: {{operator: empty}}}}}}");
        assert!(errors(&text)[0].contains("expected a date"), "{none}");
    }
}

#[test]
fn anchors_may_be_kept_in_entries_of_their_own() {
    let dag = dag("x-common: &common {operator: empty, retries: 2}\nd: {tasks: {t: *common}}\n");
    assert_eq!(task(&dag, "t").retry.retries, 2);
}

#[test]
fn a_file_without_tasks_is_no_dag_file_but_a_document_has_to_have_some() {
    assert_eq!(
        errors("services: {web: {image: nginx}}"),
        ["dags.yml: no entry of this document has `tasks`: write `my_dag: {tasks: …}`"]
    );
}

#[test]
fn json_is_read_like_yaml() {
    let reading =
        read_as(r#"{"d": {"schedule": "@daily", "tasks": {"t": {"operator": "empty"}}}}"#, Format::Json);
    assert_eq!(reading.errors, []);
    let yaml = dag("d: {schedule: '@daily', tasks: {t: {operator: empty}}}");
    assert_eq!(*reading.dags[0].spec, yaml);
    assert_eq!(
        reading.dags[0].hash,
        read("d: {schedule: '@daily', tasks: {t: {operator: empty}}}").dags[0].hash
    );

    let wrong = read_as(r#"{"d": {"tasks": {"t": {"operator": "empty", "retries": "x"}}}}"#, Format::Json);
    assert_eq!(
        messages(&wrong.errors),
        ["dags.yml: d.tasks.t.retries: expected a whole number, 0 or more, found the text `x`"]
    );
}

#[test]
fn equal_dags_have_equal_hashes_and_others_others() {
    let hash = |text: &str| read(text).dags[0].hash.clone();
    let one = hash("d: {tasks: {t: {operator: bash, bash_command: echo, env: {A: a, B: b}}}}");
    assert_eq!(one.len(), 64);
    assert_eq!(
        one,
        hash("d:\n  tasks:\n    t: {env: {B: b, A: a}, bash_command: echo, operator: BashOperator}\n")
    );
    assert_ne!(one, hash("d: {tasks: {t: {operator: bash, bash_command: echo, env: {A: a, B: c}}}}"));
}

#[test]
fn an_error_hides_neither_the_other_dags_nor_the_other_errors() {
    let reading = read(
        "a: {tasks: {t: {operator: empty, retries: x, pool_slots: -1}}}\nb: {tasks: {t: {operator: empty}}}\n",
    );
    assert_eq!(
        messages(&reading.errors),
        [
            "dags.yml:1:43: a.tasks.t.retries: expected a whole number, 0 or more, found the text `x`",
            "dags.yml:1:58: a.tasks.t.pool_slots: expected a whole number, 0 or more, found the number -1",
        ]
    );
    assert_eq!(reading.errors[0].dag_id, Some(DagId::from("a")));
    assert_eq!(reading.dags.len(), 1);
    assert_eq!(&*reading.dags[0].spec.dag_id, "b");
    assert_eq!(reading.named, Some(vec!["a".into(), "b".into()]));
}

/// As in dag-factory, what stands in a mapping is called by its name there.
#[test]
fn an_id_beside_a_name_has_no_effect() {
    let reading = read("d:\n  dag_id: e\n  tasks:\n    t: {operator: empty, task_id: u}\n");
    assert_eq!(reading.dags.len(), 1, "{:?}", reading.errors);
    let spec = &reading.dags[0].spec;
    assert_eq!((&*spec.dag_id, &*spec.tasks[0].task_id), ("d", "t"));
    let warnings = messages(&reading.dags[0].warnings);
    assert!(
        warnings[0].contains("this DAG is called `d`") && warnings[1].contains("this task is called `t`")
    );
}

#[test]
fn retries_may_be_a_number_as_text() {
    let of = |written: &str| format!("d: {{tasks: {{t: {{operator: empty, retries: {written}}}}}}}");
    for (written, retries) in [("3", 3), ("'3'", 3), ("' 2 '", 2), ("null", 0)] {
        assert_eq!(task(&dag(&of(written)), "t").retry.retries, retries, "{written}");
    }
    for wrong in ["'-1'", "'3.5'", "three", "''"] {
        assert!(errors(&of(wrong))[0].contains("a whole number, 0 or more"), "{wrong}");
    }
}
