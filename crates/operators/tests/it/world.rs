//! A host with what a test puts there, and orders to prepare.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value, json};
use updraft_core::{
    AttemptId, DagId, MapIndex, RunId, RunKey, TaskIx, TiKey, XcomValue,
    input::{AttemptEnd, Outcome},
    protocol::{
        Connection, NextInterval, Order, OrderRun, OrderTask, RunFound, RunGiven, RunShown, RunWanted,
        States, StatesWanted, TaskShown, XcomFound, XcomQuery,
    },
    record::RunType,
};
use updraft_operators::{
    Asked, Files, Host, HostError, Prepared, PreviousSuccess, ProcessPlan, Server, Smtp, Variable, Work,
    work::{Functions, TaskContext, TaskLog},
};

/// What there is to look up.
#[derive(Default)]
pub struct World {
    /// By `task.key`.
    pub xcoms: BTreeMap<String, Vec<(i32, Value)>>,
    pub variables: BTreeMap<String, Variable>,
    pub connections: BTreeMap<String, Connection>,
    pub previous: Option<PreviousSuccess>,
    pub next: Option<NextInterval>,
    pub runs: Vec<RunFound>,
    pub smtp: Option<Smtp>,
    pub files: Files,
    /// It gives values whole where an item is asked for, as older servers do.
    pub gives_no_items: bool,
    /// What was asked for.
    pub asked: Mutex<Vec<String>>,
}

impl World {
    pub fn with_xcom(mut self, task_and_key: &str, value: Value) -> Self {
        self.xcoms.entry(task_and_key.into()).or_default().push((-1, value));
        self
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Host for World {
    fn xcom(&self, query: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        let name = format!("{}.{}", query.task_id, query.key);
        self.ask(match query.item {
            Some(at) => format!("xcom {name} at {at}"),
            None => format!("xcom {name}"),
        });
        if &*query.task_id == "unreachable" {
            return Err(HostError("the server is away".into()));
        }
        let found = self.xcoms.get(&name).into_iter().flatten();
        if let Some(at) = query.item.filter(|_| !self.gives_no_items) {
            let item = |(place, (index, value)): (usize, &(i32, Value))| {
                let value = match index {
                    -1 => value.get(at)?.clone(),
                    _ => (place == at).then(|| value.clone())?,
                };
                Some(XcomFound { map_index: MapIndex(*index), value, is_item: true })
            };
            return Ok(found.enumerate().filter_map(item).collect());
        }
        Ok(found
            .filter(|(index, _)| query.map_index.is_none_or(|wanted| wanted.0 == *index))
            .map(|(index, value)| XcomFound {
                map_index: MapIndex(*index),
                value: value.clone(),
                is_item: false,
            })
            .collect())
    }

    fn variable(&self, key: &str) -> Result<Option<Variable>, HostError> {
        self.ask(format!("variable {key}"));
        Ok(self.variables.get(key).cloned())
    }

    fn connection(&self, conn_id: &str) -> Result<Option<Connection>, HostError> {
        self.ask(format!("connection {conn_id}"));
        Ok(self.connections.get(conn_id).cloned())
    }

    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError> {
        self.ask("previous success".into());
        Ok(self.previous)
    }

    fn run(&self, dag_id: &DagId, run_id: &RunId) -> Result<Option<RunFound>, HostError> {
        self.ask(format!("run {dag_id} {run_id}"));
        Ok(self.runs.iter().find(|run| run.dag_id == *dag_id && run.run_id == *run_id).cloned())
    }

    fn next_interval(&self) -> Result<Option<NextInterval>, HostError> {
        self.ask("next interval".into());
        Ok(self.next)
    }

    fn smtp(&self) -> Result<Option<Smtp>, HostError> {
        Ok(self.smtp.clone())
    }

    fn files(&self) -> Result<&Files, HostError> {
        self.ask("files".into());
        Ok(&self.files)
    }

    fn call(&self, plan: &ProcessPlan) -> Result<Value, HostError> {
        crate::process::call(plan)
    }
}

/// An order for this operator with these arguments, in a run of 2026-01-31 06:00.
pub fn order(operator: &str, args: Value) -> Order {
    let at = |text: &str| text.parse().unwrap();
    Order {
        attempt: AttemptId {
            ti: TiKey { run: RunKey(1), task: TaskIx(0), map_index: MapIndex::NONE },
            try_number: 1,
            lease: 1,
        },
        watch: false,
        operator: operator.into(),
        args: args.as_object().cloned().unwrap_or_else(Map::new),
        task: OrderTask {
            task_id: "extract".into(),
            max_tries: 2,
            tries_before: 0,
            retry_on_exit_codes: Vec::new(),
            execution_timeout: None,
            do_xcom_push: true,
            inputs: Vec::new(),
            mapping: None,
            result_lengths: BTreeMap::new(),
            upstream: vec!["load".into()],
            downstream: vec!["left".into(), "right".into()],
            map_index_template: None,
            hold_doubts: false,
            outlives_lease: false,
            first_started_at: None,
            run_as_user: None,
            owner: "data".into(),
            shown: TaskShown::default(),
            params: BTreeMap::new(),
            callbacks: Vec::new(),
        },
        run: Arc::new(OrderRun {
            asset_events: Vec::new(),
            assets: Vec::new(),
            namespace: "default".into(),
            dag_id: "reports".into(),
            run_id: "scheduled__2026-01-31T06:00:00+00:00".into(),
            run_type: RunType::Scheduled,
            logical_date: Some(at("2026-01-31T06:00:00Z")),
            data_interval: Some((at("2026-01-30T06:00:00Z"), at("2026-01-31T06:00:00Z"))),
            run_after: at("2026-01-31T06:00:00Z"),
            started_at: Some(at("2026-01-31T06:00:01.25Z")),
            conf: Arc::new(json!({})),
            params: BTreeMap::new(),
            template: BTreeMap::new(),
            version: 1,
            timezone: "UTC".into(),
            source: "/dags/team/reports.py".into(),
            bundle: None,
            tags: Vec::new(),
            shown: RunShown::default(),
        }),
    }
}

/// The same order with its run changed.
pub fn with_run(mut order: Order, change: impl FnOnce(&mut OrderRun)) -> Order {
    change(Arc::get_mut(&mut order.run).unwrap());
    order
}

/// How native work ended, and what it wrote.
pub struct Ended {
    pub outcome: Outcome,
    pub log: Vec<String>,
}

impl Ended {
    /// Its result, or null.
    pub fn result(&self) -> Value {
        let result = self.outcome.xcoms.iter().find(|(name, _)| name == "return_value");
        match result.map(|(_, value)| value) {
            Some(XcomValue::Inline(value)) => (**value).clone(),
            Some(XcomValue::Blob { .. }) => panic!("a result is inline"),
            None => Value::Null,
        }
    }

    /// Why it failed.
    pub fn failure(&self) -> &str {
        assert_eq!(self.outcome.end, AttemptEnd::Failed, "{:?}", self.outcome);
        self.outcome.message.as_deref().unwrap()
    }
}

/// A log that a test reads.
#[derive(Default)]
pub struct Lines(pub Mutex<Vec<String>>);

impl TaskLog for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.into());
    }
}

/// What work is given where it asks nothing of the server.
pub fn context(log: Arc<dyn TaskLog>) -> TaskContext {
    TaskContext { log, shared: Arc::default(), server: Arc::new(NoServer), functions: Arc::new(Calls) }
}

struct NoServer;

impl Server for NoServer {
    fn give_run(&self, _: RunWanted) -> Asked<'_, RunGiven> {
        Box::pin(async { panic!("no run is wanted here") })
    }

    fn states(&self, _: StatesWanted) -> Asked<'_, States> {
        Box::pin(async { panic!("no states are wanted here") })
    }
}

/// Calls functions as a worker does, but for its guard.
pub struct Calls;

impl Functions for Calls {
    fn call(&self, plan: ProcessPlan) -> Asked<'_, Value> {
        Box::pin(async move { crate::process::call(&plan) })
    }
}

/// Drives native work to its end.
pub fn run_native(prepared: Prepared) -> Ended {
    let log = Arc::new(Lines::default());
    let context = context(Arc::clone(&log) as Arc<dyn TaskLog>);
    let Work::Native(task) = prepared.work else { panic!("{:?} is no native work", prepared.work) };
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(task.run(context));
    let log = log.0.lock().unwrap().clone();
    Ended { outcome, log }
}
