//! What must not show, and hiding it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use updraft_core::protocol::Connection;

use crate::Variable;

/// What stands where a secret stood, as Airflow has it.
pub const MASK: &str = "***";

/// A name with one of these in it holds a secret: Airflow 3.3's `DEFAULT_SENSITIVE_FIELDS`.
const SENSITIVE: &[&str] = &[
    "access_key",
    "access_token",
    "api_key",
    "apikey",
    "auth_header",
    "authorization",
    "bearer",
    "connection_string",
    "dsn",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "secret",
    "service_account",
    "service_key",
    "token",
    "webhook_url",
];

/// Whether what has this name is hidden: a variable's key, a field of a connection's extra. In either case of
/// letters, and whatever stands between the words (`API-Key`).
pub fn is_sensitive(name: &str) -> bool {
    let mut plain = String::with_capacity(name.len());
    let mut between_words = false;
    for letter in name.trim().to_lowercase().chars() {
        let in_word = letter.is_alphanumeric() || letter == '_';
        if in_word {
            plain.push(letter);
        } else if !between_words {
            plain.push('_');
        }
        between_words = !in_word;
    }
    SENSITIVE.iter().any(|word| plain.contains(word))
}

/// The secrets of a connection: its password, as it is and as HTTP's basic authentication writes it, also one that stands in its host's address, and what its extra fields keep
/// under a telling name.
pub fn of_connection(connection: &Connection) -> Vec<String> {
    let in_host = connection.host.as_deref().and_then(password_in);
    let passwords: Vec<&str> = connection.password.as_deref().into_iter().chain(in_host).collect();
    // Where one comes with spaces around it, what is said of it may have none.
    let mut found: Vec<String> =
        passwords.iter().flat_map(|password| [*password, password.trim()]).map(str::to_owned).collect();
    // As they go over the wire (RFC 7617), which an answer may repeat.
    if let Some(login) = connection.login.as_deref().filter(|login| !login.is_empty()) {
        let passwords = passwords.iter().filter(|password| !password.is_empty());
        found.extend(passwords.map(|password| STANDARD.encode(format!("{login}:{password}"))));
    }
    connection.extra.iter().for_each(|(name, value)| under_telling_names(name, value, &mut found));
    found.retain(|secret| !secret.is_empty());
    found.dedup();
    found
}

/// The password in an address: `https://user:password@host`.
pub fn password_in(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (account, _) = authority.rsplit_once('@')?;
    account.split_once(':').map(|(_, password)| password)
}

/// The texts in a variable that are secret: where it is itself, all of it and the texts in it if it is JSON, and else
/// what has a telling name in its JSON.
pub fn of_variable(variable: &Variable) -> Vec<String> {
    let text = &*variable.value;
    let mut found = Vec::new();
    let json =
        text.trim_start().starts_with(['{', '[', '"']).then(|| serde_json::from_str::<Value>(text).ok());
    let json = json.flatten();
    if variable.secret {
        found.push(text.to_owned());
        json.iter().for_each(|value| strings(value, &mut found));
    } else {
        json.iter().for_each(|value| under_telling_names("", value, &mut found));
    }
    found.retain(|secret| !secret.is_empty());
    found
}

fn under_telling_names(name: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        _ if is_sensitive(name) => strings(value, found),
        Value::Object(map) => map.iter().for_each(|(name, value)| under_telling_names(name, value, found)),
        Value::Array(items) => items.iter().for_each(|item| under_telling_names("", item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
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
            login: Some("me".into()),
            password: Some("p".into()),
            host: Some("https://me:in%20host@example.org/a@b:c".into()),
            extra: json!({
                "region": "eu", "aws": {"Secret_Key": "s"}, "X-Api-Key": "x", "proxies": [{"url": "u"}, 1],
                "nested": {"list": [{"token": "t", "page": "9"}]}
            })
            .as_object()
            .unwrap()
            .clone(),
            ..Connection::default()
        };
        let mut found = of_connection(&connection);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, ["bWU6aW4lMjBob3N0", "bWU6cA==", "in%20host", "p", "s", "t", "u", "x"]);
    }

    #[test]
    fn a_variable_hides_what_has_a_telling_name_in_it_also_where_its_own_tells_nothing() {
        let value = r#"{"db": {"password": "a"}, "api_key": "b", "region": "eu"}"#;
        let variable = |secret| Variable { value: value.into(), secret };
        assert_eq!(of_variable(&variable(false)), ["a", "b"]);
        assert_eq!(of_variable(&variable(true)), [value, "a", "b", "eu"]);
        assert!(of_variable(&Variable { value: "token: x".into(), secret: false }).is_empty());
    }

    #[test]
    fn names_are_compared_without_case_and_separators() {
        assert!(is_sensitive(" My--Api.Key "));
        assert!(is_sensitive("SMTP_PASSWORD"));
        assert!(!is_sensitive("region"));
    }
}
