//! Tasks that exist once for each of something.

use serde_json::json;
use updraft_core::{
    DagSpec, GroupSpec, MapSource, Mapping, RunState, TiStateName as S, TriggerRule,
    input::{AttemptEnd, Command, Report},
};

use crate::world::{World, clear, dag};

fn over(source: MapSource) -> Option<Mapping> {
    Some(Mapping::Product(vec![("x".into(), source)]))
}

fn result(task: &str) -> Option<Mapping> {
    over(MapSource::Result(task.into()))
}

/// `list` before `g.a`, before `g.b`, the group mapped over the list.
fn mapped_group() -> DagSpec {
    let mut spec = dag("d", &["list", "g.a", "g.b"], &[("g.a", "g.b")]);
    spec.groups = vec![GroupSpec { group_id: "g".into(), parent: None, tooltip: None, map: result("list") }];
    spec.tasks[1..].iter_mut().for_each(|task| task.group = Some("g".into()));
    spec
}

#[test]
fn copies_are_there_from_the_beginning_where_it_is_written_down_of_what() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["first", "each"], &[("first", "each")]);
    spec.tasks[1].map = over(MapSource::List(vec![json!(1), json!(2)]));
    world.put(spec);
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.end(first, AttemptEnd::Failed);
    let copies = ["each[0]", "each[1]"].map(|copy| world.state(run, copy));
    assert_eq!(copies, [S::UpstreamFailed, S::UpstreamFailed]);
}

#[test]
fn a_copy_in_a_mapped_group_waits_for_its_own_index_alone() {
    let mut world = World::new(8);
    world.put(mapped_group());
    let run = world.trigger("d");
    let list = world.assigned()[0];
    world.end_with(list, json!([1, 2]));
    let copies = world.assigned();
    world.end(copies[0], AttemptEnd::Success);
    assert_eq!((world.state(run, "g.b[0]"), world.state(run, "g.b[1]")), (S::Queued, S::None));
    world.end(copies[1], AttemptEnd::Failed);
    assert_eq!((world.state(run, "g.b[0]"), world.state(run, "g.b[1]")), (S::Queued, S::UpstreamFailed));
}

#[test]
fn what_a_group_is_mapped_over_comes_before_the_tasks_with_which_it_begins() {
    let mut world = World::new(8);
    let mut spec = mapped_group();
    spec.tasks[2].trigger_rule = TriggerRule::AllFailed;
    world.put(spec);
    let run = world.trigger("d");
    let list = world.assigned()[0];
    world.end_with(list, json!([1]));
    let copy = world.assigned()[0];
    world.end(copy, AttemptEnd::Failed);
    assert_eq!(world.state(run, "g.b[0]"), S::Queued, "the list's success is not directly before it");
}

#[test]
fn what_a_task_is_mapped_over_decides_whatever_its_trigger_rule_says() {
    let ends = [(AttemptEnd::Failed, S::UpstreamFailed), (AttemptEnd::Skipped, S::Skipped)];
    for (rule, (end, expected)) in [TriggerRule::AllDone, TriggerRule::AllFailed]
        .into_iter()
        .flat_map(|rule| ends.clone().map(|e| (rule, e)))
    {
        let mut world = World::new(8);
        let mut spec = dag("d", &["list", "each"], &[]);
        spec.tasks[1].map = result("list");
        spec.tasks[1].trigger_rule = rule;
        world.put(spec);
        let run = world.trigger("d");
        let list = world.assigned()[0];
        world.end(list, end);
        assert_eq!(world.state(run, "each"), expected, "{rule}");
    }
}

#[test]
fn a_copy_that_left_nothing_is_not_mapped_over() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["each", "again"], &[]);
    spec.tasks[0].map = over(MapSource::List(vec![json!(1), json!(2), json!(3)]));
    spec.tasks[1].map = result("each");
    world.put(spec);
    let run = world.trigger("d");
    let copies = world.assigned();
    world.end_with(copies[0], json!("left"));
    world.end(copies[1], AttemptEnd::Success);
    world.end(copies[2], AttemptEnd::Failed);
    assert_eq!(world.assigned().len(), 0, "a copy failed, and the rule is all_success");
    assert_eq!(world.run_state(run), RunState::Failed);

    world.pass(jiff::SignedDuration::from_secs(1));
    let run = world.trigger("d");
    let copies = world.assigned();
    world.end_with(copies[0], json!("left"));
    world.end(copies[1], AttemptEnd::Success);
    world.end_with(copies[2], json!(7));
    assert_eq!(world.assigned().len(), 2);
    assert_eq!(world.state(run, "again[1]"), S::Queued);
}

#[test]
fn a_result_that_cannot_be_mapped_over_is_a_failure_like_any_other() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["list", "each"], &[]);
    spec.tasks[0].retry.retries = 1;
    spec.tasks[1].map = result("list");
    world.put(spec);
    let run = world.trigger("d");
    let list = world.assigned()[0];
    world.end_with(list, json!("no list"));
    assert_eq!(world.state(run, "list"), S::UpForRetry);
}

#[test]
fn a_task_that_need_not_wait_waits_for_what_it_is_mapped_over() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["list", "each"], &[]);
    spec.tasks[1].map = result("list");
    spec.tasks[1].trigger_rule = TriggerRule::Always;
    world.put(spec);
    let run = world.trigger("d");
    assert_eq!(world.state(run, "each"), S::None);
    let list = world.assigned()[0];
    world.end_with(list, json!([1, 2]));
    assert_eq!(world.assigned().len(), 2);
}

#[test]
fn with_fail_fast_what_runs_fails_and_what_waits_is_skipped_other_copies_left_aside() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["each", "runs", "waits", "after"], &[("waits", "after")]);
    spec.fail_fast = true;
    spec.tasks[0].map = over(MapSource::List(vec![json!(1), json!(2)]));
    world.put(spec);
    let run = world.trigger("d");
    let attempts = world.assigned();
    let of = |task: u32| *attempts.iter().find(|attempt| attempt.ti.task.0 == task).unwrap();
    world.report(of(1), Report::Started);
    world.end(of(0), AttemptEnd::Failed);
    let states = ["each[1]", "runs", "waits", "after"].map(|task| world.state(run, task));
    assert_eq!(states, [S::Queued, S::Failed, S::Skipped, S::Skipped]);
}

#[test]
fn a_copy_keeps_the_name_that_was_told_until_it_begins_as_if_it_had_never_run() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["each"], &[]);
    spec.tasks[0].map = over(MapSource::List(vec![json!("ada")]));
    spec.tasks[0].retry.retries = 1;
    world.put(spec);
    let run = world.trigger("d");
    let copy = world.assigned()[0];
    let name = |world: &World| world.engine.ti(copy.ti).unwrap().name.as_deref().map(str::to_owned);
    world.report(copy, Report::Named("ada".into()));
    assert_eq!(name(&world).as_deref(), Some("ada"));
    world.report(copy, Report::Started);
    world.end(copy, AttemptEnd::Failed);
    world.restart();
    assert_eq!(name(&world).as_deref(), Some("ada"), "also where it failed, and after a restart");
    // One that is too late says nothing.
    world.report(copy, Report::Named("eve".into()));
    assert_eq!(name(&world).as_deref(), Some("ada"));
    world.command(Command::Clear(clear(run, &["each"]))).unwrap();
    assert_eq!(name(&world), None);
}
