//! Rows to write.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use updraft_core::{
    AlertChannel, AlertOn, AlertWords, Assignment, DagKey, DagSpec, DeliveryId, Incarnation, MapIndex,
    OnDoubt, RunKey, RunState, TaskIx, TaskKind, TaskSpec, TiKey, TiState, TiStateName, XcomValue,
    record::{
        AuditRow, Batch, DagRow, DagVersionRow, DeliveryRow, PoolRow, RunRow, RunType, TaskStatsRow, TiRow,
        TickOutcome, TickRow, TransitionRow, XcomRow,
    },
    schedule::{DataInterval, Tick},
};

/// So many seconds after some moment.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

pub fn key(dag_id: &str) -> DagKey {
    DagKey::new("default", dag_id)
}

pub fn ti_key(run: i64, task: u32, map_index: i32) -> TiKey {
    TiKey { run: RunKey(run), task: TaskIx(task), map_index: MapIndex(map_index) }
}

pub fn tick(seconds: i64) -> Tick {
    Tick { run_after: at(seconds), data_interval: DataInterval { start: at(seconds - 60), end: at(seconds) } }
}

pub fn dag(key: &DagKey, version: u32) -> DagRow {
    DagRow {
        key: key.clone(),
        version,
        is_paused: false,
        is_stale: false,
        source: format!("{}.yaml", key.dag_id),
        last_tick: None,
        next_tick: None,
        consecutive_failures: 0,
        events_run_at: None,
    }
}

/// Three tasks, the second in a pool and a queue of its own.
pub fn version(key: &DagKey, version: u32) -> DagVersionRow {
    let mut spec = DagSpec::new(&*key.dag_id);
    spec.namespace = key.namespace.clone();
    spec.description = Some(format!("version {version}"));
    for name in ["extract", "load", "report"] {
        spec.tasks.push(TaskSpec::new(name, "BashOperator", TaskKind::Run));
    }
    spec.tasks[1].pool = "narrow".into();
    spec.tasks[1].pool_slots = 2;
    spec.tasks[1].queue = "big".into();
    spec.tasks[2].operator = "EmailOperator".into();
    DagVersionRow {
        key: key.clone(),
        version,
        hash: format!("{version:064x}"),
        spec: Arc::new(spec),
        created_at: at(i64::from(version)),
    }
}

pub fn run(number: i64, dag: &DagKey, state: RunState) -> RunRow {
    let started = state != RunState::Queued;
    RunRow {
        key: RunKey(number),
        dag: dag.clone(),
        run_id: format!("manual__{number}").into(),
        version: 1,
        state,
        run_type: RunType::Manual,
        triggered_by: "cli".into(),
        triggering_user: Some("ada".into()),
        owner: "team".into(),
        logical_date: Some(at(number)),
        data_interval: Some((at(number - 60), at(number))),
        run_after: at(number),
        conf: Arc::new(json!({"n": number})),
        selection: None,
        queued_at: at(number),
        started_at: started.then(|| at(number + 1)),
        ended_at: state.is_finished().then(|| at(number + 11)),
        clear_number: 0,
        deadlines_told: None,
        reason: None,
        marked: None,
    }
}

pub fn ti(key: TiKey, state: TiState) -> TiRow {
    TiRow {
        key,
        task_id: ["extract", "load", "report"][key.task.usize() % 3].into(),
        state,
        try_number: 1,
        max_tries: 2,
        tries_before: 0,
        lost: 0,
        first_started_at: None,
        name: Some("the one of Ä".into()),
        lease: 1,
        scheduled_at: Some(at(key.run.0)),
        queued_at: None,
        started_at: None,
        ended_at: None,
        paused_at: None,
        paused_for: SignedDuration::ZERO,
        exit_code: None,
        worker: None,
        reason: None,
        result_length: None,
        skips: Arc::default(),
    }
}

pub fn assignment() -> Assignment {
    Assignment { worker: "worker-1".into(), incarnation: Incarnation(7), lease: 3 }
}

pub fn transition(ti: TiKey, from: TiStateName, to: TiStateName, seconds: i64) -> TransitionRow {
    TransitionRow { ti, try_number: 1, from, to, at: at(seconds), reason: None }
}

pub fn xcom(ti: TiKey, key: &str, value: Value) -> XcomRow {
    XcomRow { ti, key: key.into(), value: XcomValue::Inline(Arc::new(value)), at: at(5) }
}

pub fn ticks(dag: &DagKey, first: i64, last: i64) -> TickRow {
    TickRow {
        dag: dag.clone(),
        first: at(first),
        last: at(last),
        count: 3,
        outcome: TickOutcome::Late,
        reason: "the server was off".into(),
        run: Some(RunKey(1)),
    }
}

pub fn pool(name: &str, slots: Option<u32>) -> PoolRow {
    PoolRow {
        namespace: "default".into(),
        name: name.into(),
        slots,
        rate: slots.map(|slots| format!("{}/minute", slots + 1).parse().unwrap()),
        next_at: slots.map(|slots| at(slots.into())),
        description: "for tests".into(),
        include_deferred: false,
    }
}

pub fn delivery(id: i64, dag: &DagKey, ti: Option<TiKey>) -> DeliveryRow {
    DeliveryRow {
        id: DeliveryId(id),
        dag: dag.clone(),
        run: Some(RunKey(1)),
        ti,
        on: AlertOn::Failure,
        channel: AlertChannel::email(vec!["ada@example.com".into()]),
        words: AlertWords { subject: None, text: Some("{{ dag_id }} of {{ ds }}".into()), html: false },
        on_doubt: OnDoubt::Resend,
        at: at(id),
        context: json!({"dag_id": dag.dag_id, "state": "failed"}),
    }
}

pub fn audit(action: &str) -> AuditRow {
    AuditRow {
        at: at(1),
        user: "ada".into(),
        action: action.into(),
        namespace: None,
        dag: None,
        run: None,
        detail: json!({"why": "test"}),
    }
}

pub fn audit_of(dag: &DagKey, action: &str) -> AuditRow {
    let DagKey { namespace, dag_id } = dag.clone();
    AuditRow { namespace: Some(namespace), dag: Some(dag_id), ..audit(action) }
}

pub fn stats(dag: &DagKey, task: &str, mean_ms: f64) -> TaskStatsRow {
    TaskStatsRow { dag: dag.clone(), task_id: task.into(), successes: 4, mean_ms }
}

/// A batch that is put together row by row.
#[derive(Default)]
pub struct Put(pub Batch);

impl Put {
    /// A DAG at its first version.
    pub fn dag(mut self, key: &DagKey) -> Self {
        self.0.dags.insert(key.clone(), dag(key, 1));
        self.0.versions.push(version(key, 1));
        self
    }

    pub fn run(mut self, row: RunRow) -> Self {
        self.0.runs.insert(row.key, row);
        self
    }

    pub fn ti(mut self, row: TiRow) -> Self {
        self.0.tis.insert(row.key, row);
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Batch)) -> Self {
        change(&mut self.0);
        self
    }
}

/// Something of every kind: a DAG, two runs, a task instance in every state.
pub fn everything() -> Batch {
    let of = key("sales");
    let mut batch = Put::default()
        .dag(&of)
        .run(run(1, &of, RunState::Success))
        .run(RunRow {
            selection: Some(Arc::from([TaskIx(0), TaskIx(2)])),
            reason: Some("nothing could run".into()),
            ..run(2, &of, RunState::Running)
        })
        .with(|batch| {
            let row = batch.dags.get_mut(&of).unwrap();
            row.last_tick = Some(tick(0));
            row.next_tick = Some(tick(600));
            batch
                .history
                .push(TiRow { reason: Some("exit code 1".into()), ..ti(ti_key(2, 0, -1), TiState::Failed) });
            batch.transitions.push(transition(
                ti_key(2, 0, -1),
                TiStateName::None,
                TiStateName::Scheduled,
                3,
            ));
            batch.transitions.push(transition(
                ti_key(2, 0, -1),
                TiStateName::Scheduled,
                TiStateName::Queued,
                4,
            ));
            batch.xcoms.push(xcom(ti_key(2, 0, -1), "return_value", json!({"rows": [1, 2.5, null, "ü"]})));
            let blob = XcomValue::Blob { path: "xcom/2/0".into(), bytes: 70_000 };
            batch.xcoms.push(XcomRow { value: blob, ..xcom(ti_key(2, 0, -1), "big", Value::Null) });
            batch.rendered.insert(ti_key(2, 0, -1), json!({"bash_command": "echo 1"}));
            batch.ticks = BTreeMap::from([((of.clone(), at(0)), ticks(&of, 0, 60))]);
            for row in [pool("narrow", Some(4)), pool("wide", None)] {
                batch.pools.insert((row.namespace.clone(), row.name.clone()), row);
            }
            batch.deliveries.push(delivery(1, &of, Some(ti_key(1, 0, -1))));
            batch.audit.push(AuditRow { run: Some(RunKey(2)), ..audit_of(&of, "trigger") });
            batch.stats.insert((of.clone(), "load".into()), stats(&of, "load", 1234.5));
        })
        .0;
    for (i, state) in (0..).zip(every_state()) {
        let row = TiRow {
            queued_at: Some(at(20)),
            started_at: Some(at(21)),
            ended_at: (i % 2 == 0).then(|| at(30 + i64::from(i))),
            paused_at: Some(at(22)),
            paused_for: SignedDuration::from_millis(1500),
            exit_code: Some(-9),
            worker: Some("worker-0".into()),
            reason: Some("because".into()),
            result_length: Some(3),
            skips: Arc::from([TaskIx(2)]),
            lost: 1,
            ..ti(ti_key(2, 0, i - 1), state)
        };
        batch.tis.insert(row.key, row);
    }
    batch.tis.insert(ti_key(1, 0, -1), ti(ti_key(1, 0, -1), TiState::Success));
    batch
}

/// Each state that a task instance can be in.
pub fn every_state() -> Vec<TiState> {
    use updraft_core::Wait;
    vec![
        TiState::None,
        TiState::Scheduled,
        TiState::Queued(assignment()),
        TiState::Running(assignment()),
        TiState::Paused(assignment()),
        TiState::Deferred(Wait::Until(at(100))),
        TiState::Deferred(Wait::Worker(assignment())),
        TiState::UpForRetry(at(101)),
        TiState::UpForReschedule(at(102)),
        TiState::Restarting(assignment()),
        TiState::Success,
        TiState::Failed,
        TiState::Skipped,
        TiState::UpstreamFailed,
        TiState::Removed,
    ]
}
