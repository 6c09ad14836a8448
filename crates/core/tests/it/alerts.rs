//! Who is told of runs that are late, and of ticks that were missed; what a DAG has called about its runs.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    ALERT_NAMES, AlertChannel, AlertOn, AlertSpec, Callback, CallbackOn, DagKey, DagSpec, Deadline,
    DeadlineFrom, OnDoubt, RunKey, RunState, TiStateName as S, TriggerRule, callback_reason,
    input::{AttemptEnd, Command, CommandError, Outcome, Reply, Report, Trigger},
    record::{DeliveryRow, RunType},
    schedule::{Schedule, Zone},
};

use crate::world::{World, at, clear, dag};

fn alert(on: AlertOn) -> AlertSpec {
    AlertSpec::new(on, AlertChannel::email(vec!["luffy@example.com".into()]))
}

/// A DAG whose runs have so many minutes.
fn late(from: DeadlineFrom, minutes: i64) -> DagSpec {
    let mut spec = dag("d", &["a"], &[]);
    let deadline = Deadline { from, after: SignedDuration::from_mins(minutes) };
    spec.alerts = vec![AlertSpec { deadline: Some(deadline), ..alert(AlertOn::Deadline) }];
    spec
}

fn every_ten_minutes(mut spec: DagSpec) -> DagSpec {
    spec.schedule = Schedule::from_text("*/10 * * * *", Zone::new("UTC").unwrap()).unwrap();
    spec.start_date = Some(at("2026-01-01T00:00:00Z"));
    spec
}

fn told(world: &World) -> Vec<&DeliveryRow> {
    let told: Vec<_> = world.batches.iter().flat_map(|batch| &batch.deliveries).collect();
    for name in told.iter().flat_map(|row| row.context.as_object().unwrap().keys()) {
        assert!(ALERT_NAMES.contains(&&**name) || name == "test", "{name}");
    }
    told
}

#[test]
fn a_run_that_is_not_over_by_its_deadline_is_told_once_also_by_the_next_server() {
    let mut world = World::new(8);
    world.put(late(DeadlineFrom::QueuedAt, 30));
    let run = world.trigger("d");
    let due = world.now + SignedDuration::from_mins(30);
    world.pass(SignedDuration::from_mins(29));
    assert_eq!(told(&world).len(), 0);
    // The timer is there again after a restart, and what was told stays told after another.
    world.restart();
    world.pass(SignedDuration::from_mins(1));
    world.restart();
    world.pass(SignedDuration::from_mins(60));
    let [row] = told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((row.on, row.run, row.ti), (AlertOn::Deadline, Some(run), None));
    assert_eq!(row.context["deadline"], json!(due));
    assert_eq!(row.context["state"], "running");
}

#[test]
fn a_run_that_is_over_in_time_is_not_told_and_one_that_begins_anew_has_its_time_again() {
    let mut world = World::new(8);
    world.put(late(DeadlineFrom::StartedAt, 30));
    let run = world.trigger("d");
    world.succeed_all();
    world.pass(SignedDuration::from_mins(60));
    assert_eq!(told(&world).len(), 0);
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    world.pass(SignedDuration::from_mins(29));
    assert_eq!(told(&world).len(), 0);
    world.pass(SignedDuration::from_mins(1));
    assert_eq!(told(&world).len(), 1);
}

#[test]
fn a_run_that_ends_after_its_deadline_was_late_whatever_was_heard_first() {
    let mut world = World::new(8);
    world.put(late(DeadlineFrom::QueuedAt, 30));
    world.trigger("d");
    let attempt = world.assigned()[0];
    world.now += SignedDuration::from_mins(31);
    world.end(attempt, AttemptEnd::Success);
    assert_eq!(told(&world).len(), 1);
}

#[test]
fn a_tick_made_too_late_has_missed_its_deadline_and_a_run_of_the_past_has_not() {
    let mut world = World::new(8);
    world.put(every_ten_minutes(late(DeadlineFrom::LogicalDate, 3)));
    world.pass(SignedDuration::from_secs(1));
    world.succeed_all();
    // The next tick is made four minutes after it was due.
    world.now = at("2026-01-01T00:14:00Z");
    world.pass(SignedDuration::ZERO);
    assert_eq!(told(&world).iter().map(|row| row.on).collect::<Vec<_>>(), [AlertOn::Deadline]);
    let trigger = Trigger {
        dag: DagKey::new("default", "d"),
        run_id: None,
        logical_date: Some(at("2025-01-01T00:00:00Z")),
        data_interval: None,
        run_after: None,
        conf: Arc::new(json!({})),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: "cli",
    };
    let Reply::Run(RunKey(_), _) = world.command(Command::Trigger(trigger)).unwrap() else {
        panic!("no run was made")
    };
    assert_eq!(told(&world).len(), 1);
}

#[test]
fn a_run_that_is_late_when_its_turn_comes_is_told_in_the_same_step() {
    let mut world = World::new(8);
    let mut spec = every_ten_minutes(late(DeadlineFrom::LogicalDate, 3));
    (spec.max_active_runs, spec.catchup) = (1, true);
    world.put(spec);
    world.pass(SignedDuration::from_secs(1));
    let attempt = world.assigned()[0];
    world.pass(SignedDuration::from_mins(14));
    assert_eq!(told(&world).len(), 1, "the first run has passed its own deadline");
    // The second could begin at 00:10, and is let in at 00:14: its deadline was at 00:13.
    world.end(attempt, AttemptEnd::Success);
    let runs: Vec<_> = told(&world).iter().map(|row| row.run).collect();
    assert_eq!(runs, [Some(RunKey(1)), Some(RunKey(2))]);
}

#[test]
fn ticks_that_passed_while_nobody_was_there_are_told_together() {
    let mut world = World::new(8);
    let mut spec = every_ten_minutes(dag("d", &["a"], &[]));
    spec.alerts = vec![alert(AlertOn::Missed)];
    world.put(spec);
    world.pass(SignedDuration::from_secs(1));
    world.succeed_all();
    world.now = at("2026-01-01T01:05:00Z");
    world.restart();
    let [row] = told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((row.on, row.run), (AlertOn::Missed, None));
    assert_eq!(
        (&row.context["ticks"], &row.context["first_tick"]),
        (&json!(5), &json!("2026-01-01T00:10:00Z"))
    );
    assert_eq!(row.context["last_tick"], json!("2026-01-01T00:50:00Z"));
}

#[test]
fn ticks_of_a_dag_that_somebody_paused_are_not_missed() {
    let mut world = World::new(8);
    let key = DagKey::new("default", "d");
    let mut spec = every_ten_minutes(dag("d", &["a"], &[]));
    spec.alerts = vec![alert(AlertOn::Missed)];
    world.put(spec);
    world.pass(SignedDuration::from_secs(1));
    world.succeed_all();
    world.command(Command::PauseDag { dag: key.clone(), paused: true }).unwrap();
    world.pass(SignedDuration::from_mins(65));
    world.command(Command::PauseDag { dag: key, paused: false }).unwrap();
    assert!(world.batches.iter().any(|batch| batch.ticks.values().any(|tick| tick.count > 1)));
    assert_eq!(told(&world).len(), 0);
}

#[test]
fn a_test_takes_each_way_once_and_tells_of_no_run() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a", "b"], &[]);
    let chat = |name: &str| AlertChannel::Slack { conn_id: name.into(), channel: None };
    spec.alerts = vec![alert(AlertOn::Failure), alert(AlertOn::Success)];
    spec.tasks[0].alerts = vec![alert(AlertOn::Retry), AlertSpec::new(AlertOn::Failure, chat("ops"))];
    spec.tasks[1].alerts = vec![AlertSpec::new(AlertOn::Failure, chat("ops"))];
    // A function is called about what happened alone.
    spec.alerts.push(called(AlertOn::Failure, "m.one"));
    world.put(spec);
    let test = |task: Option<&str>| Command::TestAlerts {
        dag: DagKey::new("default", "d"),
        task: task.map(Into::into),
    };
    let Ok(Reply::Deliveries(ids)) = world.command(test(None)) else { panic!() };
    assert_eq!(told(&world).iter().map(|row| row.id).collect::<Vec<_>>(), ids);
    assert_eq!(
        told(&world).iter().map(|row| &row.channel).collect::<Vec<_>>(),
        [&alert(AlertOn::Failure).channel, &chat("ops")]
    );
    assert_eq!((told(&world)[0].run, &told(&world)[0].context["test"]), (None, &json!(true)));
    let Ok(Reply::Deliveries(ids)) = world.command(test(Some("b"))) else { panic!() };
    assert_eq!(ids.len(), 1);
    assert!(matches!(world.command(test(Some("c"))), Err(CommandError::NotFound(_))));
}

#[test]
fn an_alert_of_a_failed_run_names_the_tasks_that_it_failed_by() {
    let reason = |ends: &[(&str, AttemptEnd, Option<&str>)]| {
        let mut world = World::new(8);
        let mut names: Vec<&str> = ends.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        let mut spec = dag("d", &names, &[]);
        spec.alerts =
            vec![alert(AlertOn::Failure), alert(AlertOn::Success), called(AlertOn::Failure, "m.one")];
        world.put(spec);
        world.trigger("d");
        let assigned = world.assigned();
        for (name, end, message) in ends {
            let task = names.iter().position(|known| known == name).unwrap();
            let attempt = *assigned.iter().find(|attempt| attempt.ti.task.0 as usize == task).unwrap();
            let message = message.map(str::to_owned);
            let outcome = Outcome { message, ..Outcome::new(end.clone()) };
            world.report(attempt, Report::Ended(Box::new(outcome)));
            world.now += SignedDuration::from_secs(1);
        }
        let calls = calls(&world);
        assert!(calls.iter().all(|(_, reason)| reason == "task_failure"), "{calls:?}");
        told(&world)[0].context["reason"].clone()
    };
    let failed = |name, message| (name, AttemptEnd::FailedForGood, Some(message));
    assert_eq!(reason(&[("a", AttemptEnd::Success, None)]), json!(null));
    // Those first that failed first.
    assert_eq!(
        reason(&[
            failed("b", "ended with exit code 3"),
            ("a", AttemptEnd::Success, None),
            failed("c", "lost")
        ]),
        json!("b failed: ended with exit code 3; c failed: lost")
    );
    let long = format!("{}\nmore", "x".repeat(300));
    let many = [failed("a", &long), failed("b", "1"), failed("c", "2"), failed("d", "3"), failed("e", "4")];
    let told = format!("a failed: {}…; b failed: 1; c failed: 2; and 2 more", "x".repeat(200));
    assert_eq!(reason(&many), json!(told));
}

#[test]
fn an_alert_of_a_run_that_succeeded_all_the_same_names_no_task_that_failed() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a", "b"], &[("a", "b")]);
    spec.tasks[1].trigger_rule = TriggerRule::AllDone;
    spec.alerts = vec![alert(AlertOn::Failure), alert(AlertOn::Success)];
    world.put(spec);
    world.trigger("d");
    let attempt = world.assigned()[0];
    world.end(attempt, AttemptEnd::FailedForGood);
    world.succeed_all();
    let [row] = told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((row.on, &row.context["reason"]), (AlertOn::Success, &json!(null)));
}

fn called(on: AlertOn, function: &str) -> AlertSpec {
    let of = if on == AlertOn::Success { CallbackOn::Success } else { CallbackOn::Failure };
    let function = Callback { on: of, function: function.into(), file: None, kwargs: serde_json::Map::new() };
    AlertSpec::new(on, AlertChannel::Callback(function))
}

/// The functions that wait to be called, with the reason that each is told.
fn calls(world: &World) -> Vec<(String, String)> {
    let of = |row: &&DeliveryRow| match &row.channel {
        AlertChannel::Callback(callback) => {
            let reason = callback_reason(row.on == AlertOn::Failure, row.context["reason"].as_str());
            Some((callback.function.clone(), reason.to_owned()))
        }
        _ => None,
    };
    told(world).iter().filter_map(of).collect()
}

fn with_callbacks() -> DagSpec {
    let mut spec = dag("d", &["a"], &[]);
    let failure = AlertOn::Failure;
    spec.alerts =
        vec![called(failure, "m.one"), called(AlertOn::Success, "m.done"), called(failure, "m.two")];
    spec
}

fn calls_are(world: &World, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned())).collect();
    assert_eq!(calls(world), expected);
}

#[test]
fn what_a_dag_has_called_is_put_into_the_outbox_with_the_end_of_the_run() {
    let mut world = World::new(8);
    world.put(with_callbacks());
    let run = world.trigger("d");
    let attempt = world.assigned()[0];
    world.report(attempt, Report::Started);
    calls_are(&world, &[]);
    world.end(attempt, AttemptEnd::Failed);
    calls_are(&world, &[("m.one", "task_failure"), ("m.two", "task_failure")]);
    let ends =
        world.batches.iter().find(|batch| batch.runs.get(&run).is_some_and(|run| run.state.is_finished()));
    let rows = &ends.unwrap().deliveries;
    assert_eq!(
        rows.iter().map(|row| (row.run, row.on_doubt)).collect::<Vec<_>>(),
        [(Some(run), OnDoubt::Resend); 2]
    );
    // One that begins anew and ends another way calls another.
    world.command(Command::Clear(clear(run, &["a"]))).unwrap();
    world.succeed_all();
    assert_eq!(world.run_state(run), RunState::Success);
    calls_are(&world, &[("m.one", "task_failure"), ("m.two", "task_failure"), ("m.done", "success")]);
}

#[test]
fn a_run_that_is_marked_or_whose_time_is_up_calls_as_its_alerts_tell() {
    let mut world = World::new(8);
    let mut spec = with_callbacks();
    spec.alerts.remove(2);
    spec.alerts.push(alert(AlertOn::Failure));
    spec.dagrun_timeout = Some(SignedDuration::from_mins(5));
    world.put(spec);
    let marked = world.trigger("d");
    world.command(Command::MarkRun { run: marked, state: RunState::Failed }).unwrap();
    let late = world.trigger("d");
    let attempt = *world.assigned().last().unwrap();
    world.report(attempt, Report::Started);
    world.pass(SignedDuration::from_mins(6));
    // As in Airflow, what runs too: it is the run that took too long.
    assert!(world.states(late).values().all(|state| *state == S::Skipped), "{:?}", world.states(late));
    calls_are(&world, &[("m.one", "it was marked as failed"), ("m.one", "timed_out")]);
    let mails = told(&world).iter().filter(|row| matches!(row.channel, AlertChannel::Email { .. })).count();
    assert_eq!(mails, 2);
    let stuck = "nothing can run any more: 1 task instances wait for what will not happen, the first is `a`";
    assert_eq!(callback_reason(true, Some(stuck)), "all_tasks_deadlocked");
}
