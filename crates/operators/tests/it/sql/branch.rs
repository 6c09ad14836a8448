//! `BranchSQLOperator`.

use updraft_core::input::Branch;
use updraft_operators::catalog;

use super::*;

fn branch(world: &World, conn_id: &str, more: Value) -> Ended {
    let first = json!({"conn_id": conn_id, "follow_task_ids_if_true": ["left", "group"], "follow_task_ids_if_false": "right"});
    run(world, "BranchSQLOperator", args(first, more))
}

/// Whether it follows the tasks for true.
fn is_true(ended: &Ended) -> bool {
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    let Some(Branch::Follow(tasks)) = &ended.outcome.branch else { panic!("{:?}", ended.outcome) };
    let tasks: Vec<&str> = tasks.iter().map(|task| &**task).collect();
    assert_eq!(ended.result(), json!(tasks));
    match &tasks[..] {
        ["left", "group"] => true,
        ["right"] => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_value_says_which_tasks_are_followed_in_each_database() {
    let folder = tempfile::tempdir().unwrap();
    let (postgres, mariadb) = (Postgres::start(), MariaDb::start());
    let world = world([sqlite(&folder.path().join("x.db")), postgres.connection(), mariadb.connection()]);
    for conn_id in ["file", "warehouse", "shop"] {
        for (text, wanted) in [
            ("select 1 > 0", true),
            ("select 1 < 0", false),
            ("select 7, 0", true),
            ("select 0, 1", false),
            ("select 'Yes'", true),
            ("select 'OFF'", false),
            ("select 't' union all select 'f'", true),
        ] {
            let ended = branch(&world, conn_id, json!({"sql": text}));
            assert_eq!(is_true(&ended), wanted, "{conn_id}: {text}");
        }
        let place = if conn_id == "file" { "?" } else { "%s" };
        let text = format!("select '{{{{ ds }}}}' = {place}");
        let by_day = |day: &str| branch(&world, conn_id, json!({"sql": text, "parameters": [day]}));
        assert!(is_true(&by_day("2026-01-31")) && !is_true(&by_day("2026-01-30")), "{conn_id}");
    }
}

#[test]
fn what_is_neither_true_nor_false_is_told_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let world = world([sqlite(&folder.path().join("x.db"))]);
    for (text, why) in [
        ("select null", "the value None is neither true nor false: have the statement give a boolean"),
        ("select 'perhaps'", "the value perhaps is neither"),
        ("select 0.5", "the value 0.5 is neither"),
        ("select 1 where 1 = 0", "the statement gives no row"),
        ("select * from nowhere", "no such table"),
    ] {
        let ended = branch(&world, "file", json!({"sql": text}));
        assert!(ended.failure().contains(why) && ended.outcome.branch.is_none(), "{}", ended.failure());
    }
    let args = json!({"conn_id": "file", "sql": "select 1", "follow_task_ids_if_true": "left"});
    let error = catalog::check("branch_sql", args.as_object().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`follow_task_ids_if_false` is required"), "{error}");
}
