//! `SQLIntervalCheckOperator`, in runs of 2026-01-31.

use updraft_operators::catalog;

use super::*;
use crate::world::with_run;

const ROWS: &str = "insert into sales values ('2026-01-24', 10, 'x'), ('2026-01-24', 10, null), \
                    ('2026-01-31', 10, null), ('2026-01-31', 20, null), ('2026-01-31', 30, null), \
                    ('2026-01-30', 60, 'y')";

fn check(world: &World, conn_id: &str, metrics: Value, more: Value) -> Ended {
    let first = json!({
        "conn_id": conn_id, "table": "{{ 'sales' }}", "date_filter_column": "day", "metrics_thresholds": metrics,
    });
    run(world, "SQLIntervalCheckOperator", args(first, more))
}

#[test]
fn a_day_is_compared_with_another_as_airflow_does_it_in_each_database() {
    let folder = tempfile::tempdir().unwrap();
    let (postgres, mariadb) = (Postgres::start(), MariaDb::start());
    let world = world([sqlite(&folder.path().join("x.db")), postgres.connection(), mariadb.connection()]);
    for conn_id in ["file", "warehouse", "shop"] {
        sql(&world, conn_id, "create table sales (day date, price decimal(8, 2), note varchar(9))");
        sql(&world, conn_id, ROWS);
        let relative = json!({"ratio_formula": "relative_diff"});
        let yesterday = |more| args(json!({"days_back": -1}), more);
        for (metrics, more, failed) in [
            // 3 rows after 2, 60 after 20.
            (json!({"COUNT(*)": 1.51}), json!({}), &[][..]),
            (json!({"COUNT(*)": 1.5}), json!({}), &["COUNT(*)"]),
            (json!({"COUNT(*)": "{{ 2 }}", "SUM(price)": 3}), json!({}), &["SUM(price)"]),
            (json!({"SUM(price)": 2, "COUNT(*)": 1}), json!({}), &["COUNT(*)", "SUM(price)"]),
            (json!({"COUNT(*)": 0.51, "SUM(price)": 2.1}), relative.clone(), &[]),
            (json!({"COUNT(*)": 0.5, "SUM(price)": 2}), relative, &["COUNT(*)", "SUM(price)"]),
            // 3 after 1, 60 after 60.
            (json!({"COUNT(*)": 3.1, "SUM(price)": 1.1}), yesterday(json!({})), &[]),
            (json!({"COUNT(*)": 3}), yesterday(json!({})), &["COUNT(*)"]),
            // No notes after one.
            (json!({"COUNT(note)": 0.1}), json!({}), &[]),
            (json!({"COUNT(note)": 9}), json!({"ignore_zero": false}), &["COUNT(note)"]),
        ] {
            let ended = check(&world, conn_id, metrics.clone(), more.clone());
            let message = ended.outcome.message.as_deref().unwrap_or("the check failed: ; it was: ");
            let why = message.strip_prefix("the check failed: ").unwrap_or_else(|| panic!("{message}"));
            let named: Vec<_> =
                why.split("; it was: ").next().unwrap().split('`').skip(1).step_by(2).collect();
            let named: Vec<_> = named.into_iter().filter(|name| *name != "ignore_zero").collect();
            assert_eq!(named, failed, "{conn_id}: {metrics} {more}: {message}");
            let end = if failed.is_empty() { AttemptEnd::Success } else { AttemptEnd::Failed };
            assert_eq!(ended.outcome.end, end, "{conn_id}: {metrics}");
        }
    }
}

#[test]
fn what_can_t_be_compared_is_told_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let world = world([sqlite(&folder.path().join("x.db"))]);
    sql(&world, "file", "create table sales (day date, price decimal(8, 2), note varchar(9))");
    sql(&world, "file", ROWS);
    let failed = check(&world, "file", json!({"COUNT(*)": 1}), json!({"retry_on_failure": false}));
    assert_eq!(failed.outcome.end, AttemptEnd::FailedForGood);
    assert_eq!(
        failed.outcome.message.unwrap(),
        "the check failed: `COUNT(*)` is 3 and was 2: the ratio 1.5 is not below 1; it was: SELECT COUNT(*) FROM sales \
         WHERE day='2026-01-31'; and: SELECT COUNT(*) FROM sales WHERE day='2026-01-24'"
    );
    for (metrics, more, why) in [
        (json!({"SUM(price)": 1}), json!({"days_back": 99}), "write COALESCE(SUM(price), 0)"),
        (json!({"MAX(note)": 1}), json!({}), "\"x\", which is no number to compare"),
        (json!({"price": 1}), json!({"days_back": 99}), "there is no row: SELECT price FROM sales"),
        (json!({"absent": 1}), json!({}), "no such column: absent"),
    ] {
        let ended = check(&world, "file", metrics, more);
        assert!(ended.failure().contains(why), "{}", ended.failure());
    }
    let first = json!({"conn_id": "file", "table": "t"});
    for (more, mend) in [
        (json!({}), "`metrics_thresholds` is required"),
        (json!({"metrics_thresholds": {}}), "must be a map of SQL expressions to numbers"),
        (
            json!({"metrics_thresholds": {"COUNT(*)": "many"}}),
            "has the entry `COUNT(*)`, which must be a number",
        ),
        (
            json!({"metrics_thresholds": {"a": 1}, "ratio_formula": "x"}),
            "must be max_over_min or relative_diff",
        ),
        (json!({"metrics_thresholds": {"a": 1}, "days_back": 1.5}), "must be a whole number of days"),
    ] {
        let args = args(first.clone(), more);
        let error = catalog::check("sql_interval_check", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
    let args = args(first, json!({"metrics_thresholds": {"a": 1}}));
    let undated = with_run(order("SQLIntervalCheckOperator", args), |run| run.logical_date = None);
    let refused = prepare(&undated, &world).unwrap_err().to_string();
    assert!(refused.contains("ds"), "{refused}");
}
