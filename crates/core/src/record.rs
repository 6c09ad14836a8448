//! What the store keeps for the engine: one type for each kind of row, the batch in which they are written,
//! and the snapshot from which the engine is rebuilt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AlertChannel, AlertOn, AlertWords, Asset, AssetEvent, AssetEventId, AssetId, DagId, DagKey, DagSpec,
    DeliveryId, Namespace, OnDoubt, Owner, PoolName, Rate, RunId, RunKey, RunState, TaskId, TaskIx, TiKey,
    TiState, TiStateName, WorkerId, schedule::Tick,
};

/// A DAG, whichever version it is at.
#[derive(Clone, Debug, PartialEq)]
pub struct DagRow {
    /// Its key.
    pub key: DagKey,
    /// The version that new runs get.
    pub version: u32,
    /// No new runs and no new attempts while this is set.
    pub is_paused: bool,
    /// Its source is gone; its history stays.
    pub is_stale: bool,
    /// Where it came from: a file's path, `api`.
    pub source: String,
    /// The last tick that was decided, so that none is decided twice.
    pub last_tick: Option<Tick>,
    /// The tick to come.
    pub next_tick: Option<Tick>,
    /// When its last run of what happened to assets was made.
    pub events_run_at: Option<Timestamp>,
    /// Runs that failed in a row, up to now.
    pub consecutive_failures: u32,
}

/// One version of a DAG. Written once.
#[derive(Clone, Debug, PartialEq)]
pub struct DagVersionRow {
    /// The DAG.
    pub key: DagKey,
    /// Counts the DAG's versions from 1.
    pub version: u32,
    /// SHA-256 of the spec as JSON, in hexadecimal; made by whoever read the DAG.
    pub hash: String,
    /// The DAG.
    pub spec: Arc<DagSpec>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// What made a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunType {
    /// A tick of the schedule.
    Scheduled,
    /// A person or a program.
    Manual,
    /// A backfill.
    Backfill,
    /// An event of an asset.
    AssetTriggered,
}

impl RunType {
    /// Its name in the store, the API, and before the two underscores of a run's id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
            Self::AssetTriggered => "asset_triggered",
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Its number.
    pub key: RunKey,
    /// The DAG it is of.
    pub dag: DagKey,
    /// Its name.
    pub run_id: RunId,
    /// The version it began with and stays on.
    pub version: u32,
    /// Where it stands.
    pub state: RunState,
    /// What made it.
    pub run_type: RunType,
    /// Airflow's `triggered_by`: `timetable`, `rest_api`, `cli`, `ui`, `operator`.
    pub triggered_by: String,
    /// The account that asked for it.
    pub triggering_user: Option<String>,
    /// Whom its slots count for.
    pub owner: Owner,
    /// Airflow's `logical_date`; a manual run may have none.
    pub logical_date: Option<Timestamp>,
    /// The interval of data it is about.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// It does not begin before this.
    pub run_after: Timestamp,
    /// What was given for its parameters, checked, defaults filled in where they were asked for.
    pub conf: Arc<Value>,
    /// Only these tasks run; all, where none are named.
    pub selection: Option<Arc<[TaskIx]>>,
    /// When it was made, or made to begin again.
    pub queued_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How often it was cleared.
    pub clear_number: u32,
    /// Deadlines of it up to this time were told, or need not be.
    pub deadlines_told: Option<Timestamp>,
    /// Why it ended as it did, where its tasks alone don't say.
    pub reason: Option<String>,
    /// What somebody marked it as while its teardowns had still to run: its state, once they are over.
    pub marked: Option<RunState>,
}

/// A task instance in its latest try.
#[derive(Clone, Debug, PartialEq)]
pub struct TiRow {
    /// Its key.
    pub key: TiKey,
    /// The task's name.
    pub task_id: TaskId,
    /// Where it stands.
    pub state: TiState,
    /// The latest attempt, from 1; 0 before the first.
    pub try_number: u32,
    /// No retry once `try_number` is above this. Lost attempts and clearing raise it.
    pub max_tries: u32,
    /// How many tries it had had when it was last cleared: those after it are for another piece of work.
    pub tries_before: u32,
    /// Attempts lost in a row.
    pub lost: u32,
    /// The latest hand-out; see [`crate::AttemptId::lease`].
    pub lease: u32,
    /// When it became ready.
    pub scheduled_at: Option<Timestamp>,
    /// When it was handed out.
    pub queued_at: Option<Timestamp>,
    /// When the attempt began.
    pub started_at: Option<Timestamp>,
    /// When the attempt ended.
    pub ended_at: Option<Timestamp>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// How long it was paused before, in this attempt.
    pub paused_for: SignedDuration,
    /// The process's exit code, where there was a process.
    pub exit_code: Option<i32>,
    /// Who had it last.
    pub worker: Option<WorkerId>,
    /// Why it is where it is: an error, what it waits for, what skipped it.
    pub reason: Option<Arc<str>>,
    /// How many values its result has, where it can be mapped over; a copy of a mapped task leaves one.
    pub result_length: Option<u32>,
    /// The tasks it told to be skipped, by branching or by conditions on edges.
    pub skips: Arc<[TaskIx]>,
    /// When the first of the tries before this one began, since it was last cleared.
    pub first_started_at: Option<Timestamp>,
    /// What this copy of a mapped task is called (Airflow's `rendered_map_index`), once an attempt was prepared.
    pub name: Option<Arc<str>>,
}

/// A task instance changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionRow {
    /// Which.
    pub ti: TiKey,
    /// In which attempt.
    pub try_number: u32,
    /// From.
    pub from: TiStateName,
    /// To.
    pub to: TiStateName,
    /// When.
    pub at: Timestamp,
    /// Why, where it needs saying.
    pub reason: Option<Arc<str>>,
}

/// A value that a task instance left for others.
#[derive(Clone, Debug, PartialEq)]
pub struct XcomRow {
    /// Whose.
    pub ti: TiKey,
    /// Under what name; a task's result is `return_value`.
    pub key: String,
    /// The value, or where it is.
    pub value: XcomValue,
    /// When.
    pub at: Timestamp,
}

/// A value, or where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XcomValue {
    /// At most 64 KiB of JSON.
    Inline(Arc<Value>),
    /// JSON in the blob store.
    Blob {
        /// Its path there.
        path: String,
        /// Its size.
        bytes: u64,
    },
}

/// What became of a tick, or of several equal ones in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickRow {
    /// The DAG.
    pub dag: DagKey,
    /// The first one's time.
    pub first: Timestamp,
    /// The last one's time.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// What became of them.
    pub outcome: TickOutcome,
    /// Why.
    pub reason: String,
    /// The run of the last one.
    pub run: Option<RunKey>,
}

/// What became of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickOutcome {
    /// Its run was made when it was due.
    OnTime,
    /// Its run was made later than that.
    Late,
    /// By decision there is no run.
    Skipped,
    /// Nobody was there when it was due, and nothing asks for it now.
    Missed,
}

impl TickOutcome {
    /// Its name in the store and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnTime => "on_time",
            Self::Late => "late",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }
}

/// An asset that DAGs have named.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetRow {
    /// Its number.
    pub id: AssetId,
    /// Its namespace.
    pub namespace: Namespace,
    /// What the last DAG said of it that said anything.
    pub asset: Asset,
    /// When a DAG first named it.
    pub created_at: Timestamp,
}

/// An event that a DAG has not had a run for yet.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedEvent {
    /// The DAG.
    pub dag: DagKey,
    /// The event.
    pub event: Arc<AssetEvent>,
}

/// A pool of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRow {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name there.
    pub name: PoolName,
    /// How many slots; no limit where none is set.
    pub slots: Option<u32>,
    /// How many of its task instances may begin in so long.
    pub rate: Option<Rate>,
    /// When the next may begin at the earliest, where there is a rate. Whoever sets a pool has no say in it.
    pub next_at: Option<Timestamp>,
    /// What it is for.
    pub description: String,
    /// Whether deferred task instances take slots too.
    pub include_deferred: bool,
}

/// Something to be told to somebody: a row of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRow {
    /// Its number.
    pub id: DeliveryId,
    /// The DAG it is about.
    pub dag: DagKey,
    /// The run it is about, where it is about one.
    pub run: Option<RunKey>,
    /// The task instance it is about, where it is about one.
    pub ti: Option<TiKey>,
    /// What it tells of.
    pub on: AlertOn,
    /// By what way it goes out.
    pub channel: AlertChannel,
    /// What it says.
    pub words: AlertWords,
    /// What becomes of it where nobody knows whether it went out.
    pub on_doubt: OnDoubt,
    /// When it was decided.
    pub at: Timestamp,
    /// What a template can say: `dag_id`, `run_id`, `task_id`, `map_index`, `try_number`, `max_tries`,
    /// `state`, `reason`, `exit_code`, and what else it is about.
    pub context: Value,
}

/// Who did what, of the things the engine obeys.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// When.
    pub at: Timestamp,
    /// The account.
    pub user: String,
    /// What: `trigger`, `clear`, `mark`, …
    pub action: String,
    /// The namespace concerned. Without one, it is to be seen in all.
    pub namespace: Option<Namespace>,
    /// The DAG concerned, of that namespace.
    pub dag: Option<DagId>,
    /// The run concerned.
    pub run: Option<RunKey>,
    /// The rest.
    pub detail: Value,
}

/// How long a task took on average, for progress and time left.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskStatsRow {
    /// The DAG.
    pub dag: DagKey,
    /// The task.
    pub task_id: TaskId,
    /// How many successes it is the mean of.
    pub successes: u64,
    /// Their mean, in milliseconds; the last ones weigh more.
    pub mean_ms: f64,
}

/// Everything that one commit writes. Deletions come first, then the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// DAGs to write.
    pub dags: BTreeMap<DagKey, DagRow>,
    /// New versions.
    pub versions: Vec<DagVersionRow>,
    /// Runs to write.
    pub runs: BTreeMap<RunKey, RunRow>,
    /// Task instances to write.
    pub tis: BTreeMap<TiKey, TiRow>,
    /// Tries that are over and were followed by another.
    pub history: Vec<TiRow>,
    /// Changes of state, in their order.
    pub transitions: Vec<TransitionRow>,
    /// Results and other values; the last of a key counts.
    pub xcoms: Vec<XcomRow>,
    /// Rendered arguments of an attempt, JSON objects.
    pub rendered: BTreeMap<TiKey, Value>,
    /// Ranges of ticks to write, by DAG and first tick.
    pub ticks: BTreeMap<(DagKey, Timestamp), TickRow>,
    /// Whether nothing new begins anywhere, where that has changed.
    pub paused: Option<bool>,
    /// Pools to write.
    pub pools: BTreeMap<(Namespace, PoolName), PoolRow>,
    /// New rows of the outbox.
    pub deliveries: Vec<DeliveryRow>,
    /// Assets to write.
    pub assets: BTreeMap<AssetId, AssetRow>,
    /// What happened to assets.
    pub asset_events: Vec<Arc<AssetEvent>>,
    /// Events that a DAG's runs are made of: of which run, where there is one yet.
    pub queued_events: BTreeMap<(DagKey, AssetEventId), Option<RunKey>>,
    /// Events that a DAG will have no run for.
    pub dropped_events: BTreeSet<(DagKey, AssetEventId)>,
    /// Who did what.
    pub audit: Vec<AuditRow>,
    /// Mean durations to write.
    pub stats: BTreeMap<(DagKey, TaskId), TaskStatsRow>,
    /// Task instances whose values of earlier tries go.
    pub cleared_xcoms: BTreeSet<TiKey>,
    /// Single values that go.
    pub deleted_xcoms: BTreeSet<(TiKey, String)>,
    /// Task instances that go, with all that is theirs: those that stood for copies yet to be made.
    pub deleted_tis: BTreeSet<TiKey>,
    /// Runs that go, with all that is theirs.
    pub deleted_runs: BTreeSet<RunKey>,
    /// DAGs that go, with all that is theirs.
    pub deleted_dags: BTreeSet<DagKey>,
    /// Pools that go.
    pub deleted_pools: BTreeSet<(Namespace, PoolName)>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A run with its task instances, as the store has them.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSnapshot {
    /// The run.
    pub run: RunRow,
    /// Its task instances.
    pub tis: Vec<TiRow>,
    /// What happened to assets, that it was made for.
    pub asset_events: Vec<Arc<AssetEvent>>,
}

/// Everything the engine has to know to go on where another left off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// All DAGs.
    pub dags: Vec<DagRow>,
    /// The versions that are current, or that a run below is on.
    pub versions: Vec<DagVersionRow>,
    /// The runs that are not over. What one of them depends on that is, the engine asks for.
    pub runs: Vec<RunSnapshot>,
    /// All pools.
    pub pools: Vec<PoolRow>,
    /// The last range of ticks of each DAG.
    pub ticks: Vec<TickRow>,
    /// Mean durations.
    pub stats: Vec<TaskStatsRow>,
    /// All assets.
    pub assets: Vec<AssetRow>,
    /// Events that DAGs have not had a run for yet.
    pub queued_events: Vec<QueuedEvent>,
    /// The highest number any event of an asset ever had; 0 before the first.
    pub last_asset_event: i64,
    /// The highest number any run ever had; 0 before the first.
    pub last_run: i64,
    /// The highest number any delivery ever had; 0 before the first.
    pub last_delivery: i64,
    /// Nothing new begins anywhere.
    pub paused: bool,
}
