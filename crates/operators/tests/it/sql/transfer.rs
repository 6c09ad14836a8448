//! `GenericTransfer` and `SqlToFileOperator`.

use std::{sync::Arc, time::Instant};

use tokio::{runtime::Runtime, task::JoinHandle};
use updraft_core::input::Outcome;
use updraft_operators::{Files, Work, catalog};

use super::*;
use crate::{
    memory::peak_mib,
    world::{Lines, context},
};

/// One of each database, each with what is `there`.
pub(super) struct Databases {
    pub world: World,
    postgres: Postgres,
    _mariadb: MariaDb,
    pub folder: tempfile::TempDir,
}

const EACH: [&str; 3] = ["warehouse", "shop", "file"];

pub(super) fn databases() -> Databases {
    let (server, mariadb) = (Postgres::start(), MariaDb::start());
    let folder = tempfile::tempdir().unwrap();
    let world = world([server.connection(), mariadb.connection(), sqlite(&folder.path().join("x.db"))]);
    Databases { world, postgres: server, _mariadb: mariadb, folder }
}

fn transfer(world: &World, from: &str, to: &str, more: Value) -> Ended {
    let first = json!({"source_conn_id": from, "destination_conn_id": to});
    run(world, "GenericTransfer", args(first, more))
}

/// Begins work beside the test.
fn begin(world: &World, operator: &str, args: Value) -> (Runtime, JoinHandle<Outcome>) {
    let Work::Native(task) = prepare(&order(operator, args), world).unwrap().work else {
        panic!("no native work")
    };
    let runtime = Runtime::new().unwrap();
    let context = context(Arc::new(Lines::default()));
    let running = runtime.spawn(task.run(context));
    (runtime, running)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed().as_secs() < 30, "{what}");
    }
}

#[test]
fn rows_arrive_whole_from_each_database_in_each() {
    let databases = databases();
    let world = &databases.world;
    let columns =
        "id int, at timestamp null, day date, price numeric(10, 2), name varchar(50), ok boolean, data";
    for (conn_id, bytes) in [("warehouse", "bytea"), ("shop", "varbinary(9)"), ("file", "blob")] {
        sql(
            world,
            conn_id,
            &format!("create table there ({columns} {bytes}); create table here ({columns} {bytes})"),
        );
        let values = match conn_id {
            "warehouse" => "true, '\\x00ff'",
            _ => "true, x'00ff'",
        };
        let name = if conn_id == "shop" { "a\\tb\\\\c\\nd" } else { "a\tb\\c\nd" };
        sql(
            world,
            conn_id,
            &format!(
                "insert into there values (1, '2026-01-31 06:00:00', '2026-01-31', 12.50, '{name}', {values}), \
                 (2, null, null, null, '', null, null)"
            ),
        );
    }
    for to in EACH {
        for from in EACH {
            if (from, to) == ("file", "file") {
                continue;
            }
            let ended = transfer(
                world,
                from,
                to,
                json!({"sql": "select * from there", "destination_table": "here", "preoperator": "delete from here"}),
            );
            assert_eq!(ended.outcome.end, AttemptEnd::Success, "{from} {to}: {:?}", ended.outcome.message);
            assert!(ended.log.last().unwrap().starts_with("2 rows are in here of "), "{:?}", ended.log);
            let found = sql(world, to, "select * from here order by id");
            let at = match (from, to) {
                (_, "warehouse") => "2026-01-31T06:00:00",
                (_, "shop") => "2026-01-31T06:00:00+00:00",
                ("shop", _) => "2026-01-31 06:00:00+00:00",
                _ => "2026-01-31 06:00:00",
            };
            let ok = if to == "warehouse" { json!(true) } else { json!(1) };
            assert_eq!(
                found,
                json!([
                    [1, at, "2026-01-31", 12.5, "a\tb\\c\nd", ok, "AP8="],
                    [2, null, null, null, "", null, null]
                ]),
                "{from} {to}"
            );
        }
    }
}

#[test]
fn columns_are_named_and_lists_and_documents_arrive() {
    let databases = databases();
    let world = &databases.world;
    sql(world, "warehouse", "create table there (tags text[], numbers int[], about jsonb, length interval)");
    let row = "select ARRAY['a,b', null, 'c\"d\\'] as t, ARRAY[[1,2],[3,4]] as n, '{\"k\": 1}'::jsonb as j, '1 day'::interval";
    let more = json!({"sql": row, "destination_table": "public.there",
                      "insert_args": {"target_fields": ["tags", "numbers", "about", "length"], "commit_every": 10}});
    assert_eq!(transfer(world, "warehouse", "warehouse", more).outcome.end, AttemptEnd::Success);
    assert_eq!(
        sql(world, "warehouse", "select * from there"),
        json!([[["a,b", null, "c\"d\\"], [[1, 2], [3, 4]], {"k": 1}, "1 day"]])
    );
    sql(world, "shop", "create table `my there` (a int, `b c` text)");
    let more = json!({"sql": "select %s, about from there", "parameters": [5], "destination_table": "my there",
                      "insert_args": {"target_fields": ["a", "b c"]}});
    let ended = transfer(world, "warehouse", "shop", more);
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert_eq!(sql(world, "shop", "select * from `my there`"), json!([[5, "{\"k\":1}"]]));
    let more = json!({"sql": "select 1, 2", "destination_table": "there; drop table there",
                      "insert_args": {"target_fields": ["tags"]}});
    let failure = transfer(world, "shop", "warehouse", more).failure().to_owned();
    assert!(failure.contains("there; drop table there"), "{failure}");
    assert_eq!(sql(world, "warehouse", "select count(*) from there"), json!([[1]]));
}

#[test]
fn where_a_row_is_refused_the_destination_is_as_it_was() {
    let databases = databases();
    let world = &databases.world;
    let rows = "select case i when 5000 then 1 else i end as i from generate_series(1, 10000) i";
    for to in EACH {
        sql(world, to, "create table here (i int primary key); insert into here values (-1)");
        let more = json!({"sql": rows, "destination_table": "here", "preoperator": ["delete from here"]});
        let ended = transfer(world, "warehouse", to, more);
        assert!(ended.failure().contains(to), "{}", ended.failure());
        assert_eq!(sql(world, to, "select * from here"), json!([[-1]]), "{to}");
    }
    // In MySQL an emptied table stays empty, and what came behind does not count.
    let more = json!({"sql": rows, "destination_table": "here", "preoperator": ["truncate table here"]});
    transfer(world, "warehouse", "shop", more).failure();
    assert_eq!(sql(world, "shop", "select * from here"), json!([]));
    let more =
        json!({"sql": "select 1, 2", "destination_table": "here", "insert_args": {"target_fields": ["i"]}});
    assert!(
        transfer(world, "warehouse", "shop", more).failure().contains("a row of 2 values does not fit the 1")
    );
    let more = json!({"sql": "select 1", "destination_table": "nothing"});
    assert!(transfer(world, "shop", "warehouse", more).failure().contains("check the table's name"));
}

/// In this place the numbers are made as they are taken.
const ENDLESS: &str = "select generate_series(1, 1000000000) as i";

/// How many rows are in MariaDB's table, also of what is not committed.
fn rows_under_way(world: &World) -> u64 {
    let dirty = "set session transaction isolation level read uncommitted; select count(*) from here";
    sql(world, "shop", dirty)[0][0].as_u64().unwrap()
}

#[test]
fn a_source_that_crashes_in_the_middle_leaves_nothing_behind_and_another_try_is_whole() {
    let mut databases = databases();
    sql(&databases.world, "shop", "create table here (i int)");
    let more = json!({"source_conn_id": "warehouse", "destination_conn_id": "shop", "sql": ENDLESS,
                      "destination_table": "here"});
    let (runtime, running) = begin(&databases.world, "GenericTransfer", more);
    wait_until("no row is under way", || rows_under_way(&databases.world) > 0);
    databases.postgres.crash();
    let outcome = runtime.block_on(running).unwrap();
    let message = outcome.message.unwrap();
    assert!(message.contains("`warehouse`") && message.contains("broke off"), "{message}");
    assert_eq!(sql(&databases.world, "shop", "select count(*) from here"), json!([[0]]));
    databases.postgres.restart();
    let is_back =
        || execute(&databases.world, "warehouse", json!({"sql": "select 1"})).result() == json!([[1]]);
    wait_until("it is not back", is_back);
    let more = json!({"sql": "select 5", "destination_table": "here"});
    assert_eq!(transfer(&databases.world, "warehouse", "shop", more).outcome.end, AttemptEnd::Success);
    assert_eq!(sql(&databases.world, "shop", "select * from here"), json!([[5]]));
}

#[test]
fn to_cancel_it_is_to_drop_it_and_both_servers_stop() {
    let databases = databases();
    let world = &databases.world;
    sql(world, "shop", "create table here (i int)");
    sql(world, "warehouse", "create table here (i int)");
    let at_work = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                   and pid <> pg_backend_pid() and state <> 'idle'";
    for to in ["shop", "warehouse"] {
        let more = json!({"source_conn_id": "warehouse", "destination_conn_id": to, "sql": ENDLESS,
                          "destination_table": "here"});
        let (_runtime, running) = begin(world, "GenericTransfer", more);
        wait_until("no row is under way", || match to {
            "shop" => rows_under_way(world) > 0,
            _ => {
                sql(
                    world,
                    "warehouse",
                    "select count(*) from pg_stat_progress_copy where tuples_processed > 1000",
                ) == json!([[1]])
            }
        });
        running.abort();
        wait_until("it is still at work", || sql(world, "warehouse", at_work) == json!([[0]]));
        wait_until("its rows are still there", || rows_under_way(world) == 0);
        assert_eq!(sql(world, to, "select count(*) from here"), json!([[0]]));
    }
}

fn export(world: &World, path: &Path, more: Value) -> Ended {
    export_from(world, "warehouse", path, more)
}

pub(super) fn export_from(world: &World, conn_id: &str, path: &Path, more: Value) -> Ended {
    let first = json!({"path": path, "sql_conn_id": conn_id});
    run(world, "SqlToFileOperator", args(first, more))
}

#[test]
fn rows_become_a_csv_file() {
    let databases = databases();
    let world = &databases.world;
    let path = databases.folder.path().join("out.csv");
    let query = "select 1 as id, 'a,\"b\"' || chr(10) as \"the name\", null as x, '2026-01-31 06:00'::timestamptz as at, \
                 12.50::numeric as price, true as ok";
    let ended = export(world, &path, json!({"query": query}));
    assert_eq!(ended.result(), json!({"path": path, "rows": 1}), "{:?}", ended.outcome.message);
    let wanted = "id,the name,x,at,price,ok\n1,\"a,\"\"b\"\"\n\",,2026-01-31 06:00:00+00:00,12.50,true\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted);
    assert!(export(world, &path, json!({"query": query})).failure().contains("set `replace: true`"));
    let more = json!({"query": "select 1 as a where 1 > %s", "parameters": [5], "replace": true});
    assert_eq!(export(world, &path, more).result()["rows"], 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n");
    let form = json!({"sep": ";", "header": false, "na_rep": "NULL", "index": false});
    let more = json!({"query": "select a, null from generate_series(1, 100000) a", "replace": true, "pd_kwargs": form});
    assert_eq!(export(world, &path, more).outcome.end, AttemptEnd::Success);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((text.lines().count(), text.lines().last()), (100_000, Some("100000;NULL")));
}

#[test]
fn a_file_is_whole_or_not_there() {
    let databases = databases();
    let world = &databases.world;
    let folder = databases.folder.path().join("out");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("out.csv");
    let files = || std::fs::read_dir(&folder).unwrap().count();
    let query = json!({"query": "select 1 / (5000 - i) from generate_series(1, 10000) i"});
    assert!(export(world, &path, query).failure().contains("division by zero"));
    assert_eq!(files(), 0);
    let more = json!({"path": path, "sql_conn_id": "warehouse", "query": ENDLESS});
    let (_runtime, running) = begin(world, "SqlToFileOperator", more);
    let written = || {
        std::fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .any(|file| file.metadata().is_ok_and(|about| about.len() > 0))
    };
    wait_until("nothing is written", written);
    assert!(!path.exists());
    running.abort();
    wait_until("the half is still there", || files() == 0);
    let guarded = World {
        files: Files::new(vec![folder.canonicalize().unwrap()], Vec::new()),
        ..self::world([world.connections["warehouse"].clone()])
    };
    assert!(export(&guarded, &path, json!({"query": "select 1"})).failure().contains("out of tasks' reach"));
    let nowhere = folder.join("nowhere/out.csv");
    assert!(export(world, &nowhere, json!({"query": "select 1"})).failure().contains("can't be written"));
}

#[test]
fn what_can_t_be_had_is_refused_with_the_mend() {
    let whole =
        json!({"sql": "a", "destination_table": "b", "source_conn_id": "c", "destination_conn_id": "d"});
    for (more, mend) in [
        (json!({"insert_args": {"replace": true}}), "ON CONFLICT"),
        (json!({"insert_args": {"target": []}}), "may have `target_fields`"),
        (json!({"rows_processor": "f"}), "the statement itself"),
        (json!({"rows_chunk": 0}), "a number from 1 on"),
        (json!({"source_hook_params": {"schema": "x"}}), "make a connection"),
    ] {
        let args = args(whole.clone(), more);
        let error = catalog::check("GenericTransfer", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
    let whole = json!({"query": "a", "path": "b", "sql_conn_id": "c"});
    for (more, mend) in [
        (json!({"file_format": "xml"}), "must be csv or parquet"),
        (json!({"file_format": "parquet", "pd_kwargs": {"sep": ";"}}), "which is for CSV files: take it out"),
        (json!({"pd_kwargs": {"sep": ";;"}}), "one character"),
        (json!({"pd_kwargs": {"index": true}}), "`sep`, `header` and `na_rep`"),
    ] {
        let args = args(whole.clone(), more);
        let error = catalog::check("sql_to_csv", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
}

/// Carries a million rows from each to each of these; prints how long it took, and with how much memory.
fn carry_a_million(ways: &[(&str, &str)]) -> Databases {
    let databases = databases();
    let world = &databases.world;
    let made = "select i, 'row ' || i || repeat('x', 50), i / 100.0, timestamp '2026-01-01' + i * interval '1 second' \
                from generate_series(1, 1000000) i";
    for conn_id in EACH {
        sql(world, conn_id, "create table here (i int, t text, n numeric(12, 2), at timestamp null)");
    }
    let before = peak_mib();
    for (from, to) in ways {
        let query = if *from == "warehouse" { made } else { "select * from here" };
        let begin = Instant::now();
        let ended = transfer(world, from, to, json!({"sql": query, "destination_table": "here"}));
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
        let (took, peak) = (begin.elapsed(), peak_mib());
        println!("{from} to {to}: {took:.1?}, at most {peak} MiB ({before} before)");
        assert!(peak < before + 64, "{from} to {to}: {peak} MiB");
    }
    databases
}

#[test]
#[ignore = "a minute: run it with --run-ignored only where the way of rows changes"]
fn a_million_rows_to_and_from_mariadb_take_no_more_memory_than_a_few() {
    let databases = carry_a_million(&[("warehouse", "shop"), ("shop", "warehouse")]);
    assert_eq!(sql(&databases.world, "warehouse", "select count(*) from here"), json!([[1_000_000]]));
}

#[test]
#[ignore = "a minute: run it with --run-ignored only where the way of rows changes"]
fn a_million_rows_to_and_from_sqlite_and_into_a_file_take_no_more_memory_than_a_few() {
    let databases = carry_a_million(&[("warehouse", "file"), ("file", "warehouse")]);
    let before = peak_mib();
    let (path, begin) = (databases.folder.path().join("out.csv"), Instant::now());
    let ended = export(&databases.world, &path, json!({"query": "select * from here"}));
    assert_eq!(ended.result()["rows"], 1_000_000);
    let peak = peak_mib();
    println!("warehouse to a file: {:.1?}, at most {peak} MiB ({before} before)", begin.elapsed());
    assert!(peak < before + 64, "{peak} MiB");
    let (path, begin) = (databases.folder.path().join("out.parquet"), Instant::now());
    let more = json!({"query": "select * from here", "file_format": "parquet"});
    assert_eq!(export(&databases.world, &path, more).result()["rows"], 1_000_000);
    let peak = peak_mib();
    println!("warehouse to Parquet: {:.1?}, at most {peak} MiB ({before} before)", begin.elapsed());
    assert!(peak < before + 64, "{peak} MiB");
}
