//! The outbox.

use jiff::{SignedDuration, Timestamp};
use updraft_core::{
    AlertChannel, Callback, CallbackOn, DeliveryId, OnDoubt, RunKey, WebhookTarget,
    record::{Batch, DeliveryRow},
};
use updraft_store::{Burst, DeliveryEnd, DeliveryListing, DeliveryQuery, DeliveryState, OutboxPart, Window};

use crate::{
    fixture::TestStore,
    rows::{self, at, key, ti_key},
};

async fn three(on: &TestStore) {
    let deliveries = (1..=3).map(|id| rows::delivery(id, &key("sales"), None)).collect();
    on.commit(&Batch { deliveries, ..Batch::default() }).await;
}

async fn claim(on: &TestStore, now: Timestamp, limit: u32) -> Vec<DeliveryListing> {
    on.store.claim_deliveries(OutboxPart::Alerts, now, limit, None).await.unwrap().deliveries
}

fn ids(listings: &[DeliveryListing]) -> Vec<i64> {
    listings.iter().map(|listing| listing.row.id.0).collect()
}

pub async fn a_delivery_is_claimed_once_and_ends(on: TestStore) {
    three(&on).await;
    let store = &on.store;
    let claimed = claim(&on, at(2), 10).await;
    assert_eq!(ids(&claimed), [1, 2]);
    assert_eq!((claimed[0].state, claimed[0].attempts), (DeliveryState::Sending, 1));
    assert_eq!(claimed[0].row, rows::delivery(1, &key("sales"), None));
    assert_eq!(ids(&claim(&on, at(9), 10).await), [3]);
    assert_eq!(claim(&on, at(9), 10).await, []);

    let (first, second, third) = (DeliveryId(1), DeliveryId(2), DeliveryId(3));
    assert!(store.finish_delivery(first, 1, &DeliveryEnd::Sent, at(10)).await.unwrap());
    assert!(!store.finish_delivery(first, 1, &DeliveryEnd::Sent, at(10)).await.unwrap());
    let retry = DeliveryEnd::Retry { at: at(60), error: "greylisted".into() };
    assert!(store.finish_delivery(second, 1, &retry, at(10)).await.unwrap());
    assert!(store.finish_delivery(third, 1, &DeliveryEnd::Held("in doubt".into()), at(10)).await.unwrap());

    assert_eq!(claim(&on, at(59), 10).await, []);
    let again = claim(&on, at(60), 10).await;
    assert_eq!((ids(&again), again[0].attempts), (vec![2], 2));
    assert_eq!(again[0].last_error.as_deref(), Some("greylisted"));
    // What the first attempt says late is not about the second.
    assert!(!store.finish_delivery(second, 1, &DeliveryEnd::Sent, at(61)).await.unwrap());
    let failed = DeliveryEnd::Failed("550 no such user".into());
    assert!(store.finish_delivery(second, 2, &failed, at(61)).await.unwrap());

    assert!(!store.resend_delivery(first, at(70), &rows::audit("resend")).await.unwrap());
    for id in [second, third] {
        assert!(store.resend_delivery(id, at(70), &rows::audit("resend")).await.unwrap());
    }
    assert_eq!(ids(&claim(&on, at(70), 1).await), [2]);
    assert_eq!(ids(&claim(&on, at(70), 1).await), [3]);
    // Sent, though not to everybody: for whom not is kept.
    let (has_it, error) = (vec!["b@example.com".to_owned()], "refused: a@example.com".to_owned());
    let in_part = DeliveryEnd::SentInPart { taken_by: has_it.clone(), error };
    assert!(store.finish_delivery(third, 2, &in_part, at(71)).await.unwrap());
    let sent = DeliveryQuery { states: vec![DeliveryState::Sent], ..DeliveryQuery::default() };
    let sent = store.deliveries(&sent).await.unwrap().rows;
    let of_third = sent.iter().find(|listing| listing.row.id == third).unwrap();
    assert_eq!(of_third.last_error.as_deref(), Some("refused: a@example.com"));
    assert_eq!(of_third.taken_by, has_it);
    // It can be sent to the others, until all have it.
    assert!(store.resend_delivery(third, at(71), &rows::audit("resend")).await.unwrap());
    let again = claim(&on, at(71), 1).await;
    assert_eq!((ids(&again), &again[0].taken_by), (vec![3], &has_it));
    assert!(store.finish_delivery(third, 3, &DeliveryEnd::Sent, at(71)).await.unwrap());
    assert!(!store.resend_delivery(third, at(71), &rows::audit("resend")).await.unwrap());
    // Who has it already is kept where others are yet to have it, over attempts that say nothing of it.
    let part = DeliveryId(4);
    on.commit(&Batch { deliveries: vec![rows::delivery(4, &key("sales"), None)], ..Batch::default() }).await;
    assert_eq!(claim(&on, at(72), 1).await[0].taken_by, [""; 0]);
    let taken_by = vec!["a@example.com".to_owned(), "b@example.com".to_owned()];
    let partly = DeliveryEnd::Partly { taken_by: taken_by.clone(), at: at(80), error: "greylisted".into() };
    assert!(store.finish_delivery(part, 1, &partly, at(73)).await.unwrap());
    assert_eq!(claim(&on, at(79), 10).await, []);
    assert_eq!(claim(&on, at(80), 10).await[0].taken_by, taken_by);
    let retry = DeliveryEnd::Retry { at: at(90), error: "greylisted".into() };
    assert!(store.finish_delivery(part, 2, &retry, at(81)).await.unwrap());
    let third_time = claim(&on, at(90), 10).await;
    assert_eq!((third_time[0].attempts, &third_time[0].taken_by), (3, &taken_by));
    assert!(store.finish_delivery(part, 3, &DeliveryEnd::Sent, at(91)).await.unwrap());
    // The engine writing a row once more does not send it once more.
    three(&on).await;
    assert_eq!(claim(&on, at(99), 10).await, []);
}

pub async fn what_waits_or_is_held_can_be_dropped(on: TestStore) {
    three(&on).await;
    let store = &on.store;
    let claimed = claim(&on, at(2), 1).await;
    assert_eq!(ids(&claimed), [1]);
    let drop = async |id: i64| {
        store.drop_delivery(DeliveryId(id), "dropped by ada", at(9), &rows::audit("drop")).await.unwrap()
    };
    // What is on its way may be there already.
    assert!(!drop(1).await);
    assert!(
        store.finish_delivery(DeliveryId(1), 1, &DeliveryEnd::Held("in doubt".into()), at(3)).await.unwrap()
    );
    assert!(drop(1).await && drop(2).await);
    assert!(!drop(1).await, "it is dropped");
    assert!(!drop(99).await);
    assert_eq!(ids(&claim(&on, at(99), 10).await), [3]);
    let query = DeliveryQuery { states: vec![DeliveryState::Failed], ..DeliveryQuery::default() };
    let failed = store.deliveries(&query).await.unwrap().rows;
    assert!(
        failed.len() == 2 && failed.iter().all(|row| row.last_error.as_deref() == Some("dropped by ada"))
    );
    // Whoever dropped it may think better of it.
    assert!(store.resend_delivery(DeliveryId(2), at(100), &rows::audit("resend")).await.unwrap());
    assert_eq!(ids(&claim(&on, at(100), 10).await), [2]);
}

pub async fn what_is_on_its_way_for_too_long_is_sent_again(on: TestStore) {
    three(&on).await;
    let store = &on.store;
    claim(&on, at(2), 1).await;
    claim(&on, at(5), 1).await;
    assert_eq!(store.end_doubt(OutboxPart::Alerts, at(2), "in doubt", at(9)).await.unwrap(), 0);
    assert_eq!(store.end_doubt(OutboxPart::Alerts, at(5), "in doubt", at(9)).await.unwrap(), 1);
    let query = DeliveryQuery { states: vec![DeliveryState::Sending], ..DeliveryQuery::default() };
    assert_eq!(ids(&store.deliveries(&query).await.unwrap().rows), [2]);
    // The attempt that was in doubt says nothing any more.
    assert!(!store.finish_delivery(DeliveryId(1), 1, &DeliveryEnd::Sent, at(9)).await.unwrap());
    let again = claim(&on, at(9), 10).await;
    assert_eq!(ids(&again), [3, 1]);
    assert_eq!((again[1].attempts, again[1].last_error.as_deref()), (2, Some("in doubt")));
}

pub async fn what_is_in_doubt_is_held_where_it_says_so_until_somebody_sends_it(on: TestStore) {
    let held = DeliveryRow { on_doubt: OnDoubt::Hold, ..rows::delivery(1, &key("sales"), None) };
    let deliveries = vec![held.clone(), rows::delivery(2, &key("sales"), None)];
    on.commit(&Batch { deliveries, ..Batch::default() }).await;
    let store = &on.store;
    claim(&on, at(2), 2).await;
    assert_eq!(store.end_doubt(OutboxPart::Alerts, at(5), "in doubt", at(9)).await.unwrap(), 2);
    assert_eq!(ids(&claim(&on, at(9), 10).await), [2]);
    let query = DeliveryQuery { states: vec![DeliveryState::Held], ..DeliveryQuery::default() };
    let listed = store.deliveries(&query).await.unwrap().rows;
    assert_eq!((&listed[0].row, listed[0].last_error.as_deref()), (&held, Some("in doubt")));
    assert!(store.resend_delivery(DeliveryId(1), at(20), &rows::audit("resend")).await.unwrap());
    assert_eq!(ids(&claim(&on, at(20), 10).await), [1]);
}

fn burst() -> Option<Burst> {
    Some(Burst { singly: 2, within: SignedDuration::from_secs(60) })
}

/// The ids that come of a claim, and the ids that each of them tells of.
async fn claim_of_burst(on: &TestStore, now: Timestamp) -> Vec<(i64, Vec<i64>)> {
    let claimed = on.store.claim_deliveries(OutboxPart::Alerts, now, 100, burst()).await.unwrap().deliveries;
    let mut told = Vec::new();
    for listing in claimed {
        let query = DeliveryQuery { digest: Some(listing.row.id), ..DeliveryQuery::default() };
        let mut of_it = ids(&on.store.deliveries(&query).await.unwrap().rows);
        of_it.sort();
        told.push((listing.row.id.0, of_it));
    }
    told
}

async fn put(on: &TestStore, ids: std::ops::RangeInclusive<i64>, now: Timestamp, channel: AlertChannel) {
    let row =
        |id| DeliveryRow { at: now, channel: channel.clone(), ..rows::delivery(id, &key("sales"), None) };
    on.commit(&Batch { deliveries: ids.map(row).collect(), ..Batch::default() }).await;
}

fn chat(conn_id: &str) -> AlertChannel {
    AlertChannel::Slack { conn_id: conn_id.into(), channel: None }
}

pub async fn what_is_more_than_a_burst_is_told_in_one_when_its_time_has_come(on: TestStore) {
    put(&on, 1..=9, at(1), chat("a")).await;
    put(&on, 11..=13, at(1), chat("b")).await;
    let hook = AlertChannel::Webhook(WebhookTarget::Url("http://here".into()));
    put(&on, 21..=24, at(1), hook).await;
    // Two by each way singly; a web server is told of each.
    let singly = [1, 2, 11, 12, 21, 22, 23, 24].map(|id| (id, Vec::new()));
    assert_eq!(claim_of_burst(&on, at(1)).await, singly);
    for (id, _) in &singly {
        on.store.finish_delivery(DeliveryId(*id), 1, &DeliveryEnd::Sent, at(2)).await.unwrap();
    }
    // What comes while a digest waits is told by it, however long ago the single ones were.
    put(&on, 31..=31, at(60), chat("a")).await;
    assert_eq!(claim_of_burst(&on, at(60)).await, []);
    let digests = [(3, vec![3, 4, 5, 6, 7, 8, 9, 31]), (13, vec![13])];
    assert_eq!(claim_of_burst(&on, at(61)).await, digests);
    // What comes while it is on its way is not, and two may go singly again.
    put(&on, 41..=43, at(62), chat("a")).await;
    assert_eq!(claim_of_burst(&on, at(62)).await, [(41, vec![])]);
    assert!(on.store.finish_delivery(DeliveryId(3), 1, &DeliveryEnd::Sent, at(63)).await.unwrap());
    let sent = DeliveryQuery { states: vec![DeliveryState::Sent], ..DeliveryQuery::default() };
    assert_eq!(on.store.deliveries(&sent).await.unwrap().total, 8 + 8);
    let one = DeliveryQuery { id: Some(DeliveryId(31)), ..DeliveryQuery::default() };
    let told = on.store.deliveries(&one).await.unwrap().rows.remove(0);
    assert_eq!((told.state, told.digest, told.attempts), (DeliveryState::Sent, Some(DeliveryId(3)), 0));
    assert_eq!(claim_of_burst(&on, at(122)).await, [(42, vec![42, 43])]);
}

pub async fn a_digest_ends_for_all_it_tells_of(on: TestStore) {
    put(&on, 1..=5, at(1), chat("a")).await;
    claim_of_burst(&on, at(1)).await;
    assert_eq!(claim_of_burst(&on, at(61)).await, [(3, vec![3, 4, 5])]);
    // In doubt it is sent again, with the same content; so it is after a failure of the moment.
    assert_eq!(on.store.end_doubt(OutboxPart::Alerts, at(62), "in doubt", at(70)).await.unwrap(), 3);
    put(&on, 6..=6, at(70), chat("a")).await;
    let again = claim_of_burst(&on, at(70)).await;
    assert!(again.contains(&(3, vec![3, 4, 5])), "{again:?}");
    let retry = DeliveryEnd::Retry { at: at(80), error: "busy".into() };
    assert!(on.store.finish_delivery(DeliveryId(3), 2, &retry, at(71)).await.unwrap());
    let again = claim_of_burst(&on, at(80)).await;
    assert!(again.contains(&(3, vec![3, 4, 5])), "{again:?}");
    let failed = DeliveryEnd::Failed("no such chat".into());
    assert!(on.store.finish_delivery(DeliveryId(3), 3, &failed, at(81)).await.unwrap());
    let query = DeliveryQuery { states: vec![DeliveryState::Failed], ..DeliveryQuery::default() };
    let listed = on.store.deliveries(&query).await.unwrap().rows;
    assert_eq!(ids(&listed), [5, 4, 3]);
    assert_eq!(listed[0].last_error.as_deref(), Some("no such chat"));

    // One of them by itself leaves the digest; the digest goes with the rest.
    assert!(on.store.resend_delivery(DeliveryId(4), at(500), &rows::audit("resend")).await.unwrap());
    assert_eq!(claim_of_burst(&on, at(500)).await, [(6, vec![6]), (4, vec![])]);
    assert!(on.store.resend_delivery(DeliveryId(3), at(501), &rows::audit("resend")).await.unwrap());
    assert_eq!(claim_of_burst(&on, at(501)).await, [(3, vec![3, 5])]);
}

pub async fn what_is_called_is_claimed_apart_from_what_is_told(on: TestStore) {
    let function = |name: &str| Callback {
        on: CallbackOn::Failure,
        function: name.into(),
        file: None,
        kwargs: serde_json::Map::from_iter([("to".to_owned(), "{\"callback\":%".into())]),
    };
    put(&on, 1..=4, at(1), AlertChannel::Callback(function("my.tell"))).await;
    put(&on, 11..=11, at(1), chat("{\"callback\":")).await;
    let claim = |part: OutboxPart, now: Timestamp, limit: u32| {
        let store = on.store.clone();
        async move { ids(&store.claim_deliveries(part, now, limit, burst()).await.unwrap().deliveries) }
    };
    // However many there are, none is gathered.
    assert_eq!(claim(OutboxPart::Callbacks, at(2), 3).await, [1, 2, 3]);
    assert_eq!(claim(OutboxPart::Alerts, at(2), 10).await, [11]);
    assert_eq!(claim(OutboxPart::Callbacks, at(2), 10).await, [4]);
    // And each is in doubt by itself.
    assert_eq!(on.store.end_doubt(OutboxPart::Callbacks, at(5), "in doubt", at(9)).await.unwrap(), 4);
    assert_eq!(claim(OutboxPart::Alerts, at(9), 10).await, [0; 0]);
    assert_eq!(claim(OutboxPart::Callbacks, at(9), 10).await, [1, 2, 3, 4]);
    assert_eq!(on.store.end_doubt(OutboxPart::Alerts, at(9), "in doubt", at(9)).await.unwrap(), 1);
    let sending = DeliveryQuery { states: vec![DeliveryState::Sending], ..DeliveryQuery::default() };
    assert_eq!(ids(&on.store.deliveries(&sending).await.unwrap().rows), [4, 3, 2, 1]);
}

pub async fn the_outbox_can_be_searched(on: TestStore) {
    on.commit(&rows::everything()).await;
    let deliveries = vec![rows::delivery(2, &key("sales"), None), rows::delivery(3, &key("other"), None)];
    on.commit(&Batch { deliveries, ..Batch::default() }).await;
    claim(&on, at(2), 1).await;

    let all = DeliveryQuery::default();
    let sales = DeliveryQuery { dag: Some(key("sales")), ..all.clone() };
    let ti = DeliveryQuery { ti: Some(ti_key(1, 0, -1)), ..all.clone() };
    let sending = DeliveryQuery { states: vec![DeliveryState::Sending], ..all.clone() };
    let run = DeliveryQuery { run: Some(RunKey(2)), ..all.clone() };
    let second = DeliveryQuery { window: Window { offset: 1, limit: 1, ..Window::default() }, ..all.clone() };
    let elsewhere = DeliveryQuery { namespace: "elsewhere".into(), ..all.clone() };
    for (query, expected, total) in [
        (all, vec![3, 2, 1], 3),
        (sales, vec![2, 1], 2),
        (ti, vec![1], 1),
        (sending, vec![1], 1),
        (run, vec![], 0),
        (second, vec![2], 3),
        (elsewhere, vec![], 0),
    ] {
        let page = on.store.deliveries(&query).await.unwrap();
        assert_eq!((ids(&page.rows), page.total), (expected, total), "{query:?}");
    }
}
