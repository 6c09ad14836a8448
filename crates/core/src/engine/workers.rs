//! Workers: who is there, what each has, and what happens when one is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Engine, Timer,
    dispatch::{Limit, Needs, slots_of},
};
use crate::{
    AttemptId, Incarnation, MapIndex, Namespace, Owner, RunKey, TaskIx, TiEvent, TiKey, TiState, Wait,
    WorkerId,
    input::{AttemptEnd, Effect, Offer, Outcome, ToWorker, WorkerEvent},
    retry::pause_after_losses,
};

/// A worker, in one of its lives.
#[derive(Debug)]
pub(crate) struct Worker {
    pub incarnation: Incarnation,
    offer: Offer,
    used: u32,
    /// The only namespace that it works for; all where none is named.
    namespace: Option<Namespace>,
    /// Whether it has said that it is there, since this engine began and since it was last away.
    joined: bool,
    draining: bool,
    lease_until: Timestamp,
    /// What it has, whether or not the task instance still wants it: slots are free when they are free.
    held: BTreeMap<AttemptId, (u32, Owner)>,
}

impl Worker {
    pub fn new(incarnation: Incarnation, lease_until: Timestamp) -> Self {
        Self {
            incarnation,
            offer: Offer::default(),
            used: 0,
            namespace: None,
            joined: false,
            draining: false,
            lease_until,
            held: BTreeMap::new(),
        }
    }

    /// It has something that it was given in this life, which may be a later one than is known.
    pub fn adopt_life(&mut self, incarnation: Incarnation) {
        self.incarnation = self.incarnation.max(incarnation);
    }

    /// It has until then to be heard of.
    pub fn grant(&mut self, until: Timestamp) {
        self.lease_until = until;
    }

    /// Until when it has to be heard of.
    pub fn lease_until(&self) -> Timestamp {
        self.lease_until
    }

    /// Whether it takes work that needs this, when it has the slots free for it.
    pub fn takes(&self, needs: &Needs) -> bool {
        self.joined && !self.draining && self.serves(needs)
    }

    /// Whether it took such work until it was told to stop.
    pub fn stops_taking(&self, needs: &Needs) -> bool {
        self.joined && self.draining && self.serves(needs)
    }

    /// Whether it took such work until its connection was gone.
    pub fn is_away_from(&self, needs: &Needs) -> bool {
        !self.joined && self.serves(needs)
    }

    /// Whether it works for one namespace alone.
    pub fn is_of_one_namespace(&self) -> bool {
        self.namespace.is_some()
    }

    /// Whether it is one for such work, were all its slots free.
    fn serves(&self, needs: &Needs) -> bool {
        self.is_for(needs) && self.has_all_of(needs)
    }

    /// Whether it is there for this namespace and queue.
    fn is_for(&self, Needs { namespace, queue, .. }: &Needs) -> bool {
        self.offer.queues.contains(queue) && self.namespace.as_ref().is_none_or(|own| own == namespace)
    }

    /// Whether it has the labels that are needed, and so many slots in all.
    fn has_all_of(&self, Needs { labels, slots, .. }: &Needs) -> bool {
        self.offer.slots >= *slots
            && labels.iter().all(|(name, value)| self.offer.labels.get(name) == Some(value))
    }

    /// How many slots are free.
    pub fn free(&self) -> u32 {
        self.offer.slots.saturating_sub(self.used)
    }

    /// How many slots are taken.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Whether it has an attempt of this task instance.
    pub fn has_one_of(&self, ti: TiKey) -> bool {
        let first = AttemptId { ti, try_number: 0, lease: 0 };
        self.held.range(first..).next().is_some_and(|(attempt, _)| attempt.ti == ti)
    }

    /// The attempts of this run that it has.
    pub fn of_run(&self, run: RunKey) -> impl Iterator<Item = AttemptId> {
        let ti = TiKey { run, task: TaskIx(0), map_index: MapIndex(i32::MIN) };
        let first = AttemptId { ti, try_number: 0, lease: 0 };
        self.held.range(first..).map(|(attempt, _)| *attempt).take_while(move |it| it.ti.run == run)
    }

    /// What it has.
    pub fn held(&self) -> impl Iterator<Item = (&AttemptId, u32, &Owner)> {
        self.held.iter().map(|(attempt, (slots, owner))| (attempt, *slots, owner))
    }
}

/// A worker, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSeen {
    /// The name under which it joined.
    pub worker: WorkerId,
    /// Whether it takes work.
    pub state: WorkerState,
    /// What it offers.
    pub offer: Offer,
    /// How many slots are taken.
    pub used: u32,
    /// The only namespace that it works for; all where none is named.
    pub namespace: Option<Namespace>,
    /// It is taken for gone, with all that it has, unless it is heard of before this.
    pub lease_until: Timestamp,
    /// How many attempts it has, also those that only wait and take no slot.
    pub attempts: usize,
}

/// Whether a worker takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It does.
    Active,
    /// It takes nothing more.
    Draining,
    /// It is not connected. It may come back before its lease passes.
    Away,
}

impl WorkerState {
    /// Its name in API and command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Away => "away",
        }
    }
}

impl Engine {
    /// The workers that are there or may come back, in the order of their names.
    pub fn workers(&self) -> Vec<WorkerSeen> {
        let seen = |(id, worker): (&WorkerId, &Worker)| WorkerSeen {
            worker: id.clone(),
            state: match (worker.joined, worker.draining) {
                (false, _) => WorkerState::Away,
                (true, true) => WorkerState::Draining,
                (true, false) => WorkerState::Active,
            },
            offer: worker.offer.clone(),
            used: worker.used,
            namespace: worker.namespace.clone(),
            lease_until: worker.lease_until,
            attempts: worker.held.len(),
        };
        self.workers.iter().map(seen).collect()
    }

    pub(super) fn on_worker_event(
        &mut self,
        now: Timestamp,
        id: WorkerId,
        incarnation: Incarnation,
        event: WorkerEvent,
    ) {
        if self.workers.get(&id).is_some_and(|worker| worker.incarnation > incarnation) {
            return self.out.effects.push(Effect::Send {
                worker: id,
                incarnation,
                message: ToWorker::Outlived,
            });
        }
        if let WorkerEvent::Joined { join, offer, namespace, held } = event {
            return self.on_joined(now, id, incarnation, join, (offer, namespace), held);
        }
        if let WorkerEvent::Away = event {
            return self.on_away(&id, incarnation);
        }
        let lease = self.config.lease;
        let Some(worker) = self.workers.get_mut(&id).filter(|w| w.joined && w.incarnation == incarnation)
        else {
            let effect = Effect::Send { worker: id, incarnation, message: ToWorker::Rejoin };
            return self.out.effects.push(effect);
        };
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        if until < worker.lease_until {
            // The clock has been set back, and its timer is late.
            self.timers.insert((until, Timer::Lease(id.clone())));
        }
        worker.lease_until = until;
        match event {
            // Taken care of above.
            WorkerEvent::Joined { .. } | WorkerEvent::Away | WorkerEvent::Heartbeat => {}
            WorkerEvent::Draining => worker.draining = true,
            WorkerEvent::Left => self.give_up(now, &id, "its worker has left"),
            WorkerEvent::Report { attempt, at, report } => self.on_report(now, &id, attempt, at, report),
        }
    }

    /// Nobody hears of an order that is sent now, and where the worker does not come back in this life, nobody could say
    /// of it that it was not begun.
    fn on_away(&mut self, id: &WorkerId, incarnation: Incarnation) {
        if let Some(worker) = self.workers.get_mut(id).filter(|worker| worker.incarnation == incarnation) {
            worker.joined = false;
        }
    }

    fn on_joined(
        &mut self,
        now: Timestamp,
        id: WorkerId,
        incarnation: Incarnation,
        join: u64,
        (offer, namespace): (Offer, Option<Namespace>),
        held: Vec<AttemptId>,
    ) {
        let lease_until = now.saturating_add(self.config.lease).unwrap_or(Timestamp::MAX);
        let known = self.workers.get(&id).map(|w| w.incarnation);
        let worker = self.workers.entry(id.clone()).or_insert_with(|| Worker::new(incarnation, lease_until));
        worker.incarnation = incarnation;
        worker.draining = offer.draining;
        worker.offer = offer;
        worker.namespace = namespace;
        worker.joined = true;
        worker.lease_until = lease_until;
        self.timers.insert((lease_until, Timer::Lease(id.clone())));
        self.tell(&id, ToWorker::Joined(join));
        let before: Vec<AttemptId> = self.workers[&id].held.keys().copied().collect();
        let has: BTreeSet<AttemptId> = held.iter().copied().collect();
        for attempt in before.iter().filter(|attempt| !has.contains(attempt)) {
            self.on_not_held(now, &id, *attempt, known == Some(incarnation));
        }
        for attempt in held {
            self.on_held(&id, attempt);
        }
    }

    /// A worker that joins does not have an attempt that it was given, and does not begin it any more.
    fn on_not_held(&mut self, now: Timestamp, id: &WorkerId, attempt: AttemptId, same_life: bool) {
        let cleared = self.ti(attempt.ti).is_some_and(|ti| matches!(ti.state, TiState::Restarting(_)));
        if !self.is_current(id, attempt) {
            self.release(id, attempt);
        } else if same_life && !cleared {
            // It has not heard of it: a life that has begun an attempt keeps it until its end is acknowledged.
            self.tell(id, ToWorker::Assign(attempt));
        } else {
            self.lose(now, id, attempt, ("its worker was restarted", true));
        }
    }

    /// A worker that joins has an attempt.
    fn on_held(&mut self, id: &WorkerId, attempt: AttemptId) {
        let incarnation = self.workers[id].incarnation;
        let of = self.runs.get(&attempt.ti.run).map(|run| &run.row.dag.namespace);
        if let (Some(own), Some(of)) = (&self.workers[id].namespace, of)
            && own != of
        {
            // It was never given this, and whoever has it is in nobody's way.
            return self.tell(id, ToWorker::Cancel(attempt));
        }
        if !self.is_current(id, attempt) {
            if !self.workers[id].held.contains_key(&attempt) {
                let known = self.spec(attempt.ti).map(|(run, spec)| (slots_of(spec), run.row.owner.clone()));
                // Of a run that is over or deleted it is not known how many slots it takes: it may be all of them.
                let (slots, owner) =
                    known.unwrap_or_else(|| (self.workers[id].offer.slots, "airflow".into()));
                self.hold(id, attempt, slots, owner);
            }
            return self.tell(id, ToWorker::Cancel(attempt));
        }
        let Some(run) = self.runs.get_mut(&attempt.ti.run) else { return };
        let taken = slots_of(run.dag.task(attempt.ti.task));
        let Some(ti) = run.ti_mut(attempt.ti) else { return };
        let (slots, message) = match &mut ti.state {
            TiState::Queued(a) | TiState::Running(a) => {
                a.incarnation = incarnation;
                (taken, ToWorker::Continue(attempt))
            }
            TiState::Paused(a) => {
                a.incarnation = incarnation;
                (taken, ToWorker::Pause(attempt))
            }
            TiState::Restarting(a) => {
                a.incarnation = incarnation;
                (taken, ToWorker::Cancel(attempt))
            }
            TiState::Deferred(Wait::Worker(a)) => {
                a.incarnation = incarnation;
                (0, ToWorker::Continue(attempt))
            }
            TiState::None
            | TiState::Scheduled
            | TiState::Deferred(Wait::Until(_))
            | TiState::UpForRetry(_)
            | TiState::UpForReschedule(_)
            | TiState::Success
            | TiState::Failed
            | TiState::Skipped
            | TiState::UpstreamFailed
            | TiState::Removed => return,
        };
        let owner = run.row.owner.clone();
        self.changed.tis.insert(attempt.ti);
        if !self.workers[id].held.contains_key(&attempt) {
            self.hold(id, attempt, slots, owner);
        }
        self.tell(id, message);
    }

    /// The clock was set; leases end after the same time as before.
    pub(super) fn move_leases(&mut self, by: SignedDuration) {
        for (id, worker) in &mut self.workers {
            worker.lease_until = worker.lease_until.saturating_add(by).unwrap_or(worker.lease_until);
            self.timers.insert((worker.lease_until, Timer::Lease(id.clone())));
        }
    }

    /// A worker's lease is over, unless it has been heard of since.
    pub(super) fn on_lease_end(&mut self, now: Timestamp, id: &WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        if worker.lease_until > now {
            self.timers.insert((worker.lease_until, Timer::Lease(id.clone())));
        } else {
            self.give_up(now, id, "its worker was not heard of any more");
        }
    }

    /// A worker is gone with all that it had.
    fn give_up(&mut self, now: Timestamp, id: &WorkerId, why: &str) {
        let held: Vec<AttemptId> =
            self.workers.get(id).map(|w| w.held.keys().copied().collect()).unwrap_or_default();
        for attempt in held {
            if self.is_current(id, attempt) {
                self.lose(now, id, attempt, (why, true));
            } else {
                self.release(id, attempt);
            }
        }
        self.workers.remove(id);
    }

    /// Whether this attempt is the one that its task instance waits for, and this worker has it.
    /// Whether a worker is still to make an attempt: it was given it, and neither has been ended or given away since.
    pub fn is_current(&self, id: &WorkerId, attempt: AttemptId) -> bool {
        self.ti(attempt.ti).is_some_and(|ti| {
            ti.try_number == attempt.try_number
                && ti.state.assignment().is_some_and(|a| a.worker == *id && a.lease == attempt.lease)
        })
    }

    /// Notes that a worker has an attempt; of one that it is known to have, what it takes may be new.
    pub(super) fn hold(&mut self, id: &WorkerId, attempt: AttemptId, slots: u32, owner: Owner) {
        self.release(id, attempt);
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.used += slots;
        if slots > 0 {
            *self.held_by_owner.entry(owner.clone()).or_default() += slots;
        }
        worker.held.insert(attempt, (slots, owner));
    }

    /// Notes that a worker no longer has an attempt.
    pub(super) fn release(&mut self, id: &WorkerId, attempt: AttemptId) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let Some((slots, owner)) = worker.held.remove(&attempt) else { return };
        worker.used = worker.used.saturating_sub(slots);
        if let Some(held) = self.held_by_owner.get_mut(&owner) {
            *held = held.saturating_sub(slots);
            if *held == 0 {
                self.held_by_owner.remove(&owner);
            }
        }
        self.unpark(&Limit::Former(attempt.ti));
        self.unpark_teardowns(attempt.ti.run);
    }

    /// Whether this worker takes nothing new.
    pub(super) fn is_draining(&self, id: &WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.draining)
    }

    /// The attempt is gone with its worker: another follows, after a pause where those before were lost, too. Where too many
    /// that count were lost in a row, that is a failure as any other.
    pub(super) fn lose(
        &mut self,
        now: Timestamp,
        id: &WorkerId,
        attempt: AttemptId,
        (why, counts): (&str, bool),
    ) {
        self.release(id, attempt);
        let key = attempt.ti;
        let Some((_, spec)) = self.spec(key) else { return };
        let most = spec.max_lost;
        let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) else { return };
        if matches!(ti.state, TiState::Restarting(_)) {
            self.renew(now, key);
            self.transition(now, key, TiEvent::Lost, None);
            return;
        }
        ti.lost += u32::from(counts);
        if ti.lost > most {
            let reason = match most {
                0 => format!("lost when it may have done its work: {why}"),
                _ => format!("lost {} times in a row, the last time because {why}", ti.lost),
            };
            // What takes its worker down may take others with it: those have their retries.
            let end = if most == 0 { AttemptEnd::FailedForGood } else { AttemptEnd::Failed };
            self.on_failed(now, key, now, &Outcome::new(end), Some(reason.into()));
        } else {
            ti.max_tries += 1;
            let (attempt, lost) = (ti.try_number, ti.lost);
            let pause = if counts { pause_after_losses(lost) } else { SignedDuration::ZERO };
            let mut reason = format!("attempt {attempt} was lost: {why}");
            self.archive(now, key, Some(reason.as_str().into()));
            if pause.is_zero() {
                self.transition(now, key, TiEvent::Lost, Some(reason.into()));
                return;
            }
            let _ =
                write!(reason, "; {lost} were lost in a row, and the next waits for {} s", pause.as_secs());
            let next = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
            self.transition(now, key, TiEvent::Retry(next), Some(reason.into()));
            // It is in the history when this attempt ended.
            if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
                ti.ended_at = None;
            }
        }
    }

    /// Tells a worker something, in the life that is known of it.
    pub(super) fn tell(&mut self, worker: &WorkerId, message: ToWorker) {
        let Some(incarnation) = self.workers.get(worker).map(|worker| worker.incarnation) else { return };
        self.out.effects.push(Effect::Send { worker: worker.clone(), incarnation, message });
    }

    /// Asks the worker that has this task instance for something, where one has it.
    pub(super) fn tell_holder(&mut self, key: TiKey, message: fn(AttemptId) -> ToWorker) {
        let Some(ti) = self.ti(key) else { return };
        let Some(assignment) = ti.state.assignment() else { return };
        let attempt = AttemptId { ti: key, try_number: ti.try_number, lease: assignment.lease };
        let worker = assignment.worker.clone();
        self.tell(&worker, message(attempt));
    }
}
