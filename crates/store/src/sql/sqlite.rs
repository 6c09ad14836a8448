//! Opening a SQLite file, copying it, putting a copy back.

use std::{path::Path, time::Duration};

use sqlx::{
    Connection as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    SCHEMA_VERSION, SqlStore,
    db::{Db, classify},
    migrate,
    statement::Sql,
};
use crate::Error;

/// Connections that read. There is one that writes.
const READERS: u32 = 4;

/// How long to wait for a connection, or for another process that has the file.
const PATIENCE: Duration = Duration::from_secs(5);

impl SqlStore {
    /// Opens, or makes, a SQLite file.
    pub async fn sqlite(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Without it a commit that was answered could be lost when the power goes.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("journal_size_limit", "67108864")
            .pragma("temp_store", "MEMORY")
            // Blocks of rows have a few statements for each table; all are to stay prepared.
            .statement_cache_capacity(256);
        let writer = options.clone().pragma("cache_size", "-16384").thread_name(|_| "store-writer".into());
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // Where the disk is full, SQLite ends a transaction by itself, and sqlx goes on to believe in it:
            // no other could begin on that connection.
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(writer)
            .await
            .map_err(|error| opening(path, error))?;
        let reader =
            options.read_only(true).row_buffer_size(500).thread_name(|i| format!("store-reader-{i}"));
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect_with(reader)
            .await
            .map_err(|error| opening(path, error))?;
        Ok(Self::new(Db::Sqlite { write, read }))
    }
}

fn opening(path: &Path, error: sqlx::Error) -> Error {
    match classify("opening the database", error) {
        Error::Unavailable { outage, message } => {
            Error::Unavailable { outage, message: format!("{}: {message}", path.display()) }
        }
        Error::Broken { doing, message } => {
            Error::Broken { doing, message: format!("{}: {message}", path.display()) }
        }
        other => other,
    }
}

/// Writes a copy of the database as it is at this moment. It reads like any other reader, so that the writer
/// goes on.
pub(super) async fn copy(read: &SqlitePool, to: &Path) -> Result<(), Error> {
    let Some(name) = to.to_str() else {
        return Err(Error::Invalid(format!("the path {} is not UTF-8: choose another", to.display())));
    };
    if to.exists() {
        return Err(Error::Invalid(format!(
            "{name} exists: a backup does not overwrite, choose another name"
        )));
    }
    let mut connection = read.acquire().await.map_err(|error| classify("making a backup", error))?;
    let done = sqlx::query("VACUUM INTO $1").bind(name).execute(&mut *connection).await;
    done.map_err(|error| classify("making a backup", error))?;
    sync(to).await
}

/// Has a file and its name on the disk.
async fn sync(path: &Path) -> Result<(), Error> {
    let failing = |error: std::io::Error| Error::Unavailable {
        outage: crate::Outage::Failing,
        message: format!("{}: {error}", path.display()),
    };
    tokio::fs::File::open(path).await.map_err(failing)?.sync_all().await.map_err(failing)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tokio::fs::File::open(folder).await.map_err(failing)?.sync_all().await.map_err(failing)
}

/// Makes a new SQLite database of a backup. The backup is checked first: that it is whole, and of a schema
/// that this program knows. No server may be running on `to`, and nothing may be there: whoever restores
/// moves the old file away, with its `-wal` and `-shm`, and can move it back.
pub async fn restore(backup: &Path, to: &Path) -> Result<u32, Error> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = to.as_os_str().to_owned();
        name.push(suffix);
        if Path::new(&name).exists() {
            let name = Path::new(&name).display();
            return Err(Error::Invalid(format!("{name} exists: stop the server and move it away first")));
        }
    }
    if !backup.is_file() {
        return Err(Error::Invalid(format!("there is no backup at {}", backup.display())));
    }
    let options = SqliteConnectOptions::new().filename(backup).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
    let pool = pool.await.map_err(|error| opening(backup, error))?;
    let db = Db::Sqlite { write: pool.clone(), read: pool.clone() };
    let version = migrate::version(&db).await?;
    if version == 0 {
        return Err(Error::Invalid(format!("{} is no backup of Updraft's database", backup.display())));
    }
    if version > SCHEMA_VERSION {
        return Err(Error::NewerSchema { found: version, known: SCHEMA_VERSION });
    }
    let problems = db.rows(Sql::new("PRAGMA integrity_check")).await?;
    for mut problem in problems {
        let text = problem.text()?;
        if text != "ok" {
            return Err(Error::Invalid(format!("the backup {} is damaged: {text}", backup.display())));
        }
    }
    let done = copy(&pool, to).await;
    db.close().await;
    done.map(|()| version)
}

/// Lets a test make the database run out of room: the file may have no more pages than it has.
#[cfg(feature = "test-faults")]
impl SqlStore {
    /// Sets how many pages more than now the file may have; `None` for any number.
    pub async fn limit_growth(&self, pages: Option<u32>) -> Result<(), Error> {
        let Db::Sqlite { write, .. } = &self.db else {
            return Err(Error::Invalid("only a SQLite file can be limited".into()));
        };
        let failed = |error| classify("limiting growth", error);
        let (now,): (i64,) = sqlx::query_as("PRAGMA page_count").fetch_one(write).await.map_err(failed)?;
        let most = pages.map_or(4_294_967_294, |pages| now + i64::from(pages));
        let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {most}"));
        sqlx::raw_sql(limit).execute(write).await.map_err(failed)?;
        Ok(())
    }
}
