//! Who is to be told of what.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Engine;
use crate::{
    AlertOn, AlertSpec, DeliveryId, RunKey, TiKey,
    input::Effect,
    record::{DeliveryRow, RunRow},
};

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
            "try_number": ti.try_number,
            "max_tries": ti.max_tries,
            "state": ti.state.name(),
            "reason": ti.reason,
            "exit_code": ti.exit_code,
            "next_try_at": ti.state.wakes_at(),
        })));
        self.deliver(now, key.run, Some(key), alerts, context);
    }

    /// Puts into the outbox what the DAG's alerts say about the end of a run.
    pub(super) fn alert_of_run(&mut self, now: Timestamp, key: RunKey, on: AlertOn) {
        let Some(run) = self.runs.get(&key) else { return };
        let alerts: Vec<AlertSpec> =
            run.dag.spec().alerts.iter().filter(|alert| alert.on == on).cloned().collect();
        let mut context = about(&run.row);
        context.extend(object(json!({ "state": run.row.state, "reason": run.row.reason })));
        self.deliver(now, key, None, alerts, context);
    }

    fn deliver(
        &mut self,
        now: Timestamp,
        run: RunKey,
        ti: Option<TiKey>,
        alerts: Vec<AlertSpec>,
        context: Map<String, Value>,
    ) {
        let Some(dag) = self.runs.get(&run).map(|run| run.row.dag.clone()) else { return };
        for AlertSpec { on, channel, words, on_doubt } in alerts {
            self.last_delivery += 1;
            let id = DeliveryId(self.last_delivery);
            let (dag, context) = (dag.clone(), Value::Object(context.clone()));
            let row = DeliveryRow { id, dag, run, ti, on, channel, words, on_doubt, at: now, context };
            self.out.batch.deliveries.push(row);
            self.out.effects.push(Effect::Deliver(id));
        }
    }
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
