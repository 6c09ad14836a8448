//! What people and programs ask for. A command is obeyed whole or not at all.

mod dags;
mod runs;
mod tis;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Engine;
use crate::{
    AssetId, DagKey, Namespace, RunId, RunKey, TiKey,
    input::{Clear, Command, CommandError, Effect, PutAssetEvent, Reply, Trigger, WhichAsset},
    record::{AuditRow, PoolRow},
};

/// What has to be in mind before a command can be obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// This run.
    Run(RunKey),
    /// The run of this name, if there is one.
    RunId(DagKey, RunId),
    /// The event of this asset that was told under this key, if there is one: to be told with
    /// [`crate::input::Input::AssetEventKnown`].
    AssetEvent(AssetId, String),
}

impl Engine {
    /// The runs that `command` is about and that the engine does not have in mind: to be told with
    /// [`crate::input::Input::Loaded`] before the command, where the store has them.
    pub fn needs(&self, command: &Command) -> Vec<Need> {
        let run = |key: &RunKey| match self.runs.contains_key(key) {
            true => Vec::new(),
            false => vec![Need::Run(*key)],
        };
        match command {
            Command::Trigger(Trigger { dag, run_id: Some(run_id), .. }) => self.need_of_name(dag, run_id),
            // One that is over may have the name that this time gives.
            Command::Trigger(Trigger { dag, run_type, run_after: Some(run_after), .. }) => {
                self.need_of_name(dag, &runs::plain_run_id(*run_type, *run_after))
            }
            Command::DeleteRun(key) | Command::MarkRun { run: key, .. } => run(key),
            Command::Clear(Clear { run: key, .. }) => run(key),
            Command::Mark { tis, .. } => tis.first().map(|ti| run(&ti.run)).unwrap_or_default(),
            Command::Pause(ti) | Command::Continue(ti) | Command::Stop(ti) => run(&ti.run),
            Command::PutXcom { ti, .. } | Command::DeleteXcom { ti, .. } => run(&ti.run),
            Command::PutAssetEvent(PutAssetEvent { namespace, asset, key: Some(key), .. }) => {
                let asset = self.find_asset(namespace, asset).map(|row| row.id);
                let known = |asset| self.event_keys.contains_key(&(asset, key.clone()));
                asset
                    .filter(|asset| !known(*asset))
                    .map(|asset| Need::AssetEvent(asset, key.clone()))
                    .into_iter()
                    .collect()
            }
            Command::PutAssetEvent(_)
            | Command::PutDag { .. }
            | Command::RetireDag(_)
            | Command::DeleteDag(_)
            | Command::PauseDag { .. }
            | Command::PauseAll { .. }
            | Command::Trigger(_)
            | Command::TestAlerts { .. }
            | Command::DropQueuedEvents { .. }
            | Command::PutPool(_)
            | Command::DeletePool(..) => Vec::new(),
        }
    }

    fn need_of_name(&self, dag: &DagKey, run_id: &RunId) -> Vec<Need> {
        match self.run_ids.contains_key(&(dag.clone(), run_id.clone())) {
            true => Vec::new(),
            false => vec![Need::RunId(dag.clone(), run_id.clone())],
        }
    }

    pub(super) fn on_command(&mut self, now: Timestamp, id: u64, by: &str, command: Command) {
        let entry = self.entry_of(now, by, &command);
        let reply = self.obey(now, by, command);
        if let (Ok(done), Some(mut entry)) = (&reply, entry) {
            if let Reply::Run(key, _) = done {
                entry.run = Some(*key);
            }
            self.out.batch.audit.push(entry);
        }
        self.out.effects.push(Effect::Reply { id, reply });
    }

    /// What the audit log is to say about a command. It is asked before the command is obeyed: a run that is deleted
    /// tells no more whose it was.
    fn entry_of(&self, now: Timestamp, by: &str, command: &Command) -> Option<AuditRow> {
        let (action, concerns, detail) = audit_of(command)?;
        let (namespace, dag, run) = match concerns {
            Concerns::All => (None, None, None),
            Concerns::Namespace(namespace) => (Some(namespace), None, None),
            Concerns::Dag(dag) => (Some(dag.namespace), Some(dag.dag_id), None),
            Concerns::Run(run) => {
                let dag = self.runs.get(&run).map(|run| run.row.dag.clone());
                let (namespace, dag) = dag.map(|dag| (dag.namespace, dag.dag_id)).unzip();
                (namespace, dag, Some(run))
            }
        };
        Some(AuditRow { at: now, user: by.into(), action: action.into(), namespace, dag, run, detail })
    }

    fn obey(&mut self, now: Timestamp, by: &str, command: Command) -> Result<Reply, CommandError> {
        match command {
            Command::PutDag { spec, hash, source, paused } => self.put_dag(now, &spec, hash, source, paused),
            Command::RetireDag(key) => self.retire_dag(&key),
            Command::DeleteDag(key) => self.delete_dag(now, &key),
            Command::PauseDag { dag, paused } => self.pause_dag(now, &dag, paused),
            Command::PauseAll { paused } => Ok(self.pause_all(now, paused)),
            Command::Trigger(trigger) => self.trigger(now, by, trigger),
            Command::DeleteRun(key) => self.delete_run(now, key),
            Command::MarkRun { run, state } => self.mark_run(now, run, state),
            Command::Clear(clear) => self.clear(now, &clear),
            Command::Mark { tis, state } => self.mark(now, &tis, state),
            Command::Pause(key) => self.pause(now, key),
            Command::Continue(key) => self.go_on(now, key),
            Command::Stop(key) => self.stop(now, key, by),
            Command::PutXcom { ti, key, value } => self.put_xcom(now, ti, key, value),
            Command::DeleteXcom { ti, key } => self.delete_xcom(ti, key),
            Command::TestAlerts { dag, task } => self.test_alerts(now, by, &dag, task.as_ref()),
            Command::PutAssetEvent(told) => self.put_asset_event(now, by, told),
            Command::DropQueuedEvents { namespace, dag, asset, before } => {
                Ok(self.drop_queued_events(&namespace, dag.as_ref(), asset, before))
            }
            Command::PutPool(row) => self.set_pool(now, row),
            Command::DeletePool(namespace, name) => self.delete_pool(namespace, name),
        }
    }

    pub(super) fn no_dag(key: &DagKey) -> CommandError {
        CommandError::NotFound(format!("there is no DAG `{key}`"))
    }

    fn no_run(key: RunKey) -> CommandError {
        CommandError::NotFound(format!("there is no run number {key}"))
    }

    fn no_ti(key: TiKey) -> CommandError {
        CommandError::NotFound(format!("run number {} has no such task instance", key.run))
    }
}

/// What a command is about.
enum Concerns {
    All,
    Namespace(Namespace),
    Dag(DagKey),
    Run(RunKey),
}

type Note = (&'static str, Concerns, Value);

/// What the audit log says about a command; nothing, where a file's change is its own record.
fn audit_of(command: &Command) -> Option<Note> {
    use Concerns::{All, Dag, Run};
    let note = match command {
        Command::PutDag { .. } | Command::RetireDag(_) => return None,
        Command::Clear(clear) if clear.dry_run => return None,
        Command::DeleteDag(dag) => ("delete_dag", Dag(dag.clone()), Value::Null),
        Command::PauseDag { dag, paused: true } => ("pause_dag", Dag(dag.clone()), Value::Null),
        Command::PauseDag { dag, paused: false } => ("unpause_dag", Dag(dag.clone()), Value::Null),
        Command::PauseAll { paused: true } => ("pause_all", All, Value::Null),
        Command::PauseAll { paused: false } => ("unpause_all", All, Value::Null),
        Command::Trigger(t) => ("trigger", Dag(t.dag.clone()), json!({"conf": &*t.conf, "tasks": &t.tasks})),
        Command::DeleteRun(run) => ("delete_run", Run(*run), Value::Null),
        Command::MarkRun { run, state } => ("mark_run", Run(*run), json!({"state": state})),
        Command::Clear(clear) => {
            let tasks: Vec<_> = clear.tasks.iter().map(|(task, _)| task).collect();
            ("clear", Run(clear.run), json!({"tasks": tasks, "only_failed": clear.only_failed}))
        }
        Command::Mark { tis, state } => {
            let of = tis.first().map_or(All, |ti| Run(ti.run));
            ("mark", of, json!({"task_instances": tis, "state": state}))
        }
        Command::Pause(ti) => ("pause", Run(ti.run), json!(ti)),
        Command::Continue(ti) => ("continue", Run(ti.run), json!(ti)),
        Command::Stop(ti) => ("stop", Run(ti.run), json!(ti)),
        Command::PutXcom { ti, key, .. } => {
            ("put_xcom", Run(ti.run), json!({"task_instance": ti, "key": key}))
        }
        Command::DeleteXcom { ti, key } => {
            ("delete_xcom", Run(ti.run), json!({"task_instance": ti, "key": key}))
        }
        Command::TestAlerts { dag, task } => ("test_alerts", Dag(dag.clone()), json!({"task_id": task})),
        Command::PutAssetEvent(told) => {
            let asset = match &told.asset {
                WhichAsset::Id(id) => json!(id),
                WhichAsset::Uri(uri) => json!(uri),
            };
            let of = Concerns::Namespace(told.namespace.clone());
            ("put_asset_event", of, json!({"asset": asset, "key": told.key}))
        }
        Command::DropQueuedEvents { namespace, dag, asset, before } => {
            let of = match dag {
                Some(dag) => Dag(DagKey::new(namespace.clone(), dag.clone())),
                None => Concerns::Namespace(namespace.clone()),
            };
            ("drop_queued_events", of, json!({"asset": asset, "before": before}))
        }
        Command::PutPool(PoolRow {
            namespace,
            name,
            slots,
            rate,
            next_at: _,
            description,
            include_deferred,
        }) => {
            let detail = json!({
                "name": name,
                "slots": slots,
                "rate": rate.map(|rate| rate.to_string()),
                "description": description,
                "include_deferred": include_deferred,
            });
            ("put_pool", Concerns::Namespace(namespace.clone()), detail)
        }
        Command::DeletePool(namespace, name) => {
            ("delete_pool", Concerns::Namespace(namespace.clone()), json!({"name": name}))
        }
    };
    Some(note)
}
