//! From an attempt to the order that a worker is given.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;
use updraft_core::{
    AssetEvent, AttemptId, Dag, Engine, MapIndex, Mapping, OnLeaseLoss, Param, RunKey, TaskId, TaskIx,
    TaskKind,
    protocol::{Order, OrderBundle, OrderRun, OrderTask, RunShown, TaskShown},
    put_arguments,
    record::{RunRow, TiRow},
};

use crate::deployments;

/// So many runs' parts are kept for their next orders.
const KEPT: usize = 4096;

/// So many events of assets go along with an order: who waited long may have very many.
const MOST_ASSET_EVENTS: usize = 1000;

/// And what they have to say comes to so many bytes: each task of the run has it in its order.
const MOST_BYTES_OF_EVENTS: usize = 1024 * 1024;

/// Makes orders. What all orders of a run share is made once.
pub(super) struct Orders {
    /// Where people see this server.
    base_url: String,
    runs: HashMap<RunKey, (u32, Arc<OrderRun>)>,
}

impl Orders {
    pub fn new(base_url: String) -> Self {
        Self { base_url, runs: HashMap::new() }
    }

    /// Forgets what it has made.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// The order for an attempt; `None` where it is no longer wanted.
    pub fn order(&mut self, engine: &Engine, attempt: AttemptId) -> Option<Arc<Order>> {
        let (row, dag) = engine.run(attempt.ti.run)?;
        let ti = engine.ti(attempt.ti)?;
        let spec = dag.task(attempt.ti.task);
        let mut args = spec.args.clone();
        let mapping = dag.mapping(attempt.ti.task).filter(|_| attempt.ti.map_index != MapIndex::NONE);
        let mapping = mapping.and_then(|mapping| match literal_arguments(mapping, attempt.ti.map_index) {
            Some(chosen) => {
                put_arguments(&mut args, chosen);
                None
            }
            None => Some(mapping.clone()),
        });
        let length_of = |task: &TaskId| engine.result_length(row.key, dag.find(task)?);
        let over = mapping.iter().flat_map(Mapping::upstream);
        let result_lengths = over.filter_map(|task| Some((task.clone(), length_of(task)?))).collect();
        let task = OrderTask { mapping, result_lengths, ..order_task(row, dag, ti) };
        let run = self.run(engine, row, dag);
        let watch = spec.kind == TaskKind::Watch;
        Some(Arc::new(Order { attempt, watch, operator: spec.operator.clone(), args, task, run }))
    }

    fn run(&mut self, engine: &Engine, row: &RunRow, dag: &Dag) -> Arc<OrderRun> {
        if let Some((cleared, run)) = self.runs.get(&row.key)
            && *cleared == row.clear_number
        {
            return run.clone();
        }
        if self.runs.len() >= KEPT {
            self.runs.clear();
        }
        let events = latest(engine.asset_events(row.key));
        let source = engine.dag(&row.dag).map_or("", |(row, _)| &row.source);
        let assets = match (&events[..], &dag.spec().assets) {
            ([_, ..], Some(condition)) => condition.assets().into_iter().cloned().collect(),
            _ => Vec::new(),
        };
        let of_run = order_run(row, dag, source, &self.base_url);
        let run = Arc::new(OrderRun { asset_events: events, assets, ..of_run });
        self.runs.insert(row.key, (row.clear_number, run.clone()));
        run
    }
}

/// What an order says of its task, but for what it is mapped over.
pub(crate) fn order_task(row: &RunRow, dag: &Dag, ti: &TiRow) -> OrderTask {
    let spec = dag.task(ti.key.task);
    let names = |tasks: &[TaskIx]| tasks.iter().map(|ix| dag.task(*ix).task_id.clone()).collect();
    OrderTask {
        task_id: spec.task_id.clone(),
        max_tries: ti.max_tries,
        tries_before: ti.tries_before,
        retry_on_exit_codes: spec.retry.on_exit_codes.clone(),
        execution_timeout: spec.execution_timeout,
        do_xcom_push: spec.do_xcom_push,
        inputs: names(dag.inputs(ti.key.task)),
        mapping: None,
        result_lengths: BTreeMap::new(),
        upstream: names(dag.upstream(ti.key.task)),
        downstream: names(dag.downstream(ti.key.task)),
        map_index_template: spec.map_index_template.clone().filter(|_| ti.key.map_index != MapIndex::NONE),
        hold_doubts: spec.max_lost == 0,
        outlives_lease: spec.on_lease_loss == OnLeaseLoss::Continue,
        first_started_at: ti.first_started_at.or(ti.started_at),
        run_as_user: spec.run_as_user.clone(),
        owner: spec.owner.clone().unwrap_or_else(|| dag.spec().owner.to_string()),
        shown: TaskShown::of(spec),
        params: given(row, &spec.params),
        callbacks: spec.callbacks.clone(),
    }
}

/// What an order says of its run, but for what happened to assets. `source` is where the DAG comes from now, `base_url`
/// where people see this server.
pub(crate) fn order_run(row: &RunRow, dag: &Dag, source: &str, base_url: &str) -> OrderRun {
    let spec = dag.spec();
    let deployed = spec.bundle.as_ref().filter(|bundle| bundle.name == deployments::BUNDLE);
    OrderRun {
        namespace: row.dag.namespace.clone(),
        dag_id: row.dag.dag_id.clone(),
        run_id: row.run_id.clone(),
        run_type: row.run_type,
        logical_date: row.logical_date,
        data_interval: row.data_interval,
        run_after: row.run_after,
        started_at: row.started_at,
        asset_events: Vec::new(),
        assets: Vec::new(),
        conf: row.conf.clone(),
        params: all_given(row, &spec.params),
        template: spec.template.clone(),
        version: row.version,
        timezone: spec.timezone(),
        // Of a version the file as that has it, whatever has come since.
        source: match &spec.bundle {
            Some(bundle) => bundle.file.clone(),
            None => source.to_owned(),
        },
        bundle: deployed.map(|bundle| OrderBundle { hash: bundle.version.clone(), environment: None }),
        tags: spec.tags.clone(),
        shown: RunShown::of(spec, row, base_url),
    }
}

/// What happened last to assets, of all that a run was made for.
fn latest(events: &[Arc<AssetEvent>]) -> Vec<Arc<AssetEvent>> {
    let mut bytes = 0;
    let few_enough = events.iter().rev().take(MOST_ASSET_EVENTS).take_while(|event| {
        bytes += event.extra.to_string().len();
        bytes <= MOST_BYTES_OF_EVENTS
    });
    events[events.len() - few_enough.count()..].to_vec()
}

/// The parameters of a run: those that its DAG names, and whatever else it was given, as in Airflow.
fn all_given(row: &RunRow, params: &BTreeMap<String, Param>) -> BTreeMap<String, Value> {
    let conf = row.conf.as_object().into_iter().flatten();
    let mut all = given(row, params);
    all.extend(conf.map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// Parameters, with what the run was given in place of their defaults.
fn given(row: &RunRow, params: &BTreeMap<String, Param>) -> BTreeMap<String, Value> {
    let given = row.conf.as_object();
    let value =
        |name: &String, param: &Param| given.and_then(|conf| conf.get(name)).unwrap_or(&param.value).clone();
    params.iter().map(|(name, param)| (name.clone(), value(name, param))).collect()
}

/// The arguments of a copy, where everything that is mapped over is written down.
fn literal_arguments(mapping: &Mapping, index: MapIndex) -> Option<serde_json::Map<String, Value>> {
    if !mapping.upstream().is_empty() {
        return None;
    }
    mapping.arguments(usize::try_from(index.0).ok()?, &mut |_| None, &mut |_, _| None)
}

#[cfg(test)]
mod tests {
    use updraft_core::{AssetEventId, AssetId};

    use super::*;

    #[test]
    fn of_very_many_events_an_order_has_the_latest() {
        let event = |id| {
            Arc::new(AssetEvent {
                id: AssetEventId(id),
                namespace: Default::default(),
                asset: AssetId(1),
                uri: "orders".into(),
                at: jiff::Timestamp::UNIX_EPOCH,
                extra: Arc::default(),
                key: None,
                source: None,
                told_by: None,
            })
        };
        let all: Vec<_> = (1..=1500).map(event).collect();
        let ends = |events: Vec<Arc<AssetEvent>>| (events[0].id.0, events[events.len() - 1].id.0);
        assert_eq!((ends(latest(&all)), ends(latest(&all[..3]))), ((501, 1500), (1, 3)));
        let large = |event: &Arc<AssetEvent>| {
            let extra = Arc::new(Value::from("x".repeat(MOST_BYTES_OF_EVENTS / 4)));
            Arc::new(AssetEvent { extra, ..AssetEvent::clone(event) })
        };
        let all: Vec<_> = all.iter().take(10).map(large).collect();
        assert_eq!(ends(latest(&all)), (8, 10));
    }
}
