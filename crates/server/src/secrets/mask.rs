//! Hiding what a telling name says is secret.

use serde_json::Value;

/// What stands where a secret stood, as Airflow has it.
pub(crate) const MASK: &str = "***";

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
pub(crate) fn is_sensitive(name: &str) -> bool {
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

/// The value with everything hidden that stands under a telling name.
pub(crate) fn mask(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match is_sensitive(name) && !value.is_null() {
                true => (name.clone(), hide(value)),
                false => (name.clone(), mask(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// All that is in a value under a telling name.
fn hide(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), hide(value))).collect(),
        Value::Array(items) => items.iter().map(hide).collect(),
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => MASK.into(),
    }
}

/// What somebody wrote over `old`, with each `***` in it, or all of it, replaced by what that stood for:
/// whoever reads, edits and writes back must not turn a secret into its mask.
pub(crate) fn unmask(new: String, old: Option<&str>) -> String {
    let Some(old) = old.filter(|_| new.contains(MASK)) else { return new };
    if new == MASK {
        return old.to_owned();
    }
    let (Ok(mut values), Ok(old)) = (serde_json::from_str(&new), serde_json::from_str(old)) else {
        return new;
    };
    restore(&mut values, &old);
    values.to_string()
}

fn restore(new: &mut Value, old: &Value) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (name, value) in new {
                if let Some(old) = old.get(name) {
                    restore(value, old);
                }
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            new.iter_mut().zip(old).for_each(|(new, old)| restore(new, old));
        }
        (new, old) => {
            if new.as_str() == Some(MASK) {
                *new = old.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_telling_name_hides_what_is_under_it_however_deep() {
        let value = json!({"region": "eu", "API-Key": "k", "aws": [{"Secret_Key": {"a": 1, "b": null}}], "token": null});
        let masked = json!({"region": "eu", "API-Key": "***", "aws": [{"Secret_Key": {"a": "***", "b": null}}], "token": null});
        assert_eq!(mask(&value), masked);
    }

    #[test]
    fn what_comes_back_masked_stays_what_it_was() {
        let old = r#"{"token": "t", "region": "eu", "list": [{"secret": "s"}]}"#;
        let new = r#"{"token": "***", "region": "us", "list": [{"secret": "***"}], "new": "***"}"#;
        let restored: Value = serde_json::from_str(&unmask(new.into(), Some(old))).unwrap();
        let expected = json!({"token": "t", "region": "us", "list": [{"secret": "s"}], "new": "***"});
        assert_eq!(restored, expected);
        assert_eq!(unmask(new.into(), None), new);
        assert_eq!(unmask(MASK.into(), Some("plain")), "plain");
    }

    #[test]
    fn names_are_compared_without_case_and_separators() {
        assert!(is_sensitive(" My--Api.Key "));
        assert!(is_sensitive("SMTP_PASSWORD"));
        assert!(!is_sensitive("region"));
    }
}
