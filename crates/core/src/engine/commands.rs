//! What people and programs ask for. A command is obeyed whole or not at all.

mod dags;
mod runs;
mod tis;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Engine, restore::DEFAULT_POOL};
use crate::{
    AssetId, DagKey, Namespace, PoolName, RunId, RunKey, TiKey,
    input::{Clear, Command, CommandError, Effect, PutAssetEvent, Reply, Trigger, WhichAsset},
    record::AuditRow,
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
        let note = audit_of(&command);
        let reply = self.obey(now, by, command);
        if let (Ok(_), Some((action, dag, run, detail))) = (&reply, note) {
            let dag = dag.or_else(|| self.runs.get(&run?).map(|run| run.row.dag.clone()));
            let run = match reply {
                Ok(Reply::Run(key, _)) => Some(key),
                Ok(_) | Err(_) => run,
            };
            let row = AuditRow { at: now, user: by.into(), action: action.into(), dag, run, detail };
            self.out.batch.audit.push(row);
        }
        self.out.effects.push(Effect::Reply { id, reply });
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
            Command::PutPool(row) => self.set_pool(row),
            Command::DeletePool(namespace, name) => self.delete_pool(namespace, name),
        }
    }

    fn set_pool(&mut self, row: crate::record::PoolRow) -> Result<Reply, CommandError> {
        let key = (row.namespace.clone(), row.name.clone());
        if row.name.is_empty() {
            return Err(CommandError::Invalid("a pool needs a name".into()));
        }
        self.out.batch.deleted_pools.remove(&key);
        self.out.batch.pools.insert(key.clone(), row.clone());
        self.put_pool(row);
        self.recount_pool(&key);
        self.unpark(&super::dispatch::Limit::Pool(key.0, key.1));
        Ok(Reply::Done)
    }

    fn delete_pool(&mut self, namespace: Namespace, name: PoolName) -> Result<Reply, CommandError> {
        if &*name == DEFAULT_POOL {
            return Err(CommandError::Invalid(format!(
                "`{DEFAULT_POOL}` can't be deleted; set its slots instead"
            )));
        }
        let key = (namespace, name);
        match self.pools.remove(&key) {
            Some(_) => {
                self.out.batch.pools.remove(&key);
                self.out.batch.deleted_pools.insert(key);
                Ok(Reply::Done)
            }
            None => Err(CommandError::NotFound(format!("there is no pool `{}`", key.1))),
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

type Note = (&'static str, Option<DagKey>, Option<RunKey>, Value);

/// What the audit log says about a command; nothing, where a file's change is its own record.
fn audit_of(command: &Command) -> Option<Note> {
    let note = match command {
        Command::PutDag { .. } | Command::RetireDag(_) => return None,
        Command::Clear(clear) if clear.dry_run => return None,
        Command::DeleteDag(dag) => ("delete_dag", Some(dag.clone()), None, Value::Null),
        Command::PauseDag { dag, paused: true } => ("pause_dag", Some(dag.clone()), None, Value::Null),
        Command::PauseDag { dag, paused: false } => ("unpause_dag", Some(dag.clone()), None, Value::Null),
        Command::PauseAll { paused: true } => ("pause_all", None, None, Value::Null),
        Command::PauseAll { paused: false } => ("unpause_all", None, None, Value::Null),
        Command::Trigger(t) => {
            ("trigger", Some(t.dag.clone()), None, json!({"conf": &*t.conf, "tasks": &t.tasks}))
        }
        Command::DeleteRun(run) => ("delete_run", None, Some(*run), Value::Null),
        Command::MarkRun { run, state } => ("mark_run", None, Some(*run), json!({"state": state})),
        Command::Clear(clear) => {
            let tasks: Vec<_> = clear.tasks.iter().map(|(task, _)| task).collect();
            ("clear", None, Some(clear.run), json!({"tasks": tasks, "only_failed": clear.only_failed}))
        }
        Command::Mark { tis, state } => {
            let run = tis.first().map(|ti| ti.run);
            ("mark", None, run, json!({"task_instances": tis, "state": state}))
        }
        Command::Pause(ti) => ("pause", None, Some(ti.run), json!(ti)),
        Command::Continue(ti) => ("continue", None, Some(ti.run), json!(ti)),
        Command::Stop(ti) => ("stop", None, Some(ti.run), json!(ti)),
        Command::PutXcom { ti, key, .. } => {
            ("put_xcom", None, Some(ti.run), json!({"task_instance": ti, "key": key}))
        }
        Command::DeleteXcom { ti, key } => {
            ("delete_xcom", None, Some(ti.run), json!({"task_instance": ti, "key": key}))
        }
        Command::TestAlerts { dag, task } => {
            ("test_alerts", Some(dag.clone()), None, json!({"task_id": task}))
        }
        Command::PutAssetEvent(told) => {
            let asset = match &told.asset {
                WhichAsset::Id(id) => json!(id),
                WhichAsset::Uri(uri) => json!(uri),
            };
            ("put_asset_event", None, None, json!({"asset": asset, "extra": &*told.extra, "key": told.key}))
        }
        Command::DropQueuedEvents { namespace, dag, asset, before } => {
            let dag = dag.as_ref().map(|dag| DagKey::new(namespace.clone(), dag.clone()));
            ("drop_queued_events", dag, None, json!({"asset": asset, "before": before}))
        }
        Command::PutPool(pool) => ("put_pool", None, None, json!(pool)),
        Command::DeletePool(_, name) => ("delete_pool", None, None, json!({"name": name})),
    };
    Some(note)
}
