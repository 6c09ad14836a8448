//! Servers: the loop (drain, step, commit, then act), leadership, and everything that can go wrong there.

use std::collections::{BTreeMap, VecDeque};

use updraft_core::{
    AttemptId, Dag, Engine, WorkerId,
    engine::Need,
    input::{Command, Effect, Input, ToWorker, Want, WorkerEvent},
};

use super::{Event, Step, World};
use crate::{
    Micros, SECOND,
    net::{ConnId, Down, Up},
    workload::outcome::{Order, span},
};

/// A server is woken at most so long after what is due.
const LATE_BY_AT_MOST: Micros = 5_000;

/// A server process.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it leads, or thinks so.
    pub engine: Option<Engine>,
    pub up: bool,
    /// Counts its lives. What was planned for an earlier one does not happen.
    pub epoch: u64,
    pub fence: u64,
    /// Until when it may count on being the leader, by its own clock that is never set.
    pub reign_until: Micros,
    pub stalled_until: Micros,
    /// Until then it does not reach the store, which others do.
    pub without_store_until: Micros,
    /// How much its wall clock is ahead, and how much it was when the engine was last told the time.
    pub skew: Micros,
    told_skew: Micros,
    pub inbox: VecDeque<In>,
    turn_planned: bool,
    wake_plan: u64,
    lead_plan: u64,
    /// The connection of each worker that has said something.
    conns: BTreeMap<WorkerId, ConnId>,
}

/// What waits for a server's next turn.
#[derive(Clone, Debug)]
pub(crate) enum In {
    Clock,
    Up { conn: ConnId, up: Up },
    Command { id: u64, command: Command },
    Past(Want),
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    Refused,
    InDoubt,
    CrashBefore,
    CrashAfter,
    /// After so many effects.
    CrashAmid(usize),
}

impl Fate {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Fine => None,
            Self::Refused => Some("commit refused"),
            Self::InDoubt => Some("commit in doubt"),
            Self::CrashBefore => Some("crash before commit"),
            Self::CrashAfter => Some("crash after commit"),
            Self::CrashAmid(_) => Some("crash amid effects"),
        }
    }
}

impl Server {
    pub fn new() -> Self {
        Self {
            engine: None,
            up: false,
            epoch: 0,
            fence: 0,
            reign_until: 0,
            stalled_until: 0,
            without_store_until: 0,
            skew: 0,
            told_skew: 0,
            inbox: VecDeque::new(),
            turn_planned: false,
            wake_plan: 0,
            lead_plan: 0,
            conns: BTreeMap::new(),
        }
    }
}

impl World {
    pub(super) fn on_server_up(&mut self, s: usize) {
        if self.servers[s].up {
            return;
        }
        let server = &mut self.servers[s];
        *server = Server {
            up: true,
            epoch: server.epoch + 1,
            skew: server.skew,
            without_store_until: server.without_store_until,
            lead_plan: server.lead_plan,
            ..Server::new()
        };
        say!(self, "server {s} starts");
        self.plan_lead(s, 0);
    }

    /// A server's process dies, and all its connections with it.
    pub(super) fn crash(&mut self, s: usize, why: &str) {
        if !self.servers[s].up {
            return;
        }
        say!(self, "server {s} dies: {why}");
        self.servers[s].up = false;
        self.servers[s].epoch += 1;
        self.servers[s].engine = None;
        self.break_connections_to(s);
        let most = if self.calm { SECOND } else { 60 * SECOND };
        let back = self.rng.log_between(SECOND / 10, most);
        self.after(back, Event::ServerUp { server: s });
    }

    fn break_connections_to(&mut self, s: usize) {
        for conn in 0..self.conns.len() {
            if self.conns[conn].server == s && !self.conns[conn].broken {
                self.break_connection(conn, false);
            }
        }
        self.servers[s].conns.clear();
        self.servers[s].inbox.clear();
    }

    /// The engine is ahead of the truth, or knows no more whether: it is thrown away and made anew.
    fn rebuild(&mut self, s: usize, why: &str) {
        say!(self, "server {s} makes its engine anew: {why}");
        self.servers[s].engine = None;
        self.servers[s].inbox.clear();
        let delay = self.rng.log_between(SECOND / 100, SECOND);
        self.plan_lead(s, delay);
    }

    fn step_down(&mut self, s: usize, why: &str) {
        say!(self, "server {s} leads no more: {why}");
        self.servers[s].engine = None;
        self.break_connections_to(s);
        self.plan_lead(s, SECOND);
    }

    fn plan_lead(&mut self, s: usize, delay: Micros) {
        self.servers[s].lead_plan += 1;
        let (epoch, plan) = (self.servers[s].epoch, self.servers[s].lead_plan);
        self.after(delay, Event::Lead { server: s, epoch, plan });
    }

    pub(super) fn on_lead(&mut self, s: usize, epoch: u64, plan: u64) -> Step {
        let server = &self.servers[s];
        if !server.up || server.epoch != epoch || server.lead_plan != plan {
            return Ok(());
        }
        if server.stalled_until > self.now {
            self.plan_lead(s, server.stalled_until - self.now);
            return Ok(());
        }
        self.plan_lead(s, self.plan.reign / 3);
        if !self.reaches_store(s) {
            return Ok(());
        }
        let until = self.now + self.plan.reign;
        if self.servers[s].engine.is_some() {
            if self.fence != self.servers[s].fence {
                self.step_down(s, "another leads");
                return Ok(());
            }
            self.reign_until = until;
            self.servers[s].reign_until = until;
            return Ok(());
        }
        if self.now < self.reign_until && self.leader != s {
            return Ok(());
        }
        if self.servers.iter().any(|other| other.engine.is_some()) {
            self.note_fault("two leaders");
        }
        self.fence += 1;
        self.leader = s;
        self.reign_until = until;
        let server = &mut self.servers[s];
        server.fence = self.fence;
        server.reign_until = until;
        say!(self, "server {s} leads with fence {}", self.fence);
        self.servers[s].told_skew = self.servers[s].skew;
        let engine = Engine::restore(self.config(), self.disk.snapshot(), self.wall(s));
        self.commit_and_act(s, engine, &[])
    }

    fn reaches_store(&self, s: usize) -> bool {
        self.store_down_until.max(self.servers[s].without_store_until) <= self.now
    }

    /// The connection that a server has of the worker of this name.
    pub(super) fn known_connection(&self, s: usize, worker: &WorkerId) -> Option<ConnId> {
        self.servers[s].conns.get(worker).copied().filter(|conn| !self.conns[*conn].broken)
    }

    /// Something for a server to take at its next turn.
    pub(super) fn hand_in(&mut self, s: usize, input: In) {
        self.servers[s].inbox.push_back(input);
        self.plan_turn(s);
    }

    fn plan_turn(&mut self, s: usize) {
        if self.servers[s].turn_planned {
            return;
        }
        self.servers[s].turn_planned = true;
        let stalled = self.servers[s].stalled_until - self.now;
        let delay = self.rng.between(0, self.plan.turn).max(stalled);
        let epoch = self.servers[s].epoch;
        self.after(delay, Event::Turn { server: s, epoch });
    }

    pub(super) fn on_arrival(&mut self, conn: ConnId, up: Up) {
        let c = &mut self.conns[conn];
        let server = &self.servers[c.server];
        if !server.up || server.epoch != c.epoch {
            return;
        }
        if c.broken {
            // What came in before the break is a beginning of what was sent.
            c.late = c.late && self.rng.chance(0.7);
            let late = c.late;
            self.coverage.count(if late { "message late" } else { "message lost" });
            if !late {
                return;
            }
        }
        let s = self.conns[conn].server;
        self.hand_in(s, In::Up { conn, up });
    }

    pub(super) fn on_wake(&mut self, s: usize, epoch: u64, plan: u64) {
        if self.servers[s].epoch == epoch && self.servers[s].wake_plan == plan {
            self.hand_in(s, In::Clock);
        }
    }

    /// Sees to it that the engine is told when something is due.
    pub(super) fn plan_wake(&mut self, s: usize) {
        let Some(engine) = &self.servers[s].engine else { return };
        let Some(due) = engine.next_wakeup() else { return };
        let delay = due.duration_since(self.wall(s)).as_micros().clamp(0, 1 << 60) as i64;
        // Nobody is woken at the very moment.
        let delay = delay + self.rng.between(0, LATE_BY_AT_MOST);
        self.servers[s].wake_plan += 1;
        let (epoch, plan) = (self.servers[s].epoch, self.servers[s].wake_plan);
        self.after(delay, Event::Wake { server: s, epoch, plan });
    }

    pub(super) fn on_turn(&mut self, s: usize, epoch: u64) -> Step {
        if self.servers[s].epoch != epoch {
            return Ok(());
        }
        self.servers[s].turn_planned = false;
        if self.servers[s].stalled_until > self.now {
            self.plan_turn(s);
            return Ok(());
        }
        let Some(mut engine) = self.servers[s].engine.take() else {
            self.servers[s].inbox.clear();
            return Ok(());
        };
        let set = self.servers[s].skew - self.servers[s].told_skew;
        if set != 0 {
            self.servers[s].told_skew += set;
            self.step(s, &mut engine, Input::ClockSet { by: span(set) })?;
        }
        let most = self.rng.between(1, self.plan.batch as i64);
        let mut beats = Vec::new();
        for _ in 0..most {
            let Some(input) = self.servers[s].inbox.pop_front() else { break };
            self.feed(s, &mut engine, input, &mut beats)?;
        }
        if !self.servers[s].inbox.is_empty() {
            self.plan_turn(s);
        }
        self.commit_and_act(s, engine, &beats)
    }

    fn feed(&mut self, s: usize, engine: &mut Engine, input: In, beats: &mut Vec<(ConnId, u64)>) -> Step {
        match input {
            In::Clock => self.step(s, engine, Input::Clock),
            In::Up { conn, up } => {
                let (worker, incarnation) = (self.conns[conn].name.clone(), self.conns[conn].incarnation);
                let newest = self.servers[s].conns.get(&worker).copied();
                // That of a later life counts, and of one life the last.
                let of = |conn: ConnId| (self.conns[conn].incarnation, conn);
                let replaced = newest.is_some_and(|newest| of(newest) > of(conn));
                let ended = if replaced { Some(conn) } else { newest.filter(|newest| *newest != conn) };
                if !replaced {
                    self.servers[s].conns.insert(worker.clone(), conn);
                }
                if let Some(ended) = ended.filter(|ended| !self.conns[*ended].broken) {
                    self.break_connection(ended, false);
                }
                for event in up.events {
                    // A connection that was replaced can't say any more who is there.
                    if replaced && matches!(event, WorkerEvent::Joined { .. } | WorkerEvent::Away) {
                        continue;
                    }
                    self.step(s, engine, Input::Worker { worker: worker.clone(), incarnation, event })?;
                }
                beats.extend(up.beat.map(|beat| (conn, beat)));
                Ok(())
            }
            In::Command { id, command } => {
                for need in engine.needs(&command) {
                    let run = match need {
                        Need::Run(run) => Some(run),
                        Need::RunId(dag, run_id) => self.disk.run_ids.get(&(dag, run_id)).copied(),
                        Need::AssetEvent(asset, key) => {
                            let mut told = self.disk.asset_events.values();
                            let told =
                                told.find(|event| event.asset == asset && event.key.as_ref() == Some(&key));
                            if let Some(event) = told.map(|event| event.id) {
                                self.step(s, engine, Input::AssetEventKnown { asset, key, event })?;
                            }
                            None
                        }
                    };
                    if let Some((version, run)) = run.and_then(|run| self.disk.run(run)) {
                        self.step(s, engine, Input::Loaded { version, run: Box::new(run) })?;
                    }
                }
                self.step(s, engine, Input::Command { id, by: "luffy".into(), command })
            }
            In::Past(want) => {
                let before = self.disk.run_before(&want.dag, want.logical_date, want.only_scheduled);
                let found = before.and_then(|run| self.disk.run(run)).map(Box::new);
                self.step(s, engine, Input::Past { of: want.before, found })
            }
        }
    }

    fn step(&mut self, s: usize, engine: &mut Engine, input: Input) -> Step {
        let now = self.wall(s);
        self.coverage.note(engine, &input, self.checks.fault_in_force(self.now));
        say!(self, "server {s} takes {}", crate::coverage::Shown(&input));
        engine.step(now, input);
        engine.check().map_err(|broken| format!("an invariant of the engine is broken: {broken}"))
    }

    fn draw_fate(&mut self) -> Fate {
        if self.calm {
            return Fate::Fine;
        }
        let faults = self.plan.faults.clone();
        let rng = &mut self.rng;
        if rng.chance(faults.commit_refused) {
            Fate::Refused
        } else if rng.chance(faults.commit_in_doubt) {
            Fate::InDoubt
        } else if rng.chance(faults.crash_before_commit) {
            Fate::CrashBefore
        } else if rng.chance(faults.crash_after_commit) {
            Fate::CrashAfter
        } else if rng.chance(faults.crash_amid_effects) {
            Fate::CrashAmid(rng.below(4) as usize)
        } else {
            Fate::Fine
        }
    }

    fn commit_and_act(&mut self, s: usize, mut engine: Engine, beats: &[(ConnId, u64)]) -> Step {
        let out = engine.take_output();
        if let Some(fault) = out.faults.first() {
            return Err(format!("an event came that can't: {fault}"));
        }
        let says_nothing = out.batch.is_empty();
        let fate = if says_nothing { Fate::Fine } else { self.draw_fate() };
        if let Some(fault) = fate.name() {
            self.note_fault(fault);
        }
        if fate == Fate::CrashBefore {
            self.crash(s, "before a commit");
            return Ok(());
        }
        if says_nothing {
            if self.now > self.servers[s].reign_until {
                self.step_down(s, "its time is up");
                return Ok(());
            }
        } else {
            if fate == Fate::Refused || !self.reaches_store(s) {
                self.rebuild(s, "a commit was refused");
                return Ok(());
            }
            if self.servers[s].fence != self.fence {
                self.step_down(s, "its fence is old");
                return Ok(());
            }
            say!(self, "server {s} commits {}", crate::coverage::ShownBatch(&out.batch));
            self.checks.before_commit(&self.disk, &out.batch, &self.workers, self.now)?;
            self.disk.apply(&out.batch)?;
            self.checks.after_commit(&self.disk, &out.batch)?;
            self.coverage.note_batch(&out.batch);
        }
        match fate {
            Fate::InDoubt => {
                self.rebuild(s, "nobody knows whether a commit was written");
                return Ok(());
            }
            Fate::CrashAfter => {
                self.crash(s, "after a commit");
                return Ok(());
            }
            Fate::Fine | Fate::CrashAmid(_) => {}
            Fate::Refused | Fate::CrashBefore => return Ok(()),
        }
        self.checks.same(&engine, &self.disk)?;
        if !says_nothing && self.rng.chance(0.05) {
            self.checks.restored(self.config(), &self.disk, self.wall(s))?;
        }
        for (done, effect) in out.effects.iter().enumerate() {
            if fate == Fate::CrashAmid(done) {
                self.crash(s, "amid its effects");
                return Ok(());
            }
            self.perform(s, effect)?;
        }
        for (conn, beat) in beats {
            // Whom the engine does not know has no lease that could be extended.
            let worker = &self.conns[*conn].name;
            let unknown = out.effects.iter().any(|effect| {
                let is_unknown = |message: &ToWorker| matches!(message, ToWorker::Rejoin | ToWorker::Outlived);
                matches!(effect, Effect::Send { worker: w, message, .. } if w == worker && is_unknown(message))
            });
            if !unknown {
                self.send_down(*conn, Down::Heartbeat(*beat));
            }
        }
        for want in out.wants {
            self.hand_in(s, In::Past(want));
        }
        self.servers[s].engine = Some(engine);
        self.plan_wake(s);
        Ok(())
    }

    /// Writes down what a worker has to know about an attempt, from what the store has of it.
    fn write_order(&mut self, attempt: AttemptId) -> bool {
        let Some((version, _)) = self.disk.run(attempt.ti.run) else { return false };
        let Ok(dag) = Dag::compile((*version.spec).clone()) else { return false };
        self.orders.entry(attempt).or_insert_with(|| Order::of(&dag, attempt.ti.task));
        true
    }

    fn perform(&mut self, s: usize, effect: &Effect) -> Step {
        match effect {
            Effect::Send { worker, incarnation, message } => {
                self.checks.on_send(&self.disk, worker, message)?;
                if let ToWorker::Assign(attempt) = message
                    && !self.write_order(*attempt)
                {
                    return Ok(());
                }
                let conn = self.servers[s].conns.get(worker).copied();
                if let Some(conn) = conn.filter(|conn| self.conns[*conn].incarnation == *incarnation) {
                    self.send_down(conn, Down::Message(*message));
                }
                Ok(())
            }
            Effect::Reply { id, reply } => {
                say!(self, "command {id} is answered: {reply:?}");
                self.users.on_reply(*id, reply);
                Ok(())
            }
            Effect::Deliver(id) => self.checks.on_deliver(&self.disk, *id),
        }
    }
}
