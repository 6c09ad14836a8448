//! `updraft dags check`: DAG files, with no server needed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use updraft_core::Namespace;
use updraft_server::authoring::{Format, Options, environment, native, read_document};

/// Reads DAG files and says what is wrong with them.
pub fn check(paths: &[PathBuf]) -> Result<()> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files).with_context(|| format!("can't read {}", path.display()))?;
    }
    let (mut good, mut wrong) = (0, 0);
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let json = file.extension().is_some_and(|ending| ending == "json");
        let options = Options {
            namespace: Namespace::default(),
            check: &native,
            variable: &environment,
            now: Timestamp::now(),
        };
        let format = if json { Format::Json } else { Format::Yaml };
        let reading = read_document(&file.display().to_string(), &text, format, &options);
        for read in &reading.dags {
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

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let ending = entry.extension().and_then(|ending| ending.to_str());
        if entry.is_dir() || matches!(ending, Some("yaml" | "yml" | "json")) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
