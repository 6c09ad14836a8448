//! How the end of a process becomes the end of an attempt.

use std::{collections::BTreeMap, fmt::Display, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_core::{
    TaskId, XcomValue,
    input::{AttemptEnd, Branch, Outcome},
    numbers::{self, TooLarge},
};

use crate::{
    prepare::cut,
    work::{ProcessPlan, ResultRule},
};

/// How a process ended and what it left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessEnd {
    /// Its exit code, where it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its last line ([`ResultRule::LastLine`]) or all its output ([`ResultRule::Output`]); `None` otherwise.
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
    /// Its arguments as it rendered them itself, a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<Value>,
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

impl From<EnvelopeBranch> for Branch {
    fn from(branch: EnvelopeBranch) -> Self {
        match branch {
            EnvelopeBranch::Follow(tasks) => Self::Follow(tasks),
            EnvelopeBranch::SkipDownstream => Self::SkipDownstream,
            EnvelopeBranch::SkipAllDownstream => Self::SkipAllDownstream,
        }
    }
}

impl From<EnvelopeEnd> for AttemptEnd {
    fn from(end: EnvelopeEnd) -> Self {
        match end {
            EnvelopeEnd::Success => Self::Success,
            EnvelopeEnd::Skipped => Self::Skipped,
            EnvelopeEnd::Failed => Self::Failed,
            EnvelopeEnd::FailedForGood => Self::FailedForGood,
        }
    }
}

impl ProcessPlan {
    /// What the end of the process means for the attempt. Values in it are inline, whatever their size;
    /// `rendered` is what the process rendered itself, unmasked, and else left to the caller.
    pub fn outcome(&self, end: ProcessEnd) -> Outcome {
        let by_code = match (end.exit_code, end.signal) {
            (Some(code), _) if self.skip_exit_codes.contains(&code) => {
                said(AttemptEnd::Skipped, format!("exit code {code} means skip"))
            }
            (Some(0), _) => Outcome::new(AttemptEnd::Success),
            (Some(code), _) => said(AttemptEnd::Failed, format!("ended with exit code {code}")),
            (None, Some(signal)) => said(AttemptEnd::Failed, format!("ended by signal {signal}")),
            (None, None) => said(AttemptEnd::Failed, "ended, and it is not known how".into()),
        };
        let by_code = Outcome { exit_code: end.exit_code, ..by_code };
        match self.result {
            ResultRule::Envelope => match end.result_file {
                Some(file) => with_envelope(by_code, &file),
                None => by_code,
            },
            ResultRule::None => by_code,
            _ if by_code.end != AttemptEnd::Success => by_code,
            ResultRule::LastLine => {
                with_result(by_code, end.output.map(|line| Value::String(line.trim_end().into())))
            }
            ResultRule::Output => with_result(by_code, end.output.map(Value::String)),
            ResultRule::File => match end.result_file.as_deref().map(json_or_text).transpose() {
                Ok(result) => with_result(by_code, result),
                Err(large) => unreadable(by_code, &large),
            },
        }
    }
}

fn said(end: AttemptEnd, message: String) -> Outcome {
    Outcome { message: Some(message), ..Outcome::new(end) }
}

fn json_or_text(bytes: &[u8]) -> Result<Value, TooLarge> {
    let json = serde_json::from_slice::<Value>(bytes);
    // Not every text is JSON: in one that is none, a number is a part of the text.
    json.map_or_else(
        |_| Ok(Value::String(String::from_utf8_lossy(bytes).trim_end().into())),
        |json| numbers::fit_64_bits(bytes).map(|()| json),
    )
}

/// A result that can't be taken over: the attempt fails, so that nobody goes on with another.
fn unreadable(by_code: Outcome, why: &dyn Display) -> Outcome {
    let message = format!("the file that $UPDRAFT_RESULT names can't be read: {why}");
    Outcome { message: Some(message), end: AttemptEnd::Failed, ..by_code }
}

/// Adds the result. As in Airflow, no value (null) is no result.
pub(crate) fn with_result(mut outcome: Outcome, result: Option<Value>) -> Outcome {
    let Some(result) = result.filter(|value| !value.is_null()) else { return outcome };
    outcome.result_length = match &result {
        Value::Array(items) => u32::try_from(items.len()).ok(),
        Value::Object(map) => u32::try_from(map.len()).ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    outcome.xcoms.push(("return_value".into(), XcomValue::Inline(Arc::new(result))));
    outcome
}

/// What an [`Envelope`] says, unless the process failed after writing it.
fn with_envelope(by_code: Outcome, file: &[u8]) -> Outcome {
    let envelope: Envelope = match serde_json::from_slice(file) {
        Ok(envelope) => envelope,
        Err(error) => return unreadable(by_code, &error),
    };
    if let Err(large) = numbers::fit_64_bits(file) {
        return unreadable(by_code, &large);
    }
    let by_code_alone = match by_code.end {
        AttemptEnd::Skipped => true,
        AttemptEnd::Failed => envelope.end == EnvelopeEnd::Success,
        _ => false,
    };
    if by_code_alone {
        return by_code;
    }
    let mut outcome = Outcome {
        end: envelope.end.into(),
        message: envelope.message,
        branch: envelope.branch.map(Into::into),
        rendered: envelope.rendered.map(|rendered| cut(&rendered)),
        ..by_code
    };
    outcome
        .xcoms
        .extend(envelope.xcoms.into_iter().map(|(key, value)| (key, XcomValue::Inline(Arc::new(value)))));
    with_result(outcome, envelope.return_value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::work::Command;

    fn plan(result: ResultRule) -> ProcessPlan {
        ProcessPlan {
            command: Command::Argv(vec!["true".into()]),
            env: BTreeMap::new(),
            inherit_env: true,
            secrets: BTreeMap::new(),
            asks: false,
            cwd: None,
            stdin: None,
            result,
            skip_exit_codes: vec![99],
            environment: None,
        }
    }

    fn result(outcome: &Outcome) -> Option<Value> {
        outcome.xcoms.iter().find_map(|(key, value)| match value {
            XcomValue::Inline(value) if key == "return_value" => Some((**value).clone()),
            XcomValue::Inline(_) | XcomValue::Blob { .. } => None,
        })
    }

    #[test]
    fn exit_codes_decide() {
        let end = |exit_code, signal| {
            plan(ResultRule::LastLine).outcome(ProcessEnd {
                exit_code,
                signal,
                output: Some("x".into()),
                ..ProcessEnd::default()
            })
        };
        assert_eq!(end(Some(0), None).end, AttemptEnd::Success);
        assert_eq!(end(Some(99), None).end, AttemptEnd::Skipped);
        assert_eq!(end(Some(1), None).end, AttemptEnd::Failed);
        assert!(end(Some(1), None).xcoms.is_empty());
        assert_eq!(end(None, Some(9)).message.as_deref(), Some("ended by signal 9"));
    }

    #[test]
    fn a_result_is_where_the_plan_says() {
        let end = ProcessEnd {
            exit_code: Some(0),
            output: Some("last line \r\n".into()),
            result_file: Some(b"[1, 2]".to_vec()),
            ..ProcessEnd::default()
        };
        assert_eq!(result(&plan(ResultRule::LastLine).outcome(end.clone())), Some(json!("last line")));
        assert_eq!(result(&plan(ResultRule::Output).outcome(end.clone())), Some(json!("last line \r\n")));
        assert_eq!(result(&plan(ResultRule::None).outcome(end.clone())), None);
        let file = plan(ResultRule::File).outcome(end);
        assert_eq!((result(&file), file.result_length), (Some(json!([1, 2])), Some(2)));
    }

    #[test]
    fn an_envelope_says_more_than_the_exit_code_unless_the_process_failed_behind_it() {
        let envelope = |text: &str, code| {
            plan(ResultRule::Envelope).outcome(ProcessEnd {
                exit_code: Some(code),
                result_file: Some(text.into()),
                ..ProcessEnd::default()
            })
        };
        let done = envelope(r#"{"end": "success", "branch": {"follow": ["a"]}, "xcoms": {"k": 1}}"#, 0);
        assert_eq!(done.branch, Some(Branch::Follow(vec!["a".into()])));
        assert_eq!(done.xcoms.len(), 1);
        assert_eq!(envelope(r#"{"end": "skipped"}"#, 1).end, AttemptEnd::Skipped);
        assert_eq!(envelope(r#"{"end": "failed_for_good"}"#, 1).end, AttemptEnd::FailedForGood);
        assert_eq!(envelope(r#"{"end": "success"}"#, 139).end, AttemptEnd::Failed);
        assert_eq!(envelope("{", 0).end, AttemptEnd::Failed);
    }

    #[test]
    fn a_result_that_would_become_another_is_none() {
        let of = |rule, text: &str| {
            let result_file = Some(text.into());
            plan(rule).outcome(ProcessEnd { exit_code: Some(0), result_file, ..ProcessEnd::default() })
        };
        let id = "12345678901234567890123";
        let large = of(ResultRule::File, &format!("{{\"id\": {id}}}"));
        assert_eq!((result(&large), large.end), (None, AttemptEnd::Failed));
        assert!(large.message.unwrap().contains(id));
        let envelope = format!("{{\"end\": \"success\", \"return_value\": {id}}}");
        assert_eq!(of(ResultRule::Envelope, &envelope).end, AttemptEnd::Failed);
        let text = of(ResultRule::File, &format!("order {id}"));
        assert_eq!(result(&text), Some(json!(format!("order {id}"))));
    }
}
