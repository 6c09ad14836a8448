//! The outbox, from the side of who sends.

use std::collections::BTreeSet;

use jiff::Timestamp;
use updraft_core::DeliveryId;

use crate::{
    Burst, Claimed, DeliveryEnd, DeliveryListing, DeliveryState, Error, OutboxPart,
    sql::{
        db::Tx,
        queries::delivery_select,
        row::{json, read_delivery},
        statement::Sql,
    },
};

/// Any number that other programs on the same PostgreSQL are not likely to lock.
const CLAIMING: i64 = 0x7570_6472_6166_7402;

/// What was never on its way, and is not told of by a digest.
const FRESH: &str = " AND state = 'pending' AND attempts = 0 AND digest IS NULL";

/// Claims what is due. Says also whether anything was changed.
pub(super) async fn claim(
    tx: &mut Tx,
    part: OutboxPart,
    now: Timestamp,
    limit: u32,
    burst: Option<Burst>,
) -> Result<(Claimed, bool), Error> {
    if let Tx::Postgres(_) = tx {
        // One claims at a time: a digest that is claimed tells of just those that were gathered before.
        tx.rows(Sql::new("SELECT pg_advisory_xact_lock(").with(CLAIMING).then(")")).await?;
    }
    let mut sql =
        Sql::new("SELECT ").then(&delivery_select()).then(" FROM delivery x WHERE state = 'pending'");
    sql.push(" AND next_at <= ").arg(now).push(" AND (digest IS NULL OR digest = id)");
    sql.push(is_in(part)).push(" ORDER BY next_at, id LIMIT ").arg(limit);
    let due: Vec<DeliveryListing> =
        tx.rows(sql).await?.into_iter().map(|mut f| read_delivery(&mut f)).collect::<Result<_, _>>()?;
    let more = due.len() as u64 >= u64::from(limit);
    let (mut singly, mut digests, mut gathered) = (Vec::new(), Vec::new(), BTreeSet::new());
    for row in &due {
        if let Some(burst) = burst.filter(|_| row.may_be_gathered()) {
            if gathered.contains(&row.way()) {
                continue;
            }
            let before = singly.iter().filter(|other: &&&DeliveryListing| other.way() == row.way()).count();
            if let Some(lead) = digest_for(tx, row, before, now, burst).await? {
                gathered.insert(row.way());
                digests.push((lead, row.row.id));
                continue;
            }
        }
        singly.push(row);
    }
    let changed = !due.is_empty();
    let mut deliveries = Vec::new();
    if !singly.is_empty() {
        let ids: Vec<i64> = singly.iter().map(|row| row.row.id.0).collect();
        let mut sql =
            Sql::new("UPDATE delivery AS x SET state = 'sending', attempts = attempts + 1, changed_at = ");
        sql.arg(now).push(" WHERE x.state = 'pending' AND x.id IN ").list(ids);
        // SQLite's RETURNING knows the columns without the table's short name only.
        sql.push(" RETURNING ").push(&delivery_select().replace("x.", ""));
        let rows = tx.rows(sql).await?;
        deliveries = rows.into_iter().map(|mut f| read_delivery(&mut f)).collect::<Result<_, _>>()?;
        deliveries.sort_by_key(|listing: &DeliveryListing| (listing.next_at, listing.row.id));
    }
    // After those that go singly have left.
    for (lead, id) in digests {
        let mut sql = Sql::new("UPDATE delivery SET digest = ").with(lead.0);
        same_way(&mut sql, id);
        sql.push(FRESH).push(" AND next_at <= ").arg(now);
        tx.run(sql).await?;
    }
    Ok((Claimed { deliveries, more }, changed))
}

/// Where it is in this part of the outbox: by how the channel begins as JSON.
fn is_in(part: OutboxPart) -> &'static str {
    match part {
        OutboxPart::Alerts => r#" AND channel NOT LIKE '{"callback":%'"#,
        OutboxPart::Callbacks => r#" AND channel LIKE '{"callback":%'"#,
    }
}

/// Adds: where it goes the same way as this one.
fn same_way(sql: &mut Sql, id: DeliveryId) {
    sql.push(" WHERE (namespace, channel, on_doubt) = (SELECT namespace, channel, on_doubt FROM delivery WHERE id = ");
    sql.arg(id.0).push(")");
}

/// Which digest is to tell of this delivery; none, where it may be told singly, as `before` others in this claim.
async fn digest_for(
    tx: &mut Tx,
    row: &DeliveryListing,
    before: usize,
    now: Timestamp,
    burst: Burst,
) -> Result<Option<DeliveryId>, Error> {
    let id = row.row.id;
    let mut sql = Sql::new("SELECT id FROM delivery");
    same_way(&mut sql, id);
    sql.push(" AND state = 'pending' AND attempts = 0 AND digest = id AND next_at > ").arg(now);
    if let Some(mut lead) = tx.row(sql).await? {
        return Ok(Some(DeliveryId(lead.int()?)));
    }
    let since = now.saturating_sub(burst.within).unwrap_or(Timestamp::MIN);
    let mut sql = Sql::new("SELECT count(*) FROM delivery");
    same_way(&mut sql, id);
    sql.push(" AND attempts > 0 AND (digest IS NULL OR digest = id) AND changed_at > ").arg(since);
    let told: u64 = tx.row(sql).await?.map_or(Ok(0), |mut count| count.number())?;
    if told + (before as u64) < u64::from(burst.singly) {
        return Ok(None);
    }
    let mut sql = Sql::new("UPDATE delivery SET digest = id, next_at = ");
    sql.arg(now.saturating_add(burst.within).unwrap_or(Timestamp::MAX)).push(" WHERE id = ").arg(id.0);
    tx.run(sql).await?;
    Ok(Some(id))
}

pub(super) async fn finish(
    tx: &mut Tx,
    id: DeliveryId,
    attempt: u32,
    end: &DeliveryEnd,
    now: Timestamp,
) -> Result<bool, Error> {
    let (state, error, next_at) = match end {
        DeliveryEnd::Sent => (DeliveryState::Sent, None, None),
        DeliveryEnd::SentInPart { error, .. } => (DeliveryState::Sent, Some(error), None),
        DeliveryEnd::Partly { at, error, .. } | DeliveryEnd::Retry { at, error } => {
            (DeliveryState::Pending, Some(error), Some(*at))
        }
        DeliveryEnd::Failed(error) => (DeliveryState::Failed, Some(error), None),
        DeliveryEnd::Undeliverable(error) => (DeliveryState::Undeliverable, Some(error), None),
        DeliveryEnd::Held(error) => (DeliveryState::Held, Some(error), None),
    };
    let ends = || {
        let mut sql = Sql::new("UPDATE delivery SET state = ").with(state.as_str());
        sql.push(", last_error = ").arg(error).push(", changed_at = ").arg(now);
        sql
    };
    let mut sql = ends();
    if let Some(at) = next_at {
        sql.push(", next_at = ").arg(at);
    }
    if let DeliveryEnd::Partly { taken_by, .. } | DeliveryEnd::SentInPart { taken_by, .. } = end {
        sql.push(", taken_by = ").arg(json(taken_by));
    }
    sql.push(" WHERE id = ").arg(id.0).push(" AND state = 'sending' AND attempts = ").arg(attempt);
    if tx.run(sql).await? == 0 {
        return Ok(false);
    }
    let mut sql = ends();
    sql.push(" WHERE digest = ").arg(id.0).push(" AND id <> digest");
    tx.run(sql).await?;
    Ok(true)
}

/// Returns how many were in doubt; one that told of others counts once.
pub(super) async fn end_doubt(
    tx: &mut Tx,
    part: OutboxPart,
    before: Timestamp,
    error: &str,
    now: Timestamp,
) -> Result<u64, Error> {
    let in_doubt = |sql: &mut Sql| {
        sql.push(" WHERE state = 'sending' AND changed_at < ").arg(before).push(is_in(part));
    };
    let ends = || {
        let mut sql =
            Sql::new("UPDATE delivery SET state = CASE on_doubt WHEN 'hold' THEN 'held' ELSE 'pending' END");
        sql.push(", last_error = ").arg(error);
        sql.push(", next_at = ").arg(now).push(", changed_at = ").arg(now);
        sql
    };
    let mut sql = ends();
    sql.push(" WHERE id <> digest AND digest IN (SELECT id FROM delivery");
    in_doubt(&mut sql);
    sql.push(")");
    tx.run(sql).await?;
    let mut sql = ends();
    in_doubt(&mut sql);
    tx.run(sql).await
}

/// What a digest told of leaves it when it is sent by itself. What was sent in part knows who has it, and why others have
/// it not.
pub(super) fn resend(id: DeliveryId, now: Timestamp) -> Sql {
    let mut sql = Sql::new("UPDATE delivery SET state = 'pending', next_at = ").with(now);
    singly(&mut sql, id, now);
    sql.push(" AND (state IN ('failed', 'undeliverable', 'held')");
    sql.push(" OR state = 'sent' AND last_error IS NOT NULL AND taken_by IS NOT NULL)");
    sql
}

/// The same when it is not to be sent.
pub(super) fn drop(id: DeliveryId, why: &str, now: Timestamp) -> Sql {
    let mut sql = Sql::new("UPDATE delivery SET state = 'failed', last_error = ").with(why);
    singly(&mut sql, id, now);
    sql.push(" AND state IN ('pending', 'held')");
    sql
}

/// Adds: this, or all that it tells of; what another tells of is by itself from now on.
fn singly(sql: &mut Sql, id: DeliveryId, now: Timestamp) {
    sql.push(", changed_at = ").arg(now);
    sql.push(", digest = CASE WHEN digest <> id AND id = ").arg(id.0).push(" THEN NULL ELSE digest END");
    sql.push(" WHERE (id = ").arg(id.0).push(" OR digest = ").arg(id.0).push(")");
}
