//! Jinja expressions over answers.

use minijinja::{
    context,
    value::{Serde, Value as Seen},
};
use serde_json::{Map, Value};

use super::client::Answer;
use crate::operators::expression;

/// Reads the expression of an argument; what is none is refused, and so is what looks at other things than the
/// answer: `package.module.function` is an expression, and means nothing here.
pub(in crate::operators) fn read(text: &str) -> Result<(), String> {
    const MEND: &str = "a Python callable can't be called here. Write a Jinja expression over the answer, such as \
                        `response.json.state == 'done'`; it sees `response.status_code`, `response.text`, \
                        `response.json` and `response.headers`";
    expression::read(text, &["response"], MEND)
}

/// An answer as expressions see it.
pub(in crate::operators) fn seen(answer: &Answer) -> Seen {
    let text = answer.text();
    let headers = headers(answer);
    let json = serde_json::from_str::<Value>(&text).ok();
    context! {
        status_code => answer.status.as_u16(),
        text => &*text,
        json => json.as_ref().map(Serde),
        headers => Serde(&headers),
    }
}

/// An answer that is in a file.
pub(in crate::operators) fn seen_of_saved(answer: &Answer) -> Seen {
    let headers = headers(answer);
    context! { status_code => answer.status.as_u16(), headers => Serde(&headers) }
}

fn headers(answer: &Answer) -> Map<String, Value> {
    let text = |bytes| String::from_utf8_lossy(bytes).into();
    answer.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// Whether the expression of the argument `name` holds for what it sees as `response`.
pub(in crate::operators) fn holds(name: &str, expression: &str, response: Seen) -> Result<bool, String> {
    let value = evaluated(name, expression, response)?;
    Ok(value.is_true())
}

/// What the expression of the argument `name` makes of what it sees as `response`. A value that is not there is an
/// error: a slip in a name would otherwise pass for nothing.
pub(in crate::operators) fn value(name: &str, expression: &str, response: Seen) -> Result<Value, String> {
    let value = evaluated(name, expression, response)?;
    if value.is_undefined() {
        return Err(format!(
            "{name} `{expression}`: what it looks at is not there; where it need not be, write \
             `… | default(none)`"
        ));
    }
    serde_json::to_value(&value).map_err(|error| format!("{name} `{expression}` gives no JSON: {error}"))
}

fn evaluated(name: &str, expression: &str, response: Seen) -> Result<Seen, String> {
    expression::evaluated(name, expression, context! { response })
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};
    use serde_json::json;

    use super::*;

    fn answer(body: &[u8]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-state", "ready".parse().unwrap());
        Answer { status: StatusCode::OK, headers, body: body.to_vec() }
    }

    #[test]
    fn a_check_sees_status_text_json_and_headers() {
        let seen = seen(&answer(br#"{"state": "done", "items": [1, 2]}"#));
        let holds = |expression| holds("response_check", expression, seen.clone());
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
        assert_eq!(holds("response_check", "response.json is none", seen(&answer(b"<html>"))), Ok(true));
    }

    #[test]
    fn a_value_is_any_json_and_one_that_is_not_there_is_an_error() {
        let pages: Seen = [&b"{\"rows\": [1, 2]}"[..], b"{\"rows\": [3]}"]
            .map(|body| seen(&answer(body)))
            .into_iter()
            .collect();
        let value = |expression| value("response_filter", expression, pages.clone());
        assert_eq!(value("response | sum(attribute='json.rows', start=[])"), Ok(json!([1, 2, 3])));
        assert_eq!(value("response[0].json"), Ok(json!({"rows": [1, 2]})));
        assert_eq!(value("response[0].json.next | default(none)"), Ok(json!(null)));
        assert!(value("response[0].json.next").unwrap_err().contains("default(none)"));
        assert!(value("response[0].next.next").is_err());
    }

    #[test]
    fn a_python_callable_is_refused_with_the_mend() {
        for callable in ["checks.is_done", "lambda response: response.ok", "response and is_done(response)"] {
            let error = read(callable).unwrap_err();
            assert!(error.contains("Python callable") && error.contains("response.json"), "{error}");
        }
        assert_eq!(read("range(3) | length > 2 and response.text"), Ok(()));
    }
}
