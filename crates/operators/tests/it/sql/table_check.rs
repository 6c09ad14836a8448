//! The checks of columns and tables, on each of the databases.

use updraft_operators::catalog;

use super::*;

/// Does something with a table of prices in each of the databases.
fn with_prices(each: impl Fn(&World, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let (postgres, mariadb) = (Postgres::start(), MariaDb::start());
    let world = world([sqlite(&folder.path().join("x.db")), postgres.connection(), mariadb.connection()]);
    for conn_id in ["file", "warehouse", "shop"] {
        for text in [
            "create table prices (day date, item varchar(9), price decimal(8, 2))",
            "insert into prices values ('2026-01-30', 'tea', 3.5), ('2026-01-31', 'rum', 20), \
             ('2026-01-31', 'rum', null)",
            "create table unsold (price int)",
        ] {
            sql(&world, conn_id, text);
        }
        each(&world, conn_id);
    }
}

/// Why a check failed; nothing where it passed.
fn failed(world: &World, operator: &str, conn_id: &str, more: Value) -> String {
    let ended = run(world, operator, args(json!({"conn_id": conn_id, "table": "prices"}), more));
    match (ended.outcome.end, ended.outcome.message) {
        (AttemptEnd::Success, _) => String::new(),
        (AttemptEnd::Failed, Some(message)) => {
            let why =
                message.strip_prefix("the check failed: ").unwrap_or_else(|| panic!("{conn_id}: {message}"));
            why.split_once("; it was: ").unwrap().0.to_owned()
        }
        other => panic!("{conn_id}: {other:?}"),
    }
}

#[test]
fn columns_are_measured_as_airflow_measures_them() {
    with_prices(|world, conn_id| {
        for (column, check, limits, why) in [
            ("price", "null_check", json!({"equal_to": 1}), ""),
            ("price", "null_check", json!({"equal_to": 0}), "`price`: null_check is 1, and not equal_to 0"),
            ("price", "null_check", json!({"equal_to": 0, "partition_clause": "item = 'tea'"}), ""),
            ("item", "distinct_check", json!({"geq_to": 2, "leq_to": 2}), ""),
            (
                "item",
                "distinct_check",
                json!({"greater_than": 2}),
                "`item`: distinct_check is 2, and not greater_than 2",
            ),
            ("item", "unique_check", json!({"equal_to": 0}), "`item`: unique_check is 1, and not equal_to 0"),
            ("price", "min", json!({"greater_than": 3, "less_than": "3.6"}), ""),
            ("price", "min", json!({"geq_to": 4, "tolerance": 0.2}), ""),
            ("price", "max", json!({"equal_to": 18, "tolerance": 0.2}), ""),
            ("day", "max", json!({"leq_to": "{{ ds }}"}), ""),
            (
                "day",
                "min",
                json!({"geq_to": "{{ ds }}"}),
                "`day`: min is 2026-01-30, and not geq_to \"2026-01-31\"",
            ),
            (
                "day",
                "min",
                json!({"geq_to": "2026-01-31", "partition_clause": "item <> 'tea' or item is null"}),
                "",
            ),
        ] {
            let more = json!({"column_mapping": {column: {check: limits}}});
            assert_eq!(
                failed(world, "SQLColumnCheckOperator", conn_id, more.clone()),
                why,
                "{conn_id}: {more}"
            );
        }
        // Several at once, of which each that fails is told.
        let mapping = json!({
            "price": {"min": {"equal_to": 3.5}, "max": {"less_than": 20}},
            "day": {"null_check": {"equal_to": 1}, "max": {"equal_to": "2026-01-31"}},
        });
        assert_eq!(
            failed(world, "sql_column_check", conn_id, json!({"column_mapping": mapping})),
            "`price`: max is 20.00, and not less_than 20; `day`: null_check is 0, and not equal_to 1"
                .replace("20.00", if conn_id == "file" { "20" } else { "20.00" })
        );
    });
}

#[test]
fn what_is_null_counts_as_nothing_or_as_zero() {
    with_prices(|world, conn_id| {
        let mapping = json!({"price": {"min": {"leq_to": 5}}});
        let check = |more: Value| {
            let more = args(json!({"table": "unsold", "column_mapping": mapping}), more);
            failed(world, "SQLColumnCheckOperator", conn_id, more)
        };
        assert_eq!(check(json!({})), "", "{conn_id}");
        assert_eq!(
            check(json!({"accept_none": false})),
            "`price`: min is None, and not leq_to 5",
            "{conn_id}"
        );

        let checks =
            json!({"cheap": {"check_statement": "price < 5"}, "few": {"check_statement": "COUNT(*) < 5"}});
        let check = |more: Value| {
            let more = args(json!({"table": "unsold", "checks": checks}), more);
            failed(world, "SQLTableCheckOperator", conn_id, more)
        };
        assert_eq!(
            check(json!({})),
            "`cheap`: there are no rows (`accept_none: true` lets that pass)",
            "{conn_id}"
        );
        assert_eq!(check(json!({"accept_none": true})), "", "{conn_id}");
    });
}

#[test]
fn a_column_of_dates_that_are_all_null_passes_where_that_is_accepted() {
    with_prices(|world, conn_id| {
        let mapping = json!({"day": {"max": {"leq_to": "{{ ds }}", "partition_clause": "item = 'gin'"}}});
        let check = |more: Value| {
            failed(world, "SQLColumnCheckOperator", conn_id, args(json!({"column_mapping": mapping}), more))
        };
        assert_eq!(check(json!({})), "", "{conn_id}");
        assert_eq!(
            check(json!({"accept_none": false})),
            "`day`: max is None, and not leq_to \"2026-01-31\"",
            "{conn_id}"
        );
    });
}

#[test]
fn numbers_are_compared_by_all_their_digits_and_texts_as_they_stand() {
    with_prices(|world, conn_id| {
        for text in [
            "create table sums (whole bigint, much decimal(30, 2), code varchar(20))",
            "insert into sums values (9007199254740993, 9007199254740993, '0123')",
        ] {
            sql(world, conn_id, text);
        }
        for (column, limits, why) in [
            ("whole", json!({"equal_to": 9_007_199_254_740_993_i64}), ""),
            (
                "whole",
                json!({"equal_to": 9_007_199_254_740_992_i64}),
                "`whole`: max is 9007199254740993, and not equal_to 9007199254740992",
            ),
            ("whole", json!({"greater_than": "9007199254740992"}), ""),
            (
                "much",
                json!({"greater_than": 9_007_199_254_740_992_i64, "less_than": "9007199254740993.5"}),
                "",
            ),
            ("code", json!({"equal_to": "0123"}), ""),
            ("code", json!({"equal_to": "123"}), "`code`: max is 0123, and not equal_to \"123\""),
            ("code", json!({"equal_to": 123}), ""),
        ] {
            let more = json!({"table": "sums", "column_mapping": {column: {"max": limits}}});
            assert_eq!(
                failed(world, "SQLColumnCheckOperator", conn_id, more.clone()),
                why,
                "{conn_id}: {more}"
            );
        }
    });
}

#[test]
fn conditions_hold_of_each_row_or_of_all_together() {
    with_prices(|world, conn_id| {
        for (checks, clause, why) in [
            (json!({"count": {"check_statement": "COUNT(*) = 3"}}), Value::Null, ""),
            (json!({"rows": {"check_statement": "price > 0 or price is null"}}), Value::Null, ""),
            (json!({"rows": {"check_statement": "price > 5"}}), Value::Null, "`rows` does not hold"),
            (
                json!({"rows": {"check_statement": "price > 5"}}),
                json!("item = 'rum' and price is not null"),
                "",
            ),
            (
                json!({"sum": {"check_statement": "SUM(price) < 20", "partition_clause": "item = 'tea' or item = 'rum'"}}),
                json!("day = '{{ ds }}'"),
                "`sum` does not hold",
            ),
            (
                json!({"a": {"check_statement": "MAX(price) < 5"}, "b": {"check_statement": "COUNT(*) > 1"}}),
                json!("item = 'tea'"),
                "`b` does not hold",
            ),
        ] {
            let more = json!({"checks": checks, "partition_clause": clause});
            assert_eq!(
                failed(world, "SQLTableCheckOperator", conn_id, more.clone()),
                why,
                "{conn_id}: {more}"
            );
        }
    });
}

#[test]
fn a_check_that_can_t_be_asked_or_compared_fails_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let world = world([sqlite(&folder.path().join("x.db"))]);
    sql(&world, "file", "create table t as select 'x' as name");
    let ended = |operator: &str, more: Value| {
        run(&world, operator, args(json!({"conn_id": "file", "table": "t", "retry_on_failure": false}), more))
    };
    let mapping = |limits: Value| json!({"column_mapping": {"name": {"min": limits}}});
    let number = ended("SQLColumnCheckOperator", mapping(json!({"geq_to": 5})));
    assert!(number.failure().contains("`name`: min: x can't be compared with 5"), "{}", number.failure());
    let off = ended("SQLColumnCheckOperator", mapping(json!({"geq_to": "a", "tolerance": 0.1})));
    assert!(off.failure().contains("x is no number, which a tolerance needs"), "{}", off.failure());
    let nowhere = ended("SQLTableCheckOperator", json!({"checks": {"a": {"check_statement": "price > 5"}}}));
    assert!(nowhere.failure().contains("no such column"), "{}", nowhere.failure());
    let failed = ended("SQLTableCheckOperator", json!({"checks": {"a": {"check_statement": "name = 'y'"}}}));
    assert_eq!(failed.outcome.end, AttemptEnd::FailedForGood);
}

#[test]
fn checks_that_make_no_sense_are_refused_when_they_are_read() {
    let refused = |operator: &str, more: Value| {
        let args = args(json!({"conn_id": "file", "table": "t"}), more);
        catalog::check(operator, args.as_object().unwrap()).unwrap_err().to_string()
    };
    for (limits, why) in [
        (json!({}), "needs one or more of less_than, leq_to, greater_than, geq_to and equal_to"),
        (json!({"equal_to": 1, "leq_to": 2}), "has equal_to beside another bound"),
        (json!({"geq_to": 1, "greater_than": 2}), "has greater_than and geq_to: keep one of the two"),
        (json!({"leq_to": 1, "less_than": 2}), "has less_than and leq_to: keep one of the two"),
        (json!({"geq_to": 3, "leq_to": 2}), "lets nothing through: geq_to has to be less than leq_to"),
        (json!({"greater_than": 2, "less_than": 2}), "lets nothing through"),
        (json!({"more_than": 2}), "has `more_than`, which is none of equal_to"),
        (json!({"equal_to": [1]}), "equal_to must be a number or a string"),
        (json!({"equal_to": 1, "tolerance": "much"}), "tolerance must be a number"),
        (json!({"equal_to": 1, "partition_clause": "a = 1; drop table t"}), "has a semicolon"),
        (json!(5), "must be a map of what it has to be"),
    ] {
        let told = refused("SQLColumnCheckOperator", json!({"column_mapping": {"price": {"min": limits}}}));
        assert!(told.contains("`column_mapping` of `price`, min, ") && told.contains(why), "{told}");
    }
    let unknown =
        refused("SQLColumnCheckOperator", json!({"column_mapping": {"price": {"mean": {"equal_to": 1}}}}));
    assert!(
        unknown.contains("is no check: there are null_check, distinct_check, unique_check, min, max"),
        "{unknown}"
    );
    for (more, why) in [
        (json!({"checks": {}}), "names no check"),
        (
            json!({"checks": {"a": {"statement": "x"}}}),
            "of `a` has `statement`, which is none of check_statement",
        ),
        (json!({"checks": {"a": {}}}), "of `a` needs a `check_statement`"),
        (json!({"checks": {"a": {"check_statement": "1; 2"}}}), "without a semicolon"),
        (json!({"checks": {"a": {"check_statement": "x"}}, "partition_clause": ";"}), "has a semicolon"),
        (json!({"checks": ["x"]}), "must be a map of checks"),
    ] {
        let told = refused("SQLTableCheckOperator", more);
        assert!(told.contains(why), "{told}");
    }
}
