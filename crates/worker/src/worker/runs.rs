//! What orders say of their runs, kept once for all orders of a run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use updraft_core::{
    RunKey,
    protocol::{Order, OrderRun},
};

/// So many runs are known before those are forgotten that no attempt is of any more.
const KEPT: usize = 64;

/// The runs of the orders that are held.
#[derive(Default)]
pub(super) struct Runs {
    known: BTreeMap<RunKey, Weak<OrderRun>>,
    /// How many may be known before the next look.
    look_at: usize,
}

impl Runs {
    /// The order, with its run shared with others that say the same of it: each comes with its own, and ten thousand
    /// sensors of ten runs are to take the room of ten.
    pub fn share(&mut self, mut order: Arc<Order>) -> Arc<Order> {
        let run = order.attempt.ti.run;
        match self.known.get(&run).and_then(Weak::upgrade).filter(|known| **known == *order.run) {
            Some(known) => {
                if let Some(order) = Arc::get_mut(&mut order) {
                    order.run = known;
                }
            }
            None => {
                self.known.insert(run, Arc::downgrade(&order.run));
                if self.known.len() > self.look_at.max(KEPT) {
                    self.known.retain(|_, run| run.strong_count() > 0);
                    self.look_at = self.known.len() * 2;
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it comes over the wire: with a run of its own.
    fn order(run: i64, task: u32, run_id: &str) -> Arc<Order> {
        let order = serde_json::json!({
            "attempt": {"ti": {"run": run, "task": task, "map_index": -1}, "try_number": 1, "lease": 1},
            "watch": true,
            "operator": "HttpSensor",
            "args": {},
            "task": {"task_id": "t", "max_tries": 0, "do_xcom_push": true, "owner": "o"},
            "run": {
                "namespace": "default", "dag_id": "d", "run_id": run_id, "run_type": "manual",
                "run_after": "2026-01-01T00:00:00Z", "conf": {}, "params": {}, "template": {}, "version": 1,
                "timezone": "UTC", "source": "d.yaml", "tags": [],
            },
        });
        Arc::new(serde_json::from_value(order).unwrap())
    }

    #[test]
    fn orders_of_a_run_share_what_they_say_of_it_and_only_while_they_say_the_same() {
        let mut runs = Runs::default();
        let (first, second) = (runs.share(order(1, 0, "a")), runs.share(order(1, 1, "a")));
        assert!(Arc::ptr_eq(&first.run, &second.run));
        let changed = runs.share(order(1, 2, "b"));
        assert_eq!(&*changed.run.run_id, "b");
        assert!(!Arc::ptr_eq(&first.run, &changed.run));
        for run in 2..1000 {
            runs.share(order(run, 0, "c"));
        }
        assert!(runs.known.len() <= KEPT * 2, "{} runs are known that nobody has", runs.known.len());
    }
}
