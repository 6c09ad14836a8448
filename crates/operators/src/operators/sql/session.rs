//! An open connection to a database, which takes what it was doing with it when it is dropped.

pub(super) mod mysql;
mod notices;
pub(super) mod postgres;
pub(super) mod sqlite;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::BoxStream};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection as _, Either, Executor, MySqlConnection, PgConnection,
    SqlSafeStr, SqliteConnection, Statement, mysql::MySqlArguments, sqlite::SqliteArguments,
};

use super::{
    cell::{self, Cell},
    fault::Fault,
    server::{Server, Way},
    text::{Dialect, Parameters, place},
};
use crate::work::TaskLog;

/// How long a server may take to be told that a statement is not wanted any more.
const PATIENCE_AT_AN_END: Duration = Duration::from_secs(20);

/// So many rows are read behind the one that is wanted.
const PASSED_OVER: usize = 100;

/// So many steps of SQLite's machine pass between two looks at whether its work is still wanted.
const STEPS: i32 = 10_000;

/// An open connection.
pub(super) struct Session {
    pub(super) server: Server,
    link: Link,
    end: End,
    /// Where what the server says beside its answers goes.
    log: Option<Arc<dyn TaskLog>>,
}

/// Stops what is at work when it is dropped.
struct End {
    server: Server,
    stop: Stop,
    /// Whether something is at work at the server.
    working: Arc<AtomicBool>,
}

/// The driver's connection.
pub(super) enum Link {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// How what is at work is stopped: by a word to the server, to which that we are gone says nothing until it answers.
enum Stop {
    Postgres(i32),
    MySql(u64),
    Sqlite(Arc<AtomicBool>),
}

/// What comes of statements.
pub(super) enum Item {
    Row(Vec<Cell>),
    /// The end of one.
    End,
}

/// A statement with what is bound to it.
enum Bound {
    Plain(String),
    MySql(String, MySqlArguments),
    Sqlite(String, SqliteArguments),
}

impl Session {
    /// Opens one.
    pub(super) async fn open(server: &Server) -> Result<Self, Fault> {
        let opened = tokio::time::timeout(server.patience, connect(server)).await;
        let (link, stop) = opened.map_err(|_| {
            let patience = server.patience;
            server
                .fault(format!("no answer within {patience:?} (`connect_timeout` of the connection's extra)"))
        })??;
        let end = End { server: server.clone(), stop, working: Arc::default() };
        Ok(Self { server: server.clone(), link, end, log: None })
    }

    /// Writes what the server says beside its answers to this log: PostgreSQL's notices.
    pub(super) fn telling(mut self, log: &Arc<dyn TaskLog>) -> Self {
        self.log = Some(Arc::clone(log));
        self
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.server.dialect()
    }

    /// Begins a transaction, which ends with [`Session::commit`], or without effect.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        // In MySQL what defines tables ends a transaction: this way, the next begins at once.
        let text = if self.dialect() == Dialect::MySql { "SET autocommit = 0" } else { "BEGIN" };
        self.run(text).await
    }

    pub(super) async fn commit(&mut self) -> Result<(), Fault> {
        self.run("COMMIT").await
    }

    /// Carries out a text, whatever comes of it.
    pub(super) async fn run(&mut self, text: &str) -> Result<(), Fault> {
        let mut items = self.items(text, &Parameters::None).await?;
        while let Some(item) = items.next().await {
            item?;
        }
        Ok(())
    }

    /// Carries out a text, row by row: what is not taken yet is not read yet.
    pub(super) async fn items(
        &mut self,
        text: &str,
        parameters: &Parameters,
    ) -> Result<BoxStream<'_, Result<Item, Fault>>, Fault> {
        if self.dialect() == Dialect::Sqlite {
            sqlite::check(text).map_err(|why| self.server.fault(format!("the SQL {why}")))?;
        }
        let working = self.end.begins();
        let bound = self.bind(text, parameters).inspect_err(|_| working.ended())?;
        Ok(self.carry_out(bound, working))
    }

    fn bind(&self, text: &str, parameters: &Parameters) -> Result<Bound, Fault> {
        if *parameters == Parameters::None {
            return Ok(Bound::Plain(text.to_owned()));
        }
        let (text, values): (String, Vec<Value>) = place(text, self.dialect(), parameters)
            .map_err(|why| self.server.fault(format!("the SQL {why}")))?;
        let bound = match &self.link {
            Link::Postgres(_) => Ok(Bound::Plain(text)),
            Link::MySql(_) => mysql::bind(values).map(|arguments| Bound::MySql(text, arguments)),
            Link::Sqlite(_) => sqlite::bind(values).map(|arguments| Bound::Sqlite(text, arguments)),
        };
        bound.map_err(|error| self.server.failed(error))
    }

    fn carry_out(&mut self, bound: Bound, working: Working) -> BoxStream<'_, Result<Item, Fault>> {
        macro_rules! stream {
            ($connection:expr, $query:expr, $cells:expr) => {{
                let items = $connection.fetch_many($query);
                items
                    .map(move |item| match item {
                        Ok(Either::Right(row)) => {
                            $cells(&row).map(Item::Row).map_err(|why| working.server.fault(why))
                        }
                        Ok(Either::Left(_)) => Ok(Item::End),
                        Err(error) => Err(working.failed(error)),
                    })
                    .boxed()
            }};
        }
        let ended = Arc::clone(&working.flag);
        let log = self.log.clone().filter(|_| matches!(self.link, Link::Postgres(_)));
        let items = match (&mut self.link, bound) {
            (Link::Postgres(connection), bound) => {
                stream!(connection, sqlx::raw_sql(AssertSqlSafe(bound.text())), postgres::cells)
            }
            (Link::MySql(connection), Bound::MySql(text, arguments)) => {
                let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(false);
                stream!(connection, query, mysql::cells_of_binary)
            }
            (Link::MySql(connection), bound) => {
                stream!(connection, sqlx::raw_sql(AssertSqlSafe(bound.text())), mysql::cells_of_text)
            }
            (Link::Sqlite(connection), Bound::Sqlite(text, arguments)) => {
                let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(false);
                stream!(connection, query, sqlite::cells)
            }
            (Link::Sqlite(connection), bound) => {
                stream!(connection, sqlx::raw_sql(AssertSqlSafe(bound.text())), sqlite::cells)
            }
        };
        let items = match log {
            Some(log) => notices::heard(items, log),
            None => items,
        };
        let end = futures_util::stream::poll_fn(move |_| {
            ended.store(false, Ordering::Relaxed);
            std::task::Poll::Ready(None)
        });
        items.chain(end).boxed()
    }

    /// The first row that a text gives, as Airflow's `get_first`. A few more are passed over, so that what is nearly
    /// done is done; of many the rest is not looked at.
    pub(super) async fn first(
        &mut self,
        text: &str,
        parameters: &Parameters,
    ) -> Result<Option<Vec<Cell>>, Fault> {
        let mut items = self.items(text, parameters).await?;
        let (mut first, mut count) = (None, 0);
        while let Some(item) = items.next().await {
            if let Item::Row(cells) = item? {
                first.get_or_insert(cells);
                count += 1;
            }
            if count > PASSED_OVER {
                break;
            }
        }
        Ok(first)
    }

    /// The columns that a statement gives.
    pub(super) async fn columns(
        &mut self,
        text: &str,
        parameters: &Parameters,
    ) -> Result<Vec<cell::Column>, Fault> {
        let (text, _) = match parameters {
            Parameters::None => (text.to_owned(), Vec::new()),
            given => place(text, self.dialect(), given)
                .map_err(|why| self.server.fault(format!("the SQL {why}")))?,
        };
        let text = AssertSqlSafe(text).into_sql_str();
        macro_rules! columns {
            ($connection:expr, $kind:expr) => {
                $connection.prepare(text).await.map(|statement| {
                    let columns = statement.columns().iter().map(|column| cell::Column {
                        name: column.name().to_owned(),
                        kind: $kind(column.type_info()),
                    });
                    columns.collect()
                })
            };
        }
        let columns = match &mut self.link {
            Link::Postgres(connection) => columns!(connection, postgres::kind),
            Link::MySql(connection) => columns!(connection, mysql::kind),
            Link::Sqlite(connection) => columns!(connection, sqlite::kind),
        };
        columns.map_err(|error| self.server.failed(error))
    }

    /// What the driver is given to do beside [`Session::items`]: as long as it is at work, dropping the session
    /// stops it.
    pub(super) fn work(&mut self) -> (&mut Link, Working) {
        let working = self.end.begins();
        (&mut self.link, working)
    }

    /// Says goodbye. What is not committed is without effect.
    pub(super) async fn close(self) {
        let Self { link, end, .. } = self;
        // Whether the server hears it makes no difference any more.
        let _ = match link {
            Link::Postgres(connection) => connection.close().await,
            Link::MySql(connection) => connection.close().await,
            Link::Sqlite(connection) => connection.close().await,
        };
        drop(end);
    }
}

impl Bound {
    fn text(self) -> String {
        match self {
            Self::Plain(text) | Self::MySql(text, _) | Self::Sqlite(text, _) => text,
        }
    }
}

/// Says that something is at work, and when it no longer is.
pub(super) struct Working {
    server: Server,
    flag: Arc<AtomicBool>,
}

impl Working {
    pub(super) fn ended(&self) {
        self.flag.store(false, Ordering::Relaxed);
    }

    /// What the driver says. Where it is the server's own word, nothing is at work there any more.
    pub(super) fn failed(&self, error: sqlx::Error) -> Fault {
        if matches!(error, sqlx::Error::Database(_) | sqlx::Error::Io(_)) {
            self.ended();
        }
        self.server.failed(error)
    }

    pub(super) fn fault(&self, why: impl std::fmt::Display) -> Fault {
        self.server.fault(why)
    }
}

async fn connect(server: &Server) -> Result<(Link, Stop), Fault> {
    let failed = |error| server.failed(error);
    Ok(match &server.way {
        Way::Postgres(options) => {
            let mut connection = options.connect().await.map_err(failed)?;
            let process = postgres::process(&mut connection).await.map_err(failed)?;
            (Link::Postgres(connection), Stop::Postgres(process))
        }
        Way::MySql(options) => {
            let mut connection = options.connect().await.map_err(failed)?;
            let process = mysql::process(&mut connection).await.map_err(failed)?;
            (Link::MySql(connection), Stop::MySql(process))
        }
        Way::Sqlite { options, files } => {
            let mut connection = options.connect().await.map_err(failed)?;
            let opened: Vec<(i64, String, String)> =
                sqlx::query_as("PRAGMA database_list").fetch_all(&mut connection).await.map_err(failed)?;
            // A link may have been put in its place meanwhile.
            for (_, _, file) in opened.iter().filter(|(_, _, file)| !file.is_empty()) {
                files.place(Path::new(file)).map_err(|error| server.fault(error))?;
            }
            let unwanted = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&unwanted);
            let mut handle = connection.lock_handle().await.map_err(failed)?;
            handle.set_progress_handler(STEPS, move || !seen.load(Ordering::Relaxed));
            drop(handle);
            (Link::Sqlite(connection), Stop::Sqlite(unwanted))
        }
    })
}

impl End {
    fn begins(&self) -> Working {
        self.working.store(true, Ordering::Relaxed);
        Working { server: self.server.clone(), flag: Arc::clone(&self.working) }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.working.load(Ordering::Relaxed) {
            return;
        }
        let process = match &self.stop {
            Stop::Sqlite(unwanted) => return unwanted.store(true, Ordering::Relaxed),
            Stop::Postgres(process) => i64::from(*process),
            Stop::MySql(process) => i64::try_from(*process).unwrap_or_default(),
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let server = self.server.clone();
        runtime.spawn(async move {
            let stopped = tokio::time::timeout(PATIENCE_AT_AN_END, stop(&server.way, process)).await;
            match stopped {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(
                    conn_id = server.conn_id,
                    error = server.failed(error).to_string(),
                    "a statement that is not wanted any more could not be stopped"
                ),
                Err(_) => tracing::warn!(
                    conn_id = server.conn_id,
                    "a statement that is not wanted any more could not be stopped: no answer"
                ),
            }
        });
    }
}

/// Tells a server to end one of its processes, and with it what it is at work on.
async fn stop(way: &Way, process: i64) -> Result<(), sqlx::Error> {
    match way {
        Way::Postgres(options) => {
            let mut connection = options.connect().await?;
            let text = "SELECT pg_terminate_backend($1::int) FROM pg_stat_activity WHERE pid = $1::int";
            sqlx::query(text).bind(process).execute(&mut connection).await?;
            connection.close().await
        }
        Way::MySql(options) => {
            let mut connection = options.connect().await?;
            let killed =
                sqlx::raw_sql(AssertSqlSafe(format!("KILL {process}"))).execute(&mut connection).await;
            connection.close().await?;
            match killed {
                // It ended by itself.
                Err(sqlx::Error::Database(error)) if error.message().contains("Unknown thread") => Ok(()),
                killed => killed.map(drop),
            }
        }
        Way::Sqlite { .. } => Ok(()),
    }
}
