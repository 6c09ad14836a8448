//! `SQLExecuteQueryOperator`, as Airflow's common SQL provider documents it, and the operators that it took the
//! place of.

use serde_json::{Map, Value};
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{
    DEFAULT, Parameters,
    cell::Cell,
    database,
    fault::Fault,
    server::Server,
    session::{Item, Session},
    text,
};
use crate::{
    Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, FromArgument, OneOrMore, arguments},
    },
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `SQLExecuteQueryOperator` but for its connection.
    struct ExecuteArgs {
        /// The statement, several in a list, or the name of a file that ends in `.sql`, which is read and rendered as
        /// a template.
        templated sql: OneOrMore,
        /// Values for the statement, whatever is in them: a list for `%s`, or a map for `%(name)s`; in SQLite for `?` or
        /// `:name`. Without it a `%` means nothing.
        templated parameters: Parameters = Parameters::None,
        /// Whether each statement counts at once. Otherwise all count together at the end, or none does. What can't
        /// be in a transaction (`VACUUM`) needs it.
        plain autocommit: bool = false,
        /// Whether a text of several statements is parted at its semicolons, which `parameters` need in MySQL. Otherwise
        /// the server parts it.
        plain split_statements: bool = false,
        /// With a text of several statements: whether only the last one's rows are the result.
        plain return_last: bool = true,
        /// What the result is: `fetch_all_handler` (a list of rows, each a list) or `fetch_one_handler` (the first
        /// row).
        plain handler: Handler = Handler::All,
        /// The database, in place of the connection's own.
        templated database: Option<String>,
        /// Whether the result is shown in the log.
        plain show_return_value_in_logs: bool = false,
    } accepted {
        /// No difference here: the result is a list of rows.
        output_processor: Value,
        /// `schema` or `database`: the database, in place of the connection's own.
        hook_params: Map<String, Value>,
        /// No difference here: nothing is done before the statement.
        requires_result_fetch: bool,
    }
}

arguments! {
    /// The connection of `SQLExecuteQueryOperator`.
    struct ConnArgs {
        /// The connection, of type postgres, mysql or sqlite.
        templated conn_id: String,
    }
}

arguments! {
    /// The connection of `PostgresOperator`.
    struct PostgresArgs {
        /// The connection.
        templated postgres_conn_id: String = "postgres_default".to_owned(),
    } accepted {
        /// Only in `SQLExecuteQueryOperator`'s way: settings go into the connection's `options`.
        runtime_parameters: Value,
    }
}

arguments! {
    /// The connection of `MySqlOperator`.
    struct MySqlArgs {
        /// The connection.
        templated mysql_conn_id: String = "mysql_default".to_owned(),
    }
}

arguments! {
    /// The connection of `SqliteOperator`.
    struct SqliteArgs {
        /// The connection.
        templated sqlite_conn_id: String = "sqlite_default".to_owned(),
    }
}

/// All rows of a result together may be so long, in bytes.
const LONGEST_RESULT: usize = 16 << 20;

/// So much of a result is shown in the log, in bytes.
const MOST_SHOWN: usize = 64 * 1024;

const DOC: &str = "Runs SQL. The rows of the last statement are the result.";

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SQLExecuteQueryOperator",
    aliases: &["sql", "airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator"],
    arguments: &[ConnArgs::LIST, ExecuteArgs::LIST],
    plan: |job| plan(job, &job.read(ConnArgs::read)?.conn_id),
    ..DEFAULT_ENTRY
};

pub(in crate::operators) const POSTGRES: Entry = Entry {
    name: "PostgresOperator",
    aliases: &[
        "postgres",
        "airflow.providers.postgres.operators.postgres.PostgresOperator",
        "airflow.operators.postgres_operator.PostgresOperator",
    ],
    arguments: &[PostgresArgs::LIST, ExecuteArgs::LIST],
    plan: |job| plan(job, &job.read(PostgresArgs::read)?.postgres_conn_id),
    ..DEFAULT_ENTRY
};

pub(in crate::operators) const MYSQL: Entry = Entry {
    name: "MySqlOperator",
    aliases: &[
        "mysql",
        "airflow.providers.mysql.operators.mysql.MySqlOperator",
        "airflow.operators.mysql_operator.MySqlOperator",
    ],
    arguments: &[MySqlArgs::LIST, ExecuteArgs::LIST],
    plan: |job| plan(job, &job.read(MySqlArgs::read)?.mysql_conn_id),
    ..DEFAULT_ENTRY
};

pub(in crate::operators) const SQLITE: Entry = Entry {
    name: "SqliteOperator",
    aliases: &[
        "sqlite",
        "airflow.providers.sqlite.operators.sqlite.SqliteOperator",
        "airflow.operators.sqlite_operator.SqliteOperator",
    ],
    arguments: &[SqliteArgs::LIST, ExecuteArgs::LIST],
    plan: |job| plan(job, &job.read(SqliteArgs::read)?.sqlite_conn_id),
    ..DEFAULT_ENTRY
};

const DEFAULT_ENTRY: Entry = Entry { doc: DOC, kind, ..DEFAULT };

/// What the result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
    All,
    One,
}

impl FromArgument for Handler {
    const EXPECTS: &'static str = "fetch_all_handler or fetch_one_handler";
    const TYPES: &'static [&'static str] = &["string"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        // With or without the module that Airflow has it in.
        match value.as_str().and_then(|name| name.rsplit('.').next()) {
            Some("fetch_all_handler") => Ok(Self::All),
            Some("fetch_one_handler") => Ok(Self::One),
            _ => Err(format!(
                "must be {}: another Python callable can't be called here. Have a PythonOperator behind this task \
                 make of the rows what you need",
                Self::EXPECTS
            )),
        }
    }
}

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    if written.literal("output_processor").is_some() {
        let mend = "can't be had: have a PythonOperator behind this task make of the rows what you need";
        return Err((Some("output_processor"), mend.into()));
    }
    if written.literal("runtime_parameters").is_some() {
        let mend = "can't be had: put `-c name=value` into `options` of the connection's extra";
        return Err((Some("runtime_parameters"), mend.into()));
    }
    Ok(TaskKind::Run)
}

fn plan(job: &Job<'_>, conn_id: &str) -> Result<Work, Refused> {
    let args = job.read(ExecuteArgs::read)?;
    let database = database(job, args.database);
    let server = Server::of(job, conn_id, database.as_deref())?;
    // One text, be it of many statements, has one result; a list has one for each.
    let each = job.args.get("sql").is_some_and(Value::is_array) || !args.return_last;
    let mut texts = args.sql.0;
    if args.split_statements {
        texts = texts.iter().flat_map(|sql| text::split(sql, server.dialect())).collect();
    }
    texts.retain(|text| !text.trim().is_empty());
    if texts.is_empty() {
        return Err(job.bad((Some("sql"), "has no statement".into())));
    }
    Ok(Work::Native(Box::new(Executing {
        server,
        texts,
        each,
        parameters: args.parameters,
        autocommit: args.autocommit,
        handler: args.handler,
        keep: job.order.task.do_xcom_push,
        show: args.show_return_value_in_logs,
    })))
}

#[derive(Debug)]
struct Executing {
    server: Server,
    texts: Vec<String>,
    /// Whether each text has a result of its own.
    each: bool,
    parameters: Parameters,
    autocommit: bool,
    handler: Handler,
    keep: bool,
    show: bool,
}

impl NativeTask for Executing {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.execute(&context).await {
                Ok(result) => with_result(Outcome::new(AttemptEnd::Success), Some(result)),
                Err(fault) => fault.into(),
            }
        })
    }
}

impl Executing {
    async fn execute(&self, context: &TaskContext) -> Result<Value, Fault> {
        let mut session = Session::open(&self.server).await?.telling(&context.log);
        context.log.line(&format!("connected to {}", self.server.shown));
        if !self.autocommit {
            session.begin().await?;
        }
        let mut results = Vec::new();
        let mut room = LONGEST_RESULT;
        for text in &self.texts {
            context.log.line(&format!("running: {text}"));
            let (result, rows) = self.one(&mut session, text, &mut room).await?;
            context.log.line(&format!("done, {rows} rows"));
            results.push(result);
        }
        if !self.autocommit {
            session.commit().await?;
        }
        session.close().await;
        let result = if self.each { Value::Array(results) } else { results.pop().unwrap_or_default() };
        if self.show {
            let shown = result.to_string();
            let end = shown.floor_char_boundary(MOST_SHOWN);
            context.log.line(&format!("result: {}", &shown[..end]));
        }
        Ok(if self.keep { result } else { Value::Null })
    }

    /// Carries out a text. Its result, and how many rows it gave.
    async fn one(&self, session: &mut Session, text: &str, room: &mut usize) -> Result<(Value, u64), Fault> {
        use futures_util::StreamExt;
        let dialect = session.dialect();
        let is_one = text::split(text, dialect).len() < 2;
        let wanted = self.keep || self.show;
        let (mut rows, mut last, mut count) = (Vec::new(), Vec::new(), 0);
        let mut items = session.items(text, &self.parameters).await?;
        while let Some(item) = items.next().await {
            match item? {
                Item::Row(cells) => {
                    count += 1;
                    if !wanted || (self.handler == Handler::One && !rows.is_empty()) {
                        continue;
                    }
                    let size = 2 + cells.iter().map(Cell::size).sum::<usize>();
                    *room = room.checked_sub(size).ok_or_else(|| self.too_large())?;
                    rows.push(cells.into_iter().map(Cell::into_json).collect::<Value>());
                }
                // Behind the rows of a procedure comes its own end, which has none.
                Item::End if is_one && rows.is_empty() => {}
                Item::End => last = std::mem::take(&mut rows),
            }
        }
        let result = match self.handler {
            _ if !wanted || (last.is_empty() && !text::gives_rows(text, dialect)) => Value::Null,
            Handler::All => Value::Array(last),
            Handler::One => last.into_iter().next().unwrap_or_default(),
        };
        Ok((result, count))
    }

    fn too_large(&self) -> Fault {
        self.server.fault(format!(
            "the rows are more than the {} MiB that a result may have: take them elsewhere with GenericTransfer or \
             SqlToFileOperator, select fewer, or set `do_xcom_push: false`",
            LONGEST_RESULT >> 20
        ))
    }
}
