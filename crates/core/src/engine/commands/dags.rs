//! Commands about DAGs.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::{Engine, dispatch::Limit, runs::Spared};
use crate::{
    Dag, DagKey, DagSpec, End,
    input::{CommandError, Reply},
    record::{DagRow, DagVersionRow},
};

impl Engine {
    pub(super) fn put_dag(
        &mut self,
        now: Timestamp,
        spec: &Arc<DagSpec>,
        hash: String,
        source: String,
        paused: bool,
    ) -> Result<Reply, CommandError> {
        let key = DagKey { namespace: spec.namespace.clone(), dag_id: spec.dag_id.clone() };
        if let Some(known) = self.dags.get_mut(&key).filter(|known| known.hash == hash) {
            let version = known.row.version;
            if known.row.is_stale || known.row.source != source {
                known.row.is_stale = false;
                known.row.source = source;
                self.changed.dags.insert(key.clone());
                self.plan_tick(now, &key);
                self.run_of_events(now, &key);
            }
            return Ok(Reply::Version(version, false));
        }
        let dag = Dag::compile((**spec).clone()).map_err(|error| CommandError::Invalid(error.to_string()))?;
        let dag = Arc::new(dag);
        self.ensure_default_pool(now, &key);
        let version = self.dags.get(&key).map_or(1, |known| known.row.version + 1);
        self.out.batch.versions.push(DagVersionRow {
            key: key.clone(),
            version,
            hash: hash.clone(),
            spec: spec.clone(),
            created_at: now,
        });
        match self.dags.get_mut(&key) {
            Some(known) => {
                known.row = DagRow { version, is_stale: false, source, ..known.row.clone() };
                known.dag = dag.clone();
                known.hash = hash;
            }
            None => {
                let row = DagRow {
                    key: key.clone(),
                    version,
                    is_paused: spec.is_paused_upon_creation.unwrap_or(paused),
                    is_stale: false,
                    source,
                    last_tick: None,
                    next_tick: None,
                    events_run_at: None,
                    consecutive_failures: 0,
                };
                self.insert_dag(row, dag.clone(), hash);
            }
        }
        self.changed.dags.insert(key.clone());
        self.note_assets(now, &key, &dag);
        self.plan_tick(now, &key);
        self.begin_runs(now, &key);
        Ok(Reply::Version(version, true))
    }

    pub(super) fn retire_dag(&mut self, key: &DagKey) -> Result<Reply, CommandError> {
        let dag = self.dags.get_mut(key).ok_or_else(|| Self::no_dag(key))?;
        dag.row.is_stale = true;
        dag.row.next_tick = None;
        self.changed.dags.insert(key.clone());
        Ok(Reply::Done)
    }

    pub(super) fn delete_dag(&mut self, now: Timestamp, key: &DagKey) -> Result<Reply, CommandError> {
        if !self.dags.contains_key(key) {
            return Err(Self::no_dag(key));
        }
        // First of all, so that no run of it begins in the place of one that goes.
        self.dags.remove(key);
        for run in self.runs_of(key) {
            self.erase_run(now, run);
        }
        let batch = &mut self.out.batch;
        batch.versions.retain(|version| version.key != *key);
        batch.ticks.retain(|(dag, _), _| dag != key);
        batch.stats.retain(|(dag, _), _| dag != key);
        batch.queued_events.retain(|(dag, _), _| dag != key);
        batch.dropped_events.retain(|(dag, _)| dag != key);
        batch.deleted_dags.insert(key.clone());
        Ok(Reply::Done)
    }

    /// Takes a run out of mind and out of everything that is still to be written.
    pub(super) fn erase_run(&mut self, now: Timestamp, key: crate::RunKey) {
        self.stop_run(now, key, End::Failed, Spared::Nothing, "the run was deleted");
        let Some(run) = self.runs.remove(&key) else { return };
        self.leave_no_past(&run);
        if let Some(dag) = self.dags.get_mut(&run.row.dag) {
            dag.running.remove(&key);
            dag.queued.remove(&(run.row.run_after, key));
            if let Some(range) = dag.last_range.as_mut().filter(|range| range.run == Some(key)) {
                range.run = None;
            }
        }
        let batch = &mut self.out.batch;
        batch.history.retain(|ti| ti.key.run != key);
        batch.transitions.retain(|transition| transition.ti.run != key);
        batch.xcoms.retain(|xcom| xcom.ti.run != key);
        batch.rendered.retain(|ti, _| ti.run != key);
        batch.deliveries.retain(|delivery| delivery.run != Some(key));
        // What was queued before is in the store already, and makes no other run.
        let of_run = batch.queued_events.iter().filter(|(_, run)| **run == Some(key));
        let of_run: Vec<_> = of_run.map(|(event, _)| event.clone()).collect();
        batch.queued_events.retain(|_, run| *run != Some(key));
        batch.dropped_events.extend(of_run);
        batch.deleted_runs.insert(key);
        self.begin_runs(now, &run.row.dag);
        self.on_tick_due(now, &run.row.dag);
    }

    pub(super) fn pause_dag(
        &mut self,
        now: Timestamp,
        key: &DagKey,
        paused: bool,
    ) -> Result<Reply, CommandError> {
        let dag = self.dags.get_mut(key).ok_or_else(|| Self::no_dag(key))?;
        if dag.row.is_paused == paused {
            return Ok(Reply::Done);
        }
        dag.row.is_paused = paused;
        dag.row.consecutive_failures = 0;
        self.changed.dags.insert(key.clone());
        if !paused {
            self.go_on_with(now, key);
        }
        Ok(Reply::Done)
    }

    pub(super) fn pause_all(&mut self, now: Timestamp, paused: bool) -> Reply {
        if self.paused == paused {
            return Reply::Done;
        }
        self.paused = paused;
        self.out.batch.paused = Some(paused);
        if !paused {
            let keys: Vec<DagKey> = self.dags.keys().cloned().collect();
            for key in keys {
                self.go_on_with(now, &key);
            }
        }
        Reply::Done
    }

    /// Begins what waits in a DAG that was paused, unless it still is.
    fn go_on_with(&mut self, now: Timestamp, key: &DagKey) {
        if self.is_paused(key) {
            return;
        }
        let running: Vec<_> =
            self.dags.get(key).map(|dag| dag.running.iter().copied().collect()).unwrap_or_default();
        for run in running {
            let Some(tasks) = self.runs.get(&run).map(|run| run.dag.tasks()) else { continue };
            self.todo.extend(tasks.map(|task| (run, task)));
            self.touched.insert(run);
        }
        self.unpark(&Limit::Paused(key.clone()));
        self.begin_runs(now, key);
        self.plan_tick(now, key);
        self.on_tick_due(now, key);
    }

    /// Whether nothing new may begin in a DAG.
    pub(in crate::engine) fn is_paused(&self, key: &DagKey) -> bool {
        self.paused || self.dags.get(key).is_some_and(|dag| dag.row.is_paused)
    }
}
