//! How an attempt ends.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use updraft_core::{
    Dag, Labels, TaskId, TaskIx, TaskKind, XcomValue,
    input::{AttemptEnd, Branch, Outcome, Report},
};

use crate::{Micros, SECOND, plan::Outcomes, rng::Rng, worker::ended, world::wall};

/// What a worker is told about an attempt, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// How many slots of its worker it takes.
    pub slots: u32,
    /// What its worker must be known by.
    pub labels: Labels,
    pub operator: String,
    pub downstream: Vec<TaskId>,
}

impl Order {
    pub fn of(dag: &Dag, task: TaskIx) -> Self {
        let spec = dag.task(task);
        let name = |ix: &TaskIx| dag.task(*ix).task_id.clone();
        Self {
            slots: if spec.kind == TaskKind::Watch { 0 } else { spec.worker_slots },
            labels: spec.worker_labels.clone(),
            operator: spec.operator.clone(),
            downstream: dag.downstream(task).iter().map(name).collect(),
        }
    }
}

/// How long an attempt runs, and what its worker reports then.
pub(crate) fn draw(
    rng: &mut Rng,
    odds: &Outcomes,
    order: &Order,
    calm: bool,
    now: Micros,
) -> (Micros, Report) {
    let length = rng.log_between(SECOND / 1000, odds.length);
    let later = now + length;
    let (rescheduled, deferred) = if calm { (0.2, 0.2) } else { (odds.rescheduled, odds.deferred) };
    if order.operator == "Sensor" && rng.chance(rescheduled) {
        let again = wall(later + rng.between(-SECOND, 60 * SECOND));
        return (length, ended(Outcome::new(AttemptEnd::Rescheduled(again))));
    }
    if order.operator == "Deferrable" && rng.chance(deferred) {
        return (length, Report::Deferred { until: wall(later + rng.between(-SECOND, 90 * SECOND)) });
    }
    let end = if rng.chance(odds.failed) {
        AttemptEnd::Failed
    } else if rng.chance(odds.failed_for_good) {
        AttemptEnd::FailedForGood
    } else if rng.chance(odds.skipped) {
        AttemptEnd::Skipped
    } else {
        AttemptEnd::Success
    };
    let mut outcome = Outcome::new(end.clone());
    outcome.exit_code = match end {
        AttemptEnd::Success => Some(0),
        AttemptEnd::Failed | AttemptEnd::FailedForGood => {
            *rng.pick(&[Some(1), Some(2), Some(75), None]).unwrap_or(&None)
        }
        AttemptEnd::Skipped => Some(99),
        AttemptEnd::Rescheduled(_) | AttemptEnd::Cancelled | AttemptEnd::Lost => None,
    };
    if outcome.end == AttemptEnd::Success {
        leave(rng, &mut outcome, order);
    }
    (length, ended(outcome))
}

/// What a success leaves: a result, and which way to go.
fn leave(rng: &mut Rng, outcome: &mut Outcome, order: &Order) {
    let result = match order.operator.as_str() {
        "List" if rng.chance(0.03) => json!("no list"),
        "List" => Value::Array((0..rng.below(5)).map(|n| json!(n)).collect()),
        _ => json!(rng.below(10)),
    };
    outcome.result_length = result.as_array().map(|list| list.len() as u32);
    outcome.xcoms = vec![("return_value".into(), XcomValue::Inline(Arc::new(result)))];
    if rng.chance(0.1) {
        outcome.rendered = Some(json!({ "command": "true" }));
    }
    outcome.branch = match order.operator.as_str() {
        "Branch" => {
            let mut chosen: Vec<TaskId> =
                order.downstream.iter().filter(|_| rng.chance(0.5)).cloned().collect();
            if rng.chance(0.02) {
                chosen.push("nowhere".into());
            }
            Some(Branch::Follow(chosen))
        }
        "ShortCircuit" => match rng.below(3) {
            0 => None,
            1 => Some(Branch::SkipDownstream),
            _ => Some(Branch::SkipAllDownstream),
        },
        _ => None,
    };
}

/// A length of the world's time.
pub(crate) fn span(micros: Micros) -> SignedDuration {
    SignedDuration::from_micros(micros)
}
