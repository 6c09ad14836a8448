//! `SlackWebhookOperator`, as Airflow's Slack provider documents it: a message by an incoming webhook. [`post`] sends one
//! by Slack's API.

pub(super) mod post;

use std::time::Duration;

use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value};
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};

use super::{
    connection::Trying,
    http::{Client, Longest, Request},
};
use crate::{
    Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, Duration as Length, FromArgument, arguments},
    },
    prepare::{Job, no_connection},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `SlackWebhookOperator`.
    struct SlackArgs {
        /// The connection of type `slackwebhook`: its password is the webhook's token, which comes behind its host
        /// (`hooks.slack.com/services`, where nothing is said), or the webhook's whole address.
        templated slack_webhook_conn_id: String,
        /// The text; with `blocks`, what notifications show.
        templated message: String = String::new(),
        /// Slack's blocks, a list of maps.
        templated blocks: Vec<Value>,
        /// Slack's attachments, a list of maps.
        templated attachments: Vec<Value>,
        /// Whether Slack shows what links in the text lead to.
        plain unfurl_links: Option<bool>,
        /// Whether Slack shows pictures and films that links in the text lead to.
        plain unfurl_media: Option<bool>,
        /// The channel. Only old webhooks take another one than their own.
        templated channel: Option<String>,
        /// Who the message is from. Only old webhooks take another name than their own.
        templated username: Option<String>,
        /// The sender's picture, as an emoji. Only old webhooks take another one than their own.
        plain icon_emoji: Option<String>,
        /// The sender's picture, as an address. Only old webhooks take another one than their own.
        plain icon_url: Option<String>,
        /// How long Slack may take to answer; what the connection's extra fields say as `timeout`, or else 30
        /// seconds, where nothing is said here.
        plain timeout: Option<Length>,
    } accepted {
        /// Can't be had: it is the worker's own, HTTPS_PROXY in its environment.
        proxy: Value,
        /// Can't be had: give the task `retries`.
        retry_handlers: Value,
    }
}

/// How long an answer may take where nothing is said: what Slack's own client has it to be.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What is said in an answer is a word or two, in bytes.
const LONGEST_ANSWER: usize = 200;

pub(super) const ENTRY: Entry = Entry {
    name: "SlackWebhookOperator",
    aliases: &[
        "slack_webhook",
        "slack",
        "airflow.providers.slack.operators.slack_webhook.SlackWebhookOperator",
        "airflow.contrib.operators.slack_webhook_operator.SlackWebhookOperator",
    ],
    doc: "Posts a message to Slack.",
    takes_results: None,
    arguments: &[SlackArgs::LIST],
    template_ext: &[],
    kind,
    plan,
};

/// Refuses what Slack's client in Python can have and this one can't.
fn refuse(written: &Written<'_>) -> Result<(), BadArgument> {
    if written.literal("proxy").is_some() {
        return Err((Some("proxy"), "can't be had: start the worker with HTTPS_PROXY set".into()));
    }
    if written.literal("retry_handlers").is_some() {
        return Err((Some("retry_handlers"), "can't be had: give the task `retries`".into()));
    }
    Ok(())
}

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    refuse(written)?;
    if ["message", "blocks", "attachments"].iter().any(|name| written.may_have(name)) {
        Ok(TaskKind::Run)
    } else {
        Err((None, "needs `message`, `blocks` or `attachments`: what it says".into()))
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(SlackArgs::read)?;
    let conn_id = &args.slack_webhook_conn_id;
    let bad = |reason: String| job.bad((Some("slack_webhook_conn_id"), reason));
    let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
    let url = address(&connection).map_err(|why| bad(format!("leads to a connection {why}")))?;
    job.keep_secret(url.as_str());
    job.keep_secret(url.path().trim_start_matches('/'));
    let timeout = patience(&connection, args.timeout).map_err(bad)?;
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
    let shown = format!("the webhook of the connection `{conn_id}`").into();
    let body = message(args);
    if body.is_empty() {
        return Err(job.bad((Some("message"), "is empty, and so are `blocks` and `attachments`".into())));
    }
    let body = Some(Value::Object(body).to_string().into_bytes().into());
    // A webhook that leads elsewhere is none any more.
    let follow = false;
    let request = Request { method: Method::POST, url, headers, account: None, body, timeout, follow, shown };
    Ok(Work::Native(Box::new(Posting { request, hold: job.order.task.hold_doubts })))
}

/// How long Slack may take to answer. The error goes on after the name of the argument with the connection.
fn patience(connection: &Connection, given: Option<Length>) -> Result<Duration, String> {
    if of_extra(connection, "proxy").is_some() {
        return Err("leads to a connection with a proxy: start the worker with HTTPS_PROXY set".into());
    }
    let of_connection = || of_extra(connection, "timeout").map(Length::from_argument).transpose();
    let length = match given {
        Some(given) => Some(given),
        None => of_connection().map_err(|wrong| format!("leads to a connection whose `timeout` {wrong}"))?,
    };
    Ok(length.map_or(PATIENCE, |Length(length)| length.unsigned_abs()))
}

/// What Slack is told.
fn message(args: SlackArgs) -> Map<String, Value> {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Value::from);
    let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
    let said = [
        ("text", text(Some(args.message))),
        ("blocks", list(args.blocks)),
        ("attachments", list(args.attachments)),
    ];
    if said.iter().all(|(_, value)| value.is_none()) {
        return Map::new();
    }
    let how = [
        ("unfurl_links", args.unfurl_links.map(Value::from)),
        ("unfurl_media", args.unfurl_media.map(Value::from)),
        ("channel", text(args.channel)),
        ("username", text(args.username)),
        ("icon_emoji", text(args.icon_emoji)),
        ("icon_url", text(args.icon_url)),
    ];
    let all = said.into_iter().chain(how);
    all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The webhook's address, as Airflow's `SlackWebhookHook` puts it together. It is a secret, so the error does not show it.
pub(crate) fn address(connection: &Connection) -> Result<Url, &'static str> {
    let token = connection.password.as_deref().unwrap_or_default().trim();
    if token.is_empty() {
        return Err("without a password: it is the webhook's token, or its whole address");
    }
    if token.starts_with("xox") {
        return Err("whose password is a token of Slack's API: make an incoming webhook, and take its token");
    }
    let whole = if token.contains("://") {
        token.to_owned()
    } else {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let host = given(&connection.host).unwrap_or_else(|| "hooks.slack.com/services".into());
        let schema = given(&connection.schema).unwrap_or_else(|| "https".into());
        let base = if host.contains("://") { host } else { format!("{schema}://{host}") };
        format!("{}/{}", base.trim_end_matches('/'), token.trim_start_matches('/'))
    };
    match Url::parse(&whole) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) | Err(_) => Err("whose host and password make no address of a web server"),
    }
}

/// Whether a connection has a token of Slack's API rather than a webhook.
#[cfg(feature = "alerts")]
pub(crate) fn is_of_api(connection: &Connection) -> bool {
    connection.conn_type == "slack"
        || connection.password.as_deref().unwrap_or_default().trim().starts_with("xox")
}

/// Tries a token of Slack's API, by the method that is there for it.
pub(super) fn tried(job: &Job<'_>, connection: &Connection) -> Result<Trying, Refused> {
    let bad = |why: String| job.bad((Some("conn_id"), why));
    let timeout = patience(connection, None).map_err(bad)?;
    let request = to_api(connection, "auth.test", &Value::Object(Map::new()), timeout);
    let request = request.map_err(|why| bad(format!("can't be used: {why}")))?;
    Ok(Box::pin(async move {
        let answer = Client::default().ask(&request, Longest::Cut(post::LONGEST_ANSWER)).await;
        let answer = answer.map_err(|unanswered| unanswered.why)?;
        let said: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        if said.get("ok") != Some(&Value::Bool(true)) {
            return Err(format!("{} gave {}{}", request.shown, answer.reason(), post::refusal(&said)));
        }
        let named = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or("somebody").to_owned();
        Ok(format!("logged in to Slack as {} of {}", named("user"), named("team")))
    }))
}

/// The address of a method of Slack's API, and the token to ask it with. As Airflow's `SlackHook` has it, the extra
/// field `base_url` leads elsewhere.
fn api(connection: &Connection, method: &str) -> Result<(Url, String), &'static str> {
    let token = connection.password.as_deref().unwrap_or_default().trim();
    if token.is_empty() {
        return Err("without a password: it is a token of Slack's API");
    }
    let base = of_extra(connection, "base_url").and_then(Value::as_str).unwrap_or("https://slack.com/api/");
    match Url::parse(&format!("{}/{method}", base.trim_end_matches('/'))) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok((url, token.to_owned())),
        Ok(_) | Err(_) => Err("whose `base_url` is no address of a web server"),
    }
}

/// A request to a method of Slack's API.
pub(crate) fn to_api(
    connection: &Connection,
    method: &str,
    body: &Value,
    timeout: Duration,
) -> Result<Request, String> {
    let conn_id = &connection.conn_id;
    let (url, token) = api(connection, method).map_err(|why| format!("`{conn_id}` is a connection {why}"))?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| format!("the password of `{conn_id}` is no token of Slack's"))?;
    bearer.set_sensitive(true);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (AUTHORIZATION, bearer),
    ];
    Ok(Request {
        method: Method::POST,
        url,
        headers: headers.into_iter().collect(),
        account: None,
        body: Some(body.to_string().into_bytes().into()),
        timeout,
        follow: false,
        shown: format!("Slack's API, asked with the connection `{conn_id}`,").into(),
    })
}

/// A field of the connection's extras, also under the name that old versions of Airflow gave it.
fn of_extra<'a>(connection: &'a Connection, name: &str) -> Option<&'a Value> {
    let given = |name: &str| {
        connection.extra.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
    };
    given(name)
        .or_else(|| given(&format!("extra__slackwebhook__{name}")))
        .or_else(|| given(&format!("extra__slack__{name}")))
}

/// What Slack's API says of troubles of its own (its page on each method lists the errors); others come again
/// however often it is asked.
#[cfg(feature = "alerts")]
const PASSING: &[&str] = &[
    "fatal_error",
    "internal_error",
    "message_limit_exceeded",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
];

/// Whether Slack's API refuses for a reason that another try would meet too, such as a channel that is not there.
#[cfg(feature = "alerts")]
pub(crate) fn stays_wrong(answer: &super::http::Answer) -> bool {
    let said: Option<Value> = serde_json::from_str(&answer.text()).ok();
    let error = said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str);
    error.is_some_and(|error| !PASSING.contains(&error))
}

#[derive(Debug)]
struct Posting {
    request: Request,
    /// What may have been posted is not posted again.
    hold: bool,
}

impl NativeTask for Posting {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let request = &self.request;
            // Airflow tries whatever failed again, as often as the task says; so is it here.
            let (why, end) = match context.shared.http.ask(request, Longest::Cut(LONGEST_ANSWER)).await {
                Ok(answer) if answer.status.as_u16() == 200 => {
                    context.log.line(&format!("posted to {}", request.shown));
                    return Outcome::new(AttemptEnd::Success);
                }
                Ok(answer) => {
                    let said = answer.text();
                    let said = if said.is_empty() { String::new() } else { format!(": {}", said.trim()) };
                    (format!("{} gave {}{said}", request.shown, answer.reason()), AttemptEnd::Failed)
                }
                Err(unanswered) => {
                    let end = unanswered.end(request, self.hold);
                    (unanswered.why, end)
                }
            };
            Outcome { message: Some(why), ..Outcome::new(end) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_put_together_as_in_airflow() {
        let whole = |host: Option<&str>, schema: Option<&str>, password: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let (host, schema, password) = (text(host), text(schema), text(password));
            address(&Connection { host, schema, password, ..Connection::default() }).map(String::from)
        };
        let slack = "https://hooks.slack.com/services/T1/B2/x3".to_owned();
        assert_eq!(whole(None, None, Some(" T1/B2/x3\n")), Ok(slack.clone()));
        assert_eq!(whole(Some("hooks.slack.com/services/"), None, Some("/T1/B2/x3")), Ok(slack.clone()));
        assert_eq!(
            whole(Some("https://hooks.slack.com/services"), None, Some("T1/B2/x3")),
            Ok(slack.clone())
        );
        assert_eq!(whole(Some("elsewhere"), None, Some(&slack)), Ok(slack));
        assert_eq!(whole(Some("a.org"), Some("http"), Some("x")), Ok("http://a.org/x".into()));
        for password in [None, Some(" "), Some("xoxb-1-2"), Some("ftp://a.org/x")] {
            let error = whole(None, None, password).unwrap_err();
            assert!(!error.contains("a.org"), "{error}");
        }
    }
}
