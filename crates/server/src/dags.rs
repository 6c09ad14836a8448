//! From a folder of DAG files to the engine: what is read becomes commands, what can't be read an import
//! error.

mod boot;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tracing::{info, warn};
use updraft_core::{
    DagId, DagKey, Namespace,
    input::{Command, CommandError, Reply},
};
use updraft_store::{Error, Store, TextFilter, Window};

use self::boot::Boot;
use crate::{
    authoring::{Event, Folder, ImportError, Read, watch},
    git::SOURCE_PREFIX,
    leader::{Handle, Refusal, now},
};

/// Under this name the audit log has what files bring about.
const BY: &str = "dag-files";

/// The source of DAGs that were put by the API.
pub const API: &str = "api";

/// Where nobody leads at the moment, it is tried again after this time.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What is wrong with sources, and is still to be written; nothing, where that is to be taken back.
type Unwritten = BTreeMap<Arc<str>, Vec<ImportError>>;

/// What could not be written is tried again so often.
const WRITE_AGAIN_EVERY: Duration = Duration::from_secs(2);

/// Keeps the engine's DAGs as a folder has them.
pub struct Loader {
    /// The folder.
    pub folder: Folder,
    /// Where import errors are kept.
    pub store: Arc<dyn Store>,
    /// Who is told of DAGs.
    pub leader: Handle,
    /// Whether a new DAG begins paused, where it does not say itself.
    pub paused_at_creation: bool,
}

impl Loader {
    /// Runs for as long as the server does.
    pub async fn run(self) {
        let (sender, mut events) = mpsc::channel(256);
        let mut folder = self.folder.clone();
        let namespace = folder.namespace.clone();
        // What earlier servers read from this folder: a file may have gone while nobody looked.
        let mut known = self.known(&namespace).await;
        let wrong_before = self.wrong(&namespace).await;
        let mut unwritten: Unwritten = BTreeMap::new();
        let mut boot = Boot::of_this_machine();
        let mut again = tokio::time::interval(WRITE_AGAIN_EVERY);
        folder.owners = known.clone();
        tokio::spawn(watch(folder, sender));
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = again.tick(), if !unwritten.is_empty() => {
                    self.write_errors(&namespace, &mut unwritten).await;
                    continue;
                }
            };
            let Some(event) = event else { break };
            match event {
                Event::Changed { source, dags, mut errors, named } => {
                    for read in dags {
                        known.insert(read.spec.dag_id.clone(), source.clone());
                        errors.extend(self.put(read, &source).await);
                    }
                    if !errors.is_empty() {
                        warn!(%source, message = message(&errors), "a DAG file can't be read");
                    }
                    unwritten.insert(source.clone(), errors);
                    let named = named.as_ref();
                    let gone = |dag: &DagId, from: &Arc<str>| {
                        *from == source && named.is_some_and(|n| !n.contains(dag))
                    };
                    self.retire(&namespace, &mut known, gone).await;
                }
                Event::Removed { source } => {
                    unwritten.insert(source.clone(), Vec::new());
                    self.retire(&namespace, &mut known, |_, from| *from == source).await;
                }
                Event::Scanned { sources } => {
                    self.retire(&namespace, &mut known, |_, from| !sources.contains(from)).await;
                    let gone = wrong_before.iter().filter(|source| !sources.contains(source));
                    unwritten.extend(gone.map(|source| (source.clone(), Vec::new())));
                    if let Some(boot) = boot.take() {
                        self.run_at_boot(&namespace, &boot).await;
                    }
                }
            }
            self.write_errors(&namespace, &mut unwritten).await;
        }
        warn!(%namespace, "DAG files are no longer watched");
    }

    async fn known(&self, namespace: &Namespace) -> BTreeMap<DagId, Arc<str>> {
        loop {
            let namespace = namespace.clone();
            let known = self.leader.ask(move |engine| {
                // What came by the API belongs to no file.
                let from_file = |source: &str| source != API;
                let here = engine.dags().filter(|(row, _)| row.key.namespace == namespace && !row.is_stale);
                let here = here.filter(|(row, _)| from_file(&row.source));
                here.map(|(row, _)| (row.key.dag_id.clone(), row.source.as_str().into())).collect()
            });
            match known.await {
                Ok(known) => return known,
                Err(_) => tokio::time::sleep(TRY_AGAIN_AFTER).await,
            }
        }
    }

    /// The sources of which an earlier server said that something is wrong with them.
    async fn wrong(&self, namespace: &Namespace) -> Vec<Arc<str>> {
        let has_git = self.folder.git.is_some();
        loop {
            match self.store.import_errors(namespace, &TextFilter::default(), Window::ALL).await {
                // What is wrong with a repository itself, whoever fetches it says.
                Ok(page) => {
                    let rows = page
                        .rows
                        .into_iter()
                        .filter(|row| !(has_git && row.source.starts_with(SOURCE_PREFIX)));
                    return rows.map(|row| row.source.into()).collect();
                }
                Err(error) => warn!(%error, "can't read what was wrong with DAG files; trying again"),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    /// Puts a DAG; what is wrong with it, where the engine refuses it.
    async fn put(&self, read: Read, source: &Arc<str>) -> Option<ImportError> {
        let dag_id = read.spec.dag_id.clone();
        for warning in &read.warnings {
            warn!(%warning, "a DAG file has something without effect");
        }
        let command = Command::PutDag {
            spec: read.spec,
            hash: read.hash,
            source: source.to_string(),
            paused: self.paused_at_creation,
        };
        match self.obey(command).await {
            Ok(Reply::Version(version, true)) => {
                info!(%dag_id, version, %source, "a DAG is new or has changed");
                None
            }
            Ok(_) => None,
            Err(error) => Some(ImportError {
                file: source.clone(),
                path: dag_id.to_string(),
                dag_id: Some(dag_id),
                line: read.position.map(|(line, _)| line),
                column: read.position.map(|(_, column)| column),
                message: error.to_string(),
            }),
        }
    }

    /// Retires the DAGs that are gone from their files.
    async fn retire(
        &self,
        namespace: &Namespace,
        known: &mut BTreeMap<DagId, Arc<str>>,
        is_gone: impl Fn(&DagId, &Arc<str>) -> bool,
    ) {
        let gone: Vec<DagId> =
            known.iter().filter(|(dag, from)| is_gone(dag, from)).map(|(dag, _)| dag.clone()).collect();
        for dag_id in gone {
            known.remove(&dag_id);
            let key = DagKey { namespace: namespace.clone(), dag_id: dag_id.clone() };
            match self.obey(Command::RetireDag(key)).await {
                Ok(_) => info!(%dag_id, "a DAG is gone from its file"),
                Err(CommandError::NotFound(_)) => {}
                Err(error) => warn!(%dag_id, %error, "a DAG that is gone could not be retired"),
            }
        }
    }

    /// Has a command obeyed, waiting for a leader where there is none.
    async fn obey(&self, command: Command) -> Result<Reply, CommandError> {
        loop {
            match self.leader.command(BY, command.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(Refusal::Command(error)) => return Err(error),
                Err(Refusal::TryAgain | Refusal::NoLeader) => tokio::time::sleep(TRY_AGAIN_AFTER).await,
            }
        }
    }

    /// Writes what is wrong with sources, or that nothing is. What can't be written now stays.
    async fn write_errors(&self, namespace: &Namespace, unwritten: &mut Unwritten) {
        let mut away = false;
        for (source, errors) in std::mem::take(unwritten) {
            // While the database is away, there is no use in asking for each.
            let written = match away {
                true => false,
                false => match self.write_error(namespace, &source, &errors).await {
                    Ok(()) => true,
                    Err(error) => {
                        warn!(%error, %source, "could not keep what is wrong with a DAG file; trying again");
                        away = error.is_retryable();
                        false
                    }
                },
            };
            if !written {
                unwritten.insert(source, errors);
            }
        }
    }

    async fn write_error(
        &self,
        namespace: &Namespace,
        source: &str,
        errors: &[ImportError],
    ) -> Result<(), Error> {
        match errors {
            [] => self.store.delete_import_error(namespace, source).await.map(drop),
            [first, ..] => {
                self.store.put_import_error(namespace, source, &message(errors), first.line, now()).await
            }
        }
    }
}

fn message(errors: &[ImportError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::watch;
    use updraft_core::{DagSpec, EdgeSpec};
    use updraft_store::MemoryStore;

    use super::*;
    use crate::leader::{Leader, Surroundings, channel};

    #[tokio::test]
    async fn a_dag_that_the_engine_refuses_is_an_import_error() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let hour = Duration::from_secs(3600);
        let fence = store.acquire_leadership("test", "", hour).await.unwrap().unwrap();
        let (_certain, certain_until) = watch::channel(Instant::now() + hour);
        let (leader, inbox) = channel();
        let (deliveries, workers) = (mpsc::unbounded_channel().0, Arc::default());
        let logs = Arc::new(crate::logs::LogFolder::new("logs"));
        let base_url = String::new();
        let around = Surroundings {
            store: store.clone(),
            fence,
            certain_until,
            workers,
            deliveries,
            logs,
            base_url,
            git: None,
        };
        let leads = Leader::take_over(updraft_core::Config::default(), inbox, around).await;
        tokio::spawn(leads.map_err(|(error, _)| error).unwrap().run());
        let folder = Folder {
            root: Some("dags".into()),
            above: Vec::new(),
            namespace: Namespace::default(),
            check: Arc::new(crate::authoring::native),
            variable: Arc::new(|_| None),
            owners: BTreeMap::new(),
            look_every: hour,
            git: None,
            deployed: None,
        };
        let loader = Loader { folder, store: store.clone(), leader, paused_at_creation: false };
        let mut spec = DagSpec::new("d");
        spec.edges = vec![EdgeSpec::new("a", "b")];
        let read =
            Read { spec: Arc::new(spec), hash: "h".into(), position: Some((3, 1)), warnings: Vec::new() };
        let error = loader.put(read, &"dags/d.yml".into()).await.unwrap();
        assert!(error.to_string().starts_with("dags/d.yml:3:1: d: task `b` names `a`"), "{error}");
        let mut unwritten = BTreeMap::from([(error.file.clone(), vec![error])]);
        loader.write_errors(&Namespace::default(), &mut unwritten).await;
        let kept = store.import_errors(&Namespace::default(), &TextFilter::default(), Window::ALL).await;
        assert_eq!((kept.unwrap().rows[0].line, unwritten.len()), (Some(3), 0));
    }
}
