//! Jinja expressions over answers.

use serde_json::{Map, Value, json};

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
pub(in crate::operators) fn seen(answer: &Answer) -> Value {
    let text = answer.text();
    let json = serde_json::from_str::<Value>(&text).unwrap_or_default();
    json!({
        "status_code": answer.status.as_u16(),
        "text": text,
        "json": json,
        "headers": headers(answer),
    })
}

/// An answer that is in a file.
pub(in crate::operators) fn seen_of_saved(answer: &Answer) -> Value {
    json!({"status_code": answer.status.as_u16(), "headers": headers(answer)})
}

fn headers(answer: &Answer) -> Map<String, Value> {
    let text = |bytes| String::from_utf8_lossy(bytes).into();
    answer.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// What an expression sees, which is this as `response`.
pub(in crate::operators) fn sees(response: Value) -> Map<String, Value> {
    expression::sees([("response", response)])
}

pub(in crate::operators) use expression::{holds, value};

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
        let sees = sees(seen(&answer(br#"{"state": "done", "items": [1, 2]}"#)));
        let holds = |expression| holds("response_check", expression, &sees);
        assert_eq!(holds("response.json.state == 'done' and response.json['items'] | length == 2"), Ok(true));
        assert_eq!(holds("'done' in response.text and response.status_code == 200"), Ok(true));
        assert_eq!(holds("response.headers['x-state'] == 'gone'"), Ok(false));
        assert_eq!(holds("response.text.startswith('{') and response.json.get('n') is none"), Ok(true));
        for absent in ["response.json.nothing", "response.json.nothing.at_all", "response.json.nothing == 1"]
        {
            let error = holds(absent).unwrap_err();
            assert!(error.contains("has no attribute 'nothing'") && error.contains("| default("), "{error}");
        }
        assert!(holds("range(100000) | map('string') | join | length > 0 and range(9999999)|list").is_err());
        assert!(read("response.").is_err());
        assert!(read(&"not ".repeat(100_000)).is_err());
    }

    #[test]
    fn an_answer_that_is_no_json_has_none() {
        assert_eq!(
            holds("response_check", "response.json is none", &sees(seen(&answer(b"<html>")))),
            Ok(true)
        );
    }

    #[test]
    fn a_value_is_any_json_and_one_that_is_not_there_is_an_error() {
        let pages = [&b"{\"rows\": [1, 2]}"[..], b"{\"rows\": [3]}"].map(|body| seen(&answer(body)));
        let pages = sees(pages.into_iter().collect());
        let value = |expression| value("response_filter", expression, &pages);
        assert_eq!(value("response | sum(attribute='json.rows', start=[])"), Ok(json!([1, 2, 3])));
        assert_eq!(value("response[0].json"), Ok(json!({"rows": [1, 2]})));
        assert_eq!(value("response[0].json.next | default(none)"), Ok(json!(null)));
        assert!(value("response[0].json.next").unwrap_err().contains("| default("));
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
