//! Random tasks.

use serde_json::{Value, json};
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, Labels, MapSource, Mapping, RetryPolicy, TaskKind, TaskSpec,
    TriggerRule, WaitRule, WeightRule,
};

use super::outcome::span;
use crate::{SECOND, rng::Rng, world::wall};

const RULES: [TriggerRule; 13] = [
    TriggerRule::AllSuccess,
    TriggerRule::AllFailed,
    TriggerRule::AllDone,
    TriggerRule::AllDoneMinOneSuccess,
    TriggerRule::AllDoneSetupSuccess,
    TriggerRule::AllSkipped,
    TriggerRule::OneFailed,
    TriggerRule::OneSuccess,
    TriggerRule::OneDone,
    TriggerRule::NoneFailed,
    TriggerRule::NoneFailedMinOneSuccess,
    TriggerRule::NoneSkipped,
    TriggerRule::Always,
];

/// What a DAG's tasks have in common.
pub(super) struct Taste {
    pub other_rules: f64,
    pub limits: f64,
    pub pools: f64,
    pub past: f64,
    pub alerts: f64,
    pub outlets: f64,
}

/// The label that some tasks ask for, and some workers have.
pub(crate) fn label() -> Labels {
    Labels::from([("zone".into(), "west".into())])
}

pub(super) fn task(rng: &mut Rng, name: String, taste: &Taste) -> TaskSpec {
    let kind = match rng.below(20) {
        0..=2 => TaskKind::Empty,
        3 => TaskKind::Wait(wait(rng)),
        4 | 5 => TaskKind::Watch,
        _ => TaskKind::Run,
    };
    let operators: &[&str] = match kind {
        TaskKind::Empty => &["Empty"],
        TaskKind::Wait(_) => &["Wait"],
        TaskKind::Watch => &["Sensor", "Bash"],
        TaskKind::Run => {
            &["Bash", "Bash", "Bash", "Bash", "Branch", "ShortCircuit", "Sensor", "Deferrable", "List"]
        }
    };
    let operator = rng.pick(operators).copied().unwrap_or_default();
    let mut task = TaskSpec::new(name, operator, kind);
    if rng.chance(taste.other_rules) {
        task.trigger_rule = rng.pick(&RULES).copied().unwrap_or_default();
    }
    task.retry = retry(rng);
    task.max_lost = rng.below(4) as u32;
    if rng.chance(taste.pools) {
        let pools = ["default_pool", "small", "small", "wide"];
        task.pool = (*rng.pick(&pools).unwrap_or(&"small")).into();
        task.pool_slots = rng.between(1, 3) as u32;
    }
    if rng.chance(0.1) {
        task.queue = "gpu".into();
    }
    if rng.chance(0.1) {
        task.worker_slots = rng.between(2, 3) as u32;
    }
    if rng.chance(0.05) {
        task.worker_labels = label();
    }
    task.priority_weight = rng.between(-1, 5);
    task.weight_rule = *rng
        .pick(&[WeightRule::Downstream, WeightRule::Upstream, WeightRule::Absolute])
        .unwrap_or(&WeightRule::Absolute);
    if rng.chance(taste.limits) {
        task.max_active_tis_per_dag = Some(rng.between(1, 3) as u32);
    }
    if rng.chance(taste.limits) {
        task.max_active_tis_per_dagrun = Some(rng.between(1, 2) as u32);
    }
    task.depends_on_past = rng.chance(taste.past);
    task.wait_for_downstream = rng.chance(taste.past / 2.0);
    task.ignore_first_depends_on_past = rng.chance(0.8);
    if rng.chance(taste.outlets) {
        task.outlets = (0..rng.between(1, 2)).map(|_| super::dags::asset(rng)).collect();
    }
    if rng.chance(taste.alerts) {
        let on =
            *rng.pick(&[AlertOn::Failure, AlertOn::Retry, AlertOn::Success]).unwrap_or(&AlertOn::Failure);
        task.alerts = vec![AlertSpec::new(on, AlertChannel::email(vec!["nami@example.com".into()]))];
    }
    task
}

fn wait(rng: &mut Rng) -> WaitRule {
    let length = span(rng.log_between(SECOND, 300 * SECOND));
    match rng.below(4) {
        0 => WaitRule::AfterInterval(length),
        1 | 2 => WaitRule::AfterReady(length),
        _ => WaitRule::At(wall(rng.between(0, 3600) * SECOND)),
    }
}

fn retry(rng: &mut Rng) -> RetryPolicy {
    RetryPolicy {
        retries: rng.below(4) as u32,
        delay: span(rng.log_between(1, 120) * SECOND),
        backoff: if rng.chance(0.3) { 2.0 } else { 0.0 },
        max_delay: Some(span(300 * SECOND)),
        on_exit_codes: if rng.chance(0.2) { vec![1, 75] } else { Vec::new() },
    }
}

/// A mapping, over what tasks of these names leave and over what is written down.
pub(super) fn mapping(rng: &mut Rng, earlier: &[String]) -> (Mapping, Vec<String>) {
    let mut named = Vec::new();
    let mut source = |rng: &mut Rng| match rng.pick(earlier) {
        Some(task) if rng.chance(0.6) => {
            named.push(task.clone());
            MapSource::Result(task.as_str().into())
        }
        Some(_) | None => MapSource::List((0..rng.below(4)).map(|n| json!(n)).collect()),
    };
    let mapping = match rng.below(6) {
        0 => Mapping::Product(vec![("x".into(), source(rng)), ("y".into(), source(rng))]),
        1 => {
            let fill = if rng.chance(0.5) { Some(Value::Null) } else { None };
            let sources = vec![source(rng), source(rng)];
            Mapping::Product(vec![("x".into(), MapSource::Zip { sources, fill })])
        }
        2 => Mapping::Kwargs(source(rng)),
        3 => Mapping::Product(vec![("x".into(), MapSource::Concat(vec![source(rng), source(rng)]))]),
        _ => Mapping::Product(vec![("x".into(), source(rng))]),
    };
    (mapping, named)
}
