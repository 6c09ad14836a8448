//! How the end of a process becomes the end of an attempt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_core::{
    TaskId,
    input::{AttemptEnd, Outcome},
};

use crate::work::ProcessPlan;

/// How a process ended and what it left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessEnd {
    /// Its exit code, where it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What [`crate::work::ResultRule::LastLine`] or `Output` ask for; not asked for otherwise.
    pub output: Option<String>,
    /// The content of the file that `$UPDRAFT_RESULT` named, where there is one.
    pub result_file: Option<Vec<u8>>,
}

/// What a program says about its end in the file that `$UPDRAFT_RESULT` names, as one JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// How it ended.
    pub end: EnvelopeEnd,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_value: Option<Value>,
    /// More values for others, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xcoms: BTreeMap<String, Value>,
    /// Which tasks after it go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<EnvelopeBranch>,
}

/// How a program ended, in an [`Envelope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvelopeEnd {
    /// Done.
    Success,
    /// Passed over.
    Skipped,
    /// Failed.
    Failed,
    /// Failed, and another try is no use.
    FailedForGood,
}

/// Which tasks go on, in an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvelopeBranch {
    /// Only these of those directly after it.
    Follow(Vec<TaskId>),
    /// None of those directly after it.
    SkipDownstream,
    /// None of all those after it.
    SkipAllDownstream,
}

impl ProcessPlan {
    /// What the end of the process means for the attempt. Values in it are inline, whatever their size;
    /// `rendered` is left to the caller.
    pub fn outcome(&self, end: ProcessEnd) -> Outcome {
        let _ = end;
        Outcome::new(AttemptEnd::Failed)
    }
}
