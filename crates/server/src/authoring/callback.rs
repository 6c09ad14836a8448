//! Callbacks that tell somebody: the notifiers of Airflow's providers, which become alerts. Other callbacks are Python
//! of their own and are refused.

use updraft_core::{AlertChannel, AlertOn, AlertSpec, AlertWords};

use super::{
    alert::template_of,
    field::{self, Noted},
    node::{Entry, Mapping, Node, Value},
    problem::Problems,
};

const PYTHON: &str = "is Python and is not run yet; Airflow's notifiers for mail and Slack are known, and `alerts` tells \
                      of failures, too";

/// Reads a notifier's arguments, which stand in the mapping of a node.
type Notifier = fn(&Mapping, &Node, &mut Problems) -> Result<(AlertChannel, AlertWords), Noted>;

/// What a callback's key is on; `None` where it is no callback that can become an alert.
pub(super) fn on(key: &str) -> Option<AlertOn> {
    match key {
        "on_failure_callback" => Some(AlertOn::Failure),
        "on_retry_callback" => Some(AlertOn::Retry),
        "on_success_callback" => Some(AlertOn::Success),
        _ => None,
    }
}

/// The alerts that a callback comes to: one or a list of them, each with its arguments beside `callback`.
pub(super) fn alerts(on: AlertOn, entry: &Entry, problems: &mut Problems) -> Result<Vec<AlertSpec>, Noted> {
    if entry.node.is_null() {
        return Ok(Vec::new());
    }
    let nodes = entry.node.list().unwrap_or(std::slice::from_ref(&entry.node));
    let mut all = Vec::with_capacity(nodes.len());
    for node in nodes {
        let (name, given) = match &node.value {
            Value::Map(map) => (map.get("callback").and_then(Node::text).cloned(), Some(&**map)),
            Value::Object(object) => {
                if let Some(first) = object.arguments.first() {
                    problems
                        .error(first.place, "a notifier's arguments have names here: write `to`, `text`, …");
                    return Err(Noted);
                }
                (Some(object.class.clone()), Some(&object.keywords))
            }
            Value::Text(text) => (Some(text.clone()), None),
            _ => (None, None),
        };
        let Some(name) = name else {
            problems.error(
                node.place,
                "expected a callback's name, or a mapping with `callback` and its arguments",
            );
            return Err(Noted);
        };
        let none = Mapping::new(Vec::new());
        all.push(alert(on, &name, given.unwrap_or(&none), node, problems)?);
    }
    Ok(all)
}

fn alert(
    on: AlertOn,
    name: &str,
    given: &Mapping,
    node: &Node,
    problems: &mut Problems,
) -> Result<AlertSpec, Noted> {
    let is_of = |provider: &str| name.starts_with(&format!("airflow.providers.{provider}.notifications."));
    let notifier = name.rsplit('.').next().unwrap_or_default();
    let read: Notifier = match notifier {
        "SmtpNotifier" | "send_smtp_notification" if is_of("smtp") => mail,
        "SlackNotifier" | "send_slack_notification" if is_of("slack") => slack,
        "SlackWebhookNotifier" | "send_slack_webhook_notification" if is_of("slack") => slack_webhook,
        _ => {
            problems.error(node.place, format!("`{name}` {PYTHON}"));
            return Err(Noted);
        }
    };
    let (channel, words) = read(given, node, problems)?;
    Ok(AlertSpec { words, ..AlertSpec::new(on, channel) })
}

/// What becomes of an argument that is not read.
fn pass_over(
    given: &Mapping,
    read: &[&str],
    without_effect: &[(&str, &str)],
    problems: &mut Problems,
) -> Result<(), Noted> {
    for entry in &given.entries {
        let key = &*entry.key;
        if key == "callback" || read.contains(&key) || entry.node.is_null() {
            continue;
        }
        match without_effect.iter().find(|(known, _)| *known == key) {
            Some((_, why)) => problems.warn(entry.key_place, format!("`{key}` has no effect: {why}")),
            None => {
                problems
                    .error(entry.key_place, format!("`{key}` can't be had here: it has {}", read.join(", ")));
                return Err(Noted);
            }
        }
    }
    Ok(())
}

fn text(given: &Mapping, key: &str, problems: &mut Problems) -> Result<Option<String>, Noted> {
    let node = given.get(key).filter(|node| !node.is_null());
    node.map_or(Ok(None), |node| template_of(key, node, problems))
}

fn named(given: &Mapping, key: &str, default: &str, problems: &mut Problems) -> Result<String, Noted> {
    let named = given.get(key).map(|node| field::text(node, problems)).transpose()?.flatten();
    Ok(named.unwrap_or_else(|| default.to_owned()))
}

/// `SmtpNotifier`.
fn mail(given: &Mapping, node: &Node, problems: &mut Problems) -> Result<(AlertChannel, AlertWords), Noted> {
    const SENDER: &str =
        "mail goes out by the server and from the sender of UPDRAFT__SMTP__URL and UPDRAFT__SMTP__FROM";
    const OURS: &[(&str, &str)] = &[
        ("from_email", SENDER),
        ("smtp_conn_id", SENDER),
        ("mime_charset", "it is always UTF-8"),
        ("mime_subtype", "it follows from the text"),
    ];
    pass_over(given, &["to", "subject", "html_content"], OURS, problems)?;
    let to = given.get("to").map(|node| field::addresses(node, problems)).transpose()?.flatten();
    let Some(to) = to.filter(|to| !to.is_empty()) else {
        problems.error(node.place, "this names nobody: write `to`");
        return Err(Noted);
    };
    let (subject, text) = (text(given, "subject", problems)?, text(given, "html_content", problems)?);
    let html = text.is_some();
    Ok((AlertChannel::Email { to }, AlertWords { subject, text, html }))
}

/// Airflow's defaults of `SlackNotifier`.
fn slack(given: &Mapping, _: &Node, problems: &mut Problems) -> Result<(AlertChannel, AlertWords), Noted> {
    const OURS: &[(&str, &str)] = &[
        ("username", "the name is that of the app whose token it is"),
        ("icon_url", "the picture is that of the app whose token it is"),
        ("base_url", "write it in the connection's extra fields"),
        ("timeout", "half a minute is waited"),
    ];
    pass_over(given, &["slack_conn_id", "channel", "text"], OURS, problems)?;
    let conn_id = named(given, "slack_conn_id", "slack_api_default", problems)?;
    let channel = Some(named(given, "channel", "#general", problems)?);
    let text = text(given, "text", problems)?;
    Ok((AlertChannel::Slack { conn_id, channel }, AlertWords { text, ..AlertWords::default() }))
}

/// `SlackWebhookNotifier`.
fn slack_webhook(
    given: &Mapping,
    _: &Node,
    problems: &mut Problems,
) -> Result<(AlertChannel, AlertWords), Noted> {
    const OURS: &[(&str, &str)] =
        &[("timeout", "half a minute is waited"), ("proxy", "start the server with HTTPS_PROXY set")];
    pass_over(given, &["slack_webhook_conn_id", "text"], OURS, problems)?;
    let conn_id = named(given, "slack_webhook_conn_id", "slackwebhook_default", problems)?;
    let text = text(given, "text", problems)?;
    Ok((AlertChannel::Slack { conn_id, channel: None }, AlertWords { text, ..AlertWords::default() }))
}
