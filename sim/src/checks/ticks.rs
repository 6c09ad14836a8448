//! The ledger of ticks: each expected one once, each run of the schedule in it.

use std::collections::{BTreeMap, BTreeSet};

use updraft_core::{
    DagKey, RunKey,
    record::{Batch, RunType, TickOutcome, TickRow},
    schedule::Schedule,
};

use super::Check;
use crate::disk::Disk;

#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// How many runs of the schedule were ever made, by DAG.
    made: BTreeMap<DagKey, u64>,
    known: BTreeSet<RunKey>,
    /// DAGs whose schedule may have changed, or stood still: what is expected of them is not known here.
    changed: BTreeSet<DagKey>,
}

impl Ticks {
    /// Before a batch is written.
    pub fn before(&mut self, disk: &Disk, batch: &Batch) {
        for dag in &batch.deleted_dags {
            self.made.remove(dag);
            self.changed.insert(dag.clone());
        }
        for (key, dag) in &batch.dags {
            let stale = disk.dags.get(key).is_some_and(|before| before.is_stale);
            if dag.version > 1 || stale {
                self.changed.insert(key.clone());
            }
        }
        for run in batch.runs.values() {
            if run.run_type == RunType::Scheduled && self.known.insert(run.key) {
                *self.made.entry(run.dag.clone()).or_default() += 1;
            }
        }
    }

    /// After a batch is written.
    pub fn after(&self, disk: &Disk, batch: &Batch) -> Check {
        let dags: BTreeSet<&DagKey> = batch.ticks.keys().map(|(dag, _)| dag).collect();
        for dag in dags {
            let ranges: Vec<&TickRow> = ranges(disk, dag).collect();
            for pair in ranges.windows(2) {
                if pair[0].last >= pair[1].first {
                    return Err(format!(
                        "ticks of {dag} are twice in the ledger: {:?} and {:?}",
                        pair[0], pair[1]
                    ));
                }
            }
            let of_runs =
                |range: &&&TickRow| matches!(range.outcome, TickOutcome::OnTime | TickOutcome::Late);
            let ran: u64 = ranges.iter().filter(of_runs).map(|range| range.count).sum();
            let made = self.made.get(dag).copied().unwrap_or_default();
            // One that was made and deleted within a batch is in the ledger and nowhere else.
            if ran < made || (ran > made && batch.deleted_runs.is_empty() && !self.changed.contains(dag)) {
                return Err(format!(
                    "the ledger of {dag} has {ran} ticks that ran, and {made} runs were made"
                ));
            }
        }
        Ok(())
    }

    /// Where the schedule never changed, the ledger has what the schedule says, and nothing else.
    pub fn at_the_end(&self, disk: &Disk) -> Check {
        for (key, row) in &disk.dags {
            let Some(version) = disk.versions.get(&(key.clone(), row.version)) else { continue };
            let Some((first, last)) = ranges(disk, key).next().zip(ranges(disk, key).last()) else {
                continue;
            };
            if self.changed.contains(key) {
                continue;
            }
            let spec = &version.spec;
            let count: u64 = ranges(disk, key).map(|range| range.count).sum();
            let mut ends = ranges(disk, key).flat_map(|range| [range.first, range.last]);
            if let Some(holidays) = spec.schedule.holidays()
                && let Some(on) = ends.find(|at| holidays.contains(*at))
            {
                return Err(format!("the ledger of {key} has a tick at {on}, on a holiday: {holidays:?}"));
            }
            let expected = match spec.schedule.without_holidays() {
                Schedule::CronTrigger { .. } | Schedule::CronDataInterval { .. } => {
                    cron_times(&spec.schedule, first.first, last.last)
                }
                Schedule::DeltaTrigger { .. } | Schedule::DeltaDataInterval { .. } if spec.catchup => {
                    let Some(start) = spec.start_date else { continue };
                    let ticks = spec.schedule.ticks_between(start, last.last);
                    ticks.take_while(|tick| tick.run_after <= last.last).count() as u64
                }
                Schedule::Once => 1,
                Schedule::DeltaTrigger { .. } if spec.schedule.holidays().is_none() => {
                    in_step(&spec.schedule, ranges(disk, key))
                        .map_err(|why| format!("the ledger of {key} {why}"))?;
                    continue;
                }
                Schedule::Manual
                | Schedule::AtBoot
                | Schedule::Continuous
                | Schedule::DeltaTrigger { .. }
                | Schedule::DeltaDataInterval { .. }
                | Schedule::ListOfTimes { .. }
                | Schedule::WithHolidays { .. } => continue,
            };
            if count != expected {
                return Err(format!(
                    "the ledger of {key} has {count} ticks from {} to {}, and the schedule has {expected}: {:?} {:?}",
                    first.first,
                    last.last,
                    spec.schedule,
                    ranges(disk, key).collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }
}

fn ranges<'a>(disk: &'a Disk, dag: &'a DagKey) -> impl Iterator<Item = &'a TickRow> {
    disk.ticks
        .range((dag.clone(), jiff::Timestamp::MIN)..)
        .take_while(move |((of, _), _)| of == dag)
        .map(|(_, row)| row)
}

/// However late they are made: each tick of a schedule of steps is at least a step after the one before.
fn in_step<'a>(schedule: &Schedule, ranges: impl Iterator<Item = &'a TickRow>) -> Check {
    let mut before: Option<jiff::Timestamp> = None;
    for range in ranges {
        let count = schedule
            .ticks_between(range.first, range.last)
            .take_while(|tick| tick.run_after <= range.last)
            .count() as u64;
        if count < range.count {
            return Err(format!("has {} ticks where {count} have room: {range:?}", range.count));
        }
        let too_soon = |before| {
            schedule
                .ticks_between(before, range.first)
                .take_while(|tick| tick.run_after <= range.first)
                .count()
                < 2
        };
        if before.is_some_and(too_soon) {
            return Err(format!("has a tick at {} too soon after that at {before:?}", range.first));
        }
        before = Some(range.last);
    }
    Ok(())
}

/// How many times of a cron there are from one to another, both included, but for those on holidays.
fn cron_times(schedule: &Schedule, from: jiff::Timestamp, to: jiff::Timestamp) -> u64 {
    let plain = match schedule.without_holidays() {
        Schedule::CronDataInterval { cron, zone } => Schedule::CronTrigger {
            crons: cron.clone().into(),
            zone: zone.clone(),
            interval: None,
            run_immediately: Default::default(),
        },
        other => other.clone(),
    };
    let is_holiday = |at| schedule.holidays().is_some_and(|holidays| holidays.contains(at));
    plain.ticks_between(from, to).filter(|tick| !is_holiday(tick.run_after)).count() as u64
}
