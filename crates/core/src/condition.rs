//! Conditions on edges: a Jinja expression over the result of the task before.

use minijinja::{Environment, context};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::TiStateName;

/// A condition on an edge, as written: `result | int > 5`, `state == 'failed'`, `exit_code == 3`.
///
/// It is a Jinja expression. It sees `result` (the upstream task's result, JSON), `text` (the same as text),
/// `state` and `exit_code` (null where there was none). What a script prints is text; where that reads as JSON
/// (`5`, `true`, `{"rows": 0}`), `result` is what it says, so that `result > 3` compares numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(String);

/// What a condition sees, and the functions that it may call.
const NAMES: [&str; 5] = ["exit_code", "range", "result", "state", "text"];

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
        let unknown = match Environment::new().compile_expression(&text) {
            Ok(expression) => {
                let names = expression.undeclared_variables(false);
                names.into_iter().filter(|name| !NAMES.contains(&&**name)).min()
            }
            Err(error) => return Err(BadCondition { reason: error.to_string(), text }),
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
        let bad = |error: minijinja::Error| {
            let of = match &read {
                Value::Null => "; there is no result",
                Value::String(_) => "; the result is text that is no JSON",
                _ => "",
            };
            BadCondition { text: self.0.clone(), reason: format!("{error}{of}") }
        };
        let mut environment = Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        // A condition that does not end would stop every DAG of everybody.
        environment.set_fuel(Some(100_000));
        let expression = environment.compile_expression(&self.0).map_err(bad)?;
        let text = match result {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let result = minijinja::value::Serde(&read);
        let names =
            context! { result => result, text => text, state => state.as_str(), exit_code => exit_code };
        Ok(expression.eval(names).map_err(bad)?.is_true())
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
    fn a_condition_on_what_is_not_there_is_an_error_and_not_false() {
        let condition = Condition::parse("result.rows > 0").unwrap();
        assert!(condition.holds(None, TiStateName::Success, None).is_err());
    }

    #[test]
    fn a_condition_that_does_not_end_is_stopped() {
        let condition = Condition::parse("range(99999) | map('string') | join | length > 1").unwrap();
        let _ = condition.holds(None, TiStateName::Success, None);
    }
}
