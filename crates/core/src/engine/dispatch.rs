//! Who gets the next free slot.
//!
//! Those that are ready wait by queue and owner, the most urgent first. Of the owners that wait, the one
//! that holds the fewest slots is served first; of its task instances the one with the highest priority, of
//! equal ones that of the earlier run. One that a limit stands in the way of is parked with that limit. Who needs more
//! slots of a worker than are free has one kept free for it, on which nobody behind it begins.
//!
//! When a limit has room, as many of those parked with it come back as there is room for: so no decision
//! looks at everyone who waits. They count on that room, and do not take it. Who leaves without it (another
//! limit, or a person, was in the way) lets the next one in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{Engine, workers::Worker};
use crate::{
    Assignment, AttemptId, DagKey, Labels, Namespace, Owner, PoolName, QueueName, RunKey, TaskId, TaskIx,
    TaskKind, TaskSpec, TiEvent, TiKey, TiState, Wait, WorkerId, input::ToWorker,
};

/// Why nothing begins anywhere.
pub(super) const EVERYTHING_PAUSED: &str = "everything is paused, until `updraft resume`";

/// A task instance that waits for a slot, in the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ready {
    priority: Reverse<i64>,
    run_after: Timestamp,
    pub(super) ti: TiKey,
}

/// Those that are served together, since they need the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Nothing but what the limits allow: waits for a time.
    Wait,
    /// A worker that has this.
    Worker(Needs),
}

/// What a task needs of its worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Needs {
    pub namespace: Namespace,
    pub queue: QueueName,
    pub labels: Labels,
    /// So many slots; one that only watches needs none.
    pub slots: u32,
}

/// How many slots of its worker a task takes.
pub(super) fn slots_of(spec: &TaskSpec) -> u32 {
    match spec.kind {
        TaskKind::Run => spec.worker_slots.max(1),
        TaskKind::Empty | TaskKind::Wait(_) | TaskKind::Watch => 0,
    }
}

/// Those of whom a limit lets in as many as it has room for. What they need of it is the same, and none of
/// them can be held up by what only another group needs: another lane's workers, or another owner's share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    lane: Lane,
    owner: Owner,
    pool_slots: u32,
    most_in_dag: u32,
}

/// What can stand in the way of a task instance that is ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// The DAG is paused.
    Paused(DagKey),
    /// `max_active_tasks` of a run.
    RunTasks(RunKey),
    /// `max_active_tis_per_dag` of a task.
    TaskInDag(DagKey, TaskId),
    /// `max_active_tis_per_dagrun` of a task.
    TaskInRun(RunKey, TaskIx),
    /// The slots of a pool, or its rate.
    Pool(Namespace, PoolName),
    /// An earlier attempt of this task instance, which was marked or cleared while it ran and has not ended yet.
    Former(TiKey),
    /// Attempts of tasks before this teardown that were ended with what they belong to, and have not ended yet: what is torn
    /// down must not be in use.
    Ending(RunKey, TaskIx),
}

impl Engine {
    /// Where a task instance waits, and how urgently.
    fn lane(&self, key: TiKey) -> Option<(Lane, Owner, Ready)> {
        let (run, spec) = self.spec(key)?;
        let ready = Ready { priority: Reverse(run.dag.priority(key.task)), run_after: run.date(), ti: key };
        let lane = match spec.kind {
            TaskKind::Empty | TaskKind::Wait(_) => Lane::Wait,
            TaskKind::Watch | TaskKind::Run => Lane::Worker(self.needs_of(key)?),
        };
        Some((lane, run.row.owner.clone(), ready))
    }

    /// What a task instance needs of its worker.
    pub(super) fn needs_of(&self, key: TiKey) -> Option<Needs> {
        let (run, spec) = self.spec(key)?;
        Some(Needs {
            namespace: run.row.dag.namespace.clone(),
            queue: spec.queue.clone(),
            labels: spec.worker_labels.clone(),
            slots: slots_of(spec),
        })
    }

    fn group(&self, key: TiKey) -> Option<(Group, Ready)> {
        let (lane, owner, ready) = self.lane(key)?;
        let (_, spec) = self.spec(key)?;
        let most_in_dag = spec.max_active_tis_per_dag.unwrap_or(u32::MAX);
        Some((Group { lane, owner, pool_slots: spec.pool_slots, most_in_dag }, ready))
    }

    /// Puts a task instance among those that wait for a slot.
    pub(super) fn enqueue(&mut self, key: TiKey) {
        if let Some((lane, owner, ready)) = self.lane(key) {
            self.ready.entry(lane).or_default().entry(owner).or_default().insert(ready);
        }
    }

    /// Takes a task instance from among those that wait for a slot or a limit.
    pub(super) fn withdraw(&mut self, key: TiKey) {
        let Some((group, ready)) = self.group(key) else { return };
        if let Some(owners) = self.ready.get_mut(&group.lane) {
            if let Some(waiting) = owners.get_mut(&group.owner) {
                waiting.remove(&ready);
                if waiting.is_empty() {
                    owners.remove(&group.owner);
                }
            }
            if owners.is_empty() {
                self.ready.remove(&group.lane);
            }
        }
        for limit in self.limits(key) {
            if let Some(groups) = self.parked.get_mut(&limit) {
                if let Some(waiting) = groups.get_mut(&group) {
                    waiting.remove(&ready);
                    if waiting.is_empty() {
                        groups.remove(&group);
                    }
                }
                if groups.is_empty() {
                    self.parked.remove(&limit);
                }
            }
        }
    }

    /// Lets in others in the place of a task instance that leaves without having taken what it counted on.
    pub(super) fn pass_on(&mut self, key: TiKey) {
        for limit in self.limits(key) {
            self.unpark(&limit);
        }
    }

    /// Everything that could stand in the way of this task instance.
    fn limits(&self, key: TiKey) -> Vec<Limit> {
        let Some((run, spec)) = self.spec(key) else { return Vec::new() };
        let dag = &run.row.dag;
        let mut limits = vec![Limit::Paused(dag.clone())];
        if spec.kind == TaskKind::Run {
            limits.push(Limit::RunTasks(key.run));
        }
        if spec.max_active_tis_per_dag.is_some() {
            limits.push(Limit::TaskInDag(dag.clone(), spec.task_id.clone()));
        }
        if spec.max_active_tis_per_dagrun.is_some() {
            limits.push(Limit::TaskInRun(key.run, key.task));
        }
        limits.push(Limit::Pool(dag.namespace.clone(), spec.pool.clone()));
        let by_worker = matches!(spec.kind, TaskKind::Run | TaskKind::Watch);
        if by_worker && self.ti(key).is_some_and(|ti| ti.try_number > 0) {
            limits.push(Limit::Former(key));
        }
        if by_worker && run.dag.is_teardown(key.task) {
            limits.push(Limit::Ending(key.run, key.task));
        }
        limits
    }

    /// How many more a limit has room for, as `key` sees it; and why there is none.
    fn room(&self, limit: &Limit, key: TiKey) -> Result<u32, String> {
        let Some((run, spec)) = self.spec(key) else { return Ok(1) };
        let left = |limit: u32, used: u32, what: &str| match limit.saturating_sub(used) {
            0 => Err(format!("{what} is {limit}, and {used} are active")),
            left => Ok(left),
        };
        match limit {
            Limit::Paused(_) if self.paused => Err(EVERYTHING_PAUSED.into()),
            Limit::Paused(dag) => match self.dags.get(dag).is_some_and(|dag| dag.row.is_paused) {
                true => Err(format!("the DAG `{dag}` is paused")),
                false => Ok(u32::MAX),
            },
            Limit::RunTasks(_) => {
                left(run.dag.spec().max_active_tasks, run.holding, "max_active_tasks of the DAG")
            }
            Limit::TaskInDag(dag, task) => {
                let active = self.dags.get(dag).and_then(|dag| dag.active.get(task)).copied().unwrap_or(0);
                left(
                    spec.max_active_tis_per_dag.unwrap_or(u32::MAX),
                    active,
                    "max_active_tis_per_dag of the task",
                )
            }
            Limit::TaskInRun(_, task) => {
                let most = spec.max_active_tis_per_dagrun.unwrap_or(u32::MAX);
                left(most, run.tasks[task.usize()].active, "max_active_tis_per_dagrun of the task")
            }
            Limit::Pool(namespace, name) => self.pool_room(&(namespace.clone(), name.clone()), key),
            Limit::Former(key) => match self.workers.iter().find(|(_, worker)| worker.has_one_of(*key)) {
                Some((id, _)) => Err(format!("its attempt before has not ended yet on worker `{id}`")),
                None => Ok(1),
            },
            Limit::Ending(of, teardown) => {
                let before = run.dag.relatives(&[*teardown], true);
                let ending = |(id, worker): (&WorkerId, &Worker)| {
                    let mut of_run = worker.of_run(*of);
                    let ends = |it: &AttemptId| before.contains(&it.ti.task) && !self.is_current(id, *it);
                    of_run.find(ends).map(|attempt| (id.clone(), attempt.ti.task))
                };
                match self.workers.iter().find_map(ending) {
                    Some((id, task)) => {
                        let task = &run.dag.task(task).task_id;
                        Err(format!("an attempt of `{task}` has not ended yet on worker `{id}`"))
                    }
                    None => Ok(u32::MAX),
                }
            }
        }
    }

    /// Lets those that wait for a limit try again, as many of each group as it has room for.
    pub(super) fn unpark(&mut self, limit: &Limit) {
        let Some(groups) = self.parked.remove(limit) else { return };
        let mut still = BTreeMap::new();
        for (group, mut waiting) in groups {
            let room = waiting.first().and_then(|first| self.room(limit, first.ti).ok()).unwrap_or(0);
            for _ in 0..room {
                let Some(ready) = waiting.pop_first() else { break };
                self.enqueue(ready.ti);
                // What stood in the way does so no more.
                if let Some(ti) = self.runs.get_mut(&ready.ti.run).and_then(|run| run.ti_mut(ready.ti)) {
                    ti.reason = None;
                    self.changed.tis.insert(ready.ti);
                }
            }
            if !waiting.is_empty() {
                still.insert(group, waiting);
            }
        }
        if !still.is_empty() {
            self.parked.insert(limit.clone(), still);
        }
    }

    /// An attempt of this run is over: teardowns may wait for that.
    pub(super) fn unpark_teardowns(&mut self, run: RunKey) {
        let teardowns = Limit::Ending(run, TaskIx(0))..=Limit::Ending(run, TaskIx(u32::MAX));
        let waiting: Vec<Limit> = self.parked.range(teardowns).map(|(limit, _)| limit.clone()).collect();
        for limit in waiting {
            self.unpark(&limit);
        }
    }

    /// Gives out slots until there are none, or nobody who may have one waits.
    pub(super) fn dispatch(&mut self, now: Timestamp) {
        loop {
            let mut lanes: Vec<Lane> = self.ready.keys().cloned().collect();
            let mut kept = BTreeSet::new();
            let mut served = false;
            // A worker may serve several lanes: of all who wait there the next one is served, whichever lane that is in.
            while let Some((at, next)) = self.next(&lanes) {
                match self.serve(now, &lanes[at], next, &kept) {
                    true => served = true,
                    false => kept.extend(self.keep_for(&lanes.swap_remove(at), &kept)),
                }
            }
            // Who is served or parked in one lane may let in somebody in another.
            if !served {
                return;
            }
        }
    }

    /// Who is to be served next, and in which of these lanes.
    fn next(&self, lanes: &[Lane]) -> Option<(usize, Ready)> {
        let waiting = lanes.iter().enumerate().flat_map(|(at, lane)| {
            let owners = self.ready.get(lane).into_iter().flatten();
            owners.filter_map(move |(owner, waiting)| {
                let held = self.held_by_owner.get(owner).copied().unwrap_or(0);
                waiting.first().map(|first| (held, *first, at))
            })
        });
        waiting.min().map(|(_, next, at)| (at, next))
    }

    /// Whether somebody waits who could begin: there is nobody after a dispatch.
    pub(super) fn undispatched(&self) -> Option<TiKey> {
        let mut lanes: Vec<Lane> = self.ready.keys().cloned().collect();
        let mut kept = BTreeSet::new();
        while let Some((at, first)) = self.next(&lanes) {
            let lane = lanes.swap_remove(at);
            let free = match &lane {
                Lane::Wait => true,
                Lane::Worker(needs) => self.free_worker(needs, &kept).is_some(),
            };
            if free {
                return Some(first.ti);
            }
            kept.extend(self.keep_for(&lane, &kept));
        }
        // A group of which nobody is let in where there is room.
        let counts_on = |limit: &Limit, group: &Group| {
            let waiting = self.ready.get(&group.lane).and_then(|owners| owners.get(&group.owner));
            waiting.into_iter().flatten().any(|ready| {
                self.group(ready.ti).is_some_and(|(of, _)| of == *group)
                    && self.limits(ready.ti).contains(limit)
            })
        };
        self.parked.iter().find_map(|(limit, groups)| {
            groups.iter().find_map(|(group, waiting)| {
                let first = waiting.first()?.ti;
                (self.room(limit, first).is_ok() && !counts_on(limit, group)).then_some(first)
            })
        })
    }

    /// Serves this one, who is the next in this lane, by a worker that is kept for nobody. Says whether there may be
    /// another.
    fn serve(&mut self, now: Timestamp, lane: &Lane, next: Ready, kept: &BTreeSet<WorkerId>) -> bool {
        for limit in self.limits(next.ti) {
            if let Err(reason) = self.room(&limit, next.ti) {
                self.park(next, limit, reason.into());
                return true;
            }
        }
        let Lane::Worker(needs) = lane else {
            self.begin_wait(now, next.ti);
            return true;
        };
        let worker = self.free_worker(needs, kept);
        if let Some(worker) = worker.clone() {
            self.assign(now, next.ti, worker, needs.slots);
        }
        worker.is_some()
    }

    fn park(&mut self, ready: Ready, limit: Limit, reason: Arc<str>) {
        let key = ready.ti;
        let Some((group, _)) = self.group(key) else { return };
        self.withdraw(key);
        self.pass_on(key);
        self.parked.entry(limit).or_default().entry(group).or_default().insert(ready);
        self.held_up(key, reason);
    }

    /// Tells those that wait for a limit what stands in their way now that it is another.
    pub(super) fn tell_parked(&mut self, limit: &Limit) {
        let parked = self.parked.get(limit).into_iter().flat_map(|groups| groups.values().flatten());
        let waiting: Vec<TiKey> = parked.map(|ready| ready.ti).collect();
        for key in waiting {
            if let Err(reason) = self.room(limit, key) {
                self.held_up(key, reason.into());
            }
        }
    }

    fn held_up(&mut self, key: TiKey, reason: Arc<str>) {
        let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) else { return };
        if ti.reason.as_ref() != Some(&reason) {
            ti.reason = Some(reason);
            self.changed.tis.insert(key);
        }
    }

    /// The worker for this with the most free slots, of those that are kept for nobody; one that can do nothing else before
    /// others.
    fn free_worker(&self, needs: &Needs, kept: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        self.best_worker(|id, worker| {
            worker.takes(needs) && worker.free() >= needs.slots && (needs.slots == 0 || !kept.contains(id))
        })
    }

    /// The worker that is to become free for who is the next in this lane, for whom there was none: where small ones went
    /// on to take its slots, a large one could wait for ever.
    fn keep_for(&self, lane: &Lane, kept: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let Lane::Worker(needs) = lane else { return None };
        if needs.slots < 2 {
            return None;
        }
        self.best_worker(|id, worker| worker.takes(needs) && !kept.contains(id))
    }

    fn best_worker(&self, will_do: impl Fn(&WorkerId, &Worker) -> bool) -> Option<WorkerId> {
        let all = self.workers.iter().filter(|(id, worker)| will_do(id, worker));
        all.max_by_key(|(_, worker)| (worker.is_of_one_namespace(), worker.free())).map(|(id, _)| id.clone())
    }

    fn assign(&mut self, now: Timestamp, key: TiKey, worker: WorkerId, slots: u32) {
        let Some(incarnation) = self.workers.get(&worker).map(|w| w.incarnation) else { return };
        let Some((run, _)) = self.spec(key) else { return };
        let owner = run.row.owner.clone();
        let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) else { return };
        if ti.state != TiState::Scheduled {
            return;
        }
        // A sensor that looks again goes on with its try; all else begins a new one.
        let again = ti.started_at.is_none() && ti.try_number > 0;
        if ti.started_at.is_none() {
            ti.try_number += 1;
        }
        ti.lease += 1;
        ti.worker = Some(worker.clone());
        let attempt = AttemptId { ti: key, try_number: ti.try_number, lease: ti.lease };
        let assignment = Assignment { worker: worker.clone(), incarnation, lease: ti.lease };
        let event = match slots {
            0 => TiEvent::Deferred(Wait::Worker(assignment)),
            _ => TiEvent::Assigned(assignment),
        };
        if self.transition(now, key, event, None) {
            if again {
                self.clear_xcoms(key);
            }
            self.hold(&worker, attempt, slots, owner);
            if slots > 0 {
                self.pace(now, key);
            }
            self.tell(&worker, ToWorker::Assign(attempt));
        }
    }
}
