//! The schema and its versions.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use updraft_store::{
    Error, Ledger as _, SCHEMA_VERSION, SqlStore, Upkeep, restore, test_postgres::TestPostgres,
};

use crate::fixture;

type Columns = BTreeSet<(String, String, bool)>;

/// Table, column and whether it may be null.
async fn sqlite_columns(connection: &mut SqliteConnection) -> Columns {
    let sql = "SELECT t.name, c.name, c.\"notnull\" = 0 FROM sqlite_schema t, pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn postgres_columns(connection: &mut PgConnection) -> Columns {
    let sql =
        "SELECT table_name::text, column_name::text, is_nullable = 'YES' FROM information_schema.columns
        WHERE table_schema = 'public'";
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn both_databases_have_the_same_tables_columns_and_indexes() {
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updraft.db");
        let sqlite = SqlStore::sqlite(&path).await.unwrap();
        sqlite.migrate().await.unwrap();
        let server = TestPostgres::start();
        let url = server.database();
        let postgres = SqlStore::postgres(&url).await.unwrap();
        postgres.migrate().await.unwrap();

        let mut one = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let mut other = PgConnection::connect(&url).await.unwrap();
        let columns = sqlite_columns(&mut one).await;
        assert!(columns.len() > 150, "{}", columns.len());
        assert_eq!(columns, postgres_columns(&mut other).await);

        // Indexes that keys make have no names of ours.
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
        let indexes: BTreeSet<String> =
            sqlx::query_scalar(sql).fetch_all(&mut one).await.unwrap().into_iter().collect();
        let sql = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'
            AND indexname !~ '_(pkey|key)$'";
        let others: BTreeSet<String> =
            sqlx::query_scalar(sql).fetch_all(&mut other).await.unwrap().into_iter().collect();
        // "run_dag_key" ends like one that a key makes.
        let others = &others | &BTreeSet::from(["run_dag_key".to_owned()]);
        assert_eq!(indexes, others);
    });
}

#[test]
fn states_that_are_not_in_the_enums_are_refused_by_both_databases() {
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updraft.db");
        SqlStore::sqlite(&path).await.unwrap().migrate().await.unwrap();
        let server = TestPostgres::start();
        let url = server.database();
        SqlStore::postgres(&url).await.unwrap().migrate().await.unwrap();
        let mut one = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let mut other = PgConnection::connect(&url).await.unwrap();
        let row = |from: &str, to: &str| {
            format!(
                "INSERT INTO transition (run, task, map_index, try_number, from_state, to_state, at)
                 VALUES (1, 0, -1, 1, '{from}', '{to}', 0)"
            )
        };
        for state in updraft_core::TiStateName::ALL {
            let state = state.as_str();
            sqlx::query(AssertSqlSafe(row(state, state))).execute(&mut one).await.unwrap();
            sqlx::query(AssertSqlSafe(row(state, state))).execute(&mut other).await.unwrap();
        }
        let half = "INSERT INTO ti (run, task, map_index, task_id, state, try_number, max_tries, lost, lease,
            paused_us) VALUES (1, 0, -1, 't', 'running', 1, 0, 0, 1, 0)";
        for bad in [row("none", "sleeping"), row("sleeping", "none"), half.to_owned()] {
            let error = sqlx::query(AssertSqlSafe(bad.clone())).execute(&mut one).await.unwrap_err();
            assert!(error.as_database_error().unwrap().is_check_violation(), "{error}");
            let error = sqlx::query(AssertSqlSafe(bad)).execute(&mut other).await.unwrap_err();
            assert!(error.as_database_error().unwrap().is_check_violation(), "{error}");
        }
    });
}

#[test]
fn migrating_again_changes_nothing_and_two_at_once_is_as_good_as_one() {
    fixture::run(async {
        let server = TestPostgres::start();
        let url = server.database();
        let (one, other) = (SqlStore::postgres(&url).await.unwrap(), SqlStore::postgres(&url).await.unwrap());
        assert_eq!(one.schema_version().await.unwrap(), 0);
        let (first, second) = tokio::join!(one.migrate(), other.migrate());
        first.unwrap();
        second.unwrap();
        one.migrate().await.unwrap();
        assert_eq!(one.schema_version().await.unwrap(), SCHEMA_VERSION);
    });
}

#[test]
fn a_database_that_is_newer_or_was_changed_is_refused() {
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updraft.db");
        let store = SqlStore::sqlite(&path).await.unwrap();
        let error = store.check_schema().await.unwrap_err();
        assert!(error.to_string().contains("run `updraft db migrate`"), "{error}");
        store.migrate().await.unwrap();
        store.check_schema().await.unwrap();
        let mut raw = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        sqlx::query(
            "INSERT INTO schema_migration SELECT max(version) + 1, 'later', 'x' FROM schema_migration",
        )
        .execute(&mut raw)
        .await
        .unwrap();
        assert!(matches!(store.check_schema().await.unwrap_err(), Error::NewerSchema { .. }));
        let error = store.migrate().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the database is at schema version {} and this program knows versions up to {SCHEMA_VERSION}: \
                 run the newer program, or restore a backup made before its migration",
                SCHEMA_VERSION + 1
            )
        );
        sqlx::query("DELETE FROM schema_migration WHERE name = 'later'").execute(&mut raw).await.unwrap();
        store.migrate().await.unwrap();
        sqlx::query("UPDATE schema_migration SET checksum = 'x'").execute(&mut raw).await.unwrap();
        let error = store.migrate().await.unwrap_err();
        assert!(matches!(error, Error::ChangedMigration { version: 1, .. }), "{error}");
    });
}

/// The tables of counts, and one text for each row of theirs that counts something.
const COUNTS: &str = "SELECT 'run ' || namespace || ' ' || dag_id || ' ' || state || ' ' || total FROM run_count WHERE total <> 0
    UNION ALL SELECT 'ti ' || namespace || ' ' || dag_id || ' ' || state || ' ' || total FROM ti_count WHERE total <> 0
    UNION ALL SELECT 'xcom ' || namespace || ' ' || dag_id || ' ' || task_id || ' ' || total FROM xcom_count WHERE total <> 0
    UNION ALL SELECT 'audit ' || namespace || ' ' || dag_id || ' ' || total FROM audit_count WHERE total <> 0
    ORDER BY 1";

#[test]
fn what_was_there_before_is_counted_as_what_comes_later() {
    use crate::rows;
    const TRIGGERS: [(&str, &[&str]); 4] = [
        ("run", &["more", "other", "less"]),
        ("ti", &["more", "other", "less"]),
        ("xcom", &["more", "less"]),
        ("audit", &["more", "less"]),
    ];
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updraft.db");
        let sqlite = SqlStore::sqlite(&path).await.unwrap();
        let server = TestPostgres::start();
        let url = server.database();
        let postgres = SqlStore::postgres(&url).await.unwrap();
        for store in [&sqlite, &postgres] {
            store.migrate().await.unwrap();
            let fence = store.acquire_leadership("test", "", fixture::HOUR).await.unwrap().unwrap();
            store.commit(&rows::everything(), fence).await.unwrap();
        }
        let mut one = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let mut other = PgConnection::connect(&url).await.unwrap();
        let by_triggers: Vec<String> = sqlx::query_scalar(COUNTS).fetch_all(&mut one).await.unwrap();
        for table in TRIGGERS.map(|(table, _)| table) {
            let of_it = by_triggers.iter().filter(|row| row.starts_with(&format!("{table} ")));
            assert_ne!(of_it.count(), 0, "{table}: {by_triggers:?}");
        }
        let theirs: Vec<String> = sqlx::query_scalar(COUNTS).fetch_all(&mut other).await.unwrap();
        assert_eq!(by_triggers, theirs);

        // As a database of the version before this one is.
        for (table, triggers) in TRIGGERS {
            for trigger in triggers {
                let name = format!("{table}_count_{trigger}");
                let drop = AssertSqlSafe(format!("DROP TRIGGER {name}"));
                sqlx::query(drop).execute(&mut one).await.unwrap();
                let drop = AssertSqlSafe(format!("DROP FUNCTION {name} CASCADE"));
                sqlx::query(drop).execute(&mut other).await.unwrap();
            }
            let drop = format!("DROP TABLE {table}_count");
            sqlx::query(AssertSqlSafe(drop.clone())).execute(&mut one).await.unwrap();
            sqlx::query(AssertSqlSafe(drop)).execute(&mut other).await.unwrap();
        }
        for before in [
            "ALTER TABLE delivery DROP COLUMN taken_by",
            "ALTER TABLE run DROP COLUMN marked",
            "DELETE FROM schema_migration WHERE name >= '0012'",
        ] {
            sqlx::query(before).execute(&mut one).await.unwrap();
            sqlx::query(before).execute(&mut other).await.unwrap();
        }
        for store in [&sqlite, &postgres] {
            assert_eq!(store.schema_version().await.unwrap(), 11);
            store.migrate().await.unwrap();
        }
        let counted: Vec<String> = sqlx::query_scalar(COUNTS).fetch_all(&mut one).await.unwrap();
        assert_eq!(counted, by_triggers);
        let counted: Vec<String> = sqlx::query_scalar(COUNTS).fetch_all(&mut other).await.unwrap();
        assert_eq!(counted, by_triggers);
    });
}

#[test]
fn a_backup_is_made_while_the_server_goes_on_and_can_be_restored() {
    use crate::{fixture::TestStore, rows};
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let (backup, restored) = (folder.path().join("backup.db"), folder.path().join("restored.db"));
        let on = TestStore::sqlite().await;
        on.commit(&rows::everything()).await;
        let before = on.store.load().await.unwrap();
        let leads = on.store.leader().await.unwrap().unwrap();
        assert!(!leads.expired);
        on.store.backup(&backup).await.unwrap();
        let error = on.store.backup(&backup).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        let runs = [updraft_core::RunKey(1)].into();
        on.commit(&updraft_core::record::Batch { deleted_runs: runs, ..Default::default() }).await;

        assert_eq!(restore(&backup, &restored).await.unwrap(), SCHEMA_VERSION);
        let again = SqlStore::open(&format!("sqlite://{}", restored.display())).await.unwrap();
        again.migrate().await.unwrap();
        assert_eq!(updraft_store::Ledger::load(&again).await.unwrap(), before);
        // Who leads where it was taken is nobody here.
        let left = updraft_store::Ledger::leader(&again).await.unwrap().unwrap();
        assert_eq!((left.expired, &*left.address, left.fence), (true, "", leads.fence));
        let taken = restore(&backup, &restored).await.unwrap_err();
        assert!(matches!(&taken, Error::Invalid(text) if text.contains("move the database away")), "{taken}");

        let other = folder.path().join("other.db");
        let missing = restore(&folder.path().join("missing.db"), &other).await.unwrap_err();
        assert!(missing.to_string().contains("there is no backup"), "{missing}");
        std::fs::write(folder.path().join("text.db"), "not a database, but long enough to be read").unwrap();
        assert!(restore(&folder.path().join("text.db"), &other).await.is_err());
        assert!(!other.exists());
    });
}

#[test]
fn a_database_and_its_backup_are_for_their_owner_alone() {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updraft.db");
        let is_private = |names: &[&str]| {
            for name in names {
                let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{name} has {mode:o}");
            }
        };
        let all = ["updraft.db", "updraft.db-wal", "updraft.db-shm"];
        let store = SqlStore::sqlite(&path).await.unwrap();
        store.migrate().await.unwrap();
        is_private(&all);
        store.backup(&folder.path().join("backup.db")).await.unwrap();
        is_private(&["backup.db"]);
        // As another program made it, or opened it up.
        for name in all {
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let again = SqlStore::sqlite(&path).await.unwrap();
        is_private(&all);
        again.close().await;
        store.close().await;
    });
}

#[test]
fn postgres_is_backed_up_by_its_own_programs() {
    use crate::fixture::TestStore;
    fixture::run(async {
        let on = TestStore::postgres().await;
        let error = on.store.backup(std::path::Path::new("/tmp/never")).await.unwrap_err();
        assert!(error.to_string().contains("pg_dump"), "{error}");
        for (url, said) in [("mysql://localhost/x", "postgres://"), ("postgres://[", "can't be read")] {
            let error = SqlStore::open(url).await.unwrap_err();
            assert!(matches!(&error, Error::Invalid(_)) && error.to_string().contains(said), "{error}");
        }
    });
}
