//! From a folder of DAG files to the engine: what is read becomes commands, what can't be read an import
//! error.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tracing::{info, warn};
use updraft_core::{
    DagId, DagKey, Namespace,
    input::{Command, CommandError, Reply},
};
use updraft_store::Store;

use crate::{
    authoring::{Event, Folder, ImportError, Read, watch},
    leader::{Handle, Refusal, now},
};

/// Under this name the audit log has what files bring about.
const BY: &str = "dag-files";

/// The source of DAGs that were put by the API.
pub const API: &str = "api";

/// Where nobody leads at the moment, it is tried again after this time.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

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
        folder.owners = known.clone();
        let root = folder.root.clone();
        tokio::spawn(watch(folder, sender));
        while let Some(event) = events.recv().await {
            match event {
                Event::Changed { source, dags, errors, named } => {
                    self.tell_errors(&namespace, &source, &errors).await;
                    for read in dags {
                        known.insert(read.spec.dag_id.clone(), source.clone());
                        self.put(read, &source).await;
                    }
                    let named = named.as_ref();
                    let gone = |dag: &DagId, from: &Arc<str>| {
                        *from == source && named.is_some_and(|n| !n.contains(dag))
                    };
                    self.retire(&namespace, &mut known, gone).await;
                }
                Event::Removed { source } => {
                    self.tell_errors(&namespace, &source, &[]).await;
                    self.retire(&namespace, &mut known, |_, from| *from == source).await;
                }
                Event::Scanned { sources } => {
                    self.retire(&namespace, &mut known, |_, from| !sources.contains(from)).await;
                }
            }
        }
        warn!(folder = %root.display(), "the folder of DAG files is no longer watched");
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

    async fn put(&self, read: Read, source: &str) {
        let dag_id = read.spec.dag_id.clone();
        for warning in &read.warnings {
            warn!(%warning, "a DAG file has something without effect");
        }
        let command = Command::PutDag {
            spec: read.spec,
            hash: read.hash,
            source: source.into(),
            paused: self.paused_at_creation,
        };
        match self.obey(command).await {
            Ok(Reply::Version(version, true)) => {
                info!(%dag_id, version, source, "a DAG is new or has changed")
            }
            Ok(_) => {}
            Err(error) => warn!(%dag_id, source, %error, "a DAG was refused"),
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

    async fn tell_errors(&self, namespace: &Namespace, source: &str, errors: &[ImportError]) {
        let told = match errors {
            [] => self.store.delete_import_error(namespace, source).await.map(drop),
            [first, ..] => {
                let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                warn!(source, message, "a DAG file can't be read");
                self.store.put_import_error(namespace, source, &message, first.line, now()).await
            }
        };
        if let Err(error) = told {
            warn!(%error, source, "could not keep what is wrong with a DAG file");
        }
    }
}
