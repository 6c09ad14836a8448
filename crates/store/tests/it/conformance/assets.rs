//! Assets, what happens to them, and the runs that are made of it.

use std::sync::Arc;

use serde_json::json;
use updraft_core::{
    Asset, AssetCondition, AssetEvent, AssetEventId, AssetEventSource, AssetId, MapIndex, RunKey, RunState,
    record::{AssetRow, Batch, QueuedEvent, RunType},
};
use updraft_store::{AssetEventQuery, AssetQuery, AssetUsage, Expired, TextFilter, Window};

use crate::{
    fixture::TestStore,
    rows::{self, Put, at, key},
};

fn asset(id: i64, uri: &str, name: Option<&str>) -> AssetRow {
    let extra = json!({"team": "data"}).as_object().unwrap().clone();
    let asset = Asset { uri: uri.into(), name: name.map(Into::into), group: Some("shop".into()), extra };
    AssetRow { id: AssetId(id), namespace: Default::default(), asset, created_at: at(id) }
}

fn event(id: i64, asset: &AssetRow, key: Option<&str>) -> Arc<AssetEvent> {
    let source = AssetEventSource {
        dag_id: "maker".into(),
        run_id: "r1".into(),
        task_id: "load".into(),
        map_index: MapIndex(2),
    };
    Arc::new(AssetEvent {
        id: AssetEventId(id),
        namespace: Default::default(),
        asset: asset.id,
        uri: asset.asset.uri.clone(),
        at: at(id),
        extra: Arc::new(json!({"rows": id})),
        key: key.map(Into::into),
        source: key.is_none().then_some(source),
        told_by: key.map(|_| "ada".into()),
    })
}

/// Two assets, a DAG that makes one of them and one that waits for both, of whose three events a run is made.
fn batch() -> Batch {
    let (orders, stock) = (asset(1, "s3://shop/orders", Some("orders")), asset(2, "stock", None));
    let events = [event(1, &orders, None), event(2, &stock, Some("monday")), event(3, &orders, None)];
    let user = key("user");
    let mut run = rows::run(1, &user, RunState::Running);
    run.run_type = RunType::AssetTriggered;
    let put = Put::default().dag(&key("maker")).dag(&user).run(run);
    put.with(|batch| {
        let both = [&orders, &stock].map(|row| AssetCondition::Asset(row.asset.clone()));
        for version in &mut batch.versions {
            let spec = Arc::make_mut(&mut version.spec);
            match &*version.key.dag_id {
                "maker" => spec.tasks[1].outlets = vec![orders.asset.clone(), orders.asset.clone()],
                _ => {
                    spec.assets = Some(AssetCondition::All(both.to_vec()));
                    spec.tasks[0].inlets = vec![stock.asset.clone()];
                }
            }
        }
        batch.dags.get_mut(&user).unwrap().events_run_at = Some(at(7));
        batch.assets = [orders, stock].into_iter().map(|row| (row.id, row)).collect();
        let queued = [(1, Some(RunKey(1))), (2, Some(RunKey(1))), (3, None)];
        batch.queued_events =
            queued.into_iter().map(|(id, run)| ((user.clone(), AssetEventId(id)), run)).collect();
        batch.asset_events = events.to_vec();
    })
    .0
}

pub async fn who_leads_next_knows_what_was_queued(on: TestStore) {
    let batch = batch();
    on.commit(&batch).await;
    let loaded = on.store.load().await.unwrap();
    assert_eq!(loaded.assets, batch.assets.values().cloned().collect::<Vec<_>>());
    let queued = QueuedEvent { dag: key("user"), event: batch.asset_events[2].clone() };
    assert_eq!((loaded.queued_events, loaded.last_asset_event), (vec![queued], 3));
    assert_eq!(loaded.runs[0].asset_events, batch.asset_events[..2]);
    let (_, run) = on.store.load_run(RunKey(1)).await.unwrap().unwrap();
    assert_eq!(run.asset_events, batch.asset_events[..2]);
    // The first event is not of the run alone: what a run has had goes with it, and is queued for nobody.
    let dropped = [(key("user"), AssetEventId(3))].into();
    let deleted_runs = [RunKey(1)].into();
    on.commit(&Batch { dropped_events: dropped, deleted_runs, ..Batch::default() }).await;
    let loaded = on.store.load().await.unwrap();
    assert_eq!((loaded.queued_events, loaded.last_asset_event), (vec![], 3));
    assert_eq!(on.store.asset_events(&AssetEventQuery::default()).await.unwrap().total, 3);
}

pub async fn lists_say_who_names_them_and_what_came_of_it(on: TestStore) {
    on.commit(&batch()).await;
    let all = on.store.assets(&AssetQuery::default()).await.unwrap().rows;
    let uses = |row: usize| -> Vec<(String, AssetUsage)> {
        all[row].uses.iter().map(|used| (used.dag_id.to_string(), used.usage.clone())).collect()
    };
    let (maker, user) = ("maker".to_owned(), "user".to_owned());
    assert_eq!(uses(0), [(maker, AssetUsage::Outlet("load".into())), (user.clone(), AssetUsage::Schedule)]);
    assert_eq!(uses(1), [(user.clone(), AssetUsage::Schedule), (user, AssetUsage::Inlet("extract".into()))]);
    let last: Vec<_> = all.iter().map(|asset| asset.last_event).collect();
    assert_eq!(last, [Some((AssetEventId(3), at(3))), Some((AssetEventId(2), at(2)))]);
    let text = |text: &str| TextFilter { contains: vec![text.into()], ..TextFilter::default() };
    for (query, expected) in [
        (AssetQuery { id: Some(AssetId(2)), ..AssetQuery::default() }, vec![2]),
        (AssetQuery { uri: text("shop"), ..AssetQuery::default() }, vec![1]),
        (AssetQuery { name: text("o"), ..AssetQuery::default() }, vec![1, 2]),
        (AssetQuery { name: text("orders"), ..AssetQuery::default() }, vec![1]),
        (AssetQuery { dags: vec!["maker".into()], ..AssetQuery::default() }, vec![1]),
        (AssetQuery { namespace: "other".into(), ..AssetQuery::default() }, vec![]),
    ] {
        let page = on.store.assets(&query).await.unwrap();
        let ids: Vec<i64> = page.rows.iter().map(|asset| asset.row.id.0).collect();
        assert_eq!(ids, expected, "{query:?}");
    }
    // One that is passed over, and is named twice, does not come after all.
    let window = Window { offset: 1, limit: 5, ..Window::ALL };
    let passed =
        on.store.assets(&AssetQuery { only_named: true, window, ..AssetQuery::default() }).await.unwrap();
    assert_eq!(passed.rows.iter().map(|asset| asset.row.id.0).collect::<Vec<_>>(), [2]);
    let query = AssetEventQuery::default;
    for (query, expected) in [
        (query(), vec![1, 2, 3]),
        (AssetEventQuery { latest_first: true, ..query() }, vec![3, 2, 1]),
        (AssetEventQuery { asset: Some(AssetId(2)), ..query() }, vec![2]),
        (AssetEventQuery { made: Some(RunKey(1)), ..query() }, vec![1, 2]),
        (AssetEventQuery { source_dag: Some("maker".into()), ..query() }, vec![1, 3]),
        (AssetEventQuery { source_map_index: Some(MapIndex(1)), ..query() }, vec![]),
        (AssetEventQuery { source_task: Some("load".into()), ..query() }, vec![1, 3]),
        (AssetEventQuery { source_run: Some("r2".into()), ..query() }, vec![]),
    ] {
        let page = on.store.asset_events(&query).await.unwrap();
        let ids: Vec<i64> = page.rows.iter().map(|listing| listing.event.id.0).collect();
        assert_eq!(ids, expected, "{query:?}");
    }
    let events = on.store.asset_events(&query()).await.unwrap().rows;
    let of: Vec<_> = events.iter().map(|listing| listing.runs.clone()).collect();
    assert_eq!(of, [vec![(RunKey(1), false)], vec![(RunKey(1), true)], vec![]]);
    assert_eq!((events[0].name.as_deref(), events[0].group.as_deref()), (Some("orders"), Some("shop")));
    assert_eq!(events[1].event, *batch().asset_events[1]);
    let queued = on.store.queued_events(&Default::default(), Some(&"user".into()), None).await.unwrap();
    assert_eq!(queued.iter().map(|(_, event)| event.id.0).collect::<Vec<_>>(), [3]);
    let of = |key| on.store.asset_event_of(AssetId(2), key);
    assert_eq!((of("monday").await.unwrap(), of("tuesday").await.unwrap()), (Some(AssetEventId(2)), None));
}

/// More than a database takes as values of one statement.
pub async fn a_run_may_be_of_very_many_events(on: TestStore) {
    let mut batch = batch();
    let orders = batch.assets[&AssetId(1)].clone();
    for id in 4..40_000 {
        batch.asset_events.push(event(id, &orders, None));
        batch.queued_events.insert((key("user"), AssetEventId(id)), Some(RunKey(1)));
    }
    on.commit(&batch).await;
    let made = AssetEventQuery { made: Some(RunKey(1)), window: Window::ALL, ..AssetEventQuery::default() };
    let events = on.store.asset_events(&made).await.unwrap();
    assert_eq!((events.total, events.rows.len()), (39_998, 39_998));
    assert!(events.rows[..39_997].iter().all(|listing| listing.runs == [(RunKey(1), false)]));
    assert_eq!(events.rows[39_997].runs, [(RunKey(1), true)]);
}

pub async fn names_may_be_long_and_of_any_letters(on: TestStore) {
    let mut batch = batch();
    let uri = format!("s3://shop/{}", "ü".repeat(700));
    let long = Asset::new(&*uri);
    batch.assets.insert(AssetId(3), asset(3, &uri, None));
    for version in &mut batch.versions {
        let task = &mut Arc::make_mut(&mut version.spec).tasks[0];
        (task.task_id, task.outlets) = ("字".repeat(250).into(), vec![long.clone()]);
    }
    on.commit(&batch).await;
    let query = AssetQuery { id: Some(AssetId(3)), ..AssetQuery::default() };
    assert_eq!(on.store.assets(&query).await.unwrap().rows[0].uses.len(), 2);
}

pub async fn two_events_under_one_key_are_refused_and_so_is_one_of_no_asset(on: TestStore) {
    on.commit(&batch()).await;
    let stock = asset(2, "stock", None);
    for bad in [event(4, &stock, Some("monday")), event(4, &asset(9, "no", None), None)] {
        on.refuses(&Batch { asset_events: vec![bad], ..Batch::default() }).await;
    }
    let queued = [((key("user"), AssetEventId(9)), None)].into();
    on.refuses(&Batch { queued_events: queued, ..Batch::default() }).await;
}

pub async fn old_events_go_once_nothing_waits_with_them(on: TestStore) {
    on.commit(&batch()).await;
    let expired = |before| on.store.clean(at(before), Expired::AssetEvents, 100);
    assert_eq!(expired(9).await.unwrap().rows, 0, "two made a run that is there, and one waits");
    let dropped = [(key("user"), AssetEventId(3))].into();
    on.commit(&Batch { dropped_events: dropped, ..Batch::default() }).await;
    assert_eq!(on.store.expired(at(9), Expired::AssetEvents).await.unwrap(), 1);
    assert_eq!((expired(3).await.unwrap().rows, expired(9).await.unwrap().rows), (0, 1));
    on.commit(&Batch { deleted_dags: [key("user")].into(), ..Batch::default() }).await;
    assert_eq!(expired(9).await.unwrap().rows, 2);
}
