//! `ReadFileOperator`: what is in a file of this machine, as a result.

use std::path::Path;

use serde_json::Value;
use updraft_core::TaskKind;

use crate::{
    Files, Refused, Work,
    catalog::{
        Argument, Entry,
        argument::{FromArgument, arguments, found},
    },
    files::Unreadable,
    operators::local,
    prepare::Job,
};

arguments! {
    /// The arguments of `ReadFileOperator`.
    struct ReadArgs {
        /// The file, of UTF-8 and at most 16 MiB. A relative path starts at the DAG file's folder or, where there is
        /// none, at the folder for what tasks write (`UPDRAFT_FILES`).
        templated path: String,
    }
}

/// A word of Rust's own is no field's name.
const AS: Argument = Argument {
    name: "as",
    expects: Form::EXPECTS,
    types: Form::TYPES,
    required: false,
    templated: false,
    objects: false,
    doc: "What the result is: the `text`; its `lines`, a list without their ends; or what it says as `json`. The text, \
          where nothing is said.",
    check: |value| Form::from_argument(value).map(drop),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Lines,
    Json,
}

impl FromArgument for Form {
    const EXPECTS: &'static str = "text, lines or json";
    const TYPES: &'static [&'static str] = &["string"];

    fn from_argument(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("text") => Ok(Self::Text),
            Some("lines") => Ok(Self::Lines),
            Some("json") => Ok(Self::Json),
            _ => Err(format!("must be {}; {}", Self::EXPECTS, found(value))),
        }
    }
}

/// The largest file, in bytes.
const MOST: u64 = 16 << 20;

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "ReadFileOperator",
    aliases: &["read_file"],
    doc: "Reads a file of this machine. What is in it is the result.",
    takes_results: None,
    arguments: &[ReadArgs::LIST, &[AS]],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(ReadArgs::read)?;
    let form = match job.args.get(AS.name).filter(|form| !form.is_null()) {
        Some(form) => Form::from_argument(form).map_err(|why| job.bad((Some(AS.name), why)))?,
        None => Form::Text,
    };
    let (files, path) = (job.host.files()?.clone(), job.found(&args.path)?);
    Ok(local::work(job, move |context| async move {
        let shown = path.display().to_string();
        let (bytes, value) = local::blocking(move || read(&files, &path, form)).await?;
        context.log.line(&format!("read {bytes} bytes from {shown}"));
        Ok(value)
    }))
}

/// The number of bytes in a file, and what they say.
fn read(files: &Files, path: &Path, form: Form) -> Result<(usize, Value), String> {
    let text = files.read_text(path, MOST).map_err(|error| match error {
        Unreadable::TooLarge { path, most } => format!(
            "{} can't be read: it has more than the {} MiB that a result is made of here; have a script read it, and \
             print what is wanted of it",
            path.display(),
            most >> 20
        ),
        error => error.to_string(),
    })?;
    let value = match form {
        Form::Lines => text.lines().collect(),
        Form::Json => serde_json::from_str(&text).map_err(|error| {
            format!("{} is no JSON: {error}: mend it, or take it `as: text`", path.display())
        })?,
        Form::Text => return Ok((text.len(), Value::String(text))),
    };
    Ok((text.len(), value))
}
