//! Connections between workers and servers: in order while they last, and anything may be lost with them.

use std::collections::VecDeque;

use updraft_core::{
    Incarnation, WorkerId,
    input::{ToWorker, WorkerEvent},
};

use crate::Micros;

/// A connection's number.
pub(crate) type ConnId = usize;

/// A WebSocket between a worker and a server.
#[derive(Debug)]
pub(crate) struct Conn {
    pub worker: usize,
    /// The worker's name, and its life as the engine knows it.
    pub name: WorkerId,
    pub incarnation: Incarnation,
    /// The life of the worker that opened it.
    pub life: u64,
    pub server: usize,
    /// The life of the server that took it.
    pub epoch: u64,
    /// Nothing arrives before what was sent before it.
    pub up_free: Micros,
    pub down_free: Micros,
    /// What is on its way to the worker, or waits until it does anything again.
    pub down: VecDeque<Down>,
    /// Neither side sends over it any more.
    pub broken: bool,
    /// Nothing that is sent over it from now on arrives, and nobody is told.
    pub silent: bool,
    /// What was on its way up when it broke still arrives, late, until something of it is lost.
    pub late: bool,
}

/// What a worker sends: some of what it says, and the number of a heartbeat where it is one.
#[derive(Clone, Debug)]
pub(crate) struct Up {
    pub events: Vec<WorkerEvent>,
    pub beat: Option<u64>,
}

/// What a server sends.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Message(ToWorker),
    /// The answer to this heartbeat.
    Heartbeat(u64),
}
