//! Backfills.

use std::sync::Arc;

use serde_json::json;
use updraft_core::{DagKey, Namespace, RunKey, RunState};
use updraft_store::{
    BackfillCounts, BackfillId, BackfillQuery, BackfillRunRow, Expired, NewBackfill, Progress, Reprocess,
    Window,
};

use crate::{
    fixture::TestStore,
    rows::{self, at, audit_of, key},
};

fn wanted(dag: &DagKey) -> NewBackfill {
    NewBackfill {
        dag: dag.clone(),
        from_date: at(0),
        to_date: at(30),
        reprocess: Reprocess::Failed,
        run_backwards: true,
        max_active_runs: 3,
        conf: Arc::new(json!({ "depth": 2 })),
        tasks: vec!["load".into()],
        account: "ada".into(),
        is_paused: false,
    }
}

fn date(ix: u32) -> BackfillRunRow {
    let from = i64::from(ix) * 10;
    BackfillRunRow {
        ix,
        logical_date: at(from),
        data_interval: (at(from), at(from + 10)),
        progress: Progress::Waiting,
        run: None,
        reason: None,
    }
}

async fn create(on: &TestStore, dag: &DagKey, dates: u32) -> Option<BackfillId> {
    let dates: Vec<_> = (0..dates).map(date).collect();
    on.store.create_backfill(&wanted(dag), &dates, &audit_of(dag, "backfill")).await.unwrap()
}

pub async fn a_dag_has_one_backfill_at_a_time(on: TestStore) {
    let (web, other) = (key("web"), key("other"));
    let first = create(&on, &web, 2).await.unwrap();
    assert_eq!(create(&on, &web, 2).await, None);
    let second = create(&on, &other, 1).await.unwrap();
    assert_ne!(first, second);
    let here = Namespace::default();
    let row = on.store.backfill(&here, first).await.unwrap().unwrap();
    assert_eq!((&row.backfill, row.completed_at), (&wanted(&web), None));
    assert_eq!(on.store.backfill(&"elsewhere".into(), first).await.unwrap(), None);
    assert_eq!(on.store.open_backfills().await.unwrap().len(), 2);

    assert!(on.store.pause_backfill(first, true, &audit_of(&web, "pause")).await.unwrap());
    assert!(!on.store.pause_backfill(first, true, &audit_of(&web, "pause")).await.unwrap());
    assert!(on.store.backfill(&here, first).await.unwrap().unwrap().backfill.is_paused);

    assert!(on.store.cancel_backfill(first, "cancelled", &audit_of(&web, "cancel")).await.unwrap());
    assert!(!on.store.cancel_backfill(first, "cancelled", &audit_of(&web, "cancel")).await.unwrap());
    assert!(!on.store.pause_backfill(first, false, &audit_of(&web, "unpause")).await.unwrap());
    let counts = on.store.backfill_counts(first).await.unwrap();
    assert_eq!(counts, BackfillCounts { passed_over: 2, ..BackfillCounts::default() });
    let third = create(&on, &web, 1).await.unwrap();

    let ids = |query: BackfillQuery| {
        let store = on.store.clone();
        async move {
            let page = store.backfills(&query).await.unwrap();
            page.rows.iter().map(|row| row.id).collect::<Vec<_>>()
        }
    };
    let all = || BackfillQuery::default();
    assert_eq!(ids(all()).await, [third, second, first]);
    assert_eq!(ids(BackfillQuery { dag_id: Some("web".into()), ..all() }).await, [third, first]);
    assert_eq!(ids(BackfillQuery { is_completed: Some(true), ..all() }).await, [first]);
    assert_eq!(ids(BackfillQuery { is_completed: Some(false), ..all() }).await, [third, second]);
    assert!(ids(BackfillQuery { namespace: "elsewhere".into(), ..all() }).await.is_empty());
}

pub async fn its_dates_come_in_their_order(on: TestStore) {
    let web = key("web");
    on.commit(&rows::everything()).await;
    let id = create(&on, &web, 3).await.unwrap();
    let next = on.store.next_backfill_run(id).await.unwrap().unwrap();
    assert_eq!(next, date(0));
    let starting = BackfillRunRow { progress: Progress::Starting { clear_number: Some(4) }, ..date(0) };
    assert!(on.store.put_backfill_run(id, &starting).await.unwrap());
    assert_eq!(on.store.next_backfill_run(id).await.unwrap(), Some(starting));
    let run = RunKey(2);
    let started = BackfillRunRow { progress: Progress::Started, run: Some(run), ..date(0) };
    assert!(on.store.put_backfill_run(id, &started).await.unwrap());
    let over = BackfillRunRow { progress: Progress::PassedOver, reason: Some("there".into()), ..date(1) };
    assert!(on.store.put_backfill_run(id, &over).await.unwrap());
    assert!(!on.store.put_backfill_run(id, &date(1)).await.unwrap());
    assert_eq!(on.store.next_backfill_run(id).await.unwrap(), Some(date(2)));

    let page = on.store.backfill_runs(id, Window::default()).await.unwrap();
    assert_eq!(page.total, 3);
    let state = on.store.run(run).await.unwrap().unwrap().row;
    assert_eq!(page.rows[0].run, Some((state.run_id, state.state)));
    assert_eq!((page.rows[1].row.clone(), page.rows[1].run.clone()), (over, None));
    let counts = on.store.backfill_counts(id).await.unwrap();
    assert_eq!((counts.waiting, counts.passed_over), (1, 1));
    let expected = match state.state {
        RunState::Queued | RunState::Running => counts.active,
        RunState::Success => counts.success,
        RunState::Failed => counts.failed,
    };
    assert_eq!(expected, 1);

    on.store.complete_backfill(id, at(50)).await.unwrap();
    assert!(on.store.open_backfills().await.unwrap().is_empty());
    assert_eq!(on.store.expired(at(51), Expired::Backfills).await.unwrap(), 1);
    while on.store.clean(at(51), Expired::Backfills, 2).await.unwrap().more {}
    assert_eq!(on.store.backfills(&BackfillQuery::default()).await.unwrap().total, 0);
    assert_eq!(on.store.expired(at(51), Expired::Backfills).await.unwrap(), 0);
}
