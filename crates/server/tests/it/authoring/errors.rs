//! Each kind of error: what it says, and where.

use super::{dag, errors};

/// The errors of a DAG with this one task.
fn of_task(fields: &str) -> Vec<String> {
    errors(&format!("d:\n  tasks:\n    t: {{operator: empty, {fields}}}\n"))
}

/// The errors of a DAG with this setting.
fn of_dag(setting: &str) -> Vec<String> {
    errors(&format!("d:\n  {setting}\n  tasks: {{t: {{operator: empty}}}}\n"))
}

#[track_caller]
fn assert_one(errors: &[String], expected: &str) {
    assert_eq!(errors, [expected]);
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    assert_one(&errors("a: 1\nb: [1, 2\n"), "dags.yml:2:4: this is not YAML: unclosed bracket '['");
    assert_one(
        &errors("a:\n\t- b\n"),
        "dags.yml:2:2: this is not YAML: tabs disallowed within this context (block indentation)",
    );
}

#[test]
fn two_documents_in_a_file_are_refused() {
    assert_one(
        &errors("a: {tasks: {}}\n---\nb: {tasks: {}}\n"),
        "dags.yml:2:1: a DAG file is one document: take this `---` out, or split the file",
    );
}

#[test]
fn a_key_that_stands_twice_is_refused_for_its_dag_alone() {
    let text = "a: {tasks: {t: {operator: empty}}}\nb:\n  catchup: true\n  tasks: {t: {operator: empty}}\n  catchup: false\n";
    let reading = super::read(text);
    assert_one(
        &super::messages(&reading.errors),
        "dags.yml:5:3: b.catchup: the key `catchup` stands here twice: keep one of the two",
    );
    assert_eq!(reading.dags.len(), 1);
    assert_one(
        &errors("a: {tasks: {t: {operator: empty}}}\nb: {tasks: {t: {operator: empty}}}\na: {tasks: {}}\n"),
        "dags.yml:3:1: a: the key `a` stands here twice: keep one of the two",
    );
}

#[test]
fn a_template_without_quotes_is_explained() {
    assert_one(
        &errors("d:\n  tasks:\n    t:\n      operator: bash\n      bash_command: {{ ds }}\n"),
        "dags.yml:5:21: d.tasks.t.bash_command: this is a mapping with a mapping as a key: if it is a template (`{{ … }}`), put it in quotes",
    );
}

#[test]
fn tags_of_old_dag_factory_and_of_python_are_refused_with_the_mend() {
    assert_one(
        &of_task("doc_md: !join [a, b]"),
        "dags.yml:3:40: d.tasks.t.doc_md: expected text, found the tag `!join`, which is not read here: write \
         `__join__:` with a list",
    );
}

#[test]
fn unknown_keys_come_with_the_nearest_one() {
    assert_one(
        &of_dag("shedule: '@daily'"),
        "dags.yml:2:3: d.shedule: a DAG has no `shedule`; did you mean `schedule`?",
    );
    assert_one(
        &of_dag("retries: 3"),
        "dags.yml:2:3: d.retries: a DAG has no `retries`; it belongs to a task, or in default_args",
    );
    let unknown = of_task("retrys: 3");
    assert!(
        unknown[0].starts_with("dags.yml:3:26: d.tasks.t.retrys: EmptyOperator: ")
            && unknown[0].ends_with("did you mean `retries`?"),
        "{unknown:?}"
    );
    assert_one(
        &of_dag("task_groups: {g: {tooltipp: x}}"),
        "dags.yml:2:21: d.task_groups.g.tooltipp: a task group has no `tooltipp`; did you mean `tooltip`?",
    );
    assert_one(
        &errors("defualt: {catchup: true}\nd: {tasks: {t: {operator: empty}}}\n"),
        "dags.yml:1:1: defualt: `defualt` has no tasks: add them, or call it `x-defualt` if it only keeps anchors; \
         did you mean `default`?",
    );
}

#[test]
fn unknown_operators_come_with_the_nearest_one() {
    let unknown = errors("d: {tasks: {t: {operator: BashOperater}}}");
    assert_eq!(unknown.len(), 1);
    assert!(
        unknown[0].starts_with("dags.yml:1:27: d.tasks.t.operator: there is no operator `BashOperater`"),
        "{unknown:?}"
    );
    assert!(unknown[0].contains("`BashOperator`"), "{unknown:?}");
    assert_one(
        &errors("d:\n  tasks:\n    t: {retries: 1}\n"),
        "dags.yml:3:5: d.tasks.t: this task has no `operator`: write, for example, `operator: BashOperator`. (A list \
         of tasks is not merged with that of `default`; mappings of tasks are.)",
    );
}

#[test]
fn an_operators_arguments_are_checked_where_they_stand() {
    let missing = errors("d:\n  tasks:\n    t: {operator: bash}\n");
    assert!(missing[0].starts_with("dags.yml:3:5: d.tasks.t: BashOperator: `bash_command`"), "{missing:?}");
    let template = errors("d:\n  tasks:\n    t: {operator: bash, bash_command: 1}\n");
    assert!(template[0].starts_with("dags.yml:3:25: d.tasks.t.bash_command: BashOperator: "), "{template:?}");
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    assert_one(
        &of_task("owner: yes"),
        "dags.yml:3:33: d.tasks.t.owner: expected text, found the boolean `true`: put it in quotes",
    );
    assert_one(
        &of_task("depends_on_past: 'yes'"),
        "dags.yml:3:43: d.tasks.t.depends_on_past: expected true or false, found the text `yes`",
    );
    assert_one(
        &of_task("retries: 99999999999"),
        "dags.yml:3:35: d.tasks.t.retries: expected a whole number, 4294967295 at most, found the number 99999999999",
    );
    assert_one(
        &of_task("retry_delay: -5"),
        "dags.yml:3:39: d.tasks.t.retry_delay: expected a length of time (seconds as a number, `5 minutes`, or a \
         timedelta), found the number -5",
    );
    assert_one(
        &of_task("retry_exponential_backoff: x"),
        "dags.yml:3:53: d.tasks.t.retry_exponential_backoff: expected true, false or a number, 0 or more, found the text `x`",
    );
    assert_one(
        &of_task("email: nobody"),
        "dags.yml:3:33: d.tasks.t.email: `nobody` is no mail address: it has no `@`",
    );
    assert_one(
        &of_task("trigger_rule: all_sucess"),
        "dags.yml:3:40: d.tasks.t.trigger_rule: `all_sucess` is none of all_success, all_failed, all_done, \
         all_done_min_one_success, all_done_setup_success, all_skipped, one_failed, one_success, one_done, none_failed, \
         none_failed_min_one_success, none_skipped, always; did you mean `all_success`?",
    );
    assert_one(
        &of_task("dependencies: t"),
        "dags.yml:3:40: d.tasks.t.dependencies: expected a list of tasks and task groups (`[extract]`), found the text `t`",
    );
    assert_one(
        &of_dag("tags: {a: b}"),
        "dags.yml:2:9: d.tags: expected text or a list of texts, found a mapping",
    );
    assert_one(&of_dag("params: [a]"), "dags.yml:2:11: d.params: expected params as a mapping, found a list");
    assert_one(
        &of_dag("default_args: 5"),
        "dags.yml:2:17: d.default_args: default_args is a mapping, and this is the number 5",
    );
    assert_one(
        &of_task("alerts: [{on: failure, mail: x@y}]"),
        "dags.yml:3:49: d.tasks.t.alerts[0].mail: an alert has no `mail`; did you mean `email`?",
    );
    assert_one(
        &errors("d: {tasks: 5}"),
        "dags.yml:1:12: d.tasks: expected a mapping from names to tasks or a list of tasks, found the number 5",
    );
}

#[test]
fn names_are_checked() {
    assert_one(
        &errors("d: {tasks: {'a task': {operator: empty}}}"),
        "dags.yml:1:13: d.tasks.a task: `a task` can't be a task: its name is made of letters, digits, dashes, dots \
         and underscores",
    );
    assert_one(
        &errors("d/e: {tasks: {t: {operator: empty}}}"),
        "dags.yml:1:1: d/e: `d/e` can't be a DAG: its name is made of letters, digits, dashes, dots and underscores",
    );
    assert_one(
        &errors("d:\n  tasks:\n    - {task_id: a, operator: empty}\n    - {task_id: a, operator: empty}\n"),
        "dags.yml:4:17: d.tasks[1].task_id: two tasks are called `a`: give one another name",
    );
}

#[test]
fn unknown_neighbours_come_with_the_nearest_one() {
    assert_one(
        &errors(
            "d:\n  tasks:\n    extract: {operator: empty}\n    load: {operator: empty, dependencies: [extrakt]}\n",
        ),
        "dags.yml:4:44: d.tasks.load.dependencies[0]: there is no task and no task group `extrakt`; did you mean \
         `extract`?",
    );
    assert_one(
        &of_task("task_group_name: g"),
        "dags.yml:3:43: d.tasks.t.task_group_name: there is no task group `g`",
    );
}

#[test]
fn circles_are_named() {
    assert_one(
        &errors(
            "d:\n  tasks:\n    a: {operator: empty, dependencies: [b]}\n    b: {operator: empty, dependencies: [a]}\n",
        ),
        "dags.yml:4:5: d.tasks.b: these tasks wait for each other in a circle: b -> a -> b; take one of these \
         dependencies out",
    );
    assert_one(
        &of_dag("task_groups: {g: {parent_group_name: h}, h: {parent_group_name: g}}"),
        "dags.yml:2:17: d.task_groups.g: the task group `g` lies in itself: take its parent_group_name out",
    );
}

#[test]
fn dates_zones_and_crons_are_checked() {
    assert_one(
        &of_dag("start_date: yesterday"),
        "dags.yml:2:15: d.start_date: expected a date (`2026-01-31`, `2026-01-31T06:00:00`, or `2 days` for so long \
         before today), found the text `yesterday`",
    );
    assert_one(
        &of_dag("start_date: 2026-02-30"),
        "dags.yml:2:15: d.start_date: expected a date (`2026-01-31`, `2026-01-31T06:00:00`, or `2 days` for so long \
         before today), found `2026-02-30`, which is no date of the calendar",
    );
    assert_one(
        &of_dag("timezone: Europe/Berlim"),
        "dags.yml:2:13: d.timezone: there is no time zone `Europe/Berlim`: write an IANA name, like `Europe/Berlin`",
    );
    let cron = of_dag("schedule: '61 * * * *'");
    assert!(cron[0].starts_with("dags.yml:2:13: d.schedule: cron \"61 * * * *\""), "{cron:?}");
    assert_one(
        &of_dag("schedule: 5"),
        "dags.yml:2:13: d.schedule: expected a cron, a preset (`@daily`), a timedelta, or a list of crons, of dates or of \
         assets, found the number 5",
    );
    assert_one(
        &of_dag("schedule: {__type__: my.Timetable}"),
        "dags.yml:2:13: d.schedule: the timetable `my.Timetable` is not known: write a cron, a timedelta or one of \
         Airflow's timetables",
    );
}

#[test]
fn mappings_are_checked() {
    assert_one(
        &of_task("expand: {x: nowhere.output}"),
        "dags.yml:3:38: d.tasks.t.expand.x: there is no task and no task group `nowhere`",
    );
    assert_one(
        &of_task("expand: {x: 5}"),
        "dags.yml:3:38: d.tasks.t.expand.x: expected a list, a mapping, or a task's result (`task.output`), found the \
         number 5",
    );
    assert_one(
        &of_task("partial: {}"),
        "dags.yml:3:35: d.tasks.t.partial: `partial` is for a task with `expand`: write these arguments at the task \
         itself",
    );
}

#[test]
fn setups_and_teardowns_are_checked() {
    assert_one(
        &of_task("is_setup: true, is_teardown: true"),
        "dags.yml:3:5: d.tasks.t: a task is a setup or a teardown, not both: take one of the two out",
    );
    assert_one(
        &of_task("is_teardown: true, trigger_rule: always"),
        "dags.yml:3:59: d.tasks.t.trigger_rule: a teardown runs when all before it is done and its setup has succeeded: \
         take its trigger_rule out",
    );
}

#[test]
fn decorators_have_the_names_that_airflow_has_them_under_and_a_time_of_day_may_be_an_object() {
    for (decorator, operator) in [
        ("airflow.sdk.task", "PythonOperator"),
        ("airflow.providers.standard.decorators.python.python_task", "PythonOperator"),
        ("airflow.providers.standard.decorators.branch_python.branch_task", "BranchPythonOperator"),
        ("airflow.providers.standard.decorators.short_circuit.short_circuit_task", "ShortCircuitOperator"),
        ("airflow.providers.standard.decorators.sensor.sensor_task", "PythonSensor"),
        ("airflow.decorators.task.sensor", "PythonSensor"),
        ("airflow.providers.standard.decorators.bash.bash_task", "BashFunctionOperator"),
        ("airflow.sdk.task.bash", "BashFunctionOperator"),
        ("airflow.decorators.task.bash", "BashFunctionOperator"),
        ("airflow.sdk.task.virtualenv", "PythonVirtualenvOperator"),
        (
            "airflow.providers.standard.decorators.python_virtualenv.virtualenv_task",
            "PythonVirtualenvOperator",
        ),
        ("airflow.sdk.task.branch_virtualenv", "BranchPythonVirtualenvOperator"),
        ("airflow.sdk.task.external_python", "ExternalPythonOperator"),
        ("airflow.sdk.task.branch_external_python", "BranchExternalPythonOperator"),
    ] {
        let python = if operator.contains("External") { "python: python3, " } else { "" };
        let task = format!("decorator: {decorator}, {python}python_callable: m.f, x: 1");
        let dag = dag(&format!("d: {{tasks: {{t: {{{task}}}}}}}"));
        assert_eq!(&*dag.tasks[0].operator, operator);
        assert_eq!(dag.tasks[0].args["op_kwargs"], serde_json::json!({"x": 1}));
    }
    let at = |time: &str| {
        let sensor = format!("operator: TimeSensor, target_time: {{__type__: datetime.time, {time}}}");
        format!("d: {{tasks: {{t: {{{sensor}}}}}}}")
    };
    assert_eq!(dag(&at("hour: 3, minute: 30")).tasks[0].args["target_time"], "03:30:00");
    assert_eq!(dag(&at("__args__: [3]")).tasks[0].args["target_time"], "03:00:00");
    assert!(errors(&at("hour: 25"))[0].contains("this is a time that no day has"));
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    assert_one(
        &errors("d: {tasks: {t: {decorator: airflow.sdk.task.docker}}}"),
        "dags.yml:1:28: d.tasks.t.decorator: there is no decorator `airflow.sdk.task.docker`: there are `task`, \
         `task.branch`, `task.short_circuit`, `task.sensor`, `task.bash`, `task.virtualenv`, `task.external_python`, and for \
         branches `task.branch_virtualenv` and `task.branch_external_python`; write an `operator` for others",
    );
    for (key, fields) in [("executor", "executor: X"), ("start_date", "start_date: 2026-01-01")] {
        let refused = of_task(fields);
        assert!(refused[0].contains(&format!("`{key}` can't be had here")), "{refused:?}");
    }
    for key in ["user_defined_filters", "jinja_environment_kwargs", "access_control"] {
        let refused = of_dag(&format!("{key}: x"));
        assert!(refused[0].contains(&format!("`{key}` can't be had here")), "{refused:?}");
    }
}

#[test]
fn what_only_python_could_make_of_a_file_is_refused_at_its_line() {
    for (dag, told) in [
        (
            "\n  schedule: {__type__: airflow.sdk.CronPartitionTimetable, cron: '@daily'}",
            "dags.yml:2:13: d.schedule: assets have no partitions here: write a CronTriggerTimetable",
        ),
        (
            "\n  schedule:\n    - {__type__: airflow.sdk.AssetAlias, name: a}",
            "dags.yml:3:7: d.schedule[0]: only Python says what an alias stands for",
        ),
        (
            "\n  schedule:\n    - {__type__: airflow.sdk.Asset, uri: a, watchers: [x]}",
            "dags.yml:3:55: d.schedule[0].watchers: assets are not watched",
        ),
        (
            "\n  access_control: {team: [can_read]}",
            "dags.yml:2:3: d.access_control: `access_control` can't be had here",
        ),
        ("\n  on_failure_callback: !!python/name:my.module.tell", "dags.yml:2:"),
        ("\n  tags: !!set {a, b}", "dags.yml:2:"),
    ] {
        let found = errors(&format!("d:{dag}\n  tasks: {{t: {{operator: empty}}}}\n"));
        assert!(found.len() == 1 && found[0].starts_with(told), "{dag}: {found:?}");
    }
    let tags = "d: {tags: !!set {a, b}, tasks: {t: {operator: empty}}}";
    assert!(errors(tags)[0].contains("write a list"), "{:?}", errors(tags));
    let name = "d: {on_failure_callback: !!python/name:m.tell , tasks: {t: {operator: empty}}}";
    assert!(errors(name)[0].contains("write the function's dotted path as text"), "{:?}", errors(name));
}

#[test]
fn an_error_of_the_default_block_is_told_of_each_dag_at_its_own_place() {
    let text = "default:\n  default_args:\n    retries: many\na: {tasks: {t: {operator: empty}}}\nb: {tasks: {t: {operator: empty}}}\n";
    let reading = super::read(text);
    let place = "dags.yml:3:14: default.default_args.retries: expected a whole number, 0 or more, found the text `many`";
    assert_eq!(super::messages(&reading.errors), [place, place]);
    assert!(reading.dags.is_empty());
}

#[test]
fn decorated_tasks_are_checked() {
    let of = |fields: &str| {
        errors(&format!("d: {{tasks: {{a: {{operator: empty}}, t: {{decorator: task, {fields}}}}}}}"))
    };
    for (fields, told) in [
        ("python_callable: m.f, x: +b", "there is no task and no task group `b`"),
        ("python_callable: m.f, x: \"+a[1\"", "`+a[1` is no result: write `+task`"),
        ("operator: empty", "an `operator` or a `decorator`: take one of the two out"),
        ("x: 1", "needs `python_callable`"),
        ("python_callable: m.f, expand_kwargs: a.output", "a decorated task is mapped by `expand`"),
        (
            "python_callable: m.f, x: 1, expand: {x: [1]}",
            "`x` is mapped by `expand`, and is given here as well",
        ),
    ] {
        let errors = of(fields);
        assert!(errors.len() == 1 && errors[0].contains(told), "{fields}: {errors:?}");
    }
}

#[test]
fn what_a_task_needs_of_its_worker_is_read_or_refused() {
    let read = dag(
        "d: {tasks: {t: {operator: empty, worker_slots: 3, worker_labels: {gpu: a100, zone: 1, ssd: yes}}}}\n",
    );
    let task = &read.tasks[0];
    let labels: Vec<_> = task.worker_labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!((task.worker_slots, &labels[..]), (3, &[("gpu", "a100"), ("ssd", "true"), ("zone", "1")][..]));
    let place = "dags.yml:3:40: d.tasks.t";
    assert_one(
        &of_task("worker_slots: 0"),
        &format!("{place}.worker_slots: expected a whole number, 1 or more, found the number 0"),
    );
    assert_one(
        &of_task("worker_labels: gpu"),
        "dags.yml:3:41: d.tasks.t.worker_labels: expected labels by their names, as in `gpu: a100`, found the text `gpu`",
    );
    assert_one(
        &of_task("worker_labels: {gpu: []}"),
        "dags.yml:3:47: d.tasks.t.worker_labels.gpu: expected a label's value, a text, found a list",
    );
}

#[test]
fn numbers_that_have_to_be_one_or_more_are_told_each_at_its_line() {
    let text = "d:
  max_active_runs: 0
  max_active_tasks: 0
  tasks:
    t: {operator: empty, pool_slots: 0, trigger_rule: nonsense}
    u:
      operator: empty
      max_active_tis_per_dag: 0
      max_active_tis_per_dagrun: 0
";
    let errors = errors(text);
    let at: Vec<&str> = errors.iter().filter_map(|error| error.split(": ").next()).collect();
    assert_eq!(at[..2], ["dags.yml:2:20", "dags.yml:3:21"], "{errors:?}");
    assert_eq!(at[2..], ["dags.yml:5:38", "dags.yml:5:55", "dags.yml:8:31", "dags.yml:9:34"], "{errors:?}");
    let many = errors.iter().filter(|error| error.contains("expected a whole number, 1 or more"));
    assert_eq!(many.count(), 5, "{errors:?}");
}

#[test]
fn a_cron_that_is_never_due_is_a_warning() {
    let warnings = |schedule: &str| {
        let reading =
            super::read(&format!("d:\n  schedule: {schedule}\n  tasks: {{t: {{operator: empty}}}}\n"));
        super::messages(&reading.dags[0].warnings)
    };
    let told = warnings("['0 0 30 2 *', '0 0 29 2 *']");
    assert_eq!(told, ["dags.yml:2:13: d.schedule: the cron `0 0 30 2 *` is never due: there is no such day"]);
    assert!(warnings("'@daily'").is_empty());
}

#[test]
fn a_zone_that_is_not_beside_the_start_date_is_a_warning() {
    let warnings = |own: &str, defaults: &str| {
        let text = format!(
            "d:\n  schedule: 0 6 * * *\n{own}  default_args:\n    owner: ana\n{defaults}  tasks: {{t: {{operator: empty}}}}\n"
        );
        let reading = super::read(&text);
        let schedule = format!("{:?}", reading.dags[0].spec.schedule);
        (super::messages(&reading.dags[0].warnings).join("\n"), schedule.contains("Europe/Berlin"))
    };
    let (zone, start) = ("timezone: Europe/Berlin\n", "start_date: 2026-01-01\n");
    let own = |lines: &[&str]| lines.iter().map(|line| format!("  {line}")).collect::<String>();
    let default = |lines: &[&str]| lines.iter().map(|line| format!("    {line}")).collect::<String>();
    for (dag, defaults) in [(vec![zone, start], vec![]), (vec![], vec![zone, start])] {
        assert_eq!(warnings(&own(&dag), &default(&defaults)), (String::new(), true));
    }
    for (dag, defaults, says) in [
        (
            vec![zone],
            vec![start],
            "dags.yml:3:13: d.timezone: timezone has an effect only beside a start_date; the",
        ),
        (vec![start], vec![zone], "the start_date is the DAG's"),
        (vec![zone], vec![], "there is none: cron is read in UTC"),
    ] {
        let (told, is_read) = warnings(&own(&dag), &default(&defaults));
        assert!(told.contains(says) && !is_read, "{told}");
    }
}

#[test]
fn expand_kwargs_that_is_no_list_of_mappings_says_what_was_found() {
    let expected = |place: &str, found: &str| {
        format!(
            "dags.yml:{place}: d.tasks.t.expand_kwargs{}: expected `expand_kwargs` as a list of mappings, one for each copy, \
             or as `task.output`, found {found}",
            if found.starts_with("a list with") { "[1]" } else { "" }
        )
    };
    for (kwargs, column, found) in [
        ("5", 41, "the number 5"),
        ("{a: 1}", 41, "a mapping"),
        ("rows", 41, "the text `rows`"),
        ("[{a: 1}, b]", 50, "a list with the text `b` at place 2"),
        ("[{a: 1}, [b]]", 50, "a list with a list at place 2"),
    ] {
        assert_one(&of_task(&format!("expand_kwargs: {kwargs}")), &expected(&format!("3:{column}"), found));
    }
}

#[test]
fn a_sensor_that_looks_without_a_pause_is_refused_and_one_that_looks_very_often_warned_of() {
    let file = |interval: &str| {
        format!("d:\n  tasks:\n    t: {{operator: file_sensor, filepath: a, poke_interval: {interval}}}\n")
    };
    let refused = errors(&file("0"));
    assert!(
        refused[0].starts_with("dags.yml:3:") && refused[0].contains("must be longer than 0"),
        "{refused:?}"
    );
    let warnings = |interval: &str| super::messages(&super::read(&file(interval)).dags[0].warnings);
    let often = warnings("0.5");
    assert!(often[0].starts_with("dags.yml:3:") && often[0].contains("more than once a second"), "{often:?}");
    assert_eq!(warnings("1"), [""; 0]);
}
