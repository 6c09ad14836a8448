//! `SQLExecuteQueryOperator` and the operators that it took the place of.

use std::{sync::Arc, time::Instant};

use updraft_operators::{Files, Work, catalog, work::TaskLog};

use super::*;
use crate::world::{Lines, context};

/// What each type of PostgreSQL becomes, whichever way it comes.
#[test]
fn values_of_postgresql_are_json_with_and_without_parameters() {
    let server = Postgres::start();
    let world = world([server.connection()]);
    let columns = "true, 1::int2, 2::int4, 3::int8, 0.1::float4, 0.1::float8, 12.50::numeric, 12::numeric, \
                   -0.0001::numeric, 123456789012::numeric, 'é'::text, 'ab'::char(3), 'x'::varchar, \
                   '\\x00ff'::bytea, '{\"a\": [1]}'::json, '{\"a\": [1]}'::jsonb, '2026-01-31'::date, '1999-12-31'::date, \
                   '18:30:00.5'::time, '2026-01-31 06:00:00'::timestamp, '2026-01-31 06:00:00+02'::timestamptz, \
                   null::int, ARRAY[1, null], ARRAY[['a b', 'c'], ['d', 'NULL']], '{}'::int[], \
                   '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, 'sad'::mood, 'NaN'::float8";
    sql(&world, "warehouse", "create type mood as enum ('sad', 'glad')");
    let wanted = json!([[
        true, 1, 2, 3, 0.1, 0.1, 12.5, 12, -0.0001, 123_456_789_012u64, "é", "ab ", "x", "AP8=",
        {"a": [1]}, {"a": [1]}, "2026-01-31", "1999-12-31", "18:30:00.5", "2026-01-31T06:00:00",
        "2026-01-31T04:00:00+00:00", null, [1, null], [["a b", "c"], ["d", "NULL"]], [],
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "sad", "NaN"
    ]]);
    assert_eq!(sql(&world, "warehouse", &format!("select {columns}")), wanted);
    let ended = execute(
        &world,
        "warehouse",
        json!({"sql": format!("select {columns} where 1 = %s"), "parameters": [1]}),
    );
    assert_eq!(ended.result(), wanted, "{:?}", ended.outcome.message);
}

#[test]
fn what_postgresql_says_besides_is_in_the_log() {
    let server = Postgres::start();
    let world = world([server.connection()]);
    let text =
        "do $$ begin raise notice 'two of % are done', 3; raise warning 'slow'; raise info 'i'; end $$";
    let ended = execute(&world, "warehouse", json!({"sql": text}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    let said: Vec<_> =
        ended.log.iter().filter(|line| line.contains("NOTICE") || line.contains("WARNING")).collect();
    assert_eq!(said, ["NOTICE: two of 3 are done", "WARNING: slow"], "{:?}", ended.log);
}

/// Types that have no counterpart in JSON are what PostgreSQL prints.
#[test]
fn any_type_of_postgresql_is_read_with_and_without_parameters() {
    let server = Postgres::start();
    let world = world([server.connection()]);
    let columns = "'1 day 02:00'::interval, '10.0.0.1'::inet, '10.0.0.0/8'::cidr, '1.50'::money, '(1,2)'::point, \
                   '[1,5)'::int4range, '<a/>'::xml, '101'::bit(3), '08:00:2b:01:02:03'::macaddr, \
                   'a b'::tsvector, row(1, 'x'), '18:30:00+02'::timetz, '0/16'::pg_lsn, 'infinity'::date, \
                   '-infinity'::timestamp, 'infinity'::timestamptz, array['1 day'::interval], array['::1'::inet], \
                   '[2026-01-31,2026-02-02)'::daterange, array['sad'::mood]";
    sql(&world, "warehouse", "create type mood as enum ('sad', 'glad')");
    let wanted = json!([[
        "1 day 02:00:00",
        "10.0.0.1",
        "10.0.0.0/8",
        "$1.50",
        "(1,2)",
        "[1,5)",
        "<a/>",
        "101",
        "08:00:2b:01:02:03",
        "'a' 'b'",
        "(1,x)",
        "18:30:00+02",
        "0/16",
        "infinity",
        "-infinity",
        "infinity",
        ["1 day"],
        ["::1"],
        "[2026-01-31,2026-02-02)",
        "{sad}"
    ]]);
    assert_eq!(sql(&world, "warehouse", &format!("select {columns}")), wanted);
    let text = format!("select {columns} where 1 = %s");
    let ended = execute(&world, "warehouse", json!({"sql": text, "parameters": [1]}));
    assert_eq!(ended.result(), wanted, "{:?}", ended.outcome.message);
}

#[test]
fn parameters_take_the_type_of_their_place_and_are_never_sql() {
    let server = Postgres::start();
    let world = world([server.connection()]);
    sql(
        &world,
        "warehouse",
        "create type mood as enum ('sad', 'glad'); create table t (id int primary key, at timestamptz, day date, \
         price numeric(10, 2), name char(5), tags text[], about jsonb, mood mood, big bigint, ok bool, bits bit(3))",
    );
    let row = json!({
        "id": 7, "at": "2026-01-31T06:00:00+00:00", "day": "{{ ds }}", "price": 12.5, "name": "abc",
        "tags": ["a,b", "c\"d"], "about": {"k": [1, null]}, "mood": "glad", "big": 5_000_000_000u64, "ok": true,
        "bits": "101"
    });
    let insert = "insert into t values (%(id)s, %(at)s, %(day)s, %(price)s, %(name)s, %(tags)s, %(about)s, \
                  %(mood)s, %(big)s, %(ok)s, %(bits)s) returning *";
    let ended = execute(
        &world,
        "warehouse",
        json!({"sql": format!("{insert}, bits::text").replace("*", "id, at, day, price, name, tags, about, mood, big, ok"), "parameters": row}),
    );
    assert_eq!(
        ended.result(),
        json!([[7, "2026-01-31T06:00:00+00:00", "2026-01-31", 12.5, "abc  ", ["a,b", "c\"d"], {"k": [1, null]},
                "glad", 5_000_000_000u64, true, "101"]]),
        "{:?}",
        ended.outcome.message
    );
    let find = |condition: &str, parameter: Value| {
        let text = format!("select count(*) from t where {condition}");
        let ended = execute(&world, "warehouse", json!({"sql": text, "parameters": [parameter]}));
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{condition}: {:?}", ended.outcome.message);
        ended.result()[0][0].clone()
    };
    assert_eq!(find("at = %s", json!("2026-01-31 07:00+01")), 1);
    assert_eq!(find("id = any(%s)", json!([1, 7])), 1);
    assert_eq!(find("name like 'a%%' and name = %s", json!("abc")), 1);
    assert_eq!(find("price > %s", json!("12.49")), 1);
    assert_eq!(find("price = %s", json!(12.5)), 1);
    assert_eq!(find("name is distinct from %s", json!(null)), 1);
    assert_eq!(find("name = %s", json!("x'; drop table t; --")), 0);
    assert_eq!(find("%s = 'a'", json!("b")), 0);
    assert_eq!(find("name = %s", json!("\\' or true --")), 0);
    assert_eq!(find("id -%s = 8", json!(-1)), 1);
    assert_eq!(find("at < now() + interval %s", json!("100 years")), 1);
    sql(&world, "warehouse", "alter role updraft set standard_conforming_strings = off");
    assert_eq!(find("name = %s", json!("\\' or true --")), 0);
    assert_eq!(sql(&world, "warehouse", "select count(*) from t"), json!([[1]]));
}

#[test]
fn values_of_mariadb_are_json_with_and_without_parameters() {
    let server = MariaDb::start();
    let world = world([server.connection()]);
    sql(
        &world,
        "shop",
        "create table t (a tinyint(1), b bigint unsigned, c float, d double, e decimal(10,2), f varchar(9), \
         g varbinary(9), h date, i datetime(6), j timestamp null, k time, l enum('x','y'), m text, n int, o year, \
         p date)",
    );
    let insert = "insert into t values (1, 18446744073709551615, 0.1, 0.1, 12.50, 'é', x'00ff', '2026-01-31', \
                  '2026-01-31 06:00:00.25', '2026-01-31 06:00:00', '-100:30:00', 'x', 'long', null, 2026, %s)";
    let ended = execute(&world, "shop", json!({"sql": insert, "parameters": ["2026-02-01"]}));
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    let wanted = json!([[
        1,
        18_446_744_073_709_551_615u64,
        0.1,
        0.1,
        12.5,
        "é",
        "AP8=",
        "2026-01-31",
        "2026-01-31T06:00:00.25",
        "2026-01-31T06:00:00+00:00",
        "-100:30:00",
        "x",
        "long",
        null,
        2026,
        "2026-02-01"
    ]]);
    assert_eq!(sql(&world, "shop", "select * from t"), wanted);
    let by = |parameter: Value| {
        execute(&world, "shop", json!({"sql": "select * from t where f = %s", "parameters": [parameter]}))
    };
    assert_eq!(by(json!("é")).result(), wanted);
    assert_eq!(by(json!("' or 1 = 1 -- ")).result(), json!([]));
    assert!(by(json!(["a"])).failure().contains("a `%s` for each"), "{}", by(json!(["a"])).failure());
    assert_eq!(sql(&world, "shop", "set sql_mode = ''; select cast('0000-00-00' as date)"), json!([[null]]));
    sql(&world, "shop", "create procedure p() begin select 5; select 6; end");
    assert_eq!(sql(&world, "shop", "call p()"), json!([[6]]));
    let ended = run(&world, "mysql", json!({"mysql_conn_id": "shop", "sql": "select 1"}));
    assert_eq!(ended.result(), json!([[1]]));
}

/// That a text is compared byte by byte makes no bytes of it.
#[test]
fn texts_of_mariadb_are_texts_whatever_their_collation() {
    let server = MariaDb::start();
    let warehouse = Postgres::start();
    let world = world([server.connection(), warehouse.connection()]);
    sql(
        &world,
        "shop",
        "create table t (a varchar(9) collate utf8mb4_bin, b text collate utf8mb4_bin, c json, \
         d enum('x') collate utf8mb4_bin, e char(2) collate latin1_bin, f binary(2), g blob, h varbinary(2)); \
         insert into t values ('é', 'é', '{\"k\": 1}', 'x', 'ü', 'ab', 'ab', 'ab')",
    );
    let columns =
        "select a, b, c, d, e, concat(a, b), group_concat(b), json_extract(c, '$.k'), f, g, h from t";
    let wanted = json!([["é", "é", "{\"k\": 1}", "x", "ü", "éé", "é", "1", "YWI=", "YWI=", "YWI="]]);
    assert_eq!(sql(&world, "shop", columns), wanted);
    let bound = json!({"sql": format!("{columns} where a = %s"), "parameters": ["é"]});
    assert_eq!(execute(&world, "shop", bound).result(), wanted);
    let check = json!({"conn_id": "shop", "sql": "select b from t", "pass_value": "é"});
    let ended = run(&world, "SQLValueCheckOperator", check);
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    sql(&world, "warehouse", "create table t (c jsonb)");
    let transfer = json!({
        "source_conn_id": "shop", "destination_conn_id": "warehouse", "sql": "select c from t", "destination_table": "t"
    });
    let ended = run(&world, "GenericTransfer", transfer);
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
    assert_eq!(sql(&world, "warehouse", "select c from t"), json!([[{"k": 1}]]));
}

#[test]
fn values_of_sqlite_are_what_they_are_stored_as() {
    let folder = tempfile::tempdir().unwrap();
    let world = world([sqlite(&folder.path().join("new.db"))]);
    sql(
        &world,
        "file",
        "create table t (a int, b, c); insert into t values (1, 0.5, x'00ff'), ('x', null, 'é')",
    );
    assert_eq!(sql(&world, "file", "select * from t"), json!([[1, 0.5, "AP8="], ["x", null, "é"]]));
    let ended = run(
        &world,
        "SqliteOperator",
        json!({"sqlite_conn_id": "file", "sql": "select c from t where a = :a or b = :b", "parameters": {"a": "x", "b": 0.5}}),
    );
    assert_eq!(ended.result(), json!([["AP8="], ["é"]]), "{:?}", ended.outcome.message);
}

#[test]
fn results_are_as_airflow_has_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.sql"), "select '{{ ds }}';\n").unwrap();
    let server = Postgres::start();
    let world = world([server.connection()]);
    let result = |more: Value| {
        let ended = execute(&world, "warehouse", more);
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
        ended.result()
    };
    assert_eq!(result(json!({"sql": "create table t (a int)"})), Value::Null);
    assert_eq!(result(json!({"sql": "select * from t"})), json!([]));
    assert_eq!(result(json!({"sql": "select 1; select 2"})), json!([[2]]));
    assert_eq!(result(json!({"sql": ["select 1", "insert into t values (1)"]})), json!([[[1]], null]));
    assert_eq!(
        result(json!({"sql": "select 1; select 2", "split_statements": true, "return_last": false})),
        json!([[[1]], [[2]]])
    );
    assert_eq!(
        result(
            json!({"sql": "select 0 where 1 = %s; select %s", "split_statements": true, "parameters": [1]})
        ),
        json!([[1]])
    );
    let handler = "airflow.providers.common.sql.hooks.handlers.fetch_one_handler";
    assert_eq!(result(json!({"sql": "values (1), (2)", "handler": handler})), json!([1]));
    let mut order =
        order("sql", json!({"conn_id": "warehouse", "sql": "rows.sql", "show_return_value_in_logs": true}));
    order = crate::world::with_run(order, |run| {
        run.source = folder.path().join("dag.py").to_str().unwrap().into();
    });
    let ended = run_native(prepare(&order, &world).unwrap());
    assert_eq!(ended.result(), json!([["2026-01-31"]]));
    assert_eq!(
        ended.log[1..],
        ["running: select '2026-01-31';", "done, 1 rows", "result: [[\"2026-01-31\"]]"]
    );
    order.task.do_xcom_push = false;
    assert_eq!(run_native(prepare(&order, &world).unwrap()).result(), Value::Null);
}

#[test]
fn all_statements_count_or_none_unless_each_is_to() {
    let server = Postgres::start();
    let maria = MariaDb::start();
    let folder = tempfile::tempdir().unwrap();
    let world = world([server.connection(), maria.connection(), sqlite(&folder.path().join("x.db"))]);
    for conn_id in ["warehouse", "shop", "file"] {
        sql(&world, conn_id, "create table t (a int)");
        let both = json!(["insert into t values (1)", "insert into nothing values (2)"]);
        execute(&world, conn_id, json!({"sql": both})).failure();
        assert_eq!(sql(&world, conn_id, "select * from t"), json!([]), "{conn_id}");
        execute(&world, conn_id, json!({"sql": both, "autocommit": true})).failure();
        assert_eq!(sql(&world, conn_id, "select * from t"), json!([[1]]), "{conn_id}");
    }
    let vacuum =
        |autocommit| execute(&world, "warehouse", json!({"sql": "vacuum t", "autocommit": autocommit}));
    assert!(vacuum(false).failure().contains("set `autocommit: true`"), "{}", vacuum(false).failure());
    assert_eq!(vacuum(true).outcome.end, AttemptEnd::Success);
}

#[test]
fn what_goes_wrong_is_told_with_the_connection_and_the_mend() {
    let server = Postgres::start();
    let maria = MariaDb::start();
    let mut world = world([server.connection(), maria.connection()]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let maria = |change: fn(&mut Connection)| {
        let mut connection = maria.connection();
        change(&mut connection);
        connection
    };
    let nobody = |kind: &str| Connection {
        conn_id: format!("gone-{kind}"),
        conn_type: kind.into(),
        host: Some("127.0.0.1".into()),
        port: Some(gone),
        password: Some(PASSWORD.into()),
        ..Connection::default()
    };
    let mut no_database = server.connection();
    (no_database.conn_id, no_database.schema) = ("no-database".into(), Some("nothing".into()));
    for connection in [
        maria(|connection| {
            connection.conn_id = "wrong".into();
            connection.password = Some("wr0ng".into());
        }),
        nobody("mysql"),
        nobody("postgres"),
        nobody("oracle"),
        no_database,
    ] {
        world.connections.insert(connection.conn_id.clone(), connection);
    }
    for (conn_id, text, said) in [
        (
            "warehouse",
            "select * from nothing",
            "relation \"nothing\" does not exist [42P01]: check the table's name",
        ),
        ("warehouse", "selec 1", "syntax error at or near \"selec\" [42601]"),
        ("shop", "select * from nothing", "check the table's name"),
        ("shop", "selec 1", "SQL syntax"),
        ("wrong", "select 1", "check the login (`etl`) and the password"),
        ("gone-mysql", "select 1", "no server answers"),
        ("gone-postgres", "select 1", "no server answers"),
        ("no-database", "select 1", "check the connection's schema"),
        (
            "gone-oracle",
            "select 1",
            "is of type `oracle`, with which no SQL is done here: the type is postgres",
        ),
        ("nothing", "select 1", "there is no connection `nothing`"),
    ] {
        let ended = execute(&world, conn_id, json!({"sql": text}));
        let failure = ended.failure();
        assert!(
            failure.contains(said) && failure.contains(conn_id) && !failure.contains("wr0ng"),
            "{failure}"
        );
    }
    let failure = |more: Value| execute(&world, "warehouse", more).failure().to_owned();
    assert!(
        failure(json!({"sql": "select %s", "parameters": ["a\0"]}))
            .contains("a parameter with the character 0")
    );
    assert!(failure(json!({"sql": " "})).contains("`sql` has no statement"));
    let large = failure(json!({"sql": "select repeat('x', 1000000) from generate_series(1, 20)"}));
    assert!(large.contains("16 MiB") && large.contains("GenericTransfer"), "{large}");
}

#[test]
fn a_password_that_postgresql_refuses_is_told_and_not_shown() {
    let server = Postgres::start();
    let mut connection = server.connection();
    let world = world([connection.clone()]);
    let rules = sql(
        &world,
        "warehouse",
        "create role etl login password 'right'; select setting from pg_settings where name = 'hba_file'",
    );
    let rules = rules[0][0].as_str().unwrap().to_owned();
    std::fs::write(&rules, "local all etl scram-sha-256\nlocal all all trust\n").unwrap();
    sql(&world, "warehouse", "select pg_reload_conf()");
    connection.login = Some("etl".into());
    let refused = self::world([connection.clone()]);
    // The server takes its new rules up in a moment.
    let begin = Instant::now();
    loop {
        let ended = execute(&refused, "warehouse", json!({"sql": "select 1"}));
        if ended.outcome.end == AttemptEnd::Failed {
            let failure = ended.failure();
            assert!(failure.contains("check the login (`etl`) and the password"), "{failure}");
            break;
        }
        assert!(begin.elapsed().as_secs() < 10, "the rules are not taken up");
    }
    connection.password = Some("right".into());
    assert_eq!(sql(&self::world([connection]), "warehouse", "select 1"), json!([[1]]));
}

#[test]
fn tls_is_what_the_connection_says() {
    let (postgres, maria) = (Postgres::start(), MariaDb::start());
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/ca.pem");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/cert.pem");
    let run = |connection: &Connection, extra: Value, text: &str| {
        let mut connection = connection.clone();
        connection.host = Some("127.0.0.1".into());
        connection.extra = extra.as_object().unwrap().clone();
        let conn_id = connection.conn_id.clone();
        execute(&world([connection]), &conn_id, json!({"sql": text}))
    };
    let of_postgres = |extra| {
        let text = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        run(&postgres.connection(), extra, text)
    };
    let of_maria = |extra| {
        let text = "select variable_value <> '' from information_schema.session_status where variable_name = 'ssl_cipher'";
        run(&maria.connection(), extra, text)
    };
    assert_eq!(of_postgres(json!({})).result(), json!([[true]]));
    assert_eq!(of_postgres(json!({"sslmode": "disable"})).result(), json!([[false]]));
    let verified = |file: &Path| json!({"sslmode": "verify-full", "sslrootcert": file});
    assert_eq!(of_postgres(verified(&authority)).result(), json!([[true]]));
    assert!(of_postgres(verified(&other)).failure().contains("check the connection's `sslmode`"));
    assert!(
        of_postgres(verified(Path::new("/nowhere.pem")))
            .failure()
            .contains("names a file for TLS: /nowhere.pem")
    );
    assert!(of_postgres(json!({"iam": true})).failure().contains("`iam`, which is not supported"));
    assert!(of_postgres(json!({"sslmode": "always"})).failure().contains("it is disable, allow, prefer"));
    assert_eq!(of_maria(json!({})).result(), json!([[1]]));
    assert_eq!(of_maria(json!({"ssl_mode": "DISABLED"})).result(), json!([[0]]));
    let verified = |file: &Path| json!({"ssl_mode": "verify_identity", "ssl": {"ca": file}});
    assert_eq!(of_maria(verified(&authority)).result(), json!([[1]]));
    assert!(of_maria(verified(&other)).failure().contains("check the connection's `sslmode`"));
    assert!(of_maria(json!({"ssl_mode": "always"})).failure().contains("it is disabled, preferred"));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = |kind: &str| Connection {
        conn_id: "silent".into(),
        conn_type: kind.into(),
        host: Some("127.0.0.1".into()),
        port: Some(silent.local_addr().unwrap().port()),
        extra: json!({"connect_timeout": 0.2}).as_object().unwrap().clone(),
        ..Connection::default()
    };
    for kind in ["postgres", "mysql"] {
        let ended = execute(&world([connection(kind)]), "silent", json!({"sql": "select 1"}));
        assert!(ended.failure().contains("no answer within 200ms (`connect_timeout`"), "{}", ended.failure());
    }
}

/// Begins work, waits until the server has it, drops it, and waits until the server has it no more.
fn is_stopped_when_dropped(world: &World, conn_id: &str, text: &str, seen: &str) {
    let order = order("sql", json!({"conn_id": conn_id, "sql": text}));
    let Work::Native(task) = prepare(&order, world).unwrap().work else { panic!("no native work") };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let context = context(Arc::new(Lines::default()));
    let running = runtime.spawn(task.run(context));
    let wait_for = |count: u64| {
        let begin = Instant::now();
        while sql(world, conn_id, seen)[0][0] != json!(count) {
            assert!(begin.elapsed().as_secs() < 20, "the server does not have {count} of it");
        }
    };
    wait_for(1);
    running.abort();
    wait_for(0);
}

#[test]
fn to_cancel_it_is_to_drop_it_and_the_server_stops() {
    let server = Postgres::start();
    let maria = MariaDb::start();
    let world = world([server.connection(), maria.connection()]);
    is_stopped_when_dropped(
        &world,
        "warehouse",
        "select pg_sleep(600)",
        "select count(*) from pg_stat_activity where query like '%pg_sleep' || '(600)%' and state = 'active' \
         and pid <> pg_backend_pid()",
    );
    is_stopped_when_dropped(
        &world,
        "shop",
        "select sleep(600)",
        "select count(*) from information_schema.processlist where info = concat('select sleep', '(600)')",
    );
}

#[test]
fn what_sqlite_is_at_work_on_is_stopped_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let world = world([sqlite(&path)]);
    sql(&world, "file", "create table t (a int)");
    let endless = "insert into t with recursive n(i) as (select 1 union all select i + 1 from n) \
                   select count(*) from n";
    let order = order("sql", json!({"conn_id": "file", "sql": ["insert into t values (1)", endless]}));
    let Work::Native(task) = prepare(&order, &world).unwrap().work else { panic!("no native work") };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let log = Arc::new(Lines::default());
    let context = context(Arc::clone(&log) as Arc<dyn TaskLog>);
    let running = runtime.spawn(task.run(context));
    while !log.0.lock().unwrap().iter().any(|line| line.contains("recursive")) {
        std::thread::yield_now();
    }
    running.abort();
    // While it is at work, nobody else may write.
    let begin = Instant::now();
    while execute(&world, "file", json!({"sql": "insert into t values (2)"})).outcome.end
        != AttemptEnd::Success
    {
        assert!(begin.elapsed().as_secs() < 20, "it is still at work");
    }
    assert_eq!(sql(&world, "file", "select a from t where a < 3"), json!([[2]]));
}

#[test]
fn a_connection_that_breaks_off_is_told() {
    let server = Postgres::start();
    let world = world([server.connection()]);
    let ended = execute(
        &world,
        "warehouse",
        json!({"sql": "select pg_terminate_backend(pg_backend_pid())", "autocommit": true}),
    );
    assert!(ended.failure().contains("terminating connection"), "{}", ended.failure());
}

#[test]
fn sqlite_reaches_what_tasks_reach_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap().join("home");
    std::fs::create_dir_all(home.join("dags")).unwrap();
    let (own, shared, free) =
        (home.join("updraft.db"), home.join("dags/x.db"), folder.path().join("free.db"));
    for path in [&own, &shared] {
        sql(&world([sqlite(path)]), "file", "create table secret (a int); insert into secret values (5)");
    }
    std::os::unix::fs::symlink(&own, folder.path().join("link.db")).unwrap();
    std::os::unix::fs::symlink(home.join("new.db"), folder.path().join("new.db")).unwrap();
    let guarded = |path: &Path| World {
        files: Files::new(vec![home.clone()], vec![home.join("dags")]),
        ..world([sqlite(path)])
    };
    let select = json!({"sql": "select a from secret"});
    for path in [own.clone(), folder.path().join("link.db"), home.join("dags/../updraft.db")] {
        let ended = execute(&guarded(&path), "file", select.clone());
        assert!(ended.failure().contains("out of tasks' reach"), "{}", ended.failure());
    }
    execute(&guarded(&folder.path().join("new.db")), "file", select.clone()).failure();
    assert!(!home.join("new.db").exists());
    assert_eq!(execute(&guarded(&shared), "file", select).result(), json!([[5]]));
    let write = json!({"sql": "insert into secret values (6)"});
    assert!(execute(&guarded(&shared), "file", write).failure().contains("readonly"));
    let attach = json!({"sql": format!("attach '{}' as other; select a from other.secret", own.display()), "autocommit": true});
    assert!(execute(&guarded(&free), "file", attach).failure().contains("ATTACH"));
    let into = json!({"sql": format!("vacuum into '{}'", home.join("out.db").display()), "autocommit": true});
    assert!(execute(&guarded(&free), "file", into).failure().contains("VACUUM"));
    assert_eq!(
        execute(&guarded(&free), "file", json!({"sql": "vacuum", "autocommit": true})).outcome.end,
        AttemptEnd::Success
    );
}

#[test]
fn what_can_t_be_had_is_refused_with_the_mend() {
    for (args, mend) in [
        (json!({"conn_id": "x"}), "`sql` is required"),
        (json!({"conn_id": "x", "sql": 5}), "a string or a list of strings"),
        (json!({"conn_id": "x", "sql": "a", "handler": "my.module.handler"}), "PythonOperator behind"),
        (json!({"conn_id": "x", "sql": "a", "output_processor": "f"}), "PythonOperator behind"),
        (json!({"conn_id": "x", "sql": "a", "parameters": "b"}), "a list or a map"),
        (json!({"sql": "a"}), "`conn_id` is required"),
    ] {
        let error =
            catalog::check("SQLExecuteQueryOperator", args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
    let args = json!({"sql": "a", "runtime_parameters": {"x": "y"}});
    let error = catalog::check("PostgresOperator", args.as_object().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`options`"), "{error}");
}
