//! The two databases behind one face: reading, writing, and what their errors mean.

mod error;
mod fields;

use sqlx::{
    Arguments, AssertSqlSafe, Executor, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    postgres::PgArguments, sqlite::SqliteArguments,
};

pub(super) use self::{
    error::classify,
    fields::{Fields, Row, broken},
};
use super::{
    statement::{Arg, Sql, Type},
    table::{Conflict, Rows, Table, on_conflict},
};
use crate::Error;

/// An open database.
#[derive(Debug)]
pub(super) enum Db {
    /// One connection writes; the others read what was committed, and are never in its way (WAL).
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction. Dropped without a commit, it never was.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A leader that sleeps, or is cut off, amid a commit holds the row of the lease, and nobody can take its place until its
/// transaction is ended for it.
const BEGIN_TO_WRITE: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '4s'";

impl Db {
    /// A transaction that writes.
    pub async fn begin(&self) -> Result<Tx, Error> {
        match self {
            // Taking the write lock at the start means never to find it taken halfway.
            Self::Sqlite { write, .. } => write.begin_with("BEGIN IMMEDIATE").await.map(Tx::Sqlite),
            Self::Postgres(pool) => pool.begin_with(BEGIN_TO_WRITE).await.map(Tx::Postgres),
        }
        .map_err(|error| classify("beginning a transaction", error))
    }

    /// A transaction that reads, all of it at one point in time.
    pub async fn begin_read(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite { read, .. } => read.begin().await.map(Tx::Sqlite),
            Self::Postgres(pool) => {
                pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map(Tx::Postgres)
            }
        }
        .map_err(|error| classify("beginning to read", error))
    }

    /// The rows that a single `SELECT` gives.
    pub async fn rows(&self, sql: Sql) -> Result<Vec<Fields>, Error> {
        match self {
            Self::Sqlite { read, .. } => sqlite_rows(read, sql).await,
            Self::Postgres(pool) => postgres_rows(pool, sql).await,
        }
    }

    /// The first row of a single `SELECT`.
    pub async fn row(&self, sql: Sql) -> Result<Option<Fields>, Error> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// `LIKE` that takes ASCII letters in either case and has no escape character.
    pub fn like(&self, sql: &mut Sql, column: &str, pattern: String) {
        match self {
            Self::Sqlite { .. } => sql.push(column).push(" LIKE ").arg(pattern),
            Self::Postgres(_) => sql.push(column).push(" ILIKE ").arg(pattern).push(" ESCAPE ''"),
        };
    }

    /// Its clock, in microseconds. SQLite's is that of the machine, to the millisecond.
    pub fn clock(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres(_) => "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                // Readers first: the last connection to go folds the write-ahead log back into the file.
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// The rows that a statement gives.
    pub async fn rows(&mut self, sql: Sql) -> Result<Vec<Fields>, Error> {
        match self {
            Self::Sqlite(tx) => sqlite_rows(&mut **tx, sql).await,
            Self::Postgres(tx) => postgres_rows(&mut **tx, sql).await,
        }
    }

    /// The first row that a statement gives.
    pub async fn row(&mut self, sql: Sql) -> Result<Option<Fields>, Error> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// How many rows a statement changed.
    pub async fn run(&mut self, sql: Sql) -> Result<u64, Error> {
        match self {
            Self::Sqlite(tx) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.text), sqlite_args(sql.args)?);
                query.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            Self::Postgres(tx) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.text), postgres_args(sql.args)?);
                query.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        }
        .map_err(|error| classify("writing", error))
    }

    /// Statements without arguments.
    pub async fn script(&mut self, text: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(drop),
            Self::Postgres(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(drop),
        }
        .map_err(|error| classify("migrating", error))
    }

    /// Writes rows into a table.
    pub async fn insert(&mut self, table: &Table, rows: Rows, conflict: Conflict) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let head = format!("INSERT INTO {} ({}) ", table.name, rows.names());
        self.with_rows(&head, rows, &on_conflict(table, conflict)).await
    }

    /// Deletes the rows of a table whose columns of these names are as in one of these rows.
    pub async fn delete(&mut self, table: &str, keys: Rows) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let head = format!("DELETE FROM {table} WHERE ({}) IN (", keys.names());
        self.with_rows(&head, keys, ")").await
    }

    /// Runs a statement with rows in its middle, on SQLite several times with some of the rows each.
    async fn with_rows(&mut self, head: &str, rows: Rows, tail: &str) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => {
                let width = rows.width();
                for (size, cells) in rows.blocks() {
                    let text = format!("{head}{}{tail}", Rows::values(size, width));
                    let query = sqlx::query_with(AssertSqlSafe(text), sqlite_args(cells)?);
                    query.execute(&mut **tx).await.map_err(|error| classify("writing rows", error))?;
                }
            }
            Self::Postgres(tx) => {
                let text = format!("{head}{}{tail}", rows.unnest());
                let mut args = PgArguments::default();
                for (of, cells) in rows.by_column() {
                    add_array(&mut args, of, cells)?;
                }
                let query = sqlx::query_with(AssertSqlSafe(text), args);
                query.execute(&mut **tx).await.map_err(|error| classify("writing rows", error))?;
            }
        }
        Ok(())
    }

    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(|error| classify("committing", error))
    }
}

async fn sqlite_rows<'e>(on: impl Executor<'e, Database = Sqlite>, sql: Sql) -> Result<Vec<Fields>, Error> {
    let query = sqlx::query_with(AssertSqlSafe(sql.text), sqlite_args(sql.args)?);
    let rows = query.fetch_all(on).await.map_err(|error| classify("reading", error))?;
    Ok(rows.into_iter().map(|row| Fields::new(Row::Sqlite(row))).collect())
}

async fn postgres_rows<'e>(
    on: impl Executor<'e, Database = Postgres>,
    sql: Sql,
) -> Result<Vec<Fields>, Error> {
    let query = sqlx::query_with(AssertSqlSafe(sql.text), postgres_args(sql.args)?);
    let rows = query.fetch_all(on).await.map_err(|error| classify("reading", error))?;
    Ok(rows.into_iter().map(|row| Fields::new(Row::Postgres(row))).collect())
}

fn sqlite_args(args: Vec<Arg>) -> Result<SqliteArguments, Error> {
    let mut list = SqliteArguments::default();
    list.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Int(value) => list.add(value),
            Arg::Real(value) => list.add(value),
            Arg::Bool(value) => list.add(value),
            Arg::Text(value) => list.add(value),
            Arg::Bytes(value) => list.add(value),
        }
        .map_err(|error| broken("binding", error))?;
    }
    Ok(list)
}

fn postgres_args(args: Vec<Arg>) -> Result<PgArguments, Error> {
    let mut list = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Int(value) => list.add(value),
            Arg::Real(value) => list.add(value),
            Arg::Bool(value) => list.add(value),
            Arg::Text(value) => list.add(value.as_deref()),
            Arg::Bytes(value) => list.add(value),
        }
        .map_err(|error| broken("binding", error))?;
    }
    Ok(list)
}

/// A column of rows as one array.
fn add_array(args: &mut PgArguments, of: Type, cells: Vec<Arg>) -> Result<(), Error> {
    macro_rules! collect {
        ($variant:ident) => {
            cells
                .into_iter()
                .map(|cell| match cell {
                    Arg::$variant(value) => Ok(value),
                    other => Err(broken("binding", format!("{other:?} in a column of {of:?}"))),
                })
                .collect::<Result<Vec<_>, _>>()?
        };
    }
    match of {
        Type::Int => args.add(collect!(Int)),
        Type::Real => args.add(collect!(Real)),
        Type::Bool => args.add(collect!(Bool)),
        Type::Text => {
            let texts: Vec<Option<std::sync::Arc<str>>> = collect!(Text);
            let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
            args.add(texts)
        }
        Type::Bytes => args.add(collect!(Bytes)),
    }
    .map_err(|error| broken("binding", error))
}
