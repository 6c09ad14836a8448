//! The checks and `SqlSensor`.

use std::sync::Arc;

use updraft_operators::{
    Work, catalog,
    work::{Shared, TaskContext, TaskLog},
};

use super::*;
use crate::world::{Lines, context};

fn file() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = world([sqlite(&folder.path().join("x.db"))]);
    (folder, world)
}

fn check(world: &World, operator: &str, more: Value) -> Ended {
    run(world, operator, args(json!({"conn_id": "file"}), more))
}

fn passes(ended: &Ended) -> bool {
    match ended.outcome.end {
        AttemptEnd::Success => true,
        _ => {
            let message = ended.outcome.message.as_deref().unwrap();
            assert!(message.starts_with("the check failed: "), "{message}");
            false
        }
    }
}

#[test]
fn a_check_passes_where_each_value_of_the_first_row_is_true() {
    let (_folder, world) = file();
    for (text, wanted) in [
        ("select 1, 'x', 0.5", true),
        ("select 1, 0", false),
        ("select ''", false),
        ("select null", false),
        ("select 0.0", false),
        ("select 1 where 1 = 0", false),
        ("values (1), (0)", true),
        ("with recursive n(i) as (select 1 union all select i + 1 from n) select i from n", true),
    ] {
        assert_eq!(passes(&check(&world, "sql_check", json!({"sql": text}))), wanted, "{text}");
    }
    let failed = check(&world, "SQLCheckOperator", json!({"sql": "select 0", "retry_on_failure": false}));
    assert_eq!(failed.outcome.end, AttemptEnd::FailedForGood);
    assert_eq!(failed.outcome.message.unwrap(), "the check failed: not all of (0) is true; it was: select 0");
    let wrong = check(&world, "SQLCheckOperator", json!({"sql": "select * from nowhere"}));
    assert!(wrong.failure().contains("no such table"), "{}", wrong.failure());
}

#[test]
fn a_value_is_compared_as_airflow_compares_it() {
    let (_folder, world) = file();
    for (text, more, wanted) in [
        ("select 10", json!({"pass_value": 10}), true),
        ("select 10.0, 10", json!({"pass_value": "10"}), true),
        ("select '10'", json!({"pass_value": 10}), true),
        ("select 11", json!({"pass_value": 10}), false),
        ("select 11", json!({"pass_value": 10, "tolerance": 0.1}), true),
        ("select -11", json!({"pass_value": -10, "tolerance": 0.1}), true),
        ("select 11.1", json!({"pass_value": 10, "tolerance": 0.1}), false),
        ("select 'done', 'done'", json!({"pass_value": "done"}), true),
        ("select 'done', 'open'", json!({"pass_value": "done"}), false),
        ("select :a", json!({"pass_value": "{{ ds }}", "parameters": {"a": "2026-01-31"}}), true),
        ("select 1 where 1 = 0", json!({"pass_value": 1}), false),
        // No float lies between these two.
        ("select 9007199254740992", json!({"pass_value": 9_007_199_254_740_993_i64}), false),
        ("select 9007199254740993", json!({"pass_value": "9007199254740993"}), true),
    ] {
        let more = args(more, json!({"sql": text}));
        assert_eq!(passes(&check(&world, "SQLValueCheckOperator", more)), wanted, "{text}");
    }
    let more = json!({"sql": "select 'x'", "pass_value": 1});
    let ended = check(&world, "SQLValueCheckOperator", more);
    assert!(ended.failure().contains("\"x\" is no number to compare"), "{}", ended.failure());
}

#[test]
fn a_value_lies_between_thresholds_that_may_be_statements() {
    let (_folder, world) = file();
    for (value, least, most, wanted) in [
        (5_i64, json!(1), json!(10), true),
        (5, json!(5), json!("5"), true),
        (5, json!(6), json!(10), false),
        (5, json!("select 4"), json!("select 6"), true),
        (5, json!("select 1"), json!("select 2"), false),
        (9_007_199_254_740_993, json!(1), json!(9_007_199_254_740_992_i64), false),
    ] {
        let more = json!({"sql": format!("select {value}"), "min_threshold": least, "max_threshold": most});
        assert_eq!(passes(&check(&world, "SQLThresholdCheckOperator", more)), wanted, "{least} {most}");
    }
}

fn sense(world: &World, more: Value) -> Ended {
    let first = json!({"conn_id": "file", "poke_interval": 0.01, "timeout": 0.05});
    run(world, "SqlSensor", args(first, more))
}

#[test]
fn a_sensor_waits_until_its_value_is_as_wished() {
    let (_folder, world) = file();
    for (more, wanted) in [
        (json!({"sql": "select 1"}), true),
        (json!({"sql": "select 'x'"}), true),
        (json!({"sql": "select 0"}), false),
        (json!({"sql": "select '0'"}), false),
        (json!({"sql": "select ''"}), false),
        (json!({"sql": "select null"}), false),
        (json!({"sql": "select 1 where 1 = 0"}), false),
        (json!({"sql": "select 5", "success": "value > 4"}), true),
        (json!({"sql": "select 5", "success": "value > 5"}), false),
        (
            json!({"sql": "select 5, 'done'", "selector": "row[1]", "success": "value == 'done' and row[0] == 5"}),
            true,
        ),
        (json!({"sql": "select ?", "parameters": ["{{ ds }}"], "success": "value == '2026-01-31'"}), true),
    ] {
        let ended = sense(&world, more.clone());
        match ended.outcome.end {
            AttemptEnd::Success => assert!(wanted, "{more}"),
            _ => {
                let message = ended.outcome.message.unwrap();
                assert!(!wanted && message.contains("was not there after"), "{more}: {message}");
            }
        }
    }
}

#[test]
fn a_sensor_fails_where_it_is_to_and_where_it_can_t_ask() {
    let (_folder, world) = file();
    let failure = |more: Value| sense(&world, more).failure().to_owned();
    let bad = failure(json!({"sql": "select 'bad'", "failure": "value == 'bad'"}));
    assert_eq!(bad, "the value bad means failure (`failure`: value == 'bad')");
    assert!(failure(json!({"sql": "select 1 where 1 = 0", "fail_on_empty": true})).contains("fail_on_empty"));
    assert!(failure(json!({"sql": "select * from nowhere"})).contains("no such table"));
    for (more, mend) in [
        (json!({"success": "my.module.check"}), "Write a Jinja expression"),
        (json!({"failure": "value >"}), "is no expression"),
        (json!({"selector": "value"}), "looks at `value`"),
    ] {
        let args = args(json!({"conn_id": "file", "sql": "a"}), more);
        let error = catalog::check("SqlSensor", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
}

#[test]
fn functions_of_python_decide_over_the_value() {
    let (folder, world) = file();
    let file = folder.path().join("checks.py");
    std::fs::write(&file, "def is_bad(value):\n    return value == 'bad'\n").unwrap();
    let ended = |more: Value| {
        let (end, failure) =
            ("lambda value: value > 4", json!({"failure_check_name": "is_bad", "failure_check_file": file}));
        let first =
            json!({"conn_id": "file", "poke_interval": 0.01, "timeout": 20, "success_check_lambda": end});
        run(&world, "SqlSensor", args(args(first, failure), more))
    };
    assert_eq!(ended(json!({"sql": "select 5"})).outcome.end, AttemptEnd::Success);
    assert_eq!(ended(json!({"sql": "select 1", "selector": "row[0] + 4"})).outcome.end, AttemptEnd::Success);
    let bad = ended(json!({"sql": "select 'bad'"})).failure().to_owned();
    assert_eq!(bad, "the value bad means failure, as the function of `failure_check` says");
    let no_order = ended(json!({"sql": "select 'x'"})).failure().to_owned();
    assert!(no_order.starts_with("success: TypeError"), "{no_order}");
    let later = ended(json!({"sql": "select 1", "timeout": 0.05})).outcome.message.unwrap();
    assert!(later.contains("was not there after"), "{later}");
}

#[test]
fn a_hundred_sensors_are_not_a_hundred_connections() {
    let server = Postgres::start();
    let world = world([server.connection()]);
    sql(&world, "warehouse", "create table seen (connections int)");
    let looks = "with at as (insert into seen select count(*) from pg_stat_activity \
                 where backend_type = 'client backend' returning 1) select 1 from at";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shared = Arc::new(Shared::default());
    let running: Vec<_> = (0..100)
        .map(|_| {
            let order = order("SqlSensor", json!({"conn_id": "warehouse", "sql": looks}));
            let Work::Native(task) = prepare(&order, &world).unwrap().work else { panic!("no native work") };
            let log = Arc::new(Lines::default()) as Arc<dyn TaskLog>;
            runtime.spawn(task.run(TaskContext { shared: Arc::clone(&shared), ..context(log) }))
        })
        .collect();
    for sensor in running {
        let outcome = runtime.block_on(sensor).unwrap();
        assert_eq!(outcome.end, AttemptEnd::Success, "{:?}", outcome.message);
    }
    let seen = sql(&world, "warehouse", "select count(*), max(connections) from seen");
    // What has said goodbye may be seen for a moment still.
    assert!(seen[0][0] == 100 && seen[0][1].as_u64().unwrap() <= 16, "{seen}");
}
