//! Ticks become runs, each at its time, whenever the engine is told the time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use updraft_core::{
    record::{TickOutcome, TickRow},
    schedule::{Delta, Holidays, Schedule, Span, Zone},
};

use crate::world::{World, at, dag};

/// What the ledger has, in its order.
fn ledger(world: &World) -> Vec<TickRow> {
    let rows: BTreeMap<_, _> = world.batches.iter().flat_map(|batch| batch.ticks.clone()).collect();
    rows.into_values().collect()
}

/// When the runs were due that were made, in their order.
fn made(world: &World) -> Vec<Timestamp> {
    let runs: BTreeMap<_, _> = world.batches.iter().flat_map(|batch| batch.runs.clone()).collect();
    runs.into_values().map(|run| run.run_after).collect()
}

#[test]
fn who_is_told_the_time_a_moment_late_makes_each_run_at_its_time_and_misses_none() {
    let (second, moment) = (SignedDuration::from_secs(1), SignedDuration::from_millis(3));
    let start = at("2026-01-01T00:00:00Z");
    let times = [3, 6, 9].map(|seconds| start + second * seconds);
    let every = Delta::new(0, second * 3).unwrap();
    for schedule in [
        Schedule::ListOfTimes { times: times.to_vec().into(), restrict_to_events: false },
        Schedule::DeltaTrigger { every, interval: None },
        Schedule::DeltaDataInterval { every },
        Schedule::from_text("* * * * * */3", Zone::UTC).unwrap(),
    ] {
        let mut world = World::new(8);
        world.now = start + moment;
        let mut spec = dag("d", &["a"], &[]);
        spec.schedule = schedule.clone();
        spec.start_date = Some(start);
        world.put(spec);
        world.succeed_all();
        while world.now < times[2] {
            world.now += second;
            world.pass(SignedDuration::ZERO);
            world.succeed_all();
        }
        let ledger = ledger(&world);
        assert!(ledger.iter().all(|tick| tick.outcome == TickOutcome::OnTime), "{schedule:?}: {ledger:?}");
        let made = made(&world);
        let steps: Vec<_> = made.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
        assert!(made.len() >= 3 && steps.iter().all(|step| *step == second * 3), "{schedule:?}: {made:?}");
    }
}

#[test]
fn of_the_times_that_passed_while_nobody_was_there_the_latest_is_made_up_for_though_no_other_comes() {
    let start = at("2026-01-01T00:00:00Z");
    let times = [3, 6, 9].map(|hours| start + SignedDuration::from_hours(hours));
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.schedule = Schedule::ListOfTimes { times: times.to_vec().into(), restrict_to_events: false };
    world.put(spec);
    world.now += SignedDuration::from_hours(10);
    world.restart();
    world.pass(SignedDuration::ZERO);
    assert_eq!(made(&world), [times[2]]);
    let told: Vec<_> = ledger(&world).iter().map(|tick| (tick.last, tick.count, tick.outcome)).collect();
    assert_eq!(told, [(times[1], 2, TickOutcome::Missed), (times[2], 1, TickOutcome::Late)]);
}

#[test]
fn ticks_make_runs_and_the_ledger_joins_equal_ones() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    spec.schedule = Schedule::from_text("*/10 * * * *", Zone::new("UTC").unwrap()).unwrap();
    spec.start_date = Some(at("2026-01-01T00:00:00Z"));
    world.put(spec);
    for _ in 0..36 {
        world.pass(SignedDuration::from_mins(5));
        world.succeed_all();
    }
    let ticks: Vec<_> = world.batches.iter().flat_map(|batch| batch.ticks.values()).collect();
    let firsts: std::collections::BTreeSet<_> = ticks.iter().map(|tick| tick.first).collect();
    assert_eq!(firsts.len(), 1, "one range: {ticks:?}");
    assert_eq!(ticks.last().unwrap().count, 19, "three hours, both ends included");
}

#[test]
fn a_tick_on_a_holiday_is_none_that_could_be_missed() {
    let mut world = World::new(8);
    let mut spec = dag("d", &["a"], &[]);
    let schedule = Schedule::from_text("0 9 * * *", Zone::UTC).unwrap();
    let days = ["2026-01-02", "2026-01-04/2026-01-05"].iter().map(|span| span.parse::<Span>().unwrap());
    let holidays = Holidays::new(Zone::UTC, days.collect());
    spec.schedule = Schedule::WithHolidays { schedule: Box::new(schedule), holidays };
    world.put(spec);
    world.pass(SignedDuration::from_hours(12));
    // Nothing is there for four days, until the second of the long holidays.
    world.now += SignedDuration::from_hours(96);
    world.restart();
    world.pass(SignedDuration::from_hours(36));
    let ledger: BTreeMap<_, _> = world.batches.iter().flat_map(|batch| batch.ticks.clone()).collect();
    let told: Vec<String> = ledger
        .values()
        .map(|tick| format!("{} {} {:?}", tick.first.strftime("%d"), tick.count, tick.outcome))
        .collect();
    assert_eq!(told, ["01 1 OnTime", "03 1 Late", "06 1 OnTime"]);
}
