//! `updraft dags check`: DAG files, with no server needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use jiff::Timestamp;
use updraft_core::{DagId, Namespace};
use updraft_server::authoring::{Format, Options, Reading, environment, native, read_document};

/// Reads DAG files and says what is wrong with them.
pub fn check(paths: &[PathBuf]) -> Result<()> {
    let mut files = Vec::new();
    let (mut good, mut wrong) = (0, 0);
    let mut unreadable = |path: &Path, error: &std::io::Error| {
        let reason = match error.kind() {
            ErrorKind::InvalidData => "it is not UTF-8; save it as UTF-8".to_owned(),
            _ => error.to_string(),
        };
        eprintln!("error: {}: this can't be read: {reason}", path.display());
    };
    for path in paths {
        wrong += collect(path, &mut files, &mut unreadable);
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    // A DAG is in one file: the server reads all of a folder, and takes the first.
    let mut known: BTreeMap<DagId, &Path> = BTreeMap::new();
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                unreadable(file, &error);
                wrong += 1;
                continue;
            }
        };
        let reading = read(file, &text);
        for read in &reading.dags {
            let dag_id = &read.spec.dag_id;
            if let Some(first) = known.get(dag_id) {
                wrong += 1;
                let (first, file) = (first.display(), file.display());
                eprintln!(
                    "error: {file}: the DAG `{dag_id}` is in {first} as well: give one of the two another name"
                );
                continue;
            }
            known.insert(dag_id.clone(), file);
            good += 1;
            println!("{}: {} tasks", read.spec.dag_id, read.spec.tasks.len());
            read.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        }
        wrong += reading.errors.len();
        reading.errors.iter().for_each(|error| eprintln!("error: {error}"));
    }
    if wrong > 0 {
        bail!("{wrong} errors in {} files; {good} DAGs are good", files.len());
    }
    println!("{good} DAGs in {} files are good", files.len());
    Ok(())
}

/// Reads a DAG file as a server does.
pub fn read(file: &Path, text: &str) -> Reading {
    let json = file.extension().is_some_and(|ending| ending == "json");
    let options = Options {
        namespace: Namespace::default(),
        check: &native,
        variable: &environment,
        now: Timestamp::now(),
    };
    let format = if json { Format::Json } else { Format::Yaml };
    read_document(&file.display().to_string(), text, format, &options)
}

/// The DAGs that the files of a folder name, good and bad, and where. What can't be read names none.
pub fn named_in(folder: &Path) -> BTreeMap<DagId, PathBuf> {
    let mut files = Vec::new();
    if folder.is_dir() {
        collect(folder, &mut files, &mut |_, _| ());
    }
    let named = |file: PathBuf| {
        let named = std::fs::read_to_string(&file).ok().and_then(|text| read(&file, &text).named);
        named.into_iter().flatten().map(move |dag_id| (dag_id, file.clone()))
    };
    files.into_iter().rev().flat_map(named).collect()
}

/// Finds the files of a folder; how many folders can't be looked into, of which each is told.
fn collect(
    path: &Path,
    files: &mut Vec<PathBuf>,
    unreadable: &mut impl FnMut(&Path, &std::io::Error),
) -> usize {
    if !path.is_dir() {
        files.push(path.to_owned());
        return 0;
    }
    let entries = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            unreadable(path, &error);
            return 1;
        }
    };
    entries.sort();
    let mut wrong = 0;
    for entry in entries {
        let ending = entry.extension().and_then(|ending| ending.to_str());
        if entry.is_dir() || matches!(ending, Some("yaml" | "yml" | "json")) {
            wrong += collect(&entry, files, unreadable);
        }
    }
    wrong
}
