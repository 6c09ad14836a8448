//! `GenericTransfer`, as Airflow's common SQL provider documents it: rows from one database into a table of another.
//! They pass through, so that there may be any number of them, and count all together at their end.

use futures_util::StreamExt;
use serde_json::{Map, Value};
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{
    DEFAULT, Parameters,
    fault::Fault,
    load::{Loader, ROWS_AT_ONCE},
    server::Server,
    session::{Item, Session},
};
use crate::{
    Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, FromArgument, OneOrMore, arguments, found},
    },
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `GenericTransfer`.
    struct TransferArgs {
        /// The statement whose rows are taken, or the name of a file that ends in `.sql`.
        templated sql: String,
        /// The table that they go into, also with its schema (`sales.orders`).
        templated destination_table: String,
        /// The connection that they come from, of type postgres, mysql or sqlite.
        templated source_conn_id: String,
        /// The connection that they go to.
        templated destination_conn_id: String,
        /// Statements that are carried out at the destination before, such as a DELETE. They count together with the
        /// rows, or not at all; but in MySQL what changes tables, such as TRUNCATE, counts at once.
        templated preoperator: Option<OneOrMore>,
        /// `target_fields`: the columns that the rows go into, in their order; all of the table's, where none is
        /// named.
        templated insert_args: InsertArgs = InsertArgs::default(),
        /// Values for `sql`, as in SQLExecuteQueryOperator.
        templated parameters: Parameters = Parameters::None,
        /// So many rows go at once into MySQL and SQLite; into PostgreSQL they flow.
        plain rows_chunk: usize = ROWS_AT_ONCE,
    } accepted {
        /// `schema` or `database` can't be had: make a connection for it.
        source_hook_params: Map<String, Value>,
        /// `schema` or `database` can't be had: make a connection for it.
        destination_hook_params: Map<String, Value>,
        /// No difference here: rows pass through.
        page_size: Value,
        /// Can't be had: have the statement itself make of the rows what is needed.
        rows_processor: Value,
        /// No difference here: rows pass through.
        paginated_sql_statement_clause: String,
    }
}

impl FromArgument for usize {
    const EXPECTS: &'static str = "a number from 1 on";
    const TYPES: &'static [&'static str] = &["integer"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let number =
            value.as_u64().filter(|number| *number > 0).and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| format!("must be {}; {}", Self::EXPECTS, found(value)))
    }
}

/// How rows are put in. All rows are one transaction here, whatever `commit_every` says.
#[derive(Debug, Default)]
struct InsertArgs {
    target_fields: Vec<String>,
}

impl FromArgument for InsertArgs {
    const EXPECTS: &'static str = "a map with `target_fields`";
    const TYPES: &'static [&'static str] = &["object"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or_else(|| format!("must be {}; {}", Self::EXPECTS, found(value)))?;
        let mut args = Self::default();
        for (name, value) in map {
            match &**name {
                "target_fields" if value.is_null() => {}
                "target_fields" => {
                    let fields = OneOrMore::from_argument(value);
                    args.target_fields =
                        fields.map_err(|wrong| format!("has `target_fields`, which {wrong}"))?.0;
                }
                "commit_every" | "executemany" | "fast_executemany" | "autocommit" => {}
                "replace" if value == &Value::Bool(false) => {}
                "replace" | "replace_index" => {
                    return Err(format!(
                        "has `{name}`, which can't be had: transfer into a table of its own, and have an \
                         SQLExecuteQueryOperator behind this task merge it (INSERT … SELECT … ON CONFLICT)"
                    ));
                }
                other => {
                    return Err(format!("has `{other}`, which is not known: it may have `target_fields`"));
                }
            }
        }
        Ok(args)
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "GenericTransfer",
    aliases: &[
        "sql_transfer",
        "airflow.providers.common.sql.operators.generic_transfer.GenericTransfer",
        "airflow.operators.generic_transfer.GenericTransfer",
    ],
    doc: "Takes the rows of a statement into a table of another database. Any number of them, and all or none.",
    arguments: &[TransferArgs::LIST],
    kind,
    plan,
    ..DEFAULT
};

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    for name in ["source_hook_params", "destination_hook_params"] {
        if written.literal(name).and_then(Value::as_object).is_some_and(|map| !map.is_empty()) {
            return Err((Some(name), "can't be had: make a connection that leads to that database".into()));
        }
    }
    if written.literal("rows_processor").is_some() {
        let mend = "can't be had: have the statement itself make of the rows what is needed";
        return Err((Some("rows_processor"), mend.into()));
    }
    Ok(TaskKind::Run)
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(TransferArgs::read)?;
    let source = Server::of(job, &args.source_conn_id, None)?;
    let destination = Server::of(job, &args.destination_conn_id, None)?;
    Ok(Work::Native(Box::new(Transferring { source, destination, args })))
}

#[derive(Debug)]
struct Transferring {
    source: Server,
    destination: Server,
    args: TransferArgs,
}

impl NativeTask for Transferring {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.transfer(&context).await {
                Ok(()) => Outcome::new(AttemptEnd::Success),
                Err(fault) => fault.into(),
            }
        })
    }
}

impl Transferring {
    async fn transfer(&self, context: &TaskContext) -> Result<(), Fault> {
        let args = &self.args;
        let mut source = Session::open(&self.source).await?.telling(&context.log);
        let mut destination = Session::open(&self.destination).await?.telling(&context.log);
        destination.begin().await?;
        for text in args.preoperator.iter().flat_map(|texts| &texts.0) {
            context.log.line(&format!("running at {}: {text}", self.destination.shown));
            destination.run(text).await?;
        }
        context.log.line(&format!("running at {}: {}", self.source.shown, args.sql));
        let mut rows = source.items(&args.sql, &args.parameters).await?;
        let (table, columns) = (&args.destination_table, &args.insert_args.target_fields);
        let mut loader = Loader::begin(&mut destination, table, columns, args.rows_chunk).await?;
        while let Some(item) = rows.next().await {
            if let Item::Row(cells) = item? {
                loader.row(cells).await?;
            }
        }
        drop(rows);
        let count = loader.finish().await?;
        destination.commit().await?;
        context.log.line(&format!("{count} rows are in {table} of {}", self.destination.shown));
        source.close().await;
        destination.close().await;
        Ok(())
    }
}
