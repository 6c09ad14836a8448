//! What must not show, and hiding it.

use serde_json::{Map, Value};
use updraft_core::protocol::Connection;

/// What stands where a secret stood.
const MASK: &str = "***";

/// A field with one of these in its name holds a secret (Airflow's `DEFAULT_SENSITIVE_FIELDS`).
const SENSITIVE: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "secret",
    "token",
    "keyfile_dict",
    "service_account",
];

/// The secrets of a connection: its password, and what its extra fields keep under a telling name.
pub fn of_connection(connection: &Connection) -> Vec<String> {
    let mut found: Vec<String> = connection.password.iter().cloned().collect();
    // Where it comes with spaces around it, what is said of it may have none.
    found.extend(connection.password.iter().map(|password| password.trim().to_owned()));
    of_extra(&connection.extra, &mut found);
    found.retain(|secret| !secret.is_empty());
    found.dedup();
    found
}

fn of_extra(extra: &Map<String, Value>, found: &mut Vec<String>) {
    for (name, value) in extra {
        let name = name.to_lowercase();
        match value {
            Value::Object(inner) => of_extra(inner, found),
            Value::String(text) if SENSITIVE.iter().any(|word| name.contains(word)) => {
                found.push(text.clone());
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {}
        }
    }
}

/// The texts in a secret variable: all of it, and the strings in it where it is JSON.
pub fn of_variable(text: &str) -> Vec<String> {
    let mut found = vec![text.to_owned()];
    if let Ok(value) = serde_json::from_str(text) {
        strings(&value, &mut found);
    }
    found.retain(|secret| !secret.is_empty());
    found
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|item| strings(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The value with the secrets in its texts hidden.
pub(crate) fn mask(value: &Value, secrets: &[String]) -> Value {
    match value {
        Value::String(text) => mask_text(text, secrets).into(),
        Value::Array(items) => items.iter().map(|item| mask(item, secrets)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (mask_text(key, secrets), mask(value, secrets))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

pub(crate) fn mask_text(text: &str, secrets: &[String]) -> String {
    // The longest first, so that a secret that is part of another leaves nothing of that one.
    let mut secrets: Vec<&String> = secrets.iter().filter(|secret| text.contains(&***secret)).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(&**secret, MASK))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longer_of_two_secrets_leaves_nothing() {
        let secrets = ["pass".to_owned(), "passport".to_owned()];
        assert_eq!(mask(&json!({"a": ["my passport pass"]}), &secrets), json!({"a": ["my *** ***"]}));
    }

    #[test]
    fn a_connection_keeps_its_password_and_what_has_a_telling_name_secret() {
        let connection = Connection {
            password: Some("p".into()),
            extra: json!({"region": "eu", "aws": {"Secret_Key": "s"}}).as_object().unwrap().clone(),
            ..Connection::default()
        };
        assert_eq!(of_connection(&connection), ["p", "s"]);
    }
}
