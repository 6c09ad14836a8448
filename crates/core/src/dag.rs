//! What a DAG is. Every way of writing one (YAML, Airflow's Python, tables, the API) ends in a [`DagSpec`];
//! the engine runs the [`Dag`] that [`Dag::compile`] makes of it.

mod alert;
mod callback;
mod graph;
mod mapping;
mod relatives;
mod result_arg;
mod scopes;
mod task;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::callback::{NOTHING_CAN_RUN, TIME_IS_UP};
pub use self::{
    alert::{AlertChannel, AlertOn, AlertSpec, AlertWords, Deadline, DeadlineFrom, OnDoubt, WebhookTarget},
    callback::{Callback, CallbackOn, callback_reason},
    graph::{Dag, InvalidDag},
    mapping::{MapSource, Mapping, put_arguments},
    result_arg::ResultArg,
    task::{Labels, OnLeaseLoss, RetryPolicy, Role, TaskKind, TaskSpec, TriggerRule, WaitRule, WeightRule},
};
use crate::{
    AssetCondition, DagId, GroupId, Namespace, Owner, TaskId, condition::Condition, schedule::Schedule,
};

/// A DAG as it was written. Two equal specs are the same version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DagSpec {
    /// The namespace it belongs to.
    #[serde(default)]
    pub namespace: Namespace,
    /// Its name.
    pub dag_id: DagId,
    /// Who it belongs to. Competing owners share slots fairly.
    #[serde(default = "default_owner")]
    pub owner: Owner,
    /// One line for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name shown in its place, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_display_name: Option<String>,
    /// Markdown for its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// Words to filter by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When it runs by itself.
    #[serde(default = "manual")]
    pub schedule: Schedule,
    /// It also runs when this has happened to assets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<AssetCondition>,
    /// No tick before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// No tick after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// Whether ticks that passed unseen are made up for, one by one.
    #[serde(default)]
    pub catchup: bool,
    /// Parameters of a run, with their defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Runs that may be running at once (Airflow's default: 16).
    #[serde(default = "default_limit")]
    pub max_active_runs: u32,
    /// Task instances of one run that may be queued or running at once (Airflow's default: 16).
    #[serde(default = "default_limit")]
    pub max_active_tasks: u32,
    /// After so many failed runs in a row the DAG pauses itself; 0 for never.
    #[serde(default)]
    pub max_consecutive_failed_dag_runs: u32,
    /// A run that takes longer fails (Airflow's `dagrun_timeout`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dagrun_timeout: Option<SignedDuration>,
    /// The first failed task ends the run.
    #[serde(default)]
    pub fail_fast: bool,
    /// Whether it begins paused; the server's setting where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused_upon_creation: Option<bool>,
    /// Templates see an undefined name as empty, as an error, or as Jinja's native types; as written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, Value>,
    /// The tasks, in the order in which they were written.
    pub tasks: Vec<TaskSpec>,
    /// What follows what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeSpec>,
    /// The groups that tasks name, outer before inner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupSpec>,
    /// Who is told when a run ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertSpec>,
    /// The state of its repository that it was read from. Being part of the spec, it makes each commit a version,
    /// and a run, which stays on its version, keeps the files of one commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
}

/// A state of a source of DAG files that has states (Airflow's versioned bundles).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The source (Airflow's `bundle_name`).
    pub name: String,
    /// The state (Airflow's `bundle_version`): of a Git repository the commit, of what was deployed its archive's hash.
    pub version: String,
    /// The DAG's file in this state, which does not change while anything may run from it: of a repository an absolute
    /// path, of what was deployed its place there.
    pub file: String,
}

/// Airflow's `max_active_runs_per_dag` and `max_active_tasks_per_dag`.
fn default_limit() -> u32 {
    16
}

fn manual() -> Schedule {
    Schedule::Manual
}

fn default_owner() -> Owner {
    "airflow".into()
}

impl DagSpec {
    /// A DAG with this name and nothing in it.
    pub fn new(dag_id: impl Into<DagId>) -> Self {
        Self {
            namespace: Namespace::default(),
            dag_id: dag_id.into(),
            owner: default_owner(),
            description: None,
            dag_display_name: None,
            doc_md: None,
            tags: Vec::new(),
            schedule: manual(),
            assets: None,
            start_date: None,
            end_date: None,
            catchup: false,
            params: BTreeMap::new(),
            max_active_runs: default_limit(),
            max_active_tasks: default_limit(),
            max_consecutive_failed_dag_runs: 0,
            dagrun_timeout: None,
            fail_fast: false,
            is_paused_upon_creation: None,
            template: BTreeMap::new(),
            tasks: Vec::new(),
            edges: Vec::new(),
            groups: Vec::new(),
            alerts: Vec::new(),
            bundle: None,
        }
    }
}

impl DagSpec {
    /// The zone that its schedule is read in, an IANA name: that of its crons, or else the one in whose days its
    /// holidays are. UTC where it has none.
    pub fn timezone(&self) -> String {
        match self.schedule.without_holidays() {
            Schedule::CronTrigger { zone, .. } | Schedule::CronDataInterval { zone, .. } => zone.to_string(),
            Schedule::Manual
            | Schedule::AtBoot
            | Schedule::Once
            | Schedule::Continuous
            | Schedule::DeltaTrigger { .. }
            | Schedule::DeltaDataInterval { .. }
            | Schedule::ListOfTimes { .. }
            | Schedule::WithHolidays { .. } => {
                self.schedule.holidays().map_or_else(|| "UTC".into(), |holidays| holidays.zone().to_string())
            }
        }
    }
}

/// A parameter of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What it is where a run does not say.
    #[serde(default)]
    pub value: Value,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON Schema that its value must fit.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub schema: Value,
}

/// `to` comes after `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSpec {
    /// The upstream task.
    pub from: TaskId,
    /// The downstream task.
    pub to: TaskId,
    /// Where it is false, `to` is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// `to` gets the result of `from` as an argument.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pass_result: bool,
    /// A word for the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl EdgeSpec {
    /// A plain edge.
    pub fn new(from: impl Into<TaskId>, to: impl Into<TaskId>) -> Self {
        Self { from: from.into(), to: to.into(), when: None, pass_result: false, label: None }
    }
}

/// A group of tasks, for the picture and for mapping several tasks together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Its name.
    pub group_id: GroupId,
    /// The group around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<GroupId>,
    /// A sentence for the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tooltip: Option<String>,
    /// Its tasks exist once for each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<Mapping>,
}
