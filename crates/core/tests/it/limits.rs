//! Limits hold, and nobody waits for one that has room.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    DagKey, DagSpec, End, RunState, TaskKind, TiStateName as S,
    input::{AttemptEnd, Clear, Command, Offer, Report, ToWorker, Trigger, WorkerEvent},
    record::{PoolRow, RunType},
};

use crate::world::{World, dag};

/// Tasks of one run, the first of which is the most urgent; only one may run at a time.
fn one_at_a_time(id: &str, tasks: &[&str]) -> DagSpec {
    let mut spec = dag(id, tasks, &[]);
    spec.max_active_tasks = 1;
    for (n, task) in spec.tasks.iter_mut().enumerate() {
        task.priority_weight = 100 - n as i64;
    }
    spec
}

fn pool(name: &str, slots: u32) -> Command {
    Command::PutPool(PoolRow {
        namespace: "default".into(),
        name: name.into(),
        slots: Some(slots),
        rate: None,
        next_at: None,
        description: String::new(),
        include_deferred: true,
    })
}

#[test]
fn one_whom_another_limit_stops_lets_the_next_in() {
    let mut world = World::new(8);
    world.command(pool("shut", 0)).unwrap();
    let mut spec = one_at_a_time("d", &["a", "b", "c"]);
    spec.tasks[1].pool = "shut".into();
    world.put(spec);
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.end(a, AttemptEnd::Success);
    assert_eq!((world.state(run, "b"), world.state(run, "c")), (S::Scheduled, S::Queued));
    let c = world.assigned()[0];
    world.command(pool("shut", 1)).unwrap();
    assert_eq!(world.state(run, "b"), S::Scheduled, "now the run has no room");
    world.end(c, AttemptEnd::Success);
    assert_eq!(world.state(run, "b"), S::Queued);
}

#[test]
fn a_queue_without_workers_holds_up_no_other() {
    let mut world = World::new(8);
    let mut spec = one_at_a_time("d", &["a", "b", "c"]);
    spec.tasks[1].queue = "gpu".into();
    world.put(spec);
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.end(a, AttemptEnd::Success);
    assert_eq!((world.state(run, "b"), world.state(run, "c")), (S::Scheduled, S::Queued));
}

#[test]
fn one_that_is_marked_while_it_waits_for_a_worker_lets_the_next_in() {
    let mut world = World::new(1);
    world.put(one_at_a_time("d", &["a", "b", "c"]));
    let run = world.trigger("d");
    let a = world.assigned()[0];
    let mut urgent = dag("urgent", &["x"], &[]);
    urgent.tasks[0].priority_weight = 1000;
    world.put(urgent);
    world.trigger("urgent");
    world.end(a, AttemptEnd::Success);
    let x = world.assigned()[0];
    let b = updraft_core::TiKey { task: updraft_core::TaskIx(1), ..a.ti };
    world.command(Command::Mark { tis: vec![b], state: End::Success }).unwrap();
    world.end(x, AttemptEnd::Success);
    assert_eq!(world.state(run, "c"), S::Queued);
}

#[test]
fn a_pool_is_shared_by_owners_also_when_it_is_full() {
    let mut world = World::new(100);
    world.command(pool("p", 2)).unwrap();
    for owner in ["greedy", "modest"] {
        let mut spec = dag(owner, &["a", "b", "c", "d"], &[]);
        spec.owner = owner.into();
        spec.tasks.iter_mut().for_each(|task| task.pool = "p".into());
        world.put(spec);
    }
    world.trigger("greedy");
    world.pass(SignedDuration::from_secs(1));
    let modest = world.trigger("modest");
    let greedy = world.assigned();
    assert_eq!(greedy.len(), 2);
    world.end(greedy[0], AttemptEnd::Success);
    assert_eq!(world.assigned()[0].ti.run, modest, "the other owner has a slot already");
}

#[test]
fn who_waits_for_a_pool_is_told_when_it_is_changed() {
    let mut world = World::new(8);
    world.command(pool("p", 1)).unwrap();
    let mut spec = dag("d", &["a", "b", "c", "d"], &[]);
    spec.tasks.iter_mut().for_each(|task| task.pool = "p".into());
    world.put(spec);
    world.trigger("d");
    let told = |world: &World| -> Option<String> {
        let last =
            world.batches.iter().rev().find_map(|batch| batch.tis.values().rfind(|ti| &*ti.task_id == "d"));
        last?.reason.as_deref().map(str::to_owned)
    };
    assert_eq!(told(&world).unwrap(), "pool `p` has 1 slot, and 1 is taken");
    world.command(pool("p", 2)).unwrap();
    assert_eq!(told(&world).unwrap(), "pool `p` has 2 slots, and 2 are taken");
    world.command(pool("p", 0)).unwrap();
    assert!(told(&world).unwrap().contains("takes 1 slots of pool `p`, which has 0"), "{:?}", told(&world));
    let delete = Command::DeletePool("default".into(), "p".into());
    world.command(delete).unwrap();
    assert!(told(&world).unwrap().starts_with("there is no pool `p`"), "{:?}", told(&world));
}

#[test]
fn a_sensor_that_is_cleared_takes_no_room_while_it_ends() {
    let mut world = World::new(8);
    world.command(pool("p", 1)).unwrap();
    let mut spec = one_at_a_time("d", &["sensor", "a", "b"]);
    spec.tasks[0].kind = TaskKind::Watch;
    spec.tasks[0].pool = "p".into();
    world.put(spec);
    let run = world.trigger("d");
    let assigned = world.assigned();
    assert_eq!(assigned.len(), 2, "the sensor, and one of the others");
    let clear = Clear {
        run,
        tasks: vec![("sensor".into(), None)],
        upstream: false,
        downstream: false,
        only_failed: false,
        only_running: false,
        reset_run: true,
        latest: false,
        dry_run: false,
    };
    world.command(Command::Clear(clear)).unwrap();
    assert_eq!(world.state(run, "sensor"), S::Restarting);
    assert!(world.told.contains(&ToWorker::Cancel(assigned[0])));
    world.end(assigned[1], AttemptEnd::Success);
    assert_eq!(world.state(run, "b"), S::Queued, "the sensor is not in its way");
}

#[test]
fn losses_are_in_a_row_only_where_no_attempt_ended_between_them() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["sensor"], &[]);
    spec.tasks[0].kind = TaskKind::Watch;
    spec.tasks[0].max_lost = 1;
    world.put(spec);
    let run = world.trigger("d");
    world.join(2, 8, Vec::new());
    world.assigned();
    let later = world.now + SignedDuration::from_secs(5);
    let attempt = updraft_core::AttemptId {
        ti: updraft_core::TiKey {
            run,
            task: updraft_core::TaskIx(0),
            map_index: updraft_core::MapIndex::NONE,
        },
        try_number: 2,
        lease: 2,
    };
    let outcome = updraft_core::input::Outcome::new(AttemptEnd::Rescheduled(later));
    let report = Report::Ended(Box::new(outcome));
    let at = world.now;
    world.worker(2, WorkerEvent::Report { attempt, at, report });
    assert_eq!(world.state(run, "sensor"), S::UpForReschedule);
    world.beats = false;
    world.pass(SignedDuration::from_secs(6));
    world.join(3, 8, Vec::new());
    assert_eq!(world.state(run, "sensor"), S::Deferred, "it may be lost once more");
}

#[test]
fn limits_hold_and_those_that_wait_come_in_the_order_of_priority() {
    let mut world = World::new(100);
    let names: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let mut spec = dag("d", &names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    for (n, task) in spec.tasks.iter_mut().enumerate() {
        task.priority_weight = n as i64;
        task.pool = "small".into();
        task.pool_slots = 2;
    }
    world.put(spec);
    let run = world.trigger("d");
    assert!(world.assigned().is_empty(), "there is no such pool yet");
    let pool = |slots| {
        Command::PutPool(PoolRow {
            namespace: "default".into(),
            name: "small".into(),
            slots: Some(slots),
            rate: None,
            next_at: None,
            description: String::new(),
            include_deferred: false,
        })
    };
    world.command(pool(5)).unwrap();
    let first = world.assigned();
    assert_eq!(first.iter().map(|a| a.ti.task.0).collect::<Vec<_>>(), [9, 8]);
    world.end(first[1], AttemptEnd::Success);
    let next = world.assigned();
    assert_eq!(next.iter().map(|a| a.ti.task.0).collect::<Vec<_>>(), [7]);
    world.command(pool(100)).unwrap();
    assert_eq!(world.assigned().len(), 7);
    assert_eq!(world.run_state(run), RunState::Running);
}

#[test]
fn max_active_tasks_counts_within_a_run() {
    let mut world = World::new(100);
    let mut spec = dag("d", &["a", "b", "c"], &[]);
    spec.max_active_tasks = 2;
    world.put(spec);
    world.trigger("d");
    let first = world.assigned();
    assert_eq!(first.len(), 2);
    world.pass(SignedDuration::from_secs(1));
    world.trigger("d");
    assert_eq!(world.assigned().len(), 2, "another run has its own");
    world.end(first[0], AttemptEnd::Success);
    assert_eq!(world.assigned().len(), 1);
}

#[test]
fn owners_share_the_slots() {
    let mut world = World::new(4);
    for owner in ["greedy", "modest"] {
        let mut spec = dag(owner, &["a", "b", "c", "d", "e", "f"], &[]);
        spec.owner = owner.into();
        world.put(spec);
    }
    world.trigger("greedy");
    let greedy = world.assigned();
    assert_eq!(greedy.len(), 4);
    let modest = world.trigger("modest");
    for attempt in &greedy[..2] {
        world.end(*attempt, AttemptEnd::Success);
    }
    let next = world.assigned();
    assert!(next.iter().all(|attempt| attempt.ti.run == modest), "{next:?}");
}

#[test]
fn owners_share_the_slots_also_of_different_namespaces_and_queues() {
    let mut world = World::new(4);
    let (queues, namespace) = (vec!["a".into(), "b".into()], None);
    world.worker(
        1,
        WorkerEvent::Joined {
            join: 2,
            offer: Offer { slots: 4, queues, ..Offer::default() },
            namespace,
            held: Vec::new(),
        },
    );
    for (owner, namespace, queue) in [("greedy", "a", "a"), ("modest", "b", "b")] {
        let mut spec = dag(owner, &["a", "b", "c", "d", "e", "f"], &[]);
        (spec.owner, spec.namespace) = (owner.into(), namespace.into());
        spec.tasks.iter_mut().for_each(|task| task.queue = queue.into());
        world.put(spec);
    }
    world.trigger_of(DagKey::new("a", "greedy"), &[]);
    let greedy = world.assigned();
    assert_eq!(greedy.len(), 4);
    let modest = world.trigger_of(DagKey::new("b", "modest"), &[]);
    for attempt in &greedy[..2] {
        world.end(*attempt, AttemptEnd::Success);
    }
    let next = world.assigned();
    assert!(next.iter().all(|attempt| attempt.ti.run == modest), "{next:?}");
}

/// A pool without slots to count, in which so many may begin in so long.
fn paced(rate: &str) -> Command {
    Command::PutPool(PoolRow {
        namespace: "default".into(),
        name: "mail".into(),
        slots: None,
        rate: Some(rate.parse().unwrap()),
        next_at: None,
        description: String::new(),
        include_deferred: false,
    })
}

fn mails(count: usize) -> DagSpec {
    let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    let mut spec = dag("d", &names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    spec.max_active_tasks = 1000;
    spec.tasks.iter_mut().for_each(|task| task.pool = "mail".into());
    spec
}

#[test]
fn of_a_pool_with_a_rate_no_minute_has_more_than_that_begin_whatever_is_restarted() {
    let mut world = World::new(1000);
    world.command(paced("14/minute")).unwrap();
    world.put(mails(100));
    let run = world.trigger("d");
    let last =
        updraft_core::TiKey { run, task: updraft_core::TaskIx(99), map_index: updraft_core::MapIndex::NONE };
    let why = world.engine.explain(last).unwrap();
    assert_eq!(why.reasons, ["pool `mail` lets 14/minute begin, one after the other"]);
    let mut began = Vec::new();
    for second in 0..600 {
        for attempt in world.assigned() {
            began.push(world.now);
            world.end(attempt, AttemptEnd::Success);
        }
        if second % 97 == 0 {
            world.restart();
            world.join(1, 1000, Vec::new());
        }
        world.pass(SignedDuration::from_millis(1000));
    }
    assert_eq!(began.len(), 100);
    let minute = SignedDuration::from_secs(60);
    let most =
        began.iter().map(|from| began.iter().filter(|at| (*from..*from + minute).contains(at)).count());
    assert_eq!(most.max(), Some(14));
    let all = *began.last().unwrap() - began[0];
    assert!(all.get_seconds() <= 99 * 60 / 14 + 2, "and no fewer: {all}");
}

#[test]
fn a_rate_can_be_changed_and_lifted_and_a_clock_that_is_set_neither_hurries_nor_stops_it() {
    let mut world = World::new(1000);
    world.command(paced("1/hour")).unwrap();
    world.put(mails(6));
    world.trigger("d");
    let mut held = world.assigned();
    assert_eq!(held.len(), 1);
    // Who waits an hour does not do so for a rate that is no more.
    world.command(paced("1/minute")).unwrap();
    world.pass(SignedDuration::from_secs(59));
    assert_eq!(world.assigned().len(), 0);
    world.pass(SignedDuration::from_secs(1));
    held.extend(world.assigned());
    assert_eq!(held.len(), 2);
    let back = SignedDuration::from_hours(-5);
    world.now += back;
    world.step(updraft_core::input::Input::ClockSet { by: back });
    world.pass(SignedDuration::from_secs(59));
    assert_eq!(world.assigned().len(), 0);
    world.pass(SignedDuration::from_secs(1));
    held.extend(world.assigned());
    assert_eq!(held.len(), 3);
    // Set back while no server was there.
    world.now += back;
    world.restart();
    world.join(1, 1000, held);
    world.pass(SignedDuration::from_secs(61));
    assert_eq!(world.assigned().len(), 1);
    let Command::PutPool(row) = paced("1/minute") else { unreachable!() };
    world.command(Command::PutPool(PoolRow { rate: None, ..row })).unwrap();
    assert_eq!(world.assigned().len(), 2);
}

#[test]
fn a_runs_name_is_as_long_as_the_database_has_room_for() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let mut named = |letters: usize| {
        world.command(Command::Trigger(Trigger {
            dag: DagKey::new("default", "d"),
            run_id: Some("é".repeat(letters).as_str().into()),
            logical_date: None,
            data_interval: None,
            run_after: None,
            conf: Arc::new(json!({})),
            tasks: Vec::new(),
            run_type: RunType::Manual,
            triggered_by: "cli",
        }))
    };
    assert!(named(250).is_ok());
    let refused = named(251).unwrap_err().to_string();
    assert!(refused.contains("at most 250 letters, and this one 251"), "{refused}");
}

#[test]
fn what_waits_for_a_limit_and_is_paused_says_both() {
    let mut world = World::new(8);
    world.put(DagSpec { max_active_tasks: 1, ..dag("d", &["a", "b"], &[]) });
    let run = world.trigger("d");
    assert_eq!(world.assigned().len(), 1);
    world.command(Command::PauseDag { dag: DagKey::new("default", "d"), paused: true }).unwrap();
    let waits = world.instances(run).into_iter().find(|(_, (_, state))| *state == S::Scheduled).unwrap().0;
    let reasons = world.engine.explain(waits).unwrap().reasons;
    assert!(
        reasons[0].contains("the DAG `d` is paused") && reasons[1].contains("max_active_tasks"),
        "{reasons:?}"
    );
}
