//! A run in the engine's mind: its task instances and the sums that make decisions cheap.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    AssetEvent, Dag, MapIndex, Role, RunKey, TaskIx, TaskKind, TaskSpec, TiKey, TiState, TriggerRule,
    record::{PoolRow, RunRow, TiRow},
    trigger_rule::Counts,
};

/// A run, with everything that is decided from.
#[derive(Debug)]
pub(crate) struct Run {
    pub row: RunRow,
    pub dag: Arc<Dag>,
    /// What happened to assets, that it was made for.
    pub asset_events: Arc<[Arc<AssetEvent>]>,
    pub tasks: Vec<TaskState>,
    /// Task instances that are not over.
    pub unfinished: u32,
    /// Of these, those that have left `none`: something moves them on.
    pub moving: u32,
    /// Task instances that count against `max_active_tasks`.
    pub holding: u32,
    /// The run before this one, for tasks that depend on it.
    pub past: Past,
    /// Runs that have this one as their past.
    pub successors: Vec<RunKey>,
}

/// What is known of the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Nobody has looked yet.
    Unknown,
    /// The store was asked.
    Asked,
    /// There is none.
    None,
    /// This one; it is kept in mind as long as this run is.
    Is(RunKey),
}

/// A task of a run.
#[derive(Debug, Default)]
pub(crate) struct TaskState {
    /// Its instances by map index: one without an index, or as many as it was mapped to. None, where the
    /// run leaves this task out.
    pub instances: Vec<TiRow>,
    /// What all instances directly before it came to.
    pub up: Counts,
    /// How many task instances say that it is to be skipped, by the copy that they say it of: `NONE` is for
    /// all of them.
    pub skip_votes: BTreeMap<MapIndex, u32>,
    /// Instances that are queued, running, or deferred.
    pub active: u32,
}

impl Run {
    /// A run with no task instances yet.
    pub fn new(row: RunRow, dag: Arc<Dag>, asset_events: Arc<[Arc<AssetEvent>]>) -> Self {
        let tasks = dag.tasks().map(|_| TaskState::default()).collect();
        let past = if dag.looks_at_past() { Past::Unknown } else { Past::None };
        let successors = Vec::new();
        Self { row, dag, asset_events, tasks, unfinished: 0, moving: 0, holding: 0, past, successors }
    }

    /// The date by which runs of a DAG come one after the other.
    pub fn date(&self) -> Timestamp {
        self.row.logical_date.unwrap_or(self.row.run_after)
    }

    /// Makes the task instances of a new run. Where it is written down what a task is mapped over, its copies
    /// are there from the beginning.
    pub fn populate(&mut self) {
        self.populate_from(0);
    }

    /// The same for the tasks from this place on; says which were made.
    pub fn populate_from(&mut self, first: usize) -> Vec<TiKey> {
        let all: Vec<TaskIx> = match &self.row.selection {
            Some(chosen) => chosen.to_vec(),
            None => self.dag.tasks().collect(),
        };
        let mut made = Vec::new();
        for task in all.into_iter().filter(|task| task.usize() >= first) {
            let indexes = match self.dag.written_copies(task) {
                0 => vec![MapIndex::NONE],
                copies => (0..copies).map(MapIndex).collect(),
            };
            for map_index in indexes {
                let fresh = self.fresh(task, map_index);
                made.push(fresh.key);
                self.insert(fresh);
            }
        }
        made
    }

    /// The same run with a later version of its DAG, which continues its own; and the task instances that are new in it.
    pub fn moved_to(&self, version: u32, dag: Arc<Dag>) -> (Self, Vec<TiKey>) {
        let row = RunRow { version, ..self.row.clone() };
        let mut moved = Self::new(row, dag, self.asset_events.clone());
        moved.past = if moved.dag.looks_at_past() { self.past } else { Past::None };
        moved.successors = self.successors.clone();
        self.tasks.iter().flat_map(|task| &task.instances).for_each(|ti| moved.insert(ti.clone()));
        let new = moved.populate_from(self.tasks.len());
        (moved, new)
    }

    /// A task instance before anything has happened to it.
    pub fn fresh(&self, task: TaskIx, map_index: MapIndex) -> TiRow {
        let spec = self.dag.task(task);
        TiRow {
            key: TiKey { run: self.row.key, task, map_index },
            task_id: spec.task_id.clone(),
            state: TiState::None,
            try_number: 0,
            max_tries: spec.retry.retries,
            tries_before: 0,
            lost: 0,
            first_started_at: None,
            name: None,
            lease: 0,
            scheduled_at: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
            paused_at: None,
            paused_for: SignedDuration::ZERO,
            exit_code: None,
            worker: None,
            reason: None,
            result_length: None,
            skips: [].into(),
        }
    }

    /// Takes in a task instance, in whatever state it is.
    pub fn insert(&mut self, row: TiRow) {
        let task = row.key.task;
        self.count(task, &row.state, true);
        self.vote(row.key, &row.skips, true);
        let instances = &mut self.tasks[task.usize()].instances;
        if instances.is_empty() {
            // Most tasks have one instance for good, and room for four would be most of a waiting run's memory.
            instances.reserve_exact(1);
        }
        let at = instances.partition_point(|ti| ti.key.map_index < row.key.map_index);
        instances.insert(at, row);
    }

    /// Takes out a task instance.
    pub fn take(&mut self, key: TiKey) -> Option<TiRow> {
        let at = self.place(key)?;
        let row = self.tasks[key.task.usize()].instances.remove(at);
        self.count(key.task, &row.state, false);
        self.vote(key, &row.skips, false);
        Some(row)
    }

    /// Where among its task's instances one is.
    fn place(&self, key: TiKey) -> Option<usize> {
        let instances = &self.tasks.get(key.task.usize())?.instances;
        instances.binary_search_by_key(&key.map_index, |ti| ti.key.map_index).ok()
    }

    /// A task instance.
    pub fn ti(&self, key: TiKey) -> Option<&TiRow> {
        self.place(key).map(|at| &self.tasks[key.task.usize()].instances[at])
    }

    /// A task instance, to change what is not its state.
    pub fn ti_mut(&mut self, key: TiKey) -> Option<&mut TiRow> {
        let at = self.place(key)?;
        Some(&mut self.tasks[key.task.usize()].instances[at])
    }

    /// Changes a task instance's state and every sum that depends on it.
    pub fn set_state(&mut self, key: TiKey, state: TiState) {
        let Some(at) = self.place(key) else { return };
        let old = self.tasks[key.task.usize()].instances[at].state.clone();
        self.count(key.task, &old, false);
        self.count(key.task, &state, true);
        self.tasks[key.task.usize()].instances[at].state = state;
    }

    /// Sets which tasks a task instance tells to be skipped.
    pub fn set_skips(&mut self, key: TiKey, skips: Arc<[TaskIx]>) {
        let Some(at) = self.place(key) else { return };
        let old = std::mem::replace(&mut self.tasks[key.task.usize()].instances[at].skips, skips.clone());
        self.vote(key, &old, false);
        self.vote(key, &skips, true);
    }

    fn vote(&mut self, by: TiKey, skips: &[TaskIx], add: bool) {
        for task in skips {
            let of = self.left_out(by, *task);
            let votes = &mut self.tasks[task.usize()].skip_votes;
            let count = votes.entry(of).or_default();
            *count = count.saturating_add_signed(if add { 1 } else { -1 });
            if *count == 0 {
                votes.remove(&of);
            }
        }
    }

    /// Which copy of a task another leaves out: of what is mapped as well, the copy of its own index.
    fn left_out(&self, by: TiKey, task: TaskIx) -> MapIndex {
        if self.dag.mapping(task).is_some() { by.map_index } else { MapIndex::NONE }
    }

    /// Whether a task instance chose a way on which this one does not lie.
    pub fn leaves_out(&self, by: &TiRow, key: TiKey) -> bool {
        let of = self.left_out(by.key, key.task);
        by.skips.contains(&key.task) && (of == MapIndex::NONE || of == key.map_index)
    }

    /// Whether any did.
    pub fn is_left_out(&self, key: TiKey) -> bool {
        let votes = &self.tasks[key.task.usize()].skip_votes;
        votes.contains_key(&MapIndex::NONE) || votes.contains_key(&key.map_index)
    }

    fn count(&mut self, task: TaskIx, state: &TiState, add: bool) {
        let by = if add { 1 } else { -1 };
        let bump = |count: &mut u32, when: bool| {
            if when {
                *count = count.saturating_add_signed(by);
            }
        };
        let finished = state.is_finished();
        bump(&mut self.unfinished, !finished);
        bump(&mut self.moving, !finished && *state != TiState::None);
        bump(&mut self.holding, takes_slots(self.dag.task(task), state));
        bump(&mut self.tasks[task.usize()].active, is_active(state));
        let setup = self.dag.task(task).role == Role::Setup;
        let dag = self.dag.clone();
        for down in dag.downstream(task) {
            let up = &mut self.tasks[down.usize()].up;
            if add { up.add(state, setup) } else { up.remove(state, setup) }
        }
    }

    /// The sums over what is directly before this instance.
    pub fn counts(&self, key: TiKey) -> Counts {
        if self.dag.node(key.task).mapped_group.is_none() {
            return self.tasks[key.task.usize()].up;
        }
        let mut counts = Counts::default();
        for up in self.dag.upstream(key.task) {
            let setup = self.dag.task(*up).role == Role::Setup;
            self.before(key, *up).iter().for_each(|ti| counts.add(&ti.state, setup));
        }
        counts
    }

    /// The instances of a task on which another depends: all of them, or in a mapped group, where both are in
    /// it, the one of the same index. What is yet to be mapped waits for no copy of the others, unless one of
    /// them could be enough for it.
    pub fn before(&self, key: TiKey, up: TaskIx) -> &[TiRow] {
        let all = &self.tasks[up.usize()].instances;
        let group = self.dag.node(key.task).mapped_group;
        let one_is_enough = matches!(
            self.dag.task(key.task).trigger_rule,
            TriggerRule::OneSuccess
                | TriggerRule::OneFailed
                | TriggerRule::OneDone
                | TriggerRule::NoneFailedMinOneSuccess
        );
        let apart = group.is_none() || self.dag.node(up).mapped_group != group;
        if apart || (key.map_index == MapIndex::NONE && one_is_enough) {
            return all;
        }
        let at = |map_index| self.place(TiKey { task: up, map_index, ..key });
        match at(MapIndex::NONE).or_else(|| at(key.map_index)) {
            Some(at) => &all[at..=at],
            None => &[],
        }
    }

    /// How many values there are to map over in a task's result; `None` while that is open.
    pub fn result_length(&self, task: TaskIx) -> Option<usize> {
        let instances = &self.tasks[task.usize()].instances;
        match instances.as_slice() {
            [only] if only.key.map_index == MapIndex::NONE && self.dag.mapping(task).is_none() => {
                (only.state == TiState::Success).then_some(())?;
                only.result_length.map(|length| length as usize)
            }
            // A mapped task's result is the list of what its copies left.
            all => {
                let over = all.iter().all(|ti| ti.state.is_finished());
                let left = |ti: &&TiRow| ti.state == TiState::Success && ti.result_length.is_some();
                over.then(|| all.iter().filter(left).count())
            }
        }
    }

    /// All task instances.
    pub fn all(&self) -> impl Iterator<Item = &TiRow> {
        self.tasks.iter().flat_map(|task| &task.instances)
    }
}

/// Takes slots of its pool and counts against `max_active_tasks`. A worker only watches a sensor: that takes
/// none, also while it has to end before it begins anew.
pub(crate) fn takes_slots(task: &TaskSpec, state: &TiState) -> bool {
    task.kind == TaskKind::Run && state.holds_slots()
}

/// Takes slots of its pool, which may count deferred ones too.
pub(crate) fn takes_pool_slots(pool: &PoolRow, task: &TaskSpec, state: &TiState) -> bool {
    takes_slots(task, state) || (pool.include_deferred && is_active(state))
}

/// Counts against `max_active_tis_per_dag` and `max_active_tis_per_dagrun`, where Airflow counts deferred
/// ones too.
pub(crate) fn is_active(state: &TiState) -> bool {
    state.holds_slots() || matches!(state, TiState::Deferred(_))
}
