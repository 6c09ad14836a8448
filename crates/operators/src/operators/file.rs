//! `FileSensor`, as Airflow documents it: waits until there is a file. Operators that work on files of this machine.

pub(super) mod delete;
pub(super) mod read;
pub(super) mod transfer;
pub(super) mod write;

use std::path::Path;

use glob::{MatchOptions, glob_with};
use serde_json::Value;
use updraft_core::TaskKind;

use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    prepare::{Job, no_connection},
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// The arguments of `FileSensor`.
    struct FileArgs {
        /// The file or folder, below the connection's path where there is one; `*`, `?` and `[…]` stand for
        /// many. A relative path is looked for in the DAG file's folder and in that for what tasks write
        /// (`UPDRAFT_FILES`). A folder counts when there is a file in it, however deep.
        templated filepath: String,
        /// The connection whose `path` (in its extra fields) the file is below.
        templated fs_conn_id: String = DEFAULT_CONNECTION.to_owned(),
        /// Whether `**` stands for any number of folders.
        plain recursive: bool = false,
    } accepted {
        /// No difference here.
        start_from_trigger: bool,
    }
}

const DEFAULT_CONNECTION: &str = "fs_default";

pub(super) const ENTRY: Entry = Entry {
    name: "FileSensor",
    aliases: &[
        "file_sensor",
        "airflow.providers.standard.sensors.filesystem.FileSensor",
        "airflow.sensors.filesystem.FileSensor",
        "airflow.contrib.sensors.file_sensor.FileSensor",
    ],
    doc: "Waits until there is a file. Holds no slot.",
    takes_results: None,
    arguments: &[FileArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Watch),
    plan,
};

/// Refuses a path that names no file.
fn named(path: &str) -> Result<(), String> {
    match path.is_empty() || path.ends_with('/') {
        true => Err(format!("is {path:?}, which names no file: write the file's name behind it")),
        false => Ok(()),
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(FileArgs::read)?;
    let base = match job.connection_if_any(&args.fs_conn_id)? {
        Some(connection) => {
            connection.extra.get("path").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        // Airflow's own default connection has no path.
        None if args.fs_conn_id == DEFAULT_CONNECTION => String::new(),
        None => return Err(no_connection(&args.fs_conn_id)),
    };
    let path = Path::new(&base).join(args.filepath);
    let mut places = vec![job.folder().join(&path), job.written(&path)?];
    places.dedup();
    let patterns = places.iter().map(|place| as_rust_has_it(&place.to_string_lossy(), args.recursive));
    let patterns: Vec<String> = patterns.collect();
    if let Some(error) = patterns.iter().find_map(|pattern| glob::Pattern::new(pattern).err()) {
        return Err(job.bad((Some("filepath"), format!("is no pattern: {error}"))));
    }
    let look = Box::new(FileLook { patterns });
    Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, look))))
}

/// Python's pattern in the words of the `glob` crate: there `**` must stand alone, and always means any
/// number of folders.
fn as_rust_has_it(pattern: &str, recursive: bool) -> String {
    let part = |part: &str| match part {
        "**" if recursive => "**".to_owned(),
        _ => {
            let mut stars = part.to_owned();
            while stars.contains("**") {
                stars = stars.replace("**", "*");
            }
            stars
        }
    };
    let parts: Vec<String> = pattern.split('/').map(part).collect();
    parts.join("/")
}

#[derive(Debug)]
struct FileLook {
    patterns: Vec<String>,
}

impl Look for FileLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            let patterns = self.patterns.clone();
            let look = move || patterns.iter().find_map(|pattern| find(pattern).transpose()).transpose();
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(Some(found))) => {
                    context.log.line(&format!("found {found}"));
                    Ok(Seen::There)
                }
                Ok(Ok(None)) => Ok(Seen::NotYet),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// The first file that fits.
fn find(pattern: &str) -> Result<Option<String>, String> {
    let as_python = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob_with(pattern, as_python).map_err(|error| error.to_string())?;
    // What can't be read is not there, as in Python.
    Ok(paths.flatten().find(|path| path.is_file() || has_file(path)).map(|path| path.display().to_string()))
}

/// Whether there is a file in a folder, however deep. Links to folders are not followed, as in `os.walk`.
fn has_file(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders = Vec::new();
    for entry in entries {
        if !entry.path().is_dir() {
            return true;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    folders.iter().any(|folder| has_file(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_python() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("a/b/c")).unwrap();
        std::fs::write(path("a/b/c/data.csv"), "").unwrap();
        std::fs::write(path("a/.hidden.csv"), "").unwrap();
        std::fs::create_dir_all(path("empty/deep")).unwrap();
        let there = |pattern: &str, recursive| {
            let pattern = path(pattern).to_string_lossy().into_owned();
            find(&as_rust_has_it(&pattern, recursive)).unwrap().is_some()
        };
        assert!(there("a/b/c/data.csv", false));
        assert!(there("a/b/*/*.csv", false));
        assert!(there("a/**/*.csv", true));
        assert!(!there("a/**/*.csv", false));
        assert!(!there("a/*.csv", false), "a star does not stand for a leading dot");
        assert!(there("a", false), "a folder with a file deep in it counts");
        assert!(!there("empty", false));
        assert!(there("a/b/c/dat[a-c].c?v", false));
        assert!(!there("a/b/c/other.csv", false));
    }

    #[test]
    fn pipes_and_devices_are_looked_at_and_not_opened() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let there = |path: &Path| find(&path.to_string_lossy()).unwrap().is_some();
        assert!(!there(&folder.path().join("pipe")), "to Python a pipe is no file");
        assert!(there(folder.path()), "but a folder with one is not empty");
        assert!(!there(Path::new("/dev/zero")));
    }
}
