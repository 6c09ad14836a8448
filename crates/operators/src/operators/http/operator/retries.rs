//! `retry_args`: asking again within one try. Airflow takes objects of Python's `tenacity`, which can't be had.

use std::time::Duration;

use serde_json::Value;

use crate::catalog::argument::{Duration as Length, FromArgument, found};

/// How often it is asked, and what counts as no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Retries {
    pub(super) attempts: u32,
    pub(super) wait: Duration,
    pub(super) statuses: Vec<u16>,
}

impl Default for Retries {
    /// Once.
    fn default() -> Self {
        Self { attempts: 1, wait: Duration::from_secs(1), statuses: Vec::new() }
    }
}

impl FromArgument for Retries {
    const EXPECTS: &'static str =
        "a map of `attempts` (a number), `wait` (a duration) and `statuses` (a list of numbers)";

    fn from_argument(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or_else(|| format!("must be {}; {}", Self::EXPECTS, found(value)))?;
        let mut retries = Self { attempts: 3, ..Self::default() };
        for (name, value) in map {
            let wrong = |expects: &str| format!("has `{name}`, which must be {expects}; {}", found(value));
            match &**name {
                "attempts" => {
                    let attempts = value.as_u64().filter(|attempts| (1..=100).contains(attempts));
                    let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok());
                    retries.attempts = attempts.ok_or_else(|| wrong("a number from 1 to 100"))?;
                }
                "wait" => {
                    let Length(wait) = Length::from_argument(value).map_err(|_| wrong(Length::EXPECTS))?;
                    retries.wait = wait.unsigned_abs();
                }
                "statuses" => {
                    let status = |value: &Value| {
                        value
                            .as_u64()
                            .and_then(|status| u16::try_from(status).ok())
                            .filter(|s| (100..600).contains(s))
                    };
                    let all = value.as_array().and_then(|all| all.iter().map(status).collect());
                    retries.statuses = all.ok_or_else(|| wrong("a list of statuses, such as [429, 503]"))?;
                }
                _ => {
                    return Err(format!(
                        "has `{name}`; it takes `attempts`, `wait` and `statuses`: what Airflow's `tenacity` takes \
                         are Python objects, which can't be had here"
                    ));
                }
            }
        }
        Ok(retries)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn they_are_read_and_what_tenacity_takes_is_refused_with_the_mend() {
        let read = |value| Retries::from_argument(&value);
        let retries = read(json!({"attempts": 5, "wait": "PT0.5S", "statuses": [429, 503]})).unwrap();
        let expected = Retries { attempts: 5, wait: Duration::from_millis(500), statuses: vec![429, 503] };
        assert_eq!(retries, expected);
        assert_eq!(read(json!({})).unwrap().attempts, 3);
        assert!(read(json!({"stop": "tenacity.stop_after_attempt(3)"})).unwrap_err().contains("`attempts`"));
        for wrong in [json!({"attempts": 0}), json!({"wait": "soon"}), json!({"statuses": ["5xx"]}), json!(3)]
        {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
