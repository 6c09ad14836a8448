//! `SqlToFileOperator`: the rows of a statement as a CSV file, after the arguments of Airflow's `SqlToS3Operator`.

use std::{fs::File, path::PathBuf, sync::Arc};

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
    server::Server,
    session::{Item, Session},
};
use crate::{
    Files, Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, arguments},
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
        /// The file. It is written beside its place and put there when it is whole. A relative path starts at the DAG
        /// file's folder.
        templated path: String,
        /// The connection, of type postgres, mysql or sqlite.
        templated sql_conn_id: String,
        /// What is bound to `query`, as in SQLExecuteQueryOperator.
        templated parameters: Parameters = Parameters::None,
        /// Whether a file that is there is replaced; otherwise it is an error.
        plain replace: bool = false,
        /// As pandas' `to_csv` has them: `sep` (`,`), `header` (true), `na_rep` (what stands for null: nothing).
        plain pd_kwargs: Map<String, Value>,
    } accepted {
        /// Only `csv`.
        file_format: String,
    }
}

/// So much is kept before it is written, in bytes.
const WRITTEN_AT_ONCE: usize = 256 * 1024;

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SqlToFileOperator",
    aliases: &["sql_to_file", "sql_to_csv"],
    doc: "Writes the rows of a statement to a CSV file, any number of them. Its result is the file's path and how \
          many rows it has.",
    arguments: &[ExportArgs::LIST],
    kind,
    plan,
    ..DEFAULT
};

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    if let Some(format) = written.literal("file_format").and_then(Value::as_str)
        && !format.eq_ignore_ascii_case("csv")
    {
        return Err((Some("file_format"), format!("can only be csv; found {format:?}")));
    }
    form(written.literal("pd_kwargs").and_then(Value::as_object))?;
    Ok(TaskKind::Run)
}

/// How the file is written.
#[derive(Debug)]
struct Form {
    separator: u8,
    header: bool,
    null: String,
}

fn form(given: Option<&Map<String, Value>>) -> Result<Form, BadArgument> {
    let mut form = Form { separator: b',', header: true, null: String::new() };
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
        path: job.folder().join(&args.path),
        form: form(Some(&args.pd_kwargs)).map_err(|bad| job.bad(bad))?,
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
        let failed = |why: &dyn std::fmt::Display| Fault(format!("{shown} can't be written: {why}"));
        if !self.args.replace && self.path.symlink_metadata().is_ok() {
            return Err(Fault(format!("{shown} is there already: set `replace: true`, or name another")));
        }
        let ExportArgs { query, parameters, .. } = &self.args;
        let (new, file) =
            self.files.write(&self.path, &self.mark).map_err(|error| Fault(error.to_string()))?;
        let mut file = tokio::fs::File::from_std(file);
        let mut session = Session::open(&self.server).await?;
        context.log.line(&format!("running at {}: {query}", self.server.shown));
        let mut writer = csv::WriterBuilder::new().delimiter(self.form.separator).from_writer(Vec::new());
        if self.form.header {
            let columns = session.columns(query, parameters).await?;
            writer.write_record(columns).map_err(|error| failed(&error))?;
        }
        let mut count = 0;
        let mut rows = session.items(query, parameters).await?;
        while let Some(item) = rows.next().await {
            let Item::Row(cells) = item? else { continue };
            count += 1;
            let fields = cells.into_iter().map(Cell::into_text);
            let fields = fields.map(|text| text.unwrap_or_else(|| self.form.null.clone()));
            writer.write_record(fields).map_err(|error| failed(&error))?;
            if writer.get_ref().len() >= WRITTEN_AT_ONCE {
                writer =
                    written(writer, &mut file, self.form.separator).await.map_err(|error| failed(&error))?;
            }
        }
        drop(rows);
        written(writer, &mut file, self.form.separator).await.map_err(|error| failed(&error))?;
        session.close().await;
        let file: File = file.into_std().await;
        let finished = tokio::task::spawn_blocking(move || new.finish(&file)).await;
        finished.map_err(|error| failed(&error))?.map_err(|error| Fault(error.to_string()))?;
        context.log.line(&format!("{count} rows are in {shown}"));
        Ok(count)
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
