//! `SmsOperator`: a short message by whatever gateway a connection describes. Airflow has none of its own.

mod gateway;

use std::collections::BTreeSet;

use serde_json::Value;
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
    protocol::escape,
};

pub(crate) use self::gateway::{Gateway, Message};
use super::http::{Answer, Longest, Request, expression};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{OneOrMore, arguments},
    },
    prepare::{Job, no_connection},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `SmsOperator`.
    struct SmsArgs {
        /// To whom: one number, several with commas between them, or a list.
        templated to: OneOrMore,
        /// The text.
        templated text: String,
        /// The connection of type `sms`. Its host (or whole address), login and password are the gateway's. Its
        /// extra fields say what is asked of it: `endpoint`, `method` (POST), `headers`, `params` (what stands
        /// behind `?`), `body` (a text, or a map, which is sent as JSON or, where `headers` say so, as a form),
        /// `timeout` in seconds (30), `idempotency_header` (`Idempotency-Key`), and `response_check`, an
        /// expression like that of `HttpOperator`. Templates in them see `to`, `text`, `message_id`, `login` and
        /// `password`. Without `params` and `body` it is asked for `{"to": …, "text": …}`.
        templated sms_conn_id: String = "sms_default".to_owned(),
    }
}

/// To so many it is sent at most: a further try sends to all of them, under the same ids.
const MOST_RECIPIENTS: usize = 1000;

/// What is looked at of an answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// What is shown of an answer, in letters.
const MOST_SHOWN: usize = 200;

pub(super) const ENTRY: Entry = Entry {
    name: "SmsOperator",
    aliases: &["sms"],
    doc: "Sends a short message by the gateway that a connection describes.",
    takes_results: None,
    arguments: &[SmsArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(SmsArgs::read)?;
    let conn_id = &args.sms_conn_id;
    let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
    let gateway = Gateway::read(connection).map_err(|why| {
        job.bad((Some("sms_conn_id"), format!("leads to the connection `{conn_id}`, which {why}")))
    })?;
    let mut known = BTreeSet::new();
    let recipients = args.to.0.iter().flat_map(|list| list.split([',', ';'])).map(str::trim);
    let recipients: Vec<&str> = recipients.filter(|to| !to.is_empty() && known.insert(*to)).collect();
    if recipients.is_empty() {
        return Err(job.bad((Some("to"), "names nobody".into())));
    }
    if recipients.len() > MOST_RECIPIENTS {
        let mend = format!("names more than {MOST_RECIPIENTS}: map the task over them");
        return Err(job.bad((Some("to"), mend)));
    }
    let work = job.work_id();
    let messages = recipients.into_iter().map(|to| {
        // The gateway knows a message that comes twice by it.
        let message_id = format!("{work}.{}", escape(to));
        let message = Message { to, text: &args.text, message_id: &message_id };
        let render = |names, fields: &Value| {
            job.with_renderer(names, |renderer| renderer.render(conn_id, fields, &[]))
        };
        let request = gateway.request(&message, render, |bad| job.bad(bad))?;
        Ok((to.to_owned(), request))
    });
    let messages = messages.collect::<Result<_, Refused>>()?;
    Ok(Work::Native(Box::new(Sending { messages, check: gateway.into_check() })))
}

#[derive(Debug)]
struct Sending {
    messages: Vec<(String, Request)>,
    check: Option<String>,
}

impl NativeTask for Sending {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let mut failed = Vec::new();
            for (to, request) in &self.messages {
                match self.send(request, &context).await {
                    Ok(()) => context.log.line(&format!("sent to {to}")),
                    Err(why) => {
                        context.log.line(&format!("not sent to {to}: {why}"));
                        failed.push((to, why));
                    }
                }
            }
            let Some((to, why)) = failed.first() else { return Outcome::new(AttemptEnd::Success) };
            let message = match self.messages.len() {
                1 => why.clone(),
                all => format!("{} of {all} messages were not sent; the first, to {to}: {why}", failed.len()),
            };
            Outcome { message: Some(message), ..Outcome::new(AttemptEnd::Failed) }
        })
    }
}

impl Sending {
    async fn send(&self, request: &Request, context: &TaskContext) -> Result<(), String> {
        let answer = context.shared.http.ask(request, Longest::Cut(LONGEST_ANSWER)).await;
        let answer = answer.map_err(|unanswered| unanswered.why)?;
        if is_taken(&answer, self.check.as_deref())? {
            return Ok(());
        }
        let text = answer.text();
        let said: String = text.trim().chars().take(MOST_SHOWN).collect();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Err(format!("{} gave {}{said}", request.shown, answer.reason()))
    }
}

/// Whether the gateway has taken a message, by its answer and its connection's `response_check`.
pub(crate) fn is_taken(answer: &Answer, check: Option<&str>) -> Result<bool, String> {
    Ok(answer.status.is_success()
        && match check {
            Some(check) => {
                expression::holds("response_check", check, &expression::sees(expression::seen(answer)))?
            }
            None => true,
        })
}
