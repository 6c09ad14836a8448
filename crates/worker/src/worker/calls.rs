//! The functions that a worker calls about runs, each until the server has written what became of it.
//!
//! A server that comes after one which died asks for the same again, and is told of the call that there is.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};
use updraft_core::{
    DeliveryId,
    protocol::{Call, CallOutcome},
};

use super::{attempt::Tools, callbacks::call_about_run, wanted::Wanted};

/// What no server has asked for again for so long, none will.
const KEPT: Duration = Duration::from_secs(3600);

/// What became of a call.
pub(super) type Called = (DeliveryId, CallOutcome);

/// See the module.
pub(super) struct Calls {
    known: BTreeMap<DeliveryId, Phase>,
    happened: mpsc::UnboundedSender<Called>,
}

enum Phase {
    Running(watch::Sender<Wanted>),
    Over(CallOutcome, Instant),
}

impl Calls {
    /// None; what becomes of those that come is told by the receiver.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Called>) {
        let (happened, receiver) = mpsc::unbounded_channel();
        (Self { known: BTreeMap::new(), happened }, receiver)
    }

    /// Calls a function, unless it is being called already, or was, or the worker stops.
    pub fn begin(&mut self, call: Call, tools: &Arc<Tools>, stops: bool) {
        self.known.retain(|_, phase| !matches!(phase, Phase::Over(_, at) if at.elapsed() > KEPT));
        match self.known.get(&call.id) {
            Some(Phase::Running(_)) => return,
            Some(Phase::Over(outcome, _)) => {
                let _ = self.happened.send((call.id, outcome.clone()));
                return;
            }
            None if stops => {
                let why = "its worker is to stop".to_owned();
                let _ = self.happened.send((call.id, CallOutcome::NotCalled(why)));
                return;
            }
            None => {}
        }
        let id = call.id;
        let (sender, wanted) = watch::channel(Wanted::Run);
        let (tools, happened) = (tools.clone(), self.happened.clone());
        tokio::spawn(async move {
            // In a task of its own, so that one that panics has an end, too.
            let called = tokio::spawn(async move { call_about_run(&call, &tools, wanted).await });
            let outcome = called.await.unwrap_or_else(|panic| {
                let message = format!("failed in a way it should not; please report this: {panic}");
                CallOutcome::Failed(message)
            });
            // Nobody to tell only when the worker itself is going.
            let _ = happened.send((id, outcome));
        });
        self.known.insert(id, Phase::Running(sender));
    }

    /// It is over in this way. One that is to be called anew is not kept.
    pub fn end(&mut self, (id, outcome): &Called) {
        match outcome {
            CallOutcome::Done | CallOutcome::Failed(_) => {
                self.known.insert(*id, Phase::Over(outcome.clone(), Instant::now()));
            }
            CallOutcome::NotCalled(_) | CallOutcome::Broken(_) => {
                self.known.remove(id);
            }
        }
    }

    /// The server has written what became of it.
    pub fn forget(&mut self, id: DeliveryId) {
        if matches!(self.known.get(&id), Some(Phase::Over(..))) {
            self.known.remove(&id);
        }
    }

    /// Whether any is being called.
    pub fn any_runs(&self) -> bool {
        self.known.values().any(|phase| matches!(phase, Phase::Running(_)))
    }

    /// Whether no server may know what became of one: the next will ask.
    pub fn any_untold(&self) -> bool {
        let untold = |phase: &Phase| matches!(phase, Phase::Over(_, at) if at.elapsed() <= KEPT);
        self.known.values().any(untold)
    }

    /// Ends those that are being called; what goes on for so long after SIGTERM is killed.
    pub fn end_all(&self, grace: Duration) {
        for phase in self.known.values() {
            if let Phase::Running(wanted) = phase {
                wanted.send_replace(Wanted::End(grace));
            }
        }
    }
}
