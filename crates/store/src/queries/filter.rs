//! What a list is asked for.

use jiff::{SignedDuration, Timestamp};
use updraft_core::{
    DagId, DagKey, DeliveryId, MapIndex, Namespace, Owner, PoolName, QueueName, RunKey, RunState, TaskId,
    TiKey, TiStateName, record::RunType,
};

use super::DeliveryState;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many rows are passed over.
    pub offset: u64,
    /// So many are given at most.
    pub limit: u64,
    /// The total is counted up to here and no further: a page that only says "more than 10,000" needn't
    /// count a million.
    pub count_to: u64,
}

impl Default for Window {
    /// Airflow's: the first fifty, all counted.
    fn default() -> Self {
        Self { offset: 0, limit: 50, count_to: u64::MAX }
    }
}

impl Window {
    /// Everything there is.
    pub const ALL: Self = Self { offset: 0, limit: u64::MAX, count_to: u64::MAX };
}

/// A field to order by, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<F> {
    /// The field.
    pub by: F,
    /// The largest first.
    pub descending: bool,
}

/// Names to keep. What is empty keeps all; where several are set, a name has to meet each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFilter {
    /// Exactly one of these.
    pub exactly: Vec<String>,
    /// Contains one of these, ASCII letters in either case. `%` stands for any text and `_` for any letter
    /// (Airflow's `_pattern` parameters, whose `|` parts the texts).
    pub contains: Vec<String>,
    /// Begins with one of these, letter for letter (Airflow's `_prefix_pattern` parameters).
    pub begins: Vec<String>,
}

impl TextFilter {
    /// Exactly this.
    pub fn exactly(name: impl Into<String>) -> Self {
        Self { exactly: vec![name.into()], ..Self::default() }
    }
}

/// Airflow's `_gte`, `_gt`, `_lte`, `_lt`. What is absent (a run that has not begun has no start) is in no
/// bounds but the empty ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    /// At least.
    pub gte: Option<T>,
    /// More than.
    pub gt: Option<T>,
    /// At most.
    pub lte: Option<T>,
    /// Less than.
    pub lt: Option<T>,
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Self { gte: None, gt: None, lte: None, lt: None }
    }
}

/// Which DAGs.
#[derive(Clone, Debug, Default)]
pub struct DagQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// With such a name.
    pub dag_id: TextFilter,
    /// With such a name for display; a DAG without one is shown by its name.
    pub display_name: TextFilter,
    /// With one of these tags, or with all of them.
    pub tags: Vec<String>,
    /// With all of the tags.
    pub all_tags: bool,
    /// Of one of these owners.
    pub owners: Vec<Owner>,
    /// Paused, or not.
    pub paused: Option<bool>,
    /// Stale, or not.
    pub stale: Option<bool>,
    /// Whose source has an import error, or none.
    pub has_import_error: Option<bool>,
    /// Whose latest run is in one of these states.
    pub last_run_state: Vec<RunState>,
    /// In this order; by name where nothing is said.
    pub order: Vec<Order<DagField>>,
    /// This part of them.
    pub window: Window,
}

/// By what DAGs can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DagField {
    /// The name.
    DagId,
    /// The name for display.
    DisplayName,
    /// Whether it is paused.
    Paused,
    /// When the next run is due.
    NextRunAfter,
    /// The latest run's state.
    LastRunState,
    /// When the latest run was due.
    LastRunAfter,
    /// When the latest run began.
    LastRunStartedAt,
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// Of one of these DAGs; of all where none is named.
    pub dags: Vec<DagId>,
    /// Of DAGs with such a name.
    pub dag_id: TextFilter,
    /// With such a name.
    pub run_id: TextFilter,
    /// In one of these states.
    pub states: Vec<RunState>,
    /// Made by one of these.
    pub run_types: Vec<RunType>,
    /// Asked for by such an account.
    pub triggering_user: TextFilter,
    /// On one of these versions.
    pub versions: Vec<u32>,
    /// Whose parameters, as JSON, contain this text.
    pub conf_contains: Option<String>,
    /// Logical date.
    pub logical_date: Bounds<Timestamp>,
    /// When it was due.
    pub run_after: Bounds<Timestamp>,
    /// When it began.
    pub started_at: Bounds<Timestamp>,
    /// When it ended.
    pub ended_at: Bounds<Timestamp>,
    /// From beginning to end.
    pub duration: Bounds<SignedDuration>,
    /// In this order; by number where nothing is said.
    pub order: Vec<Order<RunField>>,
    /// This part of them.
    pub window: Window,
}

impl RunQuery {
    /// The run of a DAG with this logical date: there is one at most.
    pub fn dated(dag: &DagKey, date: Timestamp) -> Self {
        Self {
            namespace: dag.namespace.clone(),
            dags: vec![dag.dag_id.clone()],
            logical_date: Bounds { gte: Some(date), lte: Some(date), ..Bounds::default() },
            window: Window { limit: 1, count_to: 1, ..Window::default() },
            ..Self::default()
        }
    }
}

/// By what runs can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunField {
    /// The number: the order in which they were made.
    Key,
    /// The DAG's name.
    DagId,
    /// The name.
    RunId,
    /// The state's name.
    State,
    /// The type's name.
    RunType,
    /// Logical date.
    LogicalDate,
    /// Where the data interval begins.
    DataIntervalStart,
    /// Where the data interval ends.
    DataIntervalEnd,
    /// When it was due.
    RunAfter,
    /// When it was made.
    QueuedAt,
    /// When it began.
    StartedAt,
    /// When it ended.
    EndedAt,
    /// From beginning to end.
    Duration,
    /// The account that asked for it.
    TriggeringUser,
    /// The parameters as JSON.
    Conf,
}

/// Which task instances.
#[derive(Clone, Debug, Default)]
pub struct TiQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// Of one of these DAGs; of all where none is named.
    pub dags: Vec<DagId>,
    /// Of DAGs with such a name.
    pub dag_id: TextFilter,
    /// Of one of these runs; of all where none is named.
    pub runs: Vec<RunKey>,
    /// Of runs with such a name.
    pub run_id: TextFilter,
    /// Of tasks with such a name.
    pub task_id: TextFilter,
    /// In one of these states.
    pub states: Vec<TiStateName>,
    /// Of tasks in such a pool.
    pub pool: TextFilter,
    /// Of tasks in such a queue.
    pub queue: TextFilter,
    /// Of tasks with such an operator.
    pub operator: TextFilter,
    /// One of these copies.
    pub map_indexes: Vec<MapIndex>,
    /// In one of these tries.
    pub try_numbers: Vec<u32>,
    /// Of runs on one of these versions.
    pub versions: Vec<u32>,
    /// The run's logical date.
    pub logical_date: Bounds<Timestamp>,
    /// When the run was due.
    pub run_after: Bounds<Timestamp>,
    /// When the attempt began.
    pub started_at: Bounds<Timestamp>,
    /// When the attempt ended.
    pub ended_at: Bounds<Timestamp>,
    /// From beginning to end.
    pub duration: Bounds<SignedDuration>,
    /// In this order; by run, task and copy where nothing is said.
    pub order: Vec<Order<TiField>>,
    /// This part of them.
    pub window: Window,
}

/// By what task instances can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TiField {
    /// The run's number.
    Run,
    /// The DAG's name.
    DagId,
    /// The run's name.
    RunId,
    /// The task's name.
    TaskId,
    /// The copy.
    MapIndex,
    /// The state's name.
    State,
    /// The latest try.
    TryNumber,
    /// The operator's class name.
    Operator,
    /// The pool.
    Pool,
    /// The queue.
    Queue,
    /// The run's logical date.
    LogicalDate,
    /// When the run was due.
    RunAfter,
    /// When it was handed out.
    QueuedAt,
    /// When the attempt began.
    StartedAt,
    /// When the attempt ended.
    EndedAt,
    /// From beginning to end.
    Duration,
}

/// Which XComs.
#[derive(Clone, Debug, Default)]
pub struct XcomQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// Of DAGs with such a name.
    pub dag_id: TextFilter,
    /// Of this run.
    pub run: Option<RunKey>,
    /// Of runs with such a name.
    pub run_id: TextFilter,
    /// Of tasks with such a name.
    pub task_id: TextFilter,
    /// Of one of these copies.
    pub map_indexes: Vec<MapIndex>,
    /// Under such a key.
    pub key: TextFilter,
    /// The run's logical date.
    pub logical_date: Bounds<Timestamp>,
    /// When the run was due.
    pub run_after: Bounds<Timestamp>,
    /// Whether the values are wanted, too.
    pub with_values: bool,
    /// This part of them.
    pub window: Window,
}

/// Which rows of the outbox.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// This one.
    pub id: Option<DeliveryId>,
    /// Those that this one tells of, itself among them.
    pub digest: Option<DeliveryId>,
    /// About this DAG.
    pub dag: Option<DagKey>,
    /// About this run.
    pub run: Option<RunKey>,
    /// About this task instance.
    pub ti: Option<TiKey>,
    /// In one of these states.
    pub states: Vec<DeliveryState>,
    /// This part of them.
    pub window: Window,
}

/// Which entries of the audit log.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of this namespace, or about what belongs to none, as accounts do.
    pub namespace: Namespace,
    /// This one.
    pub id: Option<i64>,
    /// About a DAG with such a name.
    pub dag_id: TextFilter,
    /// About this run.
    pub run: Option<RunKey>,
    /// By such an account.
    pub user: TextFilter,
    /// One of these actions; all where none is named.
    pub action: TextFilter,
    /// None of these actions.
    pub excluded: Vec<String>,
    /// When.
    pub at: Bounds<Timestamp>,
    /// The latest first.
    pub latest_first: bool,
    /// This part of them.
    pub window: Window,
}

/// Names that stand in `pool`, `queue` and the like as exact filters.
macro_rules! exact_filters {
    ($($name:ident),*) => {$(
        impl From<&$name> for TextFilter {
            fn from(name: &$name) -> Self {
                Self::exactly(&**name)
            }
        }
    )*};
}

exact_filters!(DagId, TaskId, PoolName, QueueName, Owner);
