//! Orders that wait for the files they are of.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tracing::warn;
use updraft_core::{AttemptId, Engine, Incarnation, WorkerId};

use crate::git;

/// Files that are not there by then are not in the repository any more, perhaps: the task may say so itself.
const WITHIN: Duration = Duration::from_secs(120);

/// An order for a worker, in one of its lives.
pub(super) type Addressed = (WorkerId, Incarnation, AttemptId);

/// Keeps orders of runs on a commit whose files are not on this machine: a run that is cleared when it was over for long
/// stays on its commit, whose files are brought back then.
pub(super) struct HeldBack {
    files: Option<git::Present>,
    orders: Vec<(Instant, Addressed)>,
}

impl HeldBack {
    pub fn new(files: Option<git::Present>) -> Self {
        Self { files, orders: Vec::new() }
    }

    /// Whether an order is kept until its files are there.
    pub fn keeps(&mut self, engine: &Engine, order: &Addressed, now: Instant) -> bool {
        let kept = self.misses(engine, order.2);
        if kept {
            self.orders.push((now, order.clone()));
        }
        kept
    }

    /// The orders whose files are there now, and those that have waited for too long. What is wanted no more goes.
    pub fn released(&mut self, engine: &Engine, now: Instant) -> Vec<Addressed> {
        let mut released = Vec::new();
        for (since, order) in std::mem::take(&mut self.orders) {
            let (worker, _, attempt) = &order;
            if !engine.is_current(worker, *attempt) {
                continue;
            }
            let waits = self.misses(engine, *attempt);
            if waits && now.duration_since(since) < WITHIN {
                self.orders.push((since, order));
                continue;
            }
            if waits {
                warn!(%attempt, "the files of a run's commit can't be had; its task begins without them");
            }
            released.push(order);
        }
        released
    }

    /// Nothing waits: the engine is made anew, and gives its orders again.
    pub fn clear(&mut self) {
        self.orders.clear();
    }

    fn misses(&self, engine: &Engine, attempt: AttemptId) -> bool {
        let Some(files) = &self.files else { return false };
        let Some((_, dag)) = engine.run(attempt.ti.run) else { return false };
        let bundle = dag.spec().bundle.as_ref().filter(|bundle| bundle.name == git::BUNDLE);
        bundle.is_some_and(|bundle| files.misses(Path::new(&bundle.file)))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use jiff::Timestamp;
    use updraft_bundles::Checkouts;
    use updraft_core::{
        Bundle, Config, DagKey, DagSpec, TaskKind, TaskSpec,
        input::{Command, Effect, Input, Offer, ToWorker, Trigger, WorkerEvent},
        record::RunType,
    };

    use super::*;

    /// An engine and the order that a worker has of it, of a run on a commit in these checkouts.
    fn ordered(checkouts: &Checkouts) -> (Engine, Addressed) {
        let mut engine = Engine::new(Config::default());
        let mut dag = DagSpec::new("d");
        dag.tasks.push(TaskSpec::new("t", "bash", TaskKind::Run));
        let file = checkouts.all().join("1f2e/d.yaml").display().to_string();
        dag.bundle = Some(Bundle { name: git::BUNDLE.into(), version: "1f2e".into(), file });
        let put =
            Command::PutDag { spec: Arc::new(dag), hash: "h".into(), source: "s".into(), paused: false };
        let trigger = Command::Trigger(Trigger {
            dag: DagKey::new("default", "d"),
            run_id: None,
            logical_date: None,
            data_interval: None,
            run_after: None,
            conf: Arc::default(),
            tasks: Vec::new(),
            run_type: RunType::Manual,
            triggered_by: "cli",
        });
        let offer = Offer { slots: 1, queues: vec!["default".into()], ..Offer::default() };
        let event = WorkerEvent::Joined { join: 1, offer, namespace: None, held: Vec::new() };
        engine.step(
            Timestamp::UNIX_EPOCH,
            Input::Worker { worker: "w".into(), incarnation: Incarnation(1), event },
        );
        for command in [put, trigger] {
            engine.step(Timestamp::UNIX_EPOCH, Input::Command { id: 1, by: "me".into(), command });
        }
        let effects = engine.take_output().effects.into_iter();
        let mut orders = effects.filter_map(|effect| match effect {
            Effect::Send { worker, incarnation, message: ToWorker::Assign(attempt) } => {
                Some((worker, incarnation, attempt))
            }
            _ => None,
        });
        let order = orders.next().unwrap();
        (engine, order)
    }

    #[test]
    fn an_order_waits_for_its_files_two_minutes_at_most_and_not_once_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let checkouts = Checkouts { folder: folder.path().to_owned(), subdir: Default::default() };
        let (mut engine, order) = ordered(&checkouts);
        let mut held = HeldBack::new(Some(git::Present::of(checkouts.clone())));
        let start = Instant::now();
        let late = start + WITHIN;
        let before = late - Duration::from_millis(1);

        assert!(held.keeps(&engine, &order, start));
        assert_eq!(held.released(&engine, before), []);
        assert_eq!(
            held.released(&engine, late),
            std::slice::from_ref(&order),
            "without its files: it may say so itself"
        );

        assert!(held.keeps(&engine, &order, start));
        fs::create_dir_all(checkouts.all().join("1f2e")).unwrap();
        assert_eq!(held.released(&engine, start), std::slice::from_ref(&order), "its files are there");
        assert!(!held.keeps(&engine, &order, start));

        fs::remove_dir(checkouts.all().join("1f2e")).unwrap();
        assert!(held.keeps(&engine, &order, start));
        let (worker, incarnation, _) = order;
        engine.step(Timestamp::UNIX_EPOCH, Input::Worker { worker, incarnation, event: WorkerEvent::Left });
        assert_eq!(held.released(&engine, late), [], "nobody wants it");
    }
}
