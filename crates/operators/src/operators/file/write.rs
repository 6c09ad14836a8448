//! `WriteFileOperator`: a text as a file of this machine.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use updraft_core::TaskKind;

use super::named;
use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    operators::local::{self, Incoming},
    prepare::{Job, as_text},
};

arguments! {
    /// The arguments of `WriteFileOperator`.
    struct WriteArgs {
        /// The file. A relative path starts at the folder for what tasks write (`UPDRAFT_FILES`); folders on the way
        /// that are missing are made.
        templated path: String,
        /// What is written, as UTF-8; what is no string is written as JSON.
        templated content: Value,
        /// Whether it is written behind what is there already. Otherwise it takes the place of that when it is whole.
        plain append: bool = false,
    } accepted {
        /// Only `utf-8`.
        encoding: String,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "WriteFileOperator",
    aliases: &["write_file"],
    doc: "Writes a text to a file of this machine. The result is the file's path.",
    takes_results: None,
    arguments: &[WriteArgs::LIST],
    template_ext: &[],
    kind: |written| match written.literal("encoding").and_then(Value::as_str) {
        Some(encoding) if !matches!(&*encoding.to_lowercase(), "utf-8" | "utf8") => {
            let mend = format!("can only be utf-8; found {encoding:?}: have a script write what has another");
            Err((Some("encoding"), mend))
        }
        _ => Ok(TaskKind::Run),
    },
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(WriteArgs::read)?;
    named(&args.path).map_err(|why| job.bad((Some("path"), why)))?;
    let (files, path, mark) = (job.host.files()?.clone(), job.written(&args.path)?, job.mark());
    let (mut content, append) = (as_text(&args.content), args.append);
    // Rendering takes the last line's end off, as Jinja does. A file is to have it.
    let written = job.order.args.get("content").and_then(Value::as_str);
    if args.content.is_string() && written.is_some_and(|text| text.ends_with('\n')) {
        content.push('\n');
    }
    Ok(local::work(job, move |context| async move {
        let bytes = content.len();
        if append {
            let path = path.clone();
            local::blocking(move || {
                files.append(&path, content.as_bytes()).map_err(|error| error.to_string())
            })
            .await?;
        } else {
            let mut incoming = Incoming::begin(&files, &path, &mark, true).await?;
            let written = incoming.file.write_all(content.as_bytes()).await;
            written.map_err(|error| format!("{} can't be written: {error}", path.display()))?;
            incoming.finish().await?;
        }
        context.log.line(&format!("wrote {bytes} bytes to {}", path.display()));
        Ok(json!(path))
    }))
}
