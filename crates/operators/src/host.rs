//! What templates and operators look up while they are prepared.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use updraft_core::{
    DagId, RunId,
    protocol::{Connection, NextInterval, RunFound, XcomFound, XcomQuery},
};

use crate::{Files, work::ProcessPlan};

/// A look-up that could not be made, in a sentence: the server was away, the account may not. Nothing is
/// said by it about whether the thing is there; trying again may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// What [`crate::prepare()`] looks things up through.
///
/// The calls block: preparing is done where that is allowed (`spawn_blocking`), and only what a template
/// names is asked for.
pub trait Host: Send + Sync {
    /// Values that other task instances left, ordered by copy; empty where there is none.
    fn xcom(&self, query: &XcomQuery) -> Result<Vec<XcomFound>, HostError>;

    /// A variable of the order's namespace, as text.
    fn variable(&self, key: &str) -> Result<Option<Variable>, HostError>;

    /// A connection of the order's namespace.
    fn connection(&self, conn_id: &str) -> Result<Option<Connection>, HostError>;

    /// The last run of the DAG before the order's own that succeeded.
    fn previous_success(&self) -> Result<Option<PreviousSuccess>, HostError>;

    /// A run of the order's namespace, as it is now.
    fn run(&self, dag_id: &DagId, run_id: &RunId) -> Result<Option<RunFound>, HostError>;

    /// Until when the order's run is its DAG's latest; `None` where the schedule has no time after it.
    fn next_interval(&self) -> Result<Option<NextInterval>, HostError>;

    /// Where mail goes when no connection says so: the configuration's `smtp.url`
    /// (`smtp://user:password@host:587`), and the address it comes from.
    fn smtp(&self) -> Result<Option<Smtp>, HostError>;

    /// Which files of this machine may be read.
    fn files(&self) -> Result<&Files, HostError>;

    /// Runs the process of a macro, and gives what it leaves as its result.
    fn call(&self, plan: &ProcessPlan) -> Result<serde_json::Value, HostError>;
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its text.
    pub value: String,
    /// Its text is masked wherever it would show.
    pub secret: bool,
}

/// The configuration's mail server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smtp {
    /// `smtp://user:password@host:587` or `smtps://…`.
    pub url: String,
    /// The address that mail comes from where nothing else is said.
    pub from: Option<String>,
}

/// A run that succeeded, as templates see it (`prev_data_interval_start_success` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSuccess {
    /// Its interval of data.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// When it began.
    pub start_date: Option<Timestamp>,
    /// When it ended.
    pub end_date: Option<Timestamp>,
}
