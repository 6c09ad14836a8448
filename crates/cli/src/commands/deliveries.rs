//! `updraft deliveries`: what is told to people.

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use super::{
    Ask, Limit, Session,
    tasks::{EMPTY, text},
};
use crate::output::{Columns, Format};

/// What can be done with deliveries.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List what is told to people, the latest first.
    #[command(after_help = "Examples:\n  updraft deliveries list --state undeliverable\n  \
                            updraft deliveries list --dag etl --limit 10")]
    List {
        /// Only about this DAG.
        #[arg(long = "dag", value_name = "DAG_ID")]
        dag_id: Option<String>,
        /// Only about this run of it.
        #[arg(long = "run", requires = "dag_id", value_name = "RUN_ID")]
        run_id: Option<String>,
        /// Only in this state; may be given several times.
        #[arg(long, value_parser = ["pending", "sending", "sent", "failed", "undeliverable", "held"])]
        state: Vec<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Print what a function printed that a DAG had called about a run.
    #[command(after_help = "Example:\n  updraft deliveries logs 12")]
    Logs {
        /// Its number in `deliveries list`.
        id: i64,
    },
    /// Send anew what failed, could not be delivered, or is held since nobody knows whether it went out; what did not go to
    /// all, to the others alone.
    #[command(after_help = "Example:\n  updraft deliveries resend 12")]
    Resend {
        /// Its number in `deliveries list`.
        id: i64,
    },
    /// Send what waits, or is held, no more.
    #[command(after_help = "Example:\n  updraft deliveries drop 12")]
    Drop {
        /// Its number in `deliveries list`.
        id: i64,
    },
}

const LISTED: Columns = &[
    ("ID", "/id"),
    ("AT", "/at"),
    ("DAG", "/dag_id"),
    ("ON", "/on"),
    ("TO", "/to"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("NEXT", "/next"),
    ("LAST ERROR", "/last_error"),
];

/// Prints deliveries.
pub fn list(format: Format, mut deliveries: Vec<Value>) -> Result<()> {
    if format == Format::Table {
        deliveries.iter_mut().for_each(in_words);
    }
    format.list(&deliveries, LISTED)
}

/// Adds to a delivery what a reader looks for: to whom it goes, and when it is tried next.
fn in_words(delivery: &mut Value) {
    let to = to_whom(&delivery["channel"]);
    let waits = matches!(delivery["state"].as_str(), Some("pending"));
    let next = if waits { delivery["next_at"].take() } else { Value::Null };
    if let Some(fields) = delivery.as_object_mut() {
        fields.insert("to".into(), to.into());
        fields.insert("next".into(), next);
    }
}

/// To whom something goes, as `mail to ops@example.com`.
fn to_whom(channel: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some((kind, of)) = channel.as_object().and_then(|channel| channel.iter().next()) else {
        return channel.to_string();
    };
    match kind.as_str() {
        "email" => {
            let all = ["to", "cc", "bcc"].map(|field| of[field].as_array().cloned().unwrap_or_default());
            format!("mail to {}", all.concat().iter().map(text).collect::<Vec<_>>().join(", "))
        }
        "slack" => match of["channel"].as_str() {
            Some(channel) => format!("Slack {channel} by {}", text(&of["conn_id"])),
            None => format!("Slack by {}", text(&of["conn_id"])),
        },
        "webhook" => match of["url"].as_str() {
            Some(url) => format!("webhook {url}"),
            None => format!("webhook of {}", text(&of["conn_id"])),
        },
        "sms" => format!("SMS to {}", text(&of["to"])),
        "callback" => format!("function {}", text(&of["function"])),
        _ => channel.to_string(),
    }
}

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { dag_id, run_id, state, limit } => {
                let mut query = Vec::new();
                query.extend(dag_id.map(|dag_id| ("dag_id", dag_id)));
                query.extend(run_id.map(|run_id| ("run_id", run_id)));
                query.extend(state.into_iter().map(|state| ("state", state)));
                let path = ["v1", "deliveries"];
                list(*format, client.list(&path, &query, "deliveries", limit.rows()).await?)
            }
            Self::Logs { id } => {
                if text(session, &["v1", "deliveries", &id.to_string(), "logs"], &[]).await? {
                    eprintln!("{EMPTY}");
                }
                Ok(())
            }
            Self::Resend { id } => {
                let path = ["v1", "deliveries", &id.to_string(), "resend"];
                client.call(Method::POST, &path, &[], None).await?;
                eprintln!("delivery {id} is sent anew");
                Ok(())
            }
            Self::Drop { id } => {
                let path = ["v1", "deliveries", &id.to_string(), "drop"];
                client.call(Method::POST, &path, &[], None).await?;
                eprintln!("delivery {id} is dropped");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_delivery_tells_in_words_to_whom_it_goes() {
        let told = [
            (
                json!({ "email": { "to": ["a@example.com"], "cc": ["b@example.com"] } }),
                "mail to a@example.com, b@example.com",
            ),
            (json!({ "slack": { "conn_id": "chat", "channel": "#ops" } }), "Slack #ops by chat"),
            (json!({ "slack": { "conn_id": "chat" } }), "Slack by chat"),
            (json!({ "webhook": { "url": "https://example.com/***" } }), "webhook https://example.com/***"),
            (json!({ "webhook": { "conn_id": "hook" } }), "webhook of hook"),
            (json!({ "sms": { "to": "+1", "conn_id": "gateway" } }), "SMS to +1"),
            (json!({ "callback": { "on": "failure", "function": "ops.page" } }), "function ops.page"),
        ];
        for (channel, words) in told {
            let mut delivery = json!({ "channel": channel, "state": "pending", "next_at": "soon" });
            in_words(&mut delivery);
            assert_eq!((&delivery["to"], &delivery["next"]), (&json!(words), &json!("soon")));
        }
    }
}
