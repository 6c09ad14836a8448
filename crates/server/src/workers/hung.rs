//! Keepers that are there and do nothing: stopped, or hung. Only who watches over a keeper's process can tell that from one
//! that is not there.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use updraft_core::WorkerId;

use super::Workers;

/// For how long a worker has said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is connected, and nothing has come for so long while somebody listened.
    Connected(Duration),
    /// It is not connected, to a server that takes workers for so long.
    Unconnected(Duration),
}

/// How the keepers of a server are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keepers {
    /// Those that are there and do nothing, by their names.
    pub hung: Vec<String>,
    /// All that there may be end what they have, and none takes tasks.
    pub full: bool,
}

impl Workers {
    /// For how long this worker has said nothing; `None` where this server takes no workers, and so can't know.
    pub fn silence(&self, worker: &str) -> Option<Silence> {
        let connections = self.lock();
        let opened_at = (*self.opened_at.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(match connections.get(&WorkerId::from(worker)) {
            Some(connection) => {
                Silence::Connected(connection.heard.map_or(Duration::ZERO, |at| at.elapsed()))
            }
            None => Silence::Unconnected(opened_at.elapsed()),
        })
    }

    /// How the keepers are, as who watches over them has found.
    pub fn note_keepers(&self, keepers: Keepers) {
        *self.keepers.lock().unwrap_or_else(PoisonError::into_inner) = keepers;
    }

    /// How the keepers are; `None` where this server has none.
    pub(crate) fn keepers(&self) -> Option<Keepers> {
        self.keeper.as_ref().map(|_| self.keepers.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// A worker was heard of: now, or what it has said is passed on first, which may take long.
    pub(super) fn heard(&self, worker: &WorkerId, number: u64, at: Option<Instant>) {
        let mut connections = self.lock();
        if let Some(connection) = connections.get_mut(worker).filter(|connection| connection.number == number)
        {
            connection.heard = at;
        }
    }
}
