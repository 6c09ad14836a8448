//! Who is told of what: the key `alerts` of DAGs and tasks, an addition to the dialect.
//!
//! It is a list. Each alert has `on`, one word or several, and one way to go:
//!
//! - `email: who@example.com`, one address or several, with copies to those of `cc` and `bcc`;
//! - `slack: CONN_ID`, a connection of type `slackwebhook`, or of type `slack` and a `channel`;
//! - `webhook: https://example.com/hook`, or `webhook: CONN_ID`, a connection of type `http`, which keeps secret
//!   what an address can't;
//! - `sms: "+49 30 1234567"`, one number or several, by the gateway of the connection `conn_id` (`sms_default`).
//!
//! `on` is `failure`, `retry` (of a task only) and `success`; at a DAG also `missed`, ticks of the schedule that passed
//! without a run, and `deadline`, a run that is not over `after: 2 hours`, `from` its `logical_date`, from
//! `queued_at`, which is the default, or from `started_at`. These are Airflow 3's deadline alerts, in short.
//!
//! And an alert may have `text` and, for mail and webhooks, `subject`: templates over what happened. With
//! `html: true` a mail's text is HTML. With
//! `on_doubt: hold` what was on its way when the server died waits for a person; with `resend`, which is the
//! default, it is sent again.

use serde_json::Value as Json;
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, AlertWords, Deadline, DeadlineFrom, OnDoubt, WebhookTarget,
};
use updraft_operators::{alert::unknown_names, template};

use super::{
    field::{self, Got, Noted, did_you_mean, set, word, wrong},
    node::{Mapping, Node},
    problem::Problems,
};

/// What alerts are on.
pub(super) const ON: &[&str] = &["failure", "retry", "success", "deadline", "missed"];

/// Of these, what a task's are on.
const ON_TASK: &[&str] = &["failure", "retry", "success"];

/// What a deadline is counted from.
pub(super) const FROM: &[&str] = &["logical_date", "queued_at", "started_at"];

/// Whose alerts they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A DAG's, about its runs.
    Dag,
    /// A task's.
    Task,
}

/// The keys that say by what way an alert goes.
const WAYS: [&str; 4] = ["email", "slack", "webhook", "sms"];

/// The other keys.
const OTHERS: [&str; 11] =
    ["on", "after", "from", "cc", "bcc", "conn_id", "channel", "subject", "text", "html", "on_doubt"];

const EXPECTED: &str = "`{on: failure, email: who@example.com}`";

/// A list of alerts.
pub(super) fn alerts(of: Of, node: &Node, problems: &mut Problems) -> Got<Vec<AlertSpec>> {
    if node.is_null() {
        return Ok(None);
    }
    let Some(items) = node.list() else { return wrong(node, &format!("a list of {EXPECTED}"), problems) };
    let mut all = Vec::new();
    let mut all_are_read = true;
    for item in items {
        let read = match item.map() {
            Some(map) => alert(of, item, map, problems).map(Some),
            None => wrong(item, EXPECTED, problems),
        };
        all_are_read &= read.is_ok();
        all.extend(read.ok().flatten().unwrap_or_default());
    }
    if all_are_read { Ok(Some(all)) } else { Err(Noted) }
}

/// One alert of the list, which is one for each word of `on` and each number. Of one that can't be had all is noted that
/// is wrong with it.
fn alert(of: Of, item: &Node, map: &Mapping, problems: &mut Problems) -> Result<Vec<AlertSpec>, Noted> {
    let known = || WAYS.into_iter().chain(OTHERS);
    let mut unknown = map.entries.iter().filter(|entry| !known().any(|key| key == &*entry.key)).peekable();
    // What is missing is most likely what they mean.
    let all_are_known = unknown.peek().is_none();
    for unknown in unknown {
        let hint = did_you_mean(&unknown.key, known());
        let keys = format!("; it has {}", known().collect::<Vec<_>>().join(", "));
        let hint = if hint.is_empty() { keys } else { hint };
        let message = format!("an alert has no `{}`{hint}", unknown.key);
        problems.error(unknown.key_place, message);
    }
    if !all_are_known {
        return Err(Noted);
    }
    let events = events(of, item, map, problems);
    let deadline = events.as_ref().map_or(Ok(None), |events| deadline(item, map, events, problems));
    let channels = channels(item, map, problems);
    let words = words(map, channels.as_deref().ok(), problems);
    let mut on_doubt = OnDoubt::default();
    if let Some(node) = map.get("on_doubt") {
        set(&mut on_doubt, word(node, &["resend", "hold"], problems), OnDoubt::default());
    }
    let (events, deadline, channels, words) = (events?, deadline?, channels?, words?);
    let each = |on| {
        let deadline = deadline.filter(|_| on == AlertOn::Deadline);
        let specs = channels.iter().cloned().map(move |channel| AlertSpec::new(on, channel));
        specs.map(|spec| AlertSpec { words: words.clone(), on_doubt, deadline, ..spec }).collect::<Vec<_>>()
    };
    Ok(events.into_iter().flat_map(each).collect())
}

fn events(of: Of, item: &Node, map: &Mapping, problems: &mut Problems) -> Result<Vec<AlertOn>, Noted> {
    let known = if of == Of::Dag { ON } else { ON_TASK };
    let Some(on) = map.get("on") else {
        problems.error(item.place, format!("an alert needs `on`: {}", known.join(", ")));
        return Err(Noted);
    };
    let mut events = Vec::new();
    let mut all_are_read = true;
    for on in on.list().unwrap_or(std::slice::from_ref(on)) {
        let event = word::<AlertOn>(on, known, problems);
        let misplaced = match (of, &event) {
            (Of::Task, Ok(Some(AlertOn::Deadline | AlertOn::Missed))) => {
                Some("this is about runs and the schedule: write it in the DAG's `alerts`")
            }
            (Of::Dag, Ok(Some(AlertOn::Retry))) => {
                Some("a run is not tried again: write it at the tasks, or in `default_args`")
            }
            _ => None,
        };
        if let Some(misplaced) = misplaced {
            problems.error(on.place, misplaced);
        }
        all_are_read &= event.is_ok() && misplaced.is_none();
        events.extend(event.ok().flatten());
    }
    if all_are_read { Ok(events) } else { Err(Noted) }
}

/// `after` and `from`, which an alert on a deadline has.
fn deadline(
    item: &Node,
    map: &Mapping,
    events: &[AlertOn],
    problems: &mut Problems,
) -> Result<Option<Deadline>, Noted> {
    let wanted = events.contains(&AlertOn::Deadline);
    if let Some(entry) = map.entry("after").or(map.entry("from")).filter(|_| !wanted) {
        problems.error(entry.key_place, format!("`{}` is for an alert `on: deadline`", entry.key));
        return Err(Noted);
    }
    if !wanted {
        return Ok(None);
    }
    let after = map.get("after").map(|node| field::duration(node, problems)).transpose()?.flatten();
    let Some(after) = after.filter(|after| after.is_positive()) else {
        let mend = "an alert on a deadline needs `after`, such as `after: 2 hours`: the time that a run has";
        problems.error(item.place, mend);
        return Err(Noted);
    };
    let mut from = DeadlineFrom::default();
    if let Some(node) = map.get("from") {
        set(&mut from, word(node, FROM, problems), DeadlineFrom::default());
    }
    Ok(Some(Deadline { from, after }))
}

fn channels(item: &Node, map: &Mapping, problems: &mut Problems) -> Result<Vec<AlertChannel>, Noted> {
    let given: Vec<&str> = WAYS.into_iter().filter(|way| map.get(way).is_some()).collect();
    let [way] = given[..] else {
        let message = match &given[..] {
            [] => format!("an alert needs a way to go: one of {}", WAYS.join(", ")),
            several => {
                format!("an alert goes one way, and this has {}: write one for each", several.join(", "))
            }
        };
        problems.error(item.place, message);
        return Err(Noted);
    };
    if let Some(entry) = map.entry("conn_id").filter(|_| way != "sms") {
        let message = format!("`conn_id` is for `sms`: write the connection's name behind `{way}`");
        problems.error(entry.key_place, message);
        return Err(Noted);
    }
    if let Some(entry) = map.entry("channel").filter(|_| way != "slack") {
        problems.error(entry.key_place, "`channel` is for `slack`");
        return Err(Noted);
    }
    for key in ["cc", "bcc"] {
        if let Some(entry) = map.entry(key).filter(|_| way != "email") {
            problems.error(entry.key_place, format!("`{key}` is for `email`"));
            return Err(Noted);
        }
    }
    let Some(node) = map.get(way) else { return Err(Noted) };
    Ok(match way {
        "email" => {
            let to = field::addresses(node, problems)?.unwrap_or_default();
            let to = some(to, node, "a mail address", problems)?;
            let (cc, bcc) = (copies(map, "cc", problems)?, copies(map, "bcc", problems)?);
            vec![AlertChannel::Email { to, cc, bcc }]
        }
        "slack" => {
            let channel = map.get("channel").map(|node| needed(node, "a channel, such as `#ops`", problems));
            let conn_id = needed(node, "a connection's name", problems)?;
            vec![AlertChannel::Slack { conn_id, channel: channel.transpose()? }]
        }
        "webhook" => vec![AlertChannel::Webhook(webhook(node, problems)?)],
        _ => {
            let mut conn_id = "sms_default".to_owned();
            if let Some(given) = map.get("conn_id") {
                conn_id = needed(given, "a connection's name", problems)?;
            }
            let numbers = field::texts(node, problems)?.unwrap_or_default();
            let numbers = numbers.iter().flat_map(|list| list.split([',', ';'])).map(str::trim);
            let numbers = numbers.filter(|to| !to.is_empty()).map(str::to_owned).collect();
            let numbers: Vec<String> = some(numbers, node, "a number", problems)?;
            numbers.into_iter().map(|to| AlertChannel::Sms { to, conn_id: conn_id.clone() }).collect()
        }
    })
}

/// Who gets a copy of a mail.
pub(super) fn copies(map: &Mapping, key: &str, problems: &mut Problems) -> Result<Vec<String>, Noted> {
    let given = map.get(key).map(|node| field::addresses(node, problems)).transpose()?;
    Ok(given.flatten().unwrap_or_default())
}

/// An address of a web server, or else a connection's name.
fn webhook(node: &Node, problems: &mut Problems) -> Result<WebhookTarget, Noted> {
    let text = needed(node, "an address or a connection's name", problems)?;
    if ["http://", "https://"].iter().any(|start| text.starts_with(start)) {
        return Ok(WebhookTarget::Url(text));
    }
    if text.contains("://") || text.contains('/') {
        let message = format!("`{text}` is neither an address (https://…) nor a connection's name");
        problems.error(node.place, message);
        return Err(Noted);
    }
    Ok(WebhookTarget::ConnId(text))
}

/// What it says; which words these can be depends on its channels, where they are known.
fn words(
    map: &Mapping,
    channels: Option<&[AlertChannel]>,
    problems: &mut Problems,
) -> Result<AlertWords, Noted> {
    let mut words = AlertWords::default();
    let mut all_are_read = true;
    let has_subject =
        |channel: &AlertChannel| matches!(channel, AlertChannel::Email { .. } | AlertChannel::Webhook(_));
    if let Some(entry) = map.entry("html") {
        if channels.is_some_and(|channels| !matches!(channels, [AlertChannel::Email { .. }])) {
            problems.error(entry.key_place, "`html` is for `email`");
            all_are_read = false;
        }
        set(&mut words.html, field::boolean(&entry.node, problems), false);
    }
    for (key, slot) in [("subject", &mut words.subject), ("text", &mut words.text)] {
        let Some(entry) = map.entry(key) else { continue };
        if key == "subject" && channels.is_some_and(|channels| !channels.iter().any(has_subject)) {
            problems.error(entry.key_place, "this has no subject: write it in `text`");
            all_are_read = false;
        }
        match template_of(key, &entry.node, problems) {
            Ok(template) => *slot = template,
            Err(Noted) => all_are_read = false,
        }
    }
    if all_are_read { Ok(words) } else { Err(Noted) }
}

/// A template, checked.
pub(super) fn template_of(key: &str, node: &Node, problems: &mut Problems) -> Result<Option<String>, Noted> {
    let text = field::text(node, problems)?;
    if let Some(text) = &text
        && let Err(bad) = template::check(key, &Json::from(&**text))
    {
        problems.error(node.place, bad.to_string());
        return Err(Noted);
    }
    for unknown in text.iter().flat_map(|text| unknown_names(key, text)) {
        problems.warn(node.place, unknown.to_string());
    }
    Ok(text)
}

fn needed(node: &Node, what: &str, problems: &mut Problems) -> Result<String, Noted> {
    match field::text(node, problems)?.filter(|text| !text.trim().is_empty()) {
        Some(text) => Ok(text.trim().to_owned()),
        None => wrong(node, what, problems)?.ok_or(Noted),
    }
}

fn some(list: Vec<String>, node: &Node, what: &str, problems: &mut Problems) -> Result<Vec<String>, Noted> {
    if list.is_empty() {
        problems.error(node.place, format!("this names nobody: write {what}"));
        return Err(Noted);
    }
    Ok(list)
}
