//! Retention.

use jiff::Timestamp;
use updraft_core::{
    DeliveryId, RunKey, RunState, TiState, TiStateName,
    record::{Batch, RunRow, RunType},
};
use updraft_store::{
    AuditQuery, DeliveryEnd, DeliveryQuery, Expired, NewToken, OutboxPart, RunQuery, TokenKind, Window,
};

use crate::{
    fixture::TestStore,
    rows::{self, Put, at, audit, key, ti_key},
};

/// Cleans until there is no more, and says how many runs went.
async fn clean(on: &TestStore, before: Timestamp, what: Expired, limit: u32) -> u64 {
    let mut runs = 0;
    for _ in 0..100 {
        let cleaned = on.store.clean(before, what, limit).await.unwrap();
        runs += cleaned.runs;
        if !cleaned.more {
            return runs;
        }
    }
    panic!("cleaning does not end");
}

fn history(runs: i64) -> Batch {
    let of = key("sales");
    let mut put = Put::default().dag(&of);
    for number in 1..=runs {
        let ti = ti_key(number, 0, -1);
        put = put.run(rows::run(number, &of, RunState::Success)).ti(rows::ti(ti, TiState::Success));
        put = put.with(|batch| {
            for second in 0..5 {
                let row = rows::transition(ti, TiStateName::None, TiStateName::Scheduled, number + second);
                batch.transitions.push(row);
            }
            batch.history.push(updraft_core::record::TiRow {
                ended_at: Some(at(number)),
                ..rows::ti(ti, TiState::Failed)
            });
            batch.xcoms.push(rows::xcom(ti, "return_value", serde_json::json!(1)));
        });
    }
    put.0
}

pub async fn runs_go_with_all_that_is_theirs_but_never_the_latest(on: TestStore) {
    on.commit(&history(8)).await;
    let other = key("web");
    let put = Put::default().dag(&other).run(rows::run(9, &other, RunState::Success));
    on.commit(&put.run(rows::run(10, &other, RunState::Running)).0).await;
    // Runs end eleven seconds after their number.
    assert_eq!(clean(&on, at(15), Expired::Runs, 20).await, 3);
    let left = on.store.runs(&RunQuery::default()).await.unwrap();
    let keys: Vec<i64> = left.rows.iter().map(|run| run.row.key.0).collect();
    assert_eq!(keys, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(on.store.expired(at(99), Expired::Runs).await.unwrap(), 4);
    assert_eq!(clean(&on, at(99), Expired::Runs, 1000).await, 4);
    let left = on.store.runs(&RunQuery::default()).await.unwrap();
    let keys: Vec<i64> = left.rows.iter().map(|run| run.row.key.0).collect();
    // What a run that goes on follows stays: its tasks may depend on it.
    assert_eq!(keys, [8, 9, 10]);
    assert_eq!(on.store.transitions(RunKey(3), None, Window::ALL).await.unwrap().total, 0);
    assert_eq!(on.store.xcom(ti_key(3, 0, -1), "return_value").await.unwrap(), None);
    assert_eq!(on.store.tries(ti_key(3, 0, -1)).await.unwrap(), []);
}

/// The run that another depends on is the one before it by date, of the schedule's where there is catch-up.
pub async fn what_an_open_run_may_depend_on_stays(on: TestStore) {
    let of = key("sales");
    let run = |number: i64, day: i64, run_type: RunType, state: RunState| RunRow {
        logical_date: Some(at(day)),
        run_type,
        ..rows::run(number, &of, state)
    };
    use RunState::{Queued, Success};
    use RunType::{Manual, Scheduled};
    let put = Put::default().dag(&of);
    let put = put.run(run(1, 1, Scheduled, Success)).run(run(2, 2, Scheduled, Success));
    let put = put.run(run(3, 3, Manual, Success)).run(run(4, 5, Scheduled, Success));
    on.commit(&put.run(run(5, 4, Scheduled, Queued)).run(run(6, 6, Scheduled, Success)).0).await;
    assert_eq!(on.store.expired(at(99), Expired::Runs).await.unwrap(), 2);
    assert_eq!(clean(&on, at(99), Expired::Runs, 1000).await, 2);
    let left = on.store.runs(&RunQuery::default()).await.unwrap();
    assert_eq!(left.rows.iter().map(|run| run.row.key.0).collect::<Vec<_>>(), [2, 3, 5, 6]);
}

pub async fn a_run_that_is_larger_than_a_step_goes_in_several(on: TestStore) {
    on.commit(&history(3)).await;
    assert_eq!(clean(&on, at(99), Expired::Runs, 3).await, 2);
    assert_eq!(on.store.runs(&RunQuery::default()).await.unwrap().total, 1);
    assert_eq!(on.store.transitions(RunKey(3), None, Window::ALL).await.unwrap().total, 5);
}

pub async fn the_rest_goes_by_age(on: TestStore) {
    on.commit(&history(3)).await;
    let of = key("sales");
    let ticks = [0, 60, 120].map(|first| ((of.clone(), at(first)), rows::ticks(&of, first, first)));
    let deliveries = (1..=3).map(|id| rows::delivery(id, &of, None)).collect();
    on.commit(&Batch { ticks: ticks.into(), deliveries, ..Batch::default() }).await;
    let store = &on.store;

    // At seconds 1 to 5, 2 to 6 and 3 to 7.
    let expired = [(4, Expired::Transitions), (3, Expired::History), (999, Expired::Ticks)];
    for ((before, what), count) in expired.into_iter().zip([6, 2, 2]) {
        assert_eq!(store.expired(at(before), what).await.unwrap(), count, "{what:?}");
    }
    clean(&on, at(4), Expired::Transitions, 4).await;
    let mut left = 0;
    for run in 1..=3 {
        left += store.transitions(RunKey(run), None, Window::ALL).await.unwrap().total;
    }
    assert!((9..=12).contains(&left), "{left}");
    clean(&on, at(99), Expired::Transitions, 4).await;
    assert_eq!(store.transitions(RunKey(3), None, Window::ALL).await.unwrap().total, 0);

    clean(&on, at(3), Expired::History, 1).await;
    let tries = [1, 2, 3].map(|run| ti_key(run, 0, -1));
    for (ti, expected) in tries.into_iter().zip([1, 1, 2]) {
        assert_eq!(store.tries(ti).await.unwrap().len(), expected);
    }

    clean(&on, at(999), Expired::Ticks, 1).await;
    let ticks = store.ticks(&of, at(0), at(999), Window::ALL).await.unwrap();
    assert_eq!(ticks.rows, [rows::ticks(&of, 120, 120)]);

    assert_eq!(store.claim_deliveries(OutboxPart::Alerts, at(9), 2, None).await.unwrap().deliveries.len(), 2);
    store.finish_delivery(DeliveryId(1), 1, &DeliveryEnd::Sent, at(10)).await.unwrap();
    store.finish_delivery(DeliveryId(2), 1, &DeliveryEnd::Held("?".into()), at(10)).await.unwrap();
    assert_eq!(store.expired(at(99), Expired::Deliveries).await.unwrap(), 1);
    clean(&on, at(99), Expired::Deliveries, 10).await;
    let left = store.deliveries(&DeliveryQuery::default()).await.unwrap();
    assert_eq!(left.rows.iter().map(|row| row.row.id.0).collect::<Vec<_>>(), [3, 2]);

    let token = |hash: &str, expires_at| NewToken {
        kind: TokenKind::Join(None),
        hash: hash.into(),
        name: "t".into(),
        expires_at,
    };
    for token in [token("old", Some(at(5))), token("new", Some(at(50))), token("for ever", None)] {
        store.create_token(&token, &audit("add")).await.unwrap();
    }
    assert_eq!(store.expired(at(6), Expired::Tokens).await.unwrap(), 1);
    clean(&on, at(6), Expired::Tokens, 10).await;
    assert_eq!(store.tokens(None, Window::ALL).await.unwrap().total, 2);

    assert_eq!(store.audit(&AuditQuery::default()).await.unwrap().total, 3);
    assert_eq!(store.expired(at(2), Expired::Audit).await.unwrap(), 3);
    clean(&on, at(1), Expired::Audit, 10).await;
    assert_eq!(store.audit(&AuditQuery::default()).await.unwrap().total, 3);
    clean(&on, at(2), Expired::Audit, 2).await;
    assert_eq!(store.audit(&AuditQuery::default()).await.unwrap().total, 0);
}

pub async fn versions_go_with_their_last_run(on: TestStore) {
    on.commit(&history(3)).await;
    let of = key("sales");
    let put = Put::default().with(|batch| {
        batch.dags.insert(of.clone(), rows::dag(&of, 3));
        batch.versions.extend([rows::version(&of, 2), rows::version(&of, 3)]);
    });
    on.commit(&put.0).await;
    // The latest run stays, and is on version 1; version 3 is current; nobody is on version 2.
    clean(&on, at(999), Expired::Runs, 100).await;
    let left = on.store.dag_versions(&of, Window::ALL).await.unwrap();
    assert_eq!(left.rows.iter().map(|row| row.version).collect::<Vec<_>>(), [3, 1]);
}
