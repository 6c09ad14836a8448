//! `SqlToFileOperator`: the rows of a statement as a CSV or Parquet file, after the arguments of Airflow's
//! `SqlToS3Operator`.

use std::{fmt::Display, fs::File, path::PathBuf, sync::Arc};

use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{
    DEFAULT, Parameters,
    cell::Cell,
    fault::Fault,
    parquet,
    server::Server,
    session::{Item, Session},
};
use crate::{
    Files, Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, FromArgument, arguments, found},
    },
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `SqlToFileOperator`.
    struct ExportArgs {
        /// The statement whose rows are written, or the name of a file that ends in `.sql`.
        templated query: String,
        /// The file. It is written beside its place and put there when it is whole. A relative path starts at the
        /// folder for what tasks write (`UPDRAFT_FILES`).
        templated path: String,
        /// The connection, of type postgres, mysql or sqlite.
        templated sql_conn_id: String,
        /// Values for `query`, as in SQLExecuteQueryOperator.
        templated parameters: Parameters = Parameters::None,
        /// Whether a file that is there is replaced; otherwise it is an error.
        plain replace: bool = false,
        /// How: `csv`, or `parquet`, whose columns are what the database says that they are. There a decimal is a
        /// text, which keeps its digits: cast it to a float where a number is wanted.
        plain file_format: Format = Format::Csv,
        /// Of a CSV file, as pandas' `to_csv` has them: `sep` (`,`), `header` (true), `na_rep` (what stands for null:
        /// nothing).
        plain pd_kwargs: Map<String, Value>,
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Parquet,
}

impl FromArgument for Format {
    const EXPECTS: &'static str = "csv or parquet";
    const TYPES: &'static [&'static str] = &["string"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::to_lowercase).as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(format!("must be {}; {}", Self::EXPECTS, found(value))),
        }
    }
}

/// So much is kept before it is written, in bytes.
const WRITTEN_AT_ONCE: usize = 256 * 1024;

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SqlToFileOperator",
    aliases: &["sql_to_file", "sql_to_csv"],
    doc: "Writes the rows of a statement to a CSV or Parquet file, any number of them. Its result is the file's path and how \
          many rows it has.",
    arguments: &[ExportArgs::LIST],
    kind,
    plan,
    ..DEFAULT
};

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    let format = written.literal("file_format").map(Format::from_argument);
    if let Ok(format) = format.unwrap_or(Ok(Format::Csv)) {
        form(format, written.literal("pd_kwargs").and_then(Value::as_object))?;
    }
    Ok(TaskKind::Run)
}

/// How the file is written, with what can be chosen.
#[derive(Debug)]
enum Form {
    Csv(Csv),
    Parquet,
}

#[derive(Debug)]
struct Csv {
    separator: u8,
    header: bool,
    null: String,
}

fn form(format: Format, given: Option<&Map<String, Value>>) -> Result<Form, BadArgument> {
    match (format, given.into_iter().flatten().find(|(name, _)| *name != "index")) {
        (Format::Csv, _) => csv_form(given).map(Form::Csv),
        (Format::Parquet, None) => Ok(Form::Parquet),
        (Format::Parquet, Some((name, _))) => {
            Err((Some("pd_kwargs"), format!("has `{name}`, which is for CSV files: take it out")))
        }
    }
}

fn csv_form(given: Option<&Map<String, Value>>) -> Result<Csv, BadArgument> {
    let mut form = Csv { separator: b',', header: true, null: String::new() };
    for (name, value) in given.into_iter().flatten() {
        let bad = |why: &str| (Some("pd_kwargs"), format!("has `{name}`, which {why}"));
        match (&**name, value) {
            ("sep", Value::String(text)) if text.len() == 1 => form.separator = text.as_bytes()[0],
            ("sep", _) => return Err(bad("must be one character")),
            ("header", Value::Bool(header)) => form.header = *header,
            ("header", _) => return Err(bad("must be true or false")),
            ("na_rep", Value::String(text)) => form.null.clone_from(text),
            ("na_rep", _) => return Err(bad("must be a text")),
            // What there is none of here.
            ("index", Value::Bool(false)) => {}
            _ => return Err(bad("can't be had: it may have `sep`, `header` and `na_rep`")),
        }
    }
    Ok(form)
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(ExportArgs::read)?;
    Ok(Work::Native(Box::new(Exporting {
        server: Server::of(job, &args.sql_conn_id, None)?,
        path: job.written(&args.path)?,
        form: form(args.file_format, Some(&args.pd_kwargs)).map_err(|bad| job.bad(bad))?,
        files: Arc::new(job.host.files()?.clone()),
        mark: job.mark(),
        args,
    })))
}

#[derive(Debug)]
struct Exporting {
    server: Server,
    path: PathBuf,
    form: Form,
    files: Arc<Files>,
    mark: String,
    args: ExportArgs,
}

impl NativeTask for Exporting {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.export(&context).await {
                Ok(rows) => {
                    let result = json!({"path": self.path, "rows": rows});
                    with_result(Outcome::new(AttemptEnd::Success), Some(result))
                }
                Err(fault) => fault.into(),
            }
        })
    }
}

impl Exporting {
    async fn export(&self, context: &TaskContext) -> Result<u64, Fault> {
        let shown = self.path.display();
        if !self.args.replace && self.path.symlink_metadata().is_ok() {
            return Err(Fault(format!("{shown} is there already: set `replace: true`, or name another")));
        }
        let (new, file) =
            self.files.write(&self.path, &self.mark).map_err(|error| Fault(error.to_string()))?;
        let mut session = Session::open(&self.server).await?.telling(&context.log);
        context.log.line(&format!("running at {}: {}", self.server.shown, self.args.query));
        let (file, count) = match &self.form {
            Form::Csv(form) => self.csv(form, &mut session, file).await?,
            Form::Parquet => self.parquet(&mut session, file).await?,
        };
        session.close().await;
        let finished = tokio::task::spawn_blocking(move || new.finish(&file)).await;
        finished.map_err(|error| self.failed(error))?.map_err(|error| Fault(error.to_string()))?;
        context.log.line(&format!("{count} rows are in {shown}"));
        Ok(count)
    }

    fn failed(&self, why: impl Display) -> Fault {
        Fault(format!("{} can't be written: {why}", self.path.display()))
    }

    /// Writes the rows as CSV; gives the file back, and how many there were.
    async fn csv(&self, form: &Csv, session: &mut Session, file: File) -> Result<(File, u64), Fault> {
        let ExportArgs { query, parameters, .. } = &self.args;
        let mut file = tokio::fs::File::from_std(file);
        let mut writer = csv::WriterBuilder::new().delimiter(form.separator).from_writer(Vec::new());
        if form.header {
            let columns = session.columns(query, parameters).await?;
            let names = columns.iter().map(|column| &column.name);
            writer.write_record(names).map_err(|error| self.failed(error))?;
        }
        let mut count = 0;
        let mut rows = session.items(query, parameters).await?;
        while let Some(item) = rows.next().await {
            let Item::Row(cells) = item? else { continue };
            count += 1;
            let fields = cells.into_iter().map(Cell::into_text);
            let fields = fields.map(|text| text.unwrap_or_else(|| form.null.clone()));
            writer.write_record(fields).map_err(|error| self.failed(error))?;
            if writer.get_ref().len() >= WRITTEN_AT_ONCE {
                let written = written(writer, &mut file, form.separator).await;
                writer = written.map_err(|error| self.failed(error))?;
            }
        }
        drop(rows);
        written(writer, &mut file, form.separator).await.map_err(|error| self.failed(error))?;
        Ok((file.into_std().await, count))
    }

    /// Writes the rows as Parquet; gives the file back, and how many there were.
    async fn parquet(&self, session: &mut Session, file: File) -> Result<(File, u64), Fault> {
        let ExportArgs { query, parameters, .. } = &self.args;
        let columns = session.columns(query, parameters).await?;
        let mut writer = parquet::Writer::new(columns, file).map_err(|why| self.failed(why))?;
        let (mut count, mut group) = (0, parquet::Group::default());
        let mut rows = session.items(query, parameters).await?;
        while let Some(item) = rows.next().await {
            let Item::Row(cells) = item? else { continue };
            count += 1;
            group.add(cells);
            if group.is_full() {
                let full = std::mem::take(&mut group);
                writer = self.blocking(move || writer.write(full)).await?;
            }
        }
        drop(rows);
        let file = self.blocking(move || writer.write(group)?.finish()).await?;
        Ok((file, count))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, Fault> {
        let done = tokio::task::spawn_blocking(work).await.map_err(|error| self.failed(error))?;
        done.map_err(|why| self.failed(why))
    }
}

/// Writes what was kept; gives a new writer.
async fn written(
    writer: csv::Writer<Vec<u8>>,
    file: &mut tokio::fs::File,
    separator: u8,
) -> std::io::Result<csv::Writer<Vec<u8>>> {
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    file.write_all(&bytes).await?;
    file.flush().await?;
    Ok(csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::with_capacity(bytes.len())))
}
