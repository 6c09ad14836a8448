//! `response_check`: a Jinja expression over an answer, like the conditions on edges.

use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::Value;

use super::client::Answer;
use crate::template;

/// Reads the expression; what is none is refused.
pub(super) fn read(expression: &str) -> Result<(), String> {
    template::check_expression(expression)?;
    Environment::new()
        .compile_expression(expression)
        .map(drop)
        .map_err(|error| format!("is no expression: {error}"))
}

/// Whether it holds for this answer.
pub(super) fn holds(expression: &str, answer: &Answer) -> Result<bool, String> {
    let told = |error: minijinja::Error| format!("response_check `{expression}`: {error}");
    template::check_expression(expression)?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // A check that does not end would hold up all other sensors.
    environment.set_fuel(Some(1_000_000));
    let compiled = environment.compile_expression(expression).map_err(told)?;
    let text = String::from_utf8_lossy(&answer.body);
    let headers: serde_json::Map<String, Value> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let json = serde_json::from_str::<Value>(&text).ok();
    let response = context! {
        status_code => answer.status.as_u16(),
        text => &*text,
        json => json.as_ref().map(minijinja::value::Serde),
        headers => minijinja::value::Serde(&headers),
    };
    Ok(compiled.eval(context! { response }).map_err(told)?.is_true())
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    #[test]
    fn a_check_sees_status_text_json_and_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-state", "ready".parse().unwrap());
        let body = br#"{"state": "done", "items": [1, 2]}"#.to_vec();
        let answer = Answer { status: StatusCode::OK, headers, body };
        let holds = |expression| holds(expression, &answer);
        assert_eq!(holds("response.json.state == 'done' and response.json['items'] | length == 2"), Ok(true));
        assert_eq!(holds("'done' in response.text and response.status_code == 200"), Ok(true));
        assert_eq!(holds("response.headers['x-state'] == 'gone'"), Ok(false));
        assert!(holds("response.json.nothing.at_all").is_err());
        assert!(holds("range(100000) | map('string') | join | length > 0 and range(9999999)|list").is_err());
        assert!(read("response.").is_err());
        assert!(read(&"not ".repeat(100_000)).is_err());
    }

    #[test]
    fn an_answer_that_is_no_json_has_none() {
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: b"<html>".to_vec() };
        assert_eq!(holds("response.json is none", &answer), Ok(true));
    }
}
