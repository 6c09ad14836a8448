//! What begins anew when something is cleared.

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    GroupSpec, MapIndex, MapSource, Mapping, Role, RunKey, RunState, TaskIx, TiKey, TiStateName as S,
    TriggerRule,
    input::{AttemptEnd, Branch, Clear, Command, Outcome, Reply, Report},
};

use crate::world::{World, clear as clearing, dag};

fn clear(world: &mut World, run: RunKey, task: &str, copy: Option<i32>, downstream: bool) {
    let clear = Clear {
        run,
        tasks: vec![(task.into(), copy.map(MapIndex))],
        upstream: false,
        downstream,
        only_failed: false,
        only_running: false,
        reset_run: true,
        latest: false,
        dry_run: false,
    };
    world.command(Command::Clear(clear)).unwrap();
}

#[test]
fn with_work_its_setup_and_teardown_begin_anew_too() {
    let mut world = World::new(8);
    let edges = [("s", "a"), ("a", "b"), ("b", "t"), ("s", "t"), ("s", "other")];
    let mut spec = dag("d", &["s", "a", "b", "t", "other"], &edges);
    spec.tasks[0].role = Role::Setup;
    spec.tasks[3].role = Role::Teardown { on_failure_fail_dagrun: false };
    spec.tasks[3].trigger_rule = TriggerRule::AllDoneSetupSuccess;
    world.put(spec);
    let run = world.trigger("d");
    world.succeed_all();
    clear(&mut world, run, "b", None, false);
    let states = ["s", "a", "b", "t", "other"].map(|task| world.state(run, task));
    assert_eq!(states, [S::Queued, S::Success, S::None, S::None, S::Success]);
    world.succeed_all();
    clear(&mut world, run, "s", None, false);
    let states = ["s", "a", "b", "t"].map(|task| world.state(run, task));
    assert_eq!(states, [S::Queued, S::Success, S::Success, S::None]);
}

#[test]
fn what_comes_after_a_copy_in_a_mapped_group_is_the_copy_of_its_index() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["g.a", "g.b", "last"], &[("g.a", "g.b"), ("g.b", "last")]);
    let twice = MapSource::List(vec![json!(1), json!(2)]);
    let map = Some(Mapping::Product(vec![("x".into(), twice)]));
    spec.groups = vec![GroupSpec { group_id: "g".into(), parent: None, tooltip: None, map }];
    spec.tasks[..2].iter_mut().for_each(|task| task.group = Some("g".into()));
    world.put(spec);
    let run = world.trigger("d");
    world.succeed_all();
    clear(&mut world, run, "g.a", Some(1), true);
    let states = ["g.a[0]", "g.a[1]", "g.b[0]", "g.b[1]", "last"].map(|task| world.state(run, task));
    assert_eq!(states, [S::Success, S::Queued, S::Success, S::None, S::None]);
}

#[test]
fn what_a_short_circuit_left_out_is_left_out_again_only_where_it_comes_directly_after_it() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["stop", "near", "far"], &[("stop", "near"), ("near", "far")]);
    spec.tasks[2].trigger_rule = TriggerRule::AllDone;
    world.put(spec);
    let run = world.trigger("d");
    let stop = world.assigned()[0];
    let mut outcome = Outcome::new(AttemptEnd::Success);
    outcome.branch = Some(Branch::SkipAllDownstream);
    world.report(stop, Report::Ended(Box::new(outcome)));
    assert_eq!((world.state(run, "near"), world.state(run, "far")), (S::Skipped, S::Skipped));
    clear(&mut world, run, "near", None, false);
    assert_eq!(world.state(run, "near"), S::Skipped);
    clear(&mut world, run, "far", None, false);
    assert_eq!(world.state(run, "far"), S::Queued);
}

#[test]
fn tries_after_it_are_for_another_piece_of_work_and_retries_are_not() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].retry.retries = 1;
    spec.tasks[0].retry.delay = SignedDuration::ZERO;
    world.put(spec);
    let run = world.trigger("d");
    let key = TiKey { run, task: TaskIx(0), map_index: MapIndex::NONE };
    let before = |world: &World| world.engine.ti(key).map(|ti| (ti.try_number, ti.tries_before));
    let first = world.assigned()[0];
    world.end(first, AttemptEnd::Failed);
    world.pass(SignedDuration::from_secs(1));
    assert_eq!(before(&world), Some((2, 0)));
    // Attempts that are lost raise what may be tried, and not this.
    world.join(2, 8, Vec::new());
    assert_eq!(before(&world), Some((3, 0)));
    clear(&mut world, run, "a", None, false);
    world.join(3, 8, Vec::new());
    assert_eq!(before(&world), Some((4, 3)));
    world.restart();
    assert_eq!(before(&world), Some((4, 3)));
}

#[test]
fn a_run_that_is_cleared_goes_on_with_the_dag_as_it_is_now_where_that_is_asked_for() {
    let mut world = World::new(8);
    let chain = || dag("d", &["a", "b"], &[("a", "b")]);
    world.put(chain());
    let run = world.trigger("d");
    for end in [AttemptEnd::Success, AttemptEnd::Failed] {
        let attempt = world.assigned()[0];
        world.end(attempt, end);
    }
    assert_eq!(world.run_state(run), RunState::Failed);
    let mut mended = dag("d", &["a", "b", "c"], &[("a", "b"), ("b", "c")]);
    mended.tasks[1].args.insert("bash_command".into(), json!("echo mended"));
    world.put(mended);
    let latest = Clear { latest: true, ..clearing(run, &["b"]) };

    let asked = Clear { dry_run: true, ..latest.clone() };
    world.command(Command::Clear(asked)).unwrap();
    assert_eq!(world.stored(run).1.run.version, 1, "it was only asked");
    world.command(Command::Clear(latest.clone())).unwrap();
    let (row, of_run) = world.engine.run(run).unwrap();
    assert_eq!((row.version, &of_run.spec().tasks[1].args["bash_command"]), (2, &json!("echo mended")));
    let b = world.assigned().pop().unwrap();
    world.restart();
    world.join(1, 8, vec![b]);
    world.end(b, AttemptEnd::Success);
    let c = world.assigned().pop().unwrap();
    world.end(c, AttemptEnd::Success);
    assert_eq!(["a", "b", "c"].map(|task| world.state(run, task)), [S::Success; 3]);
    assert_eq!(world.run_state(run), RunState::Success);

    let already = Clear { dry_run: true, ..latest.clone() };
    assert!(world.command(Command::Clear(already)).is_ok(), "it is on it already");
    world.put(dag("d", &["b", "c"], &[]));
    let refused = world.command(Command::Clear(latest)).unwrap_err().to_string();
    assert!(refused.contains("`a` is no task any more: trigger a new one"), "{refused}");
}

#[test]
fn what_runs_stays_on_its_version() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let mut other = dag("d", &["a"], &[]);
    other.description = Some("other".into());
    world.put(other);
    let latest = Clear { latest: true, ..clearing(run, &["a"]) };
    let refused = world.command(Command::Clear(latest)).unwrap_err().to_string();
    assert!(refused.contains("goes on with version 1"), "{refused}");
}

#[test]
fn what_follows_what_is_cleared_is_as_in_the_version_that_the_run_goes_on_with() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b", "c"], &[("a", "b"), ("a", "c")]));
    let run = world.trigger("d");
    for _ in 0..2 {
        world.assigned().into_iter().for_each(|attempt| world.end(attempt, AttemptEnd::Success));
    }
    world.put(dag("d", &["a", "b", "c", "n"], &[("a", "b"), ("a", "c"), ("b", "c"), ("c", "n")]));
    let begins_anew = |world: &mut World, clear: Clear| {
        let Reply::Tis(keys) = world.command(Command::Clear(clear)).unwrap() else { panic!("no keys") };
        keys.iter().map(|key| key.task.0).collect::<Vec<_>>()
    };
    let from_b = Clear { latest: true, downstream: true, dry_run: true, ..clearing(run, &["b"]) };
    assert_eq!(begins_anew(&mut world, from_b), [1, 2, 3]);
    // Also what is new can be named.
    let new = Clear { latest: true, ..clearing(run, &["n"]) };
    assert_eq!(begins_anew(&mut world, new), [3]);
    let n = world.assigned().pop().unwrap();
    world.end(n, AttemptEnd::Success);
    assert_eq!(["a", "b", "c", "n"].map(|task| world.state(run, task)), [S::Success; 4]);
    assert_eq!(world.run_state(run), RunState::Success);
}
