//! Who is to be told of what.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Engine, Timer, run::Run};
use crate::{
    AlertChannel, AlertOn, AlertSpec, DagKey, DeadlineFrom, DeliveryId, MapIndex, RunKey, TaskId, TiKey,
    TiStateName,
    input::{CommandError, Effect, Reply},
    record::{DeliveryRow, RunRow, TiRow},
};

/// The names under which alerts tell what happened, whatever they are about; each alert has some of them.
pub const ALERT_NAMES: &[&str] = &[
    "dag_id",
    "data_interval_end",
    "data_interval_start",
    "deadline",
    "exit_code",
    "first_tick",
    "last_tick",
    "logical_date",
    "map_index",
    "max_tries",
    "next_try_at",
    "owner",
    "reason",
    "rendered_map_index",
    "run_after",
    "run_id",
    "run_type",
    "started_at",
    "state",
    "task_id",
    "ticks",
    "try_number",
];

impl Engine {
    /// Puts into the outbox what a task's alerts say about this.
    pub(super) fn alert(&mut self, now: Timestamp, key: TiKey, on: AlertOn) {
        let Some((run, spec)) = self.spec(key) else { return };
        let Some(ti) = run.ti(key) else { return };
        let alerts: Vec<AlertSpec> = spec.alerts.iter().filter(|alert| alert.on == on).cloned().collect();
        if alerts.is_empty() {
            return;
        }
        let mut context = about(&run.row);
        context.extend(object(json!({
            "task_id": ti.task_id,
            "map_index": key.map_index,
            "rendered_map_index": ti.name,
            "try_number": ti.try_number,
            "max_tries": ti.max_tries,
            "state": ti.state.name(),
            "reason": ti.reason,
            "exit_code": ti.exit_code,
            "next_try_at": ti.state.wakes_at(),
        })));
        let dag = run.row.dag.clone();
        self.deliver(now, (&dag, Some(key.run), Some(key)), alerts, context);
    }

    /// Puts into the outbox what the DAG's alerts say about the end of a run.
    pub(super) fn alert_of_run(&mut self, now: Timestamp, key: RunKey, on: AlertOn) {
        let Some(run) = self.runs.get(&key) else { return };
        let alerts: Vec<AlertSpec> =
            run.dag.spec().alerts.iter().filter(|alert| alert.on == on).cloned().collect();
        if alerts.is_empty() {
            return;
        }
        let (dag, common, state) = (run.row.dag.clone(), about(&run.row), run.row.state);
        let own = run.row.reason.clone();
        let failures = own.clone().or_else(|| (on == AlertOn::Failure).then(|| failures(run)).flatten());
        for alert in alerts {
            let mut context = common.clone();
            // Callbacks are told in Airflow's words, which are made of the run's own reason.
            let is_call = matches!(alert.channel, AlertChannel::Callback(_));
            let reason = if is_call { &own } else { &failures };
            context.extend(object(json!({ "state": state, "reason": reason })));
            self.deliver(now, (&dag, Some(key), None), vec![alert], context);
        }
    }

    /// Puts into the outbox that a run is not over, though deadlines of it have passed that nobody was told of.
    pub(super) fn alert_of_deadlines(&mut self, now: Timestamp, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        let mut passed: Vec<(Timestamp, AlertSpec)> =
            deadlines(run).filter(|(at, _)| *at <= now).map(|(at, alert)| (at, alert.clone())).collect();
        passed.sort_by_key(|(at, _)| *at);
        let Some((last, _)) = passed.last() else { return };
        run.row.deadlines_told = Some(*last);
        let (dag, common, state) = (run.row.dag.clone(), about(&run.row), run.row.state);
        self.changed.runs.insert(key);
        for (at, alert) in passed {
            let mut context = common.clone();
            let reason = format!("it is not over by {at}");
            context.extend(object(json!({ "state": state, "deadline": at, "reason": reason })));
            self.deliver(now, (&dag, Some(key), None), vec![alert], context);
        }
    }

    /// Tells of the deadlines of a run that have passed, and sets the timer of the next.
    pub(super) fn on_deadline(&mut self, now: Timestamp, key: RunKey) {
        if self.runs.get(&key).is_some_and(|run| !run.row.state.is_finished()) {
            self.alert_of_deadlines(now, key);
            self.await_deadline(key);
        }
    }

    /// Sets the timer of a run's next deadline.
    pub(super) fn await_deadline(&mut self, key: RunKey) {
        if let Some(at) = self.runs.get(&key).and_then(next_deadline) {
            self.timers.insert((at, Timer::Deadline(key)));
        }
    }

    /// Puts into the outbox that ticks passed without a run.
    pub(super) fn alert_of_ticks(
        &mut self,
        now: Timestamp,
        key: &DagKey,
        (first, last, count): (Timestamp, Timestamp, u64),
        reason: &str,
    ) {
        let Some(dag) = self.dags.get(key) else { return };
        let spec = dag.dag.spec();
        let alerts: Vec<AlertSpec> =
            spec.alerts.iter().filter(|alert| alert.on == AlertOn::Missed).cloned().collect();
        let context = object(json!({
            "dag_id": key.dag_id,
            "state": "missed",
            "reason": reason,
            "ticks": count,
            "first_tick": first,
            "last_tick": last,
            "owner": spec.owner,
        }));
        self.deliver(now, (key, None, None), alerts, context);
    }

    /// Puts into the outbox a test of each way by which alerts of a DAG and its tasks go, or of one task.
    pub(super) fn test_alerts(
        &mut self,
        now: Timestamp,
        by: &str,
        key: &DagKey,
        task: Option<&TaskId>,
    ) -> Result<Reply, CommandError> {
        let dag = self.dags.get(key).ok_or_else(|| Self::no_dag(key))?;
        let spec = dag.dag.spec();
        if let Some(task) = task.filter(|task| spec.tasks.iter().all(|other| other.task_id != **task)) {
            return Err(CommandError::NotFound(format!("`{}` has no task `{task}`", key.dag_id)));
        }
        let of_tasks = spec.tasks.iter().filter(|other| task.is_none_or(|task| other.task_id == *task));
        let of_dag = spec.alerts.iter().filter(|_| task.is_none());
        let mut alerts: Vec<AlertSpec> = Vec::new();
        let of_any = of_dag.chain(of_tasks.flat_map(|task| &task.alerts));
        // A function is called about what happened alone: it may undo something, or begin it.
        for alert in of_any.filter(|alert| !matches!(alert.channel, AlertChannel::Callback(_))) {
            if alerts.iter().all(|known| known.channel != alert.channel) {
                alerts.push(alert.clone());
            }
        }
        let context = object(json!({
            "dag_id": key.dag_id,
            "task_id": task,
            "test": true,
            "reason": format!("{by} wants to see that it comes"),
            "owner": spec.owner,
        }));
        let before = self.last_delivery;
        self.deliver(now, (key, None, None), alerts, context);
        Ok(Reply::Deliveries((before + 1..=self.last_delivery).map(DeliveryId).collect()))
    }

    fn deliver(
        &mut self,
        now: Timestamp,
        (dag, run, ti): (&DagKey, Option<RunKey>, Option<TiKey>),
        alerts: Vec<AlertSpec>,
        context: Map<String, Value>,
    ) {
        for AlertSpec { on, channel, words, on_doubt, deadline: _ } in alerts {
            self.last_delivery += 1;
            let id = DeliveryId(self.last_delivery);
            let (dag, context) = (dag.clone(), Value::Object(context.clone()));
            let row = DeliveryRow { id, dag, run, ti, on, channel, words, on_doubt, at: now, context };
            self.out.batch.deliveries.push(row);
            self.out.effects.push(Effect::Deliver(id));
        }
    }
}

/// The next deadline of a run that has to be told when it passes.
pub(super) fn next_deadline(run: &Run) -> Option<Timestamp> {
    deadlines(run).map(|(at, _)| at).min()
}

/// The deadlines of a run that nobody was told of yet, with who is to be told.
fn deadlines(run: &Run) -> impl Iterator<Item = (Timestamp, &AlertSpec)> {
    let row = &run.row;
    let of = |alert: &AlertSpec| {
        let deadline = alert.deadline.filter(|_| alert.on == AlertOn::Deadline)?;
        let from = match deadline.from {
            DeadlineFrom::LogicalDate => row.logical_date,
            DeadlineFrom::QueuedAt => Some(row.queued_at),
            DeadlineFrom::StartedAt => row.started_at,
        };
        from?.saturating_add(deadline.after).ok()
    };
    let alerts = run.dag.spec().alerts.iter().filter_map(move |alert| Some((of(alert)?, alert)));
    alerts.filter(move |(at, _)| row.deadlines_told.is_none_or(|told| *at > told))
}

/// So many task instances are named that a run failed by: the first are most often what the others failed by.
const NAMED: usize = 3;

/// So many characters are told of why one failed.
const WHY_CHARS: usize = 200;

/// The task instances that a run failed by, those first that failed first, and why each did.
fn failures(run: &Run) -> Option<String> {
    let mut failed: Vec<&TiRow> = run.all().filter(|ti| ti.state.name() == TiStateName::Failed).collect();
    failed.sort_by_key(|ti| ti.ended_at);
    let more = failed.len().saturating_sub(NAMED);
    let mut told: Vec<String> = failed.into_iter().take(NAMED).map(failure).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    Some(told.join("; ")).filter(|told| !told.is_empty())
}

/// `load[3] failed: ended with exit code 1`.
fn failure(ti: &TiRow) -> String {
    let copy = Some(ti.key.map_index).filter(|index| *index != MapIndex::NONE);
    let copy = copy.map(|index| format!("[{}]", ti.name.as_deref().map_or(index.to_string(), str::to_owned)));
    let failed = format!("{}{} failed", ti.task_id, copy.unwrap_or_default());
    let Some(why) = ti.reason.as_deref().and_then(|why| why.lines().find(|line| !line.trim().is_empty()))
    else {
        return failed;
    };
    let mut letters = why.trim().chars();
    let why: String = letters.by_ref().take(WHY_CHARS).collect();
    format!("{failed}: {why}{}", if letters.next().is_some() { "…" } else { "" })
}

/// What is said of a run in all alerts about it.
fn about(run: &RunRow) -> Map<String, Value> {
    let (start, end) = run.data_interval.unzip();
    object(json!({
        "dag_id": run.dag.dag_id,
        "run_id": run.run_id,
        "run_type": run.run_type,
        "logical_date": run.logical_date,
        "data_interval_start": start,
        "data_interval_end": end,
        "run_after": run.run_after,
        "started_at": run.started_at,
        "owner": run.owner,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
