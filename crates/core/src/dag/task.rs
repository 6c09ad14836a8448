//! A task as it was written.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AlertSpec, Callback, Mapping, Param};
use crate::{Asset, GroupId, PoolName, QueueName, TaskId};

/// What tells workers apart besides their queues: values by their names.
pub type Labels = BTreeMap<String, String>;

/// A task as it was written: what it does ([`TaskSpec::operator`], [`TaskSpec::args`]), and when it may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Its name, with those of its groups before it.
    pub task_id: TaskId,
    /// The innermost group it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// The operator's class name, as Airflow has it: `BashOperator`.
    pub operator: String,
    /// The operator's arguments, templates unrendered. The engine does not look inside.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// Parameters of its own, over those of the DAG. What a run is given counts over both.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// What the engine has to do for it.
    pub kind: TaskKind,
    /// What its upstream tasks must have come to.
    #[serde(default)]
    pub trigger_rule: TriggerRule,
    /// Setup, teardown, or neither.
    #[serde(default)]
    pub role: Role,
    /// When a failed attempt is followed by another.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// An attempt that takes longer fails. Time in which it was paused does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<SignedDuration>,
    /// So many attempts in a row may be lost with their worker before the task instance fails.
    #[serde(default = "three")]
    pub max_lost: u32,
    /// What its worker does with it when it has lost touch with the server for too long.
    #[serde(default, skip_serializing_if = "OnLeaseLoss::is_end")]
    pub on_lease_loss: OnLeaseLoss,
    /// The pool it takes slots from.
    #[serde(default = "default_pool")]
    pub pool: PoolName,
    /// How many.
    #[serde(default = "one")]
    pub pool_slots: u32,
    /// The queue it waits in.
    #[serde(default = "default_queue")]
    pub queue: QueueName,
    /// What its worker must be known by, besides its queue: each of these labels, with this value.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub worker_labels: Labels,
    /// How many slots of its worker it takes; at least one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub worker_slots: u32,
    /// Its weight among those that wait.
    #[serde(default = "one_signed")]
    pub priority_weight: i64,
    /// Whose weights are added to it.
    #[serde(default)]
    pub weight_rule: WeightRule,
    /// Waits for the same task of the run before to have succeeded.
    #[serde(default)]
    pub depends_on_past: bool,
    /// Waits also for the tasks directly after that one; implies `depends_on_past`.
    #[serde(default)]
    pub wait_for_downstream: bool,
    /// With `depends_on_past`: a task that no run had before may begin.
    #[serde(default = "yes")]
    pub ignore_first_depends_on_past: bool,
    /// So many of its instances may be active at once, over all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dag: Option<u32>,
    /// So many of its instances may be active at once in one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dagrun: Option<u32>,
    /// It exists once for each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<Mapping>,
    /// Jinja for the name of each copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index_template: Option<String>,
    /// Whether its result is kept (Airflow's `do_xcom_push`).
    #[serde(default = "yes")]
    pub do_xcom_push: bool,
    /// Its mean duration as its author expects it, for progress before there is a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_duration: Option<SignedDuration>,
    /// What it reads, for display and for lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inlets: Vec<Asset>,
    /// What it makes: its success is an event of each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<Asset>,
    /// Who is told what becomes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertSpec>,
    /// What is called when something becomes of an attempt of it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<Callback>,
    /// The user of the worker's machine that its process becomes; the worker's own where it does not say
    /// (Airflow's `run_as_user`). Only a worker that runs as root can do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// Who answers for it, for display; the DAG's owner where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Markdown for its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
}

fn three() -> u32 {
    3
}
fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(count: &u32) -> bool {
    *count == 1
}
fn one_signed() -> i64 {
    1
}
fn yes() -> bool {
    true
}
fn default_pool() -> PoolName {
    "default_pool".into()
}
fn default_queue() -> QueueName {
    "default".into()
}

impl TaskSpec {
    /// A task with this name that does nothing, and Airflow's defaults.
    pub fn new(task_id: impl Into<TaskId>, operator: impl Into<String>, kind: TaskKind) -> Self {
        Self {
            task_id: task_id.into(),
            group: None,
            operator: operator.into(),
            args: Map::new(),
            params: BTreeMap::new(),
            kind,
            trigger_rule: TriggerRule::default(),
            role: Role::default(),
            retry: RetryPolicy::default(),
            execution_timeout: None,
            max_lost: three(),
            on_lease_loss: OnLeaseLoss::default(),
            pool: default_pool(),
            pool_slots: one(),
            queue: default_queue(),
            worker_labels: Labels::new(),
            worker_slots: one(),
            priority_weight: one_signed(),
            weight_rule: WeightRule::default(),
            depends_on_past: false,
            wait_for_downstream: false,
            ignore_first_depends_on_past: true,
            max_active_tis_per_dag: None,
            max_active_tis_per_dagrun: None,
            map: None,
            map_index_template: None,
            do_xcom_push: true,
            expected_duration: None,
            inlets: Vec::new(),
            outlets: Vec::new(),
            alerts: Vec::new(),
            callbacks: Vec::new(),
            run_as_user: None,
            owner: None,
            doc_md: None,
        }
    }
}

/// What the engine has to do for a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskKind {
    /// Nothing: it succeeds as soon as it may run.
    Empty,
    /// Wait for a time that the engine itself can tell. Holds nothing.
    Wait(WaitRule),
    /// Have a worker run it, in a slot.
    Run,
    /// Have a worker watch for something. Holds no slot; is `deferred` meanwhile.
    Watch,
}

/// A time to wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WaitRule {
    /// So long after the end of the run's data interval; where it has none, after the run was due
    /// (Airflow's `TimeDeltaSensor`).
    AfterInterval(SignedDuration),
    /// So long after the task itself could begin.
    AfterReady(SignedDuration),
    /// This time of the day on which the task begins, in this zone (Airflow's `TimeSensor`).
    TimeOfDay {
        /// The time on the clock.
        time: Time,
        /// An IANA name.
        zone: String,
    },
    /// This time (Airflow's `DateTimeSensor`).
    At(Timestamp),
}

/// What its upstream tasks must have come to before a task runs, as Airflow documents them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// All succeeded.
    #[default]
    AllSuccess,
    /// All failed, or are `upstream_failed`.
    AllFailed,
    /// All are done, in whatever way.
    AllDone,
    /// All are done, none was skipped, and one at least succeeded.
    AllDoneMinOneSuccess,
    /// All are done and, where setups are among them, one of these at least succeeded (what teardowns have).
    AllDoneSetupSuccess,
    /// All were skipped.
    AllSkipped,
    /// One has failed; does not wait for the others.
    OneFailed,
    /// One has succeeded; does not wait for the others.
    OneSuccess,
    /// One has succeeded or failed; does not wait for the others.
    OneDone,
    /// All succeeded or were skipped.
    NoneFailed,
    /// None failed, and one at least succeeded.
    NoneFailedMinOneSuccess,
    /// None was skipped, and all are done.
    NoneSkipped,
    /// No condition at all.
    Always,
}

/// Whether a task prepares or cleans up what others use (Airflow's setup and teardown tasks).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Neither.
    #[default]
    Normal,
    /// Prepares: what lies between it and its teardown runs only where it succeeded.
    Setup,
    /// Cleans up: runs when all before it is done and its setup has succeeded.
    Teardown {
        /// Whether its failure fails the run.
        on_failure_fail_dagrun: bool,
    },
}

/// What a worker does with an attempt when its lease passes, and others are given the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLeaseLoss {
    /// Ends it, so that it is at work only once.
    #[default]
    End,
    /// Lets it go on. What it comes to is not taken any more, unless nobody else was given it.
    Continue,
}

impl OnLeaseLoss {
    /// Whether it is ended.
    #[must_use]
    pub fn is_end(&self) -> bool {
        *self == Self::End
    }
}

/// Whose weights make up a task's priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRule {
    /// Its own and those of all tasks after it (Airflow's default).
    #[default]
    Downstream,
    /// Its own and those of all tasks before it.
    Upstream,
    /// Its own.
    Absolute,
}

/// When a failed attempt is followed by another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// How many attempts may follow the first.
    #[serde(default)]
    pub retries: u32,
    /// How long after the failure (Airflow's default: five minutes).
    #[serde(default = "five_minutes")]
    pub delay: SignedDuration,
    /// Each delay is so many times the one before; 0 and 1 leave it as it is (Airflow's
    /// `retry_exponential_backoff`, whose `true` is 2).
    #[serde(default)]
    pub backoff: f64,
    /// No delay is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<SignedDuration>,
    /// Only these exit codes are tried again; all, where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_exit_codes: Vec<i32>,
}

fn five_minutes() -> SignedDuration {
    SignedDuration::from_mins(5)
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 0, delay: five_minutes(), backoff: 0.0, max_delay: None, on_exit_codes: Vec::new() }
    }
}
