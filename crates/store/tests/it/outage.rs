//! A database that is gone for a while.

use updraft_core::{RunKey, RunState};
use updraft_store::{
    CommitError, Error, Ledger, Outage, Queries, SqlStore, Upkeep, test_postgres::TestPostgres,
};

use crate::{
    fixture::{self, HOUR},
    rows::{self, Put, key},
};

#[test]
fn a_postgres_that_crashes_and_comes_back_has_what_was_acknowledged() {
    fixture::run(async {
        let mut server = TestPostgres::start();
        let store = SqlStore::postgres(&server.database()).await.unwrap();
        store.migrate().await.unwrap();
        let fence = store.acquire_leadership("test", "", HOUR).await.unwrap().unwrap();
        store.commit(&rows::everything(), fence).await.unwrap();
        server.crash();

        let next = Put::default().run(rows::run(3, &key("sales"), RunState::Queued)).0;
        let error = store.commit(&next, fence).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let gone =
            CommitError::Store(Error::Unavailable { outage: Outage::Unreachable, message: String::new() });
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&gone));
        assert!(store.runs(&updraft_store::RunQuery::default()).await.unwrap_err().is_retryable());

        server.restart();
        store.commit(&next, fence).await.unwrap();
        assert_eq!(store.load().await.unwrap().last_run, 3);
        assert!(store.run(RunKey(1)).await.unwrap().is_some());
    });
}

#[test]
fn two_servers_on_one_postgres_commit_under_one_fence_at_a_time() {
    fixture::run(async {
        let server = TestPostgres::start();
        let url = server.database();
        let (one, other) = (SqlStore::postgres(&url).await.unwrap(), SqlStore::postgres(&url).await.unwrap());
        one.migrate().await.unwrap();
        let old = one.acquire_leadership("one", "", HOUR).await.unwrap().unwrap();
        one.commit(&Put::default().dag(&key("sales")).0, old).await.unwrap();
        one.release(old).await.unwrap();
        let new = other.acquire_leadership("other", "", HOUR).await.unwrap().unwrap();
        let run = |number| Put::default().run(rows::run(number, &key("sales"), RunState::Queued)).0;
        // At once: whichever comes first, the one with the old fence writes nothing.
        let (first, second) = (run(1), run(2));
        let (stale, fresh) = tokio::join!(one.commit(&first, old), other.commit(&second, new));
        assert!(matches!(stale.unwrap_err(), CommitError::Fenced(_)));
        fresh.unwrap();
        assert_eq!(one.load().await.unwrap().last_run, 2);
    });
}

#[test]
fn a_database_that_is_not_there_is_named_with_the_reason() {
    fixture::run(async {
        let error = SqlStore::open("postgres://u:secret@127.0.0.1:1/x").await.err().unwrap();
        let told = error.to_string();
        assert!(error.is_retryable() && told.contains("127.0.0.1:1: "), "{told}");
        assert!(told.contains("refused") && told.contains("UPDRAFT__DATABASE__URL"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    });
}
