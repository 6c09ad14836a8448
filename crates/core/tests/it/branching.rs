//! Which way a run takes after a branch or a short circuit.

use serde_json::json;
use updraft_core::{
    AttemptId, Condition, DagSpec, EdgeSpec, GroupSpec, MapSource, Mapping, RunState, TiStateName as S,
    TriggerRule,
    input::{AttemptEnd, Branch, Command, Outcome, Report, ToWorker},
};

use crate::world::{World, clear, dag};

fn choose(world: &mut World, attempt: AttemptId, branch: Branch) {
    let mut outcome = Outcome::new(AttemptEnd::Success);
    outcome.branch = Some(branch);
    world.report(attempt, Report::Ended(Box::new(outcome)));
}

fn follow(world: &mut World, attempt: AttemptId, tasks: &[&str]) {
    choose(world, attempt, Branch::Follow(tasks.iter().map(|task| (*task).into()).collect()));
}

#[test]
fn a_branch_skips_what_it_does_not_follow_and_a_join_may_go_on() {
    let mut world = World::new(8);
    let edges = [("pick", "left"), ("pick", "right"), ("left", "join"), ("right", "join")];
    let mut spec = dag("d", &["pick", "left", "right", "join"], &edges);
    spec.tasks[3].trigger_rule = TriggerRule::NoneFailedMinOneSuccess;
    world.put(spec);
    let run = world.trigger("d");
    let pick = world.assigned()[0];
    follow(&mut world, pick, &["left"]);
    assert_eq!(world.state(run, "right"), S::Skipped);
    assert_eq!(world.reason(run, "right"), "`pick` chose another way");
    world.succeed_all();
    assert_eq!(world.state(run, "join"), S::Success);
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn a_condition_on_an_edge_decides_by_the_result() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["count", "many", "few"], &[]);
    let edge = |to: &str, when: &str| EdgeSpec {
        when: Some(Condition::parse(when).unwrap()),
        ..EdgeSpec::new("count", to)
    };
    spec.edges = vec![edge("many", "result | int > 5"), edge("few", "result | int <= 5")];
    world.put(spec);
    let run = world.trigger("d");
    let count = world.assigned()[0];
    world.end_with(count, json!("7"));
    assert_eq!((world.state(run, "many"), world.state(run, "few")), (S::Queued, S::Skipped));
    assert_eq!(world.reason(run, "few"), "the condition `result | int <= 5` after `count` did not hold");
}

/// `g.pick` before `g.left` and `g.right`, `g.left` before `g.last`, all of it twice.
fn mapped_group() -> DagSpec {
    let tasks = ["g.pick", "g.left", "g.right", "g.last"];
    let mut spec = dag("d", &tasks, &[("g.pick", "g.left"), ("g.pick", "g.right"), ("g.left", "g.last")]);
    let twice = MapSource::List(vec![1.into(), 2.into()]);
    let map = Some(Mapping::Product(vec![("x".into(), twice)]));
    spec.groups = vec![GroupSpec { group_id: "g".into(), parent: None, tooltip: None, map }];
    spec.tasks.iter_mut().for_each(|task| task.group = Some("g".into()));
    spec
}

#[test]
fn a_branch_in_a_mapped_group_skips_its_own_copy_alone() {
    let mut world = World::new(8);
    world.put(mapped_group());
    let run = world.trigger("d");
    let picks = world.assigned();
    follow(&mut world, picks[0], &["g.left"]);
    follow(&mut world, picks[1], &["g.right"]);
    let left = ["g.left[0]", "g.left[1]"].map(|task| world.state(run, task));
    let right = ["g.right[0]", "g.right[1]"].map(|task| world.state(run, task));
    assert_eq!((left, right), ([S::Queued, S::Skipped], [S::Skipped, S::Queued]));
}

#[test]
fn a_short_circuit_in_a_mapped_group_skips_what_comes_directly_after_its_copy() {
    let mut world = World::new(8);
    let mut spec = mapped_group();
    spec.tasks[3].trigger_rule = TriggerRule::AllDone;
    world.put(spec);
    let run = world.trigger("d");
    let picks = world.assigned();
    choose(&mut world, picks[0], Branch::SkipAllDownstream);
    assert_eq!((world.state(run, "g.left[0]"), world.state(run, "g.last[0]")), (S::Skipped, S::Queued));
    assert_eq!(world.reason(run, "g.left[0]"), "`g.pick` let nothing after it run");
    assert_eq!(world.state(run, "g.left[1]"), S::None);
}

#[test]
fn who_is_skipped_by_a_short_circuit_is_told_so_far_beyond_it_and_again_when_cleared() {
    let mut world = World::new(8);
    world.put(dag("d", &["sc", "next", "last"], &[("sc", "next"), ("next", "last")]));
    let run = world.trigger("d");
    let attempt = world.assigned()[0];
    choose(&mut world, attempt, Branch::SkipAllDownstream);
    let told = "`sc` let nothing after it run";
    assert_eq!([world.reason(run, "next"), world.reason(run, "last")], [told; 2]);
    world.command(Command::Clear(clear(run, &["next"]))).unwrap();
    assert_eq!((world.state(run, "next"), world.reason(run, "next")), (S::Skipped, told.into()));
}

#[test]
fn a_branch_skips_what_was_decided_before_and_lets_run_what_runs() {
    let mut world = World::new(8);
    let edges = [("pick", "waits"), ("pick", "runs"), ("pick", "failed"), ("bad", "failed")];
    let mut spec = dag("d", &["pick", "waits", "runs", "failed", "bad"], &edges);
    spec.tasks[1].trigger_rule = TriggerRule::Always;
    spec.tasks[2].trigger_rule = TriggerRule::Always;
    world.put(spec);
    let run = world.trigger("d");
    let attempts = world.assigned();
    let of = |task: u32| *attempts.iter().find(|attempt| attempt.ti.task.0 == task).unwrap();
    world.report(of(2), Report::Started);
    world.end(of(4), AttemptEnd::Failed);
    assert_eq!(world.state(run, "failed"), S::UpstreamFailed);
    follow(&mut world, of(0), &[]);
    let states = ["waits", "runs", "failed"].map(|task| world.state(run, task));
    assert_eq!(states, [S::Skipped, S::Running, S::Skipped]);
    assert!(world.told.contains(&ToWorker::Cancel(of(1))), "its worker has it already");
    world.end(of(2), AttemptEnd::Success);
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn a_task_that_runs_and_was_left_out_meanwhile_is_not_tried_again() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["pick", "runs"], &[("pick", "runs")]);
    spec.tasks[1].trigger_rule = TriggerRule::Always;
    spec.tasks[1].retry.retries = 1;
    world.put(spec);
    let run = world.trigger("d");
    let attempts = world.assigned();
    world.report(attempts[1], Report::Started);
    follow(&mut world, attempts[0], &[]);
    world.end(attempts[1], AttemptEnd::Failed);
    assert_eq!(world.state(run, "runs"), S::Skipped);
}

#[test]
fn a_task_that_was_left_out_while_it_ran_does_not_begin_again_when_its_worker_is_lost() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["pick", "runs"], &[("pick", "runs")]);
    spec.tasks[1].trigger_rule = TriggerRule::Always;
    world.put(spec);
    let run = world.trigger("d");
    let attempts = world.assigned();
    world.report(attempts[1], Report::Started);
    follow(&mut world, attempts[0], &[]);
    world.join(2, 8, Vec::new());
    assert_eq!(world.state(run, "runs"), S::Skipped);
}

#[test]
fn a_branch_may_lead_farther_on_and_into_a_group() {
    for (chosen, far, near) in [("far", S::Queued, S::Skipped), ("g", S::None, S::Queued)] {
        let mut world = World::new(8);
        let edges = [("pick", "g.near"), ("pick", "other"), ("g.near", "g.next"), ("root", "far")];
        let mut spec = dag("d", &["pick", "g.near", "g.next", "other", "root", "far"], &edges);
        spec.groups = vec![GroupSpec { group_id: "g".into(), parent: None, tooltip: None, map: None }];
        spec.tasks[1].group = Some("g".into());
        spec.tasks[2].group = Some("g".into());
        world.put(spec);
        let run = world.trigger("d");
        let attempts = world.assigned();
        follow(&mut world, attempts[0], &[chosen]);
        if chosen == "far" {
            world.end(attempts[1], AttemptEnd::Success);
        }
        assert_eq!((world.state(run, "far"), world.state(run, "g.near")), (far, near));
        assert_eq!(world.state(run, "other"), S::Skipped);
    }
}

#[test]
fn a_branch_to_a_task_that_is_not_there_fails_and_may_be_tried_again() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["pick", "left"], &[("pick", "left")]);
    spec.tasks[0].retry.retries = 1;
    world.put(spec);
    let run = world.trigger("d");
    let pick = world.assigned()[0];
    follow(&mut world, pick, &["nowhere"]);
    assert_eq!(world.state(run, "pick"), S::UpForRetry);
    assert_eq!(world.state(run, "left"), S::None);
}
