//! Migrations: for each database its own text, in lockstep.

use sha2::{Digest, Sha256};

use super::{
    db::{Db, Tx},
    statement::Sql,
};
use crate::Error;

/// One step of the schema, as each database has it.
struct Migration {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($name:literal),*) => {
        &[$(Migration {
            name: $name,
            sqlite: include_str!(concat!("../../migrations/", $name, ".sqlite.sql")),
            postgres: include_str!(concat!("../../migrations/", $name, ".postgres.sql")),
        }),*]
    };
}

/// All there are. One that was released is never changed: its checksum is in databases.
const MIGRATIONS: &[Migration] = migrations![
    "0001_first",
    "0002_first_started",
    "0003_backfill",
    "0004_alerts",
    "0005_assets",
    "0006_asset_uses",
    "0007_pool_rate",
    "0008_ti_name",
    "0009_tries_before",
    "0010_server",
    "0011_deployment",
    "0012_counts",
    "0013_taken_by",
    "0014_marked"
];

/// The schema version that this program needs.
#[expect(clippy::cast_possible_truncation, reason = "there are few, and the value is made at build time")]
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Any number that other programs on the same PostgreSQL are not likely to lock.
const ADVISORY_LOCK: i64 = 0x7570_6472_6166_7401;

/// The version the database is at; 0 where it has no tables yet.
pub(super) async fn version(db: &Db) -> Result<u32, Error> {
    let mut tx = db.begin_read().await?;
    applied(&mut tx).await.map(|applied| u32::try_from(applied.len()).unwrap_or(u32::MAX))
}

/// Whether the database is exactly where this program needs it.
pub(super) async fn check_schema(db: &Db) -> Result<(), Error> {
    let mut tx = db.begin_read().await?;
    let applied = applied(&mut tx).await?;
    check(&applied, matches!(tx, Tx::Sqlite(_)))?;
    match u32::try_from(applied.len()) {
        Ok(found) if found < SCHEMA_VERSION => Err(Error::OlderSchema { found, known: SCHEMA_VERSION }),
        _ => Ok(()),
    }
}

/// Applies what is missing, each migration in a transaction of its own.
pub(super) async fn migrate(db: &Db) -> Result<(), Error> {
    loop {
        let mut tx = db.begin().await?;
        if let Tx::Postgres(_) = tx {
            // Two servers that start at once: one migrates, the other finds it done.
            tx.rows(Sql::new("SELECT pg_advisory_xact_lock(").with(ADVISORY_LOCK).then(")")).await?;
        }
        let applied = applied(&mut tx).await?;
        check(&applied, matches!(tx, Tx::Sqlite(_)))?;
        let Some(next) = MIGRATIONS.get(applied.len()) else { return Ok(()) };
        if applied.is_empty() {
            tx.script(
                "CREATE TABLE schema_migration (
                    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)",
            )
            .await?;
        }
        tx.script(if matches!(tx, Tx::Sqlite(_)) { next.sqlite } else { next.postgres }).await?;
        let mut sql = Sql::new("INSERT INTO schema_migration VALUES (");
        sql.arg(u64::try_from(applied.len() + 1).unwrap_or(u64::MAX)).push(", ").arg(next.name);
        sql.push(", ").arg(next.checksum(matches!(tx, Tx::Sqlite(_)))).push(")");
        tx.run(sql).await?;
        tx.commit().await?;
        tracing::info!(migration = next.name, "database migrated");
    }
}

impl Migration {
    fn checksum(&self, sqlite: bool) -> String {
        let text = if sqlite { self.sqlite } else { self.postgres };
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The checksums of what was applied, in order.
async fn applied(tx: &mut Tx) -> Result<Vec<String>, Error> {
    let there = match tx {
        Tx::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE name = 'schema_migration'",
        Tx::Postgres(_) => {
            "SELECT relname::text FROM pg_class
             WHERE relname = 'schema_migration' AND pg_table_is_visible(oid)"
        }
    };
    if tx.row(Sql::new(there)).await?.is_none() {
        return Ok(Vec::new());
    }
    let rows = tx.rows(Sql::new("SELECT checksum FROM schema_migration ORDER BY version")).await?;
    rows.into_iter().map(|mut f| f.text()).collect()
}

/// Whether the database is one that this program can go on from.
fn check(applied: &[String], sqlite: bool) -> Result<(), Error> {
    for (version, (found, migration)) in (1..).zip(applied.iter().zip(MIGRATIONS)) {
        let expected = migration.checksum(sqlite);
        if *found != expected {
            return Err(Error::ChangedMigration { version, found: found.clone(), expected });
        }
    }
    match u32::try_from(applied.len()) {
        Ok(found) if found <= SCHEMA_VERSION => Ok(()),
        found => Err(Error::NewerSchema { found: found.unwrap_or(u32::MAX), known: SCHEMA_VERSION }),
    }
}
