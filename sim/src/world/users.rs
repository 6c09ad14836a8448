//! People: what they want while the world is active, and how they tidy up when it has become calm.

use updraft_core::{
    End, RunState, TiKey, TiState,
    input::{Command, CommandError, Reply},
    record::{PoolRow, TiRow},
};

use super::{Event, Step, World, server::In};
use crate::{
    Micros, SECOND,
    rng::Rng,
    workload::{commands, dags, label},
};

/// How long everything may take to finish once the faults have stopped.
const PATIENCE: Micros = 48 * 3600 * SECOND;

#[derive(Debug)]
pub(crate) struct Users {
    rng: Rng,
    asked: u64,
    pub obeyed: u64,
    pub refused: u64,
}

impl Users {
    pub fn new(rng: Rng) -> Self {
        Self { rng, asked: 0, obeyed: 0, refused: 0 }
    }

    pub fn on_reply(&mut self, _id: u64, reply: &Result<Reply, CommandError>) {
        match reply {
            Ok(_) => self.obeyed += 1,
            Err(_) => self.refused += 1,
        }
    }
}

impl World {
    pub(super) fn on_user(&mut self) {
        if self.calm {
            return;
        }
        let number = self.users.asked;
        let (now, active) = (self.now, self.plan.active);
        let (rng, disk) = (&mut self.users.rng, &self.disk);
        let known = disk.dags.len() as u64;
        let fresh = known < self.plan.dags && rng.chance(0.5);
        let command = if known == 0 || fresh {
            let name = format!("d{}", rng.below(self.plan.dags + 1));
            Some(commands::put(dags::draw(rng, &name, active), number))
        } else {
            commands::draw(rng, disk, number, now, active)
        };
        if let Some(command) = command {
            self.ask(command);
        }
        let mean = self.plan.command_every;
        let next = if known == 0 { SECOND } else { self.users.rng.between(0, 2 * mean) };
        self.after(next, Event::User);
    }

    /// Gives a command to a server that leads, or thinks so.
    fn ask(&mut self, command: Command) {
        self.users.asked += 1;
        let id = self.users.asked;
        let leads = |s: &usize| self.servers[*s].up && self.servers[*s].engine.is_some();
        let leaders: Vec<usize> = (0..self.servers.len()).filter(leads).collect();
        if let Some(&s) = self.rng.pick(&leaders) {
            self.hand_in(s, In::Command { id, command });
        }
    }

    /// Faults and commands stop; whatever was broken is mended.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        say!(self, "the world becomes calm");
        self.store_down_until = 0;
        for server in &mut self.servers {
            server.stalled_until = server.stalled_until.min(self.now);
            server.without_store_until = 0;
        }
        for w in 0..self.workers.len() {
            let worker = &mut self.workers[w];
            worker.cut_off_until = Default::default();
            // One that was outlived stays as it is until its lease is over: see `WorkerDoubled`.
            let least = if worker.outlived { self.now.max(worker.lease_until) } else { self.now };
            worker.frozen_until = worker.frozen_until.min(least);
        }
        let worker = &mut self.workers[0];
        worker.offer.slots = worker.offer.slots.max(3);
        worker.offer.queues = vec!["default".into(), "gpu".into()];
        worker.offer.labels = label();
        worker.namespace = None;
        if let Some(conn) = worker.conn {
            // So that it says anew what it can do.
            self.break_connection(conn, false);
        }
        self.after(SECOND, Event::Care);
    }

    /// In a calm world somebody sees to what only a person can settle, until nothing is left to do.
    pub(super) fn on_care(&mut self) -> Step {
        if self.now > self.plan.active + PATIENCE {
            return Err(self.why_unfinished());
        }
        let runs_left = self.disk.unfinished().count();
        let stale = !self.disk.paused && self.disk.dags.values().all(|dag| dag.is_stale && !dag.is_paused);
        let leads = self.servers.iter().any(|server| server.engine.is_some());
        if runs_left == 0 && stale && leads {
            say!(self, "all is over");
            self.done = true;
            return Ok(());
        }
        for command in self.wanted() {
            self.ask(command);
        }
        self.after(10 * SECOND, Event::Care);
        Ok(())
    }

    fn wanted(&self) -> Vec<Command> {
        let mut wanted = Vec::new();
        for name in ["small", "wide", "default_pool"] {
            let pool = self.disk.pools.get(&(Default::default(), name.into()));
            let narrow = |pool: &PoolRow| pool.rate.is_some() || pool.slots.is_some_and(|slots| slots < 3);
            if pool.is_none_or(narrow) {
                wanted.push(commands::pool(name, Some(8), None, false));
            }
        }
        if self.disk.paused {
            wanted.push(Command::PauseAll { paused: false });
        }
        for (key, dag) in &self.disk.dags {
            if !dag.is_stale {
                wanted.push(Command::RetireDag(key.clone()));
            }
            if dag.is_paused {
                wanted.push(Command::PauseDag { dag: key.clone(), paused: false });
            }
        }
        for ti in self.disk.tis.values().filter(|ti| matches!(ti.state, TiState::Paused(_))) {
            wanted.push(Command::Continue(ti.key));
        }
        wanted.extend(self.past_to_settle());
        wanted
    }

    /// What settles that a run waits for ever for the run before it.
    fn past_to_settle(&self) -> Option<Command> {
        for run in self.disk.unfinished().filter(|run| run.state == RunState::Running) {
            let version = self.disk.version_of(run)?;
            let waits = |ti: &TiRow| {
                let spec = &version.spec.tasks[ti.key.task.usize()];
                ti.state == TiState::None && (spec.depends_on_past || spec.wait_for_downstream)
            };
            let moves = |ti: &TiRow| ti.state != TiState::None && !ti.state.is_finished();
            let tis: Vec<_> = self.disk.tis_of(run.key).collect();
            if !tis.iter().any(|ti| waits(ti)) || tis.iter().any(|ti| moves(ti)) {
                continue;
            }
            let date = run.logical_date.unwrap_or(run.run_after);
            let before = self.disk.run_before(&run.dag, date, version.spec.catchup);
            let Some(before) = before.and_then(|run| self.disk.runs.get(&run)) else { continue };
            match before.state {
                // The one that waits takes the place of the one that it waits for.
                RunState::Queued => return Some(Command::MarkRun { run: run.key, state: RunState::Failed }),
                RunState::Running => {}
                RunState::Success | RunState::Failed => {
                    let bad = |ti: &&TiRow| !matches!(ti.state, TiState::Success | TiState::Skipped);
                    let mut settle: Vec<TiKey> =
                        self.disk.tis_of(before.key).filter(bad).map(|ti| ti.key).collect();
                    if settle.is_empty() {
                        // That run left the task out, and `ignore_first_depends_on_past` is off.
                        settle = tis.iter().filter(|ti| waits(ti)).map(|ti| ti.key).collect();
                    }
                    return Some(Command::Mark { tis: settle, state: End::Success });
                }
            }
        }
        None
    }

    fn why_unfinished(&self) -> String {
        let mut why = String::from("not everything is over, long after the faults have stopped:");
        let engine = self.servers.iter().find_map(|server| server.engine.as_ref());
        for run in self.disk.unfinished().take(3) {
            why += &format!("\n  run {} ({}) is {}", run.run_id, run.key, run.state);
            for ti in self.disk.tis_of(run.key).filter(|ti| !ti.state.is_finished()).take(6) {
                let explained = engine.and_then(|engine| engine.explain(ti.key));
                let reasons = explained.map(|why| why.reasons).unwrap_or_default();
                why += &format!("\n    {}[{}] is {:?}: {reasons:?}", ti.task_id, ti.key.map_index, ti.state);
            }
        }
        why
    }
}
