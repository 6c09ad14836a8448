//! What workers do, and how they reach a server.

use std::collections::{BTreeMap, VecDeque};

use updraft_core::{
    AttemptId, Incarnation, Labels, Namespace,
    input::{AttemptEnd, Offer, Outcome, Report, ToWorker, WorkerEvent},
};

use super::{Event, Step, World, server::In};
use crate::{
    Micros, SECOND,
    net::{Conn, ConnId, Down, Up},
    worker::{Held, Phase, Worker, ended},
    workload::{label, outcome, outcome::Order},
};

impl World {
    pub(super) fn hire_workers(&mut self) {
        for w in 0..self.plan.workers as usize {
            let queues: &[&str] = match self.rng.below(4) {
                0 => &["default"],
                1 => &["gpu"],
                _ => &["default", "gpu"],
            };
            let namespace = match self.rng.below(8) {
                0 => Some("elsewhere".into()),
                1 => Some(Namespace::default()),
                _ => None,
            };
            let slots = self.rng.log_between(1, 24) as u32 - u32::from(self.rng.chance(0.05));
            let queues = queues.iter().map(|queue| (*queue).into()).collect();
            let labels = if self.rng.chance(0.5) { label() } else { Labels::new() };
            self.workers.push(Worker::new(
                format!("w{w}"),
                Offer { slots, queues, labels, draining: false },
                namespace,
            ));
            let soon = self.rng.between(0, 5 * SECOND);
            self.plan_beat(w, soon);
        }
    }

    pub(super) fn plan_beat(&mut self, w: usize, delay: Micros) {
        self.workers[w].beat_plan += 1;
        let (life, plan) = (self.workers[w].life, self.workers[w].beat_plan);
        self.after(delay, Event::Beat { worker: w, life, plan });
    }

    pub(super) fn on_beat(&mut self, w: usize, life: u64, plan: u64) {
        let worker = &self.workers[w];
        if !worker.alive || worker.life != life || worker.beat_plan != plan {
            return;
        }
        if worker.frozen_until > self.now {
            return self.plan_beat(w, worker.frozen_until - self.now);
        }
        self.mind_lease(w);
        if let Some(conn) = self.workers[w].conn.filter(|conn| self.conns[*conn].broken) {
            say!(self, "w{w} finds connection {conn} broken");
            self.workers[w].conn = None;
        }
        let third = self.plan.lease / 3;
        self.mind_silence(w);
        if self.workers[w].conn.is_some() {
            self.send_up(w, vec![WorkerEvent::Heartbeat], true);
            self.plan_beat(w, third);
            self.leave_if_drained(w);
        } else if self.connect(w) {
            self.plan_beat(w, third);
        } else {
            let again = self.rng.between(SECOND / 2, 3 * SECOND).min(third);
            self.plan_beat(w, again);
        }
    }

    /// A server that has not answered for so long is not there any more, whatever the network believes.
    fn mind_silence(&mut self, w: usize) {
        let silence = (self.plan.lease / 3).clamp(6 * SECOND, 12 * SECOND);
        let worker = &self.workers[w];
        let Some(conn) = worker.conn else { return };
        if worker.beats.values().next().is_some_and(|sent| self.now - sent > silence) {
            say!(self, "w{w} gives up connection {conn}, over which nothing comes");
            self.conns[conn].broken = true;
            self.workers[w].conn = None;
        }
    }

    /// Opens a connection to a server that leads, and joins. Says whether there was one.
    fn connect(&mut self, w: usize) -> bool {
        let reached = |s: &usize| self.workers[w].cut_off_until[*s] <= self.now;
        let leads = |s: &usize| self.servers[*s].up && self.servers[*s].engine.is_some();
        let leaders: Vec<usize> = (0..self.servers.len()).filter(leads).filter(reached).collect();
        let Some(&s) = self.rng.pick(&leaders) else { return false };
        let worker = &self.workers[w];
        let other = self.known_connection(s, &worker.id).map(|conn| self.conns[conn].incarnation);
        if other.is_some_and(|other| other > worker.incarnation) {
            // A later life of it is connected.
            return false;
        }
        let worker = &mut self.workers[w];
        worker.conn = Some(self.conns.len());
        worker.beats.clear();
        self.conns.push(Conn {
            worker: w,
            name: worker.id.clone(),
            incarnation: worker.incarnation,
            life: worker.life,
            server: s,
            epoch: self.servers[s].epoch,
            up_free: 0,
            down_free: 0,
            down: VecDeque::new(),
            broken: false,
            silent: false,
            late: false,
        });
        say!(self, "w{w} connects to server {s} (connection {})", self.conns.len() - 1);
        self.join(w);
        true
    }

    fn join(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        worker.joins += 1;
        // With nothing begun there is nothing that an old lease would have to end.
        if worker.held.values().all(|held| matches!(held.phase, Phase::Over { .. })) {
            worker.lease_until = self.now + self.plan.lease;
        }
        let until = worker.lease_until;
        let life = worker.life;
        let events = self.workers[w].announcement(|at| self.wall_of(w, at));
        self.at(until, Event::Lease { worker: w, life });
        self.send_up(w, events, true);
    }

    pub(super) fn send_up(&mut self, w: usize, events: Vec<WorkerEvent>, beat: bool) {
        let Some(conn) = self.workers[w].conn else { return };
        let beat = beat.then(|| {
            self.planned += 1;
            self.workers[w].beats.insert(self.planned, self.now);
            self.planned
        });
        let delay = self.rng.between(0, self.plan.delay);
        let c = &mut self.conns[conn];
        if c.broken {
            return;
        }
        if c.silent {
            return self.coverage.count("message lost");
        }
        c.up_free = c.up_free.max(self.now + delay);
        let at = c.up_free;
        self.at(at, Event::Arrives { conn, up: Up { events, beat } });
    }

    pub(super) fn send_down(&mut self, conn: ConnId, down: Down) {
        let delay = self.rng.between(0, self.plan.delay);
        let c = &mut self.conns[conn];
        if c.broken {
            return;
        }
        if c.silent {
            return self.coverage.count("message lost");
        }
        c.down_free = c.down_free.max(self.now + delay);
        c.down.push_back(down);
        let at = c.down_free;
        self.at(at, Event::Told { conn });
    }

    pub(super) fn break_connection(&mut self, conn: ConnId, late: bool) {
        self.conns[conn].broken = true;
        self.conns[conn].late = late && self.rng.chance(self.plan.faults.late);
        let c = &self.conns[conn];
        let (w, s) = (c.worker, c.server);
        let notices = self.servers[s].up && self.servers[s].epoch == c.epoch;
        if notices && self.rng.chance(0.7) {
            let up = Up { events: vec![WorkerEvent::Away], beat: None };
            self.hand_in(s, In::Up { conn, up });
        }
        let worker = &self.workers[w];
        if worker.alive && worker.conn == Some(conn) && self.rng.chance(0.7) {
            // It notices before its next heartbeat.
            let soon = self.rng.log_between(SECOND / 1000, SECOND);
            self.plan_beat(w, soon);
        }
    }

    fn report(&mut self, w: usize, attempt: AttemptId, at: Micros, report: Report) {
        let at = self.wall_of(w, at);
        self.send_up(w, vec![WorkerEvent::Report { attempt, at, report }], false);
    }

    pub(super) fn on_told(&mut self, conn: ConnId) -> Step {
        let c = &self.conns[conn];
        let w = c.worker;
        let worker = &self.workers[w];
        if c.broken || !worker.alive || worker.life != c.life || worker.conn != Some(conn) {
            self.coverage.count("message lost");
            return Ok(());
        }
        if worker.frozen_until > self.now {
            self.at(worker.frozen_until, Event::Told { conn });
            return Ok(());
        }
        let Some(down) = self.conns[conn].down.pop_front() else { return Ok(()) };
        self.mind_lease(w);
        match down {
            Down::Heartbeat(beat) => self.on_heartbeat(w, beat),
            Down::Message(message) => {
                say!(self, "w{w} is told {message:?}");
                match message {
                    ToWorker::Assign(attempt) => self.on_assign(w, attempt),
                    ToWorker::Cancel(attempt) => self.on_cancel(w, attempt),
                    ToWorker::Pause(attempt) => self.on_pause(w, attempt),
                    ToWorker::Continue(attempt) => self.on_continue(w, attempt),
                    ToWorker::Acknowledge(attempt) => return self.on_acknowledge(w, attempt),
                    ToWorker::Rejoin => self.join(w),
                    ToWorker::Outlived => {
                        self.workers[w].held.clear();
                        self.kill_worker(w);
                    }
                    ToWorker::Joined(join) => self.workers[w].joined = join,
                }
            }
        }
        Ok(())
    }

    fn on_heartbeat(&mut self, w: usize, beat: u64) {
        let worker = &mut self.workers[w];
        let Some(sent) = worker.beats.remove(&beat) else { return };
        worker.beats.retain(|other, _| *other > beat);
        worker.lease_until = worker.lease_until.max(sent + self.plan.lease);
        let (until, life) = (worker.lease_until, worker.life);
        self.at(until, Event::Lease { worker: w, life });
    }

    pub(super) fn on_lease(&mut self, w: usize, life: u64) {
        let worker = &self.workers[w];
        if worker.life != life || !worker.alive {
            return;
        }
        if worker.frozen_until > self.now {
            return self.at(worker.frozen_until, Event::Lease { worker: w, life });
        }
        self.mind_lease(w);
    }

    /// A worker whose lease is over ends all that runs: others may have it by now.
    fn mind_lease(&mut self, w: usize) {
        let now = self.now;
        let worker = &mut self.workers[w];
        if now < worker.lease_until {
            return;
        }
        let mut over = Vec::new();
        for (attempt, held) in &mut worker.held {
            if matches!(held.phase, Phase::Over { .. }) {
                continue;
            }
            let mut outcome = Outcome::new(AttemptEnd::Lost);
            outcome.message = Some("its worker's lease was over".into());
            held.plan += 1;
            held.phase = Phase::Over { since: held.since(), at: now, report: ended(outcome.clone()) };
            over.push((*attempt, ended(outcome)));
        }
        if !over.is_empty() {
            say!(self, "w{w} ends {} attempts, since its lease is over", over.len());
        }
        for (attempt, report) in over {
            self.report(w, attempt, now, report);
        }
    }

    fn on_assign(&mut self, w: usize, attempt: AttemptId) {
        let worker = &self.workers[w];
        let is_late = worker.outlived || worker.joined != worker.joins;
        if is_late || worker.held.contains_key(&attempt) {
            return;
        }
        let Order { slots, labels, .. } = self.orders.get(&attempt).cloned().unwrap_or_default();
        self.workers[w].held.insert(attempt, Held { slots, labels, phase: Phase::Given, plan: 0 });
        let life = self.workers[w].life;
        let delay = self.rng.log_between(SECOND / 1000, SECOND);
        self.after(delay, Event::Begin { worker: w, life, attempt });
    }

    pub(super) fn on_begin(&mut self, w: usize, life: u64, attempt: AttemptId) -> Step {
        let worker = &self.workers[w];
        if !worker.alive || worker.life != life {
            return Ok(());
        }
        if worker.frozen_until > self.now {
            self.at(worker.frozen_until, Event::Begin { worker: w, life, attempt });
            return Ok(());
        }
        self.mind_lease(w);
        let Some(held) = self.workers[w].held.get(&attempt) else { return Ok(()) };
        if held.phase != Phase::Given {
            return Ok(());
        }
        self.checks.on_start(&self.disk, &self.workers, w, attempt)?;
        say!(self, "w{w} begins {attempt}");
        let order = self.orders.get(&attempt).cloned().unwrap_or_default();
        let now = self.now;
        let shown = now + self.workers[w].skew;
        let (length, end) = outcome::draw(&mut self.rng, &self.plan.outcomes, &order, self.calm, shown);
        let held = &mut self.workers[w].held;
        if let Some(held) = held.get_mut(&attempt) {
            held.phase = Phase::Running { since: now, until: now + length, end };
        }
        self.after(length, Event::End { worker: w, life, attempt, plan: 0 });
        self.report(w, attempt, now, Report::Started);
        Ok(())
    }

    pub(super) fn on_end(&mut self, w: usize, life: u64, attempt: AttemptId, plan: u64) {
        let worker = &self.workers[w];
        if !worker.alive || worker.life != life {
            return;
        }
        if worker.frozen_until > self.now {
            return self.at(worker.frozen_until, Event::End { worker: w, life, attempt, plan });
        }
        self.mind_lease(w);
        let now = self.now;
        let Some(held) = self.workers[w].held.get_mut(&attempt) else { return };
        if held.plan != plan {
            return;
        }
        let since = held.since();
        let report = match &held.phase {
            Phase::Running { end, .. } => end.clone(),
            Phase::Ending { .. } => ended(Outcome::new(AttemptEnd::Cancelled)),
            Phase::Given | Phase::Paused { .. } | Phase::Over { .. } => return,
        };
        held.phase = Phase::Over { since, at: now, report: report.clone() };
        say!(self, "w{w} ends {attempt}: {}", crate::coverage::ShownReport(&report));
        self.checks.on_end(attempt, &report);
        self.report(w, attempt, now, report);
    }

    fn on_cancel(&mut self, w: usize, attempt: AttemptId) {
        let now = self.now;
        let grace = self.rng.log_between(SECOND / 1000, 10 * SECOND);
        let ends_itself = self.rng.chance(0.2);
        let cancelled = ended(Outcome::new(AttemptEnd::Cancelled));
        let worker = &mut self.workers[w];
        let life = worker.life;
        let Some(held) = worker.held.get_mut(&attempt) else {
            return self.report(w, attempt, now, cancelled);
        };
        match held.phase.clone() {
            Phase::Given => {
                held.phase = Phase::Over { since: None, at: now, report: cancelled.clone() };
                self.report(w, attempt, now, cancelled);
            }
            // It may be over before it hears of it.
            Phase::Running { .. } if ends_itself => {}
            Phase::Running { since, .. } | Phase::Paused { since, .. } => {
                held.phase = Phase::Ending { since: Some(since) };
                held.plan += 1;
                let plan = held.plan;
                self.after(grace, Event::End { worker: w, life, attempt, plan });
            }
            Phase::Ending { .. } => {}
            Phase::Over { at, report, .. } => self.report(w, attempt, at, report),
        }
    }

    fn on_pause(&mut self, w: usize, attempt: AttemptId) {
        let now = self.now;
        let Some(held) = self.workers[w].held.get_mut(&attempt) else { return };
        if let Phase::Running { since, until, end } = held.phase.clone() {
            held.plan += 1;
            held.phase = Phase::Paused { since, left: (until - now).max(0), end };
        }
    }

    fn on_continue(&mut self, w: usize, attempt: AttemptId) {
        let now = self.now;
        let life = self.workers[w].life;
        let Some(held) = self.workers[w].held.get_mut(&attempt) else { return };
        if let Phase::Paused { since, left, end } = held.phase.clone() {
            held.plan += 1;
            held.phase = Phase::Running { since, until: now + left, end };
            let plan = held.plan;
            self.after(left, Event::End { worker: w, life, attempt, plan });
        }
    }

    fn on_acknowledge(&mut self, w: usize, attempt: AttemptId) -> Step {
        match self.workers[w].held.get(&attempt) {
            Some(held) if held.is_running() => {
                Err(format!("w{w} is told to forget {attempt}, which runs there"))
            }
            Some(_) => {
                self.workers[w].held.remove(&attempt);
                self.leave_if_drained(w);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A worker that drains goes when it has nothing left.
    pub(super) fn leave_if_drained(&mut self, w: usize) {
        let worker = &self.workers[w];
        if !worker.draining || !worker.held.is_empty() || worker.conn.is_none() {
            return;
        }
        say!(self, "w{w} leaves");
        self.send_up(w, vec![WorkerEvent::Left], false);
        self.workers[w].alive = false;
        let back = self.rng.log_between(SECOND, 120 * SECOND);
        self.plan_worker_up(w, back);
    }

    /// A worker process dies. Its children live on, or not: that shows when it is back.
    pub(super) fn kill_worker(&mut self, w: usize) {
        if !self.workers[w].alive {
            return;
        }
        say!(self, "w{w} dies");
        self.workers[w].alive = false;
        if let Some(conn) = self.workers[w].conn {
            self.break_connection(conn, true);
        }
        let back = self.rng.log_between(SECOND / 10, 300 * SECOND);
        self.plan_worker_up(w, back);
    }

    /// A worker starts again; not one whose next life has begun elsewhere.
    fn plan_worker_up(&mut self, w: usize, delay: Micros) {
        if !self.workers[w].outlived {
            self.after(delay, Event::WorkerUp { worker: w });
        }
    }

    /// A worker's machine stands still until after its lease, and is taken for lost: its next life begins elsewhere,
    /// with nothing. Then the old one goes on with what it had, and with its old number.
    pub(super) fn double_worker(&mut self, w: usize, long: Micros) {
        const MOST: u64 = 3;
        let worker = &self.workers[w];
        let joined = worker.lease_until < Micros::MAX;
        if !worker.alive
            || worker.outlived
            || !joined
            || self.workers.len() as u64 >= self.plan.workers + MOST
        {
            return;
        }
        let z = self.workers.len();
        say!(self, "w{w} stands still and is w{z} from now on; another takes its name");
        let old = Worker {
            conn: None,
            outlived: true,
            frozen_until: worker.frozen_until.max(worker.lease_until).max(self.now) + long,
            offer: Offer::default(),
            beats: BTreeMap::new(),
            ..worker.clone()
        };
        let (life, until) = (old.life, old.lease_until);
        for (attempt, held) in &old.held {
            let (attempt, plan) = (*attempt, held.plan);
            match held.phase {
                Phase::Given => self.after(0, Event::Begin { worker: z, life, attempt }),
                Phase::Running { until, .. } => self.at(until, Event::End { worker: z, life, attempt, plan }),
                Phase::Ending { .. } => self.after(SECOND, Event::End { worker: z, life, attempt, plan }),
                Phase::Paused { .. } | Phase::Over { .. } => {}
            }
        }
        self.workers.push(old);
        self.at(until, Event::Lease { worker: z, life });
        self.plan_beat(z, 0);
        self.workers[w].held.clear();
        self.kill_worker(w);
    }

    pub(super) fn on_worker_up(&mut self, w: usize) {
        let (now, adopts) = (self.now, self.rng.chance(0.5));
        let worker = &mut self.workers[w];
        if worker.alive {
            return;
        }
        worker.life += 1;
        worker.incarnation = Incarnation(now.max(worker.incarnation.0 + 1));
        worker.alive = true;
        worker.draining = false;
        worker.conn = None;
        worker.beats.clear();
        let life = worker.life;
        let before = std::mem::take(&mut worker.held);
        let in_time = now < worker.lease_until;
        let mut adopted = Vec::new();
        for (attempt, mut held) in before.into_iter().filter(|_| adopts) {
            held.plan += 1;
            let lost = ended(Outcome::new(AttemptEnd::Lost));
            match held.phase.clone() {
                Phase::Given => continue,
                Phase::Running { since, until, .. } if in_time && now < until && self.rng.chance(0.7) => {
                    adopted.push((attempt, held.plan, until - now));
                    let _ = since;
                }
                Phase::Paused { .. } if in_time => {}
                Phase::Running { since, .. } | Phase::Paused { since, .. } => {
                    held.phase = Phase::Over { since: Some(since), at: now, report: lost };
                }
                Phase::Ending { since } => held.phase = Phase::Over { since, at: now, report: lost },
                Phase::Over { .. } => {}
            }
            self.workers[w].held.insert(attempt, held);
        }
        say!(self, "w{w} starts, with {} attempts", self.workers[w].held.len());
        for (attempt, plan, left) in adopted {
            self.after(left, Event::End { worker: w, life, attempt, plan });
        }
        self.plan_beat(w, 0);
    }
}
