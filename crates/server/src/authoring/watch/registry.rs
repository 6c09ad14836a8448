//! Who has which DAG: what was read of each file, and the one file that counts where two name a DAG.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use updraft_core::DagId;

use super::Event;
use crate::authoring::{ImportError, Read, Reading};

/// What was read of all files, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Registry {
    readings: BTreeMap<Arc<str>, Reading>,
    /// The file whose DAG it is.
    owners: BTreeMap<DagId, Arc<str>>,
    told: BTreeMap<Arc<str>, View>,
}

/// What is told of a file.
#[derive(Clone, Debug, PartialEq)]
struct View {
    dags: Vec<Read>,
    errors: Vec<ImportError>,
    named: Option<Vec<DagId>>,
}

impl Registry {
    /// `owners` are the files that DAGs came from before; where two files name a DAG, such a one keeps it.
    pub fn new(owners: BTreeMap<DagId, Arc<str>>) -> Self {
        Self { owners, ..Self::default() }
    }

    /// The files of which something was told and holds.
    pub fn sources(&self) -> Vec<Arc<str>> {
        self.told.keys().cloned().collect()
    }

    /// Takes up what was read, `None` for a file that is gone, and tells what is new by that. `all_are_read`
    /// says that no file is left to be read: then a DAG whose file was not among them has none.
    pub fn take(&mut self, changes: Vec<(Arc<str>, Option<Reading>)>, all_are_read: bool) -> Vec<Event> {
        let mut touched: BTreeSet<Arc<str>> = BTreeSet::new();
        for (source, reading) in changes {
            touched.insert(source.clone());
            match reading {
                Some(reading) => self.readings.insert(source, reading),
                None => self.readings.remove(&source),
            };
        }
        if all_are_read {
            self.release();
        }
        touched.extend(self.claim());
        let (gone, left): (Vec<_>, Vec<_>) =
            touched.into_iter().partition(|source| !self.readings.contains_key(source));
        // What lets a DAG go is told before what takes it.
        let taking =
            |source: &Arc<str>| self.view(source).is_some_and(|view| self.takes_from_another(source, &view));
        let (taking, others): (Vec<_>, Vec<_>) = left.into_iter().partition(taking);
        let mut events = Vec::new();
        for source in gone {
            if self.told.remove(&source).is_some() {
                events.push(Event::Removed { source });
            }
        }
        for source in others.into_iter().chain(taking) {
            events.extend(self.tell(source));
        }
        events
    }

    /// Takes DAGs from files that no longer name them. A file that can't be read keeps all it has.
    fn release(&mut self) {
        let readings = &self.readings;
        self.owners.retain(|dag, source| {
            readings
                .get(source)
                .is_some_and(|reading| reading.named.as_ref().is_none_or(|named| named.contains(dag)))
        });
    }

    /// Gives DAGs without a file to the first that has a good one, and tells the files that are concerned.
    fn claim(&mut self) -> BTreeSet<Arc<str>> {
        let mut concerned = BTreeSet::new();
        for (source, reading) in &self.readings {
            for read in &reading.dags {
                let owner = self.owners.entry(read.spec.dag_id.clone()).or_insert_with(|| {
                    concerned.insert(source.clone());
                    source.clone()
                });
                if owner != source {
                    concerned.insert(source.clone());
                }
            }
        }
        concerned
    }

    fn view(&self, source: &Arc<str>) -> Option<View> {
        let reading = self.readings.get(source)?;
        let mut view =
            View { dags: Vec::new(), errors: reading.errors.clone(), named: reading.named.clone() };
        for read in &reading.dags {
            let dag_id = &read.spec.dag_id;
            match self.owners.get(dag_id) {
                Some(owner) if owner != source => view.errors.push(ImportError {
                    file: source.clone(),
                    dag_id: Some(dag_id.clone()),
                    line: read.position.map(|(line, _)| line),
                    column: read.position.map(|(_, column)| column),
                    path: dag_id.to_string(),
                    message: format!(
                        "the DAG `{dag_id}` is in `{owner}` as well as in `{source}`, and the first counts: give one \
                         of the two another name"
                    ),
                }),
                Some(_) | None => view.dags.push(read.clone()),
            }
        }
        Some(view)
    }

    fn takes_from_another(&self, source: &Arc<str>, view: &View) -> bool {
        let had = |dag: &DagId| {
            self.told
                .iter()
                .any(|(other, told)| other != source && told.dags.iter().any(|read| read.spec.dag_id == *dag))
        };
        view.dags.iter().any(|read| had(&read.spec.dag_id))
    }

    /// The news of a file, where there are any.
    fn tell(&mut self, source: Arc<str>) -> Option<Event> {
        let view = self.view(&source)?;
        let has_nothing = view.dags.is_empty() && view.errors.is_empty();
        if self.told.get(&source) == Some(&view) || has_nothing && !self.told.contains_key(&source) {
            return None;
        }
        if has_nothing {
            self.told.remove(&source);
        } else {
            self.told.insert(source.clone(), view.clone());
        }
        Some(Event::Changed { source, dags: view.dags, errors: view.errors, named: view.named })
    }
}
