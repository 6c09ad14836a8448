//! Backfills: runs of a DAG for times that are past, planned as a list of dates and made a few at once.
//!
//! Any server writes them, as it does [`crate::Records`]: the runs themselves are made by commands like any
//! others. What a server has begun it notes before ([`Progress::Starting`]), so that whoever comes after it
//! can tell whether it was done.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use updraft_core::{DagId, DagKey, Namespace, RunId, RunKey, RunState, TaskId, record::AuditRow};

use crate::{Error, Page, Window};

/// A backfill's number. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackfillId(pub i64);

/// What becomes of a date of which there is a run already: Airflow's `reprocess_behavior`. A run that is not
/// over is left alone in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reprocess {
    /// It stays as it is.
    None,
    /// Begins anew where it failed.
    Failed,
    /// Begins anew.
    Completed,
}

impl Reprocess {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::None, Self::Failed, Self::Completed];

    /// Its name in the store and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }
}

/// A backfill that is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBackfill {
    /// Of which DAG.
    pub dag: DagKey,
    /// No logical date before this.
    pub from_date: Timestamp,
    /// No logical date after this.
    pub to_date: Timestamp,
    /// What becomes of runs that are there.
    pub reprocess: Reprocess,
    /// The latest first.
    pub run_backwards: bool,
    /// So many of its runs at most are not over at a time. The DAG's own limit counts besides.
    pub max_active_runs: u32,
    /// The runs' parameters.
    pub conf: Arc<Value>,
    /// Only these tasks; all, where none are named.
    pub tasks: Vec<TaskId>,
    /// The account that wants it.
    pub account: String,
    /// It makes no runs for now.
    pub is_paused: bool,
}

/// A backfill.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillRow {
    /// Its number.
    pub id: BackfillId,
    /// What was wanted.
    pub backfill: NewBackfill,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last paused, continued, or ended.
    pub updated_at: Timestamp,
    /// When its last run was over, or it was cancelled.
    pub completed_at: Option<Timestamp>,
}

/// A date of a backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillRunRow {
    /// Its place in the order in which they are made, from 0.
    pub ix: u32,
    /// The run's logical date.
    pub logical_date: Timestamp,
    /// The interval of data it is about.
    pub data_interval: (Timestamp, Timestamp),
    /// How far it has come.
    pub progress: Progress,
    /// The run of this date, once it is known.
    pub run: Option<RunKey>,
    /// Why it was passed over.
    pub reason: Option<String>,
}

/// How far a date of a backfill has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was done yet.
    Waiting,
    /// Its run is about to be made; or to begin anew, where it was cleared so many times before.
    Starting {
        /// Of a run that is there.
        clear_number: Option<u32>,
    },
    /// Its run was made, or has begun anew.
    Started,
    /// It gets no run.
    PassedOver,
}

impl Progress {
    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting { .. } => "starting",
            Self::Started => "started",
            Self::PassedOver => "passed_over",
        }
    }

    /// Whether there is something to do about it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Starting { .. })
    }
}

/// A date of a backfill with its run as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillRunListing {
    /// The date.
    pub row: BackfillRunRow,
    /// Its run, where there is one (still).
    pub run: Option<(RunId, RunState)>,
}

/// How many dates of a backfill are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackfillCounts {
    /// Without a run yet.
    pub waiting: u64,
    /// Their run is not over.
    pub active: u64,
    /// Their run succeeded.
    pub success: u64,
    /// Their run failed.
    pub failed: u64,
    /// Without a run, for a reason.
    pub passed_over: u64,
    /// Their run was deleted.
    pub deleted: u64,
}

impl BackfillCounts {
    /// Adds `count` dates that have come so far and whose run, where there is one, is in this state.
    pub(crate) fn add(&mut self, progress: &str, run: Option<RunState>, count: u64) {
        let place = match (progress, run) {
            ("waiting" | "starting", _) => &mut self.waiting,
            ("passed_over", _) => &mut self.passed_over,
            (_, Some(RunState::Queued | RunState::Running)) => &mut self.active,
            (_, Some(RunState::Success)) => &mut self.success,
            (_, Some(RunState::Failed)) => &mut self.failed,
            (_, None) => &mut self.deleted,
        };
        *place += count;
    }
}

/// Which backfills.
#[derive(Clone, Debug, Default)]
pub struct BackfillQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// Of this DAG only.
    pub dag_id: Option<DagId>,
    /// Only those that are over, or are not.
    pub is_completed: Option<bool>,
    /// Which part.
    pub window: Window,
}

/// Backfills.
#[async_trait]
pub trait Backfills: Send + Sync {
    /// Keeps a backfill with its dates, in the order in which they are to be made. `None` where the DAG has
    /// one that is not over.
    async fn create_backfill(
        &self,
        backfill: &NewBackfill,
        runs: &[BackfillRunRow],
        audit: &AuditRow,
    ) -> Result<Option<BackfillId>, Error>;

    /// Backfills, the latest first.
    async fn backfills(&self, query: &BackfillQuery) -> Result<Page<BackfillRow>, Error>;

    /// One backfill.
    async fn backfill(&self, namespace: &Namespace, id: BackfillId) -> Result<Option<BackfillRow>, Error>;

    /// Those that are not over, in all namespaces, in the order of their numbers.
    async fn open_backfills(&self) -> Result<Vec<BackfillRow>, Error>;

    /// How many of its dates are where.
    async fn backfill_counts(&self, id: BackfillId) -> Result<BackfillCounts, Error>;

    /// Its dates, in their order.
    async fn backfill_runs(&self, id: BackfillId, window: Window) -> Result<Page<BackfillRunListing>, Error>;

    /// The first date that waits or is starting.
    async fn next_backfill_run(&self, id: BackfillId) -> Result<Option<BackfillRunRow>, Error>;

    /// Writes how far a date has come. `false` where it was passed over meanwhile.
    async fn put_backfill_run(&self, id: BackfillId, row: &BackfillRunRow) -> Result<bool, Error>;

    /// Pauses a backfill, or lets it go on. `false` where it is over, or so already.
    async fn pause_backfill(&self, id: BackfillId, paused: bool, audit: &AuditRow) -> Result<bool, Error>;

    /// Ends a backfill: dates that wait are passed over for this reason. `false` where it is over.
    async fn cancel_backfill(&self, id: BackfillId, reason: &str, audit: &AuditRow) -> Result<bool, Error>;

    /// Notes that its last run is over.
    async fn complete_backfill(&self, id: BackfillId, at: Timestamp) -> Result<(), Error>;
}
