//! Runs that are made of what happens to assets.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    Asset, AssetCondition, AssetId, DagKey, DagSpec, RunKey, RunState, TaskKind,
    input::{AttemptEnd, Command, CommandError, PutAssetEvent, Reply, WhichAsset},
    record::{RunRow, RunType},
};

use crate::world::{World, clear, dag};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn asset(uri: &str) -> AssetCondition {
    AssetCondition::Asset(Asset::new(uri))
}

/// A DAG that waits for assets.
fn waits(id: &str, condition: AssetCondition) -> DagSpec {
    DagSpec { assets: Some(condition), ..dag(id, &["a"], &[]) }
}

/// A DAG whose only task makes an asset.
fn makes(id: &str, uri: &str) -> DagSpec {
    let mut spec = dag(id, &["make"], &[]);
    spec.tasks[0].outlets = vec![Asset::new(uri), Asset::new(uri)];
    spec
}

fn told(uri: &str, key: Option<&str>) -> Command {
    Command::PutAssetEvent(PutAssetEvent {
        namespace: Default::default(),
        asset: WhichAsset::Uri(uri.into()),
        extra: Arc::new(json!({"rows": 3})),
        key: key.map(Into::into),
    })
}

/// The runs of events, as they were last written.
fn runs(world: &World) -> Vec<RunRow> {
    let mut runs = std::collections::BTreeMap::new();
    for batch in &world.batches {
        runs.extend(batch.runs.clone());
        runs.retain(|key, _| !batch.deleted_runs.contains(key));
    }
    runs.into_values().filter(|run| run.run_type == RunType::AssetTriggered).collect()
}

#[test]
fn a_success_is_an_event_of_each_outlet_and_makes_a_run_of_who_waits() {
    let mut world = World::new(8);
    world.put(makes("maker", "orders"));
    world.put(waits("user", asset("orders")));
    let run = world.trigger("maker");
    let attempt = world.assigned()[0];
    world.end(attempt, AttemptEnd::Success);
    let [event] = &world.asset_events().cloned().collect::<Vec<_>>()[..] else { panic!("one event") };
    let source = event.source.as_ref().unwrap();
    assert_eq!((&*source.dag_id, &*source.task_id, event.asset), ("maker", "make", AssetId(1)));
    let [made] = &runs(&world)[..] else { panic!("one run") };
    assert_eq!((&*made.dag.dag_id, made.state, made.logical_date), ("user", RunState::Running, None));
    assert_eq!(made.run_id.as_ref() as &str, "asset_triggered__2026-01-01T00:00:00+00:00_1");
    assert_eq!(world.engine.asset_events(made.key), std::slice::from_ref(event));
    // And is what it was made of after a restart, too.
    world.restart();
    assert_eq!(world.engine.asset_events(made.key), std::slice::from_ref(event));
    assert_eq!(world.run_state(run), RunState::Success);
}

#[test]
fn who_waits_for_any_of_what_one_success_makes_has_one_run_of_all_of_it() {
    let mut world = World::new(8);
    let mut maker = makes("maker", "orders");
    maker.tasks[0].outlets.push(Asset::new("clients"));
    world.put(maker);
    world.put(waits("user", AssetCondition::Any(vec![asset("orders"), asset("clients")])));
    world.trigger("maker");
    let attempt = world.assigned()[0];
    world.end(attempt, AttemptEnd::Success);
    let [made] = &runs(&world)[..] else { panic!("one run") };
    let of: Vec<&str> = world.engine.asset_events(made.key).iter().map(|event| &*event.uri).collect();
    assert_eq!(of, ["clients", "orders"]);
}

#[test]
fn what_fails_or_is_marked_as_success_makes_nothing() {
    let mut world = World::new(8);
    world.put(makes("maker", "orders"));
    world.trigger("maker");
    let attempt = world.assigned()[0];
    world.end(attempt, AttemptEnd::Skipped);
    let run = world.trigger("maker");
    world.command(Command::MarkRun { run, state: RunState::Success }).unwrap();
    assert_eq!(world.asset_events().count(), 0);
}

#[test]
fn all_are_waited_for_or_any() {
    let mut world = World::new(8);
    world.put(waits("both", AssetCondition::All(vec![asset("x"), asset("y")])));
    world.put(waits("one", AssetCondition::Any(vec![asset("x"), asset("y")])));
    world.put(waits("none", AssetCondition::All(Vec::new())));
    world.command(told("x", None)).unwrap();
    world.pass(SECOND);
    world.restart();
    world.command(told("x", None)).unwrap();
    world.pass(SECOND);
    world.command(told("y", None)).unwrap();
    let made: Vec<_> = runs(&world).iter().map(|run| (run.dag.dag_id.to_string(), run.key)).collect();
    let names: Vec<_> = made.iter().map(|(dag, _)| &**dag).collect();
    assert_eq!(names, ["one", "one", "both", "one"]);
    assert_eq!(
        world.engine.asset_events(made[2].1).len(),
        3,
        "all that was queued, since the restart and before"
    );
}

#[test]
fn an_event_told_again_under_its_key_is_the_same_event() {
    let mut world = World::new(8);
    world.put(waits("user", asset("orders")));
    let first = world.command(told("orders", Some("2026-01-01"))).unwrap();
    let Reply::AssetEvent(event, true) = first else { panic!("{first:?}") };
    assert_eq!(world.command(told("orders", Some("2026-01-01"))).unwrap(), Reply::AssetEvent(event, false));
    world.restart();
    assert_eq!(world.command(told("orders", Some("2026-01-01"))).unwrap(), Reply::AssetEvent(event, false));
    assert!(matches!(world.command(told("orders", Some("2026-01-02"))), Ok(Reply::AssetEvent(_, true))));
    assert_eq!(world.asset_events().count(), 2);
    let error = world.command(told("orders", Some("a\0"))).unwrap_err();
    assert!(matches!(&error, CommandError::Invalid(why) if why.contains("no control characters")), "{error}");
    let error = world.command(told("goods", None)).unwrap_err();
    assert_eq!(error, CommandError::NotFound("no DAG names an asset of the URI `goods`".into()));
}

#[test]
fn a_thousand_events_at_once_are_gathered() {
    let mut world = World::new(8);
    world.put(waits("user", asset("orders")));
    for _ in 0..1000 {
        world.command(told("orders", None)).unwrap();
    }
    assert_eq!(runs(&world).len(), 1);
    world.restart();
    world.pass(SECOND);
    let made = runs(&world);
    assert_eq!(made.len(), 2);
    assert_eq!(world.engine.asset_events(made[1].key).len(), 999);
}

#[test]
fn of_what_happens_all_the_time_while_a_dag_waits_for_something_else_the_latest_thousand_are_kept() {
    let mut world = World::new(8);
    world.put(waits("user", AssetCondition::All(vec![asset("x"), asset("y"), asset("z")])));
    world.command(told("y", None)).unwrap();
    for n in 0..1500 {
        if n == 1200 {
            world.restart();
        }
        world.command(told("x", None)).unwrap();
    }
    world.command(told("z", None)).unwrap();
    let run = runs(&world)[0].key;
    let events: Vec<i64> = world.engine.asset_events(run).iter().map(|event| event.id.0).collect();
    let kept: Vec<i64> = std::iter::once(1).chain(502..=1502).collect();
    assert_eq!(events, kept, "y's, the latest thousand of x's, z's");
    world.restart();
    assert_eq!(world.engine.asset_events(run).len(), kept.len(), "and no others in the store");
}

#[test]
fn what_happens_while_a_run_waits_for_its_turn_is_for_the_next() {
    let mut world = World::new(8);
    world.put(DagSpec { max_active_runs: 1, ..waits("user", asset("orders")) });
    for _ in 0..4 {
        world.command(told("orders", None)).unwrap();
        world.pass(SECOND);
    }
    assert_eq!(
        runs(&world).iter().map(|run| run.state).collect::<Vec<_>>(),
        [RunState::Running, RunState::Queued]
    );
    world.succeed_all();
    world.pass(SECOND);
    world.succeed_all();
    let events: Vec<_> = world.batches.iter().flat_map(|batch| &batch.queued_events).collect();
    let of = |run| events.iter().filter(|(_, of)| **of == Some(RunKey(run))).count();
    assert_eq!([of(1), of(2), of(3)], [1, 1, 2]);
}

#[test]
fn two_dags_that_make_what_the_other_waits_for_do_not_stop_the_engine() {
    let mut world = World::new(8);
    for (id, makes, uses) in [("ping", "x", "y"), ("pong", "y", "x")] {
        let mut spec = waits(id, asset(uses));
        spec.tasks[0].kind = TaskKind::Empty;
        spec.tasks[0].outlets = vec![Asset::new(makes)];
        world.put(spec);
    }
    world.command(told("x", None)).unwrap();
    world.pass(SECOND * 10);
    assert_eq!(runs(&world).len(), 22);
}

#[test]
fn a_paused_dag_hears_nothing_and_one_that_waits_for_something_else_forgets() {
    let mut world = World::new(8);
    let dag = DagKey::new("default", "user");
    world.put(waits("user", AssetCondition::All(vec![asset("x"), asset("y")])));
    world.command(Command::PauseDag { dag: dag.clone(), paused: true }).unwrap();
    world.command(told("x", None)).unwrap();
    world.command(Command::PauseDag { dag: dag.clone(), paused: false }).unwrap();
    world.command(told("y", None)).unwrap();
    assert_eq!(runs(&world).len(), 0);
    // While everything is paused, it hears, and goes on then.
    world.command(Command::PauseAll { paused: true }).unwrap();
    world.command(told("x", None)).unwrap();
    assert_eq!(runs(&world).len(), 0);
    world.command(Command::PauseAll { paused: false }).unwrap();
    assert_eq!(runs(&world).len(), 1);
    world.command(told("y", None)).unwrap();
    world.put(waits("user", AssetCondition::All(vec![asset("x"), asset("z")])));
    world.put(waits("user", AssetCondition::Any(vec![asset("y"), asset("z")])));
    world.pass(SECOND);
    assert_eq!(runs(&world).len(), 1);
    world.restart();
    assert_eq!(runs(&world).len(), 1);
}

#[test]
fn queued_events_can_be_dropped_and_a_run_that_is_deleted_takes_its_events_along() {
    let mut world = World::new(8);
    world.put(waits("user", AssetCondition::All(vec![asset("x"), asset("y")])));
    let drop =
        Command::DropQueuedEvents { namespace: Default::default(), dag: None, asset: None, before: None };
    world.command(told("x", None)).unwrap();
    assert_eq!(world.command(drop.clone()).unwrap(), Reply::Count(1));
    assert_eq!(world.command(drop).unwrap(), Reply::Count(0));
    world.command(told("y", None)).unwrap();
    assert_eq!(runs(&world).len(), 0);
    world.command(told("x", None)).unwrap();
    let run = runs(&world)[0].key;
    let before = clear(run, &[]);
    world.command(Command::Clear(before)).unwrap();
    world.command(Command::DeleteRun(run)).unwrap();
    world.restart();
    world.pass(SECOND);
    assert_eq!(runs(&world).len(), 0);
}
