//! Workers that come, go, come back and are told.

use jiff::SignedDuration;
use updraft_core::{
    AttemptId, DagKey, End, Incarnation, MapIndex, RetryPolicy, RunKey, TaskIx, TiKey, TiStateName as S,
    input::{AttemptEnd, Command, Effect, Input, Offer, Outcome, Report, ToWorker, WorkerEvent},
};

use crate::world::{World, clear, dag};

#[test]
fn an_order_is_for_one_life_of_a_worker() {
    let mut world = World::new(1);
    world.put(dag("d", &["a", "b"], &[]));
    world.trigger("d");
    // Two steps, and then what is to be done about both. What is lost for the second time waits, and lets the other in.
    for life in [2, 3] {
        let (queues, namespace, held) = (vec!["default".into()], None, Vec::new());
        let event = WorkerEvent::Joined {
            join: 1,
            offer: Offer { slots: 1, queues, ..Offer::default() },
            namespace,
            held,
        };
        let incarnation = Incarnation(life);
        world.engine.step(world.now, Input::Worker { worker: "w".into(), incarnation, event });
    }
    let sends = world.engine.take_output().effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { incarnation, message: ToWorker::Assign(attempt), .. } => {
            Some((incarnation, attempt.ti.task, attempt.try_number))
        }
        _ => None,
    });
    assert_eq!(sends.collect::<Vec<_>>(), [(Incarnation(2), TaskIx(0), 2), (Incarnation(3), TaskIx(1), 1)]);
}

#[test]
fn what_is_lost_again_and_again_begins_after_longer_and_longer_pauses() {
    let mut world = World::new(1);
    world.beats = false;
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].max_lost = 9;
    world.put(spec);
    let run = world.trigger("d");
    let first = world.assigned()[0];
    let mut pauses = Vec::new();
    for life in 2..8 {
        world.join(life, 1, Vec::new());
        if pauses.len() == 3 {
            // The next server knows it, too.
            world.restart();
            world.join(life, 1, Vec::new());
        }
        let mut seconds = 0;
        while world.state(run, "a") != S::Queued {
            assert_eq!(world.state(run, "a"), S::UpForRetry);
            let why = world.engine.explain(first.ti).unwrap();
            let said = format!("{} were lost in a row", pauses.len() + 1);
            assert!(why.reasons[0].contains(&said) && why.until.is_some(), "{why:?}");
            world.worker(life, WorkerEvent::Heartbeat);
            world.now += SignedDuration::from_secs(1);
            world.step(Input::Clock);
            seconds += 1;
        }
        pauses.push(seconds);
    }
    assert_eq!(pauses, [0, 1, 5, 30, 30, 30]);
    let last = world.assigned().pop().unwrap();
    assert_eq!(last.try_number, 7);
    world.worker(
        7,
        WorkerEvent::Report {
            attempt: last,
            at: world.now,
            report: Report::Ended(Box::new(Outcome::new(AttemptEnd::Success))),
        },
    );
    assert_eq!(world.state(run, "a"), S::Success);
    // Each is in the history once.
    let lost = world.batches.iter().flat_map(|batch| &batch.history).map(|row| row.try_number);
    assert_eq!(lost.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn an_earlier_life_of_a_worker_is_told_to_end_and_counts_no_more() {
    let mut world = World::new(1);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.join(2, 1, Vec::new());
    let second = world.assigned().pop().unwrap();
    let (queues, namespace, held) = (vec!["default".into()], None, vec![first]);
    let joined = WorkerEvent::Joined {
        join: 7,
        offer: Offer { slots: 1, queues, ..Offer::default() },
        namespace,
        held,
    };
    let ended = Report::Ended(Box::new(Outcome::new(AttemptEnd::Success)));
    let ended = WorkerEvent::Report { attempt: first, at: world.now, report: ended };
    for event in [joined, ended, WorkerEvent::Heartbeat, WorkerEvent::Draining, WorkerEvent::Left] {
        let incarnation = Incarnation(1);
        world.engine.step(world.now, Input::Worker { worker: "w".into(), incarnation, event: event.clone() });
        let outlived = Effect::Send { worker: "w".into(), incarnation, message: ToWorker::Outlived };
        assert_eq!(world.engine.take_output().effects, [outlived], "{event:?}");
    }
    assert_eq!(world.state(run, "a"), S::Queued);
    world.worker(
        2,
        WorkerEvent::Report {
            attempt: second,
            at: world.now,
            report: Report::Ended(Box::new(Outcome::new(AttemptEnd::Success))),
        },
    );
    assert_eq!(world.state(run, "a"), S::Success);
}

#[test]
fn a_worker_that_has_a_task_of_another_leaders_run_of_that_number_is_told_to_end_it() {
    let mut world = World::new(1);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let given = world.assigned()[0];
    let elsewhere = AttemptId { ti: TiKey { task: TaskIx(6), ..given.ti }, ..given };
    world.join(1, 2, vec![given, elsewhere]);
    assert!(world.told.contains(&ToWorker::Cancel(elsewhere)), "{:?}", world.told);
    assert_eq!(world.state(run, "a"), S::Queued);
}

#[test]
fn attempts_lost_too_often_in_a_row_fail() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    for life in 2..6 {
        assert_eq!(world.assigned().len(), 1);
        world.join(life, 8, Vec::new());
        world.pass(SignedDuration::from_secs(5));
    }
    assert_eq!(world.state(run, "a"), S::Failed);
}

#[test]
fn what_is_lost_too_often_in_a_row_has_its_retries_unless_it_may_have_done_its_work() {
    for (max_lost, losses, expected) in [(1, 2, S::UpForRetry), (1, 4, S::Failed), (0, 1, S::Failed)] {
        let mut world = World::new(8);
        let mut spec = dag("d", &["a"], &[]);
        spec.tasks[0].max_lost = max_lost;
        spec.tasks[0].retry =
            RetryPolicy { retries: 1, delay: SignedDuration::from_mins(5), ..RetryPolicy::default() };
        world.put(spec);
        let run = world.trigger("d");
        let mut life = 1;
        for _ in 0..losses {
            if world.state(run, "a") == S::UpForRetry {
                world.pass(SignedDuration::from_mins(6));
                life += 1;
                world.join(life, 8, Vec::new());
            }
            assert_eq!(world.state(run, "a"), S::Queued, "{max_lost}");
            life += 1;
            world.join(life, 8, Vec::new());
        }
        assert_eq!(world.state(run, "a"), expected, "{max_lost}");
        let reason = world.stored(run).1.tis[0].reason.clone();
        assert!(reason.as_deref().is_some_and(|why| why.starts_with("lost ")), "{reason:?}");
    }
}

#[test]
fn attempts_that_end_as_their_worker_is_stopped_in_order_are_not_counted() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    for life in 1..9 {
        let attempt = world.assigned()[0];
        world.told.clear();
        world.worker(life, WorkerEvent::Draining);
        let event = WorkerEvent::Report {
            attempt,
            at: world.now,
            report: Report::Ended(Box::new(Outcome::new(AttemptEnd::Cancelled))),
        };
        world.worker(life, event);
        world.worker(life, WorkerEvent::Left);
        assert_eq!(world.state(run, "a"), S::Scheduled);
        world.join(life + 1, 8, Vec::new());
    }
    assert_eq!(world.state(run, "a"), S::Queued);
}

#[test]
fn who_joins_to_end_what_it_has_is_given_nothing_else() {
    let mut world = World::new(1);
    world.put(dag("d", &["a", "b"], &[]));
    world.trigger("d");
    let first = world.assigned()[0];
    let offer = Offer { slots: 8, queues: vec!["default".into()], draining: true, ..Offer::default() };
    world.worker(1, WorkerEvent::Joined { join: 1, offer, namespace: None, held: vec![first] });
    assert_eq!(world.assigned(), []);
    world.end(first, AttemptEnd::Success);
    assert_eq!(world.assigned(), []);
    world.join(2, 8, Vec::new());
    assert_eq!(world.assigned().len(), 1);
}

#[test]
fn a_task_that_waits_behind_a_worker_that_is_being_stopped_says_so() {
    let mut world = World::new(1);
    world.put(dag("d", &["a", "b"], &[]));
    world.trigger("d");
    let first = world.assigned()[0];
    world.worker(1, WorkerEvent::Draining);
    let waits = if first.ti.task == TaskIx(0) { TaskIx(1) } else { TaskIx(0) };
    let why = world.engine.explain(TiKey { task: waits, ..first.ti }).unwrap();
    let said = "worker `w` takes nothing more, since it drains or is being stopped, with 1 left; another has to come, or \
                this one to be resumed (`updraft workers resume w`)";
    assert_eq!(why.reasons, [said]);
}

#[test]
fn a_worker_that_comes_back_in_the_same_life_is_told_again_what_it_missed() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    world.trigger("d");
    let attempt = world.assigned()[0];
    world.join(1, 8, Vec::new());
    assert_eq!(world.assigned(), [attempt]);
    world.join(1, 8, vec![attempt]);
    assert!(world.assigned().is_empty());
}

#[test]
fn what_is_cleared_before_its_worker_heard_of_it_is_not_begun() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    world.told.clear();
    world.join(1, 8, Vec::new());
    let second = AttemptId { try_number: 2, lease: first.lease + 1, ..first };
    assert_eq!(world.told, [ToWorker::Joined(1), ToWorker::Assign(second)]);
}

#[test]
fn what_is_marked_before_its_worker_heard_of_it_takes_no_slot_once_the_worker_has_joined() {
    let mut world = World::new(1);
    world.put(dag("d", &["a", "b"], &[]));
    world.trigger("d");
    let first = world.assigned()[0];
    world.command(Command::Mark { tis: vec![first.ti], state: End::Success }).unwrap();
    assert!(world.assigned().is_empty(), "the worker may have it");
    world.told.clear();
    world.join(1, 1, Vec::new());
    let ToWorker::Assign(second) = world.told[1] else { panic!("{:?}", world.told) };
    assert_ne!(second.ti, first.ti);
    // Orders from before this one are not begun any more.
    assert_eq!(world.told[0], ToWorker::Joined(1));
}

#[test]
fn a_task_that_is_cleared_after_it_was_marked_waits_until_its_attempt_has_ended() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.report(first, Report::Started);
    world.command(Command::Mark { tis: vec![first.ti], state: End::Failed }).unwrap();
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    world.told.clear();
    assert_eq!(world.state(run, "a"), S::Scheduled);
    let why = world.engine.ti(first.ti).unwrap().reason.clone().unwrap();
    assert!(why.contains("its attempt before has not ended yet on worker `w`"), "{why}");
    // Also for an engine that hears of it only now.
    world.join(1, 8, vec![first]);
    assert!(world.assigned().is_empty());
    world.end(first, AttemptEnd::Cancelled);
    assert_eq!(world.assigned()[0].try_number, 2);
}

#[test]
fn who_is_away_is_given_nothing_until_it_is_back_and_keeps_what_it_has() {
    let mut world = World::new(2);
    world.put(dag("d", &["a", "b"], &[("a", "b")]));
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.worker(1, WorkerEvent::Away);
    world.trigger("d");
    assert!(world.assigned().is_empty());
    let waits = TiKey { run: RunKey(run.0 + 1), ..a.ti };
    let why = world.engine.explain(waits).unwrap();
    assert_eq!(why.reasons, ["worker `w` is away, and is given nothing until it is back"]);
    // In the same life: what it has goes on, and what waited begins.
    world.join(1, 2, vec![a]);
    assert_eq!(world.assigned().iter().map(|attempt| attempt.ti).collect::<Vec<_>>(), [waits]);
    world.end(a, AttemptEnd::Success);
    assert_eq!(world.state(run, "b"), S::Queued);
    // One who was restarted since is not what an earlier connection was of.
    world.join(2, 3, Vec::new());
    world.assigned();
    world.worker(1, WorkerEvent::Away);
    world.trigger("d");
    assert_eq!(world.assigned().len(), 1);
    // And who does not come back is given up as before.
    world.beats = false;
    world.worker(2, WorkerEvent::Away);
    world.pass(SignedDuration::from_secs(31));
    assert!(world.engine.ti(waits).unwrap().state.name() == S::Scheduled);
}

#[test]
fn a_worker_of_a_namespace_runs_nothing_of_another() {
    let mut world = World::new(1);
    let (queues, namespace) = (vec!["default".into()], Some("prod".into()));
    world.worker(
        2,
        WorkerEvent::Joined {
            join: 1,
            offer: Offer { slots: 8, queues, ..Offer::default() },
            namespace,
            held: Vec::new(),
        },
    );
    for namespace in ["default", "prod"] {
        let mut spec = dag("d", &["a"], &[]);
        spec.namespace = namespace.into();
        world.put(spec);
    }
    let elsewhere = world.trigger("d");
    assert_eq!(world.assigned(), []);
    let why =
        world.engine.explain(TiKey { run: elsewhere, task: TaskIx(0), map_index: MapIndex::NONE }).unwrap();
    assert_eq!(why.reasons, ["no worker that is there serves queue `default` for namespace `default`"]);
    let own = world.trigger_of(DagKey::new("prod", "d"), &[]);
    assert_eq!(world.assigned().iter().map(|attempt| attempt.ti.run).collect::<Vec<_>>(), [own]);
    // The server has another token of it now, and with it all there is.
    world.join(3, 8, Vec::new());
    assert!(world.assigned().iter().any(|attempt| attempt.ti.run == elsewhere));
}

#[test]
fn a_worker_of_a_namespace_that_says_it_has_others_attempts_is_in_nobodys_way() {
    let mut world = World::new(2);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let mine = world.assigned()[0];
    let (queues, namespace) = (vec!["default".into()], Some("test".into()));
    let next = AttemptId { try_number: 2, lease: 2, ..mine };
    let event = WorkerEvent::Joined {
        join: 1,
        offer: Offer { slots: 8, queues, ..Offer::default() },
        namespace,
        held: vec![mine, next],
    };
    world
        .engine
        .step(world.now, Input::Worker { worker: "thief".into(), incarnation: Incarnation(9), event });
    let told: Vec<_> = world.engine.take_output().effects.into_iter().collect();
    let cancelled = |attempt| {
        told.iter().any(|effect| matches!(effect, Effect::Send { worker, message: ToWorker::Cancel(a), .. } if **worker == *"thief" && *a == attempt))
    };
    assert!(cancelled(mine) && cancelled(next), "{told:?}");
    // Its try ends, and the next is not held up by what the other says it has.
    world.end(mine, AttemptEnd::Failed);
    assert_eq!(world.state(run, "a"), S::Failed);
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    assert_eq!(world.assigned().len(), 1);
}
