//! What an [`Order`](super::Order) says of its task and its DAG for templates and functions to see alone: nothing that is
//! done goes by it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Asset, DagId, DagSpec, PoolName, QueueName, RetryPolicy, RunId, RunState, TaskSpec, TriggerRule,
    record::{RunRow, RunType},
};

/// Attributes of Airflow's operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskShown {
    /// The queue it waits in.
    pub queue: QueueName,
    /// The pool whose slots it takes.
    pub pool: PoolName,
    /// How many of these.
    pub pool_slots: u32,
    /// Its weight among those that wait.
    pub priority_weight: i64,
    /// What its upstream tasks must have come to.
    pub trigger_rule: TriggerRule,
    /// Whether it waits for itself in the run before.
    pub depends_on_past: bool,
    /// Whether it waits for what comes after itself in the run before.
    pub wait_for_downstream: bool,
    /// How long after a failure it is tried again.
    pub retry_delay: SignedDuration,
    /// Its documentation.
    pub doc_md: Option<String>,
    /// The assets that it says it reads.
    pub inlets: Vec<Asset>,
    /// Those that it makes anew.
    pub outlets: Vec<Asset>,
}

impl TaskShown {
    /// Of this task.
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            queue: spec.queue.clone(),
            pool: spec.pool.clone(),
            pool_slots: spec.pool_slots,
            priority_weight: spec.priority_weight,
            trigger_rule: spec.trigger_rule,
            depends_on_past: spec.depends_on_past,
            wait_for_downstream: spec.wait_for_downstream,
            retry_delay: spec.retry.delay,
            doc_md: spec.doc_md.clone(),
            inlets: spec.inlets.clone(),
            outlets: spec.outlets.clone(),
        }
    }

    /// Whether it is as that of most tasks, which need not be told.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TaskShown {
    fn default() -> Self {
        Self {
            queue: "default".into(),
            pool: "default_pool".into(),
            pool_slots: 1,
            priority_weight: 1,
            trigger_rule: TriggerRule::default(),
            depends_on_past: false,
            wait_for_downstream: false,
            retry_delay: RetryPolicy::default().delay,
            doc_md: None,
            inlets: Vec::new(),
            outlets: Vec::new(),
        }
    }
}

/// Attributes of Airflow's DAGs, and of a run what is no part of its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunShown {
    /// The DAG's description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The DAG's name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dag_display_name: Option<String>,
    /// When the DAG's schedule begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// Whether the DAG catches up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub catchup: bool,
    /// How many runs of it may be at work.
    pub max_active_runs: u32,
    /// How many of its tasks.
    pub max_active_tasks: u32,
    /// The account that asked for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggering_user: Option<String>,
    /// How often the run was cleared.
    pub clear_number: u32,
    /// Where people see the server: `http://127.0.0.1:8080`. Empty where nobody can.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base_url: String,
}

impl RunShown {
    /// Of a run of this DAG.
    pub fn of(dag: &DagSpec, run: &RunRow, base_url: &str) -> Self {
        Self {
            description: dag.description.clone(),
            dag_display_name: dag.dag_display_name.clone(),
            start_date: dag.start_date,
            end_date: dag.end_date,
            catchup: dag.catchup,
            max_active_runs: dag.max_active_runs,
            max_active_tasks: dag.max_active_tasks,
            triggering_user: run.triggering_user.clone(),
            clear_number: run.clear_number,
            base_url: base_url.to_owned(),
        }
    }
}

/// A run as templates see it that name another, or ask for what may have changed:
/// `GET /worker/v1/runs/{dag_id}/{run_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFound {
    /// Its DAG.
    pub dag_id: DagId,
    /// Its name.
    pub run_id: RunId,
    /// What made it.
    pub run_type: RunType,
    /// Where it stands.
    pub state: RunState,
    /// Airflow's `logical_date`.
    pub logical_date: Option<Timestamp>,
    /// The interval of data it is about.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// When it was due.
    pub run_after: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How often it was cleared.
    pub clear_number: u32,
    /// The account that asked for it.
    pub triggering_user: Option<String>,
    /// What was given with it.
    pub conf: Value,
    /// What somebody has noted on it.
    pub note: Option<String>,
}
