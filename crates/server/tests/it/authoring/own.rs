//! What we added to the dialect.

use std::fs;

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, AlertWords, Deadline, DeadlineFrom, Namespace, OnDoubt, WebhookTarget,
    schedule::Schedule,
};
use updraft_server::authoring::{Format, Options, read_document, read_file};

use super::{check, dag, errors, holidays::folder, messages, now, task};

#[test]
fn a_dependency_may_have_a_condition_and_pass_its_result_on() {
    let dag = dag("d:\n  tasks:\n    a: {operator: empty}\n    b: {operator: empty}\n    \
                   c:\n      operator: empty\n      \
                   dependencies: [a, {task: b, when: 'result | int > 5', pass_result: true, label: many}]\n");
    let [plain, detailed] = &dag.edges[..] else { panic!("{:?}", dag.edges) };
    assert_eq!((&*plain.from, &*plain.to, &plain.when, plain.pass_result), ("a", "c", &None, false));
    assert_eq!((&*detailed.from, &*detailed.to), ("b", "c"));
    assert_eq!(detailed.when.as_ref().unwrap().as_str(), "result | int > 5");
    assert!(detailed.pass_result);
    assert_eq!(detailed.label.as_deref(), Some("many"));
}

#[test]
fn retries_may_depend_on_the_exit_code() {
    let dag = dag("d: {tasks: {t: {operator: empty, retry_on_exit_codes: [75, 111]}, u: {operator: empty, \
                   retry_on_exit_codes: 3}}}");
    assert_eq!(task(&dag, "t").retry.on_exit_codes, [75, 111]);
    assert_eq!(task(&dag, "u").retry.on_exit_codes, [3]);
}

#[test]
fn alerts_tell_whom_of_what() {
    let dag = dag("d:\n  alerts: [{on: success, email: boss@x.org}]\n  tasks:\n    \
                   t: {operator: empty, expected_duration: 5 minutes, alerts: [{on: [failure, retry], email: [a@x.org]}]}\n");
    assert_eq!(dag.alerts.iter().map(|alert| alert.on).collect::<Vec<_>>(), [AlertOn::Success]);
    let task = task(&dag, "t");
    assert_eq!(
        task.alerts.iter().map(|alert| alert.on).collect::<Vec<_>>(),
        [AlertOn::Failure, AlertOn::Retry]
    );
    assert_eq!(task.expected_duration, Some(SignedDuration::from_mins(5)));
}

#[test]
fn alerts_go_by_several_ways_with_their_own_words() {
    let dag = dag("d:\n  alerts:\n    \
                   - {on: failure, slack: chat, text: '{{ dag_id }} failed', on_doubt: hold}\n    \
                   - {on: failure, webhook: 'https://x.org/hook'}\n    \
                   - {on: failure, webhook: pager, subject: '{{ run_id }}'}\n    \
                   - {on: [failure, success], sms: ['+49 30 1', '+49 30 2'], conn_id: gateway}\n    \
                   - {on: failure, sms: '+49 30 3'}\n  tasks: {t: {operator: empty}}\n");
    let sms = |to: &str, conn_id: &str| AlertChannel::Sms { to: to.into(), conn_id: conn_id.into() };
    let plain = |channel| AlertSpec::new(AlertOn::Failure, channel);
    let words = |subject: Option<&str>, text: Option<&str>| AlertWords {
        subject: subject.map(Into::into),
        text: text.map(Into::into),
        html: false,
    };
    let hook = WebhookTarget::Url("https://x.org/hook".into());
    let expected = [
        AlertSpec {
            words: words(None, Some("{{ dag_id }} failed")),
            on_doubt: OnDoubt::Hold,
            ..plain(AlertChannel::Slack { conn_id: "chat".into(), channel: None })
        },
        plain(AlertChannel::Webhook(hook)),
        AlertSpec {
            words: words(Some("{{ run_id }}"), None),
            ..plain(AlertChannel::Webhook(WebhookTarget::ConnId("pager".into())))
        },
        plain(sms("+49 30 1", "gateway")),
        plain(sms("+49 30 2", "gateway")),
        AlertSpec::new(AlertOn::Success, sms("+49 30 1", "gateway")),
        AlertSpec::new(AlertOn::Success, sms("+49 30 2", "gateway")),
        plain(sms("+49 30 3", "sms_default")),
    ];
    assert_eq!(dag.alerts, expected);
}

#[test]
fn mail_may_have_copies_which_no_other_way_has() {
    let dag =
        dag("d:\n  alerts: [{on: failure, email: a@x.org, cc: 'b@x.org, c@x.org', bcc: [d@x.org]}]\n  \
                   tasks: {t: {operator: empty}}\n");
    let all = |all: &[&str]| all.iter().map(|&to| to.to_owned()).collect();
    let (to, cc, bcc) = (all(&["a@x.org"]), all(&["b@x.org", "c@x.org"]), all(&["d@x.org"]));
    assert_eq!(dag.alerts, [AlertSpec::new(AlertOn::Failure, AlertChannel::Email { to, cc, bcc })]);
    let found = errors(
        "d:\n  alerts: [{on: failure, slack: a, bcc: d@x.org}, {on: failure, email: a@x.org, cc: nobody}]\n  \
         tasks: {t: {operator: empty}}\n",
    );
    assert!(
        found[0].contains("`bcc` is for `email`") && found[1].contains("`nobody` is no mail address"),
        "{found:?}"
    );
}

#[test]
fn runs_may_have_deadlines_and_ticks_may_be_missed() {
    let dag = dag("d:\n  alerts:\n    \
                   - {on: [deadline, missed], after: 2 hours, slack: a}\n    \
                   - {on: deadline, after: 90, from: logical_date, slack: a}\n  tasks: {t: {operator: empty}}\n");
    let deadline = |from, seconds| Some(Deadline { from, after: SignedDuration::from_secs(seconds) });
    assert_eq!(
        dag.alerts.iter().map(|alert| (alert.on, alert.deadline)).collect::<Vec<_>>(),
        [
            (AlertOn::Deadline, deadline(DeadlineFrom::QueuedAt, 7200)),
            (AlertOn::Missed, None),
            (AlertOn::Deadline, deadline(DeadlineFrom::LogicalDate, 90)),
        ]
    );
    let found = errors("d: {tasks: {t: {operator: empty, alerts: [{on: missed, slack: a}]}}}");
    assert!(found[0].contains("this is about runs and the schedule"), "{found:?}");
}

#[test]
fn all_that_is_wrong_with_alerts_is_told_at_once_each_at_its_line() {
    let found = errors(
        "d:\n  alerts:\n    - {on: failure}\n    \
         - {on: [retry, nothing], subject: '{{ reason | nope }}', text: '{{ ti.nope }}', html: true, slack: a}\n    - 5\n    \
         - {onn: failure, txt: a, sms: '1'}\n    - {on: success, email: a@x.org}\n    \
         - {after: 5, text: '{% if %}', on_doubt: maybe, slack: a, on: success}\n  tasks: {t: {operator: empty}}\n",
    );
    let expected = [
        "dags.yml:3:7: d.alerts[0]: an alert needs a way to go",
        "dags.yml:4:13: d.alerts[1].on[0]: a run is not tried again",
        "dags.yml:4:20: d.alerts[1].on[1]: `nothing` is none of failure",
        "dags.yml:4:30: d.alerts[1].subject: this has no subject",
        "dags.yml:4:39: d.alerts[1].subject: template of `subject`, line 1: there is no filter `nope`",
        "dags.yml:4:68: d.alerts[1].text: template of `text`, line 1: the attribute 'nope' of a",
        "dags.yml:4:85: d.alerts[1].html: `html` is for `email`",
        "dags.yml:5:7: d.alerts[2]: expected `{on: failure, email: who@example.com}`, found the number 5",
        "dags.yml:6:8: d.alerts[3].onn: an alert has no `onn`; did you mean `on`?",
        "dags.yml:6:22: d.alerts[3].txt: an alert has no `txt`; did you mean `text`?",
        "dags.yml:8:8: d.alerts[5].after: `after` is for an alert `on: deadline`",
        "dags.yml:8:24: d.alerts[5].text: template of `text`, line 1: ",
        "dags.yml:8:46: d.alerts[5].on_doubt: `maybe` is none of resend, hold",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn names_in_the_words_of_alerts_that_are_not_there_or_not_shown_are_warned_of() {
    let reading = super::read(
        "d:\n  alerts:\n    - {on: failure, email: a@x.org, subject: '{{ reson }}', text: '{{ dag_id }} {{ url }} {{ on }} \
         {{ ds }} {{ exception }} {{ first_tick | default(1) }}'}\n  tasks:\n    \
         t: {operator: empty, alerts: [{on: failure, slack: a, text: '{{ var.value.x }} {{ task_id }}'}], \
         on_retry_callback: {callback: airflow.providers.slack.notifications.slack.SlackNotifier, text: '{{ nope(1) }}'}}\n",
    );
    let warned = messages(&reading.dags[0].warnings);
    let expected = [
        "dags.yml:3:46: d.alerts[0].subject: template of `subject`, line 1: there is no variable `reson` here; did you mean \
         `reason`?",
        "dags.yml:5:65: d.tasks.t.alerts[0].text: template of `text`, line 1: an alert can't show variables: it leaves the \
         house, and there may be secrets in them",
        "dags.yml:5:197: d.tasks.t.on_retry_callback.text: template of `text`, line 1: there is no function `nope` here: there \
         are dag_id, data_interval_end, ",
    ];
    assert_eq!(warned.len(), expected.len(), "{warned:#?}");
    for expected in expected {
        assert!(warned.iter().any(|warned| warned.starts_with(expected)), "{expected}\n{warned:#?}");
    }
}

#[test]
fn an_alert_that_goes_nowhere_says_nothing_or_is_on_nothing_is_refused() {
    let refused = |alert: &str| {
        let found = errors(&format!("d:\n  alerts: [{alert}]\n  tasks: {{t: {{operator: empty}}}}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    for (alert, why) in [
        ("{email: a@x.org}", "an alert needs `on`: failure, retry, success, deadline, missed"),
        ("{on: retry, email: a@x.org}", "a run is not tried again: write it at the tasks"),
        ("{on: failure}", "an alert needs a way to go: one of email, slack, webhook, sms"),
        (
            "{on: failure, slack: a, sms: '1'}",
            "an alert goes one way, and this has slack, sms: write one for each",
        ),
        ("{on: deadline, slack: a}", "an alert on a deadline needs `after`"),
        ("{on: deadline, after: 0, slack: a}", "an alert on a deadline needs `after`"),
        ("{on: failure, after: 5, slack: a}", "`after` is for an alert `on: deadline`"),
        (
            "{on: deadline, after: 5, from: now, slack: a}",
            "`now` is none of logical_date, queued_at, started_at",
        ),
        ("{on: falure, slack: a}", "did you mean `failure`?"),
        ("{on: failure, email: []}", "this names nobody: write a mail address"),
        ("{on: failure, webhook: 'ftp://x.org'}", "neither an address (https://…) nor a connection's name"),
        (
            "{on: failure, slack: a, conn_id: b}",
            "`conn_id` is for `sms`: write the connection's name behind `slack`",
        ),
        ("{on: failure, slack: a, subject: b}", "this has no subject: write it in `text`"),
        ("{on: failure, slack: a, text: '{{ x'}", "template of `text`"),
        ("{on: failure, slack: a, on_doubt: perhaps}", "`perhaps` is none of resend, hold"),
    ] {
        let found = refused(alert);
        assert!(found.contains(why) && found.contains("d.alerts[0]"), "{found}");
    }
}

#[test]
fn a_schedule_may_have_several_crons_and_seconds() {
    let dag = dag("d: {schedule: ['0 9 * * 1-5', '*/10 * * * * 30'], tasks: {t: {operator: empty}}}");
    let Schedule::CronTrigger { crons, .. } = &dag.schedule else { panic!("{:?}", dag.schedule) };
    let crons: Vec<&str> = crons.as_slice().iter().map(|cron| cron.as_str()).collect();
    assert_eq!(crons, ["0 9 * * 1-5", "*/10 * * * * 30"]);
}

#[test]
fn a_schedule_may_be_a_list_of_dates() {
    let dag = dag(
        "d: {start_date: 2026-01-01, timezone: Europe/Berlin, schedule: ['2026-12-02T06:00:00', 2026-12-01], \
         tasks: {t: {operator: empty}}}",
    );
    let expected = serde_json::json!({
        "kind": "list_of_times", "times": ["2026-11-30T23:00:00Z", "2026-12-02T05:00:00Z"], "restrict_to_events": false,
    });
    assert_eq!(serde_json::to_value(&dag.schedule).unwrap(), expected);
    let mixed = errors("d: {schedule: [2026-12-01, 's3://bucket/key'], tasks: {t: {operator: empty}}}");
    assert!(mixed[0].contains("times and assets are mixed"), "{mixed:?}");
}

#[test]
fn a_continuous_dag_has_one_run_at_a_time() {
    assert_eq!(dag("d: {schedule: '@continuous', tasks: {t: {operator: empty}}}").max_active_runs, 1);
    assert_eq!(
        errors("d: {schedule: '@continuous', max_active_runs: 2, tasks: {t: {operator: empty}}}"),
        ["dags.yml:1:47: d.max_active_runs: a continuous schedule has one run at a time: write 1"]
    );
}

#[test]
fn a_condition_is_over_one_result_and_not_over_those_of_copies() {
    let text = "d:\n  tasks:\n    a: {operator: bash, expand: {bash_command: [ls, df]}}\n    b: {operator: empty, \
                dependencies: [{task: a, when: result == 1}]}\n";
    let told = errors(text);
    assert!(
        told[0].starts_with("dags.yml:4:")
            && told[0].contains("`a` is mapped, and a condition is over one result"),
        "{told:?}"
    );
    dag(&text.replace(", when: result == 1", ", pass_result: true"));
}

#[test]
fn conditions_are_checked_when_they_are_read() {
    assert_eq!(
        errors(
            "d:\n  tasks:\n    a: {operator: empty}\n    b: {operator: empty, dependencies: [{task: a, when: 'result >'}]}"
        ),
        [
            "dags.yml:4:57: d.tasks.b.dependencies[0].when: condition `result >`: unexpected end of the expression"
        ]
    );
    assert_eq!(
        errors(
            "d:\n  tasks:\n    a: {operator: empty}\n    b: {operator: empty, dependencies: [{task: a, whem: x}]}"
        ),
        ["dags.yml:4:51: d.tasks.b.dependencies[0].whem: a dependency has no `whem`; did you mean `when`?"]
    );
    assert_eq!(
        errors(
            "d:\n  task_groups: {g: {}}\n  tasks:\n    a: {operator: empty, task_group_name: g}\n    \
                b: {operator: empty, dependencies: [{task: g, pass_result: true}]}"
        ),
        ["dags.yml:5:41: d.tasks.b.dependencies[0]: a condition and a passed result need a task on both \
          sides, not a task group"]
    );
}

#[test]
fn a_dag_may_have_macros_and_folders_of_templates_of_its_own() {
    let yaml = "d:
  user_defined_macros:
    add: my.dates.add
    of: {shift: my.dates.shift, week: [1, 2]}
    limit: 5
  template_searchpath: [sql, ../shared]
  tasks: {t: {operator: empty}}
";
    let template = dag(yaml).template;
    assert_eq!(
        template["user_defined_macros"],
        json!({"add": "my.dates.add", "of": {"shift": "my.dates.shift", "week": [1, 2]}, "limit": 5})
    );
    assert_eq!(template["template_searchpath"], json!(["sql", "../shared"]));
    for (macros, why) in [
        ("{add: plain}", "the macro `add` must be the dotted path to a function"),
        ("{of: {add: plain}}", "the macro `add` must be the dotted path to a function"),
        ("[a.b]", "expected macros as a mapping"),
    ] {
        let errors =
            errors(&format!("d: {{user_defined_macros: {macros}, tasks: {{t: {{operator: empty}}}}}}"));
        assert!(errors[0].contains(why), "{errors:?}");
    }
}

#[test]
fn what_tasks_name_and_is_not_beside_the_dag_file_is_told_where_it_is_named() {
    let yaml = "d:
  template_searchpath: [sql]
  tasks:
    script: {operator: script, script_file: etl/load.py}
    function: {operator: python, python_callable_name: f, python_callable_file: functions.py}
    command: {operator: bash, bash_command: bash run.sh}
    called:
      operator: bash
      bash_command: 'bash run.sh '
      on_failure_callback_name: tell
      on_failure_callback_file: tell.py
    queries: {operator: sql, conn_id: db, sql: [one.sql, SELECT 1]}
    later: {operator: script, script_file: '{{ params.file }}'}
    elsewhere: {operator: script, script_file: /opt/etl/load.py}
";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dags.yml");
    fs::write(&file, yaml).unwrap();
    let told = || {
        let reading = read_file(&folder(dir.path()), &file);
        assert_eq!(messages(&reading.errors), [""; 0]);
        messages(&reading.dags[0].warnings)
    };
    let all = told();
    let of = |place: &str, what: &str| {
        let is_so = |warning: &&String| warning.contains(place) && warning.contains(what);
        assert_eq!(all.iter().filter(is_so).count(), 1, "{place}, {what}: {all:#?}");
    };
    of(":4:5: d.tasks.script: ", "`script_file` names the file `etl/load.py`");
    of(":5:5: d.tasks.function: ", "`python_callable_file` names the file `functions.py`");
    of(":6:5: d.tasks.command: ", "`bash_command` names the template `bash run.sh`");
    of(":7:5: d.tasks.called: ", "a callback names the file `tell.py`");
    of(":12:5: d.tasks.queries: ", "`sql` names the template `one.sql`");
    assert_eq!(all.len(), 5, "{all:#?}");
    fs::create_dir(dir.path().join("etl")).unwrap();
    fs::create_dir(dir.path().join("sql")).unwrap();
    for there in ["etl/load.py", "functions.py", "bash run.sh", "tell.py", "sql/one.sql"] {
        fs::write(dir.path().join(there), "").unwrap();
    }
    assert_eq!(told(), [""; 0]);
}

#[test]
fn names_in_templates_that_are_not_there_are_warned_of_at_their_lines() {
    let reading = super::read(
        "d:\n  user_defined_macros: {mine: m.f, x: 5}\n  default_args: {cwd: '{{ nowhere }}'}\n  tasks:\n    \
         a:\n      operator: bash\n      bash_command: |\n        echo {{ mine(ds) }} {{ x }}\n        echo {{ dss }}\n      \
         env: {A: '{{ nope(1) }}'}\n    \
         b: {decorator: task, python_callable: m.f, day: '{{ ds_nodsh }}', cwd: '{{ fine | default(1) }}'}\n    \
         c: {operator: my.Class, of: '{{ nope }}'}\n",
    );
    assert_eq!(messages(&reading.errors), [""; 0]);
    let warned = messages(&reading.dags[0].warnings);
    let expected = [
        "dags.yml:8:9: d.tasks.a.bash_command: template of `bash_command`, line 2: there is no variable `dss` here",
        "dags.yml:5:5: d.tasks.a: template of `cwd`, line 1: there is no variable `nowhere` here",
        "dags.yml:10:12: d.tasks.a.env: template of `env.A`, line 1: there is no function `nope` here",
        "dags.yml:11:53: d.tasks.b.day: template of `op_kwargs.day`, line 1: there is no variable `ds_nodsh` here; \
         did you mean `ds_nodash`?",
    ];
    assert_eq!(warned.len(), expected.len(), "{warned:#?}");
    for expected in expected {
        assert!(warned.iter().any(|warned| warned.starts_with(expected)), "{expected}\n{warned:#?}");
    }
}

#[test]
fn a_secret_of_the_environment_is_not_put_in_and_is_told_at_its_line() {
    let variable = |name: &str| Some(format!("<{name}>"));
    let options = Options { namespace: Namespace::default(), check: &check, variable: &variable, now: now() };
    let text = "default: {default_args: {owner: '$OWNER ${DB_PASSWORD}'}}
one:
  tasks:
    t: {operator: bash, bash_command: 'echo $REGION $AWS_SECRET_ACCESS_KEY'}
two:
  tasks:
    t: {operator: bash, bash_command: 'echo'}
";
    let reading = read_document("dags.yml", text, Format::Yaml, &options);
    assert_eq!(messages(&reading.errors), <[&str; 0]>::default());
    let told: Vec<Vec<String>> = reading.dags.iter().map(|read| messages(&read.warnings)).collect();
    let command = &task(&reading.dags[0].spec, "t").args["bash_command"];
    assert_eq!(command, "echo <REGION> $AWS_SECRET_ACCESS_KEY");
    assert!(
        told[0][0].starts_with("dags.yml:1:41: default: `DB_PASSWORD` of the environment is not"),
        "{told:?}"
    );
    assert!(told[0][1].starts_with("dags.yml:4:53: one: `AWS_SECRET_ACCESS_KEY` of the"), "{told:?}");
    assert_eq!((told[0].len(), told[1].len()), (2, 1));
}
