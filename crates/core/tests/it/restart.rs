//! A server that goes on where another left off decides as that would have.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    DagKey, RunState, TiStateName as S,
    input::{AttemptEnd, Command, Reply, Trigger},
    record::{RunType, TickOutcome},
    schedule::{Schedule, Zone},
};

use crate::world::{World, at, dag};

fn scheduled(cron: &str) -> updraft_core::DagSpec {
    let mut spec = dag("d", &["a"], &[]);
    spec.schedule = Schedule::from_text(cron, Zone::new("UTC").unwrap()).unwrap();
    spec.start_date = Some(at("2026-01-01T00:00:00Z"));
    spec
}

#[test]
fn the_tick_that_was_planned_stays_planned() {
    let mut world = World::new(8);
    let key = DagKey::new("default", "d");
    world.put(scheduled("*/10 * * * *"));
    world.pass(SignedDuration::from_secs(60));
    world.succeed_all();
    world.command(Command::PauseDag { dag: key.clone(), paused: true }).unwrap();
    world.put(scheduled("*/7 * * * *"));
    let planned = world.engine.dag(&key).unwrap().0.next_tick;
    assert!(planned.is_some());
    // Several of them pass while it is paused: the first is where the ledger goes on.
    world.pass(SignedDuration::from_mins(30));
    let written = world.batches.len();
    world.restart();
    assert_eq!(world.engine.dag(&key).unwrap().0.next_tick, planned);
    assert!(world.batches[written..].iter().all(|batch| batch.dags.is_empty() && batch.ticks.is_empty()));
}

#[test]
fn a_tick_that_waits_is_made_though_the_schedule_has_ended_since() {
    let mut world = World::new(8);
    let key = DagKey::new("default", "d");
    let mut spec = scheduled("*/10 * * * *");
    spec.end_date = Some(at("2026-01-01T00:15:00Z"));
    world.put(spec);
    world.pass(SignedDuration::from_secs(60));
    world.succeed_all();
    world.command(Command::PauseDag { dag: key.clone(), paused: true }).unwrap();
    world.pass(SignedDuration::from_mins(60));
    world.restart();
    world.command(Command::PauseDag { dag: key, paused: false }).unwrap();
    let told = world.batches.iter().rev().flat_map(|batch| batch.ticks.values()).next().unwrap();
    assert_eq!((told.last, told.outcome), (at("2026-01-01T00:10:00Z"), TickOutcome::Late), "{told:?}");
}

#[test]
fn a_run_without_a_name_gets_a_free_one_also_where_the_run_of_that_name_is_out_of_mind() {
    let mut world = World::new(8);
    world.put(dag("d", &["a"], &[]));
    let mut names = Vec::new();
    for _ in 0..2 {
        let trigger = Trigger {
            dag: DagKey::new("default", "d"),
            run_id: None,
            logical_date: None,
            data_interval: None,
            run_after: Some(at("2025-12-31T00:00:00Z")),
            conf: Arc::new(json!({})),
            tasks: Vec::new(),
            run_type: RunType::Manual,
            triggered_by: "cli",
        };
        match world.command(Command::Trigger(trigger)).unwrap() {
            Reply::Run(_, name) => names.push(name.to_string()),
            other => panic!("{other:?}"),
        }
        let attempt = world.assigned()[0];
        world.end(attempt, AttemptEnd::Success);
    }
    assert_eq!(names, ["manual__2025-12-31T00:00:00+00:00", "manual__2025-12-31T00:00:00+00:00_2"]);
}

#[test]
fn a_tick_that_waited_for_a_run_is_made_though_the_clock_was_set_back_meanwhile() {
    let mut world = World::new(8);
    let mut spec = scheduled("*/10 * * * *");
    spec.max_active_runs = 1;
    world.put(spec);
    world.pass(SignedDuration::from_mins(11));
    let first = world.assigned()[0];
    let late = world.now;
    world.now = late - SignedDuration::from_mins(5);
    world.end(first, AttemptEnd::Success);
    assert!(world.assigned().is_empty(), "its time has not come on this clock");
    world.pass(SignedDuration::from_mins(5));
    assert_eq!(world.assigned().len(), 1);
}

#[test]
fn once_is_one_tick_also_where_it_had_to_wait() {
    let mut world = World::new(8);
    let key = DagKey::new("default", "d");
    let mut spec = dag("d", &["a"], &[]);
    spec.schedule = Schedule::Once;
    spec.is_paused_upon_creation = Some(true);
    world.put(spec);
    world.pass(SignedDuration::from_mins(5));
    world.command(Command::PauseDag { dag: key, paused: false }).unwrap();
    assert_eq!(world.assigned().len(), 1);
    let ticks: Vec<_> = world.batches.iter().flat_map(|batch| batch.ticks.values()).collect();
    assert_eq!(ticks.len(), 1, "{ticks:?}");
    assert_eq!((ticks[0].count, ticks[0].outcome), (1, TickOutcome::Late));
}

#[test]
fn a_version_that_can_be_run_no_more_fails_its_runs_and_waits_for_a_new_one() {
    let mut world = World::new(8);
    world.put(dag("d", &["a", "b"], &[("a", "b")]));
    world.put(dag("other", &["a"], &[]));
    let (run, other) = (world.trigger("d"), world.trigger("other"));
    let key = DagKey::new("default", "d");
    // As if a later program were stricter.
    world.restart_from(|stored| {
        let version = stored.versions.iter_mut().find(|version| version.key == key).unwrap();
        let mut spec = (*version.spec).clone();
        spec.tasks[1].pool_slots = 0;
        version.spec = Arc::new(spec);
    });
    let refused = &world.refused[0];
    assert_eq!((world.refused.len(), &refused.dag, refused.version), (1, &key, 1));
    assert!(refused.reason.contains("pool_slots of task `b`"), "{}", refused.reason);
    let (_, stored) = world.stored(run);
    assert_eq!(stored.run.state, RunState::Failed);
    assert!(stored.run.reason.unwrap().contains("pool_slots of task `b`"));
    let states: Vec<S> = stored.tis.iter().map(|ti| ti.state.name()).collect();
    assert_eq!(states, [S::Failed, S::Skipped], "one was at work, the other not yet");
    assert_eq!(world.run_state(other), RunState::Running);
    assert!(world.engine.dag(&key).unwrap().0.is_stale);
    world.put(dag("d", &["a"], &[]));
    let (row, _) = world.engine.dag(&key).unwrap();
    assert_eq!((row.version, row.is_stale), (2, false));
    let run = world.trigger("d");
    assert_eq!(world.run_state(run), RunState::Running);
}
