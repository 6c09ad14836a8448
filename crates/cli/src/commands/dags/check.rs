//! `updraft dags check`: DAG files, with no server needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use updraft_core::DagId;
use updraft_server::authoring::{Event, ImportError, Read, read_file, read_folder_within};

use super::find::Root;
use crate::{config::Config, dag_files, output::Format};

/// What is read, and how strictly.
#[derive(clap::Args)]
pub struct Check {
    /// Files, or folders, of which all is read that a server reads: `.yaml` and `.yml`.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    root: Root,
    /// Fail where there are warnings, as of a class that is not built in.
    #[arg(long)]
    strict: bool,
}

/// Reads DAG files as a server with this home folder would, and says what is wrong with them; where it is strict, a
/// warning is wrong too.
pub fn check(home: &Path, format: Format, args: &Check) -> Result<()> {
    let Check { paths, root, strict } = args;
    let folder = dag_files::folder(dag_files::folder_of(home, &root.over(Config::read(home)?))?);
    let mut told = Told { as_table: format == Format::Table, ..Told::default() };
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.is_dir() {
            let mut is_empty = true;
            for event in read_folder_within(&folder, path) {
                let Event::Changed { source, dags, errors, .. } = event else { continue };
                is_empty = false;
                if seen.insert(source.clone()) {
                    told.take(&source, &dags, &errors);
                }
            }
            if is_empty {
                told.take_error(&without_dag_files(path));
            }
        } else if seen.insert(path.to_string_lossy().into()) {
            let reading = read_file(&folder, path);
            told.take(&path.to_string_lossy().into(), &reading.dags, &reading.errors);
        }
    }
    let Told { as_table, good, wrong, warned, files, found, .. } = told;
    if !as_table {
        format.value(&found)?;
    }
    if wrong > 0 {
        bail!("{} in {}; {} good", many(wrong, "error"), many(files, "file"), are(good));
    }
    if *strict && warned > 0 {
        bail!(
            "{} in {}, and --strict allows none; {} good",
            many(warned, "warning"),
            many(files, "file"),
            are(good)
        );
    }
    if as_table {
        println!("{} good, in {}", are(good), many(files, "file"));
    }
    Ok(())
}

/// A check of nothing is no check: the path may be wrong, or the files somewhere else.
fn without_dag_files(folder: &Path) -> ImportError {
    ImportError {
        file: folder.to_string_lossy().into(),
        dag_id: None,
        line: None,
        column: None,
        path: String::new(),
        message:
            "0 DAG files found in this folder: one ends in `.yaml` or `.yml`, and an entry of it has `tasks`"
                .into(),
    }
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn are(dags: usize) -> String {
    format!("{} {}", many(dags, "DAG"), if dags == 1 { "is" } else { "are" })
}

/// What was said so far.
#[derive(Default)]
struct Told {
    files: usize,
    good: usize,
    wrong: usize,
    warned: usize,
    known: BTreeMap<DagId, Arc<str>>,
    /// Whether it is told as it is found; else all of it at the end.
    as_table: bool,
    found: Found,
}

/// What was found, for programs.
#[derive(Default, serde::Serialize)]
struct Found {
    dags: Vec<Value>,
    errors: Vec<Value>,
    warnings: Vec<Value>,
}

fn as_json(problem: &ImportError) -> Value {
    let ImportError { file, dag_id, line, column, path, message } = problem;
    json!({
        "file": file, "dag_id": dag_id, "line": line, "column": column, "path": path, "message": message,
    })
}

impl Told {
    fn take(&mut self, source: &Arc<str>, dags: &[Read], errors: &[ImportError]) {
        self.files += usize::from(!dags.is_empty() || !errors.is_empty());
        for read in dags {
            let dag_id = &read.spec.dag_id;
            // A DAG is in one file, also where several folders are looked at.
            if let Some(first) = self.known.get(dag_id) {
                let twice = ImportError {
                    file: source.clone(),
                    dag_id: Some(dag_id.clone()),
                    line: None,
                    column: None,
                    path: String::new(),
                    message: format!(
                        "the DAG `{dag_id}` is in {first} as well: give one of the two another name"
                    ),
                };
                self.take_error(&twice);
                continue;
            }
            self.known.insert(dag_id.clone(), source.clone());
            self.good += 1;
            self.warned += read.warnings.len();
            let tasks = read.spec.tasks.len();
            if self.as_table {
                println!("{dag_id}: {}", many(tasks, "task"));
                read.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            } else {
                self.found.dags.push(json!({"dag_id": dag_id, "file": source, "tasks": tasks}));
                self.found.warnings.extend(read.warnings.iter().map(as_json));
            }
        }
        errors.iter().for_each(|error| self.take_error(error));
    }

    fn take_error(&mut self, error: &ImportError) {
        self.wrong += 1;
        if self.as_table {
            eprintln!("error: {error}");
        } else {
            self.found.errors.push(as_json(error));
        }
    }
}
