//! What a task needs of its worker besides the queue: several slots, and labels.

use updraft_core::{
    DagSpec, Incarnation, Labels, MapIndex, RunKey, RunState, TaskIx, TiKey,
    input::{AttemptEnd, Command, Input, Offer, WorkerEvent},
};

use crate::world::{World, dag};

/// A DAG of these tasks, each with so many slots.
fn sized(id: &str, tasks: &[(&str, u32)]) -> DagSpec {
    let names: Vec<&str> = tasks.iter().map(|(name, _)| *name).collect();
    let mut spec = dag(id, &names, &[]);
    for (task, (_, slots)) in spec.tasks.iter_mut().zip(tasks) {
        task.worker_slots = *slots;
    }
    spec
}

fn why(world: &World, run: RunKey, task: u32) -> Vec<String> {
    world.engine.explain(TiKey { run, task: TaskIx(task), map_index: MapIndex::NONE }).unwrap().reasons
}

fn used(world: &World) -> u32 {
    world.engine.workers().iter().map(|worker| worker.used).sum()
}

#[test]
fn a_task_takes_as_many_slots_of_its_worker_as_it_says() {
    let mut world = World::new(3);
    world.put(sized("d", &[("a", 2), ("b", 2), ("huge", 4)]));
    let run = world.trigger("d");
    let [a] = world.assigned()[..] else { panic!("only one has room") };
    assert_eq!((a.ti.task, used(&world)), (TaskIx(0), 2));
    assert_eq!(why(&world, run, 1), ["it takes 2 slots of one worker, of which no more than 1 are free"]);
    let wanted = "no worker that is there serves queue `default` for namespace `default`, with 4 slots";
    assert_eq!(why(&world, run, 2), [wanted]);
    // Another server takes over, and its worker comes with what it has.
    world.restart();
    assert_eq!(used(&world), 2);
    world.join(1, 3, vec![a]);
    assert_eq!((world.assigned().len(), used(&world)), (0, 2));
    world.end(a, AttemptEnd::Success);
    let [b] = world.assigned()[..] else { panic!("one has room") };
    assert_eq!((b.ti.task, used(&world)), (TaskIx(1), 2));
    world.join(1, 5, vec![b]);
    assert_eq!((world.assigned().len(), used(&world)), (0, 2));
    world.join(1, 6, vec![b]);
    assert_eq!((world.assigned().len(), used(&world)), (1, 6));
}

#[test]
fn what_is_still_at_work_of_a_run_that_is_over_may_take_all_slots_of_its_worker() {
    let mut world = World::new(3);
    world.put(sized("d", &[("a", 3)]));
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.command(Command::MarkRun { run, state: RunState::Success }).unwrap();
    world.restart();
    let next = world.trigger("d");
    world.join(1, 3, vec![a]);
    assert_eq!((world.assigned().len(), used(&world)), (0, 3));
    world.end(a, AttemptEnd::Cancelled);
    let [begins] = world.assigned()[..] else { panic!("it has room now") };
    assert_eq!((begins.ti.run, used(&world)), (next, 3));
}

#[test]
fn small_tasks_do_not_go_before_a_large_one_for_ever() {
    let mut world = World::new(2);
    world.put(sized("small", &[("a", 1), ("b", 1)]));
    world.put(sized("large", &[("a", 2)]));
    world.trigger("small");
    let [first, second] = world.assigned()[..] else { panic!("both have room") };
    let large = world.trigger("large");
    let later = world.trigger("small");
    world.end(first, AttemptEnd::Success);
    assert_eq!(world.assigned(), [], "the slot is kept for the large one");
    assert_eq!(why(&world, later, 0), ["what is free is kept for one before it that takes more slots"]);
    // Who can use neither is in nobody's way, and who has a worker of another kind goes on.
    let offer = Offer { slots: 1, queues: vec!["default".into()], ..Offer::default() };
    let event = WorkerEvent::Joined { join: 1, offer, namespace: None, held: Vec::new() };
    world.step(Input::Worker { worker: "narrow".into(), incarnation: Incarnation(1), event });
    let [third] = world.assigned()[..] else { panic!("the narrow one is of no use to the large one") };
    assert_eq!(third.ti.run, later);
    world.end(second, AttemptEnd::Success);
    let [begun] = world.assigned()[..] else { panic!("its turn has come") };
    assert_eq!(begun.ti.run, large);
}

#[test]
fn a_task_goes_to_a_worker_that_has_all_its_labels() {
    let labels = |of: &[(&str, &str)]| -> Labels {
        of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let mut world = World::new(2);
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].worker_labels = labels(&[("gpu", "a100"), ("zone", "west")]);
    world.put(spec);
    let run = world.trigger("d");
    assert_eq!(world.assigned(), []);
    let wanted = "no worker that is there serves queue `default` for namespace `default`, with the label `gpu=a100`, \
                  with the label `zone=west`";
    assert_eq!(why(&world, run, 0), [wanted]);
    for (join, of) in [
        (2, labels(&[("gpu", "a100")])),
        (3, labels(&[("gpu", "a100"), ("zone", "east")])),
        (4, labels(&[("gpu", "a100"), ("zone", "west"), ("rack", "7")])),
    ] {
        let offer = Offer { slots: 2, queues: vec!["default".into()], labels: of, draining: false };
        world.worker(1, WorkerEvent::Joined { join, offer, namespace: None, held: Vec::new() });
        assert_eq!(world.assigned().len(), usize::from(join == 4), "{join}");
    }
}
