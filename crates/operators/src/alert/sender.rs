//! Alerts by HTTP: chats, webhooks, short messages.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Map, Value, json};
use updraft_core::{protocol::Connection, record::DeliveryRow};

use super::{Nowhere, Words, on, order};
use crate::{
    Refused,
    operators::{
        http::{Answer, Call, Client, Longest, Request, Site},
        slack,
        sms::{self, Gateway},
    },
    secrets::{self, mask_text},
    template::Renderer,
};

/// By what way an alert goes, with what it takes.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// To a chat, by the incoming webhook of a connection of type `slackwebhook`, or by Slack's API with the token of
    /// one of type `slack`, which has to be told in which channel.
    Slack(&'a Connection, Option<&'a str>),
    /// To the webhook at this address.
    Url(&'a str),
    /// To the webhook that a connection of type `http` leads to, with its account and headers.
    Webhook(&'a Connection),
    /// To this number, by the gateway that a connection of type `sms` describes.
    Sms(&'a str, &'a Connection),
}

/// An alert that was not taken. The error shows no secret of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// It will not be taken, however often.
    #[error("{0}")]
    Permanent(String),
    /// It may have been taken or not: the connection broke, or there was no answer in time. Sent again, it has the
    /// same key.
    #[error("{0}")]
    Doubt(String),
    /// It was not taken, and another try may do.
    #[error("{why}")]
    Temporary {
        /// What went wrong.
        why: String,
        /// How long the server asks to be left alone (`Retry-After`).
        after: Option<SignedDuration>,
    },
}

/// Sends alerts by HTTP.
#[derive(Debug, Default)]
pub struct Sender {
    http: Client,
}

/// What is looked at of an answer, in bytes. Slack's API repeats the message in it.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// What is shown of an answer, in letters.
const MOST_SHOWN: usize = 200;

/// No sending takes longer, whatever the connection says.
const PATIENCE: Duration = Duration::from_secs(120);

/// What tells an alert from others: the same each time it is sent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl Sender {
    /// Sends an alert. `key` tells it from others, and goes along as `Idempotency-Key`, so that one that comes
    /// twice is known to be one.
    ///
    /// # Errors
    ///
    /// Whether another try may do, and what was said.
    pub async fn send(
        &self,
        way: Way<'_>,
        row: &DeliveryRow,
        words: &Words,
        url: &str,
        key: &str,
    ) -> Result<(), NotSent> {
        let mut secrets = secrets_of(way);
        let (request, check) =
            made(way, row, words, url, key).map_err(|why| NotSent::Permanent(mask_text(&why, &secrets)))?;
        secrets.extend(secrets_of_address(&request.url));
        let hide = |why: String| mask_text(&why, &secrets);
        let asked = self.http.ask(&request, Longest::Cut(LONGEST_ANSWER));
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(unanswered)) if unanswered.in_doubt => return Err(NotSent::Doubt(hide(unanswered.why))),
            Ok(Err(unanswered)) if unanswered.passing => {
                return Err(NotSent::Temporary { why: hide(unanswered.why), after: None });
            }
            Ok(Err(unanswered)) => return Err(NotSent::Permanent(hide(unanswered.why))),
            Err(_) => {
                let why = format!("{} has not answered within {PATIENCE:?}", request.shown);
                return Err(NotSent::Doubt(why));
            }
        };
        match sms::is_taken(&answer, check.as_deref()) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let why = hide(said(&request, &answer));
                let of_api = matches!(way, Way::Slack(chat, _) if slack::is_of_api(chat));
                match of_api && slack::stays_wrong(&answer) {
                    true => Err(NotSent::Permanent(why)),
                    false => Err(refusal(&answer, why)),
                }
            }
            Err(why) => Err(NotSent::Permanent(hide(why))),
        }
    }
}

/// What a refusal means. A server that is busy or broken may be well again; what it finds wrong stays wrong.
fn refusal(answer: &Answer, why: String) -> NotSent {
    let passing = answer.status.is_server_error()
        || answer.status.is_success()
        || matches!(
            answer.status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    match passing {
        true => NotSent::Temporary { why, after: retry_after(&answer.headers, Timestamp::now()) },
        false => NotSent::Permanent(why),
    }
}

/// `Retry-After`, as RFC 9110 has it: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse::<u32>() {
        Ok(seconds) => SignedDuration::from_secs(seconds.into()),
        Err(_) => rfc2822::parse(text).ok()?.timestamp().duration_since(now),
    };
    Some(after.max(SignedDuration::ZERO))
}

fn said(request: &Request, answer: &Answer) -> String {
    let text: String = answer.text().trim().chars().take(MOST_SHOWN).collect();
    let text = if text.is_empty() { text } else { format!(": {text}") };
    format!("{} gave {}{text}", request.shown, answer.reason())
}

fn secrets_of(way: Way<'_>) -> Vec<String> {
    match way {
        Way::Slack(connection, _) | Way::Webhook(connection) | Way::Sms(_, connection) => {
            secrets::of_connection(connection)
        }
        Way::Url(_) => Vec::new(),
    }
}

/// An address may have a token in its way or behind it, and an answer may repeat what was asked for.
fn secrets_of_address(url: &Url) -> Vec<String> {
    let (path, query) = (url.path(), url.query().unwrap_or_default());
    let parts = [url.to_string(), format!("{path}?{query}"), path.to_owned(), query.to_owned()];
    parts.into_iter().filter(|part| part.len() > 1).collect()
}

/// The request, and the expression that says whether its answer is good.
fn made(
    way: Way<'_>,
    row: &DeliveryRow,
    words: &Words,
    url: &str,
    key: &str,
) -> Result<(Request, Option<String>), String> {
    match way {
        Way::Slack(connection, channel) if slack::is_of_api(connection) => {
            by_slacks_api(connection, channel, &words.text)
        }
        Way::Slack(connection, channel) => {
            to_slack(connection, channel, &words.text, key).map(|request| (request, None))
        }
        Way::Url(address) => {
            to_webhook(Connection::default(), address, row, words, url, key).map(|request| (request, None))
        }
        Way::Webhook(connection) => {
            to_webhook(connection.clone(), "", row, words, url, key).map(|request| (request, None))
        }
        Way::Sms(to, connection) => to_number(to, connection, row, &words.text, key),
    }
}

/// `chat.postMessage`. Slack says in its answer whether it has taken a message, under any status.
fn by_slacks_api(
    connection: &Connection,
    channel: Option<&str>,
    text: &str,
) -> Result<(Request, Option<String>), String> {
    let conn_id = &connection.conn_id;
    let Some(channel) = channel else {
        return Err(format!(
            "`{conn_id}` has a token of Slack's API, which has to be told the channel: write `channel`"
        ));
    };
    let body = json!({"channel": channel, "text": text});
    let request = slack::to_api(connection, "chat.postMessage", &body, slack::PATIENCE)?;
    Ok((request, Some("response.json.ok".into())))
}

fn to_slack(
    connection: &Connection,
    channel: Option<&str>,
    text: &str,
    key: &str,
) -> Result<Request, String> {
    let conn_id = &connection.conn_id;
    let url = slack::address(connection).map_err(|why| format!("`{conn_id}` is a connection {why}"))?;
    let mut body = json!({"text": text});
    if let Some(channel) = channel {
        body["channel"] = channel.into();
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (HeaderName::from_static(IDEMPOTENCY_KEY), key_value(key)?),
    ];
    Ok(Request {
        method: Method::POST,
        url,
        headers: headers.into_iter().collect(),
        account: None,
        body: Some(body.to_string().into_bytes().into()),
        timeout: Duration::from_secs(30),
        // A webhook that leads elsewhere is none any more.
        follow: false,
        shown: format!("the webhook of the connection `{conn_id}`").into(),
    })
}

/// What happened, as JSON: `id`, `on`, `at`, `namespace`, `dag_id`, `subject`, `text`, `url`, and `about`, which
/// has what the outbox's row says.
fn to_webhook(
    connection: Connection,
    address: &str,
    row: &DeliveryRow,
    words: &Words,
    url: &str,
    key: &str,
) -> Result<Request, String> {
    let body = json!({
        "id": key,
        "on": on(row.on),
        "at": row.at,
        "namespace": row.dag.namespace,
        "dag_id": row.dag.dag_id,
        "subject": words.subject,
        "text": words.text,
        "url": url,
        "about": row.context,
    });
    let headers = [("content-type", "application/json"), (IDEMPOTENCY_KEY, key)];
    let call = Call {
        method: "POST".into(),
        endpoint: address.into(),
        data: Some(Value::String(body.to_string())),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        extra_options: [("allow_redirects".to_owned(), Value::Bool(false))].into_iter().collect(),
        request_kwargs: Map::new(),
    };
    let conn_id = connection.conn_id.clone();
    let bad = |(_, why): (Option<&str>, String)| match conn_id.is_empty() {
        true => format!("the webhook's address {why}"),
        false => format!("the connection `{conn_id}` {why}"),
    };
    let request = Site::of_connection(connection).request(&call).map_err(bad)?;
    // There may be a token in the way to it.
    let shown = match conn_id.is_empty() {
        true => format!("the webhook at {}", host(&request.url)),
        false => format!("the webhook of the connection `{conn_id}`"),
    };
    Ok(Request { shown: shown.into(), ..request })
}

fn host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

fn to_number(
    to: &str,
    connection: &Connection,
    row: &DeliveryRow,
    text: &str,
    key: &str,
) -> Result<(Request, Option<String>), String> {
    let conn_id = &connection.conn_id;
    let gateway =
        Gateway::read(connection.clone()).map_err(|why| format!("the connection `{conn_id}` {why}"))?;
    let order = order(row, "");
    let render = |names, fields: &Value| {
        let renderer = Renderer::new(&order, &Nowhere)?.with_names(names);
        Ok(renderer.render(conn_id, fields, &[])?)
    };
    let bad = |(_, why): (Option<&str>, String)| Refused::Missing(format!("the number {to} {why}"));
    let message = sms::Message { to, text, message_id: key };
    let request = gateway.request(&message, render, bad).map_err(|refused| refused.to_string())?;
    Ok((request, gateway.into_check()))
}

fn key_value(key: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(key).map_err(|error| format!("the alert's key is none: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |text: &'static str| {
            retry_after(&[(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect(), now)
        };
        assert_eq!(after("120"), Some(SignedDuration::from_secs(120)));
        assert_eq!(after("Thu, 01 Jan 2026 00:02:00 GMT"), Some(SignedDuration::from_secs(120)));
        assert_eq!(after("Wed, 31 Dec 2025 00:00:00 GMT"), Some(SignedDuration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
