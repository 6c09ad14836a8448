//! Hiding what a telling name says is secret.

use serde_json::Value;
use updraft_operators::secrets::password_in;
pub(crate) use updraft_operators::secrets::{MASK, is_sensitive};

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

/// An address without the password in it.
pub(crate) fn mask_address(address: String) -> String {
    match password_in(&address) {
        Some(password) => address.replacen(&format!(":{password}@"), &format!(":{MASK}@"), 1),
        None => address,
    }
}

/// What somebody wrote over the address `old`, as [`unmask`].
pub(crate) fn unmask_address(new: String, old: Option<&str>) -> String {
    match (password_in(&new), old.and_then(password_in)) {
        (Some(MASK), Some(password)) => new.replacen(&format!(":{MASK}@"), &format!(":{password}@"), 1),
        _ => new,
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
    fn the_password_in_an_address_is_hidden_and_comes_back() {
        let address = "https://me:p@ss@example.org/x";
        let masked = mask_address(address.into());
        assert_eq!(masked, "https://me:***@example.org/x");
        assert_eq!(unmask_address(masked, Some(address)), address);
        let moved = unmask_address("https://me:***@example.net".into(), Some(address));
        assert_eq!(moved, "https://me:p@ss@example.net");
        assert_eq!(unmask_address("example.net".into(), Some(address)), "example.net");
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
}
