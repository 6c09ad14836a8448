//! Callbacks: Python functions that a task or a DAG has called, and the notifiers of Airflow's providers, which become
//! alerts.
//!
//! As in dag-factory, `on_failure_callback` and its like name a function by its dotted path, alone or as `callback` in a
//! mapping whose other entries are its arguments; or there are several in a list. `on_failure_callback_name` names one
//! in the file `on_failure_callback_file`, and counts over the other form.
//!
//! What a DAG has called about its runs goes by the outbox, as its alerts do, and is among these.

use serde_json::Map;
use updraft_core::{AlertChannel, AlertOn, AlertSpec, AlertWords, Callback, CallbackOn};

use super::{
    alert::{copies, template_of},
    field::{self, Noted},
    node::{Entry, Mapping, Node, Value},
    problem::Problems,
};

/// Reads a notifier's arguments, which stand in the mapping of a node.
type Notifier = fn(&Mapping, &Node, &mut Problems) -> Result<(AlertChannel, AlertWords), Noted>;

/// What callbacks on one thing come to.
#[derive(Clone, Default)]
pub(super) struct Called {
    pub alerts: Vec<AlertSpec>,
    pub functions: Vec<Callback>,
}

/// What a DAG's callbacks are about.
const OF_RUNS: [CallbackOn; 2] = [CallbackOn::Failure, CallbackOn::Success];

/// Whether a key is about a callback of a task.
pub(super) fn is_key(key: &str) -> bool {
    is_about(&CallbackOn::ALL, key)
}

/// Whether a key is about a callback of a DAG.
pub(super) fn is_key_of_dag(key: &str) -> bool {
    is_about(&OF_RUNS, key)
}

fn is_about(these: &[CallbackOn], key: &str) -> bool {
    let of = key.strip_suffix("_name").or_else(|| key.strip_suffix("_file")).unwrap_or(key);
    these.iter().any(|on| on.key() == of)
}

/// What a task, or `default_args`, says of its callbacks.
pub(super) fn of_tasks(given: &Mapping, problems: &mut Problems) -> Vec<(CallbackOn, Called)> {
    of(&CallbackOn::ALL, given, problems)
}

/// What a DAG says of its callbacks: what its outbox carries out when a run ends.
pub(super) fn of_dag(given: &Mapping, problems: &mut Problems) -> Vec<AlertSpec> {
    let mut alerts = Vec::new();
    for (on, called) in of(&OF_RUNS, given, problems) {
        let on = if on == CallbackOn::Success { AlertOn::Success } else { AlertOn::Failure };
        let functions = called.functions.into_iter().map(AlertChannel::Callback);
        alerts.extend(called.alerts.into_iter().chain(functions.map(|channel| AlertSpec::new(on, channel))));
    }
    alerts
}

fn of(these: &[CallbackOn], given: &Mapping, problems: &mut Problems) -> Vec<(CallbackOn, Called)> {
    let mut all = Vec::new();
    for on in these.iter().copied() {
        let plain = given.entry(on.key()).map(|entry| called(on, entry, problems));
        match in_file(on, given, problems) {
            Ok(Some(function)) => all.push((on, Called { functions: vec![function], alerts: Vec::new() })),
            Ok(None) => all.extend(plain.and_then(Result::ok).map(|called| (on, called))),
            Err(Noted) => {}
        }
    }
    all
}

/// A function that is named together with its file.
fn in_file(on: CallbackOn, given: &Mapping, problems: &mut Problems) -> Result<Option<Callback>, Noted> {
    let key = on.key();
    let entry = |suffix| given.entry(&format!("{key}_{suffix}")).filter(|entry| !entry.node.is_null());
    let (name, file) = match (entry("name"), entry("file")) {
        (None, None) => return Ok(None),
        (Some(name), Some(file)) => (name, file),
        (Some(one), None) | (None, Some(one)) => {
            problems.error(one.key_place, format!("needs both `{key}_name` and `{key}_file`"));
            return Err(Noted);
        }
    };
    let (function, file) = (field::text(&name.node, problems)?, field::text(&file.node, problems)?);
    Ok(function.map(|function| Callback { on, function, file, kwargs: Map::new() }))
}

/// What one callback's key says: one or a list of them, each with its arguments beside `callback`.
fn called(on: CallbackOn, entry: &Entry, problems: &mut Problems) -> Result<Called, Noted> {
    let mut all = Called::default();
    if entry.node.is_null() {
        return Ok(all);
    }
    let nodes = entry.node.list().unwrap_or(std::slice::from_ref(&entry.node));
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
            let found = node.kind();
            problems.error(
                node.place,
                format!("expected a callback's name, or a mapping with `callback` and its arguments; found {found}"),
            );
            return Err(Noted);
        };
        let none = Mapping::new(Vec::new());
        let given = given.unwrap_or(&none);
        match notifier(&name) {
            Some(read) => all.alerts.push(alert(on, read, given, node, problems)?),
            None => all.functions.push(function(on, &name, given, node, problems)?),
        }
    }
    Ok(all)
}

/// The notifiers that are known.
fn notifier(name: &str) -> Option<Notifier> {
    let is_of = |provider: &str| name.starts_with(&format!("airflow.providers.{provider}.notifications."));
    match name.rsplit('.').next().unwrap_or_default() {
        "SmtpNotifier" | "send_smtp_notification" if is_of("smtp") => Some(mail),
        "SlackNotifier" | "send_slack_notification" if is_of("slack") => Some(slack),
        "SlackWebhookNotifier" | "send_slack_webhook_notification" if is_of("slack") => Some(slack_webhook),
        _ => None,
    }
}

fn alert(
    on: CallbackOn,
    read: Notifier,
    given: &Mapping,
    node: &Node,
    problems: &mut Problems,
) -> Result<AlertSpec, Noted> {
    let told = match on {
        CallbackOn::Failure => AlertOn::Failure,
        CallbackOn::Retry => AlertOn::Retry,
        CallbackOn::Success => AlertOn::Success,
        CallbackOn::Execute | CallbackOn::Skipped => {
            let mend =
                "notifiers tell of failures, retries and successes; write a function of your own for this";
            problems.error(node.place, mend);
            return Err(Noted);
        }
    };
    let (channel, words) = read(given, node, problems)?;
    Ok(AlertSpec { words, ..AlertSpec::new(told, channel) })
}

fn function(
    on: CallbackOn,
    name: &str,
    given: &Mapping,
    node: &Node,
    problems: &mut Problems,
) -> Result<Callback, Noted> {
    let is_name = |part: &str| {
        let letters = |letter: char| letter.is_alphanumeric() || letter == '_';
        part.chars().all(letters) && part.chars().next().is_some_and(|first| !first.is_numeric())
    };
    if name.starts_with("airflow.") {
        let known = "Airflow's notifiers for mail and Slack are known; for another way write a function of your \
                     own, or `alerts`";
        problems.error(node.place, format!("`{name}` is not here: {known}"));
        return Err(Noted);
    }
    if !name.contains('.') || !name.split('.').all(is_name) {
        let key = on.key();
        let mend = format!(
            "write package.module.function, or `{key}_name` and `{key}_file` for a function in a file"
        );
        problems.error(node.place, format!("`{name}` is no path to a Python function: {mend}"));
        return Err(Noted);
    }
    let mut kwargs = Map::new();
    for entry in given.entries.iter().filter(|entry| &*entry.key != "callback") {
        kwargs.insert(entry.key.to_string(), field::python(&entry.node, problems)?);
    }
    Ok(Callback { on, function: name.into(), file: None, kwargs })
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
        ("files", "nothing goes along with an alert: put a link into its text"),
        ("template", "write the text itself, as `html_content`"),
        ("custom_headers", "a mail has those that it needs"),
        ("auth_type", SENDER),
    ];
    pass_over(given, &["to", "cc", "bcc", "subject", "html_content"], OURS, problems)?;
    let to = given.get("to").map(|node| field::addresses(node, problems)).transpose()?.flatten();
    let Some(to) = to.filter(|to| !to.is_empty()) else {
        problems.error(node.place, "this names nobody: write `to`");
        return Err(Noted);
    };
    let (subject, text) = (text(given, "subject", problems)?, text(given, "html_content", problems)?);
    let html = text.is_some();
    let (cc, bcc) = (copies(given, "cc", problems)?, copies(given, "bcc", problems)?);
    Ok((AlertChannel::Email { to, cc, bcc }, AlertWords { subject, text, html }))
}

const ONLY_TEXT: &str = "an alert is text: write all of it as `text`";

const BY_CHAT: &str = "the chat does as it is set up";

/// Airflow's defaults of `SlackNotifier`.
fn slack(given: &Mapping, _: &Node, problems: &mut Problems) -> Result<(AlertChannel, AlertWords), Noted> {
    const OURS: &[(&str, &str)] = &[
        ("username", "the name is that of the app whose token it is"),
        ("icon_url", "the picture is that of the app whose token it is"),
        ("base_url", "write it in the connection's extra fields"),
        ("timeout", "half a minute is waited"),
        ("attachments", ONLY_TEXT),
        ("blocks", ONLY_TEXT),
        ("unfurl_links", BY_CHAT),
        ("unfurl_media", BY_CHAT),
        ("retry_handlers", "the outbox tries again, for a day"),
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
    const OURS: &[(&str, &str)] = &[
        ("timeout", "half a minute is waited"),
        ("proxy", "start the server with HTTPS_PROXY set"),
        ("attachments", ONLY_TEXT),
        ("blocks", ONLY_TEXT),
        ("unfurl_links", BY_CHAT),
        ("unfurl_media", BY_CHAT),
        ("retry_handlers", "the outbox tries again, for a day"),
    ];
    pass_over(given, &["slack_webhook_conn_id", "text"], OURS, problems)?;
    let conn_id = named(given, "slack_webhook_conn_id", "slackwebhook_default", problems)?;
    let text = text(given, "text", problems)?;
    Ok((AlertChannel::Slack { conn_id, channel: None }, AlertWords { text, ..AlertWords::default() }))
}
