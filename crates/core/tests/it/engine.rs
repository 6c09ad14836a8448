//! What becomes of runs and task instances.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, DagKey, DagSpec, End, MapIndex, MapSource, Mapping, Role, RunState,
    TaskIx, TaskKind, TaskSpec, TiKey, TiStateName as S, TriggerRule, WaitRule, XcomValue,
    input::{AttemptEnd, Command, Outcome, Report, ToWorker, WorkerEvent},
};

use crate::world::{World, clear, dag};

#[test]
fn a_chain_runs_in_order_and_its_run_succeeds() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b", "c"], &[("a", "b"), ("b", "c")]));
    let run = world.trigger("d");
    for expected in ["a", "b", "c"] {
        let assigned = world.assigned();
        assert_eq!(assigned.len(), 1);
        assert_eq!(world.state(run, expected), S::Queued);
        world.report(assigned[0], Report::Started);
        world.end(assigned[0], AttemptEnd::Success);
    }
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn empty_tasks_are_over_in_the_step_that_makes_the_run() {
    let mut world = World::new(1);
    let mut spec = dag("d", &["a", "b", "c"], &[("a", "b"), ("b", "c")]);
    spec.tasks.iter_mut().for_each(|task| task.kind = TaskKind::Empty);
    world.put(spec);
    let run = world.trigger("d");
    assert_eq!(world.run_state(run), RunState::Success);
    assert!(world.assigned().is_empty());
}

#[test]
fn a_failed_task_is_tried_again_after_its_delay_and_then_fails_for_good() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a", "b"], &[("a", "b")]);
    spec.tasks[0].retry.retries = 1;
    let mail = |on| AlertSpec::new(on, AlertChannel::email(vec!["luffy@example.com".into()]));
    spec.tasks[0].alerts = vec![mail(AlertOn::Failure), mail(AlertOn::Retry)];
    world.put(spec);
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.end(first, AttemptEnd::Failed);
    assert_eq!(world.state(run, "a"), S::UpForRetry);
    world.pass(SignedDuration::from_secs(299));
    assert!(world.assigned().is_empty());
    world.pass(SignedDuration::from_secs(1));
    let second = world.assigned()[0];
    assert_eq!((first.try_number, second.try_number), (1, 2));
    world.end(second, AttemptEnd::Failed);
    assert_eq!(world.state(run, "a"), S::Failed);
    assert_eq!(world.state(run, "b"), S::UpstreamFailed);
    assert_eq!(world.run_state(run), RunState::Failed);
    let told: Vec<AlertOn> = world.batches.iter().flat_map(|b| &b.deliveries).map(|d| d.on).collect();
    assert_eq!(told, [AlertOn::Retry, AlertOn::Failure]);
}

#[test]
fn what_a_task_pushed_before_it_failed_stays_until_its_next_try_begins() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].retry.retries = 1;
    world.put(spec);
    world.trigger("d");
    let pushed = |end| Outcome {
        xcoms: ["rows", "return_value"]
            .map(|name| (name.to_owned(), XcomValue::Inline(Arc::new(json!(12)))))
            .into(),
        ..Outcome::new(end)
    };
    for end in [AttemptEnd::Failed, AttemptEnd::FailedForGood] {
        let attempt = world.assigned()[0];
        let cleared = world.batches.iter().any(|batch| batch.cleared_xcoms.contains(&attempt.ti));
        assert_eq!(cleared, attempt.try_number == 2);
        world.batches.clear();
        world.report(attempt, Report::Ended(Box::new(pushed(end))));
        let kept: Vec<_> = world.batches.iter().flat_map(|batch| &batch.xcoms).map(|row| &*row.key).collect();
        assert_eq!(kept, ["rows"], "what a failed task returned is nothing");
        world.pass(SignedDuration::from_secs(300));
    }
}

#[test]
fn a_report_of_an_attempt_that_is_not_the_present_one_changes_nothing() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let attempt = world.assigned()[0];
    let stale = updraft_core::AttemptId { lease: attempt.lease + 1, ..attempt };
    world.end(stale, AttemptEnd::Success);
    assert_eq!(world.state(run, "a"), S::Queued);
    assert_eq!(world.told.last(), Some(&ToWorker::Acknowledge(stale)), "it may forget it all the same");
    world.end(attempt, AttemptEnd::Success);
    world.end(attempt, AttemptEnd::Failed);
    assert_eq!(world.state(run, "a"), S::Success, "the first end counts");
}

#[test]
fn a_lost_attempt_is_followed_by_another_without_using_up_retries() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.report(first, Report::Started);
    world.beats = false;
    world.pass(SignedDuration::from_secs(31));
    assert_eq!(world.state(run, "a"), S::Scheduled, "its worker was silent for longer than its lease");
    world.join(2, 8, Vec::new());
    let second = world.assigned()[0];
    assert_eq!(second.try_number, 2);
    world.worker(
        1,
        WorkerEvent::Report {
            attempt: first,
            at: world.now,
            report: Report::Ended(Box::new(Outcome::new(AttemptEnd::Success))),
        },
    );
    assert_eq!(world.state(run, "a"), S::Queued, "a late report of a lost worker is refused");
}

#[test]
fn a_task_is_mapped_over_the_result_before_it() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["list", "each", "sum"], &[("each", "sum")]);
    spec.tasks[1].map = Some(Mapping::Product(vec![("x".into(), MapSource::Result("list".into()))]));
    world.put(spec);
    let run = world.trigger("d");
    let list = world.assigned()[0];
    world.end_with(list, json!([1, 2, 3]));
    let copies = world.assigned();
    let indices: Vec<i32> = copies.iter().map(|a| a.ti.map_index.0).collect();
    assert_eq!(indices, [0, 1, 2]);
    world.end(copies[0], AttemptEnd::Success);
    world.end(copies[1], AttemptEnd::Success);
    assert_eq!(world.state(run, "sum"), S::None);
    world.end(copies[2], AttemptEnd::Success);
    assert_eq!(world.state(run, "sum"), S::Queued);
    assert!(!world.states(run).contains_key("each"));
}

#[test]
fn mapped_over_an_empty_list_is_skipped_and_over_no_list_fails() {
    let mut spec = dag("d", &["list", "each"], &[]);
    spec.tasks[1].map = Some(Mapping::Product(vec![("x".into(), MapSource::Result("list".into()))]));
    for (result, list, each) in
        [(json!([]), S::Success, S::Skipped), (json!("x"), S::Failed, S::UpstreamFailed)]
    {
        let mut world = World::new(8);
        world.put(spec.clone());
        let run = world.trigger("d");
        let attempt = world.assigned()[0];
        world.end_with(attempt, result);
        assert_eq!((world.state(run, "list"), world.state(run, "each")), (list, each));
        if list == S::Failed {
            let (_, stored) = world.stored(run);
            let reason = stored.tis.iter().find(|ti| &*ti.task_id == "list").unwrap().reason.clone().unwrap();
            assert!(reason.contains("mapped over the result of `list`") && reason.contains("`result: file`"));
            assert!(reason.contains("neither a list nor an object: it is the text \"x\""), "{reason}");
        }
    }
}

#[test]
fn expand_kwargs_over_no_list_says_what_it_found() {
    let mut spec = dag("d", &["list", "each"], &[]);
    spec.tasks[1].map = Some(Mapping::Kwargs(MapSource::Result("list".into())));
    let mut world = World::new(8);
    world.put(spec);
    let run = world.trigger("d");
    let attempt = world.assigned()[0];
    world.end_with(attempt, json!("y".repeat(300)));
    let (_, stored) = world.stored(run);
    let reason = stored.tis.iter().find(|ti| &*ti.task_id == "list").unwrap().reason.clone().unwrap();
    assert!(
        reason.contains("no list of mappings, as `expand_kwargs` takes: it is the text \"yyy"),
        "{reason}"
    );
    assert!(reason.len() < 400, "{reason}");
}

#[test]
fn clearing_begins_anew_what_is_over_and_what_runs_and_maps_anew() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["list", "each"], &[]);
    spec.tasks[1].map = Some(Mapping::Product(vec![("x".into(), MapSource::Result("list".into()))]));
    world.put(spec);
    let run = world.trigger("d");
    let list = world.assigned()[0];
    world.end_with(list, json!([1, 2, 3]));
    world.succeed_all();
    assert_eq!(world.run_state(run), RunState::Success);
    assert!(world.engine.run(run).is_none(), "it is out of mind");
    for (length, left) in [(2, [S::Queued, S::Queued, S::Removed]), (3, [S::Queued, S::Queued, S::Queued])] {
        world.command(Command::Clear(clear(run, &["list", "each"]))).unwrap();
        let list = world.assigned()[0];
        world.end_with(list, (0..length).collect());
        assert_eq!(["each[0]", "each[1]", "each[2]"].map(|copy| world.state(run, copy)), left);
        world.succeed_all();
    }
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn a_running_task_that_is_cleared_ends_before_it_begins_anew() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    let first = world.assigned()[0];
    world.report(first, Report::Started);
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    assert_eq!(world.state(run, "a"), S::Restarting);
    assert!(world.told.contains(&ToWorker::Cancel(first)));
    assert!(world.assigned().is_empty());
    world.end(first, AttemptEnd::Cancelled);
    let second = world.assigned()[0];
    assert_eq!(second.try_number, 2);
}

#[test]
fn marking_a_running_task_ends_it_and_lets_the_rest_go_on() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b"], &[("a", "b")]));
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.report(a, Report::Started);
    world.command(Command::Mark { tis: vec![a.ti], state: End::Success }).unwrap();
    assert!(world.told.contains(&ToWorker::Cancel(a)));
    assert_eq!(world.state(run, "b"), S::Queued);
}

#[test]
fn marking_what_failed_as_success_lets_what_failed_after_it_begin_anew() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b", "c"], &[("a", "b"), ("b", "c")]));
    let run = world.trigger("d");
    let a = world.assigned()[0];
    world.end(a, AttemptEnd::Failed);
    assert_eq!((world.state(run, "c"), world.run_state(run)), (S::UpstreamFailed, RunState::Failed));
    world.command(Command::Mark { tis: vec![a.ti], state: End::Success }).unwrap();
    assert_eq!((world.state(run, "a"), world.state(run, "b")), (S::Success, S::Queued));
    world.succeed_all();
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn pause_and_continue_reach_the_worker_and_stop_fails_without_a_retry() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].retry.retries = 5;
    world.put(spec);
    let run = world.trigger("d");
    let a = world.assigned()[0];
    assert!(world.command(Command::Pause(a.ti)).is_err(), "it has not begun");
    world.report(a, Report::Started);
    world.command(Command::Pause(a.ti)).unwrap();
    assert_eq!((world.state(run, "a"), world.told.last()), (S::Paused, Some(&ToWorker::Pause(a))));
    world.command(Command::Continue(a.ti)).unwrap();
    assert_eq!((world.state(run, "a"), world.told.last()), (S::Running, Some(&ToWorker::Continue(a))));
    world.command(Command::Stop(a.ti)).unwrap();
    assert_eq!((world.state(run, "a"), world.told.last()), (S::Failed, Some(&ToWorker::Cancel(a))));
}

#[test]
fn a_paused_dag_begins_nothing_until_it_goes_on() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b"], &[("a", "b")]));
    let key = DagKey::new("default", "d");
    world.trigger("d");
    let a = world.assigned()[0];
    world.command(Command::PauseDag { dag: key.clone(), paused: true }).unwrap();
    world.end(a, AttemptEnd::Success);
    world.pass(SignedDuration::from_secs(1));
    let second = world.trigger("d");
    assert!(world.assigned().is_empty());
    assert_eq!(world.run_state(second), RunState::Queued);
    world.command(Command::PauseDag { dag: key, paused: false }).unwrap();
    assert_eq!(world.assigned().len(), 2, "b of the first run and a of the second");
}

#[test]
fn while_everything_is_paused_nothing_begins_also_after_a_restart() {
    let mut world = World::new(8);
    for name in ["d", "own"] {
        world.put(dag(name, &["a", "b"], &[("a", "b")]));
    }
    let own = DagKey::new("default", "own");
    world.command(Command::PauseDag { dag: own, paused: true }).unwrap();
    let first = world.trigger("d");
    let a = world.assigned()[0];
    world.command(Command::PauseAll { paused: true }).unwrap();
    world.end(a, AttemptEnd::Success);
    let second = world.trigger("d");
    let of_own = world.trigger("own");
    world.pass(SignedDuration::from_secs(1));
    assert!(world.assigned().is_empty());
    assert_eq!(world.run_state(second), RunState::Queued);
    let b = world.instances(first).into_iter().find(|(_, (task, _))| task == "b").unwrap().0;
    let why = world.engine.explain(b).unwrap();
    assert!(why.reasons.iter().any(|reason| reason.contains("everything is paused")), "{why:?}");
    world.restart();
    world.join(2, 8, Vec::new());
    world.pass(SignedDuration::from_secs(1));
    assert!(world.assigned().is_empty());
    world.command(Command::PauseAll { paused: false }).unwrap();
    assert_eq!(world.assigned().len(), 2, "b of the first run and a of the second");
    assert_eq!(world.run_state(of_own), RunState::Queued);
    // Said again it changes nothing.
    let written = world.batches.len();
    world.command(Command::PauseAll { paused: false }).unwrap();
    assert!(world.batches[written..].iter().all(|batch| batch.paused.is_none()));
}

#[test]
fn waits_hold_nothing_and_end_by_themselves() {
    let mut world = World::new(0);
    let mut spec = DagSpec::new("d");
    let rule = WaitRule::AfterReady(SignedDuration::from_mins(2));
    spec.tasks = vec![TaskSpec::new("wait", "WaitOperator", TaskKind::Wait(rule))];
    world.put(spec);
    let run = world.trigger("d");
    assert_eq!(world.state(run, "wait"), S::Deferred);
    world.pass(SignedDuration::from_secs(119));
    assert_eq!(world.state(run, "wait"), S::Deferred);
    world.pass(SignedDuration::from_secs(1));
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn a_sensor_is_watched_without_a_slot() {
    let mut world = World::new(0);
    let mut spec = dag("d", &["sensor"], &[]);
    spec.tasks[0].kind = TaskKind::Watch;
    world.put(spec);
    let run = world.trigger("d");
    let watch = world.assigned()[0];
    assert_eq!(world.state(run, "sensor"), S::Deferred);
    world.end(watch, AttemptEnd::Success);
    assert_eq!(world.run_state(run), RunState::Success);
}

/// Its timeout counts from there, over the tries of one that was lost and of one that failed.
#[test]
fn a_sensor_remembers_when_its_first_try_began_until_it_is_cleared() {
    let mut world = World::new(0);
    let mut spec = dag("d", &["sensor"], &[]);
    spec.tasks[0].kind = TaskKind::Watch;
    spec.tasks[0].retry.retries = 1;
    spec.tasks[0].retry.delay = SignedDuration::from_secs(10);
    world.put(spec);
    let run = world.trigger("d");
    let first = world.assigned()[0];
    let key = first.ti;
    world.report(first, Report::Started);
    let began = world.engine.ti(key).unwrap().started_at;
    assert!(began.is_some());
    world.pass(SignedDuration::from_secs(30));
    world.join(2, 0, Vec::new());
    let second = world.assigned()[0];
    let tell = |world: &mut World, life, attempt, report| {
        world.worker(life, WorkerEvent::Report { attempt, at: world.now, report });
    };
    let ended = |end| Report::Ended(Box::new(Outcome::new(end)));
    assert_eq!((second.try_number, world.engine.ti(key).unwrap().first_started_at), (2, began));
    tell(&mut world, 2, second, Report::Started);
    tell(&mut world, 2, second, ended(AttemptEnd::Failed));
    world.pass(SignedDuration::from_secs(20));
    world.restart();
    assert_eq!(world.engine.ti(key).unwrap().first_started_at, began);
    world.join(3, 0, Vec::new());
    let last = world.assigned().pop().unwrap();
    tell(&mut world, 3, last, ended(AttemptEnd::Success));
    assert_eq!(world.state(run, "sensor"), S::Success);
    world.command(Command::Clear(clear(run, &["sensor"]))).unwrap();
    assert_eq!(world.engine.ti(key).unwrap().first_started_at, None);
}

#[test]
fn work_with_a_failed_setup_is_not_begun_and_its_teardown_neither() {
    let mut world = World::new(8);
    let edges = [("s", "a"), ("a", "b"), ("b", "t"), ("s", "t")];
    let mut spec = dag("d", &["s", "a", "b", "t"], &edges);
    spec.tasks[0].role = Role::Setup;
    spec.tasks[3].role = Role::Teardown { on_failure_fail_dagrun: false };
    spec.tasks[3].trigger_rule = TriggerRule::AllDoneSetupSuccess;
    world.put(spec.clone());
    let run = world.trigger("d");
    let s = world.assigned()[0];
    world.end(s, AttemptEnd::Failed);
    let names = ["a", "b", "t"].map(|task| world.state(run, task));
    assert_eq!(names, [S::UpstreamFailed, S::UpstreamFailed, S::UpstreamFailed]);
    assert_eq!(world.run_state(run), RunState::Failed);

    world.pass(SignedDuration::from_secs(1));
    let run = world.trigger("d");
    let s = world.assigned()[0];
    world.end(s, AttemptEnd::Success);
    let a = world.assigned()[0];
    world.end(a, AttemptEnd::Failed);
    assert_eq!(world.state(run, "t"), S::Queued, "it cleans up after a failure");
}

#[test]
fn who_is_nearer_to_what_has_happened_decides_first_wherever_it_is_written() {
    let edges = [("p", "near"), ("p", "far"), ("far", "farther"), ("near", "x"), ("farther", "x")];
    for names in [["p", "near", "far", "farther", "x"], ["p", "x", "near", "far", "farther"]] {
        let mut world = World::new(8);
        let mut spec = dag("d", &names, &edges);
        let near = spec.tasks.iter_mut().find(|task| &*task.task_id == "near").unwrap();
        near.trigger_rule = TriggerRule::AllSkipped;
        world.put(spec);
        let run = world.trigger("d");
        let p = world.assigned()[0];
        world.end(p, AttemptEnd::Failed);
        let states = ["near", "farther", "x"].map(|task| world.state(run, task));
        assert_eq!(states, [S::Skipped, S::UpstreamFailed, S::Skipped]);
    }
}

#[test]
fn a_setup_that_is_not_over_keeps_work_from_running_but_not_from_failing() {
    let mut world = World::new(8);
    let edges = [("s", "a"), ("a", "b"), ("f", "b"), ("f", "c"), ("a", "c")];
    let mut spec = dag("d", &["s", "a", "b", "c", "f"], &edges);
    spec.tasks[0].role = Role::Setup;
    spec.tasks[2].trigger_rule = TriggerRule::OneFailed;
    world.put(spec);
    let run = world.trigger("d");
    let f = *world.assigned().last().unwrap();
    world.end(f, AttemptEnd::Failed);
    assert_eq!((world.state(run, "b"), world.state(run, "c")), (S::None, S::UpstreamFailed));
}

#[test]
fn a_task_with_the_rule_always_does_not_wait_for_its_setup_either() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["s", "a", "b"], &[("s", "a"), ("a", "b")]);
    spec.tasks[0].role = Role::Setup;
    spec.tasks[2].trigger_rule = TriggerRule::Always;
    world.put(spec);
    let run = world.trigger("d");
    assert_eq!(world.state(run, "b"), S::Queued);
}

#[test]
fn a_task_that_depends_on_past_waits_for_the_run_before() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].depends_on_past = true;
    world.put(spec);
    world.trigger("d");
    let first = world.assigned()[0];
    world.pass(SignedDuration::from_secs(1));
    let second = world.trigger("d");
    assert!(world.assigned().is_empty(), "the run before has not come so far");
    assert_eq!(world.state(second, "a"), S::None);
    world.end(first, AttemptEnd::Success);
    assert_eq!(world.state(second, "a"), S::Queued);
}

#[test]
fn a_run_that_begins_anew_looks_again_for_the_run_before() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.tasks[0].depends_on_past = true;
    world.put(spec);
    let first = world.now;
    world.now = first + SignedDuration::from_secs(10);
    let later = world.trigger("d");
    let attempt = world.assigned()[0];
    // One that follows it keeps it in mind when it is over.
    world.now = first + SignedDuration::from_secs(15);
    world.trigger("d");
    world.end(attempt, AttemptEnd::Success);
    assert_eq!((world.run_state(later), world.assigned().len()), (RunState::Success, 1));
    // A run of an earlier date is made afterwards, and has not come so far.
    world.now = first + SignedDuration::from_secs(5);
    world.trigger("d");
    let between = world.assigned()[0];
    world.now = first + SignedDuration::from_secs(20);
    world.command(Command::Clear(clear(later, &["a"]))).unwrap();
    assert!(world.assigned().is_empty(), "the run before has not succeeded");
    world.end(between, AttemptEnd::Success);
    assert_eq!(world.state(later, "a"), S::Queued);
}

#[test]
fn a_subset_of_tasks_runs_by_itself() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b", "c"], &[("a", "b"), ("b", "c")]));
    let run = world.trigger_tasks("d", &["b"]);
    let b = world.assigned();
    assert_eq!(b.len(), 1);
    world.end(b[0], AttemptEnd::Failed);
    assert_eq!(world.states(run).len(), 1);
    assert_eq!(world.run_state(run), RunState::Failed, "b is the last of this run");
}

#[test]
fn a_run_of_all_tasks_by_name_ends_as_a_run_of_the_whole_dag() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a", "t"], &[("a", "t")]);
    spec.tasks[1].role = Role::Teardown { on_failure_fail_dagrun: false };
    world.put(spec);
    let run = world.trigger_tasks("d", &["a", "t"]);
    for end in [AttemptEnd::Success, AttemptEnd::Failed] {
        let attempt = world.assigned()[0];
        world.end(attempt, end);
    }
    assert_eq!((world.state(run, "t"), world.run_state(run)), (S::Failed, RunState::Success));
}

#[test]
fn every_waiting_task_instance_says_why() {
    let mut world = World::new(1);
    world.put(dag("d", &["a", "b", "c"], &[("a", "b")]));
    let run = world.trigger("d");
    let key = |task: u32| TiKey { run, task: TaskIx(task), map_index: MapIndex::NONE };
    let b = world.engine.explain(key(1)).unwrap();
    assert!(b.reasons[0].contains("`a` is queued"), "{b:?}");
    let c = world.engine.explain(key(2)).unwrap();
    assert!(c.reasons[0].contains("all 1 slots"), "{c:?}");
}

#[test]
fn the_audit_log_knows_whose_a_run_was_that_is_deleted() {
    let mut world = World::new(1);
    world.put(dag("d", &["a"], &[]));
    let run = world.trigger("d");
    world.succeed_all();
    world.command(Command::DeleteRun(run)).unwrap();
    let entry = world.batches.iter().flat_map(|batch| &batch.audit).last().unwrap();
    assert_eq!((&*entry.action, entry.run), ("delete_run", Some(run)));
    assert_eq!(entry.namespace.as_deref(), Some("default"));
    assert_eq!(entry.dag.as_deref(), Some("d"));
}
