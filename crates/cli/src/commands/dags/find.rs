//! DAGs found in files, with no server needed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use updraft_server::authoring::{Event, Folder, Read, read_file, read_folder, read_folder_within};

use crate::{
    config::Config,
    dag_files::root,
    failure::{Exit, Failure},
};

/// Which folder DAG files are of.
#[derive(clap::Args)]
pub struct Root {
    /// The folder of DAG files that these are of, whose `defaults.yml` counts, and those of folders between [default: the
    /// server's folder; for what lies elsewhere its Git repository].
    #[arg(long, value_name = "DIR")]
    dags: Option<PathBuf>,
}

impl Root {
    /// The configuration with this folder in the place of its own.
    pub fn over(&self, mut config: Config) -> Config {
        config.dags.folder = self.dags.clone().or(config.dags.folder);
        config
    }
}

/// A DAG as it was found.
pub struct Found {
    pub read: Read,
    pub source: String,
    /// What its tasks may read: the folder of DAG files, or that of its file.
    pub readable: PathBuf,
}

/// Whether somebody means a file, and not a DAG by its name.
fn is_file(what: &str) -> bool {
    Path::new(what).is_file() || what.contains('/') || [".yaml", ".yml"].iter().any(|end| what.ends_with(end))
}

/// The DAGs of these files and of these names; those of the folder, where none is named. What is wrong with others
/// is told.
pub fn all(folder: &Folder, what: &[String]) -> Result<Vec<Read>> {
    let mut found = Vec::new();
    for what in what {
        match is_file(what) {
            true if Path::new(what).is_dir() => take(read_folder_within(folder, Path::new(what)), &mut found),
            true => {
                let reading = read_file(folder, Path::new(what));
                reading.errors.iter().for_each(|error| eprintln!("error: {error}"));
                found.extend(reading.dags);
            }
            false => found.push(by_id(folder, what)?.read),
        }
    }
    if what.is_empty() {
        refuse_no_folder(root(folder))?;
        take(read_folder(folder.clone()), &mut found);
    }
    Ok(found)
}

/// Takes the DAGs of a folder, and tells what is wrong with others.
fn take(events: Vec<Event>, found: &mut Vec<Read>) {
    for event in events {
        let Event::Changed { dags, errors, .. } = event else { continue };
        errors.iter().for_each(|error| eprintln!("error: {error}"));
        found.extend(dags);
    }
}

fn refuse_no_folder(root: &Path) -> Result<()> {
    match root.is_dir() {
        true => Ok(()),
        false => {
            let message = format!("there is no folder of DAG files {}: name a file", root.display());
            Err(Failure::new(Exit::NotFound, message).into())
        }
    }
}

/// The DAG that is meant.
pub fn one(folder: &Folder, what: &str, dag: Option<&str>) -> Result<Found> {
    let path = Path::new(what);
    if !is_file(what) {
        return by_id(folder, what);
    }
    let path =
        std::path::absolute(path).with_context(|| format!("can't tell where {} is", path.display()))?;
    let reading = read_file(folder, &path);
    reading.errors.iter().for_each(|error| eprintln!("error: {error}"));
    let names =
        reading.dags.iter().map(|read| format!("`{}`", read.spec.dag_id)).collect::<Vec<_>>().join(", ");
    let wanted = |read: &Read| dag.is_none_or(|dag| *dag == *read.spec.dag_id);
    let mut wanted = reading.dags.into_iter().filter(wanted);
    let (exit, message) = match (wanted.next(), wanted.next()) {
        (Some(read), None) => {
            let root = root(folder);
            let around = path.parent().unwrap_or(root).to_owned();
            let readable = if path.starts_with(root) { root.to_owned() } else { around };
            return Ok(Found { read, source: path.to_string_lossy().into(), readable });
        }
        (Some(_), Some(_)) => (Exit::Usage, format!("{} has {names}: say which by --dag", what)),
        (None, _) if names.is_empty() => (Exit::Failed, format!("{} has no DAG that could be run", what)),
        (None, _) => {
            let dag = dag.unwrap_or_default();
            (Exit::NotFound, format!("{} has no DAG `{dag}` that could be run; it has {names}", what))
        }
    };
    Err(Failure::new(exit, message).into())
}

fn by_id(folder: &Folder, dag_id: &str) -> Result<Found> {
    let root = root(folder);
    refuse_no_folder(root)?;
    let mut known = Vec::new();
    let mut wrong = false;
    for event in read_folder(folder.clone()) {
        let Event::Changed { source, dags, errors, .. } = event else { continue };
        for error in errors.iter().filter(|error| error.dag_id.as_ref().is_none_or(|id| **id == *dag_id)) {
            wrong |= error.dag_id.is_some();
            eprintln!("error: {error}");
        }
        for read in dags {
            if *read.spec.dag_id == *dag_id {
                let readable = match (&read.spec.bundle, &folder.git) {
                    (Some(_), Some(git)) => git.all(),
                    (Some(_) | None, _) => root.to_owned(),
                };
                return Ok(Found { read, source: source.to_string(), readable });
            }
            known.push(format!("`{}`", read.spec.dag_id));
        }
    }
    let (exit, message) = match (wrong, known.as_slice()) {
        (true, _) => (Exit::Failed, format!("the DAG `{dag_id}` can't be run")),
        (false, []) => (Exit::NotFound, format!("there is no DAG file in {}", root.display())),
        (false, known) => {
            let known = known.join(", ");
            (Exit::NotFound, format!("no file in {} has a DAG `{dag_id}`; there are {known}", root.display()))
        }
    };
    Err(Failure::new(exit, message).into())
}
