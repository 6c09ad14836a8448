//! What branches without a process: expressions, and days of the week.

use serde_json::{Value, json};
use updraft_core::{
    input::{AttemptEnd, Branch},
    protocol::Connection,
};
use updraft_operators::{catalog, is_literal, prepare};

use crate::world::{Ended, World, order, run_native, with_run};

fn decide_in(world: &World, operator: &str, expression: &str, more: Value) -> Ended {
    let mut args = json!({"expression": expression});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut order = order(operator, args);
    order.task.inputs = vec!["count".into(), "name".into()];
    let order = with_run(order, |run| _ = run.params.insert("most".into(), json!(5)));
    run_native(prepare(&order, world).unwrap())
}

fn world() -> World {
    World::default()
        .with_xcom("count.return_value", json!("7"))
        .with_xcom("name.return_value", json!("left"))
        .with_xcom("load.return_value", json!({"rows": [1]}))
}

fn decide(operator: &str, expression: &str) -> Ended {
    decide_in(&world(), operator, expression, json!({}))
}

fn follow(tasks: &[&str]) -> Option<Branch> {
    Some(Branch::Follow(tasks.iter().map(|task| (*task).into()).collect()))
}

#[test]
fn an_expression_names_the_tasks_to_follow() {
    for (expression, tasks) in [
        ("'left' if result > params.most else 'right'", &["left"][..]),
        ("['left', 'right'] if ds == '2026-01-31' else 'left'", &["left", "right"]),
        ("ti.xcom_pull('load').rows and results[1]", &["left"]),
        ("['left', 'right'] | select('eq', results[1])", &["left"]),
        ("'left' if text == '7'", &["left"]),
        ("none", &[]),
    ] {
        let ended = decide("branch", expression);
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{expression}");
        assert_eq!(ended.outcome.branch, follow(tasks), "{expression}");
    }
    let ended = decide("BranchExpressionOperator", "'left'");
    assert_eq!((ended.result(), &*ended.log[0]), (json!("left"), "follows [\"left\"]"));
}

#[test]
fn what_is_false_or_empty_skips_what_comes_after() {
    for (expression, goes_on) in [
        ("result > params.most", true),
        ("ti.xcom_pull('load').rows", true),
        ("data_interval_end > data_interval_start", true),
        ("result < 7", false),
        ("ti.xcom_pull('nothing')", false),
        ("[]", false),
        ("''", false),
        ("0.0", false),
        ("{}", false),
    ] {
        let branch = decide("ShortCircuitExpressionOperator", expression).outcome.branch;
        assert_eq!(branch, (!goes_on).then_some(Branch::SkipAllDownstream), "{expression}");
    }
    let minding = json!({"ignore_downstream_trigger_rules": false});
    let ended = decide_in(&world(), "short_circuit_expression", "false", minding);
    assert_eq!(
        (ended.outcome.branch.as_ref(), ended.result()),
        (Some(&Branch::SkipDownstream), json!(false))
    );
    assert!(ended.log[0].contains("skipped"), "{:?}", ended.log);
}

#[test]
fn what_is_no_expression_or_names_no_task_is_refused() {
    for (expression, mend) in [
        ("{{ result > 5 }}", "leave out what stands around it"),
        ("result >", "is no expression"),
        ("'a' }} {{ 'b'", "leave out"),
        ("'a' }} b", "one expression"),
        ("", "is no expression"),
    ] {
        let args = json!({"expression": expression});
        let error = catalog::check("branch", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains("`expression`") && error.contains(mend), "{expression}: {error}");
    }
    let refused = |expression: &str| {
        let order = order("branch", json!({"expression": expression}));
        prepare(&order, &world()).unwrap_err().to_string()
    };
    assert!(refused("1 > 0").contains("must give the id of a task"), "{}", refused("1 > 0"));
    assert!(refused("['left', 1]").contains("must give the id of a task"));
    assert!(refused("result").contains("'result' is undefined"), "{}", refused("result"));
    assert!(refused("parms.most").contains("did you mean `params`?"), "{}", refused("parms.most"));
    assert!(refused("ti.xcom_pull('unreachable')").contains("the server is away"));
    assert!(refused("'x' * 10000000000").contains("stopped"));
    let order = order("branch", json!({"expression": "'left'"}));
    assert!(!is_literal(&order), "what an expression does may take a while");
}

#[test]
fn what_an_expression_looks_up_is_kept_secret() {
    let mut world = World::default();
    let connection = Connection { password: Some("s3cret".into()), ..Connection::default() };
    world.connections.insert("db".into(), connection);
    let order = order("branch", json!({"expression": "'left' if conn.db.password else 'right'"}));
    assert_eq!(prepare(&order, &world).unwrap().secrets, ["s3cret"]);
}

#[test]
fn the_day_of_the_week_says_which_tasks_are_followed() {
    let branch = |days: Value, by_run: &str| {
        let args = json!({
            "week_day": days,
            by_run: true,
            "follow_task_ids_if_true": ["left", "group"],
            "follow_task_ids_if_false": "right",
        });
        run_native(prepare(&order("BranchDayOfWeekOperator", args), &World::default()).unwrap())
    };
    let ended = branch(json!(["Saturday", "SUNDAY"]), "use_task_logical_date");
    assert_eq!(
        (ended.outcome.branch.as_ref(), ended.result()),
        (follow(&["left", "group"]).as_ref(), json!(["left", "group"]))
    );
    assert_eq!(branch(json!("Monday"), "use_task_execution_day").outcome.branch, follow(&["right"]));
    let undated = order(
        "branch_day_of_week",
        json!({
            "week_day": "Saturday",
            "use_task_logical_date": true,
            "follow_task_ids_if_true": "left",
            "follow_task_ids_if_false": "right",
        }),
    );
    let undated = with_run(undated, |run| run.logical_date = None);
    let ended = run_native(prepare(&undated, &World::default()).unwrap());
    assert_eq!(ended.outcome.branch, follow(&["left"]));
    let args = json!({"week_day": "Satday", "follow_task_ids_if_true": "a", "follow_task_ids_if_false": "b"});
    let error = catalog::check("BranchDayOfWeekOperator", args.as_object().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`week_day` must be a day of the week"), "{error}");
}

#[test]
fn a_span_of_time_says_which_tasks_are_followed() {
    let branch = |lower: Value, upper: Value| {
        let args = json!({
            "target_lower": lower,
            "target_upper": upper,
            "use_task_logical_date": true,
            "follow_task_ids_if_true": "left",
            "follow_task_ids_if_false": ["right"],
        });
        run_native(prepare(&order("BranchDateTimeOperator", args), &World::default()).unwrap()).outcome.branch
    };
    // The run's logical date is 2026-01-31 06:00.
    assert_eq!(branch(json!("05:00"), json!("06:30")), follow(&["left"]));
    assert_eq!(branch(json!("07:00"), Value::Null), follow(&["right"]));
    let neither = json!({"follow_task_ids_if_true": "a", "follow_task_ids_if_false": "b"});
    let error = catalog::check("branch_datetime", neither.as_object().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`target_lower` is there, or `target_upper` is"), "{error}");
}

#[test]
fn a_day_of_the_week_is_waited_for_until_the_timeout() {
    let wait = |days: Value, more: Value| {
        let mut args = json!({"week_day": days, "poke_interval": 0.01, "timeout": 0.05});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run_native(prepare(&order("DayOfWeekSensor", args), &World::default()).unwrap()).outcome.end
    };
    let by_run = json!({"use_task_logical_date": true});
    assert_eq!(wait(json!("saturday"), by_run.clone()), AttemptEnd::Success);
    assert_eq!(wait(json!("Sunday"), by_run.clone()), AttemptEnd::FailedForGood);
    let gently = json!({"use_task_logical_date": true, "soft_fail": true});
    assert_eq!(wait(json!("Sunday"), gently), AttemptEnd::Skipped);
    let week = json!(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]);
    assert_eq!(wait(week, json!({})), AttemptEnd::Success);
    assert_eq!(wait(json!([]), json!({})), AttemptEnd::FailedForGood);
}
