//! Alerts: what they say, and sending them by all ways but mail, for which there is [`crate::mail`].
//!
//! What they say are templates, as of a task's arguments, over the outbox's row. They see the names in its
//! context (`reason`, `exit_code`, …), `on` and `url`, and of Airflow's what belongs to the run and the task
//! (`dag`, `dag_run`, `ti`, `ds`, `macros`, …). They see no variables, connections and results: there are secrets
//! among these, and an alert leaves the house.

mod digest;
mod sender;
mod words;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};
use updraft_core::{
    AttemptId, DagId, MapIndex, RunId, RunKey, TaskIx, TiKey,
    protocol::{
        Connection, NextInterval, Order, OrderRun, OrderTask, RunFound, RunShown, TaskShown, XcomFound,
        XcomQuery,
    },
    record::{DeliveryRow, RunType},
};

pub use self::{
    digest::digest,
    sender::{NotSent, Sender, Way},
    words::{Words, on, page, unknown_names, words},
};
use crate::{Files, Host, HostError, PreviousSuccess, Smtp, Variable, work::ProcessPlan};

/// The order that an alert's templates are rendered for: the attempt it is about, or none of a run. `base_url` is where
/// people find Updraft.
fn order(row: &DeliveryRow, base_url: &str) -> Order {
    let context = row.context.as_object();
    let said = |name: &str| context.and_then(|context| context.get(name));
    let text = |name: &str| said(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number =
        |name: &str| said(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let time = |name: &str| said(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
    let run_type = said("run_type").and_then(|name| serde_json::from_value(name.clone()).ok());
    let ti = row.ti.unwrap_or(TiKey {
        run: row.run.unwrap_or(RunKey(0)),
        task: TaskIx(0),
        map_index: MapIndex::NONE,
    });
    Order {
        attempt: AttemptId { ti, try_number: number("try_number").unwrap_or(0), lease: 0 },
        watch: false,
        operator: String::new(),
        args: Map::new(),
        task: OrderTask {
            task_id: text("task_id").into(),
            max_tries: number("max_tries").unwrap_or(0),
            tries_before: 0,
            retry_on_exit_codes: Vec::new(),
            execution_timeout: None,
            do_xcom_push: false,
            inputs: Vec::new(),
            mapping: None,
            result_lengths: BTreeMap::new(),
            upstream: Vec::new(),
            downstream: Vec::new(),
            map_index_template: None,
            hold_doubts: false,
            outlives_lease: false,
            first_started_at: None,
            run_as_user: None,
            owner: text("owner"),
            shown: TaskShown::default(),
            params: BTreeMap::new(),
            callbacks: Vec::new(),
        },
        run: Arc::new(OrderRun {
            namespace: row.dag.namespace.clone(),
            dag_id: row.dag.dag_id.clone(),
            run_id: text("run_id").into(),
            run_type: run_type.unwrap_or(RunType::Manual),
            logical_date: time("logical_date"),
            data_interval: time("data_interval_start").zip(time("data_interval_end")),
            run_after: time("run_after").unwrap_or(row.at),
            started_at: time("started_at"),
            asset_events: Vec::new(),
            assets: Vec::new(),
            conf: Arc::default(),
            params: BTreeMap::new(),
            template: BTreeMap::new(),
            version: 0,
            timezone: "UTC".into(),
            source: String::new(),
            bundle: None,
            tags: Vec::new(),
            shown: RunShown { base_url: base_url.to_owned(), ..RunShown::default() },
        }),
    }
}

/// Looks up nothing.
struct Nowhere;

fn nowhere<T>(what: &str) -> Result<T, HostError> {
    Err(HostError(unseen(what)))
}

/// Why an alert does not show this.
fn unseen(what: &str) -> String {
    format!("an alert can't show {what}: it leaves the house, and there may be secrets in them")
}

impl Host for Nowhere {
    fn xcom(&self, _: &XcomQuery) -> Result<Vec<XcomFound>, HostError> {
        nowhere("results")
    }

    fn variable(&self, _: &str) -> Result<Option<Variable>, HostError> {
        nowhere("variables")
    }

    fn connection(&self, _: &str) -> Result<Option<Connection>, HostError> {
        nowhere("connections")
    }

    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError> {
        nowhere("other runs")
    }

    fn run(&self, _: &DagId, _: &RunId) -> Result<Option<RunFound>, HostError> {
        nowhere("what changes in a run, and other runs")
    }

    fn next_interval(&self) -> Result<Option<NextInterval>, HostError> {
        nowhere("other runs")
    }

    fn smtp(&self) -> Result<Option<Smtp>, HostError> {
        nowhere("mail servers")
    }

    fn files(&self) -> Result<&Files, HostError> {
        nowhere("files")
    }

    fn call(&self, _: &ProcessPlan) -> Result<Value, HostError> {
        nowhere("what a macro makes")
    }
}
