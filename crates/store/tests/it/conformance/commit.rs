//! Batches, and the state they make.

use std::sync::Arc;

use serde_json::json;
use updraft_core::{
    DagKey, RunKey, RunState, TiState, TiStateName,
    record::{Batch, RunSnapshot, Snapshot, TiRow},
};
use updraft_store::{Change, CommitError, Error, RecordKind, TextFilter, Window};

use crate::{
    fixture::TestStore,
    rows::{self, Put, at, key, ti_key},
};

pub async fn what_is_committed_is_loaded(on: TestStore) {
    let batch = rows::everything();
    on.commit(&batch).await;
    let open = batch.runs.values().filter(|run| !run.state.is_finished());
    let runs = open.map(|run| RunSnapshot {
        run: run.clone(),
        tis: batch.tis.values().filter(|ti| ti.key.run == run.key).cloned().collect(),
        asset_events: Vec::new(),
    });
    let expected = Snapshot {
        dags: batch.dags.values().cloned().collect(),
        versions: batch.versions.clone(),
        runs: runs.collect(),
        pools: batch.pools.values().cloned().collect(),
        ticks: batch.ticks.values().cloned().collect(),
        stats: batch.stats.values().cloned().collect(),
        assets: Vec::new(),
        queued_events: Vec::new(),
        last_asset_event: 0,
        last_run: 2,
        last_delivery: 1,
        paused: false,
    };
    assert_eq!(on.store.load().await.unwrap(), expected);

    let (version, run) = on.store.load_run(RunKey(2)).await.unwrap().unwrap();
    assert_eq!((&version, &run), (&batch.versions[0], &expected.runs[0]));
    assert_eq!(on.store.load_run(RunKey(3)).await.unwrap(), None);
    let found = on.store.find_run(&key("sales"), &"manual__2".into()).await.unwrap();
    assert_eq!(found, Some(RunKey(2)));
    assert_eq!(on.store.find_run(&key("sales"), &"manual__3".into()).await.unwrap(), None);
    for asked in [None, Some(1)] {
        let version = on.store.dag_version(&key("sales"), asked).await.unwrap();
        assert_eq!(version.as_ref(), Some(&batch.versions[0]));
    }
    assert_eq!(on.store.dag_version(&key("sales"), Some(2)).await.unwrap(), None);
}

pub async fn deletions_take_all_that_is_theirs(on: TestStore) {
    on.commit(&rows::everything()).await;
    let gone = ti_key(2, 0, -1);
    let note = updraft_store::Note { text: "look".into(), user: "ada".into(), at: at(1) };
    assert!(on.store.put_ti_note(gone, Some(&note), &rows::audit("note")).await.unwrap());
    on.commit(&Batch { cleared_xcoms: [gone].into(), ..Batch::default() }).await;
    assert_eq!(on.store.xcom(gone, "big").await.unwrap(), None);
    assert!(on.store.rendered(gone).await.unwrap().is_some());

    on.commit(&Batch { deleted_tis: [gone].into(), ..Batch::default() }).await;
    assert_eq!(on.store.ti(gone).await.unwrap(), None);
    assert_eq!(on.store.tries(gone).await.unwrap(), []);
    assert_eq!(on.store.rendered(gone).await.unwrap(), None);
    assert_eq!(on.store.transitions(RunKey(2), None, Window::ALL).await.unwrap().rows, []);
    assert!(on.store.ti(ti_key(2, 0, 0)).await.unwrap().is_some());

    on.commit(&Batch { deleted_runs: [RunKey(2)].into(), ..Batch::default() }).await;
    assert_eq!(on.store.run(RunKey(2)).await.unwrap(), None);
    assert_eq!(on.store.ti(ti_key(2, 0, 0)).await.unwrap(), None);
    assert!(on.store.run(RunKey(1)).await.unwrap().is_some());

    let pools = [("default".into(), "wide".into())].into();
    on.commit(&Batch { deleted_dags: [key("sales")].into(), deleted_pools: pools, ..Batch::default() }).await;
    let left = on.store.load().await.unwrap();
    let only_the_pool = Snapshot {
        pools: vec![rows::pool("narrow", Some(4))],
        last_run: 2,
        last_delivery: 1,
        ..Snapshot::default()
    };
    assert_eq!(left, only_the_pool);
}

pub async fn deletions_come_before_the_rest(on: TestStore) {
    on.commit(&rows::everything()).await;
    let of = key("sales");
    let remade = Put::default()
        .dag(&of)
        .run(rows::run(1, &of, RunState::Running))
        .ti(rows::ti(ti_key(1, 1, 0), TiState::None))
        .with(|batch| {
            batch.deleted_dags.insert(of.clone());
            batch.deleted_runs.insert(RunKey(1));
            batch.deleted_tis.insert(ti_key(1, 1, 0));
            batch.cleared_xcoms.insert(ti_key(1, 1, 0));
            batch.xcoms.push(rows::xcom(ti_key(1, 1, 0), "return_value", json!(1)));
        })
        .0;
    on.commit(&remade).await;
    let snapshot = on.store.load().await.unwrap();
    assert_eq!(snapshot.runs.len(), 1);
    assert_eq!(snapshot.runs[0].tis, [rows::ti(ti_key(1, 1, 0), TiState::None)]);
    assert!(on.store.xcom(ti_key(1, 1, 0), "return_value").await.unwrap().is_some());
    assert_eq!((snapshot.ticks, snapshot.stats), (vec![], vec![]));
}

pub async fn of_two_values_for_a_key_the_last_counts(on: TestStore) {
    let of = key("sales");
    let ti = ti_key(1, 0, -1);
    let batch = Put::default()
        .dag(&of)
        .run(rows::run(1, &of, RunState::Running))
        .ti(rows::ti(ti, TiState::Success))
        .with(|batch| {
            batch.xcoms.push(rows::xcom(ti, "a", json!(1)));
            batch.xcoms.push(rows::xcom(ti, "a", json!([2])));
            batch.history.push(TiRow { exit_code: Some(1), ..rows::ti(ti, TiState::Failed) });
            batch.history.push(TiRow { exit_code: Some(2), ..rows::ti(ti, TiState::Failed) });
        })
        .0;
    on.commit(&batch).await;
    assert_eq!(on.store.xcom(ti, "a").await.unwrap(), Some(rows::xcom(ti, "a", json!([2]))));
    let tries = on.store.tries(ti).await.unwrap();
    assert_eq!(tries, [batch.history[1].clone(), batch.tis[&ti].clone()]);
    on.commit(&Batch { xcoms: vec![rows::xcom(ti, "a", json!(3))], ..Batch::default() }).await;
    assert_eq!(on.store.xcom(ti, "a").await.unwrap(), Some(rows::xcom(ti, "a", json!(3))));
}

pub async fn a_batch_that_refers_to_nothing_is_a_bug_and_writes_nothing(on: TestStore) {
    on.commit(&rows::everything()).await;
    let before = on.store.load().await.unwrap();
    let no_run = Put::default().ti(rows::ti(ti_key(99, 0, -1), TiState::None));
    let no_dag = Put::default().run(rows::run(3, &key("nothing"), RunState::Queued));
    let same_name = Put::default().run(rows::run(3, &key("sales"), RunState::Queued)).with(|batch| {
        batch.runs.get_mut(&RunKey(3)).unwrap().run_id = "manual__1".into();
    });
    for bad in [no_run, no_dag, same_name] {
        let pool = rows::pool("late", Some(1));
        let bad = bad.with(|batch| drop(batch.pools.insert(("default".into(), "late".into()), pool))).0;
        let error = on.refuses(&bad).await;
        assert!(matches!(error, CommitError::Store(Error::Broken { .. })), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(on.store.load().await.unwrap(), before);
    on.commit(&Put::default().run(rows::run(4, &key("sales"), RunState::Queued)).0).await;
}

pub async fn a_nul_in_a_text_is_no_obstacle(on: TestStore) {
    let of = key("sales");
    let ti = ti_key(1, 0, -1);
    let batch = Put::default()
        .dag(&of)
        .run(rows::run(1, &of, RunState::Running))
        .ti(TiRow { reason: Some("a\0b".into()), ..rows::ti(ti, TiState::Failed) })
        .with(|batch| batch.xcoms.push(rows::xcom(ti, "return_value", json!("\0 and \u{1f600}"))))
        .0;
    on.commit(&batch).await;
    let reason = on.store.ti(ti).await.unwrap().unwrap().row.reason.unwrap();
    assert!(["a\0b", "a\u{fffd}b"].contains(&&*reason));
    assert_eq!(on.store.xcom(ti, "return_value").await.unwrap().as_ref(), batch.xcoms.first());
}

pub async fn numbers_are_never_given_twice(on: TestStore) {
    on.commit(&rows::everything()).await;
    on.commit(&Batch { deleted_runs: [RunKey(1), RunKey(2)].into(), ..Batch::default() }).await;
    let snapshot = on.store.load().await.unwrap();
    assert_eq!((snapshot.runs.len(), snapshot.last_run, snapshot.last_delivery), (0, 2, 1));
}

pub async fn a_leader_loads_what_is_unfinished(on: TestStore) {
    use RunState::{Failed, Queued, Running, Success};
    let (busy, idle, new) = (key("busy"), key("idle"), DagKey::new("other", "new"));
    let mut put = Put::default().dag(&busy).dag(&idle).dag(&new);
    let runs = [Success, Success, Running, Failed, Success, Queued, Success, Success];
    for (number, state) in (1..).zip(runs) {
        let of = if number < 8 { &busy } else { &idle };
        put = put.run(rows::run(number, of, state));
        put = put.ti(rows::ti(ti_key(number, 0, -1), TiState::Success));
    }
    on.commit(&put.0).await;
    let loaded = on.store.load().await.unwrap();
    let keys: Vec<i64> = loaded.runs.iter().map(|run| run.run.key.0).collect();
    assert_eq!(keys, [3, 6]);
    assert!(loaded.runs.iter().all(|run| run.tis.len() == 1));
}

pub async fn subscribers_hear_what_was_written(on: TestStore) {
    let mut changes = on.store.subscribe();
    let ti = ti_key(1, 2, 4);
    let of = key("sales");
    let batch = Put::default().dag(&of).run(rows::run(1, &of, RunState::Running));
    on.commit(&batch.ti(rows::ti(ti, TiState::Scheduled)).0).await;
    let heard = changes.try_recv().unwrap();
    let expected = Change::Committed {
        dags: vec![of],
        runs: vec![RunKey(1)],
        tis: vec![(ti, TiStateName::Scheduled)],
        pools: false,
        deliveries: false,
    };
    assert_eq!(*heard, expected);
    on.store.put_config("theme", Some("dark"), &rows::audit("config")).await.unwrap();
    assert_eq!(*changes.try_recv().unwrap(), Change::Record(RecordKind::Config));
}

pub async fn a_version_is_written_once(on: TestStore) {
    let of = key("sales");
    on.commit(&Put::default().dag(&of).0).await;
    let mut other = rows::version(&of, 1);
    Arc::make_mut(&mut other.spec).tags.push("late".into());
    on.commit(&Batch { versions: vec![other], ..Batch::default() }).await;
    assert_eq!(on.store.dag_version(&of, Some(1)).await.unwrap(), Some(rows::version(&of, 1)));
    let tags = on.store.tags(&of.namespace, &TextFilter::default(), Window::ALL).await.unwrap();
    assert_eq!(tags.total, 0);
}

pub async fn that_everything_is_paused_is_kept_until_it_is_not(on: TestStore) {
    on.commit(&rows::everything()).await;
    for paused in [true, false] {
        on.commit(&Batch { paused: Some(paused), ..Batch::default() }).await;
        on.commit(&Batch { deleted_runs: [RunKey(9)].into(), ..Batch::default() }).await;
        assert_eq!(on.store.is_paused().await.unwrap(), paused);
        assert_eq!(on.store.load().await.unwrap().paused, paused);
    }
}
