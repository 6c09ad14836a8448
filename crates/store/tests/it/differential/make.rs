//! Random batches in which everything refers to what is there.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use updraft_core::{
    DagKey, RunKey, RunState, TaskIx, TiKey, TiStateName, XcomValue,
    record::{
        AuditRow, Batch, DeliveryRow, PoolRow, RunRow, RunType, TaskStatsRow, TiRow, TickOutcome, TickRow,
        XcomRow,
    },
};

use crate::rows::{self, at, ti_key};

/// One thing to write or to delete: of which kind, and how.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub kind: u8,
    pub vary: u64,
}

/// Small choices out of one number.
pub struct Pick(pub u64);

impl Pick {
    pub fn below(&mut self, n: u64) -> u64 {
        let chosen = self.0 % n;
        // What is used up is mixed back in, so that the last choices are as free as the first.
        self.0 = (self.0 / n) ^ self.0.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chosen
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        let n = u64::try_from(all.len()).unwrap();
        all[usize::try_from(self.below(n)).unwrap()].clone()
    }

    pub fn maybe<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| some(self))
    }

    pub fn small(&mut self, n: u32) -> u32 {
        u32::try_from(self.below(n.into())).unwrap()
    }

    pub fn time(&mut self) -> Timestamp {
        at(i64::from(self.small(40)))
    }

    pub fn text(&mut self) -> &'static str {
        self.of(&["a", "A_b", "a%b", "ab", "Ä", "ä", "z\\", "B", "a b", "😀", "", "zz"])
    }

    pub fn dag(&mut self) -> DagKey {
        self.of(&DAGS.map(|(namespace, name)| DagKey::new(namespace, name)))
    }

    pub fn run(&mut self) -> RunKey {
        RunKey(i64::from(self.small(9)) + 1)
    }

    pub fn ti(&mut self) -> TiKey {
        let map_index = self.of(&[-1, -1, 0, 1]);
        ti_key(self.run().0, self.small(4), map_index)
    }
}

const DAGS: [(&str, &str); 4] = [("default", "a"), ("default", "B_1"), ("default", "Ää"), ("other", "a")];

/// A run's number says which DAG it is of.
fn dag_of(run: RunKey) -> DagKey {
    let (namespace, name) = DAGS[usize::try_from(run.0).unwrap() % DAGS.len()];
    DagKey::new(namespace, name)
}

pub fn batch(ops: &[Op], dags: &BTreeSet<DagKey>, runs: &BTreeSet<RunKey>) -> Batch {
    let mut batch = Batch::default();
    // Deletions come first in a batch, and so they do here.
    for op in ops.iter().filter(|op| op.kind % 32 >= 27) {
        delete(&mut batch, op.kind % 32, &mut Pick(op.vary));
    }
    for op in ops.iter().filter(|op| matches!(op.kind % 32, 0 | 15 | 16)) {
        put_dag(&mut batch, &mut Pick(op.vary));
    }
    let dags: BTreeSet<DagKey> = &(dags - &batch.deleted_dags) | &batch.dags.keys().cloned().collect();
    for op in ops.iter().filter(|op| matches!(op.kind % 32, 1 | 2 | 17..=20)) {
        let mut pick = Pick(op.vary);
        let number = pick.run();
        if dags.contains(&dag_of(number)) {
            batch.runs.insert(number, run(number, &mut pick));
        }
    }
    let gone = |run: &RunKey| batch.deleted_runs.contains(run) || batch.deleted_dags.contains(&dag_of(*run));
    let mut there: BTreeSet<RunKey> = runs.iter().filter(|run| !gone(run)).copied().collect();
    there.extend(batch.runs.keys());
    for op in ops {
        put(&mut batch, op.kind % 32, &mut Pick(op.vary), &dags, &there);
    }
    batch
}

fn delete(batch: &mut Batch, kind: u8, pick: &mut Pick) {
    match kind {
        27 if pick.below(8) == 0 => drop(batch.deleted_dags.insert(pick.dag())),
        28 => drop(batch.deleted_runs.insert(pick.run())),
        29 => drop(batch.deleted_tis.insert(pick.ti())),
        30 => drop(batch.cleared_xcoms.insert(pick.ti())),
        31 => drop(batch.deleted_pools.insert((pick.dag().namespace, pick.text().into()))),
        _ => {}
    }
}

fn put_dag(batch: &mut Batch, pick: &mut Pick) {
    let of = pick.dag();
    let current = pick.small(3) + 1;
    for number in 1..=current {
        let mut version = rows::version(&of, number);
        let spec = Arc::make_mut(&mut version.spec);
        // What a version says depends on its number alone: it is written once.
        spec.tags =
            ["etl", "Ä", "etl"][..usize::try_from(number).unwrap()].iter().map(|tag| (*tag).into()).collect();
        spec.owner = ["data", "web"][usize::try_from(number % 2).unwrap()].into();
        spec.dag_display_name = (number == 2).then(|| "Zed".into());
        batch.versions.push(version);
    }
    let mut row = rows::dag(&of, current);
    (row.is_paused, row.is_stale) = (pick.flag(), pick.flag());
    row.last_tick = pick.maybe(|pick| rows::tick(pick.small(40).into()));
    row.next_tick = pick.maybe(|pick| rows::tick(pick.small(40).into()));
    row.consecutive_failures = pick.small(3);
    batch.dags.insert(of, row);
}

fn run(number: RunKey, pick: &mut Pick) -> RunRow {
    let state = pick.of(RunState::ALL);
    RunRow {
        version: pick.small(3) + 1,
        run_type: pick.of(&[RunType::Manual, RunType::Scheduled, RunType::Backfill, RunType::AssetTriggered]),
        triggering_user: pick.maybe(|pick| pick.text().into()),
        logical_date: pick.maybe(Pick::time),
        data_interval: pick.maybe(|pick| (pick.time(), pick.time())),
        run_after: pick.time(),
        conf: Arc::new(json!({"x": pick.text(), "y": [null, 1.5, -3]})),
        selection: pick.maybe(|pick| Arc::from([TaskIx(pick.small(3))])),
        started_at: pick.maybe(Pick::time),
        ended_at: pick.maybe(Pick::time),
        clear_number: pick.small(3),
        deadlines_told: pick.maybe(Pick::time),
        reason: pick.maybe(|pick| pick.text().into()),
        marked: pick.maybe(|_| RunState::Failed),
        ..rows::run(number.0, &dag_of(number), state)
    }
}

fn ti(key: TiKey, pick: &mut Pick) -> TiRow {
    TiRow {
        state: pick.of(&rows::every_state()),
        try_number: pick.small(4),
        max_tries: pick.small(4),
        tries_before: pick.small(4),
        lost: pick.small(3),
        lease: pick.small(9),
        queued_at: pick.maybe(Pick::time),
        started_at: pick.maybe(Pick::time),
        first_started_at: pick.maybe(Pick::time),
        name: pick.maybe(|pick| pick.text().into()),
        ended_at: pick.maybe(Pick::time),
        paused_for: SignedDuration::from_micros(pick.small(9).into()),
        exit_code: pick.maybe(|pick| i32::try_from(pick.small(300)).unwrap() - 150),
        worker: pick.maybe(|pick| pick.text().into()),
        reason: pick.maybe(|pick| pick.text().into()),
        result_length: pick.maybe(|pick| pick.small(5)),
        skips: if pick.flag() { Arc::from([TaskIx(1), TaskIx(0)]) } else { Arc::default() },
        ..rows::ti(key, updraft_core::TiState::None)
    }
}

fn put(batch: &mut Batch, kind: u8, pick: &mut Pick, dags: &BTreeSet<DagKey>, runs: &BTreeSet<RunKey>) {
    let (of, key) = (pick.dag(), pick.ti());
    let run_there = runs.contains(&key.run);
    match kind {
        3..=5 | 21..=26 if run_there => drop(batch.tis.insert(key, ti(key, pick))),
        6 if run_there => batch.history.push(ti(key, pick)),
        7 if run_there => {
            let (from, to) = (pick.of(TiStateName::ALL), pick.of(TiStateName::ALL));
            let reason = pick.maybe(|pick| pick.text().into());
            let row = rows::transition(key, from, to, pick.small(40).into());
            batch.transitions.push(updraft_core::record::TransitionRow { reason, ..row });
        }
        8 if run_there => {
            let mut row = rows::xcom(key, pick.text(), json!({"v": pick.text(), "n": pick.small(9)}));
            if pick.flag() {
                row.value = XcomValue::Blob { path: pick.text().into(), bytes: pick.below(1 << 40) };
            }
            batch.xcoms.push(XcomRow { at: pick.time(), ..row });
            // None is left by what is not there.
            let left_by = ti(key, pick);
            batch.tis.entry(key).or_insert(left_by);
        }
        9 if run_there => drop(batch.rendered.insert(key, json!({"cmd": pick.text()}))),
        10 if dags.contains(&of) => {
            let (first, last) = (pick.time(), pick.time());
            let outcome =
                pick.of(&[TickOutcome::OnTime, TickOutcome::Late, TickOutcome::Skipped, TickOutcome::Missed]);
            let run = pick.maybe(Pick::run);
            let row =
                TickRow { first, last, outcome, run, count: pick.below(1 << 50), ..rows::ticks(&of, 0, 0) };
            batch.ticks.insert((of, first), row);
        }
        11 => {
            let row = rows::pool(pick.of(&["narrow", "default_pool", "Ä"]), pick.maybe(|pick| pick.small(9)));
            let row = PoolRow { namespace: of.namespace, include_deferred: pick.flag(), ..row };
            batch.pools.insert((row.namespace.clone(), row.name.clone()), row);
        }
        12 => {
            let row = rows::delivery(i64::from(pick.small(30)), &of, pick.maybe(|_| key));
            batch.deliveries.push(DeliveryRow { run: Some(key.run), ..row });
        }
        13 => {
            let (dag, run) = (pick.maybe(|_| of.dag_id), pick.maybe(|_| key.run));
            let namespace = match &dag {
                Some(_) => Some(of.namespace),
                None => pick.maybe(|_| of.namespace),
            };
            let row = rows::audit(pick.of(&["trigger", "clear", "mark"]));
            batch.audit.push(AuditRow {
                at: pick.time(),
                user: pick.text().into(),
                namespace,
                dag,
                run,
                ..row
            });
        }
        14 if dags.contains(&of) => {
            let row = rows::stats(&of, pick.text(), f64::from(pick.small(1000)) / 7.0);
            let row = TaskStatsRow { successes: pick.below(1 << 60), ..row };
            batch.stats.insert((of, row.task_id.clone()), row);
        }
        _ => {}
    }
}
