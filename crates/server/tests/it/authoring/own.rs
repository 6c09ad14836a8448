//! What we added to the dialect.

use jiff::SignedDuration;
use updraft_core::{AlertOn, schedule::Schedule};

use super::{dag, errors, task};

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
    assert!(mixed[0].contains("a schedule by assets"), "{mixed:?}");
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
fn conditions_are_checked_when_they_are_read() {
    assert_eq!(
        errors(
            "d:\n  tasks:\n    a: {operator: empty}\n    b: {operator: empty, dependencies: [{task: a, when: 'result >'}]}"
        ),
        [
            "dags.yml:4:57: d.tasks.b.dependencies[0].when: condition `result >`: syntax error: unexpected end of \
          input, expected expression (in <expression>:1)"
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
