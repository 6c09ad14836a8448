//! `SqlToFileOperator` as Parquet, as DuckDB reads it.

use std::process::Command;

use super::{
    transfer::{Databases, databases, export_from},
    *,
};

/// What DuckDB answers; `FILE` stands for a file.
fn duckdb(path: &Path, statement: &str) -> Value {
    let statement = statement.replace("FILE", &format!("'{}'", path.display()));
    let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
    let asked = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parquet/ask.py"))
        .arg(&statement)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{statement}: {error} (is it there? run `scripts/setup.sh test`)");
    serde_json::from_slice(&asked.stdout).unwrap()
}

/// The names and types of a file's columns.
fn columns(path: &Path) -> Value {
    duckdb(path, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM FILE)")
}

fn write(world: &World, conn_id: &str, path: &Path, more: Value) -> Ended {
    export_from(world, conn_id, path, args(json!({"file_format": "parquet", "replace": true}), more))
}

/// Writes the rows of a statement, and compares what DuckDB reads: the names and types of the columns, and each row.
fn compare(databases: &Databases, conn_id: &str, query: &str, columns: &[(&str, &str)], rows: &Value) {
    let path = databases.folder.path().join("out.parquet");
    let ended = write(&databases.world, conn_id, &path, json!({"query": query}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert_eq!(self::columns(&path), json!(columns));
    assert_eq!(duckdb(&path, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM FILE"), *rows);
}

#[test]
fn columns_are_what_postgresql_says_and_keep_their_values() {
    let query = "select true as ok, 1::int2 as small, 9007199254740993 as large, 0.1::float8 as part, \
                 12.50::numeric as price, 'é' as word, '\\x00ff'::bytea as raw, date '1969-12-31' as day, \
                 time '06:00:00.25' as hour, timestamp '2026-01-31 06:00:00.000001' as at, \
                 timestamptz '1969-12-31 06:00+01' as moment, '{\"a\": 1}'::jsonb as doc, array[1, 2] as list";
    let columns = [
        ("ok", "BOOLEAN"),
        ("small", "BIGINT"),
        ("large", "BIGINT"),
        ("part", "DOUBLE"),
        ("price", "VARCHAR"),
        ("word", "VARCHAR"),
        ("raw", "BLOB"),
        ("day", "DATE"),
        ("hour", "TIME"),
        ("at", "TIMESTAMP"),
        ("moment", "TIMESTAMP WITH TIME ZONE"),
        ("doc", "VARCHAR"),
        ("list", "VARCHAR"),
    ];
    let row = [
        "true",
        "1",
        "9007199254740993",
        "0.1",
        "12.50",
        "é",
        "\\x00\\xFF",
        "1969-12-31",
        "06:00:00.25",
        "2026-01-31 06:00:00.000001",
        "1969-12-31 05:00:00+00",
        "{\"a\":1}",
        "[1,2]",
    ];
    let query = format!("{query} union all select {}", ["null"; 13].join(", "));
    compare(&databases(), "warehouse", &query, &columns, &json!([row, vec![Value::Null; 13]]));
}

#[test]
fn columns_are_what_mariadb_says_and_keep_their_values() {
    let databases = databases();
    let made = "create table t (ok boolean, large bigint unsigned, part double, price decimal(4, 2), word varchar(5), \
                raw varbinary(5), day date, hour time, at datetime(6), moment timestamp null)";
    sql(&databases.world, "shop", made);
    let row = "(true, 18446744073709551615, 0.1, 12.5, 'é', x'00ff', '1969-12-31', '30:00', \
               '2026-01-31 06:00:00.000001', '2026-01-31 06:00')";
    let nulls = ["null"; 10].join(", ");
    sql(&databases.world, "shop", &format!("insert into t values {row}, ({nulls})"));
    let columns = [
        ("ok", "BIGINT"),
        ("large", "UBIGINT"),
        ("part", "DOUBLE"),
        ("price", "VARCHAR"),
        ("word", "VARCHAR"),
        ("raw", "BLOB"),
        ("day", "DATE"),
        ("hour", "VARCHAR"),
        ("at", "TIMESTAMP"),
        ("moment", "TIMESTAMP WITH TIME ZONE"),
    ];
    let row = [
        "1",
        "18446744073709551615",
        "0.1",
        "12.50",
        "é",
        "\\x00\\xFF",
        "1969-12-31",
        "30:00:00",
        "2026-01-31 06:00:00.000001",
        "2026-01-31 06:00:00+00",
    ];
    compare(&databases, "shop", "select * from t", &columns, &json!([row, vec![Value::Null; 10]]));
}

#[test]
fn columns_are_what_sqlite_or_else_their_first_values_say() {
    let databases = databases();
    for text in [
        "create table t (i integer, r real, s text, b blob, d date, n numeric)",
        "insert into t values (9007199254740993, 2, 'é', x'00ff', '2026-01-31', 3)",
        "insert into t values (null, null, null, null, null, null), (1, 2.5, '', x'', 'x', 0.5)",
    ] {
        sql(&databases.world, "file", text);
    }
    let columns = [
        ("i", "BIGINT"),
        ("r", "DOUBLE"),
        ("s", "VARCHAR"),
        ("b", "BLOB"),
        ("d", "VARCHAR"),
        ("n", "DOUBLE"),
        ("many", "BIGINT"),
        ("half", "DOUBLE"),
        ("missing", "VARCHAR"),
    ];
    let rows = json!([
        ["9007199254740993", "2.0", "é", "\\x00\\xFF", "2026-01-31", "3.0", "3", "1.5", null],
        [null, null, null, null, null, null, "3", "1.5", null],
        ["1", "2.5", "", "", "x", "0.5", "3", "1.5", null]
    ]);
    let query = "select *, count(*) over () as many, 1.5 as half, null as missing from t";
    compare(&databases, "file", query, &columns, &rows);
}

#[test]
fn rows_come_in_groups_and_none_make_an_empty_file() {
    let databases = databases();
    let world = &databases.world;
    let path = databases.folder.path().join("out.parquet");
    let count = |more: Value| write(world, "warehouse", &path, more).result()["rows"].clone();
    let query =
        "select i as id, nullif(i % 3, 0) as rest, repeat('x', i % 7) as word from generate_series(1, %s) i";
    assert_eq!(count(json!({"query": query, "parameters": [120_001]})), 120_001);
    assert_eq!(
        duckdb(
            &path,
            "SELECT count(*), sum(id)::BIGINT, count(rest), sum(length(word))::BIGINT, max(id) FROM FILE"
        ),
        json!([[120_001, 7_200_180_001_u64, 80_001, 360_003, 120_001]])
    );
    let groups = "SELECT count(DISTINCT row_group_id), max(row_group_num_rows) FROM parquet_metadata(FILE)";
    assert_eq!(duckdb(&path, groups), json!([[3, 50_000]]));
    // Large values fill a group before its rows do.
    assert_eq!(
        count(json!({"query": "select repeat('x', 1000000) as word from generate_series(1, 20)"})),
        20
    );
    assert_eq!(duckdb(&path, groups), json!([[2, 17]]));
    assert_eq!(count(json!({"query": "select 1 as id where 1 = 0"})), 0);
    assert_eq!(columns(&path), json!([["id", "BIGINT"]]));
    assert_eq!(duckdb(&path, "SELECT count(*) FROM FILE"), json!([[0]]));
}

#[test]
fn what_parquet_can_t_have_is_told_with_the_mend_and_leaves_no_file() {
    let databases = databases();
    let world = &databases.world;
    sql(world, "file", "create table t (i integer)");
    sql(world, "file", "insert into t values (1), ('many')");
    let folder = databases.folder.path().join("out");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("out.parquet");
    for (conn_id, query, why) in [
        ("file", "select * from t", "`many` in column `i` is no whole number: write `CAST(i AS text)`"),
        (
            "warehouse",
            "select 'infinity'::date as day",
            "`infinity` in column `day` is no date: write `CAST(day AS text)`",
        ),
        ("warehouse", "select 1 as a, 2 as a", "two columns are called `a`: give one another name by AS"),
        ("warehouse", "create table made (a int)", "the statement gives no columns"),
        ("warehouse", "select 1 / (60000 - i) from generate_series(1, 70000) i", "division by zero"),
    ] {
        let ended = write(world, conn_id, &path, json!({"query": query}));
        assert!(ended.failure().contains(why), "{query}: {}", ended.failure());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{query}");
    }
    assert_eq!(
        write(world, "file", &path, json!({"query": "select cast(i as text) from t"})).result()["rows"],
        2
    );
}
