//! `updraft dags check`: DAG files, with no server needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use updraft_core::DagId;
use updraft_server::authoring::{Event, ImportError, Read, read_file, read_folder};

use crate::{config::Config, dag_files};

/// Reads DAG files as a server with this home folder would, and says what is wrong with them.
pub fn check(home: &Path, paths: &[PathBuf]) -> Result<()> {
    let root = dag_files::folder_of(home, &Config::read(home)?)?;
    let mut told = Told::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.is_dir() {
            for event in read_folder(dag_files::folder(path.clone())) {
                if let Event::Changed { source, dags, errors, .. } = event
                    && seen.insert(source.clone())
                {
                    told.take(&source, &dags, &errors);
                }
            }
        } else if seen.insert(path.to_string_lossy().into()) {
            let reading = read_file(&dag_files::folder(root.clone()), path);
            told.take(&path.to_string_lossy().into(), &reading.dags, &reading.errors);
        }
    }
    let Told { good, wrong, files, .. } = told;
    if wrong > 0 {
        bail!("{} in {}; {} good", many(wrong, "error"), many(files, "file"), are(good));
    }
    println!("{} good, in {}", are(good), many(files, "file"));
    Ok(())
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
    known: BTreeMap<DagId, Arc<str>>,
}

impl Told {
    fn take(&mut self, source: &Arc<str>, dags: &[Read], errors: &[ImportError]) {
        self.files += usize::from(!dags.is_empty() || !errors.is_empty());
        for read in dags {
            let dag_id = &read.spec.dag_id;
            // A DAG is in one file, also where several folders are looked at.
            if let Some(first) = self.known.get(dag_id) {
                self.wrong += 1;
                let mend = "give one of the two another name";
                eprintln!("error: {source}: the DAG `{dag_id}` is in {first} as well: {mend}");
                continue;
            }
            self.known.insert(dag_id.clone(), source.clone());
            self.good += 1;
            println!("{dag_id}: {}", many(read.spec.tasks.len(), "task"));
            read.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        }
        self.wrong += errors.len();
        errors.iter().for_each(|error| eprintln!("error: {error}"));
    }
}
