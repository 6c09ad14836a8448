//! Who may write.

use std::time::Duration;

use updraft_core::RunState;
use updraft_store::{CommitError, Server};

use crate::{
    fixture::{HOUR, TestStore},
    rows::{self, Put, key},
};

pub async fn one_of_two_contenders_leads(on: TestStore) {
    let store = &on.store;
    assert_eq!(store.acquire_leadership("other", "127.0.0.1:2", HOUR).await.unwrap(), None);
    let leader = store.leader().await.unwrap().unwrap();
    assert_eq!((&*leader.holder, &*leader.address, leader.fence), ("test", "127.0.0.1:1", on.fence));
    assert!(!leader.expired);

    assert!(store.renew(on.fence, Duration::ZERO).await.unwrap());
    assert!(store.leader().await.unwrap().unwrap().expired);
    on.commit(&Put::default().dag(&key("sales")).0).await;

    let second = store.acquire_leadership("other", "127.0.0.1:2", HOUR).await.unwrap().unwrap();
    assert!(second > on.fence);
    assert!(!store.renew(on.fence, HOUR).await.unwrap());
    store.release(on.fence).await.unwrap();
    assert_eq!(store.acquire_leadership("test", "127.0.0.1:1", HOUR).await.unwrap(), None);

    store.release(second).await.unwrap();
    let third = store.acquire_leadership("test", "127.0.0.1:1", HOUR).await.unwrap().unwrap();
    assert!(third > second);
}

pub async fn a_stale_fence_writes_nothing(on: TestStore) {
    let of = key("sales");
    on.commit(&Put::default().dag(&of).0).await;
    on.store.release(on.fence).await.unwrap();
    let late = Put::default().run(rows::run(1, &of, RunState::Queued)).0;
    on.commit(&late).await;
    let second = on.store.acquire_leadership("other", "127.0.0.1:2", HOUR).await.unwrap().unwrap();

    let later = Put::default().run(rows::run(2, &of, RunState::Queued)).0;
    let error = on.refuses(&later).await;
    assert!(matches!(error, CommitError::Fenced(fence) if fence == on.fence), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(on.store.load().await.unwrap().runs.len(), 1);
    on.store.commit(&later, second).await.unwrap();
    assert_eq!(on.store.load().await.unwrap().runs.len(), 2);
}

pub async fn who_comes_back_under_its_name_leads_at_once(on: TestStore) {
    let again = on.store.acquire_leadership("test", "127.0.0.1:9", HOUR).await.unwrap().unwrap();
    assert!(again > on.fence);
    assert_eq!(on.store.leader().await.unwrap().unwrap().address, "127.0.0.1:9");
    let error = on.refuses(&Put::default().dag(&key("sales")).0).await;
    assert!(matches!(error, CommitError::Fenced(_)), "{error}");
}

pub async fn of_many_contenders_at_once_one_leads(on: TestStore) {
    on.store.release(on.fence).await.unwrap();
    let contenders: Vec<_> = (0..8)
        .map(|i| {
            let store = on.store.clone();
            tokio::spawn(async move { store.acquire_leadership(&format!("server-{i}"), "", HOUR).await })
        })
        .collect();
    let mut fences = Vec::new();
    for contender in contenders {
        fences.extend(contender.await.unwrap().unwrap());
    }
    assert_eq!(fences.len(), 1);
    assert!(fences[0] > on.fence);
}

pub async fn servers_say_that_they_are_there(on: TestStore) {
    let server = |name: &str, address: &str| Server {
        name: name.into(),
        address: address.into(),
        version: "0.1.0".into(),
        hostname: "host".into(),
        pid: 7,
        key_id: "0a1b".into(),
        started_at: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    let (one, two) = (server("one", "http://one:8080"), server("two", "http://two:8080"));
    on.store.see_server(&two).await.unwrap();
    on.store.see_server(&server("one", "http://before:8080")).await.unwrap();
    let first = on.store.servers().await.unwrap();
    on.store.see_server(&one).await.unwrap();
    let seen = on.store.servers().await.unwrap();
    assert_eq!(seen.iter().map(|seen| &seen.server).collect::<Vec<_>>(), [&one, &two]);
    assert!(seen[0].seen_at > first[0].seen_at && seen[1].seen_at == first[1].seen_at);
    assert!(seen[1].silent_for > seen[0].silent_for && seen[1].silent_for < Duration::from_secs(3600));
    on.store.forget_server("one").await.unwrap();
    let left = on.store.servers().await.unwrap();
    assert_eq!(left.into_iter().map(|seen| seen.server).collect::<Vec<_>>(), [two]);
}
