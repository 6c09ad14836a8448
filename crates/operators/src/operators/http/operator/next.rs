//! How the next page is asked for.

use serde_json::{Map, Value};

use super::Call;
use crate::catalog::argument::{FromArgument, Strings, found};

/// The call for the next page by what `pagination_function` gives: Airflow merges maps, and puts all else in place of
/// the argument. `None` where there is no next page.
pub(super) fn call(first: &Call, params: Value) -> Result<Option<Call>, String> {
    let params = match params {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Object(params) if params.is_empty() => return Ok(None),
        Value::Object(params) => params,
        other => {
            return Err(wrong(&format!(
                "must come to a map, or to none at the last page; {}",
                found(&other)
            )));
        }
    };
    let mut call = first.clone();
    for (name, value) in params {
        match (&*name, value) {
            (_, Value::Null) => {}
            ("endpoint", Value::String(endpoint)) if endpoint.is_empty() => {}
            ("endpoint", Value::String(endpoint)) => call.endpoint = endpoint,
            ("data", Value::Object(more)) => match &mut call.data {
                Some(Value::Object(data)) => data.extend(more),
                _ => call.data = Some(Value::Object(more)),
            },
            ("data", data) => call.data = Some(data),
            ("headers", value) => {
                let more = Strings::from_argument(&value);
                call.headers.extend(more.map_err(|reason| wrong(&format!("has `headers`, which {reason}")))?);
            }
            ("extra_options", value) => {
                let more = Map::from_argument(&value);
                let more = more.map_err(|reason| wrong(&format!("has `extra_options`, which {reason}")))?;
                call.extra_options.extend(more);
            }
            ("endpoint", other) => {
                return Err(wrong(&format!("has `endpoint`, which must be a string; {}", found(&other))));
            }
            (name, _) => {
                return Err(wrong(&format!(
                    "has `{name}`; it takes `endpoint`, `data`, `headers` and `extra_options`"
                )));
            }
        }
    }
    Ok(Some(call))
}

fn wrong(reason: &str) -> String {
    format!("the value of pagination_function {reason}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first() -> Call {
        Call {
            method: "GET".into(),
            endpoint: "items".into(),
            data: Some(json!({"size": 2})),
            headers: [("A".to_owned(), "1".to_owned())].into(),
            extra_options: Map::new(),
            request_kwargs: Map::new(),
        }
    }

    #[test]
    fn maps_are_merged_and_all_else_takes_the_arguments_place() {
        let params = json!({"data": {"page": 2}, "headers": {"B": "2"}, "extra_options": {"timeout": 1}});
        let call = call(&first(), params).unwrap().unwrap();
        assert_eq!((&*call.endpoint, call.data), ("items", Some(json!({"size": 2, "page": 2}))));
        assert_eq!(call.headers.len(), 2);
        assert_eq!(call.extra_options["timeout"], 1);
        let other = super::call(&first(), json!({"endpoint": "more", "data": "page=2"})).unwrap().unwrap();
        assert_eq!((&*other.endpoint, other.data), ("more", Some(json!("page=2"))));
    }

    #[test]
    fn nothing_ends_it_and_nonsense_is_refused() {
        for end in [json!(null), json!(false), json!({})] {
            assert!(call(&first(), end).unwrap().is_none());
        }
        let refused = |params| call(&first(), params).unwrap_err();
        assert!(refused(json!("page 2")).contains("must come to a map"));
        assert!(refused(json!({"page": 2})).contains("`endpoint`, `data`, `headers`"));
        assert!(refused(json!({"headers": {"A": 1}})).contains("put it in quotes"));
        assert!(refused(json!({"endpoint": 2})).contains("must be a string"));
    }
}
