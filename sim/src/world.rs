//! The world of one seed: its clock, its events, and what happens at each.

/// Writes a line of the trace. A macro, so that the line may tell of anything in the world.
macro_rules! say {
    ($world:expr, $($what:tt)*) => {
        $world.trace.line($world.now, format_args!($($what)*))
    };
}

mod faults;
mod server;
mod users;
mod workers;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use updraft_core::{AttemptId, Config};

use crate::{
    Failure, Micros, Options, SECOND, Summary,
    checks::Checks,
    coverage::Coverage,
    disk::Disk,
    net::{Conn, ConnId, Up},
    plan::Plan,
    rng::Rng,
    trace::Trace,
    worker::Worker,
    workload::outcome::Order,
};
use server::Server;

/// What happens at a time.
#[derive(Clone, Debug)]
enum Event {
    /// Something arrives at a server.
    Arrives { conn: ConnId, up: Up },
    /// The next thing arrives at a worker.
    Told { conn: ConnId },
    /// A server takes what has arrived.
    Turn { server: usize, epoch: u64 },
    /// A server's engine wanted to be woken.
    Wake { server: usize, epoch: u64, plan: u64 },
    /// A server tries to become the leader, or to remain it.
    Lead { server: usize, epoch: u64, plan: u64 },
    /// A server starts.
    ServerUp { server: usize },
    /// A worker says that it is there, or tries to reach a server.
    Beat { worker: usize, life: u64, plan: u64 },
    /// A worker looks whether its lease is over.
    Lease { worker: usize, life: u64 },
    /// An attempt's process begins.
    Begin { worker: usize, life: u64, attempt: AttemptId },
    /// An attempt's process ends.
    End { worker: usize, life: u64, attempt: AttemptId, plan: u64 },
    /// A worker starts anew.
    WorkerUp { worker: usize },
    /// Something goes wrong.
    Fault(faults::Fault),
    /// Somebody wants something.
    User,
    /// Somebody looks after what is stuck, when the faults have stopped.
    Care,
}

pub(crate) struct World {
    seed: u64,
    plan: Plan,
    rng: Rng,
    now: Micros,
    queue: BTreeMap<(Micros, u64), Event>,
    planned: u64,
    events: u64,
    disk: Disk,
    store_down_until: Micros,
    /// The highest fence, who has it, and until when nobody else may take it.
    fence: u64,
    leader: usize,
    reign_until: Micros,
    servers: Vec<Server>,
    workers: Vec<Worker>,
    conns: Vec<Conn>,
    /// What workers are told about the attempts that they are given.
    orders: BTreeMap<AttemptId, Order>,
    users: users::Users,
    checks: Checks,
    coverage: Coverage,
    trace: Trace,
    /// Faults and commands have stopped.
    calm: bool,
    done: bool,
}

type Step = Result<(), String>;

/// How many servers there are.
pub(crate) const SERVERS: usize = 2;

/// So many events within a second are no longer chance.
const SPINS: u32 = 20_000;

impl World {
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let users = users::Users::new(rng.fork());
        Self {
            seed,
            now: 0,
            queue: BTreeMap::new(),
            planned: 0,
            events: 0,
            disk: Disk::default(),
            store_down_until: 0,
            fence: 0,
            leader: 0,
            reign_until: 0,
            servers: (0..SERVERS).map(|_| Server::new()).collect(),
            workers: Vec::new(),
            conns: Vec::new(),
            orders: BTreeMap::new(),
            users,
            checks: Checks::new(plan.faults.clock_steps.is_none()),
            coverage: Coverage::default(),
            trace: Trace::new(options.trace),
            calm: false,
            done: false,
            plan,
            rng,
        }
    }

    /// Lets the world go its way until all is over.
    pub fn run(mut self) -> Result<Summary, Box<Failure>> {
        // A panic is a failure like another; what is left of the world is only looked at.
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.live()));
        match lived.unwrap_or_else(|panic| Err(format!("a panic: {}", told_by(&*panic)))) {
            Ok(()) => Ok(Summary {
                seed: self.seed,
                events: self.events,
                virtual_time: SignedDuration::from_micros(self.now),
                trace_hash: self.trace.hash(),
                coverage: self.coverage,
            }),
            Err(message) => Err(Box::new(Failure {
                seed: self.seed,
                message,
                at: SignedDuration::from_micros(self.now),
                events: self.events,
                trace: self.trace.into_tail(),
            })),
        }
    }

    fn live(&mut self) -> Step {
        say!(self, "{:?}", self.plan);
        self.begin();
        let (mut second, mut at_once) = (0, 0);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if self.done {
                break;
            }
            if at >= second + SECOND {
                (second, at_once) = (at, 0);
            }
            at_once += 1;
            if at_once > SPINS {
                return Err(format!("the world spins: {SPINS} things happen within a second"));
            }
            self.now = at;
            self.events += 1;
            if !self.calm && self.now >= self.plan.active {
                self.calm_down();
            }
            self.happen(event)?;
        }
        self.checks.at_the_end(&self.disk)
    }

    fn begin(&mut self) {
        self.hire_workers();
        self.after(0, Event::ServerUp { server: 0 });
        let second = self.rng.between(0, 60 * SECOND);
        self.after(second, Event::ServerUp { server: 1 });
        self.after(SECOND, Event::User);
        self.plan_faults();
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::Arrives { conn, up } => self.on_arrival(conn, up),
            Event::Told { conn } => return self.on_told(conn),
            Event::Turn { server, epoch } => return self.on_turn(server, epoch),
            Event::Wake { server, epoch, plan } => self.on_wake(server, epoch, plan),
            Event::Lead { server, epoch, plan } => return self.on_lead(server, epoch, plan),
            Event::ServerUp { server } => self.on_server_up(server),
            Event::Beat { worker, life, plan } => self.on_beat(worker, life, plan),
            Event::Lease { worker, life } => self.on_lease(worker, life),
            Event::Begin { worker, life, attempt } => return self.on_begin(worker, life, attempt),
            Event::End { worker, life, attempt, plan } => self.on_end(worker, life, attempt, plan),
            Event::WorkerUp { worker } => self.on_worker_up(worker),
            Event::Fault(fault) => self.on_fault(fault),
            Event::User => self.on_user(),
            Event::Care => return self.on_care(),
        }
        Ok(())
    }

    fn after(&mut self, delay: Micros, event: Event) {
        self.planned += 1;
        self.queue.insert((self.now + delay.max(0), self.planned), event);
    }

    fn at(&mut self, time: Micros, event: Event) {
        self.after(time - self.now, event);
    }

    /// What a server's clock shows.
    fn wall(&self, server: usize) -> Timestamp {
        wall(self.now + self.servers[server].skew)
    }

    /// What a worker's clock shows, or showed at another time of the world.
    fn wall_of(&self, w: usize, at: Micros) -> Timestamp {
        wall(at + self.workers[w].skew)
    }

    fn config(&self) -> Config {
        Config { lease: SignedDuration::from_micros(self.plan.lease), ..Config::default() }
    }
}

fn told_by(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

/// A time of the world on a clock that was never set.
pub(crate) fn wall(at: Micros) -> Timestamp {
    const BEGINNING: i64 = 1_767_225_600_000_000;
    Timestamp::from_microsecond(BEGINNING + at).unwrap_or(Timestamp::MAX)
}
