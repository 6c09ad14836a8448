//! `SlackAPIPostOperator`, as Airflow's Slack provider documents it: a message by Slack's API.

use serde_json::{Map, Value, json};
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{Request, patience, refuse, to_api};
use crate::{
    Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, Duration as Length, arguments},
    },
    operators::http::Longest,
    outcome::with_result,
    prepare::{Job, no_connection},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `SlackAPIPostOperator`.
    struct PostArgs {
        /// The connection of type `slack`: its password is a token of Slack's API (`xoxb-…`).
        templated slack_conn_id: String = "slack_api_default".to_owned(),
        /// The channel: its name with `#`, or its id.
        templated channel: String = "#general".to_owned(),
        /// The text; with `blocks`, what notifications show.
        templated text: String = String::new(),
        /// Slack's blocks, a list of maps.
        templated blocks: Vec<Value>,
        /// Slack's attachments, a list of maps.
        templated attachments: Vec<Value>,
        /// Who the message is from; the name of the token's app, where nothing is said.
        templated username: Option<String>,
        /// The sender's picture, as an address.
        plain icon_url: Option<String>,
        /// The `ts` of a message that this one answers, in its thread.
        templated thread_ts: Option<String>,
        /// Where Slack's API is, in place of what the connection's extra fields say as `base_url`.
        plain base_url: Option<String>,
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

/// Slack repeats the message in its answer, and takes none of more than 40,000 letters.
pub(super) const LONGEST_ANSWER: usize = 1024 * 1024;

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SlackAPIPostOperator",
    aliases: &[
        "slack_api_post",
        "airflow.providers.slack.operators.slack.SlackAPIPostOperator",
        "airflow.operators.slack_operator.SlackAPIPostOperator",
    ],
    doc: "Posts a message to a channel of Slack by its API. The result is what Slack answers, with the message's `ts`.",
    takes_results: None,
    arguments: &[PostArgs::LIST],
    template_ext: &[],
    kind,
    plan,
};

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    refuse(written)?;
    if ["text", "blocks", "attachments"].iter().any(|name| written.may_have(name)) {
        Ok(TaskKind::Run)
    } else {
        Err((None, "needs `text`, `blocks` or `attachments`: what it says".into()))
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(PostArgs::read)?;
    let conn_id = &args.slack_conn_id;
    let mut connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
    if let Some(base_url) = &args.base_url {
        connection.extra.insert("base_url".into(), base_url.as_str().into());
    }
    let timeout = patience(&connection, args.timeout);
    let timeout = timeout.map_err(|why| job.bad((Some("slack_conn_id"), why)))?;
    let said = [
        ("text", Some(args.text).filter(|text| !text.is_empty()).map(Value::from)),
        ("blocks", Some(args.blocks).filter(|blocks| !blocks.is_empty()).map(Value::from)),
        ("attachments", Some(args.attachments).filter(|some| !some.is_empty()).map(Value::from)),
    ];
    if said.iter().all(|(_, value)| value.is_none()) {
        return Err(job.bad((Some("text"), "is empty, and so are `blocks` and `attachments`".into())));
    }
    let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Value::from);
    let how = [
        ("channel", Some(args.channel.into())),
        ("username", text(args.username)),
        ("icon_url", text(args.icon_url)),
        ("thread_ts", text(args.thread_ts)),
    ];
    let all = said.into_iter().chain(how);
    let body: Map<String, Value> = all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let request = to_api(&connection, "chat.postMessage", &json!(body), timeout);
    let request = request.map_err(|why| job.bad((Some("slack_conn_id"), format!("can't be used: {why}"))))?;
    let task = &job.order.task;
    Ok(Work::Native(Box::new(Posting { request, hold: task.hold_doubts, with_result: task.do_xcom_push })))
}

#[derive(Debug)]
struct Posting {
    request: Request,
    /// What may have been posted is not posted again.
    hold: bool,
    with_result: bool,
}

impl NativeTask for Posting {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let request = &self.request;
            // Airflow tries whatever failed again, as often as the task says; so is it here.
            let (why, end) = match context.shared.http.ask(request, Longest::Cut(LONGEST_ANSWER)).await {
                Ok(answer) => {
                    let said: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
                    // Slack says in its answer whether it has taken a message, under any status.
                    if said.get("ok") == Some(&Value::Bool(true)) {
                        context.log.line(&format!("{} has taken the message", request.shown));
                        let outcome = Outcome::new(AttemptEnd::Success);
                        return with_result(outcome, self.with_result.then_some(said));
                    }
                    (
                        format!("{} gave {}{}", request.shown, answer.reason(), refusal(&said)),
                        AttemptEnd::Failed,
                    )
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

/// What Slack has against it, and the mend where it is known.
pub(super) fn refusal(said: &Value) -> String {
    let Some(error) = said.get("error").and_then(Value::as_str) else {
        return ", and no answer of Slack's API: check the connection's `base_url`".to_owned();
    };
    let mend = match error {
        "channel_not_found" => ": check `channel`, and whether the token's app may see it",
        "not_in_channel" => ": invite the token's app to the channel",
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" => {
            ": check the connection's password, the token"
        }
        "missing_scope" => ": give the token's app the scope that Slack names",
        _ => "",
    };
    let needed = said.get("needed").and_then(Value::as_str).map(|needed| format!(" ({needed})"));
    let messages = said.pointer("/response_metadata/messages").and_then(Value::as_array);
    let more: String =
        messages.into_iter().flatten().filter_map(Value::as_str).map(|text| format!("; {text}")).collect();
    format!(": {error}{}{more}{mend}", needed.unwrap_or_default())
}
