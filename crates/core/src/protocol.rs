//! What servers and workers say to each other. Control goes over one WebSocket as JSON, one message a
//! frame; what can be large (logs that are not short, values, XComs) goes over HTTP beside it.

mod pieces;
mod shown;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    pieces::{Piece, Pieces, TooLong},
    shown::{RunFound, RunShown, TaskShown},
};
use crate::{
    Asset, AssetEvent, AttemptId, Callback, CallbackOn, DagId, DeliveryId, GroupId, Incarnation, MapIndex,
    Namespace, RunId, RunState, TaskId, TiStateName, WorkerId,
    input::{Offer, Outcome, WorkerEvent},
    record::RunType,
    retry::is_tried_again,
};

/// The version of this protocol. A server refuses a worker that speaks another, and says so.
pub const VERSION: u32 = 1;

/// A message with a list that is longer than this, in bytes, is cut into several, and one that is so by itself into
/// pieces.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Longer messages, in bytes, are not taken: more than a DAG file may have, of which one task's arguments may
/// be almost all.
pub const LONGEST_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// The first message on a connection.
    Hello {
        /// [`VERSION`].
        protocol: u32,
        /// The name it joins under.
        worker: WorkerId,
        /// Which of its lives this is: the time it began, in microseconds since 1970.
        incarnation: Incarnation,
        /// The program's version, for people.
        version: String,
        /// The machine's name, for people.
        hostname: String,
        /// Its process id, for people.
        pid: u32,
        /// Whether it knows of [`FromServer::Call`]: a keeper may be older than its server.
        #[serde(default)]
        calls: bool,
        /// Whether it knows of [`FromServer::Drain`] and its like.
        #[serde(default)]
        drains: bool,
        /// Whether it knows of [`FromServer::Piece`].
        #[serde(default)]
        pieces: bool,
    },
    /// What the engine has to know. Several at once, in their order.
    Events(Vec<WorkerEvent>),
    /// The same, behind the ends of logs, so that these are there when it is known that the attempts have ended.
    Ended {
        /// Of attempts whose ends are among the events.
        logs: Vec<LogEnd>,
        /// See [`FromWorker::Events`].
        events: Vec<WorkerEvent>,
    },
    /// What became of a [`Call`].
    Called {
        /// Which.
        id: DeliveryId,
        /// What became of it.
        outcome: CallOutcome,
    },
    /// A part of a longer message, for who knows of that.
    Piece(Piece),
}

/// More of a log, in bytes, is sent by HTTP. It is little enough for no heartbeat to wait behind it.
pub const LOG_END_BYTES: usize = 8 * 1024;

/// The end of an attempt's log, where it is short: that of most scripts is all they have written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Where it belongs, in bytes; nothing was sent before where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The end, in whole lines.
    pub text: String,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromServer {
    /// The answer to `Hello`.
    Welcome {
        /// For how long a worker that says nothing is believed to be there.
        lease_ms: u64,
        /// What the worker is to offer, where that is the server's to say: it is for the keeper, which
        /// outlives servers and their settings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<Offer>,
        /// Whether it knows of [`FromWorker::Piece`]: a worker may be newer than its server.
        #[serde(default)]
        pieces: bool,
    },
    /// The worker can't be taken; why, and what to do.
    Refused(String),
    /// Join (again).
    Rejoin,
    /// The worker has joined for this time. Orders that come before this, after it said that it is there,
    /// are not begun: those of them that still hold follow it.
    Joined(u64),
    /// Run these. What is held already is not begun again.
    Assign(Vec<Arc<Order>>),
    /// End these.
    Cancel(Vec<AttemptId>),
    /// Stop these for now.
    Pause(Vec<AttemptId>),
    /// Let these go on.
    Continue(Vec<AttemptId>),
    /// The ends of these are in the store, or no longer wanted: forget them.
    Acknowledge(Vec<AttemptId>),
    /// Call a function. One that is being called already, or was, is not called again: what becomes of it is told.
    Call(Box<Call>),
    /// What became of this call is in the store: forget it.
    Forget(DeliveryId),
    /// Take nothing more, and stay.
    Drain,
    /// Take work again.
    Resume,
    /// Take nothing more, and go when what is there is over.
    Finish,
    /// Still there.
    Heartbeat,
    /// A part of a longer message, for who knows of that.
    Piece(Piece),
}

/// A function of a DAG's author that a worker is to call about a run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The row of the outbox that it comes from.
    pub id: DeliveryId,
    /// The function.
    pub callback: Callback,
    /// The run, and the task instance that is shown with it: of a run that failed one that failed. Its attempt is over
    /// and held by nobody: [`AttemptId::of_call`].
    pub order: Arc<Order>,
    /// The state of that task instance.
    pub ti_state: TiStateName,
    /// When its last attempt began.
    pub ti_started_at: Option<Timestamp>,
    /// When it ended.
    pub ti_ended_at: Option<Timestamp>,
    /// How the run ended.
    pub run_state: RunState,
    /// When it ended.
    pub run_ended_at: Timestamp,
    /// Why: see [`crate::callback_reason`].
    pub reason: String,
}

/// What became of a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// The function was called and went well.
    Done,
    /// It was called and failed, or took too long.
    Failed(String),
    /// It was not called; it may be another time.
    NotCalled(String),
    /// It was ended in its midst.
    Broken(String),
}

/// One attempt as a worker is given it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Whether it only watches, and takes no slot.
    pub watch: bool,
    /// The operator's class name.
    pub operator: String,
    /// Its arguments, templates unrendered. Those of a mapped task's copy are among them.
    pub args: Map<String, Value>,
    /// The task.
    pub task: OrderTask,
    /// The run.
    pub run: Arc<OrderRun>,
}

/// The task of an [`Order`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderTask {
    /// Its name.
    pub task_id: TaskId,
    /// Airflow's `max_tries`.
    pub max_tries: u32,
    /// How many tries it had had when it was last cleared.
    #[serde(default)]
    pub tries_before: u32,
    /// Only these exit codes are tried again; all, where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_on_exit_codes: Vec<i32>,
    /// The attempt fails when it takes longer; paused time does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<SignedDuration>,
    /// Whether its result is kept.
    pub do_xcom_push: bool,
    /// Tasks whose results it gets as arguments, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<TaskId>,
    /// What it is mapped over, where results of other tasks have to be looked up for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<crate::Mapping>,
    /// How many values the results have that it is mapped over, so that it can ask for those alone that it takes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub result_lengths: BTreeMap<TaskId, usize>,
    /// The tasks directly before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<TaskId>,
    /// The tasks directly after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub downstream: Vec<TaskId>,
    /// A template of what this copy of a mapped task is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index_template: Option<String>,
    /// Where nobody knows how an attempt ended, no other follows (`max_lost: 0`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold_doubts: bool,
    /// It goes on where the worker's lease passes (`on_lease_loss: continue`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outlives_lease: bool,
    /// When its first attempt began, since it was last cleared: a sensor's timeout counts from here over its
    /// looks and tries, as Airflow has it for sensors that reschedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_started_at: Option<Timestamp>,
    /// The user of the worker's machine that its process becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// What of it is only to be seen.
    #[serde(default, skip_serializing_if = "TaskShown::is_plain")]
    pub shown: TaskShown,
    /// Parameters of its own, over those of the run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// What is called when something becomes of the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<Callback>,
}

impl Order {
    /// Whether anything is called on this.
    pub fn calls(&self, on: CallbackOn) -> bool {
        self.task.callbacks.iter().any(|callback| callback.on == on)
    }

    /// What the attempt's end calls: by the rule by which the engine decides whether another try follows.
    pub fn called_after(&self, outcome: &Outcome) -> Option<CallbackOn> {
        let tries = (self.attempt.try_number, self.task.max_tries);
        let again = is_tried_again(&outcome.end, outcome.exit_code, tries, &self.task.retry_on_exit_codes);
        CallbackOn::after(&outcome.end, again)
    }

    /// The parameters that the task sees, by their names.
    pub fn params(&self) -> BTreeMap<&str, &Value> {
        self.run.params.iter().chain(&self.task.params).map(|(name, value)| (&**name, value)).collect()
    }
}

/// The run of an [`Order`]; shared between its orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderRun {
    /// The namespace.
    pub namespace: Namespace,
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// What made it.
    pub run_type: RunType,
    /// Airflow's `logical_date`.
    pub logical_date: Option<Timestamp>,
    /// The interval of data it is about.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// When it was due.
    pub run_after: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// What happened to assets, that it was made for; of very many the latest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asset_events: Vec<Arc<AssetEvent>>,
    /// What the DAG says of the assets that it waits for, where something happened to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<Asset>,
    /// What was given with it.
    pub conf: Arc<Value>,
    /// The DAG's parameters, those of the run in place of the defaults.
    pub params: BTreeMap<String, Value>,
    /// The DAG's options for templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, Value>,
    /// The DAG's version.
    pub version: u32,
    /// The DAG's zone, an IANA name.
    pub timezone: String,
    /// Where the DAG came from; relative paths in it start at this file's folder. Of a bundle the file's place in that.
    pub source: String,
    /// The bundle that it was deployed with, which the worker has to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<OrderBundle>,
    /// The DAG's tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What of it and its DAG is only to be seen.
    #[serde(default)]
    pub shown: RunShown,
}

/// A bundle that a run's DAG was deployed with: `GET /worker/v1/bundles/{hash}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBundle {
    /// The hash that its archive is known by.
    pub hash: String,
    /// Where the programs are that its `requirements.txt` asks for; whoever has it on a disk notes it here.
    #[serde(skip)]
    pub environment: Option<PathBuf>,
}

/// Asks for a value of another task instance: `POST /worker/v1/xcom`, answered with
/// `{"values": [{"map_index": -1, "value": …}]}`, ordered by copy, empty where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XcomQuery {
    /// Who asks.
    pub attempt: AttemptId,
    /// Of which DAG; its own where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_id: Option<DagId>,
    /// Of which run; its own where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Of which task.
    pub task_id: TaskId,
    /// Of which copy; of all, where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index: Option<MapIndex>,
    /// Under what name.
    pub key: String,
    /// Of a list, or an object's pairs of key and value, only the one at this place: a copy of a mapped task wants no
    /// more of a long result. Of what the copies of a mapped task left, only the one at this place among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
}

/// One value of the answer to an [`XcomQuery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XcomFound {
    /// Which copy left it.
    pub map_index: MapIndex,
    /// The value.
    pub value: Value,
    /// Whether the value is the item that was asked for, and not all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_item: bool,
}

/// Asks for a run of another DAG, or of the same: `POST /worker/v1/runs`, answered with a [`RunGiven`]. Asked
/// again by the same task instance, since the answer or the attempt was lost, no second run is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunWanted {
    /// Who asks.
    pub attempt: AttemptId,
    /// Of which DAG.
    pub dag_id: DagId,
    /// Its name; made from the time where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Airflow's `logical_date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// It does not begin before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_after: Option<Timestamp>,
    /// Its parameters.
    pub conf: Map<String, Value>,
    /// A run that is there already begins anew.
    pub reset: bool,
    /// Not where the DAG is paused.
    pub unless_paused: bool,
    /// What is noted on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer to a [`RunWanted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunGiven {
    /// This run was made, or has begun anew, for the one that asks.
    Made(RunId),
    /// There is such a run already.
    Exists(RunId),
    /// There can be none; why, and the mend.
    Refused(String),
}

/// Asks how runs or task instances of a DAG are: `POST /worker/v1/states`, answered with [`States`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatesWanted {
    /// Who asks.
    pub attempt: AttemptId,
    /// Of which DAG.
    pub dag_id: DagId,
    /// Of which of its runs.
    pub run: WhichRun,
    /// Of these tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskId>,
    /// Of all tasks in this group, near and far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
}

/// A run, as a [`StatesWanted`] names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichRun {
    /// By its name.
    Named(RunId),
    /// By its logical date.
    Dated(Timestamp),
}

/// The answer to a [`StatesWanted`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// What of it does not exist: a DAG, a task, a group; in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The run's state, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunState>,
    /// Of each task the states of its copies; none where the run has none of it (yet).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<TaskId, Vec<TiStateName>>,
}

/// Until when a run is its DAG's latest: `GET /worker/v1/next-interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextInterval {
    /// Where the data interval after that of the asker's run ends: then the next run begins.
    pub end: Timestamp,
}

/// A connection as a worker gets it: `GET /worker/v1/connections/{conn_id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Its name.
    pub conn_id: String,
    /// Airflow's `conn_type`: `http`, `postgres`, `smtp`, …
    pub conn_type: String,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The database, or whatever the type calls so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The password; masked wherever it would show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// More, as the type has it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Where the log of a try is, below the folder or the bucket of logs: by DAG and run as Airflow lays them out,
/// so that people find their way, and all of a run in one folder. (Airflow has a folder for each task besides;
/// of short tasks these were half of what was made on the disk.) What could lead out of its
/// folder is escaped, and a name that is too long for a file is cut into folders.
pub fn log_path(
    (namespace, dag_id, run_id): (&Namespace, &DagId, &RunId),
    task_id: &TaskId,
    map_index: MapIndex,
    try_number: u32,
) -> String {
    let map = match map_index {
        MapIndex::NONE => String::new(),
        MapIndex(index) => format!("map_index={index},"),
    };
    let mut path = log_folder(namespace, dag_id, Some(run_id));
    path.push_str("/task_id=");
    path.push_str(&cut(task_id, "/"));
    path + &format!(",{map}attempt={try_number}.log")
}

/// File systems allow 255 bytes for a name; the rest is for what stands around a part of it.
const LONGEST_PART: usize = 200;

/// Where the log of a [`Call`] is: with those of the run's tasks.
pub fn call_log_path(namespace: &Namespace, dag_id: &DagId, run_id: &RunId, id: DeliveryId) -> String {
    format!("{}/callback={id}.log", log_folder(namespace, dag_id, Some(run_id)))
}

/// Where the logs of a run are, or of all runs of a DAG: see [`log_path`].
pub fn log_folder(namespace: &Namespace, dag_id: &DagId, run_id: Option<&RunId>) -> String {
    // A folder that goes on in another ends with a comma, and so is none that has a shorter name.
    let dag = format!("namespace={}/dag_id={}", cut(namespace, ",/"), cut(dag_id, ",/"));
    match run_id {
        Some(run_id) => format!("{dag}/run_id={}", cut(run_id, ",/")),
        None => dag,
    }
}

/// A name, escaped, as parts of a path with this between them. Escaped, it is ASCII and has no comma or slash of its own.
fn cut(name: &str, between: &str) -> String {
    let escaped = escape(name);
    let parts: Vec<_> = escaped.as_bytes().chunks(LONGEST_PART).map(String::from_utf8_lossy).collect();
    parts.join(between)
}

/// A name as one part of a path: percent-encodes what is not a letter, a digit or one of `-_.~:+@`, and a
/// leading dot.
pub fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-_~:+@".contains(&byte) || (byte == b'.' && at > 0);
        if plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_letters_have_a_folder_of_their_own_that_a_file_system_takes() {
        let folder = |dag: &str, run: &str| log_folder(&Namespace::default(), &dag.into(), Some(&run.into()));
        let short = folder("etl", &"r".repeat(200));
        let long = [
            folder("etl", &"r".repeat(201)),
            folder(&"d".repeat(250), "r"),
            folder("etl", &"订".repeat(250)),
        ];
        for path in &long {
            assert!(path.split('/').all(|part| part.len() <= 255) && path.len() < 4000, "{path}");
            assert!(!path.starts_with(&format!("{short}/")), "it is within {short}");
        }
        assert_eq!(long[0], format!("{short},/r"));
    }

    #[test]
    fn each_attempt_has_a_log_of_its_own_that_a_file_system_takes() {
        let run = (&Namespace::default(), &DagId::from("etl"), &RunId::from("r"));
        let path = |task: &str, index: i32, number| log_path(run, &task.into(), MapIndex(index), number);
        let folder = "namespace=default/dag_id=etl/run_id=r";
        assert_eq!(path("load", -1, 1), format!("{folder}/task_id=load,attempt=1.log"));
        assert_eq!(path("load", 7, 2), format!("{folder}/task_id=load,map_index=7,attempt=2.log"));
        assert_eq!(path("a,b/c", -1, 1), format!("{folder}/task_id=a%2Cb%2Fc,attempt=1.log"));
        for length in [199, 200, 201, 250, 1000] {
            let path = path(&"x".repeat(length), i32::MAX, u32::MAX);
            assert!(path.split('/').all(|part| part.len() <= 255), "{path}");
            assert_eq!(path.matches('x').count(), length + 1, "one of them is that of map_index");
        }
    }

    #[test]
    fn no_name_leads_out_of_its_folder() {
        assert_eq!(escape("../etc/passwd"), "%2E.%2Fetc%2Fpasswd");
        assert_eq!(escape("manual__2026-01-01T00:00:00+00:00"), "manual__2026-01-01T00:00:00+00:00");
    }
}
