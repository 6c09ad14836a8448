//! Runs and task instances that people mark.

use jiff::SignedDuration;
use updraft_core::{
    DagSpec, Role, RunKey, RunState, TaskIx, TaskKind, TiKey, TiStateName as S, TriggerRule, WaitRule,
    input::{AttemptEnd, Clear, Command, Report},
};

use crate::world::{World, clear, dag};

/// A setup, a chain of work and the teardown, beside it work that is over before, and a wait.
fn with_teardown() -> DagSpec {
    let edges = [("s", "a"), ("a", "b"), ("b", "t"), ("s", "t")];
    let mut spec = dag("d", &["s", "a", "b", "t", "before", "wait"], &edges);
    spec.tasks[0].role = Role::Setup;
    spec.tasks[3].role = Role::Teardown { on_failure_fail_dagrun: false };
    spec.tasks[3].trigger_rule = TriggerRule::AllDoneSetupSuccess;
    spec.tasks[5].kind = TaskKind::Wait(WaitRule::AfterReady(SignedDuration::from_hours(1)));
    spec
}

/// A run of it whose work is under way.
fn at_work(world: &mut World) -> RunKey {
    world.put(with_teardown());
    let run = world.trigger("d");
    for (attempt, end) in world.assigned().into_iter().zip([AttemptEnd::Success, AttemptEnd::Failed]) {
        world.end(attempt, end);
    }
    assert_eq!(["s", "before", "a"].map(|task| world.state(run, task)), [S::Success, S::Failed, S::Queued]);
    run
}

#[test]
fn a_run_that_is_marked_tears_down_what_it_has_set_up_and_keeps_what_was_over() {
    for (state, of_what_ran) in [(RunState::Failed, S::Failed), (RunState::Success, S::Success)] {
        let mut world = World::new(8);
        let run = at_work(&mut world);
        let work = world.assigned();
        world.command(Command::MarkRun { run, state }).unwrap();
        let now = ["s", "before", "a", "wait", "b", "t"].map(|task| world.state(run, task));
        assert_eq!(now, [S::Success, S::Failed, of_what_ran, of_what_ran, S::Skipped, S::Scheduled]);
        assert_eq!(world.run_state(run), RunState::Running, "its teardown is still to run");
        work.into_iter().for_each(|attempt| world.end(attempt, AttemptEnd::Cancelled));
        let teardown = world.assigned().pop().unwrap();
        world.restart();
        world.join(1, 8, vec![teardown]);
        world.end(teardown, AttemptEnd::Success);
        assert_eq!((world.state(run, "t"), world.run_state(run)), (S::Success, state));
    }
}

#[test]
fn a_run_that_is_marked_again_tears_down_all_the_same_and_becomes_what_it_was_marked_as_last() {
    let mut world = World::new(8);
    let run = at_work(&mut world);
    let work = world.assigned();
    for state in [RunState::Failed, RunState::Failed, RunState::Success] {
        world.command(Command::MarkRun { run, state }).unwrap();
        assert_eq!(world.run_state(run), RunState::Running);
        let why = world.engine.run(run).unwrap().0.reason.clone().unwrap();
        assert_eq!(why, format!("it was marked as {state}; its teardowns are still to run"));
    }
    work.into_iter().for_each(|attempt| world.end(attempt, AttemptEnd::Cancelled));
    let teardown = world.assigned().pop().unwrap();
    world.command(Command::MarkRun { run, state: RunState::Success }).unwrap();
    assert_eq!(world.state(run, "t"), S::Queued);
    world.end(teardown, AttemptEnd::Failed);
    assert_eq!((world.state(run, "t"), world.run_state(run)), (S::Failed, RunState::Success));
}

#[test]
fn a_run_that_is_marked_does_not_wait_for_a_teardown_that_waits_for_another_run() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a", "t"], &[("a", "t")]);
    spec.tasks[1].role = Role::Teardown { on_failure_fail_dagrun: false };
    spec.tasks[1].depends_on_past = true;
    world.put(spec);
    let first = world.trigger("d");
    world.pass(SignedDuration::from_secs(1));
    let second = world.trigger("d");
    for attempt in world.assigned() {
        world.end(attempt, AttemptEnd::Success);
    }
    let teardown = world.assigned().pop().unwrap();
    world.end(teardown, AttemptEnd::Failed);
    assert_eq!((world.state(first, "t"), world.state(second, "t")), (S::Failed, S::None));
    assert_eq!(world.run_state(second), RunState::Running);
    world.command(Command::MarkRun { run: second, state: RunState::Success }).unwrap();
    assert_eq!(world.run_state(second), RunState::Success);
}

#[test]
fn a_teardown_waits_until_what_was_ended_before_it_has_ended() {
    let mut world = World::new(8);
    let run = at_work(&mut world);
    let a = world.assigned().into_iter().find(|attempt| attempt.ti.task.0 == 1).unwrap();
    world.report(a, Report::Started);
    world.command(Command::MarkRun { run, state: RunState::Failed }).unwrap();
    assert_eq!((world.state(run, "a"), world.state(run, "t")), (S::Failed, S::Scheduled));
    let teardown = TiKey { task: TaskIx(3), ..a.ti };
    let why = world.engine.ti(teardown).unwrap().reason.clone().unwrap();
    assert!(why.contains("an attempt of `a` has not ended yet on worker `w`"), "{why}");
    // Also for an engine that hears of it only now.
    world.join(1, 8, vec![a]);
    assert_eq!(world.state(run, "t"), S::Scheduled);
    world.end(a, AttemptEnd::Cancelled);
    assert_eq!(world.state(run, "t"), S::Queued);
}

#[test]
fn a_run_that_is_cleared_while_it_tears_down_is_decided_by_its_tasks_again() {
    let mut world = World::new(8);
    let run = at_work(&mut world);
    let a = world.assigned().into_iter().find(|attempt| attempt.ti.task.0 == 1).unwrap();
    world.command(Command::MarkRun { run, state: RunState::Failed }).unwrap();
    let all = Command::Clear(Clear { tasks: Vec::new(), ..clear(run, &[]) });
    world.command(all).unwrap();
    assert_eq!(world.engine.run(run).unwrap().0.reason, None);
    world.end(a, AttemptEnd::Cancelled);
    world.restart();
    world.join(1, 8, Vec::new());
    for _ in 0..4 {
        for attempt in world.assigned() {
            if world.engine.ti(attempt.ti).is_some_and(|ti| !ti.state.is_finished()) {
                world.end(attempt, AttemptEnd::Success);
            }
        }
    }
    let now = ["s", "a", "b", "t", "before"].map(|task| world.state(run, task));
    assert_eq!(now, [S::Success; 5]);
}

#[test]
fn a_run_that_is_over_is_marked_and_nothing_else_is_changed() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b"], &[("a", "b")]));
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.end(a, AttemptEnd::Failed);
    assert_eq!(world.run_state(run), RunState::Failed);
    world.batches.iter_mut().for_each(|batch| batch.transitions.clear());
    world.command(Command::MarkRun { run, state: RunState::Success }).unwrap();
    assert_eq!(world.run_state(run), RunState::Success);
    assert_eq!((world.state(run, "a"), world.state(run, "b")), (S::Failed, S::UpstreamFailed));
    assert!(world.batches.iter().all(|batch| batch.transitions.is_empty()));
}

#[test]
fn a_run_that_was_marked_goes_by_its_tasks_once_it_is_cleared() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let ended = world.assigned()[0];
    world.command(Command::MarkRun { run, state: RunState::Failed }).unwrap();
    assert_eq!(world.run_state(run), RunState::Failed);
    world.end(ended, AttemptEnd::Cancelled);
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    let again = world.assigned().pop().unwrap();
    world.end(again, AttemptEnd::Success);
    assert_eq!(world.run_state(run), RunState::Success);
}
