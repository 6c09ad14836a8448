//! What an alert says.

use serde_json::{Map, Value};
use updraft_core::{ALERT_NAMES, AlertChannel, AlertOn, MapIndex, record::DeliveryRow};

use super::{Nowhere, order, unseen};
use crate::{
    prepare::as_text,
    template::{self, BadTemplate, Renderer},
};

/// What an alert says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// In one line; what a mail has as its subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The text is HTML, for a mail.
    pub html: bool,
}

/// What is told in a mail's usual text, in this order.
const TOLD: [&str; 11] = [
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "try_number",
    "state",
    "exit_code",
    "first_tick",
    "last_tick",
    "deadline",
    "reason",
];

/// Where a person sees what an alert is about; `base_url` is where people find Updraft.
pub fn page(row: &DeliveryRow, base_url: &str) -> String {
    let page = format!("{base_url}/dags/{}", row.dag.dag_id);
    match row.context["run_id"].as_str() {
        Some(run_id) => format!("{page}/runs/{run_id}"),
        None => page,
    }
}

/// What an alert says: its own words, the usual ones where it has none. `base_url` is where people find Updraft. Where a
/// template can't be rendered, it says the usual words with that error behind them, since somebody has to be told all the
/// same; the error comes too.
pub fn words(row: &DeliveryRow, base_url: &str) -> (Words, Option<BadTemplate>) {
    let url = page(row, base_url);
    let mut words = usual(row, &url);
    // Its templates are about what did not happen.
    if is_test(row) {
        return (words, None);
    }
    let own = [("subject", &row.words.subject), ("text", &row.words.text)];
    for (field, template) in own {
        let Some(template) = template else { continue };
        match render(row, base_url, field, template) {
            // A subject is a line.
            Ok(said) if field == "subject" => {
                words.subject = said.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            Ok(said) => (words.text, words.html) = (said, row.words.html),
            Err(bad) => {
                let usual = usual(row, &url);
                let text = format!("{}\n\nIts own words could not be had: {bad}", usual.text.trim_end());
                return (Words { text, ..usual }, Some(bad));
            }
        }
    }
    (words, None)
}

fn render(row: &DeliveryRow, base_url: &str, field: &str, template: &str) -> Result<String, BadTemplate> {
    let order = order(row, base_url);
    let renderer = Renderer::new(&order, &Nowhere)?.with_names(names(row, &page(row, base_url)));
    Ok(as_text(&renderer.render(field, &Value::from(template), &[])?))
}

/// The names that templates see beside Airflow's. Times are Airflow's own where it has them.
fn names(row: &DeliveryRow, url: &str) -> Map<String, Value> {
    const AIRFLOWS: [&str; 4] = ["logical_date", "data_interval_start", "data_interval_end", "run_id"];
    let context = row.context.as_object().into_iter().flatten();
    let context = context.filter(|(name, _)| !AIRFLOWS.contains(&&***name));
    let mut names: Map<String, Value> = context.map(|(name, value)| (name.clone(), value.clone())).collect();
    names.insert("on".into(), on(row.on).into());
    names.insert("url".into(), url.into());
    // What Airflow gives callbacks.
    names.insert("exception".into(), row.context["reason"].clone());
    names
}

/// The names in an alert's template that are certain not to be there when it is sent: see
/// [`crate::catalog::unknown_names`]. It would then say the usual words.
pub fn unknown_names(field: &str, text: &str) -> Vec<BadTemplate> {
    let own: Vec<&str> = seen().collect();
    let mend = |_| format!("there are {}", seen().collect::<Vec<_>>().join(", "));
    template::unknown_names(field, &text.into(), &template::Names { own: &own, closed, mend })
}

/// The names that alerts see beside Airflow's.
fn seen() -> impl Iterator<Item = &'static str> {
    ALERT_NAMES.iter().copied().chain(["on", "url", "exception"])
}

/// Why a name is not there that a task's templates have.
fn closed(name: &str) -> Option<String> {
    let what = match name {
        "var" => "variables",
        "conn" => "connections",
        _ if name.starts_with("prev_") => "other runs",
        _ => return None,
    };
    Some(unseen(what))
}

/// What an alert tells of, in a word.
pub fn on(on: AlertOn) -> &'static str {
    match on {
        AlertOn::Failure => "failure",
        AlertOn::Retry => "retry",
        AlertOn::Success => "success",
        AlertOn::Deadline => "deadline",
        AlertOn::Missed => "missed",
    }
}

/// Whether nothing happened, and somebody only wants to see an alert come.
pub fn is_test(row: &DeliveryRow) -> bool {
    row.context["test"] == true
}

fn ticks(context: &Value) -> String {
    match context["ticks"].as_u64() {
        Some(1) | None => "a tick".into(),
        Some(count) => format!("{count} ticks"),
    }
}

fn usual(row: &DeliveryRow, url: &str) -> Words {
    let said = |name: &str| match &row.context[name] {
        Value::Null => String::new(),
        other => as_text(other),
    };
    if is_test(row) {
        let subject =
            format!("[Updraft] a test: this is how alerts of {} on {} come", said("dag_id"), on(row.on));
        return Words { text: format!("{subject}\n{url}\n"), subject, html: false };
    }
    let copy = row.ti.map(|ti| ti.map_index).filter(|index| *index != MapIndex::NONE);
    let what = match (row.run, row.ti) {
        (_, Some(_)) => {
            // By its name, where its task gives its copies names.
            let name = Some(said("rendered_map_index")).filter(|name| !name.is_empty());
            let copy =
                copy.map(|index| format!("[{}]", name.unwrap_or(index.to_string()))).unwrap_or_default();
            format!("task {}{copy} of {}", said("task_id"), said("dag_id"))
        }
        (Some(_), None) => format!("run {} of {}", said("run_id"), said("dag_id")),
        (None, None) => format!("{} of {}", ticks(&row.context), said("dag_id")),
    };
    let became = match row.on {
        AlertOn::Failure => "failed",
        AlertOn::Retry => "failed and will be tried again",
        AlertOn::Success => "succeeded",
        AlertOn::Deadline => "is not over by its deadline",
        AlertOn::Missed => "passed without a run",
    };
    let subject = format!("[Updraft] {what} {became}");
    let text = match row.channel {
        AlertChannel::Email { .. } => {
            let told = TOLD.map(|name| (name, said(name)));
            let told = told.iter().filter(|(name, _)| *name != "map_index" || copy.is_some());
            let told = told.filter(|(_, value)| !value.is_empty());
            let told: String = told.map(|(name, value)| format!("{name}: {value}\n")).collect();
            let words = [said("dag_id"), said("run_id"), said("task_id")];
            let is_plain = |word: &String| {
                !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_.:+-".contains(c))
            };
            let log = row.ti.filter(|_| words.iter().all(is_plain)).map(|_| {
                let copy = copy.map(|index| format!(" --map-index {index}")).unwrap_or_default();
                format!("log: updraft tasks logs {}{copy}\n", words.join(" "))
            });
            format!("{told}{}\n{url}\n", log.unwrap_or_default())
        }
        AlertChannel::Slack { .. }
        | AlertChannel::Webhook(_)
        | AlertChannel::Sms { .. }
        | AlertChannel::Callback(_) => {
            let reason = Some(said("reason")).filter(|reason| !reason.is_empty());
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{subject}{reason}\n{url}")
        }
    };
    Words { subject, text, html: false }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use updraft_core::{AlertWords, DagKey, DeliveryId, OnDoubt, RunKey, TaskIx, TiKey};

    use super::*;

    const BASE: &str = "http://here";

    fn row(channel: AlertChannel, subject: Option<&str>, text: Option<&str>) -> DeliveryRow {
        DeliveryRow {
            id: DeliveryId(7),
            dag: DagKey::new("default", "etl"),
            run: Some(RunKey(1)),
            ti: Some(TiKey { run: RunKey(1), task: TaskIx(0), map_index: MapIndex::NONE }),
            on: AlertOn::Failure,
            channel,
            words: AlertWords { subject: subject.map(Into::into), text: text.map(Into::into), html: false },
            on_doubt: OnDoubt::Resend,
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            context: json!({
                "dag_id": "etl", "run_id": "r", "task_id": "load", "map_index": -1, "try_number": 3,
                "max_tries": 2, "state": "failed", "reason": "it failed", "exit_code": 3,
                "logical_date": "2026-01-01T00:00:00Z",
            }),
        }
    }

    fn slack(text: &str) -> DeliveryRow {
        row(AlertChannel::Slack { conn_id: "chat".into(), channel: None }, None, Some(text))
    }

    #[test]
    fn templates_see_what_happened_and_airflows_names_of_run_and_task() {
        let text = "{{ dag.dag_id }}.{{ ti.task_id }} try {{ ti.try_number }} of {{ ds }} in {{ run_id }}: {{ reason }} \
                    ({{ exit_code }}, {{ logical_date.year }}) {{ on | upper }} {{ url }} {{ ti.log_url }}";
        let said = words(&slack(text), BASE).0;
        let expected = "etl.load try 3 of 2026-01-01 in r: it failed (3, 2026) FAILURE http://here/dags/etl/runs/r \
             http://here/dags/etl/runs/r/tasks/load?try_number=3";
        assert_eq!(said.text, expected);
        assert_eq!(said.subject, "[Updraft] task load of etl failed");
        let mail = row(AlertChannel::email(Vec::new()), None, None);
        let said = words(&mail, BASE).0.text;
        assert!(
            said.contains("\nlog: updraft tasks logs etl r load\n") && !said.contains("map_index"),
            "{said}"
        );
        let mut copy = mail;
        copy.ti = copy.ti.map(|ti| TiKey { map_index: MapIndex(3), ..ti });
        copy.context["map_index"] = json!(3);
        let said = words(&copy, BASE).0;
        assert_eq!(said.subject, "[Updraft] task load[3] of etl failed");
        assert!(
            said.text.contains("map_index: 3\n") && said.text.contains(" load --map-index 3\n"),
            "{said:?}"
        );
        let mail = row(AlertChannel::email(Vec::new()), Some("{{ dag_id }}\nBcc: x"), None);
        let said = words(&mail, BASE).0;
        assert_eq!(said.subject, "etl Bcc: x");
        assert!(
            said.text.contains("exit_code: 3\n") && said.text.ends_with("\nhttp://here/dags/etl/runs/r\n"),
            "{said:?}"
        );
    }

    #[test]
    fn what_may_be_secret_is_not_shown_and_the_usual_words_are_said_with_the_reason() {
        for text in
            ["{{ var.value.token }}", "{{ conn.bank.password }}", "{{ ti.xcom_pull('a') }}", "{{ nothing }}"]
        {
            let (said, bad) = words(&slack(text), BASE);
            assert!(said.text.starts_with("[Updraft] task load of etl failed: it failed\n"), "{said:?}");
            assert!(said.text.ends_with(&bad.unwrap().to_string()), "{said:?}");
        }
        let bad = words(&slack("{{ var.value.token }}"), BASE).1.unwrap();
        assert!(bad.to_string().contains("an alert can't show variables"), "{bad}");
    }
}
