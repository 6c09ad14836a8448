//! What a server's answers mean.

use anyhow::{Context, Result};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::Client;
use crate::failure::{Exit, Failure};

/// What TLS failed by, where that is within this error.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // What one of these wraps is not its source.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match wrapped {
        Some(wrapped) => tls_error(wrapped),
        None => tls_error(error.source()?),
    }
}

impl Client {
    /// Sends a request; an answer that says no is an error.
    pub(super) async fn checked(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let exit = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NotAllowed,
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Exit::Usage,
            _ => Exit::Failed,
        };
        let (server, detail) = (self.server(), detail(&text));
        let message = match exit {
            Exit::NotAllowed if detail.starts_with("Forbidden") => {
                let why = detail.strip_prefix("Forbidden: ").unwrap_or("whoever asks may not");
                format!("{server} does not allow this: {why}; use the --token of an account that may")
            }
            // Airflow's API says this of a token that is none with 403, too.
            Exit::NotAllowed if self.given.is_some() => {
                format!("{server} does not take this token ({detail}): make one with `updraft tokens create`")
            }
            _ if status.is_server_error() => format!("{server} says {status}: {detail}"),
            _ => detail,
        };
        let away = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        let failure =
            if away.contains(&status) { Failure::away(message) } else { Failure::new(exit, message) };
        Err(failure.into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let server = self.server();
        if let Some(error) = tls_error(error) {
            let message = match error {
                rustls::Error::InvalidCertificate(_) => format!(
                    "{server} shows a certificate that this machine does not trust ({error}): set SSL_CERT_FILE to a file \
                     with it, or with that of who has signed it"
                ),
                _ => format!("{server} can't be asked by TLS: {error}"),
            };
            return Failure::new(Exit::Failed, message).into();
        }
        let message = match (error.is_timeout(), error.is_connect()) {
            (true, _) => format!("{server} does not answer"),
            (false, true) => {
                format!(
                    "no server at {server}: start one with `updraft standalone`, or name it with --server"
                )
            }
            (false, false) => {
                let mut text = format!("{server} can't be asked: {error}");
                let mut cause = std::error::Error::source(error);
                while let Some(next) = cause {
                    text.push_str(&format!(": {next}"));
                    cause = next.source();
                }
                text
            }
        };
        Failure::away(message).into()
    }

    pub(super) async fn read(&self, response: Response) -> Result<Value> {
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .with_context(|| format!("what {} answers is no JSON: is it Updraft?", self.server()))
    }
}

/// What the server says is wrong: its sentence, or each fault with its place.
fn detail(text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    match &answer["detail"] {
        Value::String(detail) => detail.clone(),
        Value::Array(faults) => {
            let fault = |fault: &Value| {
                let place = fault["loc"].as_array().into_iter().flatten().skip(1);
                let place: Vec<String> = place.map(|part| part.to_string().replace('"', "")).collect();
                let msg = fault["msg"].as_str().unwrap_or_default();
                if place.is_empty() { msg.to_owned() } else { format!("{}: {msg}", place.join(".")) }
            };
            faults.iter().map(fault).collect::<Vec<_>>().join("; ")
        }
        _ => text.lines().next().unwrap_or("the answer is empty").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_put_in_a_sentence() {
        assert_eq!(detail(r#"{"detail": "no such DAG"}"#), "no such DAG");
        let faults =
            r#"{"detail": [{"loc": ["body", "a", 0], "msg": "bad"}, {"loc": ["body"], "msg": "worse"}]}"#;
        assert_eq!(detail(faults), "a.0: bad; worse");
        assert_eq!(detail("<html>\n"), "<html>");
    }
}
