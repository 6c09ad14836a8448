//! The connections of workers: what they say goes to the leader, what the engine tells them goes to them.

pub(crate) mod api;
mod ends;
mod hung;
mod runs;
mod socket;

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use updraft_core::{
    DeliveryId, Incarnation, Namespace, WorkerId,
    input::Offer,
    protocol::{Call, CallOutcome, FromServer},
};

use crate::accounts::JoinToken;

pub use self::hung::{Keepers, Silence};
pub(crate) use self::socket::serve;

/// The workers that are connected now.
#[derive(Default)]
pub struct Workers {
    connections: Mutex<HashMap<WorkerId, Connection>>,
    /// Whether this server leads no more, and takes no worker. Changed while `connections` is held.
    closed: AtomicBool,
    /// Until when it is certain that this server leads; for ever, where nobody else could.
    certain_until: Mutex<Option<watch::Receiver<Instant>>>,
    /// The number of the next connection.
    number: AtomicU64,
    keeper: Option<Offer>,
    /// Since when this server takes workers.
    opened_at: Mutex<Option<Instant>>,
    /// How the keepers are, as who watches over them has found.
    keepers: Mutex<Keepers>,
    /// Told when one that calls functions has come.
    came: Notify,
}

struct Connection {
    incarnation: Incarnation,
    /// Tells this connection from every other.
    number: u64,
    sender: mpsc::UnboundedSender<FromServer>,
    about: About,
    /// When it was last heard of; `None` while what it has said is being passed on, and nobody listens.
    heard: Option<Instant>,
    /// The token that it joined with, where that can be revoked.
    token: Option<JoinToken>,
    /// Who waits for what becomes of the calls that it was given. They hear of it when the connection is gone.
    calls: HashMap<DeliveryId, oneshot::Sender<CallOutcome>>,
}

impl Connection {
    /// Whether it works for this namespace.
    fn is_for(&self, namespace: &Namespace) -> bool {
        self.token.as_ref().and_then(|token| token.namespace.as_ref()).is_none_or(|own| own == namespace)
    }
}

/// What a worker is told whose token was revoked.
pub(crate) const TOKEN_REVOKED: &str = "the token that it joined with was revoked. To let it join again, make it another \
     with `updraft tokens create NAME --join`, and start it with that";

/// What a worker says of itself, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// The machine's name.
    pub hostname: String,
    /// Its process id.
    pub pid: u32,
    /// Whether it calls functions about runs.
    pub calls: bool,
    /// Whether it can be asked to drain.
    pub drains: bool,
}

/// Why a worker was not asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// It is not connected here.
    NotThere,
    /// Its program is too old to know what is asked.
    TooOld,
}

/// Why a worker's connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotAdded {
    /// This server does not lead.
    Closed,
    /// A later life of the worker is connected.
    Outlived,
}

impl Workers {
    /// The name that the keeper joins under.
    pub const KEEPER: &'static str = "keeper";

    /// Whether a keeper joins under this name: that which takes the place of one whose tasks are not over has a number.
    pub fn is_keeper(name: &str) -> bool {
        let number = name.strip_prefix(Self::KEEPER).and_then(|rest| rest.strip_prefix('-'));
        name == Self::KEEPER || number.is_some_and(|number| number.parse::<u32>().is_ok())
    }

    /// With a keeper, which is to offer this.
    pub fn with_keeper(offer: Offer) -> Self {
        Self { keeper: Some(offer), ..Self::default() }
    }

    /// What this worker is to offer, where that is this server's to say.
    fn offer(&self, worker: &WorkerId) -> Option<Offer> {
        self.keeper.clone().filter(|_| Self::is_keeper(worker))
    }

    /// Sends a message to a worker, where it is connected in this life. What does not reach it is told again
    /// when it joins.
    pub fn send(&self, worker: &WorkerId, incarnation: Incarnation, message: FromServer) {
        let connections = self.lock();
        let same = |connection: &&Connection| connection.incarnation == incarnation;
        if let Some(connection) = connections.get(worker).filter(same) {
            let _ = connection.sender.send(message);
        }
    }

    /// Asks a worker to take nothing more, or work again, whichever of its lives is connected.
    pub(crate) fn ask(&self, worker: &WorkerId, what: FromServer) -> Result<(), Unasked> {
        let connections = self.lock();
        let connection = connections.get(worker).ok_or(Unasked::NotThere)?;
        if !connection.about.drains {
            return Err(Unasked::TooOld);
        }
        connection.sender.send(what).map_err(|_| Unasked::NotThere)
    }

    /// Takes workers, since this server leads, for certain until that time.
    pub fn open(&self, certain_until: watch::Receiver<Instant>) {
        let _connections = self.lock();
        *self.certain_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(certain_until);
        *self.opened_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.closed.store(false, Ordering::Relaxed);
    }

    /// Ends all connections, and takes none, since another server leads: workers are to look for that one. A worker that
    /// stayed would be told that it is heard of, while its tasks are given to others.
    pub fn close(&self) {
        let mut connections = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        *self.opened_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        connections.clear();
    }

    /// Whether nobody else leads, for certain. While another may, no worker is to be told that it is heard of.
    fn is_certain(&self) -> bool {
        let certain_until = self.certain_until.lock().unwrap_or_else(PoisonError::into_inner);
        certain_until.as_ref().is_none_or(|until| *until.borrow() > Instant::now())
    }

    /// Ends the connections of workers that have joined with the token of this hash, which was revoked. They are told, and
    /// end what they run; their leases go on until they pass, since nobody knows when that is over.
    pub(crate) fn turn_out(&self, hash: &str) {
        let connections = self.lock();
        let joined_with =
            |connection: &&Connection| connection.token.as_ref().is_some_and(|token| token.hash == hash);
        for connection in connections.values().filter(joined_with) {
            let _ = connection.sender.send(FromServer::Refused(TOKEN_REVOKED.into()));
        }
    }

    /// Has every worker join again: the engine has forgotten who is there.
    pub fn rejoin_all(&self) {
        for connection in self.lock().values() {
            let _ = connection.sender.send(FromServer::Rejoin);
        }
    }

    /// Who is connected.
    pub fn connected(&self) -> Vec<(WorkerId, About)> {
        self.lock().iter().map(|(id, connection)| (id.clone(), connection.about.clone())).collect()
    }

    /// Whether there is one that calls functions about runs.
    pub(crate) fn can_call(&self) -> bool {
        self.lock().values().any(|connection| connection.about.calls)
    }

    /// Waits until one may have come that does.
    pub(crate) async fn one_that_calls(&self) {
        self.came.notified().await;
    }

    /// Has the worker call a function that has the fewest to call. What becomes of it is told, unless the connection goes
    /// before; `None` where no worker is there that works for the run's namespace.
    pub(crate) fn call(&self, call: Call) -> Option<(WorkerId, oneshot::Receiver<CallOutcome>)> {
        let mut connections = self.lock();
        let of = &call.order.run.namespace;
        let able =
            connections.iter_mut().filter(|(_, connection)| connection.about.calls && connection.is_for(of));
        let (worker, connection) =
            able.min_by(|(a, one), (b, other)| (one.calls.len(), a).cmp(&(other.calls.len(), b)))?;
        let (sender, outcome) = oneshot::channel();
        connection.calls.insert(call.id, sender);
        let _ = connection.sender.send(FromServer::Call(Box::new(call)));
        Some((worker.clone(), outcome))
    }

    /// What became of a call is in the store.
    pub(crate) fn forget_call(&self, worker: &WorkerId, id: DeliveryId) {
        if let Some(connection) = self.lock().get(worker) {
            let _ = connection.sender.send(FromServer::Forget(id));
        }
    }

    /// A worker has said what became of a call.
    fn called(&self, worker: &WorkerId, number: u64, id: DeliveryId, outcome: CallOutcome) {
        let mut connections = self.lock();
        let connection = connections.get_mut(worker).filter(|connection| connection.number == number);
        if let Some(waiting) = connection.and_then(|connection| connection.calls.remove(&id)) {
            // Where nobody waits any more, it is asked for again.
            let _ = waiting.send(outcome);
        }
    }

    fn add(
        &self,
        worker: WorkerId,
        incarnation: Incarnation,
        about: About,
        token: Option<JoinToken>,
    ) -> Result<(u64, mpsc::UnboundedReceiver<FromServer>), NotAdded> {
        let mut connections = self.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(NotAdded::Closed);
        }
        let before = connections.get(&worker);
        if before.is_some_and(|before| before.incarnation > incarnation) {
            return Err(NotAdded::Outlived);
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        if about.calls {
            self.came.notify_one();
        }
        let calls = HashMap::new();
        let heard = Some(Instant::now());
        connections.insert(worker, Connection { incarnation, number, sender, about, heard, token, calls });
        Ok((number, receiver))
    }

    /// Whether it was the latest connection of this worker.
    fn remove(&self, worker: &WorkerId, number: u64) -> bool {
        let mut connections = self.lock();
        let latest = connections.get(worker).is_some_and(|connection| connection.number == number);
        if latest {
            connections.remove(worker);
        }
        latest
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WorkerId, Connection>> {
        // A map is whole whatever panicked while it was held.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
