//! Conditions on edges: a Jinja expression over the result of the task before.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{TiStateName, jinja};

/// A condition on an edge, as written: `result | int > 5`, `state == 'failed'`, `exit_code == 3`.
///
/// It is an expression in the Jinja of templates, with Python's values and their methods. It sees `result` (the upstream
/// task's result, JSON), `text` (the same as text), `state` and `exit_code` (null where there was none). What a script prints
/// is text; where that reads as JSON (`5`, `true`, `{"rows": 0}`), `result` is what it says, so that `result > 3` compares
/// numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(String);

/// What a condition sees, beside Jinja's functions.
const NAMES: [&str; 4] = ["exit_code", "result", "state", "text"];

/// How much a condition may do beside going through what it sees: one that does not end would stop every DAG of everybody.
const FUEL: u64 = 100_000;

/// A condition that can't be read, or that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("condition `{text}`: {reason}")]
pub struct BadCondition {
    /// The condition.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Condition {
    /// Reads a condition; what is no expression is refused here and not when it is needed.
    pub fn parse(text: impl Into<String>) -> Result<Self, BadCondition> {
        let text = text.into();
        let unknown = match jinja::read_expression(&text, &NAMES) {
            Ok(unknown) => unknown,
            Err(reason) => return Err(BadCondition { reason, text }),
        };
        match unknown {
            None => Ok(Self(text)),
            Some(name) => {
                let reason = format!("there is no `{name}` here; there are: {}", NAMES.join(", "));
                Err(BadCondition { reason, text })
            }
        }
    }

    /// Whether it holds.
    pub fn holds(
        &self,
        result: Option<&Value>,
        state: TiStateName,
        exit_code: Option<i32>,
    ) -> Result<bool, BadCondition> {
        let read = match result {
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
            Some(value) => value.clone(),
            None => Value::Null,
        };
        let of = match &read {
            Value::Null => "; there is no result",
            Value::String(_) => "; the result is text that is no JSON",
            _ => "",
        };
        let text = match result {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let names = [
            ("result", read),
            ("text", text.into()),
            ("state", state.as_str().into()),
            ("exit_code", exit_code.into()),
        ];
        let names = Map::from_iter(names.map(|(name, value)| (name.to_owned(), value)));
        let holds = jinja::holds(&self.0, &names, FUEL);
        holds.map_err(|reason| BadCondition { text: self.0.clone(), reason: format!("{reason}{of}") })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is stored was read once, maybe by a version that refused less: a name that is not there is then an
        // error of its task, and not of everything that is stored beside it.
        Ok(Self(String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_sees_the_result_as_json_or_as_text() {
        let condition = Condition::parse("result | int > 5").unwrap();
        assert!(condition.holds(Some(&json!("7")), TiStateName::Success, Some(0)).unwrap());
        assert!(!condition.holds(Some(&json!(3)), TiStateName::Success, Some(0)).unwrap());
        let field = Condition::parse("result.rows == 0 and exit_code == 0").unwrap();
        assert!(field.holds(Some(&json!({"rows": 0})), TiStateName::Success, Some(0)).unwrap());
    }

    #[test]
    fn what_a_script_prints_is_compared_as_what_it_says() {
        let holds = |condition: &str, printed: &str| {
            let condition = Condition::parse(condition).unwrap();
            condition.holds(Some(&json!(printed)), TiStateName::Success, Some(0)).unwrap()
        };
        assert!(!holds("result > 30", "5"));
        assert!(holds("result > 30", "31.5"));
        assert!(holds("result == 5", "5"));
        assert!(holds("result.n > 3", r#"{"n": 5}"#));
        assert!(holds("result == 'done'", "done"));
        assert!(holds("text == '1.10'", "1.10"));
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_when_it_is_read() {
        let error = Condition::parse("foo > 3").unwrap_err();
        assert!(error.to_string().contains("there is no `foo` here"), "{error}");
        let field = Condition::parse("result.n > 3").unwrap();
        let error = field.holds(Some(&json!("five")), TiStateName::Success, None).unwrap_err();
        assert!(error.to_string().contains("the result is text that is no JSON"), "{error}");
    }

    #[test]
    fn what_is_stored_is_read_back_and_fails_where_it_is_needed() {
        let stored: Condition = serde_json::from_value(json!("foo > 3")).unwrap();
        assert!(stored.holds(None, TiStateName::Success, None).is_err());
    }

    #[test]
    fn what_is_no_expression_is_refused_when_it_is_read() {
        assert!(Condition::parse("result >").is_err());
    }

    #[test]
    fn a_condition_on_what_is_not_there_is_an_error_that_says_what_to_write() {
        let result = json!({"rows": 3});
        for condition in
            ["result.row > 0", "result['row'] == 3", "result.row", "not result.row", "result.row.n == 1"]
        {
            let condition = Condition::parse(condition).unwrap();
            let error = condition.holds(Some(&result), TiStateName::Success, None).unwrap_err();
            assert!(
                error.reason.contains("has no attribute 'row'") && error.reason.contains("| default("),
                "{error}"
            );
        }
        let none = Condition::parse("result.rows > 0").unwrap().holds(None, TiStateName::Success, None);
        assert!(none.unwrap_err().reason.contains("there is no result"));
        let with_default =
            Condition::parse("result.row | default(7) == 7 and result.row is undefined").unwrap();
        assert!(with_default.holds(Some(&result), TiStateName::Success, None).unwrap());
    }

    #[test]
    fn a_condition_has_the_methods_of_pythons_values_as_a_template_does() {
        let holds = |condition: &str, result: Value| {
            let condition = Condition::parse(condition).unwrap();
            condition.holds(Some(&result), TiStateName::Success, Some(0)).unwrap()
        };
        assert!(holds("result.items() | length == 2", json!({"a": 1, "b": 2})));
        // As in Jinja2, an attribute comes before an item of its name.
        assert!(holds("result.items is callable and result['items'] == 3", json!({"items": 3})));
        assert!(holds("result.get('n', 4) == 4 and text.startswith('{')", json!({})));
        assert!(holds("'%05.1f' % result == '002.5'", json!(2.5)));
        assert!(holds("result / 2 == 2.5 and result // 2 == 2 and -result // 2 == -3", json!(5)));
        assert!(!holds("result == '5'", json!(5)));
        assert!(holds("result is mapping and dict(a=1) == result", json!({"a": 1})));
    }

    #[test]
    fn a_condition_as_deep_as_may_be_fits_the_stack_and_a_deeper_one_is_refused() {
        let deepest = |depth: usize| format!("{}result", "not ".repeat(depth));
        let condition = Condition::parse(deepest(100)).unwrap();
        assert!(condition.holds(Some(&json!(true)), TiStateName::Success, None).unwrap());
        let error = Condition::parse(deepest(101)).unwrap_err();
        assert!(error.reason.contains("too many operators"), "{error}");
        assert!(Condition::parse("(".repeat(100_000)).is_err());
    }

    #[test]
    fn a_condition_that_does_not_end_is_stopped() {
        let condition = Condition::parse("range(99999) | map('string') | join | length > 1").unwrap();
        let _ = condition.holds(None, TiStateName::Success, None);
    }
}
