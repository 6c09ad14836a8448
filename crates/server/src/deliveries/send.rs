//! Sending one delivery by its channel, and what becomes of it.

use jiff::SignedDuration;
use tracing::warn;
use updraft_core::{AlertChannel, OnDoubt, WebhookTarget, protocol::Connection, record::DeliveryRow};
use updraft_operators::{
    alert::{self, NotSent, Way, Words},
    mail::{self, Body, Mail, MailError, message_id},
};
use updraft_store::{DeliveryEnd, DeliveryListing, DeliveryQuery, Window};

use super::Deliverer;
use crate::leader::now;

/// After so many attempts a delivery is given up; with the delays below that is after about a day.
const MOST_ATTEMPTS: u32 = 12;

/// A digest looks at so many of what it tells of, the latest first.
const MOST_LOOKED_AT: u64 = 1000;

/// No server is left alone for longer, whatever it asks for: four hours.
const LONGEST_DELAY: SignedDuration = SignedDuration::from_hours(4);

impl Deliverer {
    /// Sends a delivery.
    pub(super) async fn deliver(&self, delivery: &DeliveryListing, installation: &str) -> DeliveryEnd {
        let row = &delivery.row;
        let words = match self.digest(delivery).await {
            Ok(Some(words)) => words,
            Ok(None) => {
                let (words, bad) = alert::words(row, &self.base_url);
                if let Some(error) = bad {
                    warn!(id = %row.id, %error, "an alert goes in the usual words, since its own can't be had");
                }
                words
            }
            Err(error) => {
                return again(delivery.attempts, format!("the outbox can't be read: {error}"), None);
            }
        };
        let conn_id = match &row.channel {
            AlertChannel::Email { .. }
            | AlertChannel::Webhook(WebhookTarget::Url(_))
            | AlertChannel::Callback(_) => None,
            AlertChannel::Webhook(WebhookTarget::ConnId(conn_id))
            | AlertChannel::Slack { conn_id, .. }
            | AlertChannel::Sms { conn_id, .. } => Some(conn_id),
        };
        let connection = match conn_id {
            None => Connection::default(),
            Some(conn_id) => match self.connection(delivery, conn_id).await {
                Ok(connection) => connection,
                Err(end) => return end,
            },
        };
        let way = match &row.channel {
            AlertChannel::Email { to, cc, bcc } => {
                return self.mail(delivery, [to, cc, bcc], words, installation).await;
            }
            AlertChannel::Slack { channel, .. } => Way::Slack(&connection, channel.as_deref()),
            AlertChannel::Webhook(WebhookTarget::Url(url)) => Way::Url(url),
            AlertChannel::Webhook(WebhookTarget::ConnId(_)) => Way::Webhook(&connection),
            AlertChannel::Sms { to, .. } => Way::Sms(to, &connection),
            AlertChannel::Callback(_) => {
                return DeliveryEnd::Undeliverable("functions are called by workers".into());
            }
        };
        let url = alert::page(row, &self.base_url);
        match self.sender.send(way, row, &words, &url, &key_of(delivery, installation)).await {
            Ok(()) => DeliveryEnd::Sent,
            Err(NotSent::Permanent(error)) => DeliveryEnd::Failed(error),
            Err(NotSent::Temporary { why, after }) => again(delivery.attempts, why, after),
            Err(NotSent::Doubt(error)) => in_doubt(delivery, error),
        }
    }

    /// What is said where this delivery tells of others, too.
    async fn digest(&self, delivery: &DeliveryListing) -> Result<Option<Words>, updraft_store::Error> {
        let lead = delivery.row.id;
        if delivery.digest != Some(lead) {
            return Ok(None);
        }
        let query = DeliveryQuery {
            namespace: delivery.row.dag.namespace.clone(),
            digest: Some(lead),
            window: Window { limit: MOST_LOOKED_AT, ..Window::ALL },
            ..DeliveryQuery::default()
        };
        let page = self.store.deliveries(&query).await?;
        if page.total < 2 {
            return Ok(None);
        }
        let rows: Vec<&DeliveryRow> = page.rows.iter().map(|listing| &listing.row).collect();
        Ok(Some(alert::digest(&rows, page.total, &self.base_url)))
    }

    async fn mail(
        &self,
        delivery: &DeliveryListing,
        lists: [&Vec<String>; 3],
        words: Words,
        installation: &str,
    ) -> DeliveryEnd {
        let Some((server, from)) = &self.mail else {
            let mend = "no mail server is set: set UPDRAFT__SMTP__URL=smtp://user:password@host:587";
            return DeliveryEnd::Undeliverable(mend.into());
        };
        let has_it_not = |to: &&String| !delivery.taken_by.contains(to);
        let left = lists.map(|list| list.iter().filter(has_it_not).cloned().collect::<Vec<_>>());
        let all = left.concat();
        let [to, cc, bcc] = left;
        let mail = Mail {
            from: from.clone(),
            to,
            cc,
            bcc,
            subject: words.subject,
            body: if words.html { Body::Html(words.text) } else { Body::Text(words.text) },
            message_id: message_id(&key_of(delivery, installation), from),
            ..Mail::default()
        };
        match mail::send(server, &mail).await {
            Ok(refused) if refused.is_empty() => DeliveryEnd::Sent,
            Ok(refused) => some_refused(delivery, &all, &refused),
            Err(MailError::Permanent(error)) => sent_before(delivery, &all, DeliveryEnd::Failed(error)),
            Err(MailError::Temporary(error)) => {
                sent_before(delivery, &all, again(delivery.attempts, error, None))
            }
            Err(MailError::Doubt(error)) => in_doubt(delivery, error),
        }
    }

    /// The connection, or what becomes of the delivery without it.
    async fn connection(&self, delivery: &DeliveryListing, conn_id: &str) -> Result<Connection, DeliveryEnd> {
        match self.secrets.connection(&delivery.row.dag.namespace, conn_id).await {
            Ok(Some(connection)) => Ok(connection),
            Ok(None) => Err(DeliveryEnd::Undeliverable(format!(
                "there is no connection `{conn_id}`: add it (`updraft connections add`), and resend this"
            ))),
            Err(error) => {
                let why = format!("the connection `{conn_id}` can't be had: {error}");
                Err(again(delivery.attempts, why, None))
            }
        }
    }
}

/// The end of an attempt by which some have a mail, and others were refused.
fn some_refused(delivery: &DeliveryListing, to: &[String], refused: &[mail::Refused]) -> DeliveryEnd {
    let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let error = format!("refused: {}", told.join(", "));
    let has_it = |to: &&String| !refused.iter().any(|refused| refused.is(to));
    let taken_by = delivery.taken_by.iter().chain(to.iter().filter(has_it)).cloned().collect();
    if refused.iter().all(|refused| refused.is_for_good) {
        return DeliveryEnd::SentInPart { taken_by, error };
    }
    match again(delivery.attempts, error, None) {
        DeliveryEnd::Retry { at, error } => DeliveryEnd::Partly { taken_by, at, error },
        DeliveryEnd::Failed(error) => DeliveryEnd::SentInPart { taken_by, error },
        end => end,
    }
}

/// The end of an attempt by which nobody has a mail, as some have that of an earlier one, perhaps.
fn sent_before(delivery: &DeliveryListing, to: &[String], end: DeliveryEnd) -> DeliveryEnd {
    match end {
        DeliveryEnd::Failed(error) if !delivery.taken_by.is_empty() => {
            let error = format!("not to {}: {error}", to.join(", "));
            DeliveryEnd::SentInPart { taken_by: delivery.taken_by.clone(), error }
        }
        end => end,
    }
}

/// The end of an attempt that may have gone out or not.
pub(super) fn in_doubt(delivery: &DeliveryListing, error: String) -> DeliveryEnd {
    match delivery.row.on_doubt {
        OnDoubt::Resend => again(delivery.attempts, error, None),
        OnDoubt::Hold => DeliveryEnd::Held(error),
    }
}

/// The end of an attempt after which another may do.
pub(super) fn again(attempts: u32, error: String, after: Option<SignedDuration>) -> DeliveryEnd {
    if attempts >= MOST_ATTEMPTS {
        return DeliveryEnd::Failed(error);
    }
    let delay = delay(attempts).max(after.unwrap_or_default()).min(LONGEST_DELAY);
    DeliveryEnd::Retry { at: now().saturating_add(delay).unwrap_or(now()), error }
}

/// The same for each try. The number alone begins anew with each database, and goes back where a backup is put
/// in its place: mail servers drop what comes under an id that they have seen.
fn key_of(delivery: &DeliveryListing, installation: &str) -> String {
    let (number, at) = (delivery.row.id, delivery.row.at.as_microsecond());
    format!("delivery-{number}.{at}.{installation}")
}

/// Half a minute after the first attempt, twice as long after each, four hours at most.
fn delay(attempts: u32) -> SignedDuration {
    SignedDuration::from_secs((15 << attempts.min(11)).min(4 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() {
        let wait = |attempts, after: Option<i64>| {
            let before = now();
            match again(attempts, String::new(), after.map(SignedDuration::from_secs)) {
                DeliveryEnd::Retry { at, .. } => at.duration_since(before).as_secs(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([wait(1, None), wait(2, None), wait(1, Some(5)), wait(1, Some(300))], [30, 60, 30, 300]);
        assert_eq!(wait(1, Some(1_000_000)), 4 * 3600);
        assert!(matches!(again(MOST_ATTEMPTS, String::new(), None), DeliveryEnd::Failed(_)));
    }
}
