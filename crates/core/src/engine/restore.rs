//! The engine made anew from what the store has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Config, DagState, Engine, RefusedVersion, Timer, dispatch::slots_of, queued_events::QueuedEvents,
    run::Run, run::is_active, run::takes_pool_slots, runs::Spared, workers::Worker,
};
use crate::{
    AttemptId, Dag, DagKey, DagSpec, End, Incarnation, InvalidDag, RunKey, RunState, TaskKind, TaskSpec,
    TiState, Wait,
    record::{DagVersionRow, QueuedEvent, RunSnapshot, Snapshot},
};

/// A DAG with the places of one that can't be had, so that its task instances can be ended.
fn stand_in(spec: &DagSpec) -> Result<Dag, InvalidDag> {
    let mut stand_in = DagSpec::new(spec.dag_id.clone());
    stand_in.namespace = spec.namespace.clone();
    let task = |n| TaskSpec::new(format!("{n}"), "EmptyOperator", TaskKind::Empty);
    stand_in.tasks = (0..spec.tasks.len()).map(task).collect();
    Dag::compile(stand_in)
}

impl Engine {
    /// An engine that goes on where the one that wrote this left off. Every worker that had something is
    /// granted a full lease from `now` on to say that it still has it.
    ///
    /// A version that this program can't run, though an earlier one could, is told in
    /// [`Output::refused`](super::Output::refused): its runs fail with the reason, and its DAG is stale until a
    /// version comes that is good.
    pub fn restore(config: Config, snapshot: Snapshot, now: Timestamp) -> Self {
        let mut engine = Self::new(config);
        engine.last_run = snapshot.last_run;
        engine.last_delivery = snapshot.last_delivery;
        engine.last_asset_event = snapshot.last_asset_event;
        engine.paused = snapshot.paused;
        for row in snapshot.pools {
            engine.put_pool(now, row);
        }
        let mut versions: BTreeMap<(DagKey, u32), DagVersionRow> =
            snapshot.versions.into_iter().map(|row| ((row.key.clone(), row.version), row)).collect();
        let mut compiled: BTreeMap<(DagKey, u32), Arc<Dag>> = BTreeMap::new();
        let mut refused: BTreeMap<(DagKey, u32), String> = BTreeMap::new();
        let mut failed: Vec<(RunKey, String)> = Vec::new();
        for (at, version) in &versions {
            let dag = match Dag::compile((*version.spec).clone()) {
                Ok(dag) => dag,
                Err(reason) => {
                    refused.insert(at.clone(), reason.to_string());
                    let Ok(dag) = stand_in(&version.spec) else { continue };
                    dag
                }
            };
            compiled.insert(at.clone(), Arc::new(dag));
        }
        for mut row in snapshot.dags {
            let at = (row.key.clone(), row.version);
            let (Some(dag), Some(mut version)) = (compiled.get(&at), versions.remove(&at)) else { continue };
            engine.ensure_default_pool(now, &row.key);
            if refused.contains_key(&at) {
                (row.is_stale, row.next_tick) = (true, None);
                // So that the same version, put again, is refused again.
                version.hash = String::new();
                engine.changed.dags.insert(row.key.clone());
            }
            engine.insert_dag(row, dag.clone(), version.hash);
        }
        for row in snapshot.assets {
            engine.assets.insert((row.namespace.clone(), row.asset.uri.clone()), row);
        }
        for QueuedEvent { dag, event } in snapshot.queued_events {
            let gone = engine.dags.get_mut(&dag).and_then(|state| state.events.insert(event));
            if let Some(gone) = gone {
                engine.drop_queued_event(&dag, gone);
            }
        }
        for range in snapshot.ticks {
            if let Some(dag) = engine.dags.get_mut(&range.dag.clone()) {
                dag.last_range = Some(range);
            }
        }
        for stats in snapshot.stats {
            if let Some(dag) = engine.dags.get_mut(&stats.dag.clone()) {
                dag.stats.insert(stats.task_id.clone(), stats);
            }
        }
        for loaded in snapshot.runs {
            let at = (loaded.run.dag.clone(), loaded.run.version);
            let Some(dag) = compiled.get(&at) else { continue };
            if let Some(reason) = refused.get(&at) {
                // One that is over is wanted as the past of others, and says nothing as such.
                if loaded.run.state.is_finished() {
                    continue;
                }
                failed.push((loaded.run.key, reason.clone()));
            }
            engine.take_in(dag.clone(), loaded);
        }
        engine.grant_leases(now);
        for (run, reason) in failed {
            let reason = format!("this program can't run its DAG's version: {reason}");
            engine.stop_run(now, run, End::Failed, Spared::Nothing, &reason);
            engine.finish_run(now, run, RunState::Failed, Some(reason));
        }
        let refused = refused.into_iter();
        engine.out.refused =
            refused.map(|((dag, version), reason)| RefusedVersion { dag, version, reason }).collect();
        let keys: Vec<DagKey> = engine.dags.keys().cloned().collect();
        for key in keys {
            engine.begin_runs(now, &key);
            engine.await_tick(&key);
        }
        engine.step(now, crate::input::Input::Clock);
        engine
    }

    /// A DAG version, compiled; the present one where it is that.
    pub(super) fn compiled(&self, version: &DagVersionRow) -> Option<Arc<Dag>> {
        match self.dags.get(&version.key) {
            Some(dag) if dag.row.version == version.version => Some(dag.dag.clone()),
            Some(_) | None => Dag::compile((*version.spec).clone()).ok().map(Arc::new),
        }
    }

    pub(super) fn insert_dag(&mut self, row: crate::record::DagRow, dag: Arc<Dag>, hash: String) {
        let key = row.key.clone();
        let state = DagState {
            row,
            dag,
            hash,
            running: BTreeSet::new(),
            queued: BTreeSet::new(),
            active: BTreeMap::new(),
            held: None,
            events: QueuedEvents::default(),
            last_range: None,
            stats: BTreeMap::new(),
        };
        self.dags.insert(key, state);
    }

    /// Takes a run and its task instances into mind, with every sum, timer and place in a queue.
    pub(super) fn take_in(&mut self, dag: Arc<Dag>, loaded: RunSnapshot) {
        let mut run = Run::new(loaded.run, dag, loaded.asset_events.into());
        for ti in loaded.tis {
            if ti.key.task.usize() < run.tasks.len() {
                run.insert(ti);
            }
        }
        let key = run.row.key;
        self.run_ids.insert((run.row.dag.clone(), run.row.run_id.clone()), key);
        if let Some(dag) = self.dags.get_mut(&run.row.dag) {
            match run.row.state {
                RunState::Queued => {
                    dag.queued.insert((run.row.run_after, key));
                }
                RunState::Running => {
                    dag.running.insert(key);
                    self.touched.insert(key);
                    self.todo.extend(run.dag.tasks().map(|task| (key, task)));
                }
                RunState::Success | RunState::Failed => {
                    self.over.insert(key);
                }
            }
            let began = run.row.started_at.zip(run.dag.spec().dagrun_timeout);
            if let Some(at) = began.and_then(|(began, timeout)| began.saturating_add(timeout).ok()) {
                self.timers.insert((at, Timer::RunTimeout(key)));
            }
        }
        let tis: Vec<crate::record::TiRow> =
            run.all().filter(|ti| !ti.state.is_finished()).cloned().collect();
        let open = !run.row.state.is_finished();
        self.runs.insert(key, run);
        if open {
            self.await_deadline(key);
        }
        for ti in tis {
            self.take_in_ti(&ti);
        }
    }

    fn take_in_ti(&mut self, ti: &crate::record::TiRow) {
        if let Some(at) = ti.state.wakes_at() {
            self.timers.insert((at, Timer::Wake(ti.key)));
        }
        if ti.state == TiState::Scheduled {
            self.enqueue(ti.key);
        }
        let Some((run, spec)) = self.spec(ti.key) else { return };
        let (dag_key, owner) = (run.row.dag.clone(), run.row.owner.clone());
        let pool = (dag_key.namespace.clone(), spec.pool.clone());
        let (slots, task, taken) = (spec.pool_slots, spec.task_id.clone(), slots_of(spec));
        let takes = self.pools.get(&pool).is_some_and(|pool| takes_pool_slots(&pool.row, spec, &ti.state));
        if let Some(pool) = self.pools.get_mut(&pool).filter(|_| takes) {
            pool.used += slots;
        }
        if is_active(&ti.state)
            && let Some(dag) = self.dags.get_mut(&dag_key)
        {
            *dag.active.entry(task).or_default() += 1;
        }
        let Some(assignment) = ti.state.assignment() else { return };
        let attempt = AttemptId { ti: ti.key, try_number: ti.try_number, lease: assignment.lease };
        let slots = if matches!(ti.state, TiState::Deferred(Wait::Worker(_))) { 0 } else { taken };
        // Until it joins: in the life it had when it was given this, and with no slots to give.
        self.workers
            .entry(assignment.worker.clone())
            .or_insert_with(|| Worker::new(Incarnation(i64::MIN), Timestamp::MIN))
            .adopt_life(assignment.incarnation);
        self.hold(&assignment.worker, attempt, slots, owner);
    }

    fn grant_leases(&mut self, now: Timestamp) {
        let until = now.saturating_add(self.config.lease).unwrap_or(Timestamp::MAX);
        for (id, worker) in &mut self.workers {
            worker.grant(until);
            self.timers.insert((until, Timer::Lease(id.clone())));
        }
    }

    /// The runs in mind of a DAG.
    pub(super) fn runs_of(&self, dag: &DagKey) -> Vec<RunKey> {
        self.runs.values().filter(|run| run.row.dag == *dag).map(|run| run.row.key).collect()
    }
}
