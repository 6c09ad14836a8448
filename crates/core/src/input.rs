//! What comes in to the engine, and what goes out.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AssetEventId, AssetId, AssetUri, AttemptId, DagId, DagKey, DagSpec, DeliveryId, Incarnation, Labels,
    MapIndex, Namespace, PoolName, QueueName, RunId, RunKey, RunState, TaskId, TiKey, WorkerId, XcomValue,
    record::{PoolRow, RunSnapshot},
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time went by; whatever is due now happens.
    Clock,
    /// The clock was set: since the input before it has moved by so much more (or, negative, less) than
    /// the time that has passed. Comes before the first input that has the new time.
    ///
    /// What is due at a time of day follows the clock. Leases are lengths of time: workers count them on
    /// clocks that are never set, and must not lose their tasks because the server's clock was.
    ClockSet {
        /// By how much.
        by: SignedDuration,
    },
    /// Somebody wants something.
    Command {
        /// Comes back with the reply.
        id: u64,
        /// The account.
        by: Arc<str>,
        /// What.
        command: Command,
    },
    /// A worker says something.
    Worker {
        /// Which.
        worker: WorkerId,
        /// In which of its lives.
        incarnation: Incarnation,
        /// What.
        event: WorkerEvent,
    },
    /// A run that the engine no longer had in mind, since a command to come is about it.
    Loaded {
        /// The version the run is on.
        version: crate::record::DagVersionRow,
        /// The run.
        run: Box<RunSnapshot>,
    },
    /// An event of an asset that was told before under the key of a command to come.
    AssetEventKnown {
        /// The asset.
        asset: AssetId,
        /// The key.
        key: String,
        /// The event.
        event: AssetEventId,
    },
    /// The answer to a [`Want`].
    Past {
        /// The run that was asked for.
        of: RunKey,
        /// The one before it, with its version, where there is one; its rows only where the engine does not
        /// have it in mind.
        found: Option<Box<(crate::record::DagVersionRow, RunSnapshot)>>,
    },
}

/// A run that has to be looked up: the last one of a DAG before a date, for tasks that depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// For which run.
    pub before: RunKey,
    /// Of which DAG.
    pub dag: DagKey,
    /// The one before has an earlier logical date than this.
    pub logical_date: Timestamp,
    /// Only runs of the schedule count (as Airflow has it for DAGs with catch-up).
    pub only_scheduled: bool,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerEvent {
    /// It is there, new or again. From then on it takes orders again when it is told [`ToWorker::Joined`]:
    /// one that was on its way before is for what the engine knew then.
    Joined {
        /// Which time this is, in this life of it.
        join: u64,
        /// What it offers.
        #[serde(flatten)]
        offer: Offer,
        /// The only namespace that it works for, by the token that it shows; all where none is named. Not its to say.
        #[serde(skip)]
        namespace: Option<Namespace>,
        /// The attempts it has, running or over and not yet acknowledged.
        held: Vec<AttemptId>,
    },
    /// It is still there.
    Heartbeat,
    /// It takes nothing new and goes when what it has is over.
    Draining,
    /// Its connection is gone, as its server sees: it is given nothing until it joins again. What it has, it may go on
    /// with until its lease ends.
    Away,
    /// It goes, and has nothing.
    Left,
    /// Something about an attempt.
    Report {
        /// Which attempt.
        attempt: AttemptId,
        /// When, by the worker's clock.
        at: Timestamp,
        /// What.
        report: Report,
    },
}

/// What a worker offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// How many slots it has: how many attempts it runs at once, unless a task takes several.
    pub slots: u32,
    /// The queues it serves.
    pub queues: Vec<QueueName>,
    /// What else it is known by, for tasks that name it: `gpu: a100`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// It takes nothing of it: it only ends what it has, and goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// What a worker says about an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// What this copy of a mapped task is called (Airflow's `rendered_map_index`): told before it begins.
    Named(String),
    /// It began.
    Started,
    /// It waits for a time, and the worker has forgotten it. The wait's end is the attempt's success.
    Deferred {
        /// The time.
        until: Timestamp,
    },
    /// It is over.
    Ended(Box<Outcome>),
}

/// How an attempt ended and what it left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How.
    pub end: AttemptEnd,
    /// The process's exit code, where there was a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why, in a sentence, where it is not a plain success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Values for others, by name; the result is `return_value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xcoms: Vec<(String, XcomValue)>,
    /// How many values the result has, where it is a list or an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_length: Option<u32>,
    /// Which tasks after this one go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    /// Its arguments as rendered, a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<Value>,
}

impl Outcome {
    /// This end, and nothing left.
    pub fn new(end: AttemptEnd) -> Self {
        Self {
            end,
            exit_code: None,
            message: None,
            xcoms: Vec::new(),
            result_length: None,
            branch: None,
            rendered: None,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// Done.
    Success,
    /// It says that it should be passed over (exit code 99, Airflow's `AirflowSkipException`).
    Skipped,
    /// Failed; another try may follow.
    Failed,
    /// Failed, and another try would be no use (Airflow's `AirflowFailException`).
    FailedForGood,
    /// A sensor wants to look again at this time, holding nothing until then.
    Rescheduled(Timestamp),
    /// It was ended, as asked.
    Cancelled,
    /// The worker found that an earlier life of it had begun this attempt and that it can't be taken over.
    Lost,
}

/// Which tasks after a branching one go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// Of those directly after it, only these and what comes after these; a task group's name stands for the
    /// tasks with which it begins (Airflow's branch operators).
    Follow(Vec<TaskId>),
    /// None of those directly after it (`ShortCircuitOperator` minding trigger rules).
    SkipDownstream,
    /// None of all those after it, near or far (`ShortCircuitOperator`); of one copy's choice, only those
    /// directly after it.
    SkipAllDownstream,
}

/// What somebody wants. The engine decides, and the decision is in the store before it is answered.
#[derive(Clone, Debug)]
pub enum Command {
    /// A DAG was read.
    PutDag {
        /// The DAG.
        spec: Arc<DagSpec>,
        /// SHA-256 of the spec as JSON, in hexadecimal.
        hash: String,
        /// Where it came from.
        source: String,
        /// Whether it begins paused, where it does not say itself.
        paused: bool,
    },
    /// A DAG's source is gone.
    RetireDag(DagKey),
    /// A DAG and all its history go.
    DeleteDag(DagKey),
    /// No new runs and attempts of this DAG, or again.
    PauseDag {
        /// Which.
        dag: DagKey,
        /// Paused or not.
        paused: bool,
    },
    /// Nothing new begins anywhere, or again: no runs by schedules, no attempts.
    PauseAll {
        /// Paused or not.
        paused: bool,
    },
    /// A run, now or at a time.
    Trigger(Trigger),
    /// A run and all that is its goes.
    DeleteRun(RunKey),
    /// A run is declared over; what still runs of it is ended.
    MarkRun {
        /// Which.
        run: RunKey,
        /// What it is from now on: `queued` starts it anew with what is not finished.
        state: RunState,
    },
    /// Task instances begin anew.
    Clear(Clear),
    /// Task instances are declared over; what still runs of them is ended.
    Mark {
        /// Which.
        tis: Vec<TiKey>,
        /// What they are from now on.
        state: crate::End,
    },
    /// A running task instance is stopped for now.
    Pause(TiKey),
    /// A paused task instance goes on.
    Continue(TiKey),
    /// A running task instance is ended; it counts as failed and is not tried again.
    Stop(TiKey),
    /// A value is left in a task instance's name, in place of one that is there under the same key.
    PutXcom {
        /// In whose.
        ti: TiKey,
        /// Under what key.
        key: String,
        /// The value, or where it is.
        value: XcomValue,
    },
    /// A value that a task instance left goes.
    DeleteXcom {
        /// Whose.
        ti: TiKey,
        /// Under what key.
        key: String,
    },
    /// Somebody wants to see that alerts come: each way by which a DAG's or a task's go is taken once.
    TestAlerts {
        /// Of which DAG.
        dag: DagKey,
        /// Only of this task of it; of the DAG and all its tasks, where none is named.
        task: Option<TaskId>,
    },
    /// Somebody tells that something happened to an asset.
    PutAssetEvent(PutAssetEvent),
    /// What happened to assets so far makes no run of these DAGs any more, unless it has.
    DropQueuedEvents {
        /// In this namespace.
        namespace: Namespace,
        /// Of this DAG; of all, where none is named.
        dag: Option<DagId>,
        /// Only events of this asset.
        asset: Option<AssetId>,
        /// Only events before this.
        before: Option<Timestamp>,
    },
    /// A pool is made or changed.
    PutPool(PoolRow),
    /// A pool goes.
    DeletePool(Namespace, PoolName),
}

/// A run that somebody wants.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Of which DAG.
    pub dag: DagKey,
    /// Its name; made from its type and date where none is given.
    pub run_id: Option<RunId>,
    /// Airflow's `logical_date`.
    pub logical_date: Option<Timestamp>,
    /// The interval of data it is about; what the schedule says, where none is given.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// It does not begin before this; now, where nothing is given.
    pub run_after: Option<Timestamp>,
    /// Its parameters.
    pub conf: Arc<Value>,
    /// Only these tasks; all, where none are named.
    pub tasks: Vec<TaskId>,
    /// What makes it.
    pub run_type: crate::record::RunType,
    /// Airflow's `triggered_by`.
    pub triggered_by: &'static str,
}

/// Something that happened to an asset.
#[derive(Clone, Debug)]
pub struct PutAssetEvent {
    /// In this namespace.
    pub namespace: Namespace,
    /// Which.
    pub asset: WhichAsset,
    /// What there is to say about it: a JSON object, at most 64 KiB.
    pub extra: Arc<Value>,
    /// Told again under this key, it is the same event.
    pub key: Option<String>,
}

/// An asset, as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichAsset {
    /// By its number.
    Id(AssetId),
    /// By its URI.
    Uri(AssetUri),
}

/// Task instances that are to begin anew.
#[derive(Clone, Debug)]
pub struct Clear {
    /// Of which run.
    pub run: RunKey,
    /// Which tasks, and which copies of them: all copies where none is named. All tasks where none is named.
    pub tasks: Vec<(TaskId, Option<MapIndex>)>,
    /// Also all before them.
    pub upstream: bool,
    /// Also all after them.
    pub downstream: bool,
    /// Of these only what failed (or is `upstream_failed`).
    pub only_failed: bool,
    /// Of these only what runs.
    pub only_running: bool,
    /// A run that is over begins anew too.
    pub reset_run: bool,
    /// It goes on with the DAG as it is now, where it can: what runs stays on the version that it began with.
    pub latest: bool,
    /// Only say which it would be.
    pub dry_run: bool,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Done.
    Done,
    /// This run was made.
    Run(RunKey, RunId),
    /// These task instances were (or would be) concerned.
    Tis(Vec<TiKey>),
    /// The DAG is at this version; whether it is a new one.
    Version(u32, bool),
    /// This is the event; whether it is new.
    AssetEvent(AssetEventId, bool),
    /// So many were concerned.
    Count(u64),
    /// These were put into the outbox.
    Deliveries(Vec<DeliveryId>),
}

/// Why a command was not obeyed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// What it is about is not there.
    #[error("{0}")]
    NotFound(String),
    /// It does not fit with what is there.
    #[error("{0}")]
    Conflict(String),
    /// It makes no sense in itself.
    #[error("{0}")]
    Invalid(String),
}

/// Something to be done, after what led to it is in the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a command.
    Reply {
        /// Its id.
        id: u64,
        /// The answer.
        reply: Result<Reply, CommandError>,
    },
    /// Tell a worker something.
    Send {
        /// Which.
        worker: WorkerId,
        /// In which of its lives: a later one is not told what an earlier one was to know.
        incarnation: Incarnation,
        /// What.
        message: ToWorker,
    },
    /// A row of the outbox waits.
    Deliver(DeliveryId),
}

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// Run this. Told again, it is the same attempt and not another.
    Assign(AttemptId),
    /// End this.
    Cancel(AttemptId),
    /// Stop this for now.
    Pause(AttemptId),
    /// Let this go on.
    Continue(AttemptId),
    /// Its end is in the store, or no longer wanted: forget it.
    Acknowledge(AttemptId),
    /// The engine does not know this worker in this life: join (again).
    Rejoin,
    /// A later life of it has joined: nothing that it says counts any more, and what it runs is to end.
    Outlived,
    /// It has joined for this time, and what the engine gives it from here on goes by what it said then.
    Joined(u64),
}
