//! Opening a SQLite file, copying it, putting a copy back.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

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
use crate::{Error, Outage};

/// Connections that read. There is one that writes.
const READERS: u32 = 4;

/// How long to wait for a connection, or for another process that has the file.
const PATIENCE: Duration = Duration::from_secs(5);

impl SqlStore {
    /// Opens, or makes, a SQLite file; for its owner alone, in both cases.
    pub async fn sqlite(path: &Path) -> Result<Self, Error> {
        keep_private(path).map_err(|error| failing(path, error))?;
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

/// The database, and the files that SQLite has beside it.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Makes the file where it is not there, so that SQLite gives the files beside it the mode that this one has; and
/// takes from others what they may do with the files that are there. Those of another owner stay as they are.
fn keep_private(path: &Path) -> io::Result<()> {
    match private(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(_) | Err(_) => {}
    }
    for file in files(path) {
        if fs::metadata(&file).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
            let _ = fs::set_permissions(&file, Permissions::from_mode(0o600));
        }
    }
    Ok(())
}

/// Makes a file for its owner alone.
fn private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn failing(path: &Path, error: io::Error) -> Error {
    Error::Unavailable { outage: Outage::Failing, message: format!("{}: {error}", path.display()) }
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
    // SQLite writes into an empty file, and leaves its mode.
    private(to).map_err(|error| failing(to, error))?;
    if let Err(error) = sqlx::query("VACUUM INTO $1").bind(name).execute(&mut *connection).await {
        let _ = fs::remove_file(to);
        return Err(classify("making a backup", error));
    }
    sync(to).await
}

/// Has a file and its name on the disk.
async fn sync(path: &Path) -> Result<(), Error> {
    let failing = |error| failing(path, error);
    tokio::fs::File::open(path).await.map_err(failing)?.sync_all().await.map_err(failing)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tokio::fs::File::open(folder).await.map_err(failing)?.sync_all().await.map_err(failing)
}

/// Makes a new SQLite database of a backup. The backup is checked first: that it is whole, and of a schema
/// that this program knows. No server may be running on `to`, and nothing may be there: whoever restores
/// moves the old file away, with its `-wal` and `-shm`, and can move it back.
pub async fn restore(backup: &Path, to: &Path) -> Result<u32, Error> {
    if let Some(file) = files(to).into_iter().find(|file| file.exists()) {
        let (file, to) = (file.display(), to.display());
        let mend = format!("mkdir {to}.old && mv {to} {to}-* {to}.old");
        return Err(Error::Invalid(format!(
            "{file} exists: move the database away first, such as by `{mend}`"
        )));
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
    done?;
    leave_reign(to).await?;
    Ok(version)
}

/// Has nobody lead in a database that was copied: who leads in the other is another's leader, and its servers are not
/// this one's.
async fn leave_reign(path: &Path) -> Result<(), Error> {
    let failed = |error| classify("making a database of a backup", error);
    let options = SqliteConnectOptions::new().filename(path);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
    let left =
        sqlx::raw_sql("UPDATE engine SET holder = '', address = '', held_until = 0").execute(&pool).await;
    let left = match left {
        // Of a schema from before there were servers.
        Ok(_) => sqlx::raw_sql("DELETE FROM server").execute(&pool).await.map(drop).or_else(|error| {
            let is_missing = error.to_string().contains("no such table");
            if is_missing { Ok(()) } else { Err(error) }
        }),
        Err(error) => Err(error),
    };
    pool.close().await;
    left.map_err(failed)?;
    sync(path).await
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
