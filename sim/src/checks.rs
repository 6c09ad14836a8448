//! What must hold, told from what was written and from what workers saw.

mod assets;
mod attempts;
mod beside;
mod copies;
mod ends;
mod limits;
mod order;
mod pace;
mod restored;
mod rules;
mod shape;
mod shapes;
mod ticks;

use std::collections::BTreeMap;

use jiff::Timestamp;

use updraft_core::{
    AttemptId, Config, DeliveryId, Engine, Incarnation, Namespace, TiStateName, WorkerId,
    input::{Report, ToWorker},
    record::Batch,
};

use crate::{
    Micros,
    disk::Disk,
    worker::{Held, Worker},
};

type Check = Result<(), String>;

#[derive(Debug)]
pub(crate) struct Checks {
    /// The fault that came last, and when.
    fault: Option<(Micros, &'static str)>,
    handed: BTreeMap<AttemptId, (WorkerId, Incarnation)>,
    started: BTreeMap<AttemptId, usize>,
    shapes: shapes::Shapes,
    attempts: attempts::Attempts,
    ticks: ticks::Ticks,
    before: limits::Before,
    expanded: copies::Expanded,
    /// No clock is ever set in this world.
    steady_clocks: bool,
}

impl Checks {
    pub fn new(steady_clocks: bool) -> Self {
        Self {
            steady_clocks,
            fault: None,
            handed: BTreeMap::new(),
            started: BTreeMap::new(),
            shapes: shapes::Shapes::default(),
            attempts: attempts::Attempts::default(),
            ticks: ticks::Ticks::default(),
            before: limits::Before::default(),
            expanded: copies::Expanded::default(),
        }
    }

    pub fn note_fault(&mut self, now: Micros, fault: &'static str) {
        self.fault = Some((now, fault));
    }

    pub fn fault_in_force(&self, now: Micros) -> &'static str {
        match self.fault {
            Some((at, fault)) if now - at < 60 * crate::SECOND => fault,
            Some(_) | None => "none",
        }
    }

    /// A batch is about to be written.
    pub fn before_commit(&mut self, disk: &Disk, batch: &Batch, workers: &[Worker], now: Micros) -> Check {
        let mut replay = order::Replay::new(disk, batch);
        for change in &batch.transitions {
            if change.from == TiStateName::None && change.to == TiStateName::Scheduled {
                order::may_begin(&replay, &self.shapes, change.ti)?;
            }
            self.attempts.on_change(&replay, &self.shapes, change, workers, now)?;
            replay.apply(change)?;
        }
        replay.ends_as_written()?;
        beside::alerts(&replay, &self.shapes, batch)?;
        beside::missed(disk, batch)?;
        assets::outlets(&replay, &self.shapes, batch)?;
        if self.steady_clocks {
            pace::keeps(disk, &self.shapes, batch)?;
        }
        for (key, ti) in &batch.tis {
            let before = disk.tis.get(key).filter(|_| !batch.deleted_tis.contains(key));
            if before.is_some_and(|before| before.try_number > ti.try_number || before.lease > ti.lease) {
                return Err(format!("{key:?} goes back to try {} and lease {}", ti.try_number, ti.lease));
            }
        }
        self.ticks.before(disk, batch);
        self.before = limits::Before::of(disk, batch);
        self.expanded = copies::Expanded::of(disk, batch);
        Ok(())
    }

    /// A batch was written.
    pub fn after_commit(&mut self, disk: &Disk, batch: &Batch) -> Check {
        limits::hold(disk, &self.shapes, batch, &self.before)?;
        self.expanded.fit(disk, &self.shapes, batch)?;
        ends::fit(disk, &self.shapes, batch)?;
        beside::history(disk, batch)?;
        beside::deadlines(disk, batch)?;
        assets::runs(disk, batch)?;
        self.ticks.after(disk, batch)
    }

    /// An engine made anew has nothing to decide.
    pub fn restored(&self, config: Config, disk: &Disk, now: Timestamp) -> Check {
        restored::decides_nothing(config, disk, now)
    }

    /// The engine's mind and the store are the same.
    pub fn same(&self, engine: &Engine, disk: &Disk) -> Check {
        for run in disk.unfinished() {
            let Some((known, _)) = engine.run(run.key) else {
                return Err(format!("the engine does not know run {} any more", run.key));
            };
            if known != run {
                return Err(format!("the engine and the store differ: {known:?} is stored as {run:?}"));
            }
            for ti in disk.tis_of(run.key) {
                if engine.ti(ti.key) != Some(ti) {
                    return Err(format!(
                        "the engine and the store differ: {:?} is stored as {ti:?}",
                        engine.ti(ti.key)
                    ));
                }
            }
        }
        for (known, _) in engine.dags() {
            if disk.dags.get(&known.key) != Some(known) {
                return Err(format!("the engine and the store differ about {}: {known:?}", known.key));
            }
        }
        if engine.dags().count() != disk.dags.len() {
            return Err("the engine and the store have different DAGs".into());
        }
        Ok(())
    }

    /// An attempt is handed out.
    pub fn on_send(&mut self, disk: &Disk, worker: &WorkerId, message: &ToWorker) -> Check {
        let ToWorker::Assign(attempt) = message else { return Ok(()) };
        let Some(ti) = disk.tis.get(&attempt.ti) else { return Ok(()) };
        let Some(given) = ti.state.assignment().filter(|a| a.lease == attempt.lease) else { return Ok(()) };
        let to = (worker.clone(), given.incarnation);
        match self.handed.insert(*attempt, to.clone()) {
            Some(before) if before != to => {
                Err(format!("attempt {attempt} is handed to {to:?}, and was handed to {before:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub fn on_deliver(&mut self, _disk: &Disk, _id: DeliveryId) -> Check {
        Ok(())
    }

    /// A worker begins an attempt.
    pub fn on_start(&mut self, _disk: &Disk, workers: &[Worker], w: usize, attempt: AttemptId) -> Check {
        if let Some(before) = self.started.insert(attempt, w) {
            return Err(format!("attempt {attempt} is begun by w{w}, and w{before} began it before"));
        }
        let worker = &workers[w];
        if worker.namespace.as_ref().is_some_and(|own| *own != Namespace::default()) {
            return Err(format!(
                "{} is of the namespace {:?}, and begins {attempt}",
                worker.id, worker.namespace
            ));
        }
        let running = worker.held.values().filter(|held| held.is_running());
        let taken: u32 = running.map(|held| held.slots).sum();
        let other = |(of, held): &(&AttemptId, &Held)| of.ti == attempt.ti && held.is_running();
        if let Some((other, _)) = worker.held.iter().find(other) {
            return Err(format!("{} begins {attempt} while it still runs {other}", worker.id));
        }
        let Some(Held { slots, labels, .. }) = worker.held.get(&attempt) else { return Ok(()) };
        let has = |(name, value)| worker.offer.labels.get(name) == Some(value);
        if !labels.iter().all(has) {
            return Err(format!("{} begins {attempt}, and has no {labels:?}", worker.id));
        }
        if *slots > 0 && taken + slots > worker.offer.slots {
            return Err(format!(
                "{} has {} slots, {taken} of them taken, and begins {attempt}, which takes {slots}",
                worker.id, worker.offer.slots
            ));
        }
        Ok(())
    }

    pub fn on_end(&mut self, attempt: AttemptId, report: &Report) {
        self.attempts.reported.entry(attempt).or_default().push(report.clone());
    }

    pub fn at_the_end(&mut self, disk: &Disk) -> Check {
        self.ticks.at_the_end(disk)
    }
}
