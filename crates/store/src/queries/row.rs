//! What a list is made of.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use updraft_core::{
    AlertChannel, Bundle, DagKey, DagSpec, DeliveryId, Namespace, OnDoubt, PoolName, QueueName, RunId,
    RunKey, RunState, TaskId, TiKey, TiStateName, XcomValue,
    record::{AuditRow, DagRow, DeliveryRow, PoolRow, RunRow, TiRow},
};

use crate::Note;

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// How many the whole list has, counted up to [`super::Window::count_to`].
    pub total: u64,
}

/// A DAG in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct DagListing {
    /// The DAG.
    pub row: DagRow,
    /// Its current version's spec without tasks, edges and groups.
    pub header: Arc<DagSpec>,
    /// How many tasks it has.
    pub tasks: u32,
    /// When its current version was first seen.
    pub version_created_at: Timestamp,
    /// Whether its source has an import error now.
    pub has_import_error: bool,
    /// Its latest run.
    pub last_run: Option<LastRun>,
}

/// A DAG's latest run.
#[derive(Clone, Debug, PartialEq)]
pub struct LastRun {
    /// Its number.
    pub key: RunKey,
    /// Its name.
    pub run_id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// When it was due.
    pub run_after: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A version in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionListing {
    /// Its number.
    pub version: u32,
    /// SHA-256 of the spec as JSON, in hexadecimal.
    pub hash: String,
    /// How many tasks it has.
    pub tasks: u32,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// The state of its source that it was read from, where that has states.
    pub bundle: Option<Bundle>,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct RunListing {
    /// The run.
    pub row: RunRow,
    /// What somebody noted.
    pub note: Option<Note>,
}

/// A task instance in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TiListing {
    /// The task instance.
    pub row: TiRow,
    /// The DAG it is of.
    pub dag: DagKey,
    /// The name of its run.
    pub run_id: RunId,
    /// The version its run is on.
    pub version: u32,
    /// Its run's logical date.
    pub logical_date: Option<Timestamp>,
    /// When its run was due.
    pub run_after: Timestamp,
    /// The operator's class name.
    pub operator: String,
    /// The pool it takes slots from.
    pub pool: PoolName,
    /// How many.
    pub pool_slots: u32,
    /// The queue it waits in.
    pub queue: QueueName,
    /// What somebody noted.
    pub note: Option<Note>,
}

/// An XCom in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct XcomListing {
    /// Whose.
    pub ti: TiKey,
    /// Under what name.
    pub key: String,
    /// When.
    pub at: Timestamp,
    /// The value, where it was asked for.
    pub value: Option<XcomValue>,
    /// The DAG.
    pub dag: DagKey,
    /// The run's name.
    pub run_id: RunId,
    /// The task's name.
    pub task_id: TaskId,
    /// The run's logical date.
    pub logical_date: Option<Timestamp>,
    /// When the run was due.
    pub run_after: Timestamp,
}

/// A pool in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolListing {
    /// The pool.
    pub row: PoolRow,
    /// Slots by the state of the task instances that take them, or would: those that are scheduled, deferred,
    /// or hold slots.
    pub slots: BTreeMap<TiStateName, u64>,
}

macro_rules! delivery_states {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Where a delivery stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DeliveryState { $($(#[$doc])* $variant,)* }

        impl DeliveryState {
            /// Every state there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the store and the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for DeliveryState {
            type Err = UnknownDeliveryState;
            fn from_str(text: &str) -> Result<Self, UnknownDeliveryState> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(UnknownDeliveryState(text.into())) }
            }
        }
    };
}

delivery_states! {
    /// Waits for its time.
    Pending = "pending",
    /// Claimed, and on its way. One that is found so after a crash is in doubt.
    Sending = "sending",
    /// Taken over by who carries it on.
    Sent = "sent",
    /// Given up after its last attempt.
    Failed = "failed",
    /// There is no way to send it: nothing is configured for its channel.
    Undeliverable = "undeliverable",
    /// In doubt, and kept for a person to decide.
    Held = "held",
}

/// A text that names no state of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no state of a delivery called `{0}`")]
pub struct UnknownDeliveryState(String);

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A row of the outbox in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryListing {
    /// What is to be told.
    pub row: DeliveryRow,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was claimed.
    pub attempts: u32,
    /// It is not claimed before this.
    pub next_at: Timestamp,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// The delivery that tells of this one as well, which may be itself: of many by one way in a short time
    /// most are gathered into one. What becomes of that one becomes of this one.
    pub digest: Option<DeliveryId>,
    /// Who has it already, of those that it is to, where others have it not yet, or had it not at first.
    pub taken_by: Vec<String>,
}

impl DeliveryListing {
    /// Whether it may be told of together with others, as what was never on its way and goes to a person may.
    pub(crate) fn may_be_gathered(&self) -> bool {
        let goes_to_a_program =
            matches!(self.row.channel, AlertChannel::Webhook(_) | AlertChannel::Callback(_));
        self.attempts == 0 && self.digest.is_none() && !goes_to_a_program
    }

    /// What is told by the same way to the same can be told together.
    pub(crate) fn way(&self) -> (Namespace, String, OnDoubt) {
        let channel = serde_json::to_string(&self.row.channel).unwrap_or_default();
        (self.row.dag.namespace.clone(), channel, self.row.on_doubt)
    }
}

/// An entry of the audit log in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditListing {
    /// Its number.
    pub id: i64,
    /// The entry.
    pub row: AuditRow,
}
