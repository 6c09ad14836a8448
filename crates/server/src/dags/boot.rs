//! Runs after a start of the machine: cron's `@reboot`.
//!
//! A run has the start of the machine in its name, so that it is made once, whatever is killed meanwhile. Which
//! start was the last one is noted for each machine when all its runs are made: a DAG that comes later has its first
//! run after the next start, as a line that is added to a crontab has.

use std::sync::Arc;

use serde_json::json;
use tracing::{info, warn};
use updraft_core::{
    DagKey, Namespace,
    input::{Command, CommandError, Trigger},
    record::RunType,
    schedule::Schedule,
};

use super::{BY, Loader, TRY_AGAIN_AFTER};
use crate::accounts::{audit, digest};

/// A start of a machine.
pub(super) struct Boot {
    machine: String,
    id: String,
}

impl Boot {
    /// That of this machine; `None` where the system does not say.
    pub fn of_this_machine() -> Option<Self> {
        let read = |path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let id = read("/proc/sys/kernel/random/boot_id").filter(|id| !id.is_empty())?;
        let machine = read("/etc/machine-id").filter(|id| !id.is_empty());
        // The id itself is not to be shown (machine-id(5)).
        let machine = machine.map_or_else(|| "here".into(), |id| digest(&format!("updraft boot {id}")));
        Some(Self { machine, id })
    }

    /// Where the last one is noted.
    fn key(&self) -> String {
        format!("boot/{}", self.machine)
    }
}

impl Loader {
    /// Makes the runs of DAGs with `@reboot`, where the machine has started since this was last asked. The first time
    /// nobody knows of a start before, and none is made.
    pub(super) async fn run_at_boot(&self, namespace: &Namespace, boot: &Boot) {
        let before = loop {
            match self.store.config(&boot.key()).await {
                Ok(before) => break before,
                Err(error) => warn!(%error, "can't read when the machine last started; trying again"),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        };
        if before.as_ref() == Some(&boot.id) {
            return;
        }
        if before.is_some() {
            for dag in self.at_boot(namespace).await {
                self.trigger_at_boot(dag, boot).await;
            }
        }
        loop {
            let audit = audit(BY, "boot", json!({ "machine": &boot.machine }));
            match self.store.put_config(&boot.key(), Some(&boot.id), &audit).await {
                Ok(()) => return,
                Err(error) => warn!(%error, "can't note that the machine has started; trying again"),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    /// The DAGs that run after a start. Those that are paused do not, as with cron one that is commented out.
    async fn at_boot(&self, namespace: &Namespace) -> Vec<DagKey> {
        loop {
            let namespace = namespace.clone();
            let found = self.leader.ask(move |engine| {
                let here = engine.dags().filter(|(row, dag)| {
                    row.key.namespace == namespace
                        && !row.is_stale
                        && !row.is_paused
                        && *dag.spec().schedule.without_holidays() == Schedule::AtBoot
                });
                here.map(|(row, _)| row.key.clone()).collect()
            });
            match found.await {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(TRY_AGAIN_AFTER).await,
            }
        }
    }

    async fn trigger_at_boot(&self, dag: DagKey, boot: &Boot) {
        let trigger = Trigger {
            dag: dag.clone(),
            run_id: Some(format!("reboot__{}", boot.id).into()),
            logical_date: None,
            data_interval: None,
            run_after: None,
            conf: Arc::new(json!({})),
            tasks: Vec::new(),
            run_type: RunType::Scheduled,
            triggered_by: "timetable",
        };
        match self.obey(Command::Trigger(trigger)).await {
            Ok(_) => info!(%dag, "the machine has started, and a run is made"),
            // By a server that was gone before it could note that all were.
            Err(CommandError::Conflict(_)) => {}
            Err(error) => warn!(%dag, %error, "no run was made for the start of the machine"),
        }
    }
}
