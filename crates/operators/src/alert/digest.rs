//! What is said of many alerts in one.

use std::{collections::BTreeMap, fmt::Write as _};

use updraft_core::{AlertChannel, record::DeliveryRow};

use super::{Words, page, words};

/// So many are told of in words; of the rest only that they are.
const TOLD: usize = 50;

/// What a digest says that tells of `all` alerts, all by one way, of which the latest are here, the last first. Each
/// is told by its subject and the page where a person sees it; a short message has numbers only. `base_url` is where
/// people find Updraft.
pub fn digest(rows: &[&DeliveryRow], all: u64, base_url: &str) -> Words {
    let mut dags: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *dags.entry(&row.dag.dag_id).or_default() += 1;
    }
    let mut dags: Vec<(&str, u64)> = dags.into_iter().collect();
    dags.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named: Vec<String> = dags.iter().take(5).map(|(dag, count)| format!("{dag} {count}")).collect();
    let others = match dags.len() {
        0..=5 => "",
        _ => ", others",
    };
    let subject = format!("[Updraft] {all} alerts: {}{others}", named.join(", "));
    if rows.first().is_some_and(|row| matches!(row.channel, AlertChannel::Sms { .. })) {
        return Words { text: format!("{subject}\n{base_url}"), subject, html: false };
    }
    let mut text = format!("{all} alerts within a short time, told in one:\n");
    for row in rows.iter().take(TOLD) {
        let page = page(row, base_url);
        let said = words(row, base_url).0.subject;
        let said = said.strip_prefix("[Updraft] ").unwrap_or(&said);
        let reason = row.context["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        // Writing to a text never fails.
        let _ = write!(text, "\n{} {said}{reason}\n{page}\n", row.at.strftime("%Y-%m-%d %H:%M:%SZ"));
    }
    let untold = all.saturating_sub(TOLD.min(rows.len()) as u64);
    if untold > 0 {
        let _ = write!(text, "\n… and {untold} more: `updraft deliveries list`\n");
    }
    Words { subject, text, html: false }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use updraft_core::{AlertOn, AlertWords, DagKey, DeliveryId, OnDoubt, RunKey};

    use super::*;

    fn row(number: i64, dag: &str, channel: AlertChannel) -> DeliveryRow {
        DeliveryRow {
            id: DeliveryId(number),
            dag: DagKey::new("default", dag),
            run: Some(RunKey(number)),
            ti: None,
            on: AlertOn::Failure,
            channel,
            words: AlertWords::default(),
            on_doubt: OnDoubt::Resend,
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            context: json!({ "dag_id": dag, "run_id": format!("r{number}"), "reason": "a task failed" }),
        }
    }

    fn said(channel: &AlertChannel, here: i64, all: u64) -> Words {
        let dag = |number: i64| if number % 10 == 0 { "load" } else { "etl" };
        let rows: Vec<DeliveryRow> =
            (1..=here).map(|number| row(number, dag(number), channel.clone())).collect();
        let rows: Vec<&DeliveryRow> = rows.iter().collect();
        digest(&rows, all, "http://here")
    }

    #[test]
    fn many_alerts_are_told_with_a_line_each_and_the_rest_in_a_number() {
        let Words { subject, text, .. } = said(&AlertChannel::email(Vec::new()), 100, 995);
        assert_eq!(subject, "[Updraft] 995 alerts: etl 90, load 10");
        assert!(text.contains(
            "\n2026-01-02 03:04:05Z run r1 of etl failed: a task failed\nhttp://here/dags/etl/runs/r1\n"
        ));
        assert_eq!(text.matches(" failed: ").count(), 50);
        assert!(text.ends_with("\n… and 945 more: `updraft deliveries list`\n"), "{text}");
        let few = said(&AlertChannel::Slack { conn_id: "chat".into(), channel: None }, 2, 2).text;
        assert!(few.ends_with("http://here/dags/etl/runs/r2\n"), "{few}");
    }

    #[test]
    fn a_short_message_has_numbers_only() {
        let sms = AlertChannel::Sms { to: "+1".into(), conn_id: "sms".into() };
        assert_eq!(said(&sms, 20, 20).text, "[Updraft] 20 alerts: etl 18, load 2\nhttp://here");
    }
}
