//! The outbox, from the side of who sends.

use jiff::Timestamp;
use updraft_core::DeliveryId;

use crate::{
    DeliveryEnd, DeliveryListing, DeliveryState, Error,
    sql::{db::Tx, queries::delivery_select, row::read_delivery, statement::Sql},
};

/// Who claims at the same time waits for the row, finds it no longer pending, and goes without.
pub(super) async fn claim(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<DeliveryListing>, Error> {
    let mut sql =
        Sql::new("UPDATE delivery AS x SET state = 'sending', attempts = attempts + 1, changed_at = ");
    sql.arg(now).push(" WHERE x.state = 'pending' AND x.id IN (SELECT id FROM delivery");
    sql.push(" WHERE state = 'pending' AND next_at <= ").arg(now).push(" ORDER BY next_at, id LIMIT ");
    // SQLite's RETURNING knows the columns without the table's short name only.
    sql.arg(limit).push(") RETURNING ").push(&delivery_select().replace("x.", ""));
    let rows = tx.rows(sql).await?;
    let mut claimed: Vec<_> =
        rows.into_iter().map(|mut f| read_delivery(&mut f)).collect::<Result<_, _>>()?;
    claimed.sort_by_key(|listing| (listing.next_at, listing.row.id));
    Ok(claimed)
}

pub(super) fn finish(id: DeliveryId, attempt: u32, end: &DeliveryEnd, now: Timestamp) -> Sql {
    let (state, error, next_at) = match end {
        DeliveryEnd::Sent => (DeliveryState::Sent, None, None),
        DeliveryEnd::Retry { at, error } => (DeliveryState::Pending, Some(error), Some(*at)),
        DeliveryEnd::Failed(error) => (DeliveryState::Failed, Some(error), None),
        DeliveryEnd::Undeliverable(error) => (DeliveryState::Undeliverable, Some(error), None),
        DeliveryEnd::Held(error) => (DeliveryState::Held, Some(error), None),
    };
    let mut sql = Sql::new("UPDATE delivery SET state = ").with(state.as_str());
    sql.push(", last_error = ").arg(error).push(", changed_at = ").arg(now);
    if let Some(at) = next_at {
        sql.push(", next_at = ").arg(at);
    }
    sql.push(" WHERE id = ").arg(id.0).push(" AND state = 'sending' AND attempts = ").arg(attempt);
    sql
}

pub(super) fn end_doubt(before: Timestamp, error: &str, now: Timestamp) -> Sql {
    let mut sql =
        Sql::new("UPDATE delivery SET state = CASE on_doubt WHEN 'hold' THEN 'held' ELSE 'pending' END");
    sql.push(", last_error = ").arg(error);
    sql.push(", next_at = ").arg(now).push(", changed_at = ").arg(now);
    sql.push(" WHERE state = 'sending' AND changed_at < ").arg(before);
    sql
}

pub(super) fn resend(id: DeliveryId, now: Timestamp) -> Sql {
    let mut sql = Sql::new("UPDATE delivery SET state = 'pending', next_at = ").with(now);
    sql.push(", changed_at = ").arg(now).push(" WHERE id = ").arg(id.0);
    sql.push(" AND state IN ('failed', 'undeliverable', 'held')");
    sql
}
