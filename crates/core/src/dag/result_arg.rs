//! Another task's result as an argument.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::TaskId;

/// The one key of an object that stands for a result among a task's arguments.
const MARK: &str = "__xcom__";

/// Another task's result as an argument, or within one (Airflow's `XComArg`). A worker puts the value in its place,
/// as it is: it is no template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultArg {
    /// Whose result.
    pub task_id: TaskId,
    /// Under which key it is left; `return_value`, for what the task returned.
    pub key: String,
}

impl ResultArg {
    /// As it stands among a task's arguments.
    #[must_use]
    pub fn to_argument(&self) -> Value {
        json!({ MARK: self })
    }

    /// The result that an argument stands for, if it does for one.
    #[must_use]
    pub fn in_argument(value: &Value) -> Option<Self> {
        let map = value.as_object().filter(|map| map.len() == 1)?;
        Self::deserialize(map.get(MARK)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_as_it_was_written_and_nothing_else_is() {
        let result = ResultArg { task_id: "a".into(), key: "k".into() };
        assert_eq!(ResultArg::in_argument(&result.to_argument()), Some(result));
        for other in
            [json!("__xcom__"), json!({"__xcom__": "a"}), json!({"__xcom__": {"task_id": "a"}}), json!({})]
        {
            assert_eq!(ResultArg::in_argument(&other), None);
        }
    }
}
