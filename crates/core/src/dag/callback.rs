//! Functions of its author's that a task has called about it, or a DAG about its runs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::input::AttemptEnd;

/// A Python function that is called when something becomes of a task's attempt, or of a run (Airflow's
/// `on_*_callback`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// When.
    pub on: CallbackOn,
    /// The function: the dotted path to it, or its name in `file`.
    pub function: String,
    /// The Python file that it is in; a relative path starts at the DAG file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it is given besides the context.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub kwargs: Map<String, Value>,
}

/// When a [`Callback`] is called, as Airflow has it: about attempts that a worker carries out; of a run when it
/// failed or succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackOn {
    /// Before an attempt does anything.
    Execute,
    /// It failed, and is not tried again.
    Failure,
    /// It failed, and is tried again.
    Retry,
    /// It succeeded.
    Success,
    /// It said itself that it is to be skipped.
    Skipped,
}

/// Why a run has failed whose time was up.
pub(crate) const TIME_IS_UP: &str = "its time was up (dagrun_timeout)";

/// How it begins why a run has failed of which nothing can run any more.
pub(crate) const NOTHING_CAN_RUN: &str = "nothing can run any more";

/// What a DAG's callbacks are told in Airflow's words of why a run ended, `said` being the run's own reason. What Airflow
/// has no word for is told in ours.
pub fn callback_reason(failed: bool, said: Option<&str>) -> &str {
    match said {
        Some(TIME_IS_UP) => "timed_out",
        Some(said) if said.starts_with(NOTHING_CAN_RUN) => "all_tasks_deadlocked",
        Some(said) => said,
        None if failed => "task_failure",
        None => "success",
    }
}

impl CallbackOn {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Execute, Self::Failure, Self::Retry, Self::Success, Self::Skipped];

    /// Airflow's name for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Execute => "on_execute_callback",
            Self::Success => "on_success_callback",
            Self::Failure => "on_failure_callback",
            Self::Retry => "on_retry_callback",
            Self::Skipped => "on_skipped_callback",
        }
    }

    /// Whether a task that can do nothing but succeed calls it. Then a worker has to have it, who can call: as in
    /// Airflow, whose scheduler ends an `EmptyOperator` itself unless it has one of these.
    pub fn is_of_success(self) -> bool {
        matches!(self, Self::Execute | Self::Success)
    }

    /// What the end of an attempt calls, `again` saying whether another try follows. An attempt that was stopped
    /// or lost calls nothing: Airflow calls them only where what became of a task came from its being carried out.
    pub fn after(end: &AttemptEnd, again: bool) -> Option<Self> {
        match end {
            AttemptEnd::Success => Some(Self::Success),
            AttemptEnd::Skipped => Some(Self::Skipped),
            AttemptEnd::Failed | AttemptEnd::FailedForGood if again => Some(Self::Retry),
            AttemptEnd::Failed | AttemptEnd::FailedForGood => Some(Self::Failure),
            AttemptEnd::Rescheduled(_) | AttemptEnd::Cancelled | AttemptEnd::Lost => None,
        }
    }
}
