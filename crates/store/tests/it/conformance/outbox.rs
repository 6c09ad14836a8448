//! The outbox.

use updraft_core::{
    DeliveryId, OnDoubt, RunKey,
    record::{Batch, DeliveryRow},
};
use updraft_store::{DeliveryEnd, DeliveryListing, DeliveryQuery, DeliveryState, Window};

use crate::{
    fixture::TestStore,
    rows::{self, at, key, ti_key},
};

async fn three(on: &TestStore) {
    let deliveries = (1..=3).map(|id| rows::delivery(id, &key("sales"), None)).collect();
    on.commit(&Batch { deliveries, ..Batch::default() }).await;
}

fn ids(listings: &[DeliveryListing]) -> Vec<i64> {
    listings.iter().map(|listing| listing.row.id.0).collect()
}

pub async fn a_delivery_is_claimed_once_and_ends(on: TestStore) {
    three(&on).await;
    let store = &on.store;
    let claimed = store.claim_deliveries(at(2), 10).await.unwrap();
    assert_eq!(ids(&claimed), [1, 2]);
    assert_eq!((claimed[0].state, claimed[0].attempts), (DeliveryState::Sending, 1));
    assert_eq!(claimed[0].row, rows::delivery(1, &key("sales"), None));
    assert_eq!(ids(&store.claim_deliveries(at(9), 10).await.unwrap()), [3]);
    assert_eq!(store.claim_deliveries(at(9), 10).await.unwrap(), []);

    let (first, second, third) = (DeliveryId(1), DeliveryId(2), DeliveryId(3));
    assert!(store.finish_delivery(first, 1, &DeliveryEnd::Sent, at(10)).await.unwrap());
    assert!(!store.finish_delivery(first, 1, &DeliveryEnd::Sent, at(10)).await.unwrap());
    let retry = DeliveryEnd::Retry { at: at(60), error: "greylisted".into() };
    assert!(store.finish_delivery(second, 1, &retry, at(10)).await.unwrap());
    assert!(store.finish_delivery(third, 1, &DeliveryEnd::Held("in doubt".into()), at(10)).await.unwrap());

    assert_eq!(store.claim_deliveries(at(59), 10).await.unwrap(), []);
    let again = store.claim_deliveries(at(60), 10).await.unwrap();
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
    assert_eq!(ids(&store.claim_deliveries(at(70), 1).await.unwrap()), [2]);
    assert_eq!(ids(&store.claim_deliveries(at(70), 1).await.unwrap()), [3]);
    // The engine writing a row once more does not send it once more.
    three(&on).await;
    assert_eq!(store.claim_deliveries(at(99), 10).await.unwrap(), []);
}

pub async fn what_is_on_its_way_for_too_long_is_sent_again(on: TestStore) {
    three(&on).await;
    let store = &on.store;
    store.claim_deliveries(at(2), 1).await.unwrap();
    store.claim_deliveries(at(5), 1).await.unwrap();
    assert_eq!(store.end_doubt(at(2), "in doubt", at(9)).await.unwrap(), 0);
    assert_eq!(store.end_doubt(at(5), "in doubt", at(9)).await.unwrap(), 1);
    let query = DeliveryQuery { states: vec![DeliveryState::Sending], ..DeliveryQuery::default() };
    assert_eq!(ids(&store.deliveries(&query).await.unwrap().rows), [2]);
    // The attempt that was in doubt says nothing any more.
    assert!(!store.finish_delivery(DeliveryId(1), 1, &DeliveryEnd::Sent, at(9)).await.unwrap());
    let again = store.claim_deliveries(at(9), 10).await.unwrap();
    assert_eq!(ids(&again), [3, 1]);
    assert_eq!((again[1].attempts, again[1].last_error.as_deref()), (2, Some("in doubt")));
}

pub async fn what_is_in_doubt_is_held_where_it_says_so_until_somebody_sends_it(on: TestStore) {
    let held = DeliveryRow { on_doubt: OnDoubt::Hold, ..rows::delivery(1, &key("sales"), None) };
    let deliveries = vec![held.clone(), rows::delivery(2, &key("sales"), None)];
    on.commit(&Batch { deliveries, ..Batch::default() }).await;
    let store = &on.store;
    store.claim_deliveries(at(2), 2).await.unwrap();
    assert_eq!(store.end_doubt(at(5), "in doubt", at(9)).await.unwrap(), 2);
    assert_eq!(ids(&store.claim_deliveries(at(9), 10).await.unwrap()), [2]);
    let query = DeliveryQuery { states: vec![DeliveryState::Held], ..DeliveryQuery::default() };
    let listed = store.deliveries(&query).await.unwrap().rows;
    assert_eq!((&listed[0].row, listed[0].last_error.as_deref()), (&held, Some("in doubt")));
    assert!(store.resend_delivery(DeliveryId(1), at(20), &rows::audit("resend")).await.unwrap());
    assert_eq!(ids(&store.claim_deliveries(at(20), 10).await.unwrap()), [1]);
}

pub async fn the_outbox_can_be_searched(on: TestStore) {
    on.commit(&rows::everything()).await;
    let deliveries = vec![rows::delivery(2, &key("sales"), None), rows::delivery(3, &key("other"), None)];
    on.commit(&Batch { deliveries, ..Batch::default() }).await;
    on.store.claim_deliveries(at(2), 1).await.unwrap();

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
